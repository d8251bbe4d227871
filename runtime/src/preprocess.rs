//! A poster: from the bytes of a JPEG, PNG or WebP file to the model's input.
//!
//! This is the only preprocessing there is. Training keeps the pixels that [`DecodedImage::resize`] returns in its cache and feeds
//! them through [`normalise`]; the device does both in one go. Both read by [`decode_for`], which never makes the pixels of
//! a large JPEG; [`decode`] and [`resize`] are what that is held against.

mod jpeg;

use std::fs;
use std::io::Cursor;
use std::path::Path;

use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer, images::ImageRef};
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageReader, Rgb, RgbImage};
use serde::{Deserialize, Serialize};

use crate::error::{Error, one_line};

/// The most pixels that a poster may have: enough for a scan of 10,000 x 10,000.
pub const MAX_PIXELS: u64 = 100_000_000;

/// What the model expects of its input, a tensor `[N, 3, height, width]` of `(value / 255 - mean) / std`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputSpec {
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

impl InputSpec {
    /// An RGB input of the given size, scaled to -1 to 1.
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

    /// Whether the input holds no value at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A picture as it is stored, and how to look at it.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodedImage {
    stored: Stored,
    /// What makes it upright.
    orientation: Orientation,
}

#[derive(Clone, Debug, PartialEq)]
enum Stored {
    Pixels(RgbImage),
    /// A large JPEG.
    Waves(jpeg::Waves),
}

impl DecodedImage {
    /// Width and height of the upright poster in pixels.
    pub fn dimensions(&self) -> (u32, u32) {
        let stored = match &self.stored {
            Stored::Pixels(pixels) => pixels.dimensions(),
            Stored::Waves(waves) => waves.dimensions(),
        };
        turn(stored, self.orientation)
    }

    /// Brings the upright picture to `width` x `height` by the rule [`Resize::Stretch`].
    ///
    /// It is turned when it is small. A picture that [`decode_for`] was told a size for is blurred if it is made larger
    /// than that.
    ///
    /// # Panics
    /// If the wanted size has no pixels.
    pub fn resize(&self, width: u32, height: u32) -> RgbImage {
        let (width, height) = turn((width, height), self.orientation);
        let resized = match &self.stored {
            Stored::Pixels(pixels) => resize(pixels, width, height),
            Stored::Waves(waves) => waves.resize(width, height),
        };
        upright(resized, self.orientation)
    }
}

impl From<RgbImage> for DecodedImage {
    fn from(pixels: RgbImage) -> Self {
        Self { stored: Stored::Pixels(pixels), orientation: Orientation::NoTransforms }
    }
}

/// Width and height behind a turn by `orientation`.
fn turn<T>((width, height): (T, T), orientation: Orientation) -> (T, T) {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    match orientation {
        Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH => (height, width),
        _ => (width, height),
    }
}

fn upright(pixels: RgbImage, orientation: Orientation) -> RgbImage {
    if orientation == Orientation::NoTransforms {
        return pixels;
    }
    let mut picture = DynamicImage::from(pixels);
    picture.apply_orientation(orientation);
    picture.into_rgb8()
}

/// Reads a poster file and decodes all of it.
///
/// # Errors
/// See [`Error`].
pub fn open(path: &Path) -> Result<RgbImage, Error> {
    decode(&read(path)?, &path.display().to_string())
}

/// Reads a poster file and decodes it for a picture of the given width and height; see [`decode_for`].
///
/// # Errors
/// See [`Error`].
pub fn open_for(path: &Path, size: (u32, u32)) -> Result<DecodedImage, Error> {
    decode_for(&read(path)?, &path.display().to_string(), MAX_PIXELS, size)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|cause| Error::Unreadable { name: path.display().to_string(), cause })
}

/// Decodes all of a JPEG, PNG or WebP picture of at most [`MAX_PIXELS`], whatever its name ends in, into upright 8-bit
/// RGB.
///
/// The EXIF orientation is applied, grey and CMYK become RGB, transparent pixels are laid over white. `path` is used
/// in messages only.
///
/// # Errors
/// See [`Error`].
pub fn decode(bytes: &[u8], name: &str) -> Result<RgbImage, Error> {
    let (decoder, orientation) = begin(bytes, name, MAX_PIXELS)?;
    Ok(upright(finish(decoder, name)?, orientation))
}

/// As [`decode`], but of at most `max_pixels`, and for pictures up to the given width and height that
/// [`DecodedImage::resize`] will make of it: of a JPEG of many times that size only what they need is kept.
///
/// # Errors
/// See [`Error`].
pub fn decode_for(bytes: &[u8], name: &str, max_pixels: u64, size: (u32, u32)) -> Result<DecodedImage, Error> {
    let (decoder, orientation) = begin(bytes, name, max_pixels)?;
    // What cannot be read like that is left to the decoder of full pictures, whose word on damaged files holds.
    let waves = jpeg::Waves::read(bytes, turn(size, orientation));
    let stored = waves.map_or_else(|| finish(decoder, name).map(Stored::Pixels), |waves| Ok(Stored::Waves(waves)))?;
    Ok(DecodedImage { stored, orientation })
}

/// The decoder of a picture, and how to look at it.
fn begin<'a>(bytes: &'a [u8], name: &str, max_pixels: u64) -> Result<(impl ImageDecoder + 'a, Orientation), Error> {
    let name = || name.to_string();
    if bytes.is_empty() {
        return Err(Error::Empty { name: name() });
    }
    let damaged = |error| damaged(error, &name());
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().expect("reading from memory cannot fail");
    if reader.format().is_none() {
        return Err(Error::UnknownFormat { name: name() });
    }
    let mut decoder = reader.into_decoder().map_err(|error| match error {
        ImageError::Unsupported(_) => Error::UnknownFormat { name: name() },
        error => damaged(error),
    })?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > max_pixels {
        return Err(Error::TooLarge { name: name(), width, height, limit: max_pixels });
    }
    if is_cut_short(bytes) {
        return Err(Error::Damaged { name: name(), reason: "the file ends in the middle of the picture".into() });
    }

    let orientation = decoder.orientation().map_err(damaged)?;
    Ok((decoder, orientation))
}

fn finish(decoder: impl ImageDecoder, name: &str) -> Result<RgbImage, Error> {
    DynamicImage::from_decoder(decoder).map(flatten).map_err(|error| damaged(error, name))
}

fn damaged(error: ImageError, name: &str) -> Error {
    Error::Damaged { name: name.to_string(), reason: one_line(&error.to_string()) }
}

/// Whether a JPEG lacks the marker at its end. The decoder would fill what is missing with grey, and grey has no genre.
/// Inside of a scan a byte 0xFF is always followed by 0x00 or a restart marker (ITU-T T.81, B.1.1.5), so that the last
/// end marker of a whole file stands behind the last start of a scan; a thumbnail or a second picture changes nothing.
fn is_cut_short(bytes: &[u8]) -> bool {
    let last = |bytes: &[u8], marker: u8| bytes.windows(2).rposition(|pair| pair == [0xFF, marker]);
    // Only what follows the end marker is looked through for a scan: a byte or two of a whole file.
    let is_whole = last(bytes, 0xD9).is_some_and(|end| last(&bytes[end..], 0xDA).is_none());
    bytes.starts_with(&[0xFF, 0xD8]) && !is_whole
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
/// If `pixels` or `planes` is not as long as [`InputSpec::len`] says.
pub fn normalise(pixels: &[u8], input: &InputSpec, planes: &mut [f32]) {
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

/// The whole of preprocessing for one picture: [`DecodedImage::resize`], then [`normalise`]. Returns `[3, height, width]`.
pub fn tensor(picture: &DecodedImage, input: &InputSpec) -> Vec<f32> {
    let resized = picture.resize(input.width, input.height);
    let mut planes = vec![0.0; input.len()];
    normalise(&resized, input, &mut planes);
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
