//! Post-training: calibrates the best epoch's network, rounds its weights and chooses the thresholds, all on
//! validation posters.

use std::sync::Arc;

use anyhow::Result;
use burn::tensor::Device;
use runtime::metrics::{Bootstrap, Evaluation, Predictions, thresholds};

use crate::calibration;
use crate::data::PosterSet;
use crate::history::RunState;
use crate::predict;
use crate::run_dir::{Calibration, RunDir};
use crate::scored::ScoredPosters;

/// The largest change of any validation probability that rounding to f16 may cause.
pub const F16_PROBABILITY_TOLERANCE: f32 = 2e-3;

/// The values tried for [`Calibration::f16_min_size`], best first. Large tensors hold nearly all of a file's bytes;
/// small ones, such as biases and the kernels of early layers, hold few of them and cause most of the error.
pub const F16_MIN_SIZES: [usize; 5] = [1 << 11, 1 << 13, 1 << 14, 1 << 16, 1 << 18];

/// The result of [`tune`].
pub struct Tuned {
    /// The state of the run.
    pub state: RunState,
    /// The name of the first operating point.
    pub operating_point: String,
    /// The validation metrics at the first operating point.
    pub evaluation: Evaluation,
}

/// Calibrates the best epoch's network, rounds its weights to f16 as far as [`F16_PROBABILITY_TOLERANCE`] allows, and
/// chooses operating points. Calibration, operating points and validation metrics are saved in the run directory.
///
/// # Errors
/// If no epoch is done, or the run directory cannot be read or written.
pub fn tune(run: &RunDir, validation: &Arc<PosterSet>, workers: usize) -> Result<Tuned> {
    let (model, state) = run.best_model(&Device::flex())?;
    let input = run.config()?.input;
    let dataset = validation.dataset();
    let labels = dataset.labels();
    let genres = &dataset.genres;

    let logits = predict::logits(&model, validation, &input, workers);
    let scales = calibration::fit(&logits, &Predictions { genres, probabilities: &[], labels: &labels });
    let probabilities = predict::probabilities(&calibration::apply(&scales, &logits));
    let model = model.with_calibration(&scales);

    let f16 = F16_MIN_SIZES.into_iter().find_map(|min_size| {
        let rounded = model.clone().round_to_f16(min_size);
        let rounded = predict::probabilities(&predict::logits(&rounded, validation, &input, workers));
        (largest_difference(&probabilities, &rounded) <= F16_PROBABILITY_TOLERANCE).then_some((min_size, rounded))
    });
    let (f16_min_size, probabilities) = match f16 {
        Some((min_size, rounded)) => (Some(min_size), rounded),
        None => (None, probabilities),
    };
    run.save_calibration(&Calibration { scales, f16_min_size })?;

    let points = thresholds::choose(&Predictions { genres, probabilities: &probabilities, labels: &labels });
    run.save_operating_points(&points)?;

    let evaluation = dataset.evaluate(&probabilities, &points[0].thresholds, Some(Bootstrap::default()));
    run.save_figures("validation", &evaluation, &ScoredPosters::new(&dataset, &probabilities))?;
    Ok(Tuned { state, operating_point: points[0].name.clone(), evaluation })
}

/// The largest absolute difference between two lists of the same length.
fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
