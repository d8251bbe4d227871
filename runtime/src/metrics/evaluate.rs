//! From probabilities and labels to an [`Evaluation`].

use super::bootstrap::interval;
use super::calibration;
use super::confusion::ratio;
use super::evaluation::{Bootstrap, Evaluation, GenreFigures, GenreIntervals, MIN_SUPPORT};
use super::precomputed::Precomputed;
use super::predictions::Predictions;
use super::ranking::{self, Ranking};

/// Measures `predictions` with one threshold per genre (`[G]`).
///
/// The same input gives the same figures, intervals included, whatever the number of threads.
///
/// # Panics
/// If there is no poster or no genre, if the lengths disagree, if a probability lies outside `0..=1`, or if
/// a bootstrap of no resamples is asked for.
pub fn evaluate(predictions: &Predictions, thresholds: &[f32], bootstrap: Option<Bootstrap>) -> Evaluation {
    predictions.check();
    assert_eq!(thresholds.len(), predictions.genres.len(), "there must be one threshold per genre");
    let precomputed = Precomputed::new(predictions, thresholds);
    let once = vec![1; predictions.posters()];
    let confusions = precomputed.confusions(&once);
    let genres = (0..predictions.genres.len())
        .map(|g| {
            let decided = confusions[g].precision_recall();
            let support = confusions[g].support();
            let known = confusions[g].known();
            GenreFigures {
                genre: predictions.genres[g].clone(),
                support,
                known,
                prevalence: ratio(support, known),
                threshold: thresholds[g],
                precision: decided.precision,
                recall: decided.recall,
                f1: decided.f1,
                average_precision: ranking::average_precision(precomputed.rankings[g].cuts(&once)),
                roc_auc: ranking::roc_auc(precomputed.rankings[g].cuts(&once)),
                reliable: (support >= MIN_SUPPORT).then(|| calibration::is_reliable(predictions.known(g).collect())),
                confusion: confusions[g],
            }
        })
        .collect();
    Evaluation {
        posters: predictions.posters(),
        genres,
        macro_genres: precomputed.macro_genres.iter().map(|&g| predictions.genres[g].clone()).collect(),
        averages: precomputed.averages(&once),
        calibration_error: calibration::expected_calibration_error(
            (0..predictions.genres.len()).flat_map(|g| predictions.known(g)),
        ),
        intervals: bootstrap.map(|it| it.intervals(predictions.posters(), |weights| precomputed.averages(weights))),
        confused_with: precomputed.confused_with(),
    }
}

/// 95 % bootstrap intervals of F1 and average precision of each genre, `[G]`, from the same resamples as the intervals
/// of [`evaluate`].
///
/// # Panics
/// As [`evaluate`] does.
pub fn genre_intervals(predictions: &Predictions, thresholds: &[f32], bootstrap: Bootstrap) -> Vec<GenreIntervals> {
    predictions.check();
    assert_eq!(thresholds.len(), predictions.genres.len(), "there must be one threshold per genre");
    let precomputed = Precomputed::new(predictions, thresholds);
    let resampled = bootstrap.resample(predictions.posters(), |weights| {
        let f1 = precomputed.confusions(weights).into_iter().map(|it| it.precision_recall().f1);
        let precision = precomputed.rankings.iter().map(|it| ranking::average_precision(it.cuts(weights)));
        f1.zip(precision).collect::<Vec<_>>()
    });
    (0..predictions.genres.len())
        .map(|g| {
            // A resample may hold no positive of a rare genre: it has no average precision then.
            let precisions: Vec<f64> = resampled.iter().filter_map(|it| it[g].1).collect();
            GenreIntervals {
                f1: interval(resampled.iter().map(|it| it[g].0).collect()),
                average_precision: (!precisions.is_empty()).then(|| interval(precisions)),
            }
        })
        .collect()
}

/// Largest recall over the known (poster, genre) pairs that one threshold for all genres reaches while their
/// precision is at least `target` (`0..=1`); 0 if no threshold reaches it.
///
/// # Panics
/// As [`evaluate`] does.
pub fn recall_at_precision(predictions: &Predictions, target: f64) -> f64 {
    predictions.check();
    let once = vec![1; predictions.posters()];
    ranking::recall_at_precision(Ranking::of_all_genres(predictions).cuts(&once), target)
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::super::predictions::tests::{Drawn, PREVALENCES};
    use super::*;

    fn one_genre<'a>(genres: &'a [String], probabilities: &'a [f32], labels: &'a [Option<bool>]) -> Predictions<'a> {
        Predictions { genres, probabilities, labels }
    }

    #[test]
    fn rankings_have_the_figures_worked_out_by_hand() {
        const YES: Option<bool> = Some(true);
        const NO: Option<bool> = Some(false);
        struct Case {
            what: &'static str,
            probabilities: &'static [f32],
            labels: &'static [Option<bool>],
            average_precision: Option<f64>,
            roc_auc: Option<f64>,
            recall_at_60: f64,
        }
        let cases = [
            Case {
                what: "perfect",
                probabilities: &[0.9, 0.8, 0.2, 0.1],
                labels: &[YES, YES, NO, NO],
                average_precision: Some(1.0),
                roc_auc: Some(1.0),
                recall_at_60: 1.0,
            },
            Case {
                what: "reversed",
                probabilities: &[0.1, 0.2, 0.8, 0.9],
                labels: &[YES, YES, NO, NO],
                average_precision: Some((1.0 / 3.0 + 2.0 / 4.0) / 2.0),
                roc_auc: Some(0.0),
                recall_at_60: 0.0,
            },
            Case {
                what: "mixed, with precisions 1, 1/2, 2/3 and 1/2",
                probabilities: &[0.1, 0.4, 0.35, 0.8],
                labels: &[NO, NO, YES, YES],
                average_precision: Some((1.0 + 2.0 / 3.0) / 2.0),
                roc_auc: Some(0.75),
                recall_at_60: 1.0,
            },
            Case {
                what: "all tied",
                probabilities: &[0.5; 4],
                labels: &[YES, NO, NO, NO],
                average_precision: Some(0.25),
                roc_auc: Some(0.5),
                recall_at_60: 0.0,
            },
            Case {
                what: "a tie between a positive and a negative",
                probabilities: &[0.5, 0.5, 0.2],
                labels: &[YES, NO, NO],
                average_precision: Some(0.5),
                roc_auc: Some(0.75),
                recall_at_60: 0.0,
            },
            Case {
                what: "perfect but for an unknown",
                probabilities: &[0.9, 0.95, 0.1],
                labels: &[YES, None, NO],
                average_precision: Some(1.0),
                roc_auc: Some(1.0),
                recall_at_60: 1.0,
            },
            Case {
                what: "no negative",
                probabilities: &[0.9, 0.1],
                labels: &[YES, YES],
                average_precision: None,
                roc_auc: None,
                recall_at_60: 1.0,
            },
            Case {
                what: "no positive",
                probabilities: &[0.9, 0.1],
                labels: &[NO, NO],
                average_precision: None,
                roc_auc: None,
                recall_at_60: 0.0,
            },
            Case {
                what: "nothing known",
                probabilities: &[0.9, 0.1],
                labels: &[None, None],
                average_precision: None,
                roc_auc: None,
                recall_at_60: 0.0,
            },
        ];
        let genres = ["Drama".to_owned()];
        let mut failures = Vec::new();
        for case in cases {
            let predictions = one_genre(&genres, case.probabilities, case.labels);
            let figures = &evaluate(&predictions, &[0.5], None).genres[0];
            let ours = (figures.average_precision, figures.roc_auc, recall_at_precision(&predictions, 0.6));
            let expected = (case.average_precision, case.roc_auc, case.recall_at_60);
            if ours != expected {
                failures.push(format!("{}: {ours:?}, expected {expected:?}", case.what));
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    #[test]
    fn unknown_labels_add_nothing() {
        let drawn = Drawn::new(80, &PREVALENCES, 1);
        let mut other = drawn.clone();
        for (probability, label) in other.probabilities.iter_mut().zip(&other.labels) {
            if label.is_none() {
                *probability = 1.0 - *probability;
            }
        }
        assert_ne!(drawn.probabilities, other.probabilities);
        assert_eq!(evaluate(&drawn.predictions(), &[0.3; 7], None), evaluate(&other.predictions(), &[0.3; 7], None));
    }

    #[test]
    fn the_order_of_the_posters_does_not_matter() {
        let drawn = Drawn::new(80, &PREVALENCES, 2);
        let mut forward = evaluate(&drawn.predictions(), &[0.3; 7], None);
        let mut backward = evaluate(&drawn.reversed().predictions(), &[0.3; 7], None);
        for figure in super::super::bootstrap::figures() {
            // Sums over posters in another order differ in their last bits.
            let (a, b) = (figure(&mut forward.averages), figure(&mut backward.averages));
            assert!((*a - *b).abs() < 1e-12, "{a} and {b}");
            *a = *b;
        }
        assert_eq!(forward, backward);
    }

    #[test]
    fn higher_thresholds_never_raise_recall() {
        for seed in 0..5 {
            let drawn = Drawn::new(60, &PREVALENCES, seed);
            let recalls: Vec<Vec<f64>> = (0..=20)
                .map(|step| evaluate(&drawn.predictions(), &[step as f32 / 20.0; 7], None))
                .map(|it| it.genres.iter().map(|genre| genre.recall).collect())
                .collect();
            for (lower, higher) in recalls.iter().zip(&recalls[1..]) {
                assert!(lower.iter().zip(higher).all(|(l, h)| l >= h), "{lower:?} {higher:?}");
            }
            assert!(recalls[0].iter().take(4).all(|recall| *recall == 1.0), "{recalls:?}");
        }
    }

    #[test]
    fn survives_json() {
        let drawn = Drawn::new(80, &PREVALENCES, 3);
        let bootstrap = Bootstrap { resamples: 10, seed: 1 };
        let evaluation = evaluate(&drawn.predictions(), &[0.3; 7], Some(bootstrap));
        let json = serde_json::to_string(&evaluation).unwrap();
        let back: Evaluation = serde_json::from_str(&json).unwrap();
        assert_eq!(back.table(), evaluation.table());
        assert_eq!(back.confusion_table(), evaluation.confusion_table());
    }

    #[test]
    fn wrong_input_is_refused_by_name() {
        struct Case {
            genres: usize,
            probabilities: &'static [f32],
            labels: usize,
            thresholds: usize,
            message: &'static str,
        }
        let cases = [
            Case { genres: 0, probabilities: &[], labels: 0, thresholds: 0, message: "at least one genre" },
            Case { genres: 2, probabilities: &[], labels: 0, thresholds: 2, message: "whole posters of 2 genres" },
            Case { genres: 2, probabilities: &[0.5; 3], labels: 3, thresholds: 2, message: "whole posters" },
            Case { genres: 2, probabilities: &[0.5; 2], labels: 4, thresholds: 2, message: "one label" },
            Case { genres: 2, probabilities: &[0.5, 1.5], labels: 2, thresholds: 2, message: "in 0..=1" },
            Case { genres: 2, probabilities: &[0.5, f32::NAN], labels: 2, thresholds: 2, message: "in 0..=1" },
            Case { genres: 2, probabilities: &[0.5; 2], labels: 2, thresholds: 3, message: "one threshold per genre" },
        ];
        let mut failures = Vec::new();
        for case in cases {
            let refusal = catch_unwind(|| {
                let predictions = Predictions {
                    genres: &vec![String::new(); case.genres],
                    probabilities: case.probabilities,
                    labels: &vec![None; case.labels],
                };
                evaluate(&predictions, &vec![0.5; case.thresholds], None)
            });
            let panic = refusal.map(|_| ()).expect_err(case.message);
            let message = panic.downcast_ref::<String>().cloned();
            let message = message.or(panic.downcast_ref::<&str>().map(|it| it.to_string()));
            if !message.as_ref().is_some_and(|it| it.contains(case.message)) {
                failures.push(format!("{message:?} lacks {:?}", case.message));
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    #[test]
    fn the_intervals_of_a_genre_enclose_its_figures() {
        let drawn = Drawn::new(400, &PREVALENCES, 9);
        let thresholds = [0.3; PREVALENCES.len()];
        let evaluation = evaluate(&drawn.predictions(), &thresholds, None);
        let intervals = genre_intervals(&drawn.predictions(), &thresholds, Bootstrap { resamples: 200, seed: 1 });
        for (figures, interval) in evaluation.genres.iter().zip(intervals) {
            let encloses = |[low, high]: [f64; 2], value: f64| low <= value && value <= high;
            assert!(encloses(interval.f1, figures.f1), "{figures:?} {interval:?}");
            assert_eq!(interval.average_precision.is_some(), figures.average_precision.is_some(), "{figures:?}");
            if let (Some(interval), Some(value)) = (interval.average_precision, figures.average_precision) {
                assert!(encloses(interval, value), "{figures:?} {interval:?}");
            }
        }
    }
}
