//! Downscaling in the DCT domain: a large JPEG to a small image without an IDCT at full resolution.
//!
//! The inverse DCT (T.81, A.3.3) and the triangle (bilinear) filter are both linear, so they are composed into one
//! sparse matrix per axis ([`dct_resize`]). High-frequency coefficients that the filter would suppress are skipped
//! during entropy decoding ([`plan`]), as are progressive scans that hold nothing else.
//!
//! Baseline, extended sequential and progressive files are decoded (SOF0 to SOF2) if they have Huffman coding, 8 bits
//! per sample, and one component (grey) or three (YCbCr). All others are declined.

mod coefficients;
mod dct_resize;
mod declined;
mod entropy;
mod frame;
mod plan;
mod progressive;
mod scan;
mod scan_header;
mod segments;

use coefficients::Frame;
use declined::Damaged;
pub use declined::Declined;
use entropy::{BitReader, HuffmanTable};
use frame::FrameHeader;
use plan::Plan;
use scan::Scan;
use scan_header::{ScanComponent, ScanHeader};
use segments::{Segments, u16_at};

use super::rgb8::Rgb8Image;

/// The dequantised DCT coefficients of a JPEG that matter for images up to the size that it was read for.
#[derive(Clone, Debug, PartialEq)]
pub struct DctImage(Frame);

impl DctImage {
    /// Reads a JPEG for an output of at most `wanted` width and height in pixels, before any EXIF orientation.
    ///
    /// # Errors
    /// [`Declined`], where decoding all pixels is faster, or is the only way, or can tell the user what is wrong.
    pub fn read(bytes: &[u8], wanted: (u32, u32)) -> Result<Self, Declined> {
        let segments = Segments { rest: bytes };
        let tables = Tables::default();
        Decoder { segments, wanted, tables, restart_interval: 0, adobe_transform: None, frame: None }.run().map(Self)
    }

    /// Width and height of the full image in pixels.
    pub fn dimensions(&self) -> (u32, u32) {
        let (width, height) = self.0.dimensions;
        (width as u32, height as u32)
    }

    /// The image resized to `width` x `height` pixels by a triangle filter. Neither should exceed the size that the
    /// file was read for, or high frequencies are missing.
    pub fn resize(&self, width: u32, height: u32) -> Rgb8Image {
        dct_resize::resize(self.0.dimensions, &self.0.components, (width, height))
    }
}

/// State of the decoder between two marker segments.
struct Decoder<'a> {
    segments: Segments<'a>,
    /// Width and height of the output.
    wanted: (u32, u32),
    tables: Tables,
    /// MCUs between two restart markers; 0 if there are none.
    restart_interval: usize,
    /// Colour transform of the Adobe APP14 segment.
    adobe_transform: Option<u8>,
    frame: Option<Frame>,
}

/// Quantisation tables in zigzag order, and Huffman tables, by their index.
#[derive(Default)]
struct Tables {
    quantisation: [Option<[u16; 64]>; 4],
    dc: [Option<HuffmanTable>; 4],
    ac: [Option<HuffmanTable>; 4],
}

impl Decoder<'_> {
    fn run(mut self) -> Result<Frame, Declined> {
        if !self.segments.rest.starts_with(&[0xFF, 0xD8]) {
            return Err(Declined::Unsupported("another format than JPEG"));
        }
        loop {
            let marker = self.segments.next_marker()?;
            // TEM, RSTm and SOI have no parameters.
            if matches!(marker, 0x01 | 0xD0..=0xD8) {
                continue;
            }
            // EOI
            if marker == 0xD9 {
                return Ok(self.frame.ok_or(Damaged)?.finish()?);
            }
            let parameters = self.segments.parameters()?;
            match marker {
                // SOF0 to SOF2: baseline, extended sequential, progressive
                0xC0..=0xC2 if self.frame.is_none() => {
                    let header = FrameHeader::read(parameters, marker == 0xC2, self.adobe_transform)?;
                    let plan = Plan::new(&header, self.wanted)?;
                    self.frame = Some(Frame::new(&header, plan));
                }
                // DHT
                0xC4 => self.tables.read_huffman(parameters)?,
                0xC0..=0xC2 => return Err(Declined::Unsupported("more than one frame")),
                0xC3 | 0xC5..=0xC8 => return Err(Declined::Unsupported("lossless or hierarchical coding")),
                0xC9..=0xCF => return Err(Declined::Unsupported("arithmetic coding")),
                // SOS
                0xDA => self.decode_scan(parameters)?,
                // DQT
                0xDB => self.tables.read_quantisation(parameters)?,
                // DNL
                0xDC => return Err(Declined::Unsupported("number of lines in a DNL segment")),
                // DRI
                0xDD => self.restart_interval = usize::from(u16_at(parameters, 0)?),
                // APP14
                0xEE if parameters.starts_with(b"Adobe") => {
                    self.adobe_transform = Some(*parameters.get(11).ok_or(Damaged)?);
                }
                _ => {}
            }
        }
    }

    /// Decodes one scan, unless it holds only coefficients that are not kept.
    fn decode_scan(&mut self, parameters: &[u8]) -> Result<(), Declined> {
        let frame = self.frame.as_mut().ok_or(Damaged)?;
        let ScanHeader { selectors, params } = ScanHeader::read(parameters, frame.is_progressive)?;
        let mut components = Vec::with_capacity(selectors.len());
        for &[id, tables] in selectors {
            let index = frame.components.iter().position(|component| component.id == id).ok_or(Damaged)?;
            frame.components[index].take_quantisation(&self.tables.quantisation)?;
            let dc = self.tables.dc.get(usize::from(tables >> 4)).ok_or(Damaged)?.as_ref();
            let ac = self.tables.ac.get(usize::from(tables & 15)).ok_or(Damaged)?.as_ref();
            components.push(ScanComponent { index, dc, ac, prediction: 0 });
        }
        // No later scan depends on one with the last bits (Al = 0) of its coefficients.
        if frame.is_progressive && params.low == 0 {
            let keeps_any = components.iter().any(|component| frame.components[component.index].keeps_any(&params));
            if !keeps_any {
                return Ok(());
            }
        }
        let mut bits = BitReader::new(self.segments.rest);
        Scan { frame, components, params, restart_interval: self.restart_interval, bits: &mut bits }.decode()?;
        self.segments.rest = bits.rest();
        Ok(())
    }
}

impl Tables {
    /// Reads a DQT segment (T.81, B.2.4.1).
    fn read_quantisation(&mut self, mut parameters: &[u8]) -> Result<(), Damaged> {
        while let Some((&kind, elements)) = parameters.split_first() {
            let table = self.quantisation.get_mut(usize::from(kind & 15)).ok_or(Damaged)?.insert([0; 64]);
            let width = 1 + usize::from(kind >> 4 != 0);
            let (elements, rest) = elements.split_at_checked(64 * width).ok_or(Damaged)?;
            for (value, bytes) in table.iter_mut().zip(elements.chunks_exact(width)) {
                *value = bytes.iter().fold(0, |value, byte| value << 8 | u16::from(*byte));
            }
            parameters = rest;
        }
        Ok(())
    }

    /// Reads a DHT segment (T.81, B.2.4.2).
    fn read_huffman(&mut self, mut parameters: &[u8]) -> Result<(), Damaged> {
        while let Some((&kind, rest)) = parameters.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(Damaged)?;
            let total = counts.iter().map(|count| usize::from(*count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or(Damaged)?;
            let tables = if kind >> 4 != 0 { &mut self.ac } else { &mut self.dc };
            let table = tables.get_mut(usize::from(kind & 15)).ok_or(Damaged)?;
            *table = Some(HuffmanTable::new(counts, symbols)?);
            parameters = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        fs::read(fixtures::path(name)).unwrap()
    }

    /// The outcome of reading, without the coefficients.
    fn read(bytes: &[u8], wanted: (u32, u32)) -> Result<(), Declined> {
        DctImage::read(bytes, wanted).map(|_| ())
    }

    #[test]
    fn posters_are_read_or_declined_with_the_reason() {
        let other_format = Err(Declined::Unsupported("another format than JPEG"));
        let colours = Err(Declined::Unsupported("colours other than grey and YCbCr"));
        let cases = [
            ("posters/space-baseline.jpg", (96, 144), Ok(())),
            ("posters/horror-progressive.jpg", (96, 144), Ok(())),
            ("posters/noir-grey.jpg", (96, 144), Ok(())),
            ("posters/space-baseline.jpg", (240, 360), Ok(())),
            ("posters/space-baseline.jpg", (241, 360), Err(Declined::TooSmall)),
            ("posters/western-cmyk.jpg", (24, 36), colours),
            ("posters/western.png", (24, 36), other_format),
            ("posters/western-lossless.webp", (24, 36), other_format),
            ("broken/truncated.jpg", (24, 36), Err(Declined::Damaged)),
            ("broken/text.jpg", (24, 36), other_format),
            ("broken/empty.jpg", (24, 36), other_format),
        ];
        for (name, wanted, outcome) in cases {
            assert_eq!(read(&fixture(name), wanted), outcome, "{name} for {wanted:?}");
        }
    }

    #[test]
    fn other_coding_processes_are_declined_with_the_reason() {
        let poster = fixture("posters/space-baseline.jpg");
        let frame = poster.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap();
        let cases = [
            (0xC3, "lossless or hierarchical coding"),
            (0xC9, "arithmetic coding"),
            (0xDC, "number of lines in a DNL segment"),
        ];
        for (marker, reason) in cases {
            let mut bytes = poster.clone();
            bytes[frame + 1] = marker;
            assert_eq!(read(&bytes, (24, 36)), Err(Declined::Unsupported(reason)), "{marker:X}");
        }
        // A second frame header after the first.
        let length = 2 + usize::from(u16_at(&poster, frame + 2).unwrap());
        let twice = [&poster[..frame + length], &poster[frame..]].concat();
        assert_eq!(read(&twice, (24, 36)), Err(Declined::Unsupported("more than one frame")));
    }

    #[test]
    fn missing_tables_and_scans_are_damaged() {
        let poster = fixture("posters/space-baseline.jpg");
        for (marker, what) in [(0xDB, "quantisation tables"), (0xC4, "Huffman tables"), (0xDA, "scans")] {
            // Another application's segment in its stead, which is skipped.
            let mut bytes = poster.clone();
            for index in 0..bytes.len() - 1 {
                if bytes[index..index + 2] == [0xFF, marker] {
                    bytes[index + 1] = 0xEF;
                }
            }
            assert_eq!(read(&bytes, (24, 36)), Err(Declined::Damaged), "no {what}");
        }
    }
}
