//! Fused inverted residual block of MobileNetV2: expand (1 x 1), depthwise (3 x 3), project (1 x 1) over row strips.
//!
//! A strip is a few rows of the expanded feature map that fit into the L2 cache: the whole map, six times the size of the
//! block's input, is never materialised. Rows that two strips share (the depthwise kernel is three rows high) are kept, not
//! recomputed.

use std::array::from_fn;
use std::ops::Range;

use super::conv::{KERNEL, output_size};
use super::im2col::StemInput;
use super::layer::{DepthwiseLayer, PointwiseLayer, Target};
use super::pooling::{GridPool, Pooled};
use super::scratch::{scratch_slice, scratch_slice_aligned};

/// Bytes of a strip of the expanded feature map. It fits in the L2 cache of small processors beside weights and
/// outputs: a Raspberry Pi 4 has 1 MiB for four cores, a Raspberry Pi 5 has 512 KiB per core.
const STRIP_BYTES: usize = 256 << 10;

/// `project(depthwise(expand(x)))`, plus `x` if the block is residual.
#[derive(Debug)]
pub struct Block<P, D> {
    /// The expansion, or the stem in the first block; its padded outputs are the depthwise convolution's channels.
    pub expand: P,
    /// The depthwise convolution.
    pub depthwise: D,
    /// Zero padding of the depthwise convolution: top, left, bottom, right.
    pub pads: [usize; 4],
    /// The projection.
    pub project: P,
    /// Channels of the expanded feature map, without padding.
    pub expanded_channels: usize,
    /// Whether the input is added to the output.
    pub is_residual: bool,
    /// Whether the expanded feature map is average-pooled for the head.
    pub is_tapped: bool,
}

/// The input of a block.
pub enum Input<'a, V> {
    /// NHWC feature map, `[height, width, inputs]`.
    FeatureMap(&'a [V]),
    /// The network's input image: the expansion of the first block is the stem, a GEMM over im2col patches.
    Image(&'a StemInput<'a, V>),
}

/// Buffers that the blocks of a network share.
#[derive(Debug)]
pub struct BlockScratch<P: PointwiseLayer> {
    /// im2col patches of the stem, `[rows, width, patch_len]`.
    patches: Vec<P::Value>,
    /// A strip of the expanded feature map, `[rows, padded width, channels]`.
    expanded: Vec<P::Value>,
    /// The depthwise outputs of a strip, `[rows, output width, channels]`.
    depthwise_out: Vec<P::Value>,
    row_offsets: Vec<usize>,
    /// Scratch memory of the pointwise convolutions.
    pub pointwise: P::Scratch,
}

impl<P: PointwiseLayer> Default for BlockScratch<P> {
    fn default() -> Self {
        Self {
            patches: Vec::new(),
            expanded: Vec::new(),
            depthwise_out: Vec::new(),
            row_offsets: Vec::new(),
            pointwise: P::Scratch::default(),
        }
    }
}

impl<P: PointwiseLayer, D: DepthwiseLayer<Value = P::Value>> Block<P, D> {
    /// Height and width of the output for an input feature map of that height and width.
    pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        output_size(size, self.pads, self.depthwise.stride())
    }

    /// Zero padding in pixels (top, left, bottom, right) and stride of the depthwise convolution.
    pub fn geometry(&self) -> ([usize; 4], usize) {
        (self.pads, self.depthwise.stride())
    }

    /// Runs the block, strip by strip, for an expanded feature map of `height` by `width` pixels.
    ///
    /// The output, NHWC `[output height, output width, outputs]`, is written to the beginning of `y`, which grows if
    /// needed. A tapped block returns the averages of its expanded feature map over `grid`, rows and columns.
    pub fn run(
        &self,
        input: &Input<P::Value>,
        [height, width]: [usize; 2],
        y: &mut Vec<P::Value>,
        scratch: &mut BlockScratch<P>,
        grid: [usize; 2],
    ) -> Option<Pooled> {
        let [output_height, output_width] = self.output_size([height, width]);
        let [top, left, ..] = self.pads;
        let stride = self.depthwise.stride();
        let channels = self.depthwise.channels();
        // Rows of the strip include the zero padding on both sides.
        let padded_width = (output_width - 1) * stride + KERNEL;
        let row_len = padded_width * channels;
        let input_rows = |output_rows: usize| (output_rows - 1) * stride + KERNEL;
        let strip_rows = (STRIP_BYTES / size_of::<P::Value>() / row_len).saturating_sub(KERNEL) / stride + 1;
        let strip_rows = strip_rows.min(output_height);
        let outputs = self.project.outputs();

        let BlockScratch { patches, expanded, depthwise_out, row_offsets, pointwise } = scratch;
        let expanded = scratch_slice_aligned(expanded, input_rows(strip_rows) * row_len);
        let depthwise_out = scratch_slice_aligned(depthwise_out, strip_rows * output_width * channels);
        let y = scratch_slice(y, output_height * output_width * outputs);
        let mut pool = self.is_tapped.then(|| GridPool::new(&self.expand, [height, width], grid, channels));
        let zero = P::Value::default();

        // Row 0 is the first row of the zero padding above the feature map. The rows `present` lie in `expanded`, from
        // its beginning.
        let mut present = 0..0;
        for begin in (0..output_height).step_by(strip_rows) {
            let count = strip_rows.min(output_height - begin);
            let wanted = begin * stride..begin * stride + input_rows(count);
            let kept = wanted.start.min(present.end)..present.end;
            expanded.copy_within((kept.start - present.start) * row_len..(kept.end - present.start) * row_len, 0);
            let new = present.end.max(wanted.start)..wanted.end;
            let without_padding = |row: usize| row.clamp(top, top + height) - top;
            let new_rows = without_padding(new.start)..without_padding(new.end);
            row_offsets.clear();
            for row in new {
                let offset = (row - wanted.start) * row_len;
                let (line, begin) = (&mut expanded[offset..offset + row_len], left * channels);
                if (top..top + height).contains(&row) {
                    line[..begin].fill(zero);
                    line[(begin + width * channels).min(row_len)..].fill(zero);
                    row_offsets.extend((0..width).map(|pixel| offset + begin + pixel * channels));
                } else {
                    line.fill(zero);
                }
            }
            let x = input.rows(new_rows.clone(), width, self.expand.inputs(), patches);
            self.expand.run(x, Target { y: expanded, row_offsets, residual: None }, pointwise);
            if let Some(pool) = &mut pool {
                for (row, offsets) in new_rows.zip(row_offsets.chunks_exact(width)) {
                    pool.add_row(row, &expanded[offsets[0]..][..width * channels]);
                }
            }
            present = wanted;

            for row in 0..count {
                let rows: [&[P::Value]; KERNEL] =
                    from_fn(|kernel_row| &expanded[(row * stride + kernel_row) * row_len..][..row_len]);
                let len = output_width * channels;
                self.depthwise.run_row(rows, &mut depthwise_out[row * len..(row + 1) * len]);
            }

            let strip = begin * output_width * outputs..(begin + count) * output_width * outputs;
            row_offsets.clear();
            row_offsets.extend((0..count * output_width).map(|pixel| pixel * outputs));
            let residual = match input {
                Input::FeatureMap(x) if self.is_residual => Some(&x[strip.clone()]),
                _ => None,
            };
            self.project.run(depthwise_out, Target { y: &mut y[strip], row_offsets, residual }, pointwise);
        }
        pool.map(|pool| pool.finish(self.expanded_channels))
    }
}

impl<V: Copy + Default> Input<'_, V> {
    /// The rows of the matrix that the expansion multiplies: pixels or patches, `[rows, width, channels]`.
    fn rows<'a>(&'a self, rows: Range<usize>, width: usize, channels: usize, patches: &'a mut Vec<V>) -> &'a [V] {
        match self {
            Self::FeatureMap(map) => &map[rows.start * width * channels..rows.end * width * channels],
            Self::Image(image) => image.patches(rows, patches),
        }
    }
}

#[cfg(test)]
mod tests {
    use pulp::Arch;

    use super::super::conv::Convolution;
    use super::super::depthwise::Depthwise;
    use super::super::gemm::Pointwise;
    use super::super::testing::{assert_close, every_arch, random, random_f32_bytes};
    use super::super::weights::Weights;
    use super::*;

    /// A convolution of a feature map `[height, width, inputs]` by its definition.
    fn reference(
        x: &[f32],
        [height, width]: [usize; 2],
        layer: &Convolution,
        groups: usize,
        kernel: usize,
    ) -> Vec<f32> {
        let outputs = layer.bias.len();
        let weight = layer.weight.to_f32();
        let inputs = weight.len() / outputs / kernel / kernel * groups;
        let [top, left, bottom, right] = layer.pads;
        let output_height = (height + top + bottom - kernel) / layer.stride + 1;
        let output_width = (width + left + right - kernel) / layer.stride + 1;
        let mut y = Vec::new();
        for (row, column) in (0..output_height).flat_map(|row| (0..output_width).map(move |column| (row, column))) {
            for (output, bias) in layer.bias.iter().enumerate() {
                let mut sum = *bias;
                for input in 0..inputs / groups {
                    for (down, along) in (0..kernel).flat_map(|down| (0..kernel).map(move |along| (down, along))) {
                        let y = (row * layer.stride + down) as isize - top as isize;
                        let x_ = (column * layer.stride + along) as isize - left as isize;
                        if (0..height as isize).contains(&y) && (0..width as isize).contains(&x_) {
                            let channel = output * groups / outputs * (inputs / groups) + input;
                            let value = x[(y as usize * width + x_ as usize) * inputs + channel];
                            sum +=
                                value * weight[((output * inputs / groups + input) * kernel + down) * kernel + along];
                        }
                    }
                }
                y.push(sum.clamp(layer.clip[0], layer.clip[1]));
            }
        }
        y
    }

    fn layer(weight: &[[u8; 4]], outputs: usize, pads: [usize; 4], stride: usize, high: f32) -> Convolution<'_> {
        let low = if high == 6.0 { 0.0 } else { -high };
        Convolution { weight: Weights::F32(weight), bias: random(outputs), int8: None, pads, stride, clip: [low, high] }
    }

    #[test]
    fn a_fused_block_matches_its_three_convolutions() {
        struct Case {
            size: [usize; 2],
            /// Inputs, expanded, outputs.
            channels: [usize; 3],
            stride: usize,
            pads: [usize; 4],
            is_residual: bool,
        }
        let cases = [
            Case { size: [5, 7], channels: [8, 48, 8], stride: 1, pads: [1; 4], is_residual: true },
            Case { size: [6, 4], channels: [3, 20, 5], stride: 2, pads: [0, 0, 1, 1], is_residual: false },
            Case { size: [7, 5], channels: [4, 24, 8], stride: 2, pads: [1; 4], is_residual: false },
            Case { size: [1, 1], channels: [2, 16, 2], stride: 1, pads: [1; 4], is_residual: true },
            Case { size: [3, 3], channels: [2, 5, 3], stride: 1, pads: [0; 4], is_residual: false },
            // More than one strip.
            Case { size: [40, 30], channels: [8, 144, 24], stride: 1, pads: [1; 4], is_residual: false },
            Case { size: [60, 40], channels: [2, 96, 2], stride: 2, pads: [0, 0, 1, 1], is_residual: false },
            Case { size: [3, 200], channels: [4, 384, 4], stride: 1, pads: [1; 4], is_residual: true },
        ];
        let linear = f32::INFINITY;
        for arch in every_arch() {
            let mut scratch = BlockScratch::default();
            for Case { size, channels: [inputs, expanded, outputs], stride, pads, is_residual } in &cases {
                let what = format!("{arch:?}, {size:?}, {expanded} channels");
                let weights = [expanded * inputs, expanded * 9, outputs * expanded].map(random_f32_bytes);
                let expand = layer(&weights[0], *expanded, [0; 4], 1, 6.0);
                let depthwise = layer(&weights[1], *expanded, *pads, *stride, 6.0);
                let project = layer(&weights[2], *outputs, [0; 4], 1, linear);
                let packed = Depthwise::new(arch, &depthwise);
                let channels = packed.channels();
                let block = Block {
                    expand: Pointwise::new(arch, &expand, [*inputs, channels]),
                    depthwise: packed,
                    pads: *pads,
                    project: Pointwise::new(arch, &project, [channels, *outputs]),
                    expanded_channels: *expanded,
                    is_residual: *is_residual,
                    is_tapped: true,
                };
                let x = random(size[0] * size[1] * inputs);
                let mut y = Vec::new();
                let pooled = block.run(&Input::FeatureMap(&x), *size, &mut y, &mut scratch, [1, 1]);

                let expanded_map = reference(&x, *size, &expand, 1, 1);
                let depthwise_out = reference(&expanded_map, *size, &depthwise, *expanded, 3);
                let output_size = block.output_size(*size);
                let mut expected = reference(&depthwise_out, output_size, &project, 1, 1);
                if *is_residual {
                    expected.iter_mut().zip(&x).for_each(|(sum, x)| *sum += x);
                }
                assert_close(&y, &expected, &what);
                let pixels = size[0] * size[1];
                let mean = |channel| expanded_map[channel..].iter().step_by(*expanded).sum::<f32>() / pixels as f32;
                let expected_pooled: Vec<f32> = (0..*expanded).map(mean).collect();
                assert_close(&pooled.unwrap().cells, &expected_pooled, &what);
                let in_cells = block.run(&Input::FeatureMap(&x), *size, &mut y, &mut scratch, [4, 3]).unwrap();
                let sum = |channel: usize| in_cells.cells[channel..].iter().step_by(*expanded).sum();
                assert_close(&(0..*expanded).map(sum).collect::<Vec<f32>>(), &expected_pooled, &what);
            }
        }
    }

    #[test]
    fn the_stem_as_gemm_over_patches_matches_its_convolution() {
        for (size, pads, stride) in
            [([9, 6], [0, 0, 1, 1], 2), ([8, 7], [1; 4], 2), ([4, 5], [1; 4], 1), ([3, 3], [0; 4], 2)]
        {
            let planes = random(3 * size[0] * size[1]);
            let image = StemInput { planes: &planes, zero: 0.0, patch_len: 27, size, pads, stride };
            let weights = random_f32_bytes(16 * 27);
            let stem = layer(&weights, 16, pads, stride, 6.0);
            let pixels = size[0] * size[1];
            let map: Vec<f32> =
                (0..pixels).flat_map(|pixel| [0, 1, 2].map(|plane| planes[plane * pixels + pixel])).collect();
            let expected = reference(&map, size, &stem, 1, 3);

            let stem_size = image.output_size();
            let mut buffer = Vec::new();
            let pointwise = Pointwise::new(Arch::new(), &stem, [27, 16]);
            let row_offsets: Vec<usize> = (0..stem_size[0] * stem_size[1]).map(|pixel| pixel * 16).collect();
            let mut y = vec![0.0; row_offsets.len() * 16];
            let x = image.patches(0..stem_size[0], &mut buffer);
            pointwise.run(x, Target { y: &mut y, row_offsets: &row_offsets, residual: None }, &mut Vec::new());
            assert_close(&y, &expected, &format!("{size:?}, {pads:?}, stride {stride}"));
        }
    }
}
