//! Packing of GEMM weights into panels: NR output channels side by side, so that the micro-kernel reads them in order.

use std::array::from_fn;

use pulp::{Arch, Simd, WithSimd};

use super::float16::Bf16Pair;
use super::isa::{Avx512Bf16, Isa, dispatch, lanes};
use super::weights::Weights;

/// Vectors of output channels in a panel: NR = `NR_VECTORS * lanes`.
pub const NR_VECTORS: usize = 2;

/// NR: output channels of a panel.
pub fn panel_width(arch: Arch) -> usize {
    NR_VECTORS * lanes(arch)
}

/// Weights packed as `[panels, inputs, NR]`, zero behind the last output channel.
#[derive(Debug)]
pub enum PackedWeights {
    /// f32.
    F32(Vec<f32>),
    /// Little-endian f16. They take half the memory, and are converted, exactly, when they are used.
    F16(Vec<[u8; 2]>),
    /// bf16 of two neighbouring input channels: `[panels, inputs / 2, NR]`; and the instructions that multiply them.
    Bf16(Avx512Bf16, Vec<Bf16Pair>),
}

impl PackedWeights {
    /// Packs `weight`, a matrix `[rows, row_len]`, for `inputs >= row_len` input channels; the added ones weigh zero.
    ///
    /// The result is bf16 if the machine multiplies bf16 and every weight is one exactly; else the format is kept.
    pub fn new(isa: Isa, weight: &Weights, rows: usize, [inputs, outputs]: [usize; 2]) -> Self {
        let nr = panel_width(isa.arch());
        let panels = outputs.div_ceil(nr);
        if let Some(bf16) = isa.bf16() {
            let work = PackBf16 { weight, rows, panels, pairs: inputs.div_ceil(2), nr };
            if let Some(packed) = dispatch(isa.arch(), work) {
                return Self::Bf16(bf16, packed);
            }
        }
        match weight {
            Weights::F32(weight) => Self::F32(pack(weight, rows, [panels, inputs, nr], f32::from_le_bytes)),
            Weights::F16(weight) => Self::F16(pack(weight, rows, [panels, inputs, nr], |bytes| bytes)),
        }
    }
}

/// Rows that are interleaved at once, so that a write covers several elements of a panel.
const ROW_BLOCK: usize = 4;

/// Packs a matrix `[rows, row_len]` as `[panels, inputs, nr]`, padded with zeros.
fn pack<B: Copy + Default, W: Copy + Default>(
    weight: &[B],
    rows: usize,
    [panels, inputs, nr]: [usize; 3],
    convert: impl Fn(B) -> W,
) -> Vec<W> {
    let row_len = weight.len() / rows;
    let zeros = vec![B::default(); row_len];
    let mut packed = vec![W::default(); panels * inputs * nr];
    for first in (0..rows).step_by(ROW_BLOCK) {
        let block = from_fn(|row| weight.get((first + row) * row_len..(first + row + 1) * row_len).unwrap_or(&zeros));
        interleave(block, &mut packed[first / nr * inputs * nr + first % nr..], nr, &convert);
    }
    packed
}

/// Packs a matrix `[rows, row_len]` as bf16 pairs, `[panels, pairs, nr]`; the result is `None` if a weight is not a
/// bf16.
struct PackBf16<'a> {
    weight: &'a Weights<'a>,
    rows: usize,
    panels: usize,
    /// Pairs of input channels.
    pairs: usize,
    nr: usize,
}

impl WithSimd for PackBf16<'_> {
    type Output = Option<Vec<Bf16Pair>>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Self::Output {
        let Self { weight, rows, panels, pairs, nr } = self;
        let row_len = weight.count() / rows;
        let row_pairs = row_len.div_ceil(2);
        let mut block = vec![0; ROW_BLOCK * row_pairs];
        let mut packed = vec![0; panels * pairs * nr];
        for first in (0..rows).step_by(ROW_BLOCK) {
            block.fill(0);
            for (row, pairs) in (first..rows).zip(block.chunks_exact_mut(row_pairs)) {
                if !weight.row_to_bf16(row, row_len, pairs) {
                    return None;
                }
            }
            let block = from_fn(|row| &block[row * row_pairs..(row + 1) * row_pairs]);
            interleave(block, &mut packed[first / nr * pairs * nr + first % nr..], nr, |pair| pair);
        }
        Some(packed)
    }
}

/// Writes the elements of a block of rows side by side: those of each input at the beginning of a run of `nr`.
#[inline(always)]
fn interleave<B: Copy, W: Copy>(rows: [&[B]; ROW_BLOCK], packed: &mut [W], nr: usize, convert: impl Fn(B) -> W) {
    for (input, outputs) in packed.chunks_mut(nr).take(rows[0].len()).enumerate() {
        outputs[..ROW_BLOCK].copy_from_slice(&rows.map(|row| convert(row[input])));
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::every_isa;
    use super::super::tests::random_f32_bytes;
    use super::*;

    #[test]
    fn panels_hold_every_weight_once_and_zeros_behind() {
        for isa in every_isa().into_iter().map(Isa::without_bf16) {
            let nr = panel_width(isa.arch());
            // Rows, row length, padded inputs and outputs.
            for (rows, row_len, inputs, outputs) in [(1, 1, 1, 1), (5, 3, 3, 5), (33, 7, 8, 48), (64, 2, 2, 64)] {
                let bytes = random_f32_bytes(rows * row_len);
                let PackedWeights::F32(packed) =
                    PackedWeights::new(isa, &Weights::F32(&bytes), rows, [inputs, outputs])
                else {
                    panic!("f32 weights were packed as another type");
                };
                let panels = outputs.div_ceil(nr);
                assert_eq!(packed.len(), panels * inputs * nr, "{isa:?}");
                for (output, input) in (0..panels * nr).flat_map(|output| (0..inputs).map(move |input| (output, input)))
                {
                    let found = packed[(output / nr * inputs + input) * nr + output % nr];
                    let is_padding = output >= rows || input >= row_len;
                    let expected = if is_padding { 0.0 } else { f32::from_le_bytes(bytes[output * row_len + input]) };
                    assert_eq!(found, expected, "{isa:?}, output {output}, input {input} of {rows} x {row_len}");
                }
            }
        }
    }
}
