//! The integer vectors of x86-64: AVX-512 VNNI, AVX-VNNI and AVX2.
#![expect(unsafe_code, reason = "intrinsics need a processor that has them, which a token proves")]

use std::arch::x86_64::*;

use super::vectors::{DOT, GROUP, Kernel, Vectors};

token!(
    /// `vpdpbusd` on 512 bits.
    Avx512Vnni,
    "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni",
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512vnni")
);
token!(
    /// `vpdpbusd` on 256 bits, in VEX encoding.
    AvxVnni,
    "avx2,fma,avxvnni",
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("avxvnni")
);
token!(
    /// Multiplications of 16-bit integers on 256 bits.
    Avx2,
    "avx2,fma",
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
);

impl Vectors for Avx512Vnni {
    const LANES: usize = 16;
    const MR: usize = 6;
    const ACTIVATION_OFFSET: i32 = 0;
    type I32 = __m512i;
    type F32 = __m512;
    type Activations = __m512i;
    type Weights = __m512i;

    #[inline(always)]
    fn load_i32(self, values: &[i32]) -> __m512i {
        proven!(_mm512_loadu_si512(values[..16].as_ptr().cast()))
    }

    #[inline(always)]
    fn load_f32(self, values: &[f32]) -> __m512 {
        proven!(_mm512_loadu_ps(values[..16].as_ptr()))
    }

    #[inline(always)]
    fn broadcast(self, activations: [u8; DOT]) -> __m512i {
        proven!(_mm512_set1_epi32(i32::from_le_bytes(activations)))
    }

    #[inline(always)]
    fn interleave(self, rows: [&[u8]; 3]) -> [__m512i; GROUP] {
        proven! {
            let above = _mm512_loadu_si512(rows[0][..64].as_ptr().cast());
            let centre = _mm512_loadu_si512(rows[1][..64].as_ptr().cast());
            let below = _mm512_loadu_si512(rows[2][..64].as_ptr().cast());
            let (low, high) = (_mm512_unpacklo_epi8(above, centre), _mm512_unpackhi_epi8(above, centre));
            let zero = _mm512_setzero_si512();
            let (low_below, high_below) = (_mm512_unpacklo_epi8(below, zero), _mm512_unpackhi_epi8(below, zero));
            [
                _mm512_unpacklo_epi16(low, low_below),
                _mm512_unpackhi_epi16(low, low_below),
                _mm512_unpacklo_epi16(high, high_below),
                _mm512_unpackhi_epi16(high, high_below),
            ]
        }
    }

    #[inline(always)]
    fn pack_weights(self, weights: &[[i8; DOT]], packed: &mut [i8]) {
        packed.copy_from_slice(weights.as_flattened());
    }

    #[inline(always)]
    fn load_weights(self, weights: &[i8]) -> __m512i {
        proven!(_mm512_loadu_si512(weights[..64].as_ptr().cast()))
    }

    #[inline(always)]
    fn dot(self, sums: __m512i, activations: __m512i, weights: __m512i) -> __m512i {
        proven!(_mm512_dpbusd_epi32(sums, activations, weights))
    }

    #[inline(always)]
    fn requantize(self, sums: __m512i, scale: __m512, zero_point: i32) -> __m512i {
        proven! {
            let scaled = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(sums), scale));
            _mm512_add_epi32(scaled, _mm512_set1_epi32(zero_point))
        }
    }

    #[inline(always)]
    fn store_group(self, [a, b, c, d]: [__m512i; GROUP], bytes: &mut [u8]) {
        proven! {
            let packed = _mm512_packus_epi16(_mm512_packs_epi32(a, b), _mm512_packs_epi32(c, d));
            _mm512_storeu_si512(bytes[..64].as_mut_ptr().cast(), packed);
        }
    }

    #[inline(always)]
    fn store_vector(self, values: __m512i, bytes: &mut [u8]) {
        proven! {
            let packed = _mm512_cvtusepi32_epi8(_mm512_max_epi32(values, _mm512_setzero_si512()));
            _mm_storeu_si128(bytes[..16].as_mut_ptr().cast(), packed);
        }
    }
}

/// Operations on 256 bits that AVX-VNNI and AVX2 share.
macro_rules! avx2_vectors {
    () => {
        const LANES: usize = 8;
        const ACTIVATION_OFFSET: i32 = 0;
        type I32 = __m256i;
        type F32 = __m256;

        #[inline(always)]
        fn load_i32(self, values: &[i32]) -> __m256i {
            proven!(_mm256_loadu_si256(values[..8].as_ptr().cast()))
        }

        #[inline(always)]
        fn load_f32(self, values: &[f32]) -> __m256 {
            proven!(_mm256_loadu_ps(values[..8].as_ptr()))
        }

        #[inline(always)]
        fn requantize(self, sums: __m256i, scale: __m256, zero_point: i32) -> __m256i {
            proven! {
                let scaled = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(sums), scale));
                _mm256_add_epi32(scaled, _mm256_set1_epi32(zero_point))
            }
        }

        #[inline(always)]
        fn store_group(self, [a, b, c, d]: [__m256i; GROUP], bytes: &mut [u8]) {
            proven! {
                let packed = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
                _mm256_storeu_si256(bytes[..32].as_mut_ptr().cast(), packed);
            }
        }

        #[inline(always)]
        fn store_vector(self, values: __m256i, bytes: &mut [u8]) {
            proven! {
                let words = _mm256_packs_epi32(values, values);
                let packed = _mm256_packus_epi16(words, words);
                let (low, high) = (_mm256_castsi256_si128(packed), _mm256_extracti128_si256::<1>(packed));
                _mm_storel_epi64(bytes[..8].as_mut_ptr().cast(), _mm_unpacklo_epi32(low, high));
            }
        }
    };
}

/// Activations of three rows, four bytes a channel.
#[inline(always)]
fn interleave_256(rows: [&[u8]; 3]) -> [__m256i; GROUP] {
    proven! {
        let above = _mm256_loadu_si256(rows[0][..32].as_ptr().cast());
        let centre = _mm256_loadu_si256(rows[1][..32].as_ptr().cast());
        let below = _mm256_loadu_si256(rows[2][..32].as_ptr().cast());
        let (low, high) = (_mm256_unpacklo_epi8(above, centre), _mm256_unpackhi_epi8(above, centre));
        let zero = _mm256_setzero_si256();
        let (low_below, high_below) = (_mm256_unpacklo_epi8(below, zero), _mm256_unpackhi_epi8(below, zero));
        [
            _mm256_unpacklo_epi16(low, low_below),
            _mm256_unpackhi_epi16(low, low_below),
            _mm256_unpacklo_epi16(high, high_below),
            _mm256_unpackhi_epi16(high, high_below),
        ]
    }
}

impl Vectors for AvxVnni {
    avx2_vectors!();
    const MR: usize = 3;
    type Activations = __m256i;
    type Weights = __m256i;

    #[inline(always)]
    fn broadcast(self, activations: [u8; DOT]) -> __m256i {
        proven!(_mm256_set1_epi32(i32::from_le_bytes(activations)))
    }

    #[inline(always)]
    fn interleave(self, rows: [&[u8]; 3]) -> [__m256i; GROUP] {
        interleave_256(rows)
    }

    #[inline(always)]
    fn pack_weights(self, weights: &[[i8; DOT]], packed: &mut [i8]) {
        packed.copy_from_slice(weights.as_flattened());
    }

    #[inline(always)]
    fn load_weights(self, weights: &[i8]) -> __m256i {
        proven!(_mm256_loadu_si256(weights[..32].as_ptr().cast()))
    }

    #[inline(always)]
    fn dot(self, sums: __m256i, activations: __m256i, weights: __m256i) -> __m256i {
        proven!(_mm256_dpbusd_avx_epi32(sums, activations, weights))
    }
}

/// The even and the odd bytes of a vector, widened to 16 bits: `vpmaddubsw`, which multiplies bytes, would saturate.
/// Weights are packed in 16 bits.
#[derive(Clone, Copy)]
pub struct Widened {
    even: __m256i,
    odd: __m256i,
}

impl Avx2 {
    #[inline(always)]
    fn widen_activations(self, activations: __m256i) -> Widened {
        proven! {
            Widened {
                even: _mm256_and_si256(activations, _mm256_set1_epi16(0xff)),
                odd: _mm256_srli_epi16::<8>(activations),
            }
        }
    }
}

impl Vectors for Avx2 {
    avx2_vectors!();
    const MR: usize = 3;
    const WEIGHT_LEN: usize = 64;
    type Activations = Widened;
    type Weights = Widened;

    #[inline(always)]
    fn broadcast(self, activations: [u8; DOT]) -> Widened {
        proven! {
            self.widen_activations(_mm256_set1_epi32(i32::from_le_bytes(activations)))
        }
    }

    #[inline(always)]
    fn interleave(self, rows: [&[u8]; 3]) -> [Widened; GROUP] {
        let interleaved = interleave_256(rows);
        array!(GROUP, |vector| self.widen_activations(interleaved[vector]))
    }

    #[inline(always)]
    fn pack_weights(self, weights: &[[i8; DOT]], packed: &mut [i8]) {
        let (even, odd) = packed.split_at_mut(32);
        let pairs = even.as_chunks_mut::<DOT>().0.iter_mut().zip(odd.as_chunks_mut::<DOT>().0);
        for (weights, (even, odd)) in weights.iter().zip(pairs) {
            let widened = weights.map(|weight| i16::from(weight).to_le_bytes().map(|byte| byte as i8));
            even.copy_from_slice([widened[0], widened[2]].as_flattened());
            odd.copy_from_slice([widened[1], widened[3]].as_flattened());
        }
    }

    #[inline(always)]
    fn load_weights(self, packed: &[i8]) -> Widened {
        proven! {
            Widened {
                even: _mm256_loadu_si256(packed[..32].as_ptr().cast()),
                odd: _mm256_loadu_si256(packed[32..64].as_ptr().cast()),
            }
        }
    }

    #[inline(always)]
    fn dot(self, sums: __m256i, activations: Widened, weights: Widened) -> __m256i {
        proven! {
            let even = _mm256_madd_epi16(activations.even, weights.even);
            let odd = _mm256_madd_epi16(activations.odd, weights.odd);
            _mm256_add_epi32(sums, _mm256_add_epi32(even, odd))
        }
    }
}
