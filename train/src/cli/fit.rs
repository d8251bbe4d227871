//! `train fit`: trains a network on labelled posters.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use burn::tensor::Device;
use cli_support::{Outcome, notice, on_ctrl_c, say};
use runtime::dataset::Source;
use runtime::preprocess::InputSpec;
use train::config::TrainConfig;
use train::data::augment::{Augmentation, Mix};
use train::history::RunState;
use train::init::InitialWeights;
use train::loss::{Cost, Loss};
use train::lr_schedule::{Decay, LrSchedule};
use train::model::Architecture;
use train::model::mobilenet::BACKBONE_BLOCKS;
use train::progress::{bars, format_duration};
use train::run_dir::RunDir;
use train::trainer::{Ending, Trainer};
use train::tune::tune;

use super::live::LiveView;
use super::{DataArgs, LabelArgs, RunArgs, print_tuned};

/// Train a network; choose its best epoch, calibration and thresholds on validation posters
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    config: ConfigArgs,

    /// Resume the run named by --run, or the newest one, after its last whole epoch, with its saved configuration
    #[arg(long, conflicts_with_all = ["ConfigArgs", "LabelArgs"])]
    resume: bool,

    #[command(flatten)]
    run: RunArgs,

    #[command(flatten)]
    data: DataArgs,

    /// Compute backend; libtorch and cuda exist only if the program was built with the feature of that name
    #[arg(long, value_enum, default_value_t = Backend::Flex)]
    device: Backend,

    /// Draw no live curves in the terminal
    #[arg(long)]
    plain: bool,
}

/// A compute backend of burn.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
#[value(rename_all = "lowercase")]
enum Backend {
    /// CPU: burn's flex backend, with fused MobileNet blocks
    Flex,
    /// CPU: LibTorch
    #[cfg(feature = "libtorch")]
    LibTorch,
    /// The first NVIDIA GPU
    #[cfg(feature = "cuda")]
    Cuda,
}

impl Backend {
    fn device(self) -> Device {
        match self {
            Self::Flex => Device::flex(),
            #[cfg(feature = "libtorch")]
            #[expect(deprecated, reason = "burn means to drop LibTorch, but still ships it")]
            Self::LibTorch => Device::libtorch(),
            #[cfg(feature = "cuda")]
            Self::Cuda => Device::cuda(0),
        }
    }
}

/// [`Architecture`] as an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lowercase")]
enum ArchitectureArg {
    /// Small plain CNN: 3 x 3 convolutions with batch normalisation, max-pooling, dropout
    Cnn,
    /// MobileNetV2 with a multi-scale classifier head; takes pretrained weights
    MobileNet,
}

impl From<ArchitectureArg> for Architecture {
    fn from(arg: ArchitectureArg) -> Self {
        match arg {
            ArchitectureArg::Cnn => Self::Cnn,
            ArchitectureArg::MobileNet => Self::MobileNet,
        }
    }
}

/// [`Decay`] as an option's value.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum DecayArg {
    /// Half a cosine to zero at the end
    Cosine,
    /// A fifth each time the validation loss has not reached a new minimum for three epochs
    Plateau,
    /// No decay
    Constant,
}

impl From<DecayArg> for Decay {
    fn from(arg: DecayArg) -> Self {
        match arg {
            DecayArg::Cosine => Self::Cosine,
            DecayArg::Plateau => Self::Plateau,
            DecayArg::Constant => Self::Constant,
        }
    }
}

/// [`Cost`] as an option's value.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum LossArg {
    /// Binary cross-entropy
    Bce,
    /// Focal loss, gamma = 2
    Focal,
    /// Asymmetric loss: gamma+ = 0, gamma- = 4, probability margin 0.05
    Asl,
}

impl From<LossArg> for Cost {
    fn from(arg: LossArg) -> Self {
        match arg {
            LossArg::Bce => Self::Bce,
            LossArg::Focal => Self::Focal,
            LossArg::Asl => Self::Asl,
        }
    }
}

/// [`Mix`] as an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum MixArg {
    /// No mixing
    None,
    /// mixup: the weighted mean of both images
    Mixup,
    /// CutMix: a rectangle of one image replaces that of the other
    Cutmix,
}

impl From<MixArg> for Mix {
    fn from(arg: MixArg) -> Self {
        match arg {
            MixArg::None => Self::None,
            MixArg::Mixup => Self::Mixup,
            MixArg::Cutmix => Self::Cutmix,
        }
    }
}

/// The configuration of a new run.
#[derive(clap::Args, Debug)]
struct ConfigArgs {
    /// CSV files of the training posters; append =DIR if the images are neither in `Images` beside the CSV file nor
    /// at paths relative to it
    #[arg(required_unless_present = "resume", value_name = "CSV[=DIR]")]
    train: Vec<Source>,

    /// CSV files of the validation posters, for the best epoch, calibration and thresholds; see `train split`
    #[arg(long, required_unless_present = "resume", value_name = "CSV[=DIR]", num_args = 1..)]
    validation: Vec<Source>,

    #[command(flatten)]
    labels: LabelArgs,

    /// Network architecture
    #[arg(long, value_enum, default_value_t = ArchitectureArg::Cnn)]
    architecture: ArchitectureArg,

    /// Initial weights: ImageNet weights of MobileNetV2 (torchvision's .pth, or .safetensors), an exported model
    /// (.onnx), or the directory of another run. If its genres differ, the classifier layer is initialised anew
    #[arg(long, value_name = "FILE|DIR")]
    pretrained: Option<PathBuf>,

    /// Freeze the first N parts of the backbone: 17 inverted residual blocks (the stem belongs to the first), then
    /// the last convolution
    #[arg(long, value_name = "N", default_value_t = 0)]
    freeze: usize,

    /// Cache backbone features of N augmented views per poster before the first epoch, and train on these: much
    /// faster, but the same N views come again in every epoch; 0 = off
    #[arg(long, value_name = "N", default_value_t = 0)]
    views: usize,

    /// Input width in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 64)]
    width: u32,

    /// Input height in pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 96)]
    height: u32,

    /// Number of epochs
    #[arg(long, value_name = "N", default_value_t = 40)]
    epochs: usize,

    /// Mini-batch size
    #[arg(long, value_name = "N", default_value_t = 32)]
    batch_size: usize,

    /// Peak learning rate
    #[arg(long, value_name = "RATE", default_value_t = 2e-3)]
    learning_rate: f64,

    /// Learning-rate decay after the warm-up
    #[arg(long, value_enum, default_value_t = DecayArg::Cosine)]
    schedule: DecayArg,

    /// Epochs of linear learning-rate warm-up; may be a fraction
    #[arg(long, value_name = "EPOCHS", default_value_t = 1.0)]
    warmup: f64,

    /// Learning rate of the backbone as a fraction of the classifier head's, 0 to 1
    #[arg(long, value_name = "FRACTION", default_value_t = 1.0, alias = "trunk-rate")]
    backbone_lr_scale: f64,

    /// Loss function
    #[arg(long, value_enum, default_value_t = LossArg::Bce)]
    loss: LossArg,

    /// Label smoothing towards each genre's prevalence, 0 to 1
    #[arg(long, value_name = "FRACTION", default_value_t = 0.0)]
    label_smoothing: f64,

    /// Positive class weight: (negatives / positives)^POWER; 0 = off, 1 = balanced
    #[arg(long, value_name = "POWER", default_value_t = 0.0)]
    positive_weight: f64,

    /// Logit adjustment: add FACTOR x log-odds of each genre's prevalence to its logit during training; 0 = off
    #[arg(long, value_name = "FACTOR", default_value_t = 0.0)]
    logit_adjustment: f64,

    /// Class-balanced sampling exponent: draw a poster with weight (posters / positives of its rarest genre)^POWER; 0
    /// = off
    #[arg(long, value_name = "POWER", default_value_t = 0.0)]
    sampling: f64,

    /// Teachers for knowledge distillation, whose mean probabilities are the soft targets: exported models, or CSV files with a
    /// column Id and one of probabilities a genre
    #[arg(long, value_name = "ONNX|CSV", num_args = 1..)]
    teacher: Vec<PathBuf>,

    /// Weight of the distillation loss, 0 to 1; the rest is the weight of the loss on the labels
    #[arg(long, value_name = "FRACTION", default_value_t = 0.7)]
    distillation: f64,

    /// Decoupled weight decay of AdamW; 0 = Adam
    #[arg(long, value_name = "RATE", default_value_t = 0.02)]
    weight_decay: f64,

    /// EMA decay of the weights, per step; the EMA weights are validated and exported; 0 = off
    #[arg(long, value_name = "DECAY", default_value_t = 0.998, alias = "average")]
    ema_decay: f64,

    /// Quantisation-aware training: round weights to int8 in every forward pass, as `train export --int8` does
    #[arg(long)]
    quantization_aware: bool,

    /// Disable random horizontal flips
    #[arg(long)]
    no_flip: bool,

    /// Random resized crop: largest fraction of width and height that is cut off, 0 to 1; 0 = off
    #[arg(long, value_name = "FRACTION", default_value_t = 0.2, alias = "crop")]
    random_resized_crop: f64,

    /// Color jitter: largest relative change of brightness, contrast and saturation, 0 to 1; 0 = off
    #[arg(long, value_name = "FRACTION", default_value_t = 0.0, alias = "colour")]
    color_jitter: f64,

    /// Random erasing: probability that a rectangle of a poster becomes grey, 0 to 1; 0 = off
    #[arg(long, value_name = "PROBABILITY", default_value_t = 0.0, alias = "erase")]
    random_erasing: f64,

    /// Mixing of two posters and their labels
    #[arg(long, value_enum, default_value_t = MixArg::None)]
    mix: MixArg,

    /// Early stopping: end after this many epochs without a new lowest validation loss
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<usize>,

    /// Random seed of initial weights, order, data augmentation and dropout
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl ConfigArgs {
    /// The configuration, if the options are in range and go together.
    fn config(&self) -> Result<TrainConfig> {
        self.check()?;
        let mut input = InputSpec::rgb(self.width, self.height);
        let initial = self.pretrained.as_deref().map(InitialWeights::read).transpose()?;
        if let Some(initial) = &initial {
            (input.mean, input.std) = initial.normalisation();
        }
        Ok(TrainConfig {
            train: self.labels.sources(&self.train),
            validation: self.labels.sources(&self.validation),
            list_limit: self.labels.list_limit(),
            architecture: self.architecture.into(),
            pretrained: self.pretrained.clone(),
            started_from: initial.and_then(InitialWeights::training),
            freeze: self.freeze,
            views: self.views,
            input,
            batch_size: self.batch_size,
            schedule: LrSchedule {
                peak: self.learning_rate,
                warmup: self.warmup.min(self.epochs as f64),
                epochs: self.epochs,
                decay: self.schedule.into(),
            },
            backbone_lr_scale: self.backbone_lr_scale,
            loss: Loss {
                cost: self.loss.into(),
                smoothing: self.label_smoothing,
                positive_weight: self.positive_weight,
                adjustment: self.logit_adjustment,
                distillation: if self.teacher.is_empty() { 0.0 } else { self.distillation },
            },
            teachers: self.teacher.clone(),
            sampling: self.sampling,
            weight_decay: self.weight_decay,
            ema_decay: self.ema_decay,
            quantization_aware: self.quantization_aware,
            augmentation: Augmentation {
                flip: !self.no_flip,
                random_resized_crop: self.random_resized_crop,
                color_jitter: self.color_jitter,
                random_erasing: self.random_erasing,
                mix: self.mix.into(),
            },
            patience: self.patience,
            seed: self.seed,
        })
    }

    fn check(&self) -> Result<()> {
        ensure!(self.width >= 32 && self.height >= 32, "the input must be at least 32 x 32 pixels");
        ensure!(self.epochs > 0 && self.batch_size > 0, "epochs and batch size must be at least 1");
        for (name, value) in [("ema-decay", self.ema_decay), ("random-resized-crop", self.random_resized_crop)] {
            ensure!((0.0..1.0).contains(&value), "--{name} must be at least 0 and less than 1");
        }
        for (name, value) in [
            ("backbone-lr-scale", self.backbone_lr_scale),
            ("label-smoothing", self.label_smoothing),
            ("distillation", self.distillation),
            ("color-jitter", self.color_jitter),
            ("random-erasing", self.random_erasing),
        ] {
            ensure!((0.0..=1.0).contains(&value), "--{name} must be 0 to 1");
        }
        ensure!(
            self.freeze <= BACKBONE_BLOCKS,
            "--freeze must be at most {BACKBONE_BLOCKS}, the number of a mobilenet's blocks"
        );
        let is_mobilenet = self.architecture == ArchitectureArg::MobileNet;
        ensure!(is_mobilenet || self.freeze == 0, "--freeze is for the architecture \"mobilenet\"");
        ensure!(is_mobilenet || !self.quantization_aware, "--quantization-aware is for the architecture \"mobilenet\"");
        ensure!(
            self.views == 0 || self.freeze > 0,
            "--views needs --freeze: only features of frozen parts can be cached"
        );
        ensure!(
            self.views == 0 || self.mix == MixArg::None,
            "--views and --mix do not go together: cached features cannot be mixed"
        );
        ensure!(
            self.learning_rate > 0.0 && self.warmup >= 0.0,
            "the learning rate must be positive, the warm-up not negative"
        );
        Ok(())
    }
}

/// Trains a run to its end, tunes it and prints the validation metrics.
///
/// # Errors
/// If the data cannot be used or the run directory cannot be written.
pub fn run(args: &Args) -> Result<Outcome> {
    let resumed = args.resume.then(|| args.run.find()).transpose()?;
    let config = match &resumed {
        Some(run) => run.config()?,
        None => args.config.config()?,
    };
    let train = args.data.load(&config.train, config.list_limit, None, &config.input)?;
    let validation = args.data.load(&config.validation, config.list_limit, Some(&train.genres), &config.input)?;
    let run = match resumed {
        Some(run) => run,
        None => RunDir::create(&args.run.runs, args.run.run.as_deref(), &config)?,
    };
    say(format_args!(
        "{}: {} training posters, {} validation posters, {} genres",
        run.folder().display(),
        train.len(),
        validation.len(),
        train.genres.len()
    ));

    let interrupted = on_ctrl_c(|| {})?;
    let trainer = Trainer {
        run: &run,
        config: &config,
        train: &train,
        validation: &validation,
        cache: &args.data.cache,
        workers: args.data.workers,
    };
    let live = if args.plain { None } else { LiveView::new() };
    let report = |state: &RunState, left| {
        bars().suspend(|| print_epoch(state, config.schedule.epochs, &format_duration(left)));
        live.iter().for_each(|live| live.update(state));
    };
    let ending = trainer.fit(&args.device.device(), &interrupted, report);
    drop(live);
    if ending? == Ending::Interrupted {
        notice(format_args!(
            "interrupted; {} epochs are kept, go on with: train fit --resume --run {}",
            run.state()?.map_or(0, |state| state.epochs_done()),
            run.folder().display()
        ));
        return Ok(Outcome::Interrupted);
    }
    print_tuned(&tune(&run, &validation, args.data.workers)?);
    let failed = !train.unreadable.is_empty() || !validation.unreadable.is_empty();
    Ok(if failed { Outcome::SomeFailed } else { Outcome::Complete })
}

/// Prints the metrics of the newest epoch in one line.
fn print_epoch(state: &RunState, epochs: usize, left: &str) {
    let Some(epoch) = state.history.last() else { return };
    let best = if state.best_epoch == epoch.epoch { ", best so far" } else { "" };
    say(format_args!(
        "epoch {:>2}/{epochs}: train loss {:.4}, validation loss {:.4}, precision {:.3}, recall {:.3}, F1 {:.3}, \
         mAP {:.3}, {:.0} posters/s, data wait {:.1} %, {left} left{best}",
        epoch.epoch,
        epoch.train_loss,
        epoch.validation_loss,
        epoch.precision,
        epoch.recall,
        epoch.f1,
        epoch.mean_average_precision,
        epoch.posters_per_second,
        epoch.data_wait_fraction * 100.0,
    ));
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(options: &[&str]) -> Result<TrainConfig> {
        let words = ["fit", "train.csv", "--validation", "val.csv"].iter().chain(options);
        Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{error}")).args.config.config()
    }

    #[test]
    fn old_names_of_options_are_accepted() {
        let old = ["--trunk-rate", "0.2", "--average", "0.9", "--crop", "0.3", "--colour", "0.1", "--erase", "0.4"];
        let new = [
            ["--backbone-lr-scale", "0.2"],
            ["--ema-decay", "0.9"],
            ["--random-resized-crop", "0.3"],
            ["--color-jitter", "0.1"],
            ["--random-erasing", "0.4"],
        ];
        assert_eq!(parse(&old).unwrap(), parse(new.as_flattened()).unwrap());
        assert_ne!(parse(&old).unwrap(), parse(&[]).unwrap());
    }

    #[test]
    fn options_out_of_range_or_in_conflict_are_errors() {
        let cases: [(&[&str], &str); 8] = [
            (&["--width", "31"], "the input must be at least 32 x 32 pixels"),
            (&["--epochs", "0"], "epochs and batch size must be at least 1"),
            (&["--ema-decay", "1"], "--ema-decay must be at least 0 and less than 1"),
            (&["--color-jitter", "1.5"], "--color-jitter must be 0 to 1"),
            (&["--architecture", "mobilenet", "--freeze", "19"], "--freeze must be at most 18"),
            (&["--freeze", "1"], "--freeze is for the architecture \"mobilenet\""),
            (&["--views", "2"], "--views needs --freeze"),
            (&["--learning-rate", "0"], "the learning rate must be positive"),
        ];
        for (options, expected) in cases {
            let error = parse(options).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{options:?}: {error}");
        }
    }
}
