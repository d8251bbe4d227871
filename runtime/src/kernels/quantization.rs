//! Affine quantisation of activations to 8 bits: ONNX `QuantizeLinear` and `DequantizeLinear` with one scale a tensor.

/// `value = (code - zero_point) * scale` for codes 0 to 255.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    /// Positive and finite.
    pub scale: f32,
    /// The code of the value 0.
    pub zero_point: u8,
}

impl Quantization {
    /// `round(value / scale) + zero_point`, ties to even, clamped to 0 to 255; NaN becomes the zero point.
    #[inline(always)]
    pub fn quantize(self, value: f32) -> u8 {
        ((value / self.scale).round_ties_even() as i32).saturating_add(self.zero_point.into()).clamp(0, 255) as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_rounded_to_even_and_saturate() {
        let quantization = Quantization { scale: 0.5, zero_point: 128 };
        for (value, code) in [
            (0.0, 128),
            (0.25, 128),
            (0.75, 130),
            (-0.25, 128),
            (-0.75, 126),
            (1e9, 255),
            (-1e9, 0),
            (f32::INFINITY, 255),
            (f32::NEG_INFINITY, 0),
            (f32::NAN, 128),
        ] {
            assert_eq!(quantization.quantize(value), code, "{value}");
        }
    }
}
