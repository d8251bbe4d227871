//! Depthwise 3 x 3 convolution of NHWC rows, vectorised along the channels.

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};

use super::conv::{Convolution, KERNEL};
use super::layer::DepthwiseLayer;
use super::simd::{dispatch, lanes, multiply_add};

/// A depthwise 3 x 3 convolution with bias and clamp, packed for one vector width.
///
/// Channels are padded with zeros to a multiple of the vector width.
#[derive(Debug)]
pub struct Depthwise {
    arch: Arch,
    channels: usize,
    stride: usize,
    /// `[channels / lanes, 9, lanes]`
    weights: Vec<f32>,
    /// `[channels]`
    bias: Vec<f32>,
    clip: [f32; 2],
}

impl Depthwise {
    /// Packs a layer whose weights are `[channels, 1, 3, 3]`.
    pub fn new(arch: Arch, layer: &Convolution) -> Self {
        let lanes = lanes(arch);
        let channels = layer.bias.len().next_multiple_of(lanes);
        let mut weights = vec![0.0; channels * KERNEL * KERNEL];
        for (channel, kernel) in layer.weight.to_f32().chunks_exact(KERNEL * KERNEL).enumerate() {
            for (tap, weight) in kernel.iter().enumerate() {
                weights[(channel / lanes * KERNEL * KERNEL + tap) * lanes + channel % lanes] = *weight;
            }
        }
        let mut bias = layer.bias.clone();
        bias.resize(channels, 0.0);
        Self { arch, channels, stride: layer.stride, weights, bias, clip: layer.clip }
    }
}

impl DepthwiseLayer for Depthwise {
    type Value = f32;

    fn channels(&self) -> usize {
        self.channels
    }

    fn stride(&self) -> usize {
        self.stride
    }

    fn run_row(&self, rows: [&[f32]; KERNEL], y: &mut [f32]) {
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
    /// Slides the kernel along the row for one vector of channels after the other: its nine weights stay in registers,
    /// and so do the input columns that neighbouring outputs share.
    #[inline(always)]
    fn with_stride<S: Simd, const STRIDE: usize>(self, simd: S) {
        let Depthwise { channels, weights, bias, clip, .. } = self.layer;
        // Vectors of a pixel.
        let step = channels / S::F32_LANES;
        let columns = self.y.len() / channels;
        let y = S::as_mut_simd_f32s(self.y).0;
        let rows = self.rows.map(|row| &S::as_simd_f32s(row).0[..((columns - 1) * STRIDE + KERNEL) * step]);
        let weights = S::as_simd_f32s(weights).0.as_chunks::<{ KERNEL * KERNEL }>().0;
        let bias = S::as_simd_f32s(bias).0;
        let [low, high] = clip.map(|bound| simd.splat_f32s(bound));
        for (channel, (weights, bias)) in weights.iter().zip(bias).enumerate() {
            let column = |x: usize| -> [S::f32s; KERNEL] { from_fn(|row| rows[row][x * step + channel]) };
            let (mut left, mut centre) = (column(0), column(1));
            for x in 0..columns {
                let right = column(x * STRIDE + 2);
                // Two accumulators shorten the chain of dependent multiply-adds.
                let mut even = simd.mul_f32s(left[0], weights[0]);
                let mut odd = *bias;
                for row in 0..KERNEL {
                    if row > 0 {
                        even = multiply_add(simd, left[row], weights[row * KERNEL], even);
                    }
                    odd = multiply_add(simd, centre[row], weights[row * KERNEL + 1], odd);
                    even = multiply_add(simd, right[row], weights[row * KERNEL + 2], even);
                }
                let sum = simd.add_f32s(even, odd);
                y[x * step + channel] = simd.min_f32s(simd.max_f32s(sum, low), high);
                if STRIDE == 1 {
                    (left, centre) = (centre, right);
                } else if x + 1 < columns {
                    (left, centre) = (right, column(x * STRIDE + 3));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, every_arch, random, random_f32_bytes};
    use super::super::weights::Weights;
    use super::*;

    #[test]
    fn depthwise_rows_match_the_definition_for_every_vector_width() {
        for arch in every_arch() {
            for (channels, columns, stride) in [(1, 1, 1), (16, 7, 1), (24, 5, 2), (33, 4, 2), (96, 3, 1)] {
                let (weight_bytes, bias) = (random_f32_bytes(channels * 9), random(channels));
                let weight = Weights::F32(&weight_bytes);
                let layer =
                    Convolution { weight, bias: bias.clone(), int8: None, pads: [0; 4], stride, clip: [0.0, 6.0] };
                let layer = Depthwise::new(arch, &layer);
                let weight = weight.to_f32();
                let padded = layer.channels();
                let width = (columns - 1) * stride + 3;
                let x: [Vec<f32>; 3] = from_fn(|_| random(width * padded));
                let mut y = vec![0.0; columns * padded];
                layer.run_row(x.each_ref().map(|row| &**row), &mut y);
                let sum = |column: usize, channel: usize| {
                    let mut sum = bias[channel];
                    for (row, x) in x.iter().enumerate() {
                        for offset in 0..3 {
                            let value = x[(column * stride + offset) * padded + channel];
                            sum += value * weight[channel * 9 + row * 3 + offset];
                        }
                    }
                    sum.clamp(0.0, 6.0)
                };
                for (column, found) in y.chunks_exact(padded).enumerate() {
                    let expected: Vec<f32> = (0..channels).map(|channel| sum(column, channel)).collect();
                    assert_close(&found[..channels], &expected, &format!("{arch:?}, {channels} channels"));
                    assert!(found[channels..].iter().all(|value| *value == 0.0), "{arch:?}, {channels} channels");
                }
            }
        }
    }
}
