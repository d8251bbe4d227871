//! Reads and classifies the posters of a library that are new or changed, on as many threads as asked for.

use std::cell::Cell;
use std::collections::HashSet;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::scan::{Item, ScanError};
use super::state::{Found, State, StateError, Verdict};
use super::thumbnail;
use crate::preprocess;
use crate::{Error, Model};

/// Posters that are looked up and handed to the threads at a time, for each of them.
const CHUNK: usize = 64;

/// The largest file that is read, in bytes: no poster is as large.
pub const MAX_BYTES: u64 = 256 << 20;

/// How posters are read.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The most pixels that a poster may have.
    pub max_pixels: u64,
    /// Whether posters are read anew of which all is known.
    pub force: bool,
}

/// Why the posters cannot be read at all.
#[derive(Debug, Error)]
pub enum TagError {
    /// The state file cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The model cannot be compiled.
    #[error(transparent)]
    Model(#[from] Error),
}

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Ordinals of the posters that were read.
    pub read: HashSet<i64>,
    /// How many of those had bytes that were known under another name.
    pub recalled: usize,
}

/// Begins a pass and keeps the posters of its scan. Calls `explain` with each of its items and `failed` with what cannot
/// be looked at.
///
/// # Errors
/// If the state file cannot be used.
pub fn find(
    scan: impl Iterator<Item = Result<Item, ScanError>>,
    state: &State,
    mut explain: impl FnMut(&Item),
    mut failed: impl FnMut(ScanError),
) -> Result<(), StateError> {
    state.begin()?;
    let mut ordinal = 0;
    let mut waiting = Vec::with_capacity(CHUNK);
    for item in scan {
        let item = match item {
            Ok(item) => item,
            Err(error) => {
                failed(error);
                continue;
            }
        };
        explain(&item);
        let Item::Poster(poster) = item else { continue };
        match fs::metadata(&poster.path) {
            Ok(metadata) => {
                ordinal += 1;
                let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
                waiting.push(Found {
                    ordinal,
                    path: poster.path,
                    size: metadata.len() as i64,
                    mtime: modified.map_or(0, |time| time.as_nanos() as i64),
                    kind: poster.kind,
                    title: poster.title,
                    video: poster.video,
                    is_alone: poster.is_alone,
                });
            }
            Err(source) => failed(ScanError::Unreadable { path: poster.path, source }),
        }
        if waiting.len() == CHUNK {
            state.add(&waiting)?;
            waiting.clear();
        }
    }
    state.add(&waiting)
}

/// Reads and classifies what is not known yet, and keeps what comes of each poster as soon as it is done. Calls `step`
/// for each, from any thread. Ends early when `interrupted`, after the posters in hand. The model is prepared for the
/// first poster that can be decoded.
///
/// # Errors
/// If the state file or the model cannot be used.
pub fn tag(
    state: &State,
    model: &Model,
    pool: &rayon::ThreadPool,
    options: Options,
    interrupted: &AtomicBool,
    step: impl Fn() + Sync,
) -> Result<Done, TagError> {
    let mut done = Done::default();
    let mut after = 0;
    while !interrupted.load(Ordering::Relaxed) {
        let limit = CHUNK * pool.current_num_threads();
        let chunk = state.next_unknown(model.fingerprint(), after, limit, options.force)?;
        let Some(last) = chunk.last() else { break };
        after = last.ordinal;
        let read: Vec<(i64, bool)> = pool.install(|| {
            let wanted = chunk.par_iter().with_max_len(1).filter(|_| !interrupted.load(Ordering::Relaxed));
            let one = |found: &Found| {
                let is_recalled = one(found, state, model, options)?;
                step();
                Ok((found.ordinal, is_recalled))
            };
            wanted.map(one).collect::<Result<_, TagError>>()
        })?;
        done.recalled += read.iter().filter(|(_, is_recalled)| *is_recalled).count();
        done.read.extend(read.iter().map(|(ordinal, _)| ordinal));
    }
    Ok(done)
}

/// Reads, classifies and keeps one poster. Returns whether its bytes were known under another name.
fn one(found: &Found, state: &State, model: &Model, options: Options) -> Result<bool, TagError> {
    let fingerprint = model.fingerprint();
    let bytes = match read(&found.path) {
        Ok(bytes) => bytes,
        Err(reason) => {
            state.record(found, &[], fingerprint, &Err(reason))?;
            return Ok(false);
        }
    };
    let hash = Sha256::digest(&bytes);
    if !options.force
        && let Some(known) = state.recall(&hash, fingerprint)?
    {
        state.record(found, &hash, fingerprint, &Ok(known))?;
        return Ok(true);
    }
    let name = found.path.display().to_string();
    // What cannot be read now, or is too large for this run's limit, may do in the next.
    let mut lasting = true;
    // Large enough for the model and for the gallery.
    let input = &model.card().input;
    let size = (input.width.max(thumbnail::SIZE.0), input.height.max(thumbnail::SIZE.1));
    let picture = guarded(&name, || {
        preprocess::decode_for(&bytes, &name, options.max_pixels, size).map_err(|error| {
            lasting = !matches!(error, Error::TooLarge { .. });
            error.to_string()
        })
    });
    if picture.is_ok() {
        model.compile()?;
    }
    let verdict = picture.and_then(|picture| {
        guarded(&name, || {
            let thumbnail = thumbnail::thumbnail(&picture);
            let probabilities = model.classify_image(picture).map_err(|error| error.to_string())?.into_probabilities();
            Ok(Verdict { probabilities, thumbnail })
        })
    });
    state.record(found, if lasting { &hash } else { &[] }, fingerprint, &verdict)?;
    Ok(false)
}

thread_local! { static CATCHES_PANICS: Cell<bool> = const { Cell::new(false) } }

/// Whether a panic of this thread is caught by [`tag`] and becomes that poster's error. A program's panic hook can then stay
/// silent: the poster is named once, by its error.
pub fn catches_panics() -> bool {
    CATCHES_PANICS.get()
}

/// Runs what meets bytes that nobody has seen before. Should it panic, this poster alone is lost, with one line about it.
fn guarded<T>(name: &str, step: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    CATCHES_PANICS.set(true);
    let outcome = panic::catch_unwind(AssertUnwindSafe(step));
    CATCHES_PANICS.set(false);
    outcome.unwrap_or_else(|_| Err(format!("{name}: the decoder gave up; it is damaged, fetch it again")))
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |cause| Error::Unreadable { name: path.display().to_string(), cause }.to_string();
    let size = fs::metadata(path).map_err(unreadable)?.len();
    if size > MAX_BYTES {
        let (size, limit) = (size >> 20, MAX_BYTES >> 20);
        return Err(format!(
            "{}: is {size} MB large, more than the limit of {limit}; scale it down first",
            path.display()
        ));
    }
    fs::read(path).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::collection::naming::Title;
    use crate::collection::poster_selection::Kind;

    #[test]
    fn a_decoder_that_panics_loses_one_poster_and_prints_no_backtrace() {
        let printed = Arc::new(AtomicUsize::new(0));
        let (count, own) = (printed.clone(), std::thread::current().id());
        // Stands for the one that prints a backtrace; other tests may panic meanwhile.
        panic::set_hook(Box::new(move |_| {
            count.fetch_add(usize::from(std::thread::current().id() == own), Ordering::Relaxed);
        }));
        assert_eq!(guarded("a.jpg", || Ok(7)), Ok(7));
        let lost = guarded::<()>("b.jpg", || panic!("index out of bounds"));
        assert_eq!(lost, Err("b.jpg: the decoder gave up; it is damaged, fetch it again".into()));
        assert_eq!(guarded("c.jpg", || Ok(8)), Ok(8));
        assert_eq!(printed.load(Ordering::Relaxed), 0);
        panic::catch_unwind(|| panic!("of another kind")).unwrap_err();
        assert_eq!(printed.load(Ordering::Relaxed), 1, "the program's own panics must be seen");
    }

    #[test]
    fn a_poster_that_vanishes_after_the_scan_is_named_and_the_others_are_tagged() {
        let folder = tempfile::tempdir().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/posters");
        let found = |ordinal: i64, name: &str| Found {
            ordinal,
            path: folder.path().join(name),
            size: 7,
            mtime: 5,
            kind: Kind::Film,
            title: Title { title: name.into(), year: None },
            video: None,
            is_alone: true,
        };
        fs::copy(fixtures.join("space-baseline.jpg"), folder.path().join("there.jpg")).unwrap();
        let state = State::open(&folder.path().join("state"), true).unwrap();
        state.add(&[found(1, "gone.jpg"), found(2, "there.jpg")]).unwrap();
        let model = Model::shipped().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let options = Options { max_pixels: preprocess::MAX_PIXELS, force: false };
        let done = tag(&state, &model, &pool, options, &AtomicBool::new(false), || {}).unwrap();
        assert_eq!(done, Done { read: [1, 2].into(), recalled: 0 });
        let known = state.next_known(model.fingerprint(), 0, 9).unwrap();
        assert!(known[0].1.as_ref().is_err_and(|reason| reason.contains("gone.jpg: cannot be read")), "{known:?}");
        assert!(known[1].1.is_ok(), "{known:?}");
        // It may have come back.
        state.begin().unwrap();
        state.add(&[found(1, "gone.jpg"), found(2, "there.jpg")]).unwrap();
        assert_eq!(state.unknown(model.fingerprint()).unwrap(), 1);
    }
}
