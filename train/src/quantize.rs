//! Weight rounding after training: pointwise convolutions to bf16 for faster inference, large tensors to f16 for a
//! smaller file. Integer quantization is not part of it.

use serde::{Deserialize, Serialize};

use crate::model::Model;

/// The largest rise of the validation loss, in nats, that rounding to bf16 may cause. Rounding moves probabilities a
/// little, up and down; the rounded network is calibrated and evaluated as a network of its own.
pub const BF16_LOSS_TOLERANCE: f64 = 5e-4;

/// The largest change of any validation probability that rounding to f16 may cause.
pub const F16_PROBABILITY_TOLERANCE: f32 = 2e-3;

/// The values tried for [`Quantization::f16_min_size`], best first. Large tensors hold nearly all of a file's bytes;
/// small ones, such as biases and the kernels of early layers, hold few of them and cause most of the error.
pub const F16_MIN_SIZES: [usize; 5] = [1 << 11, 1 << 13, 1 << 14, 1 << 16, 1 << 18];

/// Which weights of a network are rounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantization {
    /// Whether the weights of a MobileNet's pointwise convolutions are rounded to bf16.
    #[serde(default, alias = "narrowed")]
    pub bf16: bool,
    /// Tensors of at least this number of values are rounded to f16, and stored as such; none if absent.
    #[serde(alias = "halved")]
    pub f16_min_size: Option<usize>,
}

impl Quantization {
    /// The network with its weights rounded.
    pub fn apply(self, model: Model) -> Model {
        let model = if self.bf16 { model.round_to_bf16() } else { model };
        match self.f16_min_size {
            Some(size) => model.round_to_f16(size),
            None => model,
        }
    }
}
