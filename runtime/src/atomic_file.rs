//! Atomic file writes: a temporary file, `fsync` and a rename. Unchanged content is not rewritten.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Prefix of the names of temporary files; hidden, so that no program takes one for the finished file.
const TEMP_PREFIX: &str = ".unfinished-";

/// Suffix of the names of temporary files.
const TEMP_SUFFIX: &str = ".part";

/// A temporary file that will replace a target file. It lies in the target's folder under a unique name, and is locked,
/// so that [`remove_stale_temp_files`] can tell it from the file of a process that was killed. Dropping it without
/// [`finish`](Self::finish) removes it and leaves the target unchanged.
#[derive(Debug)]
pub struct AtomicFile {
    target: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Creates a temporary file beside the target. If `path` is a symbolic link, the target is the file that it leads
    /// to.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be written, or `path` is a folder.
    pub fn create(path: &Path) -> io::Result<Self> {
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
        if target.file_name().is_none() || target.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let mut builder = tempfile::Builder::new();
        let file = builder.prefix(TEMP_PREFIX).suffix(TEMP_SUFFIX).make_in(folder(&target), |path| {
            let file = File::create_new(path)?;
            // On a file system without locks, stale files are never removed.
            let _ = file.try_lock();
            Ok(file)
        })?;
        Ok(Self { target, file: BufWriter::new(file) })
    }

    /// Renames the temporary file to the target, with the target's permissions, and returns whether the content has
    /// changed. A target of the same content is not touched.
    ///
    /// # Errors
    /// If the file cannot be written, flushed to the disk or renamed; then the target is unchanged.
    pub fn finish(self) -> io::Result<bool> {
        let file = self.file.into_inner()?;
        if has_same_content(file.as_file(), &self.target)? {
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

/// Writes a file atomically, and returns whether the content has changed.
///
/// # Errors
/// See [`AtomicFile::create`] and [`AtomicFile::finish`].
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.finish()
}

/// Removes the temporary files that killed processes have left in the folder of `path`.
pub fn remove_stale_temp_files(path: &Path) {
    for entry in fs::read_dir(folder(path)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_temporary =
            name.to_str().is_some_and(|name| name.starts_with(TEMP_PREFIX) && name.ends_with(TEMP_SUFFIX));
        if is_temporary && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            // A file that cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn has_same_content(mut new: &File, old: &Path) -> io::Result<bool> {
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
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;
    use proptest::test_runner::{Config, RngSeed};

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn unchanged_content_is_not_rewritten() {
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
    fn concurrent_writers_do_not_tear_a_file() {
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
    fn only_temporary_files_without_a_writer_are_stale() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        for name in [".unfinished-dead.part", ".unfinished-", "another.part", ".another.part"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let mut alive = AtomicFile::create(&path).unwrap();
        remove_stale_temp_files(&path);
        alive.write_all(b"whole").unwrap();
        assert!(alive.finish().unwrap());
        let mut left = names(folder.path());
        left.sort();
        assert_eq!(left, [".another.part", ".unfinished-", "a.txt", "another.part"]);
    }

    proptest! {
        #![proptest_config(Config {
            cases: 64,
            rng_seed: RngSeed::Fixed(7),
            failure_persistence: None,
            ..Config::default()
        })]

        /// Contents on both sides of the buffer's size, old and new equal but for at most one byte.
        #[test]
        fn the_content_is_what_was_written_and_is_rewritten_only_if_it_differs(
            old in vec(any::<u8>(), 0..200_000),
            change in proptest::option::of((any::<Index>(), any::<u8>())),
            chunk in 1..100_000_usize,
        ) {
            let mut new = old.clone();
            if let Some((index, byte)) = change {
                match new.len() {
                    0 => new.push(byte),
                    len => new[index.index(len)] = byte,
                }
            }
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.bin");
            prop_assert!(write(&path, &old).unwrap());
            let modified = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
            let before = modified(&path);

            let mut file = AtomicFile::create(&path).unwrap();
            for bytes in new.chunks(chunk) {
                file.write_all(bytes).unwrap();
            }
            prop_assert_eq!(file.finish().unwrap(), new != old);
            prop_assert!(fs::read(&path).unwrap() == new);
            prop_assert!(new != old || modified(&path) == before, "unchanged content was rewritten");
            prop_assert!(!write(&path, &new).unwrap());
            prop_assert_eq!(names(folder.path()), ["a.bin"]);
        }
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
