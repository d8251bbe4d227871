//! Pattern matcher that recognises an ONNX graph of a MobileNetV2, as `train export` writes it, and loads the kernels.
//!
//! The matcher follows the graph from its input to its output, node by node, and gives up at the first operator,
//! attribute or shape that the kernels do not implement. Every node has to be consumed by the end, so that nothing of a
//! graph is ignored.

use std::collections::{HashMap, HashSet};

use crate::kernels::{
    Backbone, BackboneLayers, BlockLayers, Convolution, Dense, Head, Instructions, Int8Layer, Matrix, MobileNet,
    Quantization, Weights,
};
use crate::onnx::data_type::{FLOAT, FLOAT16, INT8, INT32, INT64, UINT8};
use crate::onnx::{Attribute, Graph, Node, Tensor};

/// Loads a graph into the MobileNetV2 kernels, packed for `instructions`; `None` if the graph is anything else.
///
/// The backbone is a 3 x 3 convolution of the input (the stem), inverted residual blocks, and a pointwise convolution.
/// The head gets the global averages of some blocks' expanded feature maps and of the last convolution, concatenated:
/// shift, scale, and two dense layers with a ReLU between them and a sigmoid behind. Weights are f16, cast to f32 in
/// the graph, or f32, or the whole backbone is quantised (QDQ): the input, every convolution and every sum is followed by
/// `QuantizeLinear` and `DequantizeLinear` with one scale, and weights are int8 with a scale an output channel.
pub fn mobilenet(graph: &Graph, instructions: Instructions) -> Option<MobileNet> {
    let ([input], [output]) = (graph.input.as_slice(), graph.output.as_slice()) else { return None };
    let mut matcher = PatternMatcher::new(graph);
    let backbone = Backbone::new(instructions, &matcher.backbone(&input.name)?)?;
    let (head, probabilities) = matcher.head(&input.name, backbone.feature_count(), instructions)?;
    let is_all_consumed = matcher.consumed.len() == graph.node.len() && *probabilities == output.name;
    is_all_consumed.then_some(MobileNet { instructions, backbone, head })
}

/// The range of a convolution whose outputs are not clamped.
const LINEAR: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// The state of matching one graph. Nodes are known by their index in the graph, values by their name.
struct PatternMatcher<'a> {
    nodes: &'a [Node],
    /// Indices of the nodes that read each value.
    readers: HashMap<&'a str, Vec<usize>>,
    constants: HashMap<&'a str, Constant<'a>>,
    /// Indices of the nodes that are part of the match.
    consumed: HashSet<usize>,
    /// The outputs of the global average poolings, in order.
    pooled: Vec<&'a String>,
}

/// A tensor of the file, and the node that converts it to f32.
#[derive(Clone, Copy)]
struct Constant<'a> {
    tensor: &'a Tensor,
    /// The index of the `Cast` of an f16 tensor, or of the `DequantizeLinear` of an integer tensor.
    node: Option<usize>,
    /// The scales of an integer tensor, and the dimension that they belong to.
    scale: Option<(&'a Tensor, i64)>,
}

/// A convolution and what is behind it: `Clip` or `Relu`, `QuantizeLinear` and `DequantizeLinear`.
struct ConvWithClip<'a> {
    layer: Convolution<'a>,
    /// Input channels of a group.
    group_inputs: usize,
    groups: usize,
    /// Whether it is 1 x 1, with one group, stride 1 and no padding.
    is_pointwise: bool,
    /// The value that holds the clamped and dequantised outputs.
    output: &'a String,
}

impl<'a> PatternMatcher<'a> {
    fn new(graph: &'a Graph) -> Self {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (index, node) in graph.node.iter().enumerate() {
            node.input.iter().for_each(|input| readers.entry(input).or_default().push(index));
        }
        let constant = |tensor| Constant { tensor, node: None, scale: None };
        let initializers: HashMap<&str, &Tensor> =
            graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        let mut constants: HashMap<&str, Constant> =
            initializers.iter().map(|(name, tensor)| (*name, constant(*tensor))).collect();
        for (index, node) in graph.node.iter().enumerate() {
            let [output] = &*node.output else { continue };
            let tensor = |input: usize| initializers.get(node.input.get(input)?.as_str()).copied();
            let Some(values) = tensor(0) else { continue };
            let scale = match node.op_type.as_str() {
                "Cast" if attribute(node, "to").is_some_and(|to| to.i == i64::from(FLOAT)) => None,
                "DequantizeLinear" => {
                    // Weights and biases are symmetric: their zero point is 0, or left out.
                    let is_symmetric = |zero: &Tensor| zero.raw_data.iter().all(|byte| *byte == 0);
                    let is_zero = node.input.len() == 2 || tensor(2).is_some_and(is_symmetric);
                    let Some(scale) = tensor(1).filter(|_| is_zero) else { continue };
                    Some((scale, attribute(node, "axis").map_or(1, |axis| axis.i)))
                }
                _ => continue,
            };
            constants.insert(output, Constant { tensor: values, node: Some(index), scale });
        }
        Self { nodes: &graph.node, readers, constants, consumed: HashSet::new(), pooled: Vec::new() }
    }

    /// Matches the layers from the network's input to the global average poolings.
    fn backbone(&mut self, input: &'a String) -> Option<BackboneLayers<'a>> {
        let (input, image) = self.quantization(input)?;
        let mut expand = self.convolution(image, 3)?;
        if (expand.group_inputs, expand.groups) != (3, 1) {
            return None;
        }
        let stem = (expand.layer.pads, expand.layer.stride);
        let mut blocks = Vec::new();
        // The feature map that the block reads; the first block reads the image.
        let mut map: Option<&String> = None;
        let last = loop {
            let is_tapped = self.global_average_pool(expand.output);
            let Some(depthwise) = self.convolution(expand.output, 3) else {
                // Only the pooling reads the outputs of the last convolution.
                if !is_tapped || blocks.is_empty() {
                    return None;
                }
                break expand.layer;
            };
            let project = self.convolution(depthwise.output, 1)?;
            let expanded = expand.layer.outputs();
            let is_depthwise =
                [1, expanded, expanded] == [depthwise.group_inputs, depthwise.groups, depthwise.layer.outputs()];
            let is_project = project.is_pointwise && project.group_inputs == expanded && project.layer.clip == LINEAR;
            if !is_depthwise || !is_project {
                return None;
            }
            let outputs = project.layer.outputs();
            let is_same_shape =
                (depthwise.layer.pads, depthwise.layer.stride, outputs) == ([1; 4], 1, expand.group_inputs);
            let sum = map.filter(|_| is_same_shape).and_then(|map| self.residual_sum(project.output, map));
            let is_residual = sum.is_some();
            let (sum, output) = match sum {
                Some(sum) => self.quantization(sum)?,
                None => (None, project.output),
            };
            let layers = [expand.layer, depthwise.layer, project.layer];
            blocks.push(BlockLayers { layers, is_residual, sum, is_tapped });
            expand = self.convolution(output, 1)?;
            if !expand.is_pointwise || expand.group_inputs != outputs {
                return None;
            }
            map = Some(output);
        };
        Some(BackboneLayers { input, stem, blocks, last })
    }

    /// Matches the layers from the `feature_count` pooled features to the probabilities; returns the name of these too.
    fn head(&mut self, input: &str, feature_count: usize, instructions: Instructions) -> Option<(Head, &'a String)> {
        let concat = self.consume(self.pooled.first()?, "Concat")?;
        if !concat.input.iter().eq(self.pooled.iter().copied()) || attribute(concat, "axis")?.i != 1 {
            return None;
        }
        let rows = self.flatten(input, concat.output.first()?, feature_count)?;
        let (shift, shifted) = self.with_row(rows, "Add", feature_count)?;
        let (scale, scaled) = self.with_row(shifted, "Mul", feature_count)?;
        let (hidden, hidden_out) = self.dense(scaled, feature_count)?;
        let hidden_len = hidden.bias.len();
        let relu = self.consume(hidden_out, "Relu")?.output.first()?;
        let (classifier, logits) = self.dense(relu, hidden_len)?;
        let probabilities = self.consume(logits, "Sigmoid")?.output.first()?;
        Some((Head { arch: instructions.f32(), shift, scale, hidden, classifier }, probabilities))
    }

    /// The node that reads a value with operator `op_type`, and its index; `None` if there is none or more than one.
    fn reader(&self, value: &str, op_type: &str) -> Option<(usize, &'a Node)> {
        let readers = self.readers.get(value)?.iter().map(|index| (*index, &self.nodes[*index]));
        let mut readers = readers.filter(|(_, node)| node.op_type == op_type);
        let reader = readers.next()?;
        readers.next().is_none().then_some(reader)
    }

    /// As [`reader`](Self::reader), and marks the node as consumed.
    fn consume(&mut self, value: &str, op_type: &str) -> Option<&'a Node> {
        let (index, node) = self.reader(value, op_type)?;
        self.consumed.insert(index);
        Some(node)
    }

    /// A constant; marks the node that converts it as consumed.
    fn constant(&mut self, name: &str) -> Option<Constant<'a>> {
        let constant = *self.constants.get(name)?;
        self.consumed.extend(constant.node);
        Some(constant)
    }

    /// The tensor of a constant that is not quantised.
    fn tensor(&mut self, name: &str) -> Option<&'a Tensor> {
        let Constant { tensor, scale, .. } = self.constant(name)?;
        scale.is_none().then_some(tensor)
    }

    /// Matches `QuantizeLinear` and `DequantizeLinear` behind a value, if they are there; returns how they quantise, and
    /// their output.
    fn quantization(&mut self, value: &'a String) -> Option<(Option<Quantization>, &'a String)> {
        let Some(quantize) = self.consume(value, "QuantizeLinear") else { return Some((None, value)) };
        let dequantize = self.consume(quantize.output.first()?, "DequantizeLinear")?;
        let mut parameters = |node: &Node| {
            let [_, scale, zero_point] = &*node.input else { return None };
            let (scale, zero_point) = (floats(self.tensor(scale)?)?, self.tensor(zero_point)?);
            let ([scale], [zero_point], UINT8) = (&*scale, &*zero_point.raw_data, zero_point.data_type) else {
                return None;
            };
            let is_valid = *scale > 0.0 && scale.is_finite();
            is_valid.then_some(Quantization { scale: *scale, zero_point: *zero_point })
        };
        let found = parameters(quantize)?;
        (parameters(dequantize)? == found).then_some((Some(found), dequantize.output.first()?))
    }

    /// Matches a convolution of a value with a `kernel` by `kernel` kernel, its clamp and its quantisation.
    fn convolution(&mut self, value: &str, kernel: i64) -> Option<ConvWithClip<'a>> {
        let (index, node) = self.reader(value, "Conv")?;
        let [input, weight, bias] = node.input.as_slice() else { return None };
        let ints = |name: &str, default: i64, len: usize| {
            attribute(node, name).map_or_else(|| vec![default; len], |attribute| attribute.ints.clone())
        };
        let (weight, bias) = (*self.constants.get(weight.as_str())?, *self.constants.get(bias.as_str())?);
        let &[outputs, group_inputs, height, width] = weight.tensor.dims.as_slice() else { return None };
        let strides = ints("strides", 1, 2);
        let pads = ints("pads", 0, 4);
        let is_supported = input == value
            && (height, width) == (kernel, kernel)
            && bias.tensor.dims == [outputs]
            && ints("dilations", 1, 2) == [1, 1]
            && attribute(node, "auto_pad").is_none_or(|auto| auto.s == "NOTSET")
            && (strides == [1, 1] || strides == [2, 2]);
        if !is_supported {
            return None;
        }
        let groups = attribute(node, "group").map_or(1, |group| group.i);
        let is_pointwise = kernel == 1 && groups == 1 && strides == [1, 1] && pads == [0; 4];
        let pads: Vec<usize> = pads.into_iter().map(usize::try_from).collect::<Result<_, _>>().ok()?;
        let (clip, output) = self.clip(node.output.first()?)?;
        let (quantization, output) = self.quantization(output)?;
        let int8 = match (weight.scale, bias.scale, quantization) {
            (Some(_), Some(_), Some(output)) => Some(int8_layer(weight, bias, clip, output)?),
            (None, None, None) => None,
            _ => return None,
        };
        let layer = Convolution {
            weight: weights(weight.tensor)?,
            bias: if int8.is_some() { Vec::new() } else { floats(bias.tensor)? },
            int8,
            pads: pads.try_into().ok()?,
            stride: strides[0] as usize,
            clip,
        };
        self.consumed.insert(index);
        node.input[1..].iter().try_for_each(|name| self.constant(name).map(|_| ()))?;
        let (group_inputs, groups) = (group_inputs as usize, groups as usize);
        Some(ConvWithClip { layer, group_inputs, groups, is_pointwise, output })
    }

    /// Matches the `Clip` or `Relu` that reads a value, if there is one; returns its range and its output.
    fn clip(&mut self, value: &'a String) -> Option<([f32; 2], &'a String)> {
        if let Some(node) = self.consume(value, "Clip") {
            let mut bound = |index: usize| match node.input.get(index).filter(|name| !name.is_empty()) {
                Some(name) => floats(self.tensor(name)?)?.first().copied(),
                None => Some(LINEAR[index - 1]),
            };
            Some(([bound(1)?, bound(2)?], node.output.first()?))
        } else if let Some(node) = self.consume(value, "Relu") {
            Some(([0.0, LINEAR[1]], node.output.first()?))
        } else {
            Some((LINEAR, value))
        }
    }

    /// Matches a global average pooling of a value; returns whether there is one.
    fn global_average_pool(&mut self, value: &str) -> bool {
        let pooled = self.consume(value, "GlobalAveragePool").and_then(|node| node.output.first());
        self.pooled.extend(pooled);
        pooled.is_some()
    }

    /// Matches the sum of a value and `other`, in either order; returns its name.
    fn residual_sum(&mut self, value: &str, other: &str) -> Option<&'a String> {
        let (index, node) = self.reader(value, "Add")?;
        if node.input != [value, other] && node.input != [other, value] {
            return None;
        }
        self.consumed.insert(index);
        node.output.first()
    }

    /// Matches the reshape of a value to `[batch, len]`, with the batch size taken from the shape of the network's
    /// input.
    fn flatten(&mut self, input: &str, value: &str, len: usize) -> Option<&'a String> {
        let shape = self.consume(input, "Shape")?;
        let batch = self.consume(shape.output.first()?, "Gather")?;
        let sizes = self.consume(batch.output.first()?, "Concat")?;
        let reshape = self.consume(value, "Reshape")?;
        let ([_, first], [start, rest]) = (batch.input.as_slice(), sizes.input.as_slice()) else { return None };
        let is_axis_0 = |node| attribute(node, "axis").is_none_or(|axis| axis.i == 0);
        let is_supported = shape.attribute.is_empty()
            && is_axis_0(batch)
            && integers(self.tensor(first)?)? == [0]
            && is_axis_0(sizes)
            && start == &batch.output[0]
            && integers(self.tensor(rest)?)? == [len as i64]
            && reshape.input == [value, &sizes.output[0]];
        if is_supported { reshape.output.first() } else { None }
    }

    /// Matches a binary operator between a value `[batch, len]` and a constant row `[1, len]`; returns the row and the
    /// output.
    fn with_row(&mut self, value: &str, op_type: &str, len: usize) -> Option<(Vec<f32>, &'a String)> {
        let node = self.consume(value, op_type)?;
        let [first, second] = node.input.as_slice() else { return None };
        let other = if first == value { second } else { first };
        let (index, reshape) = self.nodes.iter().enumerate().find(|(_, node)| node.output.first() == Some(other))?;
        let ("Reshape", [row, shape]) = (reshape.op_type.as_str(), &*reshape.input) else { return None };
        self.consumed.insert(index);
        let is_row = integers(self.tensor(shape)?)? == [1, len as i64];
        let row = floats(self.tensor(row)?)?;
        (is_row && row.len() == len).then_some((row, node.output.first()?))
    }

    /// Matches a dense layer of a value `[batch, inputs]`: `MatMul` and `Add`; returns the layer and its output.
    fn dense(&mut self, value: &str, inputs: usize) -> Option<(Dense, &'a String)> {
        let product = self.consume(value, "MatMul")?;
        let [_, weight] = product.input.as_slice() else { return None };
        let Constant { tensor: weight, scale, .. } = self.constant(weight)?;
        let &[rows, outputs] = weight.dims.as_slice() else { return None };
        let (bias, output) = self.with_row(product.output.first()?, "Add", outputs as usize)?;
        let is_dense = product.input[0] == value && rows as usize == inputs;
        let weight = match (weights(weight)?, scale) {
            (Weights::F16(_), None) => Matrix::F16(weight.raw_data.clone()),
            (weights @ Weights::F32(_), None) => Matrix::F32(weights.to_f32()),
            (Weights::I8(_), Some((scale, 1))) if scale.dims == [outputs] => {
                Matrix::I8(weight.raw_data.clone(), floats(scale)?)
            }
            _ => return None,
        };
        is_dense.then_some((Dense { weight, bias }, output))
    }
}

fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a Attribute> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// The numbers of a quantised convolution with scales a channel; none if its range of codes is wider than `clip`, or if the
/// bias is in other units than the sums.
fn int8_layer(weight: Constant, bias: Constant, clip: [f32; 2], output: Quantization) -> Option<Int8Layer> {
    let ((weight_scale, 0), (bias_scale, 0)) = (weight.scale?, bias.scale?) else { return None };
    let zero_point = f32::from(output.zero_point);
    let codes = [-zero_point * output.scale, (255.0 - zero_point) * output.scale];
    // Half a code: rounding may take a scale a little beyond the bound.
    let is_inside = clip[0] <= codes[0] + output.scale / 2.0 && codes[1] - output.scale / 2.0 <= clip[1];
    let outputs = weight.tensor.dims[0];
    let is_int8 = (weight.tensor.data_type, bias.tensor.data_type) == (INT8, INT32);
    if !is_inside || !is_int8 || weight_scale.dims != [outputs] || bias_scale.dims != [outputs] {
        return None;
    }
    let bias = bias.tensor.raw_data.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect();
    Some(Int8Layer { weight_scale: floats(weight_scale)?, bias, output })
}

/// The elements of an int8, f16 or f32 tensor.
fn weights(tensor: &Tensor) -> Option<Weights<'_>> {
    let weights = match tensor.data_type {
        FLOAT => Weights::F32(tensor.raw_data.as_chunks().0),
        FLOAT16 => Weights::F16(tensor.raw_data.as_chunks().0),
        INT8 => Weights::I8(bytemuck::cast_slice(&tensor.raw_data)),
        _ => return None,
    };
    let len: i64 = tensor.dims.iter().product();
    (weights.count() as i64 == len).then_some(weights)
}

/// The elements of an f16 or f32 tensor as f32.
fn floats(tensor: &Tensor) -> Option<Vec<f32>> {
    let weights = weights(tensor)?;
    (!matches!(weights, Weights::I8(_))).then(|| weights.to_f32())
}

/// The elements of an int64 tensor.
fn integers(tensor: &Tensor) -> Option<Vec<i64>> {
    let values = tensor.raw_data.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes));
    (tensor.data_type == INT64).then(|| values.collect())
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::super::SHIPPED;
    use super::*;
    use crate::onnx::Model;

    #[test]
    fn graphs_that_differ_from_the_pattern_are_not_recognised() {
        struct Case {
            what: &'static str,
            alter: fn(&mut Graph),
        }
        fn alter(graph: &mut Graph, output: &str, alter: fn(&mut Node)) {
            alter(graph.node.iter_mut().find(|node| node.output[0] == output).unwrap());
        }
        let cases = [
            Case {
                what: "a value inside has another reader",
                alter: |graph| graph.node.push(Node { input: vec!["blocks.5.add".into()], ..Default::default() }),
            },
            Case { what: "a value inside is the output", alter: |graph| graph.output[0].name = "add.add.2".into() },
            Case {
                what: "an activation is of another kind",
                alter: |graph| alter(graph, "blocks.7.clip", |clip| clip.op_type = "Sigmoid".into()),
            },
            Case {
                what: "the last pooling is missing",
                alter: |graph| graph.node.retain(|node| node.output[0] != "globalaveragepool"),
            },
            Case {
                what: "the pooled features are in another order",
                alter: |graph| alter(graph, "concat", |concat| concat.input.swap(0, 1)),
            },
            Case {
                what: "the pooled features are concatenated along another axis",
                alter: |graph| alter(graph, "concat", |concat| concat.attribute[0].i = 2),
            },
            Case {
                what: "the head has another activation",
                alter: |graph| alter(graph, "relu", |relu| relu.op_type = "Tanh".into()),
            },
            Case {
                what: "the features are multiplied instead of shifted",
                alter: |graph| alter(graph, "add", |add| add.op_type = "Mul".into()),
            },
        ];
        let shipped = Model::decode(SHIPPED).unwrap().graph.unwrap();
        assert!(mobilenet(&shipped, Instructions::detect()).is_some());
        for Case { what, alter } in cases {
            let mut graph = shipped.clone();
            alter(&mut graph);
            assert!(mobilenet(&graph, Instructions::detect()).is_none(), "{what}");
        }
    }
}
