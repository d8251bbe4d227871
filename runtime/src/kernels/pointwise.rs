//! Pointwise (1 x 1) convolutions, which are matrix products.

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};

use super::block::Convolution;
use super::isa::{Isa, Pairs, aligned, dispatch, lanes, load, room, store, with_pairs};
use super::weights::{Pair, Weight, Weights, rounded, widen};

/// Vectors of outputs that a tile holds in registers.
const VECTORS: usize = 2;

/// A pointwise convolution and the range that its outputs are clamped to.
///
/// The product is made tile by tile: 12 pixels (6 where there are only 16 registers) by two vectors of outputs stay in
/// registers while the inputs go by, each number of a pixel multiplied with two vectors of weights. (Goto and van de
/// Geijn, "Anatomy of high-performance matrix multiplication", 2008; the pixels need no packing, since a tile's inputs
/// lie in twelve runs.) Weights are packed once so that they are read one after the other.
///
/// Where the isa multiplies pairs of bfloat16 and all weights are numbers of that kind, inputs are rounded to it.
#[derive(Debug)]
pub struct Pointwise {
    arch: Arch,
    inputs: usize,
    outputs: usize,
    weights: Packed,
    /// `[panels * VECTORS * lanes]`
    bias: Vec<f32>,
    range: [f32; 2],
}

/// Weights in the order in which they are used, `[panels, inputs, VECTORS * lanes]`, zero behind the last output.
#[derive(Debug)]
enum Packed {
    /// 32-bit floats.
    Single(Vec<f32>),
    /// The bytes of 16-bit floats. They stay so, in half the memory and as exactly: they become 32 bits wide while they are used.
    Half(Vec<[u8; 2]>),
    /// Those of two inputs, one after the other: `[panels, inputs / 2, VECTORS * lanes]`.
    Pairs(Pairs, Vec<Pair>),
}

/// Buffers that products share.
#[derive(Debug, Default)]
pub struct Buffers {
    /// A panel of weights, widened.
    panel: Vec<f32>,
    /// All inputs, rounded.
    pairs: Vec<Pair>,
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
    /// Packs a convolution of weights `[outputs, inputs]`. It may get more `inputs` and `outputs` than it has: they are of
    /// no effect, and zeros or what the range makes of them.
    pub fn new(isa: Isa, layer: &Convolution, [inputs, outputs]: [usize; 2]) -> Self {
        let Isa { arch, pairs } = isa;
        let panel = VECTORS * lanes(arch);
        let panels = outputs.div_ceil(panel);
        let rows = layer.bias.len();
        let pack_pairs = PackPairs { weight: &layer.weight, outputs: rows, panels, inputs: inputs.div_ceil(2), panel };
        let weights = match (pairs.zip(pairs.and_then(|_| dispatch(arch, pack_pairs))), &layer.weight) {
            (Some((pairs, weight)), _) => Packed::Pairs(pairs, weight),
            (None, Weights::Single(weight)) => {
                Packed::Single(pack(weight, rows, [panels, inputs, panel], f32::from_le_bytes))
            }
            (None, Weights::Half(weight)) => Packed::Half(pack(weight, rows, [panels, inputs, panel], |bytes| bytes)),
        };
        let mut bias = layer.bias.clone();
        bias.resize(panels * panel, 0.0);
        Self { arch, inputs, outputs, weights, bias, range: layer.range }
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
    pub fn run(&self, x: &[f32], target: Target, buffers: &mut Buffers) {
        dispatch(self.arch, Run { layer: self, x, target, buffers });
    }
}

/// Rows of weights that are packed together: as many are written at once.
const ROWS: usize = 4;

/// `[outputs, inputs]` as `[panels, inputs, panel]`, with zeros where there are more of them.
fn pack<B: Copy + Default, W: Copy + Default>(
    weight: &[B],
    outputs: usize,
    [panels, inputs, panel]: [usize; 3],
    of: impl Fn(B) -> W,
) -> Vec<W> {
    let row_len = weight.len() / outputs;
    let zeros = vec![B::default(); row_len];
    let mut packed = vec![W::default(); panels * inputs * panel];
    for first in (0..outputs).step_by(ROWS) {
        let rows = from_fn(|row| weight.get((first + row) * row_len..(first + row + 1) * row_len).unwrap_or(&zeros));
        interleave(rows, &mut packed[first / panel * inputs * panel + first % panel..], panel, &of);
    }
    packed
}

/// The same for pairs of inputs; nothing if that would round a weight.
struct PackPairs<'a> {
    weight: &'a Weights<'a>,
    outputs: usize,
    panels: usize,
    /// Pairs of them.
    inputs: usize,
    panel: usize,
}

impl WithSimd for PackPairs<'_> {
    type Output = Option<Vec<Pair>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let Self { weight, outputs, panels, inputs, panel } = self;
        let row_len = weight.count() / outputs;
        let pairs_len = row_len.div_ceil(2);
        let mut rows = vec![0; ROWS * pairs_len];
        let mut packed = vec![0; panels * inputs * panel];
        for first in (0..outputs).step_by(ROWS) {
            rows.fill(0);
            for (row, pairs) in (first..outputs).zip(rows.chunks_exact_mut(pairs_len)) {
                if !weight.pairs(row, row_len, pairs) {
                    return None;
                }
            }
            let rows = from_fn(|row| &rows[row * pairs_len..(row + 1) * pairs_len]);
            interleave(rows, &mut packed[first / panel * inputs * panel + first % panel..], panel, |pair| pair);
        }
        Some(packed)
    }
}

/// Writes rows of weights side by side, those of one input every `panel` places.
#[inline(always)]
fn interleave<B: Copy, W: Copy>(rows: [&[B]; ROWS], packed: &mut [W], panel: usize, of: impl Fn(B) -> W) {
    for (input, places) in packed.chunks_mut(panel).take(rows[0].len()).enumerate() {
        places[..ROWS].copy_from_slice(&rows.map(|row| of(row[input])));
    }
}

struct Run<'a> {
    layer: &'a Pointwise,
    x: &'a [f32],
    target: Target<'a>,
    buffers: &'a mut Buffers,
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { layer, x, mut target, buffers } = self;
        match &layer.weights {
            Packed::Single(weights) => {
                panels(layer, x, layer.inputs, &mut target, weights, |panel| simd.vectorize(panel));
            }
            Packed::Half(weights) if target.places.len() <= few_tiles::<S>() * tile_height::<S>() => {
                panels(layer, x, layer.inputs, &mut target, weights, |panel| simd.vectorize(panel));
            }
            Packed::Half(weights) => {
                let buffer = aligned(&mut buffers.panel, layer.inputs * VECTORS * S::F32_LANES);
                panels(layer, x, layer.inputs, &mut target, weights, |panel| {
                    widen(panel.weights, buffer);
                    let Panel { layer, x, inputs, target, first, .. } = panel;
                    simd.vectorize(Panel { layer, x, inputs, target, first, weights: &*buffer });
                });
            }
            Packed::Pairs(pairs, weights) => {
                let inputs = layer.inputs.div_ceil(2);
                let rounded = room(&mut buffers.pairs, target.places.len() * inputs);
                with_pairs(*pairs, simd, Round { x, inputs: layer.inputs, y: rounded });
                panels(layer, rounded, inputs, &mut target, weights, |panel| {
                    with_pairs(*pairs, simd, panel);
                });
            }
        }
    }
}

/// Runs `each` panel, one after the other, so that it stays in the first cache while all pixels pass by.
#[inline(always)]
fn panels<W: Weight>(
    layer: &Pointwise,
    x: &[W::Input],
    inputs: usize,
    target: &mut Target,
    weights: &[W],
    mut each: impl FnMut(Panel<W>),
) {
    let width = VECTORS * lanes(layer.arch);
    for (panel, weights) in weights.chunks_exact(inputs * width).enumerate() {
        each(Panel { layer, x, inputs, target, first: panel * width, weights });
    }
}

/// Rounds pixels of so many inputs.
struct Round<'a> {
    x: &'a [f32],
    inputs: usize,
    y: &'a mut [Pair],
}

impl WithSimd for Round<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { x, inputs, y } = self;
        if inputs % 2 == 0 {
            y.iter_mut().zip(x.as_chunks().0).for_each(|(y, x)| *y = rounded(*x));
            return;
        }
        for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(inputs.div_ceil(2))) {
            let (x, last) = x.as_chunks();
            let x = x.iter().copied().chain(last.iter().map(|last| [*last, 0.0]));
            y.iter_mut().zip(x).for_each(|(y, x)| *y = rounded(x));
        }
    }
}

/// Tiles that are not worth a detour of 16-bit weights through memory: AVX-512 has an instruction that widens them beside the
/// sums.
const fn few_tiles<S: Simd>() -> usize {
    if S::F32_LANES == 16 { 4 } else { 1 }
}

/// Pixels of the largest tile: AVX2 has 16 registers, AVX-512 and NEON have 32.
const fn tile_height<S: Simd>() -> usize {
    if cfg!(target_arch = "x86_64") && S::F32_LANES < 16 { 6 } else { 12 }
}

/// All pixels by the outputs of a panel.
struct Panel<'a, 'b, W: Weight> {
    layer: &'a Pointwise,
    /// `[pixels, inputs]`
    x: &'a [W::Input],
    inputs: usize,
    target: &'a mut Target<'b>,
    /// The panel's first output.
    first: usize,
    /// `[inputs, VECTORS * lanes]`
    weights: &'a [W],
}

impl<W: Weight> WithSimd for Panel<'_, '_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let pixels = self.target.places.len();
        let mut pixel = 0;
        macro_rules! tiles {
            ($($height:literal)*) => {
                $(while pixels - pixel >= $height {
                    self.tile::<S, $height>(simd, pixel);
                    pixel += $height;
                })*
            };
        }
        if tile_height::<S>() == 6 {
            tiles!(6 4 2 1);
        } else {
            tiles!(12 6 4 2 1);
        }
    }
}

impl<W: Weight> Panel<'_, '_, W> {
    /// `HEIGHT` pixels, from `pixel` on.
    #[inline(always)]
    fn tile<S: Simd, const HEIGHT: usize>(&mut self, simd: S, pixel: usize) {
        if self.layer.outputs - self.first > S::F32_LANES {
            self.finish(simd, self.sums::<S, HEIGHT, VECTORS>(simd, pixel), pixel);
        } else {
            self.finish(simd, self.sums::<S, HEIGHT, 1>(simd, pixel), pixel);
        }
    }

    /// The sums of `HEIGHT` pixels from `pixel` on for the panel's first `WIDTH` vectors of outputs.
    // The same place of every pixel is read.
    #[allow(clippy::needless_range_loop)]
    #[inline(always)]
    fn sums<S: Simd, const HEIGHT: usize, const WIDTH: usize>(
        &self,
        simd: S,
        pixel: usize,
    ) -> [[S::f32s; WIDTH]; HEIGHT] {
        let inputs = self.inputs;
        let mut pixels = self.x[pixel * inputs..].chunks_exact(inputs);
        let x: [&[W::Input]; HEIGHT] = from_fn(|_| pixels.next().expect("a pixel for each place"));
        let bias = S::as_simd_f32s(&self.layer.bias[self.first..]).0;
        let mut sums = [from_fn(|vector| bias[vector]); HEIGHT];
        let mut weights = self.weights;
        for input in 0..inputs {
            let (next, more) = weights.split_at(VECTORS * S::F32_LANES);
            weights = more;
            let next: [_; WIDTH] = from_fn(|vector| W::load(simd, &next[vector * S::F32_LANES..][..S::F32_LANES]));
            for row in 0..HEIGHT {
                for vector in 0..WIDTH {
                    sums[row][vector] = W::multiply_add(simd, x[row][input], next[vector], sums[row][vector]);
                }
            }
        }
        sums
    }

    /// Clamps and writes the sums of pixels from `pixel` on: as many outputs as there are left.
    #[inline(always)]
    fn finish<S: Simd, const HEIGHT: usize, const WIDTH: usize>(
        &mut self,
        simd: S,
        sums: [[S::f32s; WIDTH]; HEIGHT],
        pixel: usize,
    ) {
        let (first, width) = (self.first, self.layer.outputs - self.first);
        let Target { y, places, residual } = &mut *self.target;
        let places: &[usize; HEIGHT] = places[pixel..].first_chunk().expect("as many places as pixels");
        let [low, high] = self.layer.range.map(|bound| simd.splat_f32s(bound));
        let clamp = |sum| simd.min_f32s(simd.max_f32s(sum, low), high);
        let whole = WIDTH * S::F32_LANES;
        // Sums that a loop comes to one after the other would have to lie in memory.
        macro_rules! rows {
            ($($row:literal)*) => {
                $(if $row < HEIGHT {
                    let mut sums = sums[$row].map(clamp);
                    let place = places[$row] + first;
                    if width >= whole {
                        if let Some(residual) = residual {
                            let residual = S::as_simd_f32s(&residual[place..place + whole]).0;
                            sums = from_fn(|vector| simd.add_f32s(sums[vector], residual[vector]));
                        }
                        S::as_mut_simd_f32s(&mut y[place..place + whole]).0.copy_from_slice(&sums);
                    } else {
                        for (vector, mut sum) in sums.into_iter().enumerate() {
                            let begin = vector * S::F32_LANES;
                            let here = place + begin..place + width.min(begin + S::F32_LANES);
                            if let Some(residual) = residual {
                                sum = simd.add_f32s(sum, load(simd, &residual[here.clone()]));
                            }
                            store(simd, sum, &mut y[here]);
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

    use super::super::isa::all;
    use super::super::tests::{assert_close, halves, random, singles};
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
        let sizes =
            [(1, 1, 1), (27, 32, 13), (16, 96, 24), (24, 144, 11), (3, 8, 5), (7, 33, 12), (40, 24, 2), (5, 40, 59)];
        for isa in all() {
            for (inputs, outputs, pixels) in sizes {
                let kinds = [
                    ([0.0, 6.0], false, false, false),
                    (linear, true, true, false),
                    ([0.0, f32::INFINITY], false, true, false),
                    ([0.0, 6.0], true, false, true),
                    (linear, false, true, true),
                ];
                for (range, is_residual, halved, narrow) in kinds {
                    let [mut x, bias] = [pixels * inputs, outputs].map(random);
                    let (mut singles, mut halves) = (singles(inputs * outputs), halves(inputs * outputs));
                    if narrow {
                        x.iter_mut().for_each(|x| *x = bf16::from_f32(*x).to_f32());
                        let narrow = |value: f32| bf16::from_f32(value).to_f32();
                        singles.iter_mut().for_each(|bytes| *bytes = narrow(f32::from_le_bytes(*bytes)).to_le_bytes());
                        let half = |bytes| f16::from_f32(narrow(f16::from_le_bytes(bytes).to_f32()));
                        halves.iter_mut().for_each(|bytes| *bytes = half(*bytes).to_le_bytes());
                    }
                    let weight = if halved { Weights::Half(&halves) } else { Weights::Single(&singles) };
                    let mut expected = reference(&x, &weight.floats(), &bias, range);
                    // Pixels need not lie side by side, nor in order.
                    let stride = outputs + 3;
                    let places: Vec<usize> = (0..pixels).rev().map(|pixel| pixel * stride).collect();
                    let residual = random(pixels * stride);
                    let mut y = vec![9.0; pixels * stride];
                    let target = Target { y: &mut y, places: &places, residual: is_residual.then_some(&*residual) };
                    let layer = Convolution { weight, bias, pads: [0; 4], stride: 1, range };
                    let product = Pointwise::new(isa, &layer, [inputs, outputs]);
                    let is_rounded = matches!(product.weights, Packed::Pairs(..));
                    // Of the others, a weight that is alone may be such a number.
                    assert!(!narrow || is_rounded == isa.pairs.is_some(), "{isa:?}");
                    product.run(&x, target, &mut Buffers::default());
                    let mut found = Vec::new();
                    for (pixel, place) in places.iter().enumerate() {
                        found.extend(&y[*place..place + outputs]);
                        assert_eq!(y[place + outputs..place + stride], [9.0; 3], "written behind a pixel");
                        if is_residual {
                            let expected = &mut expected[pixel * outputs..][..outputs];
                            expected.iter_mut().zip(&residual[*place..]).for_each(|(sum, more)| *sum += more);
                        }
                    }
                    assert_close(&found, &expected, &format!("{isa:?}, {inputs} to {outputs}, {pixels} pixels"));
                }
            }
        }
    }

    #[test]
    fn inputs_of_pairs_are_rounded_to_the_nearest_bfloat16() {
        let Isa { pairs: Some(_), .. } = Isa::detect() else {
            eprintln!("skipped: this isa has no products of bfloat16");
            return;
        };
        let (weight, bias) = ([1.0, -0.5, 2.0].map(f32::to_le_bytes), vec![0.0]);
        let range = [f32::NEG_INFINITY, f32::INFINITY];
        let layer = Convolution { weight: Weights::Single(&weight), bias, pads: [0; 4], stride: 1, range };
        let x = random(3 * 7);
        let narrow: Vec<f32> = x.iter().map(|x| bf16::from_f32(*x).to_f32()).collect();
        let expected = reference(&narrow, &layer.weight.floats(), &layer.bias, range);
        let mut y = [0.0; 7];
        let target = Target { y: &mut y, places: &from_fn::<_, 7, _>(|pixel| pixel), residual: None };
        Pointwise::new(Isa::detect(), &layer, [3, 1]).run(&x, target, &mut Buffers::default());
        assert_close(&y, &expected, "three inputs");
        assert_ne!(reference(&x, &layer.weight.floats(), &layer.bias, range), expected, "nothing was rounded");
    }
}
