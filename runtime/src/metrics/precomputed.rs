//! Decisions, per-poster metrics and rankings computed once, from which averages follow for any weights of the posters
//! (bootstrap resamples).

use super::confusion::ratio;
use super::evaluation::{Averages, BASELINE_PRECISION, Confusion, MIN_SUPPORT, PrecisionRecall};
use super::predictions::Predictions;
use super::ranking::{self, Ranking};
use crate::operating_point::reaches;

/// What does not depend on how often each poster counts, worked out once: sorting is the dear part, and with it out
/// of the way the averages of a bootstrap resample are one walk over the pairs.
pub(super) struct Precomputed<'a> {
    predictions: &'a Predictions<'a>,
    /// `[N, G]`
    predicted: Vec<bool>,
    /// `[G]`
    pub(super) rankings: Vec<Ranking>,
    pooled: Ranking,
    /// `[N]`, `None` where no label is known.
    posters: Vec<Option<PosterFigures>>,
    /// Columns of the genres that the macro averages go over, in the resamples too.
    pub(super) macro_genres: Vec<usize>,
}

struct PosterFigures {
    decided: PrecisionRecall,
    all_right: bool,
    /// `None` without a known positive.
    top_wrong: Option<bool>,
    coverage: usize,
}

impl<'a> Precomputed<'a> {
    pub(super) fn new(predictions: &'a Predictions<'a>, thresholds: &[f32]) -> Self {
        let genres = predictions.genres.len();
        let predicted: Vec<bool> = predictions
            .probabilities
            .chunks_exact(genres)
            .flat_map(|row| row.iter().zip(thresholds).map(|(p, t)| reaches(*p, *t)))
            .collect();
        let posters = predicted
            .chunks_exact(genres)
            .zip(predictions.probabilities.chunks_exact(genres))
            .zip(predictions.labels.chunks_exact(genres))
            .map(|((predicted, probabilities), labels)| PosterFigures::new(predicted, probabilities, labels))
            .collect();
        let rankings: Vec<_> = (0..genres).map(|g| Ranking::of_genre(predictions, g)).collect();
        Self {
            macro_genres: (0..genres).filter(|&g| rankings[g].positives() >= MIN_SUPPORT).collect(),
            pooled: Ranking::of_all_genres(predictions),
            predictions,
            predicted,
            rankings,
            posters,
        }
    }

    /// Averages when poster `i` counts `weights[i]` times.
    pub(super) fn averages(&self, weights: &[usize]) -> Averages {
        let confusions = self.confusions(weights);
        let per_genre: Vec<_> = confusions.iter().map(|it| it.precision_recall()).collect();
        let all = confusions.iter().copied().fold(Confusion::default(), Confusion::merge);
        let posters: Vec<_> = (self.posters.iter().zip(weights))
            .filter_map(|(poster, &weight)| Some((poster.as_ref()?, weight as f64)))
            .collect();
        let over_posters =
            |figure: fn(&PosterFigures) -> f64| mean(posters.iter().map(|(poster, w)| (figure(poster), *w)));
        // A resample may hold no positive of a rare genre: its average precision is then left out of the mean.
        let over_rankings = |figure: fn(&Ranking, &[usize]) -> Option<f64>| {
            let genres = self.macro_genres.iter();
            mean(genres.filter_map(|&g| Some((figure(&self.rankings[g], weights)?, 1.0))))
        };
        Averages {
            micro: all.precision_recall(),
            macro_: PrecisionRecall::mean(self.macro_genres.iter().map(|&g| (per_genre[g], 1.0))),
            weighted: PrecisionRecall::mean(
                (per_genre.iter().zip(&confusions)).map(|(it, c)| (*it, c.support() as f64)),
            ),
            samples: PrecisionRecall::mean(posters.iter().map(|(poster, w)| (poster.decided, *w))),
            mean_average_precision: over_rankings(|it, w| ranking::average_precision(it.cuts(w))),
            mean_roc_auc: over_rankings(|it, w| ranking::roc_auc(it.cuts(w))),
            micro_average_precision: ranking::average_precision(self.pooled.cuts(weights)).unwrap_or(0.0),
            recall_at_baseline_precision: ranking::recall_at_precision(self.pooled.cuts(weights), BASELINE_PRECISION),
            hamming_loss: ratio(all.wrong(), all.known()),
            subset_accuracy: over_posters(|it| f64::from(it.all_right)),
            one_error: mean((posters.iter()).filter_map(|(it, w)| Some((f64::from(it.top_wrong?), *w)))),
            coverage: over_posters(|it| it.coverage as f64),
        }
    }

    /// `[G]`
    pub(super) fn confusions(&self, weights: &[usize]) -> Vec<Confusion> {
        let genres = self.predictions.genres.len();
        let mut confusions = vec![Confusion::default(); genres];
        for (pair, (label, &predicted)) in (self.predictions.labels.iter().zip(&self.predicted)).enumerate() {
            if let Some(positive) = *label {
                confusions[pair % genres].add(positive, predicted, weights[pair / genres]);
            }
        }
        confusions
    }

    pub(super) fn confused_with(&self) -> Vec<Vec<usize>> {
        let genres = self.predictions.genres.len();
        let mut counts = vec![vec![0; genres]; genres];
        let labels = self.predictions.labels.chunks_exact(genres);
        for (labels, predicted) in labels.zip(self.predicted.chunks_exact(genres)) {
            for missed in (0..genres).filter(|&g| labels[g] == Some(true) && !predicted[g]) {
                for (other, count) in counts[missed].iter_mut().enumerate() {
                    *count += usize::from(predicted[other] && labels[other].is_some());
                }
            }
        }
        counts
    }
}

impl PosterFigures {
    /// From a poster's row of each matrix; `None` if it has no known label.
    fn new(predicted: &[bool], probabilities: &[f32], labels: &[Option<bool>]) -> Option<Self> {
        let mut confusion = Confusion::default();
        let mut top = None;
        let mut lowest_true = f32::INFINITY;
        for ((&predicted, &probability), label) in predicted.iter().zip(probabilities).zip(labels) {
            let Some(positive) = *label else { continue };
            confusion.add(positive, predicted, 1);
            if top.is_none_or(|(highest, _)| probability > highest) {
                top = Some((probability, positive));
            }
            if positive {
                lowest_true = lowest_true.min(probability);
            }
        }
        let (_, top_right) = top?;
        let known = probabilities.iter().zip(labels).filter(|(_, label)| label.is_some());
        Some(Self {
            decided: confusion.precision_recall(),
            all_right: confusion.wrong() == 0,
            top_wrong: (confusion.support() > 0).then_some(!top_right),
            coverage: known.filter(|(probability, _)| **probability >= lowest_true).count(),
        })
    }
}

impl PrecisionRecall {
    fn mean(weighted: impl Iterator<Item = (Self, f64)> + Clone) -> Self {
        Self {
            precision: mean(weighted.clone().map(|(it, weight)| (it.precision, weight))),
            recall: mean(weighted.clone().map(|(it, weight)| (it.recall, weight))),
            f1: mean(weighted.map(|(it, weight)| (it.f1, weight))),
        }
    }
}

/// Mean of (value, weight) pairs.
fn mean(weighted: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (sum, weights) =
        weighted.fold((0.0, 0.0), |(sum, weights), (value, weight)| (sum + value * weight, weights + weight));
    if weights == 0.0 { 0.0 } else { sum / weights }
}
