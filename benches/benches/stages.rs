//! Latency of each stage from the bytes of a poster to its genres, and of the whole path, at usual poster sizes; with
//! the feature `baselines` also of other libraries that do the same work on the same files.

#![allow(missing_docs, reason = "the macros of criterion make undocumented functions")]

use std::fs;
use std::hint::black_box;

use benches::{models, pin, posters};
use criterion::{Criterion, criterion_group, criterion_main};
use runtime::Model;
use runtime::preprocess::{self, MAX_PIXELS};

fn from_bytes_to_tensor(criterion: &mut Criterion) {
    pin();
    let model = Model::shipped().expect("the shipped model can be used");
    let card = model.card();
    let point = model.default_operating_point();
    let folder = tempfile::tempdir().expect("a folder can be made");

    for poster in posters() {
        let (name, bytes) = (&poster.name, &poster.jpeg);
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file can be written");
        let size = card.input.size();
        let decode = || preprocess::decode_for(black_box(bytes), name, MAX_PIXELS, size).expect("the poster is sound");
        let picture = decode();

        let mut group = criterion.benchmark_group(name);
        group.bench_function("read", |bench| bench.iter(|| fs::read(black_box(&path))));
        group.bench_function("decode", |bench| bench.iter(decode));
        group.bench_function("resize and normalise", |bench| {
            bench.iter(|| preprocess::tensor(black_box(&picture), &card.input));
        });
        group.bench_function("bytes to tensor", |bench| {
            bench.iter(|| preprocess::tensor(&decode(), &card.input));
        });
        #[cfg(feature = "baselines")]
        group.bench_function("bytes to tensor, image", |bench| {
            bench.iter(|| benches::baselines::tensor(black_box(bytes), &card.input));
        });
        group.bench_function("whole path", |bench| {
            bench.iter(|| {
                let prediction = model.classify_file(black_box(&path)).expect("the poster is sound");
                point.decide(prediction.probabilities())
            });
        });
    }
}

fn from_tensor_to_genres(criterion: &mut Criterion) {
    pin();
    for (path, model) in models() {
        let card = model.card();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let poster = fixtures::photographic::jpeg(300, 444, false).expect("300 x 444 is the size of a poster");
        let input =
            preprocess::tensor(&preprocess::decode(&poster, "drawn").expect("the poster is sound").into(), &card.input);

        let mut group = criterion.benchmark_group(name);
        group.bench_function("infer", |bench| bench.iter(|| model.probabilities(black_box(&input))));
        #[cfg(feature = "baselines")]
        {
            let mut rten = benches::baselines::rten(&path, &card.input);
            group.bench_function("infer, rten", |bench| bench.iter(|| rten(black_box(&input))));
            if std::env::var_os("ORT_DYLIB_PATH").is_some() {
                let mut onnx_runtime = benches::baselines::onnx_runtime(&path, &card.input);
                group.bench_function("infer, ONNX Runtime", |bench| bench.iter(|| onnx_runtime(black_box(&input))));
            } else {
                eprintln!("ONNX Runtime is left out: ORT_DYLIB_PATH names no library");
            }
        }
        let probabilities = model.probabilities(&input).expect("the model runs");
        let point = model.default_operating_point();
        group.bench_function("threshold", |bench| bench.iter(|| point.decide(black_box(&probabilities))));
        group.bench_function("load", |bench| bench.iter(|| Model::open(&path)));
    }
}

criterion_group!(benches, from_bytes_to_tensor, from_tensor_to_genres);
criterion_main!(benches);
