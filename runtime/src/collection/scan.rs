//! Walks a media library and finds for each film and series the one poster that Jellyfin, Kodi or Plex would show.
//!
//! The folders are gone through one after the other, in the order of their names' bytes, and what a folder holds is
//! forgotten when its items have been handed out: memory is bounded by the largest folder and by the folders that wait
//! to be visited. `films` says which pictures are posters, `names` what names mean.

use std::collections::{HashSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet};
use thiserror::Error;
use walkdir::WalkDir;

use super::naming::{self, Title};
use super::poster_selection::{By, Folder, Kind, Name, NoPoster, Place, Posters, Reason};

/// What to look for.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether every picture is taken, whatever its name; hidden files and the system's folders are passed over still.
    pub all_images: bool,
    /// Whether to say what was passed over, and why: [`Item::PassedOver`].
    pub explain: bool,
    /// If not empty, only what it matches is taken.
    pub include: Globs,
    /// What it matches is as if it were not there, even if [`include`](Self::include) matches it, too.
    pub exclude: Globs,
}

/// Globs for paths relative to the library. A glob that matches a folder matches all that lies in it. `*` does not
/// match `/`, `**` does; upper and lower case differ. [`Globs::default`] is empty.
#[derive(Clone, Debug, Default)]
pub struct Globs(GlobSet);

impl Globs {
    /// Compiles globs, in the syntax of the crate `globset`.
    ///
    /// # Errors
    /// [`ScanError::Glob`] for the first that is none.
    pub fn new<T: AsRef<str>>(globs: &[T]) -> Result<Self, ScanError> {
        let mut set = GlobSet::builder();
        for glob in globs {
            set.add(GlobBuilder::new(glob.as_ref()).literal_separator(true).build().map_err(ScanError::Glob)?);
        }
        Ok(Self(set.build().map_err(ScanError::Glob)?))
    }

    fn is_match(&self, path: &Path) -> bool {
        let mut folders = path.ancestors().filter(|path| !path.as_os_str().is_empty());
        !self.0.is_empty() && folders.any(|path| self.0.is_match(path))
    }
}

/// What a scan finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A poster.
    Poster(Poster),
    /// A picture or folder that is passed over; only if [`Options::explain`] asks for it.
    PassedOver(PassedOver),
}

/// A poster and what it is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poster {
    /// The picture; begins with the library's path as it was given.
    pub path: PathBuf,
    /// What it is of.
    pub kind: Kind,
    /// Title and year, read from the folder's or the video's name.
    pub title: Title,
    /// The film's video, beside which `<video>.nfo` would lie. `None` for series, for discs (`VIDEO_TS`, `BDMV`), and
    /// if the video is elsewhere.
    pub video: Option<PathBuf>,
    /// Whether the folder is the film's or series' own.
    pub is_alone: bool,
    /// Why it was chosen.
    pub reason: Reason,
}

/// A picture or folder that is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// The picture or folder.
    pub path: PathBuf,
    /// Why.
    pub reason: PassedOverReason,
}

/// Why a picture or folder is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassedOverReason {
    /// The name begins with a dot.
    Hidden,
    /// A folder of the system or a NAS, such as `@eaDir` or `$RECYCLE.BIN`.
    System,
    /// A folder of extras, such as `Trailers`, or a part of a film, such as `BDMV`.
    Extras,
    /// Excluded, or not included.
    NotAskedFor,
    /// A link to a folder, or a folder that was reached through a link before: visited under another path.
    Elsewhere,
    /// The picture is no poster.
    NoPoster(NoPoster),
}

impl fmt::Display for PassedOverReason {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str(match self {
            Self::Hidden => "hidden",
            Self::System => "a folder of the system",
            Self::Extras => "belongs to the film or series above",
            Self::NotAskedFor => "excluded or not included",
            Self::Elsewhere => "the same folder as another one of the library",
            Self::NoPoster(reason) => return reason.fmt(out),
        })
    }
}

/// One line: the path, with control characters escaped, and the reason.
impl fmt::Display for Item {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Self::Poster(Poster { path, reason, .. }) => {
                write!(out, "{}: taken: {}", one_line(path.display()), one_line(reason))
            }
            Self::PassedOver(PassedOver { path, reason }) => {
                write!(out, "{}: passed over: {}", one_line(path.display()), one_line(reason))
            }
        }
    }
}

/// What goes wrong in a scan. But for [`ScanError::Glob`], the scan goes on behind it.
#[derive(Debug, Error)]
pub enum ScanError {
    /// A file or folder cannot be read, or a link leads nowhere.
    #[error("{}: cannot be read ({source}); check that it exists and its permissions", one_line(path.display()))]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A glob is not one.
    #[error("{0}; see https://docs.rs/globset for the syntax")]
    Glob(globset::Error),
}

/// Finds the posters of a library: of the folder `root`, or the one picture that `root` is.
///
/// Posters come folder by folder, in the order of the names' bytes; the same library gives the same items. A symbolic
/// link to a file is the file. A link to a folder is followed if the folder is not visited anyway, so that neither
/// loops nor two ways to a folder repeat anything; of two ways outside of the library the first counts. What cannot be
/// read is an error among the items. Whether a picture is there still and can be decoded shows when it is opened.
pub fn scan<'a>(root: &Path, options: &'a Options) -> Scan<'a> {
    let mut scan =
        Scan { root: root.to_path_buf(), options, waiting: Vec::new(), found: VecDeque::new(), trees: HashSet::new() };
    match fs::canonicalize(root).and_then(|real| Ok((fs::metadata(&real)?, real))) {
        Ok((metadata, real)) if metadata.is_dir() => {
            scan.trees.insert(real.clone());
            scan.waiting.push(Visit { path: root.to_path_buf(), real, place: Place::Library });
        }
        Ok((_, real)) => scan.found.push_back(Ok(Item::Poster(Poster {
            path: root.to_path_buf(),
            kind: Kind::Film,
            title: title_of_image(root, name_of(root.parent().unwrap_or(root), real.parent().unwrap_or(&real))),
            video: None,
            is_alone: false,
            reason: Reason::unnamed(By::Library),
        }))),
        Err(source) => scan.fail(root.to_path_buf(), source),
    }
    scan
}

/// The items of a library; made by [`scan`].
#[derive(Debug)]
pub struct Scan<'a> {
    root: PathBuf,
    options: &'a Options,
    /// Folders to be visited, the next one last.
    waiting: Vec<Visit>,
    /// Items of the folder that was visited last.
    found: VecDeque<Result<Item, ScanError>>,
    /// The real paths of the library and of the folders that links led to: all that is below them is visited.
    trees: HashSet<PathBuf>,
}

impl Iterator for Scan<'_> {
    type Item = Result<Item, ScanError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(item) = self.found.pop_front() {
                return Some(item);
            }
            let visit = self.waiting.pop()?;
            self.visit(visit);
        }
    }
}

/// A folder to be visited.
#[derive(Debug)]
struct Visit {
    path: PathBuf,
    /// The path without links.
    real: PathBuf,
    place: Place,
}

/// A folder in the folder that is being visited.
struct Subfolder {
    name: OsString,
    real: PathBuf,
}

impl Scan<'_> {
    fn visit(&mut self, visit: Visit) {
        let (folder, subfolders) = self.list(&visit);
        let posters = Posters::of(&folder);
        for (index, image) in folder.images.iter().enumerate() {
            let path = visit.path.join(&image.name);
            let poster = if self.options.all_images {
                let title = title_of_image(&path, &folder.name.name);
                Some(Poster {
                    path,
                    kind: Kind::Film,
                    title,
                    video: None,
                    is_alone: false,
                    reason: Reason::unnamed(By::Image),
                })
            } else if let Some((film, reason)) = posters.film(index) {
                let video = film.video.as_ref().map(|video| visit.path.join(video));
                let is_alone = posters.place() != Place::Library;
                Some(Poster { path, kind: film.kind, title: film.title.clone(), video, is_alone, reason })
            } else {
                self.pass_over(path, || PassedOverReason::NoPoster(posters.why_not(&folder, index)));
                None
            };
            self.found.extend(poster.map(|poster| Ok(Item::Poster(poster))));
        }
        self.waiting.extend(subfolders.into_iter().rev().map(|Subfolder { name, real }| Visit {
            path: visit.path.join(name),
            real,
            place: posters.place(),
        }));
    }

    /// Reads a folder. The second value are the folders in it that are to be visited.
    fn list(&mut self, visit: &Visit) -> (Folder, Vec<Subfolder>) {
        let mut folder = Folder {
            name: Name::new(name_of(&visit.path, &visit.real).into()),
            is_named_after_content: visit.path != self.root,
            place: visit.place,
            images: Vec::new(),
            videos: Vec::new(),
            folders: Vec::new(),
            has_disc: false,
            has_show_nfo: false,
        };
        let mut subfolders = Vec::new();
        // A folder must be seen whole before its posters can be chosen, so that `walkdir` reads one folder at a time;
        // `ignore`, made for source code, would bring rules that nobody wrote for films.
        let entries = WalkDir::new(&visit.path).min_depth(1).max_depth(1).sort_by_file_name();
        for entry in entries {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    let path = error.path().unwrap_or(&visit.path).to_path_buf();
                    self.fail(path, error.into());
                    continue;
                }
            };
            let name = Name::new(entry.file_name().into());
            if naming::is_hidden(&name.key) {
                if entry.file_type().is_dir() || naming::image_rank(&name.key).is_some() {
                    self.pass_over(entry.into_path(), || PassedOverReason::Hidden);
                }
                continue;
            }
            let kind = match entry.path_is_symlink() {
                true => fs::metadata(entry.path()).map(|target| target.file_type()),
                false => Ok(entry.file_type()),
            };
            match kind {
                Err(source) => self.fail(entry.into_path(), source),
                Ok(kind) if kind.is_dir() => {
                    let is_link = entry.path_is_symlink();
                    subfolders.extend(self.list_folder(entry.into_path(), name, is_link, visit, &mut folder));
                }
                Ok(kind) if kind.is_file() => self.list_file(entry.into_path(), name, &mut folder),
                // Pipes and devices are no pictures, and to open one might wait for ever.
                Ok(_) => {}
            }
        }
        (folder, subfolders)
    }

    /// Notes what a folder tells of the one that it lies in, and returns it if it is to be visited.
    fn list_folder(
        &mut self,
        path: PathBuf,
        name: Name,
        is_link: bool,
        visit: &Visit,
        folder: &mut Folder,
    ) -> Option<Subfolder> {
        let is_root = visit.path == self.root;
        let is_disc = !self.options.all_images && (naming::is_disc(&name.key) || is_part_of_film(&path, &name.key));
        // In the library itself `Shorts` and `Other` hold films like others; so does Jellyfin see it.
        let is_extras = !self.options.all_images && !is_root && naming::is_extras_folder(&name.key);
        folder.has_disc |= is_disc;
        let reason = if naming::is_system_folder(&name.key) {
            PassedOverReason::System
        } else if is_disc || is_extras {
            PassedOverReason::Extras
        } else if self.options.exclude.is_match(self.relative(&path)) {
            PassedOverReason::NotAskedFor
        } else {
            match if is_link { fs::canonicalize(&path) } else { Ok(visit.real.join(&name.name)) } {
                Ok(real) if self.is_new(&real, is_link) => {
                    let subfolder = Subfolder { name: name.name.clone(), real };
                    folder.folders.push(name);
                    return Some(subfolder);
                }
                Ok(_) => PassedOverReason::Elsewhere,
                Err(source) => {
                    self.fail(path, source);
                    return None;
                }
            }
        };
        self.pass_over(path, || reason);
        None
    }

    fn list_file(&mut self, path: PathBuf, name: Name, folder: &mut Folder) {
        folder.has_show_nfo |= name.key == "tvshow.nfo";
        folder.has_disc |= naming::is_disc(&name.key);
        if naming::is_video(&name.key) {
            folder.videos.push(name);
        } else if naming::image_rank(&name.key).is_some() {
            let relative = self.relative(&path);
            let Options { include, exclude, .. } = self.options;
            if exclude.is_match(relative) || !(include.0.is_empty() || include.is_match(relative)) {
                self.pass_over(path, || PassedOverReason::NotAskedFor);
            } else {
                folder.images.push(name);
            }
        }
    }

    /// Whether a folder is not visited under another path. From then on it counts as visited, if a link led to it.
    fn is_new(&mut self, real: &Path, is_link: bool) -> bool {
        if !is_link {
            return !self.trees.contains(real);
        }
        let tree = real.ancestors().find(|folder| self.trees.contains(*folder));
        let is_passed_over = |name: &Name| {
            let key = &name.key;
            naming::is_hidden(key) || naming::is_system_folder(key) || naming::is_extras_folder(key)
        };
        let is_visited = tree.and_then(|tree| real.strip_prefix(tree).ok()).is_some_and(|below| {
            !below.components().map(|part| Name::new(part.as_os_str().into())).any(|name| is_passed_over(&name))
        });
        !is_visited && self.trees.insert(real.to_path_buf())
    }

    fn relative<'p>(&self, path: &'p Path) -> &'p Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }

    fn pass_over(&mut self, path: PathBuf, reason: impl FnOnce() -> PassedOverReason) {
        if self.options.explain {
            self.found.push_back(Ok(Item::PassedOver(PassedOver { path, reason: reason() })));
        }
    }

    fn fail(&mut self, path: PathBuf, source: io::Error) {
        self.found.push_back(Err(ScanError::Unreadable { path, source }));
    }
}

/// Whether a folder holds a disc that is one of a film's parts.
fn is_part_of_film(path: &Path, key: &str) -> bool {
    let has_disc =
        |entries: fs::ReadDir| entries.flatten().any(|entry| naming::is_disc(&naming::key(&entry.file_name())));
    naming::is_part_folder(key) && fs::read_dir(path).is_ok_and(has_disc)
}

/// A folder's name; that of its real path if it is named by dots.
fn name_of<'a>(path: &'a Path, real: &'a Path) -> &'a OsStr {
    path.file_name().or(real.file_name()).unwrap_or_default()
}

/// The title of a picture about which nothing else is known: its own name, or its folder's if it is called `poster`.
fn title_of_image(image: &Path, folder: &OsStr) -> Title {
    let stem = image.file_stem().unwrap_or_default().to_string_lossy();
    naming::title(naming::named_after(&stem).unwrap_or(&folder.to_string_lossy()))
}

fn one_line(text: impl fmt::Display) -> String {
    let text = text.to_string();
    text.chars().map(|sign| if sign.is_control() { sign.escape_default().to_string() } else { sign.into() }).collect()
}

#[cfg(test)]
mod tests;
