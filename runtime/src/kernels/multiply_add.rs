//! Vector multiply-add with f32, f16 or bf16 weights: one implementation per weight type and instruction set.
//!
//! The receiver is the proof that the instructions exist: pulp's SIMD tokens for f32 and f16, [`Avx512Bf16`] for bf16
//! pairs.

#[cfg(target_arch = "x86_64")]
use std::any::Any;

use pulp::{NullaryFnOnce, Simd};
#[cfg(target_arch = "x86_64")]
use pulp::{f32x16, x86::V4};

use super::float16::{Bf16Pair, f16_to_f32};
use super::isa::{Avx512Bf16, with_avx512_bf16};
use super::simd;

/// Instructions that multiply vectors of weights, stored as `W`, and accumulate in f32.
pub trait MultiplyAdd<W>: Copy {
    /// The f32 vectors that hold sums.
    type Simd: Simd;
    /// An input as it is multiplied.
    type Input: Copy;

    /// The token of the f32 vectors.
    fn simd(self) -> Self::Simd;

    /// Runs `work`, in which everything is inlined, in a function compiled for these instructions.
    fn enable<F: NullaryFnOnce>(self, work: F) -> F::Output;

    /// Loads the first vector of `weights`.
    fn load_weights(self, weights: &[W]) -> Vector<Self, W>;

    /// `sums + input * weights` in each lane; for pairs the dot product of `input` and the lane's pair is added.
    fn multiply_add(self, input: Self::Input, weights: Vector<Self, W>, sums: Vector<Self, W>) -> Vector<Self, W>;
}

/// An f32 vector of the instructions `K`.
pub type Vector<K, W> = <<K as MultiplyAdd<W>>::Simd as Simd>::f32s;

/// The most f32 lanes of a vector.
const MAX_LANES: usize = 16;

/// f32 weights. Fewer than a vector of them are filled up with zeros.
impl<S: Simd> MultiplyAdd<f32> for S {
    type Simd = S;
    type Input = f32;

    #[inline(always)]
    fn simd(self) -> S {
        self
    }

    #[inline(always)]
    fn enable<F: NullaryFnOnce>(self, work: F) -> F::Output {
        self.vectorize(work)
    }

    #[inline(always)]
    fn load_weights(self, weights: &[f32]) -> S::f32s {
        simd::load(self, &weights[..S::F32_LANES.min(weights.len())])
    }

    #[inline(always)]
    fn multiply_add(self, input: f32, weights: S::f32s, sums: S::f32s) -> S::f32s {
        simd::multiply_add(self, self.splat_f32s(input), weights, sums)
    }
}

/// f16 weights, little-endian. Fewer than a vector of them are filled up with zeros.
impl<S: Simd> MultiplyAdd<[u8; 2]> for S {
    type Simd = S;
    type Input = f32;

    #[inline(always)]
    fn simd(self) -> S {
        self
    }

    #[inline(always)]
    fn enable<F: NullaryFnOnce>(self, work: F) -> F::Output {
        self.vectorize(work)
    }

    #[inline(always)]
    fn load_weights(self, weights: &[[u8; 2]]) -> S::f32s {
        // AVX-512 converts a vector with one instruction.
        #[cfg(target_arch = "x86_64")]
        if let (Some(v4), Some(halves)) = ((&self as &dyn Any).downcast_ref::<V4>(), weights.first_chunk()) {
            let bits: [u16; 16] = halves.map(u16::from_le_bytes);
            return pulp::cast_lossy(v4.avx512f._mm512_cvtph_ps(pulp::cast(bits)));
        }
        let mut floats = [0.0; MAX_LANES];
        // A constant length, where there is a full vector, lets the compiler unroll the loop.
        let halves = weights.get(..S::F32_LANES).unwrap_or(weights);
        f16_to_f32(halves, &mut floats);
        simd::load(self, &floats[..S::F32_LANES])
    }

    #[inline(always)]
    fn multiply_add(self, input: f32, weights: S::f32s, sums: S::f32s) -> S::f32s {
        simd::multiply_add(self, self.splat_f32s(input), weights, sums)
    }
}

/// Weights in bf16 pairs. A vector of pairs is kept in the bits of an f32 vector.
#[cfg(target_arch = "x86_64")]
impl MultiplyAdd<Bf16Pair> for Avx512Bf16 {
    type Simd = V4;
    type Input = Bf16Pair;

    #[inline(always)]
    fn simd(self) -> V4 {
        self.v4()
    }

    #[inline(always)]
    fn enable<F: NullaryFnOnce>(self, work: F) -> F::Output {
        with_avx512_bf16(self, work)
    }

    #[inline(always)]
    fn load_weights(self, weights: &[Bf16Pair]) -> f32x16 {
        self.v4().transmute_f32s_u32s(V4::as_simd_u32s(weights).0[0])
    }

    #[inline(always)]
    fn multiply_add(self, input: Bf16Pair, weights: f32x16, sums: f32x16) -> f32x16 {
        use std::arch::x86_64::{__m512, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_set1_epi32};
        use std::mem::transmute;
        // SAFETY: `self` proves that the processor has the features of both intrinsics, avx512f and avx512bf16. The
        // transmuted types are 512 bits each, of which every pattern is valid.
        let sums: __m512 = unsafe {
            let input = transmute::<__m512i, __m512bh>(_mm512_set1_epi32(input.cast_signed()));
            _mm512_dpbf16_ps(pulp::cast(sums), input, transmute::<f32x16, __m512bh>(weights))
        };
        pulp::cast(sums)
    }
}

/// Cannot be called, since the token has no values here.
#[cfg(not(target_arch = "x86_64"))]
impl MultiplyAdd<Bf16Pair> for Avx512Bf16 {
    type Simd = pulp::Scalar128b;
    type Input = Bf16Pair;

    fn simd(self) -> Self::Simd {
        match self {}
    }

    fn enable<F: NullaryFnOnce>(self, work: F) -> F::Output {
        with_avx512_bf16(self, work)
    }

    fn load_weights(self, _: &[Bf16Pair]) -> Vector<Self, Bf16Pair> {
        match self {}
    }

    fn multiply_add(self, _: Bf16Pair, _: Vector<Self, Bf16Pair>, _: Vector<Self, Bf16Pair>) -> Vector<Self, Bf16Pair> {
        match self {}
    }
}
