//! Inverted residual blocks.

use std::array::from_fn;
use std::ops::Range;

use super::depthwise::{Depthwise, KERNEL};
use super::isa::{Isa, add_pixels, aligned, room};
use super::pointwise::{Buffers, Pointwise, Target};
use super::weights::Weights;

/// Bytes of a block's middle that are made at a time: a part of the second cache of small processors (1 MB on a
/// Raspberry Pi 4, for four cores; 512 KB a core on a Raspberry Pi 5).
const STRIP_BYTES: usize = 256 << 10;

/// Numbers that the stem sees of a picture at a time.
const PATCH: usize = 3 * KERNEL * KERNEL;

/// A convolution as ONNX has it, with what its outputs are clamped to.
#[derive(Clone, Debug)]
pub struct Convolution<'a> {
    /// `[outputs, inputs / groups, height, width]`
    pub weight: Weights<'a>,
    /// `[outputs]`
    pub bias: Vec<f32>,
    /// Zeros before and behind the rows and columns: top, left, bottom, right.
    pub pads: [usize; 4],
    /// Pixels from one output to the next, 1 or 2.
    pub stride: usize,
    /// The lowest and highest output.
    pub range: [f32; 2],
}

/// `project(depthwise(expand(x)))`, to which `x` may be added.
#[derive(Debug)]
pub struct Block {
    isa: Isa,
    /// Channels of the middle.
    middle: usize,
    expand: Pointwise,
    depthwise: Depthwise,
    /// Of the depthwise convolution: top, left, bottom, right.
    pads: [usize; 4],
    project: Pointwise,
    is_residual: bool,
    is_tapped: bool,
}

/// What a block reads.
pub enum Input<'a> {
    /// `[height, width, inputs]`
    Map(&'a [f32]),
    /// The network's input, of which the stem sees patches.
    Picture(&'a Picture<'a>),
}

/// A picture as the stem, a 3 x 3 convolution, looks at it.
pub struct Picture<'a> {
    /// `[3, height, width]`
    pub planes: &'a [f32],
    /// Height and width.
    pub size: [usize; 2],
    /// The stem's: top, left, bottom, right.
    pub pads: [usize; 4],
    /// The stem's.
    pub stride: usize,
}

/// Buffers that blocks share.
#[derive(Default, Debug)]
pub struct Scratch {
    patches: Vec<f32>,
    middle: Vec<f32>,
    narrow: Vec<f32>,
    places: Vec<usize>,
    sums: Vec<f32>,
    /// Those of pointwise convolutions.
    pub buffers: Buffers,
}

impl Block {
    /// Packs `expand`, `depthwise` and `project`, whose middle is filled up with zeros to whole vectors. `is_residual` says
    /// whether the input is added to the output, `is_tapped` whether the mean of the middle is wanted.
    pub fn new(isa: Isa, layers: [Convolution; 3], is_residual: bool, is_tapped: bool) -> Self {
        let [expand, depthwise, project] = layers;
        let (middle, outputs) = (expand.bias.len(), project.bias.len());
        let pads = depthwise.pads;
        let depthwise = Depthwise::new(isa.arch, &depthwise);
        let channels = depthwise.channels();
        Self {
            isa,
            middle,
            expand: Pointwise::new(isa, &expand, [expand.weight.count() / middle, channels]),
            depthwise,
            pads,
            project: Pointwise::new(isa, &project, [channels, outputs]),
            is_residual,
            is_tapped,
        }
    }

    /// Whether the mean of its middle is wanted.
    pub fn is_tapped(&self) -> bool {
        self.is_tapped
    }

    /// Channels of its middle.
    pub fn middle(&self) -> usize {
        self.middle
    }

    /// Height and width of its output for those of its input.
    pub fn output_size(&self, size: [usize; 2]) -> [usize; 2] {
        output_size(size, self.pads, self.depthwise.stride())
    }

    /// Runs the block over an input of that height and width, a strip of rows at a time, and puts the result,
    /// `[height, width, outputs]`, at the beginning of `y`. Appends the mean of the middle over the map to `means`, if it is tapped.
    pub fn run(
        &self,
        input: &Input,
        [height, width]: [usize; 2],
        y: &mut Vec<f32>,
        scratch: &mut Scratch,
        means: &mut Vec<f32>,
    ) {
        let [output_height, output_width] = self.output_size([height, width]);
        let [top, left, ..] = self.pads;
        let stride = self.depthwise.stride();
        let channels = self.depthwise.channels();
        // A row of the middle has columns of zeros on both sides.
        let columns = (output_width - 1) * stride + KERNEL;
        let row_len = columns * channels;
        let rows_of = |outputs: usize| (outputs - 1) * stride + KERNEL;
        let strip = (STRIP_BYTES / size_of::<f32>() / row_len).saturating_sub(KERNEL) / stride + 1;
        let strip = strip.min(output_height);
        let outputs = self.project.outputs();

        let Scratch { patches, middle, narrow, places, sums, buffers } = scratch;
        let middle = aligned(middle, rows_of(strip) * row_len);
        let narrow = aligned(narrow, strip * output_width * channels);
        let y = room(y, output_height * output_width * outputs);
        sums.clear();
        sums.resize(channels, 0.0);

        // Rows are counted from the first of zeros above the map; `made` are in `middle`, from its beginning.
        let mut made = 0..0;
        for begin in (0..output_height).step_by(strip) {
            let count = strip.min(output_height - begin);
            let wanted = begin * stride..begin * stride + rows_of(count);
            let kept = wanted.start.min(made.end)..made.end;
            middle.copy_within((kept.start - made.start) * row_len..(kept.end - made.start) * row_len, 0);
            let new = made.end.max(wanted.start)..wanted.end;
            let in_map = |row: usize| row.clamp(top, top + height) - top;
            let map_rows = in_map(new.start)..in_map(new.end);
            places.clear();
            for row in new {
                let at = (row - wanted.start) * row_len;
                let (line, begin) = (&mut middle[at..at + row_len], left * channels);
                if (top..top + height).contains(&row) {
                    line[..begin].fill(0.0);
                    line[(begin + width * channels).min(row_len)..].fill(0.0);
                    places.extend((0..width).map(|pixel| at + begin + pixel * channels));
                } else {
                    line.fill(0.0);
                }
            }
            let x = input.rows(map_rows, width, self.expand.inputs(), patches);
            self.expand.run(x, Target { y: middle, places, residual: None }, buffers);
            for row in places.chunks_exact(width).filter(|_| self.is_tapped) {
                add_pixels(self.isa.arch, &middle[row[0]..row[0] + width * channels], sums);
            }
            made = wanted;

            for row in 0..count {
                let wide: [&[f32]; KERNEL] = from_fn(|kernel| &middle[(row * stride + kernel) * row_len..][..row_len]);
                let len = output_width * channels;
                self.depthwise.row(wide, &mut narrow[row * len..(row + 1) * len]);
            }

            let here = begin * output_width * outputs..(begin + count) * output_width * outputs;
            places.clear();
            places.extend((0..count * output_width).map(|pixel| pixel * outputs));
            let residual = match input {
                Input::Map(x) if self.is_residual => Some(&x[here.clone()]),
                _ => None,
            };
            self.project.run(narrow, Target { y: &mut y[here], places, residual }, buffers);
        }
        if self.is_tapped {
            means.extend(sums[..self.middle].iter().map(|sum| sum / (height * width) as f32));
        }
    }
}

impl Input<'_> {
    /// Rows of the map that the block expands, `[rows, width, channels]`.
    fn rows<'a>(&'a self, rows: Range<usize>, width: usize, channels: usize, buffer: &'a mut Vec<f32>) -> &'a [f32] {
        match self {
            Self::Map(map) => &map[rows.start * width * channels..rows.end * width * channels],
            Self::Picture(picture) => picture.patches(rows, buffer),
        }
    }
}

impl Picture<'_> {
    /// Height and width of the stem's output.
    pub fn output_size(&self) -> [usize; 2] {
        output_size(self.size, self.pads, self.stride)
    }

    /// What the stem sees for some rows of its output, `[rows, width, 3 * 3 * 3]`, in the order of its weights.
    fn patches<'a>(&self, rows: Range<usize>, buffer: &'a mut Vec<f32>) -> &'a [f32] {
        let [height, width] = self.size;
        let [top, left, ..] = self.pads;
        let [_, output_width] = self.output_size();
        let zeros = vec![0.0; width];
        let len = rows.len() * output_width * PATCH;
        let buffer = room(buffer, len);
        for (row, patches) in rows.zip(buffer.chunks_exact_mut(output_width * PATCH)) {
            for line in 0..PATCH / KERNEL {
                let (plane, y) = (line / KERNEL, (row * self.stride + line % KERNEL).wrapping_sub(top));
                let pixels = if y < height { &self.planes[(plane * height + y) * width..][..width] } else { &*zeros };
                for (column, patch) in patches.chunks_exact_mut(PATCH).enumerate() {
                    let patch = &mut patch[line * KERNEL..][..KERNEL];
                    let begin = (column * self.stride).wrapping_sub(left);
                    if let Some(seen) = pixels.get(begin..begin.wrapping_add(KERNEL)) {
                        patch.copy_from_slice(seen);
                    } else {
                        for (place, value) in patch.iter_mut().enumerate() {
                            *value = pixels.get(begin.wrapping_add(place)).copied().unwrap_or(0.0);
                        }
                    }
                }
            }
        }
        &buffer[..len]
    }
}

/// Height and width of a 3 x 3 convolution's output.
fn output_size([height, width]: [usize; 2], [top, left, bottom, right]: [usize; 4], stride: usize) -> [usize; 2] {
    [height + top + bottom, width + left + right].map(|side| (side - KERNEL) / stride + 1)
}

#[cfg(test)]
mod tests {
    use super::super::isa::all;
    use super::super::tests::{assert_close, random, singles};
    use super::*;

    /// A convolution of a map `[height, width, inputs]` as its definition has it.
    fn reference(
        x: &[f32],
        [height, width]: [usize; 2],
        layer: &Convolution,
        groups: usize,
        kernel: usize,
    ) -> Vec<f32> {
        let outputs = layer.bias.len();
        let weight = layer.weight.floats();
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
                y.push(sum.clamp(layer.range[0], layer.range[1]));
            }
        }
        y
    }

    fn layer(weight: &[[u8; 4]], outputs: usize, pads: [usize; 4], stride: usize, high: f32) -> Convolution<'_> {
        let low = if high == 6.0 { 0.0 } else { -high };
        Convolution { weight: Weights::Single(weight), bias: random(outputs), pads, stride, range: [low, high] }
    }

    #[test]
    fn a_block_is_its_three_convolutions() {
        struct Case {
            size: [usize; 2],
            /// Inputs, middle, outputs.
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
        for isa in all() {
            let mut scratch = Scratch::default();
            for Case { size, channels: [inputs, middle, outputs], stride, pads, is_residual } in &cases {
                let what = format!("{isa:?}, {size:?}, {middle} channels");
                let weights = [middle * inputs, middle * 9, outputs * middle].map(singles);
                let expand = layer(&weights[0], *middle, [0; 4], 1, 6.0);
                let depthwise = layer(&weights[1], *middle, *pads, *stride, 6.0);
                let project = layer(&weights[2], *outputs, [0; 4], 1, linear);
                let block = Block::new(isa, [expand.clone(), depthwise.clone(), project.clone()], *is_residual, true);
                let x = random(size[0] * size[1] * inputs);
                let (mut y, mut found) = (Vec::new(), Vec::new());
                block.run(&Input::Map(&x), *size, &mut y, &mut scratch, &mut found);

                let wide = reference(&x, *size, &expand, 1, 1);
                let narrow = reference(&wide, *size, &depthwise, *middle, 3);
                let output_size = block.output_size(*size);
                let mut expected = reference(&narrow, output_size, &project, 1, 1);
                if *is_residual {
                    expected.iter_mut().zip(&x).for_each(|(sum, x)| *sum += x);
                }
                assert_close(&y, &expected, &what);
                let pixels = size[0] * size[1];
                let channel = |channel| wide[channel..].iter().step_by(*middle).sum::<f32>() / pixels as f32;
                let means: Vec<f32> = (0..*middle).map(channel).collect();
                assert_close(&found, &means, &what);
            }
        }
    }

    #[test]
    fn the_first_block_sees_patches_of_the_picture() {
        for (size, pads, stride) in
            [([9, 6], [0, 0, 1, 1], 2), ([8, 7], [1; 4], 2), ([4, 5], [1; 4], 1), ([3, 3], [0; 4], 2)]
        {
            let planes = random(3 * size[0] * size[1]);
            let picture = Picture { planes: &planes, size, pads, stride };
            let weights = singles(16 * 27);
            let stem = layer(&weights, 16, pads, stride, 6.0);
            let pixels = size[0] * size[1];
            let map: Vec<f32> =
                (0..pixels).flat_map(|pixel| [0, 1, 2].map(|plane| planes[plane * pixels + pixel])).collect();
            let expected = reference(&map, size, &stem, 1, 3);

            let stem_size = picture.output_size();
            let mut buffer = Vec::new();
            let pointwise = Pointwise::new(Isa::detect(), &stem, [27, 16]);
            let places: Vec<usize> = (0..stem_size[0] * stem_size[1]).map(|pixel| pixel * 16).collect();
            let mut y = vec![0.0; places.len() * 16];
            let x = picture.patches(0..stem_size[0], &mut buffer);
            pointwise.run(x, Target { y: &mut y, places: &places, residual: None }, &mut Buffers::default());
            assert_close(&y, &expected, &format!("{size:?}, {pads:?}, stride {stride}"));
        }
    }
}
