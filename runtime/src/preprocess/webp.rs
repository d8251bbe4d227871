//! WebP files: the chunks that hold pixels, read whatever is wrong with the others.

use std::io::Cursor;

use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError};

use super::exif;
use super::refusal::{CUT_SHORT, Refusal};

/// Flags of the VP8X chunk.
const ANIMATION: u8 = 0x02;
const ALPHA: u8 = 0x10;

/// A WebP file whose chunks were read.
pub struct WebP {
    /// Width and height in pixels.
    pub dimensions: (u32, u32),
    /// The orientation in the EXIF chunk.
    pub orientation: Option<Orientation>,
    decoder: WebPDecoder<Cursor<Vec<u8>>>,
}

impl WebP {
    /// Reads the chunks of a file and the header of its pixels. Of an animation the first frame is kept.
    ///
    /// # Errors
    /// [`Refusal::Damaged`] if there are no pixels, or not all of them.
    pub fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut orientation = None;
        let (mut extended, mut animation, mut alpha, mut pixels) = (None, None, None, None);
        // The file's own length, behind RIFF, is often wrong.
        let mut rest = bytes.get(12..).unwrap_or_default();
        while let Some(chunk) = next_chunk(&mut rest) {
            match &chunk.kind {
                b"VP8X" => extended = extended.or(Some(chunk)),
                b"ANIM" => animation = animation.or(Some(chunk)),
                b"ALPH" => alpha = alpha.or(Some(chunk)),
                b"VP8 " | b"VP8L" | b"ANMF" => pixels = pixels.or(Some(chunk)),
                b"EXIF" if orientation.is_none() => orientation = exif::orientation(chunk.data),
                _ => {}
            }
        }
        let pixels = pixels.ok_or_else(|| Refusal::Damaged("it has no pixels".into()))?;
        if pixels.is_cut {
            return Err(Refusal::Damaged(CUT_SHORT.into()));
        }
        let before = match &pixels.kind {
            b"ANMF" => animation,
            b"VP8 " => alpha,
            _ => None,
        };
        let mut chunks = Vec::new();
        if let (Some(before), Some((flags, size))) = (before, extended.and_then(|chunk| chunk.data.split_first())) {
            // The other flags announce chunks that are left out.
            let flags = if before.kind == *b"ALPH" { ALPHA } else { flags & ALPHA | ANIMATION };
            write_chunk(*b"VP8X", &[&[flags], size].concat(), &mut chunks);
            write_chunk(before.kind, before.data, &mut chunks);
        }
        write_chunk(pixels.kind, pixels.data, &mut chunks);
        let mut file = Vec::new();
        write_chunk(*b"RIFF", &[b"WEBP", &chunks[..]].concat(), &mut file);

        let decoder = WebPDecoder::new(Cursor::new(file))?;
        Ok(Self { dimensions: decoder.dimensions(), orientation, decoder })
    }

    /// Decodes the pixels.
    ///
    /// # Errors
    /// [`Refusal::Damaged`] if they cannot be decoded.
    pub fn pixels(self) -> Result<DynamicImage, Refusal> {
        Ok(DynamicImage::from_decoder(self.decoder)?)
    }
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        Self::Damaged(crate::error::one_line(&error.to_string()))
    }
}

/// A chunk of a RIFF file.
#[derive(Clone, Copy)]
struct Chunk<'a> {
    kind: [u8; 4],
    data: &'a [u8],
    /// Whether it has less data than it claims, at the end of the file.
    is_cut: bool,
}

/// The next chunk.
fn next_chunk<'a>(rest: &mut &'a [u8]) -> Option<Chunk<'a>> {
    let &[k0, k1, k2, k3, l0, l1, l2, l3] = rest.first_chunk()?;
    let kind = [k0, k1, k2, k3];
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let (data, next) = rest[8..].split_at_checked(length).unwrap_or((&rest[8..], &[][..]));
    // A byte that makes the length even follows, unless the program forgot it.
    let is_padded = length % 2 == 1 && !next.first().is_some_and(u8::is_ascii_uppercase);
    *rest = if is_padded { next.get(1..).unwrap_or_default() } else { next };
    Some(Chunk { kind, data, is_cut: data.len() < length })
}

fn write_chunk(kind: [u8; 4], data: &[u8], file: &mut Vec<u8>) {
    file.extend(kind);
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file.extend(&[0][..data.len() % 2]);
}
