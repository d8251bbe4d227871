//! File attributes that a rewritten file keeps: owner, group, mode and extended attributes, among which are POSIX ACLs.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

#[cfg(unix)]
pub use self::unix::{check_writable, copy, make_private};

/// Reserves space for a file of `len` bytes, where the file system can do that.
#[cfg(target_os = "linux")]
pub fn reserve(file: &File, len: u64) -> io::Result<()> {
    use rustix::fs::FallocateFlags;
    use rustix::io::Errno;
    match rustix::fs::fallocate(file, FallocateFlags::KEEP_SIZE, 0, len.max(1)) {
        Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::FBIG)) => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(not(target_os = "linux"))]
pub fn reserve(_: &File, _: u64) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};

    use rustix::fs::Access;

    use super::*;

    /// Checks that a file may be written, which a rename onto it would not.
    pub fn check_writable(path: &Path) -> io::Result<()> {
        Ok(rustix::fs::access(path, Access::WRITE_OK)?)
    }

    /// Only the owner may read a temporary file until it has the attributes of the file that it replaces.
    pub fn make_private(options: &mut OpenOptions) {
        options.mode(0o600);
    }

    /// Gives a file the owner, group, mode and extended attributes of an old one.
    ///
    /// # Errors
    /// If any of them cannot be given, as an owner by anyone but root.
    pub fn copy(path: &Path, old: &Metadata, new: &File) -> io::Result<()> {
        let own = new.metadata()?;
        if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
            fchown(new, Some(old.uid()), Some(old.gid()))?;
        }
        #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
        extended::copy(path, new)?;
        #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
        let _ = path;
        // Last, since a change of the owner clears bits, and an ACL has the group's permissions as its mask.
        new.set_permissions(old.permissions())
    }
}

#[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
mod extended {
    use rustix::fs::{XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, getxattr, listxattr};
    use rustix::io::Errno;

    use super::*;

    /// The longest list of names, and the longest value (`XATTR_SIZE_MAX` of Linux), in bytes.
    const MAX_LEN: usize = 1 << 16;

    /// Attributes that hold for the old content only.
    const OF_CONTENT: [&[u8]; 3] = [b"security.capability", b"security.evm", b"security.ima"];

    /// Attributes that the system gives each file by its policy.
    const OF_POLICY: &[u8] = b"security.";

    /// Gives a file the extended attributes of an old one, and removes those that it has from its folder's default ACL.
    pub fn copy(old: &Path, new: &File) -> io::Result<()> {
        let mut buffers = [(); 4].map(|()| vec![0; MAX_LEN]);
        let [list, inherited, value, own] = &mut buffers;
        let kept = names(list, |list| listxattr(old, list))?;
        for name in names(inherited, |list| flistxattr(new, list))? {
            if !kept.contains(&name) && !name.starts_with(OF_POLICY) {
                fremovexattr(new, name)?;
            }
        }
        for name in kept.into_iter().filter(|name| !OF_CONTENT.contains(name)) {
            let len = getxattr(old, name, &mut value[..])?;
            let is_same = fgetxattr(new, name, &mut own[..]).is_ok_and(|own_len| own[..own_len] == value[..len]);
            if !is_same {
                fsetxattr(new, name, &value[..len], XattrFlags::empty())?;
            }
        }
        Ok(())
    }

    /// The names of a file's attributes; none on a file system without them.
    fn names(buffer: &mut [u8], list: impl FnOnce(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Vec<&[u8]>> {
        match list(buffer) {
            Ok(len) => Ok(buffer[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect()),
            Err(Errno::NOTSUP | Errno::NOSYS) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(not(unix))]
mod other {
    use super::*;

    pub fn check_writable(path: &Path) -> io::Result<()> {
        OpenOptions::new().write(true).open(path).map(drop)
    }

    pub fn make_private(_: &mut OpenOptions) {}

    pub fn copy(_: &Path, old: &Metadata, new: &File) -> io::Result<()> {
        new.set_permissions(old.permissions())
    }
}

#[cfg(not(unix))]
pub use self::other::{check_writable, copy, make_private};
