//! The text of a label file, whatever its encoding.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// First bytes of files that are taken for CSV by mistake, and their kinds.
const NOT_CSV: [(&[u8], &str); 10] = [
    (b"PK\x03\x04", "a spreadsheet (.xlsx, .ods) or a ZIP archive"),
    (b"\xd0\xcf\x11\xe0", "a spreadsheet (.xls)"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"PAR1", "a Parquet file"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\xff\xfe\0\0", "UTF-32 text"),
    (b"\0\0\xfe\xff", "UTF-32 text"),
    (b"{", "JSON"),
    (b"[", "JSON"),
    (b"<", "HTML or XML"),
];

/// The number of bytes that are looked at to recognise UTF-16 without a byte order mark.
const SAMPLE: usize = 1024;

/// Decodes UTF-8 and UTF-16, each with or without a byte order mark. The end mark of DOS (0x1A) is left out. A line that is not UTF-8 is read as Windows-1252,
/// of which Latin-1 is a part: every byte is a character there, so that a wrong guess harms titles at most.
///
/// # Errors
/// The kind of a file that is no text.
pub fn decode(bytes: &[u8]) -> Result<String, &'static str> {
    if let Some((_, kind)) = NOT_CSV.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Err(kind);
    }
    let (encoding, mark) = Encoding::for_bom(bytes).unwrap_or_else(|| (without_mark(bytes), 0));
    let bytes = &bytes[mark..];
    let mut text: String = if encoding == UTF_8 {
        bytes.split_inclusive(|byte| *byte == b'\n').map(utf8_or_windows_1252).collect()
    } else {
        let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
        text.ok_or("damaged UTF-16 text")?.into_owned()
    };
    if text.ends_with('\x1a') {
        text.pop();
    }
    if text.contains('\0') { Err("binary data, or UTF-16 without a byte order mark") } else { Ok(text) }
}

/// UTF-16 if every second byte is mostly 0, as in text of Latin letters; otherwise UTF-8.
fn without_mark(bytes: &[u8]) -> &'static Encoding {
    let sample = &bytes[..bytes.len().min(SAMPLE)];
    let zeros = |first: usize| sample.iter().skip(first).step_by(2).filter(|byte| **byte == 0).count();
    let mostly = |zeros: usize, others: usize| zeros > sample.len() / 4 && others == 0;
    match (zeros(0), zeros(1)) {
        (high, low) if mostly(high, low) => UTF_16BE,
        (low, high) if mostly(high, low) => UTF_16LE,
        _ => UTF_8,
    }
}

fn utf8_or_windows_1252(line: &[u8]) -> Cow<'_, str> {
    str::from_utf8(line).map_or_else(|_| WINDOWS_1252.decode_without_bom_handling(line).0, Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Id,Title,Genre\n1,Amélie,Comedy\n";

    #[test]
    fn every_encoding_gives_the_same_text() {
        let little: Vec<u8> = TEXT.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = TEXT.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let latin: Vec<u8> = TEXT.chars().map(|char| u8::try_from(char).unwrap()).collect();
        let cases = [
            ("UTF-8", TEXT.as_bytes().to_vec()),
            ("UTF-8 with mark", [b"\xef\xbb\xbf", TEXT.as_bytes()].concat()),
            ("UTF-16LE", little.clone()),
            ("UTF-16LE with mark", [b"\xff\xfe".to_vec(), little].concat()),
            ("UTF-16BE", big.clone()),
            ("UTF-16BE with mark", [b"\xfe\xff".to_vec(), big].concat()),
            ("Latin-1", latin),
        ];
        for (name, bytes) in cases {
            assert_eq!(decode(&bytes).as_deref(), Ok(TEXT), "{name}");
        }
        // A euro sign and a typographic apostrophe are in Windows-1252, but not in Latin-1.
        assert_eq!(decode(b"\x80 \x92").as_deref(), Ok("€ ’"));
        // Files are concatenated without a thought for their encodings.
        assert_eq!(
            decode("Amélie\n".bytes().chain(*b"Am\xe9lie\n").collect::<Vec<_>>().as_slice()).as_deref(),
            Ok("Amélie\nAmélie\n")
        );
        assert_eq!(decode(b"").as_deref(), Ok(""));
        assert_eq!(decode(b"Id\r\n\x1a").as_deref(), Ok("Id\r\n"));
    }

    #[test]
    fn what_is_no_text_is_called_what_it_is() {
        let cases: [(&[u8], &str); 6] = [
            (b"PK\x03\x04\x14\0", "a spreadsheet (.xlsx, .ods) or a ZIP archive"),
            (b"<!DOCTYPE html>", "HTML or XML"),
            (b"\xff\xfeI\0\0\xd8,\0", "damaged UTF-16 text"),
            (b"\xff\xfe\0\0I\0\0\0", "UTF-32 text"),
            (b"Id\0\x01\x02\x03,Action\n", "binary data, or UTF-16 without a byte order mark"),
            (b"[{\"id\": 1}]", "JSON"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(decode(bytes), Err(expected), "{bytes:?}");
        }
    }
}
