//! Features of a frozen backbone, in a memory-mapped cache file of f16 values.

use std::path::Path;

use anyhow::Result;
use half::f16;
use half::slice::HalfFloatSliceExt;
use memmap2::Mmap;

use crate::files::map_cache;

/// Features of several augmented views of each poster of a dataset, `[views, N, length]`, stored as f16.
pub struct Features {
    map: Mmap,
    posters: usize,
    views: usize,
    len: usize,
}

impl Features {
    /// Maps the features of that many views of that many posters, `len` values each, from a file.
    ///
    /// # Errors
    /// If the file cannot be mapped or has another length.
    pub fn map(path: &Path, views: usize, posters: usize, len: usize) -> Result<Self> {
        let map = map_cache(path, views * posters * len * size_of::<f16>())?;
        Ok(Self { map, posters, views, len })
    }

    /// The number of views of each poster.
    pub fn views(&self) -> usize {
        self.views
    }

    /// The features of one view of a poster, `[length]`.
    ///
    /// # Panics
    /// If there are no more than `poster` posters or `view` views.
    pub fn get(&self, poster: usize, view: usize) -> Vec<f32> {
        let len = self.len * size_of::<f16>();
        let bytes = &self.map[(view * self.posters + poster) * len..][..len];
        let values: Vec<f16> = bytes.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect();
        values.to_f32_vec()
    }
}
