//! Every figure of an evaluation against scikit-learn's on the same scores, with complete and with partly unknown
//! labels. `fixtures/scores/make_answers.py` drew the scores and wrote the answers.

#![cfg(feature = "evaluation")]

use std::fs;

use runtime::metrics::{BASELINE_PRECISION, Predictions, evaluate, recall_at_precision};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

const TOLERANCE: f64 = 1e-6;

#[derive(Deserialize)]
struct Scores {
    genres: Vec<String>,
    thresholds: Vec<f32>,
    probabilities: Vec<Vec<f32>>,
    labels: Cases<Vec<Vec<Option<bool>>>>,
}

#[derive(Deserialize)]
struct Cases<T> {
    complete: T,
    partial: T,
}

#[test]
fn figures_equal_those_of_scikit_learn() {
    let scores: Scores = read("scores.json");
    let answers: Cases<Value> = read("answers.json");
    let probabilities = scores.probabilities.concat();
    let mut differences = Vec::new();
    let cases =
        [("complete", scores.labels.complete, answers.complete), ("partial", scores.labels.partial, answers.partial)];
    for (name, labels, answer) in cases {
        let scored = Predictions { genres: &scores.genres, probabilities: &probabilities, labels: &labels.concat() };
        let evaluation = evaluate(&scored, &scores.thresholds, None);
        let mut ours = serde_json::to_value(&evaluation).unwrap();
        // scikit-learn has no calibration error and no bands.
        ours.as_object_mut().unwrap().remove("calibration_error");
        for genre in ours["genres"].as_array_mut().unwrap() {
            genre.as_object_mut().unwrap().remove("reliable");
        }
        compare(name, &ours, &answer, &mut differences);
        compare(
            &format!("{name}: recall_at_precision"),
            &recall_at_precision(&scored, BASELINE_PRECISION).into(),
            &answer["averages"]["recall_at_baseline_precision"],
            &mut differences,
        );
    }
    assert!(differences.is_empty(), "\n{}", differences.join("\n"));
}

fn read<T: DeserializeOwned>(name: &str) -> T {
    let text =
        fs::read_to_string(fixtures::path("scores").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Notes where two JSON values differ: in structure, in text, or by more than the tolerance in a number.
fn compare(place: &str, ours: &Value, theirs: &Value, differences: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) if a.keys().all(|key| b.contains_key(key)) && a.len() == b.len() => {
            for (key, value) in a {
                compare(&format!("{place}.{key}"), value, &b[key], differences);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{place}[{index}]"), a, b, differences);
            }
        }
        (Value::Number(a), Value::Number(b)) if (a.as_f64().unwrap() - b.as_f64().unwrap()).abs() <= TOLERANCE => {}
        _ if ours == theirs => {}
        _ => differences.push(format!("{place}: {ours}, but scikit-learn has {theirs}")),
    }
}
