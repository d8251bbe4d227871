//! ONNX export of a trained network with its model card, and the parity check of burn, tract and the runtime on that file.

mod graph;
mod names;
mod quantize;

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use burn::tensor::{Device, Tensor, activation::sigmoid};
use burn_onnx::export::{AxisSpec, InputSpec as ExportInput, OnnxExporter};
use prost::Message;
use rayon::prelude::*;
use runtime::model::card::Card;
use runtime::onnx;
use runtime::preprocess::{self, InputSpec};
use runtime::{Engine, ModelOptions};
use tract_onnx::prelude::*;

use crate::data::PosterSet;
use crate::data::augment::flip_horizontally;
use crate::model::Model;
use crate::predict;

pub use quantize::RangeMethod;

/// The number of inputs of the parity check.
pub const PARITY_POSTERS: usize = 256;

/// The largest difference of a probability between burn and an engine that runs the file.
pub const TOLERANCE: f32 = 1e-4;

/// The largest difference of a probability between two engines that run an int8 file: a value that lies between two codes
/// may be rounded either way.
pub const INT8_TOLERANCE: f32 = 0.05;

/// The ONNX file of a network: the graph from `poster`, `[batch, 3, height, width]`, to `probabilities`, `[batch, G]`,
/// and the card.
///
/// Tensors and nodes are named after the module tree, and ReLU6 is one node. With `f16_min_size`, tensors of at least that
/// many values are stored as 16-bit floats.
///
/// The network is consumed: the exporter moves the running statistics of its batch normalisation, which clones share, to a
/// device of its own.
///
/// # Errors
/// If the network has an operation that cannot be exported, or the card is not consistent.
pub fn to_onnx(model: Model, card: &Card, f16_min_size: Option<usize>) -> Result<Vec<u8>> {
    let raw = burn_export(&model, [card.input.height as usize, card.input.width as usize])?;
    let mut proto = onnx::Model::decode(raw.as_slice())?;
    proto.producer_name = "poster-genres".into();
    proto.producer_version = env!("CARGO_PKG_VERSION").into();
    proto.doc_string = card.description.clone();
    let graph = proto.graph.as_mut().context("the exporter made no graph")?;
    graph::fuse_relu6(graph);
    names::rename(graph)?;
    if let Some(min_size) = f16_min_size {
        graph::store_as_f16(graph, min_size);
    }
    proto.metadata_props.clear();
    let mut bytes = proto.encode_to_vec();
    card.append_to(&mut bytes)?;
    Ok(bytes)
}

/// The ONNX file of a network in int8 (QDQ), with the ranges of its activations measured on `posters`, each `[3, height,
/// width]`; inputs and outputs as those of [`to_onnx`].
///
/// # Errors
/// As [`to_onnx`], and if the network is no mobilenet.
pub fn to_int8(model: Model, card: &Card, posters: &[Vec<f32>], method: RangeMethod) -> Result<Vec<u8>> {
    let bytes = to_onnx(model, card, None)?;
    let mut bytes = quantize::to_int8(&bytes, posters, &card.input, method)?.encode_to_vec();
    card.append_to(&mut bytes)?;
    Ok(bytes)
}

/// The graph as burn-onnx writes it, from posters `[batch, 3, height, width]` to probabilities `[batch, G]`.
fn burn_export(model: &Model, [height, width]: [usize; 2]) -> Result<Vec<u8>> {
    let sample = |batch| Tensor::<4>::zeros([batch, 3, height, width], &Device::flex());
    let axes = [AxisSpec::dynamic("batch"), AxisSpec::Static, AxisSpec::Static, AxisSpec::Static];
    let raw = OnnxExporter::new()
        .export_dynamic(model, sample(2), sample(3), &[ExportInput::new(axes)], |model: &Model, posters: Tensor<4>| {
            sigmoid(model.forward(posters))
        })
        .map_err(|error| anyhow!("the network cannot be exported: {error}"))?;
    Ok(raw.into_bytes())
}

/// The result of a parity check.
pub struct Parity {
    /// The number of inputs compared.
    pub posters: usize,
    /// The largest difference of a probability.
    pub largest: f32,
}

/// Checks on [`PARITY_POSTERS`] inputs that an ONNX file gives what the network gives in burn:
///
/// * every probability of tract and of the runtime is within [`TOLERANCE`];
/// * the genres at the first operating point are the same;
/// * a batch of three gives what three batches of one give, within [`TOLERANCE`].
///
/// Where the sets hold fewer posters, mirrored ones make up the number.
///
/// # Errors
/// If the file cannot be run or differs from the network, or if there are too few posters.
pub fn check_parity(bytes: &[u8], model: &Model, sets: &[Arc<PosterSet>]) -> Result<Parity> {
    let network = ModelOptions::new().from_bytes(bytes, "the exported model")?;
    let input = &network.card().input;
    let EngineOutputs { inputs, burn, tract, runtime } = EngineOutputs::new(bytes, model, &network, sets)?;
    let point = &network.card().operating_points[0];
    let mut largest = 0.0_f32;
    for (engine, found) in [("tract", &tract), ("the runtime", &runtime)] {
        for (poster, (burn, found)) in burn.iter().zip(found).enumerate() {
            let difference = difference(burn, found);
            ensure!(
                difference <= TOLERANCE,
                "poster {poster}: burn and {engine} differ by {difference}, more than {TOLERANCE}"
            );
            ensure!(
                point.decide(burn) == point.decide(found),
                "poster {poster}: burn and {engine} decide for other genres"
            );
            largest = largest.max(difference);
        }
    }

    let three = plan(bytes, 3, input)?(&inputs[..3].concat())?;
    let difference = difference(&three, &tract[..3].concat());
    ensure!(difference <= TOLERANCE, "a batch of three and three posters alone differ by {difference}");
    Ok(Parity { posters: inputs.len(), largest })
}

/// The result of a parity check of an int8 file.
pub struct Int8Parity {
    /// The number of inputs compared.
    pub posters: usize,
    /// The share of genre decisions at the first operating point that are those of the network, 0 to 1.
    pub equal_decisions: f64,
    /// The largest difference of a probability from the network's.
    pub largest: f32,
    /// The largest difference of a probability between tract and the runtime.
    pub engines: f32,
}

/// Compares an int8 file with the network, and tract with the runtime on that file, on [`PARITY_POSTERS`] inputs as
/// [`check_parity`] takes them.
///
/// # Errors
/// If the native engine cannot run the file, tract's probabilities differ from it by more than [`INT8_TOLERANCE`], or
/// there are too few posters.
pub fn check_int8(bytes: &[u8], model: &Model, sets: &[Arc<PosterSet>]) -> Result<Int8Parity> {
    let network = ModelOptions::new().engine(Engine::Native).from_bytes(bytes, "the exported model")?;
    let EngineOutputs { burn, tract, runtime, .. } = EngineOutputs::new(bytes, model, &network, sets)?;
    let engines = runtime.iter().zip(&tract).map(|(a, b)| difference(a, b)).fold(0.0, larger);
    ensure!(engines <= INT8_TOLERANCE, "tract and the runtime differ by {engines}, more than {INT8_TOLERANCE}");
    let point = &network.card().operating_points[0];
    let (mut equal, mut largest) = (0, 0.0);
    let genres = network.card().genres.len();
    for (burn, found) in burn.iter().zip(&runtime) {
        let [a, b] = [burn, found].map(|probabilities| point.decide(probabilities));
        equal += (0..genres).filter(|genre| a.contains(genre) == b.contains(genre)).count();
        largest = larger(largest, difference(burn, found));
    }
    let equal_decisions = equal as f64 / (burn.len() * genres) as f64;
    Ok(Int8Parity { posters: burn.len(), equal_decisions, largest, engines })
}

/// Inputs of a parity check, and the probabilities of each engine for each of them.
struct EngineOutputs {
    inputs: Vec<Vec<f32>>,
    burn: Vec<Vec<f32>>,
    tract: Vec<Vec<f32>>,
    runtime: Vec<Vec<f32>>,
}

impl EngineOutputs {
    /// Runs burn on `model`, tract on the file's `bytes` and the runtime on `network`, which is opened from them.
    fn new(bytes: &[u8], model: &Model, network: &runtime::Model, sets: &[Arc<PosterSet>]) -> Result<Self> {
        let input = &network.card().input;
        let inputs = parity_inputs(sets, input);
        ensure!(
            inputs.len() >= PARITY_POSTERS,
            "only {} posters to compare the engines on; {PARITY_POSTERS} are needed, name more with --parity-data",
            inputs.len()
        );
        let burn = inputs.chunks(32).flat_map(|chunk| {
            let logits = predict::forward(model, chunk.len(), chunk.concat(), input);
            let probabilities = predict::probabilities(&logits);
            probabilities.chunks(network.card().genres.len()).map(<[f32]>::to_vec).collect::<Vec<_>>()
        });
        let burn = burn.collect();
        let run = plan(bytes, 1, input)?;
        let tract = inputs.par_iter().map(|input| run(input)).collect::<TractResult<_>>()?;
        let runtime = inputs.par_iter().map(|input| network.probabilities(input)).collect::<Result<_, _>>()?;
        Ok(Self { inputs, burn, tract, runtime })
    }
}

/// The largest difference between two lists of probabilities of the same length.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, larger)
}

/// The larger of two differences. `f32::max` ignores a NaN, which must not pass for agreement.
fn larger(largest: f32, difference: f32) -> f32 {
    if difference > largest || difference.is_nan() { difference } else { largest }
}

/// Up to `count` posters, evenly spaced over the set, each `[3, height, width]`.
pub fn sample(set: &PosterSet, count: usize, input: &InputSpec) -> Vec<Vec<f32>> {
    let count = count.clamp(1, set.len());
    let planes = |index| {
        let mut planes = vec![0.0; input.len()];
        preprocess::normalise(set.pixels.get(index), input, &mut planes);
        planes
    };
    (0..count).map(|index| planes(index * set.len() / count)).collect()
}

/// The first [`PARITY_POSTERS`] of the posters and then their mirror images, each `[3, height, width]`.
fn parity_inputs(sets: &[Arc<PosterSet>], input: &InputSpec) -> Vec<Vec<f32>> {
    let planes = |pixels: &[u8]| {
        let mut planes = vec![0.0; input.len()];
        preprocess::normalise(pixels, input, &mut planes);
        planes
    };
    let pixels = || sets.iter().flat_map(|set| (0..set.len()).map(|index| set.pixels.get(index)));
    let plain = pixels().map(planes);
    let mirrored = pixels().map(|pixels| {
        let mut pixels = pixels.to_vec();
        flip_horizontally(&mut pixels, input.width as usize);
        planes(&pixels)
    });
    plain.chain(mirrored).take(PARITY_POSTERS).collect()
}

/// A function that runs the file in tract on `[batch, 3, height, width]`.
fn plan(bytes: &[u8], batch: usize, input: &InputSpec) -> TractResult<impl Fn(&[f32]) -> TractResult<Vec<f32>>> {
    let shape = [batch, 3, input.height as usize, input.width as usize];
    let plan = tract_onnx::onnx()
        .model_for_read(&mut &*bytes)?
        .with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape))?
        .into_optimized()?
        .into_runnable()?;
    Ok(move |inputs: &[f32]| {
        let output = plan.run(tvec!(tract_onnx::prelude::Tensor::from_shape(&shape, inputs)?.into_tvalue()))?;
        Ok(output[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::module::{Module, ModuleMapper, Param};
    use burn::tensor::Distribution;
    use runtime::OperatingPoint;
    use runtime::model::card::Training;
    use tract_onnx::pb::ModelProto;

    use super::*;
    use crate::model::{Architecture, exported};

    /// A card of two genres.
    fn card(architecture: Architecture, input: InputSpec) -> Card {
        let point = OperatingPoint { name: "balanced".into(), description: String::new(), thresholds: vec![0.5; 2] };
        Card {
            name: "test".into(),
            description: "A test.".into(),
            genres: vec!["Drama".into(), "Western".into()],
            input,
            operating_points: vec![point],
            output: runtime::model::card::Output::Probabilities,
            training: Training {
                architecture: architecture.to_string(),
                data: BTreeMap::new(),
                settings: runtime::model::card::Settings::new(&()),
            },
            figures: BTreeMap::new(),
        }
    }

    /// The bytes that burn-onnx writes for a network with random weights.
    fn raw(architecture: Architecture) -> Vec<u8> {
        let model = Model::new(architecture, 2, &Device::flex());
        burn_export(&model, [64, 48]).unwrap()
    }

    #[test]
    fn no_field_of_the_exporter_is_lost() {
        for architecture in Architecture::ALL {
            let raw = raw(architecture);
            let kept = onnx::Model::decode(&raw[..]).unwrap().encode_to_vec();
            // tract's types hold the whole of ONNX's schema.
            let (expected, found) = (ModelProto::decode(&raw[..]).unwrap(), ModelProto::decode(&kept[..]).unwrap());
            assert!(found == expected, "{architecture}: a field is lost");
            assert!(expected.ir_version > 0 && !expected.opset_import.is_empty());
            let graph = expected.graph.unwrap();
            assert!(graph.input[0].r#type.is_some() && !graph.initializer.is_empty());
        }
    }

    #[test]
    fn an_exported_network_is_read_back_under_old_and_new_names() {
        let device = Device::flex();
        for architecture in Architecture::ALL {
            let mut model = Model::new(architecture, 2, &device);
            model.init_output_bias(&[0.25, -1.0]);
            let posters = Tensor::<4>::ones([1, 3, 64, 48], &device);
            let expected = model.forward(posters.clone()).into_data().try_to_vec::<f32>().unwrap();
            let card = card(architecture, InputSpec::rgb(48, 64));
            let bytes = to_onnx(model, &card, None).unwrap();
            let mut old = onnx::Model::decode(&bytes[..]).unwrap();
            for tensor in &mut old.graph.as_mut().unwrap().initializer {
                tensor.name = tensor.name.replace("classifier.", "genres.");
            }
            for (what, bytes) in [("new", bytes), ("old", old.encode_to_vec())] {
                let file = tempfile::NamedTempFile::with_suffix(".onnx").unwrap();
                std::fs::write(file.path(), bytes).unwrap();
                let (read, _) = exported::read(file.path()).unwrap();
                let found = read.forward(posters.clone()).into_data().try_to_vec::<f32>().unwrap();
                assert_eq!(found, expected, "{architecture}, {what} names");
            }
        }
    }

    /// Adds noise to every weight, so that no layer is zero.
    struct Noise;

    impl ModuleMapper for Noise {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.map(|weight| {
                let noise = Tensor::random(weight.shape(), Distribution::Normal(0.0, 0.02), &weight.device());
                weight + noise
            })
        }
    }

    #[test]
    fn an_int8_file_runs_in_integers_and_is_near_the_network() {
        let device = Device::flex();
        device.seed(11);
        let model = Model::new(Architecture::MobileNet, 2, &device).map(&mut Noise);
        let input = InputSpec::rgb(48, 64);
        let card = card(Architecture::MobileNet, input.clone());
        let posters: Vec<Vec<f32>> = (0..6)
            .map(|_| {
                let poster = Tensor::<3>::random([3, 64, 48], Distribution::Uniform(-1.0, 1.0), &device);
                poster.into_data().try_to_vec().unwrap()
            })
            .collect();
        let expected: Vec<Vec<f32>> = posters
            .iter()
            .map(|poster| predict::probabilities(&predict::forward(&model, 1, poster.clone(), &input)))
            .collect();
        for method in RangeMethod::ALL {
            let bytes = to_int8(model.clone(), &card, &posters[..4], method).unwrap();
            let native = ModelOptions::new().engine(Engine::Native).from_bytes(&bytes, "test").unwrap();
            assert!(native.kernels().unwrap().starts_with("int8"), "{method}");
            let run = plan(&bytes, 1, &input).unwrap();
            for (poster, expected) in posters.iter().zip(&expected) {
                let found = native.probabilities(poster).unwrap();
                let by_tract = difference(&found, &run(poster).unwrap());
                assert!(by_tract <= INT8_TOLERANCE, "{method}: tract differs by {by_tract}");
                let by_burn = difference(&found, expected);
                assert!(by_burn <= 0.1, "{method}: burn differs by {by_burn}");
            }
        }
    }

    #[test]
    fn nan_is_no_agreement() {
        assert!(difference(&[0.5, f32::NAN, 0.1], &[0.5, 0.5, 0.4]).is_nan());
        assert_eq!(difference(&[0.5, 0.25], &[0.25, 0.375]), 0.25);
    }
}
