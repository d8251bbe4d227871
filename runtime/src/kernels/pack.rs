//! Packing of GEMM weights into panels: NR output channels side by side, so that the micro-kernel reads them in order.

use std::array::from_fn;

use pulp::Arch;

use super::simd::lanes;
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
}

impl PackedWeights {
    /// Packs `weight`, a matrix `[rows, row_len]`, for `inputs >= row_len` input channels; the added ones weigh zero.
    pub fn new(arch: Arch, weight: &Weights, rows: usize, [inputs, outputs]: [usize; 2]) -> Self {
        let nr = panel_width(arch);
        let panels = outputs.div_ceil(nr);
        match weight {
            Weights::F32(weight) => Self::F32(pack(weight, rows, [panels, inputs, nr], f32::from_le_bytes)),
            Weights::F16(weight) => Self::F16(pack(weight, rows, [panels, inputs, nr], |bytes| bytes)),
            Weights::I8(weight) => Self::F32(pack(weight, rows, [panels, inputs, nr], f32::from)),
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
        let block: [&[B]; ROW_BLOCK] =
            from_fn(|row| weight.get((first + row) * row_len..(first + row + 1) * row_len).unwrap_or(&zeros));
        // The weights of each input channel stand at the beginning of a run of `nr`.
        let runs = packed[first / nr * inputs * nr + first % nr..].chunks_mut(nr);
        for (input, outputs) in runs.take(row_len).enumerate() {
            outputs[..ROW_BLOCK].copy_from_slice(&block.map(|row| convert(row[input])));
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::super::testing::{every_arch, random_f32_bytes};
    use super::*;

    #[test]
    fn panels_hold_every_weight_once_and_zeros_behind() {
        for arch in every_arch() {
            let nr = panel_width(arch);
            // Rows, row length, padded inputs and outputs.
            for (rows, row_len, inputs, outputs) in [(1, 1, 1, 1), (5, 3, 3, 5), (33, 7, 8, 48), (64, 2, 2, 64)] {
                let bytes = random_f32_bytes(rows * row_len);
                let PackedWeights::F32(packed) =
                    PackedWeights::new(arch, &Weights::F32(&bytes), rows, [inputs, outputs])
                else {
                    panic!("f32 weights were packed as another type");
                };
                let panels = outputs.div_ceil(nr);
                assert_eq!(packed.len(), panels * inputs * nr, "{arch:?}");
                for (output, input) in (0..panels * nr).flat_map(|output| (0..inputs).map(move |input| (output, input)))
                {
                    let found = packed[(output / nr * inputs + input) * nr + output % nr];
                    let is_padding = output >= rows || input >= row_len;
                    let expected = if is_padding { 0.0 } else { f32::from_le_bytes(bytes[output * row_len + input]) };
                    assert_eq!(found, expected, "{arch:?}, output {output}, input {input} of {rows} x {row_len}");
                }
            }
        }
    }
}
