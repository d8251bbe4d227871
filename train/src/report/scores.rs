//! Figures over all thresholds: precision-recall, F1 against the threshold, reliability, and score distributions.

use runtime::metrics::{ThresholdPoint, reliability, threshold_curve};
use serde_json::json;

use super::axes::{Axis, Key, Mark, Panels, Plot, SMALL, legend, legend_height};
use super::genres::label_width;
use super::svg::{Anchor, GRID, INK, MUTED, SERIES, Svg, WIDTH};
use super::{Evaluated, Figure};
use crate::scored::ScoredPosters;

/// Height of a panel.
const PANEL: f64 = 92.0;

/// The most points of a drawn line: more cannot be told apart in a panel.
const POINTS: usize = 90;

/// The figures of probabilities and labels.
pub fn figures(evaluated: &Evaluated, scored: &ScoredPosters) -> Vec<Figure> {
    let (probabilities, labels) = (scored.probabilities(), scored.labels());
    let predictions = scored.predictions(&probabilities, &labels);
    let curves: Vec<Vec<ThresholdPoint>> =
        (0..scored.genres.len()).map(|genre| threshold_curve(&predictions, Some(genre))).collect();
    vec![
        precision_recall(evaluated, &curves),
        f1(evaluated, &curves),
        calibration(evaluated, &reliability(&predictions)),
        distributions(evaluated, scored),
    ]
}

/// The point of a curve at which a threshold decides: the last one at or above it.
fn at_threshold(curve: &[ThresholdPoint], threshold: f32) -> Option<&ThresholdPoint> {
    curve[..curve.partition_point(|point| runtime::operating_point::reaches(point.threshold, threshold))].last()
}

/// At most [`POINTS`] of a line's points, with both ends.
fn thinned<T: Copy>(points: &[T]) -> Vec<T> {
    let step = points.len().div_ceil(POINTS).max(1);
    let mut kept: Vec<T> = points.iter().copied().step_by(step).collect();
    if points.len() % step != 1 && step > 1 {
        kept.extend(points.last());
    }
    kept
}

/// A drawing with its legend, and three columns of panels below it, one per genre.
fn genre_panels(keys: &[Key], genres: usize) -> (Svg, Panels) {
    let top = legend_height(46.0, keys) + 6.0;
    let panels = Panels { top, count: genres, columns: 3, height: PANEL };
    let mut svg = Svg::new(panels.bottom());
    legend(&mut svg, 46.0, 0.0, keys);
    (svg, panels)
}

fn precision_recall(evaluated: &Evaluated, curves: &[Vec<ThresholdPoint>]) -> Figure {
    let mut keys: Vec<Key> = (evaluated.points.iter().zip(SERIES.iter().skip(1)))
        .map(|(point, colour)| Key { text: &point.name, colour, mark: Mark::Dot })
        .collect();
    keys.push(Key { text: "prevalence", colour: MUTED, mark: Mark::Dashed });
    let (mut svg, panels) = genre_panels(&keys, curves.len());
    let mut numbers = Vec::new();
    for (genre, curve) in curves.iter().enumerate() {
        let figures = &evaluated.evaluation.genres[genre];
        let name =
            figures.average_precision.map_or(figures.genre.clone(), |ap| format!("{}, AP {ap:.2}", figures.genre));
        let plot = panels.draw(&mut svg, genre, &name, Axis::share(), Axis::share());
        if curve.is_empty() {
            nothing(&mut svg, &plot);
        } else {
            let prevalence = [[0.0, figures.prevalence], [1.0, figures.prevalence]];
            svg.path(prevalence.map(|[x, y]| plot.at(x, y)), MUTED, 1.0, "3 3");
            // Precision means something from the first hit on; where recall does not change, the highest shows.
            let hits = curve.iter().filter(|point| point.recall > 0.0);
            let mut line: Vec<[f64; 2]> = hits.map(|point| [point.recall, point.precision]).collect();
            line.dedup_by(|next, kept| next[0] == kept[0]);
            if let [[x, y]] = line[..] {
                svg.dot(plot.at(x, y), 2.6, SERIES[0], "");
            }
            svg.path(thinned(&line).into_iter().map(|[x, y]| plot.at(x, y)), SERIES[0], 1.4, "");
        }
        let points = evaluated.points.iter().zip(SERIES.iter().skip(1)).filter_map(|(point, colour)| {
            let it = at_threshold(curve, point.thresholds[genre])?;
            let tip = format!(
                "{}, {}: precision {:.3}, recall {:.3} at threshold {:.3}",
                figures.genre, point.name, it.precision, it.recall, point.thresholds[genre]
            );
            svg.dot(plot.at(it.recall, it.precision), 3.4, colour, &tip);
            Some(json!({
                "operating_point": point.name, "threshold": point.thresholds[genre], "precision": it.precision,
                "recall": it.recall,
            }))
        });
        let points: Vec<_> = points.collect();
        numbers.push(json!({
            "genre": figures.genre, "average_precision": figures.average_precision, "prevalence": figures.prevalence,
            "operating_points": points, "curve": curve_numbers(curve),
        }));
    }
    panels.titles(&mut svg, "recall", "precision");
    Figure {
        name: "precision-recall".into(),
        title: "Precision and recall of each genre".into(),
        caption:
            "Each line goes through all thresholds; dots are those of the operating points, and a missing dot is an \
                  operating point that never predicts the genre. The dashed line is what guessing reaches. AP is the \
                  average precision."
                .into(),
        svg: svg.finish("Precision-recall curves of each genre with the operating points"),
        numbers: numbers.into(),
    }
}

fn curve_numbers(curve: &[ThresholdPoint]) -> serde_json::Value {
    let rounded = |value: f64| (value * 1e4).round() / 1e4;
    thinned(curve)
        .into_iter()
        .map(|it| json!([it.threshold, rounded(it.precision), rounded(it.recall), rounded(it.f1)]))
        .collect()
}

fn nothing(svg: &mut Svg, plot: &Plot) {
    let [x, y] = [plot.origin[0] + plot.size[0] / 2.0, plot.origin[1] + plot.size[1] / 2.0];
    svg.text([x, y], "no positive poster", Anchor::Middle, SMALL, MUTED);
}

fn f1(evaluated: &Evaluated, curves: &[Vec<ThresholdPoint>]) -> Figure {
    let mark = format!("threshold of \"{}\"", evaluated.operating_point);
    let keys = [
        Key { text: "F1", colour: SERIES[0], mark: Mark::Line },
        Key { text: &mark, colour: SERIES[1], mark: Mark::Dot },
    ];
    let (mut svg, panels) = genre_panels(&keys, curves.len());
    let mut numbers = Vec::new();
    for (genre, curve) in curves.iter().enumerate() {
        let figures = &evaluated.evaluation.genres[genre];
        let x = Axis::logit(&[0.01, 0.1, 0.5, 0.9]);
        let plot = panels.draw(&mut svg, genre, &figures.genre, x, Axis::share());
        if curve.is_empty() {
            nothing(&mut svg, &plot);
        }
        let line = thinned(curve);
        svg.path(line.iter().map(|it| plot.at(f64::from(it.threshold), it.f1)), SERIES[0], 1.4, "");
        let tip = format!("{}: F1 {:.3} at threshold {:.3}", figures.genre, figures.f1, figures.threshold);
        if !curve.is_empty() {
            svg.dot(plot.at(f64::from(figures.threshold), figures.f1), 3.4, SERIES[1], &tip);
        }
        let best = curve.iter().max_by(|a, b| a.f1.total_cmp(&b.f1));
        numbers.push(json!({
            "genre": figures.genre, "threshold": figures.threshold, "f1": figures.f1,
            "best_f1": best.map(|it| it.f1), "best_threshold": best.map(|it| it.threshold),
            "curve": thinned(curve).into_iter().map(|it| json!([it.threshold, it.f1])).collect::<Vec<_>>(),
        }));
    }
    panels.titles(&mut svg, "threshold in %, log-odds scale", "F1");
    Figure {
        name: "f1-by-threshold".into(),
        title: "F1 against the threshold".into(),
        caption: "A dot on the top of its line is the best threshold in hindsight. Thresholds are chosen on validation, so \
                  that a dot beside the top is no fault; a line without a plateau is a genre that hangs on its threshold."
            .into(),
        svg: svg.finish("F1 of each genre against its threshold"),
        numbers: numbers.into(),
    }
}

fn calibration(evaluated: &Evaluated, bins: &[runtime::metrics::ReliabilityBin]) -> Figure {
    let left = 46.0;
    let mut svg = Svg::new(430.0);
    let size = [WIDTH - left - 14.0, 270.0];
    let plot = Plot { origin: [left, 12.0], size, x: Axis::tenths(), y: Axis::tenths() };
    plot.grid(&mut svg, false, true);
    svg.upright([12.0, 12.0 + size[1] / 2.0], "share that has the genre", Anchor::Middle, 11.0, INK);
    svg.path([plot.at(0.0, 0.0), plot.at(1.0, 1.0)], MUTED, 1.0, "4 3");
    let line: Vec<[f64; 2]> = bins.iter().map(|bin| [bin.probability, bin.frequency]).collect();
    svg.path(line.iter().map(|[x, y]| plot.at(*x, *y)), SERIES[0], 1.6, "");
    for bin in bins {
        // The band that chance explains: two standard deviations of a share of so many pairs.
        let deviation = 1.96 * (bin.probability * (1.0 - bin.probability) / bin.pairs as f64).sqrt();
        let [x, low] = plot.at(bin.probability, bin.probability - deviation);
        let [_, high] = plot.at(bin.probability, bin.probability + deviation);
        svg.line([x, low], [x, high], GRID, 6.0);
    }
    for bin in bins {
        let tip = format!(
            "{} pairs: mean probability {:.3}, {:.3} of them have the genre",
            bin.pairs, bin.probability, bin.frequency
        );
        svg.dot(plot.at(bin.probability, bin.frequency), 4.0, SERIES[0], &tip);
    }
    let most = bins.iter().map(|bin| bin.pairs).max().unwrap_or(1) as f64;
    let base = 390.0;
    for bin in bins {
        // Logarithmic: most pairs are in the first bin.
        let height = 70.0 * (bin.pairs as f64).ln_1p() / most.ln_1p();
        let [x, _] = plot.at(bin.probability, 0.0);
        svg.rect([x - 8.0, base - height], [16.0, height], SERIES[0], 0.35, &format!("{} pairs", bin.pairs));
        svg.text([x, base - height - 3.0], &thousands(bin.pairs), Anchor::Middle, 8.0, MUTED);
    }
    svg.line([left, base], [WIDTH - 14.0, base], GRID, 0.8);
    svg.upright([12.0, base - 38.0], "pairs", Anchor::Middle, 11.0, INK);
    for tenth in 0..=10 {
        let [x, _] = plot.at(f64::from(tenth) / 10.0, 0.0);
        svg.text([x, base + 13.0], &format!("{:.1}", f64::from(tenth) / 10.0), Anchor::Middle, SMALL, MUTED);
    }
    svg.text([left + size[0] / 2.0, 424.0], "probability", Anchor::Middle, 11.0, INK);
    let error = evaluated.evaluation.calibration_error;
    Figure {
        name: "reliability".into(),
        title: "Reliability of the probabilities".into(),
        caption: format!(
            "On the dashed line a probability of 0.3 comes true 3 times in 10; the grey bars are how far chance takes a \
             perfect network from it. Below: (poster, genre) pairs in each bin, on a logarithmic scale. Expected \
             calibration error {error:.4}."
        ),
        svg: svg.finish("Reliability diagram"),
        numbers: json!({ "calibration_error": error, "bins": bins }),
    }
}

/// A number in at most four characters or so.
fn thousands(number: usize) -> String {
    if number < 10_000 { number.to_string() } else { format!("{}k", number / 1000) }
}

/// Shares of a distribution that a box shows: its ends, the box, and the median.
const QUANTILES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];

fn distributions(evaluated: &Evaluated, scored: &ScoredPosters) -> Figure {
    let mark = format!("threshold of \"{}\"", evaluated.operating_point);
    let keys = [
        Key { text: "has the genre", colour: SERIES[0], mark: Mark::Bar },
        Key { text: "has not the genre", colour: SERIES[1], mark: Mark::Bar },
        Key { text: &mark, colour: INK, mark: Mark::Line },
    ];
    let left = label_width(&scored.genres);
    let top = legend_height(0.0, &keys) + 8.0;
    let row = 25.0;
    let height = row * scored.genres.len() as f64;
    let mut svg = Svg::new(top + height + 40.0);
    legend(&mut svg, 0.0, 0.0, &keys);
    let x = Axis::logit(&[0.001, 0.01, 0.1, 0.5, 0.9, 0.99]);
    let plot = Plot { origin: [left, top], size: [WIDTH - left - 18.0, height], x, y: Axis::none() };
    plot.grid(&mut svg, true, false);
    let mut numbers = Vec::new();
    for (genre, name) in scored.genres.iter().enumerate() {
        let y = top + row * genre as f64;
        svg.line([0.0, y], [WIDTH, y], GRID, 0.5);
        svg.text([left - 6.0, y + row / 2.0 + 3.5], name, Anchor::End, SMALL, INK);
        let mut quantiles = Vec::new();
        for (index, (has, colour)) in [(true, SERIES[0]), (false, SERIES[1])].into_iter().enumerate() {
            let values = scored.scores(genre, has);
            let Some(five) = five_quantiles(&values) else {
                quantiles.push(None);
                continue;
            };
            let [low, first, median, third, high] = five.map(|value| plot.at(value, 0.0)[0]);
            let middle = y + 7.5 + 10.0 * index as f64;
            let what = if has { "with" } else { "without" };
            let tip = format!(
                "{name}: {} posters {what} it, median {:.3}, half between {:.3} and {:.3}, nine in ten between {:.3} and \
                 {:.3}",
                values.len(),
                five[2],
                five[1],
                five[3],
                five[0],
                five[4]
            );
            svg.line([low, middle], [high, middle], colour, 1.2);
            svg.rect([first, middle - 3.5], [(third - first).max(1.0), 7.0], colour, 0.55, &tip);
            svg.line([median, middle - 4.0], [median, middle + 4.0], colour, 2.2);
            quantiles.push(Some(five));
        }
        let figures = &evaluated.evaluation.genres[genre];
        let [threshold, _] = plot.at(f64::from(figures.threshold), 0.0);
        svg.line([threshold, y + 2.0], [threshold, y + row - 2.0], INK, 1.4);
        numbers.push(json!({
            "genre": name, "threshold": figures.threshold, "quantiles": QUANTILES, "positives": quantiles[0],
            "negatives": quantiles[1],
        }));
    }
    svg.text(
        [left + plot.size[0] / 2.0, top + height + 32.0],
        "probability in %, log-odds scale",
        Anchor::Middle,
        11.0,
        INK,
    );
    Figure {
        name: "score-distributions".into(),
        title: "Probabilities with and without the genre".into(),
        caption: "A box holds the middle half of the posters, its line nine in ten, and its stroke is the median. The \
                  further the two boxes of a genre are apart, the better it is told; what lies right of the black stroke \
                  is predicted."
            .into(),
        svg: svg.finish("Distribution of the probabilities of each genre"),
        numbers: numbers.into(),
    }
}

/// The [`QUANTILES`] of ascending values, each the nearest value below; none if there is no value.
fn five_quantiles(values: &[f32]) -> Option<[f64; 5]> {
    let last = values.len().checked_sub(1)?;
    Some(QUANTILES.map(|share| f64::from(values[(share * last as f64) as usize])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thinned_line_keeps_both_ends() {
        for count in [0, 1, 2, POINTS - 1, POINTS, POINTS + 1, 2 * POINTS + 1, 1417] {
            let points: Vec<usize> = (0..count).collect();
            let kept = thinned(&points);
            assert!(kept.len() <= POINTS + 1, "{count}");
            assert_eq!((kept.first(), kept.last()), (points.first(), points.last()), "{count}");
        }
    }

    #[test]
    fn a_threshold_decides_at_the_last_score_that_reaches_it() {
        let point = |threshold| ThresholdPoint { threshold, precision: 0.0, recall: 0.0, f1: 0.0 };
        let curve = [0.9, 0.5, 0.1].map(point);
        let cases = [(0.95, None), (0.9, Some(0.9)), (0.6, Some(0.9)), (0.5, Some(0.5)), (0.01, Some(0.1))];
        for (threshold, expected) in cases {
            assert_eq!(at_threshold(&curve, threshold).map(|it| it.threshold), expected, "{threshold}");
        }
    }
}
