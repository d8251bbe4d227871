//! Layer weights as an ONNX file stores them: little-endian f32 or f16, borrowed from the file's bytes.

use super::float16::{Bf16Pair, f16_bytes_to_f32, round_to_bf16};

/// The elements of a weight tensor in row-major order, little-endian.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// Bytes of f32.
    F32(&'a [[u8; 4]]),
    /// Bytes of f16.
    F16(&'a [[u8; 2]]),
}

impl Weights<'_> {
    /// Number of elements.
    pub fn count(self) -> usize {
        match self {
            Self::F32(weights) => weights.len(),
            Self::F16(weights) => weights.len(),
        }
    }

    /// All elements as f32; exact.
    pub fn to_f32(self) -> Vec<f32> {
        match self {
            Self::F32(weights) => weights.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Self::F16(weights) => weights.iter().map(|bytes| f16_bytes_to_f32(*bytes)).collect(),
        }
    }

    /// Rounds row `row` of a matrix `[rows, row_len]` to bf16 pairs; an odd row ends with a zero. Returns whether every
    /// element was a bf16 already, so that nothing was lost.
    #[inline(always)]
    pub fn row_to_bf16(&self, row: usize, row_len: usize, pairs: &mut [Bf16Pair]) -> bool {
        match self {
            Self::F32(weights) => to_bf16(&weights[row * row_len..][..row_len], pairs, f32::from_le_bytes),
            Self::F16(weights) => to_bf16(&weights[row * row_len..][..row_len], pairs, f16_bytes_to_f32),
        }
    }
}

#[inline(always)]
fn to_bf16<B: Copy>(weights: &[B], pairs: &mut [Bf16Pair], to_f32: impl Fn(B) -> f32) -> bool {
    // Bits that are set in any element; a bf16 has none in its lower half.
    let mut bits = 0;
    let (twos, last) = weights.as_chunks::<2>();
    for (pair, two) in pairs.iter_mut().zip(twos) {
        let values = two.map(&to_f32);
        bits |= values[0].to_bits() | values[1].to_bits();
        *pair = round_to_bf16(values);
    }
    if let ([weight], Some(pair)) = (last, pairs.last_mut()) {
        bits |= to_f32(*weight).to_bits();
        *pair = round_to_bf16([to_f32(*weight), 0.0]);
    }
    let lower_half = bits & 0xffff;
    lower_half == 0
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn rows_become_bf16_pairs_if_that_is_exact() {
        let bits = |low: f32, high: f32| low.to_bits() >> 16 | high.to_bits();
        let fine = 1.0 + 1.0 / 256.0;
        let cases = [
            (vec![1.0, -0.375, 3.0, 0.0], Some(vec![bits(1.0, -0.375), bits(3.0, 0.0)])),
            (vec![0.0, 96.0, -2.0], Some(vec![bits(0.0, 96.0), bits(-2.0, 0.0)])),
            (vec![1.0, fine], None),
            (vec![fine, 1.0], None),
            (vec![1.0, -0.375, fine], None),
        ];
        for (row, expected) in cases {
            // The row is the second of two.
            let weights = [vec![7.0; row.len()], row.clone()].concat();
            let f32_bytes: Vec<_> = weights.iter().map(|weight: &f32| weight.to_le_bytes()).collect();
            let f16_bytes: Vec<_> = weights.iter().map(|weight| f16::from_f32(*weight).to_le_bytes()).collect();
            for weights in [Weights::F32(&f32_bytes), Weights::F16(&f16_bytes)] {
                let mut pairs = vec![9; row.len().div_ceil(2)];
                let is_exact = weights.row_to_bf16(1, row.len(), &mut pairs);
                assert_eq!(is_exact.then_some(pairs), expected, "{row:?}");
            }
        }
    }
}
