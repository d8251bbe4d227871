//! Pixel cache: decoded and resized posters in a memory-mapped file, so that each is decoded once instead of once an
//! epoch.
//!
//! The file's name is a hash of every image file's content and of the input's size: another dataset, a changed image
//! or another size has another file, so that a cache file is never stale. It holds `[N, height, width, 3]` bytes,
//! then `N` bytes, 1 for a poster that could be decoded and 0 for one that could not.

use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use indicatif::ParallelProgressIterator;
use memmap2::Mmap;
use rayon::prelude::*;
use runtime::dataset::LabelledPoster;
use runtime::preprocess::{self, InputSpec};
use sha2::{Digest, Sha256};

use crate::files::{map_cache, write_cache};
use crate::progress::progress_bar;

/// Must change with every change of the preprocessing or of the file's layout.
const VERSION: &str = "pixels 4";

/// Posters decoded at a time, which bounds the memory.
const CHUNK: usize = 512;

/// Pixels of many posters, all of one size.
pub struct Pixels {
    map: Mmap,
    poster_len: usize,
    /// The cache file's index of each poster that could be decoded.
    indices: Vec<usize>,
}

impl Pixels {
    /// The pixels of a poster, `[height, width, 3]`.
    ///
    /// # Panics
    /// If there are no more than `index` posters.
    pub fn get(&self, index: usize) -> &[u8] {
        let start = self.indices[index] * self.poster_len;
        &self.map[start..start + self.poster_len]
    }
}

/// Posters with their pixels, as [`load`] returns them.
pub struct PixelCache {
    /// Pixels of the readable posters.
    pub pixels: Pixels,
    /// The readable posters, in the order given.
    pub posters: Vec<LabelledPoster>,
    /// An error message for each of the others.
    pub unreadable: Vec<String>,
    /// Hash of the files' contents and the input's size.
    pub key: String,
}

/// Maps the cache file of these posters from the directory `folder`; makes it first if it does not exist.
///
/// # Errors
/// If the cache file cannot be written or mapped, or is damaged.
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
        write_cache(&path, |file| decode(&present, input, file))?;
    }
    let poster_len = input.len();
    let map = map_cache(&path, present.len() * (poster_len + 1))?;

    let decoded = &map[present.len() * poster_len..];
    let indices: Vec<usize> = (0..present.len()).filter(|&index| decoded[index] == 1).collect();
    let (mut readable, mut damaged) = (Vec::new(), Vec::new());
    for (index, poster) in present.into_iter().enumerate() {
        if decoded[index] == 1 { readable.push(poster) } else { damaged.push(poster) }
    }
    // The cache does not keep error messages: decoding fails again in the same way.
    unreadable.extend(
        damaged
            .par_iter()
            .filter_map(|poster| Some(preprocess::open_for(&poster.path, input.size()).err()?.to_string()))
            .collect::<Vec<_>>(),
    );
    Ok(PixelCache { pixels: Pixels { map, poster_len, indices }, posters: readable, unreadable, key })
}

/// Decodes and resizes posters and writes them in the layout of a cache file.
fn decode(posters: &[LabelledPoster], input: &InputSpec, file: &mut impl Write) -> Result<()> {
    let bar = progress_bar(posters.len() as u64, "decoding posters");
    let mut decoded = Vec::with_capacity(posters.len());
    for chunk in posters.chunks(CHUNK) {
        let images: Vec<_> = chunk
            .par_iter()
            .progress_with(bar.clone())
            .map(|poster| {
                Some(preprocess::open_for(&poster.path, input.size()).ok()?.resize(input.width, input.height))
            })
            .collect();
        for image in images {
            decoded.push(u8::from(image.is_some()));
            file.write_all(&image.map_or_else(|| vec![0; input.len()], preprocess::Rgb8Image::into_raw))?;
        }
    }
    bar.finish_and_clear();
    Ok(file.write_all(&decoded)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    #[test]
    fn a_truncated_cache_file_is_an_error_that_says_to_delete_it() {
        let folder = tempfile::tempdir().unwrap();
        let posters: Vec<LabelledPoster> = [3_u8, 200]
            .map(|value| {
                let path = folder.path().join(format!("{value}.png"));
                image::RgbImage::from_pixel(40, 60, image::Rgb([value; 3])).save(&path).unwrap();
                LabelledPoster { id: value.to_string(), path, labels: vec![Some(true)], any_of: Vec::new() }
            })
            .into();
        let (input, cache) = (InputSpec::rgb(32, 48), folder.path().join("cache"));
        let loaded = load(posters.clone(), &input, &cache).unwrap();
        assert_eq!((loaded.posters.len(), loaded.pixels.get(1)), (2, &[200; 32 * 48 * 3][..]));
        let path = cache.join(format!("{}.pixels", loaded.key));
        drop(loaded);

        OpenOptions::new().write(true).open(&path).unwrap().set_len(5000).unwrap();
        let error = load(posters, &input, &cache).err().unwrap().to_string();
        assert!(error.ends_with("it has 5000 bytes instead of 9218; delete it, and it is made again"), "{error}");
    }
}
