//! What the frozen part of a trunk makes of posters, kept in a memory-mapped file: where most of a network does not learn,
//! its work need not be done again in every epoch.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;
use runtime::model::fingerprint;

use super::PosterSet;
use super::batches::{Batches, Pass, Training};
use crate::commands::progress_bar;

/// Raises with every change of the file's layout.
const VERSION: &str = "features 1";

/// Features of several views of each poster of a set, stored as 16-bit floats.
pub struct Features {
    map: Mmap,
    posters: usize,
    views: usize,
}

impl Features {
    /// The number of views of each poster.
    pub fn views(&self) -> usize {
        self.views
    }

    /// The features of a view of a poster.
    pub fn get(&self, poster: usize, view: usize) -> Vec<f32> {
        let len = self.map.len() / (self.posters * self.views);
        let bytes = &self.map[(view * self.posters + poster) * len..][..len];
        let values: Vec<f16> = bytes.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect();
        values.to_f32_vec()
    }
}

/// Maps the features of a set, and makes them first where they are not there yet. `pass` says how posters are prepared;
/// if it is one for training, each of the `views` has a seed of its own. `extract` makes the features of a batch,
/// `[N, length]`, from its inputs, `[N, 3, height, width]`.
///
/// # Errors
/// If the file cannot be written or mapped.
pub fn load(
    set: &Arc<PosterSet>,
    pass: &Pass,
    views: usize,
    cache: &Path,
    extract: impl Fn(usize, Vec<f32>) -> Vec<f32>,
) -> Result<Features> {
    // Other weights make other features of the first poster.
    let first = Pass { training: None, batch_size: 1, ..pass.clone() };
    let sample = Batches::new(set, &first).next().map(|batch| extract(batch.len, batch.inputs)).unwrap_or_default();
    let training = pass.training.as_ref().map(|training| (training.augmentation, training.seed));
    let text = format!("{VERSION} {} {views} {training:?} {sample:?}", set.fingerprint);
    let path = cache.join(format!("{}.features", fingerprint(text.as_bytes())));
    if !path.exists() {
        let failed = || format!("{}: cannot be written; name another folder with --cache", path.display());
        fs::create_dir_all(cache).with_context(failed)?;
        let mut file = tempfile::NamedTempFile::new_in(cache).with_context(failed)?;
        let bar = progress_bar((views * set.len()) as u64, "features of the frozen part");
        for view in 0..views {
            let seed =
                |training: &Training| Training { seed: training.seed.wrapping_add(view as u64), ..training.clone() };
            let pass = Pass { training: pass.training.as_ref().map(seed), ..pass.clone() };
            for batch in Batches::in_order(set, &pass) {
                bar.inc(batch.len as u64);
                let features = extract(batch.len, batch.inputs);
                let bytes: Vec<u8> =
                    features.into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect();
                file.write_all(&bytes).with_context(failed)?;
            }
        }
        bar.finish_and_clear();
        file.as_file().sync_all().with_context(failed)?;
        file.persist(&path).with_context(failed)?;
    }
    let file = File::open(&path).with_context(|| format!("{}: cannot be opened", path.display()))?;
    // SAFETY: the file appeared whole, its name is a hash of what it holds, and nothing in this project changes it.
    let map = unsafe { Mmap::map(&file) }.with_context(|| format!("{}: cannot be mapped", path.display()))?;
    Ok(Features { map, posters: set.len(), views })
}
