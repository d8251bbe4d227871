//! Conversions of 16-bit floats: IEEE f16 to f32, and f32 to bf16 with round-to-nearest-even.
//!
//! Both are branch-free, so that the compiler vectorises loops over them on every processor, with or without F16C.

/// Two bf16 in 32 bits: the first in the lower half, the second in the upper half. A bf16 is the upper half of an f32.
pub type Bf16Pair = u32;

/// Rounds two f32 to bf16: to the nearest, ties to even. NaN stays NaN.
#[inline(always)]
pub fn round_to_bf16(values: [f32; 2]) -> Bf16Pair {
    let [low, high] = values.map(|value| {
        let bits = value.to_bits();
        // A NaN whose payload lies in the lower half only would become infinity.
        if value.is_nan() { bits | 1 << 22 } else { bits + 0x7fff + (bits >> 16 & 1) }
    });
    low >> 16 | high & 0xffff_0000
}

/// Converts little-endian f16 to f32; exact.
#[inline(always)]
pub fn f16_to_f32(halves: &[[u8; 2]], floats: &mut [f32]) {
    floats.iter_mut().zip(halves).for_each(|(float, half)| *float = f16_bytes_to_f32(*half));
}

/// Converts one little-endian f16 to f32; exact.
#[inline(always)]
pub fn f16_bytes_to_f32(half: [u8; 2]) -> f32 {
    let bits = u32::from(u16::from_le_bytes(half));
    let [sign, magnitude] = [bits & 0x8000, bits & 0x7fff];
    // Shifts exponent and fraction to their positions in an f32, then corrects the exponent bias; a multiplication also
    // normalises subnormals.
    let float = f32::from_bits(sign << 16 | magnitude << 13) * EXPONENT_BIAS_RATIO;
    // Infinity and NaN have all exponent bits set.
    f32::from_bits(float.to_bits() | if magnitude < 0x7c00 { 0 } else { 0x7f80_0000 })
}

/// `2^(127 - 15)`: the exponent biases of f32 and f16.
const EXPONENT_BIAS_RATIO: f32 = f32::from_bits((127 + 127 - 15) << 23);

#[cfg(test)]
mod tests {
    use half::{bf16, f16};

    use super::*;

    #[test]
    fn every_f16_keeps_its_value_as_f32() {
        for value in (0..=u16::MAX).map(f16::from_bits) {
            let [found, expected] = [f16_bytes_to_f32(value.to_le_bytes()), f32::from(value)];
            assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(), "{value}: {found}");
        }
    }

    #[test]
    fn rounding_to_bf16_is_that_of_the_crate_half() {
        // Every upper half, with lower halves around the tie and at both ends.
        for upper in 0..=u16::MAX {
            for lower in [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff] {
                let value = f32::from_bits(u32::from(upper) << 16 | lower);
                let pair = round_to_bf16([value, -value]);
                let expected = [value, -value].map(|value| bf16::from_f32(value).to_bits());
                assert_eq!([pair as u16, (pair >> 16) as u16], expected, "{value}");
            }
        }
    }
}
