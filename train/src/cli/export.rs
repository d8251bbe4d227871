//! `train export`: the best epoch of a run as one ONNX file with a model card.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use burn::tensor::Device;
use cli_support::Outcome;
use runtime::atomic_file::{self, is_standard_output};
use runtime::dataset::Source;

use train::export::{self, RangeMethod};
use train::files::write_atomically;
use train::model::Architecture;

use super::{DataArgs, RunArgs};

/// Export a run's best epoch to ONNX, with its model card, after a check that tract computes what burn does
#[derive(clap::Args, Debug)]
pub struct Args {
    /// ONNX file to write; `-` is standard output
    model: PathBuf,

    /// Name of the model, for its card
    #[arg(long, default_value = "poster-genres")]
    name: String,

    /// Description of the model, for its card [default: one made from the number of genres]
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,

    /// Quantise to 8-bit integers (ONNX QDQ), with ranges measured on training posters
    #[arg(long)]
    int8: bool,

    /// Range of the activations of --int8: min-max, percentile or mse
    #[arg(long, value_name = "METHOD", default_value_t, requires = "int8")]
    range: RangeMethod,

    /// Training posters whose activations are measured for --int8
    #[arg(long, value_name = "N", default_value_t = 256, requires = "int8")]
    calibration_posters: usize,

    /// CSV files of posters for the parity check of burn and tract [default: the run's validation data, then its
    /// training data]
    #[arg(long, value_name = "CSV[=DIR]", num_args = 1.., alias = "gate")]
    parity_data: Vec<Source>,

    /// The genres of the CSV files of --parity-data, where their cells do not tell which columns are genres
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', requires = "parity_data")]
    genres: Vec<String>,

    #[command(flatten)]
    run: RunArgs,

    #[command(flatten)]
    data: DataArgs,
}

/// Exports the model, checks it, and writes the file if it passes.
///
/// # Errors
/// If the run or its posters cannot be used, if the parity check fails, or if the file cannot be written.
pub fn run(args: &Args) -> Result<Outcome> {
    let failed = || format!("{}: cannot be written; name another file", args.model.display());
    // A bad path should fail in the first second, not after the parity check.
    let folder = args.model.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), std::fs::create_dir_all).with_context(failed)?;
    anyhow::ensure!(!args.model.is_dir(), "{}: is a directory; name a file", args.model.display());
    atomic_file::check(&args.model).with_context(failed)?;

    let run = args.run.find()?;
    let config = run.config()?;
    anyhow::ensure!(
        !args.int8 || config.architecture == Architecture::MobileNet,
        "{}: is a {}, and only a mobilenet can be exported in int8; leave --int8 out",
        run.folder().display(),
        config.architecture
    );
    let (model, state) = run.calibrated_model(&Device::flex())?;
    let description = args.description.clone().unwrap_or_else(|| {
        format!("The genres of a film from its poster: the probability of each of {} genres.", state.genres.len())
    });
    let card = run.card(&args.name, description)?;
    let f16_min_size = run.calibration()?.f16_min_size;
    let bytes = if args.int8 {
        let train = args.data.load(&config.train, config.list_limit, Some(&state.genres), &config.input)?;
        export::to_int8(model, &card, &export::sample(&train, args.calibration_posters, &config.input), args.range)?
    } else {
        export::to_onnx(model, &card, f16_min_size)?
    };

    let sources: Vec<Source> = if args.parity_data.is_empty() {
        config.validation.iter().chain(&config.train).cloned().collect()
    } else {
        args.parity_data.iter().map(|source| source.clone().with_genres(&args.genres)).collect()
    };
    let mut sets = Vec::new();
    for source in &sources {
        sets.push(args.data.load(std::slice::from_ref(source), None, Some(&state.genres), &config.input)?);
        if sets.iter().map(|set| set.len()).sum::<usize>() >= export::PARITY_POSTERS {
            break;
        }
    }
    // `to_onnx` consumes its network.
    let (model, _) = run.calibrated_model(&Device::flex())?;
    let (weights, agreement) = if args.int8 {
        let parity = export::check_int8(&bytes, &model, &sets)?;
        let agreement = format!(
            "{:.1} % of the genre decisions on {} posters are those of 32 bits (largest difference {:.3}); tract and the \
             native engine agree to {:.1e}",
            parity.equal_decisions * 100.0,
            parity.posters,
            parity.largest,
            parity.engines
        );
        ("8-bit integers".into(), agreement)
    } else {
        let parity = export::check_parity(&bytes, &model, &sets)?;
        let weights = f16_min_size.map_or("32 bits".into(), |size| format!("16 bits in tensors of {size} and more"));
        (weights, format!("burn and tract agree on {} posters to {:.1e}", parity.posters, parity.largest))
    };
    write_atomically(&args.model, |file| Ok(file.write_all(&bytes)?)).with_context(failed)?;
    let summary = format!(
        "{}: epoch {} of {}, {:.1} MB, weights of {weights}; {agreement}",
        args.model.display(),
        state.best_epoch,
        run.folder().display(),
        bytes.len() as f64 / 1e6,
    );
    if is_standard_output(&args.model) {
        cli_support::notice(summary);
    } else {
        cli_support::say(summary);
    }
    Ok(Outcome::Complete)
}
