//! File formats, told from their first bytes.

use super::png;

/// A format that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Jpeg,
    Png,
    WebP,
}

/// Formats that posters turn out to have, by their first bytes.
const OTHERS: [(&[u8], &str); 25] = [
    (b"GIF8", "a GIF picture"),
    (b"II*\0", "a TIFF picture"),
    (b"MM\0*", "a TIFF picture"),
    (b"II+\0", "a TIFF picture"),
    (b"MM\0+", "a TIFF picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture"),
    (b"\0\0\x01\0", "an ICO icon"),
    (b"8BPS", "a Photoshop document"),
    (b"gimp xcf", "a GIMP document"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"qoif", "a QOI picture"),
    (b"DDS ", "a DDS picture"),
    (b"P1\n", "a PNM picture"),
    (b"P2\n", "a PNM picture"),
    (b"P3\n", "a PNM picture"),
    (b"P4\n", "a PNM picture"),
    (b"P5\n", "a PNM picture"),
    (b"P6\n", "a PNM picture"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1aE\xdf\xa3", "a Matroska video"),
];

impl Format {
    /// The format of a file.
    ///
    /// # Errors
    /// Actual kind of file, if that is known: a noun phrase.
    pub fn of(bytes: &[u8]) -> Result<Self, Option<&'static str>> {
        match bytes {
            [0xFF, 0xD8, ..] => Ok(Self::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Ok(Self::WebP),
            _ if bytes.starts_with(png::SIGNATURE) => Ok(Self::Png),
            // Two reserved fields distinguish it from a text.
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Err(Some("a BMP picture")),
            [_, _, _, _, b'f', b't', b'y', b'p', brands @ ..] => Err(Some(iso_media(brands))),
            _ => {
                let known = OTHERS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name);
                Err(known.or_else(|| markup(bytes)))
            }
        }
    }
}

/// The format of a file of boxes (ISO 14496-12), from its major brand and, behind a version, the compatible ones.
fn iso_media(brands: &[u8]) -> &'static str {
    let brands = &brands[..brands.len().min(64)];
    let has = |names: &[&[u8]]| names.iter().any(|name| brands.windows(4).any(|brand| brand == *name));
    if has(&[b"avif", b"avis"]) {
        "an AVIF picture"
    } else if has(&[b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"]) {
        "a HEIC picture"
    } else {
        "a video"
    }
}

/// A page or drawing, from its first kilobyte.
fn markup(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes[..bytes.len().min(1024)].to_ascii_lowercase();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text).trim_ascii_start();
    let has = |tag: &[u8]| text.windows(tag.len()).any(|window| window == tag);
    match text.first() {
        Some(b'<') if has(b"<svg") => Some("an SVG drawing"),
        Some(b'<') if has(b"<html") || has(b"<!doctype html") || has(b"<head") => Some("an HTML page"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_from_their_first_bytes() {
        type Case<'a> = (&'a [u8], Result<Format, Option<&'a str>>);
        let cases: [Case; 20] = [
            (b"\xff\xd8\xff\xe0", Ok(Format::Jpeg)),
            (b"\x89PNG\r\n\x1a\n\0\0", Ok(Format::Png)),
            (b"RIFF\0\0\0\0WEBPVP8 ", Ok(Format::WebP)),
            (b"RIFF\0\0\0\0AVI LIST", Err(None)),
            (b"GIF89a", Err(Some("a GIF picture"))),
            (b"BM\x36\x10\0\0\0\0\0\0\x36", Err(Some("a BMP picture"))),
            (b"BMX is a sport.", Err(None)),
            (b"\0\0\0\x20ftypavif\0\0\0\0avifmif1", Err(Some("an AVIF picture"))),
            (b"\0\0\0\x20ftypmif1\0\0\0\0mif1avif", Err(Some("an AVIF picture"))),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", Err(Some("a HEIC picture"))),
            (b"\0\0\0\x18ftypisom\0\0\0\0mp42", Err(Some("a video"))),
            (b"\xff\x0a\0\0", Err(Some("a JPEG XL picture"))),
            (b"%PDF-1.4", Err(Some("a PDF document"))),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", Err(Some("an SVG drawing"))),
            (b"\xef\xbb\xbf<?xml version='1.0'?>\n<svg/>", Err(Some("an SVG drawing"))),
            (b"\n <!DOCTYPE html><title>404</title>", Err(Some("an HTML page"))),
            (b"<movie/>", Err(None)),
            (b"", Err(None)),
            (b"\0\0\0\0\0\0\0\0", Err(None)),
            (b"RIFF", Err(None)),
        ];
        for (bytes, format) in cases {
            assert_eq!(Format::of(bytes), format, "{}", bytes.escape_ascii());
        }
    }
}
