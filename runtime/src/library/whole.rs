//! Files that appear whole or not at all, and only if they say something new.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// A file that is being written under another name: `.NAME.part` beside it, which a later run writes anew if this one is
/// killed.
#[derive(Debug)]
pub struct Whole {
    target: PathBuf,
    part: PathBuf,
    file: BufWriter<File>,
    is_finished: bool,
}

impl Whole {
    /// Begins a file. If the path is a symbolic link, the file that it leads to is meant.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be written, or the path has no file name.
    pub fn create(path: &Path) -> io::Result<Self> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        let name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?;
        if target.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(".part");
        let part = target.with_file_name(hidden);
        let file = BufWriter::new(File::create(&part)?);
        Ok(Self { target, part, file, is_finished: false })
    }

    /// Puts the file in its place, with the permissions of the one that was there. Returns whether anything changed: a
    /// file that says the same already is left as it is.
    ///
    /// # Errors
    /// If the file cannot be written whole; then the one that was there stays.
    pub fn finish(mut self) -> io::Result<bool> {
        self.file.flush()?;
        if is_same(&self.part, &self.target)? {
            return Ok(false);
        }
        if let Ok(metadata) = fs::metadata(&self.target) {
            self.file.get_ref().set_permissions(metadata.permissions())?;
        }
        self.file.get_ref().sync_all()?;
        fs::rename(&self.part, &self.target)?;
        self.is_finished = true;
        Ok(true)
    }
}

impl Write for Whole {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if !self.is_finished {
            // What cannot be removed is overwritten by the next run.
            let _ = fs::remove_file(&self.part);
        }
    }
}

/// Writes a whole file; see [`Whole::finish`].
///
/// # Errors
/// See [`Whole`].
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    let mut file = Whole::create(path)?;
    file.write_all(bytes)?;
    file.finish()
}

fn is_same(a: &Path, b: &Path) -> io::Result<bool> {
    let (Ok(mut b), mut a) = (File::open(b), File::open(a)?) else { return Ok(false) };
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let len = a.read(&mut left)?;
        if len == 0 {
            return Ok(true);
        }
        b.read_exact(&mut right[..len])?;
        if left[..len] != right[..len] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_changes_only_if_it_says_something_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        for (text, changes) in [("one", true), ("one", false), ("two", true), ("", true), ("", false)] {
            assert_eq!(write(&path, text.as_bytes()).unwrap(), changes, "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let mut file = Whole::create(&path).unwrap();
        file.write_all(b"unfinished").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "a part is left behind");
        assert!(Whole::create(folder.path()).is_err() && Whole::create(&folder.path().join("no/a.txt")).is_err());
    }
}
