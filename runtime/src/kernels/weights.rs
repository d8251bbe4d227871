//! Weights in f32, f16 or int8: layers' as an ONNX file stores them, and the loading of vectors from either type.

#[cfg(target_arch = "x86_64")]
use std::any::Any;

use pulp::Simd;
#[cfg(target_arch = "x86_64")]
use pulp::x86::V4;

use super::float16::{f16_bytes_to_f32, f16_to_f32};
use super::simd;

/// The elements of a weight tensor in row-major order, little-endian, borrowed from the file's bytes.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// Bytes of f32.
    F32(&'a [[u8; 4]]),
    /// Bytes of f16.
    F16(&'a [[u8; 2]]),
    /// Integers, each to be multiplied with the scale of its output channel.
    I8(&'a [i8]),
}

impl Weights<'_> {
    /// Number of elements.
    pub fn count(self) -> usize {
        match self {
            Self::F32(weights) => weights.len(),
            Self::F16(weights) => weights.len(),
            Self::I8(weights) => weights.len(),
        }
    }

    /// All elements as f32; exact, and without a scale.
    pub fn to_f32(self) -> Vec<f32> {
        match self {
            Self::F32(weights) => weights.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            Self::F16(weights) => weights.iter().map(|bytes| f16_bytes_to_f32(*bytes)).collect(),
            Self::I8(weights) => weights.iter().map(|weight| f32::from(*weight)).collect(),
        }
    }
}

/// The type of a stored weight: f32, little-endian f16, or int8 without its scale.
pub trait Weight: Sized {
    /// Loads at most one vector of `weights` as f32, exact; lanes behind their end are zero.
    fn load<S: Simd>(simd: S, weights: &[Self]) -> S::f32s;
}

impl Weight for f32 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, weights: &[f32]) -> S::f32s {
        simd::load(simd, weights)
    }
}

impl Weight for i8 {
    #[inline(always)]
    fn load<S: Simd>(simd: S, weights: &[i8]) -> S::f32s {
        let mut floats = [0.0; MAX_LANES];
        let weights = weights.get(..S::F32_LANES).unwrap_or(weights);
        for (float, weight) in floats.iter_mut().zip(weights) {
            *float = f32::from(*weight);
        }
        simd::load(simd, &floats[..S::F32_LANES])
    }
}

/// The most f32 lanes of a vector.
const MAX_LANES: usize = 16;

impl Weight for [u8; 2] {
    #[inline(always)]
    fn load<S: Simd>(simd: S, weights: &[[u8; 2]]) -> S::f32s {
        // AVX-512 converts a vector with one instruction.
        #[cfg(target_arch = "x86_64")]
        if let (Some(v4), Some(halves)) = ((&simd as &dyn Any).downcast_ref::<V4>(), weights.first_chunk()) {
            let bits: [u16; MAX_LANES] = halves.map(u16::from_le_bytes);
            return pulp::cast_lossy(v4.avx512f._mm512_cvtph_ps(pulp::cast(bits)));
        }
        let mut floats = [0.0; MAX_LANES];
        // A constant length, where there is a full vector, lets the compiler unroll the loop.
        let halves = weights.get(..S::F32_LANES).unwrap_or(weights);
        f16_to_f32(halves, &mut floats);
        simd::load(simd, &floats[..S::F32_LANES])
    }
}
