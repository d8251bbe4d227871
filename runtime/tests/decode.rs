//! Decoding of posters: file formats, EXIF orientations, colour spaces, transparency, damaged files, and those that are
//! whole though something is wrong.

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
        ("html.png", "is an HTML page, not a JPEG, PNG or WebP picture"),
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
        // The last bytes of a PNG, checksums and its chunk IEND, hold no pixels.
        let whole = bytes.len() - 24;
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

/// A chunk of a PNG with its checksum.
fn png_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = !0_u32;
    for byte in kind.iter().chain(data) {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
        }
    }
    [&(data.len() as u32).to_be_bytes(), &kind[..], data, &(!crc).to_be_bytes()].concat()
}

/// A chunk of a WebP, filled up to an even length.
fn webp_chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    [&kind[..], &(data.len() as u32).to_le_bytes(), data, &[0][..data.len() % 2]].concat()
}

/// A WebP of a claimed length.
fn riff(size: u32, chunks: &[&[u8]]) -> Vec<u8> {
    [b"RIFF", &size.to_le_bytes()[..], b"WEBP", &chunks.concat()].concat()
}

/// An EXIF block of one entry, the orientation.
fn exif(orientation: u8) -> Vec<u8> {
    [b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[orientation, 0, 0, 0, 0, 0, 0]].concat()
}

#[test]
fn png_chunks_that_hold_no_pixels_do_not_matter() {
    let file = fs::read(fixture("posters/western.png")).unwrap();
    let reference = preprocess::decode(&file, "reference").unwrap();
    let (start, header, end) = (&file[..8], &file[8..33], &file[file.len() - 12..]);
    // The data of all IDAT chunks.
    let (mut data, mut rest) = (Vec::<u8>::new(), &file[33..]);
    while rest.len() > 12 {
        let length = u32::from_be_bytes(*rest.first_chunk().unwrap()) as usize;
        assert_eq!(&rest[4..8], b"IDAT");
        data.extend(&rest[8..8 + length]);
        rest = &rest[12 + length..];
    }
    let pixels = png_chunk(b"IDAT", &data);
    let (first, second) = data.split_at(data.len() / 2);
    let halves = [png_chunk(b"IDAT", first), png_chunk(b"IDAT", second)];
    let without_checksum = |chunk: &[u8]| [&chunk[..chunk.len() - 4], &[0; 4]].concat();
    let text = png_chunk(b"tEXt", b"Comment\0hello");
    let wrong_sum = [&data[..data.len() - 4], &[0; 4]].concat();
    let cases: [(&str, Vec<Vec<u8>>); 13] = [
        ("no end", vec![header.into(), pixels.clone()]),
        ("bytes behind the end", vec![header.into(), pixels.clone(), end.into(), b"\0\0PNG".into()]),
        ("text with a wrong checksum", vec![header.into(), without_checksum(&text), pixels.clone(), end.into()]),
        ("a broken colour profile", vec![header.into(), png_chunk(b"iCCP", &[b'x'; 90]), pixels.clone(), end.into()]),
        ("text of no length", vec![header.into(), png_chunk(b"zTXt", b""), pixels.clone(), end.into()]),
        ("text between pixels", vec![header.into(), halves[0].clone(), text, halves[1].clone(), end.into()]),
        ("two headers", vec![header.into(), header.into(), pixels.clone(), end.into()]),
        ("header with a wrong checksum", vec![without_checksum(header), pixels.clone(), end.into()]),
        ("pixels with a wrong checksum", vec![header.into(), without_checksum(&pixels), end.into()]),
        ("pixels with a wrong sum", vec![header.into(), png_chunk(b"IDAT", &wrong_sum), end.into()]),
        ("pixels without a sum", vec![header.into(), png_chunk(b"IDAT", &data[..data.len() - 4]), end.into()]),
        (
            "bytes behind the pixels",
            vec![header.into(), png_chunk(b"IDAT", &[&data[..], &[0; 99]].concat()), end.into()],
        ),
        ("cut in a checksum", vec![header.into(), pixels[..pixels.len() - 3].to_vec()]),
    ];
    for (what, chunks) in cases {
        let file = [start, &chunks.concat()].concat();
        assert!(
            preprocess::decode(&file, what).unwrap_or_else(|error| panic!("{what}: {error}")) == reference,
            "{what}"
        );
    }
    // A bit of the pixels, which neither checksum covers any more.
    let mut damaged = data.clone();
    damaged[data.len() / 2] ^= 1;
    let file = [start, header, &without_checksum(&png_chunk(b"IDAT", &damaged)), end].concat();
    assert!(matches!(preprocess::decode(&file, "damaged"), Err(Error::Damaged { .. })));
    for prefix in [b"".as_slice(), b"Exif\0\0"] {
        let turned = png_chunk(b"eXIf", &[prefix, &exif(6)].concat());
        let file = [start, header, &turned, &pixels, end].concat();
        assert_eq!(preprocess::decode(&file, "turned").unwrap().dimensions(), (450, 300), "{prefix:?}");
    }
}

#[test]
fn webp_chunks_that_hold_no_pixels_do_not_matter() {
    let file = fs::read(fixture("posters/western-lossless.webp")).unwrap();
    let reference = preprocess::decode(&file, "reference").unwrap();
    let pixels = &file[12..];
    let odd = webp_chunk(b"XMP ", b"<x/>1");
    let extended = |flags: u8| webp_chunk(b"VP8X", &[flags, 0, 0, 0, 43, 1, 0, 193, 1, 0]);
    let cases = [
        ("length 0", riff(0, &[pixels])),
        ("length too large", riff(u32::MAX, &[pixels])),
        ("no EXIF that is announced", riff(999, &[&extended(8), pixels])),
        ("no transparency that is announced", riff(999, &[&extended(16), pixels])),
        ("empty EXIF", riff(999, &[&extended(8), pixels, &webp_chunk(b"EXIF", b"")])),
        ("EXIF that is cut", riff(999, &[&extended(8), pixels, b"EXIF\x88\x13\0\0II*\0"])),
        ("unknown chunks", riff(999, &[&extended(8), &webp_chunk(b"PSAI", b"x"), pixels, &webp_chunk(b"abcd", b"")])),
        ("no byte to fill up", riff(999, &[&extended(4), &odd[..odd.len() - 1], pixels])),
        ("a tail", riff(999, &[pixels, b"\x12garbage\x12garbage"])),
    ];
    for (what, file) in cases {
        assert!(
            preprocess::decode(&file, what).unwrap_or_else(|error| panic!("{what}: {error}")) == reference,
            "{what}"
        );
    }
    for prefix in [b"".as_slice(), b"Exif\0\0"] {
        let turned = webp_chunk(b"EXIF", &[prefix, &exif(6)].concat());
        let file = riff(999, &[&extended(8), pixels, &turned]);
        assert_eq!(preprocess::decode(&file, "turned").unwrap().dimensions(), (450, 300), "{prefix:?}");
    }
}

#[test]
fn sizes_that_webp_frames_claim_are_limited() {
    // 40 x 60 pixels of the file, but 16,383 x 16,383 of the frame.
    let frame = webp_chunk(b"VP8 ", &[0x70, 9, 0, 0x9d, 1, 0x2a, 0xff, 0x3f, 0xff, 0x3f]);
    let extended = |flags: u8| webp_chunk(b"VP8X", &[flags, 0, 0, 0, 39, 0, 0, 59, 0, 0]);
    let moving = [&[0; 6], &[39, 0, 0, 59, 0, 0, 0, 0, 0, 0][..], &frame].concat();
    let animation = [webp_chunk(b"ANIM", &[0; 6]), webp_chunk(b"ANMF", &moving)].concat();
    for file in [riff(99, &[&frame]), riff(99, &[&extended(16), &webp_chunk(b"ALPH", &[0]), &frame])] {
        assert!(matches!(preprocess::decode(&file, "x"), Err(Error::TooLarge { width: 16_383, height: 16_383, .. })));
    }
    assert!(matches!(preprocess::decode(&riff(99, &[&extended(2), &animation]), "x"), Err(Error::Damaged { .. })));
}

#[test]
fn images_of_more_than_max_pixels_are_too_large() {
    assert_eq!(MAX_PIXELS, 100_000_000);
    let mut header = fs::read(fixture("broken/huge.png")).unwrap();
    // The IHDR chunk follows the signature and begins with width and height.
    let size = [10_000_u32.to_be_bytes(), 10_001_u32.to_be_bytes()].concat();
    let data = [&size[..], &header[24..29]].concat();
    header[8..33].copy_from_slice(&png_chunk(b"IHDR", &data));
    assert!(matches!(preprocess::decode(&header, "x"), Err(Error::TooLarge { width: 10_000, height: 10_001, .. })));
}
