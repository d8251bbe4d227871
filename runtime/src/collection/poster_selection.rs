//! Poster selection: the films of one folder and their posters, by the file names in the folder alone.
//!
//! If Jellyfin, Kodi and Plex differ, Jellyfin's order applies, and the rules of the others come after it:
//!
//! 1. the video's name: `Alien (1979).jpg`;
//! 2. the video's name and a word: `Alien (1979)-poster`, `-folder`, `-cover`, `-default`, `-movie`. Of several
//!    versions or parts the first is the video; the others' names and what the parts have in common (Kodi) follow;
//! 3. if the folder is the film's alone, the word: `poster`, `folder`, `cover`, `default`, `movie`;
//! 4. there, too, the folder's name, alone or with a word;
//! 5. a numbered alternate of any of them, `poster-2` (Plex), if there is nothing else.
//!
//! For a series and for a film whose video is elsewhere (Kometa's `ASSET/poster.jpg`), 4 comes before 3. In Kometa's
//! flat folders, without videos, a picture is a film's if its name is `Title (Year)`: without a year it might be
//! anything.
//!
//! A folder is a film's alone if it holds one film and no folder with another film in it; with such folders it must be
//! named after the film, because `folder.jpg` beside a film and folders of films is the picture of the shelf. The
//! library itself may be such a folder. Lengths do not matter: Jellyfin passes over an empty `poster.jpg`, here it is
//! the poster, and broken.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fmt;

use super::naming::{self, POSTER_WORDS, SHOW_POSTER_WORDS, Title, series};

/// A file or folder name, and its form for comparisons.
#[derive(Debug)]
pub struct Name {
    /// As it is on the disk.
    pub name: OsString,
    /// As it is compared: [`naming::key`].
    pub key: String,
}

impl Name {
    /// A name and its key.
    pub fn new(name: OsString) -> Self {
        Self { key: naming::key(&name), name }
    }

    /// The key without extension.
    pub fn stem(&self) -> &str {
        naming::split(&self.key).0
    }

    /// The name for people, without extension.
    fn readable_stem(&self) -> String {
        naming::split(&self.name.to_string_lossy()).0.to_string()
    }
}

/// A folder's content, each list in the order of the names, without hidden and excluded files and folders of extras.
#[derive(Debug)]
pub struct Folder {
    /// The folder's own name.
    pub name: Name,
    /// Whether the name says what is in the folder; that of a library does not.
    pub is_named_after_content: bool,
    /// The kind of folder that it lies in.
    pub context: FolderContext,
    /// Pictures.
    pub images: Vec<Name>,
    /// Videos of every kind.
    pub videos: Vec<Name>,
    /// Whether there are folders that hold neither extras nor seasons.
    pub has_folders: bool,
    /// Whether one of them holds a film or a series. Only looked up if there are videos beside them.
    pub has_folders_of_films: bool,
    /// Whether there is the folder of a season.
    pub has_season: bool,
    /// Whether a disc's structure or a folder of a film's part lies in it.
    pub has_disc: bool,
    /// Whether there is a `tvshow.nfo`.
    pub has_show_nfo: bool,
}

/// The kind of folder that another folder lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FolderContext {
    /// The collection, or a folder in it that is not of one film or series.
    Collection,
    /// A film's own folder. A folder in it without a video holds its extras, whatever it is called.
    Film,
    /// A series. Nothing in it is a film.
    Show,
}

/// Film or series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A film.
    Film,
    /// A series.
    Show,
}

/// A film or series of a folder.
#[derive(Clone, Debug)]
pub struct Film {
    /// Film or series.
    pub kind: Kind,
    /// Title and year.
    pub title: Title,
    /// The name of its video: of the first part, and of the version that is named like the folder or comes first.
    pub video: Option<OsString>,
    /// Common part of the names of its files, after which Kodi names its NFO file. `None` if it is in one file.
    pub common_name: Option<String>,
    /// Keys after which its poster may be named: of its videos, or of the picture itself in a flat folder.
    names: Vec<String>,
}

/// Why a picture is a poster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reason {
    /// The thing that the image is named after.
    pub by: By,
    /// Rank of the name among those that the film's poster may have, from 1.
    pub rank: usize,
    /// The number of names that the film's poster may have.
    pub of: usize,
    /// Whether the picture is a numbered alternate, such as `poster-2`.
    pub is_alternate: bool,
}

/// The thing that a poster is named after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The film's video.
    Video,
    /// Its kind: `poster`, `folder`, `cover`.
    Word,
    /// The folder.
    Folder,
    /// The film, in a folder of pictures of many films.
    Title,
    /// Anything: all images were asked for.
    Image,
    /// Anything: the library is this picture.
    Library,
}

impl Reason {
    /// A picture that is taken whatever its name.
    pub fn unnamed(by: By) -> Self {
        Self { by, rank: 1, of: 1, is_alternate: false }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self.by {
            By::Video => "named after the video",
            By::Word => "the folder is of this title alone",
            By::Folder => "named after the folder",
            By::Title => "named after a film, in a folder without videos",
            By::Image => "all images were asked for",
            By::Library => "this picture was asked for",
        })?;
        if self.of > 1 {
            write!(out, ", rank {} of {}", self.rank, self.of)?;
        }
        if self.is_alternate {
            out.write_str(", numbered, where there is no plain name")?;
        }
        Ok(())
    }
}

/// Why a picture of a folder is no poster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPoster {
    /// It is artwork of another kind, such as `fanart`.
    Artwork(&'static str),
    /// It is a season's poster.
    Season,
    /// It lies in a series' folder or is named after an episode.
    Episode,
    /// The film has a poster of a name that comes earlier.
    Second {
        /// The name of the film's poster.
        behind: OsString,
    },
    /// Its name would do if the folder were one film's alone.
    Mixed,
    /// No film in the folder has this name.
    Unknown,
}

impl fmt::Display for NoPoster {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Artwork(kind) => write!(out, "{kind}, not a poster"),
            Self::Season => out.write_str("the poster of a season"),
            Self::Episode => out.write_str("belongs to an episode or a season of a series"),
            Self::Second { behind } => write!(out, "second choice behind {}", behind.display()),
            Self::Mixed => out.write_str("the folder is not that of one film alone"),
            Self::Unknown => out.write_str("no film in the folder has this name"),
        }
    }
}

/// The films of a folder, and which pictures are their posters.
#[derive(Debug)]
pub struct Posters {
    films: Vec<Film>,
    context: FolderContext,
    /// For each picture the film that it may be a poster of.
    matches: Vec<Option<Match>>,
    /// For each film the picture that is its poster.
    chosen: Vec<Option<usize>>,
}

impl Posters {
    /// Sorts out the pictures of a folder.
    pub fn of(folder: &Folder) -> Self {
        let (films, has_own_folder) = films(folder);
        let context = match films.as_slice() {
            _ if folder.context == FolderContext::Show => FolderContext::Show,
            [film] if film.kind == Kind::Show => FolderContext::Show,
            [film] if has_own_folder && (film.video.is_some() || folder.has_disc) => FolderContext::Film,
            _ => folder.context,
        };
        let candidates = Candidates::of(folder, &films, has_own_folder);
        let matches: Vec<_> = folder.images.iter().map(|image| candidates.find(image)).collect();
        let mut chosen: Vec<Option<usize>> = vec![None; films.len()];
        for (image, found) in matches.iter().enumerate() {
            let Some(found) = found else { continue };
            let best = &mut chosen[found.film];
            if best.and_then(|best| matches[best].as_ref()).is_none_or(|best| found.order < best.order) {
                *best = Some(image);
            }
        }
        Self { films, context, matches, chosen }
    }

    /// The context of the folders in this folder.
    pub fn context(&self) -> FolderContext {
        self.context
    }

    /// The film whose poster a picture is, and why; `None` if it is no poster.
    pub fn film(&self, image: usize) -> Option<(&Film, Reason)> {
        let found = self.matches[image].as_ref()?;
        (self.chosen[found.film] == Some(image)).then(|| (&self.films[found.film], found.reason))
    }

    /// Why a picture is no poster.
    pub fn why_not(&self, folder: &Folder, image: usize) -> NoPoster {
        let stem = folder.images[image].stem();
        let chosen = self.matches[image].as_ref().and_then(|found| self.chosen[found.film]);
        if let Some(chosen) = chosen {
            NoPoster::Second { behind: folder.images[chosen].name.clone() }
        } else if series::is_season_picture(stem) {
            NoPoster::Season
        } else if let Some(kind) = naming::artwork(stem) {
            NoPoster::Artwork(kind)
        } else if folder.context == FolderContext::Show || series::is_episode(stem) {
            NoPoster::Episode
        } else if naming::is_poster_word(stem) {
            NoPoster::Mixed
        } else {
            NoPoster::Unknown
        }
    }
}

/// A picture and a film that it may be a poster of.
#[derive(Debug)]
struct Match {
    film: usize,
    reason: Reason,
    /// The lower, the better: the number of an alternate, the rank of the name, the rank of the extension.
    order: (Option<u8>, usize, usize),
}

/// The names that posters of a folder's films may have.
struct Candidates {
    names: HashMap<String, (usize, By, usize)>,
    /// For each film the number of its names.
    counts: Vec<usize>,
}

impl Candidates {
    fn of(folder: &Folder, films: &[Film], has_own_folder: bool) -> Self {
        let mut names = HashMap::new();
        let mut counts = Vec::with_capacity(films.len());
        for (index, film) in films.iter().enumerate() {
            let list = names_of(film, &folder.name.key, has_own_folder);
            counts.push(list.len());
            for (rank, (name, by)) in (1..).zip(list) {
                let known = names.entry(name).or_insert((index, by, rank));
                if rank < known.2 {
                    *known = (index, by, rank);
                }
            }
        }
        Self { names, counts }
    }

    fn find(&self, image: &Name) -> Option<Match> {
        let extension = naming::image_rank(&image.key)?;
        let plain = self.names.get(image.stem()).map(|found| (found, None));
        let alternate = || {
            let (name, number) = naming::numbered(image.stem())?;
            self.names.get(name).map(|found| (found, Some(number)))
        };
        let (&(film, by, rank), number) = plain.or_else(alternate)?;
        let reason = Reason { by, rank, of: self.counts[film], is_alternate: number.is_some() };
        Some(Match { film, reason, order: (number, rank, extension) })
    }
}

/// The names that a film's poster may have, the best first.
fn names_of(film: &Film, folder: &str, has_own_folder: bool) -> Vec<(String, By)> {
    let words = if film.kind == Kind::Show { SHOW_POSTER_WORDS } else { POSTER_WORDS };
    let named = |name: &str, by| {
        let with_words = words.map(|word| (format!("{name}-{word}"), by));
        [(name.to_string(), by)].into_iter().chain(with_words).collect::<Vec<_>>()
    };
    let by = if film.video.is_some() { By::Video } else { By::Title };
    let mut list: Vec<_> = film.names.iter().flat_map(|name| named(name, by)).collect();
    if has_own_folder {
        let mut general = words.map(|word| (word.to_string(), By::Word)).to_vec();
        // A folder that is called `Logo` does not make a poster of the logo in it.
        let own = if naming::artwork(folder).is_none() { named(folder, By::Folder) } else { Vec::new() };
        let at = if film.video.is_some() { general.len() } else { 0 };
        general.splice(at..at, own);
        list.extend(general);
    }
    list
}

/// The films of a folder, and whether the folder is that of one film or series alone.
fn films(folder: &Folder) -> (Vec<Film>, bool) {
    if folder.context == FolderContext::Show {
        return (Vec::new(), false);
    }
    let name = folder.name.name.to_string_lossy();
    let own = |kind: Kind| {
        let title = naming::title(if kind == Kind::Show { series::without_season(&name) } else { &name });
        (vec![Film { kind, title, video: None, common_name: None, names: Vec::new() }], true)
    };
    let videos: Vec<&Name> = folder.videos.iter().filter(|video| !naming::is_extra(video.stem())).collect();
    let episodes = episodes(folder, &videos);
    if folder.has_show_nfo || folder.has_season || is_show(folder, &episodes) {
        return own(Kind::Show);
    }
    if folder.has_disc {
        return own(Kind::Film);
    }
    let title = naming::title(&name);
    if !videos.is_empty() {
        let videos: Vec<_> = videos.iter().zip(&episodes).filter(|(_, show)| show.is_none()).collect();
        let videos: Vec<&Name> = videos.into_iter().map(|(video, _)| *video).collect();
        let mut films = films_of_videos(&videos, &folder.name.key);
        let is_named_so = |film: &Film| film.title.title.to_lowercase() == title.title.to_lowercase();
        let has_own_folder =
            films.len() == 1 && (!folder.has_folders_of_films || is_named_so(&films[0]) || naming::is_titled(&name));
        if has_own_folder && folder.is_named_after_content && (title.year.is_some() || films[0].title.year.is_none()) {
            films[0].title = title;
        }
        return (films, has_own_folder);
    }
    if folder.context == FolderContext::Film {
        return (Vec::new(), false);
    }
    let titled = titled_pictures(&folder.images, &title);
    if titled.is_empty() && !folder.images.is_empty() && (!folder.has_folders || title.year.is_some()) {
        return own(Kind::Film);
    }
    (titled, false)
}

/// For each video the name of the series that it is an episode of, if it is one.
///
/// If numbers alone make episodes, films with posters of their own and none for the whole folder are films.
fn episodes(folder: &Folder, videos: &[&Name]) -> Vec<Option<String>> {
    let stems: Vec<&str> = videos.iter().map(|video| video.stem()).collect();
    let mut episodes = series::episodes(&stems, &folder.name.key);
    let has_picture = |name: &str| folder.images.iter().any(|image| image.stem() == name);
    if !POSTER_WORDS.iter().chain(&SHOW_POSTER_WORDS).any(|word| has_picture(word)) {
        for (stem, show) in stems.iter().zip(&mut episodes).filter(|(stem, _)| !series::is_episode(stem)) {
            if has_picture(stem) || POSTER_WORDS.iter().any(|word| has_picture(&format!("{stem}-{word}"))) {
                *show = None;
            }
        }
    }
    episodes
}

/// Whether a folder is that of one series: its videos are episodes of one, or half of them are and have its name.
fn is_show(folder: &Folder, episodes: &[Option<String>]) -> bool {
    let shows: Vec<&String> = episodes.iter().flatten().collect();
    let Some(first) = shows.first() else { return false };
    let are_of_folder = shows.iter().all(|show| series::is_related(show, &folder.name.key));
    let are_of_one = shows.iter().all(|show| series::is_related(show, first) || show == first);
    let are_all = shows.len() == episodes.len() && !folder.has_folders_of_films;
    (are_all && are_of_one) || (are_of_folder && 2 * shows.len() >= episodes.len())
}

/// Puts parts and versions together.
fn films_of_videos(videos: &[&Name], folder: &str) -> Vec<Film> {
    let mut films: Vec<Film> = Vec::new();
    let parts = parts(videos);
    // Where the film of each set of parts is.
    let mut begun: HashMap<&(String, String), usize> = HashMap::new();
    for (video, part) in videos.iter().zip(&parts) {
        let names = vec![video.stem().to_string()];
        let Some(part) = part else {
            let title = naming::title(&video.readable_stem());
            films.push(Film { kind: Kind::Film, title, video: Some(video.name.clone()), common_name: None, names });
            continue;
        };
        if let Some(&film) = begun.get(part) {
            films[film].names.extend(names);
            continue;
        }
        begun.insert(part, films.len());
        let base = naming::part(&video.readable_stem()).map(|part| part.base).unwrap_or_default();
        let title = naming::title(if base.is_empty() { folder } else { &base });
        let common_name = Some(base).filter(|base| !base.is_empty());
        films.push(Film { kind: Kind::Film, title, video: Some(video.name.clone()), common_name, names });
    }
    for (part, film) in begun {
        films[film].names.extend(Some(part.0.clone()).filter(|base| !base.is_empty()));
    }
    if are_versions(&films, folder) { vec![one_of_versions(films, folder)] } else { films }
}

/// For each video the base and kind of the parts that it is one of, if there are at least two.
fn parts(videos: &[&Name]) -> Vec<Option<(String, String)>> {
    let parts: Vec<_> =
        videos.iter().map(|video| naming::part(video.stem()).map(|part| (part.base, part.kind))).collect();
    let mut counts: HashMap<&(String, String), usize> = HashMap::new();
    for part in parts.iter().flatten() {
        *counts.entry(part).or_default() += 1;
    }
    let is_one_of_several = |part: &(String, String)| counts[part] > 1;
    parts.iter().map(|part| part.clone().filter(is_one_of_several)).collect()
}

fn are_versions(films: &[Film], folder: &str) -> bool {
    let is_of_one_year = films.iter().all(|film| film.title.year == films[0].title.year);
    films.len() > 1 && is_of_one_year && films.iter().all(|film| naming::is_version(&film.names[0], folder))
}

fn one_of_versions(mut films: Vec<Film>, folder: &str) -> Film {
    let first = films.iter().position(|film| film.names[0] == folder).unwrap_or(0);
    let mut film = films.remove(first);
    film.names.extend(films.into_iter().flat_map(|other| other.names));
    film
}

/// The films of a folder of pictures that are called `Title (Year)`, but for that whose folder it is.
fn titled_pictures(images: &[Name], own: &Title) -> Vec<Film> {
    let mut films: Vec<Film> = Vec::new();
    for image in images {
        let stem = image.readable_stem();
        let title = naming::title(&stem);
        let is_known = films.last().is_some_and(|film| film.names[0] == image.stem());
        if naming::is_titled(&stem) && title != *own && !is_known {
            let names = vec![image.stem().to_string()];
            films.push(Film { kind: Kind::Film, title, video: None, common_name: None, names });
        }
    }
    films
}
