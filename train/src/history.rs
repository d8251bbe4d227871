//! The state of a training run: metrics of each epoch, the best epoch, and which data the run began with.

use serde::{Deserialize, Serialize};

/// The state of a run after its last whole epoch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RunState {
    /// Genres, `[G]`, in the order of the network's output.
    pub genres: Vec<String>,
    /// Fingerprint and number of the training posters.
    pub train: (String, usize),
    /// Fingerprint and number of the validation posters.
    pub validation: (String, usize),
    /// Metrics of each epoch done.
    pub history: Vec<EpochMetrics>,
    /// Number, counted from 1, of the epoch with the lowest validation loss; 0 before the first epoch.
    #[serde(alias = "best")]
    pub best_epoch: usize,
}

/// Metrics of one epoch. Precision, recall and F1 are micro averages at a threshold of 0.5.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EpochMetrics {
    /// Number of the epoch, counted from 1.
    pub epoch: usize,
    /// Learning rate of the epoch's last step.
    pub learning_rate: f64,
    /// Mean training loss over the epoch's steps.
    pub train_loss: f64,
    /// Validation loss: mean binary cross-entropy of the calibrated EMA network.
    pub validation_loss: f64,
    /// Precision on validation.
    pub precision: f64,
    /// Recall on validation.
    pub recall: f64,
    /// F1 on validation.
    pub f1: f64,
    /// Mean average precision on validation.
    pub mean_average_precision: f64,
    /// Wall time of the epoch in seconds, validation included.
    pub seconds: f64,
    /// Training posters per second.
    pub posters_per_second: f64,
    /// Fraction of the training time that the loop waited for batches, 0 to 1.
    #[serde(alias = "waited")]
    pub data_wait_fraction: f64,
}

impl RunState {
    /// The number of epochs done.
    pub fn epochs_done(&self) -> usize {
        self.history.len()
    }

    /// The validation loss of each epoch done.
    pub fn validation_losses(&self) -> Vec<f64> {
        self.history.iter().map(|epoch| epoch.validation_loss).collect()
    }

    /// Adds the metrics of an epoch, which is the best one if its validation loss is lower than any before.
    pub fn push(&mut self, metrics: EpochMetrics) {
        let is_best = match self.best_epoch {
            0 => true,
            best => metrics.validation_loss < self.history[best - 1].validation_loss,
        };
        self.history.push(metrics);
        if is_best {
            self.best_epoch = self.epochs_done();
        }
    }

    /// Whether `patience` epochs or more have gone by since the best one.
    pub fn should_stop_early(&self, patience: Option<usize>) -> bool {
        patience.is_some_and(|patience| self.best_epoch > 0 && self.epochs_done() - self.best_epoch >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_epoch_has_the_lowest_loss_and_patience_counts_from_it() {
        let mut state = RunState::default();
        assert!(!state.should_stop_early(Some(0)), "no epoch is done");
        for (loss, best, stops_at_2) in [(3.0, 1, false), (2.0, 2, false), (2.0, 2, false), (2.5, 2, true)] {
            state.push(EpochMetrics { validation_loss: loss, ..EpochMetrics::default() });
            let epoch = state.epochs_done();
            assert_eq!(state.best_epoch, best, "after epoch {epoch}");
            assert_eq!(state.should_stop_early(Some(2)), stops_at_2, "after epoch {epoch}");
            assert!(!state.should_stop_early(None), "after epoch {epoch}");
        }
        assert_eq!(state.validation_losses(), [3.0, 2.0, 2.0, 2.5]);
    }
}
