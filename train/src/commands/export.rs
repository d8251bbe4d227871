//! `train export`: one ONNX file that explains itself.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use burn::tensor::Device;
use cli_support::Outcome;
use runtime::dataset::Source;
use runtime::model::card::Card;

use super::{DataArgs, RunArgs};
use crate::export;
use crate::run::{Run, Settings, State, write_whole};

/// Export a trained network's best epoch, with its card, and prove that tract agrees with burn.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The ONNX file to write
    model: PathBuf,

    /// The model's name
    #[arg(long, default_value = "poster-genres")]
    name: String,

    /// What the model is and what it is for
    #[arg(long)]
    description: Option<String>,

    /// CSV files of posters to compare burn and tract on [default: those that the run validates on, then those it
    /// learned from]
    #[arg(long, value_name = "CSV[=FOLDER]", num_args = 1..)]
    gate: Vec<Source>,

    #[command(flatten)]
    run: RunArgs,

    #[command(flatten)]
    data: DataArgs,
}

/// Writes the model; a file that fails the proof is not left behind.
///
/// # Errors
/// If the run or its posters cannot be used, if the proof fails, or if the file cannot be written.
pub fn run(args: &Args) -> Result<Outcome> {
    let failed = || format!("{}: cannot be written; name another file", args.model.display());
    // A bad path should fail in the first second, not after the proof.
    let folder = args.model.parent().filter(|folder| !folder.as_os_str().is_empty());
    folder.map_or(Ok(()), std::fs::create_dir_all).with_context(failed)?;
    anyhow::ensure!(!args.model.is_dir(), "{}: is a directory; name a file", args.model.display());

    let run = args.run.find()?;
    let settings = run.settings()?;
    let (model, state) = run.calibrated(&Device::flex())?;
    let card = card(args, &run, &settings, &state)?;
    let halved = run.calibration()?.halved;
    let bytes = export::to_onnx(model, &card, halved)?;

    let sources: Vec<&Source> = if args.gate.is_empty() {
        settings.validation.iter().chain(&settings.train).collect()
    } else {
        args.gate.iter().collect()
    };
    let mut sets = Vec::new();
    for source in sources {
        sets.push(args.data.load(std::slice::from_ref(source), None, Some(&state.genres), &settings.input)?);
        if sets.iter().map(|set| set.len()).sum::<usize>() >= export::GATE_POSTERS {
            break;
        }
    }
    let (model, _) = run.calibrated(&Device::flex())?;
    let parity = export::prove(&bytes, &model, &sets)?;
    write_whole(&args.model, |file| Ok(file.write_all(&bytes)?)).with_context(failed)?;
    anstream::println!(
        "{}: epoch {} of {}, {:.1} MB, weights of {}; burn and tract agree on {} posters to {:.1e}",
        args.model.display(),
        state.best,
        run.folder().display(),
        bytes.len() as f64 / 1e6,
        halved.map_or("32 bits".into(), |size| format!("16 bits in tensors of {size} and more")),
        parity.posters,
        parity.largest,
    );
    Ok(Outcome::Complete)
}

fn card(args: &Args, run: &Run, settings: &Settings, state: &State) -> Result<Card> {
    let description = args.description.clone().unwrap_or_else(|| {
        format!("The genres of a film from its poster: the probability of each of {} genres.", state.genres.len())
    });
    Ok(Card {
        name: args.name.clone(),
        description,
        genres: state.genres.clone(),
        input: settings.input.clone(),
        operating_points: run.operating_points()?,
        training: run.training()?,
        figures: run.figures()?,
    })
}
