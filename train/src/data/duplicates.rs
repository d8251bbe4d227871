//! Near-identical posters: the same picture in another size, crop or compression.
//!
//! Two parts of a data set that share a poster are not two parts: what was learned by heart in one would pass for
//! knowledge in the other.

use image::RgbImage;
use image_hasher::{HashAlg, HasherConfig};
use runtime::preprocess::Rgb8Image;

/// A perceptual hash of 16 x 16 brightness gradients ("dHash", N. Krawetz, 2013), 256 bits.
pub type Hash = [u64; 4];

/// The most bits in which the hashes of near-identical posters differ. Unrelated posters differ in about 128.
pub const NEAR: u32 = 26;

/// The hash of a poster.
pub fn hash(picture: Rgb8Image) -> Hash {
    let (width, height) = picture.dimensions();
    let picture = RgbImage::from_raw(width, height, picture.into_raw()).expect("three samples for each pixel");
    let hash = HasherConfig::new().hash_size(16, 16).hash_alg(HashAlg::Gradient).to_hasher().hash_image(&picture);
    let mut words = [0; 4];
    for (word, bytes) in words.iter_mut().zip(hash.as_bytes().chunks(8)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    }
    words
}

/// The number of bits in which two hashes differ.
pub fn distance(a: &Hash, b: &Hash) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// Groups of posters that are near-identical, directly or through others: for each poster the number of the first
/// poster of its group.
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
            if distance(&hashes[a], &hashes[b]) <= NEAR {
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
    fn another_size_is_near_and_another_poster_is_far() {
        let poster = |seed| {
            let mut rng = Pcg64::seed_from_u64(seed);
            let coarse = Rgb8Image::from_fn(9, 13, |_, _| rng.random());
            resize(&coarse, 182, 268)
        };
        let smaller = hash(resize(&poster(1), 96, 144));
        let (one, other) = (hash(poster(1)), hash(poster(2)));
        assert!(distance(&one, &smaller) <= NEAR);
        assert!(distance(&one, &other) > 2 * NEAR);
        assert_eq!(groups(&[other, one, smaller]), [0, 1, 1]);
    }

    #[test]
    fn groups_are_transitive() {
        let chain = |bits: u32| [if bits == 0 { 0 } else { u64::MAX >> (64 - bits) }, 0, 0, 0];
        assert_eq!(groups(&[chain(40), chain(0), chain(20), [u64::MAX; 4]]), [0, 0, 0, 3]);
    }
}
