//! Integer and float lists as ONNX writes them.
//!
//! ONNX's schema is proto2, where a list of numbers is written as one field for each number unless the schema says
//! `packed`. The exporter and tract's own types write proto3's packed form. Protocol Buffers' parsers read both, but not
//! every ONNX reader is one of those: rten takes only the form of the schema.
//!
//! Source: <https://github.com/onnx/onnx/blob/main/onnx/onnx.proto>, and
//! <https://protobuf.dev/programming-guides/encoding/>.

use anyhow::{Result, bail};
use prost::bytes::Buf;
use prost::encoding::{WireType, decode_key, decode_varint, encode_key, encode_varint};

/// The fields of a message that matter here, by number.
struct Message {
    /// Lists of numbers that the schema does not pack.
    lists: &'static [(u32, Number)],
    /// Messages that hold such lists, or messages with such lists.
    messages: &'static [(u32, &'static Message)],
}

#[derive(Clone, Copy)]
enum Number {
    Varint,
    Float,
}

static MODEL: Message = Message { lists: &[], messages: &[(7, &GRAPH)] };
static GRAPH: Message = Message { lists: &[], messages: &[(1, &NODE), (5, &TENSOR)] };
static NODE: Message = Message { lists: &[], messages: &[(5, &ATTRIBUTE)] };
/// `floats` and `ints`; `t` and `g`.
static ATTRIBUTE: Message =
    Message { lists: &[(7, Number::Float), (8, Number::Varint)], messages: &[(5, &TENSOR), (6, &GRAPH)] };
/// `dims`; the data fields are packed in the schema, too.
static TENSOR: Message = Message { lists: &[(1, Number::Varint)], messages: &[] };

/// An encoded `ModelProto` with its lists in the form of the schema.
///
/// # Errors
/// If the bytes are no message.
pub(super) fn unpacked(model: &[u8]) -> Result<Vec<u8>> {
    rewrite(model, &MODEL)
}

fn rewrite(mut bytes: &[u8], message: &Message) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len());
    while bytes.has_remaining() {
        let (field, wire) = decode_key(&mut bytes)?;
        let length = match wire {
            WireType::LengthDelimited => decode_varint(&mut bytes)? as usize,
            WireType::Varint => bytes.iter().take_while(|byte| **byte >= 0x80).count() + 1,
            WireType::SixtyFourBit => 8,
            WireType::ThirtyTwoBit => 4,
            WireType::StartGroup | WireType::EndGroup => bail!("field {field} is a group, which ONNX has none of"),
        };
        let Some((content, rest)) = bytes.split_at_checked(length) else { bail!("field {field} is cut short") };
        bytes = rest;
        if wire != WireType::LengthDelimited {
            encode_key(field, wire, &mut out);
            out.extend(content);
        } else if let Some((_, number)) = message.lists.iter().find(|(list, _)| *list == field) {
            write_one_by_one(field, *number, content, &mut out)?;
        } else {
            let nested = message.messages.iter().find(|(number, _)| *number == field);
            let content = nested.map_or_else(|| Ok(content.to_vec()), |(_, nested)| rewrite(content, nested))?;
            encode_key(field, wire, &mut out);
            encode_varint(content.len() as u64, &mut out);
            out.extend(content);
        }
    }
    Ok(out)
}

fn write_one_by_one(field: u32, number: Number, mut packed: &[u8], out: &mut Vec<u8>) -> Result<()> {
    while packed.has_remaining() {
        match number {
            Number::Varint => {
                let value = decode_varint(&mut packed)?;
                encode_key(field, WireType::Varint, out);
                encode_varint(value, out);
            }
            Number::Float => {
                let Some((value, rest)) = packed.split_at_checked(4) else { bail!("a float is cut short") };
                encode_key(field, WireType::ThirtyTwoBit, out);
                out.extend(value);
                packed = rest;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

    fn model() -> ModelProto {
        let attributes = [
            AttributeProto { name: "ints".into(), ints: vec![1, -2, 300], ..Default::default() },
            AttributeProto { name: "floats".into(), floats: vec![0.5, -1.5], i: 7, ..Default::default() },
        ];
        let tensor = TensorProto { dims: vec![2, 200], raw_data: vec![1; 9], ..Default::default() };
        let node = NodeProto { op_type: "Conv".into(), attribute: attributes.into(), ..Default::default() };
        let graph = GraphProto { node: vec![node], initializer: vec![tensor], ..Default::default() };
        ModelProto { ir_version: 8, graph: Some(graph), ..Default::default() }
    }

    #[test]
    fn the_message_stays_the_same_and_the_lists_are_unpacked() {
        let packed = model().encode_to_vec();
        let bytes = unpacked(&packed).unwrap();
        assert_eq!(ModelProto::decode(&*bytes).unwrap(), model());
        assert_eq!(unpacked(&bytes).unwrap(), bytes, "a second pass changes something");
        // Field 8 with wire type 0, thrice, for 1, -2 and 300.
        let ints =
            [&[0x40, 1, 0x40][..], &[0xFE, 255, 255, 255, 255, 255, 255, 255, 255, 1], &[0x40, 0xAC, 2]].concat();
        assert!(bytes.windows(ints.len()).any(|window| window == ints), "{bytes:x?}");
        assert!(!packed.windows(ints.len()).any(|window| window == ints));
    }

    #[test]
    fn cut_bytes_are_an_error_and_never_a_panic() {
        let bytes = model().encode_to_vec();
        let whole = (0..bytes.len()).filter(|&length| unpacked(&bytes[..length]).is_ok()).count();
        assert!(whole <= 2, "only between the model's fields can a cut go unnoticed");
    }
}
