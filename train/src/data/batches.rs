//! Batches prepared ahead of the training loop by worker threads.
//!
//! The order of posters, and the view of each, follow from a seed alone: the number of workers changes nothing.

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

/// Batches that each worker holds ready.
const AHEAD: usize = 2;

/// Posters and labels for one step.
pub struct Batch {
    /// The number of posters.
    pub len: usize,
    /// Inputs, `[N, 3, height, width]`, or, where the pass has them, features, `[N, length]`.
    pub inputs: Vec<f32>,
    /// 1 for yes, 0 for no and unknown, `[N, G]`; in between where posters are mixed.
    pub targets: Vec<f32>,
    /// What each target counts: 1 where the label is known, 0 where it is not, `[N, G]`.
    pub mask: Vec<f32>,
    /// What each of the set's groups counts: 1 where at least one of its members holds, `[N, groups]`.
    pub groups: Vec<f32>,
    /// A teacher's probabilities, `[N, G]`, if there is one.
    pub teacher: Option<Vec<f32>>,
}

impl Batch {
    /// Adds a row of labels: the mean of some posters' labels, as far as they are known, with these weights.
    fn labels(&mut self, set: &PosterSet, parts: &[(usize, f32)], teacher: Option<&Vec<f32>>) {
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

/// What a pass over a set looks like.
#[derive(Clone)]
pub struct Pass {
    /// The network's input.
    pub input: InputSpec,
    /// Posters a batch.
    pub batch_size: usize,
    /// What makes it a pass for training; without it posters come as they are, in order.
    pub training: Option<Training>,
    /// What the frozen part of the trunk makes of the posters, instead of them.
    pub features: Option<Arc<Features>>,
    /// Threads that prepare batches.
    pub workers: usize,
}

/// How a pass for training differs from one that only looks.
#[derive(Clone)]
pub struct Training {
    /// Changes to each poster.
    pub augmentation: Augmentation,
    /// A poster comes as many times more often as its rarest genre is rarer than all posters, to this power; 0 is every
    /// poster once.
    pub sampling: f64,
    /// A teacher's probabilities of each poster, `[N, G]`.
    pub teacher: Option<Arc<Vec<f32>>>,
    /// Seed of the order and of the changes.
    pub seed: u64,
}

/// The batches of one pass over a set, in order.
pub struct Batches {
    channels: Vec<Receiver<Batch>>,
    next: usize,
    count: usize,
    waited: Duration,
}

impl Batches {
    /// Starts to prepare batches, every poster once and in order, as changed for training as the pass says.
    pub fn in_order(set: &Arc<PosterSet>, pass: &Pass) -> Self {
        Self::of((0..set.len()).collect(), set.len().div_ceil(pass.batch_size), set, pass)
    }

    /// Starts to prepare batches. For training, a last batch that is not full is left out: batch normalisation
    /// over very few posters would harm. A set smaller than one batch is one batch.
    pub fn new(set: &Arc<PosterSet>, pass: &Pass) -> Self {
        let mut order: Vec<usize> = (0..set.len()).collect();
        let mut count = order.len().div_ceil(pass.batch_size);
        if let Some(training) = &pass.training {
            let rng = &mut Pcg64::seed_from_u64(training.seed);
            if training.sampling > 0.0 {
                order = rarer_more_often(set, training.sampling, rng);
            } else {
                order.shuffle(rng);
            }
            count = (order.len() / pass.batch_size).max(1);
        }
        Self::of(order, count, set, pass)
    }

    fn of(order: Vec<usize>, count: usize, set: &Arc<PosterSet>, pass: &Pass) -> Self {
        let order = Arc::new(order);
        let workers = pass.workers.clamp(1, count.max(1));
        let channels = (0..workers).map(|worker| {
            let (sender, receiver) = sync_channel(AHEAD);
            let (set, order, pass) = (set.clone(), order.clone(), pass.clone());
            thread::spawn(move || {
                for chunk in order.chunks(pass.batch_size).take(count).skip(worker).step_by(workers) {
                    // The loop may have been interrupted; then nobody receives and the work is over.
                    if sender.send(prepare(&set, chunk, &pass)).is_err() {
                        break;
                    }
                }
            });
            receiver
        });
        Self { channels: channels.collect(), next: 0, count, waited: Duration::ZERO }
    }

    /// The number of batches of the whole pass.
    pub fn total(&self) -> usize {
        self.count
    }

    /// The time that the caller has waited for batches so far.
    pub fn waited(&self) -> Duration {
        self.waited
    }
}

impl Iterator for Batches {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        if self.next == self.count {
            return None;
        }
        let start = Instant::now();
        let batch = self.channels[self.next % self.channels.len()].recv().expect("a worker sends all of its batches");
        self.waited += start.elapsed();
        self.next += 1;
        Some(batch)
    }
}

/// As many posters as the set has, drawn with replacement, those of rare genres more often (class-aware sampling: Shen et
/// al., "Relay backpropagation for effective learning of deep convolutional neural networks", 2016).
fn rarer_more_often(set: &PosterSet, power: f64, rng: &mut Pcg64) -> Vec<usize> {
    let support = set.manifest().support();
    let weight = |poster: &LabelledPoster| {
        let genres = poster.labels.iter().zip(&support).filter(|(label, _)| **label == Some(true));
        let rarest = genres.map(|(_, support)| *support).min().unwrap_or(set.len());
        (set.len() as f64 / rarest.max(1) as f64).powf(power)
    };
    let weights = WeightedIndex::new(set.posters.iter().map(weight)).expect("every weight is positive");
    (0..set.len()).map(|_| weights.sample(rng)).collect()
}

fn prepare(set: &PosterSet, posters: &[usize], pass: &Pass) -> Batch {
    let (input, genres) = (&pass.input, set.genres.len());
    let mut batch = Batch {
        len: posters.len(),
        inputs: Vec::new(),
        targets: Vec::with_capacity(posters.len() * genres),
        mask: Vec::with_capacity(posters.len() * genres),
        groups: Vec::with_capacity(posters.len() * set.groups.len()),
        teacher: pass.training.as_ref().and_then(|training| training.teacher.as_ref()).map(|_| Vec::new()),
    };
    if let Some(features) = &pass.features {
        for &poster in posters {
            let seed = pass.training.as_ref().map_or(0, |training| training.seed);
            let view = Pcg64::seed_from_u64(seed ^ (poster as u64 + 1)).random_range(0..features.views());
            batch.inputs.extend(features.get(poster, view));
            batch.labels(
                set,
                &[(poster, 1.0)],
                pass.training.as_ref().and_then(|training| training.teacher.as_deref()),
            );
        }
        return batch;
    }
    let mut inputs = vec![0.0; posters.len() * input.len()];
    for ((position, &poster), planes) in posters.iter().enumerate().zip(inputs.chunks_exact_mut(input.len())) {
        let Some(training) = &pass.training else {
            preprocess::normalise(set.pixels.get(poster), input, planes);
            batch.labels(set, &[(poster, 1.0)], None);
            continue;
        };
        let rng = &mut Pcg64::seed_from_u64(training.seed ^ (poster as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let augmentation = training.augmentation;
        let (width, height) = (input.width, input.height);
        let mut view = augmentation.apply(set.pixels.get(poster), width, height, rng);
        // A poster's partner is the next one of its batch, in a view of its own.
        let partner = posters[(position + 1) % posters.len()];
        let mut kept = 1.0;
        if augmentation.mix != Mix::None {
            let other = augmentation.apply(set.pixels.get(partner), width, height, rng);
            kept = augmentation.mix.apply(&mut view, &other, [width as usize, height as usize], rng);
        }
        preprocess::normalise(&view, input, planes);
        batch.labels(set, &[(poster, kept), (partner, 1.0 - kept)], training.teacher.as_deref());
    }
    batch.inputs = inputs;
    batch
}
