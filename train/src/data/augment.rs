//! Other views of the same poster, so that a network cannot learn posters by heart.

use std::ops::Range;

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
    /// How much brightness, contrast and saturation may change, each as a part of what it was, 0 to 1.
    pub colour: f64,
    /// The part of the posters of which a rectangle, up to a quarter of their area, turns grey (Zhong et al., "Random
    /// erasing data augmentation", 2020).
    pub erase: f64,
    /// How two posters become one.
    pub mix: Mix,
}

/// How two posters, and their labels, become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Mix {
    /// Not at all.
    None,
    /// One shines through the other (Zhang et al., "mixup: beyond empirical risk minimization", 2018).
    Mixup,
    /// A rectangle of one covers the other (Yun et al., "CutMix", 2019).
    Cutmix,
}

/// The rectangle that a picture of this size loses, as rows and columns: of any place, and of a side ratio up to 2.
fn rectangle(area: f64, [width, height]: [usize; 2], rng: &mut impl Rng) -> [Range<usize>; 2] {
    let ratio = 2.0_f64.powf(rng.random::<f64>() * 2.0 - 1.0).sqrt();
    let mut side = |length: usize, part: f64| {
        let kept = ((length as f64 * part).round() as usize).clamp(1, length);
        let start = rng.random_range(0..=length - kept);
        start..start + kept
    };
    [side(height, area.sqrt() * ratio), side(width, area.sqrt() / ratio)]
}

impl Mix {
    /// Mixes `other` into `view`, both `[height, width, 3]`, and returns the part that is left of `view`, 0.5 to 1.
    pub fn apply(self, view: &mut [u8], other: &[u8], [width, height]: [usize; 2], rng: &mut impl Rng) -> f32 {
        match self {
            Self::None => 1.0,
            Self::Mixup => {
                let kept = 1.0 - 0.5 * rng.random::<f32>();
                for (value, other) in view.iter_mut().zip(other) {
                    *value = (f32::from(*value) * kept + f32::from(*other) * (1.0 - kept)).round() as u8;
                }
                kept
            }
            Self::Cutmix => {
                let [rows, columns] = rectangle(0.5 * rng.random::<f64>(), [width, height], rng);
                let area = rows.len() * columns.len();
                for row in rows {
                    let part = 3 * (row * width + columns.start)..3 * (row * width + columns.end);
                    view[part.clone()].copy_from_slice(&other[part]);
                }
                1.0 - area as f32 / (width * height) as f32
            }
        }
    }
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
        if self.colour > 0.0 {
            self.recolour(&mut view, rng);
        }
        if self.erase > 0.0 && rng.random_bool(self.erase) {
            let [rows, columns] = rectangle(0.25 * rng.random::<f64>(), [width as usize, height as usize], rng);
            for row in rows {
                view[3 * (row * width as usize + columns.start)..3 * (row * width as usize + columns.end)].fill(128);
            }
        }
        view
    }

    fn recolour(&self, view: &mut [u8], rng: &mut impl Rng) {
        let mut factor = || (1.0 + self.colour * (rng.random::<f64>() * 2.0 - 1.0)) as f32;
        let (brightness, contrast, saturation) = (factor(), factor(), factor());
        for pixel in view.as_chunks_mut::<3>().0 {
            let [r, g, b] = pixel.map(f32::from);
            // Luma as in ITU-R BT.601.
            let grey = 0.299 * r + 0.587 * g + 0.114 * b;
            *pixel = [r, g, b].map(|value| {
                let value = (grey + (value - grey) * saturation) * brightness;
                // A float becomes the nearest byte there is.
                ((value - 128.0) * contrast + 128.0).round() as u8
            });
        }
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

    const NOTHING: Augmentation = Augmentation { flip: false, crop: 0.0, colour: 0.0, erase: 0.0, mix: Mix::None };

    #[test]
    fn erasing_makes_up_to_a_quarter_grey_and_colours_stay_in_range() {
        let (width, height) = (24, 36);
        let pixels = vec![200; width * height * 3];
        for seed in 0..50 {
            let rng = &mut Pcg64::seed_from_u64(seed);
            let erased = Augmentation { erase: 1.0, ..NOTHING }.apply(&pixels, width as u32, height as u32, rng);
            let grey = erased.iter().filter(|value| **value == 128).count();
            assert!(grey > 0 && grey <= pixels.len() * 3 / 10, "{grey} of {}", pixels.len());
            let recoloured = Augmentation { colour: 0.3, ..NOTHING }.apply(&pixels, width as u32, height as u32, rng);
            assert!(recoloured.iter().all(|value| *value >= 100), "{:?}", &recoloured[..3]);
        }
    }

    #[test]
    fn what_is_left_of_a_poster_is_what_its_label_counts() {
        let (width, height) = (20, 30);
        for seed in 0..50 {
            for mix in [Mix::None, Mix::Mixup, Mix::Cutmix] {
                let mut view = vec![200; width * height * 3];
                let rng = &mut Pcg64::seed_from_u64(seed);
                let kept = mix.apply(&mut view, &vec![100; width * height * 3], [width, height], rng);
                let mean = view.iter().map(|value| f32::from(*value)).sum::<f32>() / view.len() as f32;
                assert!((mean - (100.0 + 100.0 * kept)).abs() < 0.6, "{mix:?}: {kept} is left, the mean is {mean}");
                assert!((0.4..=1.0).contains(&kept), "{mix:?}: {kept}");
            }
        }
    }

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
        let augmentation = Augmentation { crop: 0.2, ..NOTHING };
        let view = |seed| augmentation.apply(&pixels, width, height, &mut Pcg64::seed_from_u64(seed));
        assert_eq!(view(1), view(1));
        assert_ne!(view(1), view(2));
        // A fifth of 24 columns of 10 steps is the most that a crop can move a value.
        for (value, original) in view(3).iter().zip(&pixels) {
            assert!(value.abs_diff(*original) <= 52, "{value} for {original}");
        }
        assert_eq!(NOTHING.apply(&pixels, width, height, &mut Pcg64::seed_from_u64(1)), pixels);
    }
}
