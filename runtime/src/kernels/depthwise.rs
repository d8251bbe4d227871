//! Depthwise 3 x 3 convolutions.

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};

use super::block::Convolution;
use super::isa::{dispatch, lanes, multiply_add};

/// Side of the kernel.
pub const KERNEL: usize = 3;

/// A depthwise 3 x 3 convolution and the range that its outputs are clamped to. Channels are filled up with zeros to whole
/// vectors.
#[derive(Debug)]
pub struct Depthwise {
    arch: Arch,
    channels: usize,
    stride: usize,
    /// `[channels / lanes, 9, lanes]`
    weights: Vec<f32>,
    /// `[channels]`
    bias: Vec<f32>,
    range: [f32; 2],
}

impl Depthwise {
    /// Packs a convolution of weights `[channels, 1, 3, 3]`.
    pub fn new(arch: Arch, layer: &Convolution) -> Self {
        let lanes = lanes(arch);
        let channels = layer.bias.len().next_multiple_of(lanes);
        let mut weights = vec![0.0; channels * KERNEL * KERNEL];
        for (channel, kernel) in layer.weight.floats().chunks_exact(KERNEL * KERNEL).enumerate() {
            for (place, weight) in kernel.iter().enumerate() {
                weights[(channel / lanes * KERNEL * KERNEL + place) * lanes + channel % lanes] = *weight;
            }
        }
        let mut bias = layer.bias.clone();
        bias.resize(channels, 0.0);
        Self { arch, channels, stride: layer.stride, weights, bias, range: layer.range }
    }

    /// Channels of a pixel, zeros included.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Pixels from one output to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Convolves three rows, each `[stride * (columns - 1) + 3, channels]`, to one, `[columns, channels]`.
    ///
    /// # Panics
    /// If a row is too short.
    pub fn row(&self, rows: [&[f32]; KERNEL], y: &mut [f32]) {
        dispatch(self.arch, Row { layer: self, rows, y });
    }
}

struct Row<'a> {
    layer: &'a Depthwise,
    rows: [&'a [f32]; KERNEL],
    y: &'a mut [f32],
}

impl WithSimd for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.layer.stride {
            1 => self.with_stride::<S, 1>(simd),
            _ => self.with_stride::<S, 2>(simd),
        }
    }
}

impl Row<'_> {
    /// One vector of channels after the other, along the row: the nine weights stay in registers, and so do the columns
    /// that the next output shares.
    #[inline(always)]
    fn with_stride<S: Simd, const STRIDE: usize>(self, simd: S) {
        let Depthwise { channels, weights, bias, range, .. } = self.layer;
        let step = channels / S::F32_LANES;
        let columns = self.y.len() / channels;
        let y = S::as_mut_simd_f32s(self.y).0;
        let rows = self.rows.map(|row| &S::as_simd_f32s(row).0[..((columns - 1) * STRIDE + KERNEL) * step]);
        let weights = S::as_simd_f32s(weights).0.as_chunks::<{ KERNEL * KERNEL }>().0;
        let bias = S::as_simd_f32s(bias).0;
        let [low, high] = range.map(|bound| simd.splat_f32s(bound));
        for (channel, (weights, bias)) in weights.iter().zip(bias).enumerate() {
            let column = |x: usize| -> [S::f32s; KERNEL] { from_fn(|row| rows[row][x * step + channel]) };
            let (mut left, mut middle) = (column(0), column(1));
            for x in 0..columns {
                let right = column(x * STRIDE + 2);
                // Two sums, so that a multiplication need not wait for the one before.
                let mut even = simd.mul_f32s(left[0], weights[0]);
                let mut odd = *bias;
                for row in 0..KERNEL {
                    if row > 0 {
                        even = multiply_add(simd, left[row], weights[row * KERNEL], even);
                    }
                    odd = multiply_add(simd, middle[row], weights[row * KERNEL + 1], odd);
                    even = multiply_add(simd, right[row], weights[row * KERNEL + 2], even);
                }
                let sum = simd.add_f32s(even, odd);
                y[x * step + channel] = simd.min_f32s(simd.max_f32s(sum, low), high);
                if STRIDE == 1 {
                    (left, middle) = (middle, right);
                } else if x + 1 < columns {
                    (left, middle) = (right, column(x * STRIDE + 3));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::all;
    use super::super::tests::{assert_close, random, singles};
    use super::super::weights::Weights;
    use super::*;

    #[test]
    fn every_size_and_kind_of_vector_gives_the_plain_sum() {
        for arch in all().into_iter().map(|isa| isa.arch) {
            for (channels, columns, stride) in [(1, 1, 1), (16, 7, 1), (24, 5, 2), (33, 4, 2), (96, 3, 1)] {
                let (singles, bias) = (singles(channels * 9), random(channels));
                let weight = Weights::Single(&singles);
                let layer = Convolution { weight, bias: bias.clone(), pads: [0; 4], stride, range: [0.0, 6.0] };
                let layer = Depthwise::new(arch, &layer);
                let weight = weight.floats();
                let wide = layer.channels();
                let width = (columns - 1) * stride + 3;
                let x: [Vec<f32>; 3] = from_fn(|_| random(width * wide));
                let mut y = vec![0.0; columns * wide];
                layer.row(x.each_ref().map(|row| &**row), &mut y);
                let sum = |column: usize, channel: usize| {
                    let mut sum = bias[channel];
                    for (row, x) in x.iter().enumerate() {
                        for place in 0..3 {
                            let value = x[(column * stride + place) * wide + channel];
                            sum += value * weight[channel * 9 + row * 3 + place];
                        }
                    }
                    sum.clamp(0.0, 6.0)
                };
                for (column, found) in y.chunks_exact(wide).enumerate() {
                    let expected: Vec<f32> = (0..channels).map(|channel| sum(column, channel)).collect();
                    assert_close(&found[..channels], &expected, &format!("{arch:?}, {channels} channels"));
                    assert!(found[channels..].iter().all(|value| *value == 0.0), "{arch:?}, {channels} channels");
                }
            }
        }
    }
}
