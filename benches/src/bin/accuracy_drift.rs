//! Accuracy drift of DCT-domain downscaling: how far probabilities and mean average precision (mAP) move when the
//! pixels of a large JPEG are never decoded.
//!
//! `accuracy_drift POSTERS.csv[=FOLDER] [COUNT]` takes the first posters of a labelled set, enlarges each, adds grain,
//! encodes it as a JPEG of quality 90 with 4:2:0 chroma subsampling, and runs every model in `models/` on the fully
//! decoded and resized pixels, and on those that `runtime classify` makes.
//!
//! Pixels are rounded to whole levels more than once on either way. What that alone does to scores shows where `image`
//! resizes the same pixels by the same filter: it rounds elsewhere.

use benches::models;
use image::RgbImage;
use jpeg_encoder::{ColorType, Encoder, SamplingFactor};
use runtime::dataset::{Dataset, Source};
use runtime::preprocess::{self, DecodedImage, MAX_PIXELS, Rgb8Image};

/// Sizes to which the posters are enlarged.
const SIZES: [(u32, u32); 2] = [(1000, 1500), (2000, 3000)];

/// Amplitude of the grain, in levels of 255: uniform noise, equal in all channels. It makes the files as large as those
/// of real posters of these sizes, 0.3 and 1.1 MB.
const GRAIN: i32 = 5;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let source = arguments.next().expect("usage: accuracy_drift POSTERS.csv[=FOLDER] [COUNT]");
    let count = arguments.next().map_or(usize::MAX, |count| count.parse().expect("a number of posters"));
    let source: Source = source.parse().unwrap_or_else(|never| match never {});
    let mut manifest = Dataset::read(&[source]).unwrap_or_else(|error| panic!("{error}"));
    manifest.posters.truncate(count);

    let models = models();
    for size in SIZES {
        let mut scores = vec![[const { Vec::new() }; 3]; models.len()];
        for poster in &manifest.posters {
            let original = preprocess::open(&poster.path).unwrap_or_else(|error| panic!("{error}"));
            let jpeg = enlarge(&original, size);
            let pixels = preprocess::decode(&jpeg, "enlarged").expect("the poster is sound");
            for ((_, model), scores) in models.iter().zip(&mut scores) {
                let ways = three_ways(&jpeg, &pixels, model.card().input.size());
                for (picture, scores) in ways.into_iter().zip(scores) {
                    scores.extend(model.classify_image(picture).expect("the model runs").into_probabilities());
                }
            }
        }
        for ((path, model), scores) in models.iter().zip(&scores) {
            let name = path.file_name().unwrap_or_default().display();
            println!("{name}, {} posters at {} x {}", manifest.posters.len(), size.0, size.1);
            let manifest = manifest.clone().with_genres(&model.card().genres);
            let thresholds = &model.card().operating_points[0].thresholds;
            let ways = ["all pixels", "no pixels", "all pixels, resized by image"];
            for (way, values) in ways.iter().zip(scores) {
                let apart = || values.iter().zip(&scores[0]).map(|(a, b)| (a - b).abs());
                let furthest = apart().fold(0.0, f32::max);
                let mean = apart().sum::<f32>() / values.len() as f32;
                let precision = manifest.evaluate(values, thresholds, None).averages.mean_average_precision;
                println!("  {way:28}  at most {furthest:.4}, on average {mean:.5} apart; mAP {precision:.4}");
            }
        }
    }
}

/// What a model sees of a poster by way of all pixels, as `runtime classify` has it, and if `image` resizes the pixels.
fn three_ways(jpeg: &[u8], pixels: &Rgb8Image, (width, height): (u32, u32)) -> [DecodedImage; 3] {
    let short = preprocess::decode_for(jpeg, "enlarged", MAX_PIXELS, (width, height)).expect("the poster is sound");
    let all =
        RgbImage::from_raw(pixels.width(), pixels.height(), pixels.as_raw().to_vec()).expect("three samples a pixel");
    let resized = image::imageops::resize(&all, width, height, image::imageops::FilterType::Triangle);
    let resized = Rgb8Image::from_raw(width, height, resized.into_raw()).expect("three samples a pixel");
    [preprocess::resize(pixels, width, height).into(), short, resized.into()]
}

/// A JPEG file of an enlarged poster with grain.
fn enlarge(poster: &Rgb8Image, (width, height): (u32, u32)) -> Vec<u8> {
    let mut picture = preprocess::resize(poster, width, height);
    let mut state = 1_u64;
    for pixel in picture.as_raw_mut().as_chunks_mut::<3>().0 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let grain = (state >> 33) as i32 % (2 * GRAIN + 1) - GRAIN;
        *pixel = pixel.map(|value| (i32::from(value) + grain).clamp(0, 255) as u8);
    }
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, 90);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    encoder.encode(picture.as_raw(), width as u16, height as u16, ColorType::Rgb).expect("JPEG allows this size");
    bytes
}
