//! `train evaluate`: a trained network's figures on labelled posters.

use anyhow::Result;
use burn::tensor::Device;
use cli_support::{Outcome, ReportArgs};
use runtime::dataset::Source;
use runtime::metrics::Bootstrap;
use runtime::operating_point;

use super::{DataArgs, LabelArgs, RunArgs, data_name};
use crate::fit;

/// Measure a trained network's best epoch on labelled posters: per genre, and averaged.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// CSV files of labelled posters
    #[arg(required = true, value_name = "CSV[=FOLDER]")]
    data: Vec<Source>,

    /// Thresholds to decide by [default: the first operating point; only its figures go into the exported card]
    #[arg(long, value_name = "NAME")]
    operating_point: Option<String>,

    #[command(flatten)]
    labels: LabelArgs,

    #[command(flatten)]
    report: ReportArgs,

    #[command(flatten)]
    run: RunArgs,

    #[command(flatten)]
    how: DataArgs,
}

/// Prints the figures, and keeps them in the run's directory for the card of the exported model.
///
/// # Errors
/// If the run or the data cannot be used.
pub fn run(args: &Args) -> Result<Outcome> {
    let run = args.run.find()?;
    let settings = run.settings()?;
    let (model, state) = run.calibrated(&Device::flex())?;
    let points = run.operating_points()?;
    let point = operating_point::find(&points, args.operating_point.as_deref())?;

    let set = args.how.load(&args.data, args.labels.list_limit(), Some(&state.genres), &settings.input)?;
    let probabilities = fit::probabilities(&fit::logits(&model, &set, &settings.input, args.how.workers));
    let evaluation = set.manifest().evaluate(&probabilities, &point.thresholds, Some(Bootstrap::default()));
    if args.operating_point.is_none() {
        let names: Vec<_> = args.data.iter().map(data_name).collect();
        run.save_figures(&names.join("+"), &evaluation)?;
    }
    args.report.print(&evaluation, || evaluation.table(), || evaluation.confusion_table())?;
    Ok(if set.unreadable.is_empty() { Outcome::Complete } else { Outcome::SomeFailed })
}
