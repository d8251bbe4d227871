//! Feature extraction with a frozen backbone: its output for every poster is computed once and cached, instead of
//! once an epoch.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use half::f16;
use runtime::model::fingerprint;

use super::PosterSet;
use super::batches::{Batches, LoaderConfig, Source, TrainSampling};
use super::features::Features;
use crate::files::write_cache;
use crate::progress::progress_bar;

/// Must change with every change of the file's layout.
const VERSION: &str = "features 1";

/// Maps the features of a dataset from the directory `cache`; extracts them first if that has not been done.
///
/// `loader` says how posters are prepared; with [`TrainSampling`], each of the `views` is augmented with a seed of
/// its own. `extract` computes the features of a batch, `[N, length]`, from the number `N` and the inputs, `[N, 3,
/// height, width]`.
///
/// # Errors
/// If the cache file cannot be written or mapped, or is damaged.
pub fn load(
    set: &Arc<PosterSet>,
    loader: &LoaderConfig,
    views: usize,
    cache: &Path,
    extract: impl Fn(usize, Vec<f32>) -> Vec<f32>,
) -> Result<Features> {
    // The first poster's features stand for the backbone's weights in the cache key.
    let first = LoaderConfig { sampling: None, source: Source::Pixels, batch_size: 1, ..loader.clone() };
    let sample = Batches::new(set, &first).next().map(|batch| extract(batch.len, batch.inputs)).unwrap_or_default();
    let sampling = loader.sampling.as_ref().map(|sampling| (sampling.augmentation, sampling.seed));
    let key = format!("{VERSION} {} {views} {sampling:?} {sample:?}", set.fingerprint);
    let path = cache.join(format!("{}.features", fingerprint(key.as_bytes())));
    if !path.exists() {
        write_cache(&path, |file| {
            let bar = progress_bar((views * set.len()) as u64, "extracting features");
            for view in 0..views {
                let of_view = |sampling: &TrainSampling| TrainSampling {
                    seed: sampling.seed.wrapping_add(view as u64),
                    ..sampling.clone()
                };
                let loader = LoaderConfig { sampling: loader.sampling.as_ref().map(of_view), ..loader.clone() };
                for batch in Batches::in_order(set, &loader) {
                    bar.inc(batch.len as u64);
                    let features = extract(batch.len, batch.inputs);
                    let bytes: Vec<u8> =
                        features.into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect();
                    file.write_all(&bytes)?;
                }
            }
            bar.finish_and_clear();
            Ok(())
        })?;
    }
    Features::map(&path, views, set.len(), sample.len())
}
