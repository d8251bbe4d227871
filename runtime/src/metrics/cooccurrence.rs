//! Which genres occur together in the labels, and which in the predictions.

use serde::{Deserialize, Serialize};

use super::predictions::Predictions;
use crate::operating_point::reaches;

/// Counts of posters with two genres at once, `[G][G]` and symmetric; the diagonal counts the posters of each genre.
/// Only posters whose labels of both genres are known count, so that the two tables are over the same posters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cooccurrence {
    /// Posters that have both genres.
    pub labelled: Vec<Vec<usize>>,
    /// Posters that are predicted to have both genres.
    pub predicted: Vec<Vec<usize>>,
}

/// Counts the pairs of genres in the labels and in the decisions of `thresholds`, `[G]`.
///
/// # Panics
/// As [`evaluate`](super::evaluate) does.
pub fn cooccurrence(predictions: &Predictions, thresholds: &[f32]) -> Cooccurrence {
    predictions.check();
    let genres = predictions.genres.len();
    assert_eq!(thresholds.len(), genres, "there must be one threshold per genre");
    let mut counts = Cooccurrence { labelled: vec![vec![0; genres]; genres], predicted: vec![vec![0; genres]; genres] };
    let rows = predictions.labels.chunks_exact(genres).zip(predictions.probabilities.chunks_exact(genres));
    for (labels, probabilities) in rows {
        let predicted: Vec<bool> = probabilities.iter().zip(thresholds).map(|(p, t)| reaches(*p, *t)).collect();
        let known: Vec<(usize, bool)> =
            labels.iter().enumerate().filter_map(|(genre, label)| Some((genre, (*label)?))).collect();
        for &(one, has_one) in &known {
            for &(other, has_other) in &known {
                counts.labelled[one][other] += usize::from(has_one && has_other);
                counts.predicted[one][other] += usize::from(predicted[one] && predicted[other]);
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::super::predictions::tests::{Drawn, PREVALENCES};
    use super::*;

    #[test]
    fn the_diagonal_counts_each_genre_and_no_pair_exceeds_it() {
        let drawn = Drawn::new(200, &PREVALENCES, 3);
        let thresholds = [0.3; PREVALENCES.len()];
        let evaluation = evaluate(&drawn.predictions(), &thresholds, None);
        let Cooccurrence { labelled, predicted } = cooccurrence(&drawn.predictions(), &thresholds);
        for (genre, figures) in evaluation.genres.iter().enumerate() {
            assert_eq!(labelled[genre][genre], figures.support);
            let decided = figures.confusion.true_positives + figures.confusion.false_positives;
            assert_eq!(predicted[genre][genre], decided);
        }
        for table in [labelled, predicted] {
            for (one, row) in table.iter().enumerate() {
                for (other, count) in row.iter().enumerate() {
                    assert_eq!(*count, table[other][one]);
                    assert!(*count <= row[one]);
                }
            }
        }
    }
}
