//! Pointwise (1 x 1) convolution as an int8 GEMM: a register-blocked micro-kernel over NHWC pixels and packed panels.
//!
//! A panel has the weights of one group of output channels, or of one vector where fewer are left. The micro-kernel
//! keeps the sums of a tile of pixels by one panel in registers while it runs along the inputs, four at a time.

use std::array::from_fn;

use super::Parts;
use super::vectors::{DOT, GROUP, Int8Isa, Kernel, Vectors, channel};
use crate::kernels::conv::Convolution;
use crate::kernels::layer::{PointwiseLayer, Target};
use crate::kernels::quantization::Quantization;

/// A quantised pointwise convolution, packed for one instruction set.
#[derive(Debug)]
pub struct Pointwise {
    isa: Int8Isa,
    /// Inputs that are multiplied, a multiple of [`DOT`], and the distance between pixels.
    depth: usize,
    row_len: usize,
    outputs: usize,
    panels: Vec<Panel>,
    output: Quantization,
    sum: Option<ResidualSum>,
}

/// The weights of one group of output channels, or of one vector.
#[derive(Debug)]
struct Panel {
    /// The first output channel.
    first: usize,
    /// 1 or [`GROUP`].
    vectors: usize,
    /// `[depth / DOT, vectors]` packed vectors of weights.
    weights: Vec<i8>,
    /// `[vectors, lanes]`
    bias: Vec<i32>,
    /// `[vectors, lanes]`
    scale: Vec<f32>,
}

/// The sum of the outputs and the residual input, `round((y - y0) * y_factor + (x - x0) * x_factor) + zero_point`, with
/// every operation rounded on its own.
#[derive(Clone, Copy, Debug)]
struct ResidualSum {
    own: (i32, f32),
    residual: (i32, f32),
    zero_point: i32,
}

impl ResidualSum {
    fn new(own: Quantization, residual: Quantization, sum: Quantization) -> Self {
        let term = |term: Quantization| (term.zero_point.into(), term.scale / sum.scale);
        Self { own: term(own), residual: term(residual), zero_point: sum.zero_point.into() }
    }

    #[inline(always)]
    fn of(self, own: u8, residual: u8) -> u8 {
        let term = |code: u8, (zero_point, factor): (i32, f32)| (i32::from(code) - zero_point) as f32 * factor;
        let sum = (term(own, self.own) + term(residual, self.residual)).round_ties_even() as i32;
        (sum + self.zero_point).clamp(0, 255) as u8
    }
}

impl Pointwise {
    /// Packs a layer with weights `[outputs, inputs]` for pixels of `row_len >= inputs` codes, quantised as `input`.
    ///
    /// `sum`: how input and sum are quantised, if the input of the block is added to the outputs. None if the layer is
    /// not quantised, its numbers are out of range, or `inputs` is not a multiple of four.
    pub fn new(
        isa: Int8Isa,
        layer: &Convolution,
        input: Quantization,
        row_len: usize,
        sum: Option<[Quantization; 2]>,
    ) -> Option<Self> {
        let parts = Parts::new(layer, input)?;
        // The stem's 27 inputs are padded with a zero weight.
        let depth = parts.row_len.next_multiple_of(DOT);
        if depth > row_len || !row_len.is_multiple_of(DOT) {
            return None;
        }
        let (outputs, lanes) = (parts.bias.len(), isa.lanes());
        let mut panels = Vec::new();
        let mut first = 0;
        while first < outputs {
            // Up to two vectors that are left are cheaper than a group with half of its channels missing.
            let vectors = if outputs - first > GROUP / 2 * lanes { GROUP } else { 1 };
            panels.push(Panel::new(isa, &parts, first, vectors, depth));
            first += vectors * lanes;
        }
        let sum = sum.map(|[residual, sum]| ResidualSum::new(parts.output, residual, sum));
        if sum.is_some_and(|sum| ![sum.own.1, sum.residual.1].iter().all(|factor| factor.abs() < 1e6)) {
            return None;
        }
        Some(Self { isa, depth, row_len, outputs, panels, output: parts.output, sum })
    }
}

impl Pointwise {
    /// The codes of a tensor that is quantised as `input`, with this layer's instructions.
    pub fn quantize(&self, input: Quantization, values: &[f32], codes: &mut [u8]) {
        self.isa.dispatch(Quantize { input, values, codes });
    }
}

struct Quantize<'a> {
    input: Quantization,
    values: &'a [f32],
    codes: &'a mut [u8],
}

impl Kernel for Quantize<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) {
        for (code, value) in self.codes.iter_mut().zip(self.values) {
            *code = self.input.quantize(*value);
        }
    }
}

impl Panel {
    fn new(isa: Int8Isa, parts: &Parts, first: usize, vectors: usize, depth: usize) -> Self {
        let (lanes, outputs) = (isa.lanes(), parts.bias.len());
        let (mut bias, mut scale) = (vec![0; vectors * lanes], vec![0.0; vectors * lanes]);
        // `[depth / DOT, vectors, lanes]`
        let mut weights = vec![[0; DOT]; depth / DOT * vectors * lanes];
        for (vector, lane) in (0..vectors).flat_map(|vector| (0..lanes).map(move |lane| (vector, lane))) {
            let output = first + if vectors == GROUP { channel(vector, lane) } else { lane };
            if output >= outputs {
                continue;
            }
            let place = vector * lanes + lane;
            let row = &parts.weights[output * parts.row_len..][..parts.row_len];
            let mut places = weights[place..].iter_mut().step_by(vectors * lanes);
            let (fours, rest) = row.as_chunks::<DOT>();
            for (four, place) in fours.iter().zip(&mut places) {
                *place = *four;
            }
            if let Some(place) = places.next() {
                place[..rest.len()].copy_from_slice(rest);
            }
            bias[place] = parts.bias[output] + isa.activation_offset() * parts.sums[output];
            scale[place] = parts.scale[output];
        }
        Self { first, vectors, weights: isa.pack_weights(&weights), bias, scale }
    }
}

impl PointwiseLayer for Pointwise {
    type Value = u8;
    type Sum = u32;
    type Scratch = ();

    fn inputs(&self) -> usize {
        self.row_len
    }

    fn outputs(&self) -> usize {
        self.outputs
    }

    fn run(&self, x: &[u8], target: Target<u8>, (): &mut ()) {
        self.isa.dispatch(Gemm { layer: self, x, target });
    }

    fn add_channel_sums(&self, pixels: &[u8], sums: &mut [u32]) {
        self.isa.dispatch(AddChannelSums { pixels, sums });
    }

    fn total(&self, sum: u32, pixels: usize) -> f32 {
        // In 32 bits, which the compiler vectorises. They hold the codes of 2^23 pixels: an input has at most 2^24, and
        // the stem leaves a quarter of them.
        let zero = u32::from(self.output.zero_point) * pixels as u32;
        sum.wrapping_sub(zero) as i32 as f32 * self.output.scale
    }
}

/// The product of all pixels with all panels.
struct Gemm<'a> {
    layer: &'a Pointwise,
    x: &'a [u8],
    target: Target<'a, u8>,
}

impl Kernel for Gemm<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(mut self, vectors: V) {
        // A panel stays in the L1 cache while all pixels pass by.
        for panel in &self.layer.panels {
            if panel.vectors == GROUP {
                self.panel::<V, GROUP>(vectors, panel);
            } else {
                self.panel::<V, 1>(vectors, panel);
            }
        }
        if let (Some(sum), Some(residual)) = (self.layer.sum, self.target.residual) {
            for offset in self.target.row_offsets {
                let pixel = *offset..offset + self.layer.outputs;
                for (y, residual) in self.target.y[pixel.clone()].iter_mut().zip(&residual[pixel]) {
                    *y = sum.of(*y, *residual);
                }
            }
        }
    }
}

impl Gemm<'_> {
    #[inline(always)]
    fn panel<V: Vectors, const N: usize>(&mut self, vectors: V, panel: &Panel) {
        let pixels = self.target.row_offsets.len();
        let mut pixel = 0;
        // As many sums as registers hold: one vector a pixel leaves room for four times the pixels of a group.
        let largest = if N == GROUP { V::MR } else { V::MR * 2 };
        macro_rules! tiles {
            ($($mr:literal)*) => {
                $(while $mr <= largest && pixels - pixel >= $mr {
                    self.tile::<V, N, $mr>(vectors, panel, pixel);
                    pixel += $mr;
                })*
            };
        }
        tiles!(12 6 4 3 2 1);
    }

    /// Computes `MR` pixels from `pixel` on.
    #[inline(always)]
    fn tile<V: Vectors, const N: usize, const MR: usize>(&mut self, vectors: V, panel: &Panel, pixel: usize) {
        let layer = self.layer;
        let mut pixels = self.x[pixel * layer.row_len..].chunks(layer.row_len);
        let x: [&[[u8; DOT]]; MR] = from_fn(|_| {
            let pixel = pixels.next().expect("an input pixel for each row offset");
            pixel[..layer.depth].as_chunks().0
        });
        let lanes = V::LANES;
        let bias = array!(N, |vector| vectors.load_i32(&panel.bias[vector * lanes..]));
        let mut sums: [[V::I32; N]; MR] = [bias; MR];
        let weights = panel.weights.chunks_exact(N * V::WEIGHT_LEN);
        for (index, weights) in weights.enumerate() {
            let x = array!(MR, |row| vectors.broadcast(x[row][index]));
            for vector in 0..N {
                let weights = vectors.load_weights(&weights[vector * V::WEIGHT_LEN..]);
                for row in 0..MR {
                    sums[row][vector] = vectors.dot(sums[row][vector], x[row], weights);
                }
            }
        }
        let zero_point = i32::from(layer.output.zero_point);
        let scale: [V::F32; N] = array!(N, |vector| vectors.load_f32(&panel.scale[vector * lanes..]));
        let offsets: &[usize; MR] =
            self.target.row_offsets[pixel..].first_chunk().expect("a row offset for each pixel");
        let width = layer.outputs - panel.first;
        // Unrolled by a macro: an array that a loop indexes would be spilled from registers to memory.
        macro_rules! rows {
            ($($row:literal)*) => {
                $(if $row < MR {
                    let codes: [V::I32; N] =
                        array!(N, |vector| vectors.requantize(sums[$row][vector], scale[vector], zero_point));
                    let y = &mut self.target.y[offsets[$row] + panel.first..];
                    if width >= N * lanes {
                        store(vectors, codes, &mut y[..N * lanes]);
                    } else {
                        let mut whole = [0; MAX_GROUP];
                        store(vectors, codes, &mut whole[..N * lanes]);
                        y[..width].copy_from_slice(&whole[..width]);
                    }
                })*
            };
        }
        rows!(0 1 2 3 4 5 6 7 8 9 10 11);
    }
}

/// The most bytes of a group.
const MAX_GROUP: usize = 64;

#[inline(always)]
fn store<V: Vectors, const N: usize>(vectors: V, codes: [V::I32; N], bytes: &mut [u8]) {
    match codes.first_chunk::<GROUP>() {
        Some(group) => vectors.store_group(*group, bytes),
        None => vectors.store_vector(codes[0], bytes),
    }
}

struct AddChannelSums<'a> {
    pixels: &'a [u8],
    sums: &'a mut [u32],
}

impl Kernel for AddChannelSums<'_> {
    type Output = ();

    #[inline(always)]
    fn run<V: Vectors>(self, _: V) {
        // The compiler vectorises the loop for the instructions that it is dispatched to.
        for pixel in self.pixels.chunks_exact(self.sums.len()) {
            for (sum, value) in self.sums.iter_mut().zip(pixel) {
                *sum += u32::from(*value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::conv::Int8Layer;
    use crate::kernels::testing::{random_codes, random_weights};
    use crate::kernels::weights::Weights;

    #[test]
    fn every_instruction_set_gives_the_bits_of_the_definition() {
        // Inputs, outputs, pixels, elements between pixels.
        let sizes = [
            (4, 1, 1, 4),
            (27, 32, 13, 28),
            (16, 96, 25, 16),
            (24, 144, 7, 32),
            (144, 24, 12, 192),
            (320, 170, 3, 320),
        ];
        let input = Quantization { scale: 0.03, zero_point: 117 };
        let output = Quantization { scale: 0.9, zero_point: 120 };
        let residual = Quantization { scale: 0.5, zero_point: 140 };
        let sum = Quantization { scale: 0.7, zero_point: 101 };
        for (inputs, outputs, pixels, row_len) in sizes {
            let weights = random_weights(inputs * outputs);
            let codes: Vec<i8> = weights.iter().map(|byte| *byte as i8).collect();
            let weight_scale: Vec<f32> = (0..outputs).map(|output| 0.01 + output as f32 * 1e-4).collect();
            let bias: Vec<i32> = (0..outputs).map(|output| output as i32 * 97 - 2000).collect();
            let layer = Convolution {
                weight: Weights::I8(&codes),
                bias: Vec::new(),
                int8: Some(Int8Layer { weight_scale: weight_scale.clone(), bias: bias.clone(), output }),
                pads: [0; 4],
                stride: 1,
                clip: [f32::NEG_INFINITY, f32::INFINITY],
            };
            let x = random_codes(pixels * row_len);
            let stride = outputs + 3;
            let others = random_codes(pixels * stride);
            // The definition, in 64 bits.
            let code = |pixel: usize, output: usize| -> u8 {
                let products = (0..inputs).map(|input_index| {
                    let code = i64::from(x[pixel * row_len + input_index]) - i64::from(input.zero_point);
                    code * i64::from(codes[output * inputs + input_index])
                });
                let total = (products.sum::<i64>() + i64::from(bias[output])) as f32;
                let factor = input.scale * weight_scale[output] / 0.9;
                ((total * factor).round_ties_even() as i64 + 120).clamp(0, 255) as u8
            };
            let with_residual = |own: u8, other: u8| {
                let total = (f32::from(own) - 120.0) * (0.9 / 0.7) + (f32::from(other) - 140.0) * (0.5 / 0.7);
                (total.round_ties_even() + 101.0).clamp(0.0, 255.0) as u8
            };
            let row_offsets: Vec<usize> = (0..pixels).rev().map(|pixel| pixel * stride).collect();
            for isa in Int8Isa::available() {
                for is_residual in [false, true] {
                    let what = format!("{isa:?}, {inputs} to {outputs}, {pixels} pixels, residual {is_residual}");
                    let sum = is_residual.then_some([residual, sum]);
                    let layer = Pointwise::new(isa, &layer, input, row_len, sum).expect(&what);
                    let mut y = vec![9; pixels * stride];
                    let target =
                        Target { y: &mut y, row_offsets: &row_offsets, residual: is_residual.then_some(&*others) };
                    layer.run(&x, target, &mut ());
                    for (pixel, offset) in row_offsets.iter().enumerate() {
                        for output in 0..outputs {
                            let own = code(pixel, output);
                            let expected = if is_residual { with_residual(own, others[offset + output]) } else { own };
                            assert_eq!(y[offset + output], expected, "pixel {pixel}, output {output}: {what}");
                        }
                        assert_eq!(y[offset + outputs..offset + stride], [9; 3], "written behind a pixel: {what}");
                    }
                }
            }
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        fn layer(codes: &[i8], bias: i32, weight_scale: f32, output_scale: f32) -> Convolution<'_> {
            Convolution {
                weight: Weights::I8(codes),
                bias: Vec::new(),
                int8: Some(Int8Layer {
                    weight_scale: vec![weight_scale; 4],
                    bias: vec![bias; 4],
                    output: Quantization { scale: output_scale, zero_point: 0 },
                }),
                pads: [0; 4],
                stride: 1,
                clip: [0.0, 6.0],
            }
        }
        let input = Quantization { scale: 0.1, zero_point: 0 };
        for (weight, bias, weight_scale, output_scale, row_len, is_taken) in [
            (127, 0, 0.01, 0.02, 16, true),
            (-127, 0, 0.01, 0.02, 16, true),
            (-128, 0, 0.01, 0.02, 16, false),
            (127, i32::MAX, 0.01, 0.02, 16, false),
            (127, i32::MIN, 0.01, 0.02, 16, false),
            (127, 0, f32::NAN, 0.02, 16, false),
            (127, 0, 1e30, 0.02, 16, false),
            (127, 0, 0.01, 1e-30, 16, false),
            (127, 0, 0.01, 0.02, 12, false),
            (127, 0, 0.01, 0.02, 18, false),
        ] {
            let codes = [weight; 64];
            let layer = layer(&codes, bias, weight_scale, output_scale);
            let taken = Pointwise::new(Int8Isa::Plain, &layer, input, row_len, None);
            assert_eq!(taken.is_some(), is_taken, "{weight}, {bias}, {weight_scale}, {output_scale}, {row_len}");
        }
    }

    #[test]
    fn channel_sums_and_means_are_those_of_the_definition() {
        let pixels = random_codes(77 * 48);
        for isa in Int8Isa::available() {
            let mut sums = vec![3_u32; 48];
            isa.dispatch(AddChannelSums { pixels: &pixels, sums: &mut sums });
            for (channel, sum) in sums.iter().enumerate() {
                let expected = 3 + pixels[channel..].iter().step_by(48).map(|code| u32::from(*code)).sum::<u32>();
                assert_eq!(*sum, expected, "{isa:?}, channel {channel}");
            }
        }
    }
}
