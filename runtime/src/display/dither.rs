//! Dithering of a picture to black and white.

use crate::preprocess::Rgb8Image;

/// Share of the pixels that become black, and of those that become white, when the contrast is stretched.
const CLIPPED: f32 = 0.02;

/// Reduces a picture to black (0) and white (255) pixels.
///
/// The contrast is stretched first, as a dark poster would become a black rectangle; then the error of each pixel is
/// diffused to its neighbours (Floyd and Steinberg, An Adaptive Algorithm for Spatial Greyscale, 1976), in rows of
/// alternating direction, which avoids diagonal streaks.
pub fn dither(image: &Rgb8Image) -> Rgb8Image {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let mut levels: Vec<f32> = image.pixels().map(luma).collect();
    stretch(&mut levels);
    let mut dithered = Rgb8Image::new(image.width(), image.height());
    let pixels = dithered.as_raw_mut().as_chunks_mut::<3>().0;
    for y in 0..height {
        let is_reversed = y % 2 == 1;
        for step in 0..width {
            let x = if is_reversed { width - 1 - step } else { step };
            let level = levels[y * width + x];
            let value = if level < 127.5 { 0 } else { 255 };
            pixels[y * width + x] = [value; 3];
            let error = level - f32::from(value);
            let mut diffuse = |ahead: isize, down: usize, share: f32| {
                let x = if is_reversed { x.checked_add_signed(-ahead) } else { x.checked_add_signed(ahead) };
                if let Some(x) = x.filter(|x| *x < width && y + down < height) {
                    levels[(y + down) * width + x] += error * share;
                }
            };
            diffuse(1, 0, 7.0 / 16.0);
            diffuse(-1, 1, 3.0 / 16.0);
            diffuse(0, 1, 5.0 / 16.0);
            diffuse(1, 1, 1.0 / 16.0);
        }
    }
    dithered
}

/// Brightness of a pixel, 0 to 255 (Rec. 601).
fn luma([red, green, blue]: [u8; 3]) -> f32 {
    0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue)
}

/// Maps the darkest and the brightest levels to 0 and 255, unless the picture is nearly of one colour.
fn stretch(levels: &mut [f32]) {
    let mut sorted = levels.to_vec();
    sorted.sort_by(f32::total_cmp);
    let at = |share: f32| sorted[((sorted.len() - 1) as f32 * share).round() as usize];
    let (dark, bright) = (at(CLIPPED), at(1.0 - CLIPPED));
    if bright - dark > 16.0 {
        levels.iter_mut().for_each(|level| *level = (*level - dark) * 255.0 / (bright - dark));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brightness_is_kept_and_contrast_is_stretched() {
        struct Case {
            name: &'static str,
            size: (u32, u32),
            level: fn(u32) -> u8,
            /// Range of the share of white pixels.
            white: (f32, f32),
        }
        let cases = [
            Case { name: "black", size: (32, 32), level: |_| 0, white: (0.0, 0.0) },
            Case { name: "white", size: (32, 32), level: |_| 255, white: (1.0, 1.0) },
            Case { name: "a quarter", size: (32, 32), level: |_| 64, white: (0.23, 0.27) },
            Case { name: "dark gradient", size: (64, 32), level: |x| x as u8, white: (0.45, 0.55) },
            Case { name: "one column", size: (1, 40), level: |_| 128, white: (0.4, 0.6) },
            Case { name: "one pixel", size: (1, 1), level: |_| 200, white: (1.0, 1.0) },
        ];
        for Case { name, size: (width, height), level, white: (low, high) } in cases {
            let dithered = dither(&Rgb8Image::from_fn(width, height, |x, _| [level(x); 3]));
            assert!(dithered.pixels().all(|pixel| pixel == [0; 3] || pixel == [255; 3]), "{name}");
            let white = dithered.pixels().filter(|pixel| pixel[0] == 255).count() as f32;
            let share = white / (width * height) as f32;
            assert!((low..=high).contains(&share), "{name}: {share}");
        }
    }
}
