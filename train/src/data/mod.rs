//! Labelled posters on their way into the training loop.
//!
//! A [`manifest`](runtime::dataset) says which pictures there are, [`pixels`] decodes them once into a memory-mapped
//! cache, [`batches`] prepares batches ahead of the loop with [`augment`]ed pictures. [`split`] and [`duplicates`] make
//! honest parts out of one set.

pub mod augment;
pub mod batches;
pub mod duplicates;
pub mod features;
pub mod pixels;
pub mod split;
pub mod teacher;

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, ensure};
use runtime::dataset::{Dataset, LabelledPoster};
use runtime::preprocess::InputSpec;

use pixels::{PixelCache, Pixels};

use crate::loss::Prior;

/// Posters that can be read, with their pixels at the input's size and their labels.
pub struct PosterSet {
    /// Genres, in the order of the labels.
    pub genres: Vec<String>,
    /// The posters.
    pub posters: Vec<LabelledPoster>,
    /// The groups of genres that are known together only, in some poster, by their places.
    pub groups: Vec<Vec<usize>>,
    /// Pixels of each poster, in the same order.
    pub pixels: Pixels,
    /// Posters that cannot be read, each with the reason; they are in neither list above.
    pub unreadable: Vec<String>,
    /// Tells one set from another: the contents of the pictures, their labels and the input's size.
    pub fingerprint: String,
}

impl PosterSet {
    /// Decodes the posters of a manifest, or takes them from the cache.
    ///
    /// # Errors
    /// If the cache cannot be written, or no poster can be read.
    pub fn load(manifest: Dataset, input: &InputSpec, cache: &Path) -> Result<Self> {
        let genres = manifest.genres;
        let total = manifest.posters.len();
        let PixelCache { pixels, posters, unreadable, key } = pixels::load(manifest.posters, input, cache)?;
        ensure!(
            !posters.is_empty(),
            "none of the {total} posters can be read (first: {}); check the folder of the pictures",
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

    /// The number of posters.
    pub fn len(&self) -> usize {
        self.posters.len()
    }

    /// Whether there is no poster.
    pub fn is_empty(&self) -> bool {
        self.posters.is_empty()
    }

    /// What a loss must know of this set.
    pub fn prior(&self) -> Prior {
        let manifest = self.manifest();
        let known = manifest.support().into_iter().zip(manifest.count(Some(false)));
        // One poster more of either label: no genre is impossible, none certain.
        let prevalence = known.map(|(yes, no)| (yes as f32 + 1.0) / ((yes + no) as f32 + 2.0)).collect();
        Prior { prevalence, groups: self.groups.clone() }
    }

    /// Labels and genres without the pixels, for [`runtime::metrics`].
    pub fn manifest(&self) -> Dataset {
        Dataset { genres: self.genres.clone(), posters: self.posters.clone() }
    }
}
