//! Memory of this machine, and a budget of it that threads share.

use std::path::Path;
use std::sync::{Condvar, Mutex, PoisonError};
use std::{fs, iter};

use crate::error::Error;

/// The least budget of [`Budget::usual`] in bytes: enough for any ordinary poster.
const LEAST: u64 = 64 << 20;

/// Bytes that may be in use at the same time. Threads take their parts in the order in which they ask.
#[derive(Debug)]
pub struct Budget {
    limit: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: u64,
    /// The number of the next who asks, and of the next who gets its part.
    next: u64,
    serving: u64,
}

/// A part of a [`Budget`], which is returned when it is dropped.
#[derive(Debug)]
pub struct Part<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(limit: u64) -> Self {
        let state = Mutex::new(State { free: limit, next: 0, serving: 0 });
        Self { limit, state, changed: Condvar::new() }
    }

    /// Half of the [`available`] memory, but not less than 64 MiB; no limit where nothing is known of it.
    pub fn usual() -> Self {
        Self::new(available().map_or(u64::MAX, |bytes| (bytes / 2).max(LEAST)))
    }

    /// The whole budget in bytes.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Waits until so many bytes are free, and takes them. A thread should hold one part only: two that wait for a
    /// second one would wait for ever.
    ///
    /// # Errors
    /// [`Error::TooMuchMemory`] if it is more than the whole budget; `name` is the picture.
    pub fn take(&self, bytes: u64, name: &str) -> Result<Part<'_>, Error> {
        if bytes > self.limit {
            return Err(Error::TooMuchMemory { name: name.to_string(), bytes, limit: self.limit });
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let number = state.next;
        state.next += 1;
        while state.serving != number || state.free < bytes {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.serving += 1;
        state.free -= bytes;
        self.changed.notify_all();
        Ok(Part { budget: self, bytes })
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        self.budget.state.lock().unwrap_or_else(PoisonError::into_inner).free += self.bytes;
        self.budget.changed.notify_all();
    }
}

/// Bytes of memory that this process can still use without swapping: what Linux says (`MemAvailable`), or less if a
/// control group, such as a container or a service with `MemoryMax`, allows less. `None` on other systems.
pub fn available() -> Option<u64> {
    available_below(Path::new("/"))
}

fn available_below(root: &Path) -> Option<u64> {
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let machine = field(&read("proc/meminfo")?, "MemAvailable:")?.saturating_mul(1024);
    let groups = read("proc/self/cgroup").unwrap_or_default();
    // HIERARCHY:CONTROLLERS:PATH; version 2 has no controllers.
    let groups = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        match controllers {
            "" => Some((&VERSION_2, path)),
            _ if controllers.split(',').any(|name| name == "memory") => Some((&VERSION_1, path)),
            _ => None,
        }
    });
    let limits = groups.flat_map(|(version, path)| {
        // A limit of a group holds for those below it. In a container the path may be that of the host: then the root
        // is the container's own group.
        let folders = iter::successors(Some(path), |path| path.rsplit_once('/').map(|(parent, _)| parent));
        let folders: Vec<String> = folders.map(|path| format!("{}{path}", version.folder)).collect();
        folders.into_iter().filter_map(|folder| version.available(&root.join(folder)))
    });
    Some(limits.fold(machine, u64::min))
}

/// The files of a version of control groups.
struct Version {
    folder: &'static str,
    limits: &'static [&'static str],
    usage: &'static str,
    /// The key in `memory.stat` of cached files that are dropped when memory is needed.
    droppable: &'static str,
}

const VERSION_1: Version = Version {
    folder: "sys/fs/cgroup/memory",
    limits: &["memory.limit_in_bytes"],
    usage: "memory.usage_in_bytes",
    droppable: "total_inactive_file",
};

const VERSION_2: Version = Version {
    folder: "sys/fs/cgroup",
    limits: &["memory.max", "memory.high"],
    usage: "memory.current",
    droppable: "inactive_file",
};

impl Version {
    /// Bytes that a group has left; `None` if it has no limit.
    fn available(&self, folder: &Path) -> Option<u64> {
        let number = |name: &&str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
        let limit = self.limits.iter().filter_map(number).min()?;
        let usage = number(&self.usage).unwrap_or(0);
        let stat = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        Some(limit.saturating_sub(usage.saturating_sub(field(&stat, self.droppable).unwrap_or(0))))
    }
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().map(str::split_whitespace);
    lines.find_map(|mut words| (words.next() == Some(name)).then(|| words.next()?.parse().ok())?)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn the_smallest_limit_holds() {
        struct Case {
            name: &'static str,
            group: &'static str,
            files: &'static [(&'static str, &'static str)],
            expected: u64,
        }
        const MACHINE: u64 = 1000 * 1024;
        let cases = [
            Case { name: "no groups", group: "", files: &[], expected: MACHINE },
            Case {
                name: "a service with MemoryMax",
                group: "0::/system.slice/poster-genres.service\n",
                files: &[
                    ("sys/fs/cgroup/system.slice/poster-genres.service/memory.max", "600000\n"),
                    ("sys/fs/cgroup/system.slice/poster-genres.service/memory.high", "max\n"),
                    ("sys/fs/cgroup/system.slice/poster-genres.service/memory.current", "300000\n"),
                    ("sys/fs/cgroup/system.slice/poster-genres.service/memory.stat", "anon 9\ninactive_file 100000\n"),
                ],
                expected: 400_000,
            },
            Case {
                name: "the limit of a group above",
                group: "0::/a/b\n",
                files: &[
                    ("sys/fs/cgroup/a/b/memory.max", "900000"),
                    ("sys/fs/cgroup/a/memory.high", "5000"),
                    ("sys/fs/cgroup/a/memory.current", "2000"),
                ],
                expected: 3000,
            },
            Case {
                name: "a container that sees its own group only",
                group: "0::/docker/0123\n",
                files: &[("sys/fs/cgroup/memory.max", "7000"), ("sys/fs/cgroup/memory.current", "9000")],
                expected: 0,
            },
            Case {
                name: "version 1",
                group: "4:memory:/process/x\n1:cpu:/\n0::/\n",
                files: &[
                    ("sys/fs/cgroup/memory/process/x/memory.limit_in_bytes", "9223372036854771712"),
                    ("sys/fs/cgroup/memory/memory.limit_in_bytes", "50000"),
                    ("sys/fs/cgroup/memory/memory.usage_in_bytes", "10000"),
                    ("sys/fs/cgroup/memory/memory.stat", "inactive_file 5\ntotal_inactive_file 1000\n"),
                ],
                expected: 41_000,
            },
            Case {
                name: "no limits",
                group: "0::/a\n",
                files: &[("sys/fs/cgroup/a/memory.max", "max"), ("sys/fs/cgroup/a/memory.current", "5")],
                expected: MACHINE,
            },
        ];
        for Case { name, group, files, expected } in cases {
            let root = tempfile::tempdir().unwrap();
            let meminfo = ("proc/meminfo", "MemTotal: 4000 kB\nMemFree: 10 kB\nMemAvailable:    1000 kB\n");
            for (path, text) in files.iter().copied().chain([meminfo, ("proc/self/cgroup", group)]) {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            assert_eq!(available_below(root.path()), Some(expected), "{name}");
        }
        assert_eq!(available_below(Path::new("/absent")), None);
    }

    #[test]
    fn parts_never_exceed_the_budget_and_everyone_gets_one() {
        let budget = Budget::new(100);
        let (used, most) = (AtomicU64::new(0), AtomicU64::new(0));
        thread::scope(|scope| {
            for index in 0..8 {
                let (budget, used, most) = (&budget, &used, &most);
                scope.spawn(move || {
                    for round in 0..50 {
                        let bytes = if index == 0 { 100 } else { 10 + (7 * index + round) % 40 };
                        let part = budget.take(bytes, "a.png").unwrap();
                        most.fetch_max(used.fetch_add(bytes, Ordering::SeqCst) + bytes, Ordering::SeqCst);
                        thread::yield_now();
                        used.fetch_sub(bytes, Ordering::SeqCst);
                        drop(part);
                    }
                });
            }
        });
        assert_eq!(most.into_inner(), 100);
        assert_eq!(budget.state.into_inner().unwrap().free, 100);
    }

    #[test]
    fn what_never_fits_is_refused() {
        let budget = Budget::new(10 << 20);
        let message = budget.take((10 << 20) + 1, "a.png").unwrap_err().to_string();
        let expected = "a.png: takes 11 MB of memory to decode, more than the limit of 10 MB; scale it down first, or \
                        raise --max-memory";
        assert_eq!(message, expected);
        assert!(budget.take(10 << 20, "b.png").is_ok());
    }
}
