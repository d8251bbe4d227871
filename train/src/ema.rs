//! Exponential moving average (EMA) of a network's weights over the training steps.
//!
//! The average is less noisy than the weights of any one step and generalises better (Polyak and Juditsky,
//! "Acceleration of stochastic approximation by averaging", 1992; Tarvainen and Valpola, "Mean teachers are better
//! role models", 2017).

use std::collections::VecDeque;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::model::Model;

/// The EMA after one more step: `keep * ema + (1 - keep) * weights`, running statistics of batch normalisation
/// included. `keep` is the smaller of `decay` and `(1 + step) / (10 + step)`, so that the random initial weights fade
/// quickly.
///
/// Both networks must be on a device without gradients, and share no running statistics: make the EMA's from a
/// record, not by cloning.
///
/// # Panics
/// If the networks have different architectures.
pub fn update(ema: Model, weights: &Model, decay: f64, step: usize) -> Model {
    let mut collector = Collector::default();
    weights.visit(&mut collector);
    let keep = decay.min((1.0 + step as f64) / (10.0 + step as f64));
    ema.map(&mut Updater { weights: collector.0, keep })
}

/// Every tensor of a network, flattened.
#[derive(Default)]
struct Collector(VecDeque<Tensor<1>>);

impl ModuleVisitor for Collector {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push_back(param.val().reshape([-1]));
    }
}

struct Updater {
    weights: VecDeque<Tensor<1>>,
    keep: f64,
}

impl ModuleMapper for Updater {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let weights = self.weights.pop_front().expect("both networks have the same architecture");
        param.map(|ema| {
            let weights = weights.reshape(ema.dims());
            ema * self.keep + weights * (1.0 - self.keep)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Architecture;
    use burn::tensor::Device;

    fn weights(model: &Model) -> Vec<f32> {
        let mut collector = Collector::default();
        model.visit(&mut collector);
        collector.0.into_iter().flat_map(|tensor| tensor.into_data().try_to_vec::<f32>().unwrap()).collect()
    }

    #[test]
    fn every_weight_moves_by_the_same_fraction() {
        let device = Device::flex();
        let network = || Model::new(Architecture::Cnn, 3, &device);
        let (ema, target) = (network(), network());
        let (before, goal) = (weights(&ema), weights(&target));
        for (decay, step, keep) in [(0.9, 1_000_000, 0.9_f32), (0.999, 8, 0.5), (0.0, 5, 0.0)] {
            let start = Model::new(Architecture::Cnn, 3, &device).load_record(ema.clone().into_record());
            let after = weights(&update(start, &target, decay, step));
            assert_eq!(weights(&ema), before, "the original changed");
            for ((after, before), goal) in after.iter().zip(&before).zip(&goal) {
                let expected = keep * before + (1.0 - keep) * goal;
                assert!((after - expected).abs() < 1e-6, "decay {decay}, step {step}: {after} is not {expected}");
            }
        }
    }
}
