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
use head::Activations;
pub use head::{Dense, Head, Matrix};
use im2col::StemInput;
use pooling::{GridPool, Pooled};
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
    /// As [`Backbone::pool`].
    pub fn probabilities(&self, planes: &[f32], size: [usize; 2]) -> Vec<f32> {
        self.evidence(planes, size, [1, 1]).probabilities
    }

    /// As [`probabilities`](Self::probabilities), and keeps what [`contributions`](Self::contributions) needs: the features
    /// are pooled over the cells of a `grid`, rows and columns, before they are pooled over all of these.
    ///
    /// # Panics
    /// As [`Backbone::pool`].
    pub fn evidence(&self, planes: &[f32], size: [usize; 2], grid: [usize; 2]) -> Evidence {
        let pooled = self.backbone.pool(planes, size, grid);
        let features = pooled.iter().flat_map(|it| {
            let channels = it.cells.len() / (it.grid[0] * it.grid[1]);
            let mut cells = it.cells.chunks_exact(channels);
            let mut features = cells.next().unwrap_or_default().to_vec();
            cells.for_each(|cell| features.iter_mut().zip(cell).for_each(|(feature, value)| *feature += value));
            features
        });
        let Activations { hidden, probabilities } = self.head.run(features.collect());
        Evidence { pooled, hidden, probabilities }
    }

    /// What each cell of each pooled feature map adds to the logit of a class: one map `[rows, columns]` after the other,
    /// with its grid. Together with a constant that no cell changes they sum to the logit, as long as the hidden layer's
    /// ReLUs stay as they are: the gradient of the logit with respect to a mean is the same for all cells.
    pub fn contributions(&self, evidence: &Evidence, class: usize) -> Vec<([usize; 2], Vec<f32>)> {
        let gradient = self.head.gradient(&evidence.hidden, class);
        let mut rest = gradient.as_slice();
        let map = |pooled: &Pooled| {
            let cells = pooled.grid[0] * pooled.grid[1];
            let (gradient, behind) = rest.split_at(pooled.cells.len() / cells);
            rest = behind;
            let dot = |cell: &[f32]| cell.iter().zip(gradient).map(|(mean, slope)| mean * slope).sum();
            (pooled.grid, pooled.cells.chunks_exact(gradient.len()).map(dot).collect())
        };
        evidence.pooled.iter().map(map).collect()
    }
}

/// The result of one image, and what it rests on.
#[derive(Debug)]
pub struct Evidence {
    /// The pooled feature maps, in the order of the head's features.
    pooled: Vec<Pooled>,
    /// Outputs of the head's hidden layer.
    hidden: Vec<f32>,
    /// The probability of each class.
    pub probabilities: Vec<f32>,
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

    /// Number of features that are pooled for the head.
    pub fn feature_count(&self) -> usize {
        let taps = self.blocks.iter().filter(|block| block.is_tapped()).map(Block::expanded_channels);
        taps.sum::<usize>() + self.last.outputs()
    }

    /// Whether no layer's input, with its padding, is smaller than a kernel for an image of `size` height and width.
    pub fn takes(&self, size: [usize; 2]) -> bool {
        let mut layers = [self.stem].into_iter().chain(self.blocks.iter().map(Block::geometry));
        layers.try_fold(size, |size, (pads, stride)| checked_output_size(size, pads, stride)).is_some()
    }

    /// Averages of the tapped blocks' expanded feature maps, in order, and of the last convolution's outputs, over the
    /// cells of a `grid`, rows and columns, or over as many cells as a map has pixels.
    ///
    /// `planes` is an image `[3, height, width]`, `size` its height and width.
    ///
    /// # Panics
    /// If `planes` is shorter, or a side with its padding is shorter than a kernel.
    pub fn pool(&self, planes: &[f32], size: [usize; 2], grid: [usize; 2]) -> Vec<Pooled> {
        BUFFERS.with_borrow_mut(|Buffers { maps: [x, y], scratch }| {
            let mut pooled = Vec::new();
            let (pads, stride) = self.stem;
            let image = StemInput { planes, size, pads, stride };
            let mut size = image.output_size();
            for (index, block) in self.blocks.iter().enumerate() {
                let input = if index == 0 { Input::Image(&image) } else { Input::FeatureMap(x) };
                pooled.extend(block.run(&input, size, y, scratch, grid));
                size = block.output_size(size);
                std::mem::swap(x, y);
            }
            let outputs = self.last.outputs();
            let pixels = size[0] * size[1];
            let y = scratch_slice(y, pixels * outputs);
            let row_offsets: Vec<usize> = (0..pixels).map(|pixel| pixel * outputs).collect();
            self.last.run(x, Target { y, row_offsets: &row_offsets, residual: None }, &mut scratch.panel);
            let mut pool = GridPool::new(self.arch, size, grid, outputs);
            y.chunks_exact(size[1] * outputs).enumerate().for_each(|(row, pixels)| pool.add_row(row, pixels));
            pooled.push(pool.finish(outputs));
            pooled
        })
    }
}
