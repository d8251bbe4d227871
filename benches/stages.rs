//! Each stage from the bytes of a poster to its genres, and the whole path, at usual poster sizes.

#![allow(missing_docs, reason = "the macros of criterion make undocumented functions")]

use std::hint::black_box;

use benches::{SIZES, jpeg, models};
use criterion::{Criterion, criterion_group, criterion_main};
use runtime::network::Network;
use runtime::{poster, threshold};

fn stages(criterion: &mut Criterion) {
    let network = Network::shipped().expect("the shipped model can be used");
    let card = network.card();
    let point = threshold::find(&card.operating_points, None).expect("a card has operating points");

    for (width, height) in SIZES {
        let bytes = jpeg(width, height);
        let size = format!("{width}x{height}");
        let picture = poster::decode(&bytes, "bench").expect("the poster is sound");
        criterion.bench_function(&format!("decode, {size}"), |bench| {
            bench.iter(|| poster::decode(black_box(&bytes), "bench"));
        });
        criterion.bench_function(&format!("resize and normalise, {size}"), |bench| {
            bench.iter(|| poster::tensor(black_box(&picture), &card.input));
        });
        criterion.bench_function(&format!("whole path, {size}"), |bench| {
            bench.iter(|| {
                let picture = poster::decode(black_box(&bytes), "bench").expect("the poster is sound");
                point.decide(&network.classify(&picture).expect("the network runs"))
            });
        });
    }

    for (name, network) in models() {
        let input = vec![0.1; network.card().input.len()];
        criterion.bench_function(&format!("inference, {name}"), |bench| {
            bench.iter(|| network.probabilities(black_box(&input)));
        });
    }
    criterion.bench_function("load the shipped model", |bench| bench.iter(Network::shipped));
}

criterion_group!(benches, stages);
criterion_main!(benches);
