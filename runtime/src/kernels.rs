//! MobileNetV2 inference kernels: fused inverted residual blocks on SIMD GEMM and depthwise convolutions, batch size 1.
//!
//! The network is that of Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018, with the
//! classifier head that `train` gives it. Feature maps are NHWC, `[height, width, channels]`: a pointwise convolution
//! is a GEMM without any rearrangement, and a depthwise convolution is vectorised along the channels. Each inverted
//! residual block is fused (expand, depthwise, project) over strips of rows that fit in the L2 cache, so the six times
//! larger expanded feature map is never materialised. The stem is folded into the first block by im2col.
//!
//! | module | content |
//! |---|---|
//! | `simd` | dispatch to the processor's vectors, multiply-add, loads and stores |
//! | `float16`, `weights`, `conv` | f16 conversion, weights and layers as ONNX has them |
//! | `pack`, `gemm`, `depthwise`, `im2col`, `pooling` | the layers |
//! | `block`, `head` | inverted residual block, classifier head |

mod block;
mod conv;
mod depthwise;
mod float16;
mod gemm;
mod head;
mod im2col;
mod pack;
mod pooling;
mod scratch;
mod simd;
#[cfg(test)]
mod testing;
mod weights;

use std::cell::RefCell;

pub use block::Block;
use block::{BlockScratch, Input};
pub use conv::Convolution;
use conv::checked_output_size;
use gemm::{Pointwise, Target};
pub use head::{Dense, Head, Matrix};
use im2col::StemInput;
use pooling::add_channel_sums;
use pulp::Arch;
use scratch::scratch_slice;
pub use weights::Weights;

/// A MobileNetV2 classifier: backbone and head.
#[derive(Debug)]
pub struct MobileNet {
    /// From image to pooled features.
    pub backbone: Backbone,
    /// From pooled features to probabilities.
    pub head: Head,
}

impl MobileNet {
    /// Number of classes.
    pub fn classes(&self) -> usize {
        self.head.classifier.bias.len()
    }

    /// The probability of each class, `[classes]`, for an image `planes`, `[3, height, width]`, of `size` height and
    /// width.
    ///
    /// # Panics
    /// As [`Backbone::pooled_features`].
    pub fn probabilities(&self, planes: &[f32], size: [usize; 2]) -> Vec<f32> {
        self.head.probabilities(self.backbone.pooled_features(planes, size))
    }
}

/// The layers from the stem to the last pointwise convolution, and global average pooling.
#[derive(Debug)]
pub struct Backbone {
    arch: Arch,
    /// Pads (top, left, bottom, right) and stride of the stem; the first block's expansion has its weights.
    stem: ([usize; 4], usize),
    blocks: Vec<Block>,
    last: Pointwise,
}

thread_local! {
    /// Buffers that each thread keeps between images: to have the system map fresh pages takes longer than to run a
    /// small backbone.
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

#[derive(Default)]
struct Buffers {
    /// Input and output feature map of the current block.
    maps: [Vec<f32>; 2],
    scratch: BlockScratch,
}

impl Backbone {
    /// Assembles a backbone and packs its last convolution.
    ///
    /// `stem`: pads (top, left, bottom, right) and stride of the stem. `blocks`: the inverted residual blocks; the
    /// first one's expansion is the stem itself, with weights `[channels, 3, 3, 3]`. `last`: the last pointwise
    /// convolution.
    pub fn new(arch: Arch, stem: ([usize; 4], usize), blocks: Vec<Block>, last: &Convolution) -> Self {
        let inputs = last.weight.count() / last.bias.len();
        let last = Pointwise::new(arch, last, [inputs, last.bias.len()]);
        Self { arch, stem, blocks, last }
    }

    /// Number of [`pooled_features`](Self::pooled_features).
    pub fn feature_count(&self) -> usize {
        let taps = self.blocks.iter().filter(|block| block.is_tapped()).map(Block::expanded_channels);
        taps.sum::<usize>() + self.last.outputs()
    }

    /// Whether no layer's input, with its padding, is smaller than a kernel for an image of `size` height and width.
    pub fn takes(&self, size: [usize; 2]) -> bool {
        let mut layers = [self.stem].into_iter().chain(self.blocks.iter().map(Block::geometry));
        layers.try_fold(size, |size, (pads, stride)| checked_output_size(size, pads, stride)).is_some()
    }

    /// Global averages of the tapped blocks' expanded feature maps, in order, and of the last convolution's outputs.
    ///
    /// `planes` is an image `[3, height, width]`, `size` its height and width.
    ///
    /// # Panics
    /// If `planes` is shorter, or a side with its padding is shorter than a kernel.
    pub fn pooled_features(&self, planes: &[f32], size: [usize; 2]) -> Vec<f32> {
        BUFFERS.with_borrow_mut(|Buffers { maps: [x, y], scratch }| {
            let mut features = Vec::new();
            let (pads, stride) = self.stem;
            let image = StemInput { planes, size, pads, stride };
            let mut size = image.output_size();
            for (index, block) in self.blocks.iter().enumerate() {
                let input = if index == 0 { Input::Image(&image) } else { Input::FeatureMap(x) };
                block.run(&input, size, y, scratch, &mut features);
                size = block.output_size(size);
                std::mem::swap(x, y);
            }
            let outputs = self.last.outputs();
            let pixels = size[0] * size[1];
            let y = scratch_slice(y, pixels * outputs);
            let row_offsets: Vec<usize> = (0..pixels).map(|pixel| pixel * outputs).collect();
            self.last.run(x, Target { y, row_offsets: &row_offsets, residual: None }, &mut scratch.panel);
            let mut sums = vec![0.0; outputs];
            add_channel_sums(self.arch, y, &mut sums);
            features.extend(sums.iter().map(|sum| sum / pixels as f32));
            features
        })
    }
}
