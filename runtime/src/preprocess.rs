//! Preprocessing: decode a JPEG, PNG or WebP poster, apply its EXIF orientation, resize it, normalise it to a tensor.
//!
//! Training and inference share this module, so that both see the same pixels. Training stores the pixels that
//! [`DecodedImage::resize`] returns in a cache and passes them to [`normalise`]; inference does both at once in
//! [`tensor`].
//!
//! [`decode`] and [`resize`] work on all pixels of an image. [`decode_for`] is told the size that is wanted: a large
//! JPEG is then downscaled in the DCT domain, without an IDCT at full resolution, and a large PNG while its rows are
//! read. [`EncodedImage`] tells the memory that this takes before it is done. `tests/jpeg.rs` decodes every kind of
//! JPEG, `tests/jpeg_scaling.rs` compares the two ways, `tests/decode.rs` covers formats and damaged files.

mod encoded;
mod exif;
mod format;
mod jpeg;
mod png;
mod reduced;
mod refusal;
mod rgb8;
mod webp;

use std::fs;
use std::path::Path;

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images::ImageRef};
use image::DynamicImage;
use image::metadata::Orientation;
use serde::{Deserialize, Serialize};

pub use self::encoded::EncodedImage;
use self::reduced::ReducedImage;
pub use self::rgb8::Rgb8Image;
use crate::error::Error;

/// The most pixels (width times height) that a poster may have: enough for a scan of 10,000 x 10,000.
pub const MAX_PIXELS: u64 = 100_000_000;

/// The input of a model, a tensor `[N, 3, height, width]` of `(value / 255 - mean) / std`, `value` from 0 to 255.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Order of the three channels.
    pub channels: Channels,
    /// Resizing of a poster to `width` x `height`.
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

/// Resizing of a poster to the input's size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resize {
    /// Width and height are scaled independently by an antialiasing triangle (bilinear) filter, whose support grows
    /// with the scale. Nothing is cropped: the title at the foot of a poster and the face at its head both tell of its
    /// genre.
    Stretch,
}

impl InputSpec {
    /// An RGB input of the given size in pixels, normalised to -1 to 1.
    pub fn rgb(width: u32, height: u32) -> Self {
        Self { width, height, channels: Channels::Rgb, resize: Resize::Stretch, mean: [0.5; 3], std: [0.5; 3] }
    }

    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The number of values of one poster's input: `3 * height * width`.
    pub fn len(&self) -> usize {
        3 * self.width as usize * self.height as usize
    }

    /// Whether the input has no values.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A decoded image with its EXIF orientation, which is applied after resizing: RGB pixels, or of a large JPEG the DCT
/// coefficients that the wanted size needs, or of a large PNG averages.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedImage {
    stored: Stored,
    orientation: Orientation,
}

#[derive(Clone, Debug, PartialEq)]
enum Stored {
    Pixels(Rgb8Image),
    /// A large JPEG.
    Dct(jpeg::DctImage),
    /// A large PNG.
    Reduced(ReducedImage),
}

impl DecodedImage {
    /// Width and height of the upright image in pixels: those of the file, whatever size it was decoded for.
    pub fn dimensions(&self) -> (u32, u32) {
        let stored = match &self.stored {
            Stored::Pixels(pixels) => pixels.dimensions(),
            Stored::Dct(image) => image.dimensions(),
            Stored::Reduced(image) => image.dimensions,
        };
        oriented(stored, self.orientation)
    }

    /// The upright image, resized to `width` x `height` pixels by [`Resize::Stretch`].
    ///
    /// An image that [`decode_for`] decoded for a smaller size is blurred: it lacks the high frequencies.
    ///
    /// # Panics
    /// If `width` or `height` is 0.
    pub fn resize(&self, width: u32, height: u32) -> Rgb8Image {
        let (width, height) = oriented((width, height), self.orientation);
        let resized = match &self.stored {
            Stored::Pixels(pixels) => resize(pixels, width, height),
            Stored::Dct(image) => image.resize(width, height),
            Stored::Reduced(ReducedImage { averages, dimensions, reduction }) => {
                let side = |length: u32| f64::from(length) / f64::from(*reduction);
                resize_part(averages, (side(dimensions.0), side(dimensions.1)), width, height)
            }
        };
        upright(resized, self.orientation)
    }
}

impl From<ReducedImage> for Stored {
    fn from(image: ReducedImage) -> Self {
        if image.reduction == 1 { Self::Pixels(image.averages) } else { Self::Reduced(image) }
    }
}

impl From<Rgb8Image> for DecodedImage {
    fn from(pixels: Rgb8Image) -> Self {
        Self { stored: Stored::Pixels(pixels), orientation: Orientation::NoTransforms }
    }
}

/// Width and height after `orientation` is applied; also the reverse, as all that matters is whether they are swapped.
fn oriented<T>((width, height): (T, T), orientation: Orientation) -> (T, T) {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (height, width),
        _ => (width, height),
    }
}

/// Applies an EXIF orientation.
fn upright(pixels: Rgb8Image, orientation: Orientation) -> Rgb8Image {
    if orientation == Orientation::NoTransforms {
        return pixels;
    }
    let (width, height) = pixels.dimensions();
    let pixels = image::RgbImage::from_raw(width, height, pixels.into_raw()).expect("three samples for each pixel");
    let mut image = DynamicImage::from(pixels);
    image.apply_orientation(orientation);
    into_rgb8(image)
}

/// 8-bit RGB without a copy if it is that already.
fn into_rgb8(image: DynamicImage) -> Rgb8Image {
    let image = image.into_rgb8();
    let (width, height) = image.dimensions();
    Rgb8Image::from_raw(width, height, image.into_raw()).expect("three samples for each pixel")
}

/// Reads a poster file and decodes all of its pixels, as [`decode`] does.
///
/// # Errors
/// [`Error::Unreadable`] if the file cannot be read, else as [`decode`].
pub fn open(path: &Path) -> Result<Rgb8Image, Error> {
    decode(&read(path)?, &path.display().to_string())
}

/// Reads a poster file and decodes it for the given width and height in pixels, as [`decode_for`] does with
/// [`MAX_PIXELS`].
///
/// # Errors
/// [`Error::Unreadable`] if the file cannot be read, else as [`decode`].
pub fn open_for(path: &Path, size: (u32, u32)) -> Result<DecodedImage, Error> {
    decode_for(&read(path)?, &path.display().to_string(), MAX_PIXELS, size)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|cause| Error::Unreadable { name: path.display().to_string(), cause })
}

/// Decodes all pixels of a JPEG, PNG or WebP image of at most [`MAX_PIXELS`] to upright 8-bit RGB.
///
/// The format is told from the bytes. The EXIF orientation is applied, grey and CMYK become RGB, transparent pixels are
/// blended over white. Whatever does not change the pixels may be missing or wrong: metadata, their lengths, the end of
/// the file, and bytes behind it. `name` is used in messages only.
///
/// # Errors
/// * [`Error::Empty`] if there are no bytes,
/// * [`Error::UnknownFormat`] or [`Error::OtherFormat`] if they are not of one of the three formats,
/// * [`Error::Unsupported`] if they are of a rare kind of one of these,
/// * [`Error::TooLarge`] if the header claims too many pixels,
/// * [`Error::Damaged`] if the image is truncated or otherwise cannot be decoded.
pub fn decode(bytes: &[u8], name: &str) -> Result<Rgb8Image, Error> {
    EncodedImage::read(bytes, name, MAX_PIXELS)?.decode()
}

/// Decodes an image of at most `max_pixels` for `size`: [`EncodedImage::read`], then [`EncodedImage::decode_for`].
///
/// # Errors
/// As [`decode`].
pub fn decode_for(bytes: &[u8], name: &str, max_pixels: u64, size: (u32, u32)) -> Result<DecodedImage, Error> {
    EncodedImage::read(bytes, name, max_pixels)?.decode_for(size)
}

/// Resizes an image to `width` x `height` pixels by [`Resize::Stretch`].
///
/// # Panics
/// If a side of the image, `width` or `height` is 0.
pub fn resize(image: &Rgb8Image, width: u32, height: u32) -> Rgb8Image {
    resize_part(image, (image.width().into(), image.height().into()), width, height)
}

/// Resizes the upper left `part` of an image: width and height in pixels, which may be fractions.
fn resize_part(image: &Rgb8Image, part: (f64, f64), width: u32, height: u32) -> Rgb8Image {
    let mut resized = Rgb8Image::new(width, height);
    let source = ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3)
        .expect("three samples for each pixel");
    let mut target =
        fast_image_resize::images::Image::from_slice_u8(width, height, resized.as_raw_mut(), PixelType::U8x3)
            .expect("three samples for each pixel");
    let options =
        ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(0.0, 0.0, part.0, part.1);
    Resizer::new().resize(&source, &mut target, &options).expect("both images are 8-bit RGB and not empty");
    resized
}

/// Normalises interleaved samples, `[height, width, 3]`, to the planes of an input, `[3, height, width]`: each value
/// becomes `(value / 255 - mean) / std`.
///
/// # Panics
/// If the length of `samples` or `planes` is not [`InputSpec::len`].
pub fn normalise(samples: &[u8], input: &InputSpec, planes: &mut [f32]) {
    assert_eq!(samples.len(), input.len(), "samples must be [height, width, 3]");
    assert_eq!(planes.len(), input.len(), "planes must be [3, height, width]");
    let area = input.len() / 3;
    for (channel, plane) in planes.chunks_exact_mut(area).enumerate() {
        let scale = 1.0 / (255.0 * input.std[channel]);
        let offset = -input.mean[channel] / input.std[channel];
        for (value, pixel) in plane.iter_mut().zip(samples.chunks_exact(3)) {
            *value = f32::from(pixel[channel]) * scale + offset;
        }
    }
}

/// The input tensor of one image, `[3, height, width]`: [`DecodedImage::resize`], then [`normalise`].
///
/// ```
/// use runtime::preprocess::{self, InputSpec, MAX_PIXELS};
///
/// # let bytes = std::fs::read("../fixtures/posters/adventure-large.jpg")?;
/// let input = InputSpec::rgb(96, 144);
/// let image = preprocess::decode_for(&bytes, "poster.jpg", MAX_PIXELS, input.size())?;
/// assert_eq!(image.dimensions(), (1000, 1500));
///
/// let tensor = preprocess::tensor(&image, &input);
/// assert_eq!(tensor.len(), 3 * 144 * 96);
/// assert!(tensor.iter().all(|value| value.abs() < 1.001));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// If the input's width or height is 0.
pub fn tensor(image: &DecodedImage, input: &InputSpec) -> Vec<f32> {
    let resized = image.resize(input.width, input.height);
    let mut planes = vec![0.0; input.len()];
    normalise(resized.as_raw(), input, &mut planes);
    planes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalise_writes_planes_in_rgb_order() {
        let input = InputSpec { mean: [0.0, 0.5, 1.0], std: [1.0, 0.5, 0.25], ..InputSpec::rgb(2, 1) };
        let mut planes = vec![f32::NAN; 6];
        normalise(&[0, 255, 255, 255, 0, 0], &input, &mut planes);
        let expected = [0.0, 1.0, 1.0, -1.0, 0.0, -4.0];
        for (value, expected) in planes.iter().zip(expected) {
            assert!((value - expected).abs() < 1e-6, "{planes:?}");
        }
    }

    #[test]
    fn resize_keeps_the_mean_of_an_image() {
        let image = Rgb8Image::from_fn(301, 447, |x, y| [(x % 256) as u8, (y % 256) as u8, ((x * y) % 256) as u8]);
        let mean = |image: &Rgb8Image, channel: usize| {
            let values = image.pixels().map(|pixel| f64::from(pixel[channel]));
            values.sum::<f64>() / f64::from(image.width() * image.height())
        };
        for (width, height) in [(96, 144), (301, 447), (64, 64), (7, 500)] {
            let resized = resize(&image, width, height);
            assert_eq!(resized.dimensions(), (width, height));
            for channel in 0..3 {
                let difference = (mean(&resized, channel) - mean(&image, channel)).abs();
                assert!(difference < 2.0, "{width} x {height}, channel {channel}: the mean moves by {difference}");
            }
        }
    }

    #[test]
    fn transparent_pixels_are_blended_over_white() {
        let mut png = std::io::Cursor::new(Vec::new());
        let image = image::RgbaImage::from_fn(2, 1, |x, _| image::Rgba([200, 0, 0, if x == 0 { 0 } else { 255 }]));
        image.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let decoded = decode(png.get_ref(), "test.png").unwrap();
        assert_eq!(decoded.into_raw(), [255, 255, 255, 200, 0, 0]);
    }
}
