//! Marker comments in NFO files: which genres were added, and which of a person's genres are set aside.
//!
//! ```xml
//! <!--poster-genres added="Horror|Sci-Fi"-->
//! <genre>Horror</genre>
//! <genre>Sci-Fi</genre>
//! <!--/poster-genres-->
//! <!--poster-genres kept="<genre>Drama</genre>"-->
//! ```
//!
//! The first comment lists what stands between it and the last: only a genre that is listed is ever taken out again. A
//! program that rewrites the file without comments removes this record, and the genres stay.

/// A marker comment.
#[derive(Debug, PartialEq)]
pub enum Mark {
    /// The genres that follow, each as it is written between its tags.
    Added {
        /// The file before the genres were added.
        origin: Origin,
        /// The genres, escaped as XML.
        genres: Vec<String>,
    },
    /// The end of the added genres.
    End,
    /// A person's genre element, as XML, that is set aside.
    Kept(String),
}

/// The kind of file before genres were added to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Origin {
    /// A file with a root element that has a start and an end tag.
    File,
    /// A file whose root was an empty element, `<movie/>`.
    EmptyRoot,
    /// There was no file.
    Nothing,
}

/// The first word of all marks but the end. A file without this word has no marks.
pub const NAME: &str = "poster-genres";

const END: &str = "/poster-genres";
const EMPTY_ROOT: &str = "root=\"empty\" ";
const NEW_FILE: &str = "file=\"new\" ";

impl Mark {
    /// Reads the content of a comment; `None` if it is no mark.
    pub fn read(comment: &str) -> Option<Self> {
        let comment = comment.trim();
        if comment == END {
            return Some(Self::End);
        }
        let content = comment.strip_prefix(NAME)?.strip_prefix(' ')?.strip_suffix('"')?;
        if let Some(element) = content.strip_prefix("kept=\"") {
            return Some(Self::Kept(unescape(element).concat()));
        }
        let (origin, content) = if let Some(content) = content.strip_prefix(EMPTY_ROOT) {
            (Origin::EmptyRoot, content)
        } else if let Some(content) = content.strip_prefix(NEW_FILE) {
            (Origin::Nothing, content)
        } else {
            (Origin::File, content)
        };
        let genres = unescape(content.strip_prefix("added=\"")?);
        Some(Self::Added { origin, genres })
    }

    /// The whole comment.
    pub fn write(&self) -> String {
        match self {
            Self::End => format!("<!--{END}-->"),
            Self::Kept(element) => format!("<!--{NAME} kept=\"{}\"-->", escape(element)),
            Self::Added { origin, genres } => {
                let origin = match origin {
                    Origin::File => "",
                    Origin::EmptyRoot => EMPTY_ROOT,
                    Origin::Nothing => NEW_FILE,
                };
                let genres: Vec<_> = genres.iter().map(|genre| escape(genre)).collect();
                format!("<!--{NAME} {origin}added=\"{}\"-->", genres.join("|"))
            }
        }
    }
}

/// A comment must not hold `--` (XML 1.0, section 2.5), and `|` is our separator: `\` goes before either.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if matches!(letter, '\\' | '|') || (letter == '-' && escaped.ends_with('-')) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

/// The texts that were escaped and joined with `|`; none in an empty text.
fn unescape(text: &str) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        if texts.is_empty() {
            texts.push(String::new());
        }
        match (letter, texts.last_mut()) {
            ('|', _) => texts.push(String::new()),
            ('\\', Some(last)) => last.extend(letters.next()),
            (letter, Some(last)) => last.push(letter),
            (_, None) => {}
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_a_comment_and_reads_back() {
        let texts = ["Action", "a--b---c", "<!-- -->", "\\", "-", "--", "x|y", "\\|--\\-", "<![CDATA[a]]>", "\"", "Ä"];
        let single = |text: &&str| vec![text.to_string()];
        let mut marks = vec![Mark::End, Mark::Added { origin: Origin::File, genres: vec![] }];
        for origin in [Origin::File, Origin::EmptyRoot, Origin::Nothing] {
            marks.extend(texts.iter().map(|text| Mark::Added { origin, genres: single(text) }));
            marks.push(Mark::Added { origin, genres: texts.map(String::from).to_vec() });
        }
        marks.extend(texts.iter().map(|text| Mark::Kept(text.to_string())));
        for mark in marks {
            let comment = mark.write();
            let content = comment.strip_prefix("<!--").unwrap().strip_suffix("-->").unwrap();
            assert!(!content.contains("--") && !content.ends_with('-'), "{comment}");
            assert_eq!(Mark::read(content), Some(mark), "{comment}");
        }
    }

    #[test]
    fn other_comments_are_not_marks() {
        for comment in
            ["", "poster-genres", "poster-genres added=Action", "poster-genresadded=\"A\"", "poster-genres \""]
        {
            assert_eq!(Mark::read(comment), None, "{comment}");
        }
    }
}
