//! A simpler graph than the exporter writes, with the same result.

use std::collections::{HashMap, HashSet};

use half::f16;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{AttributeProto, GraphProto, NodeProto, TensorProto, attribute_proto::AttributeType};

/// Makes `Relu(x) - Relu(x - c)`, the only way in which burn-onnx can write ReLU6, one `Clip(x, 0, c)`.
pub(super) fn join_clips(graph: &mut GraphProto) {
    let makers: HashMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |output| (output.as_str(), node))).collect();
    let constants: HashMap<&str, f32> =
        graph.initializer.iter().filter_map(|tensor| Some((tensor.name.as_str(), scalar(tensor)?))).collect();
    let made_by =
        |tensor: &String, kind: &str| makers.get(tensor.as_str()).copied().filter(|node| node.op_type == kind);
    let clip = |node: &NodeProto| -> Option<(String, f32)> {
        let [low, high] = (node.op_type == "Sub").then_some(node.input.as_slice())? else { return None };
        let below = made_by(&made_by(high, "Relu")?.input[0], "Sub")?;
        let source = &made_by(low, "Relu")?.input[0];
        (below.input[0] == *source).then_some(())?;
        Some((source.clone(), *constants.get(below.input[1].as_str())?))
    };
    let clips: Vec<_> = graph
        .node
        .iter()
        .enumerate()
        .filter_map(|(place, node)| clip(node).map(|(source, ceiling)| (place, source, ceiling)))
        .collect();

    let mut bounds: Vec<f32> = Vec::new();
    for (place, source, ceiling) in clips {
        bounds.extend([0.0, ceiling].into_iter().filter(|bound| !bounds.contains(bound)).collect::<Vec<_>>());
        let node = &mut graph.node[place];
        node.op_type = "Clip".into();
        node.input = vec![source, bound_name(0.0), bound_name(ceiling)];
    }
    graph.initializer.extend(bounds.into_iter().map(|bound| TensorProto {
        name: bound_name(bound),
        data_type: DataType::Float as i32,
        raw_data: bound.to_le_bytes().to_vec(),
        ..TensorProto::default()
    }));
    remove_unused(graph);
}

fn bound_name(bound: f32) -> String {
    format!("bound_{bound}")
}

fn scalar(tensor: &TensorProto) -> Option<f32> {
    let one = tensor.dims.iter().product::<i64>() == 1 && tensor.data_type == DataType::Float as i32;
    let [value] = floats(tensor)[..] else { return None };
    one.then_some(value)
}

fn floats(tensor: &TensorProto) -> Vec<f32> {
    if tensor.raw_data.is_empty() {
        return tensor.float_data.clone();
    }
    tensor.raw_data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Drops nodes and weights that nothing uses any more.
fn remove_unused(graph: &mut GraphProto) {
    let mut used: HashSet<String> = graph.output.iter().map(|output| output.name.clone()).collect();
    // A node comes after those that it uses.
    for node in graph.node.iter().rev() {
        if node.output.iter().any(|output| used.contains(output)) {
            used.extend(node.input.iter().cloned());
        }
    }
    graph.node.retain(|node| node.output.iter().any(|output| used.contains(output)));
    graph.initializer.retain(|tensor| used.contains(&tensor.name));
}

/// Stores tensors of at least `size` weights as 16-bit floats, each behind a `Cast` that gives back 32 bits: half the file,
/// the same arithmetic.
pub(super) fn halve_weights(graph: &mut GraphProto, size: usize) {
    let mut casts = Vec::new();
    for tensor in &mut graph.initializer {
        if tensor.data_type != DataType::Float as i32 || tensor.dims.iter().product::<i64>() < size as i64 {
            continue;
        }
        let halved = floats(tensor).into_iter().flat_map(|value| f16::from_f32(value).to_le_bytes());
        (tensor.raw_data, tensor.float_data) = (halved.collect(), Vec::new());
        tensor.data_type = DataType::Float16 as i32;
        casts.push(NodeProto {
            name: format!("{}.cast", tensor.name),
            op_type: "Cast".into(),
            input: vec![tensor.name.clone()],
            output: vec![format!("{}.f32", tensor.name)],
            attribute: vec![AttributeProto {
                name: "to".into(),
                r#type: AttributeType::Int as i32,
                i: DataType::Float as i64,
                ..AttributeProto::default()
            }],
            ..NodeProto::default()
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
