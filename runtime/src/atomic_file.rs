//! Output files. A regular file is replaced atomically: a temporary file, `fsync` and a rename, with the owner, group,
//! mode and attributes of the old file; unchanged content is not rewritten. Devices, pipes and sockets are written into.

mod attributes;
mod stream;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use self::stream::{Destination, Stream, folder};

/// Prefix of the names of temporary files; hidden, so that no program takes one for the finished file.
const TEMP_PREFIX: &str = ".unfinished-";

/// Suffix of the names of temporary files.
const TEMP_SUFFIX: &str = ".part";

/// An output file that is being written.
///
/// Where the path leads to a regular file or to none, it is a temporary file that will replace the target. It lies in the
/// target's folder under a unique name, and is locked, so that [`remove_stale_temp_files`] can tell it from the file of a
/// process that was killed. Dropping it without [`finish`](Self::finish) removes it and leaves the target unchanged.
///
/// Where the path leads to a device, a pipe or a socket, it is written into. So are `-`, which is standard output, and
/// the descriptors of this process, such as `/dev/stdout`, whatever is behind them. A reader that closes a pipe or
/// socket is no error: what follows is dropped.
#[derive(Debug)]
pub struct AtomicFile(Sink);

#[derive(Debug)]
enum Sink {
    Replacement { target: PathBuf, file: BufWriter<NamedTempFile> },
    Stream(BufWriter<Stream>),
}

impl AtomicFile {
    /// Creates a temporary file beside the target, or opens the device, pipe or socket. If `path` is a symbolic link, the
    /// target is the file that it leads to. A named pipe is opened when somebody reads it, so that this may block.
    ///
    /// # Errors
    /// If the folder does not exist or cannot be written, the target may not be written, or `path` is a folder or a disk.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::create_while(path, || true)
    }

    /// As [`create`](Self::create). While nobody reads a named pipe, `waits` is called about ten times a second.
    ///
    /// # Errors
    /// As [`create`](Self::create), and of the kind [`Interrupted`](io::ErrorKind::Interrupted) if `waits` returns false.
    pub fn create_while(path: &Path, waits: impl FnMut() -> bool) -> io::Result<Self> {
        let target = match Destination::of(path)? {
            Destination::File(target) => target,
            special => return Ok(Self(Sink::Stream(BufWriter::new(special.open(waits)?)))),
        };
        let is_new = !target.exists();
        if !is_new {
            attributes::check_writable(&target)?;
        }
        let mut builder = tempfile::Builder::new();
        let file = builder.prefix(TEMP_PREFIX).suffix(TEMP_SUFFIX).make_in(folder(&target), |path| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create_new(true);
            if !is_new {
                attributes::make_private(&mut options);
            }
            let file = options.open(path)?;
            // On a file system without locks, stale files are never removed.
            let _ = file.try_lock();
            Ok(file)
        })?;
        Ok(Self(Sink::Replacement { target, file: BufWriter::new(file) }))
    }

    /// Renames the temporary file to the target, with the target's owner, group, mode and extended attributes, and returns
    /// whether the content has changed. A target of the same content is not touched.
    ///
    /// Where this user cannot give these to another file, or where the target is a mount point, the target is overwritten
    /// in place, after the content is complete on the disk. A stream is flushed, and always counts as changed.
    ///
    /// # Errors
    /// If the file cannot be written, flushed to the disk or renamed; then the target is unchanged. If overwriting stops
    /// half-way, the error names a file with the whole content.
    pub fn finish(self) -> io::Result<bool> {
        let (target, file) = match self.0 {
            Sink::Replacement { target, file } => (target, file.into_inner()?),
            Sink::Stream(mut stream) => return stream.flush().map(|()| true),
        };
        if has_same_content(file.as_file(), &target)? {
            return Ok(false);
        }
        let attributes = match fs::metadata(&target) {
            Ok(old) => attributes::copy(&target, &old, file.as_file()),
            Err(_) => Ok(()),
        };
        file.as_file().sync_all()?;
        if attributes.is_err() {
            overwrite(file, &target)?;
            return Ok(true);
        }
        match file.persist(&target) {
            // A mount point, or another user's file in a folder like `/tmp`.
            Err(error)
                if matches!(error.error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::PermissionDenied) =>
            {
                overwrite(error.file, &target)?;
            }
            result => drop(result?),
        }
        Ok(true)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            Sink::Replacement { file, .. } => file.write(bytes),
            Sink::Stream(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Sink::Replacement { file, .. } => file.flush(),
            Sink::Stream(stream) => stream.flush(),
        }
    }
}

/// Writes a file atomically, and returns whether the content has changed.
///
/// # Errors
/// See [`AtomicFile::create`] and [`AtomicFile::finish`].
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<bool> {
    if path.is_file() && fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(false);
    }
    let mut file = AtomicFile::create(path)?;
    file.write_all(bytes)?;
    file.finish()
}

/// Checks that a file can be created or replaced, and removes the temporary files that killed processes have left in its
/// folder. A pipe is not opened, since its reader would see it end.
///
/// # Errors
/// As [`AtomicFile::create`].
pub fn check(path: &Path) -> io::Result<()> {
    match Destination::of(path)? {
        Destination::File(target) => {
            AtomicFile::create(&target)?;
            remove_stale_temp_files(&target);
            Ok(())
        }
        Destination::Special(path) => attributes::check_writable(&path),
        Destination::Descriptor(number) => stream::duplicate(number).map(drop),
    }
}

/// Whether a path leads to a device, a pipe, a socket or a descriptor of this process, as `-` does.
pub fn is_stream(path: &Path) -> bool {
    !matches!(Destination::of(path), Ok(Destination::File(_)) | Err(_))
}

/// Whether a path leads to standard output, as `-` and `/dev/stdout` do.
pub fn is_standard_output(path: &Path) -> bool {
    matches!(Destination::of(path), Ok(Destination::Descriptor(stream::STANDARD_OUTPUT)))
}

/// Removes the temporary files that killed processes have left in the folder of `path`.
pub fn remove_stale_temp_files(path: &Path) {
    for entry in fs::read_dir(folder(path)).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_temporary =
            name.to_str().is_some_and(|name| name.starts_with(TEMP_PREFIX) && name.ends_with(TEMP_SUFFIX))
                && entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_temporary && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            // A file that cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
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

/// Copies the content of a temporary file over the target, which keeps everything but its content. Space is reserved
/// first, so that a full disk or a quota leaves the target unchanged.
fn overwrite(file: NamedTempFile, target: &Path) -> io::Result<()> {
    let mut old = OpenOptions::new().write(true).open(target)?;
    let len = file.as_file().metadata()?.len();
    attributes::reserve(&old, len)?;
    let mut new = file.as_file();
    let copied = new
        .rewind()
        .and_then(|()| io::copy(&mut new, &mut old))
        .and_then(|_| old.set_len(len))
        .and_then(|()| old.sync_all());
    copied.map_err(|cause| {
        let mut whole = target.as_os_str().to_owned();
        whole.push(".new");
        match file.persist(&whole) {
            Ok(_) => io::Error::new(cause.kind(), format!("{cause}; the whole content is in {}", whole.display())),
            Err(_) => cause,
        }
    })
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
        let [plain, path, link, dangling] =
            ["plain.txt", "a.txt", "link.txt", "dangling.txt"].map(|name| folder.path().join(name));
        fs::write(&plain, "").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
        write(&path, b"one").unwrap();
        assert_eq!(mode(&path), mode(&plain), "a new file is not like others");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        symlink("a.txt", &link).unwrap();
        assert!(write(&link, b"two").unwrap());
        assert_eq!(mode(&path) & 0o777, 0o604);
        assert_eq!(fs::read(&path).unwrap(), b"two");
        symlink("new.txt", &dangling).unwrap();
        assert!(write(&dangling, b"three").unwrap());
        assert_eq!(fs::read(folder.path().join("new.txt")).unwrap(), b"three");
        assert!([link, dangling].iter().all(|link| fs::symlink_metadata(link).unwrap().is_symlink()));
    }

    #[cfg(unix)]
    #[test]
    fn a_private_file_is_private_while_it_is_written() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let _file = AtomicFile::create(&path).unwrap();
        for entry in fs::read_dir(folder.path()).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_keeps_its_extended_attributes_and_acl_and_gets_no_others() {
        use rustix::fs::{XattrFlags, getxattr, setxattr};
        /// `system.posix_acl_access` as in `linux/posix_acl_xattr.h`: version, then tag, permissions and id of each entry.
        fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
            let entry = |&(tag, permissions, id): &(u16, u16, u32)| {
                [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
            };
            [2_u32.to_le_bytes().to_vec(), entries.iter().flat_map(entry).collect()].concat()
        }
        const NOBODY: u32 = u32::MAX;
        let acl = acl(&[(1, 6, NOBODY), (2, 4, 4711), (4, 4, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY)]);
        let folder = tempfile::tempdir().unwrap();
        let [plain, path] = ["plain.txt", "a.txt"].map(|name| folder.path().join(name));
        for path in [&plain, &path] {
            fs::write(path, "old").unwrap();
        }
        let set = |path: &Path, name: &str, value: &[u8]| setxattr(path, name, value, XattrFlags::empty());
        let get = |path: &Path, name: &str| {
            let mut value = [0_u8; 100];
            getxattr(path, name, &mut value[..]).ok().map(|len| value[..len].to_vec())
        };
        let (own, access, default) = ("user.origin", "system.posix_acl_access", "system.posix_acl_default");
        if set(&path, own, b"here").is_err() || set(&path, access, &acl).is_err() {
            return eprintln!("skipped: this file system has no extended attributes or no ACLs");
        }
        set(folder.path(), default, &acl).unwrap();
        for path in [&plain, &path] {
            assert!(write(path, b"new").unwrap());
        }
        assert_eq!((get(&path, own), get(&path, access)), (Some(b"here".to_vec()), Some(acl)));
        assert_eq!((get(&plain, own), get(&plain, access)), (None, None), "the folder's default ACL is for new files");
    }

    #[cfg(unix)]
    #[test]
    fn root_gives_a_file_back_to_its_owner() {
        use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        fs::write(&path, "old").unwrap();
        if chown(&path, Some(4711), Some(4712)).is_err() {
            return eprintln!("skipped: only root can give files away");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o2750)).unwrap();
        assert!(write(&path, b"new").unwrap());
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!((metadata.uid(), metadata.gid(), metadata.mode() & 0o7777), (4711, 4712, 0o2750));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_is_overwritten_stays_the_same_file() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        for (old, new) in [("a long one", "short"), ("short", "a longer one"), ("something", "")] {
            fs::write(&path, old).unwrap();
            let inode = fs::metadata(&path).unwrap().ino();
            let mut file = tempfile::NamedTempFile::new_in(folder.path()).unwrap();
            file.write_all(new.as_bytes()).unwrap();
            overwrite(file, &path).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), new);
            assert_eq!((fs::metadata(&path).unwrap().ino(), names(folder.path()).len()), (inode, 1));
        }
    }
}
