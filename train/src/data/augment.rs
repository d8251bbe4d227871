//! Data augmentation: random resized crop, horizontal flip, color jitter, random erasing, mixup and CutMix.

use std::ops::Range;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

/// Which augmentations are applied to training posters, and how strongly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// Whether a poster is flipped horizontally with a probability of 0.5.
    pub flip: bool,
    /// Random resized crop: the largest fraction of the width, and independently of the height, that is cut off, 0 to
    /// 1 (1 excluded). The crop is resized to the input's size. Its range is narrow, because a poster's composition
    /// is part of its genre.
    #[serde(alias = "crop")]
    pub random_resized_crop: f64,
    /// Color jitter: the largest relative change of brightness, contrast and saturation, 0 to 1.
    #[serde(alias = "colour")]
    pub color_jitter: f64,
    /// Random erasing: the probability that a rectangle of up to a quarter of the area becomes grey, 0 to 1 (Zhong et
    /// al., "Random erasing data augmentation", 2020).
    #[serde(alias = "erase")]
    pub random_erasing: f64,
    /// Mixup, CutMix or neither.
    pub mix: Mix,
}

/// Augmentation that mixes two posters and their labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mix {
    /// Not at all.
    None,
    /// mixup: the weighted mean of both images (Zhang et al., "mixup: beyond empirical risk minimization", 2018).
    Mixup,
    /// CutMix: a rectangle of one image replaces that of the other (Yun et al., "CutMix: regularization strategy to
    /// train strong classifiers with localizable features", 2019).
    Cutmix,
}

/// A random rectangle, as rows and columns, that covers the fraction `area` of an image, with a side ratio of up to 2.
fn rectangle(area: f64, [width, height]: [usize; 2], rng: &mut impl Rng) -> [Range<usize>; 2] {
    let ratio = 2.0_f64.powf(rng.random::<f64>() * 2.0 - 1.0).sqrt();
    let mut side = |length: usize, fraction: f64| {
        let kept = ((length as f64 * fraction).round() as usize).clamp(1, length);
        let start = rng.random_range(0..=length - kept);
        start..start + kept
    };
    [side(height, area.sqrt() * ratio), side(width, area.sqrt() / ratio)]
}

impl Mix {
    /// Mixes `other` into `view`, both `[height, width, 3]`, and returns the weight that `view` keeps, about 0.5 to
    /// 1: that of its labels.
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
    /// A randomly augmented copy of a poster, `[height, width, 3]` as `pixels`; [`Mix`] is not applied.
    ///
    /// # Panics
    /// If `pixels` is not `width * height * 3` long.
    pub fn apply(&self, pixels: &[u8], width: u32, height: u32, rng: &mut impl Rng) -> Vec<u8> {
        let mut view = self.random_resized_crop(pixels, width, height, rng);
        if self.flip && rng.random_bool(0.5) {
            flip_horizontally(&mut view, width as usize);
        }
        if self.color_jitter > 0.0 {
            self.jitter(&mut view, rng);
        }
        if self.random_erasing > 0.0 && rng.random_bool(self.random_erasing) {
            let [rows, columns] = rectangle(0.25 * rng.random::<f64>(), [width as usize, height as usize], rng);
            for row in rows {
                view[3 * (row * width as usize + columns.start)..3 * (row * width as usize + columns.end)].fill(128);
            }
        }
        view
    }

    fn jitter(&self, view: &mut [u8], rng: &mut impl Rng) {
        let mut factor = || (1.0 + self.color_jitter * (rng.random::<f64>() * 2.0 - 1.0)) as f32;
        let (brightness, contrast, saturation) = (factor(), factor(), factor());
        for pixel in view.as_chunks_mut::<3>().0 {
            let [r, g, b] = pixel.map(f32::from);
            // Luma as in ITU-R BT.601.
            let grey = 0.299 * r + 0.587 * g + 0.114 * b;
            *pixel = [r, g, b].map(|value| {
                let value = (grey + (value - grey) * saturation) * brightness;
                // The cast saturates.
                ((value - 128.0) * contrast + 128.0).round() as u8
            });
        }
    }

    fn random_resized_crop(&self, pixels: &[u8], width: u32, height: u32, rng: &mut impl Rng) -> Vec<u8> {
        if self.random_resized_crop == 0.0 {
            return pixels.to_vec();
        }
        let mut side = |length: u32| {
            let kept = f64::from(length) * (1.0 - self.random_resized_crop * rng.random::<f64>());
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
        Resizer::new().resize(&source, &mut target, &options).expect("the crop lies inside the image");
        view
    }
}

/// Flips an image `[height, width, 3]` horizontally, in place.
pub fn flip_horizontally(pixels: &mut [u8], width: usize) {
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

    const NONE: Augmentation =
        Augmentation { flip: false, random_resized_crop: 0.0, color_jitter: 0.0, random_erasing: 0.0, mix: Mix::None };

    #[test]
    fn random_erasing_covers_up_to_a_quarter_and_color_jitter_stays_in_range() {
        let (width, height) = (24, 36);
        let pixels = vec![200; width * height * 3];
        for seed in 0..50 {
            let rng = &mut Pcg64::seed_from_u64(seed);
            let erased = Augmentation { random_erasing: 1.0, ..NONE }.apply(&pixels, width as u32, height as u32, rng);
            let grey = erased.iter().filter(|value| **value == 128).count();
            assert!(grey > 0 && grey <= pixels.len() * 3 / 10, "{grey} of {}", pixels.len());
            let jittered = Augmentation { color_jitter: 0.3, ..NONE }.apply(&pixels, width as u32, height as u32, rng);
            assert!(jittered.iter().all(|value| *value >= 100), "{:?}", &jittered[..3]);
        }
    }

    #[test]
    fn the_weight_of_the_label_is_the_share_of_the_image_that_is_kept() {
        let (width, height) = (20, 30);
        for seed in 0..50 {
            for mix in [Mix::None, Mix::Mixup, Mix::Cutmix] {
                let mut view = vec![200; width * height * 3];
                let rng = &mut Pcg64::seed_from_u64(seed);
                let kept = mix.apply(&mut view, &vec![100; width * height * 3], [width, height], rng);
                let mean = view.iter().map(|value| f32::from(*value)).sum::<f32>() / view.len() as f32;
                assert!((mean - (100.0 + 100.0 * kept)).abs() < 0.6, "{mix:?}: a weight of {kept}, the mean is {mean}");
                assert!((0.4..=1.0).contains(&kept), "{mix:?}: {kept}");
            }
        }
    }

    #[test]
    fn flipping_swaps_pixels_and_twice_changes_nothing() {
        let original: Vec<u8> = (0..18).collect();
        let mut pixels = original.clone();
        flip_horizontally(&mut pixels, 3);
        assert_eq!(pixels[..9], [6, 7, 8, 3, 4, 5, 0, 1, 2]);
        flip_horizontally(&mut pixels, 3);
        assert_eq!(pixels, original);
    }

    #[test]
    fn a_crop_follows_from_the_seed_and_moves_values_by_at_most_its_width() {
        let (width, height) = (24, 36);
        let pixels: Vec<u8> =
            (0..width * height).flat_map(|i| [(i % width * 10) as u8, (i / width * 7) as u8, 9]).collect();
        let augmentation = Augmentation { random_resized_crop: 0.2, ..NONE };
        let view = |seed| augmentation.apply(&pixels, width, height, &mut Pcg64::seed_from_u64(seed));
        assert_eq!(view(1), view(1));
        assert_ne!(view(1), view(2));
        // A fifth of 24 columns of 10 steps is the most that a crop can move a value.
        for (value, original) in view(3).iter().zip(&pixels) {
            assert!(value.abs_diff(*original) <= 52, "{value} for {original}");
        }
        assert_eq!(NONE.apply(&pixels, width, height, &mut Pcg64::seed_from_u64(1)), pixels);
    }
}
