//! Depthwise 3 x 3 convolution of NHWC rows of codes: the three rows of a column are one dot product.

use super::Parts;
use super::vectors::{DOT, GROUP, Int8Isa, Kernel, Vectors, channel};
use crate::kernels::conv::{Convolution, KERNEL};
use crate::kernels::layer::DepthwiseLayer;
use crate::kernels::quantization::Quantization;

/// A quantised depthwise 3 x 3 convolution, packed for one instruction set; channels are padded to whole groups.
#[derive(Debug)]
pub struct Depthwise {
    isa: Int8Isa,
    channels: usize,
    stride: usize,
    /// `[groups, 3 columns, GROUP]` packed vectors of weights, of three rows and a zero.
    weights: Vec<i8>,
    /// `[groups, GROUP, lanes]`
    bias: Vec<i32>,
    /// `[groups, GROUP, lanes]`
    scale: Vec<f32>,
    output: Quantization,
}

impl Depthwise {
    /// Packs a layer whose weights are `[channels, 1, 3, 3]`, for codes with zero point 0; none if it is not quantised
    /// or its numbers are out of range.
    pub fn new(isa: Int8Isa, layer: &Convolution, input: Quantization) -> Option<Self> {
        let parts = Parts::new(layer, input)?;
        // Padding is the code 0, which must be the value 0.
        if input.zero_point != 0 || parts.row_len != KERNEL * KERNEL {
            return None;
        }
        let lanes = isa.lanes();
        let channels = parts.bias.len().next_multiple_of(GROUP * lanes);
        let (mut bias, mut scale) = (vec![0; channels], vec![0.0; channels]);
        // `[groups, 3 columns, GROUP, lanes]`
        let mut weights = vec![[0; DOT]; channels * KERNEL];
        for first in (0..channels).step_by(GROUP * lanes) {
            for (vector, lane) in (0..GROUP).flat_map(|vector| (0..lanes).map(move |lane| (vector, lane))) {
                let index = first + channel(vector, lane);
                let Some(kernel) = parts.weights.get(index * KERNEL * KERNEL..(index + 1) * KERNEL * KERNEL) else {
                    continue;
                };
                let place = vector * lanes + lane;
                for (tap, weight) in kernel.iter().enumerate() {
                    let (row, column) = (tap / KERNEL, tap % KERNEL);
                    weights[first * KERNEL + column * GROUP * lanes + place][row] = *weight;
                }
                bias[first + place] = parts.bias[index] + isa.activation_offset() * parts.sums[index];
                scale[first + place] = parts.scale[index];
            }
        }
        let (weights, stride) = (isa.pack_weights(&weights), layer.stride);
        Some(Self { isa, channels, stride, weights, bias, scale, output: parts.output })
    }
}

impl DepthwiseLayer for Depthwise {
    type Value = u8;

    fn channels(&self) -> usize {
        self.channels
    }

    fn stride(&self) -> usize {
        self.stride
    }

    fn run_row(&self, rows: [&[u8]; KERNEL], y: &mut [u8]) {
        self.isa.dispatch(Row { layer: self, rows, y });
    }
}

struct Row<'a> {
    layer: &'a Depthwise,
    rows: [&'a [u8]; KERNEL],
    y: &'a mut [u8],
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, vectors: V) {
        match self.layer.stride {
            1 => self.with_stride::<V, 1>(vectors),
            _ => self.with_stride::<V, 2>(vectors),
        }
    }
}

impl Row<'_> {
    /// Slides the kernel along the row for one group of channels after the other: its weights and the columns that
    /// neighbouring outputs share stay in registers, where there are enough.
    #[inline(always)]
    fn with_stride<V: Vectors, const STRIDE: usize>(self, vectors: V) {
        let Depthwise { channels, weights, bias, scale, output, .. } = self.layer;
        let (channels, group) = (*channels, GROUP * V::LANES);
        let columns = self.y.len() / channels;
        let rows = self.rows.map(|row| &row[..((columns - 1) * STRIDE + KERNEL) * channels]);
        let zero_point = i32::from(output.zero_point);
        let weights = weights.chunks_exact(KERNEL * GROUP * V::WEIGHT_LEN);
        for (index, weights) in weights.enumerate() {
            let first = index * group;
            let weights: [[V::Weights; GROUP]; KERNEL] = array!(KERNEL, |column| {
                array!(GROUP, |vector| vectors.load_weights(&weights[(column * GROUP + vector) * V::WEIGHT_LEN..]))
            });
            let bias: [V::I32; GROUP] = array!(GROUP, |vector| vectors.load_i32(&bias[first + vector * V::LANES..]));
            let scale: [V::F32; GROUP] = array!(GROUP, |vector| vectors.load_f32(&scale[first + vector * V::LANES..]));
            macro_rules! column {
                ($x:expr) => {{
                    let begin = $x * channels + first;
                    vectors.interleave([
                        &rows[0][begin..][..group],
                        &rows[1][begin..][..group],
                        &rows[2][begin..][..group],
                    ])
                }};
            }
            let (mut left, mut centre) = (column!(0), column!(1));
            for x in 0..columns {
                let right = column!(x * STRIDE + 2);
                let codes = array!(GROUP, |vector| {
                    let sums = vectors.dot(bias[vector], left[vector], weights[0][vector]);
                    let sums = vectors.dot(sums, centre[vector], weights[1][vector]);
                    let sums = vectors.dot(sums, right[vector], weights[2][vector]);
                    vectors.requantize(sums, scale[vector], zero_point)
                });
                vectors.store_group(codes, &mut self.y[x * channels + first..][..group]);
                if STRIDE == 1 {
                    (left, centre) = (centre, right);
                } else if x + 1 < columns {
                    (left, centre) = (right, column!(x * STRIDE + 3));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::array::from_fn;

    use super::*;
    use crate::kernels::conv::Int8Layer;
    use crate::kernels::testing::{random_codes, random_weights};
    use crate::kernels::weights::Weights;

    #[test]
    fn every_instruction_set_gives_the_bits_of_the_definition() {
        let input = Quantization { scale: 0.02, zero_point: 0 };
        let output = Quantization { scale: 0.5, zero_point: 3 };
        for (channels, columns, stride) in [(1, 1, 1), (16, 7, 1), (24, 5, 2), (96, 4, 2), (144, 3, 1), (200, 6, 1)] {
            let codes: Vec<i8> = random_weights(channels * 9).iter().map(|byte| *byte as i8).collect();
            let weight_scale: Vec<f32> = (0..channels).map(|channel| 0.02 + channel as f32 * 1e-4).collect();
            let bias: Vec<i32> = (0..channels).map(|channel| 4000 - channel as i32 * 31).collect();
            let layer = Convolution {
                weight: Weights::I8(&codes),
                bias: Vec::new(),
                int8: Some(Int8Layer { weight_scale: weight_scale.clone(), bias: bias.clone(), output }),
                pads: [0; 4],
                stride,
                clip: [0.0, 6.0],
            };
            for isa in Int8Isa::available() {
                let layer = Depthwise::new(isa, &layer, input).unwrap();
                let padded = layer.channels();
                let width = (columns - 1) * stride + 3;
                let rows: [Vec<u8>; 3] = from_fn(|_| random_codes(width * padded));
                let mut y = vec![0; columns * padded];
                layer.run_row(rows.each_ref().map(|row| &**row), &mut y);
                for (column, channel) in (0..columns).flat_map(|x| (0..channels).map(move |channel| (x, channel))) {
                    let mut total = i64::from(bias[channel]);
                    for (row, offset) in (0..3).flat_map(|row| (0..3).map(move |offset| (row, offset))) {
                        let code = rows[row][(column * stride + offset) * padded + channel];
                        total += i64::from(code) * i64::from(codes[channel * 9 + row * 3 + offset]);
                    }
                    let factor = 0.02 * weight_scale[channel] / 0.5;
                    let expected = ((total as f32 * factor).round_ties_even() as i64 + 3).clamp(0, 255) as u8;
                    let what = format!("{isa:?}, {channels} channels, stride {stride}, column {column}");
                    assert_eq!(y[column * padded + channel], expected, "{what}, channel {channel}");
                }
            }
        }
    }

    #[test]
    fn inputs_whose_padding_would_not_be_zero_are_refused() {
        let codes = [1_i8; 9];
        let output = Quantization { scale: 0.5, zero_point: 0 };
        let layer = Convolution {
            weight: Weights::I8(&codes),
            bias: Vec::new(),
            int8: Some(Int8Layer { weight_scale: vec![0.1], bias: vec![0], output }),
            pads: [1; 4],
            stride: 1,
            clip: [0.0, 6.0],
        };
        for (zero_point, is_taken) in [(0, true), (1, false)] {
            let input = Quantization { scale: 0.1, zero_point };
            assert_eq!(Depthwise::new(Int8Isa::Plain, &layer, input).is_some(), is_taken);
        }
    }
}
