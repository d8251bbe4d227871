//! A large JPEG brought to a small size without ever being decoded to pixels of its own size.
//!
//! A JPEG holds each 8 x 8 block of pixels as the strengths of 64 cosine waves (ITU-T T.81, A.3). Waves to pixels, and
//! pixels to a smaller picture, are both sums of products; what comes to the same, and takes far less, is one sum of
//! products from the waves to the small picture ([`filter`]). What the filter averages out need not be kept: of a poster
//! many times as large as wanted only the longest waves matter, the short ones are passed over as they are read
//! ([`frame`]), and scans that tell of nothing else are not read at all.

mod filter;
mod frame;
mod huffman;

use frame::{Frame, Part, Pass};
use huffman::{Bits, Huffman};
use image::RgbImage;
use pulp::{Arch, Simd, WithSimd};

/// The waves of a JPEG that matter for pictures up to the size that it was read for.
#[derive(Clone, Debug, PartialEq)]
pub struct Waves(Frame);

impl Waves {
    /// Reads a JPEG for a picture of `wanted` width and height, before any turn that its EXIF data asks for.
    ///
    /// Returns nothing for what is not large enough (see [`filter::LEAST_SCALE`]), and for what is damaged or of a rarer
    /// kind: other than 8 bits, grey or YCbCr, Huffman coding; the decoder of full pictures reads it, or knows what to say
    /// of it.
    pub fn read(bytes: &[u8], wanted: (u32, u32)) -> Option<Self> {
        let tables = Tables::default();
        Decoder { rest: bytes, wanted, tables, restart_interval: 0, adobe_transform: None, frame: None }.run().map(Self)
    }

    /// Width and height of the picture in the file, in pixels.
    pub fn dimensions(&self) -> (u32, u32) {
        let (width, height) = self.0.dimensions;
        (width as u32, height as u32)
    }

    /// The picture at `width` x `height`: what a triangle filter makes of the decoded one. No side should be longer than
    /// what the file was read for; it would lack the waves that make it sharp.
    pub fn resize(&self, width: u32, height: u32) -> RgbImage {
        filter::resize(&self.0, (width as usize, height as usize))
    }
}

/// What the segments of the file have said so far.
struct Decoder<'a> {
    /// Bytes that have not been looked at.
    rest: &'a [u8],
    /// Width and height of the picture that will be made.
    wanted: (u32, u32),
    tables: Tables,
    /// Units between two restart markers; 0 if there are none.
    restart_interval: usize,
    adobe_transform: Option<u8>,
    frame: Option<Frame>,
}

#[derive(Default)]
struct Tables {
    quantisation: [Option<[u16; 64]>; 4],
    dc: [Option<Huffman>; 4],
    ac: [Option<Huffman>; 4],
}

impl<'a> Decoder<'a> {
    fn run(mut self) -> Option<Frame> {
        loop {
            let marker = self.next_marker()?;
            if matches!(marker, 0x01 | 0xD0..=0xD8) {
                continue;
            }
            if marker == 0xD9 {
                return self.frame?.finish();
            }
            let segment = self.segment()?;
            match marker {
                0xC0..=0xC2 if self.frame.is_none() => {
                    self.frame = Some(Frame::read(segment, marker == 0xC2, self.wanted, self.adobe_transform)?);
                }
                0xC4 => self.huffman(segment)?,
                0xC0..=0xCF | 0xDC => return None,
                0xDA => self.scan(segment)?,
                0xDB => self.quantisation(segment)?,
                0xDD => self.restart_interval = usize::from(u16_at(segment, 0)?),
                0xEE if segment.starts_with(b"Adobe") => self.adobe_transform = Some(*segment.get(11)?),
                _ => {}
            }
        }
    }

    /// The next marker's code; what stands before it, such as a scan that was not read, is passed over.
    fn next_marker(&mut self) -> Option<u8> {
        loop {
            let place = self.rest.iter().position(|byte| *byte == 0xFF)?;
            let code = *self.rest.get(place + 1)?;
            let is_fill = code == 0xFF;
            self.rest = &self.rest[place + if is_fill { 1 } else { 2 }..];
            if !is_fill && code != 0 {
                return Some(code);
            }
        }
    }

    fn segment(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16_at(self.rest, 0)?);
        let segment = self.rest.get(2..length)?;
        self.rest = &self.rest[length..];
        Some(segment)
    }

    fn quantisation(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&kind, values)) = segment.split_first() {
            let table = self.tables.quantisation.get_mut(usize::from(kind & 15))?.insert([0; 64]);
            let width = 1 + usize::from(kind >> 4 != 0);
            for (value, bytes) in table.iter_mut().zip(values.get(..64 * width)?.chunks_exact(width)) {
                *value = bytes.iter().fold(0, |value, byte| value << 8 | u16::from(*byte));
            }
            segment = &values[64 * width..];
        }
        Some(())
    }

    fn huffman(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&kind, rest)) = segment.split_first() {
            let counts: &[u8; 16] = rest.first_chunk()?;
            let total = counts.iter().map(|count| usize::from(*count)).sum::<usize>();
            let symbols = rest.get(16..16 + total)?;
            let table = Huffman::new(counts, symbols)?;
            let tables = if kind >> 4 != 0 { &mut self.tables.ac } else { &mut self.tables.dc };
            *tables.get_mut(usize::from(kind & 15))? = Some(table);
            segment = &rest[16 + total..];
        }
        Some(())
    }

    /// Reads one scan, unless it tells only of what is not kept.
    fn scan(&mut self, segment: &[u8]) -> Option<()> {
        let frame = self.frame.as_mut()?;
        let count = usize::from(*segment.first()?);
        let (&[first, last, steps], selectors) = (segment.last_chunk()?, segment.get(1..1 + 2 * count)?);
        let mut parts = Vec::with_capacity(count);
        for selector in selectors.chunks_exact(2) {
            let component = frame.components.iter().position(|component| component.id == selector[0])?;
            frame.components[component].take_steps(&self.tables.quantisation)?;
            parts.push(Part {
                component,
                dc: self.tables.dc.get(usize::from(selector[1] >> 4))?.as_ref(),
                ac: self.tables.ac.get(usize::from(selector[1] & 15))?.as_ref(),
                previous: 0,
            });
        }
        let pass = Pass { first: first.into(), last: last.into(), high: steps >> 4, low: steps & 15 };
        if frame.is_progressive {
            let is_sound = pass.last < 64 && pass.first <= pass.last && pass.low < 14;
            if !is_sound || (pass.first == 0) != (pass.last == 0) || (pass.first > 0 && count != 1) {
                return None;
            }
            // A scan that tells the last bits of its coefficients: no later one needs to know them.
            if pass.low == 0 && parts.iter().all(|part| !frame.components[part.component].keeps_any(&pass)) {
                return Some(());
            }
        }
        let mut bits = Bits::new(self.rest);
        Arch::new().dispatch(Scan { frame, parts, pass, restart_interval: self.restart_interval, bits: &mut bits })?;
        self.rest = bits.rest()?;
        Some(())
    }
}

/// [`Frame::scan`], for the processor that it runs on: newer ones shift faster.
struct Scan<'a, 'b> {
    frame: &'a mut Frame,
    parts: Vec<Part<'a>>,
    pass: Pass,
    restart_interval: usize,
    bits: &'a mut Bits<'b>,
}

impl WithSimd for Scan<'_, '_> {
    type Output = Option<()>;

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) -> Option<()> {
        self.frame.scan(&mut self.parts, &self.pass, self.restart_interval, self.bits)
    }
}

fn u16_at(bytes: &[u8], place: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(place..)?.first_chunk()?))
}
