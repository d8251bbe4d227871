//! Network architectures, one file each, and what they share: initial weights, calibration, rounding, learning rates.

pub mod cnn;
pub mod exported;
mod fake_quantize;
mod fused_block;
pub mod mobilenet;
pub mod pretrained;

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, anyhow, bail};
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrSchedulerConfig};
use burn::lr_scheduler::step::StepLrSchedulerConfig;
use burn::module::{Initializer, Module, ModuleMapper, Param, ParamGroup};
use burn::nn::Linear;
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::calibration::Scale;
use cnn::{Cnn, CnnConfig};
use fake_quantize::FakeQuantizer;
use mobilenet::{MobileNet, MobileNetConfig};
use pretrained::Weights;

/// The name of the field with the last layer in every architecture, and so of its tensors in records and exported files.
const CLASSIFIER: &str = "classifier";

/// A network of any architecture.
#[expect(clippy::large_enum_variant, reason = "a program holds two or three, and their weights are on the heap")]
#[derive(Module, Debug)]
pub enum Model {
    /// See [`cnn`].
    Cnn(Cnn),
    /// See [`mobilenet`].
    MobileNet(MobileNet),
}

/// The name of an architecture, in lower case in cards, settings and on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// A plain convolutional network: convolutions, max-pooling, dropout, a linear classifier.
    Cnn,
    /// MobileNetV2: inverted residual blocks; takes pretrained weights.
    MobileNet,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 2] = [Self::Cnn, Self::MobileNet];

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cnn => "cnn",
            Self::MobileNet => "mobilenet",
        }
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Architecture {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|architecture| architecture.name() == name);
        let known = || Self::ALL.map(Self::name).join(", ");
        found.ok_or_else(|| anyhow!("\"{name}\" is no known architecture; the known ones are {}", known()))
    }
}

impl Model {
    /// A network with random initial weights for that many genres.
    pub fn new(architecture: Architecture, genres: usize, device: &Device) -> Self {
        match architecture {
            Architecture::Cnn => Self::Cnn(CnnConfig::new(genres).init(device)),
            Architecture::MobileNet => Self::MobileNet(MobileNetConfig::new(genres).init(device)),
        }
    }

    /// The network, if it is a MobileNetV2: the architecture with a backbone that can be frozen.
    pub fn as_mobilenet(&self) -> Option<&MobileNet> {
        match self {
            Self::MobileNet(mobilenet) => Some(mobilenet),
            Self::Cnn(_) => None,
        }
    }

    /// Loads pretrained weights of the backbone; the head keeps its own.
    ///
    /// # Errors
    /// If this architecture has no pretrained weights, or `weights` are of another one.
    pub fn load_backbone(&mut self, weights: &Weights) -> Result<()> {
        match self {
            Self::MobileNet(mobilenet) => mobilenet.load_backbone(weights),
            Self::Cnn(_) => {
                bail!("pretrained weights are for the architecture \"mobilenet\"; name it with --architecture")
            }
        }
    }

    /// Standardises the features that a pretrained backbone hands to the head, by their mean and standard deviation over
    /// batches of posters, each `[N, 3, height, width]`. Does nothing to an architecture without a backbone.
    pub fn standardize_features(&mut self, posters: impl Iterator<Item = Tensor<4>>) {
        if let Self::MobileNet(mobilenet) = self {
            let frozen = mobilenet.valid();
            let pooled = posters.map(|posters| frozen.pooled_features(posters)).collect();
            mobilenet.standardize_features(Tensor::cat(pooled, 0));
        }
    }

    /// Takes the weights of another network of this architecture, all but those of the classifier, whose outputs are the
    /// genres.
    ///
    /// # Errors
    /// If the other is of another architecture.
    pub fn load_except_classifier(self, other: Self) -> Result<Self> {
        let classifier = ParamGroup::from_predicate(CLASSIFIER);
        let record = other.into_record_group(ParamGroup::all().exclude(classifier));
        Ok(self.try_load_record(record.allow_partial(true).allow_unused(false))?)
    }

    /// The device of the weights, without autodiff.
    pub fn device(&self) -> Device {
        self.classifier().weight.device().inner()
    }

    /// The last layer: `weight` is `[inputs, G]`, `bias` is `[G]`.
    fn classifier(&self) -> &Linear {
        match self {
            Self::Cnn(cnn) => &cnn.classifier,
            Self::MobileNet(mobilenet) => &mobilenet.classifier,
        }
    }

    fn classifier_mut(&mut self) -> &mut Linear {
        match self {
            Self::Cnn(cnn) => &mut cnn.classifier,
            Self::MobileNet(mobilenet) => &mut mobilenet.classifier,
        }
    }

    /// Sets the classifier's bias to these logits, `[G]`, and its weight to zero: training starts from the genres' prior
    /// (Lin et al., "Focal loss for dense object detection", 2017, section 4.1).
    pub fn init_output_bias(&mut self, logits: &[f32]) {
        let classifier = self.classifier_mut();
        let device = classifier.weight.device();
        classifier.weight = Initializer::Zeros.init(classifier.weight.dims(), &device);
        classifier.bias = Some(Param::from_data(TensorData::from(logits), &device));
    }

    /// Folds a Platt scaling per genre, `[G]`, into the classifier: each logit `x` becomes `slope * x + offset`.
    pub fn with_calibration(mut self, scales: &[Scale]) -> Self {
        let classifier = self.classifier_mut();
        let device = classifier.weight.device();
        let row = |of: fn(&Scale) -> f32| {
            let values: Vec<f32> = scales.iter().map(of).collect();
            Tensor::<1>::from_data(TensorData::from(&values[..]), &device)
        };
        let (slopes, offsets) = (row(|scale| scale.slope), row(|scale| scale.offset));
        classifier.weight = classifier.weight.clone().map(|weight| weight * slopes.clone().unsqueeze());
        classifier.bias = classifier.bias.take().map(|bias| bias.map(|bias| bias * slopes + offsets));
        self
    }

    /// Rounds tensors of at least `min_size` values to f16 (IEEE 754 half precision).
    pub fn round_to_f16(self, min_size: usize) -> Self {
        struct Rounder {
            min_size: usize,
        }
        impl ModuleMapper for Rounder {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                if param.shape().num_elements() < self.min_size {
                    return param;
                }
                param.map(|weights| weights.cast(DType::F16).cast(DType::F32))
            }
        }
        self.map(&mut Rounder { min_size })
    }

    /// Rounds the weights of convolutions and of the hidden layer to multiples of a scale per output channel, as an int8
    /// file holds them; their gradients pass straight through to the weights of `self`, but for the first `frozen` blocks of
    /// the backbone, which get none. The classifier keeps its weights.
    #[must_use]
    pub fn fake_quantized(&self, frozen: usize) -> Self {
        self.clone().map(&mut FakeQuantizer::new(frozen))
    }

    /// Learning rates by parameter group: `head` for the head, `head * backbone_scale` for the backbone.
    pub fn learning_rates(&self, head: f64, backbone_scale: f64) -> ModuleLearningRate {
        let head_params = ParamGroup::from_any_predicates(vec![CLASSIFIER, "hidden"]);
        // burn makes rates for groups from schedulers only, and these must not be zero.
        let constant = |rate: f64| StepLrSchedulerConfig::new(rate.max(f64::MIN_POSITIVE), usize::MAX);
        let backbone = constant(head * backbone_scale).into();
        let rates = ModuleLrSchedulerConfig::new(backbone).with_group(head_params, constant(head));
        rates.init().expect("the rates are positive").step()
    }

    /// Logits of each genre; their sigmoid is the probability. This is the graph that is exported.
    ///
    /// # Shapes
    /// - posters: `[N, 3, height, width]`
    /// - logits: `[N, G]`
    pub fn forward(&self, posters: Tensor<4>) -> Tensor<2> {
        match self {
            Self::Cnn(cnn) => cnn.forward(posters),
            Self::MobileNet(mobilenet) => mobilenet.forward(posters),
        }
    }

    /// Logits of each genre by the fastest implementation for training; the first `frozen` blocks of the backbone get no
    /// gradients.
    ///
    /// # Shapes
    /// As for [`Model::forward`].
    pub fn forward_fast(&self, posters: Tensor<4>, frozen: usize) -> Tensor<2> {
        match self {
            Self::Cnn(cnn) => cnn.forward(posters),
            Self::MobileNet(mobilenet) => mobilenet.forward_fast(posters, frozen),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration;
    use burn::module::ModuleVisitor;

    /// Shape and values of every tensor.
    #[derive(Default)]
    struct Tensors(Vec<(Vec<usize>, Vec<f32>)>);

    impl ModuleVisitor for Tensors {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push((param.dims().to_vec(), param.val().into_data().try_to_vec().unwrap()));
        }
    }

    fn tensors(model: &Model) -> Vec<(Vec<usize>, Vec<f32>)> {
        let mut tensors = Tensors::default();
        model.visit(&mut tensors);
        tensors.0
    }

    #[test]
    fn only_large_tensors_are_rounded_to_f16() {
        const MIN_SIZE: usize = 2048;
        for architecture in Architecture::ALL {
            let model = Model::new(architecture, 3, &Device::flex());
            let mut rounded = 0;
            let after = tensors(&model.clone().round_to_f16(MIN_SIZE));
            for ((shape, before), (_, after)) in tensors(&model).into_iter().zip(after) {
                if before.len() < MIN_SIZE {
                    assert_eq!(before, after, "{architecture:?}, {shape:?}");
                    continue;
                }
                rounded += 1;
                for (before, after) in before.iter().zip(after) {
                    assert_eq!(after.to_bits() & 0x1fff, 0, "{before} became {after}, which is no f16");
                    assert!((after - before).abs() <= before.abs() / 1024.0 + 1e-7, "{before} became {after}");
                }
            }
            assert!(rounded > 0, "{architecture:?}");
        }
    }

    #[test]
    fn architectures_are_named_as_cards_and_settings_name_them() {
        for architecture in Architecture::ALL {
            let name = architecture.to_string();
            assert_eq!(name.parse::<Architecture>().unwrap(), architecture);
            assert_eq!(serde_json::to_value(architecture).unwrap(), name);
        }
        let error = "vgg".parse::<Architecture>().unwrap_err().to_string();
        assert_eq!(error, "\"vgg\" is no known architecture; the known ones are cnn, mobilenet");
    }

    #[test]
    fn another_networks_weights_are_taken_but_for_the_classifier() {
        for architecture in Architecture::ALL {
            let [own, other] = [3, 5].map(|genres| Model::new(architecture, genres, &Device::flex()));
            let (own_tensors, other_tensors) = (tensors(&own), tensors(&other));
            let loaded = tensors(&own.load_except_classifier(other).unwrap());
            // Weight and bias of the last layer come last.
            let classifier = loaded.len() - 2;
            assert_eq!(loaded[..classifier], other_tensors[..classifier], "{architecture}");
            assert_eq!(loaded[classifier..], own_tensors[classifier..], "{architecture}");
        }
        let [cnn, mobilenet] = Architecture::ALL.map(|architecture| Model::new(architecture, 3, &Device::flex()));
        assert!(cnn.load_except_classifier(mobilenet).is_err());
    }

    #[test]
    fn calibration_scales_every_genres_logit() {
        let device = Device::flex();
        let posters = Tensor::<4>::random([2, 3, 64, 48], burn::tensor::Distribution::Default, &device);
        let scales = [Scale { slope: 2.0, offset: 0.5 }, Scale { slope: 0.25, offset: -1.0 }];
        for architecture in Architecture::ALL {
            let mut model = Model::new(architecture, 2, &device);
            model.init_output_bias(&[-1.5, 3.0]);
            let logits = |model: &Model| model.forward(posters.clone()).into_data().try_to_vec::<f32>().unwrap();
            assert_eq!(logits(&model), [-1.5, 3.0, -1.5, 3.0], "{architecture}");
            let expected: Vec<f32> = calibration::apply(&scales, &logits(&model));
            for (found, expected) in logits(&model.with_calibration(&scales)).iter().zip(expected) {
                assert!((found - expected).abs() < 1e-5, "{architecture}: {found} is not {expected}");
            }
        }
    }
}
