//! The learning rate over a run.

use serde::{Deserialize, Serialize};

/// How the learning rate falls after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Along half a cosine to zero at the end (Loshchilov and Hutter, SGDR, 2017).
    Cosine,
    /// To a fifth whenever the validation loss has not fallen for three epochs, as Keras's `ReduceLROnPlateau` does.
    Plateau,
    /// Not at all.
    Constant,
}

/// The learning rate as a function of progress, and of the validation losses so far where [`Decay::Plateau`] asks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// The highest learning rate.
    pub peak: f64,
    /// Epochs over which the rate rises from nearly zero to its peak.
    pub warmup: f64,
    /// Epochs of the whole run.
    pub epochs: usize,
    /// What happens after the warm-up.
    pub decay: Decay,
}

/// Epochs without a new lowest validation loss after which [`Decay::Plateau`] lowers the rate.
const PATIENCE: usize = 3;
/// What [`Decay::Plateau`] multiplies the rate with.
const FACTOR: f64 = 0.2;

impl Schedule {
    /// The learning rate at a moment of the run, `progress` in epochs, given the validation loss of each epoch so far.
    pub fn rate(&self, progress: f64, validation_losses: &[f64]) -> f64 {
        if progress < self.warmup {
            return self.peak * (progress / self.warmup).max(1e-3);
        }
        match self.decay {
            Decay::Constant => self.peak,
            Decay::Cosine => {
                let rest = (self.epochs as f64 - self.warmup).max(f64::MIN_POSITIVE);
                let part = ((progress - self.warmup) / rest).min(1.0);
                self.peak * 0.5 * (1.0 + (std::f64::consts::PI * part).cos())
            }
            Decay::Plateau => self.peak * FACTOR.powi(plateaus(validation_losses)),
        }
    }
}

/// How often the lowest loss has stood for [`PATIENCE`] epochs.
fn plateaus(losses: &[f64]) -> i32 {
    let (mut lowest, mut waited, mut count) = (f64::INFINITY, 0, 0);
    for &loss in losses {
        if loss < lowest {
            (lowest, waited) = (loss, 0);
        } else {
            waited += 1;
            if waited == PATIENCE {
                (waited, count) = (0, count + 1);
            }
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates() {
        let schedule = |decay| Schedule { peak: 1.0, warmup: 2.0, epochs: 10, decay };
        let stuck = [3.0, 2.0, 2.5, 2.0, 2.1, 1.9, 2.0, 2.0, 2.0];
        let cases = [
            (Decay::Cosine, 0.0, 0, 0.001),
            (Decay::Cosine, 1.0, 0, 0.5),
            (Decay::Cosine, 2.0, 0, 1.0),
            (Decay::Cosine, 6.0, 0, 0.5),
            (Decay::Cosine, 10.0, 0, 0.0),
            (Decay::Constant, 9.5, 0, 1.0),
            (Decay::Plateau, 4.0, 4, 1.0),
            (Decay::Plateau, 5.0, 5, 0.2),
            (Decay::Plateau, 8.0, 8, 0.2),
            (Decay::Plateau, 9.0, 9, 0.04),
        ];
        for (decay, progress, epochs, expected) in cases {
            let rate = schedule(decay).rate(progress, &stuck[..epochs]);
            assert!((rate - expected).abs() < 1e-9, "{decay:?} at {progress}: {rate} is not {expected}");
        }
    }

    #[test]
    fn a_run_without_warm_up_starts_at_its_peak() {
        let schedule = Schedule { peak: 0.1, warmup: 0.0, epochs: 1, decay: Decay::Cosine };
        assert_eq!(schedule.rate(0.0, &[]), 0.1);
    }
}
