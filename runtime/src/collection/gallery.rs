//! The HTML gallery: one self-contained web page of all posters with their genres, searchable and sortable.
//!
//! The page is a single file that works offline. Its sources lie beside this file: `gallery.html` (the template),
//! `gallery.css` and `gallery.js` (filters, order, virtual scrolling). The posters follow as JSON in
//! `<script type="application/json">` elements, which browsers do not execute ([data blocks] of the HTML standard);
//! each poster's line has its thumbnail as a base64 JPEG.
//!
//! Titles and paths come from file names and are not trusted. JSON has `<` as `\u003c`, so that no text can end its
//! element; the script sets text, never markup; and the page's [Content Security Policy] allows that one script, known
//! by its hash, and no request.
//!
//! [data blocks]: https://html.spec.whatwg.org/multipage/scripting.html#data-block
//! [Content Security Policy]: https://www.w3.org/TR/CSP3/

use std::io::{self, Write};
use std::path::{Component, Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use quick_xml::escape::escape;
use serde::Serialize;
use sha2::{Digest, Sha256};

/// Posters in one script element. The browser parses an element in one go, so that one element must not hold all
/// posters.
const CHUNK: usize = 250;

const PAGE: &str = include_str!("gallery.html");
const STYLE: &str = include_str!("gallery.css");
const SCRIPT: &str = include_str!("gallery.js");

/// Metadata of the whole page.
#[derive(Clone, Debug, Serialize)]
pub struct Header<'a> {
    /// Name of the collection, the page's title.
    pub library: &'a str,
    /// Names of the genres, `[G]`.
    pub genres: &'a [String],
    /// Identifier of the model; see [`Model::id`](crate::Model::id).
    pub model: &'a str,
    /// Name of the operating point whose thresholds were applied.
    pub operating_point: &'a str,
}

/// One poster of the page.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Address of the poster itself, percent-encoded; see [`href`].
    pub href: &'a str,
    /// The film's title.
    pub title: &'a str,
    /// The film's year, if it is known.
    pub year: Option<u16>,
    /// For each genre to show: its index in [`Header::genres`], its probability in 0..=1, and whether that reaches the
    /// genre's threshold. Genres below their threshold are shown for posters without any other.
    pub genres: &'a [(u8, f32, bool)],
    /// JPEG file of the thumbnail; see [`thumbnail`](crate::thumbnail::thumbnail).
    pub thumbnail: &'a [u8],
}

/// A page that is being written, one poster at a time.
#[derive(Debug)]
pub struct Gallery<W> {
    out: W,
    genres: usize,
    posters: usize,
}

impl<W: Write> Gallery<W> {
    /// Writes the page up to its first poster.
    ///
    /// # Errors
    /// If `out` cannot be written to.
    pub fn begin(mut out: W, header: &Header) -> io::Result<Self> {
        let policy = format!(
            "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; \
             form-action 'none'",
            digest(SCRIPT),
            digest(STYLE)
        );
        // Names are filled in last, so that a placeholder in a name is not replaced.
        let (head, _) = frame();
        let head = head.replace("{{policy}}", &policy).replace("{{style}}", STYLE);
        let (head, data) = head.split_once("{{header}}").expect("the template has a placeholder for its header");
        out.write_all(head.replace("{{title}}", &escape(header.library)).as_bytes())?;
        out.write_all(&json(header)?)?;
        out.write_all(data.as_bytes())?;
        Ok(Self { out, genres: header.genres.len(), posters: 0 })
    }

    /// Adds a poster.
    ///
    /// # Errors
    /// If `out` cannot be written to.
    ///
    /// # Panics
    /// If an index is out of range of [`Header::genres`].
    pub fn add(&mut self, entry: &Entry) -> io::Result<()> {
        assert!(
            entry.genres.iter().all(|&(genre, ..)| usize::from(genre) < self.genres),
            "a genre must be in the header"
        );
        let start: &[u8] = match self.posters {
            0 => b"<script type=\"application/json\" class=\"posters\">[\n",
            n if n % CHUNK == 0 => b"\n]</script>\n<script type=\"application/json\" class=\"posters\">[\n",
            _ => b",\n",
        };
        self.out.write_all(start)?;
        self.out.write_all(&json(&Line::new(entry))?)?;
        self.posters += 1;
        Ok(())
    }

    /// Writes the rest of the page, flushes and returns the writer. An unfinished page shows nothing.
    ///
    /// # Errors
    /// If `out` cannot be written to.
    pub fn finish(mut self) -> io::Result<W> {
        if self.posters > 0 {
            self.out.write_all(b"\n]</script>\n")?;
        }
        let (_, tail) = frame();
        self.out.write_all(tail.replace("{{script}}", SCRIPT).as_bytes())?;
        self.out.flush()?;
        Ok(self.out)
    }
}

/// The address of a poster for a page in `folder`: relative if both share a folder below the root, so that they can be
/// moved together, else a `file:` address.
///
/// Every byte but the unreserved characters of RFC 3986 (2.3) is percent-encoded, those that are not UTF-8, too. `..`
/// is resolved by its text, as browsers do with addresses; of a path in which `..` follows a symbolic link give the
/// canonical form.
pub fn href(folder: &Path, poster: &Path) -> String {
    let (folder, poster) = (absolute(folder), absolute(poster));
    let shared = folder.components().zip(poster.components()).take_while(|(a, b)| a == b).count();
    let is_below_root = poster.components().take(shared).any(|part| matches!(part, Component::Normal(_)));
    if is_below_root {
        let up = folder.components().skip(shared).map(|_| "..".to_string());
        let down = poster.components().skip(shared).map(encode);
        up.chain(down).collect::<Vec<_>>().join("/")
    } else {
        let parts = poster.components().filter(|part| !matches!(part, Component::RootDir));
        format!("file:///{}", parts.map(encode).collect::<Vec<_>>().join("/"))
    }
}

/// The path from the root, without `.` and `..`.
fn absolute(path: &Path) -> PathBuf {
    let mut resolved = PathBuf::new();
    // Only an empty path cannot be made absolute, or any if the working directory is gone: then it stays what it is.
    for part in std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf()).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                resolved.pop();
            }
            part => resolved.push(part),
        }
    }
    resolved
}

fn encode(part: Component) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    match part {
        // A drive letter keeps its colon (RFC 8089, E.2).
        Component::Prefix(prefix) => prefix.as_os_str().to_string_lossy().into_owned(),
        part => percent_encode(part.as_os_str().as_encoded_bytes(), RESERVED).to_string(),
    }
}

/// A poster as a line of JSON.
#[derive(Serialize)]
struct Line<'a> {
    href: &'a str,
    title: &'a str,
    year: Option<u16>,
    genres: Vec<(u8, f32, bool)>,
    thumbnail: String,
}

impl<'a> Line<'a> {
    fn new(entry: &Entry<'a>) -> Self {
        let rounded = |probability: f32| (probability * 1000.0).round() / 1000.0;
        Self {
            href: entry.href,
            title: entry.title,
            year: entry.year,
            genres: entry
                .genres
                .iter()
                .map(|&(genre, probability, above)| (genre, rounded(probability), above))
                .collect(),
            thumbnail: BASE64_STANDARD.encode(entry.thumbnail),
        }
    }
}

/// JSON that may stand in a script element. `<` occurs in strings only, where `\u003c` means the same; without it there
/// is neither an end tag nor a comment.
fn json(value: &impl Serialize) -> io::Result<Vec<u8>> {
    Ok(serde_json::to_string(value)?.replace('<', "\\u003c").into_bytes())
}

/// The template before and behind its posters.
fn frame() -> (&'static str, &'static str) {
    PAGE.split_once("{{posters}}").expect("the template has a placeholder for its posters")
}

/// The base64 SHA-256 of a script or style, as a Content Security Policy names it.
fn digest(text: &str) -> String {
    BASE64_STANDARD.encode(Sha256::digest(text))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::thumbnail::tests::poster_like;
    use crate::thumbnail::thumbnail;

    const HEADER: Header =
        Header { library: "Films", genres: &[], model: "poster-genres.onnx", operating_point: "balanced" };

    fn genres() -> Vec<String> {
        ["Drama", "Horror", "Sci-Fi"].map(String::from).to_vec()
    }

    fn page(header: &Header, entries: &[Entry]) -> String {
        let mut gallery = Gallery::begin(Vec::new(), header).unwrap();
        for entry in entries {
            gallery.add(entry).unwrap();
        }
        String::from_utf8(gallery.finish().unwrap()).unwrap()
    }

    /// The contents of the page's elements `<script TAG>`.
    fn scripts<'a>(page: &'a str, tag: &str) -> Vec<&'a str> {
        let contents = |part: &'a str| part.split_once("</script>").expect("the element has an end").0;
        page.split(&format!("<script{tag}>")).skip(1).map(contents).collect()
    }

    fn posters(page: &str) -> Vec<Value> {
        let chunks = scripts(page, r#" type="application/json" class="posters""#);
        let parse = |chunk: &str| serde_json::from_str::<Vec<Value>>(chunk).expect("each chunk is a list");
        chunks.into_iter().flat_map(parse).collect()
    }

    #[test]
    fn text_can_neither_end_its_element_nor_start_another() {
        struct Case {
            text: &'static str,
            html: &'static str,
        }
        let cases = [
            Case { text: "Alien", html: "Alien" },
            Case {
                text: "</script><img src=x onerror=alert(1)>",
                html: "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;",
            },
            Case { text: "<!--<script>", html: "&lt;!--&lt;script&gt;" },
            Case { text: "\"'&amp;", html: "&quot;&apos;&amp;amp;" },
            Case { text: "]]></title>", html: "]]&gt;&lt;/title&gt;" },
            Case { text: "{{script}}{{posters}}{{header}}", html: "{{script}}{{posters}}{{header}}" },
            Case { text: "\\u003c\\", html: "\\u003c\\" },
            Case { text: "Amélie\u{2028}\u{0}\n", html: "Amélie\u{2028}\u{0}\n" },
            Case { text: "", html: "" },
        ];
        let plain = page(&HEADER, &[]);
        for Case { text, html } in cases {
            let header = Header { library: text, genres: &[text.to_string()], model: text, operating_point: text };
            let entry = Entry { href: text, title: text, year: None, genres: &[(0, 0.5, true)], thumbnail: &[] };
            let page = page(&header, &[entry]);

            assert!(page.contains(&format!("<title>{html}</title>")), "{text:?}: the title is not {html:?}");
            let parsed: Value =
                serde_json::from_str(scripts(&page, r#" type="application/json" id="header""#)[0]).unwrap();
            for field in ["library", "model", "operating_point"] {
                assert_eq!(parsed[field], text, "{text:?}: {field}");
            }
            assert_eq!(parsed["genres"][0], text, "{text:?}: the genre");
            let posters = posters(&page);
            assert_eq!(posters.len(), 1, "{text:?}");
            assert_eq!(
                (&posters[0]["title"], &posters[0]["href"]),
                (&text.into(), &text.into()),
                "{text:?}: the poster"
            );
            // The page without posters has one script element less, and no other tag more or less.
            assert_eq!(page.matches('<').count(), plain.matches('<').count() + 2, "{text:?}: there is a tag more");
            assert_eq!(scripts(&page, ""), [SCRIPT], "{text:?}: the program");
        }
    }

    #[test]
    fn a_page_holds_every_poster_in_order() {
        let genres = genres();
        for count in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let titles: Vec<String> = (0..count).map(|number| format!("Film {number}")).collect();
            let entries: Vec<Entry> = titles
                .iter()
                .map(|title| Entry {
                    href: "a.jpg",
                    title,
                    year: Some(1979),
                    genres: &[(1, 0.91249, true), (2, 0.3, false)],
                    thumbnail: b"JPEG",
                })
                .collect();
            let page = page(&Header { genres: &genres, ..HEADER }, &entries);
            let posters = posters(&page);
            let found: Vec<&str> = posters.iter().map(|poster| poster["title"].as_str().unwrap()).collect();
            assert_eq!(found, titles, "{count} posters");
            let chunks = page.matches(r#"class="posters""#).count();
            assert_eq!(chunks, count.div_ceil(CHUNK), "{count} posters");
            if let Some(poster) = posters.last() {
                let expected = serde_json::json!({
                    "href": "a.jpg", "title": titles[count - 1], "year": 1979,
                    "genres": [[1, 0.912, true], [2, 0.3, false]], "thumbnail": "SlBFRw==",
                });
                assert_eq!(poster.to_string(), expected.to_string(), "{count} posters");
            }
        }
    }

    #[test]
    fn the_policy_allows_the_own_program_and_style_and_no_address() {
        let page = page(&HEADER, &[]);
        let policy = page.split("Content-Security-Policy\" content=\"").nth(1).unwrap().split('"').next().unwrap();
        let (style, _) = page.split_once("<style>").unwrap().1.split_once("</style>").unwrap();
        let expected = [
            "default-src 'none'".to_string(),
            format!("script-src 'sha256-{}'", digest(scripts(&page, "")[0])),
            format!("style-src 'sha256-{}'", digest(style)),
            "img-src data:".to_string(),
            "base-uri 'none'".to_string(),
            "form-action 'none'".to_string(),
        ];
        assert_eq!(policy.split("; ").collect::<Vec<_>>(), expected);
        assert!(!page.contains("{{"), "a placeholder was not filled");
        assert!(!page.contains("://"), "the page names an address");
        // Browsers hash the text after making line ends one character; the same is to be embedded.
        assert!(!page.contains('\r'), "the page's text must be checked out with plain line feeds");
    }

    #[test]
    fn the_script_and_the_style_cannot_end_their_elements() {
        for (name, text, end) in [("gallery.js", SCRIPT, "</script"), ("gallery.css", STYLE, "</style")] {
            assert!(!text.contains(end) && !text.contains("<!--"), "{name} holds {end} or a comment");
        }
    }

    #[test]
    #[should_panic = "a genre must be in the header"]
    fn a_genre_outside_of_the_header_is_refused() {
        page(&HEADER, &[Entry { href: "", title: "", year: None, genres: &[(0, 0.5, true)], thumbnail: &[] }]);
    }

    #[test]
    fn a_page_that_cannot_be_written_is_an_error() {
        let mut room = [0; 100];
        let error = Gallery::begin(&mut room[..], &HEADER).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn ten_thousand_posters_fit_into_45_megabytes() {
        struct Count(usize);
        impl Write for Count {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 += bytes.len();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let genres = genres();
        let thumbnails: Vec<Vec<u8>> = (0..20).map(|seed| thumbnail(&poster_like(500, 750, seed).into())).collect();
        let mut gallery = Gallery::begin(Count(0), &Header { genres: &genres, ..HEADER }).unwrap();
        for number in 0..10_000 {
            let entry = Entry {
                href: "Science%20Fiction/Close%20Encounters%20of%20the%20Third%20Kind%20%281977%29/poster.jpg",
                title: "Close Encounters of the Third Kind",
                year: Some(1977),
                genres: &[(0, 0.41, true), (1, 0.25, false), (2, 0.83, true)],
                thumbnail: &thumbnails[number % thumbnails.len()],
            };
            gallery.add(&entry).unwrap();
        }
        let bytes = gallery.finish().unwrap().0;
        assert!((20_000_000..45_000_000).contains(&bytes), "the page has {bytes} bytes");
    }

    #[test]
    fn addresses_lead_from_the_page_to_the_poster() {
        struct Case {
            folder: &'static str,
            poster: &'static str,
            href: &'static str,
        }
        let cases = [
            Case { folder: "/films", poster: "/films/a.jpg", href: "a.jpg" },
            Case { folder: "/films/", poster: "/films//horror/./a.jpg", href: "horror/a.jpg" },
            Case { folder: "/films/pages", poster: "/films/horror/a.jpg", href: "../horror/a.jpg" },
            Case { folder: "/films/a/b", poster: "/films/c.jpg", href: "../../c.jpg" },
            Case { folder: "/films/pages/../x", poster: "/films/pages/../a.jpg", href: "../a.jpg" },
            Case { folder: "/films", poster: "/../films/a.jpg", href: "a.jpg" },
            Case { folder: "films", poster: "films/b/../a.jpg", href: "a.jpg" },
            Case { folder: ".", poster: "films/a.jpg", href: "films/a.jpg" },
            Case { folder: "/filmsofold", poster: "/films/a.jpg", href: "file:///films/a.jpg" },
            Case { folder: "/home/me", poster: "/mnt/my films/a.jpg", href: "file:///mnt/my%20films/a.jpg" },
            Case { folder: "/", poster: "/films/a.jpg", href: "file:///films/a.jpg" },
            Case { folder: "/f", poster: "/f/50 %/Who? #1.jpg", href: "50%20%25/Who%3F%20%231.jpg" },
            Case { folder: "/f", poster: "/f/Amélie 愛.jpg", href: "Am%C3%A9lie%20%E6%84%9B.jpg" },
            Case { folder: "/f", poster: "/f/two\nlines\t.jpg", href: "two%0Alines%09.jpg" },
            Case { folder: "/f", poster: "/f/javascript:alert(1).jpg", href: "javascript%3Aalert%281%29.jpg" },
            Case { folder: "/f", poster: "/f/https:/x/a.jpg", href: "https%3A/x/a.jpg" },
            Case { folder: "/f", poster: "/f/\"'<&>.jpg", href: "%22%27%3C%26%3E.jpg" },
            Case { folder: "/f", poster: "/f/back\\slash.jpg", href: "back%5Cslash.jpg" },
            Case { folder: "/f", poster: "/f/...jpg", href: "...jpg" },
            Case { folder: "/f", poster: "/f/A-Z_a.z~09.jpg", href: "A-Z_a.z~09.jpg" },
        ];
        let cases = cases.into_iter().filter(|case| cfg!(unix) || !case.poster.contains(['\\', '\n', ':', '?']));
        for Case { folder, poster, href: expected } in cases {
            assert_eq!(href(Path::new(folder), Path::new(poster)), expected, "{poster:?} from {folder:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_kept_in_addresses() {
        use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
        let poster = Path::new("/films").join(OsStr::from_bytes(b"Am\xE9lie.jpg"));
        assert_eq!(href(Path::new("/films"), &poster), "Am%E9lie.jpg");
    }
}
