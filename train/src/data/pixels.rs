//! Decoded posters in a memory-mapped file, so that a poster is decoded once and not once an epoch.
//!
//! The cache's name is a hash of every picture's content and of the input's size: another set, another picture or
//! another size is another file, and a file never goes stale. It holds `[N, height, width, 3]` bytes, then `N` bytes that
//! say whether the poster could be decoded.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use indicatif::ParallelProgressIterator;
use memmap2::Mmap;
use rayon::prelude::*;
use runtime::dataset::LabelledPoster;
use runtime::preprocess::{self, InputSpec};
use sha2::{Digest, Sha256};

use crate::commands::progress_bar;

/// Raises with every change of preprocessing or of the file's layout.
const VERSION: &str = "pixels 3";

/// Posters decoded at a time: bounds memory.
const CHUNK: usize = 512;

/// Pixels of many posters, all of one size.
pub struct Pixels {
    map: Mmap,
    poster_len: usize,
    places: Vec<usize>,
}

impl Pixels {
    /// The pixels of a poster, `[height, width, 3]`.
    pub fn get(&self, index: usize) -> &[u8] {
        let start = self.places[index] * self.poster_len;
        &self.map[start..start + self.poster_len]
    }
}

/// What [`load`] found.
pub struct PixelCache {
    /// Pixels of the readable posters.
    pub pixels: Pixels,
    /// The readable posters.
    pub posters: Vec<LabelledPoster>,
    /// Why the others are not.
    pub unreadable: Vec<String>,
    /// Hash of contents and settings.
    pub key: String,
}

/// Maps the cache of these posters, and makes it first where there is none yet.
///
/// # Errors
/// If the cache cannot be written or mapped.
pub fn load(posters: Vec<LabelledPoster>, input: &InputSpec, folder: &Path) -> Result<PixelCache> {
    let mut unreadable = Vec::new();
    let mut present = Vec::with_capacity(posters.len());
    let mut hasher = Sha256::new();
    hasher.update(format!("{VERSION} {} {} {:?}", input.width, input.height, input.resize));
    let hashes: Vec<_> = posters.par_iter().map(|poster| fs::read(&poster.path).map(Sha256::digest)).collect();
    for (poster, hash) in posters.into_iter().zip(hashes) {
        match hash {
            Ok(hash) => {
                hasher.update(hash);
                present.push(poster);
            }
            Err(error) => unreadable.push(format!("{}: cannot be read ({error})", poster.path.display())),
        }
    }
    let key: String = hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect();

    let path = folder.join(format!("{key}.pixels"));
    if !path.exists() {
        fs::create_dir_all(folder).with_context(|| format!("{}: cannot be made", folder.display()))?;
        write(&present, input, folder, &path)
            .with_context(|| format!("{}: cannot be written; name another folder with --cache", path.display()))?;
    }
    let file = File::open(&path).with_context(|| format!("{}: cannot be opened", path.display()))?;
    // SAFETY: the file appeared whole, its name is a hash of what it holds, and nothing in this project changes it.
    let map = unsafe { Mmap::map(&file) }.with_context(|| format!("{}: cannot be mapped", path.display()))?;

    let poster_len = input.len();
    let decoded = &map[present.len() * poster_len..];
    let places: Vec<usize> = (0..present.len()).filter(|&index| decoded[index] == 1).collect();
    let (mut readable, mut damaged) = (Vec::new(), Vec::new());
    for (index, poster) in present.into_iter().enumerate() {
        if decoded[index] == 1 { readable.push(poster) } else { damaged.push(poster) }
    }
    unreadable.extend(
        damaged
            .par_iter()
            .filter_map(|poster| Some(preprocess::open_for(&poster.path, input.size()).err()?.to_string()))
            .collect::<Vec<_>>(),
    );
    Ok(PixelCache { pixels: Pixels { map, poster_len, places }, posters: readable, unreadable, key })
}

fn write(posters: &[LabelledPoster], input: &InputSpec, folder: &Path, path: &Path) -> Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    let bar = progress_bar(posters.len() as u64, "decoding posters");
    let mut decoded = Vec::with_capacity(posters.len());
    for chunk in posters.chunks(CHUNK) {
        let pictures: Vec<_> = chunk
            .par_iter()
            .progress_with(bar.clone())
            .map(|poster| {
                Some(preprocess::open_for(&poster.path, input.size()).ok()?.resize(input.width, input.height))
            })
            .collect();
        for picture in pictures {
            decoded.push(u8::from(picture.is_some()));
            file.write_all(&picture.map_or_else(|| vec![0; input.len()], preprocess::Rgb8Image::into_raw))?;
        }
    }
    bar.finish_and_clear();
    file.write_all(&decoded)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
