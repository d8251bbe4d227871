//! The training loop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Tensor, TensorData};
use runtime::metrics::Predictions;
use runtime::preprocess::InputSpec;

use crate::average::blend;
use crate::calibration;
use crate::commands::{DataArgs, clock, progress_bar};
use crate::data::batches::{Batches, Pass, Training};
use crate::data::features::{self, Features};
use crate::data::{PosterSet, teacher};
use crate::loss::{Labels, Prior};
use crate::model::Model;
use crate::run::{Epoch, Run, Settings, State};
use crate::start::Start;

/// Posters a batch where nothing is learned; small ones suit a CPU's caches.
const EVALUATION_BATCH: usize = 32;

/// Posters that tell what a pretrained trunk's features are like.
const STANDARD_POSTERS: usize = 1024;

/// How a training ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// After the last epoch, or early because validation stood still.
    Finished,
    /// By the caller's wish; the run can be taken up again.
    Interrupted,
}

/// Trains a run on a device, from where it stands to its end, an epoch at a time. Weights, order, augmentation and dropout
/// follow from the settings' seed and the epoch's number, so that a run that was taken up again on the same device ends as
/// one that was not.
///
/// # Errors
/// If the run's directory cannot be read or written, or if the data is not what the run began with.
pub fn fit(
    run: &Run,
    settings: &Settings,
    [train, validation]: [&Arc<PosterSet>; 2],
    data: &DataArgs,
    device: &Device,
    interrupted: &AtomicBool,
) -> Result<Ending> {
    let learning = device.clone().autodiff();
    learning.seed(settings.seed);
    let prior = train.prior();
    let mut model = Model::new(settings.architecture, train.genres.len(), &learning);
    let mut optimizer = AdamWConfig::new().with_weight_decay(settings.weight_decay as f32).with_epsilon(1e-8).init();
    let mut average = Model::new(settings.architecture, train.genres.len(), device);
    let mut state = begin(run, train, validation)?;
    if state.history.is_empty() {
        model = start(model, settings, train, &prior)?;
        average = average.load_record(model.clone().into_record());
    } else {
        (model, average, optimizer) = run.load_last(&state, model, average, optimizer)?;
    }

    let teacher = match &settings.teachers[..] {
        [] => None,
        teachers => Some(Arc::new(teacher::probabilities(teachers, train, &data.cache)?)),
    };

    let features = match settings.views {
        0 => [None, None],
        views => frozen_features(&model.valid(), settings, [train, validation], views, data)?,
    };

    let start = Instant::now();
    let first = state.history.len();
    while state.history.len() < settings.schedule.epochs && !stands_still(&state, settings.patience) {
        let number = state.history.len() + 1;
        let given = Given { prior: &prior, teacher: teacher.clone(), features: &features, workers: data.workers };
        let learner = Learner { model: &mut model, average: &mut average, optimizer: &mut optimizer };
        let Some(epoch) = one_epoch(learner, settings, &state, [train, validation], &given, interrupted) else {
            return Ok(Ending::Interrupted);
        };
        if state.best == 0 || epoch.validation_loss < state.history[state.best - 1].validation_loss {
            state.best = number;
        }
        state.history.push(epoch);
        run.save(&state, &model, &average, &optimizer)?;
        let left = (settings.schedule.epochs - number) as f64 / (number - first) as f64;
        report(&state, settings.schedule.epochs, start.elapsed().mul_f64(left));
    }
    Ok(Ending::Finished)
}

/// Gives a new network the weights that it starts from.
fn start(mut model: Model, settings: &Settings, train: &Arc<PosterSet>, prior: &Prior) -> Result<Model> {
    match settings.pretrained.as_deref().map(Start::read).transpose()? {
        None => {}
        Some(Start::Network { model: other, genres, .. }) => {
            if genres == train.genres {
                return Ok(model.try_load_record(other.into_record())?);
            }
            model = model.load_except_classifier(other)?;
        }
        Some(Start::Trunk(weights)) => {
            model.load_backbone(&weights)?;
            let pass = Pass {
                input: settings.input.clone(),
                batch_size: EVALUATION_BATCH,
                training: None,
                features: None,
                workers: 1,
            };
            let batches = Batches::new(train, &pass).take(STANDARD_POSTERS / EVALUATION_BATCH);
            let device = model.device();
            model.standardize_features(batches.map(|batch| inputs(batch.len, batch.inputs, &settings.input, &device)));
        }
    }
    model.init_output_bias(&prior.log_odds());
    Ok(model)
}

/// What the frozen parts make of the posters to learn from, several views of each, and of those to validate on.
fn frozen_features(
    model: &Model,
    settings: &Settings,
    [train, validation]: [&Arc<PosterSet>; 2],
    views: usize,
    data: &DataArgs,
) -> Result<[Option<Arc<Features>>; 2]> {
    let extract = |len, planes| {
        let posters = inputs(len, planes, &settings.input, &model.device());
        let mobilenet = model.as_mobilenet().expect("only a mobilenet has blocks to freeze");
        mobilenet.frozen_features(posters, settings.freeze).into_data().try_to_vec::<f32>().expect("features are f32")
    };
    let looking = Pass {
        input: settings.input.clone(),
        batch_size: EVALUATION_BATCH,
        training: None,
        features: None,
        workers: data.workers,
    };
    let (augmentation, seed) = (settings.augmentation, settings.seed);
    let training = Some(Training { augmentation, sampling: 0.0, teacher: None, seed });
    let train = features::load(train, &Pass { training, ..looking.clone() }, views, &data.cache, extract)?;
    let validation = features::load(validation, &looking, 1, &data.cache, extract)?;
    Ok([Some(Arc::new(train)), Some(Arc::new(validation))])
}

/// The state to start from: that of a run taken up again, or a new one.
fn begin(run: &Run, train: &PosterSet, validation: &PosterSet) -> Result<State> {
    let new = State {
        genres: train.genres.clone(),
        train: (train.fingerprint.clone(), train.len()),
        validation: (validation.fingerprint.clone(), validation.len()),
        history: Vec::new(),
        best: 0,
    };
    let Some(state) = run.state()? else { return Ok(new) };
    let same = (&state.genres, &state.train, &state.validation) == (&new.genres, &new.train, &new.validation);
    ensure!(
        same,
        "{}: its posters or labels have changed since the run began; put them back, or start a new run",
        run.folder().display()
    );
    Ok(state)
}

/// Prints the newest epoch in a line.
fn report(state: &State, epochs: usize, left: Duration) {
    let Some(epoch) = state.history.last() else { return };
    let best = if state.best == epoch.epoch { ", best so far" } else { "" };
    anstream::println!(
        "epoch {:>2}/{epochs}: train loss {:.4}, validation loss {:.4}, precision {:.3}, recall {:.3}, F1 {:.3}, mAP {:.3}, \
         {:.0} posters/s, waited {:.1} %, {} left{best}",
        epoch.epoch,
        epoch.train_loss,
        epoch.validation_loss,
        epoch.precision,
        epoch.recall,
        epoch.f1,
        epoch.mean_average_precision,
        epoch.posters_per_second,
        epoch.waited * 100.0,
        clock(left),
    );
}

fn stands_still(state: &State, patience: Option<usize>) -> bool {
    patience.is_some_and(|patience| state.best > 0 && state.history.len() - state.best >= patience)
}

/// What changes with every step.
struct Learner<'a> {
    model: &'a mut Model,
    average: &'a mut Model,
    optimizer: &'a mut ModuleOptimizer,
}

/// What stays the same with every step.
struct Given<'a> {
    prior: &'a Prior,
    teacher: Option<Arc<Vec<f32>>>,
    features: &'a [Option<Arc<Features>>; 2],
    workers: usize,
}

/// One pass over the training posters and one over those for validation; nothing if interrupted.
fn one_epoch(
    Learner { model, average, optimizer }: Learner,
    settings: &Settings,
    state: &State,
    [train, validation]: [&Arc<PosterSet>; 2],
    Given { prior, teacher, features, workers }: &Given,
    interrupted: &AtomicBool,
) -> Option<Epoch> {
    let done = state.history.len();
    let seed = settings.seed.wrapping_mul(1_000_003).wrapping_add(done as u64);
    let device = model.device().autodiff();
    device.seed(seed);
    let losses: Vec<f64> = state.history.iter().map(|epoch| epoch.validation_loss).collect();
    let pass = Pass {
        input: settings.input.clone(),
        batch_size: settings.batch_size,
        training: Some(Training {
            augmentation: settings.augmentation,
            sampling: settings.sampling,
            teacher: teacher.clone(),
            seed,
        }),
        features: features[0].clone(),
        workers: *workers,
    };

    let start = Instant::now();
    let mut batches = Batches::new(train, &pass);
    let steps = batches.total();
    let bar = progress_bar(steps as u64, &format!("epoch {} of {}", done + 1, settings.schedule.epochs));
    let (mut total_loss, mut learning_rate, mut posters) = (0.0, 0.0, 0);
    for step in 0..steps {
        if interrupted.load(Ordering::Relaxed) {
            bar.finish_and_clear();
            return None;
        }
        let batch = batches.next()?;
        posters += batch.len;
        learning_rate = settings.schedule.rate(done as f64 + (step + 1) as f64 / steps as f64, &losses);
        let rows = |values: Vec<f32>| {
            let shape = [batch.len, values.len() / batch.len];
            Tensor::from_data(TensorData::new(values, shape), &device)
        };
        let labels = Labels {
            targets: rows(batch.targets),
            mask: rows(batch.mask),
            groups: rows(batch.groups),
            teacher: batch.teacher.map(rows),
        };
        let logits = if pass.features.is_some() {
            let size = [settings.input.height, settings.input.width].map(|side| side as usize);
            let mobilenet = model.as_mobilenet().expect("only a mobilenet has blocks to freeze");
            mobilenet.forward_from(rows(batch.inputs), settings.freeze, size)
        } else {
            model.forward_fast(inputs(batch.len, batch.inputs, &settings.input, &device), settings.freeze)
        };
        let loss = settings.loss.of(logits, labels, prior);
        let gradients = GradientsParams::from_grads(loss.backward(), model);
        total_loss += f64::from(loss.into_scalar::<f32>());
        let rates = model.learning_rates(learning_rate, settings.trunk_rate);
        *model = optimizer.step(rates, model.clone(), gradients);
        *average = blend(average.clone(), &model.valid(), settings.average, done * steps + step);
        bar.inc(1);
        bar.set_message(format!("loss {:.4}", total_loss / (step + 1) as f64));
    }
    bar.finish_and_clear();
    let training_seconds = start.elapsed().as_secs_f64();

    let logits = match &features[1] {
        None => logits(average, validation, &settings.input, *workers),
        Some(features) => logits_from(average, features, validation.len(), settings),
    };
    let known = validation.manifest();
    let labels = known.labels();
    // An epoch is as good as what would be shipped of it: being too sure is mended later, ranking posters wrongly is not.
    let scales = calibration::fit(&logits, &Predictions { genres: &known.genres, probabilities: &[], labels: &labels });
    let logits = calibration::apply(&scales, &logits);
    let averages = known.evaluate(&probabilities(&logits), &vec![0.5; known.genres.len()], None).averages;
    Some(Epoch {
        epoch: done + 1,
        learning_rate,
        train_loss: total_loss / steps as f64,
        validation_loss: mean_loss(&logits, &labels),
        precision: averages.micro.precision,
        recall: averages.micro.recall,
        f1: averages.micro.f1,
        mean_average_precision: averages.mean_average_precision,
        seconds: start.elapsed().as_secs_f64(),
        posters_per_second: posters as f64 / training_seconds,
        waited: batches.waited().as_secs_f64() / training_seconds,
    })
}

/// The logits of every poster of a set, `[N, G]`.
pub fn logits(model: &Model, set: &Arc<PosterSet>, input: &InputSpec, workers: usize) -> Vec<f32> {
    let pass = Pass { input: input.clone(), batch_size: EVALUATION_BATCH, training: None, features: None, workers };
    Batches::new(set, &pass).flat_map(|batch| forward(model, batch.len, batch.inputs, input)).collect()
}

/// The logits of every poster of a set, `[N, G]`, from what the frozen parts made of them.
fn logits_from(model: &Model, features: &Features, posters: usize, settings: &Settings) -> Vec<f32> {
    let size = [settings.input.height, settings.input.width].map(|side| side as usize);
    let posters: Vec<usize> = (0..posters).collect();
    let logits = posters.chunks(EVALUATION_BATCH).flat_map(|chunk| {
        let rows = chunk.iter().flat_map(|poster| features.get(*poster, 0)).collect::<Vec<f32>>();
        let shape = [chunk.len(), rows.len() / chunk.len()];
        let rows = Tensor::from_data(TensorData::new(rows, shape), &model.device());
        let mobilenet = model.as_mobilenet().expect("only a mobilenet has blocks to freeze");
        mobilenet.forward_from(rows, settings.freeze, size).into_data().try_to_vec::<f32>().expect("logits are f32")
    });
    logits.collect()
}

/// The logits of `len` posters, `[len, G]`, from their planes, `[len, 3, height, width]`.
pub fn forward(model: &Model, len: usize, planes: Vec<f32>, input: &InputSpec) -> Vec<f32> {
    let inputs = inputs(len, planes, input, &model.device());
    model.forward_fast(inputs, 0).into_data().try_to_vec::<f32>().expect("logits are f32")
}

/// Planes of posters as a tensor `[N, 3, height, width]`.
fn inputs(len: usize, planes: Vec<f32>, input: &InputSpec, device: &Device) -> Tensor<4> {
    let shape = [len, 3, input.height as usize, input.width as usize];
    Tensor::from_data(TensorData::new(planes, shape), device)
}

/// The sigmoid of each logit.
pub fn probabilities(logits: &[f32]) -> Vec<f32> {
    logits.iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect()
}

/// Binary cross-entropy over the known labels.
pub fn mean_loss(logits: &[f32], labels: &[Option<bool>]) -> f64 {
    let (mut total, mut known) = (0.0, 0_usize);
    for (logit, label) in logits.iter().map(|logit| f64::from(*logit)).zip(labels) {
        if let Some(yes) = label {
            let towards = if *yes { -logit } else { logit };
            total += towards.max(0.0) + (-towards.abs()).exp().ln_1p();
            known += 1;
        }
    }
    total / known.max(1) as f64
}
