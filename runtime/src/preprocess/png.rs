//! PNG files: the chunks that hold pixels, read whatever is wrong with the others, and decoded row by row.

use std::borrow::Cow;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::slice;

use image::metadata::Orientation;
use png::{BitDepth, DecodeOptions, Decoder, DecodingError, Limits, Transformations};

use super::exif;
use super::reduced::{ReducedImage, Reducer};
use super::refusal::{CUT_SHORT, Refusal};
use super::rgb8::over_white;

/// Signature of a PNG.
pub const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// The last chunk.
const IEND: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

/// Bytes that the decoder of crate `png` takes beside its rows.
const DECODER_BYTES: u64 = 512 << 10;

/// A PNG file whose chunks were read.
pub struct Png<'a> {
    /// Width and height in pixels.
    pub dimensions: (u32, u32),
    /// The orientation in the EXIF chunk before the pixels; behind them it comes too late for most programs.
    pub orientation: Option<Orientation>,
    /// The file with header, palette, transparency and pixels only, and an end.
    pieces: Vec<Cow<'a, [u8]>>,
    /// Bits of a sample, and whether the rows come in seven passes (Adam7).
    depth: u8,
    is_interlaced: bool,
    /// Whether the end was missing.
    is_cut: bool,
}

impl<'a> Png<'a> {
    /// Reads the chunks of a file. The animation of an APNG is left out: its pixels are those of the still image.
    ///
    /// # Errors
    /// [`Refusal`] if it has no header, or is of the form that Apple's programs read only.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let mut orientation = None;
        let [mut header, mut palette, mut transparency] = [None; 3];
        let mut pixels: Vec<Cow<[u8]>> = Vec::new();
        let mut rest = bytes.strip_prefix(SIGNATURE).unwrap_or_default();
        let mut has_end = false;
        while let Some(chunk) = next_chunk(&mut rest) {
            match &chunk.kind {
                b"IDAT" if chunk.is_cut => {
                    let length = (chunk.data.len() as u32).to_be_bytes();
                    pixels.push([&length, &chunk.kind[..], chunk.data, &[0; 4]].concat().into());
                }
                b"IDAT" => pixels.push(chunk.bytes.into()),
                b"IHDR" => header = header.or(Some(chunk.bytes)),
                b"PLTE" => palette = palette.or(Some(chunk.bytes)),
                b"tRNS" => transparency = transparency.or(Some(chunk.bytes)),
                b"eXIf" if pixels.is_empty() && orientation.is_none() => orientation = exif::orientation(chunk.data),
                b"CgBI" => return Err(Refusal::Unsupported("PNG in the form of iOS apps (CgBI)")),
                b"IEND" => {
                    has_end = true;
                    break;
                }
                _ => {}
            }
        }
        let fields = header.and_then(|header| header.get(8..)).and_then(<[u8]>::first_chunk);
        let Some(&[w0, w1, w2, w3, h0, h1, h2, h3, depth, _, _, _, interlacing]) = fields else {
            return Err(Refusal::Damaged(if has_end { "it has no header".into() } else { CUT_SHORT.into() }));
        };
        let mut pieces: Vec<Cow<[u8]>> = vec![SIGNATURE.into()];
        pieces.extend([header, palette, transparency].into_iter().flatten().map(Cow::from));
        pieces.append(&mut pixels);
        pieces.push(IEND.into());
        Ok(Self {
            dimensions: (u32::from_be_bytes([w0, w1, w2, w3]), u32::from_be_bytes([h0, h1, h2, h3])),
            orientation,
            pieces,
            depth,
            is_interlaced: interlacing != 0,
            is_cut: !has_end,
        })
    }

    /// The most bytes that decoding takes on the heap, with the pixels of the reduced image.
    pub fn memory(&self, reduction: u32) -> u64 {
        let (width, height) = self.dimensions;
        // At most four samples for each pixel, two bytes each if they have 16 bits.
        let row = u64::from(width) * if self.depth == 16 { 8 } else { 4 };
        let whole = if self.is_interlaced { row * u64::from(height) } else { 0 };
        // Two rows in the buffer of the decoder and one in that of its filters, one for its caller, one of 8 bits.
        DECODER_BYTES + 5 * row + whole + Reducer::memory(self.dimensions, reduction)
    }

    /// Decodes the pixels, and averages them in squares of `reduction` pixels a side.
    ///
    /// They are protected by two checksums: one of each chunk (CRC), and one of all pixels (Adler-32). One may be
    /// wrong; if both are, the pixels are.
    ///
    /// # Errors
    /// [`Refusal::Damaged`] if pixels are wrong or missing.
    pub fn pixels(&self, reduction: u32) -> Result<ReducedImage, Refusal> {
        let mut options = DecodeOptions::default();
        self.decode(options.clone(), reduction)
            .or_else(|_| {
                options.set_ignore_crc(true);
                options.set_ignore_adler32(false);
                self.decode(options, reduction)
            })
            .map_err(|error| {
                Refusal::Damaged(if self.is_cut {
                    CUT_SHORT.into()
                } else {
                    crate::error::one_line(&error.to_string())
                })
            })
    }

    fn decode(&self, options: DecodeOptions, reduction: u32) -> Result<ReducedImage, DecodingError> {
        let mut decoder = Decoder::new_with_options(Pieces::new(&self.pieces), options);
        decoder.set_limits(Limits { bytes: usize::MAX });
        decoder.set_transformations(Transformations::EXPAND);
        let mut reader = decoder.read_info()?;
        let (color, depth) = reader.output_color_type();
        let row_length = reader.output_line_size(self.dimensions.0).ok_or(DecodingError::LimitsExceeded)?;
        let mut reducer = Reducer::new(self.dimensions, reduction);
        let mut narrow = Vec::new();
        let mut add = |row: &[u8]| {
            let samples = if depth == BitDepth::Sixteen {
                narrow.clear();
                narrow.extend(row.as_chunks().0.iter().map(|bytes| rounded(u16::from_be_bytes(*bytes))));
                &narrow
            } else {
                row
            };
            match color.samples() {
                1 => reducer.add(samples.iter().map(|grey| [*grey; 3])),
                2 => reducer.add(samples.as_chunks().0.iter().map(|[grey, alpha]| over_white([*grey; 3], *alpha))),
                3 => reducer.add(samples.as_chunks().0.iter().copied()),
                _ => reducer.add(samples.as_chunks().0.iter().map(|[r, g, b, alpha]| over_white([*r, *g, *b], *alpha))),
            }
        };
        if self.is_interlaced {
            let mut samples = vec![0; reader.output_buffer_size().ok_or(DecodingError::LimitsExceeded)?];
            reader.next_frame(&mut samples)?;
            samples.chunks_exact(row_length).for_each(add);
        } else {
            while let Some(row) = reader.next_row()? {
                add(row.data());
            }
        }
        Ok(reducer.finish())
    }
}

/// A sample of 16 bits in 8.
fn rounded(sample: u16) -> u8 {
    ((u32::from(sample) + 128) / 257) as u8
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

/// Reads pieces one after the other, without joining them.
struct Pieces<'a> {
    current: &'a [u8],
    rest: slice::Iter<'a, Cow<'a, [u8]>>,
}

impl<'a> Pieces<'a> {
    fn new(pieces: &'a [Cow<'a, [u8]>]) -> Self {
        Self { current: &[], rest: pieces.iter() }
    }
}

impl BufRead for Pieces<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.current.is_empty() {
            let Some(next) = self.rest.next() else { break };
            self.current = next;
        }
        Ok(self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current = &self.current[amount..];
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

/// The decoder asks for it and never seeks.
impl Seek for Pieces<'_> {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
