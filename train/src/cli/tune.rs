//! `train tune`: calibration, rounding and thresholds from validation posters.

use anyhow::Result;
use cli_support::Outcome;
use runtime::dataset::Source;
use train::tune::tune;

use super::{DataArgs, LabelArgs, RunArgs, print_tuned};

/// Calibrate a trained network and choose its thresholds on validation posters
///
/// `train fit` does this at its end; run it again for other validation posters, or after an interrupted training.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// CSV files of posters that the network was not trained on [default: the run's validation data]
    #[arg(value_name = "CSV[=DIR]")]
    validation: Vec<Source>,

    #[command(flatten)]
    labels: LabelArgs,

    #[command(flatten)]
    run: RunArgs,

    #[command(flatten)]
    data: DataArgs,
}

/// Tunes a run and prints its validation metrics.
///
/// # Errors
/// If the run or the data cannot be used.
pub fn run(args: &Args) -> Result<Outcome> {
    let run = args.run.find()?;
    let config = run.config()?;
    // The run's own validation posters keep the labels that it validated with, unless another limit is given.
    let (sources, run_limit) = match args.validation.as_slice() {
        [] => (config.validation.as_slice(), config.list_limit),
        named => (named, None),
    };
    let limit = args.labels.list_limit().or(run_limit);
    let sources = args.labels.sources(sources);
    let validation = args.data.load(&sources, limit, Some(&run.trained_state()?.genres), &config.input)?;
    print_tuned(&tune(&run, &validation, args.data.workers)?);
    Ok(if validation.unreadable.is_empty() { Outcome::Complete } else { Outcome::SomeFailed })
}
