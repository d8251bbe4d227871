//! Inverse DCT and triangle (bilinear) filter composed into one sparse matrix per axis.
//!
//! Let C be the coefficients of a component, `[rows, columns]`, a submatrix for each block. Its plane of the output is
//! `D C A^T`: row y of D, `[height, rows]`, is the response of the filter of output row y to each vertical DCT basis
//! function, and A, `[width, columns]`, the same for columns. Their rows are zero outside the few blocks under the
//! filter. Chroma upsampling is linear, too, and part of the matrices. [`paint`] converts YCbCr to RGB.

use pulp::{Arch, Simd, WithSimd};

use super::coefficients::{Component, Frame};
use super::colours::Colours;
use super::plan::{Layout, Plan};
use super::sampling::Sampling;
use crate::preprocess::rgb8::Rgb8Image;

/// The image of a frame of linear colours, resized to `size`: width and height in pixels.
pub fn resize(frame: &Frame, size: (u32, u32)) -> Rgb8Image {
    // Most often Cr has the layout of Cb.
    let mut matrices: Vec<(&Layout, BandMatrix, BandMatrix)> = Vec::new();
    for Component { layout, .. } in &frame.components {
        if matrices.iter().all(|(other, ..)| *other != layout) {
            let (sampling, kept) = (layout.sampling, layout.coefficients_per_side);
            let across = BandMatrix::new(frame.dimensions.0, size.0 as usize, sampling.0, kept.0);
            let down = BandMatrix::new(frame.dimensions.1, size.1 as usize, sampling.1, kept.1);
            matrices.push((layout, across, down));
        }
    }
    let mut output = Rgb8Image::new(size.0, size.1);
    Arch::new().dispatch(Resize { frame, matrices, output: &mut output });
    output
}

/// Bytes that [`resize`] takes at most on the heap, beside its result: the columns of a strip, its planes, and the
/// matrices, whose bands overlap by half and begin and end with whole blocks.
pub fn memory(plan: &Plan, (width, height): (u32, u32)) -> u64 {
    let columns = plan.layouts.iter().map(Layout::stride).max().unwrap_or(0) as u64;
    let outputs = u64::from(width) + u64::from(height);
    let matrix = |layout: &Layout| 16 * (layout.stride() + layout.rows()) as u64 + 160 * outputs;
    let matrices: u64 = plan.layouts.iter().map(matrix).sum();
    (STRIP as u64 * 4 + 8) * columns + (STRIP as u64 * 16) * u64::from(width) + matrices
}

/// Rows of the output that are computed at once: they fill SIMD vectors where the columns of a band would not.
const STRIP: usize = 16;

/// The values of one column of a strip.
type Column = [f32; STRIP];

struct Resize<'a> {
    frame: &'a Frame,
    /// For each layout, the matrices A (across) and D (down).
    matrices: Vec<(&'a Layout, BandMatrix, BandMatrix)>,
    output: &'a mut Rgb8Image,
}

impl WithSimd for Resize<'_> {
    type Output = ();

    /// Vectorised by the compiler, for the instruction set that [`Arch`] detects.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.output.width() as usize;
        let components = &self.frame.components;
        let mut planes = vec![vec![[0.0; STRIP]; width]; components.len()];
        let mut colours = vec![[[0; STRIP]; 3]; width];
        let (mut sums, mut columns) = (Vec::new(), Vec::new());
        for (strip, pixels) in self.output.as_raw_mut().chunks_mut(STRIP * 3 * width).enumerate() {
            let rows = strip * STRIP..strip * STRIP + pixels.len() / (3 * width);
            for (component, plane) in components.iter().zip(&mut planes) {
                let (_, across, down) = self
                    .matrices
                    .iter()
                    .find(|(layout, ..)| **layout == component.layout)
                    .expect("every layout has its matrices");
                columns.resize(component.layout.stride(), [0.0; STRIP]);
                for (index, row) in rows.clone().enumerate() {
                    sums.clear();
                    sums.resize(component.layout.stride(), 0.0);
                    add_rows(&component.coefficients, down.row(row), &mut sums);
                    for (column, sum) in columns.iter_mut().zip(&sums) {
                        column[index] = *sum;
                    }
                }
                multiply_columns(&columns, across, plane);
            }
            paint(self.frame.colours, &planes, &mut colours, pixels);
        }
    }
}

/// Adds weighted rows of a matrix, as wide as `sums`, to `sums`, from the row `start` on.
#[inline(always)]
fn add_rows(matrix: &[i16], (start, weights): (usize, &[f32]), sums: &mut [f32]) {
    let width = sums.len();
    let matrix = &matrix[start * width..][..weights.len() * width];
    let (weights, rest) = weights.as_chunks::<4>();
    let fours = matrix.chunks_exact(4 * width);
    for (rows, weights) in fours.zip(weights) {
        let (a, b) = rows.split_at(width);
        let (b, c) = b.split_at(width);
        let (c, d) = c.split_at(width);
        for ((((sum, a), b), c), d) in sums.iter_mut().zip(a).zip(b).zip(c).zip(d) {
            let [a, b, c, d] = [*a, *b, *c, *d].map(f32::from);
            *sum += (weights[0] * a + weights[1] * b) + (weights[2] * c + weights[3] * d);
        }
    }
    for (row, weight) in matrix[4 * weights.len() * width..].chunks_exact(width).zip(rest) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += weight * f32::from(*value);
        }
    }
}

/// Writes, for each column of the output, the weighted sum of the columns in its band.
#[inline(always)]
fn multiply_columns(columns: &[Column], across: &BandMatrix, plane: &mut [Column]) {
    for (index, sums) in plane.iter_mut().enumerate() {
        let (start, weights) = across.row(index);
        let mut sum = [0.0; STRIP];
        for (column, weight) in columns[start..][..weights.len()].iter().zip(weights) {
            for row in 0..STRIP {
                sum[row] += weight * column[row];
            }
        }
        *sums = sum;
    }
}

/// Writes the RGB pixels of a strip from its planes: grey, RGB, or luma, Cb and Cr (T.871, 7).
#[inline(always)]
fn paint(space: Colours, planes: &[Vec<Column>], colours: &mut [[[u8; STRIP]; 3]], pixels: &mut [u8]) {
    for (x, (luma, colours)) in planes[0].iter().zip(&mut *colours).enumerate() {
        let (mut red, mut green, mut blue) = (*luma, *luma, *luma);
        match (space, planes) {
            (Colours::Rgb, [_, second, third]) => (green, blue) = (second[x], third[x]),
            (_, [_, cb, cr]) => {
                for y in 0..STRIP {
                    red[y] += 1.402 * cr[x][y];
                    green[y] -= 0.344_136 * cb[x][y] + 0.714_136 * cr[x][y];
                    blue[y] += 1.772 * cb[x][y];
                }
            }
            _ => {}
        }
        // 2^23 leaves no bits for a fraction, so that the lowest byte of the sum is the rounded value. 128 is the level
        // shift (T.81, A.3.1).
        let byte = |value: f32| ((value + 128.0).clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8;
        *colours = [red, green, blue].map(|colour| colour.map(byte));
    }
    for (y, line) in pixels.chunks_exact_mut(3 * colours.len()).enumerate() {
        for (pixel, [red, green, blue]) in line.as_chunks_mut::<3>().0.iter_mut().zip(&*colours) {
            *pixel = [red[y], green[y], blue[y]];
        }
    }
}

/// A sparse matrix whose nonzero values are contiguous in each row.
struct BandMatrix {
    /// For each row, the column of its first weight.
    starts: Vec<usize>,
    /// For each row, the end of its weights in `weights`.
    ends: Vec<usize>,
    weights: Vec<f32>,
}

impl BandMatrix {
    /// The matrix of one axis, `[outputs, blocks * kept]`: IDCT, chroma upsampling and triangle filter.
    ///
    /// The axis has `length` pixels, and `kept` coefficients of each block are stored.
    fn new(length: usize, outputs: usize, sampling: Sampling, kept: usize) -> Self {
        let basis = dct_basis();
        let samples = sampling.samples(length);
        let mut matrix =
            Self { starts: Vec::with_capacity(outputs), ends: Vec::with_capacity(outputs), weights: vec![] };
        for output in 0..outputs {
            let (start, weights) = triangle_filter(length, outputs, output);
            let (start, weights) = upsample_transposed(start, &weights, sampling, samples);
            let (block, begin) = (start / 8, matrix.weights.len());
            let blocks = (start + weights.len()).div_ceil(8) - block;
            matrix.weights.resize(begin + blocks * kept, 0.0);
            for (sample, weight) in (start..).zip(weights) {
                let values = &mut matrix.weights[begin + (sample / 8 - block) * kept..];
                for (value, basis) in values.iter_mut().zip(&basis[sample % 8][..kept]) {
                    *value += weight as f32 * basis;
                }
            }
            matrix.starts.push(block * kept);
            matrix.ends.push(matrix.weights.len());
        }
        matrix
    }

    /// The column of a row's first weight, and its weights.
    #[inline(always)]
    fn row(&self, index: usize) -> (usize, &[f32]) {
        let begin = if index == 0 { 0 } else { self.ends[index - 1] };
        (self.starts[index], &self.weights[begin..self.ends[index]])
    }
}

/// The triangle filter of one of `outputs` pixels: the first of `length` input pixels under it, and their weights,
/// which sum to 1. The triangle is twice as wide as a pixel of the output.
fn triangle_filter(length: usize, outputs: usize, output: usize) -> (usize, Vec<f64>) {
    let scale = length as f64 / outputs as f64;
    let centre = (output as f64 + 0.5) * scale;
    let radius = scale.max(1.0);
    let start = (centre - radius).floor().max(0.0) as usize;
    let end = ((centre + radius).ceil() as usize).min(length);
    let mut weights: Vec<f64> =
        (start..end).map(|index| (1.0 - (index as f64 + 0.5 - centre).abs() / radius).max(0.0)).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    (start, weights)
}

/// Weights of pixels as weights of samples, the transpose of upsampling: the first sample, and the weights.
fn upsample_transposed(start: usize, weights: &[f64], sampling: Sampling, samples: usize) -> (usize, Vec<f64>) {
    if sampling.factor == sampling.largest {
        return (start, weights.to_vec());
    }
    let first = sampling.near(start).saturating_sub(1);
    let last = (sampling.near(start + weights.len() - 1) + 1).min(samples - 1);
    let mut sums = vec![0.0; last - first + 1];
    for (pixel, weight) in (start..).zip(weights) {
        let near = sampling.near(pixel) - first;
        if sampling.is_double() {
            sums[near] += 0.75 * weight;
            sums[sampling.far(pixel, samples) - first] += 0.25 * weight;
        } else {
            sums[near] += weight;
        }
    }
    (first, sums)
}

/// The basis functions of the 8-point DCT, `[sample][frequency]` (T.81, A.3.3).
fn dct_basis() -> [[f32; 8]; 8] {
    std::array::from_fn(|sample| {
        std::array::from_fn(|frequency| {
            let angle = (2 * sample + 1) as f32 * frequency as f32 * std::f32::consts::PI / 16.0;
            0.5 * if frequency == 0 { std::f32::consts::FRAC_1_SQRT_2 } else { libm::cosf(angle) }
        })
    })
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

    use super::super::Decoder;
    use super::*;

    /// The IDCT of a component: its samples, `[blocks down * 8, blocks across * 8]`.
    fn samples(component: &Component) -> Vec<Vec<f64>> {
        let (basis, layout) = (dct_basis(), &component.layout);
        let sample = |x: usize, y: usize| {
            let block = layout.dc_offset((x / 8, y / 8));
            let mut sum = 0.0;
            for v in 0..layout.coefficients_per_side.1 {
                for u in 0..layout.coefficients_per_side.0 {
                    let basis = f64::from(basis[x % 8][u]) * f64::from(basis[y % 8][v]);
                    sum += f64::from(component.coefficients[block + v * layout.stride() + u]) * basis;
                }
            }
            sum
        };
        (0..8 * layout.blocks.1).map(|y| (0..8 * layout.blocks.0).map(|x| sample(x, y)).collect()).collect()
    }

    /// The upsampled value of a component at a pixel.
    fn at_pixel(samples: &[Vec<f64>], layout: &Layout, (x, y): (usize, usize)) -> f64 {
        let weights = |pixel: usize, sampling: Sampling, end: usize| {
            let near = (2 * pixel + 1) * sampling.factor / (2 * sampling.largest);
            let far = if pixel % 2 == 1 { (near + 1).min(end - 1) } else { near.saturating_sub(1) };
            if sampling.largest == 2 * sampling.factor {
                [(near, 0.75), (far, 0.25)]
            } else {
                [(near, 1.0), (near, 0.0)]
            }
        };
        let mut sum = 0.0;
        for (y, down) in weights(y, layout.sampling.1, layout.samples.1) {
            for (x, across) in weights(x, layout.sampling.0, layout.samples.0) {
                sum += down * across * samples[y][x];
            }
        }
        sum
    }

    /// [`resize`] step by step: IDCT, chroma upsampling, and the triangle filter of all pixels.
    fn reference(dimensions: (usize, usize), components: &[Component], size: (usize, usize)) -> Vec<f64> {
        let (width, height) = dimensions;
        let mut planes = Vec::new();
        for component in components {
            let samples = samples(component);
            let mut plane = vec![0.0; size.0 * size.1];
            for (index, value) in plane.iter_mut().enumerate() {
                let across = triangle_filter(width, size.0, index % size.0);
                let down = triangle_filter(height, size.1, index / size.0);
                for (y, down) in (down.0..).zip(&down.1) {
                    for (x, across) in (across.0..).zip(&across.1) {
                        *value += down * across * at_pixel(&samples, &component.layout, (x, y));
                    }
                }
            }
            planes.push(plane);
        }
        let pixels = (0..size.0 * size.1).flat_map(|index| {
            let [luma, cb, cr] = [0, 1, 2].map(|plane| planes.get(plane).map_or(0.0, |plane| plane[index]));
            [luma + 1.402 * cr, luma - 0.344_136 * cb - 0.714_136 * cr, luma + 1.772 * cb]
        });
        pixels.map(|value| (value + 128.0).clamp(0.0, 255.0)).collect()
    }

    #[test]
    fn composed_matrices_equal_idct_then_upsampling_then_filter() {
        use SamplingFactor::{F_1_1, F_1_2, F_2_1, F_2_2, F_4_1};
        let colour = [F_1_1, F_2_1, F_1_2, F_2_2, F_4_1].map(|factor| (ColorType::Rgb, factor));
        for (width, height) in [(61_usize, 90_usize), (64, 48), (17, 120)] {
            let samples: Vec<u8> = (0..width * height * 3).map(|index| (index * 7919 % 251) as u8).collect();
            for (colours, sampling) in colour.into_iter().chain([(ColorType::Luma, F_1_1)]) {
                let mut bytes = Vec::new();
                let mut encoder = Encoder::new(&mut bytes, 95);
                encoder.set_sampling_factor(sampling);
                let samples = &samples[..width * height * if colours == ColorType::Luma { 1 } else { 3 }];
                encoder.encode(samples, width as u16, height as u16, colours).unwrap();
                let size = (width * 2 / 5, height * 2 / 5);
                let decoder = Decoder::new(&bytes).unwrap();
                let image = decoder.downscaled((size.0 as u32, size.1 as u32)).unwrap();
                for size in [size, (size.0 / 3, size.1 / 2), (1, 1)] {
                    let expected = reference(image.0.dimensions, &image.0.components, size);
                    let resized = image.resize(size.0 as u32, size.1 as u32);
                    for (value, expected) in resized.as_raw().iter().zip(expected) {
                        let difference = (f64::from(*value) - expected).abs();
                        assert!(
                            difference < 0.51,
                            "{width} x {height}, {sampling:?} to {size:?}: {value} for {expected}"
                        );
                    }
                }
            }
        }
    }
}
