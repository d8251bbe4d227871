//! Models that others export: which graphs run, and what is said about those that cannot.

#![cfg(feature = "tract")]

use std::collections::BTreeMap;

use prost::Message;
use runtime::model::card::{Card, Output, Settings, Training};
use runtime::onnx::{self, Attribute, Dimension, Graph, Node, Shape, Tensor, TensorType, Type, Value, data_type};
use runtime::preprocess::InputSpec;
use runtime::{Model, ModelOptions, OperatingPoint};

const GENRES: [&str; 3] = ["Action", "Drama", "War"];

/// Width and height of the input.
const SIZE: (u32, u32) = (8, 6);

/// Any length, as a batch has.
const ANY: i64 = 0;

fn value(name: &str, elem_type: i32, dims: &[i64]) -> Value {
    let dim = dims.iter().map(|&length| match length {
        ANY => Dimension { dim_param: Some("n".into()), ..Default::default() },
        length => Dimension { dim_value: Some(length), ..Default::default() },
    });
    let tensor_type = Some(TensorType { elem_type, shape: Some(Shape { dim: dim.collect() }) });
    Value { name: name.into(), r#type: Some(Type { tensor_type, ..Default::default() }), ..Default::default() }
}

fn node(operator: &str, input: &[&str], output: &str) -> Node {
    Node {
        op_type: operator.into(),
        name: format!("the_{}", operator.to_lowercase()),
        input: input.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        ..Default::default()
    }
}

fn with_int(mut node: Node, name: &str, i: i64) -> Node {
    node.attribute.push(Attribute { name: name.into(), i, kind: 2, ..Default::default() });
    node
}

fn with_ints(mut node: Node, name: &str, ints: &[i64]) -> Node {
    node.attribute.push(Attribute { name: name.into(), ints: ints.to_vec(), kind: 7, ..Default::default() });
    node
}

/// A tensor `[1, 3, 1, 1]` of one value.
fn constant(name: &str, data_type: i32, bytes: &[u8]) -> Tensor {
    Tensor {
        name: name.into(),
        data_type,
        dims: vec![1, 3, 1, 1],
        raw_data: bytes.repeat(3).into(),
        ..Default::default()
    }
}

/// The mean of each channel through a sigmoid: `[N, 3, 6, 8]` to `[N, 3]`.
fn graph() -> Graph {
    Graph {
        node: vec![
            node("GlobalAveragePool", &["poster"], "mean"),
            node("Flatten", &["mean"], "logits"),
            node("Sigmoid", &["logits"], "probabilities"),
        ],
        input: vec![value("poster", data_type::FLOAT, &[ANY, 3, 6, 8])],
        output: vec![value("probabilities", data_type::FLOAT, &[ANY, 3])],
        ..Default::default()
    }
}

fn card() -> Card {
    Card {
        name: "test".into(),
        description: "A test.".into(),
        genres: GENRES.map(String::from).into(),
        input: InputSpec::rgb(SIZE.0, SIZE.1),
        operating_points: vec![OperatingPoint {
            name: "balanced".into(),
            description: String::new(),
            thresholds: vec![0.5; GENRES.len()],
        }],
        output: Output::Probabilities,
        training: Training { architecture: "test".into(), data: BTreeMap::new(), settings: Settings::new(&()) },
        figures: BTreeMap::new(),
    }
}

fn open(graph: Graph, card: &Card) -> Result<Model, runtime::Error> {
    let opset_import = vec![onnx::OperatorSetId { version: 13, ..Default::default() }];
    let model = onnx::Model { ir_version: 8, graph: Some(graph), opset_import, ..Default::default() };
    let mut bytes = model.encode_to_vec();
    card.append_to(&mut bytes).unwrap();
    ModelOptions::new().from_bytes(&bytes, "model.onnx")
}

/// A poster whose channels and pixels differ.
fn poster() -> Vec<f32> {
    (0..3 * SIZE.0 * SIZE.1).map(|index| ((index * 37) % 101) as f32 / 50.0 - 1.0 + (index / 48) as f32).collect()
}

/// The mean of each channel through a sigmoid.
fn expected() -> Vec<f32> {
    let mean = |channel: &[f32]| channel.iter().sum::<f32>() / channel.len() as f32;
    poster().chunks(48).map(|channel| 1.0 / (1.0 + (-mean(channel)).exp())).collect()
}

#[test]
fn graphs_of_other_exporters_give_the_same_probabilities() {
    struct Case {
        what: &'static str,
        alter: fn(&mut Graph, &mut Card),
    }
    let cases = [
        Case { what: "as it is", alter: |_, _| () },
        Case {
            what: "the last dimension is that of the channels",
            alter: |graph, _| {
                graph.input[0] = value("poster", data_type::FLOAT, &[ANY, 6, 8, 3]);
                graph.node.insert(0, with_ints(node("Transpose", &["poster"], "turned"), "perm", &[0, 3, 1, 2]));
                graph.node[1].input[0] = "turned".into();
            },
        },
        Case {
            what: "everything is of 16 bits",
            alter: |graph, _| {
                graph.input[0] = value("poster", data_type::FLOAT16, &[1, 3, 6, 8]);
                graph.output[0] = value("probabilities", data_type::FLOAT16, &[1, 3]);
                graph.initializer.push(constant("zero", data_type::FLOAT16, &[0, 0]));
                graph.node.insert(0, node("Add", &["poster", "zero"], "sum"));
                graph.node[1].input[0] = "sum".into();
            },
        },
        Case {
            what: "the poster is cast to 16 bits and the probabilities back",
            alter: |graph, _| {
                graph.node.insert(0, with_int(node("Cast", &["poster"], "half"), "to", data_type::FLOAT16.into()));
                graph.node[1].input[0] = "half".into();
                graph.node[3].output[0] = "halves".into();
                let back = with_int(node("Cast", &["halves"], "probabilities"), "to", data_type::FLOAT.into());
                graph.node.push(Node { name: "the_cast_back".into(), ..back });
            },
        },
        Case {
            what: "the card says logits",
            alter: |graph, card| {
                graph.node.pop();
                graph.output[0].name = "logits".into();
                card.output = Output::Logits;
            },
        },
        Case {
            what: "a second output has another name",
            alter: |graph, _| graph.output.insert(0, value("mean", data_type::FLOAT, &[ANY, 3, 1, 1])),
        },
        Case {
            what: "the shape of the output is [1, G, 1, 1]",
            alter: |graph, _| {
                graph.node.remove(1);
                graph.node[1].input[0] = "mean".into();
                graph.output[0] = value("probabilities", data_type::FLOAT, &[ANY, 3, 1, 1]);
            },
        },
        Case { what: "no size is declared", alter: |graph, _| graph.input[0] = value("poster", 1, &[ANY; 4]) },
        Case {
            what: "constants are listed as inputs",
            alter: |graph, _| {
                graph.initializer.push(constant("zero", data_type::FLOAT, &[0; 4]));
                graph.input.push(value("zero", data_type::FLOAT, &[1, 3, 1, 1]));
                graph.node.insert(0, node("Add", &["poster", "zero"], "sum"));
                graph.node[1].input[0] = "sum".into();
            },
        },
    ];
    let mut problems = Vec::new();
    for Case { what, alter } in cases {
        let (mut graph, mut card) = (graph(), card());
        alter(&mut graph, &mut card);
        match open(graph, &card).and_then(|model| model.probabilities(&poster())) {
            Ok(found) if found.iter().zip(&expected()).all(|(a, b)| (a - b).abs() < 1e-4) => {}
            result => problems.push(format!("{what}: {result:?} instead of {:?}", expected())),
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn graphs_that_cannot_be_run_are_refused_in_one_line_with_the_way_out() {
    struct Case {
        what: &'static str,
        alter: fn(&mut Graph, &mut Card),
        error: &'static str,
    }
    let cases = [
        Case {
            what: "the sigmoid is missing behind a linear layer",
            alter: |graph, _| {
                graph.initializer.push(Tensor {
                    name: "weight".into(),
                    data_type: data_type::FLOAT,
                    dims: vec![3, 3],
                    raw_data: 1_f32.to_le_bytes().repeat(9).into(),
                    ..Default::default()
                });
                graph.node[2] = node("MatMul", &["logits", "weight"], "probabilities");
            },
            error: "it ends with `the_matmul` (MatMul) and puts out logits, no probabilities; export it with a sigmoid \
                    at the end, or add the key \"output\" with the value \"logits\" to its card",
        },
        Case {
            what: "the sigmoid is missing behind an operator that may be anything",
            alter: |graph, _| {
                graph.initializer.push(constant("zero", data_type::FLOAT, &[0; 4]));
                graph.initializer.push(constant("bias", data_type::FLOAT, &5_f32.to_le_bytes()));
                graph.node[2] = node("Mul", &["mean", "zero"], "product");
                graph.node.push(node("Add", &["product", "bias"], "probabilities"));
            },
            error: "its output for Action is 5, which is no probability; export it with a sigmoid at the end, or add the \
                    key \"output\" with the value \"logits\" to its card",
        },
        Case {
            what: "the card says logits of a sigmoid",
            alter: |_, card| card.output = Output::Logits,
            error: "it ends with a Sigmoid, and its card says that it puts out logits; remove the key \"output\"",
        },
        Case {
            what: "the genres exclude one another",
            alter: |graph, _| graph.node[2] = node("Softmax", &["logits"], "probabilities"),
            error: "it ends with a Softmax, whose genres exclude one another; a poster has several, train and export it \
                    with a sigmoid for each",
        },
        Case {
            what: "a weight is not a number",
            alter: |graph, _| graph.initializer.push(constant("bias", data_type::FLOAT, &f32::NAN.to_le_bytes())),
            error: "values of `bias` are not numbers; train it again, or export an earlier epoch",
        },
        Case {
            what: "a weight of 16 bits is not a number",
            alter: |graph, _| graph.initializer.push(constant("bias", data_type::FLOAT16, &[0, 0x7e])),
            error: "values of `bias` are not numbers; train it again, or export an earlier epoch",
        },
        Case {
            what: "a probability is not a number",
            alter: |graph, _| {
                let minus = constant("minus", data_type::FLOAT, &(-1_f32).to_le_bytes());
                graph.initializer.push(Tensor { dims: vec![1, 3], ..minus });
                graph.node[2].output[0] = "sigmoid".into();
                graph.node.push(node("Sqrt", &["minus"], "root"));
                graph.node.push(node("Mul", &["sigmoid", "root"], "probabilities"));
            },
            error: "its output for Action is not a number; its weights are damaged, export it again",
        },
        Case {
            what: "a name is defined nowhere",
            alter: |graph, _| graph.node[1].input[0] = "gone".into(),
            error: "`the_flatten` (Flatten) reads `gone`, which no input, constant or earlier node defines; it is \
                    damaged, export it again",
        },
        Case {
            what: "a name is defined later",
            alter: |graph, _| graph.node.swap(0, 1),
            error: "`the_flatten` (Flatten) reads `mean`, which no input, constant or earlier node defines; it is \
                    damaged, export it again",
        },
        Case {
            what: "a name is defined twice",
            alter: |graph, _| graph.node[1].output[0] = "mean".into(),
            error: "`mean` is defined twice; it is damaged, export it again",
        },
        Case {
            what: "the output is defined nowhere",
            alter: |graph, _| graph.output[0].name = "gone".into(),
            error: "its output `gone` is defined nowhere; it is damaged, export it again",
        },
        Case {
            what: "weights are in another file",
            alter: |graph, _| {
                graph.initializer.push(Tensor { name: "weight".into(), data_location: 1, ..Default::default() });
            },
            error: "the values of `weight` are in another file; export it into one file (torch.onnx.export with \
                    external_data=False)",
        },
        Case {
            what: "a second input",
            alter: |graph, _| graph.input.push(value("mask", data_type::FLOAT, &[1])),
            error: "it has 2 inputs (poster, mask); it must have one, the poster",
        },
        Case {
            what: "bytes as input",
            alter: |graph, _| graph.input[0] = value("poster", 2, &[ANY, 3, 6, 8]),
            error: "its input `poster` is of type uint8; it must be float32 or float16, (value / 255 - mean) / std",
        },
        Case {
            what: "one channel",
            alter: |graph, _| graph.input[0] = value("poster", data_type::FLOAT, &[ANY, 1, 6, 8]),
            error: "its input `poster` has the shape [?, 1, 6, 8]; it must be [1, 3, height, width] or [1, height, width, \
                    3]",
        },
        Case {
            what: "three dimensions",
            alter: |graph, _| graph.input[0] = value("poster", data_type::FLOAT, &[3, 6, 8]),
            error: "its input `poster` has the shape [3, 6, 8]; it must be [1, 3, height, width] or [1, height, width, 3]",
        },
        Case {
            what: "eight posters at once",
            alter: |graph, _| graph.input[0] = value("poster", data_type::FLOAT, &[8, 3, 6, 8]),
            error: "its input `poster` has the shape [8, 3, 6, 8], for several posters at once; export it with a batch of \
                    one, or of any size (dynamic_axes of torch.onnx.export)",
        },
        Case {
            what: "another size",
            alter: |graph, _| graph.input[0] = value("poster", data_type::FLOAT, &[ANY, 3, 8, 6]),
            error: "its input `poster` has the shape [?, 3, 8, 6], and its card says 8 x 6 pixels (width x height); \
                    correct the card or export it for that size",
        },
        Case {
            what: "two outputs without a name",
            alter: |graph, _| {
                graph.node[2].output[0] = "y".into();
                graph.output = ["mean", "y"].map(|name| value(name, data_type::FLOAT, &[ANY, 3])).into();
            },
            error: "it has 2 outputs (mean, y); it must have one, or name that of the genres `probabilities`",
        },
        Case {
            what: "classes instead of probabilities",
            alter: |graph, _| graph.output[0] = value("probabilities", data_type::INT64, &[ANY]),
            error: "its output `probabilities` is of type int64; it must be float32 or float16, a probability for each \
                    genre",
        },
        Case {
            what: "four genres",
            alter: |_, card| {
                card.genres.push("Western".into());
                card.operating_points[0].thresholds.push(0.5);
            },
            error: "the shape of its output `probabilities` is [1, 3], and its card names 4 genres; correct the card or \
                    export it for these genres",
        },
    ];
    let mut problems = Vec::new();
    for Case { what, alter, error } in cases {
        let (mut graph, mut card) = (graph(), card());
        alter(&mut graph, &mut card);
        let expected = format!("model.onnx: its graph cannot be run: {error}");
        let found = open(graph, &card).map_or_else(|error| error.to_string(), |_| "it runs".into());
        if found != expected {
            problems.push(format!("{what}: {found}\n    instead of: {expected}"));
        }
    }
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn a_panic_in_the_engine_is_an_error() {
    let mut graph = graph();
    graph.node[1] = with_int(node("Concat", &["mean", "mean"], "logits"), "axis", 99);
    let error = open(graph, &card()).map(drop).unwrap_err().to_string();
    assert!(error.starts_with("model.onnx: its graph cannot be run: tract ") && !error.contains('\n'), "{error}");
}

#[test]
fn probabilities_that_depend_on_the_poster_are_checked_for_each() {
    let mut graph = graph();
    graph.node[2] = node("Relu", &["logits"], "probabilities");
    let model = open(graph, &card()).unwrap();
    let error = model.probabilities(&vec![1.5; poster().len()]).unwrap_err().to_string();
    assert!(
        error.starts_with("model.onnx: its graph cannot be run: its output for Action is 1.5, which is no"),
        "{error}"
    );
    assert_eq!(model.probabilities(&vec![0.75; poster().len()]).unwrap(), [0.75; 3]);
}

#[test]
fn the_card_keeps_what_the_graph_puts_out() {
    let mut bytes = Vec::new();
    card().append_to(&mut bytes).unwrap();
    let keys = |bytes: &[u8]| onnx::Model::decode(bytes).unwrap().metadata_props;
    assert!(keys(&bytes).iter().all(|entry| entry.key != "output"), "cards of probabilities are as they were");
    for (value, expected) in [
        ("probabilities", None),
        ("logits", Some("it ends with a Sigmoid")),
        ("odds", Some("has a card whose key \"output\"")),
    ] {
        let mut model = onnx::Model { ir_version: 8, graph: Some(graph()), ..Default::default() };
        model.opset_import = vec![onnx::OperatorSetId { version: 13, ..Default::default() }];
        model.metadata_props = keys(&bytes);
        model.metadata_props.push(onnx::Property { key: "output".into(), value: value.into() });
        let error =
            ModelOptions::new().from_bytes(&model.encode_to_vec(), "m").map(drop).map_err(|error| error.to_string());
        match expected {
            None => error.unwrap(),
            Some(text) => assert!(error.as_ref().is_err_and(|error| error.contains(text)), "{value}: {error:?}"),
        }
    }
}
