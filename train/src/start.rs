//! What a training starts from.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use runtime::model::card::{Card, Training};
use runtime::preprocess::InputSpec;

use crate::model::pretrained::Weights;
use crate::model::{Model, exported};
use crate::run::Run;

/// Weights that were learned before.
// There is one of it at a time.
#[allow(clippy::large_enum_variant)]
pub enum Start {
    /// Of a trunk, trained on ImageNet.
    Trunk(Weights),
    /// Of a whole network for posters.
    Network {
        /// The network.
        model: Model,
        /// Its genres, in the order of its output.
        genres: Vec<String>,
        /// The input that it was trained with.
        input: InputSpec,
        /// How it was trained.
        training: Training,
    },
}

impl Start {
    /// Reads the best epoch of the run in a directory, an exported model, `.onnx`, or else a file of [`Weights`].
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let run = Run::find(path, Some(path))?;
            let (model, state) = run.best(&Device::flex())?;
            let (input, training) = (run.settings()?.input, run.training()?);
            return Ok(Self::Network { model, genres: state.genres, input, training });
        }
        if path.extension().is_some_and(|kind| kind == "onnx") {
            let (model, card) = exported::read(path)?;
            let Card { genres, input, training, .. } = card;
            return Ok(Self::Network { model, genres, input, training });
        }
        Ok(Self::Trunk(Weights::read(path)?))
    }

    /// Mean and standard deviation of the input, channel by channel, for channels of 0 to 1.
    pub fn normalisation(&self) -> ([f32; 3], [f32; 3]) {
        match self {
            Self::Trunk(weights) => weights.normalisation(),
            Self::Network { input, .. } => (input.mean, input.std),
        }
    }

    /// How it was trained, if it was for posters.
    pub fn training(self) -> Option<Training> {
        match self {
            Self::Trunk(_) => None,
            Self::Network { training, .. } => Some(training),
        }
    }
}
