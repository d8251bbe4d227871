//! Probability calibration: Platt scaling of each genre's logit, fitted on validation posters.

use runtime::metrics::Predictions;
use serde::{Deserialize, Serialize};

/// Platt scaling of one genre: the calibrated logit is `slope * logit + offset` (Platt, "Probabilistic outputs for
/// support vector machines", 1999).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    /// The factor, positive, so that calibration does not change the ranking of posters.
    pub slope: f32,
    /// The summand.
    pub offset: f32,
}

/// Variance of the Gaussian prior of the slope, around 1, and of the offset, around 0: a genre with few posters keeps
/// nearly the network's own probabilities.
const PRIOR_VARIANCE: f64 = 0.25;

/// The maximum a posteriori scale of each genre, `[G]`.
///
/// `logits` are `[N, G]`; of `predictions`, only genres and labels are read. Unknown labels are left out.
pub fn fit(logits: &[f32], predictions: &Predictions) -> Vec<Scale> {
    let genres = predictions.genres.len();
    (0..genres)
        .map(|genre| {
            let pairs = logits.iter().zip(predictions.labels).skip(genre).step_by(genres);
            let known: Vec<(f64, bool)> =
                pairs.filter_map(|(logit, label)| Some((f64::from(*logit), (*label)?))).collect();
            fit_genre(&known)
        })
        .collect()
}

/// Calibrated logits, `[N, G]`, from the network's, `[N, G]`, and the scale of each genre, `[G]`.
pub fn apply(scales: &[Scale], logits: &[f32]) -> Vec<f32> {
    logits.iter().zip(scales.iter().cycle()).map(|(logit, scale)| logit * scale.slope + scale.offset).collect()
}

/// The maximum a posteriori scale of one genre, for pairs of logit and label: logistic regression on one variable by
/// Newton's method, with the Gaussian prior as regularisation.
fn fit_genre(known: &[(f64, bool)]) -> Scale {
    let (mut slope, mut offset) = (1.0, 0.0);
    for _ in 0..50 {
        let mut gradient = [(slope - 1.0) / PRIOR_VARIANCE, offset / PRIOR_VARIANCE];
        let mut curvature = [1.0 / PRIOR_VARIANCE, 0.0, 1.0 / PRIOR_VARIANCE];
        for (x, positive) in known {
            let probability = sigmoid(slope * x + offset);
            let error = probability - f64::from(u8::from(*positive));
            let weight = probability * (1.0 - probability);
            gradient[0] += error * x;
            gradient[1] += error;
            curvature[0] += weight * x * x;
            curvature[1] += weight * x;
            curvature[2] += weight;
        }
        // Of the symmetric 2 x 2 Hessian.
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

/// The logistic function.
fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;

    #[test]
    fn the_true_scale_is_found_and_without_posters_it_is_the_identity() {
        let rng = &mut Pcg64::seed_from_u64(1);
        let cases = [(5000, 0.5, -0.4, 0.1), (5000, 1.0, 0.0, 0.1), (0, 1.0, 0.0, 1e-6)];
        for (posters, slope, offset, tolerance) in cases {
            let (mut logits, mut labels) = (Vec::new(), Vec::new());
            for _ in 0..posters {
                let logit = 6.0 * rng.random::<f32>() - 4.0;
                let probability = sigmoid(f64::from(slope * logit + offset)) as f32;
                logits.push(logit);
                labels.push(Some(rng.random::<f32>() < probability));
            }
            let genres = ["Drama".to_string()];
            let predictions = Predictions { genres: &genres, probabilities: &[], labels: &labels };
            let [found] = fit(&logits, &predictions)[..] else { panic!("one genre") };
            assert!(
                (found.slope - slope).abs() <= tolerance && (found.offset - offset).abs() <= tolerance,
                "{found:?}"
            );
        }
    }
}
