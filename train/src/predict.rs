//! Inference with burn: logits of whole datasets, probabilities and the validation loss.

use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use runtime::preprocess::InputSpec;

use crate::data::PosterSet;
use crate::data::batches::{Batches, LoaderConfig, Source};
use crate::data::features::Features;
use crate::model::Model;

/// Posters per batch of inference; small batches suit a CPU's caches.
pub const BATCH_SIZE: usize = 32;

/// Loads the posters of a dataset for inference: in order, without augmentation.
pub fn loader(input: &InputSpec, workers: usize) -> LoaderConfig {
    LoaderConfig { input: input.clone(), batch_size: BATCH_SIZE, sampling: None, source: Source::Pixels, workers }
}

/// The logits of every poster of a dataset, `[N, G]`.
pub fn logits(model: &Model, set: &Arc<PosterSet>, input: &InputSpec, workers: usize) -> Vec<f32> {
    Batches::new(set, &loader(input, workers))
        .flat_map(|batch| forward(model, batch.len, batch.inputs, input))
        .collect()
}

/// The logits of `posters` posters, `[posters, G]`, from the cached output of the `frozen` first parts of the
/// backbone for an input of `size`, height and width.
pub fn logits_from_features(
    model: &Model,
    features: &Features,
    posters: usize,
    frozen: usize,
    size: [usize; 2],
) -> Vec<f32> {
    let posters: Vec<usize> = (0..posters).collect();
    let logits = posters.chunks(BATCH_SIZE).flat_map(|chunk| {
        let values = chunk.iter().flat_map(|poster| features.get(*poster, 0)).collect();
        let features = rows(values, chunk.len(), &model.device());
        model
            .as_mobilenet()
            .expect("only a mobilenet has blocks to freeze")
            .forward_from(features, frozen, size)
            .into_data()
            .try_to_vec::<f32>()
            .expect("logits are f32")
    });
    logits.collect()
}

/// The logits of `len` posters, `[len, G]`, from their normalised pixels, `[len, 3, height, width]`.
pub fn forward(model: &Model, len: usize, planes: Vec<f32>, input: &InputSpec) -> Vec<f32> {
    let posters = images(planes, len, input, &model.device());
    model.forward_fast(posters, 0).into_data().try_to_vec::<f32>().expect("logits are f32")
}

/// Normalised pixels as a tensor, `[len, 3, height, width]`.
pub(crate) fn images(planes: Vec<f32>, len: usize, input: &InputSpec, device: &Device) -> Tensor<4> {
    let shape = [len, 3, input.height as usize, input.width as usize];
    Tensor::from_data(TensorData::new(planes, shape), device)
}

/// Values as a tensor of `len` rows, `[len, values.len() / len]`.
pub(crate) fn rows(values: Vec<f32>, len: usize, device: &Device) -> Tensor<2> {
    let shape = [len, values.len() / len];
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// The probability of each logit: the logistic function.
pub fn probabilities(logits: &[f32]) -> Vec<f32> {
    logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect()
}

/// The mean binary cross-entropy of logits over the known labels, in nats; 0 if no label is known.
pub fn mean_cross_entropy(logits: &[f32], labels: &[Option<bool>]) -> f64 {
    let (mut total, mut known) = (0.0, 0_usize);
    for (logit, label) in logits.iter().map(|logit| f64::from(*logit)).zip(labels) {
        if let Some(yes) = label {
            // softplus(x) = max(x, 0) + ln(1 + exp(-|x|)), which does not overflow.
            let x = if *yes { -logit } else { logit };
            total += x.max(0.0) + (-x.abs()).exp().ln_1p();
            known += 1;
        }
    }
    total / known.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cross_entropy_counts_known_labels_and_does_not_overflow() {
        let ln_2 = std::f64::consts::LN_2;
        let cases = [
            ([0.0, 9.0], [Some(true), None], ln_2),
            ([0.0, 0.0], [Some(true), Some(false)], ln_2),
            ([-1000.0, 1000.0], [Some(true), Some(true)], 500.0),
            ([1.0, 2.0], [None, None], 0.0),
        ];
        for (logits, labels, expected) in cases {
            let loss = mean_cross_entropy(&logits, &labels);
            assert!((loss - expected).abs() < 1e-9, "{logits:?} {labels:?}: {loss} is not {expected}");
        }
        assert_eq!(probabilities(&[0.0, 100.0, -200.0]), [0.5, 1.0, 0.0]);
    }
}
