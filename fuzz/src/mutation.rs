//! Mutations of files, without knowledge of their formats.

use rand::{Rng, RngExt};

/// Values of a length, a size or a count at which programs go wrong.
const EDGES: [u64; 10] = [0, 1, 2, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0xFFFF_FFFF, u64::MAX];

/// The largest part of a file that is copied, removed or inserted at once, in bytes.
const PART: usize = 512;

/// One file of the corpus after 1 to 8 changes.
pub fn mutate(corpus: &[Vec<u8>], rng: &mut impl Rng) -> Vec<u8> {
    let mut bytes = pick(corpus, rng).clone();
    for _ in 0..1 << rng.random_range(0..4) {
        change(&mut bytes, corpus, rng);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], rng: &mut impl Rng) {
    let at = rng.random_range(0..=bytes.len());
    let end = rng.random_range(at..=bytes.len().min(at + PART));
    match rng.random_range(0..16) {
        // Flip a bit.
        0..4 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
        // Set a byte.
        4..6 if at < bytes.len() => bytes[at] = rng.random(),
        // Set a field of 1, 2, 4 or 8 bytes, in either order of bytes.
        6..9 => {
            let value = EDGES[rng.random_range(0..EDGES.len())];
            let len: usize = 1 << rng.random_range(0..4_u32);
            let field = if rng.random() {
                value.to_le_bytes()[..len].to_vec()
            } else {
                value.to_be_bytes()[8 - len..].to_vec()
            };
            bytes.iter_mut().skip(at).zip(field).for_each(|(byte, new)| *byte = new);
        }
        9 => bytes.truncate(at),
        10 => drop(bytes.drain(at..end)),
        // Repeat a part, there or elsewhere.
        11 => {
            let part = bytes[at..end].to_vec();
            let to = rng.random_range(0..=bytes.len());
            drop(bytes.splice(to..to, part));
        }
        // Insert a part of another file.
        12..14 => {
            let other = pick(corpus, rng);
            let from = rng.random_range(0..=other.len());
            let part = &other[from..rng.random_range(from..=other.len().min(from + PART))];
            drop(bytes.splice(at..at, part.iter().copied()));
        }
        // Go on as another file does.
        14 => {
            let other = pick(corpus, rng);
            bytes.truncate(at);
            bytes.extend(&other[at.min(other.len())..]);
        }
        // One byte over and over.
        _ => {
            let byte = rng.random();
            bytes[at..end].fill(byte);
        }
    }
}

fn pick<'a>(corpus: &'a [Vec<u8>], rng: &mut impl Rng) -> &'a Vec<u8> {
    &corpus[rng.random_range(0..corpus.len())]
}
