//! Operating points: one threshold per genre, chosen on validation scores, that turn probabilities into decisions.
//!
//! Every threshold lies strictly inside (0, 1), and midway between two neighbouring distinct validation scores, so
//! that the float noise between two machines does not flip a decision. (The shrunk thresholds of `balanced` are
//! blends of such places.) What a description promises was measured on the posters the thresholds were chosen on: on
//! others it holds less exactly, the fewer the positives the less.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::evaluation::{Cut, Ranking, Scored};

/// Positives at which a genre's own best-F1 threshold and the one of all genres count the same in `balanced`.
///
/// Of five positives (the support from which the macro averages count a genre) one found or lost moves recall by 0.2,
/// so that the own threshold is as much chance as knowledge; from 45 it keeps nine tenths of the say. Leaning harder
/// raises micro F1 further at the cost of the rare genres, whose scores are low, and whose best threshold therefore
/// truly lies below the common one. The unit test `shrinking_helps_on_unseen_posters` measures the gain.
const SHRINKAGE: f64 = 5.0;

/// Precision that `precise` asks of each genre: three predictions in four are right.
const PRECISE: f64 = 0.75;

/// Predictions without which a genre's precision counts as unmeasured. A genre that is right half of the time gets 8
/// of 10 by luck once in 18 times, but 4 of 5 once in 5.
const MIN_PREDICTED: usize = 10;

/// Recall that `recall` asks of each genre.
const RECALL: f64 = 0.8;

/// Micro precision that `uniform` asks: a little over the 0.579 of the earlier published baseline
/// ([`BASELINE_PRECISION`](crate::evaluation::BASELINE_PRECISION)), to still exceed it on unseen posters.
const UNIFORM_PRECISION: f64 = 0.60;

/// A named set of thresholds, for one use of the classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Short name, by which the user picks it.
    pub name: String,
    /// What it is chosen for, in a sentence or two.
    pub description: String,
    /// `[G]`, each strictly inside (0, 1).
    pub thresholds: Vec<f32>,
}

impl OperatingPoint {
    /// Columns of the genres that one poster (`[G]` probabilities) is predicted to have: those at or above their
    /// threshold, in column order.
    ///
    /// # Panics
    /// If there is not one probability per threshold.
    pub fn decide(&self, probabilities: &[f32]) -> Vec<usize> {
        assert_eq!(
            probabilities.len(),
            self.thresholds.len(),
            "there must be one probability per threshold of `{}`",
            self.name
        );
        (0..probabilities.len()).filter(|&genre| probabilities[genre] >= self.thresholds[genre]).collect()
    }
}

/// The operating point of that name, or the first one where no name is given.
///
/// # Errors
/// If there is none of that name.
pub fn find<'a>(points: &'a [OperatingPoint], name: Option<&str>) -> Result<&'a OperatingPoint, UnknownOperatingPoint> {
    let wanted = |point: &&OperatingPoint| name.is_none_or(|name| point.name == name);
    points.iter().find(wanted).ok_or_else(|| UnknownOperatingPoint {
        name: name.unwrap_or_default().to_owned(),
        known: points.iter().map(|point| point.name.as_str()).collect::<Vec<_>>().join(", "),
    })
}

/// There is no operating point of that name.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("there is no operating point \"{name}\"; choose one of: {known}")]
pub struct UnknownOperatingPoint {
    /// The name asked for.
    pub name: String,
    /// The names there are.
    pub known: String,
}

/// The four operating points, chosen on the posters in `scored`, which should be neither those the model was trained
/// on nor those it will be judged on:
///
/// * `balanced`: per genre the threshold of best F1. The search for the best F1 overfits a genre with few positives,
///   and for one that the model cannot tell it predicts nearly every poster (Lipton, Elkan and Narayanaswamy, Optimal
///   Thresholding of Classifiers to Maximize F1 Measure, ECML PKDD 2014); so the logit of the threshold is drawn
///   toward that of the best micro F1 of all genres, by a weight of support / (support + 5) for its own.
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
pub fn choose(scored: &Scored) -> Vec<OperatingPoint> {
    scored.check();
    let pooled = Curve::new(Ranking::of_all_genres(scored), scored.posters());
    let genres: Vec<_> =
        (0..scored.genres.len()).map(|g| Curve::new(Ranking::of_genre(scored, g), scored.posters())).collect();
    vec![
        balanced(&genres, &pooled),
        precise(&genres, scored.genres),
        recall(&genres, &pooled),
        uniform(&genres, &pooled),
    ]
}

fn balanced(genres: &[Curve], pooled: &Curve) -> OperatingPoint {
    OperatingPoint {
        name: "balanced".to_owned(),
        description: "Best F1 of each genre; rare genres lean on the best threshold of all genres.".to_owned(),
        thresholds: best_f1_thresholds(genres, pooled, SHRINKAGE),
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
        thresholds: (genres.iter().zip(reached)).map(|(curve, threshold)| threshold.unwrap_or(curve.silent)).collect(),
    }
}

fn recall(genres: &[Curve], pooled: &Curve) -> OperatingPoint {
    let of_all = pooled.highest_with_recall(RECALL);
    OperatingPoint {
        name: "recall".to_owned(),
        description: format!("Finds at least {:.0} % of the posters of each genre.", 100.0 * RECALL),
        thresholds: (genres.iter()).map(|it| it.highest_with_recall(RECALL).or(of_all).unwrap_or(it.silent)).collect(),
    }
}

fn uniform(genres: &[Curve], pooled: &Curve) -> OperatingPoint {
    let threshold = pooled.lowest_with_precision(UNIFORM_PRECISION).unwrap_or(pooled.silent);
    OperatingPoint {
        name: "uniform".to_owned(),
        description: format!(
            "One threshold for all genres, at which {:.0} % of all predictions are right.",
            100.0 * UNIFORM_PRECISION
        ),
        thresholds: vec![threshold; genres.len()],
    }
}

fn best_f1_thresholds(genres: &[Curve], pooled: &Curve, shrinkage: f64) -> Vec<f32> {
    let of_all = pooled.best_f1().unwrap_or(pooled.silent);
    let blend = |curve: &Curve| {
        let support = curve.support as f64;
        let weight = support / (support + shrinkage);
        let own = curve.best_f1().unwrap_or(of_all);
        sigmoid(weight * logit(own) + (1.0 - weight) * logit(of_all))
    };
    genres.iter().map(blend).collect()
}

/// The thresholds that tell one decision on validation posters from another, and what each gives.
struct Curve {
    /// From the highest threshold to the lowest.
    places: Vec<Place>,
    /// Known positives.
    support: usize,
    /// A threshold above all scores.
    silent: f32,
}

struct Place {
    threshold: f32,
    cut: Cut,
}

impl Curve {
    fn new(ranking: Ranking, posters: usize) -> Self {
        let cuts: Vec<_> = ranking.cuts(&vec![1; posters]).collect();
        let next_scores = cuts.iter().skip(1).map(|cut| cut.score).chain([0.0]);
        let places = (cuts.iter().zip(next_scores))
            .filter_map(|(&cut, next)| Some(Place { threshold: between(next, cut.score)?, cut }))
            .collect();
        let highest = cuts.first().map_or(1.0, |cut| cut.score);
        Self { places, support: ranking.positives(), silent: between(highest, 1.0).unwrap_or(1.0 - f32::EPSILON / 2.0) }
    }

    /// Of equal F1 the highest threshold; `None` without positives.
    fn best_f1(&self) -> Option<f32> {
        let f1 = |cut: &Cut| 2.0 * cut.true_positives as f64 / (cut.predicted + self.support) as f64;
        let best = (self.places.iter()).rev().max_by(|a, b| f1(&a.cut).total_cmp(&f1(&b.cut)))?;
        (best.cut.true_positives > 0).then_some(best.threshold)
    }

    fn lowest_with_precision(&self, target: f64) -> Option<f32> {
        let kept = |it: &&Place| it.cut.predicted >= MIN_PREDICTED && it.cut.precision() >= target;
        Some(self.places.iter().rev().find(kept)?.threshold)
    }

    /// `None` without positives; the lowest threshold if too many positives score 0.
    fn highest_with_recall(&self, target: f64) -> Option<f32> {
        let kept = |it: &&Place| it.cut.true_positives as f64 >= target * self.support as f64;
        let reached = self.places.iter().find(kept).or(self.places.last());
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
    use crate::evaluation::tests::{Drawn, PREVALENCES};
    use crate::evaluation::{GenreFigures, evaluate};

    fn curves(scored: &Scored) -> (Vec<Curve>, Curve) {
        let posters = scored.posters();
        let genres = 0..scored.genres.len();
        (
            genres.map(|g| Curve::new(Ranking::of_genre(scored, g), posters)).collect(),
            Curve::new(Ranking::of_all_genres(scored), posters),
        )
    }

    fn chosen(scored: &Scored, name: &str) -> OperatingPoint {
        choose(scored).into_iter().find(|it| it.name == name).unwrap()
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
            for point in choose(&Scored { genres: &genres, probabilities, labels }) {
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
            let figures = |thresholds: &[f32]| evaluate(&drawn.scored(), thresholds, None).genres;
            let keeps = |it: &GenreFigures| predicted(it) >= MIN_PREDICTED && it.precision >= PRECISE;
            let point = chosen(&drawn.scored(), "precise");
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
            let figures = |thresholds: &[f32]| evaluate(&drawn.scored(), thresholds, None).genres;
            let keeps = |it: &GenreFigures| it.support == 0 || it.recall >= RECALL;
            let ours = figures(&chosen(&drawn.scored(), "recall").thresholds);
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
                let evaluation = evaluate(&drawn.scored(), &thresholds, None);
                let predictions: usize = evaluation.genres.iter().map(predicted).sum();
                (evaluation.averages.micro.precision, predictions)
            };
            let point = chosen(&drawn.scored(), "uniform");
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
    fn without_shrinkage_no_threshold_has_a_better_f1() {
        for seed in 0..3 {
            let drawn = Drawn::new(150, &PREVALENCES, seed);
            let f1 = |thresholds: &[f32]| -> Vec<f64> {
                let genres = evaluate(&drawn.scored(), thresholds, None).genres;
                genres.iter().map(|it| it.f1).collect()
            };
            let (genres, pooled) = curves(&drawn.scored());
            let best = f1(&best_f1_thresholds(&genres, &pooled, 0.0)[..]);
            for score in scores(&drawn) {
                let others = f1(&[score; PREVALENCES.len()]);
                assert!(best.iter().zip(&others).all(|(best, it)| best >= it), "seed {seed} at {score}");
            }
        }
    }

    #[test]
    fn shrinkage_blends_own_and_common_threshold() {
        let drawn = Drawn::new(300, &PREVALENCES, 7);
        let (genres, pooled) = curves(&drawn.scored());
        let own = best_f1_thresholds(&genres, &pooled, 1e-9);
        let common = best_f1_thresholds(&genres, &pooled, 1e12);
        let blend = chosen(&drawn.scored(), "balanced").thresholds;
        for g in 0..PREVALENCES.len() {
            let (low, high) = (own[g].min(common[g]), own[g].max(common[g]));
            assert!((low - 1e-6..=high + 1e-6).contains(&blend[g]), "genre {g}: {low} {} {high}", blend[g]);
        }
        // The last genre has no positive, and so nothing of its own.
        assert_eq!(blend[6], common[6]);
        assert_ne!(own, common);
    }

    #[test]
    fn shrinking_helps_on_unseen_posters() {
        let prevalences = [0.4, 0.3, 0.1, 0.04, 0.02, 0.02, 0.015, 0.01];
        let (unseen, _) = curves(&Drawn::new(10_000, &prevalences, 1000).scored());
        let decided_at = |curve: &Curve, threshold: f32| {
            let place = curve.places.iter().rev().find(|it| it.cut.score >= threshold);
            place.map_or((0, curve.support), |it| (it.cut.true_positives, it.cut.predicted + curve.support))
        };
        // Macro and micro F1, mean over validation sets.
        let f1 = |shrinkage: f64| -> [f64; 2] {
            let sets = 60;
            let mut sums = [0.0; 2];
            for seed in 0..sets {
                let (genres, pooled) = curves(&Drawn::new(600, &prevalences, seed).scored());
                let thresholds = best_f1_thresholds(&genres, &pooled, shrinkage);
                let mut all = (0, 0);
                for (curve, threshold) in unseen.iter().zip(thresholds) {
                    let (hits, whole) = decided_at(curve, threshold);
                    sums[0] += 2.0 * hits as f64 / whole as f64 / unseen.len() as f64;
                    all = (all.0 + hits, all.1 + whole);
                }
                sums[1] += 2.0 * all.0 as f64 / all.1 as f64;
            }
            sums.map(|sum| sum / sets as f64)
        };
        let [own, ours, common] = [0.0, SHRINKAGE, 1e9].map(f1);
        assert!(ours[0] > own[0] && ours[0] > common[0], "macro: {own:?} {ours:?} {common:?}");
        assert!(ours[1] > own[1], "micro: {own:?} {ours:?} {common:?}");
    }

    #[test]
    fn neither_order_nor_float_noise_matters() {
        let drawn = Drawn::new(200, &PREVALENCES, 8);
        let points = choose(&drawn.scored());
        assert_eq!(points, choose(&drawn.reversed().scored()));
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
