//! The weights of a layer.

use std::any::Any;

use pulp::Simd;
#[cfg(target_arch = "x86_64")]
use pulp::x86::V4;

use super::simd;

/// Weights as an ONNX file has them: the bytes of each, the lowest first.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// 32-bit floats.
    Single(&'a [[u8; 4]]),
    /// 16-bit floats.
    Half(&'a [[u8; 2]]),
}

/// Weights in the order in which they are used. 16-bit ones stay so, in half the memory and as exactly: they become 32
/// bits wide while they are used.
#[derive(Debug)]
pub enum Packed {
    /// 32-bit floats.
    Single(Vec<f32>),
    /// The bytes of 16-bit floats.
    Half(Vec<[u8; 2]>),
}

/// A number as weights are kept.
pub trait Weight: Copy + Default {
    type Bytes: Copy + Default;

    fn from_bytes(bytes: Self::Bytes) -> Self;

    /// The first numbers, a vector of them, or as many as there are and zeros.
    fn load<S: Simd>(simd: S, weights: &[Self]) -> S::f32s;
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
    type Bytes = [u8; 4];

    fn from_bytes(bytes: [u8; 4]) -> Self {
        Self::from_le_bytes(bytes)
    }

    #[inline(always)]
    fn load<S: Simd>(simd: S, weights: &[Self]) -> S::f32s {
        simd::load(simd, &weights[..S::F32_LANES.min(weights.len())])
    }
}

impl Weight for [u8; 2] {
    type Bytes = Self;

    fn from_bytes(bytes: Self) -> Self {
        bytes
    }

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
        simd::load(simd, &floats[..S::F32_LANES])
    }
}

#[cfg(test)]
mod tests {
    use half::f16;

    use super::*;

    #[test]
    fn every_16_bit_float_keeps_its_value() {
        for value in (0..=u16::MAX).map(f16::from_bits) {
            let [found, expected] = [widened(value.to_le_bytes()), f32::from(value)];
            assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(), "{value}: {found}");
        }
    }
}
