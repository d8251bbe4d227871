//! An exponential moving average of a network's weights over the steps of training.
//!
//! The average is less noisy than the weights of any one step and generalises better (Polyak and Juditsky, "Acceleration
//! of stochastic approximation by averaging", 1992; Tarvainen and Valpola, "Mean teachers are better role models", 2017).

use std::collections::VecDeque;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;

use crate::model::Model;

/// The average after one more step: `keep` of the average and `1 - keep` of the weights, running statistics of batch
/// normalisation included. `keep` is `decay`, or less in the first steps, when there is little to keep.
///
/// Both networks must have the same architecture, be on a device without gradients, and share no running statistics:
/// make the average from a record, not by cloning.
pub fn blend(average: Model, weights: &Model, decay: f64, step: usize) -> Model {
    let mut collector = Collector::default();
    weights.visit(&mut collector);
    let keep = decay.min((1.0 + step as f64) / (10.0 + step as f64));
    average.map(&mut Blender { weights: collector.0, keep })
}

#[derive(Default)]
struct Collector(VecDeque<Tensor<1>>);

impl ModuleVisitor for Collector {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push_back(param.val().reshape([-1]));
    }
}

struct Blender {
    weights: VecDeque<Tensor<1>>,
    keep: f64,
}

impl ModuleMapper for Blender {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let weights = self.weights.pop_front().expect("both networks have the same architecture");
        param.map(|average| {
            let weights = weights.reshape(average.dims());
            average * self.keep + weights * (1.0 - self.keep)
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
    fn every_weight_moves_by_the_same_part_of_the_way() {
        let device = Device::flex();
        let network = || Model::new(Architecture::Cnn, 3, &device);
        let (average, target) = (network(), network());
        let (before, goal) = (weights(&average), weights(&target));
        for (decay, step, keep) in [(0.9, 1_000_000, 0.9_f32), (0.999, 8, 0.5), (0.0, 5, 0.0)] {
            let start = Model::new(Architecture::Cnn, 3, &device).load_record(average.clone().into_record());
            let after = weights(&blend(start, &target, decay, step));
            assert_eq!(weights(&average), before, "the original changed");
            for ((after, before), goal) in after.iter().zip(&before).zip(&goal) {
                let expected = keep * before + (1.0 - keep) * goal;
                assert!((after - expected).abs() < 1e-6, "decay {decay}, step {step}: {after} is not {expected}");
            }
        }
    }
}
