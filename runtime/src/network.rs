//! A model file run by tract: an input in, probabilities out.

mod graph;
mod operator;

use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use sha2::{Digest, Sha256};
use thiserror::Error;
use tract_onnx::pb::ModelProto;
use tract_onnx::prelude::*;

use self::operator::TrunkOperator;
use crate::card::{Card, CardError};
use crate::mobilenet::Trunk;
use crate::poster::{self, Picture};

/// The shipped model, part of the program.
static SHIPPED: &[u8] = include_bytes!("../../models/poster-genres.onnx");

/// A model. Sharing it between threads costs nothing.
pub struct Network {
    path: String,
    card: Card,
    fingerprint: String,
    /// What tract runs, or why it cannot.
    plan: Later<Result<Plan, String>>,
}

type Plan = Arc<TypedRunnableModel>;

/// What is made when it is first asked for.
type Later<T> = LazyLock<T, Box<dyn FnOnce() -> T + Send>>;

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
        let network = Self::read(Some(path))?;
        network.prepare()?;
        Ok(network)
    }

    /// Reads a model file, or else the shipped model, and prepares it when [`Network::prepare`] is called or with the first
    /// poster: who finds that all posters are known has no need to.
    ///
    /// # Errors
    /// See [`NetworkError`]; [`NetworkError::Graph`] comes later.
    pub fn read(path: Option<&Path>) -> Result<Self, NetworkError> {
        let Some(path) = path else { return Self::parse(SHIPPED, "the shipped model") };
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(|source| NetworkError::Unreadable { path: name.clone(), source })?;
        Self::parse(&bytes, &name)
    }

    /// Prepares a model for single posters, the fastest way to run one in tract. `path` is used in messages only.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn from_bytes(bytes: &[u8], path: &str) -> Result<Self, NetworkError> {
        let network = Self::parse(bytes, path)?;
        network.prepare()?;
        Ok(network)
    }

    fn parse(bytes: &[u8], path: &str) -> Result<Self, NetworkError> {
        let proto = onnx()
            .proto_model_for_read(&mut &*bytes)
            .map_err(|error| NetworkError::NotOnnx { path: path.into(), reason: one_line(&error) })?;
        let card = Card::read(&proto).map_err(|source| NetworkError::Card { path: path.into(), source })?;
        let described = card.clone();
        let plan: Later<_> =
            LazyLock::new(Box::new(move || prepare(proto, &described).map_err(|error| one_line(&error))));
        Ok(Self { path: path.into(), card, fingerprint: fingerprint(bytes), plan })
    }

    /// Prepares the model, if that is not done yet.
    ///
    /// # Errors
    /// [`NetworkError::Graph`].
    pub fn prepare(&self) -> Result<(), NetworkError> {
        let failed = |reason: &String| NetworkError::Graph { path: self.path.clone(), reason: reason.clone() };
        self.plan.as_ref().map(|_| ()).map_err(failed)
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
    /// If the model cannot be prepared, or tract fails, which it does not for a model that could.
    ///
    /// # Panics
    /// If the input's length is not what the card says.
    pub fn probabilities(&self, input: &[f32]) -> TractResult<Vec<f32>> {
        let spec = &self.card.input;
        assert_eq!(input.len(), spec.len(), "an input must be [3, height, width]");
        let input = Tensor::from_shape(&[1, 3, spec.height as usize, spec.width as usize], input)?;
        let plan = self.plan.as_ref().map_err(|reason| TractError::msg(reason.clone()))?;
        let output = plan.run(tvec!(input.into_tvalue()))?;
        Ok(output[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }

    /// The probability of each genre, `[G]` in card order, for one upright picture of any size.
    ///
    /// # Errors
    /// See [`Network::probabilities`].
    pub fn classify(&self, picture: &Picture) -> TractResult<Vec<f32>> {
        self.probabilities(&poster::tensor(picture, &self.card.input))
    }
}

/// Makes a graph ready. If it is a MobileNetV2, most of it is run by [`mobilenet`](crate::mobilenet).
fn prepare(mut proto: ModelProto, card: &Card) -> TractResult<Plan> {
    let trunk = proto.graph.as_mut().and_then(graph::take_trunk);
    plan(proto, card, trunk)
}

/// What tract runs of a graph, given the trunk that was taken out of it.
fn plan(mut proto: ModelProto, card: &Card, trunk: Option<Trunk>) -> TractResult<Plan> {
    proto.graph.as_mut().into_iter().for_each(graph::widen);
    let mut model = onnx().model_for_proto_model(&proto)?;
    if let Some(trunk) = trunk {
        let node = model.node_id_by_name(graph::TRUNK)?;
        model.node_mut(node).op = Box::new(TrunkOperator(Arc::new(trunk)));
    }
    let shape = [1, 3, card.input.height as usize, card.input.width as usize];
    let model = model.with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape))?.into_optimized()?;
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
    use tract_onnx::pb::GraphProto;

    use super::*;

    /// The shipped models, as they are in the repository.
    fn shipped() -> Vec<(&'static str, Vec<u8>)> {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        let names = ["poster-genres.onnx", "poster-genres-small.onnx"];
        names.map(|name| (name, fs::read(models.join(name)).unwrap())).into()
    }

    fn proto(bytes: &[u8]) -> ModelProto {
        onnx().proto_model_for_read(&mut &*bytes).unwrap()
    }

    #[test]
    fn the_trunk_gives_what_tract_gives_for_the_whole_graph() {
        for (name, bytes) in shipped() {
            let network = Network::from_bytes(&bytes, name).unwrap();
            let (proto, card) = (proto(&bytes), network.card());
            assert!(
                graph::take_trunk(&mut proto.graph.clone().unwrap()).is_some(),
                "{name}: a trunk is not recognised"
            );
            let tract = plan(proto, card, None).unwrap();
            let shape = [1, 3, card.input.height as usize, card.input.width as usize];
            for seed in 0..4 {
                let value = |place: usize| ((place * (2 * seed + 1) * 7919) % 997) as f32 / 498.0 - 1.0;
                let values: Vec<f32> = (0..card.input.len()).map(value).collect();
                let found = network.probabilities(&values).unwrap();
                let whole = tract.run(tvec!(Tensor::from_shape(&shape, &values).unwrap().into_tvalue())).unwrap();
                let expected = whole[0].try_as_plain_ram().unwrap().as_slice::<f32>().unwrap();
                let worst = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 1e-5, "{name}: a probability differs by {worst}");
            }
        }
    }

    #[test]
    fn a_graph_that_is_not_quite_a_trunk_stays_as_it_is() {
        struct Case {
            what: &'static str,
            spoil: fn(&mut GraphProto),
        }
        let cases = [
            Case {
                what: "a value inside is read elsewhere",
                spoil: |graph| graph.node.last_mut().unwrap().input[0] = "blocks.5.add".into(),
            },
            Case { what: "a value inside is an output", spoil: |graph| graph.output[0].name = "blocks.2.clip".into() },
            Case {
                what: "an operator is another one",
                spoil: |graph| {
                    let clip = graph.node.iter_mut().find(|node| node.output[0] == "blocks.7.clip");
                    clip.unwrap().op_type = "Sigmoid".into();
                },
            },
            Case {
                what: "the last mean is missing",
                spoil: |graph| graph.node.retain(|node| node.output[0] != "globalaveragepool"),
            },
        ];
        let whole = proto(&shipped()[0].1).graph.unwrap();
        for Case { what, spoil } in cases {
            let mut graph = whole.clone();
            spoil(&mut graph);
            let before = graph.clone();
            assert!(graph::take_trunk(&mut graph).is_none() && graph == before, "{what}");
        }
    }
}
