//! Multi-label classification metrics: precision, recall, F1, average precision and ROC AUC per genre, their averages,
//! calibration error, and bootstrap intervals.
//!
//! Conventions, the same everywhere:
//! * A poster is predicted to have a genre when its probability is at or above the genre's threshold.
//! * A (poster, genre) pair whose label is unknown adds nothing to any figure. Figures taken poster by poster look
//!   only at the poster's known labels, and leave out a poster that has none.
//! * A ratio 0/0, and a mean over nothing, is 0 (scikit-learn's `zero_division=0`).
//! * Figures that scikit-learn has too equal its own; the test `scikit_learn` compares them.

#[cfg(feature = "evaluation")]
mod bootstrap;
#[cfg(feature = "evaluation")]
mod calibration;
#[cfg(feature = "evaluation")]
mod confusion;
#[cfg(feature = "evaluation")]
mod cooccurrence;
#[cfg(feature = "evaluation")]
mod curves;
#[cfg(feature = "evaluation")]
mod evaluate;
mod evaluation;
#[cfg(feature = "evaluation")]
mod precomputed;
#[cfg(feature = "evaluation")]
mod predictions;
#[cfg(feature = "evaluation")]
mod ranking;
mod table;
#[cfg(feature = "evaluation")]
pub mod thresholds;

#[cfg(feature = "evaluation")]
pub use cooccurrence::{Cooccurrence, cooccurrence};
#[cfg(feature = "evaluation")]
pub use curves::{ReliabilityBin, ThresholdPoint, reliability, threshold_curve};
#[cfg(feature = "evaluation")]
pub use evaluate::{evaluate, genre_intervals, recall_at_precision};
pub use evaluation::{
    Averages, BASELINE_PRECISION, Bootstrap, Confusion, Evaluation, GenreFigures, GenreIntervals, Intervals,
    MIN_SUPPORT, PrecisionRecall,
};
#[cfg(feature = "evaluation")]
pub use predictions::Predictions;
