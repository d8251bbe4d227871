//! Figures over all thresholds: precision, recall and F1 at each of them, and reliability diagrams.

use serde::{Deserialize, Serialize};

use super::calibration::{BINS, bin};
use super::confusion::ratio;
use super::predictions::Predictions;
use super::ranking::Ranking;

/// Precision, recall and F1 when everything at or above a threshold is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ThresholdPoint {
    /// The threshold, one of the scores.
    pub threshold: f32,
    /// Share of the predictions that are right.
    pub precision: f64,
    /// Share of the positives that are predicted.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
}

/// One point per distinct score of a genre, or of all (poster, genre) pairs in one ranking where none is given, from
/// the highest score to the lowest. Average precision is the step sum over these points. Empty without positives.
///
/// # Panics
/// As [`evaluate`](super::evaluate) does of predictions.
pub fn threshold_curve(predictions: &Predictions, genre: Option<usize>) -> Vec<ThresholdPoint> {
    predictions.check();
    let ranking =
        genre.map_or_else(|| Ranking::of_all_genres(predictions), |genre| Ranking::of_genre(predictions, genre));
    let positives = ranking.positives();
    if positives == 0 {
        return Vec::new();
    }
    let point = |cut: super::ranking::Cut| ThresholdPoint {
        threshold: cut.score,
        precision: cut.precision(),
        recall: ratio(cut.true_positives, positives),
        f1: ratio(2 * cut.true_positives, cut.predicted + positives),
    };
    ranking.cuts(&vec![1; predictions.posters()]).map(point).collect()
}

/// One bin of a reliability diagram: how often what was given these probabilities came true.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Known (poster, genre) pairs in the bin, at least 1.
    pub pairs: usize,
    /// Their mean probability.
    pub probability: f64,
    /// Share of them that are positive.
    pub frequency: f64,
}

/// The bins over which [`Evaluation::calibration_error`](super::Evaluation::calibration_error) is taken, over all known
/// (poster, genre) pairs, in ascending order; empty ones are left out.
///
/// # Panics
/// As [`evaluate`](super::evaluate) does of predictions.
pub fn reliability(predictions: &Predictions) -> Vec<ReliabilityBin> {
    predictions.check();
    let mut bins = [(0_usize, 0.0, 0_usize); BINS];
    for (probability, positive) in (0..predictions.genres.len()).flat_map(|genre| predictions.known(genre)) {
        let (pairs, sum, positives) = &mut bins[bin(probability)];
        *pairs += 1;
        *sum += f64::from(probability);
        *positives += usize::from(positive);
    }
    let filled = bins.iter().filter(|(pairs, ..)| *pairs > 0);
    filled
        .map(|&(pairs, sum, positives)| ReliabilityBin {
            pairs,
            probability: sum / pairs as f64,
            frequency: ratio(positives, pairs),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::evaluate;
    use super::super::predictions::tests::{Drawn, PREVALENCES};
    use super::*;

    #[test]
    fn a_point_of_the_curve_is_what_its_threshold_gives() {
        let drawn = Drawn::new(200, &PREVALENCES, 1);
        let predictions = drawn.predictions();
        for genre in 0..PREVALENCES.len() {
            let curve = threshold_curve(&predictions, Some(genre));
            for point in curve.iter().step_by(17) {
                let figures = &evaluate(&predictions, &[point.threshold; PREVALENCES.len()], None).genres[genre];
                let expected = (figures.precision, figures.recall, figures.f1);
                assert_eq!((point.precision, point.recall, point.f1), expected, "genre {genre}: {point:?}");
            }
            let has_positives = evaluate(&predictions, &[0.5; PREVALENCES.len()], None).genres[genre].support > 0;
            assert_eq!(curve.last().map(|point| point.recall), has_positives.then_some(1.0), "genre {genre}");
        }
    }

    #[test]
    fn the_calibration_error_is_the_distance_of_the_bins_from_the_diagonal() {
        let drawn = Drawn::new(300, &PREVALENCES, 2);
        let bins = reliability(&drawn.predictions());
        let pairs: usize = bins.iter().map(|bin| bin.pairs).sum();
        assert_eq!(pairs, drawn.labels.iter().flatten().count());
        let gaps = bins.iter().map(|bin| bin.pairs as f64 * (bin.probability - bin.frequency).abs());
        let expected = evaluate(&drawn.predictions(), &[0.5; PREVALENCES.len()], None).calibration_error;
        assert!((gaps.sum::<f64>() / pairs as f64 - expected).abs() < 1e-9);
    }
}
