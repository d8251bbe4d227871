//! DCT-domain downscaling of JPEGs against decoding all pixels and resizing them: both must agree for every kind of
//! file.

use std::fs;
use std::path::{Path, PathBuf};

use fixtures::path as fixture;
use image::metadata::Orientation;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use runtime::preprocess::{self, MAX_PIXELS, Rgb8Image};

/// Input sizes of models, and one so small that every fixture is downscaled in the DCT domain.
const SIZES: [(u32, u32); 4] = [(256, 384), (192, 288), (96, 128), (24, 36)];

/// A synthetic poster: gradients, hard edges and some grain.
fn picture(width: u32, height: u32) -> Rgb8Image {
    grainy(width, height, 8)
}

/// As [`picture`], with grain of up to `levels` levels of 255.
fn grainy(width: u32, height: u32, levels: u32) -> Rgb8Image {
    Rgb8Image::from_fn(width, height, |x, y| {
        let (across, down) = (x as f32 / width as f32, y as f32 / height as f32);
        let light = 120.0 + 80.0 * (5.0 * across).sin() * (7.0 * down).cos();
        let title = if (0.3..0.7).contains(&across) && (0.8..0.9).contains(&down) { 60.0 } else { 0.0 };
        let grain = (x.wrapping_mul(2_654_435_761) ^ y.wrapping_mul(2_246_822_519)).wrapping_mul(3_266_489_917) >> 16;
        [light + title, light * (1.0 - across) + title, 40.0 + 150.0 * down]
            .map(|v| (v as u8).saturating_add(((grain * levels) >> 16) as u8))
    })
}

/// A JPEG of an image. `settings` are made before the image is encoded.
fn jpeg(picture: &Rgb8Image, colours: ColorType, settings: impl Fn(&mut Encoder<&mut Vec<u8>>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 90);
    settings(&mut encoder);
    let values: Vec<u8> = match colours {
        ColorType::Luma => picture.pixels().map(|pixel| pixel[1]).collect(),
        ColorType::Cmyk | ColorType::CmykAsYcck => {
            picture.pixels().flat_map(|pixel| [pixel[0], pixel[1], pixel[2], 255]).collect()
        }
        _ => picture.as_raw().to_vec(),
    };
    encoder.encode(&values, picture.width() as u16, picture.height() as u16, colours).unwrap();
    bytes
}

/// Greatest mean and single difference between the two paths, in levels of 255. The decoder of all pixels rounds and
/// clamps each to 0 to 255, which the composed matrices do not: the rounding averages out, but a bright edge that
/// overshoots 255 is clamped by that decoder only.
const MEAN: f64 = 0.75;
const LARGEST: u8 = 30;

/// Compares the two paths for a model of the given input size.
fn check(bytes: &[u8], size: (u32, u32), what: &str) -> Result<(), String> {
    let full = preprocess::decode(bytes, what).map_err(|error| error.to_string())?;
    let picture = preprocess::decode_for(bytes, what, MAX_PIXELS, size).map_err(|error| error.to_string())?;
    if picture.dimensions() != full.dimensions() {
        return Err(format!("{what}: {:?} instead of {:?}", picture.dimensions(), full.dimensions()));
    }
    // Also smaller than the size that the file was decoded for.
    for size in [size, (size.0.div_ceil(2), size.1.div_ceil(3))] {
        let [full, small] =
            [preprocess::resize(&full, size.0, size.1), picture.resize(size.0, size.1)].map(Rgb8Image::into_raw);
        let differences = || full.iter().zip(small.iter()).map(|(a, b)| a.abs_diff(*b));
        let mean = differences().map(f64::from).sum::<f64>() / full.len() as f64;
        let largest = differences().max().unwrap_or(0);
        // Rounding does not average out over a few values.
        let limit = if full.len() < 300 { 2.0 } else { MEAN };
        if mean > limit || largest > LARGEST {
            return Err(format!("{what}, {size:?}: differs by {mean:.2}, at most by {largest}"));
        }
    }
    Ok(())
}

#[test]
fn both_paths_agree_on_every_fixture() {
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
fn both_paths_agree_on_every_kind_of_jpeg() {
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
fn both_paths_agree_on_grain() {
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
fn the_narrowest_posters_are_resized() {
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
fn every_exif_orientation_is_applied() {
    // An IFD whose only tag is the orientation.
    let exif = |value: u8| {
        [b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[value, 0, 0, 0, 0, 0, 0]].concat()
    };
    let upright = picture(400, 600);
    let decoded = preprocess::decode(&jpeg(&upright, ColorType::Rgb, |_| {}), "upright").unwrap();
    let decoded = image::RgbImage::from_raw(400, 600, decoded.into_raw()).unwrap();
    for value in 1..=8 {
        let mut expected = image::DynamicImage::from(decoded.clone());
        expected.apply_orientation(Orientation::from_exif(value).unwrap());
        let bytes = jpeg(&upright, ColorType::Rgb, |encoder| encoder.add_app_segment(1, exif(value)).unwrap());
        let turned = preprocess::decode(&bytes, "turned").unwrap();
        assert_eq!(turned.dimensions(), (expected.width(), expected.height()), "{value}");
        assert!(turned.as_raw() == expected.as_bytes(), "{value}");
        for size in [(24, 36), (36, 24)] {
            check(&bytes, size, &format!("orientation {value}")).unwrap();
        }
    }
}

/// A file of the repository in which a byte is replaced.
fn damaged_file() -> impl Strategy<Value = Vec<u8>> {
    let names = ["posters/western-baseline.jpg", "posters/western-progressive.jpg", "tiny/Images/val-001.jpg"];
    let mut files: Vec<Vec<u8>> = names.iter().map(|name| fs::read(fixture(name)).unwrap()).collect();
    files.push(include_bytes!("refined.jpg").to_vec());
    // Half of the time in the marker segments before the scans, where a byte matters most.
    (select(files), any::<bool>(), any::<Index>(), any::<u8>()).prop_map(|(mut bytes, in_header, index, value)| {
        let end = if in_header { bytes.len().min(700) } else { bytes.len() };
        bytes[index.index(end)] = value;
        bytes
    })
}

/// Colours, subsampling, progressive scans (0 for a sequential file) and restart interval (0 for none).
fn encoding() -> impl Strategy<Value = (ColorType, SamplingFactor, u8, u16)> {
    use SamplingFactor::{F_1_1, F_1_2, F_2_1, F_2_2, F_4_1};
    (
        select(vec![ColorType::Rgb, ColorType::Luma]),
        select(vec![F_1_1, F_1_2, F_2_1, F_2_2, F_4_1]),
        select(vec![0, 4, 10]),
        select(vec![0, 1, 7]),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1600) })]

    #[test]
    fn damaged_files_never_panic_and_keep_their_dimensions(bytes in damaged_file()) {
        if let Ok(image) = preprocess::decode_for(&bytes, "damaged", 4_000_000, (24, 36)) {
            // Precision, height and width follow the marker and length of the frame header.
            let claims = |frame: &[u8]| {
                let number = |index: usize| u32::from(u16::from_be_bytes([frame[index], frame[index + 1]]));
                (number(7), number(5)) == image.dimensions()
            };
            prop_assert!(bytes.windows(9).any(|window| matches!(window, [0xFF, 0xC0..=0xC2, ..]) && claims(window)));
            prop_assert_eq!(image.resize(24, 36).dimensions(), (24, 36));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn both_paths_agree_at_any_dimensions(
        (width, height) in (40..400_u32, 40..400_u32),
        size in (4..60_u32, 4..60_u32),
        (colours, sampling, scans, restart) in encoding(),
    ) {
        let bytes = jpeg(&picture(width, height), colours, |encoder| {
            encoder.set_sampling_factor(sampling);
            encoder.set_restart_interval(restart);
            if scans > 0 {
                encoder.set_progressive_scans(scans);
            }
        });
        prop_assert_eq!(check(&bytes, size, "generated"), Ok(()));
    }
}
