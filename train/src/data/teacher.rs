//! What trained models say of the posters that a new one learns from.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use indicatif::ParallelProgressIterator;
use rayon::prelude::*;
use runtime::Model as OnnxModel;
use runtime::dataset::Dataset;
use runtime::preprocess;

use super::PosterSet;
use crate::commands::progress_bar;
use crate::run::write_whole;

/// The mean of several models' probabilities for each poster of a set, `[N, G]`. Each model sees the posters at its own
/// size. They are kept in `cache`, so that a run taken up again need not ask anew.
///
/// # Errors
/// If a model cannot be used or knows other genres, or the cache cannot be written.
pub fn probabilities(models: &[PathBuf], set: &PosterSet, cache: &Path) -> Result<Vec<f32>> {
    let mut mean = vec![0.0; set.len() * set.genres.len()];
    for path in models {
        let model = OnnxModel::open(path)?;
        let places: Vec<usize> = set
            .genres
            .iter()
            .map(|genre| model.card().genres.iter().position(|own| own == genre))
            .collect::<Option<_>>()
            .with_context(|| {
                format!("{}: does not know every genre of the posters; name a teacher that does", path.display())
            })?;
        let found = one(&model, set.manifest(), cache)?;
        let genres = model.card().genres.len();
        ensure!(
            found.len() == set.len() * genres,
            "{}: sees posters that cannot be read at another size; remove them from the CSV file",
            path.display()
        );
        for (mean, found) in mean.chunks_exact_mut(places.len()).zip(found.chunks_exact(genres)) {
            for (mean, place) in mean.iter_mut().zip(&places) {
                *mean += found[*place] / models.len() as f32;
            }
        }
    }
    Ok(mean)
}

/// One model's probabilities, `[N, its genres]`.
fn one(model: &OnnxModel, manifest: Dataset, cache: &Path) -> Result<Vec<f32>> {
    let input = &model.card().input;
    let set = PosterSet::load(manifest, input, cache)?;
    let key = runtime::model::fingerprint(format!("teacher 1 {} {}", model.fingerprint(), set.fingerprint).as_bytes());
    let path = cache.join(format!("{key}.teacher"));
    if !path.exists() {
        let bar = progress_bar(set.len() as u64, "asking the teacher");
        let found: Vec<Vec<f32>> = (0..set.len())
            .into_par_iter()
            .progress_with(bar.clone())
            .map(|index| {
                let mut planes = vec![0.0; input.len()];
                preprocess::normalise(set.pixels.get(index), input, &mut planes);
                model.probabilities(&planes)
            })
            .collect::<Result<_, _>>()?;
        bar.finish_and_clear();
        let bytes: Vec<u8> = found.concat().into_iter().flat_map(f32::to_le_bytes).collect();
        write_whole(&path, |file| Ok(file.write_all(&bytes)?))
            .with_context(|| format!("{}: cannot be written; name another folder with --cache", path.display()))?;
    }
    let bytes = fs::read(&path).with_context(|| format!("{}: cannot be read", path.display()))?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}
