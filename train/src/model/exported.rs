//! A network taken back from the ONNX file that `train export` made of it.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor, TensorData};
use runtime::ModelOptions;
use runtime::model::card::Card;
use tract_onnx::prelude::{DatumType, Framework};
use tract_onnx::tensor::load_tensor;

use super::{Architecture, Model};

/// The network of an exported model, its calibration and what 16 bits left of its weights included, and its card.
///
/// # Errors
/// If the file is not one that `train export` wrote.
pub fn read(path: &Path) -> Result<(Model, Card)> {
    let name = path.display();
    let card = ModelOptions::new().lazy(true).open(path)?.card().clone();
    let onnx = tract_onnx::onnx();
    let proto = onnx.proto_model_for_path(path).with_context(|| format!("{name}: is not an ONNX model"))?;
    let own = &card.training.architecture;
    let architecture = Architecture::ALL
        .into_iter()
        .find(|architecture| architecture.name() == own)
        .with_context(|| format!("{name}: its architecture is \"{own}\", which is not known here"))?;
    let graph = proto.graph.with_context(|| format!("{name}: holds no graph"))?;
    let mut tensors = HashMap::new();
    for initializer in &graph.initializer {
        let tensor = load_tensor(&*onnx.provider, initializer, None)?;
        if let DatumType::F16 | DatumType::F32 = tensor.datum_type() {
            let values = tensor.cast_to::<f32>()?.try_as_plain_ram()?.as_slice::<f32>()?.to_vec();
            tensors.insert(initializer.name.clone(), TensorData::new(values, tensor.shape().to_vec()));
        }
    }
    let mut filler = Filler { tensors, path: Vec::new(), failure: None };
    let model = Model::new(architecture, card.genres.len(), &Device::flex()).map(&mut filler);
    if let Some(failure) = filler.failure {
        bail!("{name}: {failure}; export it again with `train export`");
    }
    Ok((model, card))
}

/// Gives every parameter the tensor that has its path for a name.
struct Filler {
    tensors: HashMap<String, TensorData>,
    /// The modules around the parameter, the last of them its own name.
    path: Vec<String>,
    failure: Option<String>,
}

impl Filler {
    fn tensor(&self, shape: &[usize]) -> Result<TensorData> {
        // The first step is the variant of `Model`, which the exported names do without.
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
