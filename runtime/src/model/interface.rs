//! The interface of an ONNX graph that others have exported: the input that takes the poster, the output that holds the
//! genres, and whether the graph is fit to be run.
//!
//! Graphs are refused in the words of `torch.onnx.export`, before an engine sees them.

use std::collections::{HashMap, HashSet};

use half::f16;

use super::card::{Card, Output};
use super::prediction::SIGMOID_MISSING;
use crate::onnx::{Graph, Node, Tensor, Value, data_type};
use crate::preprocess::InputSpec;

/// Names that mark the output to use where a graph has several.
const OUTPUT_NAMES: [&str; 2] = ["probabilities", "logits"];

/// Operators that change the shape or the type of their first input only.
const PASS_THROUGH: [&str; 8] =
    ["Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];

/// Operators whose outputs are of any size.
const LINEAR: [&str; 4] = ["BatchNormalization", "Conv", "Gemm", "MatMul"];

/// Order of the dimensions of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `[N, 3, height, width]`, as PyTorch has it.
    Nchw,
    /// `[N, height, width, 3]`, as TensorFlow has it.
    Nhwc,
}

impl Layout {
    /// The shape of one poster.
    pub fn shape(self, height: usize, width: usize) -> [usize; 4] {
        match self {
            Self::Nchw => [1, 3, height, width],
            Self::Nhwc => [1, height, width, 3],
        }
    }

    /// A poster `[3, height, width]` in this order.
    pub fn arrange(self, poster: &[f32]) -> Vec<f32> {
        let area = poster.len() / 3;
        match self {
            Self::Nchw => poster.to_vec(),
            Self::Nhwc => (0..poster.len()).map(|index| poster[index % 3 * area + index / 3]).collect(),
        }
    }
}

/// Inputs and outputs of a graph.
#[derive(Debug, PartialEq, Eq)]
pub struct Interface {
    /// Order of the dimensions of the only input.
    pub layout: Layout,
    /// Name of the output that holds one value for each genre.
    pub output: String,
}

impl Interface {
    /// The interface of a graph with that card.
    ///
    /// # Errors
    /// If the graph is damaged, or is not one that the card can describe: the problem and the way out.
    pub fn of(graph: &Graph, card: &Card) -> Result<Self, String> {
        check_values(graph)?;
        let layout = layout(graph, &card.input)?;
        let output = output(graph)?;
        check_end(graph, &output.name, card.output)?;
        Ok(Self { layout, output: output.name.clone() })
    }
}

/// Checks that the values of every tensor are in the file and are numbers, and that every name is defined once, before it
/// is used.
fn check_values(graph: &Graph) -> Result<(), String> {
    if let Some(tensor) = graph.initializer.iter().find(|tensor| tensor.data_location != 0) {
        return Err(format!(
            "the values of `{}` are in another file; export it into one file (torch.onnx.export with \
             external_data=False)",
            tensor.name
        ));
    }
    if let Some(tensor) = graph.initializer.iter().find(|tensor| has_nan(tensor)) {
        return Err(format!("values of `{}` are not numbers; train it again, or export an earlier epoch", tensor.name));
    }
    let constants = graph.initializer.iter().map(|tensor| tensor.name.as_str());
    let inputs = graph.input.iter().map(|input| input.name.as_str());
    // An optional input that is left out has an empty name.
    let mut defined: HashSet<&str> = constants.chain(inputs).chain([""]).collect();
    for node in &graph.node {
        if let Some(missing) = node.input.iter().find(|name| !defined.contains(name.as_str())) {
            return Err(format!(
                "{} reads `{missing}`, which no input, constant or earlier node defines; it is damaged, export it again",
                describe(node)
            ));
        }
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if !defined.insert(name) {
                return Err(format!("`{name}` is defined twice; it is damaged, export it again"));
            }
        }
    }
    match graph.output.iter().find(|output| !defined.contains(output.name.as_str())) {
        Some(missing) => {
            Err(format!("its output `{}` is defined nowhere; it is damaged, export it again", missing.name))
        }
        None => Ok(()),
    }
}

/// Whether a value is not a number. Engines make numbers of these in a sigmoid.
fn has_nan(tensor: &Tensor) -> bool {
    let mut singles = tensor.raw_data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let mut halves = tensor.raw_data.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes));
    match tensor.data_type {
        data_type::FLOAT => singles.any(f32::is_nan) || tensor.float_data.iter().any(|value| value.is_nan()),
        data_type::FLOAT16 => halves.any(f16::is_nan),
        _ => false,
    }
}

fn describe(node: &Node) -> String {
    if node.name.is_empty() {
        format!("a node ({})", node.op_type)
    } else {
        format!("`{}` ({})", node.name, node.op_type)
    }
}

/// The layout of the graph's only input, which must take one poster of the card's size.
fn layout(graph: &Graph, spec: &InputSpec) -> Result<Layout, String> {
    let constants: HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    let inputs: Vec<&Value> = graph.input.iter().filter(|input| !constants.contains(input.name.as_str())).collect();
    let [input] = inputs.as_slice() else {
        return Err(format!("it has {} inputs{}; it must have one, the poster", inputs.len(), listed(&inputs)));
    };
    let name = &input.name;
    let tensor = input.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref());
    let kind = tensor.map_or(data_type::FLOAT, |tensor| tensor.elem_type);
    if ![data_type::FLOAT, data_type::FLOAT16].contains(&kind) {
        return Err(format!(
            "its input `{name}` is of type {}; it must be float32 or float16, (value / 255 - mean) / std",
            data_type::name(kind)
        ));
    }
    let Some(shape) = tensor.and_then(|tensor| tensor.shape.as_ref()) else { return Ok(Layout::Nchw) };
    // `None` is a length that is only known when the graph is run.
    let dims: Vec<Option<i64>> = shape.dim.iter().map(|dim| dim.dim_value.filter(|length| *length > 0)).collect();
    let shown = || {
        let dims: Vec<String> = dims.iter().map(|dim| dim.map_or("?".into(), |length| length.to_string())).collect();
        format!("its input `{name}` has the shape [{}]", dims.join(", "))
    };
    let &[batch, second, third, fourth] = dims.as_slice() else {
        return Err(format!("{}; it must be [1, 3, height, width] or [1, height, width, 3]", shown()));
    };
    let is = |dim: Option<i64>, length: u32| dim.is_none_or(|dim| dim == i64::from(length));
    let (layout, height, width) = match (second, fourth) {
        (Some(3), _) => (Layout::Nchw, third, fourth),
        (_, Some(3)) => (Layout::Nhwc, second, third),
        (None, _) => (Layout::Nchw, third, fourth),
        _ => return Err(format!("{}; it must be [1, 3, height, width] or [1, height, width, 3]", shown())),
    };
    if !is(batch, 1) {
        return Err(format!(
            "{}, for several posters at once; export it with a batch of one, or of any size (dynamic_axes of \
             torch.onnx.export)",
            shown()
        ));
    }
    if !is(height, spec.height) || !is(width, spec.width) {
        return Err(format!(
            "{}, and its card says {} x {} pixels (width x height); correct the card or export it for that size",
            shown(),
            spec.width,
            spec.height
        ));
    }
    Ok(layout)
}

/// The output that holds the genres: the only one, or that of the name.
fn output(graph: &Graph) -> Result<&Value, String> {
    let named = || graph.output.iter().find(|output| OUTPUT_NAMES.contains(&output.name.as_str()));
    let output = match graph.output.as_slice() {
        [output] => output,
        outputs => named().ok_or_else(|| {
            let outputs: Vec<&Value> = outputs.iter().collect();
            let (count, list) = (outputs.len(), listed(&outputs));
            format!("it has {count} outputs{list}; it must have one, or name that of the genres `probabilities`")
        })?,
    };
    let kind = output.r#type.as_ref().and_then(|kind| kind.tensor_type.as_ref()).map(|tensor| tensor.elem_type);
    match kind {
        None | Some(0 | data_type::FLOAT | data_type::FLOAT16) => Ok(output),
        Some(kind) => Err(format!(
            "its output `{}` is of type {}; it must be float32 or float16, a probability for each genre",
            output.name,
            data_type::name(kind)
        )),
    }
}

fn listed(values: &[&Value]) -> String {
    let names: Vec<&str> = values.iter().map(|value| value.name.as_str()).collect();
    if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) }
}

/// Checks that the last operator does not contradict what the card says about the output.
fn check_end(graph: &Graph, output: &str, expected: Output) -> Result<(), String> {
    let writers: HashMap<&str, &Node> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect();
    let writer = |name: &str| {
        let mut node = *writers.get(name)?;
        while PASS_THROUGH.contains(&node.op_type.as_str()) {
            node = writers.get(node.input.first()?.as_str())?;
        }
        Some(node)
    };
    let Some(last) = writer(output) else { return Ok(()) };
    let is_linear = |node: &Node| LINEAR.contains(&node.op_type.as_str());
    let is_biased = last.op_type == "Add" && last.input.iter().filter_map(|name| writer(name)).any(is_linear);
    match (last.op_type.as_str(), expected) {
        ("Softmax" | "LogSoftmax", _) => Err(format!(
            "it ends with a {}, whose genres exclude one another; a poster has several, train and export it with a \
             sigmoid for each",
            last.op_type
        )),
        ("Sigmoid", Output::Logits) => {
            Err("it ends with a Sigmoid, and its card says that it puts out logits; remove the key \"output\"".into())
        }
        (_, Output::Probabilities) if is_linear(last) || is_biased => {
            Err(format!("it ends with {} and puts out logits, no probabilities; {SIGMOID_MISSING}", describe(last)))
        }
        _ => Ok(()),
    }
}
