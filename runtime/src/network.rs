//! A model file run by tract: an input in, probabilities out.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use half::f16;
use image::RgbImage;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};
use tract_onnx::prelude::*;

use crate::card::{Card, CardError};
use crate::poster;

/// The shipped model, part of the program.
static SHIPPED: &[u8] = include_bytes!("../../models/poster-genres.onnx");

/// A model ready to run. Sharing it between threads costs nothing.
pub struct Network {
    card: Card,
    fingerprint: String,
    plan: Arc<TypedRunnableModel>,
}

/// Why a model file cannot be used. Each message names the file.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// The file cannot be read.
    #[error("{path}: cannot be read ({source}); check the path and its permissions")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not an ONNX model.
    #[error("{path}: is not an ONNX model, or it is damaged ({reason}); copy or export it again")]
    NotOnnx {
        /// The file.
        path: String,
        /// What the reader said.
        reason: String,
    },
    /// The file has no card, or one that cannot be used.
    #[error("{path}: {source}")]
    Card {
        /// The file.
        path: String,
        /// What is wrong with the card.
        source: CardError,
    },
    /// The graph cannot be run, or is not the one that the card describes.
    #[error("{path}: its graph cannot be run as its card says ({reason}); export it again with `train export`")]
    Graph {
        /// The file.
        path: String,
        /// What does not fit.
        reason: String,
    },
}

impl Network {
    /// The model that is part of this program.
    ///
    /// # Errors
    /// None, unless the program was built with a model file that is not one.
    pub fn shipped() -> Result<Self, NetworkError> {
        Self::from_bytes(SHIPPED, "the shipped model")
    }

    /// Reads a model file and prepares it.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn open(path: &Path) -> Result<Self, NetworkError> {
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(|source| NetworkError::Unreadable { path: name.clone(), source })?;
        Self::from_bytes(&bytes, &name)
    }

    /// Prepares a model for single posters, the fastest way to run one in tract. `path` is used in messages only.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn from_bytes(bytes: &[u8], path: &str) -> Result<Self, NetworkError> {
        let mut proto = onnx()
            .proto_model_for_read(&mut &*bytes)
            .map_err(|error| NetworkError::NotOnnx { path: path.into(), reason: one_line(&error) })?;
        let card = Card::read(&proto).map_err(|source| NetworkError::Card { path: path.into(), source })?;
        if let Some(graph) = &mut proto.graph {
            widen(graph);
        }
        let plan = prepare(&proto, &card)
            .map_err(|error| NetworkError::Graph { path: path.into(), reason: one_line(&error) })?;
        Ok(Self { card, fingerprint: fingerprint(bytes), plan })
    }

    /// What the model says of itself.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The first 12 hexadecimal digits of the model file's SHA-256.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The probability of each genre, `[G]` in card order, for one input `[3, height, width]` as
    /// [`poster::tensor`] makes it.
    ///
    /// # Errors
    /// If tract fails, which it does not for a model that could be prepared.
    ///
    /// # Panics
    /// If the input's length is not what the card says.
    pub fn probabilities(&self, input: &[f32]) -> TractResult<Vec<f32>> {
        let spec = &self.card.input;
        assert_eq!(input.len(), spec.len(), "an input must be [3, height, width]");
        let input = Tensor::from_shape(&[1, 3, spec.height as usize, spec.width as usize], input)?;
        let output = self.plan.run(tvec!(input.into_tvalue()))?;
        Ok(output[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }

    /// The probability of each genre, `[G]` in card order, for one upright picture of any size.
    ///
    /// # Errors
    /// See [`Network::probabilities`].
    pub fn classify(&self, picture: &RgbImage) -> TractResult<Vec<f32>> {
        self.probabilities(&poster::tensor(picture, &self.card.input))
    }
}

/// Turns weights that are stored as 16-bit floats behind a `Cast` into 32-bit ones. tract would cast them anew for every
/// poster, which takes longer than a small network's arithmetic.
fn widen(graph: &mut GraphProto) {
    let stored: HashMap<String, usize> = (graph.initializer.iter().enumerate())
        .filter(|(_, tensor)| tensor.data_type == DataType::Float16 as i32 && !tensor.raw_data.is_empty())
        .map(|(place, tensor)| (tensor.name.clone(), place))
        .collect();
    let is_cast = |node: &NodeProto| {
        node.op_type == "Cast" && node.attribute.iter().any(|to| to.name == "to" && to.i == DataType::Float as i64)
    };
    let mut wide = Vec::new();
    graph.node.retain(|node| {
        let place = is_cast(node).then(|| stored.get(&node.input[0])).flatten();
        wide.extend(place.map(|place| (*place, node.output[0].clone())));
        place.is_none()
    });
    let wide: Vec<TensorProto> = wide
        .into_iter()
        .map(|(place, name)| {
            let tensor = &graph.initializer[place];
            let values = tensor.raw_data.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32());
            TensorProto {
                name,
                dims: tensor.dims.clone(),
                data_type: DataType::Float as i32,
                raw_data: values.flat_map(f32::to_le_bytes).collect(),
                ..TensorProto::default()
            }
        })
        .collect();
    let used: HashSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
    graph.initializer.retain(|tensor| used.contains(&tensor.name));
    graph.initializer.extend(wide);
}

fn prepare(proto: &tract_onnx::pb::ModelProto, card: &Card) -> TractResult<Arc<TypedRunnableModel>> {
    let shape = [1, 3, card.input.height as usize, card.input.width as usize];
    let model = onnx()
        .model_for_proto_model(proto)?
        .with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape))?
        .into_optimized()?;
    let output = model.output_fact(0)?.shape.as_concrete().map(<[usize]>::to_vec);
    if output.as_deref() != Some(&[1, card.genres.len()]) {
        let genres = card.genres.len();
        return Err(TractError::msg(format!("the card names {genres} genres, the output is {output:?}")));
    }
    model.into_runnable()
}

/// The first 12 hexadecimal digits of the SHA-256 of `bytes`.
pub fn fingerprint(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(6).map(|byte| format!("{byte:02x}")).collect()
}

fn one_line(error: &TractError) -> String {
    format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::AttributeProto;

    use super::*;

    fn initializer(name: &str, kind: DataType, raw_data: Vec<u8>) -> TensorProto {
        TensorProto { name: name.into(), data_type: kind as i32, dims: vec![2], raw_data, ..TensorProto::default() }
    }

    fn node(kind: &str, input: &[&str], output: &str, to: Option<DataType>) -> NodeProto {
        let to = to.map(|to| AttributeProto { name: "to".into(), i: to as i64, ..AttributeProto::default() });
        NodeProto {
            op_type: kind.into(),
            input: input.iter().map(ToString::to_string).collect(),
            output: vec![output.into()],
            attribute: to.into_iter().collect(),
            ..NodeProto::default()
        }
    }

    #[test]
    fn weights_of_16_bits_were_cast_anew_for_every_poster() {
        let half = |values: [f32; 2]| values.into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect();
        let mut graph = GraphProto {
            initializer: vec![
                initializer("weight", DataType::Float16, half([0.5, -3.0])),
                initializer("bias", DataType::Float, vec![0; 8]),
                initializer("kept", DataType::Float16, half([1.0, 2.0])),
            ],
            node: vec![
                node("Cast", &["weight"], "wide", Some(DataType::Float)),
                node("Cast", &["poster"], "cast", Some(DataType::Float)),
                node("Add", &["wide", "bias"], "sum", None),
                node("Mul", &["kept", "cast"], "product", None),
            ],
            ..GraphProto::default()
        };
        widen(&mut graph);
        let kinds: Vec<_> = graph.node.iter().map(|node| (node.op_type.as_str(), node.input[0].as_str())).collect();
        assert_eq!(kinds, [("Cast", "poster"), ("Add", "wide"), ("Mul", "kept")]);
        let names: Vec<_> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["bias", "kept", "wide"]);
        let wide = &graph.initializer[2];
        assert_eq!((wide.data_type, wide.dims.as_slice()), (DataType::Float as i32, &[2][..]));
        assert_eq!(wide.raw_data, [0.5_f32, -3.0].into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
    }
}
