//! MobileNetV2 (Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018) with batch normalisation
//! folded into its convolutions, and a head with multi-scale features.
//!
//! ImageNet's classes need only the last features; a poster's genre shows in its palette and texture too. The head
//! therefore gets, beside the global average pool of the last features, those of the expanded features of the blocks
//! [`TAPS`], which are computed anyway and cost nothing. Pooled features are standardised by constants, then pass a hidden
//! layer and the classifier:
//!
//! ```text
//! pooled  = concat(mean(expanded features of TAPS), mean(last features))     [N, pooled]
//! hidden  = relu(W1 * dropout((pooled + shift) * scale) + b1)                [N, hidden]
//! logits  = W2 * dropout(hidden) + b2                                        [N, G]
//! ```

use std::ops::Range;

use anyhow::Result;
use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig};
use burn::nn::{Dropout, DropoutConfig, Linear, LinearConfig};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, activation::relu};

use super::fused_block::{RELU6_MAX, inverted_residual, same_padding};
use super::pretrained::Weights;

/// Expansion factor, output channels, number of blocks and stride of the first one, as in the paper's table 2.
const STAGES: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

/// Blocks whose expanded features are pooled for the head: the last ones at 1/4, 1/8 and twice 1/16 of the input's size.
pub const TAPS: [usize; 4] = [3, 6, 10, 13];

/// The number of inverted residual blocks.
const BLOCKS: usize = 17;

/// The blocks of the backbone that can be frozen, from the first on: the inverted residual blocks, the first one together
/// with the stem, and the last convolution.
pub const BACKBONE_BLOCKS: usize = BLOCKS + 1;

/// The sizes of a [`MobileNet`].
#[derive(Config, Debug)]
pub struct MobileNetConfig {
    /// The number of genres.
    pub genres: usize,
    /// The width multiplier: the factor of every number of channels, which is then rounded to a multiple of 8.
    #[config(default = 1.0)]
    pub width: f64,
    /// Features of the head's hidden layer.
    #[config(default = 512)]
    pub hidden: usize,
    /// Dropout rates of the pooled and of the hidden features.
    #[config(default = "[0.3, 0.5]")]
    pub dropout: [f64; 2],
}

/// A stem, 17 inverted residual blocks, a last convolution, and the head.
#[derive(Module, Debug)]
pub struct MobileNet {
    stem: Convolution,
    blocks: Vec<Block>,
    last: Convolution,
    global_pool: AdaptiveAvgPool2d,
    /// Standardisation of the pooled features, `(pooled + shift) * scale`, both `[pooled]`: constants, minus the mean and
    /// one over the standard deviation. (Batch normalisation in their place lets the backbone's rarer features die: the
    /// smaller the variance of a feature, the larger its gradient.)
    shift: Param<Tensor<1>>,
    scale: Param<Tensor<1>>,
    dropout: [Dropout; 2],
    hidden: Linear,
    pub(super) classifier: Linear,
}

/// An inverted residual block.
#[derive(Module, Debug)]
struct Block {
    expand: Option<Convolution>,
    depthwise: Convolution,
    project: Convolution,
    stride: usize,
}

/// A convolution with `SAME` padding: `weight` is `[outputs, inputs / groups, kernel, kernel]`, `bias` is `[outputs]`.
#[derive(Module, Debug)]
pub struct Convolution {
    weight: Param<Tensor<4>>,
    bias: Param<Tensor<1>>,
}

/// The state between two blocks of the backbone: the feature map, and the pooled features of the taps so far.
#[derive(Clone, Debug)]
struct Features {
    /// `[N, height, width, channels]`
    map: Tensor<4>,
    /// `[N, channels]` of each tap so far.
    pooled: Vec<Tensor<2>>,
}

impl MobileNetConfig {
    /// A network with fresh weights.
    pub fn init(&self, device: &Device) -> MobileNet {
        let channels = |channels: usize| multiple_of_8(channels as f64 * self.width);
        let mut inputs = channels(32);
        let stem = Convolution::new([inputs, 3, 3], device);
        let mut blocks = Vec::new();
        let mut pooled = 0;
        for (expansion, outputs, count, stride) in STAGES {
            for index in 0..count {
                let expanded = inputs * expansion;
                if TAPS.contains(&blocks.len()) {
                    pooled += expanded;
                }
                blocks.push(Block {
                    expand: (expansion > 1).then(|| Convolution::new([expanded, inputs, 1], device)),
                    depthwise: Convolution::new([expanded, 1, 3], device),
                    project: Convolution::new([channels(outputs), expanded, 1], device),
                    stride: if index == 0 { stride } else { 1 },
                });
                inputs = channels(outputs);
            }
        }
        // As in the paper, a width multiplier below 1 does not apply to the last convolution.
        let features = multiple_of_8(1280.0 * self.width.max(1.0));
        pooled += features;
        MobileNet {
            stem,
            blocks,
            last: Convolution::new([features, inputs, 1], device),
            global_pool: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            shift: Initializer::Zeros.init([pooled], device),
            scale: Initializer::Ones.init([pooled], device),
            dropout: self.dropout.map(|rate| DropoutConfig::new(rate).init()),
            hidden: LinearConfig::new(pooled, self.hidden).init(device),
            classifier: LinearConfig::new(self.hidden, self.genres).with_initializer(Initializer::Zeros).init(device),
        }
    }
}

impl MobileNet {
    /// Loads pretrained weights of the backbone; the head keeps its own.
    ///
    /// # Errors
    /// If `weights` lacks a tensor, or has one of another shape.
    pub fn load_backbone(&mut self, weights: &Weights) -> Result<()> {
        self.stem.load(weights, "stem.conv")?;
        for (index, block) in self.blocks.iter_mut().enumerate() {
            if let Some(expand) = &mut block.expand {
                expand.load(weights, &format!("blocks.{index}.expand"))?;
            }
            block.depthwise.load(weights, &format!("blocks.{index}.depthwise"))?;
            block.project.load(weights, &format!("blocks.{index}.project"))?;
        }
        self.last.load(weights, "head.conv")
    }

    /// Logits of each genre, composed of burn's own operations: the graph that is exported.
    ///
    /// # Shapes
    /// - posters: `[N, 3, height, width]`
    /// - logits: `[N, G]`
    pub fn forward(&self, posters: Tensor<4>) -> Tensor<2> {
        let mut map = relu6(self.stem.forward(posters, 2, 1));
        let mut pooled = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            let (output, expanded) = block.forward(map);
            if TAPS.contains(&index) {
                pooled.push(self.global_pool.forward(expanded));
            }
            map = output;
        }
        pooled.push(self.global_pool.forward(relu6(self.last.forward(map, 1, 1))));
        self.head(Tensor::cat(pooled, 1).squeeze_dims::<2>(&[2, 3]))
    }

    /// Logits of each genre for training: with fused blocks on burn's flex backend, as [`MobileNet::forward`] elsewhere.
    /// The first `frozen` blocks of the backbone get no gradients.
    ///
    /// # Shapes
    /// As for [`MobileNet::forward`].
    pub fn forward_fast(&self, posters: Tensor<4>, frozen: usize) -> Tensor<2> {
        let [_, _, height, width] = posters.dims();
        if frozen == 0 || !posters.device().is_autodiff() {
            return self.head(self.pooled_features(posters));
        }
        let features = self.valid().frozen_features(posters.inner(), frozen);
        self.forward_from(Tensor::from_inner(features), frozen, [height, width])
    }

    /// The output of the first `frozen` blocks of the backbone, 1 to [`BACKBONE_BLOCKS`], one row per poster: the feature
    /// map, then the pooled features of the taps so far; after all blocks, the pooled features alone.
    ///
    /// # Shapes
    /// - posters: `[N, 3, height, width]`
    /// - features: `[N, length]`
    pub fn frozen_features(&self, posters: Tensor<4>, frozen: usize) -> Tensor<2> {
        let posters_len = posters.dims()[0];
        let features = self.blocks(self.stem_and_first_block(posters), 1..frozen.min(BLOCKS));
        if frozen == BACKBONE_BLOCKS {
            return self.pool(features);
        }
        let rows = [vec![features.map.reshape([posters_len as i32, -1])], features.pooled].concat();
        Tensor::cat(rows, 1)
    }

    /// Logits, `[N, G]`, from [`MobileNet::frozen_features`], `[N, length]`, of posters of this height and width.
    pub fn forward_from(&self, features: Tensor<2>, frozen: usize, [height, width]: [usize; 2]) -> Tensor<2> {
        if frozen == BACKBONE_BLOCKS {
            return self.head(features);
        }
        let halvings = 1 + self.blocks[..frozen].iter().filter(|block| block.stride == 2).count();
        let [height, width] = [height, width].map(|side| (0..halvings).fold(side, |side, _| side.div_ceil(2)));
        let channels = self.blocks[frozen - 1].project.weight.dims()[0];
        let posters = features.dims()[0];
        let taps = TAPS.iter().filter(|tap| **tap < frozen).map(|tap| self.blocks[*tap].depthwise.weight.dims()[0]);
        let mut lens = vec![height * width * channels];
        lens.extend(taps);
        let mut columns = features.split_with_sizes(lens, 1).into_iter();
        let map = columns.next().expect("there is a map").reshape([posters, height, width, channels]);
        let features = self.blocks(Features { map, pooled: columns.collect() }, frozen..BLOCKS);
        self.head(self.pool(features))
    }

    /// The head's input before standardisation, `[N, pooled]`, for posters `[N, 3, height, width]`.
    pub fn pooled_features(&self, posters: Tensor<4>) -> Tensor<2> {
        self.pool(self.blocks(self.stem_and_first_block(posters), 1..BLOCKS))
    }

    /// Sets the standardisation of the head's input to mean and standard deviation of the pooled features of a sample of
    /// posters, `[N, pooled]`.
    pub fn standardize_features(&mut self, pooled: Tensor<2>) {
        let (variance, mean) = pooled.var_mean(0);
        // Channels that are nearly constant stay small instead of being blown up.
        let scale = (variance.sqrt() + 0.01).recip();
        let device = self.shift.device();
        let constant = |values: Tensor<2>| Param::from_data(values.squeeze_dim::<1>(0).into_data(), &device);
        (self.shift, self.scale) = (constant(mean.neg()), constant(scale));
    }

    /// The features after the stem and the first block, by burn's operations: the first block has no expansion.
    fn stem_and_first_block(&self, posters: Tensor<4>) -> Features {
        let map = relu6(self.stem.forward(posters, 2, 1));
        let (map, _) = self.blocks[0].forward(map);
        Features { map: map.permute([0, 2, 3, 1]), pooled: Vec::new() }
    }

    /// The features after more blocks, none of them block 0: fused, by [`inverted_residual`], or by burn's own operations on
    /// a device without it.
    fn blocks(&self, mut features: Features, blocks: Range<usize>) -> Features {
        for index in blocks {
            let block = &self.blocks[index];
            let tap = TAPS.contains(&index);
            let (map, pooled) = if features.map.device().inner() == Device::flex() {
                let expand = block.expand.as_ref().expect("only the first block does not expand");
                let convolutions = [expand, &block.depthwise, &block.project];
                let weights = convolutions.map(|conv| (conv.weight.val(), conv.bias.val()));
                inverted_residual(features.map, weights, block.stride, tap)
            } else {
                let (map, expanded) = block.forward(features.map.permute([0, 3, 1, 2]));
                (map.permute([0, 2, 3, 1]), tap.then(|| self.global_pool.forward(expanded).squeeze_dims(&[2, 3])))
            };
            features.map = map;
            features.pooled.extend(pooled);
        }
        features
    }

    /// The head's input before standardisation, `[N, pooled]`, from the features after the last block.
    fn pool(&self, Features { map, mut pooled }: Features) -> Tensor<2> {
        let [posters, height, width, channels] = map.dims();
        let pixels = map.reshape([posters * height * width, channels]);
        let [outputs, ..] = self.last.weight.dims();
        let weight = self.last.weight.val().reshape([outputs, channels]).transpose();
        let last = (pixels.matmul(weight) + self.last.bias.val().unsqueeze()).clamp(0.0, RELU6_MAX);
        pooled.push(last.reshape([posters, height * width, outputs]).mean_dim(1).squeeze_dim(1));
        Tensor::cat(pooled, 1)
    }

    /// Logits, `[N, G]`, from the pooled features, `[N, pooled]`.
    fn head(&self, pooled: Tensor<2>) -> Tensor<2> {
        let (shift, scale) = (self.shift.val().detach().unsqueeze(), self.scale.val().detach().unsqueeze());
        let features = (pooled + shift) * scale;
        let hidden = relu(self.hidden.forward(self.dropout[0].forward(features)));
        self.classifier.forward(self.dropout[1].forward(hidden))
    }
}

impl Block {
    /// Output and expanded features, both `[N, channels, height, width]`, by burn's own operations.
    fn forward(&self, input: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let expand = |expand: &Convolution| relu6(expand.forward(input.clone(), 1, 1));
        let expanded = self.expand.as_ref().map_or_else(|| input.clone(), expand);
        let channels = expanded.dims()[1];
        let depthwise_out = relu6(self.depthwise.forward(expanded.clone(), self.stride, channels));
        let output = self.project.forward(depthwise_out, 1, 1);
        let is_residual = self.stride == 1 && output.dims()[1] == input.dims()[1];
        (if is_residual { output + input } else { output }, expanded)
    }
}

impl Convolution {
    fn new([outputs, inputs, kernel]: [usize; 3], device: &Device) -> Self {
        let weights = Initializer::KaimingNormal { gain: std::f64::consts::SQRT_2, fan_out_only: false };
        let fan_in = inputs * kernel * kernel;
        Self {
            weight: weights.init_with([outputs, inputs, kernel, kernel], Some(fan_in), None, device),
            bias: Initializer::Zeros.init([outputs], device),
        }
    }

    fn load(&mut self, weights: &Weights, name: &str) -> Result<()> {
        let found = weights.convolution(name, self.weight.dims())?;
        let device = self.weight.device();
        self.weight = Param::from_data(found.weight, &device);
        self.bias = Param::from_data(found.bias, &device);
        Ok(())
    }

    fn forward(&self, features: Tensor<4>, stride: usize, groups: usize) -> Tensor<4> {
        let [_, _, height, width] = features.dims();
        let kernel = self.weight.dims()[2];
        let padding = if kernel == 1 { [(0, 0); 2] } else { [height, width].map(|side| same_padding(side, stride)) };
        let options = ConvOptions::new_with_padding([stride; 2], padding, [1; 2], groups);
        conv2d(features, self.weight.val(), Some(self.bias.val()), options)
    }
}

/// ReLU6 as `relu(x) - relu(x - 6)`, the form that burn-onnx can export; [`crate::export`] turns it into one `Clip` node.
fn relu6(features: Tensor<4>) -> Tensor<4> {
    relu(features.clone()) - relu(features - RELU6_MAX)
}

/// The multiple of 8 next to `channels`, at least 8 and at least 0.9 times `channels`: `_make_divisible` of the reference
/// implementation.
fn multiple_of_8(channels: f64) -> usize {
    let rounded = ((channels + 4.0) / 8.0).floor().max(1.0) * 8.0;
    (if rounded < 0.9 * channels { rounded + 8.0 } else { rounded }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Distribution;

    fn difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
        let scale = b.clone().abs().max().into_scalar::<f32>().max(1e-6);
        (a - b).abs().max().into_scalar::<f32>() / scale
    }

    /// A network with a classifier of random weights, instead of zeros.
    fn network(width: f64, device: &Device) -> MobileNet {
        let mut network = MobileNetConfig::new(5).with_width(width).with_dropout([0.0; 2]).init(device);
        network.classifier = LinearConfig::new(512, 5).init(device);
        network
    }

    #[test]
    fn fused_logits_agree_with_burns_operations() {
        let device = Device::flex();
        for (width, height, columns, posters) in [(1.0, 96, 64, 2), (0.35, 144, 96, 3), (0.5, 50, 70, 1)] {
            let network = network(width, &device);
            let posters = Tensor::random([posters, 3, height, columns], Distribution::Default, &device);
            // Large enough that some features exceed the bound of ReLU6.
            let posters = posters * 20.0;
            let found = difference(network.forward_fast(posters.clone(), 0), network.forward(posters));
            assert!(found < 1e-4, "{columns} x {height}, width {width}: they differ by {found}");
        }
    }

    #[test]
    fn fused_gradients_agree_with_burns_operations() {
        let device = Device::flex().autodiff();
        device.seed(3);
        for (height, columns, posters) in [(64, 64, 5), (80, 48, 2)] {
            let network = network(0.35, &device);
            let posters = Tensor::<4>::random([posters, 3, height, columns], Distribution::Default, &device) * 20.0;
            let plain = network.forward(posters.clone()).powi_scalar(2).sum().backward();
            let fast = network.forward_fast(posters, 0).powi_scalar(2).sum().backward();
            let mut convolutions = vec![("stem".to_string(), &network.stem), ("last".to_string(), &network.last)];
            for (index, block) in network.blocks.iter().enumerate() {
                convolutions.extend(block.expand.as_ref().map(|conv| (format!("blocks.{index}.expand"), conv)));
                convolutions.push((format!("blocks.{index}.depthwise"), &block.depthwise));
                convolutions.push((format!("blocks.{index}.project"), &block.project));
            }
            for (name, conv) in convolutions {
                let weight = difference(conv.weight.grad(&fast).unwrap(), conv.weight.grad(&plain).unwrap());
                let bias = difference(conv.bias.grad(&fast).unwrap(), conv.bias.grad(&plain).unwrap());
                assert!(weight < 1e-3 && bias < 1e-3, "{name}: weight's differ by {weight}, bias's by {bias}");
            }
        }
    }

    #[cfg(feature = "libtorch")]
    #[test]
    fn gradients_on_libtorch_agree_with_flex() {
        #[expect(deprecated, reason = "burn deprecates its libtorch backend, which `fit --device libtorch` offers")]
        let [flex, libtorch] = [Device::flex(), Device::libtorch()].map(Device::autodiff);
        let network = network(0.35, &flex);
        let moved = MobileNetConfig::new(5).with_width(0.35).with_dropout([0.0; 2]).init(&libtorch);
        let moved = moved.load_record(network.clone().into_record());
        let posters = Tensor::<4>::random([2, 3, 80, 48], Distribution::Default, &flex) * 20.0;
        for frozen in [0, 3] {
            let (here, there) = (posters.clone(), Tensor::from_data(posters.clone().into_data(), &libtorch));
            let (here, there) = (network.forward_fast(here, frozen), moved.forward_fast(there, frozen));
            let logits = Tensor::from_data(there.clone().into_data(), &flex);
            let found = difference(logits, here.clone());
            assert!(found < 1e-4, "{frozen} blocks frozen: logits differ by {found}");
            let (here, there) = (here.powi_scalar(2).sum().backward(), there.powi_scalar(2).sum().backward());
            for index in frozen.max(1)..BLOCKS {
                let gradient = |network: &MobileNet, gradients| {
                    let gradient = network.blocks[index].depthwise.weight.grad(gradients).unwrap();
                    Tensor::<4>::from_data(gradient.into_data(), &Device::flex())
                };
                let found = difference(gradient(&moved, &there), gradient(&network, &here));
                assert!(found < 1e-3, "{frozen} blocks frozen, block {index}: gradients differ by {found}");
            }
        }
    }
}
