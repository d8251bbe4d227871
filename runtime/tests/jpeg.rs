//! JPEGs of every legal structure, small and large, against the picture that was encoded, and against libjpeg-turbo.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use fixtures::jpeg_variants::{Colours, Scan, Variant, encode};
use image::RgbImage;
use runtime::Error;
use runtime::preprocess::{self, MAX_PIXELS, Rgb8Image};

/// A small picture, one of the smallest, and one that is downscaled in the DCT domain for [`WANTED`].
const SIZES: [(u32, u32); 3] = [(61, 90), (3, 2), (290, 435)];

/// The size for which large pictures are decoded.
const WANTED: (u32, u32) = (64, 96);

/// A picture of slow gradients in strong colours, none of them dark.
fn picture((width, height): (u32, u32)) -> RgbImage {
    let wave = |phase: f32| (160.0 + 70.0 * phase.sin()) as u8;
    RgbImage::from_fn(width, height, |x, y| {
        let (x, y) = (x as f32 / 70.0, y as f32 / 90.0);
        image::Rgb([wave(x + y), wave(2.0 - x + y / 2.0), wave(4.0 + x / 2.0 - y)])
    })
}

/// The least structure of three components of luma and chroma.
fn variant(sampling: [(usize, usize); 3], scans: Vec<Scan>) -> Variant {
    Variant {
        colours: Colours::YCbCr,
        ids: vec![1, 2, 3],
        sampling: sampling.to_vec(),
        is_progressive: scans.iter().any(|scan| scan.spectrum != (0, 63)),
        scans,
        has_jfif: true,
        adobe: None,
        is_adobe_late: false,
        redefines_tables: false,
        has_fill_bytes: false,
    }
}

/// Scan scripts for three components, and whether they interleave all of them.
fn scripts() -> Vec<(bool, Vec<Scan>)> {
    let (all, one) = (Scan::sequential(&[0, 1, 2]), |index| Scan::sequential(&[index]));
    let progressive = Scan::progressive;
    let refined = |dc: &[Scan]| {
        let rest = [
            progressive(&[0], (1, 5), (0, 2)),
            progressive(&[2], (1, 63), (0, 1)).restarting(3),
            progressive(&[1], (1, 63), (0, 1)),
            progressive(&[0], (6, 63), (0, 2)),
            progressive(&[0], (1, 63), (2, 1)).restarting(5),
            progressive(&[0, 1], (0, 0), (1, 0)),
            progressive(&[2], (0, 0), (1, 0)).restarting(1),
            progressive(&[2], (1, 63), (1, 0)),
            progressive(&[1], (1, 63), (1, 0)).restarting(2),
            progressive(&[0], (1, 63), (1, 0)),
        ];
        [dc, &rest].concat()
    };
    let spectrum = [[0], [2], [1]].map(|component| progressive(&component, (1, 63), (0, 0)));
    vec![
        (true, vec![all.clone()]),
        (true, vec![all.restarting(3)]),
        (false, vec![one(0), one(1), one(2)]),
        (false, vec![one(2).restarting(4), one(0).restarting(1), one(1)]),
        (false, vec![one(0), Scan::sequential(&[1, 2]).restarting(2)]),
        (true, [&[progressive(&[0, 1, 2], (0, 0), (0, 0))], &spectrum[..]].concat()),
        (true, refined(&[progressive(&[0, 1, 2], (0, 0), (0, 1)).restarting(7)])),
        (false, refined(&[[1], [0], [2]].map(|component| progressive(&component, (0, 0), (0, 1)).restarting(1)))),
    ]
}

/// All variants, each with what it is.
fn variants() -> Vec<(String, Variant)> {
    let mut variants = Vec::new();
    let chroma = |luma, chroma| [luma, chroma, chroma];
    let sampling = [
        chroma((1, 1), (1, 1)),
        chroma((2, 1), (1, 1)),
        chroma((1, 2), (1, 1)),
        chroma((2, 2), (1, 1)),
        chroma((4, 1), (1, 1)),
        chroma((1, 4), (1, 1)),
        chroma((4, 2), (1, 1)),
        chroma((2, 4), (1, 1)),
        chroma((4, 4), (1, 1)),
        chroma((4, 2), (2, 1)),
        chroma((3, 1), (1, 1)),
        chroma((3, 2), (1, 2)),
        chroma((3, 1), (2, 1)),
        chroma((3, 3), (2, 2)),
        chroma((4, 3), (3, 4)),
        chroma((2, 2), (2, 1)),
        chroma((2, 2), (1, 2)),
        chroma((2, 2), (2, 2)),
        chroma((1, 1), (2, 2)),
        [(2, 2), (1, 1), (2, 1)],
        [(2, 1), (1, 2), (1, 1)],
        [(1, 2), (4, 1), (2, 3)],
    ];
    for (number, (is_interleaved, scans)) in scripts().into_iter().enumerate() {
        for sampling in sampling {
            // Ten blocks in an MCU are the most (T.81, B.2.3).
            let blocks =
                |components: &[usize]| components.iter().map(|c| sampling[*c].0 * sampling[*c].1).sum::<usize>();
            if !is_interleaved && blocks(&[1, 2]) <= 10 && blocks(&[0, 1]) <= 10 || blocks(&[0, 1, 2]) <= 10 {
                // Half of them with what changes no pixel.
                let extra = variants.len() % 2 == 1;
                let variant = Variant {
                    redefines_tables: extra,
                    has_fill_bytes: variants.len() % 4 == 1,
                    ..variant(sampling, scans.clone())
                };
                variants.push((format!("{sampling:?}, script {number}, new tables {extra}"), variant));
            }
        }
    }
    let (all, four) = (vec![Scan::sequential(&[0, 1, 2])], vec![Scan::sequential(&[0, 1, 2, 3])]);
    let colours: [(Colours, &[u8], bool, Option<u8>); 16] = [
        (Colours::Grey, &[1], true, None),
        (Colours::Grey, &[7], false, Some(0)),
        (Colours::YCbCr, &[1, 2, 3], false, None),
        (Colours::YCbCr, &[0, 1, 2], false, None),
        (Colours::YCbCr, &[34, 35, 36], false, None),
        (Colours::YCbCr, b"YCc", true, None),
        (Colours::YCbCr, &[1, 2, 3], false, Some(1)),
        (Colours::YCbCr, &[1, 2, 3], true, Some(0)),
        (Colours::YCbCr, b"RGB", true, None),
        (Colours::Rgb, b"RGB", false, None),
        (Colours::Rgb, &[1, 2, 3], false, Some(0)),
        (Colours::Rgb, b"RGB", false, Some(0)),
        (Colours::Cmyk, &[1, 2, 3, 4], false, None),
        (Colours::Cmyk, b"CMYK", false, Some(0)),
        (Colours::Ycck, &[1, 2, 3, 4], false, Some(2)),
        (Colours::Ycck, &[1, 2, 3, 4], true, Some(2)),
    ];
    for (colours, ids, has_jfif, adobe) in colours {
        for is_adobe_late in [false, true] {
            for factors in [(1, 1), (2, 2)] {
                let sampling = match ids.len() {
                    1 => vec![factors],
                    3 => vec![factors, (1, 1), (1, 1)],
                    _ => vec![factors, (1, 1), (1, 1), factors],
                };
                let scans = match ids.len() {
                    1 => vec![Scan::sequential(&[0]).restarting(3)],
                    3 => all.clone(),
                    _ => four.clone(),
                };
                let ids = ids.to_vec();
                let what =
                    format!("{colours:?} {ids:?}, {factors:?}, JFIF {has_jfif}, Adobe {adobe:?}, {is_adobe_late}");
                let variant =
                    Variant { colours, ids, sampling, has_jfif, adobe, is_adobe_late, ..variant([(1, 1); 3], scans) };
                variants.push((what, variant));
            }
        }
    }
    variants
}

/// Mean and greatest difference of the samples of two images, in levels of 255.
fn difference(a: &[u8], b: &[u8]) -> (f64, u8) {
    assert_eq!(a.len(), b.len());
    let differences = || a.iter().zip(b).map(|(a, b)| a.abs_diff(*b));
    (differences().map(f64::from).sum::<f64>() / a.len() as f64, differences().max().unwrap_or(0))
}

/// The picture as a variant's colours have it.
fn expected(picture: &RgbImage, variant: &Variant) -> Rgb8Image {
    Rgb8Image::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue] = picture.get_pixel(x, y).0;
        if variant.colours == Colours::Grey {
            [(0.299 * f32::from(red) + 0.587 * f32::from(green) + 0.114 * f32::from(blue)).round() as u8; 3]
        } else {
            [red, green, blue]
        }
    })
}

#[test]
fn every_variant_shows_its_picture() {
    let variants = variants();
    assert!(variants.len() >= 200, "{} variants", variants.len());
    let mut problems = Vec::new();
    for (what, variant) in &variants {
        for size in SIZES {
            let picture = picture(size);
            let bytes = encode(&picture, variant);
            let whole = expected(&picture, variant);
            let resized = preprocess::resize(&whole, WANTED.0, WANTED.1);
            let pixels = preprocess::decode(&bytes, "pixels");
            let scaled = preprocess::decode_for(&bytes, "scaled", MAX_PIXELS, WANTED);
            let scaled = scaled.map(|image| image.resize(WANTED.0, WANTED.1));
            for (way, decoded, expected) in [("all pixels", pixels, &whole), ("scaled", scaled, &resized)] {
                match decoded.map(|decoded| difference(decoded.as_raw(), expected.as_raw())) {
                    // A sample of chroma that spans four pixels is repeated.
                    Ok((mean, furthest)) if mean < 2.0 && furthest <= 12 => {}
                    Ok((mean, furthest)) => {
                        problems.push(format!("{what}, {size:?}, {way}: {mean:.2} levels off, at most {furthest}"));
                    }
                    Err(error) => problems.push(format!("{what}, {size:?}: {error}")),
                }
            }
        }
    }
    assert!(problems.is_empty(), "{} problems, such as {:#?}", problems.len(), &problems[..problems.len().min(30)]);
}

/// Decodes both ways.
fn decode(bytes: &[u8]) -> Result<Rgb8Image, Error> {
    let scaled = preprocess::decode_for(bytes, "picture", MAX_PIXELS, WANTED);
    let pixels = preprocess::decode(bytes, "picture");
    assert_eq!(pixels.is_ok(), scaled.is_ok(), "{:?} {:?}", pixels.err(), scaled.err());
    pixels
}

#[test]
fn what_follows_or_precedes_the_pixels_does_not_matter() {
    let scripts = scripts();
    for size in SIZES {
        for (_, scans) in [&scripts[1], &scripts[2], &scripts[6]] {
            let whole = encode(&picture(size), &variant([(2, 2), (1, 1), (1, 1)], scans.clone()));
            let reference = decode(&whole).unwrap();
            let end = whole.len() - 2;
            let frame = whole.windows(2).position(|pair| matches!(pair, [0xFF, 0xC1 | 0xC2])).unwrap();
            let cases = [
                ("no end", whole[..end].to_vec()),
                ("a tail with markers", [&whole[..], b"ftyp\xFF\xD8\xFF\xC3\0\x04ab\xFF\xDA\x01"].concat()),
                ("another picture", [&whole[..], &whole[..end / 2]].concat()),
                ("zeros before the end", [&whole[..end], &[0; 64], &[0xFF, 0xD9]].concat()),
                ("fill bytes before the end", [&whole[..end], &[0xFF; 9], &[0xFF, 0xD9]].concat()),
                (
                    "garbage between segments",
                    [&whole[..frame], b"\0\x12\xFF\0garbage\xFF\x02", &whole[frame..]].concat(),
                ),
            ];
            for (what, bytes) in cases {
                assert!(decode(&bytes).unwrap() == reference, "{what}, {size:?}, {} scans", scans.len());
            }
        }
    }
}

#[test]
fn restart_markers_may_be_wrong_or_missing() {
    let scans = vec![Scan::sequential(&[0, 1, 2]).restarting(3)];
    for size in [SIZES[0], SIZES[2]] {
        let whole = encode(&picture(size), &variant([(2, 2), (1, 1), (1, 1)], scans.clone()));
        let reference = decode(&whole).unwrap();
        let restarts: Vec<usize> =
            (0..whole.len() - 1).filter(|index| matches!(whole[*index..], [0xFF, 0xD0..=0xD7, ..])).collect();
        let at = restarts[restarts.len() / 2];
        let cases = [
            ("another number", [&whole[..=at], &[0xD0 | whole[at + 1].wrapping_add(1) & 7], &whole[at + 2..]].concat()),
            ("missing", [&whole[..at], &whole[at + 2..]].concat()),
            ("garbage before", [&whole[..at], &[0x12, 0x34, 0x56, 0xFF, 0, 0x9a], &whole[at..]].concat()),
        ];
        for (what, bytes) in cases {
            assert!(decode(&bytes).unwrap() == reference, "{what}, {size:?}");
        }
    }
}

#[test]
fn tables_and_heights_may_come_from_elsewhere() {
    for size in SIZES {
        let picture = picture(size);
        let mut bytes = Vec::new();
        let encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
        encoder.encode(&picture, size.0 as u16, size.1 as u16, jpeg_encoder::ColorType::Rgb).unwrap();
        let reference = decode(&bytes).unwrap();
        // Motion JPEG has no Huffman tables: those of the standard are meant, which this encoder uses.
        let segment = |bytes: &[u8], code: u8| {
            let start = bytes.windows(2).position(|pair| pair == [0xFF, code])?;
            Some((start, start + 2 + usize::from(u16::from_be_bytes([bytes[start + 2], bytes[start + 3]]))))
        };
        let mut without_tables = bytes.clone();
        while let Some((start, end)) = segment(&without_tables, 0xC4) {
            without_tables.drain(start..end);
        }
        assert!(without_tables.len() < bytes.len() - 400);
        assert!(decode(&without_tables).unwrap() == reference, "no tables, {size:?}");
        // A segment behind the scan says the height.
        let (frame, _) = segment(&bytes, 0xC0).unwrap();
        let height = (size.1 as u16).to_be_bytes();
        let mut without_height = bytes[..bytes.len() - 2].to_vec();
        without_height[frame + 5..frame + 7].fill(0);
        assert!(matches!(decode(&without_height), Err(Error::Damaged { .. })));
        without_height.extend([0xFF, 0xDC, 0, 4, height[0], height[1], 0xFF, 0xD9]);
        assert!(decode(&without_height).unwrap() == reference, "no height, {size:?}");
    }
}

#[test]
fn kinds_that_are_not_supported_are_called_by_name() {
    let whole = encode(&picture(SIZES[0]), &variant([(1, 1); 3], vec![Scan::sequential(&[0, 1, 2])]));
    let frame = whole.windows(2).position(|pair| pair == [0xFF, 0xC1]).unwrap();
    let cases = [
        (1, 0xC3, "lossless JPEG"),
        (1, 0xC9, "JPEG with arithmetic coding"),
        (1, 0xC5, "hierarchical JPEG"),
        (4, 12, "JPEG with 12 bits per sample"),
        (9, 5, "JPEG with two or more than four colour components"),
    ];
    for (offset, value, kind) in cases {
        let mut bytes = whole.clone();
        bytes[frame + offset] = value;
        let expected = format!("picture: {kind} is not supported; convert it to an ordinary JPEG or PNG");
        assert_eq!(decode(&bytes).unwrap_err().to_string(), expected);
    }
}

/// Every variant that libjpeg-turbo decodes, against it. `pillow.py` runs it, with the Python that the environment
/// variable `PYTHON` names, or `python3`.
#[test]
fn every_variant_looks_as_in_libjpeg() {
    let python = env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let has_pillow = Command::new(&python).args(["-c", "import PIL"]).output().is_ok_and(|run| run.status.success());
    if !has_pillow {
        eprintln!("skipped: {python} has no Pillow");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let picture = picture(SIZES[2]);
    let variants = variants();
    for (index, (_, variant)) in variants.iter().enumerate() {
        fs::write(folder.path().join(format!("{index}.jpg")), encode(&picture, variant)).unwrap();
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pillow.py");
    let run = Command::new(&python).arg(script).arg(folder.path()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    let (mut compared, mut problems) = (0, Vec::new());
    for (index, (what, _)) in variants.iter().enumerate() {
        let bytes = fs::read(folder.path().join(format!("{index}.jpg"))).unwrap();
        // libjpeg refuses sampling factors whose ratio is not a whole number.
        let Ok(expected) = fs::read(folder.path().join(format!("{index}.rgb"))) else { continue };
        compared += 1;
        let (mean, furthest) = difference(preprocess::decode(&bytes, what).unwrap().as_raw(), &expected);
        if mean > 0.5 || furthest > 8 {
            problems.push(format!("{what}: {mean:.2} levels off, at most {furthest}"));
        }
    }
    assert!(compared >= 150, "{compared} of {} compared", variants.len());
    assert!(problems.is_empty(), "{problems:#?}");
}
