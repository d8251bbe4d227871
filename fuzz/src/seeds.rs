//! Valid files to start from, small and of every kind that the project can make.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageFormat, RgbImage};
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use prost::Message;
use runtime::collection::state::{CachedPrediction, State};
use runtime::model::card::Card;
use runtime::onnx::{self, data_type};
use runtime::operating_point::OperatingPoint;
use runtime::preprocess::InputSpec;
use walkdir::WalkDir;

use crate::targets::{HASH, MODEL, SHIPPED, scanned, scratch};

/// The largest file of the fixtures that is mutated, in bytes.
const LARGEST: u64 = 8 << 10;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The small files below a folder of the project, in the order of their names.
fn files(folder: &str, extension: &str) -> Vec<Vec<u8>> {
    let entries = WalkDir::new(project(folder)).sort_by_file_name();
    entries
        .into_iter()
        .map(|entry| entry.expect("the fixtures can be listed"))
        .filter(|entry| entry.path().extension().is_some_and(|found| found == extension))
        .filter(|entry| entry.metadata().is_ok_and(|metadata| metadata.len() <= LARGEST))
        .map(|entry| fs::read(entry.path()).expect("the fixtures can be read"))
        .collect()
}

/// A picture with gradients and edges, few of its values saturated.
fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let light = 60 + 90 * x / width + if (x / 7 + y / 11) % 2 == 0 { 40 } else { 0 };
        image::Rgb([light as u8, (200 - light / 2) as u8, (30 + 180 * y / height) as u8])
    })
}

pub fn jpeg() -> Vec<Vec<u8>> {
    use ColorType::{Cmyk, CmykAsYcck, Luma, Rgb};
    use SamplingFactor::{F_1_1, F_1_2, F_2_1, F_2_2};
    let picture = picture(45, 61);
    let mut files = Vec::new();
    for (colours, sampling) in
        [(Rgb, F_1_1), (Rgb, F_1_2), (Rgb, F_2_1), (Rgb, F_2_2), (Luma, F_1_1), (Cmyk, F_1_1), (CmykAsYcck, F_2_2)]
    {
        for (scans, restart) in [(0, 0), (0, 3), (4, 0), (10, 2)] {
            let mut file = Vec::new();
            let mut encoder = Encoder::new(&mut file, 70);
            encoder.set_sampling_factor(sampling);
            encoder.set_restart_interval(restart);
            if scans > 0 {
                encoder.set_progressive_scans(scans);
            }
            let samples: Vec<u8> = match colours {
                Luma => picture.pixels().map(|pixel| pixel[1]).collect(),
                Rgb => picture.as_raw().clone(),
                _ => picture.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect(),
            };
            let (width, height) = (picture.width() as u16, picture.height() as u16);
            encoder.encode(&samples, width, height, colours).expect("the picture fits its samples");
            files.push(file);
        }
    }
    files
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image.write_to(&mut file, format).expect("the format holds such pixels");
    file.into_inner()
}

pub fn png() -> Vec<Vec<u8>> {
    let image = DynamicImage::from(picture(32, 48));
    let kinds = [
        image.to_luma8().into(),
        image.to_luma_alpha8().into(),
        image.to_rgba8().into(),
        image.to_luma16().into(),
        image.to_rgba16().into(),
        image,
    ];
    kinds.iter().map(|image| encode(image, ImageFormat::Png)).collect()
}

pub fn webp() -> Vec<Vec<u8>> {
    let image = DynamicImage::from(picture(32, 48));
    [image.to_rgba8().into(), image].iter().map(|image| encode(image, ImageFormat::WebP)).collect()
}

pub fn nfo() -> Vec<Vec<u8>> {
    files("fixtures/nfo", "nfo")
}

/// A state file with predictions.
pub fn state() -> Vec<Vec<u8>> {
    let folder = scratch();
    let path = folder.path().join("state");
    let state = State::open(&path, true).expect("a new state file can be made");
    let prediction =
        CachedPrediction { probabilities: vec![0.5; SHIPPED.card().genres.len()], thumbnail: jpeg().swap_remove(0) };
    for ordinal in 1..4 {
        state.record(&scanned(ordinal), &HASH, MODEL, &Ok(prediction.clone())).expect("there is room");
    }
    // Closed, the file holds what was in the write-ahead log.
    drop(state);
    vec![fs::read(path).expect("the file was made")]
}

pub fn table() -> Vec<Vec<u8>> {
    let lists =
        b"path,title,year,genres\na.jpg,\"One, two\",1979,Action|Drama\nb.jpg,,,\"['War', 'Drama']\"\nc.jpg,,,\n";
    let groups = b"\xEF\xBB\xBFId,Genre,Action,Adventure\r\ntt1,Action_Adventure,,\r\ntt2,\"Action\",1,0\r\n";
    files("fixtures/broken", "csv").into_iter().chain([lists.to_vec(), groups.to_vec()]).collect()
}

/// A card for a model of that input and that number of genres.
fn card_for(width: u32, height: u32, genres: usize) -> Card {
    let shipped = SHIPPED.card();
    let point = |point: &OperatingPoint| OperatingPoint { thresholds: vec![0.5; genres], ..point.clone() };
    Card {
        genres: shipped.genres[..genres].to_vec(),
        input: InputSpec::rgb(width, height),
        operating_points: shipped.operating_points.iter().map(point).collect(),
        figures: Default::default(),
        ..shipped.clone()
    }
}

fn with_card(mut model: Vec<u8>, card: &Card) -> Vec<u8> {
    card.append_to(&mut model).expect("the card is consistent");
    model
}

/// The smallest model with a card.
pub fn onnx() -> Vec<Vec<u8>> {
    let model = fs::read(project("fixtures/broken/no-card.onnx")).expect("the fixtures can be read");
    vec![with_card(model, &card_for(8, 8, 3))]
}

/// The metadata of a shipped model, a line for each key.
pub fn card() -> Vec<Vec<u8>> {
    let cards = [SHIPPED.card().clone(), card_for(8, 8, 3)];
    let text = |card: &Card| {
        let model = onnx::Model::decode(&*with_card(Vec::new(), card)).expect("a card is valid ONNX");
        let lines = model.metadata_props.into_iter().map(|property| format!("{}={}\n", property.key, property.value));
        lines.collect::<String>().into_bytes()
    };
    cards.iter().map(text).collect()
}

/// Shipped models with fewer channels: in f32 an eighth, in int8 half of them, since the integer layers take multiples of four.
pub fn native() -> Vec<Vec<u8>> {
    vec![with_fewer_channels("poster-genres-small-f32.onnx", 8), with_fewer_channels("poster-genres-small.onnx", 2)]
}

fn with_fewer_channels(name: &str, share: i64) -> Vec<u8> {
    // Sizes of kernels, strides and the like are smaller than any number of channels.
    let fewer = |value: &mut i64| *value /= if *value >= 2 * share { share } else { 1 };
    let file = fs::read(project("models").join(name)).expect("the model is there");
    let mut model = onnx::Model::decode(&*file).expect("the model is valid");
    model.metadata_props.clear();
    let graph = model.graph.as_mut().expect("a model has a graph");
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    attributes.filter(|attribute| attribute.name == "group").for_each(|group| fewer(&mut group.i));
    for tensor in &mut graph.initializer {
        let size = match tensor.data_type {
            data_type::INT64 => 8,
            data_type::FLOAT | data_type::INT32 => 4,
            data_type::INT8 | data_type::UINT8 => 1,
            _ => 2,
        };
        tensor.dims.iter_mut().for_each(fewer);
        let count: i64 = tensor.dims.iter().product();
        tensor.raw_data = tensor.raw_data.slice(..count as usize * size);
        if tensor.data_type == data_type::INT64 {
            let values = tensor.raw_data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
            let values = values.map(|mut value| {
                fewer(&mut value);
                value.to_le_bytes()
            });
            tensor.raw_data = values.collect::<Vec<_>>().concat().into();
        }
    }
    let genres = SHIPPED.card().genres.len() / share as usize;
    with_card(model.encode_to_vec(), &card_for(32, 64, genres))
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::{Engine, ModelOptions, preprocess};

    #[test]
    fn seeds_are_valid() {
        for (index, file) in [jpeg(), png(), webp()].concat().iter().enumerate() {
            preprocess::decode(file, "seed").unwrap_or_else(|error| panic!("{index}: {error}"));
        }
        let native = native().into_iter().map(|file| (file, Engine::Native));
        for (file, engine) in native.chain([(onnx().remove(0), Engine::Tract)]) {
            let model = ModelOptions::new().engine(engine).from_bytes(&file, "seed").unwrap();
            let probabilities = model.probabilities(&vec![0.0; model.card().input.len()]).unwrap();
            assert_eq!(probabilities.len(), model.card().genres.len());
        }
    }
}
