//! `train tune`: calibration and thresholds from validation posters.

use std::sync::Arc;

use anyhow::Result;
use burn::tensor::Device;
use cli_support::Outcome;
use runtime::dataset::Source;
use runtime::metrics::thresholds;
use runtime::metrics::{Bootstrap, Predictions};

use super::{DataArgs, LabelArgs, RunArgs};
use crate::calibration::{self, Calibration, HALVING_SIZES, HALVING_TOLERANCE, NARROWING_TOLERANCE};
use crate::data::PosterSet;
use crate::fit;
use crate::model::Model;
use crate::run::Run;

/// Calibrate a trained network and choose its thresholds anew, on validation posters.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// CSV files of posters that the network has not learned from [default: those the run validates on]
    #[arg(value_name = "CSV[=FOLDER]")]
    validation: Vec<Source>,

    #[command(flatten)]
    labels: LabelArgs,

    #[command(flatten)]
    run: RunArgs,

    #[command(flatten)]
    data: DataArgs,
}

/// Calibrates, chooses thresholds, keeps them in the run's directory and prints the validation figures.
///
/// # Errors
/// If the run or the data cannot be used.
pub fn run(args: &Args) -> Result<Outcome> {
    let run = args.run.find()?;
    let settings = run.settings()?;
    // The posters that the run validates on have the labels that it validated with, unless another limit is given.
    let (sources, limit) = match args.validation.as_slice() {
        [] => (settings.validation.as_slice(), settings.list_limit),
        named => (named, None),
    };
    let limit = args.labels.list_limit().or(limit);
    let validation = args.data.load(sources, limit, Some(&run.trained()?.genres), &settings.input)?;
    tune(&run, &validation, args.data.workers)?;
    Ok(if validation.unreadable.is_empty() { Outcome::Complete } else { Outcome::SomeFailed })
}

/// Calibrates a run's best epoch and chooses its operating points, keeps them, and prints and keeps the figures of the
/// first.
pub(super) fn tune(run: &Run, validation: &Arc<PosterSet>, workers: usize) -> Result<()> {
    let (model, state) = run.best(&Device::flex())?;
    let settings = run.settings()?;
    let manifest = validation.manifest();
    let labels = manifest.labels();
    let calibrated = |model: Model| {
        let logits = fit::logits(&model, validation, &settings.input, workers);
        let scored = Predictions { genres: &manifest.genres, probabilities: &[], labels: &labels };
        let scales = calibration::fit(&logits, &scored);
        let logits = calibration::apply(&scales, &logits);
        (model.scaled(&scales), scales, fit::mean_loss(&logits, &labels), fit::probabilities(&logits))
    };
    let whole = calibrated(model.clone());
    let narrow = calibrated(model.narrowed());
    let narrowed = narrow.2 <= whole.2 + NARROWING_TOLERANCE;
    let (model, scales, _, full) = if narrowed { narrow } else { whole };
    let halved = HALVING_SIZES.into_iter().find_map(|size| {
        let halved = model.clone().halved(size);
        let halved = fit::probabilities(&fit::logits(&halved, validation, &settings.input, workers));
        let change = full.iter().zip(&halved).map(|(full, halved)| (full - halved).abs()).fold(0.0, f32::max);
        (change <= HALVING_TOLERANCE).then_some((size, halved))
    });
    let (halved, probabilities) = halved.map_or((None, full), |(size, halved)| (Some(size), halved));
    run.save_calibration(&Calibration { scales, narrowed, halved })?;
    let scored = Predictions { genres: &manifest.genres, probabilities: &probabilities, labels: &labels };
    let points = thresholds::choose(&scored);
    run.save_operating_points(&points)?;

    let evaluation = manifest.evaluate(&probabilities, &points[0].thresholds, Some(Bootstrap::default()));
    run.save_figures("validation", &evaluation)?;
    anstream::println!(
        "\nepoch {} of {} on validation, operating point \"{}\":",
        state.best,
        state.history.len(),
        points[0].name
    );
    anstream::println!("{}", evaluation.table());
    Ok(())
}
