//! MobileNetV2's inverted residual block as one fused operation with a gradient of its own (a burn custom operation).
//!
//! Composed of burn's operations, a block trains at a tenth of the speed that two cores allow: the gradient of a depthwise
//! convolution is a loop over channels, that of a pointwise convolution one matrix-vector product per channel, and every
//! bias and ReLU reads and writes the whole feature map. The fused operation takes a few posters at a time through the
//! block, so that the expanded feature map stays in the cache. Feature maps are `NHWC`: a pointwise convolution is a matrix
//! product (GEMM) of pixels by channels without a copy (im2col), and a depthwise convolution vectorises over channels. The
//! backward pass recomputes the expanded feature map instead of storing it (gradient checkpointing: Chen et al., "Training
//! deep nets with sublinear memory cost", 2016).
//!
//! [`super::mobilenet`] has the same block composed of burn's operations, which is what is exported; tests compare both.

mod block;
mod gemm;
mod geometry;
mod kernels;
mod op;

pub use geometry::same_padding;
pub use kernels::RELU6_MAX;
pub use op::inverted_residual;
