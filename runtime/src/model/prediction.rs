//! The probabilities that a model gives one poster.

use std::sync::Arc;

use crate::operating_point::{self, OperatingPoint};

/// The ways out for a graph that ends without a sigmoid.
pub(super) const SIGMOID_MISSING: &str =
    "export it with a sigmoid at the end, or add the key \"output\" with the value \"logits\" to its card";

/// By how much a probability may leave 0..=1.
const ROUNDING: f32 = 1e-5;

/// The probability of every genre for one poster.
///
/// The genres are not exclusive (multi-label classification): probabilities do not sum to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    names: Arc<[String]>,
    probabilities: Vec<f32>,
}

/// One genre of a prediction, beside the threshold of an operating point.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Genre<'a> {
    /// Name of the genre.
    pub name: &'a str,
    /// Calibrated probability that the film has it, in 0..=1.
    pub probability: f32,
    /// Probability from which the operating point predicts it, in 0..1.
    pub threshold: f32,
}

impl Genre<'_> {
    /// Whether the operating point predicts the genre.
    pub fn is_predicted(&self) -> bool {
        operating_point::reaches(self.probability, self.threshold)
    }
}

impl Prediction {
    pub(crate) fn new(names: Arc<[String]>, probabilities: Vec<f32>) -> Self {
        assert_eq!(names.len(), probabilities.len(), "there must be one probability per genre");
        Self { names, probabilities }
    }

    /// The genres at or above their threshold, the most probable first.
    ///
    /// # Panics
    /// If the operating point is that of a model with another number of genres.
    pub fn genres(&self, point: &OperatingPoint) -> Vec<Genre<'_>> {
        self.ranked(point).into_iter().filter(Genre::is_predicted).collect()
    }

    /// Every genre, the most probable first.
    ///
    /// # Panics
    /// As [`Prediction::genres`].
    pub fn ranked(&self, point: &OperatingPoint) -> Vec<Genre<'_>> {
        assert_eq!(point.thresholds.len(), self.names.len(), "the operating point must be that of the same model");
        let mut genres: Vec<Genre> = (self.names.iter().zip(&self.probabilities).zip(&point.thresholds))
            .map(|((name, &probability), &threshold)| Genre { name, probability, threshold })
            .collect();
        genres.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        genres
    }

    /// The probability of a genre by its name; `None` if the model does not know it.
    pub fn probability(&self, genre: &str) -> Option<f32> {
        self.names.iter().position(|name| name == genre).map(|index| self.probabilities[index])
    }

    /// Every probability, `[G]` in the order of the card's genres.
    pub fn probabilities(&self) -> &[f32] {
        &self.probabilities
    }

    /// As [`Prediction::probabilities`], by value.
    pub fn into_probabilities(self) -> Vec<f32> {
        self.probabilities
    }
}

/// Checks that what a graph puts out for one poster are probabilities, `[G]`.
///
/// # Errors
/// If a value is not in 0..=1, with the way out.
pub(super) fn probabilities(mut values: Vec<f32>, genres: &[String]) -> Result<Vec<f32>, String> {
    for (value, genre) in values.iter_mut().zip(genres) {
        if value.is_nan() {
            return Err(format!("its output for {genre} is not a number; its weights are damaged, export it again"));
        }
        if !(-ROUNDING..=1.0 + ROUNDING).contains(value) {
            return Err(format!("its output for {genre} is {value}, which is no probability; {SIGMOID_MISSING}"));
        }
        *value = value.clamp(0.0, 1.0);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_genre_at_its_threshold_is_predicted_and_the_most_probable_comes_first() {
        let names: Arc<[String]> = ["Action", "Drama", "War"].map(String::from).into();
        let prediction = Prediction::new(names, vec![0.25, 0.5, 0.75]);
        let point = OperatingPoint { name: "p".into(), description: String::new(), thresholds: vec![0.25, 0.6, 0.5] };
        let names = |genres: Vec<Genre<'_>>| genres.iter().map(|genre| genre.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names(prediction.genres(&point)), ["War", "Action"]);
        assert_eq!(names(prediction.ranked(&point)), ["War", "Drama", "Action"]);
        assert_eq!((prediction.probability("Drama"), prediction.probability("News")), (Some(0.5), None));
        assert_eq!(prediction.probabilities(), [0.25, 0.5, 0.75]);
    }
}
