//! The training loop: mini-batch AdamW with EMA, validation after each epoch, early stopping, checkpoints and resume.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::Device;
use runtime::metrics::Predictions;

use crate::calibration;
use crate::config::TrainConfig;
use crate::data::batches::{Batch, Batches, LoaderConfig, Source, TrainSampling};
use crate::data::features::Features;
use crate::data::{PosterSet, backbone_features, teacher};
use crate::ema;
use crate::history::{EpochMetrics, RunState};
use crate::init::InitialWeights;
use crate::loss::{Labels, Prior};
use crate::model::Model;
use crate::predict::{self, images, rows};
use crate::progress::progress_bar;
use crate::run_dir::RunDir;

/// Posters that the statistics of a pretrained backbone's features are computed from.
const STANDARDISATION_POSTERS: usize = 1024;

/// Outcome of a training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// After the last epoch, or by early stopping.
    Finished,
    /// By the caller's flag; the run can be resumed.
    Interrupted,
}

/// A run and what it needs to be trained.
pub struct Trainer<'a> {
    /// The directory for checkpoints and history.
    pub run: &'a RunDir,
    /// The configuration.
    pub config: &'a TrainConfig,
    /// Training posters.
    pub train: &'a Arc<PosterSet>,
    /// Validation posters.
    pub validation: &'a Arc<PosterSet>,
    /// Directory of cached features and teachers' probabilities.
    pub cache: &'a Path,
    /// Worker threads of the data loader.
    pub workers: usize,
}

/// Training state: weights, EMA and optimizer moments.
struct TrainState {
    /// On a device with gradients.
    model: Model,
    /// The EMA of the model's weights, on a device without gradients.
    ema: Model,
    optimizer: ModuleOptimizer,
}

/// Context that all epochs of a run share.
struct EpochContext {
    prior: Prior,
    teacher: Option<Arc<Vec<f32>>>,
    train_source: Source,
    /// Cached features of the validation posters, if the training posters' features are cached.
    validation_features: Option<Arc<Features>>,
}

/// The result of [`Trainer::train_epoch`].
struct TrainMetrics {
    /// Mean over the steps.
    loss: f64,
    /// Of the last step.
    learning_rate: f64,
    posters: usize,
    elapsed: Duration,
    /// The part of `elapsed` that the loop waited for batches.
    waited: Duration,
}

impl Trainer<'_> {
    /// Trains from the run's last whole epoch, or from the start, to the end, and calls `on_epoch` after each epoch
    /// with the run's state and an estimate of the time left. Initial weights, order, data augmentation and dropout
    /// follow from the seed and the epoch's number, so that a run that was resumed on the same device ends with the
    /// same weights as one that was never interrupted.
    ///
    /// # Errors
    /// If the run directory or the cache cannot be read or written, or if the data has changed since the run began.
    pub fn fit(
        &self,
        device: &Device,
        interrupted: &AtomicBool,
        mut on_epoch: impl FnMut(&RunState, Duration),
    ) -> Result<Ending> {
        let (mut state, mut history) = self.begin(device)?;
        let context = self.context(&state.model)?;
        let epochs = self.config.schedule.epochs;
        let start = Instant::now();
        let first = history.epochs_done();
        while history.epochs_done() < epochs && !history.should_stop_early(self.config.patience) {
            let epoch_start = Instant::now();
            let Some(trained) = self.train_epoch(&mut state, &context, &history, interrupted) else {
                return Ok(Ending::Interrupted);
            };
            let metrics = self.validate(&state.ema, &context);
            let seconds = trained.elapsed.as_secs_f64();
            history.push(EpochMetrics {
                epoch: history.epochs_done() + 1,
                learning_rate: trained.learning_rate,
                train_loss: trained.loss,
                seconds: epoch_start.elapsed().as_secs_f64(),
                posters_per_second: trained.posters as f64 / seconds,
                data_wait_fraction: trained.waited.as_secs_f64() / seconds,
                ..metrics
            });
            self.run.save_checkpoint(&history, &state.model, &state.ema, &state.optimizer)?;
            let done = history.epochs_done();
            let left = (epochs - done) as f64 / (done - first) as f64;
            on_epoch(&history, start.elapsed().mul_f64(left));
        }
        Ok(Ending::Finished)
    }

    /// Loads the run's checkpoint, or initialises a new run.
    fn begin(&self, device: &Device) -> Result<(TrainState, RunState)> {
        let config = self.config;
        let autodiff = device.clone().autodiff();
        autodiff.seed(config.seed);
        let genres = self.train.genres.len();
        let model = Model::new(config.architecture, genres, &autodiff);
        let optimizer = AdamWConfig::new().with_weight_decay(config.weight_decay as f32).with_epsilon(1e-8).init();
        let ema = Model::new(config.architecture, genres, device);
        let history = self.load_history()?;
        if history.epochs_done() == 0 {
            let model = self.initialise(model)?;
            let ema = ema.load_record(model.clone().into_record());
            return Ok((TrainState { model, ema, optimizer }, history));
        }
        let (model, ema, optimizer) = self.run.load_checkpoint(&history, model, ema, optimizer)?;
        Ok((TrainState { model, ema, optimizer }, history))
    }

    /// The state of a run that is resumed, whose data must be unchanged, or a new one.
    fn load_history(&self) -> Result<RunState> {
        let new = RunState {
            genres: self.train.genres.clone(),
            train: (self.train.fingerprint.clone(), self.train.len()),
            validation: (self.validation.fingerprint.clone(), self.validation.len()),
            ..RunState::default()
        };
        let Some(saved) = self.run.state()? else { return Ok(new) };
        ensure!(
            (&saved.genres, &saved.train, &saved.validation) == (&new.genres, &new.train, &new.validation),
            "{}: its posters or labels have changed since the run began; put them back, or start a new run",
            self.run.folder().display()
        );
        Ok(saved)
    }

    /// Gives a new network its initial weights, and the output bias of the class prior.
    fn initialise(&self, mut model: Model) -> Result<Model> {
        match self.config.pretrained.as_deref().map(InitialWeights::read).transpose()? {
            None => {}
            Some(InitialWeights::Classifier { model: other, genres, .. }) => {
                if genres == self.train.genres {
                    return Ok(model.try_load_record(other.into_record())?);
                }
                model = model.load_except_classifier(other)?;
            }
            Some(InitialWeights::Backbone(weights)) => {
                model.load_backbone(&weights)?;
                let input = &self.config.input;
                let loader = predict::loader(input, 1);
                let batches = Batches::new(self.train, &loader).take(STANDARDISATION_POSTERS / loader.batch_size);
                let device = model.device();
                model.standardize_features(batches.map(|batch| images(batch.inputs, batch.len, input, &device)));
            }
        }
        model.init_output_bias(&self.train.prior().log_odds());
        Ok(model)
    }

    /// Loads or computes what all epochs share: teachers' probabilities and, if the configuration says so, frozen
    /// features.
    fn context(&self, model: &Model) -> Result<EpochContext> {
        let teacher = match &self.config.teachers[..] {
            [] => None,
            teachers => Some(Arc::new(teacher::mean_probabilities(teachers, self.train, self.cache)?)),
        };
        let (train_source, validation_features) = match self.config.views {
            0 => (Source::Pixels, None),
            views => {
                let [train, validation] = self.frozen_features(&model.valid(), views)?;
                (Source::Features(Arc::new(train)), Some(Arc::new(validation)))
            }
        };
        Ok(EpochContext { prior: self.train.prior(), teacher, train_source, validation_features })
    }

    /// The output of the backbone's frozen parts for `views` augmented views of each training poster, and for the
    /// validation posters as they are.
    fn frozen_features(&self, model: &Model, views: usize) -> Result<[Features; 2]> {
        let config = self.config;
        let extract = |len, planes| {
            let posters = images(planes, len, &config.input, &model.device());
            model
                .as_mobilenet()
                .expect("only a mobilenet has blocks to freeze")
                .frozen_features(posters, config.freeze)
                .into_data()
                .try_to_vec::<f32>()
                .expect("features are f32")
        };
        let plain = predict::loader(&config.input, self.workers);
        let sampling =
            TrainSampling { augmentation: config.augmentation, class_balance: 0.0, teacher: None, seed: config.seed };
        let augmented = LoaderConfig { sampling: Some(sampling), ..plain.clone() };
        Ok([
            backbone_features::load(self.train, &augmented, views, self.cache, extract)?,
            backbone_features::load(self.validation, &plain, 1, self.cache, extract)?,
        ])
    }

    /// Trains for one epoch; none if interrupted.
    fn train_epoch(
        &self,
        state: &mut TrainState,
        context: &EpochContext,
        history: &RunState,
        interrupted: &AtomicBool,
    ) -> Option<TrainMetrics> {
        let config = self.config;
        let done = history.epochs_done();
        let seed = config.seed.wrapping_mul(1_000_003).wrapping_add(done as u64);
        state.model.device().autodiff().seed(seed);
        let validation_losses = history.validation_losses();
        let loader = LoaderConfig {
            input: config.input.clone(),
            batch_size: config.batch_size,
            sampling: Some(TrainSampling {
                augmentation: config.augmentation,
                class_balance: config.sampling,
                teacher: context.teacher.clone(),
                seed,
            }),
            source: context.train_source.clone(),
            workers: self.workers,
        };

        let start = Instant::now();
        let mut batches = Batches::new(self.train, &loader);
        let steps = batches.total();
        let bar = progress_bar(steps as u64, &format!("epoch {} of {}", done + 1, config.schedule.epochs));
        let (mut total_loss, mut learning_rate, mut posters) = (0.0, 0.0, 0);
        for step in 0..steps {
            if interrupted.load(Ordering::Relaxed) {
                bar.finish_and_clear();
                return None;
            }
            let batch = batches.next().expect("there are as many batches as steps");
            posters += batch.len;
            let progress = done as f64 + (step + 1) as f64 / steps as f64;
            learning_rate = config.schedule.rate(progress, &validation_losses);
            total_loss += self.step(state, batch, context, learning_rate);
            state.ema = ema::update(state.ema.clone(), &state.model.valid(), config.ema_decay, done * steps + step);
            bar.inc(1);
            bar.set_message(format!("loss {:.4}", total_loss / (step + 1) as f64));
        }
        bar.finish_and_clear();
        Some(TrainMetrics {
            loss: total_loss / steps as f64,
            learning_rate,
            posters,
            elapsed: start.elapsed(),
            waited: batches.waited(),
        })
    }

    /// One optimiser step; returns the loss of the batch.
    fn step(&self, state: &mut TrainState, batch: Batch, context: &EpochContext, learning_rate: f64) -> f64 {
        let config = self.config;
        let model = if config.quantization_aware { &state.model.fake_quantized(config.freeze) } else { &state.model };
        let device = model.device().autodiff();
        let rows = |values| rows(values, batch.len, &device);
        let labels = Labels {
            targets: rows(batch.targets),
            mask: rows(batch.mask),
            groups: rows(batch.groups),
            teacher: batch.teacher.map(rows),
        };
        let logits = match context.train_source {
            Source::Features(_) => model.as_mobilenet().expect("only a mobilenet has blocks to freeze").forward_from(
                rows(batch.inputs),
                config.freeze,
                config.input_size(),
            ),
            Source::Pixels => {
                model.forward_fast(images(batch.inputs, batch.len, &config.input, &device), config.freeze)
            }
        };
        let loss = config.loss.of(logits, labels, &context.prior);
        let gradients = GradientsParams::from_grads(loss.backward(), &state.model);
        let rates = model.learning_rates(learning_rate, config.backbone_lr_scale);
        state.model = state.optimizer.step(rates, state.model.clone(), gradients);
        f64::from(loss.into_scalar::<f32>())
    }

    /// The validation metrics of the EMA network; the other fields are left at their defaults.
    ///
    /// The logits are calibrated first, because the exported network is: an epoch should not lose for overconfidence,
    /// which calibration mends, but only for ranking posters wrongly.
    fn validate(&self, ema: &Model, context: &EpochContext) -> EpochMetrics {
        let config = self.config;
        let ema = if config.quantization_aware { &ema.fake_quantized(config.freeze) } else { ema };
        let logits = match &context.validation_features {
            None => predict::logits(ema, self.validation, &config.input, self.workers),
            Some(features) => {
                predict::logits_from_features(ema, features, self.validation.len(), config.freeze, config.input_size())
            }
        };
        let dataset = self.validation.dataset();
        let labels = dataset.labels();
        let predictions = Predictions { genres: &dataset.genres, probabilities: &[], labels: &labels };
        let logits = calibration::apply(&calibration::fit(&logits, &predictions), &logits);
        let thresholds = vec![0.5; dataset.genres.len()];
        let averages = dataset.evaluate(&predict::probabilities(&logits), &thresholds, None).averages;
        EpochMetrics {
            validation_loss: predict::mean_cross_entropy(&logits, &labels),
            precision: averages.micro.precision,
            recall: averages.micro.recall,
            f1: averages.micro.f1,
            mean_average_precision: averages.mean_average_precision,
            ..EpochMetrics::default()
        }
    }
}
