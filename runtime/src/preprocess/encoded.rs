//! An image file whose header was read: its size, the memory that decoding takes, and decoding.

use image::DynamicImage;
use image::metadata::Orientation;

use super::format::Format;
use super::reduced::reduction;
use super::refusal::Refusal;
use super::rgb8::{Rgb8Image, over_white};
use super::{DecodedImage, Stored, jpeg, oriented, png, upright, webp};
use crate::error::Error;

/// Bytes on the heap for small tables and buffers of any decoder, and of resizing.
const OVERHEAD: u64 = 1 << 20;

/// A JPEG, PNG or WebP file whose header was read, but not its pixels.
///
/// ```
/// use runtime::preprocess::{EncodedImage, MAX_PIXELS};
///
/// # let bytes = std::fs::read("../fixtures/posters/adventure-large.jpg")?;
/// let encoded = EncodedImage::read(&bytes, "poster.jpg", MAX_PIXELS)?;
/// assert_eq!(encoded.dimensions(), (1000, 1500));
/// assert!(encoded.memory((96, 144)) < 4 << 20);
/// let image = encoded.decode_for((96, 144))?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct EncodedImage<'a> {
    name: &'a str,
    /// Width and height in pixels, before the orientation is applied.
    dimensions: (u32, u32),
    orientation: Orientation,
    content: Content<'a>,
}

enum Content<'a> {
    Jpeg(Box<jpeg::Decoder<'a>>),
    Png(png::Png<'a>),
    WebP(Box<webp::WebP>),
}

impl<'a> EncodedImage<'a> {
    /// Reads the header of an image of at most `max_pixels`. `name` is used in messages only.
    ///
    /// # Errors
    /// As [`decode`](super::decode), but for damaged pixels.
    pub fn read(bytes: &'a [u8], name: &'a str, max_pixels: u64) -> Result<Self, Error> {
        let owned = || name.to_string();
        if bytes.is_empty() {
            return Err(Error::Empty { name: owned() });
        }
        let format = Format::of(bytes).map_err(|other| match other {
            Some(format) => Error::OtherFormat { name: owned(), format },
            None => Error::UnknownFormat { name: owned() },
        })?;
        let image = Self::read_format(bytes, name, format).map_err(|refusal| refusal.named(name))?;
        let (width, height) = image.dimensions;
        if u64::from(width) * u64::from(height) > max_pixels {
            return Err(Error::TooLarge { name: owned(), width, height, limit: max_pixels });
        }
        Ok(image)
    }

    fn read_format(bytes: &'a [u8], name: &'a str, format: Format) -> Result<Self, Refusal> {
        let (dimensions, orientation, content) = match format {
            Format::Jpeg => {
                let jpeg = Box::new(jpeg::Decoder::new(bytes)?);
                (jpeg.dimensions(), jpeg.orientation(), Content::Jpeg(jpeg))
            }
            Format::Png => {
                let png = png::Png::read(bytes)?;
                (png.dimensions, png.orientation, Content::Png(png))
            }
            Format::WebP => {
                let webp = Box::new(webp::WebP::read(bytes)?);
                (webp.dimensions, webp.orientation, Content::WebP(webp))
            }
        };
        Ok(Self { name, dimensions, orientation: orientation.unwrap_or(Orientation::NoTransforms), content })
    }

    /// Width and height of the upright image in pixels.
    pub fn dimensions(&self) -> (u32, u32) {
        oriented(self.dimensions, self.orientation)
    }

    /// The most bytes on the heap, beside those of the file, that decoding for a size and resizing to it take: an upper
    /// bound, for a program that limits its memory.
    pub fn memory(&self, size: (u32, u32)) -> u64 {
        let size = oriented(size, self.orientation);
        let pixels = |bytes: u64| bytes * u64::from(self.dimensions.0) * u64::from(self.dimensions.1);
        let reduction = match self.content {
            Content::Png(_) => reduction(self.dimensions, size),
            Content::Jpeg(_) | Content::WebP(_) => 1,
        };
        let decoding = match &self.content {
            Content::Jpeg(jpeg) => jpeg.memory(size),
            Content::Png(png) => png.memory(reduction),
            // Frame, canvas and result with transparency, four bytes each.
            Content::WebP(webp) => webp.file_len() + pixels(12),
        };
        // Between the two axes an image has one of its own sides and one of the result's; the result, twice if it is
        // turned.
        let (width, height) = (u64::from(size.0), u64::from(size.1));
        let side = |length: u32| u64::from(length.div_ceil(reduction));
        let resizing = 3 * (side(self.dimensions.0) * height).max(side(self.dimensions.1) * width) + 8 * width * height;
        OVERHEAD + decoding + resizing
    }

    /// Decodes the image. [`DecodedImage::resize`] will bring it to `size` or less: the width and height in pixels of
    /// the upright image.
    ///
    /// A JPEG of 2.5 times that size or more, on both sides, is kept as DCT coefficients, and only as many of each
    /// block as the size needs; but for CMYK. A PNG of 8 times that size or more is averaged in squares. Of all others
    /// every pixel is kept.
    ///
    /// # Errors
    /// As [`decode`](super::decode).
    pub fn decode_for(self, size: (u32, u32)) -> Result<DecodedImage, Error> {
        let size = oriented(size, self.orientation);
        let stored = match self.content {
            Content::Jpeg(jpeg) if jpeg.can_downscale(size) => {
                jpeg.downscaled(size).map(Stored::Dct).map_err(Refusal::from)
            }
            Content::Png(png) => png.pixels(reduction(self.dimensions, size)).map(Stored::from),
            content => content.pixels().map(Stored::Pixels),
        };
        let stored = stored.map_err(|refusal| refusal.named(self.name))?;
        Ok(DecodedImage { stored, orientation: self.orientation })
    }

    /// Decodes all pixels of the upright image.
    ///
    /// # Errors
    /// As [`decode`](super::decode).
    pub fn decode(self) -> Result<Rgb8Image, Error> {
        let pixels = self.content.pixels().map_err(|refusal| refusal.named(self.name))?;
        Ok(upright(pixels, self.orientation))
    }
}

impl Content<'_> {
    fn pixels(self) -> Result<Rgb8Image, Refusal> {
        match self {
            Self::Jpeg(jpeg) => Ok(jpeg.pixels()?),
            Self::Png(png) => Ok(png.pixels(1)?.averages),
            Self::WebP(webp) => Ok(flatten(webp.pixels()?)),
        }
    }
}

/// 8-bit RGB of a WebP; transparent pixels are blended over white.
fn flatten(image: DynamicImage) -> Rgb8Image {
    if !image.color().has_alpha() {
        return super::into_rgb8(image);
    }
    let image = image.into_rgba8();
    Rgb8Image::from_fn(image.width(), image.height(), |x, y| {
        let [red, green, blue, alpha] = image.get_pixel(x, y).0;
        over_white([red, green, blue], alpha)
    })
}
