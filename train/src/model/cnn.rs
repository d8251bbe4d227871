//! A plain convolutional network: convolutions with batch normalisation, max-pooling, global average pooling, dropout, and
//! a linear classifier.

use burn::config::Config;
use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig};
use burn::nn::{
    BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Initializer, Linear, LinearConfig, PaddingConfig2d,
};
use burn::tensor::{Device, Tensor, activation::relu};

/// The sizes of a [`Cnn`].
#[derive(Config, Debug)]
pub struct CnnConfig {
    /// The number of genres.
    pub genres: usize,
    /// Output channels of the convolutions of each stage.
    #[config(default = "vec![vec![24], vec![48, 96], vec![160, 160]]")]
    pub stages: Vec<Vec<usize>>,
    /// Dropout rate of the pooled features.
    #[config(default = 0.3)]
    pub dropout: f64,
}

/// Stages of convolutions with max-pooling between them, global average pooling, dropout, and a linear classifier.
///
/// The first convolution has stride 2: at full resolution it would cost more than all others together, without a measurable
/// gain.
#[derive(Module, Debug)]
pub struct Cnn {
    stages: Vec<Stage>,
    pool: MaxPool2d,
    global_pool: AdaptiveAvgPool2d,
    dropout: Dropout,
    pub(super) classifier: Linear,
}

/// Convolutions at one resolution.
#[derive(Module, Debug)]
struct Stage {
    layers: Vec<Layer>,
}

/// A 3 x 3 convolution with batch normalisation (Ioffe and Szegedy, 2015) and ReLU.
#[derive(Module, Debug)]
struct Layer {
    conv: Conv2d,
    norm: BatchNorm,
}

impl CnnConfig {
    /// A network with fresh weights.
    ///
    /// # Panics
    /// If there is no convolution.
    pub fn init(&self, device: &Device) -> Cnn {
        let mut channels = 3;
        let mut stride = 2;
        let mut stages = Vec::new();
        for stage in &self.stages {
            let mut layers = Vec::new();
            for &outputs in stage {
                layers.push(Layer::new(channels, outputs, stride, device));
                (channels, stride) = (outputs, 1);
            }
            stages.push(Stage { layers });
        }
        assert_eq!(stride, 1, "there must be a convolution");
        Cnn {
            stages,
            pool: MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init(),
            global_pool: AdaptiveAvgPool2dConfig::new([1, 1]).init(),
            dropout: DropoutConfig::new(self.dropout).init(),
            classifier: LinearConfig::new(channels, self.genres).init(device),
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
        let mut features = posters;
        for (index, stage) in self.stages.iter().enumerate() {
            if index > 0 {
                features = self.pool.forward(features);
            }
            features = stage.layers.iter().fold(features, |features, layer| layer.forward(features));
        }
        let features = self.global_pool.forward(features).squeeze_dims::<2>(&[2, 3]);
        self.classifier.forward(self.dropout.forward(features))
    }
}

impl Layer {
    fn new(inputs: usize, outputs: usize, stride: usize, device: &Device) -> Self {
        let conv = Conv2dConfig::new([inputs, outputs], [3, 3])
            .with_stride([stride, stride])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1))
            // Batch normalisation has a bias of its own.
            .with_bias(false)
            .with_initializer(Initializer::KaimingNormal { gain: std::f64::consts::SQRT_2, fan_out_only: false });
        Self { conv: conv.init(device), norm: BatchNormConfig::new(outputs).init(device) }
    }

    fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        relu(self.norm.forward(self.conv.forward(features)))
    }
}
