//! Rewrites of the exported graph that keep its result: ReLU6 as one node, weights stored as 16-bit floats.

use std::collections::{HashMap, HashSet};

use half::f16;
use runtime::onnx::{Attribute, Graph, Node, Tensor, attribute_type, data_type};

/// Fuses `Relu(x) - Relu(x - c)`, the only form in which burn-onnx can export ReLU6, into one `Clip(x, 0, c)`.
pub(super) fn fuse_relu6(graph: &mut Graph) {
    let producers: HashMap<&str, &Node> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node))).collect();
    let constants: HashMap<&str, f32> =
        graph.initializer.iter().filter_map(|tensor| Some((tensor.name.as_str(), scalar(tensor)?))).collect();
    let produced_by =
        |value: &String, op: &str| producers.get(value.as_str()).copied().filter(|node| node.op_type == op);
    // The input and the upper bound of the pattern that ends in `node`.
    let relu6 = |node: &Node| -> Option<(String, f32)> {
        if node.op_type != "Sub" {
            return None;
        }
        let [below, above] = node.input.as_slice() else { return None };
        let x = &produced_by(below, "Relu")?.input[0];
        let excess = produced_by(&produced_by(above, "Relu")?.input[0], "Sub")?;
        if excess.input[0] != *x {
            return None;
        }
        Some((x.clone(), *constants.get(excess.input[1].as_str())?))
    };
    let found: Vec<(usize, String, f32)> = graph
        .node
        .iter()
        .enumerate()
        .filter_map(|(index, node)| relu6(node).map(|(x, bound)| (index, x, bound)))
        .collect();

    let mut bounds: Vec<f32> = Vec::new();
    for (index, x, upper) in found {
        for bound in [0.0, upper] {
            if !bounds.contains(&bound) {
                bounds.push(bound);
            }
        }
        let node = &mut graph.node[index];
        node.op_type = "Clip".into();
        node.input = vec![x, bound_name(0.0), bound_name(upper)];
    }
    graph.initializer.extend(bounds.into_iter().map(|bound| Tensor {
        name: bound_name(bound),
        data_type: data_type::FLOAT,
        raw_data: bound.to_le_bytes().to_vec().into(),
        ..Tensor::default()
    }));
    remove_unused(graph);
}

fn bound_name(bound: f32) -> String {
    format!("bound_{bound}")
}

/// The value of a tensor of one 32-bit float.
fn scalar(tensor: &Tensor) -> Option<f32> {
    let is_scalar = tensor.dims.iter().product::<i64>() == 1 && tensor.data_type == data_type::FLOAT;
    let [value] = floats(tensor)[..] else { return None };
    is_scalar.then_some(value)
}

/// The values of a tensor of 32-bit floats.
pub(super) fn floats(tensor: &Tensor) -> Vec<f32> {
    if tensor.raw_data.is_empty() {
        return tensor.float_data.clone();
    }
    tensor.raw_data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Removes nodes and initializers whose values nothing uses.
fn remove_unused(graph: &mut Graph) {
    let mut used: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    // Nodes are in topological order: a node comes after those whose outputs it reads.
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|output| used.contains(output)) {
            used.extend(node.input.iter().cloned());
        }
    }
    graph.node.retain(|node| node.output.iter().any(|output| used.contains(output)));
    graph.initializer.retain(|tensor| used.contains(&tensor.name));
}

/// Stores tensors of at least `min_size` values as 16-bit floats, each followed by a `Cast` to 32 bits: half the file size,
/// the same arithmetic.
pub(super) fn store_as_f16(graph: &mut Graph, min_size: usize) {
    let mut casts = Vec::new();
    for tensor in &mut graph.initializer {
        if tensor.data_type != data_type::FLOAT || tensor.dims.iter().product::<i64>() < min_size as i64 {
            continue;
        }
        let halves: Vec<u8> = floats(tensor).into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes()).collect();
        (tensor.raw_data, tensor.float_data) = (halves.into(), Vec::new());
        tensor.data_type = data_type::FLOAT16;
        casts.push(Node {
            name: format!("{}.cast", tensor.name),
            op_type: "Cast".into(),
            input: vec![tensor.name.clone()],
            output: vec![format!("{}.f32", tensor.name)],
            attribute: vec![Attribute {
                name: "to".into(),
                kind: attribute_type::INT,
                i: data_type::FLOAT.into(),
                ..Attribute::default()
            }],
            ..Node::default()
        });
    }
    let renamed: HashMap<String, String> =
        casts.iter().map(|cast| (cast.input[0].clone(), cast.output[0].clone())).collect();
    for input in graph.node.iter_mut().flat_map(|node| &mut node.input) {
        if let Some(name) = renamed.get(input) {
            input.clone_from(name);
        }
    }
    graph.node.splice(0..0, casts);
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::onnx::Value;

    fn node(op: &str, input: &[&str], output: &str) -> Node {
        Node {
            op_type: op.into(),
            input: input.iter().map(ToString::to_string).collect(),
            output: vec![output.into()],
            ..Node::default()
        }
    }

    fn tensor(name: &str, dims: &[i64], values: &[f32]) -> Tensor {
        Tensor {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: data_type::FLOAT,
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into(),
            ..Tensor::default()
        }
    }

    /// `y = Relu(x) - Relu(x - 6)`.
    fn relu6_graph() -> Graph {
        Graph {
            node: vec![
                node("Relu", &["x"], "below"),
                node("Sub", &["x", "six"], "excess"),
                node("Relu", &["excess"], "above"),
                node("Sub", &["below", "above"], "y"),
            ],
            initializer: vec![tensor("six", &[1], &[6.0])],
            output: vec![Value { name: "y".into(), ..Value::default() }],
            ..Graph::default()
        }
    }

    #[test]
    fn relu6_becomes_one_clip() {
        let mut graph = relu6_graph();
        fuse_relu6(&mut graph);
        assert_eq!(graph.node, [node("Clip", &["x", "bound_0", "bound_6"], "y")]);
        let bounds: Vec<_> = graph.initializer.iter().map(|bound| (bound.name.as_str(), floats(bound))).collect();
        assert_eq!(bounds, [("bound_0", vec![0.0]), ("bound_6", vec![6.0])]);
        assert!(graph.initializer.iter().all(|bound| bound.dims.is_empty()), "bounds of Clip are scalars");
    }

    #[test]
    fn other_subtractions_stay() {
        type Case = (&'static str, fn(&mut Graph));
        let cases: [Case; 5] = [
            ("the bound is no constant", |graph| graph.initializer.clear()),
            ("the bound is a vector", |graph| graph.initializer[0] = tensor("six", &[2], &[6.0, 6.0])),
            ("another value is subtracted from", |graph| graph.node[1].input[0] = "z".into()),
            ("another activation", |graph| graph.node[2].op_type = "Tanh".into()),
            ("a sum", |graph| graph.node[3].op_type = "Add".into()),
        ];
        for (what, change) in cases {
            let mut graph = relu6_graph();
            change(&mut graph);
            let before = graph.clone();
            fuse_relu6(&mut graph);
            assert_eq!(graph, before, "{what}");
        }
    }

    #[test]
    fn large_tensors_are_stored_as_16_bit_floats() {
        let mut graph = Graph {
            node: vec![node("Gemm", &["x", "weight", "bias"], "y")],
            initializer: vec![tensor("weight", &[2, 2], &[0.5, -3.0, 1.0, 0.1]), tensor("bias", &[2], &[0.5, -3.0])],
            ..Graph::default()
        };
        store_as_f16(&mut graph, 4);
        let cast = &graph.node[0];
        assert_eq!((cast.op_type.as_str(), cast.name.as_str()), ("Cast", "weight.cast"));
        assert_eq!((&cast.input[..], &cast.output[..]), (&["weight".to_string()][..], &["weight.f32".to_string()][..]));
        assert_eq!((cast.attribute[0].name.as_str(), cast.attribute[0].i), ("to", 1));
        assert_eq!(graph.node[1..], [node("Gemm", &["x", "weight.f32", "bias"], "y")]);
        let [weight, bias] = &graph.initializer[..] else { panic!("there are two tensors") };
        assert_eq!((weight.data_type, weight.dims.as_slice()), (data_type::FLOAT16, &[2, 2][..]));
        let halves = [0.5, -3.0, 1.0, 0.1].map(|value| f16::from_f32(value).to_le_bytes()).concat();
        assert_eq!(weight.raw_data, halves);
        assert_eq!(*bias, tensor("bias", &[2], &[0.5, -3.0]));
    }
}
