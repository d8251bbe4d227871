//! Fake quantisation of weights for quantisation-aware training (Jacob et al., "Quantization and training of neural
//! networks for efficient integer-arithmetic-only inference", 2018).
//!
//! The forward pass sees weights that are multiples of a scale, as an int8 file holds them; the straight-through
//! estimator passes the gradient to the 32-bit weights behind them (Bengio et al., "Estimating or propagating gradients
//! through stochastic neurons", 2013).

use burn::module::{ModuleMapper, Param};
use burn::tensor::Tensor;

use super::mobilenet::BACKBONE_BLOCKS;

/// The largest magnitude of an int8 weight; -128 is not used, so that the range is symmetric.
pub const MAX_WEIGHT: f32 = 127.0;

/// Scales below this stand for channels whose weights are all zero.
const MIN_SCALE: f32 = 1e-12;

/// The mapper that rounds the weights of convolutions and of the hidden layer; biases and the classifier keep theirs.
pub(super) struct FakeQuantizer {
    /// The number of parts of the backbone that get no gradients, from the first on.
    frozen: usize,
    /// The names of the fields from the module's root to the current one.
    path: Vec<String>,
}

impl FakeQuantizer {
    pub(super) fn new(frozen: usize) -> Self {
        Self { frozen, path: Vec::new() }
    }

    /// Whether the current parameter gets no gradients. The graph of its rounding would stay in memory, since no backward
    /// pass consumes it, and slow every step down.
    fn is_frozen(&self) -> bool {
        let part = match self.path.iter().position(|name| name == "blocks") {
            Some(blocks) => self.path.get(blocks + 1).and_then(|index| index.parse().ok()),
            None if self.path.iter().any(|name| name == "stem") => Some(0),
            None if self.path.iter().any(|name| name == "last") => Some(BACKBONE_BLOCKS - 1),
            None => None,
        };
        part.is_some_and(|part| part < self.frozen)
    }
}

impl ModuleMapper for FakeQuantizer {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let is_hidden = D == 2 && self.path.iter().any(|name| name == "hidden");
        let is_frozen = self.is_frozen();
        let param = param.map(|weight| if is_frozen { weight.detach() } else { weight });
        // Output channels are the first dimension of a convolution's weight, the last one of a linear layer's.
        match (D, is_hidden) {
            (4, _) => param.map(|weight| fake_quantize(weight, 0)),
            (2, true) => param.map(|weight| fake_quantize(weight, 1)),
            _ => param,
        }
    }
}

/// Rounds a weight to multiples of `largest magnitude / 127` of each index of `channels`, the dimension of its output
/// channels.
fn fake_quantize<const D: usize>(weight: Tensor<D>, channels: usize) -> Tensor<D> {
    let values = weight.clone().detach();
    let largest = (0..D).filter(|dim| *dim != channels).fold(values.clone().abs(), Tensor::max_dim);
    let scale = (largest / MAX_WEIGHT).clamp_min(MIN_SCALE);
    let rounded = (values.clone() / scale.clone()).round() * scale;
    weight + (rounded - values)
}

#[cfg(test)]
mod tests {
    use burn::module::{Module, ModuleVisitor, ParamId};
    use burn::optim::GradientsParams;
    use burn::tensor::{Device, Distribution};

    use super::*;
    use crate::model::Model;

    #[test]
    fn weights_become_multiples_of_their_channels_scale() {
        let device = Device::flex();
        for channels in [0, 1] {
            let weight = Tensor::<2>::random([5, 7], Distribution::Normal(0.0, 3.0), &device);
            let rounded = fake_quantize(weight.clone(), channels);
            let again = fake_quantize(rounded.clone(), channels);
            let largest = (again - rounded.clone()).abs().max().into_scalar::<f32>();
            assert!(largest < 1e-6, "rounded weights move by {largest} when they are rounded again");
            let scale = weight.clone().abs().max_dim(1 - channels) / MAX_WEIGHT;
            let steps: Vec<f32> = (rounded.clone() / scale.clone()).into_data().try_to_vec().unwrap();
            assert!(steps.iter().all(|step| (step - step.round()).abs() < 1e-3 && step.abs() < 127.5), "{steps:?}");
            let error = ((rounded - weight) / scale).abs().max().into_scalar::<f32>();
            assert!(error <= 0.5001, "a weight moved by {error} steps");
        }
    }

    #[test]
    fn the_gradient_passes_straight_through() {
        let device = Device::flex().autodiff();
        let weight = Tensor::<2>::from_data([[0.11, -0.5], [0.3, 2.0]], &device).require_grad();
        let gradients = (fake_quantize(weight.clone(), 0) * 3.0).sum().backward();
        assert_eq!(weight.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap(), [3.0; 4]);
    }

    #[test]
    fn parts_that_are_not_frozen_get_gradients_through_the_rounding() {
        use crate::model::mobilenet::MobileNetConfig;
        let device = Device::flex().autodiff();
        let network = Model::MobileNet(MobileNetConfig::new(3).with_width(0.35).init(&device));
        let posters = Tensor::<4>::random([2, 3, 64, 64], Distribution::Default, &device);
        for frozen in [0, 4] {
            let rounded = network.fake_quantized(frozen);
            let gradients = rounded.forward_fast(posters.clone(), frozen).powi_scalar(2).sum().backward();
            let gradients = GradientsParams::from_grads(gradients, &network);
            let mut frozen_ids = Vec::new();
            for (path, id) in parameters(&network) {
                let is_convolution = path.ends_with("project.weight");
                let block = path.split('.').skip_while(|name| *name != "blocks").nth(1);
                let is_frozen = block.is_some_and(|block| block.parse::<usize>().unwrap() < frozen);
                if is_convolution {
                    assert_eq!(gradients.get::<4>(id).is_none(), is_frozen, "{path}, {frozen} frozen");
                    frozen_ids.extend(is_frozen.then_some(path));
                }
            }
            assert_eq!(frozen_ids.len(), frozen);
        }
    }

    /// Path and id of every parameter of four dimensions.
    fn parameters(network: &Model) -> Vec<(String, ParamId)> {
        #[derive(Default)]
        struct Visitor {
            path: Vec<String>,
            found: Vec<(String, ParamId)>,
        }
        impl ModuleVisitor for Visitor {
            fn enter_module(&mut self, name: &str, _: &str) {
                self.path.push(name.into());
            }

            fn exit_module(&mut self, _: &str, _: &str) {
                self.path.pop();
            }

            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if D == 4 {
                    self.found.push((self.path.join("."), param.id));
                }
            }
        }
        let mut visitor = Visitor::default();
        network.visit(&mut visitor);
        visitor.found
    }

    #[test]
    fn channels_of_zeros_stay_zero() {
        let weight = Tensor::<2>::from_data([[0.0, 0.0], [1.0, -2.0]], &Device::flex());
        let rounded: Vec<f32> = fake_quantize(weight, 0).into_data().try_to_vec().unwrap();
        assert_eq!(rounded[..2], [0.0, 0.0]);
    }
}
