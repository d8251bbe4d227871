//! Pointwise (1 x 1) convolutions, which are matrix products.

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};

use super::simd::{dispatch, lanes, load, multiply_add, store};

/// Vectors of outputs that a tile holds in registers.
const VECTORS: usize = 2;

/// A pointwise convolution and the range that its outputs are clamped to.
///
/// The product is made tile by tile: 12 pixels (6 where there are only 16 registers) by two vectors of outputs stay in
/// registers while the inputs go by, each number of a pixel multiplied with two vectors of weights. (Goto and van de
/// Geijn, "Anatomy of high-performance matrix multiplication", 2008; the pixels need no packing, since a tile's inputs
/// lie in twelve runs.) Weights are packed once so that they are read one after the other.
#[derive(Clone, Debug)]
pub struct Pointwise {
    arch: Arch,
    inputs: usize,
    outputs: usize,
    /// `[panels, inputs, VECTORS * lanes]`, zero behind the last output.
    weights: Vec<f32>,
    /// `[panels * VECTORS * lanes]`
    bias: Vec<f32>,
    range: [f32; 2],
}

/// Where a product is written.
pub struct Target<'a> {
    /// Holds the outputs of every pixel.
    pub y: &'a mut [f32],
    /// Where those of each pixel begin.
    pub places: &'a [usize],
    /// Added to `y` behind the clamp, of the same length.
    pub residual: Option<&'a [f32]>,
}

impl Pointwise {
    /// Packs `weight`, `[outputs, inputs]`, and `bias`, `[outputs]`.
    pub fn new(arch: Arch, weight: &[f32], bias: &[f32], range: [f32; 2]) -> Self {
        let outputs = bias.len();
        let inputs = weight.len() / outputs;
        let panel = VECTORS * lanes(arch);
        let panels = outputs.div_ceil(panel);
        let mut weights = vec![0.0; panels * inputs * panel];
        for (index, packed) in weights.chunks_exact_mut(inputs * panel).enumerate() {
            let rows = &weight[index * panel * inputs..];
            for (input, packed) in packed.chunks_exact_mut(panel).enumerate() {
                for (packed, weight) in packed.iter_mut().zip(rows[input..].iter().step_by(inputs)) {
                    *packed = *weight;
                }
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(panels * panel, 0.0);
        Self { arch, inputs, outputs, weights, bias, range }
    }

    /// Channels of a pixel of the input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Channels of a pixel of the output.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Convolves `x`, `[pixels, inputs]`.
    ///
    /// # Panics
    /// If `x` has fewer pixels than there are places, or a place lies outside of `y`.
    pub fn run(&self, x: &[f32], target: Target) {
        dispatch(self.arch, Run { layer: self, x, target });
    }
}

struct Run<'a> {
    layer: &'a Pointwise,
    x: &'a [f32],
    target: Target<'a>,
}

impl WithSimd for Run<'_> {
    type Output = ();

    /// Panel by panel, so that one stays in the first cache while all pixels pass by.
    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let Pointwise { inputs, outputs, weights, bias, .. } = self.layer;
        let panel = VECTORS * S::F32_LANES;
        let pixels = self.target.places.len();
        for (index, weights) in weights.chunks_exact(inputs * panel).enumerate() {
            let first = index * panel;
            let panel = Panel { weights, bias: &bias[first..first + panel], first, width: panel.min(outputs - first) };
            let mut pixel = 0;
            macro_rules! tiles {
                ($($height:literal)*) => {{
                    $(while pixels - pixel >= $height {
                        self.tile::<S, $height>(simd, pixel, &panel);
                        pixel += $height;
                    })*
                }};
            }
            // AVX2 has 16 registers, AVX-512 and NEON have 32.
            if cfg!(target_arch = "x86_64") && S::F32_LANES < 16 {
                tiles!(6 4 2 1);
            } else {
                tiles!(12 6 4 2 1);
            }
        }
    }
}

/// The weights of two vectors of outputs.
struct Panel<'a> {
    /// `[inputs, VECTORS * lanes]`
    weights: &'a [f32],
    /// `[VECTORS * lanes]`
    bias: &'a [f32],
    /// The first output.
    first: usize,
    /// The number of outputs, at most `VECTORS * lanes`.
    width: usize,
}

impl Run<'_> {
    /// `HEIGHT` pixels from `pixel` on by the outputs of a panel.
    #[inline(always)]
    fn tile<S: Simd, const HEIGHT: usize>(&mut self, simd: S, pixel: usize, panel: &Panel) {
        let inputs = self.layer.inputs;
        let x: [&[f32]; HEIGHT] = from_fn(|row| &self.x[(pixel + row) * inputs..][..inputs]);
        let weights = S::as_simd_f32s(panel.weights).0.as_chunks::<VECTORS>().0;
        let bias = S::as_simd_f32s(panel.bias).0;
        if panel.width > S::F32_LANES {
            let mut sums = [[bias[0], bias[1]]; HEIGHT];
            for (input, weights) in weights[..inputs].iter().enumerate() {
                for row in 0..HEIGHT {
                    let value = simd.splat_f32s(x[row][input]);
                    for vector in 0..VECTORS {
                        sums[row][vector] = multiply_add(simd, value, weights[vector], sums[row][vector]);
                    }
                }
            }
            for (row, sums) in sums.into_iter().enumerate() {
                self.finish(simd, sums[0], pixel + row, panel.first, S::F32_LANES);
                self.finish(simd, sums[1], pixel + row, panel.first + S::F32_LANES, panel.width - S::F32_LANES);
            }
        } else {
            let mut sums = [bias[0]; HEIGHT];
            for (input, weights) in weights[..inputs].iter().enumerate() {
                for row in 0..HEIGHT {
                    sums[row] = multiply_add(simd, simd.splat_f32s(x[row][input]), weights[0], sums[row]);
                }
            }
            for (row, sum) in sums.into_iter().enumerate() {
                self.finish(simd, sum, pixel + row, panel.first, panel.width);
            }
        }
    }

    /// Clamps and writes `width` outputs of a pixel, at most a vector of them.
    #[inline(always)]
    fn finish<S: Simd>(&mut self, simd: S, sum: S::f32s, pixel: usize, first: usize, width: usize) {
        let Target { y, places, residual } = &mut self.target;
        let [low, high] = self.layer.range.map(|bound| simd.splat_f32s(bound));
        let mut sum = simd.min_f32s(simd.max_f32s(sum, low), high);
        let at = places[pixel] + first;
        if let Some(residual) = residual {
            sum = simd.add_f32s(sum, load(simd, &residual[at..at + width]));
        }
        store(simd, sum, &mut y[at..at + width]);
    }
}

#[cfg(test)]
mod tests {
    use super::super::simd::all;
    use super::super::tests::{assert_close, random};
    use super::*;

    /// What [`Pointwise::run`] is held against.
    fn reference(x: &[f32], weight: &[f32], bias: &[f32], [low, high]: [f32; 2]) -> Vec<f32> {
        let inputs = weight.len() / bias.len();
        let pixel = |x: &[f32]| -> Vec<f32> {
            let dot = |row: &[f32]| row.iter().zip(x).map(|(a, b)| a * b).sum::<f32>();
            weight.chunks_exact(inputs).zip(bias).map(|(row, bias)| (dot(row) + bias).clamp(low, high)).collect()
        };
        x.chunks_exact(inputs).flat_map(pixel).collect()
    }

    #[test]
    fn every_size_and_kind_of_vector_gives_the_plain_product() {
        let linear = [f32::NEG_INFINITY, f32::INFINITY];
        let sizes = [(1, 1, 1), (27, 32, 13), (16, 96, 24), (24, 144, 11), (3, 8, 5), (7, 33, 12), (40, 24, 2)];
        for arch in all() {
            for (inputs, outputs, pixels) in sizes {
                for (range, is_residual) in [([0.0, 6.0], false), (linear, true), ([0.0, f32::INFINITY], false)] {
                    let [x, weight, bias] = [pixels * inputs, outputs * inputs, outputs].map(random);
                    let mut expected = reference(&x, &weight, &bias, range);
                    // Pixels need not lie side by side, nor in order.
                    let stride = outputs + 3;
                    let places: Vec<usize> = (0..pixels).rev().map(|pixel| pixel * stride).collect();
                    let residual = random(pixels * stride);
                    let mut y = vec![9.0; pixels * stride];
                    let target = Target { y: &mut y, places: &places, residual: is_residual.then_some(&*residual) };
                    Pointwise::new(arch, &weight, &bias, range).run(&x, target);
                    let mut found = Vec::new();
                    for (pixel, place) in places.iter().enumerate() {
                        found.extend(&y[*place..place + outputs]);
                        assert_eq!(y[place + outputs..place + stride], [9.0; 3], "written behind a pixel");
                        if is_residual {
                            let expected = &mut expected[pixel * outputs..][..outputs];
                            expected.iter_mut().zip(&residual[*place..]).for_each(|(sum, more)| *sum += more);
                        }
                    }
                    assert_close(&found, &expected, &format!("{arch:?}, {inputs} to {outputs}, {pixels} pixels"));
                }
            }
        }
    }
}
