//! Pointwise (1 x 1) convolution as GEMM: a register-blocked micro-kernel over NHWC pixels and packed weight panels.
//!
//! The micro-kernel keeps a tile of MR pixels by NR output channels in registers (MR = 12, or 6 where there are only 16
//! registers; NR = two vectors) while it runs along the input channels: Goto and van de Geijn, "Anatomy of
//! high-performance matrix multiplication", 2008. The weights are packed once into NR-wide panels, of which one stays
//! in the L1 cache while all pixels pass by. The pixels are read in place: a tile's inputs are MR contiguous runs.

use std::array::from_fn;

use pulp::{Arch, NullaryFnOnce, Simd, WithSimd};

use super::conv::Convolution;
use super::float16::f16_to_f32;
use super::layer::{PointwiseLayer, Target};
use super::pack::{NR_VECTORS, PackedWeights, panel_width};
use super::pooling::add_channel_sums;
use super::scratch::scratch_slice_aligned;
use super::simd::{dispatch, load, multiply_add, store};
use super::weights::Weight;

/// A pointwise convolution with bias and clamp, packed for one instruction set.
#[derive(Debug)]
pub struct Pointwise {
    arch: Arch,
    inputs: usize,
    outputs: usize,
    weights: PackedWeights,
    /// `[panels * NR]`
    bias: Vec<f32>,
    clip: [f32; 2],
}

impl Pointwise {
    /// Packs a layer whose weights are `[rows, row_len]` for `inputs >= row_len` and `outputs >= rows` channels.
    ///
    /// Added inputs weigh zero; added outputs are zero, clamped.
    pub fn new(arch: Arch, layer: &Convolution, [inputs, outputs]: [usize; 2]) -> Self {
        let weights = PackedWeights::new(arch, &layer.weight, layer.bias.len(), [inputs, outputs]);
        let mut bias = layer.bias.clone();
        bias.resize(outputs.next_multiple_of(panel_width(arch)), 0.0);
        Self { arch, inputs, outputs, weights, bias, clip: layer.clip }
    }
}

impl PointwiseLayer for Pointwise {
    type Value = f32;
    type Sum = f32;
    type Scratch = Vec<f32>;

    fn inputs(&self) -> usize {
        self.inputs
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn run(&self, x: &[f32], target: Target<f32>, panel: &mut Vec<f32>) {
        dispatch(self.arch, Gemm { layer: self, x, target, panel });
    }

    fn add_channel_sums(&self, pixels: &[f32], sums: &mut [f32]) {
        add_channel_sums(self.arch, pixels, sums);
    }

    fn total(&self, sum: f32, _: usize) -> f32 {
        sum
    }
}

/// The product of all pixels with all panels.
struct Gemm<'a> {
    layer: &'a Pointwise,
    x: &'a [f32],
    target: Target<'a, f32>,
    /// Receives one panel of f16 weights as f32, `[inputs, NR]`.
    panel: &'a mut Vec<f32>,
}

impl WithSimd for Gemm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layer, x, mut target, panel } = self;
        match &layer.weights {
            PackedWeights::F32(weights) => for_each_panel::<S, _>(layer, weights, |first, weights| {
                simd.vectorize(Panel { simd, layer, x, target: &mut target, first, weights });
            }),
            PackedWeights::F16(weights) if target.row_offsets.len() <= max_tiles_of_f16::<S>() * max_mr::<S>() => {
                for_each_panel::<S, _>(layer, weights, |first, weights| {
                    simd.vectorize(Panel { simd, layer, x, target: &mut target, first, weights });
                });
            }
            PackedWeights::F16(weights) => {
                let panel = scratch_slice_aligned(panel, layer.inputs * NR_VECTORS * S::F32_LANES);
                for_each_panel::<S, _>(layer, weights, |first, weights| {
                    f16_to_f32(weights, panel);
                    simd.vectorize(Panel { simd, layer, x, target: &mut target, first, weights: &*panel });
                });
            }
        }
    }
}

/// Tiles up to which the micro-kernel reads f16 weights itself; a panel that more tiles read is converted to f32 first.
/// AVX-512 converts with one instruction beside the multiply-adds.
const fn max_tiles_of_f16<S: Simd>() -> usize {
    if S::F32_LANES == 16 { 4 } else { 1 }
}

/// MR, the pixels of the largest tile: AVX2 has 16 registers, AVX-512 and NEON have 32.
const fn max_mr<S: Simd>() -> usize {
    if cfg!(target_arch = "x86_64") && S::F32_LANES < 16 { 6 } else { 12 }
}

/// Calls `each` with the first output channel and the weights, `[inputs, NR]`, of one panel after the other, so that a
/// panel stays in the L1 cache while all pixels pass by.
#[inline(always)]
fn for_each_panel<S: Simd, W>(layer: &Pointwise, weights: &[W], mut each: impl FnMut(usize, &[W])) {
    let nr = NR_VECTORS * S::F32_LANES;
    for (panel, weights) in weights.chunks_exact(layer.inputs * nr).enumerate() {
        each(panel * nr, weights);
    }
}

/// The product of all pixels with one panel of weights.
struct Panel<'a, 'b, S: Simd, W: Weight> {
    simd: S,
    layer: &'a Pointwise,
    /// `[pixels, inputs]`
    x: &'a [f32],
    target: &'a mut Target<'b, f32>,
    /// The panel's first output channel.
    first: usize,
    /// `[inputs, NR]`
    weights: &'a [W],
}

impl<S: Simd, W: Weight> NullaryFnOnce for Panel<'_, '_, S, W> {
    type Output = ();

    #[inline(always)]
    fn call(mut self) {
        let pixels = self.target.row_offsets.len();
        let mut pixel = 0;
        macro_rules! tiles {
            ($($mr:literal)*) => {
                $(while pixels - pixel >= $mr {
                    self.tile::<$mr>(pixel);
                    pixel += $mr;
                })*
            };
        }
        if max_mr::<S>() == 6 {
            tiles!(6 4 2 1);
        } else {
            tiles!(12 6 4 2 1);
        }
    }
}

impl<S: Simd, W: Weight> Panel<'_, '_, S, W> {
    /// Computes `MR` pixels from `pixel` on, with one vector of output channels if the last panel needs no more.
    #[inline(always)]
    fn tile<const MR: usize>(&mut self, pixel: usize) {
        if self.layer.outputs - self.first > S::F32_LANES {
            self.write(self.accumulate::<MR, NR_VECTORS>(pixel), pixel);
        } else {
            self.write(self.accumulate::<MR, 1>(pixel), pixel);
        }
    }

    /// The micro-kernel: bias plus dot products of `MR` pixels from `pixel` on with the panel's first `VECTORS` vectors
    /// of output channels, all in registers.
    #[inline(always)]
    fn accumulate<const MR: usize, const VECTORS: usize>(&self, pixel: usize) -> [[S::f32s; VECTORS]; MR] {
        let (simd, inputs) = (self.simd, self.layer.inputs);
        let mut pixels = self.x[pixel * inputs..].chunks_exact(inputs);
        let x: [&[f32]; MR] = from_fn(|_| pixels.next().expect("an input pixel for each row offset"));
        let bias = S::as_simd_f32s(&self.layer.bias[self.first..]).0;
        let mut sums = [from_fn(|vector| bias[vector]); MR];
        let mut weights = self.weights;
        for input in 0..inputs {
            let (next, rest) = weights.split_at(NR_VECTORS * S::F32_LANES);
            weights = rest;
            let next: [_; VECTORS] = from_fn(|vector| W::load(simd, &next[vector * S::F32_LANES..][..S::F32_LANES]));
            for row in 0..MR {
                let x = simd.splat_f32s(x[row][input]);
                for vector in 0..VECTORS {
                    sums[row][vector] = multiply_add(simd, x, next[vector], sums[row][vector]);
                }
            }
        }
        sums
    }

    /// Clamps the sums of `MR` pixels from `pixel` on, adds the residual, and writes as many output channels as there
    /// are.
    #[inline(always)]
    fn write<const MR: usize, const VECTORS: usize>(&mut self, sums: [[S::f32s; VECTORS]; MR], pixel: usize) {
        let simd = self.simd;
        let (first, width) = (self.first, self.layer.outputs - self.first);
        let Target { y, row_offsets, residual } = &mut *self.target;
        let row_offsets: &[usize; MR] = row_offsets[pixel..].first_chunk().expect("a row offset for each pixel");
        let [low, high] = self.layer.clip.map(|bound| simd.splat_f32s(bound));
        let clamp = |sum| simd.min_f32s(simd.max_f32s(sum, low), high);
        let full = VECTORS * S::F32_LANES;
        // Unrolled by a macro: an array that a loop indexes would be spilled from registers to memory.
        macro_rules! rows {
            ($($row:literal)*) => {
                $(if $row < MR {
                    let mut sums = sums[$row].map(clamp);
                    let offset = row_offsets[$row] + first;
                    if width >= full {
                        if let Some(residual) = residual {
                            let residual = S::as_simd_f32s(&residual[offset..offset + full]).0;
                            sums = from_fn(|vector| simd.add_f32s(sums[vector], residual[vector]));
                        }
                        S::as_mut_simd_f32s(&mut y[offset..offset + full]).0.copy_from_slice(&sums);
                    } else {
                        for (vector, mut sum) in sums.into_iter().enumerate() {
                            let begin = vector * S::F32_LANES;
                            let channels = offset + begin..offset + width.min(begin + S::F32_LANES);
                            if let Some(residual) = residual {
                                sum = simd.add_f32s(sum, load(simd, &residual[channels.clone()]));
                            }
                            store(simd, sum, &mut y[channels]);
                        }
                    }
                })*
            };
        }
        rows!(0 1 2 3 4 5 6 7 8 9 10 11);
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, every_arch, random, random_f16_bytes, random_f32_bytes};
    use super::super::weights::Weights;
    use super::*;

    const LINEAR: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

    /// A pointwise convolution by its definition, for pixels `[pixels, inputs]`.
    fn reference(x: &[f32], weight: &[f32], bias: &[f32], [low, high]: [f32; 2]) -> Vec<f32> {
        let inputs = weight.len() / bias.len();
        let pixel = |x: &[f32]| -> Vec<f32> {
            let dot = |row: &[f32]| row.iter().zip(x).map(|(a, b)| a * b).sum::<f32>();
            weight.chunks_exact(inputs).zip(bias).map(|(row, bias)| (dot(row) + bias).clamp(low, high)).collect()
        };
        x.chunks_exact(inputs).flat_map(pixel).collect()
    }

    #[test]
    fn pointwise_convolutions_match_the_definition_for_every_arch_and_weight_type() {
        // Clip, whether there is a residual, whether the weights are f16.
        let cases = [
            ([0.0, 6.0], false, false),
            ([0.0, 6.0], true, false),
            (LINEAR, true, true),
            (LINEAR, false, true),
            ([0.0, f32::INFINITY], false, true),
        ];
        let sizes =
            [(1, 1, 1), (27, 32, 13), (16, 96, 24), (24, 144, 11), (3, 8, 5), (7, 33, 12), (40, 24, 2), (5, 40, 59)];
        for arch in every_arch() {
            for (inputs, outputs, pixels) in sizes {
                for (clip, has_residual, is_f16) in cases {
                    let what = format!("{arch:?}, {inputs} to {outputs}, {pixels} pixels");
                    let [x, bias] = [pixels * inputs, outputs].map(random);
                    let f32_bytes = random_f32_bytes(inputs * outputs);
                    let f16_bytes = random_f16_bytes(inputs * outputs);
                    let weight = if is_f16 { Weights::F16(&f16_bytes) } else { Weights::F32(&f32_bytes) };
                    let mut expected = reference(&x, &weight.to_f32(), &bias, clip);
                    // Pixels with gaps between them, in reverse order.
                    let stride = outputs + 3;
                    let row_offsets: Vec<usize> = (0..pixels).rev().map(|pixel| pixel * stride).collect();
                    let residual = random(pixels * stride);
                    let mut y = vec![9.0; pixels * stride];
                    let residual_of_y = has_residual.then_some(&*residual);
                    let target = Target { y: &mut y, row_offsets: &row_offsets, residual: residual_of_y };
                    let layer = Convolution { weight, bias, int8: None, pads: [0; 4], stride: 1, clip };
                    let pointwise = Pointwise::new(arch, &layer, [inputs, outputs]);
                    pointwise.run(&x, target, &mut Vec::new());
                    let mut found = Vec::new();
                    for (pixel, offset) in row_offsets.iter().enumerate() {
                        found.extend(&y[*offset..offset + outputs]);
                        assert_eq!(y[offset + outputs..offset + stride], [9.0; 3], "written behind a pixel: {what}");
                        if has_residual {
                            let expected = &mut expected[pixel * outputs..][..outputs];
                            expected.iter_mut().zip(&residual[*offset..]).for_each(|(sum, more)| *sum += more);
                        }
                    }
                    assert_close(&found, &expected, &what);
                }
            }
        }
    }
}
