//! Other libraries for the same work, each with one thread and the settings that its own documentation recommends for
//! speed.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use image::imageops::{self, FilterType};
use ort::environment::Environment;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::TensorRef;
use rten_tensor::NdTensorView;
use runtime::preprocess::{self, InputSpec};

/// A model ready to run: an input `[3, height, width]` in, the probability of each genre out.
pub type Inference = Box<dyn FnMut(&[f32]) -> Vec<f32>>;

/// The input of a model from a poster file, `[3, height, width]`, by the `image` crate alone: its decoder and its own
/// resize with the same triangle filter.
///
/// # Panics
/// If the poster cannot be decoded.
pub fn tensor(bytes: &[u8], input: &InputSpec) -> Vec<f32> {
    let picture = image::load_from_memory(bytes).expect("the poster is sound").into_rgb8();
    let resized = imageops::resize(&picture, input.width, input.height, FilterType::Triangle);
    let mut planes = vec![0.0; input.len()];
    preprocess::normalise(&resized, input, &mut planes);
    planes
}

/// A model run by rten.
///
/// # Panics
/// If rten cannot read the model.
pub fn rten(model: &Path, input: &InputSpec) -> Inference {
    let model = rten::Model::load_file(model).expect("rten reads the model");
    let pool = Some(Arc::new(rten::ThreadPool::with_num_threads(1)));
    let options = rten::RunOptions::default().with_thread_pool(pool);
    let shape = shape(input);
    Box::new(move |values| {
        let view = NdTensorView::from_data(shape, values);
        let output = model.run_one(view.into(), Some(options.clone())).expect("rten runs the model");
        let output: rten_tensor::NdTensor<f32, 2> = output.try_into().expect("the output is [1, genres]");
        output.into_data()
    })
}

/// A model run by ONNX Runtime, from the shared library that the environment variable `ORT_DYLIB_PATH` names.
///
/// # Panics
/// If the library cannot be loaded, or cannot read the model.
pub fn onnx_runtime(model: &Path, input: &InputSpec) -> Inference {
    // A process may have one only.
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    let environment = ENVIRONMENT.get_or_init(|| {
        ort::init().with_telemetry(false).build().expect("ORT_DYLIB_PATH names ONNX Runtime's library")
    });
    let session = || -> ort::Result<Session> {
        Session::builder(environment)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_intra_threads(1)?
            .with_parallel_execution(false)?
            .commit_from_file(model)
    };
    let mut session = session().expect("ONNX Runtime reads the model");
    let shape = shape(input);
    Box::new(move |values| {
        let values = TensorRef::from_array_view((shape, values)).expect("the input has the shape of the card");
        let output = session.run(ort::inputs![values]).expect("ONNX Runtime runs the model");
        output[0].try_extract_tensor().expect("probabilities are 32-bit floats").1.to_vec()
    })
}

fn shape(input: &InputSpec) -> [usize; 4] {
    [1, 3, input.height as usize, input.width as usize]
}
