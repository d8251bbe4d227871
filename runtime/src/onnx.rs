//! A subset of the ONNX format (protobuf), read and written: a model's metadata and its graph.
//!
//! The subset holds every field that `train export` writes. Decoding ignores other fields and encoding omits them. Bytes of
//! tensors are not copied when a file is decoded from [`Bytes`], they stay those of the file.
//!
//! ONNX's schema is proto2: `ints`, `floats` and `dims` are written unpacked, one field per number, because not every
//! ONNX reader accepts proto3's packed form; both forms are read.
//!
//! Names and tags of fields are those of <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>; messages go without its
//! suffix `Proto`.

use prost::Message;
use prost::bytes::Bytes;

/// Values of [`Tensor::data_type`] and [`TensorType::elem_type`].
pub mod data_type {
    /// 32-bit floats.
    pub const FLOAT: i32 = 1;
    /// 8-bit unsigned integers.
    pub const UINT8: i32 = 2;
    /// 8-bit signed integers.
    pub const INT8: i32 = 3;
    /// 32-bit signed integers.
    pub const INT32: i32 = 6;
    /// 64-bit signed integers.
    pub const INT64: i32 = 7;
    /// 16-bit floats.
    pub const FLOAT16: i32 = 10;

    /// The name of a type in the ONNX specification, in lower case.
    pub fn name(data_type: i32) -> &'static str {
        const NAMES: [&str; 17] = [
            "undefined",
            "float32",
            "uint8",
            "int8",
            "uint16",
            "int16",
            "int32",
            "int64",
            "string",
            "bool",
            "float16",
            "float64",
            "uint32",
            "uint64",
            "complex64",
            "complex128",
            "bfloat16",
        ];
        usize::try_from(data_type).ok().and_then(|index| NAMES.get(index)).copied().unwrap_or("an unknown type")
    }
}

/// Values of [`Attribute::kind`].
pub mod attribute_type {
    /// The value is in [`Attribute::i`](super::Attribute::i).
    pub const INT: i32 = 2;
}

#[derive(Clone, PartialEq, Message)]
pub struct Model {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(string, tag = "2")]
    pub producer_name: String,
    #[prost(string, tag = "3")]
    pub producer_version: String,
    #[prost(string, tag = "4")]
    pub domain: String,
    #[prost(int64, tag = "5")]
    pub model_version: i64,
    #[prost(string, tag = "6")]
    pub doc_string: String,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSetId>,
    #[prost(message, repeated, tag = "14")]
    pub metadata_props: Vec<Property>,
}

/// `StringStringEntryProto`.
#[derive(Clone, PartialEq, Message)]
pub struct Property {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct OperatorSetId {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub node: Vec<Node>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub initializer: Vec<Tensor>,
    #[prost(string, tag = "10")]
    pub doc_string: String,
    #[prost(message, repeated, tag = "11")]
    pub input: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    pub output: Vec<Value>,
    #[prost(message, repeated, tag = "13")]
    pub value_info: Vec<Value>,
}

/// `ValueInfoProto`: name and type of an input, an output or a value in between.
#[derive(Clone, PartialEq, Message)]
pub struct Value {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub r#type: Option<Type>,
    #[prost(string, tag = "3")]
    pub doc_string: String,
}

/// `TypeProto`, of tensors only.
#[derive(Clone, PartialEq, Message)]
pub struct Type {
    #[prost(message, optional, tag = "1")]
    pub tensor_type: Option<TensorType>,
    #[prost(string, tag = "6")]
    pub denotation: String,
}

/// `TypeProto.Tensor`.
#[derive(Clone, PartialEq, Message)]
pub struct TensorType {
    /// See [`data_type`].
    #[prost(int32, tag = "1")]
    pub elem_type: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<Shape>,
}

/// `TensorShapeProto`.
#[derive(Clone, PartialEq, Message)]
pub struct Shape {
    #[prost(message, repeated, tag = "1")]
    pub dim: Vec<Dimension>,
}

/// `TensorShapeProto.Dimension`: a length, or the name of a dynamic one.
#[derive(Clone, PartialEq, Message)]
pub struct Dimension {
    #[prost(int64, optional, tag = "1")]
    pub dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub dim_param: Option<String>,
    #[prost(string, tag = "3")]
    pub denotation: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Node {
    #[prost(string, repeated, tag = "1")]
    pub input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub output: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attribute: Vec<Attribute>,
    #[prost(string, tag = "6")]
    pub doc_string: String,
    #[prost(string, tag = "7")]
    pub domain: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Attribute {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(float, tag = "2")]
    pub f: f32,
    #[prost(int64, tag = "3")]
    pub i: i64,
    #[prost(bytes = "bytes", tag = "4")]
    pub s: Bytes,
    #[prost(message, optional, tag = "5")]
    pub t: Option<Tensor>,
    #[prost(float, repeated, packed = "false", tag = "7")]
    pub floats: Vec<f32>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    pub ints: Vec<i64>,
    #[prost(bytes = "bytes", repeated, tag = "9")]
    pub strings: Vec<Bytes>,
    #[prost(string, tag = "13")]
    pub doc_string: String,
    /// `type`: which of the fields holds the value, see [`attribute_type`].
    #[prost(int32, tag = "20")]
    pub kind: i32,
}

#[derive(Clone, PartialEq, Message)]
pub struct Tensor {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    pub dims: Vec<i64>,
    /// See [`data_type`].
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    /// The values of 32-bit floats, unless they are in `raw_data`.
    #[prost(float, repeated, tag = "4")]
    pub float_data: Vec<f32>,
    /// The values of 64-bit integers, unless they are in `raw_data`.
    #[prost(int64, repeated, tag = "7")]
    pub int64_data: Vec<i64>,
    #[prost(string, tag = "8")]
    pub name: String,
    /// The values in row-major order, little-endian.
    #[prost(bytes = "bytes", tag = "9")]
    pub raw_data: Bytes,
    #[prost(string, tag = "12")]
    pub doc_string: String,
    /// 1 if the values are in another file.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model() -> Model {
        let attributes = vec![
            Attribute { name: "ints".into(), ints: vec![1, -2, 300], kind: 7, ..Default::default() },
            Attribute { name: "floats".into(), floats: vec![0.5, -1.5], kind: 6, ..Default::default() },
            Attribute { name: "f".into(), f: 0.25, kind: 1, ..Default::default() },
            Attribute { name: "s".into(), s: Bytes::from_static(b"SAME"), kind: 3, ..Default::default() },
        ];
        let tensor = Tensor {
            dims: vec![2, 200],
            data_type: data_type::FLOAT16,
            name: "weight".into(),
            raw_data: vec![1; 9].into(),
            ..Default::default()
        };
        let dim = vec![
            Dimension { dim_param: Some("batch".into()), ..Default::default() },
            Dimension { dim_value: Some(0), ..Default::default() },
        ];
        let tensor_type = TensorType { elem_type: data_type::FLOAT, shape: Some(Shape { dim }) };
        let input = Value {
            name: "poster".into(),
            r#type: Some(Type { tensor_type: Some(tensor_type), ..Default::default() }),
            ..Default::default()
        };
        let node = Node { op_type: "Conv".into(), attribute: attributes, ..Default::default() };
        let graph = Graph { node: vec![node], initializer: vec![tensor], input: vec![input], ..Default::default() };
        Model { ir_version: 8, graph: Some(graph), ..Default::default() }
    }

    fn contains(bytes: &[u8], part: &[u8]) -> bool {
        bytes.windows(part.len()).any(|window| window == part)
    }

    #[test]
    fn lists_of_numbers_are_written_unpacked() {
        let bytes = model().encode_to_vec();
        // Field 8 with wire type 0, once per number, for 1, -2 and 300.
        let ints =
            [&[0x40, 1, 0x40][..], &[0xFE, 255, 255, 255, 255, 255, 255, 255, 255, 1], &[0x40, 0xAC, 2]].concat();
        // Field 7 with wire type 5.
        let floats = [&[0x3D][..], &0.5_f32.to_le_bytes(), &[0x3D], &(-1.5_f32).to_le_bytes()].concat();
        // Field 1 with wire type 0, for 2 and 200.
        let dims = [0x08, 2, 0x08, 0xC8, 1];
        for (name, part) in [("ints", &ints[..]), ("floats", &floats), ("dims", &dims)] {
            assert!(contains(&bytes, part), "{name} are not in {bytes:x?}");
        }
        assert_eq!(Model::decode(&*bytes).unwrap(), model());
    }

    #[test]
    fn packed_lists_are_read() {
        // Field 8 with wire type 2 and length 3, for 1 and 300.
        let attribute = Attribute::decode(&[0x42, 3, 1, 0xAC, 2][..]).unwrap();
        assert_eq!(attribute.ints, [1, 300]);
        let tensor = Tensor::decode(&[0x0A, 3, 2, 0xC8, 1][..]).unwrap();
        assert_eq!(tensor.dims, [2, 200]);
    }

    #[test]
    fn truncated_bytes_are_an_error_and_never_a_panic() {
        let bytes = model().encode_to_vec();
        let decoded = (0..bytes.len()).filter(|&length| Model::decode(&bytes[..length]).is_ok()).count();
        assert!(decoded <= 2, "only between the fields of the model can a truncation go unnoticed");
    }
}
