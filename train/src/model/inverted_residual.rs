//! The inverted residual block of MobileNetV2 as one operation with a gradient of its own.
//!
//! Made of single operations, a block of the trunk trains at a tenth of the speed that two cores have: the gradient of a
//! depthwise convolution is a loop over channels, that of a pointwise one a matrix-vector product for each of them, and
//! every bias and ReLU walks through memory alone. Here a few posters at a time go through the whole block while its wide
//! middle stays in the cache, pixels are rows and channels are columns (`NHWC`), so that a pointwise convolution is a
//! matrix product as it lies and a depthwise one runs along the channels. The gradient computes the middle again rather
//! than keep it (Chen et al., "Training deep nets with sublinear memory cost", 2016).
//!
//! [`super::mobilenet`] has the same block made of burn's own operations; the tests hold this one against it.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::{Autodiff, Backend, Flex, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor, TensorData};
use multiversion::multiversion;
use rayon::prelude::*;

/// Pixels that go through a block at a time: enough for a matrix product, few enough for the cache.
const GROUP_PIXELS: usize = 256;

/// The highest output of an activation: ReLU6 keeps the trunk's features small enough for narrow numbers.
pub const CEILING: f32 = 6.0;

/// The number of tensors that a block is made of, its input included.
const TENSORS: usize = 7;

/// `project(relu6(depthwise(relu6(expand(x)))))`, and `x` added to it where its shape is the same.
///
/// # Shapes
/// - x: `[N, height, width, inputs]`
/// - expand, a pointwise convolution: `[middle, inputs, 1, 1]`, its bias `[middle]`
/// - depthwise, 3 x 3 with `SAME` padding: `[middle, 1, 3, 3]`, its bias `[middle]`
/// - project, a pointwise convolution: `[outputs, middle, 1, 1]`, its bias `[outputs]`
/// - the result: `[N, ceil(height / stride), ceil(width / stride), outputs]`
/// - with `tap`, the mean of `relu6(expand(x))` over the picture beside it: `[N, middle]`
pub fn inverted_residual(
    x: Tensor<4>,
    [expand, depthwise, project]: [(Tensor<4>, Tensor<1>); 3],
    stride: usize,
    tap: bool,
) -> (Tensor<4>, Option<Tensor<2>>) {
    let [posters, height, width, _] = x.dims();
    let [outputs, middle, ..] = project.0.dims();
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
    let means = both.clone().slice(len..len + posters * middle).reshape([posters, middle]);
    (both.slice(0..len).reshape(shape), Some(means))
}

/// Backends that have the operation; see [`inverted_residual`].
#[backend_extension(Flex: cfg(all()), Autodiff: cfg(all()))]
trait InvertedResidual: Backend {
    /// Both results as one list: the output of every poster, then, with `tap`, the means of every poster.
    #[allow(clippy::too_many_arguments)]
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
        struct Block;
        impl<B: InvertedResidualGradient> Backward<B, TENSORS> for Block {
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
        match Block.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish((inner, stride, tap), output),
            OpsKind::UnTracked(prepared) => prepared.finish(output),
        }
    }
}

impl InvertedResidual for Flex {
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
        let sizes = Sizes::of(&tensors, stride);
        let [x, weights @ ..] = tensors.each_ref().map(|tensor| tensor.storage::<f32>());
        let block = Block::new(weights, sizes);
        let [input_len, _, _, output_len] = sizes.lens();
        let group = sizes.group();
        let mut y = vec![0.0; sizes.posters * output_len];
        let mut means = vec![0.0; sizes.posters * sizes.middle];
        y.par_chunks_mut(group * output_len)
            .zip(means.par_chunks_mut(group * sizes.middle))
            .zip(x.par_chunks(group * input_len))
            .for_each_init(
                || [const { Vec::new() }; 2],
                |buffers, ((y, means), x)| block.forward(x, buffers, y, means),
            );
        if tap {
            y.extend(means);
        }
        let len = y.len();
        flex(y, vec![len])
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
        let sizes = Sizes::of(&tensors, stride);
        let [x, weights @ ..] = tensors.each_ref().map(|tensor| tensor.storage::<f32>());
        let block = Block::new(weights, sizes);
        let [input_len, _, _, output_len] = sizes.lens();
        let gradient = gradient.storage::<f32>();
        let (dy, d_means) = gradient.split_at(sizes.posters * output_len);

        // Each thread adds up the gradients of its own posters, in order, and these sums are added in order: the same
        // posters give the same sum, to the last bit, on the same number of threads.
        let share = sizes.posters.div_ceil(rayon::current_num_threads()).max(1);
        let mut dx = vec![0.0; x.len()];
        let sums: Vec<[Vec<f32>; TENSORS - 1]> = dx
            .par_chunks_mut(share * input_len)
            .enumerate()
            .map(|(part, dx)| {
                let mut sums = weights.map(|weights| vec![0.0; weights.len()]);
                let mut buffers = [const { Vec::new() }; 4];
                for (index, dx) in dx.chunks_mut(sizes.group() * input_len).enumerate() {
                    let first = part * share + index * sizes.group();
                    let posters = first..first + dx.len() / input_len;
                    let of = |len: usize| posters.start * len..posters.end * len;
                    let d_means = if tap { &d_means[of(sizes.middle)] } else { &[] };
                    block.backward(&x[of(input_len)], &dy[of(output_len)], d_means, &mut buffers, dx, &mut sums);
                }
                sums
            })
            .collect();
        let mut sums = sums.into_iter();
        let mut total = sums.next().expect("a batch has at least one poster");
        for part in sums {
            for (total, part) in total.iter_mut().zip(part) {
                total.iter_mut().zip(part).for_each(|(total, part)| *total += part);
            }
        }
        // The sum for the depthwise kernels is `[9, middle]`.
        total[2] = transposed(&total[2], 9);

        let mut found = [dx].into_iter().chain(total);
        tensors.map(|tensor| flex(found.next().expect("one for each tensor"), tensor.layout().shape().to_vec()))
    }
}

fn flex(values: Vec<f32>, shape: Vec<usize>) -> FloatTensor<Flex> {
    FloatTensor::<Flex>::from_data(TensorData::new(values, shape))
}

/// The sizes of a block and its input.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    posters: usize,
    height: usize,
    width: usize,
    inputs: usize,
    middle: usize,
    outputs: usize,
    stride: usize,
}

impl Sizes {
    fn of(tensors: &[FloatTensor<Flex>; TENSORS], stride: usize) -> Self {
        assert!(tensors.iter().all(|tensor| tensor.dtype() == DType::F32), "the tensors must be f32");
        let dim = |tensor: usize, dim: usize| tensors[tensor].layout().shape()[dim];
        let sizes = Self {
            posters: dim(0, 0),
            height: dim(0, 1),
            width: dim(0, 2),
            inputs: dim(0, 3),
            middle: dim(1, 0),
            outputs: dim(5, 0),
            stride,
        };
        let Self { inputs, middle, outputs, .. } = sizes;
        let expected = [middle * inputs, middle, middle * 9, middle, outputs * middle, outputs];
        for (tensor, expected) in tensors[1..].iter().zip(expected) {
            assert_eq!(tensor.layout().num_elements(), expected, "a block's weights must fit each other: {sizes:?}");
        }
        sizes
    }

    /// Height and width of the output.
    fn output(&self) -> [usize; 2] {
        [self.height.div_ceil(self.stride), self.width.div_ceil(self.stride)]
    }

    /// Numbers of one poster: of the input, of the expanded middle, of the middle after the depthwise convolution, and
    /// of the output.
    fn lens(&self) -> [usize; 4] {
        let (before, after) = (self.height * self.width, self.output().iter().product::<usize>());
        [before * self.inputs, before * self.middle, after * self.middle, after * self.outputs]
    }

    /// Posters that go through the block at a time.
    fn group(&self) -> usize {
        (GROUP_PIXELS / (self.height * self.width)).clamp(1, self.posters)
    }

    fn adds_input(&self) -> bool {
        self.stride == 1 && self.inputs == self.outputs
    }

    /// The depthwise taps of an output pixel: the tap's number, 0 to 8, and the input pixel that it meets. Taps that
    /// meet the padding are left out.
    #[inline(always)]
    fn taps(&self, row: usize, column: usize) -> impl Iterator<Item = (usize, usize)> {
        let Self { height, width, stride, .. } = *self;
        let (top, left) = (same_padding(height, stride).0, same_padding(width, stride).0);
        (0..9).filter_map(move |tap| {
            let row = (row * stride + tap / 3).checked_sub(top).filter(|row| *row < height)?;
            let column = (column * stride + tap % 3).checked_sub(left).filter(|column| *column < width)?;
            Some((tap, row * width + column))
        })
    }
}

/// Padding before and after a side of this length for a kernel of 3, as TensorFlow's `SAME` has it: the output is
/// `ceil(length / stride)` long, and what cannot be halved goes after.
pub fn same_padding(length: usize, stride: usize) -> (usize, usize) {
    let total = ((length.div_ceil(stride) - 1) * stride + 3).saturating_sub(length);
    (total / 2, total - total / 2)
}

/// A block's weights as the loops want them.
struct Block<'a> {
    sizes: Sizes,
    /// `[middle, inputs]`
    expand: &'a [f32],
    expand_bias: &'a [f32],
    /// `[9, middle]`
    depthwise: Vec<f32>,
    depthwise_bias: &'a [f32],
    /// `[outputs, middle]`
    project: &'a [f32],
    project_bias: &'a [f32],
}

impl<'a> Block<'a> {
    fn new(
        [expand, expand_bias, depthwise, depthwise_bias, project, project_bias]: [&'a [f32]; 6],
        sizes: Sizes,
    ) -> Self {
        let depthwise = transposed(depthwise, sizes.middle);
        Self { sizes, expand, expand_bias, depthwise, depthwise_bias, project, project_bias }
    }

    /// The middle of a group of posters, expanded (`wide`) and after the depthwise convolution (`narrow`).
    fn middle(&self, x: &[f32], wide: &mut Vec<f32>, narrow: &mut Vec<f32>) {
        let inputs = self.sizes.inputs;
        let [input_len, wide_len, narrow_len, _] = self.sizes.lens();
        let posters = x.len() / input_len;
        wide.clear();
        extend_rows(wide, self.expand_bias, posters * wide_len);
        multiply(Matrix::rows(x, inputs), Matrix::rows(self.expand, inputs).transposed(), wide);
        clip(wide);
        narrow.clear();
        extend_rows(narrow, self.depthwise_bias, posters * narrow_len);
        for (wide, narrow) in wide.chunks_exact(wide_len).zip(narrow.chunks_exact_mut(narrow_len)) {
            convolve(wide, &self.depthwise, self.sizes, narrow);
        }
        clip(narrow);
    }

    /// A group of posters, `[n, height, width, inputs]`, through the block into `y`, and the means of the expanded middle.
    fn forward(&self, x: &[f32], [wide, narrow]: &mut [Vec<f32>; 2], y: &mut [f32], means: &mut [f32]) {
        self.middle(x, wide, narrow);
        let Sizes { middle, outputs, .. } = self.sizes;
        let wide_len = self.sizes.lens()[1];
        for (wide, means) in wide.chunks_exact(wide_len).zip(means.chunks_exact_mut(middle)) {
            add_rows(wide, means);
            means.iter_mut().for_each(|sum| *sum *= middle as f32 / wide_len as f32);
        }
        for row in y.chunks_exact_mut(outputs) {
            row.copy_from_slice(self.project_bias);
        }
        multiply(Matrix::rows(narrow, middle), Matrix::rows(self.project, middle).transposed(), y);
        if self.sizes.adds_input() {
            y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
        }
    }

    /// From the gradients `dy` of a group's output and `d_means` of its means, if they are wanted: that of its input into
    /// `dx`, and those of the weights added to the sums, the depthwise kernels' as `[9, middle]`.
    fn backward(
        &self,
        x: &[f32],
        dy: &[f32],
        d_means: &[f32],
        [wide, narrow, d_wide, d_narrow]: &mut [Vec<f32>; 4],
        dx: &mut [f32],
        [d_expand, d_expand_bias, d_depthwise, d_depthwise_bias, d_project, d_project_bias]: &mut [Vec<f32>; 6],
    ) {
        let Sizes { inputs, middle, outputs, .. } = self.sizes;
        let [_, wide_len, narrow_len, _] = self.sizes.lens();
        self.middle(x, wide, narrow);

        multiply(Matrix::rows(dy, outputs).transposed(), Matrix::rows(narrow, middle), d_project);
        add_rows(dy, d_project_bias);
        d_narrow.clear();
        d_narrow.resize(narrow.len(), 0.0);
        multiply(Matrix::rows(dy, outputs), Matrix::rows(self.project, middle), d_narrow);
        clip_backward(narrow, d_narrow);

        add_rows(d_narrow, d_depthwise_bias);
        d_wide.clear();
        for means in d_means.chunks_exact(middle) {
            let part = middle as f32 / wide_len as f32;
            let row: Vec<f32> = means.iter().map(|gradient| gradient * part).collect();
            extend_rows(d_wide, &row, wide_len);
        }
        d_wide.resize(wide.len(), 0.0);
        let posters = wide.chunks_exact(wide_len).zip(d_wide.chunks_exact_mut(wide_len));
        for ((wide, d_wide), d_narrow) in posters.zip(d_narrow.chunks_exact(narrow_len)) {
            convolve_backward(wide, &self.depthwise, d_narrow, self.sizes, d_wide, d_depthwise);
        }
        clip_backward(wide, d_wide);

        add_rows(d_wide, d_expand_bias);
        multiply(Matrix::rows(d_wide, middle).transposed(), Matrix::rows(x, inputs), d_expand);
        if self.sizes.adds_input() {
            dx.copy_from_slice(dy);
        }
        multiply(Matrix::rows(d_wide, middle), Matrix::rows(self.expand, inputs), dx);
    }
}

/// Adds a depthwise convolution of one poster's `x`, `[height, width, middle]`, to `y`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn convolve(x: &[f32], kernels: &[f32], sizes: Sizes, y: &mut [f32]) {
    let channels = sizes.middle;
    let [_, columns] = sizes.output();
    for (pixel, y) in y.chunks_exact_mut(channels).enumerate() {
        for (tap, place) in sizes.taps(pixel / columns, pixel % columns) {
            let x = &x[place * channels..][..channels];
            let kernel = &kernels[tap * channels..][..channels];
            for ((y, x), weight) in y.iter_mut().zip(x).zip(kernel) {
                *y += x * weight;
            }
        }
    }
}

/// Adds the gradients of [`convolve`]'s input and kernels to `dx` and `d_kernels`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn convolve_backward(x: &[f32], kernels: &[f32], dy: &[f32], sizes: Sizes, dx: &mut [f32], d_kernels: &mut [f32]) {
    let channels = sizes.middle;
    let [_, columns] = sizes.output();
    for (pixel, dy) in dy.chunks_exact(channels).enumerate() {
        for (tap, place) in sizes.taps(pixel / columns, pixel % columns) {
            let (at, weights) = (place * channels, tap * channels);
            let (x, dx) = (&x[at..][..channels], &mut dx[at..][..channels]);
            let (kernel, d_kernel) = (&kernels[weights..][..channels], &mut d_kernels[weights..][..channels]);
            for ((dx, dy), weight) in dx.iter_mut().zip(dy).zip(kernel) {
                *dx += dy * weight;
            }
            for ((d_kernel, dy), x) in d_kernel.iter_mut().zip(dy).zip(x) {
                *d_kernel += dy * x;
            }
        }
    }
}

/// ReLU6.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn clip(values: &mut [f32]) {
    values.iter_mut().for_each(|value| *value = value.clamp(0.0, CEILING));
}

/// The gradient of [`clip`]'s input in place of that of its result, `values`.
#[multiversion(targets("x86_64+avx512f+avx512vl", "x86_64+avx2+fma", "aarch64+neon"))]
fn clip_backward(values: &[f32], gradients: &mut [f32]) {
    for (gradient, value) in gradients.iter_mut().zip(values) {
        *gradient = if *value > 0.0 && *value < CEILING { *gradient } else { 0.0 };
    }
}

/// A matrix that lies in memory row by row, or its transpose.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a> Matrix<'a> {
    fn rows(values: &'a [f32], columns: usize) -> Self {
        assert_eq!(values.len() % columns, 0, "rows must be whole");
        Self { values, rows: values.len() / columns, columns, row_stride: columns, column_stride: 1 }
    }

    fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }
}

/// Adds the product of two matrices to `sum`, which lies row by row.
fn multiply(left: Matrix, right: Matrix, sum: &mut [f32]) {
    assert_eq!(left.columns, right.rows, "the matrices must fit");
    assert_eq!(sum.len(), left.rows * right.columns, "the sum must fit");
    // SAFETY: both matrices' rows and columns lie inside their slices, by construction, and `sum` is as long as the
    // product, by the assertion above.
    unsafe {
        gemm::gemm(
            left.rows,
            right.columns,
            left.columns,
            sum.as_mut_ptr(),
            1,
            right.columns as isize,
            true,
            left.values.as_ptr(),
            left.column_stride as isize,
            left.row_stride as isize,
            right.values.as_ptr(),
            right.column_stride as isize,
            right.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// Makes `rows` that much longer with copies of `row`.
fn extend_rows(rows: &mut Vec<f32>, row: &[f32], len: usize) {
    rows.reserve(len);
    for _ in 0..len / row.len() {
        rows.extend_from_slice(row);
    }
}

/// Adds every row of `rows` to `sum`.
fn add_rows(rows: &[f32], sum: &mut [f32]) {
    for row in rows.chunks_exact(sum.len()) {
        sum.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }
}

/// A matrix of so many rows, row by row, turned into one of so many columns.
fn transposed(values: &[f32], rows: usize) -> Vec<f32> {
    let columns = values.len() / rows;
    (0..values.len()).map(|index| values[index % rows * columns + index / rows]).collect()
}
