//! Each stage in a function of its own, for `benches/instructions` to count what valgrind's callgrind sees between its
//! call and its return. `counted POSTER` calls each once.

use std::{env, fs, hint};

use runtime::network::Network;
use runtime::poster::{self, Input, MAX_PIXELS, Picture};
use runtime::threshold::{self, OperatingPoint};

fn main() {
    let path = env::args().nth(1).expect("usage: counted POSTER");
    let bytes = fs::read(path).expect("the poster can be read");
    let network = Network::shipped().expect("the shipped model can be used");
    let card = network.card();
    let point = threshold::find(&card.operating_points, None).expect("a card has operating points");
    let picture = counted_decode(&bytes, &card.input);
    let input = counted_resize(&picture, &card.input);
    let probabilities = counted_infer(&network, &input);
    hint::black_box(counted_threshold(point, &probabilities));
}

#[unsafe(no_mangle)]
#[inline(never)]
fn counted_decode(bytes: &[u8], input: &Input) -> Picture {
    poster::decode_for(bytes, "drawn", MAX_PIXELS, input.size()).expect("the poster is sound")
}

#[unsafe(no_mangle)]
#[inline(never)]
fn counted_resize(picture: &Picture, input: &Input) -> Vec<f32> {
    poster::tensor(picture, input)
}

#[unsafe(no_mangle)]
#[inline(never)]
fn counted_infer(network: &Network, input: &[f32]) -> Vec<f32> {
    network.probabilities(input).expect("the network runs")
}

#[unsafe(no_mangle)]
#[inline(never)]
fn counted_threshold(point: &OperatingPoint, probabilities: &[f32]) -> Vec<usize> {
    point.decide(probabilities)
}
