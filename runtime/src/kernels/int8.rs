//! Integer layers: 8-bit activations and weights, sums in 32 bits, the same bits on every processor.
//!
//! Activations are codes 0 to 255 with a scale and a zero point a tensor, weights -127 to 127 with a scale an output
//! channel, as in an ONNX file with `QuantizeLinear` and `DequantizeLinear` (QDQ). A convolution adds products of codes
//! in 32-bit integers, exactly and in any order. The sum becomes a code of the output by one conversion to f32, one
//! multiplication and one rounding (ties to even), which IEEE 754 defines to the last bit; ONNX Runtime does the same.
//! Saturation is the clamp, so that ReLU6 costs nothing.
//!
//! | module | content |
//! |---|---|
//! | `vectors` | the operations that the layers are written in, and dispatch to the processor's instructions |
//! | `plain`, `x86`, `neon` | these operations in plain Rust, the reference, and by intrinsics |
//! | `pointwise`, `depthwise` | the layers |

/// An array of `$len` values of an expression in its index: [`std::array::from_fn`] without a closure, into which the compiler
/// would not inline intrinsics.
macro_rules! array {
    ($len:expr, |$index:ident| $value:expr) => {{
        let mut values = {
            let $index = 0;
            [$value; $len]
        };
        for $index in 1..$len {
            values[$index] = $value;
        }
        values
    }};
}

/// Evaluates intrinsics of a token's instruction set.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! proven {
    ($($body:tt)*) => {
        // SAFETY: a token exists only if `new` has found the instructions; every pointer is to a slice or an array that
        // has been checked to be as long as the access.
        unsafe { $($body)* }
    };
}

/// Defines a token, the proof that the processor has some instructions, and its dispatch.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! token {
    ($(#[$doc:meta])* $name:ident, $features:literal, $is_available:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name(());

        impl $name {
            /// The proof that this processor has the instructions, if it has.
            #[inline]
            pub fn new() -> Option<Self> {
                ($is_available).then_some(Self(()))
            }

            /// Runs `kernel` compiled for these instructions.
            pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
                #[target_feature(enable = $features)]
                fn run<K: Kernel>(token: $name, kernel: K) -> K::Output {
                    kernel.run(token)
                }
                proven!(run(self, kernel))
            }
        }
    };
}

mod depthwise;
#[cfg(target_arch = "aarch64")]
mod neon;
mod plain;
mod pointwise;
mod vectors;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use depthwise::Depthwise;
pub use pointwise::Pointwise;
pub use vectors::{DOT, Int8Isa};

use super::conv::Convolution;
use super::quantization::Quantization;
use super::weights::Weights;

/// The largest magnitude of a sum of products and bias. A sum of `i32` cannot overflow below it, and neither can it
/// when every activation is shifted by 128.
const MAX_SUM: i64 = 1 << 30;

/// The largest code that a sum may become before it is clamped, so that its conversion is exact on every processor.
const MAX_CODE: f32 = (1 << 30) as f32;

/// The parts of a quantised convolution that both layers pack.
struct Parts<'a> {
    /// `[outputs, row_len]`
    weights: &'a [i8],
    row_len: usize,
    /// `[outputs]`: the sum of the weights.
    sums: Vec<i32>,
    /// `[outputs]`: the bias less the input's zero point times the weights.
    bias: Vec<i32>,
    /// `[outputs]`: the output's codes a unit of the sum.
    scale: Vec<f32>,
    /// Of the output.
    output: Quantization,
}

impl<'a> Parts<'a> {
    /// The integers of `layer` for inputs that are quantised as `input`; none if the layer is not quantised, or sums or
    /// codes could leave their range, or a weight is -128.
    fn new(layer: &'a Convolution, input: Quantization) -> Option<Self> {
        let (Weights::I8(weights), Some(int8)) = (layer.weight, &layer.int8) else { return None };
        let outputs = int8.bias.len();
        let row_len = weights.len() / outputs;
        // A sum of magnitudes of a longer row could leave the range of i32, and two products of -128 that of i16.
        if row_len as i64 * 255 * 127 > MAX_SUM || weights.contains(&i8::MIN) {
            return None;
        }
        let (mut sums, mut bias, mut scale) = (Vec::new(), Vec::with_capacity(outputs), Vec::with_capacity(outputs));
        for ((row, bias_code), weight_scale) in weights.chunks_exact(row_len).zip(&int8.bias).zip(&int8.weight_scale) {
            let sum: i32 = row.iter().map(|weight| i32::from(*weight)).sum();
            let magnitude: i32 = row.iter().map(|weight| i32::from(weight.unsigned_abs())).sum();
            let code = i64::from(*bias_code) - i64::from(input.zero_point) * i64::from(sum);
            let factor = input.scale * weight_scale / int8.output.scale;
            let largest = code.abs() + 255 * i64::from(magnitude);
            if largest > MAX_SUM || !(factor * largest as f32).abs().le(&MAX_CODE) {
                return None;
            }
            sums.push(sum);
            bias.push(code as i32);
            scale.push(factor);
        }
        Some(Self { weights, row_len, sums, bias, scale, output: int8.output })
    }
}
