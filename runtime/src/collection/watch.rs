//! Watching a collection: file system notifications, and a debouncer for files that are still being written.
//!
//! Notifications only say that the next pass is due, not which files changed: a pass over a collection whose posters
//! are all cached takes a fraction of a second. On Linux each folder is watched before a pass lists it, so that nothing
//! is missed, and folders, links and mounts that come later are watched from the next pass on.

mod mounts;

use std::collections::{BTreeMap, HashMap};
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use thiserror::Error;

use super::naming;
use super::state::{State, StateError};
use mounts::Mounts;

/// Time without a notification after which the next pass is due.
const QUIET_PERIOD: Duration = Duration::from_secs(1);

/// Time after the first notification when a pass is due at the latest, however many notifications follow.
const MAX_DELAY: Duration = Duration::from_secs(10);

/// Whether each folder is watched by itself. Other systems watch whole trees, and one folder more is expensive there.
const IS_PER_FOLDER: bool = cfg!(target_os = "linux");

/// Why the operating system cannot report changes of a collection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WatchError {
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

impl WatchError {
    fn new(path: &Path, cause: notify::Error) -> Self {
        let path = path.to_path_buf();
        match cause.kind {
            notify::ErrorKind::MaxFilesWatch => Self::TooMany { path },
            _ => Self::System { path, cause },
        }
    }
}

/// Wakes whoever waits when something in a watched folder may have changed or a mount has come or gone, until it is
/// dropped.
pub struct LibraryWatcher {
    watcher: RecommendedWatcher,
    root: PathBuf,
    mounts: Mounts,
    /// The parts of the collection where the system does not tell of every change: the folder and its file system.
    polled: BTreeMap<PathBuf, String>,
    /// Folders that are watched with all that is in them; only used where folders are not watched by themselves.
    trees: Vec<PathBuf>,
    failure: Option<WatchError>,
    #[cfg(target_os = "linux")]
    _mount_alarm: Option<rustix::fd::OwnedFd>,
}

impl LibraryWatcher {
    /// Watches the folder of a collection and sends messages to `wake`. Hidden files are ignored: programs, this one
    /// included, write their state and temporary files to them.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub fn new(folder: &Path, wake: SyncSender<()>) -> Result<Self, WatchError> {
        let begin = || -> notify::Result<Self> {
            let root = folder.canonicalize().map_err(notify::Error::io)?;
            #[cfg(target_os = "linux")]
            let _mount_alarm = mount_alarm(wake.clone());
            let tree = root.clone();
            let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
                if event.map_or(true, |event| is_change(&event, (!IS_PER_FOLDER).then_some(&tree))) {
                    // If the channel is full, a pass is due already.
                    let _ = wake.try_send(());
                }
            })?;
            let mut this = Self {
                watcher,
                root: root.clone(),
                mounts: Mounts::default(),
                polled: BTreeMap::new(),
                trees: Vec::new(),
                failure: None,
                #[cfg(target_os = "linux")]
                _mount_alarm,
            };
            this.begin_pass();
            this.try_add(&root)?;
            Ok(this)
        };
        begin().map_err(|cause| WatchError::new(folder, cause))
    }

    /// Asks the system for its mounts again; to be called before each pass.
    pub fn begin_pass(&mut self) {
        self.mounts = Mounts::read();
        self.polled.clear();
        let is_seen = |point: &Path| {
            let below = point.strip_prefix(&self.root).unwrap_or(point);
            below.iter().map(naming::key).all(|key| !naming::is_hidden(&key) && !naming::is_system_folder(&key))
        };
        let below = self.mounts.below(&self.root).filter(|mount| is_seen(&mount.point));
        let points: Vec<PathBuf> = below.map(|mount| mount.point.clone()).collect();
        [self.root.clone()].into_iter().chain(points).for_each(|folder| self.note_mount(&folder));
    }

    /// Watches a folder, whose path is canonical; to be called before the folder is listed. What cannot be watched
    /// because there are too many folders is told by [`failure`](Self::failure).
    pub fn add(&mut self, folder: &Path) {
        self.note_mount(folder);
        match self.try_add(folder) {
            Err(cause) if matches!(cause.kind, notify::ErrorKind::MaxFilesWatch) => {
                self.failure.get_or_insert(WatchError::TooMany { path: self.root.clone() });
            }
            // Another folder that cannot be watched cannot be read either, or is gone.
            _ => {}
        }
    }

    /// The parts of the collection where the system does not tell of every change: the folder, and the type of its
    /// file system. They must be looked at from time to time.
    pub fn polled(&self) -> &BTreeMap<PathBuf, String> {
        &self.polled
    }

    /// Why not all folders are watched, if so. The collection must be looked at from time to time then.
    pub fn failure(&self) -> Option<&WatchError> {
        self.failure.as_ref()
    }

    fn note_mount(&mut self, folder: &Path) {
        if let Some(mount) = self.mounts.of(folder).filter(|mount| !mount.is_local()) {
            // A mount above the collection concerns all of it, one above the target of a link only that.
            let part = if self.root.starts_with(&mount.point) { &self.root } else { &mount.point };
            self.polled.entry(part.clone()).or_insert_with(|| mount.fs_type.clone());
        }
    }

    /// Watches a folder anew even if it is watched: another one may have taken its place.
    fn try_add(&mut self, folder: &Path) -> notify::Result<()> {
        if IS_PER_FOLDER {
            return self.watcher.watch(folder, RecursiveMode::NonRecursive);
        }
        if !self.trees.iter().any(|tree| folder.starts_with(tree)) {
            self.watcher.watch(folder, RecursiveMode::Recursive)?;
            self.trees.push(folder.to_path_buf());
        }
        Ok(())
    }
}

/// Sends a message whenever a mount comes or goes, until the returned end of a pipe is closed.
#[cfg(target_os = "linux")]
fn mount_alarm(wake: SyncSender<()>) -> Option<rustix::fd::OwnedFd> {
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::pipe::{PipeFlags, pipe_with};

    let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC).ok()?;
    let mounts = std::fs::File::open("/proc/self/mountinfo").ok()?;
    std::thread::spawn(move || {
        loop {
            // proc_pid_mounts(5): a change of the mounts is an urgent event of the file.
            let mut events = [PollFd::new(&mounts, PollFlags::PRI), PollFd::new(&stopped, PollFlags::IN)];
            match poll(&mut events, None) {
                Ok(_) if events[1].revents().is_empty() => {
                    let _ = wake.try_send(());
                }
                Err(rustix::io::Errno::INTR) => {}
                _ => return,
            }
        }
    });
    Some(stop)
}

/// Whether an event may concern a poster. An event without a path says that events were lost. Where only a whole `tree`
/// can be watched, there are events of its hidden folders, too.
fn is_change(event: &Event, tree: Option<&PathBuf>) -> bool {
    let is_hidden = |path: &PathBuf| match tree {
        // The collection itself may lie below a hidden folder, so that only names below its root count.
        Some(tree) => path.strip_prefix(tree).unwrap_or(path).iter().any(|part| naming::is_hidden(&naming::key(part))),
        None => path.file_name().is_some_and(|name| naming::is_hidden(&naming::key(name))),
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
        let library = PathBuf::from("/home/me/.films");
        for Case { kind, paths, is_change: expected } in cases {
            let event = paths.iter().fold(Event::new(kind), |event, path| event.add_path(library.join(path)));
            assert_eq!(is_change(&event, Some(&library)), expected, "{event:?}");
            // Hidden folders are not watched, but where a link leads to one.
            let in_hidden = paths.iter().any(|path| path.contains("/poster.jpg") && path.starts_with('.'));
            assert_eq!(is_change(&event, None), expected || in_hidden, "{event:?}");
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
            common_name: None,
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
