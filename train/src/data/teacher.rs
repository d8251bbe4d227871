//! Knowledge distillation: the teachers' probabilities for the training posters, computed once and cached, or read from a
//! table.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use indicatif::ParallelProgressIterator;
use rayon::prelude::*;
use runtime::Model as OnnxModel;
use runtime::dataset::{Dataset, LabelledPoster};
use runtime::preprocess;

use super::PosterSet;
use crate::files::{check_cache_len, write_cache};
use crate::progress::progress_bar;

/// The mean of several teachers' probabilities for each poster of a dataset, `[N, G]`, with the columns in the order of the
/// dataset's genres. A teacher is an exported model, which gets the posters at its own input size and whose probabilities
/// the directory `cache` keeps, or a CSV file with a column `Id` and one column of probabilities a genre.
///
/// # Errors
/// If a teacher cannot be used or lacks a genre or a poster, or the cache cannot be written or is damaged.
pub fn mean_probabilities(teachers: &[PathBuf], set: &PosterSet, cache: &Path) -> Result<Vec<f32>> {
    let mut mean = vec![0.0; set.len() * set.genres.len()];
    let share = |probability: f32| probability / teachers.len() as f32;
    for path in teachers {
        if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")) {
            let probabilities = table_probabilities(path, set)?;
            mean.iter_mut().zip(probabilities).for_each(|(mean, probability)| *mean += share(probability));
            continue;
        }
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
                *mean += share(row[*column]);
            }
        }
    }
    Ok(mean)
}

/// The probabilities of a CSV file for each poster of a dataset, `[N, G]`, found by the poster's id.
fn table_probabilities(path: &Path, set: &PosterSet) -> Result<Vec<f32>> {
    let name = path.display();
    let mut reader = csv::Reader::from_path(path).with_context(|| format!("{name}: cannot be read"))?;
    let headers = reader.headers()?.clone();
    let column = |wanted: &str| headers.iter().position(|header| header.trim().eq_ignore_ascii_case(wanted));
    let id = column("Id").with_context(|| format!("{name}: has no column \"Id\""))?;
    let columns: Vec<usize> = set
        .genres
        .iter()
        .map(|genre| {
            column(genre).with_context(|| format!("{name}: has no column \"{genre}\"; a teacher needs every genre"))
        })
        .collect::<Result<_>>()?;
    let mut rows = HashMap::new();
    for record in reader.records() {
        let record = record.with_context(|| format!("{name}: cannot be read as CSV"))?;
        let id = record.get(id).unwrap_or_default().to_string();
        let cell = |column: &usize| {
            let text = record.get(*column).unwrap_or_default().trim();
            let value = text.parse::<f32>().ok().filter(|value| (0.0..=1.0).contains(value));
            value.with_context(|| format!("{name}: \"{text}\" of poster \"{id}\" is no probability from 0 to 1"))
        };
        let row: Vec<f32> = columns.iter().map(cell).collect::<Result<_>>()?;
        rows.insert(id, row);
    }
    let row = |poster: &LabelledPoster| {
        rows.get(&poster.id).with_context(|| format!("{name}: has no row for the poster \"{}\"", poster.id))
    };
    Ok(set.posters.iter().map(row).collect::<Result<Vec<_>>>()?.into_iter().flatten().copied().collect())
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

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::preprocess::InputSpec;

    #[test]
    fn probabilities_of_a_table_are_found_by_id_and_genre() {
        let folder = tempfile::tempdir().unwrap();
        let poster = |id: &str| {
            let path = folder.path().join(format!("{id}.png"));
            image::RgbImage::from_pixel(40, 60, image::Rgb([9; 3])).save(&path).unwrap();
            LabelledPoster { id: id.into(), path, labels: vec![Some(true), None], any_of: Vec::new() }
        };
        let dataset = Dataset {
            genres: vec!["Drama".into(), "War".into()],
            posters: vec![poster("b"), poster("a")],
            passed_over: Vec::new(),
        };
        let set = PosterSet::load(dataset, &InputSpec::rgb(32, 48), &folder.path().join("cache")).unwrap();
        let table = folder.path().join("teacher.csv");
        let read = |text: &str| {
            fs::write(&table, text).unwrap();
            mean_probabilities(std::slice::from_ref(&table), &set, folder.path()).map_err(|error| error.to_string())
        };
        assert_eq!(read("war,Id,Drama\n0.25,a,0.5\n1,b,0\n0,c,0\n").unwrap(), [0.0, 1.0, 0.5, 0.25]);
        for (text, reason) in [
            ("Drama,War\n1,1\n", "has no column \"Id\""),
            ("Id,Drama\na,1\nb,1\n", "has no column \"War\"; a teacher needs every genre"),
            ("Id,Drama,War\na,1,1\n", "has no row for the poster \"b\""),
            ("Id,Drama,War\na,1,1\nb,1,1.5\n", "\"1.5\" of poster \"b\" is no probability from 0 to 1"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.ends_with(reason) && error.contains("teacher.csv: "), "{error}");
        }
    }
}
