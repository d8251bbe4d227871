//! From a trained network to one ONNX file, and the proof that both are the same.

mod encoding;
mod graph;
mod names;

use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use burn::tensor::{Device, Tensor, activation::sigmoid};
use burn_onnx::export::{AxisSpec, InputSpec as ExportInput, OnnxExporter};
use prost::Message;
use rayon::prelude::*;
use runtime::ModelOptions;
use runtime::model::card::Card;
use runtime::preprocess::{self, InputSpec};
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::prelude::Framework;

use crate::data::PosterSet;
use crate::data::augment::flip_horizontally;
use crate::model::Model;
use crate::predict;

/// Posters that burn and tract must agree on.
pub const GATE_POSTERS: usize = 256;

/// The most that a probability may differ between burn and what runs the file.
pub const TOLERANCE: f32 = 1e-4;

/// The most that it may differ where the runtime rounds the inputs of products to bfloat16, on processors that multiply these.
pub const ROUNDED_TOLERANCE: f32 = 2e-2;

/// The ONNX file of a network: the graph from `poster`, `[batch, 3, height, width]`, to `probabilities`, `[batch, G]`,
/// and the card.
///
/// Tensors and nodes get the names of the module tree in place of numbers, and what the exporter had to write in several
/// nodes becomes one again. Tensors of at least `halved` weights, if that is given, are stored as 16-bit floats.
///
/// The network is consumed: capturing it leaves the running statistics of its batch normalisation, which clones share, on
/// the exporter's own device.
///
/// # Errors
/// If the network has an operation that cannot be exported, or the card is not consistent.
pub fn to_onnx(model: Model, card: &Card, halved: Option<usize>) -> Result<Vec<u8>> {
    let (height, width) = (card.input.height as usize, card.input.width as usize);
    let sample = |batch| Tensor::<4>::zeros([batch, 3, height, width], &Device::flex());
    let axes = [AxisSpec::dynamic("batch"), AxisSpec::Static, AxisSpec::Static, AxisSpec::Static];
    let raw = OnnxExporter::new()
        .export_dynamic(&model, sample(2), sample(3), &[ExportInput::new(axes)], |model: &Model, posters: Tensor<4>| {
            sigmoid(model.forward(posters))
        })
        .map_err(|error| anyhow!("the network cannot be exported: {error}"))?;

    let mut proto: ModelProto = onnx().proto_model_for_read(&mut raw.as_bytes())?;
    proto.producer_name = "poster-genres".into();
    proto.producer_version = env!("CARGO_PKG_VERSION").into();
    proto.doc_string = card.description.clone();
    let graph = proto.graph.as_mut().context("the exporter made no graph")?;
    graph::join_clips(graph);
    names::rename(graph)?;
    if let Some(size) = halved {
        graph::halve_weights(graph, size);
    }
    proto.metadata_props.clear();
    let mut bytes = encoding::unpacked(&proto.encode_to_vec())?;
    card.append_to(&mut bytes)?;
    Ok(bytes)
}

/// What the gate found.
pub struct Parity {
    /// Posters compared.
    pub posters: usize,
    /// The largest difference of a probability.
    pub largest: f32,
}

/// Proves that an ONNX file is the network: over [`GATE_POSTERS`] inputs every probability of tract, and of the runtime that
/// has code of its own for some graphs, agrees to [`TOLERANCE`], the genres at the first operating point are the same, and a
/// batch of three gives what three batches of one do. As it runs on this processor the runtime agrees to
/// [`ROUNDED_TOLERANCE`]. Where the sets hold fewer posters, mirrored ones make up the number.
///
/// # Errors
/// If the file cannot be run or differs from the network, or if there are too few posters.
pub fn prove(bytes: &[u8], model: &Model, sets: &[Arc<PosterSet>]) -> Result<Parity> {
    let network = ModelOptions::new().bf16(false).from_bytes(bytes, "the exported model")?;
    let input = &network.card().input;
    let inputs = gate_inputs(sets, input);
    ensure!(
        inputs.len() >= GATE_POSTERS,
        "only {} posters to compare burn and tract on; {GATE_POSTERS} are needed, name more with --gate",
        inputs.len()
    );

    let genres = network.card().genres.len();
    let burn: Vec<f32> = inputs
        .chunks(32)
        .flat_map(|chunk| predict::probabilities(&predict::forward(model, chunk.len(), chunk.concat(), input)))
        .collect();
    let one = plan(bytes, 1, input)?;
    let tract: Vec<Vec<f32>> = inputs.par_iter().map(|input| one(input)).collect::<TractResult<_>>()?;
    let runtime: Vec<Vec<f32>> =
        inputs.par_iter().map(|input| network.probabilities(input)).collect::<Result<_, _>>()?;
    let point = &network.card().operating_points[0];
    let mut largest = 0.0_f32;
    for (who, found) in [("tract", &tract), ("the runtime", &runtime)] {
        for (poster, (burn, found)) in burn.chunks(genres).zip(found).enumerate() {
            let difference = difference(burn, found);
            ensure!(
                difference <= TOLERANCE,
                "poster {poster}: burn and {who} differ by {difference}, more than {TOLERANCE}"
            );
            ensure!(
                point.decide(burn) == point.decide(found),
                "poster {poster}: burn and {who} decide for other genres"
            );
            largest = largest.max(difference);
        }
    }

    let fastest = ModelOptions::new().from_bytes(bytes, "the exported model")?;
    let rounded: Vec<Vec<f32>> =
        inputs.par_iter().map(|input| fastest.probabilities(input)).collect::<Result<_, _>>()?;
    let apart = difference(&burn, &rounded.concat());
    ensure!(
        apart <= ROUNDED_TOLERANCE,
        "burn and the runtime with 16-bit products differ by {apart}, more than {ROUNDED_TOLERANCE}"
    );

    let three = plan(bytes, 3, input)?(&inputs[..3].concat())?;
    let difference = difference(&three, &tract[..3].concat());
    ensure!(difference <= TOLERANCE, "a batch of three and three posters alone differ by {difference}");
    Ok(Parity { posters: inputs.len(), largest })
}

/// The largest difference between two lists of probabilities of the same length.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, worse)
}

/// The larger of two differences. `max` would pass over a NaN, which must not pass for agreement.
fn worse(largest: f32, difference: f32) -> f32 {
    if difference > largest || difference.is_nan() { difference } else { largest }
}

fn gate_inputs(sets: &[Arc<PosterSet>], input: &InputSpec) -> Vec<Vec<f32>> {
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
    plain.chain(mirrored).take(GATE_POSTERS).collect()
}

/// What tract makes of batches of so many posters.
fn plan(bytes: &[u8], batch: usize, input: &InputSpec) -> TractResult<impl Fn(&[f32]) -> TractResult<Vec<f32>>> {
    let shape = [batch, 3, input.height as usize, input.width as usize];
    let plan = onnx()
        .model_for_read(&mut &*bytes)?
        .with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape))?
        .into_optimized()?
        .into_runnable()?;
    Ok(move |inputs: &[f32]| {
        let output = plan.run(tvec!(tract_onnx::prelude::Tensor::from_shape(&shape, inputs)?.into_tvalue()))?;
        Ok(output[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    })
}
