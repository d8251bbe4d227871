//! The integer vectors of 64-bit ARM: NEON with and without `sdot`.
//!
//! `sdot` and `smull` multiply signed bytes: activations are shifted by -128, and the packed bias makes up for it.
//! For `sdot` a lane's four bytes are neighbours. For `smull` and `smlal` a vector has the first two bytes of every
//! lane, then the last two, so that the four products of a lane meet in two 16-bit sums.
#![expect(unsafe_code, reason = "intrinsics need a processor that has them, which a token proves")]

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};

use super::vectors::{DOT, GROUP, Kernel, Vectors};

/// The vectors of a token; `$order` has the functions that depend on the order of a vector's bytes.
macro_rules! vectors {
    ($name:ident, $order:ident, $mr:literal) => {
        impl Vectors for $name {
            const LANES: usize = 4;
            const MR: usize = $mr;
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
                proven!(signed($order::broadcast(activations)))
            }

            #[inline(always)]
            fn interleave(self, rows: [&[u8]; 3]) -> [int8x16_t; GROUP] {
                proven! {
                    let above = signed(vld1q_u8(rows[0][..16].as_ptr()));
                    let centre = signed(vld1q_u8(rows[1][..16].as_ptr()));
                    let below = signed(vld1q_u8(rows[2][..16].as_ptr()));
                    let zero = vdupq_n_s8(0);
                    let [a, b] = $order::interleave(vzip1q_s8(above, centre), vzip1q_s8(below, zero));
                    let [c, d] = $order::interleave(vzip2q_s8(above, centre), vzip2q_s8(below, zero));
                    [a, b, c, d]
                }
            }

            #[inline(always)]
            fn pack_weights(self, weights: &[[i8; DOT]], packed: &mut [i8]) {
                $order::pack_weights(weights, packed);
            }

            #[inline(always)]
            fn load_weights(self, weights: &[i8]) -> int8x16_t {
                proven!(vld1q_s8(weights[..16].as_ptr()))
            }

            #[inline(always)]
            fn dot(self, sums: int32x4_t, activations: int8x16_t, weights: int8x16_t) -> int32x4_t {
                proven!($order::dot(sums, activations, weights))
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
vectors!(NeonDotprod, fours, 6);
// The products need a register of their own.
vectors!(Neon, pairs, 4);

/// Bytes minus 128.
#[target_feature(enable = "neon")]
#[inline]
fn signed(bytes: uint8x16_t) -> int8x16_t {
    vreinterpretq_s8_u8(veorq_u8(bytes, vdupq_n_u8(0x80)))
}

/// The four bytes of a lane side by side, for `sdot`.
mod fours {
    use super::*;

    #[target_feature(enable = "neon")]
    #[inline]
    pub fn broadcast(activations: [u8; DOT]) -> uint8x16_t {
        vreinterpretq_u8_u32(vdupq_n_u32(u32::from_le_bytes(activations)))
    }

    /// Two vectors from the first two and the last two bytes of eight lanes.
    #[target_feature(enable = "neon")]
    #[inline]
    pub fn interleave(first: int8x16_t, last: int8x16_t) -> [int8x16_t; 2] {
        let (first, last) = (vreinterpretq_s16_s8(first), vreinterpretq_s16_s8(last));
        [vreinterpretq_s8_s16(vzip1q_s16(first, last)), vreinterpretq_s8_s16(vzip2q_s16(first, last))]
    }

    #[inline(always)]
    pub fn pack_weights(weights: &[[i8; DOT]], packed: &mut [i8]) {
        packed.copy_from_slice(weights.as_flattened());
    }

    #[target_feature(enable = "neon,dotprod")]
    #[inline]
    pub unsafe fn dot(mut sums: int32x4_t, activations: int8x16_t, weights: int8x16_t) -> int32x4_t {
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
}

/// The first two bytes of every lane, then the last two, for `smull` and `smlal`.
mod pairs {
    use super::*;

    #[target_feature(enable = "neon")]
    #[inline]
    pub fn broadcast([a, b, c, d]: [u8; DOT]) -> uint8x16_t {
        let (first, last) = (vdup_n_u16(u16::from_le_bytes([a, b])), vdup_n_u16(u16::from_le_bytes([c, d])));
        vcombine_u8(vreinterpret_u8_u16(first), vreinterpret_u8_u16(last))
    }

    /// Two vectors from the first two and the last two bytes of eight lanes.
    #[target_feature(enable = "neon")]
    #[inline]
    pub fn interleave(first: int8x16_t, last: int8x16_t) -> [int8x16_t; 2] {
        let (first, last) = (vreinterpretq_s64_s8(first), vreinterpretq_s64_s8(last));
        [vreinterpretq_s8_s64(vzip1q_s64(first, last)), vreinterpretq_s8_s64(vzip2q_s64(first, last))]
    }

    #[inline(always)]
    pub fn pack_weights(weights: &[[i8; DOT]], packed: &mut [i8]) {
        let (first, last) = packed.split_at_mut(weights.len() * 2);
        for (lane, [a, b, c, d]) in weights.iter().enumerate() {
            first[lane * 2..][..2].copy_from_slice(&[*a, *b]);
            last[lane * 2..][..2].copy_from_slice(&[*c, *d]);
        }
    }

    /// A product of an activation and a weight is at least -128 * 127 and at most 127 * 128, and the sum of two fits 16
    /// bits, since no weight is -128.
    #[target_feature(enable = "neon")]
    #[inline]
    pub fn dot(sums: int32x4_t, activations: int8x16_t, weights: int8x16_t) -> int32x4_t {
        let products = vmull_s8(vget_low_s8(activations), vget_low_s8(weights));
        vpadalq_s16(sums, vmlal_high_s8(products, activations, weights))
    }
}
