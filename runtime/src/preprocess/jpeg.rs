//! JPEG decoder: all pixels, or downscaled in the DCT domain: a large image to a small one without an IDCT at full
//! resolution.
//!
//! Baseline, extended sequential and progressive files (SOF0 to SOF2) are decoded if they have Huffman coding, 8 bits
//! per sample, and one, three or four components; whatever their sampling factors, scans and restart intervals. Bytes
//! behind the image do not matter, nor that its end is not marked, if no scan is cut short.
//!
//! Both ways share entropy decoding. For all pixels ([`pixels`]) every coefficient is kept. The inverse DCT (T.81,
//! A.3.3) and the triangle (bilinear) filter are both linear, so that for a downscaled image they are composed into one
//! sparse matrix per axis ([`dct_resize`]). High-frequency coefficients that the filter would suppress are skipped during
//! entropy decoding ([`plan`]), as are progressive scans that hold nothing else.

mod coefficients;
mod colours;
mod dct_resize;
mod entropy;
mod frame;
mod idct;
mod pixels;
mod plan;
mod problem;
mod progressive;
mod sampling;
mod scan;
mod scan_header;
mod segments;
mod tables;

use coefficients::Frame;
use colours::{ColourSegments, Colours};
use entropy::BitReader;
use frame::FrameHeader;
use image::metadata::Orientation;
use plan::{Layout, Plan};
use problem::Damaged;
pub use problem::Problem;
use scan::Scan;
use scan_header::{ScanComponent, ScanHeader};
use segments::{Segments, u16_at};
use tables::Tables;

use super::exif;
use super::rgb8::Rgb8Image;

/// The most scans of a file. Encoders write up to a dozen; one for each coefficient of three components are 192. A scan
/// takes a few bytes, but time in proportion to the image's size.
const MAX_SCANS: usize = 400;

/// The dequantised DCT coefficients of a JPEG that matter for images up to the size that it was read for.
#[derive(Clone, Debug, PartialEq)]
pub struct DctImage(Frame);

impl DctImage {
    /// Width and height of the full image in pixels.
    pub fn dimensions(&self) -> (u32, u32) {
        let (width, height) = self.0.dimensions;
        (width as u32, height as u32)
    }

    /// The image resized to `width` x `height` pixels by a triangle filter. Neither should exceed the size that the
    /// file was read for, or high frequencies are missing.
    pub fn resize(&self, width: u32, height: u32) -> Rgb8Image {
        dct_resize::resize(&self.0, (width, height))
    }
}

/// A file whose segments up to the first scan were read.
pub struct Decoder<'a> {
    file: File<'a>,
    header: FrameHeader,
    colours: Colours,
    /// The parameters of the first scan, whose data come next.
    first_scan: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Reads the segments up to the first scan.
    ///
    /// # Errors
    /// [`Problem`]s of the header.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Problem> {
        let mut file = File {
            segments: Segments { rest: bytes },
            tables: Tables::default(),
            restart_interval: 0,
            colour_segments: ColourSegments::default(),
            orientation: None,
            header: None,
        };
        let first_scan = file.next_scan()?.ok_or(Damaged)?;
        let mut header = file.header.clone().ok_or(Damaged)?;
        if header.dimensions.1 == 0 {
            let lines = file.segments.number_of_lines().filter(|lines| *lines > 0);
            header.dimensions.1 = lines.ok_or(Damaged)?.into();
        }
        let colours = Colours::new(&header.components, file.colour_segments);
        Ok(Self { file, header, colours, first_scan })
    }

    /// Width and height in pixels, neither 0, before any EXIF orientation.
    pub fn dimensions(&self) -> (u32, u32) {
        let (width, height) = self.header.dimensions;
        (width as u32, height as u32)
    }

    /// The EXIF orientation, if a segment before the first scan has one.
    pub fn orientation(&self) -> Option<Orientation> {
        self.file.orientation
    }

    /// Whether [`Decoder::downscaled`] decodes the image for an output of at most `wanted` width and height in pixels,
    /// before any EXIF orientation: the image is much larger, and its colours may be mixed before they become RGB.
    pub fn can_downscale(&self, wanted: (u32, u32)) -> bool {
        self.plan(wanted).is_some()
    }

    /// The most bytes on the heap that decoding takes for an output of at most `wanted` width and height in pixels,
    /// with the result.
    pub fn memory(&self, wanted: (u32, u32)) -> u64 {
        let bytes = |plan: &Plan| plan.coefficient_bytes(self.header.is_progressive);
        match self.plan(wanted) {
            Some(plan) => bytes(&plan) + dct_resize::memory(&plan, wanted),
            None => {
                let plan = Plan::full(&self.header);
                // First each component's coefficients become samples, then all samples pixels.
                let samples: u64 = plan.layouts.iter().map(Layout::samples_decoded).sum();
                let (width, height) = self.header.dimensions;
                (bytes(&plan) + samples).max(samples + 3 * width as u64 * height as u64)
            }
        }
    }

    fn plan(&self, wanted: (u32, u32)) -> Option<Plan> {
        Plan::downscaled(&self.header, wanted).filter(|_| self.colours.is_linear())
    }

    /// Decodes the coefficients that matter for an output of at most `wanted` width and height in pixels.
    ///
    /// # Errors
    /// [`Problem`]s of any part of the file.
    ///
    /// # Panics
    /// If the image [cannot be downscaled](Self::can_downscale).
    pub fn downscaled(self, wanted: (u32, u32)) -> Result<DctImage, Problem> {
        let plan = self.plan(wanted).expect("the image can be downscaled");
        self.coefficients(plan).map(DctImage)
    }

    /// Decodes all pixels.
    ///
    /// # Errors
    /// [`Problem`]s of any part of the file.
    pub fn pixels(self) -> Result<Rgb8Image, Problem> {
        let plan = Plan::full(&self.header);
        self.coefficients(plan).map(pixels::paint)
    }

    fn coefficients(self, plan: Plan) -> Result<Frame, Problem> {
        let Self { mut file, header, colours, first_scan } = self;
        let mut frame = Frame::new(&header, colours, plan);
        let mut scan = first_scan;
        for _ in 0..MAX_SCANS {
            file.decode_scan(scan, &mut frame)?;
            // Whatever follows does not matter; often the end of the image is not even marked.
            if frame.is_complete() {
                return Ok(frame.finish()?);
            }
            match file.next_scan()? {
                Some(next) => scan = next,
                None => return Ok(frame.finish()?),
            }
        }
        Err(Problem::Unsupported("JPEG with more than 400 scans"))
    }
}

/// A file of which a part was read.
struct File<'a> {
    segments: Segments<'a>,
    tables: Tables,
    /// MCUs between two restart markers; 0 if there are none.
    restart_interval: usize,
    colour_segments: ColourSegments,
    orientation: Option<Orientation>,
    header: Option<FrameHeader>,
}

impl<'a> File<'a> {
    /// Reads segments up to the next scan: its parameters, or none at the end of the image.
    fn next_scan(&mut self) -> Result<Option<&'a [u8]>, Problem> {
        loop {
            let marker = self.segments.next_marker().ok_or(Problem::CutShort)?;
            match marker {
                // RSTm and SOI have no parameters.
                0xD0..=0xD8 => continue,
                // EOI
                0xD9 => return Ok(None),
                _ => {}
            }
            let parameters = self.segments.parameters()?;
            match marker {
                // SOF0 to SOF2: baseline, extended sequential, progressive
                0xC0..=0xC2 if self.header.is_none() => {
                    self.header = Some(FrameHeader::read(parameters, marker == 0xC2)?);
                }
                0xC3 => return Err(Problem::Unsupported("lossless JPEG")),
                // DHT
                0xC4 => self.tables.read_huffman(parameters)?,
                0xC8 => return Err(Problem::Unsupported("JPEG with an extension")),
                // DAC
                0xC9..=0xCF => return Err(Problem::Unsupported("JPEG with arithmetic coding")),
                // A second frame, a differential one, DHP, EXP
                0xC0..=0xC7 | 0xDE | 0xDF => return Err(Problem::Unsupported("hierarchical JPEG")),
                // SOS
                0xDA => return Ok(Some(parameters)),
                // DQT
                0xDB => self.tables.read_quantisation(parameters)?,
                // DRI
                0xDD => self.restart_interval = u16_at(parameters, 0)?.into(),
                // APP0, APP1, APP14
                0xE0 if parameters.starts_with(b"JFIF\0") => self.colour_segments.has_jfif = true,
                0xE1 if parameters.starts_with(exif::PREFIX) && self.orientation.is_none() => {
                    self.orientation = exif::orientation(parameters);
                }
                0xEE if parameters.starts_with(b"Adobe") => {
                    self.colour_segments.adobe_transform = parameters.get(11).copied();
                }
                0xF7 => return Err(Problem::Unsupported("lossless JPEG (JPEG-LS)")),
                _ => {}
            }
        }
    }

    /// Decodes one scan, unless it holds only coefficients that are not kept.
    fn decode_scan(&mut self, parameters: &[u8], frame: &mut Frame) -> Result<(), Problem> {
        let ScanHeader { selectors, params } = ScanHeader::read(parameters, frame.is_progressive)?;
        self.tables.supply_standard(selectors);
        let mut components: Vec<ScanComponent> = Vec::with_capacity(selectors.len());
        for &[id, tables] in selectors {
            let is_new = |index: &usize| components.iter().all(|component| component.index != *index);
            let index = frame.components.iter().position(|component| component.id == id).filter(is_new);
            let index = index.ok_or(Damaged)?;
            let component = &mut frame.components[index];
            component.take_quantisation(&self.tables.quantisation)?;
            component.note_scan(&params, frame.is_progressive);
            let [dc, ac] = self.tables.huffman(tables);
            components.push(ScanComponent { index, dc, ac, prediction: 0 });
        }
        // No later scan depends on one with the last bits (Al = 0) of its coefficients.
        if frame.is_progressive && params.low == 0 {
            let keeps_any = components.iter().any(|component| frame.components[component.index].keeps_any(&params));
            if !keeps_any && self.segments.skip_scan().is_ok() {
                return Ok(());
            }
        }
        let mut bits = BitReader::new(self.segments.rest);
        let decoded =
            Scan { frame, components, params, restart_interval: self.restart_interval, bits: &mut bits }.decode();
        self.segments.rest = bits.rest();
        decoded.map_err(|Damaged| if self.segments.rest.len() < 2 { Problem::CutShort } else { Problem::Damaged })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn fixture(name: &str) -> Vec<u8> {
        fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)).unwrap()
    }

    /// Decodes both ways, which must have one outcome.
    fn problem(bytes: &[u8]) -> Option<Problem> {
        let pixels = Decoder::new(bytes).and_then(Decoder::pixels).err();
        let downscaled = Decoder::new(bytes).and_then(|decoder| decoder.downscaled((24, 36))).err();
        assert_eq!(pixels, downscaled);
        pixels
    }

    /// Index of the first marker of a kind.
    fn marker(bytes: &[u8], code: u8) -> usize {
        bytes.windows(2).position(|pair| pair == [0xFF, code]).unwrap()
    }

    #[test]
    fn large_images_of_linear_colours_are_downscaled() {
        let cases = [
            ("posters/space-baseline.jpg", (240, 360), true),
            ("posters/space-baseline.jpg", (241, 360), false),
            ("posters/noir-grey.jpg", (96, 144), true),
            ("posters/western-cmyk.jpg", (24, 36), false),
        ];
        for (name, wanted, expected) in cases {
            let bytes = fixture(name);
            assert_eq!(Decoder::new(&bytes).unwrap().can_downscale(wanted), expected, "{name} for {wanted:?}");
        }
    }

    #[test]
    fn kinds_that_are_not_supported_are_called_by_name() {
        let poster = fixture("posters/space-baseline.jpg");
        let frame = marker(&poster, 0xC0);
        let cases = [
            (0xC3, "lossless JPEG"),
            (0xC5, "hierarchical JPEG"),
            (0xC8, "JPEG with an extension"),
            (0xC9, "JPEG with arithmetic coding"),
            (0xDE, "hierarchical JPEG"),
            (0xF7, "lossless JPEG (JPEG-LS)"),
        ];
        for (marker, reason) in cases {
            let mut bytes = poster.clone();
            bytes[frame + 1] = marker;
            assert_eq!(problem(&bytes), Some(Problem::Unsupported(reason)), "{marker:X}");
        }
        // A second frame header after the first.
        let length = 2 + usize::from(u16_at(&poster, frame + 2).unwrap());
        let twice = [&poster[..frame + length], &poster[frame..]].concat();
        assert_eq!(problem(&twice), Some(Problem::Unsupported("hierarchical JPEG")));
    }

    #[test]
    fn the_number_of_scans_is_limited() {
        let progressive = fixture("posters/horror-progressive.jpg");
        let scan = marker(&progressive, 0xDA);
        // The first scan again and again, which is never the last.
        let next = scan + 2 + marker(&progressive[scan + 2..], 0xDA);
        let bytes = [&progressive[..scan], &progressive[scan..next].repeat(401)].concat();
        assert_eq!(problem(&bytes), Some(Problem::Unsupported("JPEG with more than 400 scans")));
    }

    #[test]
    fn missing_tables_and_scans_are_damaged() {
        let poster = fixture("posters/space-baseline.jpg");
        for (marker, what) in [(0xDB, "quantisation tables"), (0xDA, "scans"), (0xC0, "frame header")] {
            // Another application's segment in its stead, which is skipped.
            let mut bytes = poster.clone();
            for index in 0..bytes.len() - 1 {
                if bytes[index..index + 2] == [0xFF, marker] {
                    bytes[index + 1] = 0xEF;
                }
            }
            assert_eq!(problem(&bytes), Some(Problem::Damaged), "no {what}");
        }
    }

    #[test]
    fn what_ends_within_a_scan_is_cut_short() {
        for name in ["posters/space-baseline.jpg", "posters/horror-progressive.jpg"] {
            let bytes = fixture(name);
            for end in [2, marker(&bytes, 0xDA), bytes.len() / 2, bytes.len() - 12] {
                assert_eq!(problem(&bytes[..end]), Some(Problem::CutShort), "{name}, {end} bytes");
            }
        }
        // The end of the image is marked, but the scan ends before.
        let bytes = fixture("posters/space-baseline.jpg");
        let marked = [&bytes[..bytes.len() / 2], &[0xFF, 0xD9]].concat();
        assert_eq!(problem(&marked), Some(Problem::Damaged));
    }
}
