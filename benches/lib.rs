//! Posters for the benchmarks.

use std::io::Cursor;
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use runtime::poster;

/// Widths and heights of posters as they are found: a thumbnail of a media database, a usual one, a large one.
pub const SIZES: [(u32, u32); 3] = [(182, 268), (1000, 1500), (2000, 3000)];

/// A JPEG (baseline, quality 90) of that size, scaled from a drawn poster.
///
/// # Panics
/// If the fixture is missing.
pub fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/posters/adventure-large.jpg");
    let poster = poster::open(&path).expect("the fixture is there");
    let scaled = image::imageops::resize(&poster, width, height, FilterType::CatmullRom);
    let mut bytes = Cursor::new(Vec::new());
    JpegEncoder::new_with_quality(&mut bytes, 90).encode_image(&scaled).expect("memory can be written");
    bytes.into_inner()
}
