//! PNG files: the chunks that hold pixels, read whatever is wrong with the others.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageBuffer};
use png::{BitDepth, ColorType, DecodeOptions, Decoder, DecodingError, Limits, Transformations};

use super::exif;
use super::refusal::{CUT_SHORT, Refusal};

/// Signature of a PNG.
pub const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The last chunk.
const IEND: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

/// A PNG file whose chunks were read.
pub struct Png {
    /// Width and height in pixels.
    pub dimensions: (u32, u32),
    /// The orientation in the EXIF chunk before the pixels; behind them it comes too late for most programs.
    pub orientation: Option<Orientation>,
    /// The file with header, palette, transparency and pixels only, and an end.
    bytes: Vec<u8>,
    /// Whether the end was missing.
    is_cut: bool,
}

impl Png {
    /// Reads the chunks of a file. The animation of an APNG is left out: its pixels are those of the still image.
    ///
    /// # Errors
    /// [`Refusal`] if it has no header, or is of the form that Apple's programs read only.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut orientation = None;
        let mut kept: [Vec<u8>; 4] = Default::default();
        let [header, palette, transparency, pixels] = &mut kept;
        let mut rest = bytes.strip_prefix(SIGNATURE).unwrap_or_default();
        let mut has_end = false;
        while let Some(chunk) = next_chunk(&mut rest) {
            match &chunk.kind {
                b"IDAT" if chunk.is_cut => {
                    pixels.extend((chunk.data.len() as u32).to_be_bytes());
                    pixels.extend(chunk.kind);
                    pixels.extend(chunk.data);
                    pixels.extend([0; 4]);
                }
                b"IDAT" => pixels.extend(chunk.bytes),
                b"IHDR" if header.is_empty() => header.extend(chunk.bytes),
                b"PLTE" if palette.is_empty() => palette.extend(chunk.bytes),
                b"tRNS" if transparency.is_empty() => transparency.extend(chunk.bytes),
                b"eXIf" if pixels.is_empty() && orientation.is_none() => orientation = exif::orientation(chunk.data),
                b"CgBI" => return Err(Refusal::Unsupported("PNG in the form of iOS apps (CgBI)")),
                b"IEND" => {
                    has_end = true;
                    break;
                }
                _ => {}
            }
        }
        let Some(&[w0, w1, w2, w3, h0, h1, h2, h3]) = header.get(8..).and_then(<[u8]>::first_chunk) else {
            return Err(Refusal::Damaged(if has_end { "it has no header".into() } else { CUT_SHORT.into() }));
        };
        let dimensions = (u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3]));
        let bytes = [SIGNATURE, &kept[0], &kept[1], &kept[2], &kept[3], IEND].concat();
        Ok(Self { dimensions, orientation, bytes, is_cut: !has_end })
    }

    /// Decodes the pixels.
    ///
    /// They are protected by two checksums: one of each chunk (CRC), and one of all pixels (Adler-32). One may be
    /// wrong; if both are, the pixels are.
    ///
    /// # Errors
    /// [`Refusal::Damaged`] if pixels are wrong or missing.
    pub fn pixels(&self) -> Result<DynamicImage, Refusal> {
        let mut options = DecodeOptions::default();
        self.decode(options.clone())
            .or_else(|_| {
                options.set_ignore_crc(true);
                options.set_ignore_adler32(false);
                self.decode(options)
            })
            .map_err(|error| {
                Refusal::Damaged(if self.is_cut {
                    CUT_SHORT.into()
                } else {
                    crate::error::one_line(&error.to_string())
                })
            })
    }

    fn decode(&self, options: DecodeOptions) -> Result<DynamicImage, DecodingError> {
        let mut decoder = Decoder::new_with_options(Cursor::new(&self.bytes), options);
        decoder.set_limits(Limits { bytes: usize::MAX });
        decoder.set_transformations(Transformations::EXPAND);
        let mut reader = decoder.read_info()?;
        let mut samples = vec![0; reader.output_buffer_size().ok_or(DecodingError::LimitsExceeded)?];
        let frame = reader.next_frame(&mut samples)?;
        let (width, height) = self.dimensions;
        let wide =
            |samples: &[u8]| samples.as_chunks().0.iter().map(|bytes| u16::from_be_bytes(*bytes)).collect::<Vec<u16>>();
        let image: Option<DynamicImage> = match (frame.color_type, frame.bit_depth == BitDepth::Sixteen) {
            (ColorType::Grayscale, false) => {
                ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLuma8)
            }
            (ColorType::GrayscaleAlpha, false) => {
                ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLumaA8)
            }
            (ColorType::Rgba, false) => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgba8),
            // A palette was expanded.
            (ColorType::Rgb | ColorType::Indexed, false) => {
                ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgb8)
            }
            (ColorType::Grayscale, true) => {
                ImageBuffer::from_raw(width, height, wide(&samples)).map(DynamicImage::ImageLuma16)
            }
            (ColorType::GrayscaleAlpha, true) => {
                ImageBuffer::from_raw(width, height, wide(&samples)).map(DynamicImage::ImageLumaA16)
            }
            (ColorType::Rgba, true) => {
                ImageBuffer::from_raw(width, height, wide(&samples)).map(DynamicImage::ImageRgba16)
            }
            (ColorType::Rgb | ColorType::Indexed, true) => {
                ImageBuffer::from_raw(width, height, wide(&samples)).map(DynamicImage::ImageRgb16)
            }
        };
        image.ok_or(DecodingError::LimitsExceeded)
    }
}

/// A chunk of a PNG.
struct Chunk<'a> {
    kind: [u8; 4],
    /// Length, kind, data and checksum.
    bytes: &'a [u8],
    data: &'a [u8],
    /// Whether it has fewer bytes than it claims, at the end of the file.
    is_cut: bool,
}

/// The next chunk.
fn next_chunk<'a>(rest: &mut &'a [u8]) -> Option<Chunk<'a>> {
    let &[l0, l1, l2, l3, k0, k1, k2, k3] = rest.first_chunk()?;
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let whole = rest.split_at_checked(length.saturating_add(12));
    let (bytes, next) = whole.unwrap_or((*rest, &[][..]));
    *rest = next;
    let data = bytes.get(8..length.saturating_add(8)).unwrap_or(&bytes[8..]);
    Some(Chunk { kind: [k0, k1, k2, k3], bytes, data, is_cut: whole.is_none() })
}
