//! A poster: from the bytes of a JPEG, PNG or WebP file to the network's input.
//!
//! This is the only preprocessing there is. Training keeps the pixels that [`resize`] returns in its cache and feeds
//! them through [`normalise`]; the device does both in one go.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images::ImageRef};
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Rgb, RgbImage};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The most pixels that a poster may have: enough for a scan of 10,000 x 10,000.
pub const MAX_PIXELS: u64 = 100_000_000;

/// What the network expects of its input, a tensor `[N, 3, height, width]` of `(value / 255 - mean) / std`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Order of the three channels.
    pub channels: Channels,
    /// How a poster of another shape is brought to `width` x `height`.
    pub resize: Resize,
    /// Mean of each channel, on the scale 0 to 1.
    pub mean: [f32; 3],
    /// Standard deviation of each channel, on the scale 0 to 1.
    pub std: [f32; 3],
}

/// Order of the channels in the input tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Channels {
    /// Red, green, blue.
    Rgb,
}

/// How a poster is brought to the input's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Width and height are scaled each on its own, with a triangle filter as wide as the scale asks (no aliasing).
    /// Nothing is cut off: the title at the foot of a poster and the face at its head both tell of its genre.
    Stretch,
}

impl Input {
    /// An RGB input of the given size, scaled to -1 to 1.
    pub fn rgb(width: u32, height: u32) -> Self {
        Self { width, height, channels: Channels::Rgb, resize: Resize::Stretch, mean: [0.5; 3], std: [0.5; 3] }
    }

    /// The number of values of one poster's input: `3 * height * width`.
    pub fn len(&self) -> usize {
        3 * self.width as usize * self.height as usize
    }

    /// Whether the input holds no value at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a poster cannot be used. Each message names the file.
#[derive(Debug, Error)]
pub enum PosterError {
    /// The file cannot be read.
    #[error("{path}: cannot be read ({source}); check the path and its permissions")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file holds nothing.
    #[error("{path}: is empty; copy or download it again")]
    Empty {
        /// The file.
        path: String,
    },
    /// The bytes are of no format that is read here.
    #[error("{path}: is not a JPEG, PNG or WebP picture; convert it to one of these")]
    Unknown {
        /// The file.
        path: String,
    },
    /// The header claims more pixels than allowed.
    #[error("{path}: claims {width} x {height} pixels, more than the limit of {limit}; scale it down first")]
    TooLarge {
        /// The file.
        path: String,
        /// Claimed width in pixels.
        width: u32,
        /// Claimed height in pixels.
        height: u32,
        /// The most pixels allowed.
        limit: u64,
    },
    /// The picture is damaged, or of a kind that the decoder does not know.
    #[error("{path}: cannot be decoded ({reason}); it is damaged or cut short, fetch it again")]
    Damaged {
        /// The file.
        path: String,
        /// What the decoder said.
        reason: String,
    },
}

/// Reads and decodes a poster file.
///
/// # Errors
/// See [`PosterError`].
pub fn open(path: &Path) -> Result<RgbImage, PosterError> {
    let bytes =
        fs::read(path).map_err(|source| PosterError::Unreadable { path: path.display().to_string(), source })?;
    decode(&bytes, &path.display().to_string())
}

/// [`decode_within`] the limit of [`MAX_PIXELS`].
///
/// # Errors
/// See [`PosterError`].
pub fn decode(bytes: &[u8], path: &str) -> Result<RgbImage, PosterError> {
    decode_within(bytes, path, MAX_PIXELS)
}

/// Decodes a JPEG, PNG or WebP picture of at most `max_pixels`, whatever its name ends in, into upright 8-bit RGB.
///
/// The EXIF orientation is applied, grey and CMYK become RGB, transparent pixels are laid over white. `path` is used
/// in messages only.
///
/// # Errors
/// See [`PosterError`].
pub fn decode_within(bytes: &[u8], path: &str, max_pixels: u64) -> Result<RgbImage, PosterError> {
    let path = || path.to_string();
    if bytes.is_empty() {
        return Err(PosterError::Empty { path: path() });
    }
    let damaged = |error: ImageError| PosterError::Damaged { path: path(), reason: one_line(&error.to_string()) };

    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().expect("reading from memory cannot fail");
    if reader.format().is_none() {
        return Err(PosterError::Unknown { path: path() });
    }
    let mut decoder = reader.into_decoder().map_err(|error| match error {
        ImageError::Unsupported(_) => PosterError::Unknown { path: path() },
        error => damaged(error),
    })?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(PosterError::TooLarge { path: path(), width, height, limit: max_pixels });
    }
    if is_cut_short(bytes) {
        return Err(PosterError::Damaged { path: path(), reason: "the file ends in the middle of the picture".into() });
    }

    let orientation = decoder.orientation().map_err(damaged)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    picture.apply_orientation(orientation);
    Ok(flatten(picture))
}

/// Whether a JPEG lacks the marker at its end. The decoder would fill what is missing with grey, and grey has no genre.
/// Inside of a scan a byte 0xFF is always followed by 0x00 or a restart marker (ITU-T T.81, B.1.1.5), so that the last
/// end marker of a whole file stands behind the last start of a scan; a thumbnail or a second picture changes nothing.
fn is_cut_short(bytes: &[u8]) -> bool {
    let last = |marker: u8| bytes.windows(2).rposition(|pair| pair == [0xFF, marker]);
    let (end, scan) = (last(0xD9), last(0xDA));
    bytes.starts_with(&[0xFF, 0xD8]) && end <= scan
}

/// 8-bit RGB of any picture; what is transparent shows white paper.
fn flatten(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let picture = picture.into_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue, alpha] = picture.get_pixel(x, y).0.map(u32::from);
        Rgb([red, green, blue].map(|value| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    })
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Brings a picture to `width` x `height` by the rule [`Resize::Stretch`].
///
/// # Panics
/// If the picture or the wanted size has no pixels.
pub fn resize(picture: &RgbImage, width: u32, height: u32) -> RgbImage {
    let mut resized = RgbImage::new(width, height);
    let source = ImageRef::new(picture.width(), picture.height(), picture.as_raw(), PixelType::U8x3)
        .expect("a picture's buffer fits its size");
    let mut target = fast_image_resize::images::Image::from_slice_u8(width, height, &mut resized, PixelType::U8x3)
        .expect("a picture's buffer fits its size");
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
    Resizer::new().resize(&source, &mut target, &options).expect("both pictures are 8-bit RGB and not empty");
    resized
}

/// Writes interleaved pixels, `[height, width, 3]`, as the planes of an input, `[3, height, width]`.
///
/// # Panics
/// If `pixels` or `planes` is not as long as [`Input::len`] says.
pub fn normalise(pixels: &[u8], input: &Input, planes: &mut [f32]) {
    assert_eq!(pixels.len(), input.len(), "pixels must be [height, width, 3]");
    assert_eq!(planes.len(), input.len(), "planes must be [3, height, width]");
    let area = input.len() / 3;
    for (channel, plane) in planes.chunks_exact_mut(area).enumerate() {
        let scale = 1.0 / (255.0 * input.std[channel]);
        let offset = -input.mean[channel] / input.std[channel];
        for (value, pixel) in plane.iter_mut().zip(pixels.chunks_exact(3)) {
            *value = f32::from(pixel[channel]) * scale + offset;
        }
    }
}

/// The whole of preprocessing for one picture: [`resize`], then [`normalise`]. Returns `[3, height, width]`.
pub fn tensor(picture: &RgbImage, input: &Input) -> Vec<f32> {
    let resized = resize(picture, input.width, input.height);
    let mut planes = vec![0.0; input.len()];
    normalise(&resized, input, &mut planes);
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalise_writes_planes_in_rgb_order() {
        let input = Input { mean: [0.0, 0.5, 1.0], std: [1.0, 0.5, 0.25], ..Input::rgb(2, 1) };
        let mut planes = vec![f32::NAN; 6];
        normalise(&[0, 255, 255, 255, 0, 0], &input, &mut planes);
        let expected = [0.0, 1.0, 1.0, -1.0, 0.0, -4.0];
        for (value, expected) in planes.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{planes:?}");
        }
    }

    #[test]
    fn resize_keeps_the_mean_of_a_picture() {
        let picture =
            RgbImage::from_fn(301, 447, |x, y| Rgb([(x % 256) as u8, (y % 256) as u8, ((x * y) % 256) as u8]));
        let mean = |picture: &RgbImage, channel: usize| {
            let values = picture.pixels().map(|pixel| f64::from(pixel[channel]));
            values.sum::<f64>() / f64::from(picture.width() * picture.height())
        };
        for (width, height) in [(96, 144), (301, 447), (64, 64), (7, 500)] {
            let resized = resize(&picture, width, height);
            assert_eq!(resized.dimensions(), (width, height));
            for channel in 0..3 {
                let difference = (mean(&resized, channel) - mean(&picture, channel)).abs();
                assert!(difference < 2.0, "{width} x {height}, channel {channel}: the mean moves by {difference}");
            }
        }
    }

    #[test]
    fn transparent_pixels_show_white() {
        let mut png = Cursor::new(Vec::new());
        let picture = image::RgbaImage::from_fn(2, 1, |x, _| image::Rgba([200, 0, 0, if x == 0 { 0 } else { 255 }]));
        picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let decoded = decode(png.get_ref(), "test.png").unwrap();
        assert_eq!(decoded.into_raw(), [255, 255, 255, 200, 0, 0]);
    }
}
