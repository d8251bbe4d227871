//! A model file: an input in, probabilities out.

mod graph;
pub(crate) mod onnx;
mod tract;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use prost::Message;
use prost::bytes::Bytes;
use sha2::{Digest, Sha256};
use thiserror::Error;
use tract_onnx::prelude::{TractError, TractResult};

use self::onnx::Model;
use crate::card::{Card, CardError};
use crate::mobilenet::{MobileNet, Processor};
use crate::poster::{self, Picture};

/// The shipped model, part of the program.
static SHIPPED: &[u8] = include_bytes!("../../models/poster-genres.onnx");

/// A model. Sharing it between threads costs nothing.
pub struct Network {
    path: String,
    card: Card,
    fingerprint: Later<String>,
    /// What runs the graph, or why nothing can.
    engine: Later<Result<Engine, String>>,
}

/// What runs a graph.
enum Engine {
    /// Code of our own, several times as fast.
    MobileNet(Box<MobileNet>),
    /// Any other graph.
    Tract(tract::Plan),
}

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
        let network = Self::read(None)?;
        network.prepare()?;
        Ok(network)
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
        let processor = Processor::here();
        let Some(path) = path else { return Self::parse(Bytes::from_static(SHIPPED), "the shipped model", processor) };
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(|source| NetworkError::Unreadable { path: name.clone(), source })?;
        Self::parse(bytes.into(), &name, processor)
    }

    /// Prepares a model. `path` is used in messages only.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn from_bytes(bytes: &[u8], path: &str) -> Result<Self, NetworkError> {
        let network = Self::parse(Bytes::copy_from_slice(bytes), path, Processor::here())?;
        network.prepare()?;
        Ok(network)
    }

    /// The same, without what rounds numbers to 16 bits where the processor and the model's weights allow it: for
    /// comparisons with others.
    ///
    /// # Errors
    /// See [`NetworkError`].
    pub fn exact_from_bytes(bytes: &[u8], path: &str) -> Result<Self, NetworkError> {
        let network = Self::parse(Bytes::copy_from_slice(bytes), path, Processor::here().exact())?;
        network.prepare()?;
        Ok(network)
    }

    fn parse(file: Bytes, path: &str, processor: Processor) -> Result<Self, NetworkError> {
        let model = Model::decode(file.clone())
            .map_err(|error| NetworkError::NotOnnx { path: path.into(), reason: error.to_string() })?;
        let card = Card::read(&model).map_err(|source| NetworkError::Card { path: path.into(), source })?;
        let hashed = file.clone();
        let described = card.clone();
        Ok(Self {
            path: path.into(),
            card,
            fingerprint: LazyLock::new(Box::new(move || fingerprint(&hashed))),
            engine: LazyLock::new(Box::new(move || {
                prepare(&file, model, &described, processor).map_err(|error| one_line(&error))
            })),
        })
    }

    /// Prepares the model, if that is not done yet.
    ///
    /// # Errors
    /// [`NetworkError::Graph`].
    pub fn prepare(&self) -> Result<(), NetworkError> {
        let failed = |reason: &String| NetworkError::Graph { path: self.path.clone(), reason: reason.clone() };
        self.engine.as_ref().map(|_| ()).map_err(failed)
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
        let size = [spec.height as usize, spec.width as usize];
        match self.engine.as_ref().map_err(|reason| TractError::msg(reason.clone()))? {
            Engine::MobileNet(network) => Ok(network.probabilities(input, size)),
            Engine::Tract(plan) => plan.probabilities(input, size),
        }
    }

    /// The probability of each genre, `[G]` in card order, for one upright picture of any size, whose memory is free before the
    /// network takes its own.
    ///
    /// # Errors
    /// See [`Network::probabilities`].
    pub fn classify(&self, picture: Picture) -> TractResult<Vec<f32>> {
        let input = poster::tensor(&picture, &self.card.input);
        drop(picture);
        self.probabilities(&input)
    }
}

/// Makes a model's graph ready, that of `file`, for a processor.
fn prepare(file: &[u8], model: Model, card: &Card, processor: Processor) -> TractResult<Engine> {
    let network = model.graph.as_ref().and_then(|graph| graph::mobilenet(graph, processor));
    match network.filter(|network| network.classes() == card.genres.len()) {
        Some(network) => Ok(Engine::MobileNet(Box::new(network))),
        None => Ok(Engine::Tract(tract::Plan::new(file, card)?)),
    }
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
    use super::onnx::Graph;
    use super::*;

    /// The shipped models, as they are in the repository.
    fn shipped() -> Vec<(&'static str, Vec<u8>)> {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models");
        let names = ["poster-genres.onnx", "poster-genres-small.onnx"];
        names.map(|name| (name, fs::read(models.join(name)).unwrap())).into()
    }

    #[test]
    fn the_shipped_models_give_what_tract_gives_for_them() {
        for (name, bytes) in shipped() {
            let network = Network::exact_from_bytes(&bytes, name).unwrap();
            let fastest = Network::from_bytes(&bytes, name).unwrap();
            assert!(matches!(*network.engine, Ok(Engine::MobileNet(_))), "{name}: is not recognised");
            let Card { input, .. } = network.card();
            let tract = tract::Plan::new(&bytes, network.card()).unwrap();
            for seed in 0..4 {
                let value = |place: usize| ((place * (2 * seed + 1) * 7919) % 997) as f32 / 498.0 - 1.0;
                let values: Vec<f32> = (0..input.len()).map(value).collect();
                let found = network.probabilities(&values).unwrap();
                let expected = tract.probabilities(&values, [input.height as usize, input.width as usize]).unwrap();
                let worst =
                    |found: Vec<f32>| found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                let (exact, rounded) = (worst(found), worst(fastest.probabilities(&values).unwrap()));
                assert!(exact < 1e-5, "{name}: a probability differs by {exact}");
                assert!(rounded < 2e-2, "{name}: with inputs rounded to 16 bits a probability differs by {rounded}");
            }
        }
    }

    #[test]
    fn a_graph_that_is_not_quite_a_mobilenet_is_left_to_tract() {
        struct Case {
            what: &'static str,
            spoil: fn(&mut Graph),
        }
        fn spoil(graph: &mut Graph, output: &str, spoil: fn(&mut onnx::Node)) {
            spoil(graph.node.iter_mut().find(|node| node.output[0] == output).unwrap());
        }
        let cases = [
            Case {
                what: "a value inside is read elsewhere",
                spoil: |graph| graph.node.push(onnx::Node { input: vec!["blocks.5.add".into()], ..Default::default() }),
            },
            Case { what: "a value inside is the output", spoil: |graph| graph.output[0].name = "add.add.2".into() },
            Case {
                what: "an operator is another one",
                spoil: |graph| spoil(graph, "blocks.7.clip", |clip| clip.op_type = "Sigmoid".into()),
            },
            Case {
                what: "the last mean is missing",
                spoil: |graph| graph.node.retain(|node| node.output[0] != "globalaveragepool"),
            },
            Case {
                what: "the means are in another order",
                spoil: |graph| spoil(graph, "concat", |concat| concat.input.swap(0, 1)),
            },
            Case {
                what: "the means lie along another axis",
                spoil: |graph| spoil(graph, "concat", |concat| concat.attribute[0].i = 2),
            },
            Case {
                what: "the head has another activation",
                spoil: |graph| spoil(graph, "relu", |relu| relu.op_type = "Tanh".into()),
            },
            Case {
                what: "the means are multiplied before they are shifted",
                spoil: |graph| spoil(graph, "add", |add| add.op_type = "Mul".into()),
            },
        ];
        let whole = Model::decode(&*shipped()[0].1).unwrap().graph.unwrap();
        assert!(graph::mobilenet(&whole, Processor::here()).is_some());
        for Case { what, spoil } in cases {
            let mut graph = whole.clone();
            spoil(&mut graph);
            assert!(graph::mobilenet(&graph, Processor::here()).is_none(), "{what}");
        }
    }
}
