//! Knowledge distillation: the teachers' probabilities for the training posters, computed once and cached.

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
use crate::files::{check_cache_len, write_cache};
use crate::progress::progress_bar;

/// The mean of several exported models' probabilities for each poster of a dataset, `[N, G]`, with the columns in the
/// order of the dataset's genres. Each model gets the posters at its own input size. The directory `cache` keeps the
/// probabilities of each model.
///
/// # Errors
/// If a model cannot be used or lacks a genre, or the cache cannot be written or is damaged.
pub fn mean_probabilities(models: &[PathBuf], set: &PosterSet, cache: &Path) -> Result<Vec<f32>> {
    let mut mean = vec![0.0; set.len() * set.genres.len()];
    for path in models {
        let model = OnnxModel::open(path)?;
        let columns: Vec<usize> = set
            .genres
            .iter()
            .map(|genre| model.card().genres.iter().position(|own| own == genre))
            .collect::<Option<_>>()
            .with_context(|| {
                format!("{}: does not know every genre of the posters; name a teacher that does", path.display())
            })?;
        let probabilities = cached_probabilities(&model, set.dataset(), cache)?;
        let genres = model.card().genres.len();
        ensure!(
            probabilities.len() == set.len() * genres,
            "{}: sees posters that cannot be read at another size; remove them from the CSV file",
            path.display()
        );
        for (mean, row) in mean.chunks_exact_mut(columns.len()).zip(probabilities.chunks_exact(genres)) {
            for (mean, column) in mean.iter_mut().zip(&columns) {
                *mean += row[*column] / models.len() as f32;
            }
        }
    }
    Ok(mean)
}

/// One model's probabilities for the posters that can be read at its input size, `[N, genres of the model]`.
fn cached_probabilities(model: &OnnxModel, dataset: Dataset, cache: &Path) -> Result<Vec<f32>> {
    let input = &model.card().input;
    let set = PosterSet::load(dataset, input, cache)?;
    let key = runtime::model::fingerprint(format!("teacher 1 {} {}", model.fingerprint(), set.fingerprint).as_bytes());
    let path = cache.join(format!("{key}.teacher"));
    if !path.exists() {
        let bar = progress_bar(set.len() as u64, "computing the teacher's probabilities");
        let rows: Vec<Vec<f32>> = (0..set.len())
            .into_par_iter()
            .progress_with(bar.clone())
            .map(|index| {
                let mut planes = vec![0.0; input.len()];
                preprocess::normalise(set.pixels.get(index), input, &mut planes);
                model.probabilities(&planes)
            })
            .collect::<Result<_, _>>()?;
        bar.finish_and_clear();
        let bytes: Vec<u8> = rows.concat().into_iter().flat_map(f32::to_le_bytes).collect();
        write_cache(&path, |file| Ok(file.write_all(&bytes)?))?;
    }
    let bytes = fs::read(&path).with_context(|| format!("{}: cannot be read", path.display()))?;
    check_cache_len(&path, bytes.len(), set.len() * model.card().genres.len() * size_of::<f32>())?;
    Ok(bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
}
