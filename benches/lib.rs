//! Posters and models for the benchmarks.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use runtime::network::Network;
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

/// Every model in `models/`, or in the folder that the environment variable `MODELS` names, by its file's name.
///
/// # Panics
/// If the folder cannot be read or a model in it cannot be used.
pub fn models() -> Vec<(String, Network)> {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
    let folder = std::env::var_os("MODELS").map_or(shipped, PathBuf::from);
    let entries = folder.read_dir().unwrap_or_else(|error| panic!("{}: cannot be read ({error})", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be read").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    paths.sort();
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    paths.iter().map(|path| (name(path), Network::open(path).unwrap_or_else(|error| panic!("{error}")))).collect()
}
