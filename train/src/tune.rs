//! Post-training: calibrates the best epoch's network, rounds its weights and chooses the thresholds, all on
//! validation posters.

use std::sync::Arc;

use anyhow::Result;
use burn::tensor::Device;
use runtime::metrics::{Bootstrap, Evaluation, Predictions, thresholds};
use runtime::preprocess::InputSpec;

use crate::calibration::{self, Scale};
use crate::data::PosterSet;
use crate::history::RunState;
use crate::model::Model;
use crate::predict;
use crate::quantize::{BF16_LOSS_TOLERANCE, F16_MIN_SIZES, F16_PROBABILITY_TOLERANCE, Quantization};
use crate::run_dir::{Calibration, RunDir};

/// The result of [`tune`].
pub struct Tuned {
    /// The state of the run.
    pub state: RunState,
    /// The name of the first operating point.
    pub operating_point: String,
    /// The validation metrics at the first operating point.
    pub evaluation: Evaluation,
}

/// Calibrates the best epoch's network, rounds its weights as far as the tolerances of [`crate::quantize`] allow, and
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

    let calibrate = |model: Model| Calibrated::fit(model, validation, &input, workers, genres, &labels);
    let full = calibrate(model.clone());
    let rounded = calibrate(model.round_to_bf16());
    let bf16 = rounded.loss <= full.loss + BF16_LOSS_TOLERANCE;
    let Calibrated { model, scales, probabilities, .. } = if bf16 { rounded } else { full };

    let f16 = F16_MIN_SIZES.into_iter().find_map(|min_size| {
        let rounded = model.clone().round_to_f16(min_size);
        let rounded = predict::probabilities(&predict::logits(&rounded, validation, &input, workers));
        (largest_difference(&probabilities, &rounded) <= F16_PROBABILITY_TOLERANCE).then_some((min_size, rounded))
    });
    let (f16_min_size, probabilities) = match f16 {
        Some((min_size, rounded)) => (Some(min_size), rounded),
        None => (None, probabilities),
    };
    run.save_calibration(&Calibration { scales, quantization: Quantization { bf16, f16_min_size } })?;

    let points = thresholds::choose(&Predictions { genres, probabilities: &probabilities, labels: &labels });
    run.save_operating_points(&points)?;

    let evaluation = dataset.evaluate(&probabilities, &points[0].thresholds, Some(Bootstrap::default()));
    run.save_figures("validation", &evaluation)?;
    Ok(Tuned { state, operating_point: points[0].name.clone(), evaluation })
}

/// A network with calibrated logits, and what it says of the validation posters.
struct Calibrated {
    model: Model,
    /// `[G]`
    scales: Vec<Scale>,
    /// Mean binary cross-entropy.
    loss: f64,
    /// `[N, G]`
    probabilities: Vec<f32>,
}

impl Calibrated {
    fn fit(
        model: Model,
        validation: &Arc<PosterSet>,
        input: &InputSpec,
        workers: usize,
        genres: &[String],
        labels: &[Option<bool>],
    ) -> Self {
        let logits = predict::logits(&model, validation, input, workers);
        let scales = calibration::fit(&logits, &Predictions { genres, probabilities: &[], labels });
        let logits = calibration::apply(&scales, &logits);
        Self {
            model: model.with_calibration(&scales),
            scales,
            loss: predict::mean_cross_entropy(&logits, labels),
            probabilities: predict::probabilities(&logits),
        }
    }
}

/// The largest absolute difference between two lists of the same length.
fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}
