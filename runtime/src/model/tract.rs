//! Any graph at all, run by tract.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use half::f16;
use half::slice::HalfFloatSliceExt;
use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::{GraphProto, ModelProto, NodeProto, TensorProto};
use tract_onnx::prelude::*;

use super::card::Card;
use crate::error::one_line;

/// A graph made ready for single posters, the fastest way to run one in tract.
pub struct Plan(Arc<TypedRunnableModel>);

impl Plan {
    /// Compiles the graph of an ONNX file with that card. An error is tract's, on one line.
    pub fn new(file: &[u8], card: &Card) -> Result<Self, String> {
        Self::compile(file, card).map_err(|error| one_line(&format!("{error:#}")))
    }

    fn compile(mut file: &[u8], card: &Card) -> TractResult<Self> {
        let mut proto: ModelProto = onnx().proto_model_for_read(&mut file)?;
        proto.graph.as_mut().into_iter().for_each(widen);
        let shape = [1, 3, card.input.height as usize, card.input.width as usize];
        let model = onnx().model_for_proto_model(&proto)?;
        let model = model.with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape))?.into_optimized()?;
        let output = model.output_fact(0)?.shape.as_concrete().map(<[usize]>::to_vec);
        if output.as_deref() != Some(&[1, card.genres.len()]) {
            let genres = card.genres.len();
            return Err(TractError::msg(format!("the card names {genres} genres, the output is {output:?}")));
        }
        Ok(Self(model.into_runnable()?))
    }

    /// The probability of each genre, `[G]`, for one input `[3, height, width]`.
    pub fn probabilities(&self, input: &[f32], size: [usize; 2]) -> Result<Vec<f32>, String> {
        self.run(input, size).map_err(|error| one_line(&format!("{error:#}")))
    }

    fn run(&self, input: &[f32], [height, width]: [usize; 2]) -> TractResult<Vec<f32>> {
        let input = Tensor::from_shape(&[1, 3, height, width], input)?;
        let output = self.0.run(tvec!(input.into_tvalue()))?;
        Ok(output[0].try_as_plain_ram()?.as_slice::<f32>()?.to_vec())
    }
}

/// Turns weights that are stored as 16-bit floats behind a `Cast` into 32-bit ones. tract would cast them anew for every
/// poster, which takes longer than a small model's arithmetic.
fn widen(graph: &mut GraphProto) {
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
            let TensorProto { raw_data, dims, .. } = &graph.initializer[place];
            let halves: Vec<f16> = raw_data.as_chunks::<2>().0.iter().map(|bytes| f16::from_le_bytes(*bytes)).collect();
            TensorProto {
                name,
                dims: dims.clone(),
                data_type: DataType::Float as i32,
                raw_data: halves.to_f32_vec().into_iter().flat_map(f32::to_le_bytes).collect(),
                ..TensorProto::default()
            }
        })
        .collect();
    graph.initializer.extend(wide);
    let used: HashSet<&String> = graph.node.iter().flat_map(|node| &node.input).collect();
    graph.initializer.retain(|tensor| used.contains(&tensor.name));
}

/// Whether a node makes 32-bit floats of others.
fn is_widening(node: &NodeProto) -> bool {
    node.op_type == "Cast" && node.attribute.iter().any(|to| to.name == "to" && to.i == DataType::Float as i64)
}

#[cfg(test)]
mod tests {
    use tract_onnx::pb::AttributeProto;

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
