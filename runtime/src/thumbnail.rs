//! Thumbnails: small JPEG files of posters, which the state file keeps and the gallery shows.

use jpeg_encoder::{ColorType, Encoder, SamplingFactor};

use crate::preprocess::DecodedImage;

/// Largest width and height of a thumbnail in pixels.
pub const SIZE: (u32, u32) = (96, 144);

/// Size in bytes that a thumbnail should not exceed.
const MAX_BYTES: usize = 3_000;

/// JPEG qualities to try, best first; the last is taken even if the file is too large.
const QUALITIES: [u8; 5] = [75, 65, 55, 45, 35];

/// Encodes a thumbnail as JPEG. It fits into [`SIZE`], keeps the aspect ratio, is never larger than the poster, and
/// rarely exceeds 3 KB.
///
/// # Panics
/// If the image has no pixels.
pub fn thumbnail(image: &DecodedImage) -> Vec<u8> {
    let (width, height) = image.dimensions();
    let (width, height) = (f64::from(width), f64::from(height));
    let scale = (f64::from(SIZE.0) / width).min(f64::from(SIZE.1) / height).min(1.0);
    let side = |length: f64| ((length * scale).round() as u32).max(1);
    let small = image.resize(side(width), side(height));

    let mut jpeg = Vec::new();
    for quality in QUALITIES {
        jpeg.clear();
        let mut encoder = Encoder::new(&mut jpeg, quality);
        encoder.set_sampling_factor(SamplingFactor::F_2_2);
        encoder.set_optimized_huffman_tables(true);
        encoder
            .encode(small.as_raw(), small.width() as u16, small.height() as u16, ColorType::Rgb)
            .expect("a small RGB image can be encoded into memory");
        if jpeg.len() <= MAX_BYTES {
            break;
        }
    }
    jpeg
}

#[cfg(test)]
pub(crate) mod tests {
    use crate::preprocess::Rgb8Image;

    use super::*;

    /// A picture with edges, gradients and grain, as a poster has.
    pub(crate) fn poster_like(width: u32, height: u32, seed: u32) -> Rgb8Image {
        Rgb8Image::from_fn(width, height, |x, y| {
            let grain = (x * 7919 + y * 104_729 + seed * 1_299_709).wrapping_mul(2_654_435_761) >> 29;
            let letters = if y > height * 3 / 4 && (x / 9 + y / 13) % 2 == 0 { 90 } else { 0 };
            let value =
                |offset: u32| (((x + 17 * seed * offset) % 400) / 4 + y * offset / 40 % 60 + letters + grain) as u8;
            [value(1), value(2), value(3)]
        })
    }

    #[test]
    fn thumbnails_keep_the_shape_and_are_small() {
        struct Case {
            size: (u32, u32),
            thumbnail: (u32, u32),
        }
        let cases = [
            Case { size: (500, 750), thumbnail: (96, 144) },
            Case { size: (192, 272), thumbnail: (96, 136) },
            Case { size: (300, 600), thumbnail: (72, 144) },
            Case { size: (1600, 900), thumbnail: (96, 54) },
            Case { size: (40, 60), thumbnail: (40, 60) },
            Case { size: (1, 1), thumbnail: (1, 1) },
            Case { size: (4000, 1), thumbnail: (96, 1) },
            Case { size: (1, 4000), thumbnail: (1, 144) },
        ];
        for Case { size, thumbnail: expected } in cases {
            let jpeg = thumbnail(&poster_like(size.0, size.1, 1).into());
            let decoded = crate::preprocess::decode(&jpeg, "thumbnail").unwrap();
            assert_eq!((decoded.width(), decoded.height()), expected, "{size:?}");
            assert!(jpeg.len() <= MAX_BYTES, "{size:?}: {} bytes", jpeg.len());
        }
    }
}
