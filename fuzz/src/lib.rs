//! Fuzz targets for what other people's files go through, and their inputs: files made by this project, mutated.
//!
//! A target is a function of bytes that panics where something is wrong. libFuzzer calls it (`fuzz_targets/`, with
//! cargo-fuzz and a nightly toolchain), and so does the program `fuzz`, with the stable one.

mod mutation;
mod seeds;
pub mod targets;

use std::fs;
use std::path::Path;

use rand_pcg::Pcg32;

/// A target and its corpus.
pub struct Target {
    /// Its name, that of its entry in `fuzz_targets/` and of its folder in `corpus/`.
    pub name: &'static str,
    /// Handles an input as the programs handle such a file, and panics if a promise is broken.
    pub run: fn(&[u8]),
    /// Valid files to start from.
    seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub static TARGETS: [Target; 9] = [
    Target { name: "jpeg", run: targets::jpeg, seeds: seeds::jpeg },
    Target { name: "png", run: targets::png, seeds: seeds::png },
    Target { name: "webp", run: targets::webp, seeds: seeds::webp },
    Target { name: "nfo", run: targets::nfo, seeds: seeds::nfo },
    Target { name: "state", run: targets::state, seeds: seeds::state },
    Target { name: "table", run: targets::table, seeds: seeds::table },
    Target { name: "onnx", run: targets::onnx, seeds: seeds::onnx },
    Target { name: "native", run: targets::native, seeds: seeds::native },
    Target { name: "card", run: targets::card, seeds: seeds::card },
];

impl Target {
    /// The files in `corpus/NAME`, in the order of their names, and the seeds.
    ///
    /// # Panics
    /// If a seed cannot be made or a file cannot be read.
    pub fn corpus(&self) -> Vec<Vec<u8>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(self.name);
        let mut paths: Vec<_> =
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        let read = |path| fs::read(path).expect("the corpus can be read");
        paths.into_iter().map(read).chain((self.seeds)()).collect()
    }
}

/// Input `index` of a run: first each file of the corpus as it is, then mutations. The same arguments give the same
/// bytes.
pub fn input(corpus: &[Vec<u8>], seed: u64, index: u64) -> Vec<u8> {
    match corpus.get(index as usize) {
        Some(file) => file.clone(),
        None => mutation::mutate(corpus, &mut Pcg32::new(seed, index)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_takes_its_corpus() {
        for target in &TARGETS {
            let corpus = target.corpus();
            assert!(!corpus.is_empty(), "{}: has no corpus", target.name);
            corpus.iter().for_each(|file| (target.run)(file));
        }
    }

    #[test]
    fn inputs_are_the_corpus_and_then_mutations_that_are_the_same_every_time() {
        let corpus = vec![vec![7; 300], b"<movie></movie>".to_vec()];
        let inputs = |seed| (0..200).map(|index| input(&corpus, seed, index)).collect::<Vec<_>>();
        assert_eq!(inputs(1)[..2], corpus);
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        let changed = inputs(1)[2..].iter().filter(|input| !corpus.contains(input)).count();
        assert!(changed > 190, "only {changed} of 198 inputs differ from the corpus");
    }
}
