//! A dataset in memory: the posters that can be read, with their labels and pixels.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, ensure};
use runtime::dataset::{Dataset, LabelledPoster};
use runtime::preprocess::InputSpec;

use super::pixels::{self, PixelCache, Pixels};
use crate::loss::Prior;

/// Posters that can be read, with their labels and their pixels at the input's size.
pub struct PosterSet {
    /// Genres, `[G]`, in the order of the labels.
    pub genres: Vec<String>,
    /// The posters, `[N]`.
    pub posters: Vec<LabelledPoster>,
    /// The distinct groups of genres, as indices into `genres`, of which some poster has at least one without telling
    /// which.
    pub groups: Vec<Vec<usize>>,
    /// The posters' pixels, in the same order.
    pub pixels: Pixels,
    /// Why each of the other posters cannot be read; those are in neither list above.
    pub unreadable: Vec<String>,
    /// Hash of the files' contents, the labels and the input's size.
    pub fingerprint: String,
}

impl PosterSet {
    /// Decodes the posters of a dataset, or takes their pixels from the cache, a directory.
    ///
    /// # Errors
    /// If the cache cannot be read or written, or no poster can be read.
    pub fn load(dataset: Dataset, input: &InputSpec, cache: &Path) -> Result<Self> {
        let genres = dataset.genres;
        let total = dataset.posters.len();
        let PixelCache { pixels, posters, unreadable, key } = pixels::load(dataset.posters, input, cache)?;
        ensure!(
            !posters.is_empty(),
            "none of the {total} posters can be read (first: {}); check the folder of the images",
            unreadable.first().map_or("", String::as_str)
        );
        let mut text = format!("{key}\n{}\n", genres.join("\t"));
        for poster in &posters {
            text.extend(poster.labels.iter().map(|label| label.map_or('?', |yes| if yes { '1' } else { '0' })));
            text.extend(poster.any_of.iter().map(|group| format!(" {group:?}")));
            text.push('\n');
        }
        let fingerprint = runtime::model::fingerprint(text.as_bytes());
        let groups: BTreeSet<Vec<usize>> = posters.iter().flat_map(|poster| poster.any_of.clone()).collect();
        Ok(Self { genres, groups: groups.into_iter().collect(), posters, pixels, unreadable, fingerprint })
    }

    /// The number of posters, `N`.
    pub fn len(&self) -> usize {
        self.posters.len()
    }

    /// Whether there is no poster.
    pub fn is_empty(&self) -> bool {
        self.posters.is_empty()
    }

    /// The class prior for the loss: each genre's prevalence, with add-one smoothing so that it is never 0 or 1, and
    /// the groups.
    pub fn prior(&self) -> Prior {
        let dataset = self.dataset();
        let known = dataset.support().into_iter().zip(dataset.count(Some(false)));
        let prevalence = known.map(|(yes, no)| (yes as f32 + 1.0) / ((yes + no) as f32 + 2.0)).collect();
        Prior { prevalence, groups: self.groups.clone() }
    }

    /// Genres and labels without the pixels, for [`runtime::metrics`].
    pub fn dataset(&self) -> Dataset {
        Dataset { genres: self.genres.clone(), posters: self.posters.clone(), passed_over: Vec::new() }
    }
}
