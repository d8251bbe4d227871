//! The subcommands of `runtime`, one file each, and the options that several of them share.

pub mod bench;
pub mod classify;
pub mod evaluate;
pub mod inspect;
pub mod install;
pub mod show;
mod slideshow;
pub mod tag;
pub mod watch;

use std::path::{Path, PathBuf};

use runtime::operating_point::{self, UnknownOperatingPoint};
use runtime::{Engine, Error, Instructions, Model, ModelOptions, OperatingPoint};

/// The model to use, the engine that runs it, and the thresholds to apply.
#[derive(clap::Args, Debug)]
pub struct ModelArgs {
    /// Model file made by `train export` [default: the shipped model]
    #[arg(long, value_name = "FILE")]
    pub model: Option<PathBuf>,

    /// Inference engine
    #[arg(long, value_enum, value_name = "ENGINE", default_value_t = EngineArg::Auto)]
    engine: EngineArg,

    /// Vector instructions of the native engine, such as avx2 or plain [default: the processor's best]
    #[arg(long, value_name = "NAME")]
    instructions: Option<Instructions>,

    /// Operating point, the set of thresholds to apply: one of those in the model's card [default: the first of them]
    #[arg(long, value_name = "NAME")]
    pub operating_point: Option<String>,
}

/// [`Engine`] as an option's value.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum EngineArg {
    /// The native engine where it supports the model, else tract
    Auto,
    /// Hand-written kernels for MobileNetV2 models made by `train export`
    Native,
    /// tract, which runs any ONNX graph
    Tract,
}

impl ModelArgs {
    fn options(&self) -> ModelOptions {
        let options = ModelOptions::new().engine(match self.engine {
            EngineArg::Auto => Engine::Auto,
            EngineArg::Native => Engine::Native,
            EngineArg::Tract => Engine::Tract,
        });
        self.instructions.map_or(options.clone(), |instructions| options.instructions(instructions))
    }

    /// Opens the model.
    fn open(&self) -> Result<Model, Error> {
        open(&self.options(), self.model.as_deref())
    }

    /// The operating point asked for.
    fn choose<'a>(&self, model: &'a Model) -> Result<&'a OperatingPoint, UnknownOperatingPoint> {
        operating_point::find(&model.card().operating_points, self.operating_point.as_deref())
    }
}

/// Opens a model file, or the shipped model.
fn open(options: &ModelOptions, path: Option<&Path>) -> Result<Model, Error> {
    path.map_or_else(|| options.shipped(), |path| options.open(path))
}
