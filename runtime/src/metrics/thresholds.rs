//! Choosing thresholds: the four operating points of a model, from its predictions on validation posters.
//!
//! Every threshold lies strictly inside (0, 1), and midway between two neighbouring distinct validation scores, so
//! that the float noise between two machines does not flip a decision. (The thresholds of `balanced` are blends of such
//! thresholds.) The precision or recall that the description of an
//! operating point states was measured on the validation posters: on others it holds less exactly, the fewer the
//! positives the less.

use super::predictions::Predictions;
use super::ranking::{Cut, Ranking};
use crate::operating_point::OperatingPoint;

/// What a genre's own threshold counts in `balanced`, beside the one of all genres: macro F1 asks for the former, micro F1
/// for the latter. Two to one was best for their sum over random halves of 999 validation posters.
const OWN_WEIGHT: f64 = 2.0 / 3.0;

/// Precision that `precise` asks of each genre: three predictions in four are right.
const PRECISE: f64 = 0.75;

/// Predictions without which a genre's precision counts as unmeasured. A genre that is right half of the time gets 8
/// of 10 by luck once in 18 times, but 4 of 5 once in 5.
const MIN_PREDICTED: usize = 10;

/// Recall that `recall` asks of each genre.
const RECALL: f64 = 0.8;

/// Micro precision that `uniform` asks: a little over the 0.579 of the earlier published baseline
/// ([`BASELINE_PRECISION`](super::BASELINE_PRECISION)), to still exceed it on unseen posters.
const UNIFORM_PRECISION: f64 = 0.60;

/// The four operating points, chosen on the posters in `predictions`, which should be neither those the model was trained
/// on nor those it will be tested on:
///
/// * `balanced`: per genre the threshold of best expected F1, if every probability is right (Ye, Chai, Lee and Chieu,
///   Optimizing F-measures: a tale of two approaches, ICML 2012): the search for the best F1 of the labels themselves
///   takes the luck of a few positives for knowledge. So the probabilities should be calibrated. The logit of the
///   threshold is drawn by a third toward that of the best expected micro F1 of all genres.
/// * `precise`: per genre the lowest threshold at which three predictions in four are right, counting at least ten
///   predictions. A genre that keeps this promise nowhere is silenced: whoever asks for precision would rather not
///   hear of a genre than hear of it wrongly. Its threshold lies halfway between its highest score and 1, so that
///   only a poster far stronger than any seen can still have it.
/// * `recall`: per genre the highest threshold that finds four positives in five. A genre without positives takes the
///   threshold that does so over all pairs.
/// * `uniform`: one threshold for all genres, the lowest at which the precision over all pairs is 0.60; if it is
///   nowhere, halfway between the highest score and 1.
///
/// # Panics
/// If there is no poster or no genre, if the lengths disagree, or if a probability lies outside `0..=1`.
pub fn choose(predictions: &Predictions) -> Vec<OperatingPoint> {
    predictions.check();
    let pooled = Curve::new(Ranking::of_all_genres(predictions), predictions.posters());
    let genres: Vec<_> = (0..predictions.genres.len())
        .map(|g| Curve::new(Ranking::of_genre(predictions, g), predictions.posters()))
        .collect();
    vec![
        balanced(&genres, &pooled),
        precise(&genres, predictions.genres),
        recall(&genres, &pooled),
        uniform(&genres, &pooled),
    ]
}

fn balanced(genres: &[Curve], pooled: &Curve) -> OperatingPoint {
    OperatingPoint {
        name: "balanced".to_owned(),
        description: "Best expected F1 of each genre, leaning on the best threshold of all genres.".to_owned(),
        thresholds: best_f1_thresholds(genres, pooled, OWN_WEIGHT),
    }
}

fn precise(genres: &[Curve], names: &[String]) -> OperatingPoint {
    let reached: Vec<_> = genres.iter().map(|it| it.lowest_with_precision(PRECISE)).collect();
    let silent: Vec<&str> = (names.iter().zip(&reached))
        .filter(|(_, threshold)| threshold.is_none())
        .map(|(name, _)| name.as_str())
        .collect();
    let mut description = format!("At least {:.0} % of the predictions of each genre are right.", 100.0 * PRECISE);
    if !silent.is_empty() {
        description += &format!(" Never predicted, for they do not reach it: {}.", silent.join(", "));
    }
    OperatingPoint {
        name: "precise".to_owned(),
        description,
        thresholds: (genres.iter().zip(reached))
            .map(|(curve, threshold)| threshold.unwrap_or(curve.unreachable))
            .collect(),
    }
}

fn recall(genres: &[Curve], pooled: &Curve) -> OperatingPoint {
    let of_all = pooled.highest_with_recall(RECALL);
    OperatingPoint {
        name: "recall".to_owned(),
        description: format!("Finds at least {:.0} % of the posters of each genre.", 100.0 * RECALL),
        thresholds: (genres.iter())
            .map(|it| it.highest_with_recall(RECALL).or(of_all).unwrap_or(it.unreachable))
            .collect(),
    }
}

fn uniform(genres: &[Curve], pooled: &Curve) -> OperatingPoint {
    let threshold = pooled.lowest_with_precision(UNIFORM_PRECISION).unwrap_or(pooled.unreachable);
    OperatingPoint {
        name: "uniform".to_owned(),
        description: format!(
            "One threshold for all genres, at which {:.0} % of all predictions are right.",
            100.0 * UNIFORM_PRECISION
        ),
        thresholds: vec![threshold; genres.len()],
    }
}

fn best_f1_thresholds(genres: &[Curve], pooled: &Curve, own_weight: f64) -> Vec<f32> {
    let of_all = pooled.best_expected_f1().unwrap_or(pooled.unreachable);
    let blend = |curve: &Curve| {
        let own = curve.best_expected_f1().unwrap_or(of_all);
        sigmoid(own_weight * logit(own) + (1.0 - own_weight) * logit(of_all))
    };
    genres.iter().map(blend).collect()
}

/// The thresholds that tell one decision on validation posters from another, and what each gives.
struct Curve {
    /// From the highest threshold to the lowest.
    candidates: Vec<Candidate>,
    /// Known positives.
    support: usize,
    /// Positives, if every probability is right.
    expected: f64,
    /// A threshold above all scores.
    unreachable: f32,
}

struct Candidate {
    threshold: f32,
    cut: Cut,
    /// Positives among those predicted, if every probability is right.
    expected: f64,
}

impl Curve {
    fn new(ranking: Ranking, posters: usize) -> Self {
        let cuts: Vec<_> = ranking.cuts(&vec![1; posters]).collect();
        let next_scores = cuts.iter().skip(1).map(|cut| cut.score).chain([0.0]);
        let (mut expected, mut predicted) = (0.0, 0);
        let expectations = cuts.iter().map(|cut| {
            expected += f64::from(cut.score) * (cut.predicted - predicted) as f64;
            predicted = cut.predicted;
            expected
        });
        let expectations: Vec<f64> = expectations.collect();
        let candidates = (cuts.iter().zip(next_scores).zip(&expectations))
            .filter_map(|((&cut, next), &expected)| {
                Some(Candidate { threshold: between(next, cut.score)?, cut, expected })
            })
            .collect();
        let highest = cuts.first().map_or(1.0, |cut| cut.score);
        let expected = expectations.last().copied().unwrap_or(0.0);
        Self {
            candidates,
            support: ranking.positives(),
            expected,
            unreachable: between(highest, 1.0).unwrap_or(1.0 - f32::EPSILON / 2.0),
        }
    }

    /// Of equal expected F1 the highest threshold; `None` if no positive is expected.
    fn best_expected_f1(&self) -> Option<f32> {
        let f1 = |it: &Candidate| 2.0 * it.expected / (it.cut.predicted as f64 + self.expected);
        let best = self.candidates.iter().rev().max_by(|a, b| f1(a).total_cmp(&f1(b)))?;
        (best.expected > 0.0).then_some(best.threshold)
    }

    fn lowest_with_precision(&self, target: f64) -> Option<f32> {
        let kept = |it: &&Candidate| it.cut.predicted >= MIN_PREDICTED && it.cut.precision() >= target;
        Some(self.candidates.iter().rev().find(kept)?.threshold)
    }

    /// `None` without positives; the lowest threshold if too many positives score 0.
    fn highest_with_recall(&self, target: f64) -> Option<f32> {
        let kept = |it: &&Candidate| it.cut.true_positives as f64 >= target * self.support as f64;
        let reached = self.candidates.iter().find(kept).or(self.candidates.last());
        (self.support > 0).then_some(reached?.threshold)
    }
}

/// A threshold strictly inside (0, 1), above `lower` and not above `higher`, midway if floats allow.
fn between(lower: f32, higher: f32) -> Option<f32> {
    let middle = lower + (higher - lower) / 2.0;
    let threshold = if middle > lower { middle } else { higher };
    (threshold > lower && threshold < 1.0).then_some(threshold)
}

fn logit(probability: f32) -> f64 {
    let probability = f64::from(probability);
    (probability / (1.0 - probability)).ln()
}

fn sigmoid(logit: f64) -> f32 {
    (1.0 / (1.0 + (-logit).exp())) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::predictions::tests::{Drawn, PREVALENCES};
    use crate::metrics::{GenreFigures, evaluate};

    fn curves(predictions: &Predictions) -> (Vec<Curve>, Curve) {
        let posters = predictions.posters();
        let genres = 0..predictions.genres.len();
        (
            genres.map(|g| Curve::new(Ranking::of_genre(predictions, g), posters)).collect(),
            Curve::new(Ranking::of_all_genres(predictions), posters),
        )
    }

    fn chosen(predictions: &Predictions, name: &str) -> OperatingPoint {
        choose(predictions).into_iter().find(|it| it.name == name).unwrap()
    }

    /// The known scores of all posters, which as thresholds give every decision there is.
    fn scores(drawn: &Drawn) -> Vec<f32> {
        let known = drawn.probabilities.iter().zip(&drawn.labels);
        let mut scores: Vec<f32> = known.filter_map(|(p, label)| label.map(|_| *p)).collect();
        scores.sort_by(f32::total_cmp);
        scores.dedup();
        scores
    }

    fn predicted(figures: &GenreFigures) -> usize {
        figures.confusion.true_positives + figures.confusion.false_positives
    }

    #[test]
    fn thresholds_lie_inside_the_unit_interval_whatever_the_scores() {
        struct Case {
            what: &'static str,
            probabilities: &'static [f32],
            labels: &'static [Option<bool>],
        }
        let case = |what, probabilities, labels| Case { what, probabilities, labels };
        let cases = [
            case("zeros", &[0.0; 12], &[Some(true); 12]),
            case("ones", &[1.0; 12], &[Some(true); 12]),
            case("zero and one", &[0.0, 1.0], &[Some(true), Some(true)]),
            case("next to one", &[1.0 - f32::EPSILON / 2.0, 1.0], &[Some(true), Some(false)]),
            case("next to zero", &[1e-45, 3e-45], &[Some(false), Some(true)]),
            case("no positive", &[0.3, 0.6], &[Some(false), Some(false)]),
            case("nothing known", &[0.3, 0.6], &[None, None]),
        ];
        let genres = ["Drama".to_owned()];
        let mut failures = Vec::new();
        for Case { what, probabilities, labels } in cases {
            for point in choose(&Predictions { genres: &genres, probabilities, labels }) {
                if !point.thresholds.iter().all(|it| 0.0 < *it && *it < 1.0) {
                    failures.push(format!("{what}: {point:?}"));
                }
            }
        }
        assert!(failures.is_empty(), "{}", failures.join("\n"));
    }

    #[test]
    fn precise_is_the_lowest_threshold_that_keeps_its_promise() {
        let mut silent = 0;
        for seed in 0..3 {
            let drawn = Drawn::new(150, &PREVALENCES, seed);
            let figures = |thresholds: &[f32]| evaluate(&drawn.predictions(), thresholds, None).genres;
            let keeps = |it: &GenreFigures| predicted(it) >= MIN_PREDICTED && it.precision >= PRECISE;
            let point = chosen(&drawn.predictions(), "precise");
            let ours = figures(&point.thresholds);
            for it in &ours {
                let named = point.description.contains(&it.genre);
                assert!(keeps(it) != named && named == (predicted(it) == 0), "seed {seed}: {it:?}");
                silent += usize::from(named);
            }
            for score in scores(&drawn) {
                for (ours, other) in ours.iter().zip(figures(&[score; PREVALENCES.len()])) {
                    let predicts_more = predicted(&other) > predicted(ours);
                    assert!(!(predicts_more && keeps(&other)), "seed {seed}: {ours:?} {other:?}");
                }
            }
        }
        assert!((1..35).contains(&silent), "{silent} of 35: the test needs both outcomes");
    }

    #[test]
    fn recall_is_the_highest_threshold_that_keeps_its_promise() {
        for seed in 0..3 {
            let drawn = Drawn::new(150, &PREVALENCES, seed);
            let figures = |thresholds: &[f32]| evaluate(&drawn.predictions(), thresholds, None).genres;
            let keeps = |it: &GenreFigures| it.support == 0 || it.recall >= RECALL;
            let ours = figures(&chosen(&drawn.predictions(), "recall").thresholds);
            assert!(ours.iter().all(keeps), "seed {seed}: {ours:?}");
            for score in scores(&drawn) {
                for (ours, other) in ours.iter().zip(figures(&[score; PREVALENCES.len()])) {
                    let predicts_less = predicted(&other) < predicted(ours) && ours.support > 0;
                    assert!(!(predicts_less && keeps(&other)), "seed {seed}: {ours:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn uniform_is_the_lowest_threshold_that_keeps_its_promise() {
        for seed in 0..3 {
            let drawn = Drawn::new(150, &PREVALENCES, seed);
            let micro = |threshold: f32| {
                let thresholds = [threshold; PREVALENCES.len()];
                let evaluation = evaluate(&drawn.predictions(), &thresholds, None);
                let predictions: usize = evaluation.genres.iter().map(predicted).sum();
                (evaluation.averages.micro.precision, predictions)
            };
            let point = chosen(&drawn.predictions(), "uniform");
            assert_eq!(point.thresholds, [point.thresholds[0]; PREVALENCES.len()]);
            let (precision, ours) = micro(point.thresholds[0]);
            assert!(precision >= UNIFORM_PRECISION, "seed {seed}: {precision}");
            for score in scores(&drawn) {
                let (precision, predictions) = micro(score);
                let better = predictions > ours && precision >= UNIFORM_PRECISION;
                assert!(!better, "seed {seed} at {score}: {precision}");
            }
        }
    }

    #[test]
    fn no_threshold_has_a_better_expected_f1() {
        for seed in 0..3 {
            let drawn = Drawn::new(150, &PREVALENCES, seed);
            let genres = PREVALENCES.len();
            let known = |genre: usize| {
                let pairs = drawn.probabilities.iter().zip(&drawn.labels).skip(genre).step_by(genres);
                pairs.filter(|(_, label)| label.is_some()).map(|(probability, _)| *probability).collect::<Vec<f32>>()
            };
            let f1 = |genre: usize, threshold: f32| {
                let known = known(genre);
                let sum = |values: &[f32]| values.iter().map(|value| f64::from(*value)).sum::<f64>();
                let predicted: Vec<f32> = known.iter().copied().filter(|value| *value >= threshold).collect();
                2.0 * sum(&predicted) / (predicted.len() as f64 + sum(&known))
            };
            let (curves, pooled) = curves(&drawn.predictions());
            let own = best_f1_thresholds(&curves, &pooled, 1.0);
            for (genre, own) in own.iter().enumerate() {
                for other in known(genre) {
                    let (ours, other) = (f1(genre, *own), f1(genre, other));
                    assert!(ours >= other - 1e-9, "seed {seed}, genre {genre}: {ours} at {own}, {other}");
                }
            }
        }
    }

    #[test]
    fn balanced_blends_own_and_common_threshold() {
        let drawn = Drawn::new(300, &PREVALENCES, 7);
        let (genres, pooled) = curves(&drawn.predictions());
        let own = best_f1_thresholds(&genres, &pooled, 1.0);
        let common = best_f1_thresholds(&genres, &pooled, 0.0);
        let blend = chosen(&drawn.predictions(), "balanced").thresholds;
        for g in 0..PREVALENCES.len() {
            let (low, high) = (own[g].min(common[g]), own[g].max(common[g]));
            assert!((low - 1e-6..=high + 1e-6).contains(&blend[g]), "genre {g}: {low} {} {high}", blend[g]);
        }
        assert_ne!(own, common);
    }

    #[test]
    fn expected_f1_beats_that_of_few_labels_on_unseen_posters() {
        let prevalences = [0.4, 0.3, 0.1, 0.04, 0.02, 0.02, 0.015, 0.01];
        let (unseen, _) = curves(&Drawn::new(10_000, &prevalences, 1000).predictions());
        let f1_at = |curve: &Curve, threshold: f32| {
            let place = curve.candidates.iter().rev().find(|it| it.cut.score >= threshold);
            place.map_or(0.0, |it| 2.0 * it.cut.true_positives as f64 / (it.cut.predicted + curve.support) as f64)
        };
        let best_of_labels = |curve: &Curve| {
            let f1 = |cut: &Cut| 2.0 * cut.true_positives as f64 / (cut.predicted + curve.support) as f64;
            curve
                .candidates
                .iter()
                .rev()
                .max_by(|a, b| f1(&a.cut).total_cmp(&f1(&b.cut)))
                .map_or(0.5, |it| it.threshold)
        };
        let (mut by_labels, mut by_expectation) = (0.0, 0.0);
        for seed in 0..60 {
            let (genres, pooled) = curves(&Drawn::new(600, &prevalences, seed).predictions());
            let own = best_f1_thresholds(&genres, &pooled, 1.0);
            for ((unseen, curve), own) in unseen.iter().zip(&genres).zip(own) {
                by_labels += f1_at(unseen, best_of_labels(curve));
                by_expectation += f1_at(unseen, own);
            }
        }
        assert!(by_expectation > by_labels, "macro F1 sums: {by_expectation} and {by_labels}");
    }

    #[test]
    fn neither_order_nor_float_noise_matters() {
        let drawn = Drawn::new(200, &PREVALENCES, 8);
        let points = choose(&drawn.predictions());
        assert_eq!(points, choose(&drawn.reversed().predictions()));
        let noisy = |sign: f32| drawn.probabilities.iter().map(move |it| (it + sign * 1e-5).clamp(0.0, 1.0));
        for point in points.iter().filter(|it| it.name != "balanced") {
            let decide = |probabilities: Vec<f32>| -> Vec<Vec<usize>> {
                let rows = probabilities.chunks(PREVALENCES.len());
                rows.map(|row| point.decide(row)).collect()
            };
            let decided = decide(drawn.probabilities.clone());
            assert_eq!(decided, decide(noisy(1.0).collect()), "{}", point.name);
            assert_eq!(decided, decide(noisy(-1.0).collect()), "{}", point.name);
        }
    }

    #[test]
    fn decides_at_or_above_the_threshold() {
        let point =
            OperatingPoint { name: "test".to_owned(), description: String::new(), thresholds: vec![0.5, 0.25, 0.75] };
        let cases: [([f32; 3], &[usize]); 4] = [
            ([0.5, 0.25, 0.75], &[0, 1, 2]),
            ([0.499_999_97, 0.25, 1.0], &[1, 2]),
            ([1.0, 0.0, 0.0], &[0]),
            ([0.0, 0.0, 0.0], &[]),
        ];
        for (probabilities, expected) in cases {
            assert_eq!(point.decide(&probabilities), expected, "{probabilities:?}");
        }
    }

    #[test]
    fn thresholds_stand_midway_where_floats_allow() {
        let below_one = 1.0 - f32::EPSILON / 2.0;
        let cases = [
            (0.25, 0.75, Some(0.5)),
            (0.0, 1.0, Some(0.5)),
            (0.5, 0.5_f32.next_up(), Some(0.5_f32.next_up())),
            (0.0, f32::from_bits(1), Some(f32::from_bits(1))),
            (below_one, 1.0, None),
            (0.0, 0.0, None),
            (1.0, 1.0, None),
        ];
        for (lower, higher, expected) in cases {
            assert_eq!(between(lower, higher), expected, "{lower} {higher}");
        }
    }
}
