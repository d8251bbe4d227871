//! Peak rate of a core: fused multiply-adds without memory access.

/// Rounds of [`multiply_adds`].
const ROUNDS: usize = 100_000;

/// Registers that sum independently: more than the multiply-adds that a core has under way at once (two units, four
/// cycles each), fewer than there are registers.
const SUMS: usize = 12;

/// Performs multiply-adds of 32-bit floats with the widest SIMD registers of this processor, and returns how many; 0 on
/// processors other than x86-64 with AVX2.
pub fn multiply_adds() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the processor has the instructions.
            return unsafe { x86::avx512() };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor has the instructions.
            return unsafe { x86::avx2() };
        }
    }
    0
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{_mm256_fmadd_ps, _mm256_set1_ps, _mm512_fmadd_ps, _mm512_set1_ps};
    use std::hint::black_box;

    use super::{ROUNDS, SUMS};

    #[target_feature(enable = "avx512f")]
    pub fn avx512() -> usize {
        let (factor, term) = (black_box(_mm512_set1_ps(0.5)), black_box(_mm512_set1_ps(1.0)));
        let mut sums = [_mm512_set1_ps(0.0); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm512_fmadd_ps(*sum, factor, term);
            }
        }
        black_box(sums);
        ROUNDS * SUMS * 16
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn avx2() -> usize {
        let (factor, term) = (black_box(_mm256_set1_ps(0.5)), black_box(_mm256_set1_ps(1.0)));
        let mut sums = [_mm256_set1_ps(0.0); SUMS];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                *sum = _mm256_fmadd_ps(*sum, factor, term);
            }
        }
        black_box(sums);
        ROUNDS * SUMS * 8
    }
}
