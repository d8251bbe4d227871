//! Probabilities that mean what they say, fitted on validation posters.

use runtime::metrics::Predictions;
use serde::{Deserialize, Serialize};

/// What makes the network of a run's best epoch the one that is shipped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Every genre's scale, `[G]`.
    pub scales: Vec<Scale>,
    /// Whether the weights of pointwise convolutions are rounded to bfloat16.
    #[serde(default)]
    pub narrowed: bool,
    /// The least number of values of a weight tensor that is rounded to 16-bit floats; nothing if none is.
    pub halved: Option<usize>,
}

/// The most that the validation loss may rise by rounding weights to bfloat16. Probabilities change a little, up and down: that
/// is another network, which is calibrated, and judged, as it is.
pub const NARROWING_TOLERANCE: f64 = 5e-4;

/// The most that a probability may change by rounding weights to 16 bits.
pub const HALVING_TOLERANCE: f32 = 2e-3;

/// What [`Calibration::halved`] may be, the best first. Large tensors hold nearly all of a file's bytes; small ones, such as
/// biases and the kernels of early layers, hold little of it and most of the error.
pub const HALVING_SIZES: [usize; 5] = [1 << 11, 1 << 13, 1 << 14, 1 << 16, 1 << 18];

/// How a genre's logit `x` becomes a calibrated one: `slope * x + offset` (Platt, "Probabilistic outputs for support
/// vector machines", 1999).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// What the logit is multiplied with; positive, so that the order of posters stays.
    pub slope: f32,
    /// What is added.
    pub offset: f32,
}

/// Variance of the bell around 1 and 0 that slope and offset are expected in before any poster is seen: a genre of few
/// posters keeps nearly what the network says.
const VARIANCE: f64 = 0.25;

/// The likeliest scale of each genre, `[G]`, for the logits of labelled posters.
///
/// `logits` are `[N, G]`; of `scored`, only genres and labels are read.
pub fn fit(logits: &[f32], scored: &Predictions) -> Vec<Scale> {
    let genres = scored.genres.len();
    (0..genres)
        .map(|genre| {
            let pairs = logits.iter().zip(scored.labels).skip(genre).step_by(genres);
            let known: Vec<(f64, bool)> =
                pairs.filter_map(|(logit, label)| Some((f64::from(*logit), (*label)?))).collect();
            one(&known)
        })
        .collect()
}

/// Logits `[N, G]`, each by its genre's scale, `[G]`.
pub fn apply(scales: &[Scale], logits: &[f32]) -> Vec<f32> {
    logits.iter().zip(scales.iter().cycle()).map(|(logit, scale)| logit * scale.slope + scale.offset).collect()
}

/// Newton's method for logistic regression on one variable, with the prior as regularisation.
fn one(known: &[(f64, bool)]) -> Scale {
    let (mut slope, mut offset) = (1.0, 0.0);
    for _ in 0..50 {
        let mut gradient = [(slope - 1.0) / VARIANCE, offset / VARIANCE];
        let mut curvature = [1.0 / VARIANCE, 0.0, 1.0 / VARIANCE];
        for (x, positive) in known {
            let probability = 1.0 / (1.0 + (-(slope * x + offset)).exp());
            let error = probability - f64::from(u8::from(*positive));
            let weight = probability * (1.0 - probability);
            gradient[0] += error * x;
            gradient[1] += error;
            curvature[0] += weight * x * x;
            curvature[1] += weight * x;
            curvature[2] += weight;
        }
        let determinant = curvature[0] * curvature[2] - curvature[1] * curvature[1];
        let step = [
            (curvature[2] * gradient[0] - curvature[1] * gradient[1]) / determinant,
            (curvature[0] * gradient[1] - curvature[1] * gradient[0]) / determinant,
        ];
        slope = (slope - step[0]).max(0.05);
        offset -= step[1];
        if step.iter().all(|step| step.abs() < 1e-9) {
            break;
        }
    }
    Scale { slope: slope as f32, offset: offset as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    #[test]
    fn a_network_that_is_too_sure_is_found_out_and_few_posters_change_little() {
        let rng = &mut Pcg64::seed_from_u64(1);
        for (posters, slope, offset, tolerance) in [(5000, 0.5, -0.4, 0.1), (5000, 1.0, 0.0, 0.1), (0, 1.0, 0.0, 1e-6)]
        {
            let (mut logits, mut labels) = (Vec::new(), Vec::new());
            for _ in 0..posters {
                let logit = 6.0 * rng.random::<f32>() - 4.0;
                let probability = 1.0 / (1.0 + (-(slope * logit + offset)).exp());
                logits.push(logit);
                labels.push(Some(rng.random::<f32>() < probability));
            }
            let genres = ["Drama".to_string()];
            let scored = Predictions { genres: &genres, probabilities: &[], labels: &labels };
            let [found] = fit(&logits, &scored)[..] else { panic!("one genre") };
            assert!(
                (found.slope - slope).abs() <= tolerance && (found.offset - offset).abs() <= tolerance,
                "{found:?}"
            );
        }
    }
}
