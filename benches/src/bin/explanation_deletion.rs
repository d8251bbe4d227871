//! Whether activation maps tell the truth, by deletion (Petsiuk et al., "RISE: Randomized input sampling for explanation
//! of black-box models", 2018), and what they cost.
//!
//! `explanation_deletion MODEL.onnx POSTERS.csv[=FOLDER] [COUNT]` replaces a fifth of each poster by its mean colour and
//! prints the mean fall of the probability of its most probable genre: for the brightest cells of the genre's map, for
//! the same cells moved to a random place (wrapped around), for random cells, and for the darkest cells. Then the time of
//! `Model::explain` beside that of `Model::classify_image`, medians over the first posters.

use std::time::Instant;

use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;
use runtime::Model;
use runtime::dataset::{Dataset, Source};
use runtime::preprocess;

/// The allocator of the programs. glibc's maps the pages of each map anew, which takes longer than to fill them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Posters on which times are measured.
const TIMED: usize = 100;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: explanation_deletion MODEL.onnx POSTERS.csv[=FOLDER] [COUNT]";
    let (model, source) = (arguments.next().expect(usage), arguments.next().expect(usage));
    let count = arguments.next().map_or(usize::MAX, |count| count.parse().expect("a number of posters"));
    let model = Model::open(model).unwrap_or_else(|error| panic!("{error}"));
    let source: Source = source.parse().unwrap_or_else(|never| match never {});
    let mut manifest = Dataset::read(&[source]).unwrap_or_else(|error| panic!("{error}"));
    manifest.posters.truncate(count);

    let mut rng = Pcg32::seed_from_u64(1);
    let mut falls = [const { Vec::new() }; 4];
    let mut times = [const { Vec::new() }; 2];
    for (index, poster) in manifest.posters.iter().enumerate() {
        let bytes = std::fs::read(&poster.path).unwrap_or_else(|error| panic!("{}: {error}", poster.path.display()));
        let image = model.decode(&bytes, "poster").expect("the poster is sound");
        let input = preprocess::tensor(&image, &model.card().input);
        let image = image.resize(model.card().input.width, model.card().input.height);
        if index < TIMED {
            // The first run after decoding finds the caches cold.
            drop(model.explain(image.clone().into()));
            for kind in [index % 2, 1 - index % 2] {
                times[kind].push(milliseconds(|| match kind {
                    0 => drop(model.classify_image(image.clone().into()).expect("the model runs")),
                    _ => drop(model.explain(image.clone().into()).expect("a native model")),
                }));
            }
        }
        let explanation = model.explain(image.into()).expect("a native model");
        let probabilities = explanation.prediction().probabilities();
        let genre = (0..probabilities.len()).max_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
        let genre = genre.expect("a genre");
        let map = explanation.map(genre);
        let [rows, columns] = map.grid;
        let mut cells: Vec<usize> = (0..rows * columns).collect();
        cells.sort_by(|a, b| map.values[*b].total_cmp(&map.values[*a]));
        let fifth = cells.len().div_ceil(5);
        let (down, right) = (rng.random_range(0..rows), rng.random_range(0..columns));
        let moved = |cell: &usize| (cell / columns + down) % rows * columns + (cell % columns + right) % columns;
        let mut shuffled = cells.clone();
        shuffled.shuffle(&mut rng);
        let deleted = [
            cells[..fifth].to_vec(),
            cells[..fifth].iter().map(moved).collect(),
            shuffled[..fifth].to_vec(),
            cells[cells.len() - fifth..].to_vec(),
        ];
        let size = [model.card().input.height as usize, model.card().input.width as usize];
        for (cells, falls) in deleted.iter().zip(&mut falls) {
            let without = delete(&input, size, map.grid, cells);
            falls.push(probabilities[genre] - model.probabilities(&without).expect("the model runs")[genre]);
        }
    }
    println!("{}, {} posters: mean fall of the probability without a fifth of the cells", model.id(), falls[0].len());
    for (name, falls) in ["brightest", "brightest, moved", "random", "darkest"].iter().zip(&falls) {
        println!("  {name:20} {:6.3}", falls.iter().sum::<f32>() / falls.len() as f32);
    }
    let [classify, explain] = times.map(median);
    println!("classify_image {classify:.2} ms, explain {explain:.2} ms: {:+.1} %", (explain / classify - 1.0) * 100.0);
}

/// The input `[3, height, width]` with its mean colour in some cells of a grid.
fn delete(input: &[f32], [height, width]: [usize; 2], [rows, columns]: [usize; 2], cells: &[usize]) -> Vec<f32> {
    let mut is_deleted = vec![false; rows * columns];
    for cell in cells {
        is_deleted[*cell] = true;
    }
    let mut without = input.to_vec();
    for plane in without.chunks_exact_mut(height * width) {
        let mean = plane.iter().sum::<f32>() / plane.len() as f32;
        for (place, value) in plane.iter_mut().enumerate() {
            let (y, x) = (place / width, place % width);
            if is_deleted[y * rows / height * columns + x * columns / width] {
                *value = mean;
            }
        }
    }
    without
}

fn milliseconds(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
