//! The architectures, one file each.

pub mod cnn;
pub mod exported;
mod inverted_residual;
pub mod mobilenet;
pub mod pretrained;

use anyhow::{Result, bail};
use burn::lr_scheduler::module_lr_scheduler::{ModuleLearningRate, ModuleLrSchedulerConfig};
use burn::lr_scheduler::step::StepLrSchedulerConfig;
use burn::module::{Initializer, Module, ModuleMapper, Param, ParamGroup};
use burn::tensor::{DType, Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::calibration::Scale;
use cnn::{Cnn, CnnConfig};
use mobilenet::{MobileNet, MobileNetConfig};
use pretrained::Weights;

/// A network of any architecture.
// A program holds two or three of them: a kilobyte more is nothing beside the weights, which lie elsewhere.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum Model {
    /// See [`cnn`].
    Cnn(Cnn),
    /// See [`mobilenet`].
    MobileNet(MobileNet),
}

/// The name of an architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Convolutions, max-pooling, dropout, dense: the classic.
    Cnn,
    /// MobileNetV2: inverted residual blocks; takes pretrained weights.
    MobileNet,
}

impl Architecture {
    /// Every architecture.
    pub const ALL: [Self; 2] = [Self::Cnn, Self::MobileNet];

    /// The name in run directories and in the model card.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cnn => "cnn",
            Self::MobileNet => "mobilenet",
        }
    }
}

impl Model {
    /// A network with fresh weights for that many genres.
    pub fn new(architecture: Architecture, genres: usize, device: &Device) -> Self {
        match architecture {
            Architecture::Cnn => Self::Cnn(CnnConfig::new(genres).init(device)),
            Architecture::MobileNet => Self::MobileNet(MobileNetConfig::new(genres).init(device)),
        }
    }

    /// Takes the weights of all but the head from elsewhere.
    ///
    /// # Errors
    /// If they are not those of this architecture.
    pub fn load_trunk(&mut self, weights: &Weights) -> Result<()> {
        match self {
            Self::MobileNet(mobilenet) => mobilenet.load_trunk(weights),
            Self::Cnn(_) => {
                bail!("pretrained weights are for the architecture \"mobilenet\"; name it with --architecture")
            }
        }
    }

    /// Lets every feature of a pretrained trunk count alike in the head, given batches of posters, `[N, 3, height, width]`.
    pub fn standardise(&mut self, posters: impl Iterator<Item = Tensor<4>>) {
        if let Self::MobileNet(mobilenet) = self {
            let trunk = mobilenet.valid();
            let means = posters.map(|posters| trunk.means(posters)).collect();
            mobilenet.standardise(Tensor::cat(means, 0));
        }
    }

    /// Takes the weights of another network of this architecture, all but those of the last layer, which names the genres.
    ///
    /// # Errors
    /// If the other is of another architecture.
    pub fn load_all_but_genres(self, other: Self) -> Result<Self> {
        let record = other.into_record_group(ParamGroup::all().exclude(ParamGroup::from_predicate("genres")));
        Ok(self.try_load_record(record.allow_partial(true).allow_unused(false))?)
    }

    /// Where the weights are, without gradients.
    pub fn device(&self) -> Device {
        match self {
            Self::Cnn(cnn) => cnn.genres.weight.device().inner(),
            Self::MobileNet(mobilenet) => mobilenet.genres.weight.device().inner(),
        }
    }

    /// Makes the network say these logits, `[G]`, whatever it sees: it learns from there what a poster adds to them.
    pub fn start_from(&mut self, logits: &[f32]) {
        let genres = match self {
            Self::Cnn(cnn) => &mut cnn.genres,
            Self::MobileNet(mobilenet) => &mut mobilenet.genres,
        };
        let device = genres.weight.device();
        genres.weight = Initializer::Zeros.init(genres.weight.dims(), &device);
        genres.bias = Some(Param::from_data(TensorData::from(logits), &device));
    }

    /// Gives every genre's logit its scale, `[G]`; a head's last layer can take them in.
    pub fn scaled(mut self, scales: &[Scale]) -> Self {
        let genres = match &mut self {
            Self::Cnn(cnn) => &mut cnn.genres,
            Self::MobileNet(mobilenet) => &mut mobilenet.genres,
        };
        let device = genres.weight.device();
        let row = |of: fn(&Scale) -> f32| {
            let values: Vec<f32> = scales.iter().map(of).collect();
            Tensor::<1>::from_data(TensorData::from(&values[..]), &device)
        };
        let (slopes, offsets) = (row(|scale| scale.slope), row(|scale| scale.offset));
        genres.weight = genres.weight.clone().map(|weight| weight * slopes.clone().unsqueeze());
        genres.bias = genres.bias.take().map(|bias| bias.map(|bias| bias * slopes + offsets));
        self
    }

    /// Rounds the weights of a mobilenet's pointwise convolutions to bfloat16, the upper half of a 32-bit float: processors
    /// with an instruction for it multiply twice as many of them at a time. Other networks stay as they are.
    pub fn narrowed(self) -> Self {
        struct Narrower;
        impl ModuleMapper for Narrower {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                match param.dims()[..] {
                    [_, _, 1, 1] => param.map(|weights| weights.cast(DType::BF16).cast(DType::F32)),
                    _ => param,
                }
            }
        }
        if matches!(self, Self::MobileNet(_)) { self.map(&mut Narrower) } else { self }
    }

    /// Rounds tensors of at least `size` weights to what 16-bit floats can hold.
    pub fn halved(self, size: usize) -> Self {
        struct Halver(usize);
        impl ModuleMapper for Halver {
            fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
                if param.shape().num_elements() < self.0 {
                    return param;
                }
                param.map(|weights| weights.cast(DType::F16).cast(DType::F32))
            }
        }
        self.map(&mut Halver(size))
    }

    /// The learning rate of each part: `head` for the head, that times `trunk` for the trunk.
    pub fn rates(&self, head: f64, trunk: f64) -> ModuleLearningRate {
        let own = ParamGroup::from_any_predicates(vec!["genres", "hidden"]);
        // burn makes rates for groups from schedulers only, and these must not be zero.
        let constant = |rate: f64| StepLrSchedulerConfig::new(rate.max(f64::MIN_POSITIVE), usize::MAX);
        let rates = ModuleLrSchedulerConfig::new(constant(head * trunk).into()).with_group(own, constant(head));
        rates.init().expect("the rates are positive").step()
    }

    /// Logits of each genre; their sigmoid is the probability. This is the way that is exported.
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

    /// The same logits by the fastest way for training; the first `frozen` parts of the trunk get no gradients.
    ///
    /// # Shapes
    /// As for [`Model::forward`].
    pub fn forward_fast(&self, posters: Tensor<4>, frozen: usize) -> Tensor<2> {
        match self {
            Self::Cnn(cnn) => cnn.forward(posters),
            Self::MobileNet(mobilenet) => mobilenet.forward_fast(posters, frozen),
        }
    }

    /// What the first `frozen` parts of a mobilenet's trunk make of posters; see [`MobileNet::frozen`].
    ///
    /// # Panics
    /// If the network is not a mobilenet.
    pub fn frozen(&self, posters: Tensor<4>, frozen: usize) -> Tensor<2> {
        let Self::MobileNet(mobilenet) = self else { panic!("only a mobilenet can be frozen") };
        mobilenet.frozen(posters, frozen)
    }

    /// Logits from what [`Model::frozen`] made of posters of this height and width.
    ///
    /// # Panics
    /// If the network is not a mobilenet.
    pub fn forward_from(&self, features: Tensor<2>, frozen: usize, size: [usize; 2]) -> Tensor<2> {
        let Self::MobileNet(mobilenet) = self else { panic!("only a mobilenet can be frozen") };
        mobilenet.forward_from(features, frozen, size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
    fn only_pointwise_convolutions_of_a_mobilenet_are_narrowed() {
        for architecture in [Architecture::Cnn, Architecture::MobileNet] {
            let model = Model::new(architecture, 3, &Device::flex());
            let mut narrowed = 0;
            for ((shape, before), (_, after)) in tensors(&model).into_iter().zip(tensors(&model.clone().narrowed())) {
                let is_pointwise = architecture == Architecture::MobileNet && shape.len() == 4 && shape[2..] == [1, 1];
                if !is_pointwise {
                    assert_eq!(before, after, "{architecture:?}, {shape:?}");
                    continue;
                }
                narrowed += 1;
                for (before, after) in before.iter().zip(after) {
                    assert_eq!(after.to_bits() & 0xffff, 0, "{before} became {after}, which is no bfloat16");
                    assert!((after - before).abs() <= before.abs() / 256.0, "{before} became {after}");
                }
            }
            assert_eq!(narrowed, if architecture == Architecture::MobileNet { 34 } else { 0 }, "{architecture:?}");
        }
    }
}
