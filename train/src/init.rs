//! Initial weights: an ImageNet backbone, an exported model, or the best epoch of another run.

use std::path::Path;

use anyhow::Result;
use burn::tensor::Device;
use runtime::model::card::{Card, Training};
use runtime::preprocess::InputSpec;

use crate::model::pretrained::Weights;
use crate::model::{Model, exported};
use crate::run_dir::RunDir;

/// Pretrained weights for a network to start from.
#[expect(clippy::large_enum_variant, reason = "a program holds one value at a time")]
pub enum InitialWeights {
    /// Of a backbone that was trained on ImageNet.
    Backbone(Weights),
    /// Of a whole poster classifier.
    Classifier {
        /// The network.
        model: Model,
        /// Its genres, `[G]`, in the order of its output.
        genres: Vec<String>,
        /// The input that it was trained with.
        input: InputSpec,
        /// Training settings and data.
        training: Training,
    },
}

impl InitialWeights {
    /// Reads the best epoch of a run, if `path` is a directory, an exported model, if it ends in `.onnx`, or else a
    /// file of backbone [`Weights`].
    ///
    /// # Errors
    /// If the weights cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        if path.is_dir() {
            let run = RunDir::find(path, Some(path))?;
            let (model, state) = run.best_model(&Device::flex())?;
            let (input, training) = (run.config()?.input, run.training()?);
            return Ok(Self::Classifier { model, genres: state.genres, input, training });
        }
        if path.extension().is_some_and(|extension| extension == "onnx") {
            let (model, card) = exported::read(path)?;
            let Card { genres, input, training, .. } = card;
            return Ok(Self::Classifier { model, genres, input, training });
        }
        Ok(Self::Backbone(Weights::read(path)?))
    }

    /// Mean and standard deviation of the input channels that the weights were trained with, for values of 0 to 1.
    pub fn normalisation(&self) -> ([f32; 3], [f32; 3]) {
        match self {
            Self::Backbone(weights) => weights.normalisation(),
            Self::Classifier { input, .. } => (input.mean, input.std),
        }
    }

    /// How the network was trained, if it was a poster classifier.
    pub fn training(self) -> Option<Training> {
        match self {
            Self::Backbone(_) => None,
            Self::Classifier { training, .. } => Some(training),
        }
    }
}
