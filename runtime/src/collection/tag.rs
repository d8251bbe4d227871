//! Tagging: reads and classifies the new and changed posters of a collection on several threads.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use thiserror::Error;

use super::failure::PosterFailure;
use super::scan::{Item, ScanError};
use super::state::{CachedPrediction, ScannedPoster, State, StateError};
use crate::memory::Budget;
use crate::preprocess::EncodedImage;
use crate::thumbnail::{self, thumbnail};
use crate::{Error, Model, panics};

/// Posters per thread that are taken from the state file at a time.
const CHUNK: usize = 64;

/// The largest image file that is read, in bytes.
pub const MAX_FILE_BYTES: u64 = 256 << 20;

/// Options of [`classify_unknown`].
#[derive(Debug)]
pub struct TagOptions {
    /// The most pixels that a poster may have.
    pub max_pixels: u64,
    /// Memory for the posters in progress, with their files. A poster waits until its part is free.
    pub memory: Budget,
    /// Whether to ignore cached results and to classify every poster.
    pub force: bool,
}

/// Why a pass cannot go on. Failures of single posters are cached as [`PosterFailure`] instead.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TagError {
    /// The state file cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// The model cannot be compiled.
    #[error(transparent)]
    Model(#[from] Error),
}

/// Counts of one pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PassStats {
    /// Ordinals of the posters whose files were read.
    pub read: HashSet<i64>,
    /// Number of posters among them that were not classified, since the state file had a prediction for the same bytes.
    pub cache_hits: usize,
}

/// Begins a pass and records the posters of a scan in the state file. Calls `explain` with each item of the scan, and
/// `failed` for each file or folder that cannot be accessed.
///
/// # Errors
/// If the state file cannot be used.
pub fn record_scan(
    scan: impl Iterator<Item = Result<Item, ScanError>>,
    state: &State,
    mut explain: impl FnMut(&Item),
    mut failed: impl FnMut(ScanError),
) -> Result<(), StateError> {
    state.begin()?;
    let mut ordinal = 0;
    let mut batch = Vec::with_capacity(CHUNK);
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
                batch.push(ScannedPoster {
                    ordinal,
                    path: poster.path,
                    size: metadata.len() as i64,
                    mtime: modified.map_or(0, |time| time.as_nanos() as i64),
                    kind: poster.kind,
                    title: poster.title,
                    video: poster.video,
                    common_name: poster.common_name,
                    has_own_folder: poster.has_own_folder,
                });
            }
            Err(cause) => failed(ScanError::Unreadable { path: poster.path, cause }),
        }
        if batch.len() == CHUNK {
            state.add(&batch)?;
            batch.clear();
        }
    }
    state.add(&batch)
}

/// Classifies the posters of the scan that the state file does not know, and caches each result at once. Calls
/// `progress` after each poster, from any thread of `pool`. Once `interrupted` is set, the posters in progress are
/// finished and the function returns. The model is compiled for the first poster that can be decoded.
///
/// # Errors
/// If the state file or the model cannot be used.
pub fn classify_unknown(
    state: &State,
    model: &Model,
    pool: &rayon::ThreadPool,
    options: &TagOptions,
    interrupted: &AtomicBool,
    progress: impl Fn() + Sync,
) -> Result<PassStats, TagError> {
    state.forget_misfits(model.fingerprint(), model.card().genres.len())?;
    let mut stats = PassStats::default();
    let mut after = 0;
    while !interrupted.load(Ordering::Relaxed) {
        let limit = CHUNK * pool.current_num_threads();
        let chunk = state.next_unknown(model.fingerprint(), after, limit, options.force)?;
        let Some(last) = chunk.last() else { break };
        after = last.ordinal;
        let read: Vec<(i64, Source)> = pool.install(|| {
            let posters = chunk.par_iter().with_max_len(1).filter(|_| !interrupted.load(Ordering::Relaxed));
            let classify = |poster: &ScannedPoster| {
                let source = classify_poster(poster, state, model, options)?;
                progress();
                Ok((poster.ordinal, source))
            };
            posters.map(classify).collect::<Result<_, TagError>>()
        })?;
        stats.cache_hits += read.iter().filter(|(_, source)| *source == Source::Cache).count();
        stats.read.extend(read.iter().map(|(ordinal, _)| ordinal));
    }
    Ok(stats)
}

/// Origin of a poster's result.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    /// A prediction for the same bytes was in the state file.
    Cache,
    /// The poster was decoded and classified, or failed.
    Model,
}

/// Reads one poster, looks up or makes its prediction, and records the result.
fn classify_poster(
    poster: &ScannedPoster,
    state: &State,
    model: &Model,
    options: &TagOptions,
) -> Result<Source, TagError> {
    let fingerprint = model.fingerprint();
    let bytes = match read(&poster.path, &options.memory) {
        Ok(bytes) => bytes,
        Err(failure) => {
            state.record(poster, &[], fingerprint, &Err(failure))?;
            return Ok(Source::Model);
        }
    };
    let hash = Sha256::digest(&bytes);
    if !options.force
        && let Some(cached) = state.look_up(&hash, fingerprint)?
    {
        state.record(poster, &hash, fingerprint, &Ok(cached))?;
        return Ok(Source::Cache);
    }
    // The image must be large enough for the model and for the thumbnail.
    let input = &model.card().input;
    let size = (input.width.max(thumbnail::SIZE.0), input.height.max(thumbnail::SIZE.1));
    let name = poster.path.display().to_string();
    let image = catch_panic(&poster.path, || {
        let image = EncodedImage::read(&bytes, &name, options.max_pixels)?;
        let memory = options.memory.take(image.memory(size) + bytes.len() as u64, &name)?;
        Ok((image.decode_for(size)?, memory))
    });
    if image.is_ok() {
        model.compile()?;
    }
    let outcome = image.and_then(|(image, _memory)| {
        catch_panic(&poster.path, || {
            let thumbnail = thumbnail(&image);
            let probabilities = model.classify_image(image)?.into_probabilities();
            Ok(CachedPrediction { probabilities, thumbnail })
        })
    });
    // A failure without a hash is tried again in the next pass.
    let is_final = outcome.as_ref().map_or_else(PosterFailure::is_permanent, |_| true);
    state.record(poster, if is_final { &hash } else { &[] }, fingerprint, &outcome)?;
    Ok(Source::Model)
}

/// Runs code that handles untrusted bytes, and turns a panic into a failure of this poster.
fn catch_panic<T>(path: &Path, work: impl FnOnce() -> Result<T, PosterFailure>) -> Result<T, PosterFailure> {
    panics::catch(work).unwrap_or_else(|_| Err(PosterFailure::Panicked { path: path.to_path_buf() }))
}

/// Reads an image file of at most [`MAX_FILE_BYTES`], or of the budget if that is less.
fn read(path: &Path, memory: &Budget) -> Result<Vec<u8>, PosterFailure> {
    let unreadable = |cause| Error::Unreadable { name: path.display().to_string(), cause };
    let bytes = fs::metadata(path).map_err(unreadable)?.len();
    let limit = MAX_FILE_BYTES.min(memory.limit());
    if bytes > limit {
        return Err(PosterFailure::FileTooLarge { path: path.to_path_buf(), bytes, limit });
    }
    Ok(fs::read(path).map_err(unreadable)?)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::{io, panic};

    use super::*;
    use crate::catches_panics;
    use crate::collection::naming::Title;
    use crate::collection::poster_selection::Kind;
    use crate::preprocess;

    #[test]
    fn a_decoder_that_panics_fails_one_poster_and_prints_no_backtrace() {
        let printed = Arc::new(AtomicUsize::new(0));
        let (count, own) = (printed.clone(), std::thread::current().id());
        // As the program's hook, which prints a backtrace. Other tests may panic meanwhile.
        panic::set_hook(Box::new(move |_| {
            let prints = std::thread::current().id() == own && !catches_panics();
            count.fetch_add(usize::from(prints), Ordering::Relaxed);
        }));
        assert_eq!(catch_panic(Path::new("a.jpg"), || Ok(7)).unwrap(), 7);
        let failure = catch_panic::<()>(Path::new("b.jpg"), || panic!("index out of bounds")).unwrap_err();
        assert_eq!(failure.to_string(), "b.jpg: the decoder gave up; it is damaged, fetch it again");
        assert_eq!(catch_panic(Path::new("c.jpg"), || Ok(8)).unwrap(), 8);
        assert_eq!(printed.load(Ordering::Relaxed), 0);
        panic::catch_unwind(|| panic!("of another kind")).unwrap_err();
        assert_eq!(printed.load(Ordering::Relaxed), 1, "the program's own panics must be seen");
    }

    #[test]
    fn a_poster_that_vanishes_after_the_scan_is_named_and_the_others_are_tagged() {
        let folder = tempfile::tempdir().unwrap();
        let poster = |ordinal: i64, name: &str| ScannedPoster {
            ordinal,
            path: folder.path().join(name),
            size: 7,
            mtime: 5,
            kind: Kind::Film,
            title: Title { title: name.into(), year: None },
            video: None,
            common_name: None,
            has_own_folder: true,
        };
        fs::copy(fixtures::path("posters/space-baseline.jpg"), folder.path().join("there.jpg")).unwrap();
        let state = State::open(&folder.path().join("state"), true).unwrap();
        state.add(&[poster(1, "gone.jpg"), poster(2, "there.jpg")]).unwrap();
        let model = Model::shipped().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let options = TagOptions { max_pixels: preprocess::MAX_PIXELS, memory: Budget::new(8 << 20), force: false };
        let stats = classify_unknown(&state, &model, &pool, &options, &AtomicBool::new(false), || {}).unwrap();
        assert_eq!(stats, PassStats { read: [1, 2].into(), cache_hits: 0 });
        let known = state.next_known(model.fingerprint(), 0, 9).unwrap();
        let message = known[0].outcome.as_ref().unwrap_err().to_string();
        assert!(message.contains("gone.jpg: cannot be read"), "{message}");
        assert!(known[1].outcome.is_ok(), "{known:?}");
        // The next pass reads it again, since it may have come back.
        state.begin().unwrap();
        state.add(&[poster(1, "gone.jpg"), poster(2, "there.jpg")]).unwrap();
        assert_eq!(state.unknown_count(model.fingerprint()).unwrap(), 1);
    }

    #[test]
    fn failures_that_may_pass_are_not_permanent() {
        let (name, path) = (String::new(), PathBuf::new());
        let cases: [(PosterFailure, bool); 7] = [
            (Error::Unreadable { name: name.clone(), cause: io::Error::other("") }.into(), false),
            (Error::TooLarge { name: name.clone(), width: 9, height: 9, limit: 1 }.into(), false),
            (Error::TooMuchMemory { name: name.clone(), bytes: 9, limit: 1 }.into(), false),
            (PosterFailure::FileTooLarge { path: path.clone(), bytes: 9, limit: 1 }, false),
            (Error::Damaged { name: name.clone(), reason: name.clone() }.into(), true),
            (Error::Empty { name }.into(), true),
            (PosterFailure::Panicked { path }, true),
        ];
        for (failure, is_permanent) in cases {
            assert_eq!(failure.is_permanent(), is_permanent, "{failure:?}");
        }
    }
}
