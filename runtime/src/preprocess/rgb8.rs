//! An 8-bit RGB image in memory: the type that decoding and resizing return.

use std::fmt;

/// An 8-bit RGB image: interleaved samples `[height, width, 3]`, rows from top to bottom, without padding.
///
/// ```
/// use runtime::preprocess::Rgb8Image;
///
/// let image = Rgb8Image::from_raw(2, 1, vec![255, 0, 0, 0, 0, 255]).expect("six samples are 2 x 1 pixels");
/// assert_eq!(image.dimensions(), (2, 1));
/// assert_eq!(image.pixels().collect::<Vec<_>>(), [[255, 0, 0], [0, 0, 255]]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb8Image {
    width: u32,
    height: u32,
    samples: Vec<u8>,
}

impl Rgb8Image {
    /// A black image.
    ///
    /// # Panics
    /// If `3 * width * height` does not fit in memory.
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height, samples: vec![0; samples(width, height).expect("the image fits in memory")] }
    }

    /// An image of the given samples, `[height, width, 3]`; none if their number is not `3 * width * height`.
    pub fn from_raw(width: u32, height: u32, samples: Vec<u8>) -> Option<Self> {
        (self::samples(width, height) == Some(samples.len())).then_some(Self { width, height, samples })
    }

    /// An image whose pixel at column `x` and row `y` is `pixel(x, y)`: red, green, blue.
    ///
    /// # Panics
    /// As [`Rgb8Image::new`].
    pub fn from_fn(width: u32, height: u32, mut pixel: impl FnMut(u32, u32) -> [u8; 3]) -> Self {
        let mut image = Self::new(width, height);
        let mut pixels = image.samples.as_chunks_mut().0.iter_mut();
        for y in 0..height {
            for (x, target) in (0..width).zip(&mut pixels) {
                *target = pixel(x, y);
            }
        }
        image
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Width and height in pixels.
    pub fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The samples, `[height, width, 3]`.
    pub fn as_raw(&self) -> &[u8] {
        &self.samples
    }

    /// The samples, `[height, width, 3]`.
    pub fn as_raw_mut(&mut self) -> &mut [u8] {
        &mut self.samples
    }

    /// The samples, `[height, width, 3]`, without a copy.
    pub fn into_raw(self) -> Vec<u8> {
        self.samples
    }

    /// The pixels (red, green, blue), row by row.
    pub fn pixels(&self) -> impl ExactSizeIterator<Item = [u8; 3]> {
        self.samples.as_chunks().0.iter().copied()
    }
}

impl fmt::Debug for Rgb8Image {
    /// Writes the dimensions only: a poster has millions of samples.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Rgb8Image").field("width", &self.width).field("height", &self.height).finish_non_exhaustive()
    }
}

/// A transparent pixel over white; `alpha` is 255 where it is opaque.
pub(super) fn over_white(pixel: [u8; 3], alpha: u8) -> [u8; 3] {
    let alpha = u32::from(alpha);
    pixel.map(|value| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
}

/// The number of samples of an image, if it can be addressed.
fn samples(width: u32, height: u32) -> Option<usize> {
    (width as usize).checked_mul(height as usize)?.checked_mul(3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_must_be_as_many_as_the_dimensions_say() {
        for (width, height, samples, fits) in [(2, 3, 18, true), (2, 3, 17, false), (0, 3, 0, true), (1, 1, 4, false)] {
            let image = Rgb8Image::from_raw(width, height, vec![7; samples]);
            assert_eq!(image.is_some(), fits, "{width} x {height}, {samples} samples");
        }
        assert_eq!(Rgb8Image::from_raw(u32::MAX, u32::MAX, vec![]), None);
    }

    #[test]
    fn pixels_are_row_by_row() {
        let image = Rgb8Image::from_fn(2, 2, |x, y| [x as u8, y as u8, 9]);
        assert_eq!(image.as_raw(), [0, 0, 9, 1, 0, 9, 0, 1, 9, 1, 1, 9]);
        assert_eq!(image.pixels().nth(2), Some([0, 1, 9]));
    }
}
