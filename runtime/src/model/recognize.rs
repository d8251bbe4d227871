//! Finds the networks that this crate runs itself.

use std::collections::{HashMap, HashSet};

use crate::kernels::{Block, Convolution, Dense, Head, Isa, Matrix, MobileNet, Trunk, Weights};
use crate::onnx::{Attribute, Graph, Node, Tensor};

/// Number that ONNX has for a type of numbers.
const FLOAT: i32 = 1;
const INT64: i32 = 7;
const FLOAT16: i32 = 10;

/// The MobileNetV2 that a graph is, if it is nothing else.
///
/// Its trunk is a 3 x 3 convolution of the input, inverted residual blocks, and a pointwise convolution. The head sees global
/// means of some blocks' expanded features and of the last ones: shifted, scaled, and through two dense layers with a ReLU
/// between them and a sigmoid behind. Weights are 16- or 32-bit floats.
///
/// It will run on that isa.
pub fn mobilenet(graph: &Graph, isa: Isa) -> Option<MobileNet> {
    let ([input], [output]) = (graph.input.as_slice(), graph.output.as_slice()) else { return None };
    let mut walk = Walk::new(graph, isa);
    let trunk = walk.trunk(&input.name)?;
    let (head, probabilities) = walk.head(&input.name, trunk.channels())?;
    let is_all = walk.taken.len() == graph.node.len() && *probabilities == output.name;
    is_all.then_some(MobileNet { trunk, head })
}

/// The range of a convolution whose outputs are not clamped.
const LINEAR: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// A way through a graph, from node to node.
struct Walk<'a> {
    isa: Isa,
    nodes: &'a [Node],
    /// The places of the nodes that read a value.
    readers: HashMap<&'a str, Vec<usize>>,
    /// Constants, and for those that a `Cast` makes 32-bit floats of its place.
    constants: HashMap<&'a str, (&'a Tensor, Option<usize>)>,
    /// The places of the nodes that were walked over.
    taken: HashSet<usize>,
    /// The global means that were met, in order.
    means: Vec<&'a String>,
}

/// A convolution and the clamp behind it.
struct Step<'a> {
    layer: Convolution<'a>,
    /// Inputs of a group.
    inputs: usize,
    groups: usize,
    /// Whether it is 1 x 1, of a single group, with no stride or pads.
    is_pointwise: bool,
    /// The value's name.
    output: &'a String,
}

impl<'a> Walk<'a> {
    fn new(graph: &'a Graph, isa: Isa) -> Self {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, node) in graph.node.iter().enumerate() {
            node.input.iter().for_each(|input| readers.entry(input).or_default().push(place));
        }
        let mut constants: HashMap<_, _> =
            graph.initializer.iter().map(|tensor| (tensor.name.as_str(), (tensor, None))).collect();
        for (place, node) in graph.node.iter().enumerate() {
            let ("Cast", [input], [output]) = (node.op_type.as_str(), &*node.input, &*node.output) else { continue };
            let is_float = attribute(node, "to").is_some_and(|to| to.i == i64::from(FLOAT));
            if let (true, Some((tensor, None))) = (is_float, constants.get(input.as_str())) {
                constants.insert(output, (tensor, Some(place)));
            }
        }
        Self { isa, nodes: &graph.node, readers, constants, taken: HashSet::new(), means: Vec::new() }
    }

    /// From the network's input to the means.
    fn trunk(&mut self, input: &str) -> Option<Trunk> {
        let mut expand = self.convolution(input, 3)?;
        if (expand.inputs, expand.groups) != (3, 1) {
            return None;
        }
        let stem = (expand.layer.pads, expand.layer.stride);
        let mut blocks = Vec::new();
        // The name of the map that the block reads; the first one reads the picture.
        let mut map: Option<&String> = None;
        let last = loop {
            let mean = self.mean(expand.output);
            let Some(depthwise) = self.convolution(expand.output, 3) else {
                // Nothing but a mean comes behind the last convolution.
                break (mean && !blocks.is_empty()).then_some(expand)?;
            };
            let project = self.convolution(depthwise.output, 1)?;
            let middle = expand.layer.bias.len();
            let is_depthwise = [1, middle, middle] == [depthwise.inputs, depthwise.groups, depthwise.layer.bias.len()];
            let is_project = project.is_pointwise && project.inputs == middle && project.layer.range == LINEAR;
            if !is_depthwise || !is_project {
                return None;
            }
            let outputs = project.layer.bias.len();
            let is_same_size = (depthwise.layer.pads, depthwise.layer.stride, outputs) == ([1; 4], 1, expand.inputs);
            let sum = map.filter(|_| is_same_size).and_then(|map| self.sum(project.output, map));
            let layers = [expand.layer, depthwise.layer, project.layer];
            blocks.push(Block::new(self.isa, layers, sum.is_some(), mean));
            let output = sum.unwrap_or(project.output);
            expand = self.convolution(output, 1)?;
            if !expand.is_pointwise || expand.inputs != outputs {
                return None;
            }
            map = Some(output);
        };
        Some(Trunk::new(self.isa, stem, blocks, &last.layer))
    }

    /// From the means, so many of them, to the probabilities, and the name of these.
    fn head(&mut self, input: &str, channels: usize) -> Option<(Head, &'a String)> {
        let concat = self.take(self.means.first()?, "Concat")?;
        if !concat.input.iter().eq(self.means.iter().copied()) || attribute(concat, "axis")?.i != 1 {
            return None;
        }
        let rows = self.rows(input, concat.output.first()?, channels)?;
        let (shift, shifted) = self.with_row(rows, "Add", channels)?;
        let (scale, scaled) = self.with_row(shifted, "Mul", channels)?;
        let (hidden, wide) = self.dense(scaled, channels)?;
        let hidden_len = hidden.bias.len();
        let relu = self.take(wide, "Relu")?.output.first()?;
        let (classes, logits) = self.dense(relu, hidden_len)?;
        let probabilities = self.take(logits, "Sigmoid")?.output.first()?;
        Some((Head { arch: self.isa.arch, shift, scale, hidden, classes }, probabilities))
    }

    /// The only node of a kind that reads a value.
    fn reader(&self, value: &str, kind: &str) -> Option<(usize, &'a Node)> {
        let mut readers = self.readers.get(value)?.iter().map(|place| (*place, &self.nodes[*place]));
        let found = readers.find(|(_, node)| node.op_type == kind)?;
        readers.all(|(_, node)| node.op_type != kind).then_some(found)
    }

    /// That node, walked over.
    fn take(&mut self, value: &str, kind: &str) -> Option<&'a Node> {
        let (place, node) = self.reader(value, kind)?;
        self.taken.insert(place);
        Some(node)
    }

    /// A constant's tensor, with the `Cast` before it walked over.
    fn constant(&mut self, name: &str) -> Option<&'a Tensor> {
        let (tensor, cast) = *self.constants.get(name)?;
        self.taken.extend(cast);
        Some(tensor)
    }

    /// The convolution that reads a value, of that kernel, and its clamp.
    fn convolution(&mut self, value: &str, kernel: i64) -> Option<Step<'a>> {
        let (place, node) = self.reader(value, "Conv")?;
        let [input, weight, bias] = node.input.as_slice() else { return None };
        let numbers = |name: &str, default: i64, len: usize| {
            attribute(node, name).map_or_else(|| vec![default; len], |attribute| attribute.ints.clone())
        };
        let (weight, bias) = (self.constants.get(weight.as_str())?.0, self.constants.get(bias.as_str())?.0);
        let &[outputs, inputs, height, width] = weight.dims.as_slice() else { return None };
        let strides = numbers("strides", 1, 2);
        let pads = numbers("pads", 0, 4);
        let is_plain = input == value
            && (height, width) == (kernel, kernel)
            && bias.dims == [outputs]
            && numbers("dilations", 1, 2) == [1, 1]
            && attribute(node, "auto_pad").is_none_or(|auto| auto.s == "NOTSET")
            && (strides == [1, 1] || strides == [2, 2]);
        if !is_plain {
            return None;
        }
        let groups = attribute(node, "group").map_or(1, |group| group.i);
        let is_pointwise = kernel == 1 && groups == 1 && strides == [1, 1] && pads == [0; 4];
        let pads: Vec<usize> = pads.into_iter().map(usize::try_from).collect::<Result<_, _>>().ok()?;
        let (range, output) = self.clamp(node.output.first()?)?;
        let layer = Convolution {
            weight: weights(weight)?,
            bias: floats(bias)?,
            pads: pads.try_into().ok()?,
            stride: strides[0] as usize,
            range,
        };
        self.taken.insert(place);
        node.input[1..].iter().try_for_each(|name| self.constant(name).map(|_| ()))?;
        Some(Step { layer, inputs: inputs as usize, groups: groups as usize, is_pointwise, output })
    }

    /// The range that a value is clamped to, and the name of what comes of it.
    fn clamp(&mut self, value: &'a String) -> Option<([f32; 2], &'a String)> {
        if let Some(node) = self.take(value, "Clip") {
            let mut bound = |place: usize| match node.input.get(place).filter(|name| !name.is_empty()) {
                Some(name) => floats(self.constant(name)?)?.first().copied(),
                None => Some(LINEAR[place - 1]),
            };
            Some(([bound(1)?, bound(2)?], node.output.first()?))
        } else if let Some(node) = self.take(value, "Relu") {
            Some(([0.0, LINEAR[1]], node.output.first()?))
        } else {
            Some((LINEAR, value))
        }
    }

    /// Whether the global mean of a value is read.
    fn mean(&mut self, value: &str) -> bool {
        let mean = self.take(value, "GlobalAveragePool").and_then(|node| node.output.first());
        self.means.extend(mean);
        mean.is_some()
    }

    /// The name of a value's sum with another one.
    fn sum(&mut self, value: &str, other: &str) -> Option<&'a String> {
        let (place, node) = self.reader(value, "Add")?;
        let is_sum = node.input == [value, other] || node.input == [other, value];
        self.taken.extend(is_sum.then_some(place));
        is_sum.then(|| node.output.first())?
    }

    /// A value as `[batch, len]`, a reshape by the network's input's own first size.
    fn rows(&mut self, input: &str, value: &str, len: usize) -> Option<&'a String> {
        let shape = self.take(input, "Shape")?;
        let batch = self.take(shape.output.first()?, "Gather")?;
        let sizes = self.take(batch.output.first()?, "Concat")?;
        let rows = self.take(value, "Reshape")?;
        let ([_, first], [start, rest]) = (batch.input.as_slice(), sizes.input.as_slice()) else { return None };
        let is_first = |node| attribute(node, "axis").is_none_or(|axis| axis.i == 0);
        let is_plain = shape.attribute.is_empty()
            && is_first(batch)
            && integers(self.constant(first)?)? == [0]
            && is_first(sizes)
            && start == &batch.output[0]
            && integers(self.constant(rest)?)? == [len as i64]
            && rows.input == [value, &sizes.output[0]];
        is_plain.then(|| rows.output.first())?
    }

    /// What a node of a kind makes of each row of a value with always the same other row, of that length.
    fn with_row(&mut self, value: &str, kind: &str, len: usize) -> Option<(Vec<f32>, &'a String)> {
        let node = self.take(value, kind)?;
        let [first, second] = node.input.as_slice() else { return None };
        let other = if first == value { second } else { first };
        let (place, reshape) = self.nodes.iter().enumerate().find(|(_, node)| node.output.first() == Some(other))?;
        let ("Reshape", [row, shape]) = (reshape.op_type.as_str(), &*reshape.input) else { return None };
        self.taken.insert(place);
        let is_row = integers(self.constant(shape)?)? == [1, len as i64];
        let row = floats(self.constant(row)?)?;
        (is_row && row.len() == len).then_some((row, node.output.first()?))
    }

    /// The dense layer that reads a value of so many numbers.
    fn dense(&mut self, value: &str, inputs: usize) -> Option<(Dense, &'a String)> {
        let product = self.take(value, "MatMul")?;
        let [_, weight] = product.input.as_slice() else { return None };
        let weight = self.constant(weight)?;
        let &[rows, outputs] = weight.dims.as_slice() else { return None };
        let (bias, output) = self.with_row(product.output.first()?, "Add", outputs as usize)?;
        let is_dense = product.input[0] == value && rows as usize == inputs;
        let weight = match weights(weight)? {
            Weights::Half(_) => Matrix::Half(weight.raw_data.clone()),
            single => Matrix::Single(single.floats()),
        };
        is_dense.then_some((Dense { weight, bias }, output))
    }
}

fn attribute<'a>(node: &'a Node, name: &str) -> Option<&'a Attribute> {
    node.attribute.iter().find(|attribute| attribute.name == name)
}

/// The numbers of a tensor of 16- or 32-bit floats.
fn weights(tensor: &Tensor) -> Option<Weights<'_>> {
    let weights = match tensor.data_type {
        FLOAT => Weights::Single(tensor.raw_data.as_chunks().0),
        FLOAT16 => Weights::Half(tensor.raw_data.as_chunks().0),
        _ => return None,
    };
    let len: i64 = tensor.dims.iter().product();
    (weights.count() as i64 == len).then_some(weights)
}

/// The same as 32-bit floats.
fn floats(tensor: &Tensor) -> Option<Vec<f32>> {
    Some(weights(tensor)?.floats())
}

/// The numbers of a tensor of integers.
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
    fn a_graph_that_is_not_quite_a_mobilenet_is_left_to_tract() {
        struct Case {
            what: &'static str,
            spoil: fn(&mut Graph),
        }
        fn spoil(graph: &mut Graph, output: &str, spoil: fn(&mut Node)) {
            spoil(graph.node.iter_mut().find(|node| node.output[0] == output).unwrap());
        }
        let cases = [
            Case {
                what: "a value inside is read elsewhere",
                spoil: |graph| graph.node.push(Node { input: vec!["blocks.5.add".into()], ..Default::default() }),
            },
            Case { what: "a value inside is the output", spoil: |graph| graph.output[0].name = "add.add.2".into() },
            Case {
                what: "an operator is another one",
                spoil: |graph| spoil(graph, "blocks.7.clip", |clip| clip.op_type = "Sigmoid".into()),
            },
            Case {
                what: "the last mean is missing",
                spoil: |graph| graph.node.retain(|node| node.output[0] != "globalaveragepool"),
            },
            Case {
                what: "the means are in another order",
                spoil: |graph| spoil(graph, "concat", |concat| concat.input.swap(0, 1)),
            },
            Case {
                what: "the means lie along another axis",
                spoil: |graph| spoil(graph, "concat", |concat| concat.attribute[0].i = 2),
            },
            Case {
                what: "the head has another activation",
                spoil: |graph| spoil(graph, "relu", |relu| relu.op_type = "Tanh".into()),
            },
            Case {
                what: "the means are multiplied before they are shifted",
                spoil: |graph| spoil(graph, "add", |add| add.op_type = "Mul".into()),
            },
        ];
        let whole = Model::decode(SHIPPED).unwrap().graph.unwrap();
        assert!(mobilenet(&whole, Isa::detect()).is_some());
        for Case { what, spoil } in cases {
            let mut graph = whole.clone();
            spoil(&mut graph);
            assert!(mobilenet(&graph, Isa::detect()).is_none(), "{what}");
        }
    }
}
