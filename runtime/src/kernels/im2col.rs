//! im2col for the stem: 3 x 3 patches of a planar RGB image as rows of a matrix, so that the stem is a GEMM.

use std::ops::Range;

use super::conv::{KERNEL, output_size};
use super::scratch::scratch_slice;

/// Elements of a patch: three planes of 3 x 3 pixels, in the order of the stem's weights.
pub const PATCH: usize = 3 * KERNEL * KERNEL;

/// The network's input image with padding and stride of the stem, a 3 x 3 convolution.
pub struct StemInput<'a, V> {
    /// `[3, height, width]`
    pub planes: &'a [V],
    /// The value of the padding: zero, or its code.
    pub zero: V,
    /// Elements of a patch in memory, at least [`PATCH`]; those behind it are the padding's.
    pub patch_len: usize,
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// Padding in pixels: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Distance in pixels between neighbouring patches.
    pub stride: usize,
}

impl<V: Copy + Default> StemInput<'_, V> {
    /// Height and width of the stem's output.
    pub fn output_size(&self) -> [usize; 2] {
        output_size(self.size, self.pads, self.stride)
    }

    /// The patches of some rows of the stem's output, `[rows, output width, patch_len]`, written to `buffer`.
    pub fn patches<'a>(&self, rows: Range<usize>, buffer: &'a mut Vec<V>) -> &'a [V] {
        let [height, width] = self.size;
        let [top, left, ..] = self.pads;
        let [_, output_width] = self.output_size();
        let patch_len = self.patch_len;
        let zeros = vec![self.zero; width];
        let len = rows.len() * output_width * patch_len;
        let buffer = scratch_slice(buffer, len);
        for (row, patches) in rows.zip(buffer.chunks_exact_mut(output_width * patch_len)) {
            for patch_row in 0..PATCH / KERNEL {
                let (plane, kernel_row) = (patch_row / KERNEL, patch_row % KERNEL);
                // Rows and columns in the padding before the image wrap around, and so are outside of it too.
                let y = (row * self.stride + kernel_row).wrapping_sub(top);
                let pixels = if y < height { &self.planes[(plane * height + y) * width..][..width] } else { &*zeros };
                for (column, patch) in patches.chunks_exact_mut(patch_len).enumerate() {
                    let patch = &mut patch[patch_row * KERNEL..][..KERNEL];
                    let begin = (column * self.stride).wrapping_sub(left);
                    if let Some(inside) = pixels.get(begin..begin.wrapping_add(KERNEL)) {
                        patch.copy_from_slice(inside);
                    } else {
                        for (offset, value) in patch.iter_mut().enumerate() {
                            *value = pixels.get(begin.wrapping_add(offset)).copied().unwrap_or(self.zero);
                        }
                    }
                }
            }
        }
        &buffer[..len]
    }
}
