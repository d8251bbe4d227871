//! Directory scan: finds for each film and series the one poster that Jellyfin, Kodi or Plex would show.
//!
//! Folders are visited one after the other, in the byte order of their names. Memory is bounded by the largest folder
//! and the number of folders that are still to be visited. [`poster_selection`](super::poster_selection) chooses the
//! posters of a folder, [`naming`] parses names.

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
use super::poster_selection::{By, Folder, FolderContext, Kind, Name, NoPoster, Posters, Reason};

/// Options of [`scan`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ScanOptions {
    /// Whether to take every image, whatever its name. Hidden files and folders of the system are skipped all the same.
    pub all_images: bool,
    /// Whether to report what was skipped, and why: [`Item::PassedOver`].
    pub explain: bool,
    /// If not empty, only images that it matches are taken.
    pub include: Globs,
    /// Images and folders that it matches are ignored, even if [`include`](Self::include) matches them, too.
    pub exclude: Globs,
}

/// Globs for paths relative to the collection. A glob that matches a folder matches everything below it. `*` does not
/// match `/`, `**` does; upper and lower case differ. [`Globs::default`] is empty.
#[derive(Clone, Debug, Default)]
pub struct Globs(GlobSet);

impl Globs {
    /// Compiles globs, in the syntax of the crate `globset`.
    ///
    /// # Errors
    /// [`ScanError::Glob`] for the first invalid glob.
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

/// An item of a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A poster.
    Poster(Poster),
    /// An image or folder that is skipped; only if [`ScanOptions::explain`] asks for it.
    PassedOver(PassedOver),
}

/// A poster, and the film or series that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poster {
    /// Path of the image file; it begins with the collection's path as it was given.
    pub path: PathBuf,
    /// Film or series.
    pub kind: Kind,
    /// Title and year, read from the folder's or the video's name.
    pub title: Title,
    /// Path of the film's video file, beside which `<video>.nfo` would lie. `None` for series, for discs (`VIDEO_TS`,
    /// `BDMV`), and if the video is elsewhere.
    pub video: Option<PathBuf>,
    /// Whether the folder holds this film or series alone.
    pub has_own_folder: bool,
    /// Why the image was chosen.
    pub reason: Reason,
}

/// An image or folder that is skipped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Path of the image or folder.
    pub path: PathBuf,
    /// Why it is skipped.
    pub reason: PassedOverReason,
}

/// Why an image or folder is skipped.
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
    /// The image is no poster.
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
                write!(out, "{}: taken: {}", escape_control(path.display()), escape_control(reason))
            }
            Self::PassedOver(PassedOver { path, reason }) => {
                write!(out, "{}: passed over: {}", escape_control(path.display()), escape_control(reason))
            }
        }
    }
}

/// Why a file or folder cannot be scanned, or the options are invalid. A scan continues after an error.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ScanError {
    /// A file or folder cannot be read, or a link leads nowhere.
    #[error("{}: cannot be read ({cause}); check that it exists and its permissions", escape_control(path.display()))]
    Unreadable {
        /// Path of the file or folder.
        path: PathBuf,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// A glob is invalid.
    #[error("{0}; see https://docs.rs/globset for the syntax")]
    Glob(globset::Error),
}

/// Scans a collection: the folder `root`, or the single image `root`.
///
/// Posters come folder by folder, in the order of the names' bytes; the same library gives the same items. A symbolic
/// link to a file is treated as the file. A link to a folder is followed unless the folder is visited anyway, so that
/// neither loops nor two paths to a folder repeat anything; of two links to a folder outside the collection the first
/// is followed. Unreadable files and folders are errors among the items. Images are not opened.
pub fn scan<'a>(root: &Path, options: &'a ScanOptions) -> Scan<'a> {
    let mut scan =
        Scan { root: root.to_path_buf(), options, waiting: Vec::new(), found: VecDeque::new(), trees: HashSet::new() };
    match fs::canonicalize(root).and_then(|real| Ok((fs::metadata(&real)?, real))) {
        Ok((metadata, real)) if metadata.is_dir() => {
            scan.trees.insert(real.clone());
            scan.waiting.push(Visit { path: root.to_path_buf(), real, context: FolderContext::Collection });
        }
        Ok((_, real)) => scan.found.push_back(Ok(Item::Poster(Poster {
            path: root.to_path_buf(),
            kind: Kind::Film,
            title: title_of_image(root, name_of(root.parent().unwrap_or(root), real.parent().unwrap_or(&real))),
            video: None,
            has_own_folder: false,
            reason: Reason::unnamed(By::Library),
        }))),
        Err(cause) => scan.fail(root.to_path_buf(), cause),
    }
    scan
}

/// Iterator over the items of a collection; made by [`scan`].
#[derive(Debug)]
pub struct Scan<'a> {
    root: PathBuf,
    options: &'a ScanOptions,
    /// Folders to be visited, the next one last.
    waiting: Vec<Visit>,
    /// Items of the folder that was visited last, which the iterator has not returned yet.
    found: VecDeque<Result<Item, ScanError>>,
    /// Canonical paths of the root and of the folders that links led to. Everything below them is visited.
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
    /// Canonical path.
    real: PathBuf,
    context: FolderContext,
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
                    has_own_folder: false,
                    reason: Reason::unnamed(By::Image),
                })
            } else if let Some((film, reason)) = posters.film(index) {
                let video = film.video.as_ref().map(|video| visit.path.join(video));
                let has_own_folder = posters.context() != FolderContext::Collection;
                Some(Poster { path, kind: film.kind, title: film.title.clone(), video, has_own_folder, reason })
            } else {
                self.pass_over(path, || PassedOverReason::NoPoster(posters.why_not(&folder, index)));
                None
            };
            self.found.extend(poster.map(|poster| Ok(Item::Poster(poster))));
        }
        self.waiting.extend(subfolders.into_iter().rev().map(|Subfolder { name, real }| Visit {
            path: visit.path.join(name),
            real,
            context: posters.context(),
        }));
    }

    /// Lists a folder, and returns its subfolders that are to be visited.
    fn list(&mut self, visit: &Visit) -> (Folder, Vec<Subfolder>) {
        let mut folder = Folder {
            name: Name::new(name_of(&visit.path, &visit.real).into()),
            is_named_after_content: visit.path != self.root,
            context: visit.context,
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
                Err(cause) => {
                    self.fail(path, cause);
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
            let ScanOptions { include, exclude, .. } = self.options;
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

    fn fail(&mut self, path: PathBuf, cause: io::Error) {
        self.found.push_back(Err(ScanError::Unreadable { path, cause }));
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

/// A text on one line, with its control characters escaped.
fn escape_control(text: impl fmt::Display) -> String {
    let text = text.to_string();
    text.chars().map(|sign| if sign.is_control() { sign.escape_default().to_string() } else { sign.into() }).collect()
}

#[cfg(test)]
mod tests;
