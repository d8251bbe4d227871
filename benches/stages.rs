//! Each stage from the bytes of a poster to its genres, and the whole path, at usual poster sizes; with the feature
//! `peers` also what others use for the same work, on the same files and in the same run.

#![allow(missing_docs, reason = "the macros of criterion make undocumented functions")]

use std::fs;
use std::hint::black_box;

use benches::{models, pin, posters};
use criterion::{Criterion, criterion_group, criterion_main};
use runtime::network::Network;
use runtime::poster::{self, MAX_PIXELS};
use runtime::threshold;

fn from_bytes_to_tensor(criterion: &mut Criterion) {
    pin();
    let network = Network::shipped().expect("the shipped model can be used");
    let card = network.card();
    let point = threshold::find(&card.operating_points, None).expect("a card has operating points");
    let folder = tempfile::tempdir().expect("a folder can be made");

    for poster in posters() {
        let (name, bytes) = (&poster.name, &poster.jpeg);
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("a file can be written");
        let size = card.input.size();
        let decode = || poster::decode_for(black_box(bytes), name, MAX_PIXELS, size).expect("the poster is sound");
        let picture = decode();

        let mut group = criterion.benchmark_group(name);
        group.bench_function("read", |bench| bench.iter(|| fs::read(black_box(&path))));
        group.bench_function("decode", |bench| bench.iter(decode));
        group.bench_function("resize and normalise", |bench| {
            bench.iter(|| poster::tensor(black_box(&picture), &card.input));
        });
        group.bench_function("bytes to tensor", |bench| {
            bench.iter(|| poster::tensor(&decode(), &card.input));
        });
        #[cfg(feature = "peers")]
        group.bench_function("bytes to tensor, image", |bench| {
            bench.iter(|| benches::peers::tensor(black_box(bytes), &card.input));
        });
        group.bench_function("whole path", |bench| {
            bench.iter(|| {
                let picture = poster::open_for(black_box(&path), size).expect("the poster is sound");
                point.decide(&network.classify(picture).expect("the network runs"))
            });
        });
    }
}

fn from_tensor_to_genres(criterion: &mut Criterion) {
    pin();
    for (path, network) in models() {
        let card = network.card();
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let poster = fixtures::photographic::jpeg(300, 444, false).expect("300 x 444 is the size of a poster");
        let input = poster::tensor(&poster::decode(&poster, "drawn").expect("the poster is sound").into(), &card.input);

        let mut group = criterion.benchmark_group(name);
        group.bench_function("infer", |bench| bench.iter(|| network.probabilities(black_box(&input))));
        #[cfg(feature = "peers")]
        {
            let mut rten = benches::peers::rten(&path, &card.input);
            group.bench_function("infer, rten", |bench| bench.iter(|| rten(black_box(&input))));
            if std::env::var_os("ORT_DYLIB_PATH").is_some() {
                let mut onnx_runtime = benches::peers::onnx_runtime(&path, &card.input);
                group.bench_function("infer, ONNX Runtime", |bench| bench.iter(|| onnx_runtime(black_box(&input))));
            } else {
                eprintln!("ONNX Runtime is left out: ORT_DYLIB_PATH names no library");
            }
        }
        let probabilities = network.probabilities(&input).expect("the network runs");
        let point = threshold::find(&card.operating_points, None).expect("a card has operating points");
        group.bench_function("threshold", |bench| bench.iter(|| point.decide(black_box(&probabilities))));
        group.bench_function("load", |bench| bench.iter(|| Network::open(&path)));
    }
}

criterion_group!(benches, from_bytes_to_tensor, from_tensor_to_genres);
criterion_main!(benches);
