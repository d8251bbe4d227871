//! Destinations that are no regular files: devices, pipes, sockets and this process's own descriptors.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// The number of the descriptor that is standard output.
pub const STANDARD_OUTPUT: u32 = 1;

/// The path that stands for standard output.
const DASH: &str = "-";

/// The most symbolic links that are followed one after another, as in Linux.
const MAX_LINKS: usize = 40;

/// Time between two attempts to open a pipe that nobody reads.
const READER_INTERVAL: Duration = Duration::from_millis(100);

/// Time between two attempts to write into a stream that another program has made non-blocking.
const RETRY_INTERVAL: Duration = Duration::from_millis(5);

/// Target of an output path.
#[derive(Debug)]
pub enum Destination {
    /// A regular file, or none yet.
    File(PathBuf),
    /// An open descriptor of this process, such as `/dev/stdout`.
    Descriptor(u32),
    /// A device, a named pipe or a socket.
    Special(PathBuf),
}

impl Destination {
    /// Follows the symbolic links of a path, also those that lead nowhere yet.
    pub fn of(path: &Path) -> io::Result<Self> {
        if path == Path::new(DASH) {
            return Ok(Self::Descriptor(STANDARD_OUTPUT));
        }
        let own = ["/proc/self/fd", "/dev/fd"].iter().find_map(|folder| fs::canonicalize(folder).ok());
        let mut path = path.to_path_buf();
        for _ in 0..MAX_LINKS {
            let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
            let folder = fs::canonicalize(folder(&path))?;
            path = folder.join(&name);
            let number = name.to_str().and_then(|name| name.parse().ok());
            if let Some(number) = number.filter(|_| own.as_deref() == Some(&*folder)) {
                return Ok(Self::Descriptor(number));
            }
            let Ok(next) = fs::read_link(&path) else { break };
            let next = folder.join(next);
            // The links to another process's descriptors in /proc have texts that are no paths, such as `pipe:[4711]`.
            if path.exists() && fs::symlink_metadata(&next).is_err() {
                break;
            }
            path = next;
        }
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(metadata) if metadata.is_file() => Ok(Self::File(path)),
            Ok(_) => Ok(Self::Special(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::File(path)),
            Err(error) => Err(error),
        }
    }

    /// Opens a destination for writing into it. While nobody reads a named pipe, `waits` is called again and again.
    pub fn open(&self, waits: impl FnMut() -> bool) -> io::Result<Stream> {
        let file = match self {
            Self::Descriptor(number) => duplicate(*number)?,
            Self::File(path) | Self::Special(path) => open(path, waits)?,
        };
        Ok(Stream { file, is_closed: false })
    }
}

/// The folder of a path.
pub fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A device, pipe or socket that is written into.
#[derive(Debug)]
pub struct Stream {
    file: File,
    /// Whether its reader has gone.
    is_closed: bool,
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use io::ErrorKind::{BrokenPipe, ConnectionReset, WouldBlock};
        while !self.is_closed {
            match self.file.write(bytes) {
                Err(error) if matches!(error.kind(), BrokenPipe | ConnectionReset) => self.is_closed = true,
                Err(error) if error.kind() == WouldBlock => thread::sleep(RETRY_INTERVAL),
                result => return result,
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Another handle of an open descriptor: it goes on where the descriptor stands, and appends if that does.
#[cfg(unix)]
#[expect(unsafe_code, reason = "there is no safe way from a descriptor's number to a file")]
pub fn duplicate(number: u32) -> io::Result<File> {
    use std::os::fd::BorrowedFd;
    let number = i32::try_from(number).map_err(io::Error::other)?;
    // SAFETY: the number is not -1, and the descriptor is only duplicated, which fails if it is not open.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(descriptor.try_clone_to_owned()?.into())
}

#[cfg(windows)]
pub fn duplicate(_: u32) -> io::Result<File> {
    use std::os::windows::io::AsHandle;
    Ok(io::stdout().as_handle().try_clone_to_owned()?.into())
}

/// Opens a device or a named pipe. A pipe is opened without blocking, so that `waits` can end the wait for its reader.
#[cfg(unix)]
fn open(path: &Path, mut waits: impl FnMut() -> bool) -> io::Result<File> {
    use std::os::unix::fs::FileTypeExt;

    use rustix::fs::{Mode, OFlags};
    use rustix::io::Errno;

    let kind = fs::metadata(path)?.file_type();
    if kind.is_block_device() {
        return Err(io::Error::other("it is a disk"));
    }
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    if !kind.is_fifo() {
        return Ok(rustix::fs::open(path, flags, Mode::empty())?.into());
    }
    loop {
        match rustix::fs::open(path, flags | OFlags::NONBLOCK, Mode::empty()) {
            Ok(pipe) => {
                rustix::fs::fcntl_setfl(&pipe, OFlags::empty())?;
                return Ok(pipe.into());
            }
            Err(Errno::NXIO) if waits() => thread::sleep(READER_INTERVAL),
            Err(Errno::NXIO) => return Err(io::Error::new(io::ErrorKind::Interrupted, "nobody reads this pipe")),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(not(unix))]
fn open(path: &Path, _: impl FnMut() -> bool) -> io::Result<File> {
    File::options().write(true).open(path)
}
