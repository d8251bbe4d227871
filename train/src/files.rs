//! Atomic writes and memory-mapped cache files, with errors that name the file and the remedy.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use memmap2::Mmap;
use runtime::atomic_file::AtomicFile;

/// Writes a file atomically: `path` holds either its old content or everything that `fill` wrote.
///
/// # Errors
/// If `fill` fails or the file cannot be written; then no temporary file is left behind.
pub fn write_atomically(path: &Path, fill: impl FnOnce(&mut AtomicFile) -> Result<()>) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    fill(&mut file)?;
    file.finish()?;
    Ok(())
}

/// Writes a cache file by [`write_atomically`], after creating its directory.
///
/// # Errors
/// If the directory cannot be created, `fill` fails, or the file cannot be written.
pub fn write_cache(path: &Path, fill: impl FnOnce(&mut AtomicFile) -> Result<()>) -> Result<()> {
    path.parent()
        .map_or(Ok(()), fs::create_dir_all)
        .map_err(anyhow::Error::from)
        .and_then(|()| write_atomically(path, fill))
        .with_context(|| format!("{}: cannot be written; name another directory with --cache", path.display()))
}

/// Maps a cache file of `len` bytes into memory, read-only.
///
/// # Errors
/// If the file cannot be opened or mapped, or has another length, as after a copy that was cut short.
pub fn map_cache(path: &Path, len: usize) -> Result<Mmap> {
    let file = File::open(path).with_context(|| format!("{}: cannot be opened", path.display()))?;
    // SAFETY: the file was written atomically and is opened read-only; this program never changes a cache file in
    // place. That no other process changes or truncates it while it is mapped cannot be enforced: users must leave
    // the cache alone while a command runs. (Deleting the file is harmless: the mapping keeps its pages.)
    let map = unsafe { Mmap::map(&file) }.with_context(|| format!("{}: cannot be mapped", path.display()))?;
    check_cache_len(path, map.len(), len)?;
    Ok(map)
}

/// Checks the length of a cache file, in bytes.
///
/// # Errors
/// If the file is shorter or longer than `expected`.
pub fn check_cache_len(path: &Path, found: usize, expected: usize) -> Result<()> {
    ensure!(
        found == expected,
        "{}: is damaged: it has {found} bytes instead of {expected}; delete it, and it is made again",
        path.display()
    );
    Ok(())
}

/// The regular files in a directory, sorted by path; none if the directory cannot be read.
pub(crate) fn list(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_cache_file_is_mapped_only_at_its_full_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/cache.bin");
        write_cache(&path, |file| Ok(file.write_all(&[7; 10])?)).unwrap();
        assert_eq!(map_cache(&path, 10).unwrap()[..], [7; 10]);
        for expected in [9, 11] {
            let error = map_cache(&path, expected).unwrap_err().to_string();
            let end = format!(
                "cache.bin: is damaged: it has 10 bytes instead of {expected}; delete it, and it is made again"
            );
            assert!(error.ends_with(&end), "{error}");
        }
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "old").unwrap();
        let result = write_atomically(&path, |file| {
            file.write_all(b"half of the new")?;
            anyhow::bail!("out of words")
        });
        assert_eq!(result.unwrap_err().to_string(), "out of words");
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(list(folder.path()), [path]);
    }
}
