//! The figures of an evaluation, as model cards and run directories hold them.

use serde::{Deserialize, Serialize};

/// The macro averages go over the genres with at least this many positive posters: below it a single poster moves a
/// genre's recall by more than 0.2.
pub const MIN_SUPPORT: usize = 5;

/// Micro precision of the earlier published baseline, at which [`Averages::recall_at_baseline_precision`] is taken.
pub const BASELINE_PRECISION: f64 = 0.579;

/// Everything measured on one set of posters with one set of thresholds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Number of posters, N.
    pub posters: usize,
    /// Figures of each genre, in the order of [`Predictions::genres`](super::Predictions::genres).
    pub genres: Vec<GenreFigures>,
    /// Genres that the macro averages go over: those with a support of at least [`MIN_SUPPORT`].
    pub macro_genres: Vec<String>,
    /// Averages over genres, pairs or posters.
    pub averages: Averages,
    /// Expected calibration error over all known (poster, genre) pairs, in 15 bins: how far probabilities lie from
    /// frequencies.
    #[serde(default)]
    pub calibration_error: f64,
    /// 95 % bootstrap intervals of the averages, if asked for.
    pub intervals: Option<Intervals>,
    /// `[G][G]` counts: in row g, of the posters whose genre g was missed (its false negatives), how many were
    /// predicted to have genre h, rightly or not. The diagonal is 0. A prediction whose label is unknown does not
    /// count here either.
    pub confused_with: Vec<Vec<usize>>,
}

/// Figures of one genre over the posters whose label of it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenreFigures {
    /// Name of the genre.
    pub genre: String,
    /// Posters known to have the genre.
    pub support: usize,
    /// Posters whose label is known, either way.
    pub known: usize,
    /// `support / known`.
    pub prevalence: f64,
    /// Probability from which the genre is predicted.
    pub threshold: f32,
    /// Share of the predictions that are right.
    pub precision: f64,
    /// Share of the positives that are predicted.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Sum of precision times gain in recall over the distinct scores, without interpolation. `None` when the known
    /// labels are all positive or all negative, where no ranking can be told from another.
    pub average_precision: Option<f64>,
    /// Chance that a positive scores above a negative, a tie counting half. `None` as for `average_precision`.
    pub roc_auc: Option<f64>,
    /// Whether the frequencies lie within the band around their probabilities that chance explains (see
    /// [`Evaluation::table`]'s notes); `None` for a genre that the macro averages leave out.
    #[serde(default)]
    pub reliable: Option<bool>,
    /// Counts of right and wrong decisions.
    pub confusion: Confusion,
}

/// Right and wrong decisions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Predicted, and the film has the genre.
    pub true_positives: usize,
    /// Predicted, but the film has not the genre.
    pub false_positives: usize,
    /// Not predicted, but the film has the genre.
    pub false_negatives: usize,
    /// Not predicted, and the film has not the genre.
    pub true_negatives: usize,
}

/// Averages over all posters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Averages {
    /// Over all known (poster, genre) pairs at once.
    pub micro: PrecisionRecall,
    /// Mean over [`Evaluation::macro_genres`], each counting the same.
    #[serde(rename = "macro")]
    pub macro_: PrecisionRecall,
    /// Mean over all genres, weighted by support.
    pub weighted: PrecisionRecall,
    /// Mean over posters.
    pub samples: PrecisionRecall,
    /// Mean average precision (mAP) over those of [`Evaluation::macro_genres`] that have one.
    pub mean_average_precision: f64,
    /// Mean area under the ROC curve over those of [`Evaluation::macro_genres`] that have one.
    pub mean_roc_auc: f64,
    /// Average precision over all known pairs in one ranking.
    pub micro_average_precision: f64,
    /// [`recall_at_precision`](super::recall_at_precision) at [`BASELINE_PRECISION`]. Does not depend on the thresholds.
    pub recall_at_baseline_precision: f64,
    /// Share of the known pairs decided wrongly.
    pub hamming_loss: f64,
    /// Share of the posters whose known labels are all decided rightly.
    pub subset_accuracy: f64,
    /// Share of the posters whose most probable genre is not theirs (Schapire and Singer, BoosTexter, 2000). Only
    /// posters with a known positive count, since no ranking could be right on the others. Of tied genres the first
    /// is taken.
    pub one_error: f64,
    /// How many genres one must read down the ranking to meet all the true ones, mean over posters: the number of
    /// genres scoring at least as much as the lowest true one, 0 for a poster without a known positive
    /// (scikit-learn's `coverage_error`).
    pub coverage: f64,
}

/// Precision, recall and F1, averaged one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PrecisionRecall {
    /// Share of the predictions that are right.
    pub precision: f64,
    /// Share of the positives that are predicted.
    pub recall: f64,
    /// Harmonic mean of the two. Averaged over genres or posters it is the mean of their F1, not the F1 of the means.
    pub f1: f64,
}

/// Bootstrap parameters. A thousand resamples are enough for two digits of a 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bootstrap {
    /// Number of resamples, at least 1.
    pub resamples: usize,
    /// The same seed draws the same resamples.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, seed: 0 }
    }
}

/// 95 % intervals of the averages: how far they would spread over other posters of the same kind. The model, the
/// thresholds and the genres of the macro averages are held fixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Intervals {
    /// The resamples they come from.
    pub bootstrap: Bootstrap,
    /// 2.5th percentile of each average.
    pub low: Averages,
    /// 97.5th percentile of each average.
    pub high: Averages,
}

/// 95 % bootstrap intervals of one genre's figures, each the 2.5th and the 97.5th percentile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenreIntervals {
    /// Of F1.
    pub f1: [f64; 2],
    /// Of average precision; `None` for a genre without positives.
    pub average_precision: Option<[f64; 2]>,
}
