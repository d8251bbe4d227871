//! Probabilities and labels of posters, as metrics and thresholds take them.

/// Probabilities and labels of N posters over G genres.
#[derive(Clone, Copy, Debug)]
pub struct Predictions<'a> {
    /// Names of the G genres, in column order.
    pub genres: &'a [String],
    /// `[N, G]` row-major, one poster after the other, each in `0..=1`.
    pub probabilities: &'a [f32],
    /// `[N, G]` row-major; `None` where it is not known whether the film has the genre.
    pub labels: &'a [Option<bool>],
}

impl Predictions<'_> {
    /// Number of posters, N.
    ///
    /// # Panics
    /// If there is no genre.
    pub fn posters(&self) -> usize {
        self.labels.len() / self.genres.len()
    }

    /// Probability and label of a genre for the posters whose label is known.
    pub(super) fn known(&self, genre: usize) -> impl Iterator<Item = (f32, bool)> {
        let pairs = self.probabilities.iter().zip(self.labels).skip(genre).step_by(self.genres.len());
        pairs.filter_map(|(probability, label)| Some((*probability, (*label)?)))
    }

    /// # Panics
    /// As [`evaluate`](super::evaluate) does of predictions.
    pub(super) fn check(&self) {
        let genres = self.genres.len();
        assert!(genres > 0, "there must be at least one genre");
        assert_eq!(
            self.probabilities.len(),
            self.labels.len(),
            "there must be one label (known or not) per probability"
        );
        assert!(
            !self.labels.is_empty() && self.labels.len().is_multiple_of(genres),
            "{} labels do not make whole posters of {genres} genres",
            self.labels.len()
        );
        assert!(self.probabilities.iter().all(|p| (0.0..=1.0).contains(p)), "probabilities must lie in 0..=1");
    }
}

#[cfg(test)]
pub(super) mod tests {
    use rand::RngExt;
    use rand_pcg::Pcg64;

    use super::*;

    /// Posters drawn at random, and the probabilities of a calibrated model that ranks them fairly well.
    #[derive(Clone)]
    pub struct Drawn {
        pub genres: Vec<String>,
        pub probabilities: Vec<f32>,
        pub labels: Vec<Option<bool>>,
    }

    impl Drawn {
        /// One genre per prevalence. One label in ten is unknown, and rounding to three decimals makes ties.
        pub fn new(posters: usize, prevalences: &[f64], seed: u64) -> Self {
            let mut rng = Pcg64::new(seed.into(), 0);
            let mut drawn = Self {
                genres: (0..prevalences.len()).map(|g| format!("Genre {g}")).collect(),
                probabilities: Vec::new(),
                labels: Vec::new(),
            };
            for _ in 0..posters {
                for prevalence in prevalences {
                    let positive = rng.random::<f64>() < *prevalence;
                    let bell = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
                    // Two bells of variance 1, so far apart, have this log likelihood ratio.
                    let apart = 1.8;
                    let ratio = apart * (bell + apart * f64::from(positive)) - apart * apart / 2.0;
                    let logit = (prevalence / (1.0 - prevalence)).max(0.01).ln() + ratio;
                    let probability = 1.0 / (1.0 + (-logit).exp());
                    drawn.probabilities.push((probability * 1000.0).round() as f32 / 1000.0);
                    drawn.labels.push((rng.random::<f64>() > 0.1).then_some(positive));
                }
            }
            drawn
        }

        pub fn predictions(&self) -> Predictions<'_> {
            Predictions { genres: &self.genres, probabilities: &self.probabilities, labels: &self.labels }
        }

        /// These posters, the last first.
        pub fn reversed(&self) -> Self {
            let genres = self.genres.len();
            Self {
                genres: self.genres.clone(),
                probabilities: self.probabilities.rchunks(genres).flatten().copied().collect(),
                labels: self.labels.rchunks(genres).flatten().copied().collect(),
            }
        }
    }

    pub const PREVALENCES: [f64; 7] = [0.5, 0.35, 0.2, 0.12, 0.05, 0.02, 0.0];
}
