//! Of a large JPEG no pixels are made. Whatever it is like, the model must see what the full picture would show it.

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use image::metadata::Orientation;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use runtime::preprocess::{self, MAX_PIXELS};

/// Inputs of networks, and one so small that every fixture is scaled.
const SIZES: [(u32, u32); 4] = [(256, 384), (192, 288), (96, 128), (24, 36)];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures").join(name)
}

/// Soft light, a hard edge and some grain.
fn picture(width: u32, height: u32) -> RgbImage {
    grainy(width, height, 8)
}

/// As [`picture`], with as many levels of grain.
fn grainy(width: u32, height: u32, levels: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let (across, down) = (x as f32 / width as f32, y as f32 / height as f32);
        let light = 120.0 + 80.0 * (5.0 * across).sin() * (7.0 * down).cos();
        let title = if (0.3..0.7).contains(&across) && (0.8..0.9).contains(&down) { 60.0 } else { 0.0 };
        let grain = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519)).wrapping_mul(3_266_489_917) >> 16;
        image::Rgb(
            [light + title, light * (1.0 - across) + title, 40.0 + 150.0 * down]
                .map(|v| (v as u8).saturating_add(((grain * levels) >> 16) as u8)),
        )
    })
}

/// Encodes a picture, after settings of the encoder's own.
fn jpeg(picture: &RgbImage, colours: ColorType, settings: impl Fn(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 90);
    settings(&mut encoder);
    let values: Vec<u8> = match colours {
        ColorType::Luma => picture.pixels().map(|pixel| pixel[1]).collect(),
        ColorType::Cmyk | ColorType::CmykAsYcck => {
            picture.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect()
        }
        _ => picture.as_raw().clone(),
    };
    encoder.encode(&values, picture.width() as u16, picture.height() as u16, colours).unwrap();
    bytes
}

/// How far what a model of the given input size sees may be from the full picture, in levels of 255. The decoder of full
/// pictures rounds each pixel to a whole level from 0 to 255, which a sum of waves does not: on average nothing is left
/// of it, but a light edge that swings above 255 is cut off there only.
const MEAN: f64 = 0.75;
const LARGEST: u8 = 30;

/// Compares what a model of the given input size sees, with the full picture's.
fn check(bytes: &[u8], size: (u32, u32), what: &str) -> Result<(), String> {
    let full = preprocess::decode(bytes, what).map_err(|error| error.to_string())?;
    let picture = preprocess::decode_for(bytes, what, MAX_PIXELS, size).map_err(|error| error.to_string())?;
    if picture.dimensions() != full.dimensions() {
        return Err(format!("{what}: {:?} instead of {:?}", picture.dimensions(), full.dimensions()));
    }
    // A smaller picture than it was read for must be right, too.
    for size in [size, (size.0.div_ceil(2), size.1.div_ceil(3))] {
        let [full, small] = [preprocess::resize(&full, size.0, size.1), picture.resize(size.0, size.1)];
        let differences = || full.iter().zip(small.iter()).map(|(a, b)| a.abs_diff(*b));
        let mean = differences().map(f64::from).sum::<f64>() / full.len() as f64;
        let largest = differences().max().unwrap_or(0);
        if mean > MEAN || largest > LARGEST {
            return Err(format!("{what}, {size:?}: differs by {mean:.2}, at most by {largest}"));
        }
    }
    Ok(())
}

#[test]
fn every_fixture_looks_the_same() {
    let mut problems = Vec::new();
    let mut posters: Vec<PathBuf> =
        fs::read_dir(fixture("posters")).unwrap().map(|entry| entry.unwrap().path()).collect();
    posters.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refined.jpg"));
    for path in posters {
        let bytes = fs::read(&path).unwrap();
        problems.extend(SIZES.iter().filter_map(|size| check(&bytes, *size, &path.display().to_string()).err()));
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_kind_of_jpeg_looks_the_same() {
    use ColorType::{Cmyk, CmykAsYcck, Luma, Rgb};
    use SamplingFactor::{F_1_1, F_1_2, F_2_1, F_2_2};
    let mut problems = Vec::new();
    for (width, height) in [(401, 599), (640, 200), (97, 1531)] {
        let picture = picture(width, height);
        for colours in [Rgb, Luma, Cmyk, CmykAsYcck] {
            for sampling in [F_1_1, F_1_2, F_2_1, F_2_2] {
                for (scans, restart) in [(0, 0), (0, 7), (4, 0), (4, 5), (10, 0)] {
                    let bytes = jpeg(&picture, colours, |encoder| {
                        encoder.set_sampling_factor(sampling);
                        encoder.set_restart_interval(restart);
                        if scans > 0 {
                            encoder.set_progressive_scans(scans);
                        }
                    });
                    // The decoder of full pictures knows no progressive CMYK of halved colour.
                    if colours == Cmyk && scans > 0 && sampling != F_1_1 {
                        continue;
                    }
                    let what =
                        format!("{width} x {height}, {colours:?}, {sampling:?}, {scans} scans, restart {restart}");
                    problems.extend([(24, 36), (40, 90)].iter().filter_map(|size| check(&bytes, *size, &what).err()));
                }
            }
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn grain_makes_no_difference() {
    let mut problems = Vec::new();
    for levels in [1, 20, 60] {
        for size in [(1000, 1500), (501, 703)] {
            let bytes = jpeg(&grainy(size.0, size.1, levels), ColorType::Rgb, |encoder| {
                encoder.set_sampling_factor(SamplingFactor::F_2_2);
            });
            let what = format!("{size:?}, {levels} levels of grain");
            problems.extend(SIZES.iter().filter_map(|size| check(&bytes, *size, &what).err()));
        }
    }
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn the_narrowest_posters_are_read() {
    for (width, height) in [(1, 1), (1, 700), (700, 1), (9, 900), (2, 3)] {
        for sampling in [SamplingFactor::F_1_1, SamplingFactor::F_2_2] {
            let bytes = jpeg(&picture(width, height), ColorType::Rgb, |encoder| encoder.set_sampling_factor(sampling));
            for size in [(1, 1), (1, 30), (30, 1), (192, 288)] {
                let picture = preprocess::decode_for(&bytes, "narrow", MAX_PIXELS, size).unwrap();
                assert_eq!(picture.resize(size.0, size.1).dimensions(), size);
            }
        }
    }
}

#[test]
fn a_turned_poster_stands() {
    // The tag of the orientation is the only one; its value is the last but two of the bytes.
    let exif = |value: u8| {
        [b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[value, 0, 0, 0, 0, 0, 0]].concat()
    };
    let upright = picture(400, 600);
    for value in 1..=8 {
        let orientation = Orientation::from_exif(value).unwrap();
        let bytes = jpeg(&upright, ColorType::Rgb, |encoder| encoder.add_app_segment(1, exif(value)).unwrap());
        let mut expected = image::DynamicImage::from(upright.clone());
        expected.apply_orientation(orientation);
        for size in [(24, 36), (36, 24)] {
            let picture = preprocess::decode_for(&bytes, "turned", MAX_PIXELS, size).unwrap();
            assert_eq!(picture.dimensions(), (expected.width(), expected.height()), "{value}");
            check(&bytes, size, &format!("orientation {value}")).unwrap();
        }
    }
}

#[test]
fn damaged_bytes_never_panic() {
    let mut seed = 1_u32;
    let mut random = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    let names = ["posters/western-baseline.jpg", "posters/western-progressive.jpg", "tiny/Images/val-001.jpg"];
    let mut files: Vec<Vec<u8>> = names.iter().map(|name| fs::read(fixture(name)).unwrap()).collect();
    files.push(include_bytes!("refined.jpg").to_vec());
    for whole in files {
        for round in 0..400 {
            let mut bytes = whole.clone();
            // Half of the time in the segments before the pixels, where a byte matters most.
            let place = random(if round % 2 == 0 { bytes.len().min(700) } else { bytes.len() });
            bytes[place] = random(256) as u8;
            let _ = preprocess::decode_for(&bytes, "damaged", 4_000_000, (24, 36));
        }
    }
}
