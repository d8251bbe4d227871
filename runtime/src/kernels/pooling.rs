//! Average pooling of NHWC pixels, row by row: over a whole feature map, or over the cells of a grid that covers it.

use pulp::{Arch, Simd, WithSimd};

use super::layer::PointwiseLayer;
use super::simd::{dispatch, load, store};

/// The averages of a feature map over the cells of a grid.
#[derive(Debug)]
pub struct Pooled {
    /// Rows and columns of the grid; one cell is global average pooling.
    pub grid: [usize; 2],
    /// `[rows, columns, channels]`: the sum of a cell's pixels, divided by the number of pixels of the whole map. The sum
    /// over the cells is the global average.
    pub cells: Vec<f32>,
}

/// The outputs of a layer being pooled.
pub struct GridPool<'a, P: PointwiseLayer> {
    layer: &'a P,
    /// Height and width of the feature map.
    size: [usize; 2],
    grid: [usize; 2],
    channels: usize,
    /// `[rows, columns, channels]`
    sums: Vec<P::Sum>,
}

impl<'a, P: PointwiseLayer> GridPool<'a, P> {
    /// Begins to pool a map of `size`, height and width, over `grid`, rows and columns, or as many as there are pixels.
    pub fn new(layer: &'a P, size: [usize; 2], grid: [usize; 2], channels: usize) -> Self {
        let grid = [grid[0].min(size[0]), grid[1].min(size[1])];
        Self { layer, size, grid, channels, sums: vec![P::Sum::default(); grid[0] * grid[1] * channels] }
    }

    /// Adds the pixels of a row, `[width, channels]`.
    pub fn add_row(&mut self, row: usize, pixels: &[P::Value]) {
        let ([height, width], [rows, columns]) = (self.size, self.grid);
        let first = row * rows / height * columns;
        for column in 0..columns {
            let begin = |column: usize| first_of(column, width, columns) * self.channels;
            let sums = &mut self.sums[(first + column) * self.channels..][..self.channels];
            self.layer.add_channel_sums(&pixels[begin(column)..begin(column + 1)], sums);
        }
    }

    /// The averages of the first `channels` channels; the others are padding.
    pub fn finish(self, channels: usize) -> Pooled {
        let ([height, width], [rows, columns]) = (self.size, self.grid);
        let pixels = (height * width) as f32;
        let side = |index, len, parts| first_of(index + 1, len, parts) - first_of(index, len, parts);
        let mut cells = Vec::with_capacity(rows * columns * channels);
        for (cell, sums) in self.sums.chunks_exact(self.channels).enumerate() {
            let count = side(cell / columns, height, rows) * side(cell % columns, width, columns);
            cells.extend(sums[..channels].iter().map(|sum| self.layer.total(*sum, count) / pixels));
        }
        Pooled { grid: self.grid, cells }
    }
}

/// The first of `len` rows or columns that belongs to one of `parts` rows or columns of a grid, or to a later one.
fn first_of(part: usize, len: usize, parts: usize) -> usize {
    (part * len).div_ceil(parts)
}

/// Adds NHWC pixels, `[pixels, channels]`, to `sums`, `[channels]`.
pub fn add_channel_sums(arch: Arch, pixels: &[f32], sums: &mut [f32]) {
    dispatch(arch, AddChannelSums { pixels, sums });
}

struct AddChannelSums<'a> {
    pixels: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for AddChannelSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.sums.len();
        for (index, sums) in self.sums.chunks_mut(S::F32_LANES).enumerate() {
            let mut sum = load(simd, sums);
            for pixel in self.pixels.chunks_exact(channels) {
                let values = &pixel[index * S::F32_LANES..][..sums.len()];
                sum = simd.add_f32s(sum, load(simd, values));
            }
            store(simd, sum, sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::conv::Convolution;
    use super::super::gemm::Pointwise;
    use super::super::testing::{assert_close, every_arch, random, random_f32_bytes};
    use super::super::weights::Weights;
    use super::*;

    #[test]
    fn the_cells_of_a_grid_sum_to_the_global_average() {
        let (size, channels) = ([7, 10], 5);
        let x = random(size[0] * size[1] * channels);
        for arch in every_arch() {
            let weight = random_f32_bytes(channels);
            let layer = Convolution {
                weight: Weights::F32(&weight),
                bias: random(channels),
                int8: None,
                pads: [0; 4],
                stride: 1,
                clip: [0.0, 6.0],
            };
            let layer = Pointwise::new(arch, &layer, [1, channels]);
            let pooled = |grid| {
                let mut pool = GridPool::new(&layer, size, grid, channels);
                x.chunks_exact(size[1] * channels).enumerate().for_each(|(row, pixels)| pool.add_row(row, pixels));
                pool.finish(channels - 1)
            };
            let average = |channel: usize| x[channel..].iter().step_by(channels).sum::<f32>() / 70.0;
            let expected: Vec<f32> = (0..channels - 1).map(average).collect();
            for (grid, cells) in [([1, 1], [1, 1]), ([2, 3], [2, 3]), ([7, 10], [7, 10]), ([24, 16], [7, 10])] {
                let Pooled { grid: found, cells: means } = pooled(grid);
                assert_eq!(found, cells, "{grid:?}");
                let sum = |channel: usize| means[channel..].iter().step_by(channels - 1).sum();
                let sums: Vec<f32> = (0..channels - 1).map(sum).collect();
                assert_close(&sums, &expected, &format!("{arch:?}, {grid:?}"));
            }
            let pixels: Vec<f32> =
                x.chunks_exact(channels).flat_map(|it| &it[..channels - 1]).map(|it| it / 70.0).collect();
            assert_close(&pooled(size).cells, &pixels, &format!("{arch:?}, a cell per pixel"));
        }
    }

    #[test]
    fn channel_sums_are_the_same_for_every_vector_width() {
        for arch in every_arch() {
            for (pixels, channels) in [(1, 1), (3, 16), (7, 33), (5, 96)] {
                let x = random(pixels * channels);
                let before = random(channels);
                let sum = |channel: usize| before[channel] + x[channel..].iter().step_by(channels).sum::<f32>();
                let expected: Vec<f32> = (0..channels).map(sum).collect();
                let mut sums = before.clone();
                add_channel_sums(arch, &x, &mut sums);
                assert_close(&sums, &expected, &format!("{arch:?}, {pixels} pixels of {channels} channels"));
            }
        }
    }
}
