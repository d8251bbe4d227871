//! From the coefficients of a JPEG to a small picture.
//!
//! The coefficients of a component are a matrix C of cosine waves. The picture is `down * C * across`: each of the two
//! other matrices holds, for a row or column of the picture, what its triangle filter makes of each wave. They are zero
//! but for the few blocks that the filter touches.

use image::RgbImage;
use pulp::{Arch, Simd, WithSimd};

use super::frame::{Component, Frame};

/// How many times as wide and as high as wanted a picture is at least, to be read here. Below it, to decode in full and to
/// resize is faster.
pub const LEAST_SCALE: f64 = 2.5;

/// Waves that are kept of a block for each pixel that its side becomes. Of shorter ones the triangle filter lets through less
/// than 2 %: `sinc(1.75 / 2)^2`.
const WAVES: f64 = 1.75;

/// How many waves of a block matter where so many samples become one pixel.
pub fn waves(scale: f64) -> usize {
    (WAVES * 8.0 / scale).ceil().clamp(2.0, 8.0) as usize
}

/// The picture at the given width and height.
pub fn resize(frame: &Frame, size: (usize, usize)) -> RgbImage {
    let side = |component: &Component| {
        let across = Bands::new(frame.dimensions.0, size.0, component.spread.0, component.waves.0);
        let down = Bands::new(frame.dimensions.1, size.1, component.spread.1, component.waves.1);
        (across, down)
    };
    let sides: Vec<_> = frame.components.iter().take(2).map(side).collect();
    let mut picture = RgbImage::new(size.0 as u32, size.1 as u32);
    Arch::new().dispatch(Resize { frame, sides, picture: &mut picture });
    picture
}

/// Rows of the picture that are made at once: they fill a vector where rows of sums could not.
const STRIP: usize = 16;

/// Values of the rows of a strip, of one column.
type Column = [f32; STRIP];

struct Resize<'a> {
    frame: &'a Frame,
    /// What makes the picture of a component: the bands across and down of light, and those of colour.
    sides: Vec<(Bands, Bands)>,
    picture: &'a mut RgbImage,
}

impl WithSimd for Resize<'_> {
    type Output = ();

    /// The compiler makes vectors of it, as wide as the processor has them.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.picture.width() as usize;
        let mut planes = vec![vec![[0.0; STRIP]; width]; self.frame.components.len()];
        let mut colours = vec![[[0; STRIP]; 3]; width];
        let (mut sums, mut columns) = (Vec::new(), Vec::new());
        for (strip, pixels) in self.picture.chunks_mut(STRIP * 3 * width).enumerate() {
            let rows = strip * STRIP..strip * STRIP + pixels.len() / (3 * width);
            for (index, (component, plane)) in self.frame.components.iter().zip(&mut planes).enumerate() {
                let (across, down) = &self.sides[index.min(1)];
                columns.resize(component.stride(), [0.0; STRIP]);
                for (place, row) in rows.clone().enumerate() {
                    sums.clear();
                    sums.resize(component.stride(), 0.0);
                    add_rows(&component.coefficients, down.row(row), &mut sums);
                    for (column, sum) in columns.iter_mut().zip(&sums) {
                        column[place] = *sum;
                    }
                }
                add_columns(&columns, across, plane);
            }
            paint(&planes, &mut colours, pixels);
        }
    }
}

/// Adds up weighted rows of a matrix that is as wide as the sums, from the row `start` on.
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

/// Writes, for each column of the picture, the sum of the weighted columns below its band.
#[inline(always)]
fn add_columns(columns: &[Column], across: &Bands, plane: &mut [Column]) {
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

/// Writes the RGB pixels of a strip from its planes: light, or light and the two differences of colour (T.871, 7).
#[inline(always)]
fn paint(planes: &[Vec<Column>], colours: &mut [[[u8; STRIP]; 3]], pixels: &mut [u8]) {
    for (x, (light, colours)) in planes[0].iter().zip(&mut *colours).enumerate() {
        let (mut red, mut green, mut blue) = (*light, *light, *light);
        if let [_, towards_blue, towards_red] = planes {
            for y in 0..STRIP {
                red[y] += 1.402 * towards_red[x][y];
                green[y] -= 0.344_136 * towards_blue[x][y] + 0.714_136 * towards_red[x][y];
                blue[y] += 1.772 * towards_blue[x][y];
            }
        }
        // Beside a number so large only whole ones count, so that the sum's lowest byte is the rounded value.
        let byte = |value: f32| ((value + 128.0).clamp(0.0, 255.0) + 8_388_608.0).to_bits() as u8;
        *colours = [red, green, blue].map(|colour| colour.map(byte));
    }
    for (y, line) in pixels.chunks_exact_mut(3 * colours.len()).enumerate() {
        for (pixel, [red, green, blue]) in line.as_chunks_mut::<3>().0.iter_mut().zip(&*colours) {
            *pixel = [red[y], green[y], blue[y]];
        }
    }
}

/// A matrix of which each row is zero but for some neighbours.
struct Bands {
    /// Of each row, the place of the first value that is not zero.
    starts: Vec<usize>,
    /// Of each row, where its values end in `weights`.
    ends: Vec<usize>,
    weights: Vec<f32>,
}

impl Bands {
    /// One side of a picture: what each of `outputs` pixels takes of each wave that is kept, `[outputs, blocks * waves]`.
    /// The poster's side has `length` pixels, a sample spans `spread` of them.
    fn new(length: usize, outputs: usize, spread: usize, waves: usize) -> Self {
        let basis = basis();
        let samples = length.div_ceil(spread);
        let mut bands =
            Self { starts: Vec::with_capacity(outputs), ends: Vec::with_capacity(outputs), weights: vec![] };
        for output in 0..outputs {
            let (start, weights) = triangle(length, outputs, output);
            let (start, weights) = gather(start, &weights, spread, samples);
            let (block, begin) = (start / 8, bands.weights.len());
            let blocks = (start + weights.len()).div_ceil(8) - block;
            bands.weights.resize(begin + blocks * waves, 0.0);
            for (sample, weight) in (start..).zip(weights) {
                let values = &mut bands.weights[begin + (sample / 8 - block) * waves..];
                for (value, wave) in values.iter_mut().zip(&basis[sample % 8][..waves]) {
                    *value += weight as f32 * wave;
                }
            }
            bands.starts.push(block * waves);
            bands.ends.push(bands.weights.len());
        }
        bands
    }

    /// Of a row, the place of its first value that is not zero, and these values.
    #[inline(always)]
    fn row(&self, index: usize) -> (usize, &[f32]) {
        let begin = if index == 0 { 0 } else { self.ends[index - 1] };
        (self.starts[index], &self.weights[begin..self.ends[index]])
    }
}

/// What each pixel of a side counts in one of `outputs` pixels: the first of them that does, and the weights, which
/// add up to 1. The triangle is twice as wide as a pixel of the output.
fn triangle(length: usize, outputs: usize, output: usize) -> (usize, Vec<f64>) {
    let scale = length as f64 / outputs as f64;
    let centre = (output as f64 + 0.5) * scale;
    let radius = scale.max(1.0);
    let start = (centre - radius).floor().max(0.0) as usize;
    let end = ((centre + radius).ceil() as usize).min(length);
    let mut weights: Vec<f64> =
        (start..end).map(|place| (1.0 - (place as f64 + 0.5 - centre).abs() / radius).max(0.0)).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
    (start, weights)
}

/// Weights of pixels as weights of samples, each of which spans `spread` of them. Halved colour is spread out as decoders
/// do it: a pixel has three quarters of its own sample, and one of its neighbour's.
fn gather(start: usize, weights: &[f64], spread: usize, samples: usize) -> (usize, Vec<f64>) {
    if spread == 1 {
        return (start, weights.to_vec());
    }
    let first = (start / spread).saturating_sub(1);
    let last = ((start + weights.len() - 1) / spread + 1).min(samples - 1);
    let mut gathered = vec![0.0; last - first + 1];
    for (pixel, weight) in (start..).zip(weights) {
        let near = pixel / spread;
        let far = if pixel % 2 == 1 { (near + 1).min(samples - 1) } else { near.saturating_sub(1) };
        let share = if spread == 2 { 0.25 } else { 0.0 };
        gathered[near - first] += (1.0 - share) * weight;
        if share > 0.0 {
            gathered[far - first] += share * weight;
        }
    }
    (first, gathered)
}

/// What each wave is at each of a block's eight places, `[place][wave]` (T.81, A.3.3).
fn basis() -> [[f32; 8]; 8] {
    std::array::from_fn(|place| {
        std::array::from_fn(|wave| {
            let angle = (2 * place + 1) as f32 * wave as f32 * std::f32::consts::PI / 16.0;
            0.5 * if wave == 0 { std::f32::consts::FRAC_1_SQRT_2 } else { angle.cos() }
        })
    })
}

#[cfg(test)]
mod tests {
    use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

    use super::super::Waves;
    use super::*;

    /// The waves of a component put together at its samples, one after the other, `[blocks down * 8, blocks across * 8]`.
    fn samples(component: &Component) -> Vec<Vec<f64>> {
        let (basis, (blocks, waves)) = (basis(), (component.blocks, component.waves));
        let sample = |x: usize, y: usize| {
            let mut sum = 0.0;
            for v in 0..waves.1 {
                for u in 0..waves.0 {
                    let place = (y / 8 * waves.1 + v) * component.stride() + x / 8 * waves.0 + u;
                    let wave = f64::from(basis[x % 8][u]) * f64::from(basis[y % 8][v]);
                    sum += f64::from(component.coefficients[place]) * wave;
                }
            }
            sum
        };
        (0..8 * blocks.1).map(|y| (0..8 * blocks.0).map(|x| sample(x, y)).collect()).collect()
    }

    /// The sample of a component at a pixel; halved ones as decoders spread them out.
    fn at_pixel(samples: &[Vec<f64>], spread: (usize, usize), ends: (usize, usize), (x, y): (usize, usize)) -> f64 {
        let sides = |place: usize, spread: usize, end: usize| {
            let near = place / spread;
            let far = if place % 2 == 1 { (near + 1).min(end - 1) } else { near.saturating_sub(1) };
            if spread == 2 { [(near, 0.75), (far, 0.25)] } else { [(near, 1.0), (near, 0.0)] }
        };
        let mut sum = 0.0;
        for (y, down) in sides(y, spread.1, ends.1) {
            for (x, across) in sides(x, spread.0, ends.0) {
                sum += down * across * samples[y][x];
            }
        }
        sum
    }

    /// [`resize`] the long way: waves to samples, samples to pixels, and a triangle filter over these.
    fn plain(frame: &Frame, size: (usize, usize)) -> Vec<f64> {
        let (width, height) = frame.dimensions;
        let mut planes = Vec::new();
        for component in &frame.components {
            let (samples, spread) = (samples(component), component.spread);
            let ends = (width.div_ceil(spread.0), height.div_ceil(spread.1));
            let mut plane = vec![0.0; size.0 * size.1];
            for (place, value) in plane.iter_mut().enumerate() {
                let across = triangle(width, size.0, place % size.0);
                let down = triangle(height, size.1, place / size.0);
                for (y, down) in (down.0..).zip(&down.1) {
                    for (x, across) in (across.0..).zip(&across.1) {
                        *value += down * across * at_pixel(&samples, spread, ends, (x, y));
                    }
                }
            }
            planes.push(plane);
        }
        let pixels = (0..size.0 * size.1).flat_map(|place| {
            let [light, blue, red] = [0, 1, 2].map(|index| planes.get(index).map_or(0.0, |plane| plane[place]));
            [light + 1.402 * red, light - 0.344_136 * blue - 0.714_136 * red, light + 1.772 * blue]
        });
        pixels.map(|value| (value + 128.0).clamp(0.0, 255.0)).collect()
    }

    #[test]
    fn the_product_of_matrices_is_the_filtered_picture() {
        use SamplingFactor::{F_1_1, F_1_2, F_2_1, F_2_2, F_4_1};
        for (width, height) in [(61_usize, 90_usize), (64, 48), (17, 120)] {
            let pixels: Vec<u8> = (0..width * height * 3).map(|place| (place * 7919 % 251) as u8).collect();
            for (colours, sampling) in [F_1_1, F_2_1, F_1_2, F_2_2, F_4_1]
                .map(|it| (ColorType::Rgb, it))
                .into_iter()
                .chain([(ColorType::Luma, F_1_1)])
            {
                let mut bytes = Vec::new();
                let mut encoder = Encoder::new(&mut bytes, 95);
                encoder.set_sampling_factor(sampling);
                let values = &pixels[..width * height * if colours == ColorType::Luma { 1 } else { 3 }];
                encoder.encode(values, width as u16, height as u16, colours).unwrap();
                let size = (width * 2 / 5, height * 2 / 5);
                let Waves(frame) = Waves::read(&bytes, (size.0 as u32, size.1 as u32)).unwrap();
                for size in [size, (size.0 / 3, size.1 / 2), (1, 1)] {
                    let (expected, picture) = (plain(&frame, size), resize(&frame, size));
                    for (value, expected) in picture.iter().zip(expected) {
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

    #[test]
    fn large_pictures_need_few_waves() {
        assert_eq!([1.0, 2.0, 2.6, 5.2, 10.4, 100.0].map(waves), [8, 7, 6, 3, 2, 2]);
    }
}
