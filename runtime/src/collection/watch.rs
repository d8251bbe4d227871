//! Watching a collection: file system notifications, and a debouncer for files that are still being written.
//!
//! Notifications only say that the next pass is due, not which files changed: a pass over a collection whose posters
//! are all cached takes a fraction of a second.

use std::collections::HashMap;
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use thiserror::Error;

use super::naming;
use super::state::{State, StateError};

/// Time without a notification after which the next pass is due.
const QUIET_PERIOD: Duration = Duration::from_secs(1);

/// Time after the first notification when a pass is due at the latest, however many notifications follow.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Magic numbers (`linux/magic.h`) of file systems that other machines write to without a notification here: NFS, CIFS,
/// SMB, FUSE (rclone, sshfs, virtiofs; local ones cannot be told apart), 9p, Ceph, AFS.
#[cfg(target_os = "linux")]
const REMOTE: [u32; 8] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x517b, 0x6573_5546, 0x0102_1997, 0x00c3_6400, 0x5346_414f];

/// Why the operating system cannot report changes of a collection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The folder lies on a network file system or FUSE.
    #[error("{}: lies on a network or is FUSE, where the system does not tell of every change", path.display())]
    Remote {
        /// Folder of the collection.
        path: PathBuf,
    },
    /// The folder has more subfolders than the inotify limit.
    #[error(
        "{}: has more folders than the system lets one watch (raise fs.inotify.max_user_watches)",
        path.display()
    )]
    TooMany {
        /// Folder of the collection.
        path: PathBuf,
    },
    /// The operating system refuses.
    #[error("{}: cannot be watched ({cause})", path.display())]
    System {
        /// Folder of the collection.
        path: PathBuf,
        /// The error of the watcher.
        cause: notify::Error,
    },
}

/// Sends a message to `wake` whenever something below the folder may have changed, until the returned watcher is
/// dropped. Hidden files are ignored: programs, this one included, write their state and temporary files to them.
///
/// # Errors
/// See [`WatchError`].
pub fn watch(folder: &Path, wake: SyncSender<()>) -> Result<RecommendedWatcher, WatchError> {
    let path = folder.to_path_buf();
    #[cfg(target_os = "linux")]
    if rustix::fs::statfs(folder).is_ok_and(|system| REMOTE.contains(&(system.f_type as u32))) {
        return Err(WatchError::Remote { path });
    }
    let begin = || {
        // The collection itself may lie below a hidden folder, so that only names below its root count.
        let root = folder.canonicalize().map_err(notify::Error::io)?;
        let below = root.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| is_change(&event, &below)) {
                // If the channel is full, a pass is due already.
                let _ = wake.try_send(());
            }
        })?;
        watcher.watch(&root, RecursiveMode::Recursive)?;
        Ok(watcher)
    };
    begin().map_err(|cause: notify::Error| match cause.kind {
        notify::ErrorKind::MaxFilesWatch => WatchError::TooMany { path },
        _ => WatchError::System { path, cause },
    })
}

/// Whether an event may concern a poster. An event without a path says that events were lost.
fn is_change(event: &Event, root: &Path) -> bool {
    let is_hidden = |path: &PathBuf| {
        let below = path.strip_prefix(root).unwrap_or(path);
        below.components().any(|part| naming::is_hidden(&naming::key(part.as_os_str())))
    };
    !matches!(event.kind, EventKind::Access(_)) && (event.paths.is_empty() || !event.paths.iter().all(is_hidden))
}

/// Waits for a notification, at most for `timeout`, and then for the end of the burst: until there was none for a
/// second, or ten seconds have passed. Returns at once if `stopped` is set; whoever sets it must send a message, too.
pub fn wait(woken: &Receiver<()>, timeout: Duration, stopped: &AtomicBool) {
    let is_running = || !stopped.load(Ordering::Relaxed);
    if is_running() && woken.recv_timeout(timeout).is_ok() {
        let first = Instant::now();
        while is_running() && first.elapsed() < MAX_DELAY && woken.recv_timeout(QUIET_PERIOD).is_ok() {}
    }
}

/// Defers new posters until they have not changed for some time, so that half-written files are not read.
#[derive(Debug)]
pub struct Debouncer {
    delay: Duration,
    /// Size and modification time of each recent poster, and since when both have been the same.
    seen: HashMap<PathBuf, ((i64, i64), Instant)>,
}

impl Debouncer {
    /// A debouncer that accepts a poster after `delay` without a change.
    pub fn new(delay: Duration) -> Self {
        Self { delay, seen: HashMap::new() }
    }

    /// The time without a change after which a poster is accepted.
    pub fn delay(&self) -> Duration {
        self.delay
    }

    /// Removes from the scan the posters that are not known and may still be being written. Returns whether there are
    /// any.
    ///
    /// A poster is accepted if its modification time lies far enough back, or if it has not changed from pass to pass
    /// for long enough: the clock of a network share may be ahead of this machine's.
    ///
    /// # Errors
    /// If the state file cannot be used.
    pub fn defer_unsettled(&mut self, state: &State, model: &str) -> Result<bool, StateError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = now.saturating_sub(self.delay).as_nanos() as i64;
        let before = mem::take(&mut self.seen);
        let mut has_deferred = false;
        for poster in state.unknown_since(model, since)? {
            let version = (poster.size, poster.mtime);
            let unchanged_since = before
                .get(&poster.path)
                .filter(|(seen, _)| *seen == version)
                .map_or_else(Instant::now, |(_, since)| *since);
            if unchanged_since.elapsed() < self.delay {
                state.remove(&poster)?;
                has_deferred = true;
            }
            self.seen.insert(poster.path, (version, unchanged_since));
        }
        Ok(has_deferred)
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, DataChange, ModifyKind, RenameMode};

    use super::*;
    use crate::collection::failure::PosterFailure;
    use crate::collection::naming::Title;
    use crate::collection::poster_selection::Kind;
    use crate::collection::state::ScannedPoster;

    #[test]
    fn reads_and_hidden_files_are_no_changes() {
        struct Case {
            kind: EventKind,
            paths: &'static [&'static str],
            is_change: bool,
        }
        let create = EventKind::Create(CreateKind::File);
        let write = EventKind::Modify(ModifyKind::Data(DataChange::Any));
        let rename = EventKind::Modify(ModifyKind::Name(RenameMode::Both));
        let read = EventKind::Access(AccessKind::Read);
        let cases = [
            Case { kind: create, paths: &["A (1999)/poster.jpg"], is_change: true },
            Case { kind: write, paths: &["A (1999)/poster.jpg"], is_change: true },
            Case { kind: read, paths: &["A (1999)/poster.jpg"], is_change: false },
            Case { kind: write, paths: &[".poster-genres.sqlite-wal"], is_change: false },
            Case { kind: create, paths: &["A (1999)/.unfinished-1.part"], is_change: false },
            Case { kind: create, paths: &[".trash/A (1999)/poster.jpg"], is_change: false },
            Case { kind: rename, paths: &[".trash/A (1999)", "A (1999)"], is_change: true },
            Case { kind: rename, paths: &["A (1999)/.1", "A (1999)/.2"], is_change: false },
            Case { kind: EventKind::Other, paths: &[], is_change: true },
        ];
        let library = Path::new("/home/me/.films");
        for Case { kind, paths, is_change: expected } in cases {
            let event = paths.iter().fold(Event::new(kind), |event, path| event.add_path(library.join(path)));
            assert_eq!(is_change(&event, library), expected, "{event:?}");
        }
    }

    #[test]
    fn a_poster_is_accepted_by_either_clock() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
        let hour = 3_600_000_000_000;
        let poster = |ordinal: i64, path: &str, size: i64, mtime: i64| ScannedPoster {
            ordinal,
            path: path.into(),
            size,
            mtime,
            kind: Kind::Film,
            title: Title { title: path.into(), year: None },
            video: None,
            has_own_folder: true,
        };
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state"), true).unwrap();
        let time = Duration::from_millis(50);
        let debouncer = &mut Debouncer::new(time);
        let mut pass = |posters: &[ScannedPoster]| {
            state.begin().unwrap();
            state.add(posters).unwrap();
            let has_deferred = debouncer.defer_unsettled(&state, "m").unwrap();
            let kept = state.next_unknown("m", 0, 9, false).unwrap();
            (has_deferred, kept.into_iter().map(|poster| poster.path.display().to_string()).collect::<Vec<_>>())
        };
        let [old, ahead, growing] =
            [poster(1, "old", 7, now - hour), poster(2, "ahead", 7, now + hour), poster(3, "growing", 7, now + hour)];
        assert_eq!(pass(&[old.clone(), ahead.clone(), growing.clone()]), (true, vec!["old".to_string()]));
        std::thread::sleep(time);
        let grown = ScannedPoster { size: 8, ..growing };
        let both = vec!["old".to_string(), "ahead".to_string()];
        assert_eq!(pass(&[old.clone(), ahead.clone(), grown.clone()]), (true, both));
        // A poster that was accepted stays so, even if it has failed.
        std::thread::sleep(time);
        let all = [old, ahead, grown];
        assert_eq!(pass(&all).1.len(), 3);
        assert_eq!(pass(&all), (false, ["old", "ahead", "growing"].map(String::from).to_vec()));
        state.record(&all[2], b"hash", "m", &Err(PosterFailure::Recorded { message: "is broken".into() })).unwrap();
        assert!(Debouncer::new(time * 1000).defer_unsettled(&state, "m").unwrap());
        assert_eq!(state.scanned_count().unwrap(), 2, "a known poster was deferred, or an unknown one was not");
    }

    #[test]
    fn waiting_ends_when_stopped_and_after_a_pause() {
        let (wake, woken) = std::sync::mpsc::sync_channel(1);
        let stopped = AtomicBool::new(true);
        wait(&woken, Duration::MAX, &stopped);
        stopped.store(false, Ordering::Relaxed);
        wait(&woken, Duration::from_millis(1), &stopped);
        let start = Instant::now();
        wake.send(()).unwrap();
        wait(&woken, Duration::MAX, &stopped);
        assert!(start.elapsed() >= QUIET_PERIOD);
    }
}
