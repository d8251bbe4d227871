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
    file_len: usize,
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
        let mut chunks = Vec::new();
        match (&pixels.kind, animation, alpha) {
            (b"ANMF", Some(animation), _) => {
                // The other flags announce chunks that are left out.
                if let Some((flags, size)) = extended.and_then(|chunk| chunk.data.split_first()) {
                    write_chunk(*b"VP8X", &[&[flags & ALPHA | ANIMATION], size].concat(), &mut chunks);
                }
                write_chunk(animation.kind, animation.data, &mut chunks);
            }
            (b"VP8 ", _, Some(alpha)) => {
                // The size that the frame itself claims, whatever the file does: memory is reserved for it.
                let size = frame_size(&pixels).unwrap_or_default();
                let [width, height] = [size.0, size.1].map(|length| length.saturating_sub(1).to_le_bytes());
                write_chunk(*b"VP8X", &[&[ALPHA, 0, 0, 0], &width[..3], &height[..3]].concat(), &mut chunks);
                write_chunk(alpha.kind, alpha.data, &mut chunks);
            }
            _ => {}
        }
        write_chunk(pixels.kind, pixels.data, &mut chunks);
        let mut file = Vec::new();
        write_chunk(*b"RIFF", &[b"WEBP", &chunks[..]].concat(), &mut file);

        let file_len = file.len();
        let decoder = WebPDecoder::new(Cursor::new(file))?;
        let dimensions = decoder.dimensions();
        let mut frames = pixels.data.get(16..).filter(|_| pixels.kind == *b"ANMF").unwrap_or_default();
        while let Some(frame) = next_chunk(&mut frames) {
            if frame_size(&frame).is_some_and(|(width, height)| width > dimensions.0 || height > dimensions.1) {
                return Err(Refusal::Damaged("its first frame is larger than the animation".into()));
            }
        }
        Ok(Self { dimensions, orientation, decoder, file_len })
    }

    /// Bytes of the copy that is decoded.
    pub fn file_len(&self) -> u64 {
        self.file_len as u64
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

/// Width and height in the header of a lossy (RFC 6386, 9.1) or lossless (RFC 9649, 3.4) frame.
fn frame_size(chunk: &Chunk) -> Option<(u32, u32)> {
    match (&chunk.kind, chunk.data) {
        (b"VP8 ", &[_, _, _, _, _, _, w0, w1, h0, h1, ..]) => {
            let length = |bytes| u32::from(u16::from_le_bytes(bytes) & 0x3FFF);
            Some((length([w0, w1]), length([h0, h1])))
        }
        (b"VP8L", &[_, b0, b1, b2, b3, ..]) => {
            let bits = u32::from_le_bytes([b0, b1, b2, b3]);
            Some((1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)))
        }
        _ => None,
    }
}

fn write_chunk(kind: [u8; 4], data: &[u8], file: &mut Vec<u8>) {
    file.extend(kind);
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file.extend(&[0][..data.len() % 2]);
}
