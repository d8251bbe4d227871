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
//! | `instructions` | the instruction sets that this processor has |
//! | `simd` | dispatch to the processor's vectors, multiply-add, loads and stores |
//! | `float16`, `weights`, `conv` | f16 conversion, weights and layers as ONNX has them |
//! | `layer` | what a block needs of its layers, in f32 or int8 |
//! | `pack`, `gemm`, `depthwise`, `im2col`, `pooling` | the layers in f32 |
//! | `quantization`, `int8` | codes of 8 bits, and the layers in int8 |
//! | `block`, `head` | inverted residual block, classifier head |

mod block;
mod conv;
mod depthwise;
mod float16;
mod gemm;
mod head;
mod im2col;
mod instructions;
mod int8;
mod layer;
mod pack;
mod pooling;
mod quantization;
mod scratch;
mod simd;
#[cfg(test)]
mod testing;
mod weights;

use std::cell::RefCell;

use block::{Block, BlockScratch, Input};
use conv::checked_output_size;
pub use conv::{Convolution, Int8Layer};
use head::Activations;
pub use head::{Dense, Head, Matrix};
use im2col::{PATCH, StemInput};
pub use instructions::Instructions;
use int8::Int8Isa;
use layer::{DepthwiseLayer, PointwiseLayer, Target};
use pooling::{GridPool, Pooled};
use pulp::Arch;
pub use quantization::Quantization;
use scratch::scratch_slice;
pub use weights::Weights;

/// The layers of a MobileNetV2 backbone, as an ONNX file has them.
pub struct BackboneLayers<'a> {
    /// Quantisation of the image; none for layers in f32.
    pub input: Option<Quantization>,
    /// Padding (top, left, bottom, right) and stride of the stem.
    pub stem: ([usize; 4], usize),
    /// The inverted residual blocks; the first one's expansion is the stem itself, `[channels, 3, 3, 3]`.
    pub blocks: Vec<BlockLayers<'a>>,
    /// The last pointwise convolution.
    pub last: Convolution<'a>,
}

/// The layers of an inverted residual block.
pub struct BlockLayers<'a> {
    /// Expand, depthwise, project.
    pub layers: [Convolution<'a>; 3],
    /// Whether the input is added to the output.
    pub is_residual: bool,
    /// Quantisation of that sum; none for layers in f32.
    pub sum: Option<Quantization>,
    /// Whether the expanded feature map is average-pooled for the head.
    pub is_tapped: bool,
}

/// A MobileNetV2 classifier: backbone and head.
#[derive(Debug)]
pub struct MobileNet {
    /// The instructions that it is packed for.
    pub instructions: Instructions,
    /// From image to pooled features.
    pub backbone: Backbone,
    /// From pooled features to probabilities.
    pub head: Head,
}

impl MobileNet {
    /// The type of the numbers that the backbone computes with: f32 or int8.
    pub fn number_type(&self) -> &'static str {
        match self.backbone {
            Backbone::F32(_) => "f32",
            Backbone::Int8(..) => "int8",
        }
    }

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
        let features = pooled.iter().flat_map(|map| {
            let channels = map.cells.len() / (map.grid[0] * map.grid[1]);
            let mut cells = map.cells.chunks_exact(channels);
            let mut features = cells.next().unwrap_or_default().to_vec();
            cells.for_each(|cell| features.iter_mut().zip(cell).for_each(|(feature, value)| *feature += value));
            features
        });
        let Activations { hidden, probabilities } = self.head.run(features.collect());
        Evidence { pooled, hidden, probabilities }
    }

    /// Contribution of each cell of each pooled feature map to the logit of a class: one map `[rows, columns]` after the other,
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
pub enum Backbone {
    /// In 32-bit floats.
    F32(PackedBackbone<gemm::Pointwise, depthwise::Depthwise>),
    /// In 8-bit integers, from an image that is quantised like this.
    Int8(Quantization, PackedBackbone<int8::Pointwise, int8::Depthwise>),
}

/// A backbone whose layers are packed for one instruction set.
#[derive(Debug)]
pub struct PackedBackbone<P, D> {
    stem: ([usize; 4], usize),
    blocks: Vec<Block<P, D>>,
    last: P,
}

thread_local! {
    /// Buffers that each thread keeps between images: to have the system map fresh pages takes longer than to run a
    /// small backbone.
    static BUFFERS: RefCell<AllBuffers> = RefCell::default();
}

#[derive(Default)]
struct AllBuffers {
    f32: Buffers<gemm::Pointwise>,
    int8: Buffers<int8::Pointwise>,
    /// The quantised image, `[3, height, width]`.
    image: Vec<u8>,
}

struct Buffers<P: PointwiseLayer> {
    /// Input and output feature map of the current block.
    maps: [Vec<P::Value>; 2],
    scratch: BlockScratch<P>,
}

impl<P: PointwiseLayer> Default for Buffers<P> {
    fn default() -> Self {
        Self { maps: [Vec::new(), Vec::new()], scratch: BlockScratch::default() }
    }
}

impl Backbone {
    /// Packs the layers for these instructions; none if only some of them are quantised, or with numbers that the
    /// integer layers do not take.
    pub fn new(instructions: Instructions, layers: &BackboneLayers) -> Option<Self> {
        match layers.input {
            Some(input) => Some(Self::Int8(input, int8_backbone(instructions.int8, layers, input)?)),
            None => f32_backbone(instructions.f32(), layers).map(Self::F32),
        }
    }

    /// Number of features that are pooled for the head.
    pub fn feature_count(&self) -> usize {
        match self {
            Self::F32(backbone) => backbone.feature_count(),
            Self::Int8(_, backbone) => backbone.feature_count(),
        }
    }

    /// Whether no layer's input, with its padding, is smaller than a kernel for an image of `size` height and width.
    pub fn takes(&self, size: [usize; 2]) -> bool {
        match self {
            Self::F32(backbone) => backbone.takes(size),
            Self::Int8(_, backbone) => backbone.takes(size),
        }
    }

    /// Averages of the tapped blocks' expanded feature maps, in order, and of the last convolution's outputs, over the
    /// cells of a `grid`, rows and columns, or over as many cells as a map has pixels.
    ///
    /// `planes` is an image `[3, height, width]`, `size` its height and width.
    ///
    /// # Panics
    /// If `planes` is shorter, or a side with its padding is shorter than a kernel.
    pub fn pool(&self, planes: &[f32], size: [usize; 2], grid: [usize; 2]) -> Vec<Pooled> {
        BUFFERS.with_borrow_mut(|AllBuffers { f32, int8, image }| match self {
            Self::F32(backbone) => {
                let (pads, stride) = backbone.stem;
                let image = StemInput { planes, zero: 0.0, patch_len: PATCH, size, pads, stride };
                backbone.pool(&image, grid, f32)
            }
            Self::Int8(input, backbone) => {
                let codes = scratch_slice(image, planes.len());
                backbone.last.quantize(*input, planes, codes);
                let (pads, stride) = backbone.stem;
                let patch_len = backbone.blocks[0].expand.inputs();
                let image = StemInput { planes: codes, zero: input.zero_point, patch_len, size, pads, stride };
                backbone.pool(&image, grid, int8)
            }
        })
    }
}

fn f32_backbone(arch: Arch, layers: &BackboneLayers) -> Option<PackedBackbone<gemm::Pointwise, depthwise::Depthwise>> {
    let convolutions = layers.blocks.iter().flat_map(|block| &block.layers).chain([&layers.last]);
    if convolutions.into_iter().any(|layer| layer.int8.is_some()) {
        return None;
    }
    let blocks = layers.blocks.iter().map(
        |BlockLayers { layers: [expand, depthwise, project], is_residual, is_tapped, .. }| {
            let (expanded_channels, outputs, pads) = (expand.bias.len(), project.bias.len(), depthwise.pads);
            let depthwise = depthwise::Depthwise::new(arch, depthwise);
            let channels = depthwise.channels();
            Block {
                expand: gemm::Pointwise::new(arch, expand, [expand.weight.count() / expanded_channels, channels]),
                depthwise,
                pads,
                project: gemm::Pointwise::new(arch, project, [channels, outputs]),
                expanded_channels,
                is_residual: *is_residual,
                is_tapped: *is_tapped,
            }
        },
    );
    let last = &layers.last;
    Some(PackedBackbone {
        stem: layers.stem,
        blocks: blocks.collect(),
        last: gemm::Pointwise::new(arch, last, [last.weight.count() / last.bias.len(), last.bias.len()]),
    })
}

fn int8_backbone(
    isa: Int8Isa,
    layers: &BackboneLayers,
    image: Quantization,
) -> Option<PackedBackbone<int8::Pointwise, int8::Depthwise>> {
    let inputs = |layer: &Convolution| Some(layer.weight.count() / layer.int8.as_ref()?.bias.len());
    let mut input = image;
    let mut blocks = Vec::with_capacity(layers.blocks.len());
    for BlockLayers { layers: [expand, depthwise, project], is_residual, sum, is_tapped } in &layers.blocks {
        let [expanded, filtered, projected] = [expand, depthwise, project].map(|layer| layer.int8.as_ref());
        let (expanded, filtered, projected) = (expanded?, filtered?, projected?);
        let sum = match (is_residual, sum) {
            (true, Some(sum)) => Some([input, *sum]),
            (false, None) => None,
            _ => return None,
        };
        let row_len = inputs(expand)?.next_multiple_of(int8::DOT);
        let packed = int8::Depthwise::new(isa, depthwise, expanded.output)?;
        let channels = packed.channels();
        blocks.push(Block {
            expand: int8::Pointwise::new(isa, expand, input, row_len, None)?,
            depthwise: packed,
            pads: depthwise.pads,
            project: int8::Pointwise::new(isa, project, filtered.output, channels, sum)?,
            expanded_channels: expanded.bias.len(),
            is_residual: *is_residual,
            is_tapped: *is_tapped,
        });
        input = sum.map_or(projected.output, |[_, sum]| sum);
    }
    let last = int8::Pointwise::new(isa, &layers.last, input, inputs(&layers.last)?, None)?;
    Some(PackedBackbone { stem: layers.stem, blocks, last })
}

impl<P: PointwiseLayer, D: DepthwiseLayer<Value = P::Value>> PackedBackbone<P, D> {
    fn feature_count(&self) -> usize {
        let taps = self.blocks.iter().filter(|block| block.is_tapped).map(|block| block.expanded_channels);
        taps.sum::<usize>() + self.last.outputs()
    }

    fn takes(&self, size: [usize; 2]) -> bool {
        let mut layers = [self.stem].into_iter().chain(self.blocks.iter().map(Block::geometry));
        layers.try_fold(size, |size, (pads, stride)| checked_output_size(size, pads, stride)).is_some()
    }

    fn pool(&self, image: &StemInput<P::Value>, grid: [usize; 2], buffers: &mut Buffers<P>) -> Vec<Pooled> {
        let Buffers { maps: [x, y], scratch } = buffers;
        let mut pooled = Vec::new();
        let mut size = image.output_size();
        for (index, block) in self.blocks.iter().enumerate() {
            let input = if index == 0 { Input::Image(image) } else { Input::FeatureMap(x) };
            pooled.extend(block.run(&input, size, y, scratch, grid));
            size = block.output_size(size);
            std::mem::swap(x, y);
        }
        let outputs = self.last.outputs();
        let pixels = size[0] * size[1];
        let y = scratch_slice(y, pixels * outputs);
        let row_offsets: Vec<usize> = (0..pixels).map(|pixel| pixel * outputs).collect();
        self.last.run(x, Target { y, row_offsets: &row_offsets, residual: None }, &mut scratch.pointwise);
        let mut pool = GridPool::new(&self.last, size, grid, outputs);
        y.chunks_exact(size[1] * outputs).enumerate().for_each(|(row, pixels)| pool.add_row(row, pixels));
        pooled.push(pool.finish(outputs));
        pooled
    }
}
