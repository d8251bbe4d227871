//! Operating points: one threshold per genre that turns probabilities into predicted genres.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Whether a probability predicts its genre. The one place in this project that compares a probability with a threshold.
#[inline]
pub fn reaches(probability: f32, threshold: f32) -> bool {
    probability >= threshold
}

/// A named set of thresholds, for one use of the classifier.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatingPoint {
    /// Short name, by which the user picks it.
    pub name: String,
    /// Criterion by which its thresholds were chosen, in a sentence or two.
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
        (0..probabilities.len()).filter(|&genre| reaches(probabilities[genre], self.thresholds[genre])).collect()
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
