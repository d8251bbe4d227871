//! The weights of a layer.

#[cfg(target_arch = "x86_64")]
use std::any::Any;

use pulp::Simd;
#[cfg(target_arch = "x86_64")]
use pulp::{f32x16, x86::V4};

use super::isa;

/// Weights as an ONNX file has them: the bytes of each, the lowest first.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// 32-bit floats.
    Single(&'a [[u8; 4]]),
    /// 16-bit floats.
    Half(&'a [[u8; 2]]),
}

/// A number as weights are kept.
pub trait Weight: Copy + Default {
    /// What it is multiplied with.
    type Input: Copy;

    /// The first numbers, a vector of them, or as many as there are and zeros.
    fn load<S: Simd>(simd: S, weights: &[Self]) -> S::f32s;

    /// The sums of an input times each weight and what was there.
    fn multiply_add<S: Simd>(simd: S, input: Self::Input, weights: S::f32s, sums: S::f32s) -> S::f32s;
}

/// Two numbers as bfloat16, the upper half of a 32-bit float: the first in the lower half, the second in the upper one.
pub type Pair = u32;

/// What is next to both numbers, the even one if two are.
#[inline(always)]
pub fn rounded(numbers: [f32; 2]) -> Pair {
    let [low, high] = numbers.map(|number| {
        let bits = number.to_bits();
        // What is not a number must not turn into one.
        if number.is_nan() { bits | 1 << 22 } else { bits + 0x7fff + (bits >> 16 & 1) }
    });
    low >> 16 | high & 0xffff_0000
}

impl Weights<'_> {
    /// How many there are.
    pub fn count(&self) -> usize {
        match self {
            Self::Single(singles) => singles.len(),
            Self::Half(halves) => halves.len(),
        }
    }

    /// As 32-bit floats.
    pub fn floats(&self) -> Vec<f32> {
        match self {
            Self::Single(singles) => singles.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Self::Half(halves) => halves.iter().map(|half| widened(*half)).collect(),
        }
    }

    /// A row of so many as pairs, a zero behind those of an odd number. Tells whether that rounded none of them.
    #[inline(always)]
    pub fn pairs(&self, row: usize, row_len: usize, pairs: &mut [Pair]) -> bool {
        match self {
            Self::Single(singles) => all_pairs(&singles[row * row_len..][..row_len], pairs, f32::from_le_bytes),
            Self::Half(halves) => all_pairs(&halves[row * row_len..][..row_len], pairs, widened),
        }
    }
}

#[inline(always)]
fn all_pairs<B: Copy>(weights: &[B], pairs: &mut [Pair], number: impl Fn(B) -> f32) -> bool {
    let mut rest = 0;
    let (twos, last) = weights.as_chunks::<2>();
    for (pair, two) in pairs.iter_mut().zip(twos) {
        let numbers = two.map(&number);
        rest |= numbers[0].to_bits() | numbers[1].to_bits();
        *pair = rounded(numbers);
    }
    if let ([weight], Some(pair)) = (last, pairs.last_mut()) {
        rest |= number(*weight).to_bits();
        *pair = rounded([number(*weight), 0.0]);
    }
    rest & 0xffff == 0
}

/// 16-bit floats as 32-bit ones.
#[inline(always)]
pub fn widen(halves: &[[u8; 2]], floats: &mut [f32]) {
    floats.iter_mut().zip(halves).for_each(|(float, half)| *float = widened(*half));
}

/// A 16-bit float as a 32-bit one, in steps that the compiler turns into vectors.
#[inline(always)]
fn widened(half: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(half));
    let [sign, magnitude] = [bits & 0x8000, bits & 0x7fff];
    // The sign, and exponent and fraction where a 32-bit float has its own; its exponent counts from another zero.
    let float = f32::from_bits(sign << 16 | magnitude << 13) * EXPONENT;
    // The exponent of infinity and of what is not a number.
    f32::from_bits(float.to_bits() | if magnitude < 0x7c00 { 0 } else { 0x7f80_0000 })
}

/// `2^(127 - 15)`
const EXPONENT: f32 = f32::from_bits((127 + 127 - 15) << 23);

/// The most numbers that a vector has.
const MOST_LANES: usize = 16;

impl Weight for f32 {
    type Input = f32;

    #[inline(always)]
    fn load<S: Simd>(simd: S, weights: &[Self]) -> S::f32s {
        isa::load(simd, &weights[..S::F32_LANES.min(weights.len())])
    }

    #[inline(always)]
    fn multiply_add<S: Simd>(simd: S, input: f32, weights: S::f32s, sums: S::f32s) -> S::f32s {
        isa::multiply_add(simd, simd.splat_f32s(input), weights, sums)
    }
}

impl Weight for [u8; 2] {
    type Input = f32;

    #[inline(always)]
    fn load<S: Simd>(simd: S, weights: &[Self]) -> S::f32s {
        // AVX-512 has an instruction for it.
        #[cfg(target_arch = "x86_64")]
        if let (Some(v4), Some(halves)) = ((&simd as &dyn Any).downcast_ref::<V4>(), weights.first_chunk()) {
            let bits: [u16; 16] = halves.map(u16::from_le_bytes);
            return pulp::cast_lossy(v4.avx512f._mm512_cvtph_ps(pulp::cast(bits)));
        }
        let mut floats = [0.0; MOST_LANES];
        // The compiler knows how many a whole vector has.
        let halves = weights.get(..S::F32_LANES).unwrap_or(weights);
        widen(halves, &mut floats);
        isa::load(simd, &floats[..S::F32_LANES])
    }

    #[inline(always)]
    fn multiply_add<S: Simd>(simd: S, input: f32, weights: S::f32s, sums: S::f32s) -> S::f32s {
        f32::multiply_add(simd, input, weights, sums)
    }
}

/// A vector of them has the bits of one of 32-bit floats. Only in a function [with pairs](isa::with_pairs) they are multiplied by
/// an instruction of their own.
impl Weight for Pair {
    type Input = Pair;

    #[inline(always)]
    fn load<S: Simd>(simd: S, weights: &[Self]) -> S::f32s {
        simd.transmute_f32s_u32s(S::as_simd_u32s(weights).0[0])
    }

    #[inline(always)]
    fn multiply_add<S: Simd>(simd: S, input: Self, weights: S::f32s, sums: S::f32s) -> S::f32s {
        #[cfg(target_arch = "x86_64")]
        if let (Some(weights), Some(sums)) =
            ((&weights as &dyn Any).downcast_ref::<f32x16>(), (&sums as &dyn Any).downcast_ref::<f32x16>())
        {
            use std::arch::x86_64::{__m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_set1_epi32};
            use std::mem::transmute;
            // SAFETY: there are pairs only where `Pairs` has proved that the isa has AVX512-BF16; all three types
            // are 512 bits that may have any value.
            let sums: __m512 = unsafe {
                let input = transmute::<__m512i, __m512bh>(_mm512_set1_epi32(input.cast_signed()));
                _mm512_dpbf16_ps(pulp::cast(*sums), input, transmute::<f32x16, __m512bh>(*weights))
            };
            return pulp::cast_lossy(sums);
        }
        let _ = (simd, input, weights, sums);
        unreachable!("only processors with an instruction for them have pairs")
    }
}

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn every_16_bit_float_keeps_its_value() {
        for value in (0..=u16::MAX).map(f16::from_bits) {
            let [found, expected] = [widened(value.to_le_bytes()), f32::from(value)];
            assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(), "{value}: {found}");
        }
    }

    #[test]
    fn numbers_are_rounded_as_bfloat16_has_it() {
        // Every upper half, and lower ones around the middle and the ends.
        for upper in 0..=u16::MAX {
            for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let number = f32::from_bits(u32::from(upper) << 16 | lower);
                let pair = rounded([number, -number]);
                let expected = [number, -number].map(|number| bf16::from_f32(number).to_bits());
                assert_eq!([pair as u16, (pair >> 16) as u16], expected, "{number}");
            }
        }
    }

    #[test]
    fn pairs_are_made_of_weights_that_need_no_rounding() {
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
            // The second of two rows.
            let weights = [vec![7.0; row.len()], row.clone()].concat();
            let singles: Vec<_> = weights.iter().map(|weight: &f32| weight.to_le_bytes()).collect();
            let halves: Vec<_> = weights.iter().map(|weight| f16::from_f32(*weight).to_le_bytes()).collect();
            for weights in [Weights::Single(&singles), Weights::Half(&halves)] {
                let mut pairs = vec![9; row.len().div_ceil(2)];
                let is_exact = weights.pairs(1, row.len(), &mut pairs);
                assert_eq!(is_exact.then_some(pairs), expected, "{row:?}");
            }
        }
    }
}
