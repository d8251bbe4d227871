//! Labelled posters with the probabilities that a network gives them, as run directories keep them for reports.

use std::path::PathBuf;

use runtime::dataset::Dataset;
use runtime::metrics::Predictions;
use serde::{Deserialize, Serialize};

/// N labelled posters with their probabilities over G genres.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredPosters {
    /// Names of the genres, `[G]`.
    pub genres: Vec<String>,
    /// The posters, `[N]`.
    pub posters: Vec<ScoredPoster>,
}

/// A poster, its labels, and its probabilities.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ScoredPoster {
    /// The row's own name for the poster in its label file.
    pub id: String,
    /// The picture, as it was found when the probabilities were computed.
    pub path: PathBuf,
    /// One label per genre, `[G]`: yes, no, or unknown.
    pub labels: Vec<Option<bool>>,
    /// One probability per genre, `[G]`, 0 to 1.
    pub probabilities: Vec<f32>,
}

impl ScoredPosters {
    /// The posters of a dataset with their probabilities, `[N, G]`.
    ///
    /// # Panics
    /// If there is not one probability per label.
    pub fn new(dataset: &Dataset, probabilities: &[f32]) -> Self {
        let genres = dataset.genres.len();
        assert_eq!(probabilities.len(), dataset.posters.len() * genres, "there must be one probability per label");
        let posters =
            dataset.posters.iter().zip(probabilities.chunks_exact(genres)).map(|(poster, row)| ScoredPoster {
                id: poster.id.clone(),
                path: poster.path.clone(),
                labels: poster.labels.clone(),
                probabilities: row.to_vec(),
            });
        Self { genres: dataset.genres.clone(), posters: posters.collect() }
    }

    /// Every label, `[N, G]`.
    pub fn labels(&self) -> Vec<Option<bool>> {
        self.posters.iter().flat_map(|poster| poster.labels.iter().copied()).collect()
    }

    /// Every probability, `[N, G]`.
    pub fn probabilities(&self) -> Vec<f32> {
        self.posters.iter().flat_map(|poster| poster.probabilities.iter().copied()).collect()
    }

    /// The two lists above as [`runtime::metrics`] takes them.
    pub fn predictions<'a>(&'a self, probabilities: &'a [f32], labels: &'a [Option<bool>]) -> Predictions<'a> {
        Predictions { genres: &self.genres, probabilities, labels }
    }

    /// The probabilities of a genre for the posters that are known to have it, or not to have it, in ascending order.
    pub fn scores(&self, genre: usize, has: bool) -> Vec<f32> {
        let posters = self.posters.iter().filter(|poster| poster.labels[genre] == Some(has));
        let mut scores: Vec<f32> = posters.map(|poster| poster.probabilities[genre]).collect();
        scores.sort_by(f32::total_cmp);
        scores
    }
}
