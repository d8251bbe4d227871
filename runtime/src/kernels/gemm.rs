//! Pointwise (1 x 1) convolution as GEMM: a register-blocked micro-kernel over NHWC pixels and packed weight panels.
//!
//! The micro-kernel keeps a tile of MR pixels by NR output channels in registers (MR = 12, or 6 where there are only 16
//! registers; NR = two vectors) while it runs along the input channels: Goto and van de Geijn, "Anatomy of
//! high-performance matrix multiplication", 2008. The weights are packed once into NR-wide panels, of which one stays
//! in the L1 cache while all pixels pass by. The pixels are read in place: a tile's inputs are MR contiguous runs.

use std::array::from_fn;

use pulp::{Arch, NullaryFnOnce, Simd, WithSimd};

use super::conv::Convolution;
use super::float16::{Bf16Pair, f16_to_f32, round_to_bf16};
use super::isa::{Isa, dispatch, with_avx512_bf16};
use super::multiply_add::{MultiplyAdd, Vector};
use super::pack::{NR_VECTORS, PackedWeights, panel_width};
use super::scratch::{scratch_slice, scratch_slice_aligned};
use super::simd::{load, store};

/// A pointwise convolution with bias and clamp, packed for one instruction set.
///
/// If the machine multiplies bf16 (AVX512-BF16) and all weights are exactly bf16, inputs are rounded to bf16 too.
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

/// Buffers that GEMM calls share.
#[derive(Debug, Default)]
pub struct GemmScratch {
    /// One panel of f16 weights as f32, `[inputs, NR]`.
    panel: Vec<f32>,
    /// All inputs as bf16, `[pixels, inputs / 2]`.
    inputs: Vec<Bf16Pair>,
}

/// The output of a GEMM: pixels at arbitrary offsets of a buffer.
pub struct Target<'a> {
    /// The buffer that receives the `outputs` channels of each pixel.
    pub y: &'a mut [f32],
    /// The offset in `y` of each pixel's first channel; one element per pixel.
    pub row_offsets: &'a [usize],
    /// Values that are added after the clamp; as long as `y`, and read at the same offsets.
    pub residual: Option<&'a [f32]>,
}

impl Pointwise {
    /// Packs a layer whose weights are `[rows, row_len]` for `inputs >= row_len` and `outputs >= rows` channels.
    ///
    /// Added inputs weigh zero; added outputs are zero, clamped.
    pub fn new(isa: Isa, layer: &Convolution, [inputs, outputs]: [usize; 2]) -> Self {
        let weights = PackedWeights::new(isa, &layer.weight, layer.bias.len(), [inputs, outputs]);
        let mut bias = layer.bias.clone();
        bias.resize(outputs.next_multiple_of(panel_width(isa.arch())), 0.0);
        Self { arch: isa.arch(), inputs, outputs, weights, bias, clip: layer.clip }
    }

    /// Number of channels of an input pixel.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Number of channels of an output pixel.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Convolves `x`, `[pixels, inputs]`, to as many pixels as `target` has row offsets.
    ///
    /// # Panics
    /// If `x` has fewer pixels than `target`, or a pixel of `target` lies outside of `y` or the residual.
    pub fn run(&self, x: &[f32], mut target: Target, scratch: &mut GemmScratch) {
        match &self.weights {
            PackedWeights::F32(weights) => dispatch(self.arch, F32Gemm { layer: self, x, target, weights }),
            PackedWeights::F16(weights) => {
                dispatch(self.arch, F16Gemm { layer: self, x, target, weights, panel: &mut scratch.panel });
            }
            PackedWeights::Bf16(isa, weights) => {
                let pairs = self.inputs.div_ceil(2);
                let rounded = scratch_slice(&mut scratch.inputs, target.row_offsets.len() * pairs);
                with_avx512_bf16(*isa, RoundInputs { x, inputs: self.inputs, y: rounded });
                for_each_panel(*isa, self, (rounded, pairs), &mut target, weights, |panel| isa.enable(panel));
            }
        }
    }
}

/// A product with f32 weights.
struct F32Gemm<'a> {
    layer: &'a Pointwise,
    x: &'a [f32],
    target: Target<'a>,
    weights: &'a [f32],
}

impl WithSimd for F32Gemm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layer, x, mut target, weights } = self;
        for_each_panel(simd, layer, (x, layer.inputs), &mut target, weights, |panel| simd.vectorize(panel));
    }
}

/// A product with f16 weights.
struct F16Gemm<'a> {
    layer: &'a Pointwise,
    x: &'a [f32],
    target: Target<'a>,
    weights: &'a [[u8; 2]],
    /// Receives one panel as f32.
    panel: &'a mut Vec<f32>,
}

impl WithSimd for F16Gemm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layer, x, mut target, weights, panel: buffer } = self;
        if target.row_offsets.len() <= max_tiles_of_f16::<S>() * max_mr::<S>() {
            for_each_panel(simd, layer, (x, layer.inputs), &mut target, weights, |panel| simd.vectorize(panel));
        } else {
            let buffer = scratch_slice_aligned(buffer, layer.inputs * NR_VECTORS * S::F32_LANES);
            for_each_panel(simd, layer, (x, layer.inputs), &mut target, weights, |panel| {
                f16_to_f32(panel.weights, buffer);
                let Panel { kernel, layer, x, inputs, target, first, .. } = panel;
                simd.vectorize(Panel { kernel, layer, x, inputs, target, first, weights: &*buffer });
            });
        }
    }
}

/// Rounds pixels `x`, `[pixels, inputs]`, to bf16 pairs `y`, `[pixels, inputs / 2]`; an odd number of inputs is padded
/// with zero.
struct RoundInputs<'a> {
    x: &'a [f32],
    inputs: usize,
    y: &'a mut [Bf16Pair],
}

impl NullaryFnOnce for RoundInputs<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { x, inputs, y } = self;
        if inputs % 2 == 0 {
            y.iter_mut().zip(x.as_chunks().0).for_each(|(y, x)| *y = round_to_bf16(*x));
            return;
        }
        for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(inputs.div_ceil(2))) {
            let (x, last) = x.as_chunks();
            let x = x.iter().copied().chain(last.iter().map(|last| [*last, 0.0]));
            y.iter_mut().zip(x).for_each(|(y, x)| *y = round_to_bf16(x));
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

/// Calls `each` for one panel after the other, so that a panel stays in the L1 cache while all pixels pass by.
#[inline(always)]
fn for_each_panel<K: MultiplyAdd<W>, W>(
    kernel: K,
    layer: &Pointwise,
    (x, inputs): (&[K::Input], usize),
    target: &mut Target,
    weights: &[W],
    mut each: impl FnMut(Panel<K, W>),
) {
    let nr = panel_width(layer.arch);
    for (panel, weights) in weights.chunks_exact(inputs * nr).enumerate() {
        each(Panel { kernel, layer, x, inputs, target, first: panel * nr, weights });
    }
}

/// The product of all pixels with one panel of weights.
struct Panel<'a, 'b, K: MultiplyAdd<W>, W> {
    kernel: K,
    layer: &'a Pointwise,
    /// `[pixels, inputs]`
    x: &'a [K::Input],
    /// Elements of `x` per pixel: channels, or pairs of them.
    inputs: usize,
    target: &'a mut Target<'b>,
    /// The panel's first output channel.
    first: usize,
    /// `[inputs, NR]`
    weights: &'a [W],
}

impl<K: MultiplyAdd<W>, W> NullaryFnOnce for Panel<'_, '_, K, W> {
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
        if max_mr::<K::Simd>() == 6 {
            tiles!(6 4 2 1);
        } else {
            tiles!(12 6 4 2 1);
        }
    }
}

impl<K: MultiplyAdd<W>, W> Panel<'_, '_, K, W> {
    const LANES: usize = <K::Simd as Simd>::F32_LANES;

    /// Computes `MR` pixels from `pixel` on, with one vector of output channels if the last panel needs no more.
    #[inline(always)]
    fn tile<const MR: usize>(&mut self, pixel: usize) {
        if self.layer.outputs - self.first > Self::LANES {
            self.write(self.accumulate::<MR, NR_VECTORS>(pixel), pixel);
        } else {
            self.write(self.accumulate::<MR, 1>(pixel), pixel);
        }
    }

    /// The micro-kernel: bias plus dot products of `MR` pixels from `pixel` on with the panel's first `VECTORS` vectors
    /// of output channels, all in registers.
    #[expect(clippy::needless_range_loop, reason = "the loops index several arrays, and unroll only as ranges")]
    #[inline(always)]
    fn accumulate<const MR: usize, const VECTORS: usize>(&self, pixel: usize) -> [[Vector<K, W>; VECTORS]; MR] {
        let inputs = self.inputs;
        let mut pixels = self.x[pixel * inputs..].chunks_exact(inputs);
        let x: [&[K::Input]; MR] = from_fn(|_| pixels.next().expect("an input pixel for each row offset"));
        let bias = K::Simd::as_simd_f32s(&self.layer.bias[self.first..]).0;
        let mut sums = [from_fn(|vector| bias[vector]); MR];
        let mut weights = self.weights;
        for input in 0..inputs {
            let (next, rest) = weights.split_at(NR_VECTORS * Self::LANES);
            weights = rest;
            let next: [_; VECTORS] =
                from_fn(|vector| self.kernel.load_weights(&next[vector * Self::LANES..][..Self::LANES]));
            for row in 0..MR {
                for vector in 0..VECTORS {
                    sums[row][vector] = self.kernel.multiply_add(x[row][input], next[vector], sums[row][vector]);
                }
            }
        }
        sums
    }

    /// Clamps the sums of `MR` pixels from `pixel` on, adds the residual, and writes as many output channels as there
    /// are.
    #[inline(always)]
    fn write<const MR: usize, const VECTORS: usize>(&mut self, sums: [[Vector<K, W>; VECTORS]; MR], pixel: usize) {
        let simd = self.kernel.simd();
        let (first, width) = (self.first, self.layer.outputs - self.first);
        let Target { y, row_offsets, residual } = &mut *self.target;
        let row_offsets: &[usize; MR] = row_offsets[pixel..].first_chunk().expect("a row offset for each pixel");
        let [low, high] = self.layer.clip.map(|bound| simd.splat_f32s(bound));
        let clamp = |sum| simd.min_f32s(simd.max_f32s(sum, low), high);
        let full = VECTORS * Self::LANES;
        // Unrolled by a macro: an array that a loop indexes would be spilled from registers to memory.
        macro_rules! rows {
            ($($row:literal)*) => {
                $(if $row < MR {
                    let mut sums = sums[$row].map(clamp);
                    let offset = row_offsets[$row] + first;
                    if width >= full {
                        if let Some(residual) = residual {
                            let residual = K::Simd::as_simd_f32s(&residual[offset..offset + full]).0;
                            sums = from_fn(|vector| simd.add_f32s(sums[vector], residual[vector]));
                        }
                        K::Simd::as_mut_simd_f32s(&mut y[offset..offset + full]).0.copy_from_slice(&sums);
                    } else {
                        for (vector, mut sum) in sums.into_iter().enumerate() {
                            let begin = vector * Self::LANES;
                            let channels = offset + begin..offset + width.min(begin + Self::LANES);
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
    use half::{bf16, f16};

    use super::super::isa::every_isa;
    use super::super::tests::{assert_close, random, random_f16_bytes, random_f32_bytes};
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

    fn round(value: f32) -> f32 {
        bf16::from_f32(value).to_f32()
    }

    #[test]
    fn pointwise_convolutions_match_the_definition_for_every_isa_and_weight_type() {
        struct Case {
            clip: [f32; 2],
            has_residual: bool,
            is_f16: bool,
            is_bf16: bool,
        }
        let cases = [
            Case { clip: [0.0, 6.0], has_residual: false, is_f16: false, is_bf16: false },
            Case { clip: LINEAR, has_residual: true, is_f16: true, is_bf16: false },
            Case { clip: [0.0, f32::INFINITY], has_residual: false, is_f16: true, is_bf16: false },
            Case { clip: [0.0, 6.0], has_residual: true, is_f16: false, is_bf16: true },
            Case { clip: LINEAR, has_residual: false, is_f16: true, is_bf16: true },
        ];
        let sizes =
            [(1, 1, 1), (27, 32, 13), (16, 96, 24), (24, 144, 11), (3, 8, 5), (7, 33, 12), (40, 24, 2), (5, 40, 59)];
        for isa in every_isa() {
            for (inputs, outputs, pixels) in sizes {
                for &Case { clip, has_residual, is_f16, is_bf16 } in &cases {
                    let what = format!("{isa:?}, {inputs} to {outputs}, {pixels} pixels");
                    let [mut x, bias] = [pixels * inputs, outputs].map(random);
                    let mut f32_bytes = random_f32_bytes(inputs * outputs);
                    let mut f16_bytes = random_f16_bytes(inputs * outputs);
                    if is_bf16 {
                        x.iter_mut().for_each(|x| *x = round(*x));
                        f32_bytes.iter_mut().for_each(|bytes| *bytes = round(f32::from_le_bytes(*bytes)).to_le_bytes());
                        let round_f16 = |bytes| f16::from_f32(round(f16::from_le_bytes(bytes).to_f32()));
                        f16_bytes.iter_mut().for_each(|bytes| *bytes = round_f16(*bytes).to_le_bytes());
                    }
                    let weight = if is_f16 { Weights::F16(&f16_bytes) } else { Weights::F32(&f32_bytes) };
                    let mut expected = reference(&x, &weight.to_f32(), &bias, clip);
                    // Pixels with gaps between them, in reverse order.
                    let stride = outputs + 3;
                    let row_offsets: Vec<usize> = (0..pixels).rev().map(|pixel| pixel * stride).collect();
                    let residual = random(pixels * stride);
                    let mut y = vec![9.0; pixels * stride];
                    let residual_of_y = has_residual.then_some(&*residual);
                    let target = Target { y: &mut y, row_offsets: &row_offsets, residual: residual_of_y };
                    let layer = Convolution { weight, bias, pads: [0; 4], stride: 1, clip };
                    let pointwise = Pointwise::new(isa, &layer, [inputs, outputs]);
                    let is_packed_as_bf16 = matches!(pointwise.weights, PackedWeights::Bf16(..));
                    // A single random weight may be a bf16 by chance, so only one direction holds.
                    assert!(!is_bf16 || is_packed_as_bf16 == isa.bf16().is_some(), "{what}");
                    pointwise.run(&x, target, &mut GemmScratch::default());
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

    #[test]
    fn inputs_are_rounded_to_bf16_where_weights_are_bf16() {
        if Isa::detect().bf16().is_none() {
            eprintln!("skipped: this machine has no AVX512-BF16");
            return;
        }
        let (weight, bias) = ([1.0, -0.5, 2.0].map(f32::to_le_bytes), vec![0.0]);
        let layer = Convolution { weight: Weights::F32(&weight), bias, pads: [0; 4], stride: 1, clip: LINEAR };
        let x = random(3 * 7);
        let rounded: Vec<f32> = x.iter().copied().map(round).collect();
        let expected = reference(&rounded, &layer.weight.to_f32(), &layer.bias, LINEAR);
        let mut y = [0.0; 7];
        let target = Target { y: &mut y, row_offsets: &[0, 1, 2, 3, 4, 5, 6], residual: None };
        Pointwise::new(Isa::detect(), &layer, [3, 1]).run(&x, target, &mut GemmScratch::default());
        assert_close(&y, &expected, "three inputs");
        assert_ne!(reference(&x, &layer.weight.to_f32(), &layer.bias, LINEAR), expected, "nothing was rounded");
    }
}
