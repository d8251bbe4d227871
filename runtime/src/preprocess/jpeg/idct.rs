//! Inverse DCT (T.81, A.3.3) of all blocks of a component, to samples.

use std::f32::consts::FRAC_1_SQRT_2;

use pulp::{Arch, Simd, WithSimd};

use super::coefficients::Component;

/// The samples of a component of which every coefficient was kept, 0 to 255: `[blocks down * 8, blocks across * 8]`.
pub fn samples(component: &Component) -> Vec<u8> {
    Arch::new().dispatch(Samples(component))
}

struct Samples<'a>(&'a Component);

impl WithSimd for Samples<'_> {
    type Output = Vec<u8>;

    /// Vectorised by the compiler, for the instruction set that [`Arch`] detects.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Vec<u8> {
        let Component { layout, coefficients, .. } = self.0;
        let stride = layout.stride();
        let mut samples = vec![0; stride * layout.rows()];
        for (rows, coefficients) in samples.chunks_exact_mut(8 * stride).zip(coefficients.chunks_exact(8 * stride)) {
            for column in (0..stride).step_by(8) {
                let line = |row: usize| *coefficients[row * stride + column..].first_chunk::<8>().expect("a block");
                let block: Block = std::array::from_fn(|row| line(row).map(f32::from));
                let block = inverse(&transpose(&inverse(&block)));
                for (row, values) in transpose(&block).iter().enumerate() {
                    rows[row * stride + column..][..8].copy_from_slice(&values.map(byte));
                }
            }
        }
        samples
    }
}

/// Eight rows of eight values.
type Block = [[f32; 8]; 8];

/// A value rounded and shifted by 128 (T.81, A.3.1). 2^23 leaves no bits for a fraction, so that the lowest byte of the
/// sum is the rounded value.
#[inline(always)]
fn byte(value: f32) -> u8 {
    ((value + 128.0).clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8
}

/// `0.5 * cos(k * pi / 16)`.
const COSINES: [f32; 8] =
    [0.5, 0.490_392_64, 0.461_939_77, 0.415_734_8, 0.353_553_39, 0.277_785_12, 0.191_341_72, 0.097_545_16];

/// The one-dimensional inverse DCT of each column: even frequencies are symmetric about the middle, odd ones
/// antisymmetric.
#[inline(always)]
fn inverse(block: &Block) -> Block {
    let [_, c1, c2, c3, _, c5, c6, c7] = COSINES;
    let mut output = [[0.0; 8]; 8];
    for column in 0..8 {
        let [f0, f1, f2, f3, f4, f5, f6, f7] = [0, 1, 2, 3, 4, 5, 6, 7].map(|row: usize| block[row][column]);
        let (sum, difference) = (0.5 * FRAC_1_SQRT_2 * (f0 + f4), 0.5 * FRAC_1_SQRT_2 * (f0 - f4));
        let (outer, inner) = (c2 * f2 + c6 * f6, c6 * f2 - c2 * f6);
        let even = [sum + outer, difference + inner, difference - inner, sum - outer];
        let odd = [
            c1 * f1 + c3 * f3 + c5 * f5 + c7 * f7,
            c3 * f1 - c7 * f3 - c1 * f5 - c5 * f7,
            c5 * f1 - c1 * f3 + c7 * f5 + c3 * f7,
            c7 * f1 - c5 * f3 + c3 * f5 - c1 * f7,
        ];
        for row in 0..4 {
            output[row][column] = even[row] + odd[row];
            output[7 - row][column] = even[row] - odd[row];
        }
    }
    output
}

#[inline(always)]
fn transpose(block: &Block) -> Block {
    std::array::from_fn(|row| std::array::from_fn(|column| block[column][row]))
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    #[expect(clippy::needless_range_loop, reason = "the names are those of the formula")]
    #[test]
    fn blocks_are_those_of_the_standards_formula() {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as f32 - 128.0
        };
        for _ in 0..50 {
            let block: Block = std::array::from_fn(|_| std::array::from_fn(|_| next()));
            let found = transpose(&inverse(&transpose(&inverse(&block))));
            for y in 0..8 {
                for x in 0..8 {
                    let mut expected = 0.0;
                    for v in 0..8 {
                        for u in 0..8 {
                            let scale = |k: usize| if k == 0 { 0.5_f64.sqrt() } else { 1.0 };
                            let cosine = |n: usize, k: usize| ((2 * n + 1) as f64 * k as f64 * PI / 16.0).cos();
                            expected +=
                                scale(u) * scale(v) / 4.0 * f64::from(block[v][u]) * cosine(x, u) * cosine(y, v);
                        }
                    }
                    assert!((f64::from(found[y][x]) - expected).abs() < 1e-3, "{} for {expected}", found[y][x]);
                }
            }
        }
        assert_eq!([-1000.0, -128.0, -127.6, 0.4, 126.6, 900.0].map(byte), [0, 0, 0, 128, 255, 255]);
    }
}
