//! Description of a convolution layer as ONNX has it, from which the kernels are packed.

use super::quantization::Quantization;
use super::weights::Weights;

/// Side of the 3 x 3 kernels: those of the stem and of depthwise convolutions.
pub const KERNEL: usize = 3;

/// A 2-D convolution (ONNX `Conv`) followed by a clamp (`Clip` or `Relu`).
#[derive(Clone, Debug)]
pub struct Convolution<'a> {
    /// `[outputs, inputs / groups, kernel height, kernel width]`
    pub weight: Weights<'a>,
    /// `[outputs]`; empty if the layer is quantised.
    pub bias: Vec<f32>,
    /// The numbers of a quantised layer, whose weights are integers.
    pub int8: Option<Int8Layer>,
    /// Zero padding of the input in pixels: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Distance in input pixels between neighbouring outputs, in both directions: 1 or 2.
    pub stride: usize,
    /// Lowest and highest output; infinite where the output is not clamped.
    pub clip: [f32; 2],
}

impl Convolution<'_> {
    /// Number of output channels.
    pub fn outputs(&self) -> usize {
        self.int8.as_ref().map_or(self.bias.len(), |int8| int8.bias.len())
    }
}

/// The numbers of a quantised convolution beside its weights.
#[derive(Clone, Debug)]
pub struct Int8Layer {
    /// The scale of the weights of each output channel, `[outputs]`.
    pub weight_scale: Vec<f32>,
    /// `[outputs]`, in units of the input's scale times the weight's.
    pub bias: Vec<i32>,
    /// Of the outputs, clamped.
    pub output: Quantization,
}

/// Height and width of a 3 x 3 convolution's output for an input of `height` by `width` pixels.
///
/// # Panics
/// If a side with its padding is shorter than the kernel.
pub fn output_size(size: [usize; 2], pads: [usize; 4], stride: usize) -> [usize; 2] {
    checked_output_size(size, pads, stride).expect("an input as large as the kernel")
}

/// [`output_size`], or `None` if a side with its padding is shorter than the kernel.
pub fn checked_output_size(
    [height, width]: [usize; 2],
    [top, left, bottom, right]: [usize; 4],
    stride: usize,
) -> Option<[usize; 2]> {
    let side = |padded: usize| Some(padded.checked_sub(KERNEL)? / stride + 1);
    Some([side(height + top + bottom)?, side(width + left + right)?])
}
