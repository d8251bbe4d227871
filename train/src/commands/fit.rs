//! `train fit`: a network from labelled posters.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};
use runtime::commands::Outcome;
use runtime::manifest::Source;
use runtime::poster::Input;

use super::{DataArgs, RunArgs, tune};
use crate::data::augment::Augmentation;
use crate::fit::{self, Ending};
use crate::model::Architecture;
use crate::run::{Run, Settings};
use crate::schedule::{Decay, Schedule};

/// Train a network, choose its best epoch and its thresholds on validation.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    /// Go on with the run named by --run, or the newest, from its last whole epoch and with its own settings
    #[arg(long, conflicts_with = "SettingsArgs")]
    resume: bool,

    #[command(flatten)]
    run: RunArgs,

    #[command(flatten)]
    data: DataArgs,
}

/// What a new run is made of.
#[derive(clap::Args, Debug)]
struct SettingsArgs {
    /// CSV files of posters to learn from; name the folder of the pictures, if it is not `Images` or the CSV's own,
    /// behind a `=`
    #[arg(required_unless_present = "resume", value_name = "CSV[=FOLDER]")]
    train: Vec<Source>,

    /// CSV files of other posters, to choose the best epoch and the thresholds on; `train split` makes them
    #[arg(long, required_unless_present = "resume", value_name = "CSV[=FOLDER]", num_args = 1..)]
    validation: Vec<Source>,

    /// The network
    #[arg(long, value_enum, default_value_t = Architecture::Cnn)]
    architecture: Architecture,

    /// Width of the network's input in pixels
    #[arg(long, default_value_t = 64)]
    width: u32,

    /// Height of the network's input in pixels
    #[arg(long, default_value_t = 96)]
    height: u32,

    /// Passes over the posters
    #[arg(long, default_value_t = 40)]
    epochs: usize,

    /// Posters a step
    #[arg(long, default_value_t = 32)]
    batch_size: usize,

    /// Highest learning rate
    #[arg(long, default_value_t = 2e-3)]
    learning_rate: f64,

    /// How the learning rate falls
    #[arg(long, value_enum, default_value_t = Decay::Cosine)]
    schedule: Decay,

    /// Epochs over which the learning rate rises
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,

    /// Decoupled weight decay; 0 is plain Adam
    #[arg(long, default_value_t = 0.02)]
    weight_decay: f64,

    /// What the moving average of the weights keeps at each step; the average is what is validated and exported, 0 makes
    /// it the weights themselves
    #[arg(long, value_name = "DECAY", default_value_t = 0.998)]
    average: f64,

    /// Never mirror a poster
    #[arg(long)]
    no_flip: bool,

    /// The part of width and height that may be cut off, 0 to 1
    #[arg(long, default_value_t = 0.2)]
    crop: f64,

    /// End early after that many epochs without a new lowest validation loss
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<usize>,

    /// Seed of all that is random
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl SettingsArgs {
    fn settings(&self) -> Result<Settings> {
        ensure!(self.width >= 32 && self.height >= 32, "the input must be at least 32 x 32 pixels");
        ensure!(self.epochs > 0 && self.batch_size > 0, "epochs and batch size must be at least 1");
        ensure!((0.0..1.0).contains(&self.average), "--average must be at least 0 and less than 1");
        ensure!((0.0..1.0).contains(&self.crop), "--crop must be at least 0 and less than 1");
        ensure!(
            self.learning_rate > 0.0 && self.warmup >= 0.0,
            "the learning rate must be positive, the warm-up not negative"
        );
        Ok(Settings {
            train: self.train.clone(),
            validation: self.validation.clone(),
            architecture: self.architecture,
            input: Input::rgb(self.width, self.height),
            batch_size: self.batch_size,
            schedule: Schedule {
                peak: self.learning_rate,
                warmup: self.warmup.min(self.epochs as f64),
                epochs: self.epochs,
                decay: self.schedule,
            },
            weight_decay: self.weight_decay,
            average: self.average,
            augmentation: Augmentation { flip: !self.no_flip, crop: self.crop },
            patience: self.patience,
            seed: self.seed,
        })
    }
}

/// Trains, then chooses thresholds and prints the validation figures.
///
/// # Errors
/// If the data cannot be used or the run's directory cannot be written.
pub fn run(args: &Args) -> Result<Outcome> {
    let resumed = args.resume.then(|| args.run.find()).transpose()?;
    let settings = match &resumed {
        Some(run) => run.settings()?,
        None => args.settings.settings()?,
    };
    let train = args.data.load(&settings.train, None, &settings.input)?;
    let validation = args.data.load(&settings.validation, Some(&train.genres), &settings.input)?;
    let run = match resumed {
        Some(run) => run,
        None => Run::create(&args.run.runs, args.run.run.as_deref(), &settings)?,
    };
    anstream::println!(
        "{}: {} posters to learn from, {} to validate on, {} genres",
        run.folder().display(),
        train.len(),
        validation.len(),
        train.genres.len()
    );

    let interrupted = on_ctrl_c()?;
    match fit::fit(&run, &settings, [&train, &validation], args.data.workers, &interrupted)? {
        Ending::Finished => {}
        Ending::Interrupted => {
            let done = run.state()?.map_or(0, |state| state.history.len());
            anstream::eprintln!(
                "interrupted; {done} epochs are kept, go on with: train fit --resume --run {}",
                run.folder().display()
            );
            return Ok(Outcome::Interrupted);
        }
    }
    tune::tune(&run, &validation, args.data.workers)?;
    let failed = !train.unreadable.is_empty() || !validation.unreadable.is_empty();
    Ok(if failed { Outcome::SomeFailed } else { Outcome::Complete })
}

/// A flag that the first Ctrl-C raises; the second one ends the program at once.
fn on_ctrl_c() -> Result<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || {
        if flag.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    })
    .context("Ctrl-C cannot be handled")?;
    Ok(interrupted)
}
