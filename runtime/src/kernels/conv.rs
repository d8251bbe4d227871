//! Description of a convolution layer as ONNX has it, from which the kernels are packed.

use super::weights::Weights;

/// Side of the 3 x 3 kernels: those of the stem and of depthwise convolutions.
pub const KERNEL: usize = 3;

/// A 2-D convolution (ONNX `Conv`) followed by a clamp (`Clip` or `Relu`).
#[derive(Clone, Debug)]
pub struct Convolution<'a> {
    /// `[outputs, inputs / groups, kernel height, kernel width]`
    pub weight: Weights<'a>,
    /// `[outputs]`
    pub bias: Vec<f32>,
    /// Zero padding of the input in pixels: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Distance in input pixels between neighbouring outputs, in both directions: 1 or 2.
    pub stride: usize,
    /// Lowest and highest output; infinite where the output is not clamped.
    pub clip: [f32; 2],
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
