//! Forward and backward pass of a group of posters through an inverted residual block.

use pulp::Arch;

use super::gemm::{MatrixRef, add_product};
use super::geometry::Geometry;
use super::kernels::{
    add_depthwise, add_depthwise_gradients, add_rows, extend_with_row, relu6, relu6_backward, taps_first,
};

/// A block's weights in the layouts of the kernels.
pub struct Block<'a> {
    arch: Arch,
    geometry: Geometry,
    /// `[expanded, inputs]`
    expand: &'a [f32],
    /// `[expanded]`
    expand_bias: &'a [f32],
    /// `[9, expanded]`
    depthwise: Vec<f32>,
    /// `[expanded]`
    depthwise_bias: &'a [f32],
    /// `[outputs, expanded]`
    project: &'a [f32],
    /// `[outputs]`
    project_bias: &'a [f32],
}

impl<'a> Block<'a> {
    /// Takes weight and bias of the three convolutions in the shapes of [`super::inverted_residual`].
    pub fn new(
        [expand, expand_bias, depthwise, depthwise_bias, project, project_bias]: [&'a [f32]; 6],
        geometry: Geometry,
    ) -> Self {
        let (arch, depthwise) = (Arch::new(), taps_first(depthwise));
        Self { arch, geometry, expand, expand_bias, depthwise, depthwise_bias, project, project_bias }
    }

    /// The inner feature maps of a group of posters: `relu6(expand(x))`, `[n, height, width, expanded]`, and `relu6` of its
    /// depthwise convolution, `[n, output height, output width, expanded]`.
    fn inner(&self, x: &[f32], expanded: &mut Vec<f32>, depthwise_out: &mut Vec<f32>) {
        let inputs = self.geometry.inputs;
        let [input_len, expanded_len, depthwise_len, _] = self.geometry.lens();
        let posters = x.len() / input_len;
        expanded.clear();
        extend_with_row(expanded, self.expand_bias, posters * expanded_len);
        let weights = MatrixRef::from_rows(self.expand, inputs).transposed();
        add_product(MatrixRef::from_rows(x, inputs), weights, expanded);
        relu6(self.arch, expanded);
        depthwise_out.clear();
        extend_with_row(depthwise_out, self.depthwise_bias, posters * depthwise_len);
        let posters = expanded.chunks_exact(expanded_len).zip(depthwise_out.chunks_exact_mut(depthwise_len));
        for (expanded, depthwise_out) in posters {
            add_depthwise(self.arch, expanded, &self.depthwise, self.geometry, depthwise_out);
        }
        relu6(self.arch, depthwise_out);
    }

    /// The forward pass of a group of posters.
    ///
    /// # Shapes
    /// - x: `[n, height, width, inputs]`
    /// - y, overwritten: `[n, output height, output width, outputs]`
    /// - means, zeros on entry, of the expanded features over the pixels: `[n, expanded]`
    pub fn forward(&self, x: &[f32], [expanded, depthwise_out]: &mut [Vec<f32>; 2], y: &mut [f32], means: &mut [f32]) {
        self.inner(x, expanded, depthwise_out);
        let Geometry { expanded: channels, outputs, .. } = self.geometry;
        let [_, expanded_len, ..] = self.geometry.lens();
        for (expanded, means) in expanded.chunks_exact(expanded_len).zip(means.chunks_exact_mut(channels)) {
            add_rows(expanded, means);
            means.iter_mut().for_each(|sum| *sum *= channels as f32 / expanded_len as f32);
        }
        for row in y.chunks_exact_mut(outputs) {
            row.copy_from_slice(self.project_bias);
        }
        let weights = MatrixRef::from_rows(self.project, channels).transposed();
        add_product(MatrixRef::from_rows(depthwise_out, channels), weights, y);
        if self.geometry.is_residual() {
            y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
        }
    }

    /// The backward pass of a group of posters: writes the gradient of the input to `dx`, zeros on entry, and adds the
    /// gradients of weights and biases to `sums`.
    ///
    /// # Shapes
    /// - x, dx: `[n, height, width, inputs]`
    /// - dy, the gradient of the output: `[n, output height, output width, outputs]`
    /// - d_means, the gradient of the means: `[n, expanded]`, or empty without means
    /// - sums: as in [`Block::new`], but the depthwise kernels' are `[9, expanded]`
    pub fn backward(
        &self,
        x: &[f32],
        dy: &[f32],
        d_means: &[f32],
        [expanded, depthwise_out, d_expanded, d_depthwise_out]: &mut [Vec<f32>; 4],
        dx: &mut [f32],
        [d_expand, d_expand_bias, d_depthwise, d_depthwise_bias, d_project, d_project_bias]: &mut [Vec<f32>; 6],
    ) {
        let Geometry { inputs, expanded: channels, outputs, .. } = self.geometry;
        let [_, expanded_len, depthwise_len, _] = self.geometry.lens();
        self.inner(x, expanded, depthwise_out);

        // Project.
        let dy_rows = MatrixRef::from_rows(dy, outputs);
        add_product(dy_rows.transposed(), MatrixRef::from_rows(depthwise_out, channels), d_project);
        add_rows(dy, d_project_bias);
        d_depthwise_out.clear();
        d_depthwise_out.resize(depthwise_out.len(), 0.0);
        add_product(dy_rows, MatrixRef::from_rows(self.project, channels), d_depthwise_out);
        relu6_backward(self.arch, depthwise_out, d_depthwise_out);

        // Depthwise, onto the gradient that comes from the means.
        add_rows(d_depthwise_out, d_depthwise_bias);
        d_expanded.clear();
        for means in d_means.chunks_exact(channels) {
            let share = channels as f32 / expanded_len as f32;
            let row: Vec<f32> = means.iter().map(|gradient| gradient * share).collect();
            extend_with_row(d_expanded, &row, expanded_len);
        }
        d_expanded.resize(expanded.len(), 0.0);
        let posters = expanded.chunks_exact(expanded_len).zip(d_expanded.chunks_exact_mut(expanded_len));
        for ((expanded, d_expanded), dy) in posters.zip(d_depthwise_out.chunks_exact(depthwise_len)) {
            let (arch, geometry) = (self.arch, self.geometry);
            add_depthwise_gradients(arch, expanded, &self.depthwise, dy, geometry, d_expanded, d_depthwise);
        }
        relu6_backward(self.arch, expanded, d_expanded);

        // Expand, onto the gradient of the residual connection.
        add_rows(d_expanded, d_expand_bias);
        let d_expanded_rows = MatrixRef::from_rows(d_expanded, channels);
        add_product(d_expanded_rows.transposed(), MatrixRef::from_rows(x, inputs), d_expand);
        if self.geometry.is_residual() {
            dx.copy_from_slice(dy);
        }
        add_product(d_expanded_rows, MatrixRef::from_rows(self.expand, inputs), dx);
    }
}
