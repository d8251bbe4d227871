//! Directory scan: finds for each film and series the one poster that Jellyfin, Kodi or Plex would show.
//!
//! Folders are visited one after the other, in the byte order of their names. Memory is bounded by the largest folder
//! and the number of folders that are still to be visited. [`poster_selection`](super::poster_selection) chooses the
//! posters of a folder, [`naming`] parses names.

use std::borrow::Cow;
use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobSet};
use thiserror::Error;
use walkdir::WalkDir;

use super::naming::series::{self, SeasonName};
use super::naming::{self, Title};
use super::poster_selection::{By, Folder, FolderContext, Kind, Name, NoPoster, Posters, Reason};

/// Options of [`scan`].
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ScanOptions {
    /// Whether to take every image, whatever its name. Hidden files, folders of the system and folders with a
    /// `.nomedia` are skipped all the same.
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
            let glob = naming::composed(glob.as_ref());
            set.add(GlobBuilder::new(&glob).literal_separator(true).build().map_err(ScanError::Glob)?);
        }
        Ok(Self(set.build().map_err(ScanError::Glob)?))
    }

    fn is_match(&self, path: &Path) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let path = path.to_str().map_or(Cow::Borrowed(path), |path| match naming::composed(path) {
            Cow::Borrowed(path) => Cow::Borrowed(Path::new(path)),
            Cow::Owned(path) => Cow::Owned(path.into()),
        });
        path.ancestors().filter(|path| !path.as_os_str().is_empty()).any(|path| self.0.is_match(path))
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
    /// Common part of the names of the film's files, if it is in several.
    pub common_name: Option<String>,
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
    /// A folder with a file that says so: `.nomedia`, or an empty `.ignore`.
    Marked,
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
            Self::Marked => "left out by its file .nomedia or .ignore",
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
    let mut scan = Scan {
        root: root.to_path_buf(),
        options,
        waiting: Vec::new(),
        found: VecDeque::new(),
        trees: HashSet::new(),
        before_visit: Box::new(|_| {}),
    };
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
            common_name: None,
            has_own_folder: false,
            reason: Reason::unnamed(By::Library),
        }))),
        Err(cause) => scan.fail(root.to_path_buf(), cause),
    }
    scan
}

/// Iterator over the items of a collection; made by [`scan`].
pub struct Scan<'a> {
    root: PathBuf,
    options: &'a ScanOptions,
    /// Folders to be visited, the next one last.
    waiting: Vec<Visit>,
    /// Items of the folder that was visited last, which the iterator has not returned yet.
    found: VecDeque<Result<Item, ScanError>>,
    /// Canonical paths of the root and of the folders that links led to. Everything below them is visited.
    trees: HashSet<PathBuf>,
    before_visit: Box<dyn FnMut(&Path) + 'a>,
}

impl<'a> Scan<'a> {
    /// Calls a function with the canonical path of each folder before it is listed.
    pub fn before_each_folder(self, before_visit: impl FnMut(&Path) + 'a) -> Self {
        Self { before_visit: Box::new(before_visit), ..self }
    }
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
    path: PathBuf,
    name: Name,
    is_link: bool,
    role: Role,
}

/// Purpose of a folder in a folder.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// The system's.
    System,
    /// Left out by a file in it.
    Marked,
    /// A disc, or one of a film's parts.
    Disc,
    /// A season of the series.
    Season,
    /// Extras by its name, which may be that of a film or a shelf just as well.
    Extras,
    /// Extras.
    PureExtras,
    /// Anything else.
    Other,
}

impl Scan<'_> {
    fn visit(&mut self, visit: Visit) {
        (self.before_visit)(&visit.real);
        let (folder, subfolders) = self.list(&visit);
        let posters = Posters::of(&folder);
        for (index, image) in folder.images.iter().enumerate() {
            let path = visit.path.join(&image.name);
            let poster = if self.options.all_images {
                Some(Poster {
                    title: title_of_image(&path, &folder.name.name),
                    path,
                    kind: Kind::Film,
                    video: None,
                    common_name: None,
                    has_own_folder: false,
                    reason: Reason::unnamed(By::Image),
                })
            } else if let Some((film, reason)) = posters.film(index) {
                Some(Poster {
                    path,
                    kind: film.kind,
                    title: film.title.clone(),
                    video: film.video.as_ref().map(|video| visit.path.join(video)),
                    common_name: film.common_name.clone(),
                    has_own_folder: posters.context() != FolderContext::Collection,
                    reason,
                })
            } else {
                self.pass_over(path, || PassedOverReason::NoPoster(posters.why_not(&folder, index)));
                None
            };
            self.found.extend(poster.map(|poster| Ok(Item::Poster(poster))));
        }
        self.waiting.extend(subfolders.into_iter().rev().map(|(path, real)| Visit {
            path,
            real,
            context: posters.context(),
        }));
    }

    /// Lists a folder, and returns the paths and canonical paths of its subfolders that are to be visited.
    fn list(&mut self, visit: &Visit) -> (Folder, Vec<(PathBuf, PathBuf)>) {
        let mut folder = Folder {
            name: Name::new(name_of(&visit.path, &visit.real).into()),
            is_named_after_content: visit.path != self.root,
            context: visit.context,
            images: Vec::new(),
            videos: Vec::new(),
            has_folders: false,
            has_folders_of_films: false,
            has_season: false,
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
            let is_link = entry.path_is_symlink();
            let kind = match is_link {
                true => fs::metadata(entry.path()).map(|target| target.file_type()),
                false => Ok(entry.file_type()),
            };
            match kind {
                Err(source) => self.fail(entry.into_path(), source),
                Ok(kind) if kind.is_dir() => {
                    let path = entry.into_path();
                    let role = self.role(&path, &name.key, &folder);
                    subfolders.push(Subfolder { path, name, is_link, role });
                }
                Ok(kind) if kind.is_file() => self.list_file(entry.into_path(), name, &mut folder),
                // Pipes and devices are no pictures, and to open one might wait for ever.
                Ok(_) => {}
            }
        }
        let to_visit = self.list_folders(visit, &mut folder, subfolders);
        (folder, to_visit)
    }

    /// Purpose of a folder in `parent`, by its name and, where that is not enough, by what is in it.
    fn role(&self, path: &Path, key: &str, parent: &Folder) -> Role {
        let is_root = !parent.is_named_after_content;
        if naming::is_system_folder(key) {
            Role::System
        } else if is_marked(path) {
            Role::Marked
        } else if self.options.all_images {
            Role::Other
        } else if naming::is_disc(key) || (naming::is_part_folder(key) && is_part_of_film(path, key, is_root)) {
            Role::Disc
        } else if naming::is_pure_extras_folder(key) {
            Role::PureExtras
        } else {
            match series::season_folder(key, &parent.name.key) {
                Some(SeasonName::Certain) => Role::Season,
                Some(SeasonName::Possible) if has_episodes(path, &parent.name.key) => Role::Season,
                _ if naming::is_extras_folder(key) => Role::Extras,
                _ => Role::Other,
            }
        }
    }

    /// Notes what the folders in a folder tell of it, and returns those that are to be visited.
    fn list_folders(
        &mut self,
        visit: &Visit,
        folder: &mut Folder,
        mut subfolders: Vec<Subfolder>,
    ) -> Vec<(PathBuf, PathBuf)> {
        folder.has_disc |= subfolders.iter().any(|subfolder| subfolder.role == Role::Disc);
        folder.has_season = are_seasons(&subfolders);
        let are_shelves = are_shelves(folder, &subfolders);
        for subfolder in &mut subfolders {
            match subfolder.role {
                Role::Season if !folder.has_season => subfolder.role = Role::Other,
                Role::Extras if are_shelves => subfolder.role = Role::Other,
                _ => {}
            }
        }
        let mut to_visit = Vec::new();
        for Subfolder { path, name, is_link, role } in subfolders {
            let reason = match role {
                Role::System => PassedOverReason::System,
                Role::Marked => PassedOverReason::Marked,
                Role::Disc | Role::Extras | Role::PureExtras => PassedOverReason::Extras,
                _ if self.options.exclude.is_match(self.relative(&path)) => PassedOverReason::NotAskedFor,
                _ => match if is_link { fs::canonicalize(&path) } else { Ok(visit.real.join(&name.name)) } {
                    Ok(real) if self.is_new(&real, is_link) => {
                        folder.has_folders |= role == Role::Other;
                        folder.has_folders_of_films |= role == Role::Other
                            && !folder.videos.is_empty()
                            && (naming::is_titled(&name.name.to_string_lossy()) || has_films(&path, 2));
                        to_visit.push((path, real));
                        continue;
                    }
                    Ok(_) => PassedOverReason::Elsewhere,
                    Err(cause) => {
                        self.fail(path, cause);
                        continue;
                    }
                },
            };
            self.pass_over(path, || reason);
        }
        to_visit
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

/// Whether a file in a folder says that the folder is left out.
fn is_marked(folder: &Path) -> bool {
    let is_there = |(name, is_empty): (&str, bool)| {
        fs::metadata(folder.join(name)).is_ok_and(|file| file.is_file() && (!is_empty || file.len() == 0))
    };
    naming::IGNORE_FILES.into_iter().any(is_there)
}

/// Whether those of the folders that are called like seasons are some. Among more folders of films they are films.
fn are_seasons(subfolders: &[Subfolder]) -> bool {
    let of_role = |role: Role| subfolders.iter().filter(move |subfolder| subfolder.role == role);
    let seasons = of_role(Role::Season).count();
    let films = of_role(Role::Other).filter(|subfolder| has_films(&subfolder.path, 1));
    seasons > 0 && films.take(seasons + 1).count() <= seasons
}

/// Whether folders that are called `Shorts` or `Extras` are shelves and films: where nothing tells of a film or series
/// that they might come with. So does Jellyfin see it in the library itself.
fn are_shelves(folder: &Folder, subfolders: &[Subfolder]) -> bool {
    let is_of_one = folder.has_disc || folder.has_season || folder.has_show_nfo;
    let is_shelf = match (folder.is_named_after_content, folder.videos.is_empty()) {
        (false, true) => true,
        // The library may be one film's folder.
        (false, false) => {
            let films = folder.videos.iter().filter(|video| !series::is_episode(video.stem())).count();
            films > 1 || subfolders.iter().any(|subfolder| subfolder.role == Role::Other)
        }
        (true, true) => {
            let is_titled = naming::title(&folder.name.name.to_string_lossy()).year.is_some();
            let is_alone = subfolders.iter().all(|subfolder| subfolder.role != Role::Other);
            !is_titled && (folder.images.is_empty() || !is_alone)
        }
        (true, false) => false,
    };
    folder.context == FolderContext::Collection && !is_of_one && is_shelf
}

/// The keys of the names in a folder that are not hidden; none if it cannot be read, which its visit reports.
fn keys_in(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut keys: Vec<_> = entries.map(|entry| naming::key(&entry.file_name())).collect();
    keys.retain(|key| !naming::is_hidden(key));
    keys.sort();
    keys
}

/// The names, without extension, of the videos among `keys` that are no trailers and the like.
fn videos_among(keys: &[String]) -> Vec<&str> {
    let videos = keys.iter().filter(|key| naming::is_video(key)).map(|key| naming::split(key).0);
    videos.filter(|stem| !naming::is_extra(stem)).collect()
}

/// Whether a folder that is called `CD1` or the like holds one of a film's parts: a disc, or one video. A hard disk
/// with the number 1 in the library itself may hold one film, too.
fn is_part_of_film(path: &Path, key: &str, is_in_root: bool) -> bool {
    let keys = keys_in(path);
    let is_no_disk = !is_in_root || key.starts_with("cd") || key.starts_with("dvd");
    let videos = videos_among(&keys);
    keys.iter().any(|key| naming::is_disc(key))
        || (is_no_disk && videos.len() == 1 && !videos.iter().any(|stem| series::is_episode(stem)))
}

/// Whether a folder holds episodes of the series that the folder above it, `parent`, is called after.
fn has_episodes(path: &Path, parent: &str) -> bool {
    let keys = keys_in(path);
    let shows = series::episodes(&videos_among(&keys), parent);
    shows.iter().flatten().any(|show| show.is_empty() || series::is_related(show, parent))
}

/// Whether a folder, or one in it at most `depth` levels below, holds films or episodes.
fn has_films(path: &Path, depth: usize) -> bool {
    let keys = keys_in(path);
    if !videos_among(&keys).is_empty() || keys.iter().any(|key| naming::is_disc(key)) {
        return true;
    }
    let is_visited = |key: &str| !naming::is_system_folder(key) && !naming::is_extras_folder(key);
    let folders = fs::read_dir(path).into_iter().flatten().flatten().filter(|entry| {
        let key = naming::key(&entry.file_name());
        !naming::is_hidden(&key) && is_visited(&key) && entry.file_type().is_ok_and(|kind| kind.is_dir())
    });
    depth > 0 && folders.into_iter().any(|entry| has_films(&entry.path(), depth - 1))
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
