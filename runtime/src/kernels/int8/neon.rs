//! The integer vectors of 64-bit ARM: NEON with and without `sdot`.
//!
//! `sdot` and `smull` multiply signed bytes: activations are shifted by -128, and the packed bias makes up for it.
#![expect(unsafe_code, reason = "intrinsics need a processor that has them, which a token proves")]

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use super::vectors::{DOT, GROUP, Kernel, Vectors};

/// The vectors of a token; `$dot` is its [`Vectors::dot`].
macro_rules! vectors {
    ($name:ident, $dot:ident) => {
        impl Vectors for $name {
            const LANES: usize = 4;
            const MR: usize = 6;
            const ACTIVATION_OFFSET: i32 = 128;
            type I32 = int32x4_t;
            type F32 = float32x4_t;
            type Activations = int8x16_t;
            type Weights = int8x16_t;

            #[inline(always)]
            fn load_i32(self, values: &[i32]) -> int32x4_t {
                proven!(vld1q_s32(values[..4].as_ptr()))
            }

            #[inline(always)]
            fn load_f32(self, values: &[f32]) -> float32x4_t {
                proven!(vld1q_f32(values[..4].as_ptr()))
            }

            #[inline(always)]
            fn broadcast(self, activations: [u8; DOT]) -> int8x16_t {
                proven!(signed(vreinterpretq_u8_u32(vdupq_n_u32(u32::from_le_bytes(activations)))))
            }

            #[inline(always)]
            fn interleave(self, rows: [&[u8]; 3]) -> [int8x16_t; GROUP] {
                proven! {
                    let above = signed(vld1q_u8(rows[0][..16].as_ptr()));
                    let centre = signed(vld1q_u8(rows[1][..16].as_ptr()));
                    let below = signed(vld1q_u8(rows[2][..16].as_ptr()));
                    let (low, high) = (vzip1q_s8(above, centre), vzip2q_s8(above, centre));
                    let zero = vdupq_n_s8(0);
                    let (low_below, high_below) = (vzip1q_s8(below, zero), vzip2q_s8(below, zero));
                    let (low, low_below) = (vreinterpretq_s16_s8(low), vreinterpretq_s16_s8(low_below));
                    let (high, high_below) = (vreinterpretq_s16_s8(high), vreinterpretq_s16_s8(high_below));
                    [
                        vreinterpretq_s8_s16(vzip1q_s16(low, low_below)),
                        vreinterpretq_s8_s16(vzip2q_s16(low, low_below)),
                        vreinterpretq_s8_s16(vzip1q_s16(high, high_below)),
                        vreinterpretq_s8_s16(vzip2q_s16(high, high_below)),
                    ]
                }
            }

            #[inline(always)]
            fn load_weights(self, weights: &[i8]) -> int8x16_t {
                proven!(vld1q_s8(weights[..16].as_ptr()))
            }

            #[inline(always)]
            fn dot(self, sums: int32x4_t, activations: int8x16_t, weights: int8x16_t) -> int32x4_t {
                proven!($dot(sums, activations, weights))
            }

            #[inline(always)]
            fn requantize(self, sums: int32x4_t, scale: float32x4_t, zero_point: i32) -> int32x4_t {
                proven! {
                    let scaled = vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(sums), scale));
                    vaddq_s32(scaled, vdupq_n_s32(zero_point))
                }
            }

            #[inline(always)]
            fn store_group(self, [a, b, c, d]: [int32x4_t; GROUP], bytes: &mut [u8]) {
                proven! {
                    let low = vcombine_s16(vqmovn_s32(a), vqmovn_s32(b));
                    let high = vcombine_s16(vqmovn_s32(c), vqmovn_s32(d));
                    vst1q_u8(bytes[..16].as_mut_ptr(), vcombine_u8(vqmovun_s16(low), vqmovun_s16(high)));
                }
            }

            #[inline(always)]
            fn store_vector(self, values: int32x4_t, bytes: &mut [u8]) {
                proven! {
                    let words = vqmovn_s32(values);
                    let packed = vqmovun_s16(vcombine_s16(words, words));
                    bytes[..4].copy_from_slice(&vget_lane_u32::<0>(vreinterpret_u32_u8(packed)).to_le_bytes());
                }
            }
        }
    };
}

token!(
    /// `sdot`: Cortex-A76 (Raspberry Pi 5) and later.
    NeonDotprod,
    "neon,dotprod",
    is_aarch64_feature_detected!("dotprod")
);
token!(
    /// `smull` and pairwise additions: Cortex-A53 and A72 (Raspberry Pi 3, 4 and Zero 2 W).
    Neon,
    "neon",
    is_aarch64_feature_detected!("neon")
);
vectors!(NeonDotprod, dot_sdot);
vectors!(Neon, dot_smull);

/// Bytes minus 128.
#[target_feature(enable = "neon")]
#[inline]
fn signed(bytes: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80)))
}

/// Four products a lane with one instruction.
#[target_feature(enable = "neon,dotprod")]
#[inline]
unsafe fn dot_sdot(mut sums: int32x4_t, activations: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: the instruction reads and writes these registers only. (Its intrinsic is not stable.)
    unsafe {
        asm!(
            "sdot {sums:v}.4s, {activations:v}.16b, {weights:v}.16b",
            sums = inout(vreg) sums,
            activations = in(vreg) activations,
            weights = in(vreg) weights,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sums
}

/// Four products a lane by 16-bit products. A product of signed bytes has at most 14 bits, and their sum in a pair 15.
#[target_feature(enable = "neon")]
#[inline]
fn dot_smull(sums: int32x4_t, activations: int8x16_t, weights: int8x16_t) -> int32x4_t {
    let low = vmull_s8(vget_low_s8(activations), vget_low_s8(weights));
    let high = vmull_high_s8(activations, weights);
    // Pairs are added in 32 bits, then neighbouring pairs.
    vaddq_s32(sums, vpaddq_s32(vpaddlq_s16(low), vpaddlq_s16(high)))
}
