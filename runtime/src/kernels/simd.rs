//! Run-time dispatch to the processor's vectors (AVX-512, AVX2, NEON or four lanes), and helpers over pulp's vectors.

use pulp::{Arch, Scalar128b, Simd, WithSimd};

/// Runs `work` with the widest vectors of `arch`: AVX-512, AVX2 or NEON; else with vectors of four f32, which every
/// x86-64 processor has (SSE2).
pub fn dispatch<W: WithSimd>(arch: Arch, work: W) -> W::Output {
    match arch {
        Arch::Scalar => Simd::vectorize(Scalar128b, work),
        arch => arch.dispatch(work),
    }
}

/// Number of f32 lanes in a vector.
pub fn lanes(arch: Arch) -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    dispatch(arch, Lanes)
}

/// `a * b + c` in each lane. Processors without fused multiply-add round twice, since to emulate it would take a
/// function call.
#[inline(always)]
pub fn multiply_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if S::IS_SCALAR || cfg!(target_arch = "x86_64") && S::F32_LANES == 4 {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    } else {
        simd.mul_add_e_f32s(a, b, c)
    }
}

/// Loads at most one vector of `values`; lanes behind their end are zero.
#[inline(always)]
pub fn load<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    match S::as_simd_f32s(values).0 {
        [full] => *full,
        _ => simd.partial_load_f32s(values),
    }
}

/// Stores `vector`, or as many of its lanes as `values` has elements.
#[inline(always)]
pub fn store<S: Simd>(simd: S, vector: S::f32s, values: &mut [f32]) {
    match S::as_mut_simd_f32s(values).0 {
        [full] => *full = vector,
        _ => simd.partial_store_f32s(values, vector),
    }
}
