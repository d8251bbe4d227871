//! Any graph at all, run by tract.

use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::type_proto::Value;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use tract_onnx::prelude::*;

use super::card::{Card, Output};
use super::interface::{Interface, Layout};
use super::prediction;
use crate::error::one_line;
use crate::panics;

/// A graph made ready for single posters, the fastest way to run one in tract.
pub struct Plan {
    model: Arc<TypedRunnableModel>,
    layout: Layout,
    output: Output,
}

impl Plan {
    /// Compiles the graph of an ONNX file with that card, and runs it once on noise. An error is on one line.
    pub fn new(file: &[u8], interface: &Interface, card: &Card) -> Result<Self, String> {
        let size = [card.input.height as usize, card.input.width as usize];
        let model = guarded(|| compile(file, interface, size))?;
        let shape = model.model().output_fact(0).ok().and_then(|fact| fact.shape.as_concrete().map(<[usize]>::to_vec));
        let genres = card.genres.len();
        // As `[1, G]`, `[G]` or `[1, G, 1, 1]`.
        if !shape.as_ref().is_some_and(|dims| dims.contains(&genres) && dims.iter().product::<usize>() == genres) {
            let shape = shape.map_or("is unknown".into(), |dims| format!("is {dims:?}"));
            return Err(format!(
                "the shape of its output `{}` {shape}, and its card names {genres} genres; correct the card or export it \
                 for these genres",
                interface.output
            ));
        }
        let plan = Self { model, layout: interface.layout, output: card.output };
        // Not all the same, which some networks would divide by.
        let noise: Vec<f32> = (0..card.input.len()).map(|index| (index % 97 * 61 % 97) as f32 / 48.0 - 1.0).collect();
        prediction::probabilities(plan.run(&noise, size)?, &card.genres)?;
        Ok(plan)
    }

    /// Output of the graph for one input `[3, height, width]`, `[G]`, after the sigmoid if the card says logits.
    pub fn run(&self, input: &[f32], [height, width]: [usize; 2]) -> Result<Vec<f32>, String> {
        let values = guarded(|| {
            let input = Tensor::from_shape(&self.layout.shape(height, width), &self.layout.arrange(input))?;
            let output = self.model.run(tvec!(input.into_tvalue()))?;
            Ok(output[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
        })?;
        Ok(match self.output {
            Output::Probabilities => values,
            Output::Logits => values.into_iter().map(|logit| 1.0 / (1.0 + (-logit).exp())).collect(),
        })
    }
}

fn compile(
    mut file: &[u8],
    interface: &Interface,
    [height, width]: [usize; 2],
) -> TractResult<Arc<TypedRunnableModel>> {
    let mut proto: ModelProto = onnx().proto_model_for_read(&mut file)?;
    if let Some(graph) = &mut proto.graph {
        graph.output.retain(|output| output.name == interface.output);
        widen(graph);
    }
    let poster = InferenceFact::dt_shape(f32::datum_type(), interface.layout.shape(height, width));
    onnx().model_for_proto_model(&proto)?.with_input_fact(0, poster)?.into_optimized()?.into_runnable()
}

/// Runs code of tract, which panics on some graphs that are not valid. An error is on one line, with the way out.
fn guarded<T>(work: impl FnOnce() -> TractResult<T>) -> Result<T, String> {
    let way_out = "export it with other operators or another opset, such as torch.onnx.export(…, opset_version=17)";
    match panics::catch(work) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(format!("tract refuses it ({}); {way_out}", one_line(&format!("{error:#}")))),
        Err(message) => Err(format!("tract gives up on it ({}); {way_out}", one_line(&message))),
    }
}

/// Turns the 16-bit floats of a graph into 32-bit ones: tract knows few operators for them, and would cast weights that
/// are stored in 16 bits anew for every poster, which takes longer than a small model's arithmetic.
fn widen(graph: &mut GraphProto) {
    graph.initializer.iter_mut().for_each(widen_tensor);
    graph.input.iter_mut().chain(&mut graph.output).chain(&mut graph.value_info).for_each(widen_value);
    graph.node.iter_mut().for_each(widen_node);
}

fn widen_node(node: &mut NodeProto) {
    for AttributeProto { name, i, t, tensors, g, graphs, .. } in &mut node.attribute {
        t.iter_mut().chain(tensors).for_each(widen_tensor);
        g.iter_mut().chain(graphs).for_each(widen);
        if (name == "to" || name == "dtype") && *i == DataType::Float16 as i64 {
            *i = DataType::Float as i64;
        }
    }
}

fn widen_value(value: &mut ValueInfoProto) {
    if let Some(Value::TensorType(tensor)) = value.r#type.as_mut().and_then(|kind| kind.value.as_mut())
        && tensor.elem_type == DataType::Float16 as i32
    {
        tensor.elem_type = DataType::Float as i32;
    }
}

fn widen_tensor(tensor: &mut TensorProto) {
    if tensor.data_type != DataType::Float16 as i32 {
        return;
    }
    // The bits are in bytes, or each in an integer of its own.
    let bytes = tensor.raw_data.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes));
    let halves: Vec<f16> = bytes.chain(tensor.int32_data.drain(..).map(|bits| f16::from_bits(bits as u16))).collect();
    tensor.data_type = DataType::Float as i32;
    tensor.raw_data = halves.to_f32_vec().into_iter().flat_map(f32::to_le_bytes).collect();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(kind: DataType, raw_data: Vec<u8>, int32_data: Vec<i32>) -> TensorProto {
        TensorProto { data_type: kind as i32, dims: vec![2], raw_data, int32_data, ..TensorProto::default() }
    }

    #[test]
    fn every_16_bit_float_of_a_graph_becomes_one_of_32_bits() {
        let halves = [0.5, -3.0].map(f16::from_f32);
        let bytes: Vec<u8> = halves.into_iter().flat_map(f16::to_le_bytes).collect();
        let integers = halves.map(|half| i32::from(half.to_bits())).to_vec();
        let cast = AttributeProto { name: "to".into(), i: DataType::Float16 as i64, ..AttributeProto::default() };
        let constant =
            AttributeProto { t: Some(tensor(DataType::Float16, bytes.clone(), vec![])), ..AttributeProto::default() };
        let node = NodeProto { attribute: vec![cast, constant], ..NodeProto::default() };
        let inner = GraphProto { node: vec![node.clone()], ..GraphProto::default() };
        let branch = AttributeProto { g: Some(inner), ..AttributeProto::default() };
        let mut graph = GraphProto {
            initializer: vec![
                tensor(DataType::Float16, bytes, vec![]),
                tensor(DataType::Float16, vec![], integers),
                tensor(DataType::Int64, vec![0; 16], vec![]),
            ],
            node: vec![node, NodeProto { attribute: vec![branch], ..NodeProto::default() }],
            ..GraphProto::default()
        };
        let integers = graph.initializer[2].clone();
        widen(&mut graph);
        let wide = [0.5_f32, -3.0].into_iter().flat_map(f32::to_le_bytes).collect();
        let wide = tensor(DataType::Float, wide, vec![]);
        assert_eq!(graph.initializer, [wide.clone(), wide.clone(), integers]);
        let inner = graph.node[1].attribute[0].g.as_ref().unwrap();
        for node in [&graph.node[0], &inner.node[0]] {
            assert_eq!(node.attribute[0].i, DataType::Float as i64);
            assert_eq!(node.attribute[1].t.as_ref(), Some(&wide));
        }
    }
}
