//! Ranking metrics: average precision, ROC AUC and recall at a precision, from one sort of the scores.
//!
//! Posters are sorted from the highest score to the lowest; every distinct score is a cut with its true positives.

use super::confusion::ratio;
use super::predictions::Predictions;

/// The known (poster, genre) pairs of one genre, or of all, sorted from the highest score.
pub(crate) struct Ranking {
    pairs: Vec<Pair>,
}

struct Pair {
    score: f32,
    poster: usize,
    positive: bool,
}

/// The decisions of a threshold that lies at a score: all pairs with this score or a higher one are predicted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub score: f32,
    pub true_positives: usize,
    pub predicted: usize,
}

impl Ranking {
    pub(crate) fn of_genre(predictions: &Predictions, genre: usize) -> Self {
        Self::of_pairs(predictions, (genre..predictions.labels.len()).step_by(predictions.genres.len()))
    }

    pub(crate) fn of_all_genres(predictions: &Predictions) -> Self {
        Self::of_pairs(predictions, 0..predictions.labels.len())
    }

    fn of_pairs(predictions: &Predictions, indices: impl Iterator<Item = usize>) -> Self {
        let mut pairs: Vec<_> = indices
            .filter_map(|index| {
                Some(Pair {
                    score: predictions.probabilities[index],
                    poster: index / predictions.genres.len(),
                    positive: predictions.labels[index]?,
                })
            })
            .collect();
        pairs.sort_by(|a, b| b.score.total_cmp(&a.score));
        Self { pairs }
    }

    pub(crate) fn positives(&self) -> usize {
        self.pairs.iter().filter(|pair| pair.positive).count()
    }

    /// One cut per distinct score, from the highest, when poster `i` counts `weights[i]` times. Pairs with equal
    /// scores cannot be told apart by a threshold, so they enter together.
    pub(crate) fn cuts(&self, weights: &[usize]) -> impl Iterator<Item = Cut> {
        let (mut true_positives, mut predicted) = (0, 0);
        let ties = self.pairs.chunk_by(|a, b| a.score == b.score);
        ties.map(move |tied| {
            for pair in tied {
                predicted += weights[pair.poster];
                true_positives += weights[pair.poster] * usize::from(pair.positive);
            }
            Cut { score: tied[0].score, true_positives, predicted }
        })
    }
}

impl Cut {
    pub(crate) fn precision(&self) -> f64 {
        ratio(self.true_positives, self.predicted)
    }

    fn false_positives(&self) -> usize {
        self.predicted - self.true_positives
    }
}

/// Step sum of precision over recall, as scikit-learn's `average_precision_score`; `None` without both kinds of
/// label.
pub(crate) fn average_precision(cuts: impl Iterator<Item = Cut>) -> Option<f64> {
    let mut hits = 0;
    let mut area = 0.0;
    let mut last = None;
    for cut in cuts {
        area += (cut.true_positives - hits) as f64 * cut.precision();
        hits = cut.true_positives;
        last = Some(cut);
    }
    (hits > 0 && last?.false_positives() > 0).then(|| area / hits as f64)
}

/// Area under the ROC curve as the Mann-Whitney statistic with mid-ranks; `None` without both kinds of label.
pub(crate) fn roc_auc(cuts: impl Iterator<Item = Cut>) -> Option<f64> {
    let (mut hits, mut misses) = (0, 0);
    let mut area = 0.0;
    for cut in cuts {
        let positives_above = (hits + cut.true_positives) as f64 / 2.0;
        area += (cut.false_positives() - misses) as f64 * positives_above;
        (hits, misses) = (cut.true_positives, cut.false_positives());
    }
    (hits > 0 && misses > 0).then(|| area / (hits as f64 * misses as f64))
}

pub(crate) fn recall_at_precision(cuts: impl Iterator<Item = Cut>, target: f64) -> f64 {
    let (mut reached, mut positives) = (0, 0);
    for cut in cuts {
        if cut.precision() >= target {
            reached = cut.true_positives;
        }
        positives = cut.true_positives;
    }
    ratio(reached, positives)
}
