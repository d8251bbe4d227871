//! Right and wrong decisions: counts per genre, what is predicted in place of a missed genre, and co-occurrence.

use runtime::metrics::{Cooccurrence, cooccurrence};
use serde_json::json;

use super::axes::SMALL;
use super::genres::{HeatMap, label_width};
use super::svg::{Anchor, GRID, INK, MUTED, SERIES, Svg, WIDTH};
use super::{Evaluated, Figure};
use crate::scored::ScoredPosters;

fn genres(evaluated: &Evaluated) -> Vec<String> {
    evaluated.evaluation.genres.iter().map(|it| it.genre.clone()).collect()
}

/// The four counts of each genre: positives found and missed, negatives predicted and left out.
pub fn counts(evaluated: &Evaluated) -> Figure {
    let names = genres(evaluated);
    let left = label_width(&names);
    let (top, row) = (44.0, 18.0);
    let mut svg = Svg::new(top + row * names.len() as f64 + 30.0);
    let gap = 14.0;
    let width = (WIDTH - left - gap) / 4.0;
    let x = |column: usize| left + width * column as f64 + if column > 1 { gap } else { 0.0 };
    for (first, text) in [(0, "has the genre"), (2, "has not the genre")] {
        svg.text([x(first) + width, 11.0], text, Anchor::Middle, 11.0, INK);
        svg.line([x(first) + 2.0, 17.0], [x(first) + 2.0 * width - 2.0, 17.0], MUTED, 0.8);
    }
    for (column, text) in ["found (TP)", "missed (FN)", "predicted (FP)", "left out (TN)"].into_iter().enumerate() {
        svg.text([x(column) + width / 2.0, 34.0], text, Anchor::Middle, SMALL, INK);
    }
    for (index, figures) in evaluated.evaluation.genres.iter().enumerate() {
        let y = top + row * index as f64;
        svg.text([left - 6.0, y + row / 2.0 + 3.5], &figures.genre, Anchor::End, SMALL, INK);
        let it = &figures.confusion;
        let cells = [
            (it.true_positives, figures.support, SERIES[0]),
            (it.false_negatives, figures.support, SERIES[1]),
            (it.false_positives, figures.known - figures.support, SERIES[1]),
            (it.true_negatives, figures.known - figures.support, SERIES[0]),
        ];
        for (column, (number, of, colour)) in cells.into_iter().enumerate() {
            let share = if of == 0 { 0.0 } else { number as f64 / of as f64 };
            let tip = format!("{}: {number} of {of} ({:.0} %)", figures.genre, 100.0 * share);
            let (corner, size) = ([x(column) + 1.0, y + 1.0], [width - 2.0, row - 2.0]);
            svg.rect(corner, size, GRID, 0.45, &tip);
            if share > 0.0 {
                // Never so full that the number in it cannot be read.
                svg.rect(corner, size, colour, 0.6 * share.max(0.06), &tip);
            }
            svg.text([x(column) + width / 2.0, y + row / 2.0 + 3.5], &number.to_string(), Anchor::Middle, SMALL, INK);
        }
    }
    let bottom = top + row * names.len() as f64 + 18.0;
    svg.text(
        [left, bottom],
        "posters; the fuller the colour, the larger the share of both columns",
        Anchor::Start,
        SMALL,
        MUTED,
    );
    Figure {
        name: "decisions".into(),
        title: "Right and wrong decisions".into(),
        caption: format!(
            "At the operating point \"{}\". Blue is right, orange is wrong; only posters whose label is known count.",
            evaluated.operating_point
        ),
        svg: svg.finish("True and false positives and negatives of each genre"),
        numbers: evaluated
            .evaluation
            .genres
            .iter()
            .map(|it| json!({ "genre": it.genre, "confusion": it.confusion }))
            .collect(),
    }
}

/// Which genres are predicted where one is missed.
pub fn missed(evaluated: &Evaluated) -> Figure {
    let names = genres(evaluated);
    let table = &evaluated.evaluation;
    let cell = |row: usize, column: usize| {
        let missed = table.genres[row].confusion.false_negatives;
        if row == column || missed == 0 {
            return None;
        }
        let times = table.confused_with[row][column];
        let tip = format!("{} missed {missed} times: {} predicted in {times} of them", names[row], names[column]);
        Some((times as f64 / missed as f64, tip))
    };
    let map = HeatMap {
        rows: &names,
        columns: &names,
        cell: &cell,
        scale: "share of the posters where it was missed",
        row_title: "missed genre",
        column_title: "genre predicted on the same poster",
    };
    Figure {
        name: "missed".into(),
        title: "Predicted where a genre was missed".into(),
        caption: "Each row takes the posters that have the genre without being given it. Predictions count whether \
                  right or wrong, so frequent genres fill their column; an empty row is a genre that was never missed."
            .into(),
        svg: map.draw("Genres predicted where each genre was missed"),
        numbers: json!({
            "genres": names,
            "missed": table.genres.iter().map(|it| it.confusion.false_negatives).collect::<Vec<_>>(),
            "predicted_instead": table.confused_with,
        }),
    }
}

/// Co-occurrence in the labels, and in the predictions.
pub fn cooccurrences(evaluated: &Evaluated, scored: &ScoredPosters) -> [Figure; 2] {
    let (probabilities, labels) = (scored.probabilities(), scored.labels());
    let Cooccurrence { labelled, predicted } =
        cooccurrence(&scored.predictions(&probabilities, &labels), &evaluated.thresholds());
    let figure = |name: &str, title: &str, what: &str, counts: Vec<Vec<usize>>| {
        let names = &scored.genres;
        let cell = |row: usize, column: usize| {
            let (with, both) = (counts[row][row], counts[row][column]);
            if row == column || with == 0 {
                return None;
            }
            let tip = format!("of {with} posters {what} {}, {both} {what} {}", names[row], names[column]);
            Some((both as f64 / with as f64, tip))
        };
        let map = HeatMap {
            rows: names,
            columns: names,
            cell: &cell,
            scale: "share of the row's posters",
            row_title: "of the posters with this genre",
            column_title: "have this one too",
        };
        Figure {
            name: name.into(),
            title: title.into(),
            caption:
                "Over the posters whose labels of both genres are known; an empty row is a genre without posters. \
                      The two tables alike mean that the network has learned which genres go together."
                    .into(),
            svg: map.draw(title),
            numbers: json!({ "genres": names, "posters": counts }),
        }
    };
    [
        figure("labels-together", "Genres together in the labels", "labelled", labelled),
        figure("predictions-together", "Genres together in the predictions", "predicted", predicted),
    ]
}
