//! What it does to scores that the pixels of a large JPEG are never made: `agreement POSTERS.csv[=FOLDER] [COUNT]` takes
//! the first posters of a labelled set, enlarges each, adds grain, makes a JPEG of quality 90 with 4:2:0 colours of it,
//! and lets every model in `models/` look at it both ways. Prints how far probabilities and mean average precision (mAP)
//! are apart.

use benches::models;
use image::RgbImage;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use runtime::manifest::{Manifest, Source};
use runtime::network::Network;
use runtime::poster::{self, MAX_PIXELS, Picture};

/// Sizes to which the posters are enlarged.
const SIZES: [(u32, u32); 2] = [(1000, 1500), (2000, 3000)];

/// The grain is even noise of up to so many levels of 255 in either direction, of light alone: a standard deviation of 6.
const GRAIN: i32 = 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let source = arguments.next().expect("usage: agreement POSTERS.csv[=FOLDER] [COUNT]");
    let count = arguments.next().map_or(usize::MAX, |count| count.parse().expect("a number of posters"));
    let source: Source = source.parse().unwrap_or_else(|never| match never {});

    for (path, network) in models() {
        let card = network.card();
        let mut manifest = Manifest::read(&[source.clone()]).unwrap_or_else(|error| panic!("{error}"));
        manifest = manifest.with_genres(&card.genres);
        manifest.posters.truncate(count);
        let thresholds = &card.operating_points.first().expect("a card has operating points").thresholds;
        for size in SIZES {
            let (mut whole, mut short) = (Vec::new(), Vec::new());
            for poster in &manifest.posters {
                let original = poster::open(&poster.path).unwrap_or_else(|error| panic!("{error}"));
                let [a, b] = both_ways(&enlarge(&original, size), &network);
                whole.extend(a);
                short.extend(b);
            }
            let apart = || whole.iter().zip(&short).map(|(a, b)| (a - b).abs());
            let [before, after] =
                [&whole, &short].map(|it| manifest.evaluate(it, thresholds, None).averages.mean_average_precision);
            println!(
                "{}, {} posters at {} x {}: probabilities {:.4} apart at most, {:.5} on average; mAP {before:.4} of all \
                 pixels, {after:.4} without",
                path.file_name().unwrap_or_default().display(),
                manifest.posters.len(),
                size.0,
                size.1,
                apart().fold(0.0, f32::max),
                apart().sum::<f32>() / whole.len() as f32,
            );
        }
    }
}

/// A JPEG file of an enlarged poster with grain.
fn enlarge(poster: &RgbImage, (width, height): (u32, u32)) -> Vec<u8> {
    let mut picture = poster::resize(poster, width, height);
    let mut state = 1_u64;
    for pixel in picture.pixels_mut() {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let grain = (state >> 33) as i32 % (2 * GRAIN + 1) - GRAIN;
        pixel.0 = pixel.0.map(|value| (i32::from(value) + grain).clamp(0, 255) as u8);
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 90);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode(&picture, width as u16, height as u16, ColorType::Rgb).expect("JPEG allows this size");
    bytes
}

/// Probabilities by way of all pixels, and as `runtime classify` has them.
fn both_ways(jpeg: &[u8], network: &Network) -> [Vec<f32>; 2] {
    let whole = poster::decode(jpeg, "enlarged").expect("the poster is sound").into();
    let size = network.card().input.size();
    let short = poster::decode_for(jpeg, "enlarged", MAX_PIXELS, size).expect("the poster is sound");
    [whole, short].map(|picture: Picture| network.classify(&picture).expect("the network runs"))
}
