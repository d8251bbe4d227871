//! Each stage in a function of its own, for `benches/instructions` to count what valgrind's callgrind sees between its
//! call and its return. `counted POSTER` calls each once.

use std::{env, fs, hint};

use runtime::Model;
use runtime::operating_point::{self, OperatingPoint};
use runtime::preprocess::{self, DecodedImage, InputSpec, MAX_PIXELS};

fn main() {
    let path = env::args().nth(1).expect("usage: counted POSTER");
    let bytes = fs::read(path).expect("the poster can be read");
    let model = Model::shipped().expect("the shipped model can be used");
    let card = model.card();
    let point = operating_point::find(&card.operating_points, None).expect("a card has operating points");
    let picture = counted_decode(&bytes, &card.input);
    let input = counted_resize(&picture, &card.input);
    let probabilities = counted_infer(&model, &input);
    hint::black_box(counted_threshold(point, &probabilities));
}

#[unsafe(no_mangle)]
#[inline(never)]
fn counted_decode(bytes: &[u8], input: &InputSpec) -> DecodedImage {
    preprocess::decode_for(bytes, "drawn", MAX_PIXELS, input.size()).expect("the poster is sound")
}

#[unsafe(no_mangle)]
#[inline(never)]
fn counted_resize(picture: &DecodedImage, input: &InputSpec) -> Vec<f32> {
    preprocess::tensor(picture, input)
}

#[unsafe(no_mangle)]
#[inline(never)]
fn counted_infer(model: &Model, input: &[f32]) -> Vec<f32> {
    model.probabilities(input).expect("the model runs")
}

#[unsafe(no_mangle)]
#[inline(never)]
fn counted_threshold(point: &OperatingPoint, probabilities: &[f32]) -> Vec<usize> {
    point.decide(probabilities)
}
