//! Batches prepared ahead of the training loop by worker threads.
//!
//! The order of posters, and the view of each, follow from a seed alone: the number of workers changes nothing.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;
use runtime::poster::{self, Input};

use super::PosterSet;
use super::augment::Augmentation;

/// Batches that each worker holds ready.
const AHEAD: usize = 2;

/// Posters and labels for one step.
pub struct Batch {
    /// The number of posters.
    pub len: usize,
    /// Inputs, `[N, 3, height, width]`.
    pub inputs: Vec<f32>,
    /// 1 for yes, 0 for no and unknown, `[N, G]`.
    pub targets: Vec<f32>,
    /// 1 where the label is known, 0 where it is not, `[N, G]`.
    pub mask: Vec<f32>,
}

/// What a pass over a set looks like.
#[derive(Clone)]
pub struct Pass {
    /// The network's input.
    pub input: Input,
    /// Posters a batch.
    pub batch_size: usize,
    /// Changes to each poster and a seed for them and for the order; without it posters come as they are, in order.
    pub augmentation: Option<(Augmentation, u64)>,
    /// Threads that prepare batches.
    pub workers: usize,
}

/// The batches of one pass over a set, in order.
pub struct Batches {
    channels: Vec<Receiver<Batch>>,
    next: usize,
    count: usize,
    waited: Duration,
}

impl Batches {
    /// Starts to prepare batches. With an augmentation, a last batch that is not full is left out: batch normalisation
    /// over very few posters would harm. A set smaller than one batch is one batch.
    pub fn new(set: &Arc<PosterSet>, pass: &Pass) -> Self {
        let mut order: Vec<usize> = (0..set.len()).collect();
        let mut count = order.len().div_ceil(pass.batch_size);
        if let Some((_, seed)) = pass.augmentation {
            order.shuffle(&mut Pcg64::seed_from_u64(seed));
            count = (order.len() / pass.batch_size).max(1);
        }
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

fn prepare(set: &PosterSet, posters: &[usize], pass: &Pass) -> Batch {
    let (input, genres) = (&pass.input, set.genres.len());
    let mut batch = Batch {
        len: posters.len(),
        inputs: vec![0.0; posters.len() * input.len()],
        targets: Vec::with_capacity(posters.len() * genres),
        mask: Vec::with_capacity(posters.len() * genres),
    };
    for (planes, &poster) in batch.inputs.chunks_exact_mut(input.len()).zip(posters) {
        let pixels = set.pixels.get(poster);
        match pass.augmentation {
            None => poster::normalise(pixels, input, planes),
            Some((augmentation, seed)) => {
                let mut rng = Pcg64::seed_from_u64(seed ^ (poster as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
                let view = augmentation.apply(pixels, input.width, input.height, &mut rng);
                poster::normalise(&view, input, planes);
            }
        }
        for label in &set.posters[poster].labels {
            batch.targets.push(f32::from(*label == Some(true)));
            batch.mask.push(f32::from(label.is_some()));
        }
    }
    batch
}
