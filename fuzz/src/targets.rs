//! The targets: what the programs do with a poster, an NFO file, a state file, a label file and a model.

use std::fs;
use std::mem;
use std::path::Path;
use std::sync::LazyLock;

use prost::Message;
use runtime::collection::naming::Title;
use runtime::collection::nfo::{self, Change};
use runtime::collection::poster_selection::Kind;
use runtime::collection::results::Tagger;
use runtime::collection::state::{ScannedPoster, State, StateError};
use runtime::dataset::{Dataset, Source};
use runtime::preprocess::{self, DecodedImage, Rgb8Image};
use runtime::thumbnail::thumbnail;
use runtime::{Engine, Model, ModelOptions};
use tempfile::TempDir;

/// The most pixels of a picture: fewer than the programs allow, so that memory and time say something of an input of a
/// few kilobytes.
const MAX_PIXELS: u64 = 1 << 20;

/// An input so small that seeds are scaled down in the DCT domain. Pixels are compared at this size: rounding and
/// upsampling of colours average out.
const SMALL: (u32, u32) = (8, 12);

/// An input so large that all pixels are decoded.
const LARGE: (u32, u32) = (4096, 4096);

/// Decodes a picture for a small and for a large input, and makes its thumbnail.
fn pictures(bytes: &[u8]) -> [Option<DecodedImage>; 2] {
    let images = [SMALL, LARGE].map(|size| preprocess::decode_for(bytes, "poster", MAX_PIXELS, size).ok());
    let [small, large] = &images;
    if let (Some(small), Some(large)) = (small, large) {
        assert_eq!(small.dimensions(), large.dimensions(), "the size depends on what is wanted");
    }
    small.iter().for_each(|image| drop(image.resize(SMALL.0, SMALL.1)));
    large.iter().for_each(|image| drop(thumbnail(image)));
    images
}

/// The largest mean difference of pixels that are read in two ways, in levels of 255, at [`SMALL`].
const MEAN_DIFFERENCE: f64 = 4.0;

/// The mean difference of two pictures of size [`SMALL`], in levels of 255.
fn mean_difference(a: &Rgb8Image, b: &Rgb8Image) -> f64 {
    let differences = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| f64::from(a.abs_diff(*b)));
    differences.sum::<f64>() / a.as_raw().len() as f64
}

/// A poster in JPEG: scaled down in the DCT domain it has the pixels that decoding it in full gives, and the size that a
/// reference decoder reads. The reference reads damaged scans in its own way, so its pixels count in the tests only,
/// for whole files.
pub fn jpeg(bytes: &[u8]) {
    let [Some(small), Some(large)] = pictures(bytes) else { return };
    let is_turned = bytes.windows(4).any(|name| name == b"Exif");
    if let Some(reference) = reference_jpeg(bytes).filter(|_| !is_turned) {
        assert_eq!(large.dimensions(), reference.dimensions(), "the size differs from the reference decoder's");
    }
    let (width, height) = large.dimensions();
    let pixels = large.resize(width, height);
    // Values outside of 0 to 255 are clamped before resizing or after it.
    let saturated = pixels.as_raw().iter().filter(|value| matches!(value, 0 | 255)).count();
    if saturated * 200 <= pixels.as_raw().len() {
        let [small, large] = [&small, &large].map(|image| image.resize(SMALL.0, SMALL.1));
        let mean = mean_difference(&small, &large);
        assert!(mean < MEAN_DIFFERENCE, "the pixels of the two ways differ by {mean:.1}");
    }
}

/// Grey and RGB as the crate `jpeg-decoder` reads them.
fn reference_jpeg(bytes: &[u8]) -> Option<Rgb8Image> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.read_info().ok()?;
    let info = decoder.info()?;
    if u64::from(info.width) * u64::from(info.height) > MAX_PIXELS {
        return None;
    }
    let samples = decoder.decode().ok()?;
    let samples = match info.pixel_format {
        jpeg_decoder::PixelFormat::L8 => samples.into_iter().flat_map(|value| [value; 3]).collect(),
        jpeg_decoder::PixelFormat::RGB24 => samples,
        _ => return None,
    };
    Rgb8Image::from_raw(info.width.into(), info.height.into(), samples)
}

/// A poster in PNG. The checksums of its chunks are made right, or few mutations would get past them.
pub fn png(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    let mut chunks = file.get_mut(8..).unwrap_or_default();
    // Length, kind, data, checksum of kind and data.
    while let Some(len) = chunks.first_chunk().map(|len| u32::from_be_bytes(*len) as usize)
        && let Some((chunk, rest)) = mem::take(&mut chunks).split_at_mut_checked(len + 12)
    {
        let (covered, checksum) = chunk[4..].split_at_mut(len + 4);
        checksum.copy_from_slice(&crc32(covered).to_be_bytes());
        chunks = rest;
    }
    pictures(&file);
}

/// CRC-32 of PNG (ISO 3309), bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step =
        |crc: u32, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)));
    !bytes.iter().fold(u32::MAX, step)
}

/// A poster in WebP.
pub fn webp(bytes: &[u8]) {
    pictures(bytes);
}

/// An NFO file: what is added is added once, and taken out again to the last byte.
pub fn nfo(bytes: &[u8]) {
    let path = Path::new("movie.nfo");
    let is_marked = !matches!(nfo::undo(bytes, path), Ok(Change::Unchanged));
    for replace in [false, true] {
        let genres = ["Drama", "Sci-Fi", "Rock & Roll | a--b"];
        let Ok(Change::Write(written)) = nfo::add(bytes, path, &genres, replace) else { continue };
        let again = nfo::add(&written, path, &genres, replace);
        assert_eq!(again.expect("what was written can be read"), Change::Unchanged, "genres were added twice");
        let undone = nfo::undo(&written, path).expect("what was written can be read");
        if !is_marked {
            assert_eq!(undone, Change::Write(bytes.to_vec()), "the file is not restored, replace = {replace}");
        }
    }
}

/// A state file: every query of a pass. One that is refused, or opened without being made persistent, stays as it is.
pub fn state(bytes: &[u8]) {
    let folder = scratch();
    let path = folder.path().join("state");
    for persistent in [false, true] {
        fs::write(&path, bytes).expect("there is room");
        let opened = State::open(&path, persistent);
        let is_untouched = !persistent || matches!(opened, Err(StateError::Foreign { .. }));
        if let Ok(state) = opened {
            // SQLite tells of what is damaged.
            let _ = pass(&state);
        }
        if is_untouched {
            assert!(fs::read(&path).expect("the file is there") == bytes, "the file has changed");
        }
    }
}

/// The fingerprint of the model in [`seeds::state`](crate::seeds), and the hash of its posters.
pub(crate) const MODEL: &str = "0123456789ab";
pub(crate) const HASH: [u8; 32] = [7; 32];

pub(crate) fn scanned(ordinal: i64) -> ScannedPoster {
    ScannedPoster {
        ordinal,
        path: format!("{ordinal}/poster.jpg").into(),
        size: 7,
        mtime: 8,
        kind: Kind::Film,
        title: Title { title: "Film".into(), year: Some(1979) },
        video: None,
        common_name: None,
        has_own_folder: true,
    }
}

fn pass(state: &State) -> Result<(), StateError> {
    let tagger = Tagger { model: &SHIPPED, point: SHIPPED.default_operating_point() };
    let posters: Vec<ScannedPoster> = (1..5).map(scanned).collect();
    state.begin()?;
    state.forget_misfits(MODEL, SHIPPED.card().genres.len())?;
    state.add(&posters)?;
    state.unknown_count(MODEL)?;
    for poster in state.next_unknown(MODEL, 0, 9, false)? {
        if let Some(cached) = state.look_up(&HASH, MODEL)? {
            state.record(&poster, &HASH, MODEL, &Ok(cached))?;
        }
    }
    for known in state.next_known(MODEL, 0, 9)? {
        if let Ok(prediction) = known.outcome {
            let tagged = tagger.tag(&known.poster, &prediction);
            tagger.genre_names(&tagged);
        }
    }
    Ok(())
}

/// A label file, and the metrics of guesses.
pub fn table(bytes: &[u8]) {
    let folder = scratch();
    let path = folder.path().join("data.csv");
    fs::write(&path, bytes).expect("there is room");
    let Ok(source) = path.to_str().expect("the folder's name is ASCII").parse::<Source>();
    let Ok(data) = Dataset::read(&[source]) else { return };
    let genres = data.genres.len();
    assert!(data.posters.iter().all(|poster| poster.labels.len() == genres), "a label for each genre");
    data.cut_lists();
    let data = data.with_list_limit(2);
    let probabilities: Vec<f32> = (0..data.posters.len() * genres).map(|index| (index % 10) as f32 / 10.0).collect();
    data.evaluate(&probabilities, &vec![0.5; genres], None);
}

/// A model that any engine may run.
pub fn onnx(bytes: &[u8]) {
    run_model(bytes, Engine::Auto);
}

/// A model of the native engine, whose kernels trust the shapes that were recognised.
pub fn native(bytes: &[u8]) {
    run_model(bytes, Engine::Native);
}

fn run_model(bytes: &[u8], engine: Engine) {
    let Ok(model) = ModelOptions::new().engine(engine).from_bytes(bytes, "model") else { return };
    let input = vec![0.5; model.card().input.len()];
    if let Ok(probabilities) = model.probabilities(&input) {
        assert_eq!(probabilities.len(), model.card().genres.len(), "a probability for each genre");
    }
}

/// A model's card; the graph is not looked at. The input is the metadata of an ONNX file, `key=value` in each line.
pub fn card(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let properties = text.lines().filter_map(|line| line.split_once('='));
    let property = |(key, value): (&str, &str)| runtime::onnx::Property { key: key.into(), value: value.into() };
    let metadata_props = properties.map(property).collect();
    let file = runtime::onnx::Model { metadata_props, ..Default::default() }.encode_to_vec();
    let Ok(model) = ModelOptions::new().lazy(true).from_bytes(&file, "model") else { return };
    let card = model.card();
    card.training.settings.entries();
    let mut training = card.training.settings.started_from();
    while let Some(before) = training {
        training = before.settings.started_from();
    }
    card.figures.values().for_each(|figures| drop(figures.table()));
    let (input, point) = (&card.input, model.default_operating_point());
    assert!(input.len() < 1 << 28, "an input of {} x {} is no poster", input.width, input.height);
    point.decide(&vec![0.5; card.genres.len()]);
    model.id();
}

/// The shipped model, never compiled.
pub(crate) static SHIPPED: LazyLock<Model> =
    LazyLock::new(|| ModelOptions::new().lazy(true).shipped().expect("the shipped model is sound"));

/// A folder in memory where the system has one: SQLite waits for the disk.
pub(crate) fn scratch() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("there is a folder for temporary files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_jpegs_are_read_as_the_reference_decoder_reads_them() {
        let mut compared = 0;
        for (index, file) in crate::seeds::jpeg().iter().enumerate() {
            let Some(reference) = reference_jpeg(file) else { continue };
            let expected = preprocess::resize(&reference, SMALL.0, SMALL.1);
            for image in pictures(file).into_iter().flatten() {
                let mean = mean_difference(&image.resize(SMALL.0, SMALL.1), &expected);
                assert!(mean < MEAN_DIFFERENCE, "{index}: the pixels differ by {mean:.1}");
                compared += 1;
            }
        }
        assert!(compared >= 30, "only {compared} pictures were compared");
    }
}
