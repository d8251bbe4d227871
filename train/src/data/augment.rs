//! Other views of the same poster, so that a network cannot learn posters by heart.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// How a poster may be changed before it is learned from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// Whether half of the posters are mirrored.
    pub flip: bool,
    /// The part of the width and of the height that may be cut off, 0 to 1; what is left is stretched to the input's
    /// size ("random resized crop" of a narrow range: a poster's composition is part of its genre).
    pub crop: f64,
}

impl Augmentation {
    /// A view of a poster, `[height, width, 3]` bytes in, the same shape out.
    ///
    /// # Panics
    /// If `pixels` is not `width * height * 3` long.
    pub fn apply(&self, pixels: &[u8], width: u32, height: u32, rng: &mut impl Rng) -> Vec<u8> {
        let mut view = self.cropped(pixels, width, height, rng);
        if self.flip && rng.random_bool(0.5) {
            mirror(&mut view, width as usize);
        }
        view
    }

    fn cropped(&self, pixels: &[u8], width: u32, height: u32, rng: &mut impl Rng) -> Vec<u8> {
        if self.crop == 0.0 {
            return pixels.to_vec();
        }
        let mut side = |length: u32| {
            let kept = f64::from(length) * (1.0 - self.crop * rng.random::<f64>());
            (rng.random::<f64>() * (f64::from(length) - kept), kept)
        };
        let ((left, kept_width), (top, kept_height)) = (side(width), side(height));
        let mut view = vec![0; pixels.len()];
        let source = ImageRef::new(width, height, pixels, PixelType::U8x3).expect("pixels fit the size");
        let mut target = Image::from_slice_u8(width, height, &mut view, PixelType::U8x3).expect("pixels fit the size");
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(
            left,
            top,
            kept_width,
            kept_height,
        );
        Resizer::new().resize(&source, &mut target, &options).expect("the crop lies inside the picture");
        view
    }
}

/// Mirrors a picture `[height, width, 3]` left to right.
pub fn mirror(pixels: &mut [u8], width: usize) {
    for row in pixels.chunks_exact_mut(3 * width) {
        for column in 0..width / 2 {
            for channel in 0..3 {
                row.swap(3 * column + channel, 3 * (width - 1 - column) + channel);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_pcg::Pcg64;

    #[test]
    fn mirroring_swaps_pixels_and_twice_is_nothing() {
        let original: Vec<u8> = (0..18).collect();
        let mut pixels = original.clone();
        mirror(&mut pixels, 3);
        assert_eq!(pixels[..9], [6, 7, 8, 3, 4, 5, 0, 1, 2]);
        mirror(&mut pixels, 3);
        assert_eq!(pixels, original);
    }

    #[test]
    fn a_view_depends_on_nothing_but_the_seed_and_stays_close() {
        let (width, height) = (24, 36);
        let pixels: Vec<u8> =
            (0..width * height).flat_map(|i| [(i % width * 10) as u8, (i / width * 7) as u8, 9]).collect();
        let augmentation = Augmentation { flip: false, crop: 0.2 };
        let view = |seed| augmentation.apply(&pixels, width, height, &mut Pcg64::seed_from_u64(seed));
        assert_eq!(view(1), view(1));
        assert_ne!(view(1), view(2));
        // A fifth of 24 columns of 10 steps is the most that a crop can move a value.
        for (value, original) in view(3).iter().zip(&pixels) {
            assert!(value.abs_diff(*original) <= 52, "{value} for {original}");
        }
        let unchanged = Augmentation { flip: false, crop: 0.0 };
        assert_eq!(unchanged.apply(&pixels, width, height, &mut Pcg64::seed_from_u64(1)), pixels);
    }
}
