//! `runtime evaluate`: metrics of a model on labelled posters.

use std::num::NonZeroUsize;

use anyhow::ensure;
use cli_support::{Outcome, ReportArgs, complain_of_posters};
use runtime::dataset::{Classified, Dataset, Source};
use runtime::metrics::Bootstrap;

use super::ModelArgs;

/// Measure a model on labelled posters: per genre, and averaged.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// CSV files of labelled posters; name the folder of the pictures, if it is not `Images` or the CSV's own, behind a `=`
    #[arg(required = true, value_name = "CSV[=FOLDER]")]
    data: Vec<Source>,

    /// Genre lists were cut after N genres in alphabetical order: make unknown what may be missing from them
    #[arg(long, value_name = "N")]
    list_limit: Option<NonZeroUsize>,

    /// The genres of the label files, where their cells do not tell which columns are genres
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    genres: Vec<String>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    report: ReportArgs,
}

/// Prints the figures to standard output.
///
/// # Errors
/// If the model or a CSV file cannot be used, or no poster can be read.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let model = args.model.open()?;
    let card = model.card();
    let point = args.model.choose(&model)?;
    let sources: Vec<Source> = args.data.iter().map(|source| source.clone().with_genres(&args.genres)).collect();
    let mut dataset = Dataset::read(&sources)?;
    let remarks = dataset.remarks(&card.genres);
    if let Some(limit) = args.list_limit {
        dataset = dataset.with_list_limit(limit.get());
    }
    dataset = dataset.with_genres(&card.genres);
    ensure!(
        dataset.posters.iter().any(|poster| poster.labels.iter().any(Option::is_some)),
        "no label is known for a genre of the model; use labels with the same genre names ({})",
        remarks.join("; ")
    );
    remarks.iter().for_each(|remark| cli_support::notice(format_args!("note: {remark}")));

    let total = dataset.posters.len();
    let Classified { dataset, probabilities, failures } = dataset.classify(&model);
    complain_of_posters(total, &failures)?;

    let evaluation = dataset.evaluate(&probabilities, &point.thresholds, Some(Bootstrap::default()));
    args.report.print(&evaluation, || evaluation.table(), || evaluation.confusion_table())?;
    Ok(if failures.is_empty() { Outcome::Complete } else { Outcome::SomeFailed })
}
