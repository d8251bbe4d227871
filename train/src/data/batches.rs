//! The data loader: worker threads prepare batches ahead of the training loop.
//!
//! The order of posters and the augmentation of each follow from a seed alone, whatever the number of workers: each
//! worker has a channel of its own, and the loop reads these in turn. burn's `MultiThreadDataLoader` sends the
//! batches of all workers through one channel, so that their order depends on timing, and a training could not be
//! repeated.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rand::distr::{Distribution, weighted::WeightedIndex};
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use runtime::dataset::LabelledPoster;
use runtime::preprocess::{self, InputSpec};

use super::PosterSet;
use super::augment::{Augmentation, Mix};
use super::features::Features;

/// Batches that each worker prepares ahead.
const AHEAD: usize = 2;

/// Inputs and labels of the `N` posters of one step.
pub struct Batch {
    /// The number of posters, `N`.
    pub len: usize,
    /// Normalised pixels, `[N, 3, height, width]`, or features, `[N, length]`, as the loader's [`Source`] says.
    pub inputs: Vec<f32>,
    /// 1 for yes, 0 for no and unknown, `[N, G]`; values in between where [`Mix`] mixes posters.
    pub targets: Vec<f32>,
    /// The weight of each target: 1 where the label is known, 0 where it is not, `[N, G]`.
    pub mask: Vec<f32>,
    /// The weight of each of the dataset's groups: 1 where the poster has at least one of its genres, `[N, groups]`.
    pub groups: Vec<f32>,
    /// The teacher's probabilities, `[N, G]`, if there is a teacher.
    pub teacher: Option<Vec<f32>>,
}

impl Batch {
    /// Adds a row of labels: the weighted mean of the known labels of `(poster, weight)` pairs, whose weights sum to 1.
    fn push_labels(&mut self, set: &PosterSet, parts: &[(usize, f32)], teacher: Option<&Vec<f32>>) {
        for genre in 0..set.genres.len() {
            let (mut yes, mut known) = (0.0, 0.0);
            for (poster, weight) in parts {
                let label = set.posters[*poster].labels[genre];
                yes += if label == Some(true) { *weight } else { 0.0 };
                known += if label.is_some() { *weight } else { 0.0 };
            }
            self.targets.push(if known > 0.0 { yes / known } else { 0.0 });
            self.mask.push(known);
        }
        for group in &set.groups {
            let holds = |poster: usize| set.posters[poster].any_of.contains(group);
            self.groups.push(parts.iter().map(|(poster, weight)| if holds(*poster) { *weight } else { 0.0 }).sum());
        }
        if let (Some(own), Some(teacher)) = (&mut self.teacher, teacher) {
            let genres = set.genres.len();
            own.extend((0..genres).map(|genre| -> f32 {
                parts.iter().map(|(poster, weight)| weight * teacher[poster * genres + genre]).sum()
            }));
        }
    }
}

/// Data loader configuration of one epoch.
#[derive(Clone)]
pub struct LoaderConfig {
    /// The network's input.
    pub input: InputSpec,
    /// Posters per batch.
    pub batch_size: usize,
    /// Order and augmentation for training; without it every poster comes once, in order and unchanged.
    pub sampling: Option<TrainSampling>,
    /// The kind of inputs.
    pub source: Source,
    /// Worker threads.
    pub workers: usize,
}

/// Source of the inputs of a batch.
#[derive(Clone)]
pub enum Source {
    /// The pixels of the [`PosterSet`].
    Pixels,
    /// Cached features of a frozen backbone; a view of each poster is drawn at random.
    Features(Arc<Features>),
}

/// Order and augmentation of training posters.
#[derive(Clone)]
pub struct TrainSampling {
    /// Data augmentation of each poster.
    pub augmentation: Augmentation,
    /// Exponent of class-balanced sampling: a poster is drawn with a weight of (`N` / support of its rarest genre) to
    /// this power; 0 draws every poster once an epoch.
    pub class_balance: f64,
    /// The teacher's probabilities for each poster, `[N, G]`.
    pub teacher: Option<Arc<Vec<f32>>>,
    /// Seed of order and augmentation.
    pub seed: u64,
}

impl TrainSampling {
    /// The random generator for a poster of an epoch.
    fn rng(&self, poster: usize) -> Pcg64 {
        Pcg64::seed_from_u64(self.seed ^ (poster as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }
}

/// The batches of one epoch, in order.
pub struct Batches {
    /// One for each worker; worker `w` prepares the batches `w`, `w + workers`, ...
    channels: Vec<Receiver<Batch>>,
    next: usize,
    total: usize,
    waited: Duration,
}

impl Batches {
    /// Starts to prepare batches of every poster once, in order, the last batch being a partial one where need be.
    pub fn in_order(set: &Arc<PosterSet>, loader: &LoaderConfig) -> Self {
        Self::start((0..set.len()).collect(), set.len().div_ceil(loader.batch_size), set, loader)
    }

    /// Starts to prepare batches, in order or in the random order of a [`TrainSampling`]. For training, a partial
    /// last batch is left out, because the statistics of batch normalisation over very few posters are poor. A
    /// dataset smaller than one batch is one batch.
    pub fn new(set: &Arc<PosterSet>, loader: &LoaderConfig) -> Self {
        let Some(sampling) = &loader.sampling else { return Self::in_order(set, loader) };
        let rng = &mut Pcg64::seed_from_u64(sampling.seed);
        let order = if sampling.class_balance > 0.0 {
            class_balanced(set, sampling.class_balance, rng)
        } else {
            let mut order: Vec<usize> = (0..set.len()).collect();
            order.shuffle(rng);
            order
        };
        let total = (order.len() / loader.batch_size).max(1);
        Self::start(order, total, set, loader)
    }

    fn start(order: Vec<usize>, total: usize, set: &Arc<PosterSet>, loader: &LoaderConfig) -> Self {
        let order = Arc::new(order);
        let workers = loader.workers.clamp(1, total.max(1));
        let channels = (0..workers).map(|worker| {
            let (sender, receiver) = sync_channel(AHEAD);
            let (set, order, loader) = (set.clone(), order.clone(), loader.clone());
            thread::spawn(move || {
                for chunk in order.chunks(loader.batch_size).take(total).skip(worker).step_by(workers) {
                    // An error means that the receiver is gone: the training loop was interrupted.
                    if sender.send(prepare(&set, chunk, &loader)).is_err() {
                        break;
                    }
                }
            });
            receiver
        });
        Self { channels: channels.collect(), next: 0, total, waited: Duration::ZERO }
    }

    /// The number of batches of the whole epoch.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The time that the caller has waited for batches so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        if self.next == self.total {
            return None;
        }
        let start = Instant::now();
        let batch = self.channels[self.next % self.channels.len()].recv().expect("a worker sends all of its batches");
        self.waited += start.elapsed();
        self.next += 1;
        Some(batch)
    }
}

/// Class-balanced sampling: `N` posters drawn with replacement, those of rare genres more often ("class-aware
/// sampling" of Shen et al., "Relay backpropagation for effective learning of deep convolutional neural networks",
/// 2016, with an exponent).
fn class_balanced(set: &PosterSet, power: f64, rng: &mut Pcg64) -> Vec<usize> {
    let support = set.dataset().support();
    let weight = |poster: &LabelledPoster| {
        let genres = poster.labels.iter().zip(&support).filter(|(label, _)| **label == Some(true));
        let rarest = genres.map(|(_, support)| *support).min().unwrap_or(set.len());
        (set.len() as f64 / rarest.max(1) as f64).powf(power)
    };
    let weights = WeightedIndex::new(set.posters.iter().map(weight)).expect("every weight is positive");
    (0..set.len()).map(|_| weights.sample(rng)).collect()
}

/// The batch of the posters with these indices.
fn prepare(set: &PosterSet, posters: &[usize], loader: &LoaderConfig) -> Batch {
    let genres = set.genres.len();
    let teacher = loader.sampling.as_ref().and_then(|sampling| sampling.teacher.as_deref());
    let mut batch = Batch {
        len: posters.len(),
        inputs: Vec::new(),
        targets: Vec::with_capacity(posters.len() * genres),
        mask: Vec::with_capacity(posters.len() * genres),
        groups: Vec::with_capacity(posters.len() * set.groups.len()),
        teacher: teacher.map(|_| Vec::new()),
    };
    match &loader.source {
        Source::Pixels => push_pixels(&mut batch, set, posters, loader),
        Source::Features(features) => {
            let seed = loader.sampling.as_ref().map_or(0, |sampling| sampling.seed);
            for &poster in posters {
                let view = Pcg64::seed_from_u64(seed ^ (poster as u64 + 1)).random_range(0..features.views());
                batch.inputs.extend(features.get(poster, view));
                batch.push_labels(set, &[(poster, 1.0)], teacher);
            }
        }
    }
    batch
}

/// Adds the normalised pixels, augmented for training, and the labels of each poster.
fn push_pixels(batch: &mut Batch, set: &PosterSet, posters: &[usize], loader: &LoaderConfig) {
    let input = &loader.input;
    let (width, height) = (input.width, input.height);
    batch.inputs = vec![0.0; posters.len() * input.len()];
    for (position, &poster) in posters.iter().enumerate() {
        let planes = position * input.len()..(position + 1) * input.len();
        let Some(sampling) = &loader.sampling else {
            preprocess::normalise(set.pixels.get(poster), input, &mut batch.inputs[planes]);
            batch.push_labels(set, &[(poster, 1.0)], None);
            continue;
        };
        let rng = &mut sampling.rng(poster);
        let augmentation = sampling.augmentation;
        let mut view = augmentation.apply(set.pixels.get(poster), width, height, rng);
        // Mixup and CutMix pair each poster with the next one of the batch, augmented separately.
        let partner = posters[(position + 1) % posters.len()];
        let mut kept = 1.0;
        if augmentation.mix != Mix::None {
            let other = augmentation.apply(set.pixels.get(partner), width, height, rng);
            kept = augmentation.mix.apply(&mut view, &other, [width as usize, height as usize], rng);
        }
        preprocess::normalise(&view, input, &mut batch.inputs[planes]);
        batch.push_labels(set, &[(poster, kept), (partner, 1.0 - kept)], sampling.teacher.as_deref());
    }
}
