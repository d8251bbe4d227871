//! The classic: convolutions, max-pooling, dropout, dense.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::tensor::{Device, Tensor, activation::relu};

/// The sizes of a [`Cnn`].
#[derive(Config, Debug)]
pub struct CnnConfig {
    /// The number of genres.
    pub genres: usize,
    /// Channels after each stage; each stage halves width and height.
    #[config(default = "vec![32, 64, 128, 192, 256]")]
    pub channels: Vec<usize>,
    /// Units of the dense layer before the last.
    #[config(default = 256)]
    pub hidden: usize,
    /// The part of the features that each step leaves out.
    #[config(default = 0.3)]
    pub dropout: f64,
}

/// Stages of convolution, batch normalisation, ReLU and max-pooling, the mean of what is left over the picture, and two
/// dense layers.
#[derive(Module, Debug)]
pub struct Cnn {
    stages: Vec<Stage>,
    mean: AdaptiveAvgPool2d,
    dropout: Dropout,
    hidden: Linear,
    genres: Linear,
}

/// A 3 x 3 convolution, then half the width and height.
#[derive(Module, Debug)]
pub struct Stage {
    conv: Conv2d,
    norm: BatchNorm,
    pool: MaxPool2d,
}

impl CnnConfig {
    /// A network with fresh weights.
    pub fn init(&self, device: &Device) -> Cnn {
        let inputs = [3].into_iter().chain(self.channels.iter().copied());
        let stages = inputs.zip(&self.channels).map(|(input, &output)| Stage::new(input, output, device)).collect();
        let features = self.channels.last().copied().unwrap_or(3);
        Cnn {
            stages,
            mean: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            dropout: DropoutConfig::new(self.dropout).init(),
            hidden: LinearConfig::new(features, self.hidden).init(device),
            genres: LinearConfig::new(self.hidden, self.genres).init(device),
        }
    }
}

impl Cnn {
    /// Logits of each genre.
    ///
    /// # Shapes
    /// - posters: `[N, 3, height, width]`
    /// - logits: `[N, G]`
    pub fn forward(&self, posters: Tensor<4>) -> Tensor<2> {
        let features = self.stages.iter().fold(posters, |features, stage| stage.forward(features));
        let features: Tensor<2> = self.mean.forward(features).flatten(1, 3);
        let hidden = relu(self.hidden.forward(self.dropout.forward(features)));
        self.genres.forward(self.dropout.forward(hidden))
    }
}

impl Stage {
    fn new(input: usize, output: usize, device: &Device) -> Self {
        let conv = Conv2dConfig::new([input, output], [3, 3])
            .with_padding(PaddingConfig2d::Same)
            // Batch normalisation brings its own.
            .with_bias(false)
            .with_initializer(Initializer::KaimingNormal { gain: std::f64::consts::SQRT_2, fan_out_only: false });
        Self {
            conv: conv.init(device),
            norm: BatchNormConfig::new(output).init(device),
            pool: MaxPool2dConfig::new([2, 2]).init(),
        }
    }

    fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        self.pool.forward(relu(self.norm.forward(self.conv.forward(features))))
    }
}
