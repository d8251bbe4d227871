//! The Rust worker of `benches/compare/compare.py`: `bench_worker posters FOLDER` draws the posters, `bench_worker
//! serve` measures on request.
//!
//! A request is a line of a task, a model file, a poster file and for how many milliseconds to repeat the task, with
//! tabs between; the answer is a line of JSON, `{"ns": [time of each repetition], "values": [first output values]}`.
//! `benches/compare/baselines.py` answers the same requests for the libraries that are called from Python.

mod peak;

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, hint, io};

use benches::posters;
use runtime::Model;
use runtime::preprocess::{self, MAX_PIXELS};

/// A task ready to be repeated; its output shows that all libraries did the same work.
type Task = Box<dyn FnMut() -> Vec<f32>>;

/// The number of output values in an answer.
const VALUES: usize = 24;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["posters", folder] => draw(Path::new(folder)),
        ["serve"] => serve(),
        _ => panic!("usage: bench_worker posters FOLDER, or: bench_worker serve"),
    }
}

fn draw(folder: &Path) {
    fs::create_dir_all(folder).expect("the folder can be made");
    for poster in posters() {
        fs::write(folder.join(poster.name + ".jpg"), poster.jpeg).expect("the folder can be written");
    }
}

fn serve() {
    for line in io::stdin().lock().lines() {
        let line = line.expect("requests are text");
        let [name, model, poster, milliseconds] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("a request has four parts: {line}")
        };
        let mut task = task(name, Path::new(model), Path::new(poster));
        let duration = Duration::from_millis(milliseconds.parse().expect("a whole number of milliseconds"));
        task();
        let (mut times, start) = (Vec::new(), Instant::now());
        let values = loop {
            let before = Instant::now();
            let values = hint::black_box(task());
            times.push(before.elapsed().as_nanos() as u64);
            if start.elapsed() >= duration {
                break values;
            }
        };
        let answer = serde_json::json!({ "ns": times, "values": values[..values.len().min(VALUES)] });
        println!("{answer}");
        io::stdout().flush().expect("the caller reads the answer");
    }
}

fn task(name: &str, model_file: &Path, path: &Path) -> Task {
    if name == "multiply-add" {
        return Box::new(|| vec![peak::multiply_adds() as f32]);
    }
    let model = Model::open(model_file).unwrap_or_else(|error| panic!("{error}"));
    let input = model.card().input.clone();
    let bytes = fs::read(path).expect("the poster can be read");
    // The same values as in Python.
    let values: Vec<f32> = (0..input.len()).map(|place| (place * 7919 % 1000) as f32 / 500.0 - 1.0).collect();
    match name {
        "infer, runtime" => Box::new(move || model.probabilities(&values).expect("the model runs")),
        "tensor, runtime" => Box::new(move || {
            let picture =
                preprocess::decode_for(&bytes, "drawn", MAX_PIXELS, input.size()).expect("the poster is sound");
            preprocess::tensor(&picture, &input)
        }),
        "classify, runtime" => {
            let path = path.to_path_buf();
            Box::new(move || model.classify_file(&path).expect("the poster is sound").into_probabilities())
        }
        #[cfg(feature = "baselines")]
        "tensor, image" => Box::new(move || benches::baselines::tensor(&bytes, &input)),
        #[cfg(feature = "baselines")]
        "infer, rten" | "infer, ONNX Runtime" => {
            use benches::baselines::{onnx_runtime, rten};
            let mut infer =
                if name == "infer, rten" { rten(model_file, &input) } else { onnx_runtime(model_file, &input) };
            Box::new(move || infer(&values))
        }
        _ => panic!("no task {name:?} (those of other libraries need the feature `baselines`)"),
    }
}
