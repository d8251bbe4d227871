//! Decoding of posters: file formats, EXIF orientations, colour spaces, transparency, and damaged files.

use std::fs;

use fixtures::path as fixture;
use runtime::Error;
use runtime::preprocess::{self, MAX_PIXELS, Rgb8Image};

/// The mean absolute difference of two images, in levels of 255, at the size of a usual input.
fn difference(a: &Rgb8Image, b: &Rgb8Image) -> f64 {
    let (a, b) = (preprocess::resize(a, 96, 144).into_raw(), preprocess::resize(b, 96, 144).into_raw());
    let total: f64 = a.iter().zip(b.iter()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
    total / a.len() as f64
}

#[test]
fn one_poster_in_every_format_decodes_alike() {
    let reference = preprocess::open(&fixture("posters/western.png")).unwrap();
    let mut seen = 0;
    let mut problems = Vec::new();
    for entry in fs::read_dir(fixture("posters")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.starts_with("western-") {
            continue;
        }
        seen += 1;
        let picture = preprocess::open(&path).unwrap();
        let difference = difference(&reference, &picture);
        if picture.dimensions() != reference.dimensions() || difference > 3.0 {
            problems.push(format!("{name}: {:?}, differs by {difference:.2}", picture.dimensions()));
        }
    }
    assert_eq!(seen, 9, "fixtures are missing");
    assert!(problems.is_empty(), "{problems:#?}");
}

#[test]
fn every_poster_is_decoded() {
    let cases = [
        ("space-baseline.jpg", (600, 900)),
        ("horror-progressive.jpg", (600, 900)),
        ("noir-grey.jpg", (500, 750)),
        ("romance-transparent.png", (300, 450)),
        ("comedy-palette.png", (400, 600)),
        ("adventure-large.jpg", (1000, 1500)),
        ("action-landscape.jpg", (800, 450)),
        ("drama-small.jpg", (182, 268)),
        ("fantasy-is-a-png.jpg", (300, 450)),
        ("romcom-is-a-jpeg.png", (200, 300)),
        ("space-western-grey.png", (200, 300)),
    ];
    for (name, size) in cases {
        let picture = preprocess::open(&fixture("posters").join(name)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(picture.dimensions(), size, "{name}");
    }
}

#[test]
fn broken_posters_are_refused_by_name_and_reason() {
    let cases = [
        ("truncated.jpg", "cannot be decoded"),
        ("truncated.png", "cannot be decoded"),
        ("truncated.webp", "cannot be decoded"),
        ("empty.jpg", "is empty"),
        ("text.jpg", "is not a JPEG, PNG or WebP picture"),
        ("html.png", "is not a JPEG, PNG or WebP picture"),
        ("huge.png", "claims 60000 x 60000 pixels"),
        ("huge.jpg", "claims 65000 x 65000 pixels"),
        ("absent.jpg", "cannot be read"),
    ];
    for (name, reason) in cases {
        let path = fixture("broken").join(name);
        let error = preprocess::open(&path).expect_err(name).to_string();
        assert!(error.contains(name) && error.contains(reason), "{name}: {error}");
        assert_eq!(error.lines().count(), 1, "{name}: {error}");
    }
}

#[test]
fn truncated_posters_are_errors_and_never_panic() {
    for name in [
        "western-baseline.jpg",
        "western-progressive.jpg",
        "western-cmyk.jpg",
        "romance-transparent.png",
        "western-lossless.webp",
    ] {
        let bytes = fs::read(fixture("posters").join(name)).unwrap();
        // The last twelve bytes of a PNG, its chunk IEND, hold no pixels.
        let whole = bytes.len() - 12;
        for length in (0..64).chain((64..whole).step_by(whole / 60)) {
            assert!(preprocess::decode(&bytes[..length], name).is_err(), "{name}, {length} of {} bytes", bytes.len());
        }
    }
}

#[test]
fn trailing_bytes_and_embedded_thumbnails_are_ignored() {
    let whole = fs::read(fixture("posters/western-baseline.jpg")).unwrap();
    let picture = preprocess::decode(&whole, "whole").unwrap();
    // An application segment that holds another JPEG, as cameras write their thumbnails.
    let thumbnail = &fs::read(fixture("tiny/Images/val-001.jpg")).unwrap();
    let mut with_thumbnail = whole[..2].to_vec();
    with_thumbnail.extend([0xFF, 0xEC]);
    with_thumbnail.extend(((thumbnail.len() + 2) as u16).to_be_bytes());
    with_thumbnail.extend(thumbnail);
    with_thumbnail.extend(&whole[2..]);
    let with_tail = [&whole[..], &[0; 100]].concat();
    for (bytes, what) in [(with_thumbnail, "thumbnail"), (with_tail, "tail")] {
        assert_eq!(preprocess::decode(&bytes, what).unwrap(), picture, "{what}");
        let cut = &bytes[..whole.len() / 2];
        assert!(matches!(preprocess::decode(cut, what), Err(Error::Damaged { .. })), "{what}, cut");
    }
}

#[test]
fn images_of_more_than_max_pixels_are_too_large() {
    assert_eq!(MAX_PIXELS, 100_000_000);
    let mut header = fs::read(fixture("broken/huge.png")).unwrap();
    // Width and height follow the signature and the IHDR chunk's length and name; its CRC follows them.
    header[16..24].copy_from_slice(&[10_000_u32.to_be_bytes(), 10_001_u32.to_be_bytes()].concat());
    let mut crc = !0_u32;
    for byte in &header[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    header[29..33].copy_from_slice(&(!crc).to_be_bytes());
    assert!(matches!(preprocess::decode(&header, "x"), Err(Error::TooLarge { width: 10_000, height: 10_001, .. })));
}
