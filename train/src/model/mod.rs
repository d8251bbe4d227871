//! The architectures, one file each.

pub mod cnn;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use cnn::{Cnn, CnnConfig};

/// A network of any architecture.
#[derive(Module, Debug)]
pub enum Model {
    /// See [`cnn`].
    Cnn(Cnn),
}

/// The name of an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Convolutions, max-pooling, dropout, dense: the classic.
    Cnn,
}

impl Model {
    /// A network with fresh weights for that many genres.
    pub fn new(architecture: Architecture, genres: usize, device: &Device) -> Self {
        match architecture {
            Architecture::Cnn => Self::Cnn(CnnConfig::new(genres).init(device)),
        }
    }

    /// Logits of each genre; their sigmoid is the probability.
    ///
    /// # Shapes
    /// - posters: `[N, 3, height, width]`
    /// - logits: `[N, G]`
    pub fn forward(&self, posters: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Cnn(cnn) => cnn.forward(posters),
        }
    }
}
