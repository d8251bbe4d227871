//! What is done to a model's graph before tract sees it.

use std::collections::{HashMap, HashSet};

use half::f16;
use half::slice::HalfFloatSliceExt;
use pulp::Arch;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto};

use crate::mobilenet::{Block, Convolution, Trunk};

/// The name of the node that [`take_trunk`] leaves.
pub const TRUNK: &str = "trunk";

/// Turns weights that are stored as 16-bit floats behind a `Cast` into 32-bit ones. tract would cast them anew for every
/// poster, which takes longer than a small network's arithmetic.
pub fn widen(graph: &mut GraphProto) {
    let stored: HashMap<String, usize> = (graph.initializer.iter().enumerate())
        .filter(|(_, tensor)| tensor.data_type == DataType::Float16 as i32 && !tensor.raw_data.is_empty())
        .map(|(place, tensor)| (tensor.name.clone(), place))
        .collect();
    let mut wide = Vec::new();
    graph.node.retain(|node| {
        let place = is_widening(node).then(|| stored.get(&node.input[0])).flatten();
        wide.extend(place.map(|place| (*place, node.output[0].clone())));
        place.is_none()
    });
    let wide: Vec<TensorProto> = wide
        .into_iter()
        .map(|(place, name)| {
            let tensor = &graph.initializer[place];
            let values = floats(tensor).expect("only 16-bit floats are widened");
            TensorProto {
                name,
                dims: tensor.dims.clone(),
                data_type: DataType::Float as i32,
                raw_data: values.into_iter().flat_map(f32::to_le_bytes).collect(),
                ..TensorProto::default()
            }
        })
        .collect();
    graph.initializer.extend(wide);
    drop_unused(graph);
}

/// Whether a node makes 32-bit floats of others.
fn is_widening(node: &NodeProto) -> bool {
    node.op_type == "Cast" && node.attribute.iter().any(|to| to.name == "to" && to.i == DataType::Float as i64)
}

/// Removes initializers that no node reads.
fn drop_unused(graph: &mut GraphProto) {
    let used: HashSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
    graph.initializer.retain(|tensor| used.contains(&tensor.name));
}

/// Takes the trunk of a MobileNetV2 out of a graph and leaves one node in its place, named [`TRUNK`], from the graph's input
/// to the means that the rest of the graph reads. A graph that is not quite such a network stays as it is.
///
/// The trunk is a 3 x 3 convolution of the input, inverted residual blocks, and a pointwise convolution; only global means
/// of a block's expanded features and of the last ones go to the rest. Weights are 16- or 32-bit floats.
pub fn take_trunk(graph: &mut GraphProto) -> Option<Trunk> {
    let input = graph.input.first()?.name.clone();
    let mut walk = Walk::new(graph);
    let mut expand = walk.convolution(&input, Some(3))?;
    if (expand.inputs, expand.groups) != (3, 1) {
        return None;
    }
    let stem = (expand.layer.pads, expand.layer.stride);
    let mut blocks = Vec::new();
    // The name of the map that the block reads; the first one reads the picture.
    let mut map = None;
    let last = loop {
        let mean = walk.mean(&expand.output);
        let Some(depthwise) = walk.convolution(&expand.output, Some(3)) else {
            // Nothing but a mean comes behind the last convolution.
            break (mean && !blocks.is_empty()).then_some(expand)?;
        };
        let project = walk.convolution(&depthwise.output, None)?;
        let is_depthwise = depthwise.inputs == 1 && depthwise.groups == expand.layer.bias.len();
        if !is_depthwise || !project.is_pointwise || project.layer.range != LINEAR {
            return None;
        }
        let sum = map.and_then(|map: String| walk.sum(&project.output, &map));
        let layers = [expand.layer, depthwise.layer, project.layer];
        blocks.push(Block::new(Arch::new(), layers, sum.is_some(), mean));
        let output = sum.unwrap_or(project.output);
        expand = walk.convolution(&output, None)?;
        if !expand.is_pointwise {
            return None;
        }
        map = Some(output);
    };
    let Walk { means, taken, .. } = walk;
    let trunk = Trunk::new(Arch::new(), stem, blocks, &last.layer);
    let is_taken = |place: usize| taken.contains(&place);
    let inside: HashSet<&String> = (graph.node.iter().enumerate())
        .filter(|(place, _)| is_taken(*place))
        .flat_map(|(_, node)| &node.output)
        .filter(|output| !means.contains(output))
        .collect();
    let outside = graph.node.iter().enumerate().filter(|(place, _)| !is_taken(*place));
    let mut read = outside.flat_map(|(_, node)| &node.input).chain(graph.output.iter().map(|output| &output.name));
    if read.any(|name| inside.contains(name)) {
        return None;
    }
    let mut place = 0..;
    graph.node.retain(|_| !is_taken(place.next().expect("there is always another number")));
    let node = NodeProto {
        name: TRUNK.into(),
        op_type: "MobileNetTrunk".into(),
        input: vec![input],
        output: means,
        ..NodeProto::default()
    };
    graph.node.insert(0, node);
    drop_unused(graph);
    Some(trunk)
}

/// The range of a convolution whose outputs are not clamped.
const LINEAR: [f32; 2] = [f32::NEG_INFINITY, f32::INFINITY];

/// A way through a graph, from node to node.
struct Walk<'a> {
    nodes: &'a [NodeProto],
    /// The places of the nodes that read a value.
    readers: HashMap<&'a str, Vec<usize>>,
    /// Constants, and for those that a `Cast` makes 32-bit floats of its place.
    constants: HashMap<&'a str, (&'a TensorProto, Option<usize>)>,
    /// The places of the nodes that were walked over.
    taken: HashSet<usize>,
    /// The global means that were met, in order.
    means: Vec<String>,
}

/// A convolution and the clamp behind it.
struct Step {
    layer: Convolution,
    /// Inputs of a group.
    inputs: usize,
    groups: usize,
    /// Whether it is 1 x 1, of a single group, with no stride or pads.
    is_pointwise: bool,
    /// The value's name.
    output: String,
}

impl<'a> Walk<'a> {
    fn new(graph: &'a GraphProto) -> Self {
        let mut readers: HashMap<&str, Vec<usize>> = HashMap::new();
        for (place, node) in graph.node.iter().enumerate() {
            node.input.iter().for_each(|input| readers.entry(input).or_default().push(place));
        }
        let mut constants: HashMap<_, _> =
            graph.initializer.iter().map(|tensor| (tensor.name.as_str(), (tensor, None))).collect();
        for (place, node) in graph.node.iter().enumerate().filter(|(_, node)| is_widening(node)) {
            if let Some((tensor, _)) = constants.get(node.input[0].as_str()) {
                constants.insert(&node.output[0], (tensor, Some(place)));
            }
        }
        Self { nodes: &graph.node, readers, constants, taken: HashSet::new(), means: Vec::new() }
    }

    /// The only node of a kind that reads a value.
    fn reader(&self, value: &str, kind: &str) -> Option<(usize, &'a NodeProto)> {
        let mut readers = self.readers.get(value)?.iter().map(|place| (*place, &self.nodes[*place]));
        let found = readers.find(|(_, node)| node.op_type == kind)?;
        readers.all(|(_, node)| node.op_type != kind).then_some(found)
    }

    /// The convolution that reads a value, of that kernel, or 1 x 1.
    fn convolution(&mut self, value: &str, kernel: Option<i64>) -> Option<Step> {
        let (place, node) = self.reader(value, "Conv")?;
        let [input, weight, bias] = node.input.as_slice() else { return None };
        let (weight, bias) = (*self.constants.get(weight.as_str())?, *self.constants.get(bias.as_str())?);
        let kernel = kernel.unwrap_or(1);
        let &[_, inputs, height, width] = weight.0.dims.as_slice() else { return None };
        let attribute = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
        let numbers = |name: &str, default: i64, len: usize| {
            attribute(name).map_or_else(|| vec![default; len], |attribute| attribute.ints.clone())
        };
        let strides = numbers("strides", 1, 2);
        let pads = numbers("pads", 0, 4);
        let is_plain = input == value
            && (height, width) == (kernel, kernel)
            && numbers("dilations", 1, 2) == [1, 1]
            && attribute("auto_pad").is_none_or(|auto: &AttributeProto| auto.s == b"NOTSET")
            && (strides == [1, 1] || strides == [2, 2]);
        if !is_plain {
            return None;
        }
        let groups = attribute("group").map_or(1, |group| group.i) as usize;
        let is_pointwise = kernel == 1 && groups == 1 && strides == [1, 1] && pads == [0; 4];
        let pads = pads.iter().map(|pad| *pad as usize).collect::<Vec<_>>().try_into().ok()?;
        let (range, output) = self.clamp(&node.output[0])?;
        self.taken.extend([Some(place), weight.1, bias.1].into_iter().flatten());
        let (weight, bias) = (floats(weight.0)?, floats(bias.0)?);
        let layer = Convolution { weight, bias, pads, stride: strides[0] as usize, range };
        Some(Step { layer, inputs: inputs as usize, groups, is_pointwise, output })
    }

    /// The range that a value is clamped to, and the name of what comes of it.
    fn clamp(&mut self, value: &str) -> Option<([f32; 2], String)> {
        let bound = |name: Option<&String>, none: f32| match name.filter(|name| !name.is_empty()) {
            Some(name) => self.constants.get(name.as_str()).and_then(|(tensor, _)| floats(tensor)?.first().copied()),
            None => Some(none),
        };
        let (place, node, range) = if let Some((place, node)) = self.reader(value, "Clip") {
            (place, node, [bound(node.input.get(1), LINEAR[0])?, bound(node.input.get(2), LINEAR[1])?])
        } else if let Some((place, node)) = self.reader(value, "Relu") {
            (place, node, [0.0, LINEAR[1]])
        } else {
            return Some((LINEAR, value.to_string()));
        };
        self.taken.insert(place);
        Some((range, node.output[0].clone()))
    }

    /// Whether the global mean of a value is read.
    fn mean(&mut self, value: &str) -> bool {
        let Some((place, node)) = self.reader(value, "GlobalAveragePool") else { return false };
        self.taken.insert(place);
        self.means.push(node.output[0].clone());
        true
    }

    /// The name of a value's sum with another one.
    fn sum(&mut self, value: &str, other: &str) -> Option<String> {
        let (place, node) = self.reader(value, "Add")?;
        let is_sum = node.input == [value, other] || node.input == [other, value];
        self.taken.extend(is_sum.then_some(place));
        is_sum.then(|| node.output[0].clone())
    }
}

/// The numbers of a tensor of 16- or 32-bit floats.
fn floats(tensor: &TensorProto) -> Option<Vec<f32>> {
    let raw = &tensor.raw_data;
    if tensor.data_type == DataType::Float as i32 {
        let values = raw.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        return Some(if raw.is_empty() { tensor.float_data.clone() } else { values.collect() });
    }
    if tensor.data_type != DataType::Float16 as i32 || raw.is_empty() {
        return None;
    }
    let values: Vec<f16> = raw.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect();
    let mut wide = vec![0.0; values.len()];
    values.convert_to_f32_slice(&mut wide);
    Some(wide)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn initializer(name: &str, kind: DataType, raw_data: Vec<u8>) -> TensorProto {
        TensorProto { name: name.into(), data_type: kind as i32, dims: vec![2], raw_data, ..TensorProto::default() }
    }

    fn node(kind: &str, input: &[&str], output: &str, to: Option<DataType>) -> NodeProto {
        let to = to.map(|to| AttributeProto { name: "to".into(), i: to as i64, ..AttributeProto::default() });
        NodeProto {
            op_type: kind.into(),
            input: input.iter().map(ToString::to_string).collect(),
            output: vec![output.into()],
            attribute: to.into_iter().collect(),
            ..NodeProto::default()
        }
    }

    #[test]
    fn weights_of_16_bits_were_cast_anew_for_every_poster() {
        let half = |values: [f32; 2]| values.into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect();
        let mut graph = GraphProto {
            initializer: vec![
                initializer("weight", DataType::Float16, half([0.5, -3.0])),
                initializer("bias", DataType::Float, vec![0; 8]),
                initializer("kept", DataType::Float16, half([1.0, 2.0])),
            ],
            node: vec![
                node("Cast", &["weight"], "wide", Some(DataType::Float)),
                node("Cast", &["poster"], "cast", Some(DataType::Float)),
                node("Add", &["wide", "bias"], "sum", None),
                node("Mul", &["kept", "cast"], "product", None),
            ],
            ..GraphProto::default()
        };
        widen(&mut graph);
        let kinds: Vec<_> = graph.node.iter().map(|node| (node.op_type.as_str(), node.input[0].as_str())).collect();
        assert_eq!(kinds, [("Cast", "poster"), ("Add", "wide"), ("Mul", "kept")]);
        let names: Vec<_> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["bias", "kept", "wide"]);
        let wide = &graph.initializer[2];
        assert_eq!((wide.data_type, wide.dims.as_slice()), (DataType::Float as i32, &[2][..]));
        assert_eq!(wide.raw_data, [0.5_f32, -3.0].into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>());
    }
}
