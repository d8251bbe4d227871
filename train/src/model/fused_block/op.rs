//! The inverted residual block as a burn custom operation: backend extension, autodiff, and batches in parallel.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Backend, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor, TensorData};
use rayon::prelude::*;

use super::block::Block;
use super::geometry::{Geometry, KERNEL_TAPS};
use super::kernels::channels_first;

/// The number of tensors that the operation takes: the input, and weight and bias of three convolutions.
const TENSORS: usize = 7;

/// `project(relu6(depthwise(relu6(expand(x)))))`, plus `x` where its shape is the same. Only on burn's flex backend.
///
/// # Shapes
/// - x: `[N, height, width, inputs]`
/// - expand, a pointwise convolution: `[expanded, inputs, 1, 1]`, its bias `[expanded]`
/// - depthwise, 3 x 3 with `SAME` padding: `[expanded, 1, 3, 3]`, its bias `[expanded]`
/// - project, a pointwise convolution: `[outputs, expanded, 1, 1]`, its bias `[outputs]`
/// - the result: `[N, ceil(height / stride), ceil(width / stride), outputs]`
/// - with `tap`, beside it the mean of `relu6(expand(x))` over the pixels: `[N, expanded]`
///
/// # Panics
/// If the tensors are not `f32`, or their shapes do not match.
pub fn inverted_residual(
    x: Tensor<4>,
    [expand, depthwise, project]: [(Tensor<4>, Tensor<1>); 3],
    stride: usize,
    tap: bool,
) -> (Tensor<4>, Option<Tensor<2>>) {
    let [posters, height, width, _] = x.dims();
    let [outputs, expanded, ..] = project.0.dims();
    let [height, width] = [height, width].map(|side| side.div_ceil(stride));
    let both: Tensor<1> = Tensor::from_dispatch(<burn::backend::Dispatch as InvertedResidual>::inverted_residual(
        x.into_dispatch(),
        expand.0.into_dispatch(),
        expand.1.into_dispatch(),
        depthwise.0.into_dispatch(),
        depthwise.1.into_dispatch(),
        project.0.into_dispatch(),
        project.1.into_dispatch(),
        stride,
        tap,
    ));
    let shape = [posters, height, width, outputs];
    if !tap {
        return (both.reshape(shape), None);
    }
    let len = shape.iter().product();
    let means = both.clone().slice(len..len + posters * expanded).reshape([posters, expanded]);
    (both.slice(0..len).reshape(shape), Some(means))
}

/// Backends that have the operation; see [`inverted_residual`].
#[backend_extension(Flex: cfg(all()), Autodiff: cfg(all()))]
trait InvertedResidual: Backend {
    /// Both results as one list, because an operation has one output: the output of every poster, then, with `tap`, the
    /// means of every poster.
    #[allow(clippy::too_many_arguments, reason = "the macro of backend extensions takes tensors as arguments only")]
    fn inverted_residual(
        x: FloatTensor<Self>,
        expand: FloatTensor<Self>,
        expand_bias: FloatTensor<Self>,
        depthwise: FloatTensor<Self>,
        depthwise_bias: FloatTensor<Self>,
        project: FloatTensor<Self>,
        project_bias: FloatTensor<Self>,
        stride: usize,
        tap: bool,
    ) -> FloatTensor<Self>;
}

/// Backends that have the operation's gradient.
trait InvertedResidualGradient: Backend {
    /// The gradients of each tensor of [`inverted_residual`], in its order, from that of the result.
    fn inverted_residual_gradient(
        tensors: [FloatTensor<Self>; TENSORS],
        gradient: FloatTensor<Self>,
        stride: usize,
        tap: bool,
    ) -> [FloatTensor<Self>; TENSORS];
}

impl<B: InvertedResidual + InvertedResidualGradient, C: CheckpointStrategy> InvertedResidual for Autodiff<B, C> {
    #[allow(clippy::too_many_arguments, reason = "the macro of backend extensions takes tensors as arguments only")]
    fn inverted_residual(
        x: FloatTensor<Self>,
        expand: FloatTensor<Self>,
        expand_bias: FloatTensor<Self>,
        depthwise: FloatTensor<Self>,
        depthwise_bias: FloatTensor<Self>,
        project: FloatTensor<Self>,
        project_bias: FloatTensor<Self>,
        stride: usize,
        tap: bool,
    ) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct BlockBackward;
        impl<B: InvertedResidualGradient> Backward<B, TENSORS> for BlockBackward {
            type State = ([FloatTensor<B>; TENSORS], usize, bool);

            fn backward(self, ops: Ops<Self::State, TENSORS>, gradients: &mut Gradients, _: &mut Checkpointer) {
                let (tensors, stride, tap) = ops.state;
                let gradient = gradients.consume::<B>(&ops.node);
                let found = B::inverted_residual_gradient(tensors, gradient, stride, tap);
                for (node, gradient) in ops.parents.into_iter().zip(found) {
                    if let Some(node) = node {
                        gradients.register::<B>(node.id, gradient);
                    }
                }
            }
        }

        let tensors = [x, expand, expand_bias, depthwise, depthwise_bias, project, project_bias];
        let nodes = tensors.each_ref().map(|tensor| tensor.node());
        let inner = tensors.map(|tensor| tensor.into_primitive());
        let [x, expand, expand_bias, depthwise, depthwise_bias, project, project_bias] = inner.clone();
        let output =
            B::inverted_residual(x, expand, expand_bias, depthwise, depthwise_bias, project, project_bias, stride, tap);
        match BlockBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((inner, stride, tap), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

impl InvertedResidual for Flex {
    #[allow(clippy::too_many_arguments, reason = "the macro of backend extensions takes tensors as arguments only")]
    fn inverted_residual(
        x: FloatTensor<Self>,
        expand: FloatTensor<Self>,
        expand_bias: FloatTensor<Self>,
        depthwise: FloatTensor<Self>,
        depthwise_bias: FloatTensor<Self>,
        project: FloatTensor<Self>,
        project_bias: FloatTensor<Self>,
        stride: usize,
        tap: bool,
    ) -> FloatTensor<Self> {
        let tensors = [x, expand, expand_bias, depthwise, depthwise_bias, project, project_bias];
        let tensors = tensors.map(|tensor| tensor.to_contiguous());
        let geometry = geometry(&tensors, stride);
        let [x, weights @ ..] = tensors.each_ref().map(|tensor| tensor.storage::<f32>());
        let block = Block::new(weights, geometry);
        let [input_len, _, _, output_len] = geometry.lens();
        let group = geometry.group();
        let mut y = vec![0.0; geometry.posters * output_len];
        let mut means = vec![0.0; geometry.posters * geometry.expanded];
        y.par_chunks_mut(group * output_len)
            .zip(means.par_chunks_mut(group * geometry.expanded))
            .zip(x.par_chunks(group * input_len))
            .for_each_init(
                || [const { Vec::new() }; 2],
                |buffers, ((y, means), x)| block.forward(x, buffers, y, means),
            );
        if tap {
            y.extend(means);
        }
        let len = y.len();
        flex_tensor(y, vec![len])
    }
}

impl InvertedResidualGradient for Flex {
    fn inverted_residual_gradient(
        tensors: [FloatTensor<Self>; TENSORS],
        gradient: FloatTensor<Self>,
        stride: usize,
        tap: bool,
    ) -> [FloatTensor<Self>; TENSORS] {
        let tensors = tensors.map(|tensor| tensor.to_contiguous());
        let gradient = gradient.to_contiguous();
        let geometry = geometry(&tensors, stride);
        let [x, weights @ ..] = tensors.each_ref().map(|tensor| tensor.storage::<f32>());
        let block = Block::new(weights, geometry);
        let [input_len, _, _, output_len] = geometry.lens();
        let gradient = gradient.storage::<f32>();
        let (dy, d_means) = gradient.split_at(geometry.posters * output_len);

        // Each thread adds up the gradients of its own posters, in order, and these sums are added in order: the same
        // posters give the same sum, to the last bit, on the same number of threads.
        let share = geometry.posters.div_ceil(rayon::current_num_threads()).max(1);
        let mut dx = vec![0.0; x.len()];
        let sums: Vec<[Vec<f32>; TENSORS - 1]> = dx
            .par_chunks_mut(share * input_len)
            .enumerate()
            .map(|(thread, dx)| {
                let mut sums = weights.map(|weights| vec![0.0; weights.len()]);
                let mut buffers = [const { Vec::new() }; 4];
                for (index, dx) in dx.chunks_mut(geometry.group() * input_len).enumerate() {
                    let first = thread * share + index * geometry.group();
                    let posters = first..first + dx.len() / input_len;
                    let values = |len: usize| posters.start * len..posters.end * len;
                    let d_means = if tap { &d_means[values(geometry.expanded)] } else { &[] };
                    block.backward(
                        &x[values(input_len)],
                        &dy[values(output_len)],
                        d_means,
                        &mut buffers,
                        dx,
                        &mut sums,
                    );
                }
                sums
            })
            .collect();
        let mut sums = sums.into_iter();
        let mut total = sums.next().expect("a batch has at least one poster");
        for sum in sums {
            for (total, sum) in total.iter_mut().zip(sum) {
                total.iter_mut().zip(sum).for_each(|(total, value)| *total += value);
            }
        }
        total[2] = channels_first(&total[2]);

        let mut found = [dx].into_iter().chain(total);
        tensors.map(|tensor| flex_tensor(found.next().expect("one for each tensor"), tensor.layout().shape().to_vec()))
    }
}

fn flex_tensor(values: Vec<f32>, shape: Vec<usize>) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}

/// The sizes of a block, from its tensors.
///
/// # Panics
/// If they are not `f32`, or their shapes do not match.
fn geometry(tensors: &[FloatTensor<Flex>; TENSORS], stride: usize) -> Geometry {
    assert!(tensors.iter().all(|tensor| tensor.dtype() == DType::F32), "the tensors must be f32");
    let dim = |tensor: usize, dim: usize| tensors[tensor].layout().shape()[dim];
    let geometry = Geometry {
        posters: dim(0, 0),
        height: dim(0, 1),
        width: dim(0, 2),
        inputs: dim(0, 3),
        expanded: dim(1, 0),
        outputs: dim(5, 0),
        stride,
    };
    let Geometry { inputs, expanded, outputs, .. } = geometry;
    let expected = [expanded * inputs, expanded, expanded * KERNEL_TAPS, expanded, outputs * expanded, outputs];
    for (tensor, expected) in tensors[1..].iter().zip(expected) {
        assert_eq!(tensor.layout().num_elements(), expected, "a block's weights must fit each other: {geometry:?}");
    }
    geometry
}

#[cfg(test)]
mod tests {
    use burn::tensor::module::conv2d;
    use burn::tensor::ops::ConvOptions;
    use burn::tensor::{Device, Distribution};

    use super::super::{RELU6_MAX, same_padding};
    use super::*;

    /// Output and means by burn's own operations.
    fn composed(
        x: Tensor<4>,
        [expand, depthwise, project]: [(Tensor<4>, Tensor<1>); 3],
        stride: usize,
    ) -> (Tensor<4>, Tensor<2>) {
        let x = x.permute([0, 3, 1, 2]);
        let [_, _, height, width] = x.dims();
        let channels = expand.1.dims()[0];
        let conv = |x: Tensor<4>, (weight, bias): (Tensor<4>, Tensor<1>), stride, padding, groups| {
            conv2d(x, weight, Some(bias), ConvOptions::new_with_padding([stride; 2], padding, [1; 2], groups))
        };
        let padding = [height, width].map(|side| same_padding(side, stride));
        let expanded = conv(x.clone(), expand, 1, [(0, 0); 2], 1).clamp(0.0, RELU6_MAX);
        let means = expanded.clone().mean_dim(3).mean_dim(2).squeeze_dims(&[2, 3]);
        let depthwise_out = conv(expanded, depthwise, stride, padding, channels).clamp(0.0, RELU6_MAX);
        let y = conv(depthwise_out, project, 1, [(0, 0); 2], 1);
        let y = if y.dims() == x.dims() { y + x } else { y };
        (y.permute([0, 2, 3, 1]), means)
    }

    fn assert_close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, tolerance: f32, what: &str) {
        assert_eq!(found.dims(), expected.dims(), "{what}");
        let scale = expected.clone().abs().max().into_scalar::<f32>().max(1e-6);
        let difference = (found - expected).abs().max().into_scalar::<f32>() / scale;
        assert!(difference < tolerance, "{what}: they differ by {difference}");
    }

    #[test]
    fn output_and_gradients_agree_with_burns_operations() {
        let device = Device::flex().autodiff();
        device.seed(1);
        // Posters, height, width, inputs, expanded, outputs, stride, tap.
        for case in [
            (1, 1, 1, 1, 1, 1, 1, false),
            (3, 5, 4, 8, 48, 8, 1, false),
            (2, 6, 7, 8, 48, 12, 1, true),
            (5, 7, 6, 8, 40, 8, 2, true),
            (2, 20, 20, 3, 9, 4, 2, false),
        ] {
            let (posters, height, width, inputs, expanded, outputs, stride, tap) = case;
            let random = |shape: [usize; 4], scale| {
                Tensor::<4>::random(shape, Distribution::Normal(0.0, scale), &device).require_grad()
            };
            let bias = |len| Tensor::<1>::random([len], Distribution::Normal(1.0, 2.0), &device).require_grad();
            let x = random([posters, height, width, inputs], 2.0);
            let weights = [
                (random([expanded, inputs, 1, 1], 1.0), bias(expanded)),
                (random([expanded, 1, 3, 3], 0.5), bias(expanded)),
                (random([outputs, expanded, 1, 1], 0.5), bias(outputs)),
            ];
            let (found, found_means) = inverted_residual(x.clone(), weights.clone(), stride, tap);
            let (expected, expected_means) = composed(x.clone(), weights.clone(), stride);
            assert_eq!(found_means.is_some(), tap, "{case:?}");
            assert_close(found.clone(), expected.clone(), 1e-5, &format!("{case:?}, output"));
            let mut found_loss = found.powi_scalar(2).sum();
            let mut expected_loss = expected.powi_scalar(2).sum();
            if let Some(means) = found_means {
                assert_close(means.clone(), expected_means.clone(), 1e-5, &format!("{case:?}, means"));
                found_loss = found_loss + means.powi_scalar(3).sum();
                expected_loss = expected_loss + expected_means.powi_scalar(3).sum();
            }
            let (found, expected) = (found_loss.backward(), expected_loss.backward());
            let gradient = |tensor: &Tensor<4>, what: &str| {
                let (found, expected) = (tensor.grad(&found).unwrap(), tensor.grad(&expected).unwrap());
                assert_close(found, expected, 1e-4, &format!("{case:?}, gradient of {what}"));
            };
            gradient(&x, "the input");
            for ((weight, bias), name) in weights.iter().zip(["expand", "depthwise", "project"]) {
                gradient(weight, &format!("{name}'s weight"));
                let (found, expected) = (bias.grad(&found).unwrap(), bias.grad(&expected).unwrap());
                assert_close(found, expected, 1e-4, &format!("{case:?}, gradient of {name}'s bias"));
            }
        }
    }
}
