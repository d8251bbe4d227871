//! SIMD helpers over pulp's vectors: f32 multiply-add, and loads and stores of vectors that may be partial.

use pulp::Simd;

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
