//! XML parser of NFO files with byte offsets: the encoding, the root, and the elements and comments directly below it.

use std::char::decode_utf16;
use std::ops::Range;
use std::path::Path;

use quick_xml::Reader;
use quick_xml::errors::IllFormedError;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event};

use super::{NfoError, Root};

const BOM: char = '\u{FEFF}';

/// Character encoding of a file. A byte order mark is a character of the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Encoding {
    /// UTF-8, declared or not.
    Utf8,
    /// UTF-16, little endian.
    Utf16Le,
    /// UTF-16, big endian.
    Utf16Be,
    /// Any of ISO 8859, Windows 125x and ASCII. Bytes from 0x80 on are read as the character of that number, which is
    /// true of ISO 8859-1 alone; for the others it does no harm, since they are only ever written back.
    SingleByte,
}

impl Encoding {
    /// Detects the encoding of a file and decodes it. [`Encoding::encode`] gives the same bytes again.
    pub fn decode(bytes: &[u8], path: &Path) -> Result<(Self, String), NfoError> {
        let bad = |problem: String| NfoError::Encoding { path: path.to_path_buf(), problem };
        let utf16 = |unit: fn([u8; 2]) -> u16| {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let text: Result<String, _> = decode_utf16(pairs.iter().copied().map(unit)).collect();
            text.ok().filter(|_| rest.is_empty()).ok_or_else(|| bad("holds bytes that are not UTF-16".to_string()))
        };
        match bytes {
            [0xFF, 0xFE, ..] => return Ok((Self::Utf16Le, utf16(u16::from_le_bytes)?)),
            [0xFE, 0xFF, ..] => return Ok((Self::Utf16Be, utf16(u16::from_be_bytes)?)),
            [0, _, ..] | [_, 0, ..] => return Err(bad("seems to be UTF-16 without a byte order mark".to_string())),
            _ => {}
        }
        let by_number: String = bytes.iter().copied().map(char::from).collect();
        let has_bom = bytes.starts_with(&[0xEF, 0xBB, 0xBF]);
        let declared = if has_bom { String::new() } else { declared_encoding(&by_number) };
        match declared.as_str() {
            // A declaration that can be read without a byte order mark is not UTF-16, whatever .NET's StringWriter
            // says.
            "" | "utf-8" | "utf8" | "utf-16" => match std::str::from_utf8(bytes) {
                Ok(text) => Ok((Self::Utf8, text.to_string())),
                Err(error) => {
                    let line = line(bytes, error.valid_up_to());
                    Err(bad(format!("holds a byte in line {line} that is not UTF-8")))
                }
            },
            name if name.starts_with("iso-8859-") || name.starts_with("windows-125") || name.ends_with("ascii") => {
                Ok((Self::SingleByte, by_number))
            }
            name => Err(bad(format!("is in the encoding {name}"))),
        }
    }

    /// Encodes a text.
    pub fn encode(self, text: &str) -> Vec<u8> {
        match self {
            Self::Utf8 => text.into(),
            Self::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            Self::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
            Self::SingleByte => text.chars().map(|letter| letter as u8).collect(),
        }
    }

    /// Escapes a value for its use between tags.
    pub fn escape(self, value: &str) -> String {
        let escaped = quick_xml::escape::partial_escape(value);
        let written = |letter: char| match self {
            Self::SingleByte if !letter.is_ascii() => format!("&#{};", letter as u32),
            _ => letter.to_string(),
        };
        escaped.chars().map(written).collect()
    }
}

/// Whether a file begins like XML, in whatever encoding: with `<` and a letter, `?` or `!`.
pub fn is_xml(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    // UTF-16 has a zero byte beside each ASCII character.
    let mut signs = bytes.iter().filter(|byte| !matches!(byte, 0 | 0xFE | 0xFF) && !byte.is_ascii_whitespace());
    signs.next() == Some(&b'<')
        && signs.next().is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'?' | b'!' | b'_'))
}

/// The encoding that the XML declaration names, in small letters, or an empty text.
fn declared_encoding(text: &str) -> String {
    match Reader::from_str(text).read_event() {
        Ok(Event::Decl(declaration)) => {
            declaration.encoding().and_then(Result::ok).unwrap_or_default().to_ascii_lowercase()
        }
        _ => String::new(),
    }
}

/// An NFO file's structure. Offsets are in bytes of the text as UTF-8.
#[derive(Debug)]
pub struct Document {
    /// The kind of root element: film or series.
    pub root: Root,
    /// The root element's name as it is written.
    pub root_name: String,
    /// Whether the root is an empty element, `<movie/>`.
    pub is_empty_element: bool,
    /// Range between the root's tags; for an empty element, the empty range behind it.
    pub content: Range<usize>,
    /// Offset behind the root element.
    pub end: usize,
    /// The elements and comments directly below the root.
    pub nodes: Vec<Node>,
}

/// An element or a comment directly below the root.
#[derive(Debug)]
pub struct Node {
    /// Range from the first `<` to behind the last `>`.
    pub range: Range<usize>,
    /// Element or comment.
    pub kind: NodeKind,
}

/// The kind of a [`Node`].
#[derive(Debug)]
pub enum NodeKind {
    /// An element, with its name, prefix and all, and all text in it.
    Element {
        /// The name with its namespace prefix.
        name: String,
        /// The text, with CDATA and references resolved.
        value: String,
    },
    /// The text of a comment.
    Comment(String),
}

impl Node {
    /// The value of an element of this name. Like Kodi and Jellyfin, it takes case for a difference.
    pub fn value_of(&self, wanted: &str) -> Option<&str> {
        match &self.kind {
            NodeKind::Element { name, value } if name == wanted => Some(value),
            _ => None,
        }
    }
}

impl Document {
    /// Reads a text. What follows the root may be anything but another element: Kodi and Radarr write links there.
    ///
    /// The checks are those of quick-xml: tags match, references are closed. A document type is passed over, and what
    /// it defines is not looked up (Jellyfin reads no file that has one, Kodi does).
    pub fn read(text: &str, path: &Path) -> Result<Self, NfoError> {
        let start = text.len() - text.trim_start_matches(BOM).len();
        let mut reader = Reader::from_str(&text[start..]);
        let mut document: Option<Self> = None;
        let mut open: Vec<String> = Vec::new();
        loop {
            let from = start + reader.buffer_position() as usize;
            // What follows the root may be a link, and links hold ampersands.
            reader.config_mut().allow_dangling_amp = document.is_some() && open.is_empty();
            let event = reader
                .read_event()
                .map_err(|error| malformed(path, text, start + reader.error_position() as usize, reason(error)))?;
            let range = from..start + reader.buffer_position() as usize;
            match (event, &mut document) {
                (Event::Eof, None) => return Err(NfoError::NotXml { path: path.to_path_buf() }),
                (Event::Eof, Some(_)) => match open.last() {
                    Some(name) => {
                        return Err(malformed(path, text, range.start, format!("the file ends inside of <{name}>")));
                    }
                    None => break,
                },
                (Event::Start(tag), None) => {
                    document = Some(Self::begin(&tag, range.end, false, path)?);
                    open.push(tag_name(&tag));
                }
                (Event::Empty(tag), None) => document = Some(Self::begin(&tag, range.end, true, path)?),
                (Event::Start(tag) | Event::Empty(tag), Some(_)) if open.is_empty() => {
                    let reason = format!("a second root, <{}>, follows the first", tag_name(&tag));
                    return Err(malformed(path, text, range.start, reason));
                }
                (Event::Start(tag), Some(document)) => {
                    document.add_element(&tag, range, open.len());
                    open.push(tag_name(&tag));
                }
                (Event::Empty(tag), Some(document)) => document.add_element(&tag, range, open.len()),
                (Event::End(_), Some(document)) => {
                    open.pop();
                    match (open.len(), document.nodes.last_mut()) {
                        (0, _) => (document.content.end, document.end) = (range.start, range.end),
                        (1, Some(node)) => node.range.end = range.end,
                        _ => {}
                    }
                }
                (Event::Comment(comment), Some(document)) if open.len() == 1 => {
                    document.nodes.push(Node { range, kind: NodeKind::Comment(comment.to_string()) });
                }
                (Event::Text(words), None) if !words.trim().is_empty() => {
                    return Err(NfoError::NotXml { path: path.to_path_buf() });
                }
                (Event::Text(words), Some(document)) if open.len() > 1 => document.append_text(&words),
                (Event::CData(words), Some(document)) if open.len() > 1 => document.append_text(&words),
                (Event::GeneralRef(reference), Some(document)) if open.len() > 1 => {
                    document.append_text(&resolve(&reference));
                }
                _ => {}
            }
        }
        document.ok_or_else(|| NfoError::NotXml { path: path.to_path_buf() })
    }

    fn begin(tag: &BytesStart, end: usize, is_empty_element: bool, path: &Path) -> Result<Self, NfoError> {
        let root_name = tag_name(tag);
        let Some(root) = Root::named(&root_name) else {
            return Err(NfoError::WrongRoot { path: path.to_path_buf(), root: root_name });
        };
        Ok(Self { root, root_name, is_empty_element, content: end..end, end, nodes: Vec::new() })
    }

    fn add_element(&mut self, tag: &BytesStart, range: Range<usize>, depth: usize) {
        if depth == 1 {
            self.nodes.push(Node { range, kind: NodeKind::Element { name: tag_name(tag), value: String::new() } });
        }
    }

    /// Adds to the value of the element that is being read.
    fn append_text(&mut self, words: &str) {
        if let Some(Node { kind: NodeKind::Element { value, .. }, .. }) = self.nodes.last_mut() {
            value.push_str(words);
        }
    }
}

fn tag_name(tag: &BytesStart) -> String {
    tag.name().as_ref().to_string()
}

/// The text that a reference stands for; one that a document type defines stays as it is.
fn resolve(reference: &BytesRef) -> String {
    match reference.resolve_char_ref() {
        Ok(Some(letter)) => letter.to_string(),
        _ => resolve_predefined_entity(reference).map_or_else(|| format!("&{};", &**reference), str::to_string),
    }
}

fn malformed(path: &Path, text: &str, position: usize, reason: String) -> NfoError {
    NfoError::Malformed { path: path.to_path_buf(), line: line(text.as_bytes(), position), reason }
}

/// The message of an error of quick-xml, without its "ill-formed document:".
fn reason(error: quick_xml::Error) -> String {
    match error {
        quick_xml::Error::IllFormed(IllFormedError::UnclosedReference) => "an `&` that should be `&amp;`".to_string(),
        quick_xml::Error::IllFormed(error) => error.to_string(),
        quick_xml::Error::Syntax(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// The line of a position, counted from 1.
fn line(text: &[u8], position: usize) -> usize {
    1 + text.iter().take(position).filter(|byte| **byte == b'\n').count()
}

/// The line break and indentation directly before `position`, or nothing if the line begins with something else.
pub fn indentation(text: &str, position: usize) -> &str {
    let before = &text[..position];
    let blank = &before[before.trim_end_matches([' ', '\t', '\r', '\n']).len()..];
    match (blank.rfind("\r\n"), blank.rfind(['\n', '\r'])) {
        (Some(pair), Some(single)) if single == pair + 1 => &blank[pair..],
        (_, Some(single)) => &blank[single..],
        _ => "",
    }
}

/// Puts other text in place of ranges of a text. The ranges must not overlap.
pub fn edit(text: &str, mut edits: Vec<(Range<usize>, String)>) -> String {
    edits.sort_by_key(|(range, _)| range.start);
    let mut edited = String::new();
    let mut at = 0;
    for (range, replacement) in edits {
        edited.push_str(&text[at..range.start]);
        edited.push_str(&replacement);
        at = range.end;
    }
    edited.push_str(&text[at..]);
    edited
}
