//! Reads a network back from an ONNX file that `train export` wrote, by the names of its tensors.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use half::slice::HalfFloatSliceExt;
use prost::Message;
use runtime::ModelOptions;
use runtime::model::card::Card;
use runtime::onnx::{self, data_type};

use super::{Architecture, CLASSIFIER, Model};

/// The name of the last layer in files of earlier versions.
const OLD_CLASSIFIER: &str = "genres";

/// The network and the card of an exported model. Its weights are those of the file: calibrated, and rounded where the file
/// stores 16-bit floats or integers.
///
/// # Errors
/// If the file cannot be read, or `train export` did not write it.
pub fn read(path: &Path) -> Result<(Model, Card)> {
    let name = path.display();
    let card = ModelOptions::new().lazy(true).open(path)?.card().clone();
    let file = std::fs::read(path).with_context(|| format!("{name}: cannot be read"))?;
    let proto = onnx::Model::decode(file.as_slice()).with_context(|| format!("{name}: is not an ONNX model"))?;
    let architecture: Architecture =
        card.training.architecture.parse().with_context(|| format!("{name}: cannot be read back"))?;
    let graph = proto.graph.with_context(|| format!("{name}: holds no graph"))?;
    let floats = graph.initializer.iter().filter_map(|tensor| Some((current_name(&tensor.name), data(tensor)?)));
    let integers = graph.initializer.iter().filter_map(|tensor| dequantized(tensor, &graph.initializer));
    let mut filler = Filler { tensors: floats.chain(integers).collect(), path: Vec::new(), failure: None };
    let model = Model::new(architecture, card.genres.len(), &Device::flex()).map(&mut filler);
    if let Some(failure) = filler.failure {
        bail!("{name}: {failure}; export it again with `train export`");
    }
    Ok((model, card))
}

/// The name of a tensor in the module tree: the last layer had another one in earlier versions.
fn current_name(name: &str) -> String {
    match name.split_once('.') {
        Some((OLD_CLASSIFIER, field)) => format!("{CLASSIFIER}.{field}"),
        _ => name.into(),
    }
}

/// Shape and values of a tensor of 32-bit or 16-bit floats; `None` for other types.
fn data(tensor: &onnx::Tensor) -> Option<TensorData> {
    let values: Vec<f32> = match tensor.data_type {
        data_type::FLOAT => tensor.raw_data.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        data_type::FLOAT16 => {
            let halves: Vec<f16> =
                tensor.raw_data.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect();
            halves.to_f32_vec()
        }
        _ => return None,
    };
    let shape: Vec<usize> = tensor.dims.iter().map(|dim| usize::try_from(*dim).ok()).collect::<Option<_>>()?;
    (shape.iter().product::<usize>() == values.len()).then(|| TensorData::new(values, shape))
}

/// Name and values of a weight or a bias that the file stores as integers, `NAME.quantized`, with a scale an output channel,
/// `NAME.scale`; `None` for other tensors.
fn dequantized(tensor: &onnx::Tensor, all: &[onnx::Tensor]) -> Option<(String, TensorData)> {
    let name = tensor.name.strip_suffix(".quantized")?;
    let scale = all.iter().find(|scale| scale.name.strip_suffix(".scale") == Some(name))?;
    let scales = data(scale)?.try_to_vec::<f32>().ok()?;
    let codes: Vec<f32> = match tensor.data_type {
        data_type::INT8 => tensor.raw_data.iter().map(|byte| f32::from(*byte as i8)).collect(),
        data_type::INT32 => {
            tensor.raw_data.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes) as f32).collect()
        }
        _ => return None,
    };
    let shape: Vec<usize> = tensor.dims.iter().map(|dim| usize::try_from(*dim).ok()).collect::<Option<_>>()?;
    // Output channels are the last dimension of a linear layer's weight, the first one of other tensors.
    let (channels, run) = match shape[..] {
        [_, outputs] => (outputs, 1),
        [outputs, ..] => (outputs, shape[1..].iter().product()),
        [] => return None,
    };
    if scales.len() != channels || shape.iter().product::<usize>() != codes.len() {
        return None;
    }
    let values = codes.iter().enumerate().map(|(index, code)| code * scales[index / run % channels]).collect();
    Some((current_name(name), TensorData::new(values, shape)))
}

/// Gives every parameter the tensor whose name is the parameter's path.
struct Filler {
    tensors: HashMap<String, TensorData>,
    /// The names of the modules around the current parameter, from the root, and its own.
    path: Vec<String>,
    failure: Option<String>,
}

impl Filler {
    fn tensor(&self, shape: &[usize]) -> Result<TensorData> {
        // The path begins with the variant of `Model`, which exported names leave out.
        let name = self.path[1..].join(".");
        let tensor = self.tensors.get(&name).with_context(|| format!("has no tensor \"{name}\""))?;
        let found = tensor.shape();
        ensure!(found.as_slice() == shape, "\"{name}\" is {:?}, the network's is {shape:?}", found.as_slice());
        Ok(tensor.clone())
    }
}

impl ModuleMapper for Filler {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.tensor(&param.dims()) {
            Ok(data) => {
                let device = param.device();
                param.map(|_| Tensor::from_data(data, &device))
            }
            Err(error) => {
                self.failure.get_or_insert(error.to_string());
                param
            }
        }
    }
}
