//! Probabilities of labelled posters.

use rayon::prelude::*;

use super::{Dataset, LabelledPoster};
use crate::error::Error;
use crate::model::Model;

/// The posters of a dataset that could be read, with their probabilities.
#[derive(Debug)]
pub struct Classified {
    /// The posters that could be read, with the genres of the model.
    pub dataset: Dataset,
    /// Their probabilities, `[N, G]`.
    pub probabilities: Vec<f32>,
    /// Why each of the other posters could not be read.
    pub failures: Vec<Error>,
}

impl Dataset {
    /// Classifies every poster, on all threads; the labels become those of the model's genres.
    pub fn classify(self, model: &Model) -> Classified {
        let mut dataset = self.with_genres(&model.card().genres);
        let classify = |labelled: &LabelledPoster| model.classify_file(&labelled.path);
        let predictions: Vec<_> = dataset.posters.par_iter().map(classify).collect();
        let mut probabilities = Vec::with_capacity(predictions.len() * dataset.genres.len());
        let mut readable = Vec::with_capacity(predictions.len());
        let mut failures = Vec::new();
        for (result, labelled) in predictions.into_iter().zip(dataset.posters) {
            match result {
                Ok(prediction) => {
                    probabilities.extend(prediction.into_probabilities());
                    readable.push(labelled);
                }
                Err(error) => failures.push(error),
            }
        }
        dataset.posters = readable;
        Classified { dataset, probabilities, failures }
    }
}
