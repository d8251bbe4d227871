//! The sizes of an inverted residual block, and TensorFlow's `SAME` padding.

/// Pixels of the input that go through a block at a time: enough for an efficient matrix product, few enough that their
/// expanded features stay in the cache.
const GROUP_PIXELS: usize = 256;

/// The taps of a 3 x 3 kernel.
pub const KERNEL_TAPS: usize = 9;

/// The sizes of a block and of its input, `[posters, height, width, inputs]`.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub posters: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Channels between the pointwise convolutions.
    pub expanded: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Stride of the depthwise convolution.
    pub stride: usize,
}

impl Geometry {
    /// Height and width of the output.
    pub fn output_size(&self) -> [usize; 2] {
        [self.height.div_ceil(self.stride), self.width.div_ceil(self.stride)]
    }

    /// Values of one poster's feature maps: of the input, after the expansion, after the depthwise convolution, and of the
    /// output.
    pub fn lens(&self) -> [usize; 4] {
        let (before, after) = (self.height * self.width, self.output_size().iter().product::<usize>());
        [before * self.inputs, before * self.expanded, after * self.expanded, after * self.outputs]
    }

    /// Posters that go through the block at a time.
    pub fn group(&self) -> usize {
        (GROUP_PIXELS / (self.height * self.width)).clamp(1, self.posters)
    }

    /// Whether the block adds its input to its output (the residual connection).
    pub fn is_residual(&self) -> bool {
        self.stride == 1 && self.inputs == self.outputs
    }

    /// The taps of the depthwise kernel at an output pixel: the tap's index, 0 to 8, and the index of the input pixel that
    /// it is multiplied with. Taps on the padding are left out.
    #[inline(always)]
    pub fn taps(&self, row: usize, column: usize) -> impl Iterator<Item = (usize, usize)> {
        let Self { height, width, stride, .. } = *self;
        let (top, left) = (same_padding(height, stride).0, same_padding(width, stride).0);
        (0..KERNEL_TAPS).filter_map(move |tap| {
            let row = (row * stride + tap / 3).checked_sub(top).filter(|row| *row < height)?;
            let column = (column * stride + tap % 3).checked_sub(left).filter(|column| *column < width)?;
            Some((tap, row * width + column))
        })
    }
}

/// Padding before and after a side of this length for a kernel of 3, as TensorFlow's `SAME` defines it: the output is
/// `ceil(length / stride)` long, and an odd total puts the extra element after.
pub fn same_padding(length: usize, stride: usize) -> (usize, usize) {
    let total = ((length.div_ceil(stride) - 1) * stride + 3).saturating_sub(length);
    (total / 2, total - total / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_that_of_tensorflow() {
        let cases = [
            (1, 1, (1, 1)),
            (5, 1, (1, 1)),
            (6, 1, (1, 1)),
            (1, 2, (1, 1)),
            (2, 2, (0, 1)),
            (5, 2, (1, 1)),
            (6, 2, (0, 1)),
            (224, 2, (0, 1)),
        ];
        for (length, stride, expected) in cases {
            assert_eq!(same_padding(length, stride), expected, "length {length}, stride {stride}");
        }
    }

    fn geometry(height: usize, width: usize, stride: usize) -> Geometry {
        Geometry { posters: 3, height, width, inputs: 8, expanded: 48, outputs: 8, stride }
    }

    #[test]
    fn taps_are_those_on_the_padded_input() {
        for (height, width, stride) in [(1, 1, 1), (1, 2, 2), (3, 4, 1), (4, 5, 2), (5, 4, 2)] {
            let geometry = geometry(height, width, stride);
            let [rows, columns] = geometry.output_size();
            let (top, left) = (same_padding(height, stride).0 as isize, same_padding(width, stride).0 as isize);
            for (row, column) in (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                let mut expected = Vec::new();
                for tap in 0..KERNEL_TAPS {
                    let y = (row * stride + tap / 3) as isize - top;
                    let x = (column * stride + tap % 3) as isize - left;
                    if (0..height as isize).contains(&y) && (0..width as isize).contains(&x) {
                        expected.push((tap, y as usize * width + x as usize));
                    }
                }
                let found: Vec<_> = geometry.taps(row, column).collect();
                assert_eq!(found, expected, "{height} x {width}, stride {stride}, output pixel {row}, {column}");
            }
        }
    }

    #[test]
    fn sizes_follow_from_the_shape() {
        let geometry = |height, width, stride, outputs| Geometry { outputs, ..geometry(height, width, stride) };
        let cases = [
            (geometry(5, 4, 1, 8), [5, 4], [160, 960, 960, 160], 3, true),
            (geometry(5, 4, 2, 8), [3, 2], [160, 960, 288, 48], 3, false),
            (geometry(12, 10, 1, 16), [12, 10], [960, 5760, 5760, 1920], 2, false),
            (geometry(40, 40, 2, 8), [20, 20], [12800, 76800, 19200, 3200], 1, false),
        ];
        for (geometry, size, lens, group, is_residual) in cases {
            assert_eq!(geometry.output_size(), size, "{geometry:?}");
            assert_eq!(geometry.lens(), lens, "{geometry:?}");
            assert_eq!(geometry.group(), group, "{geometry:?}");
            assert_eq!(geometry.is_residual(), is_residual, "{geometry:?}");
        }
    }
}
