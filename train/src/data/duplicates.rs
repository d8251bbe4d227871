//! Near-duplicate detection by perceptual hash: the same image in another size, crop or compression.
//!
//! Posters that the training and the test part share are leakage: a memorised poster would count as generalisation.

use image::RgbImage;
use image_hasher::{HashAlg, HasherConfig};
use runtime::preprocess::Rgb8Image;

/// A perceptual hash of 16 x 16 brightness gradients ("dHash", N. Krawetz, 2013), 256 bits.
pub type Hash = [u64; 4];

/// The largest Hamming distance between near-duplicates. Unrelated posters have a distance of about 128.
pub const MAX_DISTANCE: u32 = 26;

/// The hash of a poster.
pub fn hash(image: Rgb8Image) -> Hash {
    let (width, height) = image.dimensions();
    let image = RgbImage::from_raw(width, height, image.into_raw()).expect("three samples for each pixel");
    let hash = HasherConfig::new().hash_size(16, 16).hash_alg(HashAlg::Gradient).to_hasher().hash_image(&image);
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(hash.as_bytes().chunks(8)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}

/// The Hamming distance: the number of bits in which two hashes differ.
pub fn distance(a: &Hash, b: &Hash) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// Groups of near-duplicates, which are transitive: for each poster the index of the first poster of its group.
pub fn groups(hashes: &[Hash]) -> Vec<usize> {
    let mut first: Vec<usize> = (0..hashes.len()).collect();
    fn root(first: &[usize], mut poster: usize) -> usize {
        while first[poster] != poster {
            poster = first[poster];
        }
        poster
    }
    for b in 0..hashes.len() {
        for a in 0..b {
            if distance(&hashes[a], &hashes[b]) <= MAX_DISTANCE {
                let (a, b) = (root(&first, a), root(&first, b));
                first[a.max(b)] = a.min(b);
            }
        }
    }
    (0..hashes.len()).map(|poster| root(&first, poster)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg64;
    use runtime::preprocess::resize;

    #[test]
    fn a_resized_poster_is_a_near_duplicate_and_another_poster_is_not() {
        let poster = |seed| {
            let mut rng = Pcg64::seed_from_u64(seed);
            let coarse = Rgb8Image::from_fn(9, 13, |_, _| rng.random());
            resize(&coarse, 182, 268)
        };
        let smaller = hash(resize(&poster(1), 96, 144));
        let (first, other) = (hash(poster(1)), hash(poster(2)));
        assert!(distance(&first, &smaller) <= MAX_DISTANCE);
        assert!(distance(&first, &other) > 2 * MAX_DISTANCE);
        assert_eq!(groups(&[other, first, smaller]), [0, 1, 1]);
    }

    #[test]
    fn groups_are_transitive() {
        let chain = |bits: u32| [if bits == 0 { 0 } else { u64::MAX >> (64 - bits) }, 0, 0, 0];
        assert_eq!(groups(&[chain(40), chain(0), chain(20), [u64::MAX; 4]]), [0, 0, 0, 3]);
    }
}
