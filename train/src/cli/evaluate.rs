//! `train evaluate`: metrics of a trained network on labelled posters.

use anyhow::Result;
use burn::tensor::Device;
use cli_support::{Outcome, ReportArgs};
use runtime::dataset::Source;
use runtime::metrics::Bootstrap;
use runtime::operating_point;
use train::data::source::short_names;
use train::predict;
use train::scored::ScoredPosters;

use super::{DataArgs, LabelArgs, RunArgs};

/// Evaluate a run's best epoch on labelled posters: metrics per genre and averages
#[derive(clap::Args, Debug)]
pub struct Args {
    /// CSV files of labelled posters
    #[arg(required = true, value_name = "CSV[=DIR]")]
    data: Vec<Source>,

    /// Operating point whose thresholds are applied [default: the first one; only its metrics go into the model card]
    #[arg(long, value_name = "NAME")]
    operating_point: Option<String>,

    #[command(flatten)]
    labels: LabelArgs,

    #[command(flatten)]
    report: ReportArgs,

    #[command(flatten)]
    run: RunArgs,

    #[command(flatten)]
    loading: DataArgs,
}

/// Prints the metrics, and saves them in the run directory for the model card and for reports.
///
/// # Errors
/// If the run or the data cannot be used.
pub fn run(args: &Args) -> Result<Outcome> {
    let run = args.run.find()?;
    let input = run.config()?.input;
    let (model, state) = run.calibrated_model(&Device::flex())?;
    let points = run.operating_points()?;
    let point = operating_point::find(&points, args.operating_point.as_deref())?;

    let sources = args.labels.sources(&args.data);
    let set = args.loading.load(&sources, args.labels.list_limit(), Some(&state.genres), &input)?;
    let probabilities = predict::probabilities(&predict::logits(&model, &set, &input, args.loading.workers));
    let dataset = set.dataset();
    let evaluation = dataset.evaluate(&probabilities, &point.thresholds, Some(Bootstrap::default()));
    if args.operating_point.is_none() {
        let scored = ScoredPosters::new(&dataset, &probabilities);
        run.save_figures(&short_names(&args.data, "+"), &evaluation, &scored)?;
    }
    args.report.print(&evaluation, || evaluation.table(), || evaluation.confusion_table())?;
    Ok(if set.unreadable.is_empty() { Outcome::Complete } else { Outcome::SomeFailed })
}
