//! The mounts of this system (Linux, `/proc/self/mountinfo`), and on which of them the system tells of every change.
//!
//! Elsewhere no mounts are known, and all of a library counts as local.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// File systems that are written to by this machine's kernel alone, so that it tells of every change: on the others
/// (NFS, SMB, FUSE, 9p, virtiofs, overlay and whatever comes) something else writes, too. `fuseblk` is a local disk.
const LOCAL: [&str; 26] = [
    "apfs", "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "fuseblk", "hfs", "hfsplus", "iso9660",
    "jfs", "msdos", "nilfs2", "ntfs", "ntfs3", "ramfs", "reiserfs", "rootfs", "squashfs", "tmpfs", "udf", "vfat",
    "xfs", "zfs",
];

/// A mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Path of its file.
    pub point: PathBuf,
    /// The type of its file system: `ext4`, `nfs4`, `fuse.sshfs`.
    pub fs_type: String,
}

impl Mount {
    /// Whether the system tells of every change there.
    pub fn is_local(&self) -> bool {
        LOCAL.contains(&self.fs_type.as_str())
    }
}

/// All mounts, later ones behind those that they hide.
#[derive(Clone, Debug, Default)]
pub struct Mounts(Vec<Mount>);

impl Mounts {
    /// Reads the mounts of this process; none where they cannot be read.
    pub fn read() -> Self {
        let mounts = if cfg!(target_os = "linux") { fs::read("/proc/self/mountinfo") } else { Ok(Vec::new()) };
        Self::parse(&mounts.unwrap_or_default())
    }

    /// Reads the format of proc_pid_mountinfo(5): the fifth field is the mount point, the type follows `-`.
    fn parse(mounts: &[u8]) -> Self {
        let mount = |line: &[u8]| {
            let fields: Vec<&[u8]> = line.split(|&byte| byte == b' ').collect();
            let separator = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
            let fs_type = String::from_utf8_lossy(fields.get(separator + 1)?).into_owned();
            Some(Mount { point: path_from(unescape(fields[4])), fs_type })
        };
        Self(mounts.split(|&byte| byte == b'\n').filter_map(mount).collect())
    }

    /// The mount that a path lies on.
    pub fn of(&self, path: &Path) -> Option<&Mount> {
        let around = self.0.iter().filter(|mount| path.starts_with(&mount.point));
        around.max_by_key(|mount| mount.point.components().count())
    }

    /// The mounts at or below a folder.
    pub fn below<'a>(&'a self, folder: &'a Path) -> impl Iterator<Item = &'a Mount> {
        self.0.iter().filter(move |mount| mount.point.starts_with(folder))
    }
}

/// Resolves `\040` and the like.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, behind)) = rest.split_first() {
        let code = behind.get(..3).filter(|_| byte == b'\\').and_then(|code| str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 8).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { &behind[3..] } else { behind };
    }
    bytes
}

#[cfg(unix)]
fn path_from(bytes: Vec<u8>) -> PathBuf {
    <OsString as std::os::unix::ffi::OsStringExt>::from_vec(bytes).into()
}

#[cfg(not(unix))]
fn path_from(bytes: Vec<u8>) -> PathBuf {
    OsString::from(String::from_utf8_lossy(&bytes).into_owned()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_lies_on_the_mount_that_is_nearest_and_last() {
        let mounts = Mounts::parse(
            b"21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
              30 21 0:40 / /films/My\\040Share rw shared:9 master:3 - nfs4 nas:/films rw,vers=4.2\n\
              31 21 0:41 / /films/pool rw - fuse.mergerfs a:b rw\n\
              32 21 8:1 / /films/disk rw - ext4 /dev/sda1 rw\n\
              33 32 0:42 / /films/disk rw - cifs //nas/films rw\n\
              34 21 0:43 /films /films/bind rw - xfs /dev/sdb rw\n\
              broken line\n",
        );
        struct Case {
            path: &'static str,
            point: &'static str,
            fs_type: &'static str,
            is_local: bool,
        }
        let case = |path, point, fs_type, is_local| Case { path, point, fs_type, is_local };
        let cases = [
            case("/films/A (2001)", "/", "ext4", true),
            case("/films/My Share", "/films/My Share", "nfs4", false),
            case("/films/My Share/A (2001)", "/films/My Share", "nfs4", false),
            case("/films/My Share 2", "/", "ext4", true),
            case("/films/pool/x", "/films/pool", "fuse.mergerfs", false),
            case("/films/disk/x", "/films/disk", "cifs", false),
            case("/films/bind/x", "/films/bind", "xfs", true),
        ];
        for Case { path, point, fs_type, is_local } in cases {
            let mount = mounts.of(Path::new(path)).unwrap();
            let expected = Mount { point: point.into(), fs_type: fs_type.into() };
            assert_eq!((mount, mount.is_local()), (&expected, is_local), "{path}");
        }
        assert_eq!(mounts.below(Path::new("/films")).count(), 5);
        assert!(Mounts::parse(b"").of(Path::new("/films")).is_none());
    }
}
