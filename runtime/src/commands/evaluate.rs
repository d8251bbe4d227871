//! `runtime evaluate`: a model file's figures on labelled posters.

use std::io::Write;

use anyhow::ensure;
use rayon::prelude::*;

use super::{ModelArgs, Outcome, complain};
use crate::evaluation::{Bootstrap, Evaluation};
use crate::manifest::{LabelledPoster, Manifest, Source};
use crate::poster;

/// Measure a model on labelled posters: per genre, and averaged.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// CSV files of labelled posters; name the folder of the pictures, if it is not `Images` or the CSV's own, behind a `=`
    #[arg(required = true, value_name = "CSV[=FOLDER]")]
    data: Vec<Source>,

    #[command(flatten)]
    model: ModelArgs,

    #[command(flatten)]
    report: ReportArgs,
}

/// How figures are printed.
#[derive(clap::Args, Debug)]
pub struct ReportArgs {
    /// Print every figure as JSON
    #[arg(long)]
    pub json: bool,

    /// Also print what is predicted in place of each genre that is missed
    #[arg(long)]
    pub confusion: bool,
}

/// Prints the figures to standard output.
///
/// # Errors
/// If the model or a CSV file cannot be used, or no poster can be read.
pub fn run(args: &Args) -> anyhow::Result<Outcome> {
    let network = args.model.network()?;
    let card = network.card();
    let point = args.model.choose(card)?;
    let mut manifest = Manifest::read(&args.data)?.with_genres(&card.genres);
    ensure!(
        manifest.posters.iter().any(|poster| poster.labels.iter().any(Option::is_some)),
        "none of the genres in the CSV is one of the model's ({}); use a data set with the same genre names",
        card.genres.join(", ")
    );

    let classify = |labelled: &LabelledPoster| -> anyhow::Result<Vec<f32>> {
        let picture = poster::open_for(&labelled.path, card.input.size())?;
        network.classify(picture)
    };
    let probabilities: Vec<_> = manifest.posters.par_iter().map(classify).collect();
    let total = probabilities.len();
    let mut scored = Vec::with_capacity(total * card.genres.len());
    let mut readable = Vec::with_capacity(total);
    for (result, labelled) in probabilities.into_iter().zip(manifest.posters) {
        match result {
            Ok(values) => {
                scored.extend(values);
                readable.push(labelled);
            }
            Err(error) => complain(&format!("{error:#}")),
        }
    }
    manifest.posters = readable;
    ensure!(!manifest.posters.is_empty(), "none of the {total} posters can be read; check the folder of the pictures");

    let evaluation = manifest.evaluate(&scored, &point.thresholds, Some(Bootstrap::default()));
    print(&evaluation, &args.report)?;
    Ok(if manifest.posters.len() == total { Outcome::Complete } else { Outcome::SomeFailed })
}

/// Prints figures to standard output.
///
/// # Errors
/// If standard output cannot be written.
pub fn print(evaluation: &Evaluation, report: &ReportArgs) -> anyhow::Result<()> {
    let mut out = anstream::stdout().lock();
    if report.json {
        serde_json::to_writer_pretty(&mut out, evaluation)?;
        writeln!(out)?;
        return Ok(());
    }
    writeln!(out, "{}", evaluation.table())?;
    if report.confusion {
        writeln!(out, "\n{}", evaluation.confusion_table())?;
    }
    Ok(())
}
