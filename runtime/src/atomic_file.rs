//! Files that appear whole or not at all, and only if they say something new.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// How the names of unfinished files begin and end: hidden, so that nothing takes one for what it is going to be.
const UNFINISHED: (&str, &str) = (".unfinished-", ".part");

/// A file that is being written beside its place, under a name that no other run uses. It is locked, so that [`sweep`] can
/// tell it from what a run has left that was killed.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Begins a file. If the path is a symbolic link, the file that it leads to is meant.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be written, or the path is a folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if target.file_name().is_none() || target.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (prefix, suffix) = UNFINISHED;
        let file = tempfile::Builder::new().prefix(prefix).suffix(suffix).make_in(folder(&target), |path| {
            let file = File::create_new(path)?;
            // Where a file system knows no locks, nothing is swept.
            let _ = file.try_lock();
            Ok(file)
        })?;
        Ok(Self { target, file: BufWriter::new(file) })
    }

    /// Puts the file in its place, with the permissions of the one that was there. Returns whether anything changed: a
    /// file that says the same already is left as it is.
    ///
    /// # Errors
    /// If the file cannot be written whole; then the one that was there stays.
    pub fn finish(self) -> io::Result<bool> {
        let file = self.file.into_inner()?;
        if is_same(file.as_file(), &self.target)? {
            return Ok(false);
        }
        if let Ok(metadata) = fs::metadata(&self.target) {
            file.as_file().set_permissions(metadata.permissions())?;
        }
        file.as_file().sync_all()?;
        file.persist(&self.target)?;
        Ok(true)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes a whole file; see [`AtomicFile::finish`].
///
/// # Errors
/// See [`AtomicFile`].
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.finish()
}

/// Removes what runs that were killed have left beside a file.
pub fn sweep(path: &Path) {
    let (prefix, suffix) = UNFINISHED;
    for entry in fs::read_dir(folder(path)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_unfinished = name.to_str().is_some_and(|name| name.starts_with(prefix) && name.ends_with(suffix));
        if is_unfinished && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            // What cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn is_same(mut new: &File, old: &Path) -> io::Result<bool> {
    let Ok(mut old) = File::open(old) else { return Ok(false) };
    if new.metadata()?.len() != old.metadata()?.len() {
        return Ok(false);
    }
    new.rewind()?;
    let (mut left, mut right) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let len = new.read(&mut left)?;
        if len == 0 {
            return Ok(true);
        }
        old.read_exact(&mut right[..len])?;
        if left[..len] != right[..len] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_changes_only_if_it_says_something_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        for (text, changes) in [("one", true), ("one", false), ("two", true), ("", true), ("", false)] {
            assert_eq!(write(&path, text.as_bytes()).unwrap(), changes, "{text}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"unfinished").unwrap();
        drop(file);
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        assert_eq!(names(folder.path()), ["a.txt"], "a part is left behind");
        assert!(
            AtomicFile::create(folder.path()).is_err() && AtomicFile::create(&folder.path().join("no/a.txt")).is_err()
        );
    }

    #[test]
    fn two_runs_that_wrote_the_same_file_tore_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        let (mut first, mut second) = (AtomicFile::create(&path).unwrap(), AtomicFile::create(&path).unwrap());
        first.write_all(&[b'1'; 20_000]).unwrap();
        second.write_all(b"2").unwrap();
        assert!(first.finish().unwrap());
        assert_eq!(fs::read(&path).unwrap(), [b'1'; 20_000]);
        assert!(second.finish().unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"2");
    }

    #[test]
    fn a_sweep_removes_what_nobody_writes_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        for name in [".unfinished-dead.part", ".unfinished-", "another.part", ".another.part"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let mut alive = AtomicFile::create(&path).unwrap();
        sweep(&path);
        alive.write_all(b"whole").unwrap();
        assert!(alive.finish().unwrap());
        let mut left = names(folder.path());
        left.sort();
        assert_eq!(left, [".another.part", ".unfinished-", "a.txt", "another.part"]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_keeps_its_permissions_and_a_link_its_target() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let [plain, path, link] = ["plain.txt", "a.txt", "link.txt"].map(|name| folder.path().join(name));
        fs::write(&plain, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        write(&path, b"one").unwrap();
        assert_eq!(mode(&path), mode(&plain), "a new file is not like others");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        symlink("a.txt", &link).unwrap();
        assert!(write(&link, b"two").unwrap());
        assert_eq!(mode(&path) & 0o777, 0o604);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
}
