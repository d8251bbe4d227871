//! NFO files: adds genres to the XML metadata that Kodi, Jellyfin, Emby, Radarr and tinyMediaManager keep beside a
//! film.
//!
//! [`add`] writes one `<genre>` for each genre that a file lacks and leaves every other byte as it is; [`undo`]
//! restores the previous file, byte for byte. Added genres stand between two comments, of which the first lists them:
//!
//! ```xml
//! <movie>
//!   <title>The Last Lighthouse</title>
//!   <genre>Drama</genre>
//!   <!--poster-genres added="Mystery|Thriller"-->
//!   <genre>Mystery</genre>
//!   <genre>Thriller</genre>
//!   <!--/poster-genres-->
//! </movie>
//! ```
//!
//! Kodi and Jellyfin ignore comments when they read. When they rewrite the file (Kodi's export, Jellyfin's NFO saver, a
//! refresh by Radarr or tinyMediaManager), the comments are lost, and with them the record of which genres were added:
//! [`undo`] then keeps all genres. It also keeps what a person has changed between the comments.
//!
//! Jellyfin splits a genre at `/`, so that `<genre>Action / Adventure</genre>` counts as both, and `Science Fiction` is
//! `Sci-Fi`. Only elements directly below the root count. What Jellyfin or Emby has locked stays as it is.
//!
//! Sources: <https://kodi.wiki/view/NFO_files/Movies>,
//! <https://kodi.wiki/view/NFO_files/Combination>, <https://jellyfin.org/docs/general/server/metadata/nfo/>, Jellyfin's
//! `MediaBrowser.XbmcMetadata` (`BaseNfoParser`, `BaseNfoSaver`, `MovieNfoSaver`) and Kodi's `VideoTagLoaderNFO` and
//! `NfoFile`.

mod document;
mod mark;

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::naming;
use super::poster_selection::Kind;
use document::{Document, Encoding, Node, NodeKind, edit, indentation};
use mark::{Mark, Origin};

/// The root element of an NFO file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// `<movie>`: a film.
    Movie,
    /// `<tvshow>`: a series as a whole.
    TvShow,
}

impl Root {
    /// The element's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Movie => "movie",
            Self::TvShow => "tvshow",
        }
    }

    /// Jellyfin does not look at the root's name at all, so `<Movie>` is taken, too.
    fn named(name: &str) -> Option<Self> {
        [Self::Movie, Self::TvShow].into_iter().find(|root| name.eq_ignore_ascii_case(root.name()))
    }
}

/// The content of a new NFO file besides its genres.
///
/// Kodi does not ask its scraper about a film with an NFO file (`FULL_NFO`): if the NFO file has no title, neither has
/// the film.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewNfo {
    /// The root element: film or series.
    pub root: Root,
    /// The title.
    pub title: Option<String>,
    /// The year of release.
    pub year: Option<u16>,
}

/// The change that a file needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The file stays as it is.
    Unchanged,
    /// Replace the file's content with these bytes.
    Write(Vec<u8>),
    /// Delete the file: [`minimal`] has made it, and nobody has changed it since.
    Delete,
}

/// Why an NFO file cannot be edited. Each message names the file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NfoError {
    /// The file cannot be read.
    #[error("{}: cannot be read ({cause}); check the path and its permissions", path.display())]
    Unreadable {
        /// Path of the NFO file.
        path: PathBuf,
        /// The error of the operating system.
        cause: std::io::Error,
    },
    /// The bytes do not match the declared encoding, or the encoding is not supported.
    #[error("{}: {problem}; save it as UTF-8 in a text editor", path.display())]
    Encoding {
        /// Path of the NFO file.
        path: PathBuf,
        /// The encoding problem.
        problem: String,
    },
    /// The file holds no element, or other text before it: a link for a scraper, a release note, nothing.
    #[error(
        "{}: holds a link, a release note or nothing, but no XML, and is left alone; \
         put a <movie> element before the text to have genres",
        path.display()
    )]
    NotXml {
        /// Path of the NFO file.
        path: PathBuf,
    },
    /// The XML is damaged.
    #[error(
        "{}: is not well-formed in line {line} ({reason}); mend it or have its program write it anew",
        path.display()
    )]
    Malformed {
        /// Path of the NFO file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// The error of the XML parser.
        reason: String,
    },
    /// The file is about an episode, a music video or something else.
    #[error("{}: is about <{root}>, not <movie> or <tvshow>, and is left alone", path.display())]
    WrongRoot {
        /// Path of the NFO file.
        path: PathBuf,
        /// The name of its root.
        root: String,
    },
    /// A person has locked the file, or its genres, with an element of Jellyfin and Emby.
    #[error("{}: its genres are locked by <{element}> and are left alone", path.display())]
    Locked {
        /// Path of the NFO file.
        path: PathBuf,
        /// The name of the element.
        element: &'static str,
    },
}

impl NfoError {
    /// Whether the file is as somebody wants it, and nothing is to be mended.
    pub fn is_passed_over(&self) -> bool {
        matches!(self, Self::NotXml { .. } | Self::WrongRoot { .. } | Self::Locked { .. })
    }
}

/// Adds those of `genres` that a file lacks, behind its last genre or at the end of its root, in its own line endings,
/// indentation and encoding. What an earlier call added is renewed; no genres at all are the same as [`undo`].
///
/// With `replace`, each existing genre is replaced by a comment that keeps it. A program that rewrites the file drops
/// these comments, and a person's genres with them.
///
/// `path` is used in messages only.
///
/// # Errors
/// See [`NfoError`].
pub fn add(bytes: &[u8], path: &Path, genres: &[&str], replace: bool) -> Result<Change, NfoError> {
    // Release notes are in code page 437, which is no problem of encoding to be mended.
    if !document::is_xml(bytes) {
        return Err(NfoError::NotXml { path: path.to_path_buf() });
    }
    let (encoding, text) = Encoding::decode(bytes, path)?;
    if let Some(element) = lock(&Document::read(&text, path)?) {
        return Err(NfoError::Locked { path: path.to_path_buf(), element });
    }
    let text = match before(&text, path)? {
        Before::Nothing(_) if missing(genres, Vec::new()).is_empty() => return Ok(Change::Delete),
        Before::Nothing(new) => minimal_text(&new, genres),
        Before::Text(text) => with_genres(&text, path, encoding, genres, replace)?,
    };
    Ok(change(bytes, encoding.encode(&text)))
}

/// Takes out what [`add`] put in: the genres that our comment lists and that stand unchanged between our comments, and
/// the comments; puts back what was set aside. A file without our comments is [`Change::Unchanged`], whatever it holds.
///
/// `path` is used in messages only.
///
/// # Errors
/// See [`NfoError`].
pub fn undo(bytes: &[u8], path: &Path) -> Result<Change, NfoError> {
    if !is_marked(bytes) {
        return Ok(Change::Unchanged);
    }
    let (encoding, text) = Encoding::decode(bytes, path)?;
    Ok(match before(&text, path)? {
        Before::Nothing(_) => Change::Delete,
        Before::Text(text) => change(bytes, encoding.encode(&text)),
    })
}

/// A new NFO file that says no more than `new` and the genres. [`undo`] has it deleted as long as nobody changes it.
pub fn minimal(new: &NewNfo, genres: &[&str]) -> Vec<u8> {
    minimal_text(new, genres).into()
}

/// [`add`] for a file; if there is none, [`minimal`]. Nothing is written.
///
/// # Errors
/// See [`NfoError`].
pub fn apply(path: &Path, new: &NewNfo, genres: &[&str], replace: bool) -> Result<Change, NfoError> {
    match read(path)? {
        Some(bytes) => add(&bytes, path, genres, replace),
        None if missing(genres, Vec::new()).is_empty() => Ok(Change::Unchanged),
        None => Ok(Change::Write(minimal(new, genres))),
    }
}

/// [`undo`] for a file; where there is none, nothing is to be done. Nothing is written.
///
/// # Errors
/// See [`NfoError`].
pub fn revert(path: &Path) -> Result<Change, NfoError> {
    match read(path)? {
        Some(bytes) => undo(&bytes, path),
        None => Ok(Change::Unchanged),
    }
}

/// Location of a film or series, which determines its NFO files.
#[derive(Clone, Copy, Debug)]
pub enum NfoLocation<'a> {
    /// A film that shares its folder with others.
    SharedFolder {
        /// Path of the video file.
        video: &'a Path,
        /// Common part of the names of its files, if it is in several.
        common_name: Option<&'a str>,
    },
    /// A film with a folder to itself.
    OwnFolder {
        /// Path of the folder.
        folder: &'a Path,
        /// Path of the video file in it; `None` if the folder is a DVD or Blu-ray.
        video: Option<&'a Path>,
        /// Common part of the names of its files, if it is in several.
        common_name: Option<&'a str>,
    },
    /// A series.
    Show {
        /// Path of the folder that holds its seasons.
        folder: &'a Path,
    },
}

impl<'a> NfoLocation<'a> {
    /// The location of the film or series that a poster belongs to; `None` for a film whose video is elsewhere.
    pub fn new(
        kind: Kind,
        poster: &'a Path,
        video: Option<&'a Path>,
        common_name: Option<&'a str>,
        has_own_folder: bool,
    ) -> Option<Self> {
        let folder = poster.parent().unwrap_or(Path::new(""));
        match (kind, video) {
            (Kind::Show, _) => Some(Self::Show { folder }),
            (Kind::Film, video) if has_own_folder => Some(Self::OwnFolder { folder, video, common_name }),
            (Kind::Film, Some(video)) => Some(Self::SharedFolder { video, common_name }),
            (Kind::Film, None) => None,
        }
    }
}

/// Paths of the NFO files of a film or series: all that exist, or the one to create.
///
/// A film with a folder to itself may have two. Jellyfin reads `movie.nfo` before `<video>.nfo` (`MovieNfoSaver`; older
/// versions the other way round); so does Kodi if "Movies are in separate folders that match the movie title" is on,
/// and otherwise it reads `<video>.nfo` alone. So both get the genres. Of a film in parts or versions each video may
/// have one, and Kodi reads the one of their common name; where none of them exists, Kodi takes a single NFO file of
/// any name (`CVideoTagLoaderNFO::FindNFO`). A new one would hide what these say, and is only made where there is none:
/// `<video>.nfo`, which all of them read and Kodi recommends, or `movie.nfo` where there is no single video. DVDs and
/// Blu-rays may have `VIDEO_TS/VIDEO_TS.nfo`, `BDMV/index.nfo` and the folder's name (Jellyfin).
///
/// A series has `tvshow.nfo`, and never a new one: Kodi does not look up a series that has one, finds no episodes
/// without its `<episodeguide>`, and reads the year from the day of the first episode, `<premiered>`, alone
/// (`CVideoInfoTag::ParseNative`, <https://kodi.wiki/view/NFO_files/TV_shows>), which no name tells.
///
/// Case, and how letters with accents are composed, do not matter.
pub fn nfo_paths(location: NfoLocation) -> Vec<PathBuf> {
    let existing = |path: PathBuf| spellings(&path).into_iter().find(|path| path.is_file());
    match location {
        NfoLocation::Show { folder } => existing(folder.join("tvshow.nfo")).into_iter().collect(),
        NfoLocation::SharedFolder { video, common_name } => {
            let new = video.with_extension("nfo");
            let common = common_name.map(|name| video.with_file_name(format!("{name}.nfo")));
            let found: Vec<_> = [Some(new.clone()), common].into_iter().flatten().filter_map(existing).collect();
            if found.is_empty() { vec![new] } else { found }
        }
        NfoLocation::OwnFolder { folder, video, common_name } => {
            let mut names: Vec<(String, PathBuf)> = fs::read_dir(folder)
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| (naming::key(&entry.file_name()), entry.path()))
                .filter(|(key, path)| !naming::is_hidden(key) && path.is_file())
                .collect();
            names.sort();
            let videos = names.iter().filter(|(key, _)| naming::is_video(key)).map(|(key, _)| naming::split(key).0);
            let video_name = video.and_then(Path::file_stem).map(naming::key);
            let folder_name = folder.file_name().filter(|_| video.is_none()).map(naming::key);
            let common_name = common_name.map(|name| naming::key(name.as_ref()));
            let own: Vec<String> = ["movie".to_string()]
                .into_iter()
                .chain(videos.filter(|stem| !naming::is_extra(stem)).map(String::from))
                .chain([video_name, folder_name, common_name].into_iter().flatten())
                .collect();
            let files = names.iter().filter(|(key, _)| naming::split(key).1 == "nfo");
            let files: Vec<_> = files.filter(|(key, _)| !naming::is_extra(naming::split(key).0)).collect();
            let discs = ["VIDEO_TS/VIDEO_TS.nfo", "BDMV/index.nfo"].into_iter().filter(|_| video.is_none());
            let mut found: Vec<PathBuf> = discs.filter_map(|name| existing(folder.join(name))).collect();
            let is_own = |key: &str| own.iter().any(|name| name == naming::split(key).0);
            found.extend(files.iter().filter(|(key, _)| is_own(key)).map(|(_, path)| path.clone()));
            match files.as_slice() {
                _ if !found.is_empty() => found,
                [(_, single)] => vec![single.clone()],
                _ => vec![video.map_or_else(|| folder.join("movie.nfo"), |video| video.with_extension("nfo"))],
            }
        }
    }
}

/// A path of an NFO file, and how else its name may be written.
fn spellings(path: &Path) -> Vec<PathBuf> {
    let mut names = vec![path.to_path_buf()];
    if let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|name| !name.is_ascii()) {
        names.extend([naming::composed(name).into(), naming::decomposed(name)].map(|name| path.with_file_name(name)));
    }
    names.iter().flat_map(|name| ["nfo", "NFO", "Nfo"].map(|extension| name.with_extension(extension))).collect()
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, NfoError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(NfoError::Unreadable { path: path.to_path_buf(), cause }),
    }
}

fn change(before: &[u8], after: Vec<u8>) -> Change {
    if before == after { Change::Unchanged } else { Change::Write(after) }
}

/// Whether the name of the comments occurs in a file at all. UTF-16 has a zero byte for each ASCII character.
fn is_marked(bytes: &[u8]) -> bool {
    let bytes: Vec<u8> = bytes.iter().copied().filter(|byte| *byte != 0).collect();
    bytes.windows(mark::NAME.len()).any(|window| window == mark::NAME.as_bytes())
}

/// The state of an NFO file before [`add`].
enum Before {
    /// There was no file; [`minimal`] has made it.
    Nothing(NewNfo),
    /// The text of the file.
    Text(String),
}

/// Reconstructs the state before [`add`].
fn before(text: &str, path: &Path) -> Result<Before, NfoError> {
    let document = Document::read(text, path)?;
    if let Some(new) = made_here(&document, text) {
        return Ok(Before::Nothing(new));
    }
    let mut edits = Vec::new();
    let mut was_empty_element = false;
    for (index, node) in document.nodes.iter().enumerate() {
        match mark_of(node) {
            Some(Mark::Kept(element)) if is_genre(&element) => edits.push((node.range.clone(), element)),
            Some(Mark::Added { origin, genres }) => {
                was_empty_element |= origin == Origin::EmptyRoot;
                edits.push((with_indentation(text, node), String::new()));
                let ours = added(&document.nodes[index + 1..], text, genres);
                edits.extend(ours.map(|node| (with_indentation(text, node), String::new())));
            }
            Some(Mark::End) => edits.push((with_indentation(text, node), String::new())),
            _ => {}
        }
    }
    let removed: usize = edits.iter().filter(|(_, put)| put.is_empty()).map(|(range, _)| range.len()).sum();
    if was_empty_element && removed == document.content.len() {
        edits.push((document.content.start - 1..document.content.start, "/>".to_string()));
        edits.push((document.content.end..document.end, String::new()));
    }
    Ok(Before::Text(edit(text, edits)))
}

/// The content of a file that is, to the last byte, one that [`minimal`] makes; `None` for any other file.
fn made_here(document: &Document, text: &str) -> Option<NewNfo> {
    let genres = document.nodes.iter().find_map(|node| match mark_of(node)? {
        Mark::Added { origin: Origin::Nothing, .. } => Some(values(document, "genre")),
        _ => None,
    })?;
    let first = |name: &str| values(document, name).first().map(|value| value.to_string());
    let year = first("year").and_then(|year| year.parse().ok());
    let new = NewNfo { root: document.root, title: first("title"), year };
    (minimal_text(&new, &genres) == text).then_some(new)
}

fn values<'a>(document: &'a Document, name: &str) -> Vec<&'a str> {
    document.nodes.iter().filter_map(|node| node.value_of(name)).collect()
}

fn mark_of(node: &Node) -> Option<Mark> {
    match &node.kind {
        NodeKind::Comment(comment) => Mark::read(comment),
        NodeKind::Element { .. } => None,
    }
}

/// The genre elements behind an opening comment that it lists, each once. Without a closing comment there are none,
/// since nothing proves which genres were added.
fn added<'a>(nodes: &'a [Node], text: &str, listed: Vec<String>) -> impl Iterator<Item = &'a Node> {
    // Counted, since whoever writes the file may list as many genres as fit into it.
    let mut elements: HashMap<String, usize> = HashMap::new();
    listed.iter().for_each(|genre| *elements.entry(element("genre", genre)).or_default() += 1);
    let end = nodes.iter().position(|node| matches!(mark_of(node), Some(Mark::End | Mark::Added { .. })));
    let inside = match end {
        Some(end) if mark_of(&nodes[end]) == Some(Mark::End) => &nodes[..end],
        _ => &[],
    };
    inside.iter().filter(move |node| match elements.get_mut(&text[node.range.clone()]) {
        Some(count) if *count > 0 => {
            *count -= 1;
            true
        }
        _ => false,
    })
}

/// A node and the line break before it. [`add`] puts all it adds behind a `>`, so that this takes out no more than it
/// put in.
fn with_indentation(text: &str, node: &Node) -> Range<usize> {
    node.range.start - indentation(text, node.range.start).len()..node.range.end
}

/// Whether a text is one genre element and nothing else.
fn is_genre(element: &str) -> bool {
    let wrapped = format!("<movie>{element}</movie>");
    Document::read(&wrapped, Path::new("")).is_ok_and(|document| match document.nodes.as_slice() {
        [node] => node.value_of("genre").is_some() && wrapped[node.range.clone()] == *element,
        _ => false,
    })
}

/// A text without our comments, with genres.
fn with_genres(
    text: &str,
    path: &Path,
    encoding: Encoding,
    genres: &[&str],
    replace: bool,
) -> Result<String, NfoError> {
    let document = Document::read(text, path)?;
    let there = if replace { Vec::new() } else { values(&document, "genre").into_iter().flat_map(parts).collect() };
    let new: Vec<String> = missing(genres, there).into_iter().map(|genre| encoding.escape(genre)).collect();
    if new.is_empty() {
        return Ok(text.to_string());
    }

    let mut edits = Vec::new();
    if document.is_empty_element {
        let block = block(Origin::EmptyRoot, new, "");
        edits.push((document.end - 2..document.end, format!(">{block}</{}>", document.root_name)));
        return Ok(edit(text, edits));
    }
    let is_genre = |node: &Node| node.value_of("genre").is_some();
    if replace {
        let kept = |node: &Node| Mark::Kept(text[node.range.clone()].to_string()).write();
        let old = document.nodes.iter().filter(|node| is_genre(node));
        edits.extend(old.map(|node| (node.range.clone(), kept(node))));
    }
    let last = document.nodes.iter().rposition(is_genre).or(document.nodes.len().checked_sub(1));
    let before = &document.nodes[..last.map_or(0, |last| last + 1)];
    let offset = before.last().map_or(document.content.start, |node| node.range.end);
    edits.push((offset..offset, block(Origin::File, new, &line_start(text, &document, before))));
    Ok(edit(text, edits))
}

/// The line break and indentation for a new line behind `nodes`: those of the last of them that begins a line.
fn line_start(text: &str, document: &Document, nodes: &[Node]) -> String {
    let starts = nodes.iter().rev().map(|node| indentation(text, node.range.start));
    let closing = indentation(text, document.content.end);
    match starts.into_iter().find(|start| !start.is_empty()) {
        Some(start) => start.to_string(),
        None if closing.is_empty() => String::new(),
        None => format!("{closing}  "),
    }
}

/// The genres between their comments, each behind `line_start`.
fn block(origin: Origin, genres: Vec<String>, line_start: &str) -> String {
    let elements: Vec<String> = genres.iter().map(|genre| element("genre", genre)).collect();
    let opening = Mark::Added { origin, genres }.write();
    let lines = [opening].into_iter().chain(elements).chain([Mark::End.write()]);
    lines.flat_map(|line| [line_start.to_string(), line]).collect()
}

fn element(name: &str, content: &str) -> String {
    format!("<{name}>{content}</{name}>")
}

/// The genres that are not there yet, each once.
fn missing<'a>(genres: &[&'a str], mut there: Vec<String>) -> Vec<&'a str> {
    let mut new = Vec::new();
    for genre in genres {
        let parts: Vec<String> = parts(genre).collect();
        if !parts.iter().all(|part| there.contains(part)) {
            there.extend(parts);
            new.push(genre.trim());
        }
    }
    new
}

/// The element that locks the genres of a file: `<lockdata>`, with which Jellyfin and Emby leave all of it alone, or
/// `<lockedfields>` with `Genres`.
fn lock(document: &Document) -> Option<&'static str> {
    let is_true = |value: &&str| value.trim().eq_ignore_ascii_case("true");
    let is_genres = |value: &&str| value.split('|').any(|field| field.trim().eq_ignore_ascii_case("genres"));
    let has = |name: &str, is_so: &dyn Fn(&&str) -> bool| values(document, name).iter().any(is_so);
    if has("lockdata", &is_true) {
        return Some("lockdata");
    }
    has("lockedfields", &is_genres).then_some("lockedfields")
}

/// The genres of one element, in a form in which they are compared. Jellyfin takes an element apart at `/`; TMDB's
/// `Sci-Fi & Fantasy` and lists that somebody has typed are several genres, too.
fn parts(value: &str) -> impl Iterator<Item = String> {
    let normal = |part: &str| {
        // An entity of the file's own stays as it is written, `&sf;`.
        let is_word = |sign: &char| sign.is_alphanumeric() && !part.contains('&');
        let letters: String = part.to_lowercase().chars().filter(is_word).collect();
        let known = SYNONYMS.iter().find(|(synonym, _)| *synonym == letters).map(|(_, name)| name.to_string());
        // What has signs only is told apart by them.
        known.unwrap_or(if letters.is_empty() { part.trim().to_lowercase() } else { letters })
    };
    value
        .split(['/', ',', '|'])
        .flat_map(|part| part.split(" & ").flat_map(|part| part.split(" and ")))
        .map(normal)
        .filter(|part| !part.is_empty())
}

/// Names that IMDb, TMDB, TVDB, Kodi's scrapers and others have for one genre, without signs and in lower case, and
/// the name that stands for all of them. `Music` and `Musical` are two genres of IMDb, which has films of both.
const SYNONYMS: [(&str, &str); 12] = [
    ("sciencefiction", "scifi"),
    ("sf", "scifi"),
    ("noir", "filmnoir"),
    ("biographical", "biography"),
    ("biopic", "biography"),
    ("historical", "history"),
    ("sports", "sport"),
    ("documentaries", "documentary"),
    ("animated", "animation"),
    ("reality", "realitytv"),
    ("romantic", "romance"),
    ("shorts", "short"),
];

fn minimal_text(new: &NewNfo, genres: &[&str]) -> String {
    let escape = |value: &str| Encoding::Utf8.escape(value);
    let title = new.title.as_ref().map(|title| element("title", &escape(&title.replace(char::is_control, " "))));
    let year = new.year.map(|year| element("year", &year.to_string()));
    let facts: String = [title, year].into_iter().flatten().map(|fact| format!("\n  {fact}")).collect();
    let genres = missing(genres, Vec::new()).into_iter().map(escape).collect();
    let block = block(Origin::Nothing, genres, "\n  ");
    let declaration = r#"<?xml version="1.0" encoding="UTF-8" standalone="yes"?>"#;
    let root = new.root.name();
    format!("{declaration}\n<{root}>{facts}{block}\n</{root}>\n")
}
