//! Waits for a library to change, and for its new posters to be whole.
//!
//! What changed is not asked: a pass over a library of which all is known takes a fraction of a second, so that it is
//! enough to know when the next one is due.

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

/// One change follows another; after that long without one, the next pass is due.
const CALM: Duration = Duration::from_secs(1);

/// While a whole collection is copied, a pass is due at least so often.
const LATEST: Duration = Duration::from_secs(10);

/// File systems that change without the kernel's knowledge, since others write to them, too: NFS, CIFS, SMB, FUSE (rclone,
/// sshfs, virtiofs and local ones, which cannot be told apart), 9p, Ceph, AFS. The numbers are those of `linux/magic.h`.
#[cfg(target_os = "linux")]
const REMOTE: [u32; 8] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x517b, 0x6573_5546, 0x0102_1997, 0x00c3_6400, 0x5346_414f];

/// Why the system cannot tell when a library changes.
#[derive(Debug, Error)]
pub enum Unwatched {
    /// The file system is written to from elsewhere.
    #[error("{path}: lies on a model or is FUSE, where the system does not tell of every change")]
    Remote {
        /// The library.
        path: String,
    },
    /// There are too many folders for the system's limit.
    #[error("{path}: has more folders than the system lets one watch (raise fs.inotify.max_user_watches)")]
    TooMany {
        /// The library.
        path: String,
    },
    /// The system refuses.
    #[error("{path}: cannot be watched ({reason})")]
    System {
        /// The library.
        path: String,
        /// What the system said.
        reason: notify::Error,
    },
}

/// Sends to `wake` whenever a folder or what lies in it may have changed, for as long as the watcher lives. Hidden files
/// do not count: programs write their state and unfinished files to them, and this one does, too.
///
/// # Errors
/// See [`Unwatched`].
pub fn watch(folder: &Path, wake: SyncSender<()>) -> Result<RecommendedWatcher, Unwatched> {
    let path = folder.display().to_string();
    #[cfg(target_os = "linux")]
    if rustix::fs::statfs(folder).is_ok_and(|system| REMOTE.contains(&(system.f_type as u32))) {
        return Err(Unwatched::Remote { path });
    }
    let begin = || {
        // The library itself may lie below a hidden folder, so that only what is below the library counts.
        let root = folder.canonicalize().map_err(notify::Error::io)?;
        let below = root.clone();
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.map_or(true, |event| is_change(&event, &below)) {
                // Where a message waits already, another would say nothing new.
                let _ = wake.try_send(());
            }
        })?;
        watcher.watch(&root, RecursiveMode::Recursive)?;
        Ok(watcher)
    };
    begin().map_err(|reason: notify::Error| match reason.kind {
        notify::ErrorKind::MaxFilesWatch => Unwatched::TooMany { path },
        _ => Unwatched::System { path, reason },
    })
}

/// An event without a path says that some were lost.
fn is_change(event: &Event, library: &Path) -> bool {
    let is_hidden = |path: &PathBuf| {
        let below = path.strip_prefix(library).unwrap_or(path);
        below.components().any(|part| naming::is_hidden(&naming::key(part.as_os_str())))
    };
    !matches!(event.kind, EventKind::Access(_)) && (event.paths.is_empty() || !event.paths.iter().all(is_hidden))
}

/// Waits until something changes, at most for `patience`, and then until the changes pause. Returns at once when `stopped`,
/// of which a message has to tell.
pub fn wait(woken: &Receiver<()>, patience: Duration, stopped: &AtomicBool) {
    let goes_on = || !stopped.load(Ordering::Relaxed);
    if goes_on() && woken.recv_timeout(patience).is_ok() {
        let first = Instant::now();
        while goes_on() && first.elapsed() < LATEST && woken.recv_timeout(CALM).is_ok() {}
    }
}

/// Posters that may still be being written, from one pass to the next.
#[derive(Debug)]
pub struct Settling {
    time: Duration,
    /// Size and modification of each, and since when they have been so.
    seen: HashMap<PathBuf, ((i64, i64), Instant)>,
}

impl Settling {
    /// A poster is whole when nothing has been written to it for that long.
    pub fn new(time: Duration) -> Self {
        Self { time, seen: HashMap::new() }
    }

    /// For how long nothing may have been written to a poster.
    pub fn time(&self) -> Duration {
        self.time
    }

    /// Leaves out of what a pass has found the posters that are not known and may still be being written. Returns whether
    /// there are any.
    ///
    /// The clock of a model share may be ahead of this machine's. So a poster is whole, too, if it has not changed while
    /// it was looked at.
    ///
    /// # Errors
    /// If the state file cannot be used.
    pub fn leave_out(&mut self, state: &State, model: &str) -> Result<bool, StateError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = now.saturating_sub(self.time).as_nanos() as i64;
        let before = mem::take(&mut self.seen);
        let mut is_any = false;
        for found in state.unknown_since(model, since)? {
            let look = (found.size, found.mtime);
            let first =
                before.get(&found.path).filter(|(before, _)| *before == look).map_or_else(Instant::now, |seen| seen.1);
            if first.elapsed() < self.time {
                state.leave_out(&found)?;
                is_any = true;
            }
            self.seen.insert(found.path, (look, first));
        }
        Ok(is_any)
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, CreateKind, DataChange, ModifyKind, RenameMode};

    use super::*;
    use crate::collection::naming::Title;
    use crate::collection::poster_selection::Kind;
    use crate::collection::state::Found;

    #[test]
    fn what_is_read_and_what_is_hidden_is_no_change() {
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
    fn a_poster_settles_by_either_clock() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
        let hour = 3_600_000_000_000;
        let poster = |ordinal: i64, path: &str, size: i64, mtime: i64| Found {
            ordinal,
            path: path.into(),
            size,
            mtime,
            kind: Kind::Film,
            title: Title { title: path.into(), year: None },
            video: None,
            is_alone: true,
        };
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(&folder.path().join("state"), true).unwrap();
        let time = Duration::from_millis(50);
        let settling = &mut Settling::new(time);
        let mut pass = |posters: &[Found]| {
            state.begin().unwrap();
            state.add(posters).unwrap();
            let is_any = settling.leave_out(&state, "m").unwrap();
            let kept = state.next_unknown("m", 0, 9, false).unwrap();
            (is_any, kept.into_iter().map(|found| found.path.display().to_string()).collect::<Vec<_>>())
        };
        let [old, ahead, growing] =
            [poster(1, "old", 7, now - hour), poster(2, "ahead", 7, now + hour), poster(3, "growing", 7, now + hour)];
        assert_eq!(pass(&[old.clone(), ahead.clone(), growing.clone()]), (true, vec!["old".to_string()]));
        std::thread::sleep(time);
        let grown = Found { size: 8, ..growing };
        let both = vec!["old".to_string(), "ahead".to_string()];
        assert_eq!(pass(&[old.clone(), ahead.clone(), grown.clone()]), (true, both));
        // What has settled stays so, even if nothing could be made of it.
        std::thread::sleep(time);
        let all = [old, ahead, grown];
        assert_eq!(pass(&all).1.len(), 3);
        assert_eq!(pass(&all), (false, ["old", "ahead", "growing"].map(String::from).to_vec()));
        state.record(&all[2], b"hash", "m", &Err("is broken".into())).unwrap();
        assert!(Settling::new(time * 1000).leave_out(&state, "m").unwrap());
        assert_eq!(state.found().unwrap(), 2, "what is known is left out, or what is not known is not");
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
        assert!(start.elapsed() >= CALM);
    }
}
