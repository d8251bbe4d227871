//! Traits of pointwise and depthwise layers, by which the fused block is generic over f32 and int8.

use std::fmt::Debug;

/// The output of a pointwise convolution: pixels at arbitrary offsets of a buffer.
pub struct Target<'a, V> {
    /// The buffer that receives the output channels of each pixel.
    pub y: &'a mut [V],
    /// The offset in `y` of each pixel's first channel; one element per pixel.
    pub row_offsets: &'a [usize],
    /// Values that are added behind the clamp; as long as `y`, and read at the same offsets.
    pub residual: Option<&'a [V]>,
}

/// A pointwise (1 x 1) convolution with bias and clamp over NHWC pixels.
pub trait PointwiseLayer: Debug {
    /// An element of a feature map; the default is what padding has.
    type Value: Copy + Default + Debug;
    /// Sum of many elements.
    type Sum: Copy + Default + Debug;
    /// Scratch memory.
    type Scratch: Default + Debug;

    /// Number of elements of an input pixel, padding included.
    fn inputs(&self) -> usize;

    /// Number of channels of an output pixel.
    fn outputs(&self) -> usize;

    /// Convolves `x`, `[pixels, inputs]`, to as many pixels as `target` has row offsets.
    ///
    /// # Panics
    /// If `x` has fewer pixels than `target`, or a pixel of `target` lies outside of `y` or the residual.
    fn run(&self, x: &[Self::Value], target: Target<Self::Value>, scratch: &mut Self::Scratch);

    /// Adds output pixels, `[pixels, channels]`, to `sums`, `[channels]`.
    fn add_channel_sums(&self, pixels: &[Self::Value], sums: &mut [Self::Sum]);

    /// The sum as a number, of the outputs of a channel at `pixels` pixels.
    fn total(&self, sum: Self::Sum, pixels: usize) -> f32;
}

/// A depthwise 3 x 3 convolution with bias and clamp over NHWC rows.
pub trait DepthwiseLayer: Debug {
    /// An element of a feature map.
    type Value;

    /// Number of channels of a pixel, padding included.
    fn channels(&self) -> usize;

    /// Distance in input pixels between neighbouring outputs, 1 or 2.
    fn stride(&self) -> usize;

    /// Convolves three padded input rows, each `[stride * (columns - 1) + 3, channels]`, to one output row `y`,
    /// `[columns, channels]`.
    ///
    /// # Panics
    /// If an input row is too short.
    fn run_row(&self, rows: [&[Self::Value]; 3], y: &mut [Self::Value]);
}
