//! Tables of the report: averages, genres and settings, as HTML and as Markdown.

use std::collections::BTreeMap;

use runtime::metrics::{Averages, Bootstrap, Evaluation, genre_intervals};

use super::page::table;
use super::{Evaluated, Subject, measured};

fn decimals(value: f64) -> String {
    format!("{value:.3}")
}

/// A value with its interval, if there is one.
fn with_interval(value: f64, interval: Option<[f64; 2]>) -> String {
    match interval {
        Some([low, high]) => format!("{value:.3} [{low:.3}, {high:.3}]"),
        None => decimals(value),
    }
}

/// Columns of the averages: name, and value.
type Column = (&'static str, fn(&Averages) -> f64);

const AVERAGES: [Column; 6] = [
    ("mAP", |it| it.mean_average_precision),
    ("ROC AUC", |it| it.mean_roc_auc),
    ("micro F1", |it| it.micro.f1),
    ("macro F1", |it| it.macro_.f1),
    ("micro precision", |it| it.micro.precision),
    ("micro recall", |it| it.micro.recall),
];

/// Count of reliable genres, of those that were tested.
fn in_band(evaluation: &Evaluation) -> String {
    let tested: Vec<bool> = evaluation.genres.iter().filter_map(|it| it.reliable).collect();
    format!("{} of {}", tested.iter().filter(|reliable| **reliable).count(), tested.len())
}

/// A row per measurement: what it is of, then the averages, the calibration error and the reliable genres.
fn average_rows(subjects: &[Subject]) -> Vec<Vec<String>> {
    let row = |(subject, evaluated): (&Subject, &Evaluated)| {
        let it = &evaluated.evaluation;
        let mut row = vec![subject.name.clone(), evaluated.data.clone(), it.posters.to_string()];
        row.push(evaluated.operating_point.clone());
        row.extend(AVERAGES.iter().map(|(_, of)| {
            let interval = it.intervals.as_ref().map(|intervals| [of(&intervals.low), of(&intervals.high)]);
            with_interval(of(&it.averages), interval)
        }));
        row.extend([decimals(it.calibration_error), in_band(it)]);
        row
    };
    measured(subjects).map(row).collect()
}

fn average_head() -> Vec<&'static str> {
    let mut head = vec!["run or model", "data", "posters", "operating point"];
    head.extend(AVERAGES.iter().map(|(name, _)| *name));
    head.extend(["calibration error", "reliable genres"]);
    head
}

/// A table whose rows become its columns: few things with many figures each are read from the top down.
fn upright(head: &[&str], rows: &[Vec<String>]) -> String {
    let names: Vec<&str> = std::iter::once(head[0]).chain(rows.iter().map(|row| row[0].as_str())).collect();
    let turned = (1..head.len()).map(|column| {
        std::iter::once(head[column].to_string()).chain(rows.iter().map(|row| row[column].clone())).collect()
    });
    table(&names, &turned.collect::<Vec<_>>(), false)
}

/// The runs, and what was measured of each.
pub fn overview(subjects: &[Subject]) -> String {
    let mut html = String::new();
    let runs: Vec<Vec<String>> = subjects
        .iter()
        .filter_map(|subject| {
            let training = subject.training.as_ref()?;
            let state = &training.state;
            let best = state.history.get(state.best_epoch.checked_sub(1)?)?;
            let seconds: f64 = state.history.iter().map(|epoch| epoch.seconds).sum();
            Some(vec![
                subject.name.clone(),
                state.train.1.to_string(),
                state.validation.1.to_string(),
                state.genres.len().to_string(),
                format!("{} of {}", state.epochs_done(), training.epochs),
                state.best_epoch.to_string(),
                format!("{:.4}", best.validation_loss),
                decimals(best.mean_average_precision),
                clock(seconds),
            ])
        })
        .collect();
    if !runs.is_empty() {
        let head = [
            "run",
            "training posters",
            "validation posters",
            "genres",
            "epochs done",
            "best epoch",
            "validation loss of it",
            "validation mAP of it",
            "training time",
        ];
        html += &upright(&head, &runs);
    }
    let averages = average_rows(subjects);
    if averages.is_empty() {
        html += "<p>Nothing was measured yet.</p>";
    } else {
        html += &upright(&average_head(), &averages);
        html += "<p>In brackets: 95 % bootstrap intervals over the posters. mAP, AUC and macro figures go over the genres \
                 with at least five positive posters. Reliable genres are those whose frequencies lie within the band \
                 around their probabilities that chance explains.</p>";
    }
    html
}

/// Seconds as hours, minutes and seconds.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The settings: of several subjects those that differ, of one all.
pub fn settings(subjects: &[Subject]) -> Option<String> {
    let with_settings: Vec<&Subject> = subjects.iter().filter(|subject| !subject.settings.is_empty()).collect();
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in with_settings.iter().flat_map(|subject| &subject.settings) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let maps: Vec<BTreeMap<&str, &str>> = with_settings
        .iter()
        .map(|subject| subject.settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect())
        .collect();
    let row = |key: &str| -> Vec<String> {
        let values = maps.iter().map(|map| map.get(key).copied().unwrap_or("-").to_string());
        std::iter::once(key.to_string()).chain(values).collect()
    };
    let (differing, same): (Vec<_>, Vec<_>) =
        keys.into_iter().map(row).partition(|row| row[1..].windows(2).any(|pair| pair[0] != pair[1]));
    let head: Vec<&str> =
        std::iter::once("setting").chain(with_settings.iter().map(|subject| subject.name.as_str())).collect();
    match with_settings.len() {
        0 => None,
        1 => Some(format!(
            "<details><summary>{} settings of {}</summary>{}</details>",
            same.len(),
            quick_xml::escape::escape(head[1]),
            table(&head, &same, false)
        )),
        _ => {
            let differing = if differing.is_empty() {
                "<p>No setting differs.</p>".into()
            } else {
                table(&head, &differing, false)
            };
            let summary = format!("<summary>{} settings that all share</summary>", same.len());
            Some(format!("{differing}<details>{summary}{}</details>", table(&head, &same, false)))
        }
    }
}

/// The genres of a measurement, sortable.
pub fn genres(evaluated: &Evaluated) -> String {
    let intervals = evaluated.scored.as_ref().map(|scored| {
        let (probabilities, labels) = (scored.probabilities(), scored.labels());
        let predictions = scored.predictions(&probabilities, &labels);
        genre_intervals(&predictions, &evaluated.thresholds(), Bootstrap::default())
    });
    let head = ["genre", "positives", "unknown", "threshold", "precision", "recall", "F1", "AP", "AUC", "reliable"];
    let rows: Vec<Vec<String>> = evaluated
        .evaluation
        .genres
        .iter()
        .enumerate()
        .map(|(genre, it)| {
            let interval = intervals.as_ref().map(|intervals| intervals[genre]);
            vec![
                it.genre.clone(),
                it.support.to_string(),
                (evaluated.evaluation.posters - it.known).to_string(),
                decimals(it.threshold.into()),
                decimals(it.precision),
                decimals(it.recall),
                with_interval(it.f1, interval.map(|it| it.f1)),
                it.average_precision
                    .map_or("-".into(), |ap| with_interval(ap, interval.and_then(|it| it.average_precision))),
                it.roc_auc.map_or("-".into(), decimals),
                it.reliable.map_or("-", |reliable| if reliable { "yes" } else { "no" }).into(),
            ]
        })
        .collect();
    let what = format!(
        "<p>{} posters at the operating point \"{}\"; click a head to sort. In brackets: 95 % bootstrap intervals.</p>",
        evaluated.evaluation.posters,
        quick_xml::escape::escape(&evaluated.operating_point)
    );
    what + &table(&head, &rows, true)
}

/// The tables as Markdown: averages, genres of each measurement, and genres side by side.
pub fn markdown(subjects: &[Subject]) -> String {
    let mut text = String::from("# Metrics\n\n");
    text +=
        &markdown_table(&average_head().into_iter().map(String::from).collect::<Vec<_>>(), 2, &average_rows(subjects));
    for (subject, evaluated) in measured(subjects) {
        text += &format!("\n## {} on {}\n\n```\n{}```\n", subject.name, evaluated.data, evaluated.evaluation.table());
    }
    let all: Vec<(&Subject, &Evaluated)> = measured(subjects).collect();
    if all.len() > 1 {
        text += "\n## Genres side by side\n\n";
        text += &side_by_side(&all);
    }
    text
}

/// AP and F1 of each genre in each measurement.
fn side_by_side(all: &[(&Subject, &Evaluated)]) -> String {
    let mut head = vec!["genre".to_string()];
    for (subject, evaluated) in all {
        let name = format!("{} on {}", subject.name, evaluated.data);
        head.extend([format!("{name}: positives"), "AP".into(), "F1".into()]);
    }
    let mut genres: Vec<&str> = Vec::new();
    for it in all.iter().flat_map(|(_, evaluated)| &evaluated.evaluation.genres) {
        if !genres.contains(&it.genre.as_str()) {
            genres.push(&it.genre);
        }
    }
    let rows: Vec<Vec<String>> = genres
        .into_iter()
        .map(|genre| {
            let mut row = vec![genre.to_string()];
            for (_, evaluated) in all {
                match evaluated.evaluation.genres.iter().find(|it| it.genre == genre) {
                    Some(it) => row.extend([
                        it.support.to_string(),
                        it.average_precision.map_or("-".into(), decimals),
                        decimals(it.f1),
                    ]),
                    None => row.extend(["-".into(), "-".into(), "-".into()]),
                }
            }
            row
        })
        .collect();
    markdown_table(&head, 1, &rows)
}

/// A Markdown table whose columns after the first `texts` are aligned to the right.
fn markdown_table(head: &[String], texts: usize, rows: &[Vec<String>]) -> String {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    let rule: Vec<&str> = (0..head.len()).map(|column| if column < texts { "---" } else { "---:" }).collect();
    let rows: String = rows.iter().map(|row| line(row)).collect();
    format!("{}|{}|\n{rows}", line(head), rule.join("|"))
}
