//! Conversion of f16 (IEEE 754 half precision) to f32.
//!
//! It is branch-free, so that the compiler vectorises loops over it on every processor, with or without F16C.

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
    use half::f16;

    use super::*;

    #[test]
    fn every_f16_keeps_its_value_as_f32() {
        for value in (0..=u16::MAX).map(f16::from_bits) {
            let [found, expected] = [f16_bytes_to_f32(value.to_le_bytes()), f32::from(value)];
            assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(), "{value}: {found}");
        }
    }
}
