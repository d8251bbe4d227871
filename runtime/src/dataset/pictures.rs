//! The picture that a row names, as people name it: without its extension or with another one, in another case, with
//! back-slashes, by a path on another machine, with accents as a Mac composes them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use unicode_normalization::UnicodeNormalization;

/// Extensions of pictures, in lower case; the first one is added to ids.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// The pictures of a label file.
#[derive(Debug)]
pub struct Pictures {
    /// Folders that names start from, the usual one first.
    folders: [PathBuf; 2],
    /// Contents of each folder that was looked at.
    listings: HashMap<PathBuf, Listing>,
}

/// The entries of a folder.
#[derive(Debug, Default)]
struct Listing {
    /// Every entry, by the [`key`] of its name.
    entries: HashMap<String, PathBuf>,
    /// Every picture, by the [`key`] of its name without the extension; of several the first kind of [`EXTENSIONS`].
    pictures: HashMap<String, PathBuf>,
}

impl Pictures {
    /// The pictures in `images`, of which paths may also be written from `folder`, the label file's own.
    pub fn new(images: &Path, folder: &Path) -> Self {
        let mut pictures = Self { folders: [images.into(), folder.into()], listings: HashMap::new() };
        // The folder may be written in another case, too.
        if let (false, Some(parent), Some(name)) = (images.is_dir(), images.parent(), images.file_name())
            && let Some(found) = pictures.listing(parent).entries.get(&key(&name.to_string_lossy()))
        {
            pictures.folders[0] = found.clone();
        }
        pictures
    }

    /// The picture with this id: `<id>.jpg` if no file is found.
    pub fn by_id(&mut self, id: &str) -> PathBuf {
        let has_extension = is_picture(id);
        let usual = if has_extension { id.to_string() } else { format!("{id}.{}", EXTENSIONS[0]) };
        let stem = if has_extension { stem(id) } else { id };
        // Ids that passed through floats end in ".0", IMDb's are written with and without their letters.
        let stem = stem.strip_suffix(".0").unwrap_or(stem);
        let number = stem.strip_prefix("tt").unwrap_or(stem).parse::<u64>().ok();
        let others =
            number.into_iter().flat_map(|it| [format!("tt{it:07}.jpg"), format!("{it}.jpg"), format!("{it:07}.jpg")]);
        let names: Vec<String> = [usual, format!("{stem}.jpg")].into_iter().chain(others).collect();
        self.find(&names)
    }

    /// The picture with this path, from one of the folders or absolute: as written if no file is found.
    pub fn by_path(&mut self, path: &str) -> PathBuf {
        self.find(&[path.into()])
    }

    /// The first of the names that is a file, or the first name.
    fn find(&mut self, names: &[String]) -> PathBuf {
        let usual = self.folders[0].join(names[0].replace('\\', "/"));
        let written = self.folders[0].join(&names[0]);
        if usual.is_file() || written.is_file() {
            return if usual.is_file() { usual } else { written };
        }
        for name in names {
            let parts: Vec<&str> = name.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".").collect();
            for start in self.starts(name, &parts) {
                for folder in self.folders.clone() {
                    if let Some(found) = self.descend(folder, &parts[start..]) {
                        return found;
                    }
                }
            }
        }
        usual
    }

    /// The numbers of leading parts that may be left out: any of an absolute path, which may be one of another machine,
    /// and of a relative one the name of the folder that holds the pictures.
    fn starts(&self, name: &str, parts: &[&str]) -> Vec<usize> {
        let drive = parts.first().is_some_and(|part| part.ends_with(':'));
        if drive || name.starts_with(['/', '\\']) {
            return (0..parts.len()).collect();
        }
        let named =
            |folder: &PathBuf| folder.file_name().is_some_and(|own| key(&own.to_string_lossy()) == key(parts[0]));
        if parts.len() > 1 && self.folders.iter().any(named) { vec![0, 1] } else { vec![0] }
    }

    /// The picture below a folder at a path whose case and extension may differ.
    fn descend(&mut self, mut folder: PathBuf, parts: &[&str]) -> Option<PathBuf> {
        let (file, folders) = parts.split_last()?;
        for part in folders {
            let next = folder.join(part);
            folder = if next.is_dir() { next } else { self.listing(&folder).entries.get(&key(part))?.clone() };
        }
        let (listing, name) = (self.listing(&folder), key(file));
        let other_kind = || listing.pictures.get(if is_picture(&name) { stem(&name) } else { name.as_str() });
        listing.entries.get(&name).filter(|path| path.is_file()).or_else(other_kind).cloned()
    }

    fn listing(&mut self, folder: &Path) -> &Listing {
        self.listings.entry(folder.into()).or_insert_with(|| Listing::of(folder))
    }
}

impl Listing {
    fn of(folder: &Path) -> Self {
        // An empty path is the current folder, which cannot be read by that name.
        let readable = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let entries = std::fs::read_dir(readable).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        let mut listing = Self::default();
        for extension in EXTENSIONS {
            let own = names
                .iter()
                .filter(|name| Path::new(name).extension().is_some_and(|found| found.eq_ignore_ascii_case(extension)));
            for name in own {
                listing.pictures.entry(key(stem(name))).or_insert_with(|| folder.join(name));
            }
        }
        listing.entries = names.into_iter().map(|name| (key(&name), folder.join(name))).collect();
        listing
    }
}

/// A name as it is compared: composed (NFC) and in lower case.
fn key(name: &str) -> String {
    name.nfc().collect::<String>().to_lowercase()
}

/// Whether a name has the extension of a picture.
fn is_picture(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, own)| EXTENSIONS.iter().any(|known| own.eq_ignore_ascii_case(known)))
}

/// A name without its extension.
fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pictures_are_found_however_they_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let files = [
            "Images/tt1.jpg",
            "Images/tt2.JPG",
            "Images/tt3.png",
            "Images/tt0114709.jpg",
            "Images/862.webp",
            "Images/Dr. No.jpeg",
            "Images/A/x.jpg",
            "Images/B/x.jpg",
            "Images/Am\u{e9}lie.jpg",
            "Images/E\u{301}lan/E\u{301}te\u{301}.png",
            "sub/p 1.jpg",
            "p1.jpg",
        ];
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let absolute = folder.path().join("sub/p 1.jpg").display().to_string();
        let by_id = [
            ("tt1", "Images/tt1.jpg"),
            ("TT1", "Images/tt1.jpg"),
            ("tt1.jpg", "Images/tt1.jpg"),
            ("tt1.JPEG", "Images/tt1.jpg"),
            ("tt2", "Images/tt2.JPG"),
            ("tt3", "Images/tt3.png"),
            ("114709", "Images/tt0114709.jpg"),
            ("114709.0", "Images/tt0114709.jpg"),
            ("tt0000862", "Images/862.webp"),
            ("862.0", "Images/862.webp"),
            ("Dr. No", "Images/Dr. No.jpeg"),
            ("Images/tt1.jpg", "Images/tt1.jpg"),
            ("images\\tt1", "Images/tt1.jpg"),
            ("A/x", "Images/A/x.jpg"),
            // Composed (NFC) and decomposed (NFD), as a Mac writes names.
            ("Am\u{e9}lie", "Images/Am\u{e9}lie.jpg"),
            ("Ame\u{301}lie", "Images/Am\u{e9}lie.jpg"),
            ("AME\u{301}LIE.jpeg", "Images/Am\u{e9}lie.jpg"),
            ("\u{e9}lan/\u{c9}t\u{e9}", "Images/E\u{301}lan/E\u{301}te\u{301}.png"),
            ("E\u{301}lan\\e\u{301}te\u{301}.png", "Images/E\u{301}lan/E\u{301}te\u{301}.png"),
            ("tt9", "Images/tt9.jpg"),
            ("C/x", "Images/C/x.jpg"),
        ];
        let by_path = [
            ("sub/p 1.jpg", "sub/p 1.jpg"),
            ("sub\\p 1.jpg", "sub/p 1.jpg"),
            (".\\SUB\\P 1.JPG", "sub/p 1.jpg"),
            ("./p1.png", "p1.jpg"),
            ("p1", "p1.jpg"),
            (absolute.as_str(), "sub/p 1.jpg"),
            ("/elsewhere/data/sub/p 1.jpg", "sub/p 1.jpg"),
            ("C:\\Users\\me\\p1.jpg", "p1.jpg"),
            ("/elsewhere/Images/B/x.jpg", "Images/B/x.jpg"),
            ("other/p1.jpg", "other/p1.jpg"),
        ];
        let mut pictures = Pictures::new(&folder.path().join("Images"), folder.path());
        for (id, expected) in by_id {
            assert_eq!(pictures.by_id(id), folder.path().join(expected), "{id}");
        }
        let mut pictures = Pictures::new(folder.path(), folder.path());
        for (path, expected) in by_path {
            assert_eq!(pictures.by_path(path), folder.path().join(expected), "{path}");
        }
        assert_eq!(
            Pictures::new(&folder.path().join("images"), folder.path()).by_id("tt1"),
            folder.path().join("Images/tt1.jpg")
        );
        let mut pictures = Pictures::new(&folder.path().join("sub"), Path::new("nowhere"));
        assert_eq!(pictures.by_path("Sub/P 1.jpg"), folder.path().join("sub/p 1.jpg"));
    }
}
