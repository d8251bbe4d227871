//! Instruction counts of each stage from the bytes of a poster to its genres, by gungraun and valgrind's callgrind, so
//! that a slower stage shows on a machine that is too noisy to measure times.
//!
//! A stage fails that takes more than [`TOLERANCE`] above its recorded count. Make it faster, or record the new count
//! here and say why in the commit. Counts are those of valgrind's processor, which has AVX2 where the real one has, and
//! never AVX-512; they differ a little between compilers and processors. Instructions are not time: a change that moves
//! them needs a look at `cargo bench -p benches --bench stages`.

#![allow(missing_docs, reason = "the macros of gungraun make undocumented functions")]

use std::fs;
use std::hint::black_box;

use gungraun::{Callgrind, EventKind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use runtime::Model;
use runtime::preprocess::{self, DecodedImage, MAX_PIXELS};

/// The share of its recorded count by which a stage may grow.
const TOLERANCE: f64 = 0.03;

/// The input of each stage, made before counting begins.
struct Inputs {
    model: Model,
    bytes: Vec<u8>,
    picture: DecodedImage,
    tensor: Vec<f32>,
    probabilities: Vec<f32>,
}

/// Never dropped, so that no stage is charged for it.
fn inputs() -> &'static Inputs {
    let model = Model::shipped().expect("the shipped model can be used");
    let bytes = fs::read(fixtures::path("posters/adventure-photographic.jpg")).expect("the poster can be read");
    let spec = &model.card().input;
    let picture = preprocess::decode_for(&bytes, "drawn", MAX_PIXELS, spec.size()).expect("the poster is sound");
    let tensor = preprocess::tensor(&picture, spec);
    let probabilities = model.probabilities(&tensor).expect("the model runs");
    Box::leak(Box::new(Inputs { model, bytes, picture, tensor, probabilities }))
}

/// Limits a stage to its recorded count, which holds for x86-64 with AVX2; other processors have none.
fn recorded(instructions: u32) -> LibraryBenchmarkConfig {
    let mut callgrind = Callgrind::with_args(["--cache-sim=no"]);
    if cfg!(target_arch = "x86_64") {
        let limit = f64::from(instructions) * (1.0 + TOLERANCE);
        callgrind.hard_limits([(EventKind::Ir, limit as u64)]);
    }
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(callgrind);
    config
}

#[library_benchmark(config = recorded(38_724_792))]
#[bench::shipped()]
fn load() -> Model {
    let model = Model::shipped().expect("the shipped model can be used");
    model.compile().expect("the shipped model can be run");
    model
}

#[library_benchmark(config = recorded(21_832_300))]
#[bench::photographic(inputs())]
fn decode(inputs: &Inputs) -> DecodedImage {
    let size = inputs.model.card().input.size();
    preprocess::decode_for(black_box(&inputs.bytes), "drawn", MAX_PIXELS, size).expect("the poster is sound")
}

#[library_benchmark(config = recorded(14_148_545))]
#[bench::photographic(inputs())]
fn resize(inputs: &Inputs) -> Vec<f32> {
    preprocess::tensor(black_box(&inputs.picture), &inputs.model.card().input)
}

#[library_benchmark(config = recorded(183_911_054))]
#[bench::photographic(inputs())]
fn infer(inputs: &Inputs) -> Vec<f32> {
    inputs.model.probabilities(black_box(&inputs.tensor)).expect("the model runs")
}

#[library_benchmark(config = recorded(458))]
#[bench::photographic(inputs())]
fn threshold(inputs: &Inputs) -> Vec<usize> {
    inputs.model.default_operating_point().decide(black_box(&inputs.probabilities))
}

library_benchmark_group!(name = stages, benchmarks = [load, decode, resize, infer, threshold]);
main!(library_benchmark_groups = stages);
