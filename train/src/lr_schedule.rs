//! Learning-rate schedule: linear warm-up, then cosine decay, reduction on plateaus, or a constant rate.
//!
//! The rate is a pure function of the progress and of the validation losses so far, which the run's history holds
//! anyway, so that a resumed run goes on with exactly the same rates. burn's schedulers have a state, which would
//! have to be saved too.

use serde::{Deserialize, Serialize};

/// Learning-rate decay after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Along half a cosine to zero at the end (Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm
    /// restarts", 2017, without restarts).
    Cosine,
    /// By a factor of 5 each time the validation loss has not reached a new minimum for three epochs, as Keras's
    /// `ReduceLROnPlateau` does.
    Plateau,
    /// Not at all.
    Constant,
}

/// A learning-rate schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LrSchedule {
    /// The highest learning rate.
    pub peak: f64,
    /// Epochs of linear warm-up; may be a fraction.
    pub warmup: f64,
    /// Epochs of the whole run.
    pub epochs: usize,
    /// Decay after the warm-up.
    pub decay: Decay,
}

/// Epochs without a new lowest validation loss after which [`Decay::Plateau`] lowers the rate.
const PLATEAU_PATIENCE: usize = 3;
/// The factor by which [`Decay::Plateau`] multiplies the rate.
const PLATEAU_FACTOR: f64 = 0.2;

impl LrSchedule {
    /// The learning rate at `progress`, in epochs since the start of the run, 0 to `epochs`. Only [`Decay::Plateau`]
    /// reads the validation loss of each epoch so far.
    pub fn rate(&self, progress: f64, validation_losses: &[f64]) -> f64 {
        if progress < self.warmup {
            return self.peak * (progress / self.warmup).max(1e-3);
        }
        match self.decay {
            Decay::Constant => self.peak,
            Decay::Cosine => {
                let rest = (self.epochs as f64 - self.warmup).max(f64::MIN_POSITIVE);
                let fraction = ((progress - self.warmup) / rest).min(1.0);
                self.peak * 0.5 * (1.0 + (std::f64::consts::PI * fraction).cos())
            }
            Decay::Plateau => self.peak * PLATEAU_FACTOR.powi(plateaus(validation_losses)),
        }
    }
}

/// The number of times that the lowest loss has stood for [`PLATEAU_PATIENCE`] epochs.
fn plateaus(losses: &[f64]) -> i32 {
    let (mut lowest, mut waited, mut count) = (f64::INFINITY, 0, 0);
    for &loss in losses {
        if loss < lowest {
            (lowest, waited) = (loss, 0);
        } else {
            waited += 1;
            if waited == PLATEAU_PATIENCE {
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
    fn rates_follow_the_warm_up_and_the_decay() {
        let schedule = |decay| LrSchedule { peak: 1.0, warmup: 2.0, epochs: 10, decay };
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
        let schedule = LrSchedule { peak: 0.1, warmup: 0.0, epochs: 1, decay: Decay::Cosine };
        assert_eq!(schedule.rate(0.0, &[]), 0.1);
    }
}
