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

use runtime::memory::Budget;
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

/// A limit of memory for the posters that are decoded at the same time.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct MemoryArgs {
    /// Memory for decoding posters, such as 300M or 2G: larger ones are refused, and those that do not fit beside each
    /// other wait [default: half of the available memory]
    #[arg(long, value_name = "SIZE", value_parser = parse_size, help_heading = "Posters")]
    max_memory: Option<u64>,
}

impl MemoryArgs {
    fn budget(self) -> Budget {
        self.max_memory.map_or_else(Budget::usual, Budget::new)
    }
}

/// Bytes, with `K`, `M` or `G` for powers of 1024.
fn parse_size(text: &str) -> Result<u64, &'static str> {
    let number = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = match text[number.len()..].to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
        "" => Some(0),
        "K" => Some(10),
        "M" => Some(20),
        "G" => Some(30),
        _ => None,
    };
    let bytes = unit.and_then(|shift| number.parse::<u64>().ok()?.checked_mul(1 << shift));
    bytes.ok_or("is no size such as 300M or 2G")
}

/// Opens a model file, or the shipped model.
fn open(options: &ModelOptions, path: Option<&Path>) -> Result<Model, Error> {
    path.map_or_else(|| options.shipped(), |path| options.open(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed() {
        for (text, expected) in [
            ("4096", Some(4096)),
            ("300M", Some(300 << 20)),
            ("2g", Some(2 << 30)),
            ("1GiB", Some(1 << 30)),
            ("64kB", Some(64 << 10)),
            ("", None),
            ("M", None),
            ("-1M", None),
            ("1.5G", None),
            ("20X", None),
            ("99999999999G", None),
        ] {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        }
    }
}
