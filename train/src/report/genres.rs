//! Genres beside each other: how often each occurs and how well it is found, and the comparison of several runs.

use serde_json::json;

use super::axes::{Axis, Key, Mark, Plot, SMALL, legend, legend_height};
use super::svg::{Anchor, GRID, INK, MUTED, PAPER, SERIES, Svg, WIDTH, text_width};
use super::{Evaluated, Figure, Part, Tally};

/// Room for the names of the genres at the left.
pub fn label_width<'a>(genres: impl IntoIterator<Item = &'a String>) -> f64 {
    genres.into_iter().map(|genre| text_width(genre, SMALL)).fold(40.0, f64::max).min(130.0) + 8.0
}

/// Number of posters with a separator of thousands.
fn count(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|it| std::str::from_utf8(it).unwrap_or("")).collect();
    groups.join(",")
}

/// The class balance of each part, the most frequent genre first, and the F1 of each genre over it.
pub fn balance(parts: &[Part], evaluated: Option<&Evaluated>) -> Option<Figure> {
    let genres = &parts.first()?.genres;
    let parts: Vec<&Part> = parts.iter().filter(|part| part.genres == *genres).take(3).collect();
    let mut order: Vec<usize> = (0..genres.len()).collect();
    order.sort_by(|a, b| parts[0].prevalence(*b).total_cmp(&parts[0].prevalence(*a)));

    let column = 54.0;
    let left = label_width(genres);
    let right = column * parts.len() as f64 + 4.0;
    let bar = 5.5;
    let row = bar * parts.len() as f64 + 7.0;
    let mut keys: Vec<Key> =
        parts.iter().zip(SERIES).map(|(part, colour)| Key { text: &part.name, colour, mark: Mark::Bar }).collect();
    keys.push(Key { text: "label unknown", colour: MUTED, mark: Mark::Faint });
    let f1_key = evaluated.map(|it| format!("F1 on {}", it.data));
    keys.extend(f1_key.iter().map(|text| Key { text, colour: INK, mark: Mark::Dot }));
    let top = legend_height(0.0, &keys) + 34.0;
    let height = row * genres.len() as f64;
    let mut svg = Svg::new(top + height + 38.0);
    legend(&mut svg, 0.0, 0.0, &keys);
    let plot = Plot {
        origin: [left, top],
        size: [WIDTH - left - right, height],
        x: Axis::around([0.0, 1.0], 5),
        y: Axis::none(),
    };
    for (index, part) in parts.iter().enumerate() {
        let x = WIDTH - right + column * (index as f64 + 1.0);
        svg.text([x, top - 18.0], &short_name(&part.name), Anchor::End, 8.0, SERIES[index]);
        svg.text([x, top - 7.0], "positives", Anchor::End, 8.0, MUTED);
    }
    plot.grid(&mut svg, true, false);
    for (place, &genre) in order.iter().enumerate() {
        let y = top + row * place as f64;
        if place > 0 {
            svg.line([0.0, y], [WIDTH, y], GRID, 0.5);
        }
        svg.text([left - 6.0, y + row / 2.0 + 3.5], &genres[genre], Anchor::End, SMALL, INK);
        for (index, part) in parts.iter().enumerate() {
            let tally = part.counts[genre];
            let share = |part_of: usize| part_of as f64 / tally.total().max(1) as f64;
            let tip = format!(
                "{} in {}: {} of {} known labels are positive ({:.1} %), {} unknown",
                genres[genre],
                part.name,
                tally.yes,
                tally.yes + tally.no,
                100.0 * part.prevalence(genre),
                tally.unknown
            );
            let y = y + 3.5 + bar * index as f64;
            let [begin, _] = plot.at(0.0, 0.0);
            let [end, _] = plot.at(share(tally.yes), 0.0);
            let [unknown, _] = plot.at(share(tally.yes + tally.unknown), 0.0);
            svg.rect([begin, y], [(end - begin).max(0.5), bar - 0.8], SERIES[index], 1.0, &tip);
            svg.rect([end, y], [unknown - end, bar - 0.8], SERIES[index], 0.25, &tip);
            let x = WIDTH - right + column * (index as f64 + 1.0);
            svg.text([x, y - bar * index as f64 + row / 2.0 - 1.0], &count(tally.yes), Anchor::End, SMALL, INK);
        }
        if let Some(figures) = evaluated.and_then(|it| it.evaluation.genres.iter().find(|it| it.genre == genres[genre]))
        {
            let [x, _] = plot.at(figures.f1, 0.0);
            let tip = format!("{}: F1 {:.3}, {} positives", figures.genre, figures.f1, figures.support);
            svg.dot([x, y + row / 2.0], 4.0, INK, &tip);
        }
    }
    svg.text(
        [left + plot.size[0] / 2.0, top + height + 32.0],
        if evaluated.is_some() { "share of the posters; F1" } else { "share of the posters" },
        Anchor::Middle,
        11.0,
        INK,
    );
    let numbers = json!({
        "parts": parts.iter().map(|part| json!({
            "part": part.name,
            "posters": part.counts.first().map_or(0, Tally::total),
            "genres": genres.iter().enumerate().map(|(genre, name)| json!({
                "genre": name, "positive": part.counts[genre].yes, "negative": part.counts[genre].no,
                "unknown": part.counts[genre].unknown, "prevalence": part.prevalence(genre),
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "f1": evaluated.map(|it| json!({
            "data": it.data,
            "genres": it.evaluation.genres.iter().map(|it| json!({ "genre": it.genre, "f1": it.f1 })).collect::<Vec<_>>(),
        })),
    });
    Some(Figure {
        name: "class-balance".into(),
        title: "Class balance, and F1 over it".into(),
        caption:
            "Full bars are the posters with the genre, pale bars those of which it is not known; the rest has not \
                  the genre. Dots are the genre's F1 on the same scale: rare genres lie low on both."
                .into(),
        svg: svg.finish("How often each genre occurs in each part, and its F1"),
        numbers,
    })
}

/// A part's name for a narrow column.
fn short_name(name: &str) -> String {
    let chars: Vec<char> = name.chars().collect();
    if chars.len() <= 10 { name.into() } else { format!("{}…", chars[..9].iter().collect::<String>()) }
}

/// F1 of each genre in several evaluations of the same genres, a dot each.
pub fn comparison(evaluated: &[(&str, &Evaluated)]) -> Option<Figure> {
    let [(_, first), rest @ ..] = evaluated else { return None };
    let names = |it: &Evaluated| it.evaluation.genres.iter().map(|it| it.genre.clone()).collect::<Vec<_>>();
    let genres = names(first);
    if rest.is_empty() || rest.iter().any(|(_, it)| names(it) != genres) {
        return None;
    }
    let keys: Vec<Key> =
        evaluated.iter().zip(SERIES).map(|((name, _), colour)| Key { text: name, colour, mark: Mark::Dot }).collect();
    let left = label_width(&genres);
    let row = 15.0;
    let top = legend_height(0.0, &keys) + 10.0;
    let mut order: Vec<usize> = (0..genres.len()).collect();
    order.sort_by(|a, b| first.evaluation.genres[*b].f1.total_cmp(&first.evaluation.genres[*a].f1));
    let height = row * genres.len() as f64;
    let mut svg = Svg::new(top + height + 38.0);
    legend(&mut svg, 0.0, 0.0, &keys);
    let plot = Plot { origin: [left, top], size: [WIDTH - left - 14.0, height], x: Axis::tenths(), y: Axis::none() };
    plot.grid(&mut svg, true, false);
    for (place, &genre) in order.iter().enumerate() {
        let y = top + row * (place as f64 + 0.5);
        svg.text([left - 6.0, y + 3.5], &genres[genre], Anchor::End, SMALL, INK);
        let values = evaluated.iter().map(|(_, it)| it.evaluation.genres[genre].f1);
        let (low, high) = values.fold((1.0, 0.0), |(low, high): (f64, f64), it| (low.min(it), high.max(it)));
        svg.line([plot.at(low, 0.0)[0], y], [plot.at(high, 0.0)[0], y], MUTED, 1.0);
        for ((name, it), colour) in evaluated.iter().zip(SERIES) {
            let figures = &it.evaluation.genres[genre];
            let tip = format!("{}, {name}: F1 {:.3}, {} positives", figures.genre, figures.f1, figures.support);
            svg.dot([plot.at(figures.f1, 0.0)[0], y], 4.0, colour, &tip);
        }
    }
    svg.text([left + plot.size[0] / 2.0, top + height + 32.0], "F1", Anchor::Middle, 11.0, INK);
    Some(Figure {
        name: format!("comparison-{}", super::slug(&first.data)),
        title: format!("F1 of each genre on {}", first.data),
        caption: "Sorted by the first run. A line joins the runs: the longer it is, the more they differ.".into(),
        svg: svg.finish("F1 of each genre in each run"),
        numbers: evaluated
            .iter()
            .map(|(name, it)| {
                let genres = it.evaluation.genres.iter().map(|it| json!({ "genre": it.genre, "f1": it.f1 }));
                json!({ "run": name, "data": it.data, "genres": genres.collect::<Vec<_>>() })
            })
            .collect(),
    })
}

/// A heat map of shares, 0 to 1, with names at the left and above.
pub struct HeatMap<'a> {
    pub rows: &'a [String],
    pub columns: &'a [String],
    /// Share and tooltip of a cell; none is left blank.
    pub cell: &'a dyn Fn(usize, usize) -> Option<(f64, String)>,
    /// The value of a full colour.
    pub scale: &'a str,
    pub row_title: &'a str,
    pub column_title: &'a str,
}

impl HeatMap<'_> {
    /// Draws the map.
    pub fn draw(&self, label: &str) -> String {
        let left = label_width(self.rows) + 20.0;
        let above = label_width(self.columns) + 14.0;
        let size = [
            (WIDTH - left - 2.0) / self.columns.len() as f64,
            ((WIDTH - left - 2.0) / self.columns.len().max(1) as f64).clamp(14.0, 22.0),
        ];
        let height = size[1] * self.rows.len() as f64;
        let mut svg = Svg::new(above + height + 44.0);
        svg.text([left + (WIDTH - left) / 2.0, 10.0], self.column_title, Anchor::Middle, 11.0, INK);
        svg.upright([10.0, above + height / 2.0], self.row_title, Anchor::Middle, 11.0, INK);
        for (column, name) in self.columns.iter().enumerate() {
            svg.upright([left + size[0] * (column as f64 + 0.5) + 3.5, above - 4.0], name, Anchor::Start, SMALL, INK);
        }
        for (row, name) in self.rows.iter().enumerate() {
            let y = above + size[1] * row as f64;
            svg.text([left - 5.0, y + size[1] / 2.0 + 3.5], name, Anchor::End, SMALL, INK);
            for column in 0..self.columns.len() {
                let corner = [left + size[0] * column as f64, y];
                let inner = [size[0] - 1.0, size[1] - 1.0];
                match (self.cell)(row, column) {
                    Some((share, tip)) => {
                        svg.rect(corner, inner, GRID, 0.45, &tip);
                        if share > 0.0 {
                            svg.rect(corner, inner, SERIES[0], share.clamp(0.03, 1.0), &tip);
                        }
                    }
                    None => svg.rect(corner, inner, PAPER, 1.0, ""),
                }
            }
        }
        self.draw_scale(&mut svg, left, above + height + 12.0);
        svg.finish(label)
    }

    /// The scale from none to a full colour.
    fn draw_scale(&self, svg: &mut Svg, left: f64, top: f64) {
        svg.text([left, top + 9.0], "0", Anchor::Start, SMALL, MUTED);
        for step in 0..=10 {
            let share = f64::from(step) / 10.0;
            let corner = [left + 10.0 + 9.0 * f64::from(step), top];
            svg.rect(corner, [9.0, 11.0], GRID, 0.45, "");
            svg.rect(corner, [9.0, 11.0], SERIES[0], share.clamp(0.001, 0.999), "");
        }
        svg.text([left + 114.0, top + 9.0], "1", Anchor::Start, SMALL, MUTED);
        svg.text([left + 128.0, top + 9.0], self.scale, Anchor::Start, SMALL, INK);
    }
}
