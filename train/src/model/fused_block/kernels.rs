//! The loops of a block that are not matrix products: depthwise convolution, ReLU6, their gradients, and sums over rows.
//!
//! The hot ones are plain loops that the compiler vectorises for each instruction set of [`Arch`] (SSE2, AVX2, AVX-512,
//! NEON). They multiply and add in separate steps, never fused, so that every instruction set gives the same bits.

use pulp::{Arch, Simd, WithSimd};

use super::geometry::{Geometry, KERNEL_TAPS};

/// The upper bound of the activations: ReLU6, `min(max(x, 0), 6)`, which keeps features in the range of low-precision
/// numbers (Howard et al., "MobileNets: efficient convolutional neural networks for mobile vision applications", 2017).
pub const RELU6_MAX: f32 = 6.0;

/// Adds the depthwise convolution of one poster to `y`.
///
/// # Shapes
/// - x: `[height, width, expanded]`
/// - kernels: `[9, expanded]`
/// - y: `[output height, output width, expanded]`
pub fn add_depthwise(arch: Arch, x: &[f32], kernels: &[f32], geometry: Geometry, y: &mut [f32]) {
    struct Depthwise<'a> {
        x: &'a [f32],
        kernels: &'a [f32],
        geometry: Geometry,
        y: &'a mut [f32],
    }
    impl WithSimd for Depthwise<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let channels = self.geometry.expanded;
            let [_, columns] = self.geometry.output_size();
            for (pixel, y) in self.y.chunks_exact_mut(channels).enumerate() {
                for (tap, index) in self.geometry.taps(pixel / columns, pixel % columns) {
                    let x = &self.x[index * channels..][..channels];
                    let kernel = &self.kernels[tap * channels..][..channels];
                    for ((y, x), weight) in y.iter_mut().zip(x).zip(kernel) {
                        *y += x * weight;
                    }
                }
            }
        }
    }
    arch.dispatch(Depthwise { x, kernels, geometry, y });
}

/// Adds the gradients of [`add_depthwise`]'s input and kernels, from that of its result, to `dx` and `d_kernels`.
///
/// # Shapes
/// As for [`add_depthwise`]; a gradient has the shape of what it belongs to.
pub fn add_depthwise_gradients(
    arch: Arch,
    x: &[f32],
    kernels: &[f32],
    dy: &[f32],
    geometry: Geometry,
    dx: &mut [f32],
    d_kernels: &mut [f32],
) {
    struct Gradients<'a> {
        x: &'a [f32],
        kernels: &'a [f32],
        dy: &'a [f32],
        geometry: Geometry,
        dx: &'a mut [f32],
        d_kernels: &'a mut [f32],
    }
    impl WithSimd for Gradients<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            let channels = self.geometry.expanded;
            let [_, columns] = self.geometry.output_size();
            for (pixel, dy) in self.dy.chunks_exact(channels).enumerate() {
                for (tap, index) in self.geometry.taps(pixel / columns, pixel % columns) {
                    let (at, weights) = (index * channels, tap * channels);
                    let (x, dx) = (&self.x[at..][..channels], &mut self.dx[at..][..channels]);
                    let kernel = &self.kernels[weights..][..channels];
                    let d_kernel = &mut self.d_kernels[weights..][..channels];
                    for ((dx, dy), weight) in dx.iter_mut().zip(dy).zip(kernel) {
                        *dx += dy * weight;
                    }
                    for ((d_kernel, dy), x) in d_kernel.iter_mut().zip(dy).zip(x) {
                        *d_kernel += dy * x;
                    }
                }
            }
        }
    }
    arch.dispatch(Gradients { x, kernels, dy, geometry, dx, d_kernels });
}

/// ReLU6 in place.
pub fn relu6(arch: Arch, values: &mut [f32]) {
    struct Relu6<'a>(&'a mut [f32]);
    impl WithSimd for Relu6<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            for value in self.0 {
                *value = value.clamp(0.0, RELU6_MAX);
            }
        }
    }
    arch.dispatch(Relu6(values));
}

/// Turns the gradients of [`relu6`]'s results into those of its inputs, in place: `outputs` are the results, of the same
/// length.
pub fn relu6_backward(arch: Arch, outputs: &[f32], gradients: &mut [f32]) {
    struct Relu6Backward<'a> {
        outputs: &'a [f32],
        gradients: &'a mut [f32],
    }
    impl WithSimd for Relu6Backward<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) {
            for (gradient, output) in self.gradients.iter_mut().zip(self.outputs) {
                *gradient = if *output > 0.0 && *output < RELU6_MAX { *gradient } else { 0.0 };
            }
        }
    }
    arch.dispatch(Relu6Backward { outputs, gradients });
}

/// Appends `len` values to `rows`: copies of `row`.
pub fn extend_with_row(rows: &mut Vec<f32>, row: &[f32], len: usize) {
    rows.reserve(len);
    for _ in 0..len / row.len() {
        rows.extend_from_slice(row);
    }
}

/// Adds every row of `rows`, `[n, sum.len()]`, to `sum`.
pub fn add_rows(rows: &[f32], sum: &mut [f32]) {
    for row in rows.chunks_exact(sum.len()) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}

/// Depthwise kernels `[channels, 9]`, as burn stores them, as `[9, channels]`, as [`add_depthwise`] reads them.
pub fn taps_first(kernels: &[f32]) -> Vec<f32> {
    transposed(kernels, kernels.len() / KERNEL_TAPS)
}

/// Depthwise kernels `[9, channels]` as `[channels, 9]`.
pub fn channels_first(kernels: &[f32]) -> Vec<f32> {
    transposed(kernels, KERNEL_TAPS)
}

/// The transpose of a row-major matrix of `rows` rows.
fn transposed(values: &[f32], rows: usize) -> Vec<f32> {
    let columns = values.len() / rows;
    (0..values.len()).map(|index| values[index % rows * columns + index / rows]).collect()
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;

    use super::super::geometry::same_padding;
    use super::*;

    /// The instruction sets of this processor.
    fn archs() -> Vec<Arch> {
        let mut archs = vec![Arch::Scalar, Arch::new()];
        #[cfg(target_arch = "x86_64")]
        archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
        archs
    }

    fn random(len: usize, seed: u64) -> Vec<f32> {
        let mut random = Pcg32::seed_from_u64(seed);
        (0..len).map(|_| random.random_range(-8.0..8.0)).collect()
    }

    /// Output index, tap, and input index of every product of a depthwise convolution, by its definition.
    fn products(geometry: Geometry) -> Vec<[usize; 3]> {
        let Geometry { height, width, expanded, stride, .. } = geometry;
        let [rows, columns] = geometry.output_size();
        let (top, left) = (same_padding(height, stride).0, same_padding(width, stride).0);
        let mut products = Vec::new();
        for index in 0..rows * columns * expanded {
            let (pixel, channel) = (index / expanded, index % expanded);
            for tap in 0..KERNEL_TAPS {
                let y = pixel / columns * stride + tap / 3;
                let x = pixel % columns * stride + tap % 3;
                if (top..top + height).contains(&y) && (left..left + width).contains(&x) {
                    let input = ((y - top) * width + x - left) * expanded + channel;
                    products.push([index, tap * expanded + channel, input]);
                }
            }
        }
        products
    }

    #[test]
    fn depthwise_convolutions_give_the_bits_of_a_plain_loop_on_every_instruction_set() {
        for (height, width, expanded, stride) in [(1, 1, 1, 1), (4, 5, 16, 1), (5, 4, 33, 2), (6, 6, 96, 2)] {
            let geometry = Geometry { posters: 1, height, width, inputs: 1, expanded, outputs: 1, stride };
            let [_, x_len, y_len, _] = geometry.lens();
            let kernels_len = KERNEL_TAPS * expanded;
            let (x, kernels, dy) = (random(x_len, 1), random(kernels_len, 2), random(y_len, 3));
            let (y, dx, d_kernels) = (random(y_len, 4), random(x_len, 5), random(kernels_len, 6));
            let mut expected = (y.clone(), dx.clone(), d_kernels.clone());
            for [output, weight, input] in products(geometry) {
                expected.0[output] += x[input] * kernels[weight];
                expected.1[input] += dy[output] * kernels[weight];
                expected.2[weight] += dy[output] * x[input];
            }
            for arch in archs() {
                let (mut y, mut dx, mut d_kernels) = (y.clone(), dx.clone(), d_kernels.clone());
                add_depthwise(arch, &x, &kernels, geometry, &mut y);
                add_depthwise_gradients(arch, &x, &kernels, &dy, geometry, &mut dx, &mut d_kernels);
                let case = format!("{height} x {width} x {expanded}, stride {stride}, {arch:?}");
                assert_eq!(y, expected.0, "output, {case}");
                assert_eq!(dx, expected.1, "gradient of the input, {case}");
                assert_eq!(d_kernels, expected.2, "gradient of the kernels, {case}");
            }
        }
    }

    #[test]
    fn relu6_and_its_gradient() {
        let cases = [(-1.0, 0.0, 0.0), (0.0, 0.0, 0.0), (2.5, 2.5, 1.0), (6.0, 6.0, 0.0), (7.0, 6.0, 0.0)];
        for arch in archs() {
            // More than a vector, and not a multiple of one.
            let inputs: Vec<f32> = cases.iter().cycle().take(37).map(|(input, ..)| *input).collect();
            let mut outputs = inputs.clone();
            relu6(arch, &mut outputs);
            let mut gradients = vec![1.0; outputs.len()];
            relu6_backward(arch, &outputs, &mut gradients);
            for (index, (input, output, gradient)) in cases.iter().cycle().take(37).enumerate() {
                assert_eq!((outputs[index], gradients[index]), (*output, *gradient), "{input}, {arch:?}");
            }
        }
    }

    #[test]
    fn rows_and_transposes() {
        let mut rows = vec![9.0];
        extend_with_row(&mut rows, &[1.0, 2.0], 6);
        assert_eq!(rows, [9.0, 1.0, 2.0, 1.0, 2.0, 1.0, 2.0]);
        let mut sum = [10.0, 20.0];
        add_rows(&rows[1..], &mut sum);
        assert_eq!(sum, [13.0, 26.0]);
        assert_eq!(transposed(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 2), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
        let kernels = random(5 * KERNEL_TAPS, 1);
        let by_tap = taps_first(&kernels);
        assert_eq!((by_tap[1], by_tap[5]), (kernels[KERNEL_TAPS], kernels[1]));
        assert_eq!(channels_first(&by_tap), kernels);
    }
}
