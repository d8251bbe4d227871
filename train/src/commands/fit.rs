//! `train fit`: a network from labelled posters.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use burn::tensor::Device;
use cli_support::{Outcome, on_ctrl_c};
use runtime::dataset::Source;
use runtime::preprocess::InputSpec;

use super::{DataArgs, LabelArgs, RunArgs, tune};
use crate::data::augment::{Augmentation, Mix};
use crate::fit::{self, Ending};
use crate::loss::{Cost, Loss};
use crate::model::Architecture;
use crate::model::mobilenet::PARTS;
use crate::run::{Run, Settings};
use crate::schedule::{Decay, Schedule};
use crate::start::Start;

/// Train a network, choose its best epoch and its thresholds on validation.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    settings: SettingsArgs,

    /// Go on with the run named by --run, or the newest, from its last whole epoch and with its own settings
    #[arg(long, conflicts_with_all = ["SettingsArgs", "LabelArgs"])]
    resume: bool,

    #[command(flatten)]
    run: RunArgs,

    #[command(flatten)]
    data: DataArgs,

    /// What computes; all but flex are features of the crate that the program must be built with: libtorch, cuda
    #[arg(long, value_enum, default_value_t = Compute::Flex)]
    device: Compute,
}

/// What a network learns on.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "lowercase")]
enum Compute {
    /// The processor, by burn's flex backend and the operations made for it here
    Flex,
    /// The processor, by LibTorch
    #[cfg(feature = "libtorch")]
    LibTorch,
    /// The first NVIDIA GPU
    #[cfg(feature = "cuda")]
    Cuda,
}

impl Compute {
    fn device(self) -> Device {
        match self {
            Self::Flex => Device::flex(),
            // burn's developers would rather have one backend for everything; as long as theirs is there, it is of use.
            #[cfg(feature = "libtorch")]
            #[allow(deprecated)]
            Self::LibTorch => Device::libtorch(),
            #[cfg(feature = "cuda")]
            Self::Cuda => Device::cuda(0),
        }
    }
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

    #[command(flatten)]
    labels: LabelArgs,

    /// The network
    #[arg(long, value_enum, default_value_t = Architecture::Cnn)]
    architecture: Architecture,

    /// Weights to start from: of a MobileNetV2 trained on ImageNet (torchvision's .pth, or .safetensors), of an exported
    /// model (.onnx), or of another run, by its directory; with other genres than theirs the last layer begins anew
    #[arg(long, value_name = "FILE|RUN")]
    pretrained: Option<PathBuf>,

    /// Parts of the trunk, from the first on, that keep the weights they started from: 17 blocks and the last convolution
    #[arg(long, value_name = "PARTS", default_value_t = 0)]
    freeze: usize,

    /// Let the frozen parts look at so many views of each poster once, before the first epoch, and learn from what they
    /// saw: much faster, but the views come again
    #[arg(long, value_name = "N", default_value_t = 0)]
    views: usize,

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

    /// The trunk's learning rate as a part of the head's
    #[arg(long, value_name = "PART", default_value_t = 1.0)]
    trunk_rate: f64,

    /// What a probability costs, given its label
    #[arg(long, value_enum, default_value_t = Cost::Bce)]
    loss: Cost,

    /// The part of every target that is the genre's prevalence
    #[arg(long, value_name = "PART", default_value_t = 0.0)]
    label_smoothing: f64,

    /// Let a genre's posters weigh as many times more as there are more without it, to this power
    #[arg(long, value_name = "POWER", default_value_t = 0.0)]
    positive_weight: f64,

    /// Add this times the log-odds of a genre to its logit while training
    #[arg(long, value_name = "TIMES", default_value_t = 0.0)]
    logit_adjustment: f64,

    /// Let posters of rare genres come as many times more often as these are rarer, to this power
    #[arg(long, value_name = "POWER", default_value_t = 0.0)]
    sampling: f64,

    /// Exported models whose mean probabilities are learned beside the labels
    #[arg(long, value_name = "ONNX", num_args = 1..)]
    teacher: Vec<PathBuf>,

    /// The part of the loss that is the distance to the teacher
    #[arg(long, value_name = "PART", default_value_t = 0.7)]
    distillation: f64,

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

    /// How much brightness, contrast and saturation may change, 0 to 1
    #[arg(long, value_name = "PART", default_value_t = 0.0)]
    colour: f64,

    /// The part of the posters that lose a rectangle, 0 to 1
    #[arg(long, value_name = "PART", default_value_t = 0.0)]
    erase: f64,

    /// How two posters become one
    #[arg(long, value_enum, default_value_t = Mix::None)]
    mix: Mix,

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
        for (name, part) in [
            ("trunk-rate", self.trunk_rate),
            ("label-smoothing", self.label_smoothing),
            ("distillation", self.distillation),
            ("colour", self.colour),
            ("erase", self.erase),
        ] {
            ensure!((0.0..=1.0).contains(&part), "--{name} must be 0 to 1");
        }
        ensure!(self.freeze <= PARTS, "--freeze must be at most {PARTS}, the number of a mobilenet's parts");
        let trunk = self.architecture == Architecture::MobileNet;
        ensure!(trunk || self.freeze == 0, "--freeze is for the architecture \"mobilenet\"");
        ensure!(self.views == 0 || self.freeze > 0, "--views needs --freeze: without it every part learns");
        ensure!(self.views == 0 || self.mix == Mix::None, "--views and --mix do not go together: features do not mix");
        ensure!(
            self.learning_rate > 0.0 && self.warmup >= 0.0,
            "the learning rate must be positive, the warm-up not negative"
        );
        let mut input = InputSpec::rgb(self.width, self.height);
        let start = self.pretrained.as_deref().map(Start::read).transpose()?;
        if let Some(start) = &start {
            (input.mean, input.std) = start.normalisation();
        }
        Ok(Settings {
            train: self.train.clone(),
            validation: self.validation.clone(),
            list_limit: self.labels.list_limit(),
            architecture: self.architecture,
            pretrained: self.pretrained.clone(),
            started_from: start.and_then(Start::training),
            freeze: self.freeze,
            views: self.views,
            input,
            batch_size: self.batch_size,
            schedule: Schedule {
                peak: self.learning_rate,
                warmup: self.warmup.min(self.epochs as f64),
                epochs: self.epochs,
                decay: self.schedule,
            },
            trunk_rate: self.trunk_rate,
            loss: Loss {
                cost: self.loss,
                smoothing: self.label_smoothing,
                positive_weight: self.positive_weight,
                adjustment: self.logit_adjustment,
                distillation: if self.teacher.is_empty() { 0.0 } else { self.distillation },
            },
            teachers: self.teacher.clone(),
            sampling: self.sampling,
            weight_decay: self.weight_decay,
            average: self.average,
            augmentation: Augmentation {
                flip: !self.no_flip,
                crop: self.crop,
                colour: self.colour,
                erase: self.erase,
                mix: self.mix,
            },
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
    let train = args.data.load(&settings.train, settings.list_limit, None, &settings.input)?;
    let validation = args.data.load(&settings.validation, settings.list_limit, Some(&train.genres), &settings.input)?;
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

    let interrupted = on_ctrl_c(|| {})?;
    match fit::fit(&run, &settings, [&train, &validation], &args.data, &args.device.device(), &interrupted)? {
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
