//! Post-training quantisation of an exported MobileNetV2 to int8 (ONNX QDQ).
//!
//! Activations are quantised to 8 bits with one scale a tensor, from ranges that are measured on training posters; weights
//! of convolutions and of the hidden layer to -127 to 127 with a scale an output channel; biases to 32 bits. Every
//! quantised value is followed by `QuantizeLinear` and `DequantizeLinear`, so that any ONNX engine reads the file (Jacob et
//! al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", 2018; Nagel et al.,
//! "A white paper on neural network quantization", 2021). Classifier and standardisation stay in 32 bits.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, ensure};
use rayon::prelude::*;
use runtime::onnx::{self, Attribute, Graph, Node, Tensor, attribute_type, data_type};
use runtime::preprocess::InputSpec;
use tract_onnx::prelude::*;

use super::graph::floats;

/// The largest magnitude of a weight.
const MAX_WEIGHT: f32 = 127.0;

/// The largest code of an activation.
const MAX_CODE: f32 = 255.0;

/// Bins of an activation's histogram between its lowest and highest value.
const BINS: usize = 2048;

/// The smallest scale: of tensors and channels that are zero throughout.
const MIN_SCALE: f32 = 1e-12;

/// The largest magnitude of a bias in units of its scale: a channel whose weights are next to nothing beside its bias gets
/// a larger scale, since a bias must fit into 32 bits.
const MAX_BIAS: f32 = (1 << 24) as f32;

/// The range of an activation that its 256 codes cover; what is beyond saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RangeMethod {
    /// From the lowest to the highest value.
    MinMax,
    /// All but 1 in 10,000 values on each side.
    Percentile,
    /// The range with the least mean squared error of rounding and saturation.
    #[default]
    Mse,
}

impl RangeMethod {
    /// Every method.
    pub const ALL: [Self; 3] = [Self::MinMax, Self::Percentile, Self::Mse];

    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::MinMax => "min-max",
            Self::Percentile => "percentile",
            Self::Mse => "mse",
        }
    }
}

impl fmt::Display for RangeMethod {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for RangeMethod {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|method| method.name() == name);
        found.ok_or_else(|| anyhow!("\"{name}\" is no known range; the known ones are min-max, percentile, mse"))
    }
}

/// The statistics of one activation over the calibration posters.
#[derive(Clone, Debug)]
struct Statistics {
    lowest: f32,
    highest: f32,
    /// Values between `lowest` and `highest`.
    histogram: Vec<u64>,
    /// Mean of each channel.
    means: Vec<f64>,
}

/// The range of an activation, and the sum over posters of each channel's mean.
struct ValueRange {
    lowest: f32,
    highest: f32,
    sums: Vec<f64>,
}

impl ValueRange {
    /// Of the values of one poster, `[channels, pixels]`.
    fn of(values: &[f32], pixels: usize) -> Self {
        let mean = |channel: &[f32]| channel.iter().map(|value| f64::from(*value)).sum::<f64>() / pixels as f64;
        Self {
            lowest: values.iter().copied().fold(f32::INFINITY, f32::min),
            highest: values.iter().copied().fold(f32::NEG_INFINITY, f32::max),
            sums: values.chunks_exact(pixels).map(mean).collect(),
        }
    }

    fn extend(&mut self, other: &Self) {
        self.lowest = self.lowest.min(other.lowest);
        self.highest = self.highest.max(other.highest);
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, other)| *sum += other);
    }
}

/// Scale and zero point of an activation.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Codes {
    scale: f32,
    zero_point: u8,
}

/// Quantises a model file whose weights are 32-bit floats, with activation ranges measured on `posters`, each `[3, height,
/// width]`; the model card is not kept.
///
/// # Errors
/// If the graph has no convolutions, or tract cannot run it.
pub fn to_int8(bytes: &[u8], posters: &[Vec<f32>], input: &InputSpec, method: RangeMethod) -> Result<onnx::Model> {
    use prost::Message;
    let mut model = onnx::Model::decode(bytes)?;
    let graph = model.graph.as_mut().context("the file has no graph")?;
    let plan = Plan::new(graph)?;
    let statistics = measure(bytes, &plan.activations, posters, input)?;
    quantize(graph, &plan, &statistics, method)?;
    model.metadata_props.clear();
    Ok(model)
}

/// Which values of a graph are quantised.
struct Plan {
    /// Names of the values that are quantised: the input, convolutions' outputs behind their clamp, and sums of these.
    activations: Vec<String>,
    /// The output of the `Clip` behind a convolution, by the convolution's output: quantisation replaces the node.
    clamped: HashMap<String, String>,
}

impl Plan {
    fn new(graph: &Graph) -> Result<Self> {
        let [input] = &graph.input[..] else { anyhow::bail!("the graph must have one input") };
        let mut activations = vec![input.name.clone()];
        let mut clamped = HashMap::new();
        let mut quantised: HashSet<&str> = HashSet::new();
        for node in &graph.node {
            let Some(output) = node.output.first() else { continue };
            match node.op_type.as_str() {
                "Conv" => {
                    let clip = graph.node.iter().find(|clip| clip.op_type == "Clip" && clip.input[0] == *output);
                    let output = match clip {
                        Some(clip) => {
                            clamped.insert(output.clone(), clip.output[0].clone());
                            &clip.output[0]
                        }
                        None => output,
                    };
                    quantised.insert(output);
                    activations.push(output.clone());
                }
                "Add" if node.input.iter().all(|input| quantised.contains(input.as_str())) => {
                    quantised.insert(output);
                    activations.push(output.clone());
                }
                _ => {}
            }
        }
        ensure!(activations.len() > 1, "the network has no convolutions; only mobilenet can be exported to int8");
        Ok(Self { activations, clamped })
    }
}

/// Runs the graph on the posters twice: for the range of each activation, then for its histogram.
fn measure(bytes: &[u8], activations: &[String], posters: &[Vec<f32>], input: &InputSpec) -> Result<Vec<Statistics>> {
    let shape = [1, 3, input.height as usize, input.width as usize];
    let plan = tract_onnx::onnx()
        .model_for_read(&mut &*bytes)?
        .with_input_fact(0, InferenceFact::dt_shape(f32::datum_type(), shape))?
        .with_outputs_by_name(&activations[1..])?
        .into_optimized()?
        .into_runnable()?;
    // Calls `each` with the index, the values and the number of pixels of every activation of a poster.
    let run = |poster: &Vec<f32>, each: &mut dyn FnMut(usize, &[f32], usize)| -> TractResult<()> {
        let pixels = (input.height * input.width) as usize;
        each(0, poster, pixels);
        let outputs = plan.run(tvec!(tract_onnx::prelude::Tensor::from_shape(&shape, poster)?.into_tvalue()))?;
        for (index, output) in outputs.iter().enumerate() {
            let pixels = output.shape()[2..].iter().product();
            each(index + 1, output.try_as_plain_ram()?.as_slice::<f32>()?, pixels);
        }
        Ok(())
    };
    // In the order of the posters, so that the sums are the same whatever the threads.
    let of_each_poster = posters.par_iter().map(|poster| {
        let mut ranges = Vec::with_capacity(activations.len());
        run(poster, &mut |_, values, pixels| ranges.push(ValueRange::of(values, pixels)))?;
        TractResult::Ok(ranges)
    });
    let mut of_each_poster = of_each_poster.collect::<TractResult<Vec<_>>>()?.into_iter();
    let mut ranges = of_each_poster.next().context("activations are measured on at least one poster")?;
    for of_one in of_each_poster {
        ranges.iter_mut().zip(of_one).for_each(|(range, other)| range.extend(&other));
    }

    let empty = || vec![vec![0_u64; BINS]; activations.len()];
    let histograms = posters.par_iter().try_fold(empty, |mut histograms, poster| {
        run(poster, &mut |index, values, _| {
            let ValueRange { lowest, highest, .. } = &ranges[index];
            let bins_per_unit = BINS as f32 / (highest - lowest).max(MIN_SCALE);
            for value in values {
                let bin = ((value - lowest) * bins_per_unit) as usize;
                histograms[index][bin.min(BINS - 1)] += 1;
            }
        })?;
        TractResult::Ok(histograms)
    });
    let histograms = histograms.try_reduce(empty, |mut a, b| {
        a.iter_mut().flatten().zip(b.iter().flatten()).for_each(|(a, b)| *a += b);
        Ok(a)
    })?;
    let statistics = ranges.into_iter().zip(histograms).map(|(range, histogram)| Statistics {
        lowest: range.lowest,
        highest: range.highest,
        histogram,
        means: range.sums.into_iter().map(|sum| sum / posters.len() as f64).collect(),
    });
    Ok(statistics.collect())
}

impl Statistics {
    /// The codes of the range that `method` chooses.
    fn codes(&self, method: RangeMethod) -> Codes {
        let (low, high) = (self.lowest.min(0.0), self.highest.max(0.0));
        match method {
            RangeMethod::MinMax => Codes::new(low, high),
            RangeMethod::Percentile => {
                let total: u64 = self.histogram.iter().sum();
                let tail = total / 10_000;
                let mut below = 0;
                let first = self.histogram.iter().position(|count| {
                    below += count;
                    below > tail
                });
                let mut above = 0;
                let last = self.histogram.iter().rposition(|count| {
                    above += count;
                    above > tail
                });
                let edge = |bin: usize| self.lowest + bin as f32 * self.bin_width();
                Codes::new(edge(first.unwrap_or(0)).min(0.0), edge(last.unwrap_or(BINS - 1) + 1).max(0.0))
            }
            RangeMethod::Mse => {
                let candidates = (10..=100).map(|percent| {
                    let share = percent as f32 / 100.0;
                    Codes::new(low * share, high * share)
                });
                let errors = candidates.map(|codes| (self.squared_error(codes), codes));
                errors.min_by(|(a, _), (b, _)| a.total_cmp(b)).map_or_else(|| Codes::new(low, high), |(_, codes)| codes)
            }
        }
    }

    fn bin_width(&self) -> f32 {
        (self.highest - self.lowest) / BINS as f32
    }

    /// The sum over all values, each taken as the centre of its bin.
    fn squared_error(&self, codes: Codes) -> f64 {
        let error = |(bin, count): (usize, &u64)| {
            let value = self.lowest + (bin as f32 + 0.5) * self.bin_width();
            f64::from(codes.round(value) - value).powi(2) * *count as f64
        };
        self.histogram.iter().enumerate().filter(|(_, count)| **count > 0).map(error).sum()
    }
}

impl Codes {
    /// The codes from `low <= 0` to `high >= 0`, with zero among them.
    fn new(low: f32, high: f32) -> Self {
        let scale = ((high - low) / MAX_CODE).max(MIN_SCALE);
        Self { scale, zero_point: (-low / scale).round_ties_even().clamp(0.0, MAX_CODE) as u8 }
    }

    /// The value that stands for `value`.
    fn round(self, value: f32) -> f32 {
        let zero = f32::from(self.zero_point);
        (((value / self.scale).round_ties_even() + zero).clamp(0.0, MAX_CODE) - zero) * self.scale
    }
}

/// Rewrites the graph: quantised weights and biases, `QuantizeLinear` and `DequantizeLinear` behind each activation, and no
/// `Clip` where saturation is the clamp.
fn quantize(graph: &mut Graph, plan: &Plan, statistics: &[Statistics], method: RangeMethod) -> Result<()> {
    let statistics: HashMap<&str, &Statistics> = plan.activations.iter().map(String::as_str).zip(statistics).collect();
    let codes: HashMap<&str, Codes> = statistics.iter().map(|(name, found)| (*name, found.codes(method))).collect();
    let mut rewriter = Rewriter {
        tensors: graph.initializer.drain(..).map(|tensor| (tensor.name.clone(), tensor)).collect(),
        nodes: Vec::new(),
    };
    let input = plan.activations[0].as_str();
    rewriter.quantize_activation(input, codes[input]);
    for mut node in graph.node.drain(..) {
        if node.op_type == "Clip" && plan.clamped.contains_key(&node.input[0]) {
            continue;
        }
        match (node.op_type.as_str(), &mut node.input[..]) {
            ("Conv", [x, weight, bias]) => {
                let (codes, means) = (codes[x.as_str()], &statistics[x.as_str()].means);
                let found = rewriter.tensor(weight)?;
                let bias_values = floats(rewriter.tensor(bias)?);
                let quantised =
                    QuantizedWeight::new(found, 0, |output| bias_values[output].abs() / (codes.scale * MAX_BIAS));
                let mean_error = quantised.mean_error(&found.dims, means);
                let corrected: Vec<f32> =
                    bias_values.iter().zip(mean_error).map(|(bias, error)| bias - error as f32).collect();
                let bias_scales: Vec<f32> = quantised.scales.iter().map(|scale| scale * codes.scale).collect();
                *weight = rewriter.dequantize_constant(weight, (data_type::INT8, quantised.codes), quantised.scales, 0);
                let integers = corrected
                    .iter()
                    .zip(&bias_scales)
                    .flat_map(|(bias, scale)| ((bias / scale).round_ties_even() as i32).to_le_bytes());
                *bias = rewriter.dequantize_constant(bias, (data_type::INT32, integers.collect()), bias_scales, 0);
            }
            ("MatMul", [_, weight]) if weight.starts_with("hidden.") => {
                let quantised = QuantizedWeight::new(rewriter.tensor(weight)?, 1, |_| 0.0);
                *weight = rewriter.dequantize_constant(weight, (data_type::INT8, quantised.codes), quantised.scales, 1);
            }
            _ => {}
        }
        // The batch size is taken from the input as it comes.
        if node.op_type != "Shape" {
            for value in node.input.iter_mut().filter(|value| codes.contains_key(value.as_str())) {
                *value = format!("{value}.dequantized");
            }
        }
        for output in &mut node.output {
            if let Some(clamped) = plan.clamped.get(output) {
                output.clone_from(clamped);
            }
        }
        let output = node.output.first().cloned().unwrap_or_default();
        rewriter.nodes.push(node);
        if let Some(codes) = codes.get(output.as_str()) {
            rewriter.quantize_activation(&output, *codes);
        }
    }
    let Rewriter { tensors, nodes } = rewriter;
    let used: HashSet<&String> = nodes.iter().flat_map(|node| &node.input).collect();
    graph.initializer = tensors.into_values().filter(|tensor| used.contains(&tensor.name)).collect();
    graph.initializer.sort_by(|a, b| a.name.cmp(&b.name));
    graph.node = nodes;
    Ok(())
}

/// The graph that is being written.
struct Rewriter {
    tensors: HashMap<String, Tensor>,
    nodes: Vec<Node>,
}

impl Rewriter {
    fn tensor(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).with_context(|| format!("\"{name}\" is no tensor of the file"))
    }

    fn add_tensor(&mut self, name: String, dims: Vec<i64>, data_type: i32, raw_data: Vec<u8>) -> String {
        let tensor = Tensor { name: name.clone(), dims, data_type, raw_data: raw_data.into(), ..Tensor::default() };
        self.tensors.insert(name.clone(), tensor);
        name
    }

    /// `QuantizeLinear` and `DequantizeLinear` behind a value.
    fn quantize_activation(&mut self, value: &str, codes: Codes) {
        let scale =
            self.add_tensor(format!("{value}.scale"), Vec::new(), data_type::FLOAT, codes.scale.to_le_bytes().to_vec());
        let zero = self.add_tensor(format!("{value}.zero_point"), Vec::new(), data_type::UINT8, vec![codes.zero_point]);
        for (kind, from, to) in [
            ("QuantizeLinear", value.into(), "quantized"),
            ("DequantizeLinear", format!("{value}.quantized"), "dequantized"),
        ] {
            self.nodes.push(Node {
                name: format!("{value}.{to}"),
                op_type: kind.into(),
                input: vec![from, scale.clone(), zero.clone()],
                output: vec![format!("{value}.{to}")],
                ..Node::default()
            });
        }
    }

    /// Replaces a tensor by integers and a `DequantizeLinear` with a scale for each index of the dimension `axis`; returns
    /// the name of its output.
    fn dequantize_constant(
        &mut self,
        name: &str,
        (kind, codes): (i32, Vec<u8>),
        scales: Vec<f32>,
        axis: i64,
    ) -> String {
        let dims = self.tensors[name].dims.clone();
        let integers = self.add_tensor(format!("{name}.quantized"), dims, kind, codes);
        let len = scales.len() as i64;
        let scales = scales.into_iter().flat_map(f32::to_le_bytes).collect();
        let scale = self.add_tensor(format!("{name}.scale"), vec![len], data_type::FLOAT, scales);
        // ONNX Runtime fuses only nodes with a zero point.
        let bytes_per_code = if kind == data_type::INT8 { 1 } else { size_of::<i32>() };
        let zeros = vec![0; len as usize * bytes_per_code];
        let zero_point = self.add_tensor(format!("{name}.zero_point"), vec![len], kind, zeros);
        let output = format!("{name}.dequantized");
        self.nodes.push(Node {
            name: output.clone(),
            op_type: "DequantizeLinear".into(),
            input: vec![integers, scale, zero_point],
            output: vec![output.clone()],
            attribute: vec![Attribute {
                name: "axis".into(),
                kind: attribute_type::INT,
                i: axis,
                ..Attribute::default()
            }],
            ..Node::default()
        });
        output
    }
}

/// A weight as integers, with a scale an output channel.
struct QuantizedWeight {
    /// Bytes of int8, in the order of the weight.
    codes: Vec<u8>,
    /// One an output channel.
    scales: Vec<f32>,
    /// The rounded weight minus the weight.
    errors: Vec<f32>,
}

impl QuantizedWeight {
    /// Rounds a weight whose output channels are the dimension `axis`, the first or the last one, with scales of at least
    /// `min_scale`.
    fn new(weight: &Tensor, axis: usize, min_scale: impl Fn(usize) -> f32) -> Self {
        let values = floats(weight);
        let outputs = weight.dims[axis] as usize;
        let row_len = values.len() / outputs;
        let channel = |index: usize| if axis == 0 { index / row_len } else { index % outputs };
        let mut scales: Vec<f32> = (0..outputs).map(|output| min_scale(output).max(MIN_SCALE)).collect();
        for (index, value) in values.iter().enumerate() {
            let scale = &mut scales[channel(index)];
            *scale = scale.max(value.abs() / MAX_WEIGHT);
        }
        let (mut codes, mut errors) = (Vec::with_capacity(values.len()), Vec::with_capacity(values.len()));
        for (index, value) in values.iter().enumerate() {
            let scale = scales[channel(index)];
            let code = (value / scale).round_ties_even().clamp(-MAX_WEIGHT, MAX_WEIGHT);
            codes.push(code as i8 as u8);
            errors.push(code * scale - value);
        }
        Self { codes, scales, errors }
    }

    /// The mean of what rounding adds to each output of a convolution with weights of these dimensions, for the means of
    /// its input channels: bias correction (Nagel et al., "Data-free quantization through weight equalization and bias
    /// correction", 2019), which leaves out the border of the image.
    fn mean_error(&self, dims: &[i64], means: &[f64]) -> Vec<f64> {
        let [outputs, group_inputs, ..] = [dims[0] as usize, dims[1] as usize];
        let kernel = self.errors.len() / outputs / group_inputs;
        let is_depthwise = group_inputs == 1 && outputs == means.len();
        let rows = self.errors.chunks_exact(group_inputs * kernel).enumerate();
        rows.map(|(output, row)| {
            let inputs = row.chunks_exact(kernel).enumerate();
            let error = |(input, taps): (usize, &[f32])| {
                let mean = means[if is_depthwise { output } else { input }];
                taps.iter().map(|tap| f64::from(*tap)).sum::<f64>() * mean
            };
            inputs.map(error).sum()
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statistics(values: &[f32]) -> Statistics {
        let lowest = values.iter().copied().fold(f32::INFINITY, f32::min);
        let highest = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut histogram = vec![0; BINS];
        for value in values {
            let bin = ((value - lowest) / (highest - lowest) * BINS as f32) as usize;
            histogram[bin.min(BINS - 1)] += 1;
        }
        Statistics { lowest, highest, histogram, means: Vec::new() }
    }

    #[test]
    fn ranges_hold_zero_and_leave_out_rare_extremes() {
        // 20,000 values between 0 and 1, and one far away.
        let mut values: Vec<f32> = (0..20_000).map(|index| index as f32 / 20_000.0).collect();
        values.push(10.0);
        let found = statistics(&values);
        let highest = |method| {
            let codes = found.codes(method);
            assert_eq!(codes.zero_point, 0, "{method}");
            codes.scale * MAX_CODE
        };
        assert_eq!(highest(RangeMethod::MinMax), 10.0);
        assert!(highest(RangeMethod::Percentile) < 1.1);
        assert!(highest(RangeMethod::Mse) < 10.0);
        let negative = statistics(&[-3.0, -1.0]).codes(RangeMethod::MinMax);
        assert_eq!((negative.zero_point, negative.round(0.0), negative.round(-3.0)), (255, 0.0, -3.0));
        let zeros = statistics(&[0.0, 0.0]).codes(RangeMethod::Mse);
        assert!(zeros.scale > 0.0 && zeros.round(0.0) == 0.0);
    }

    #[test]
    fn weights_are_rounded_channel_by_channel() {
        let values = [1.0_f32, -0.5, 0.25, 0.0, 0.0, 0.0, 100.0, 3.0, -127.0];
        let weight = Tensor {
            dims: vec![3, 3, 1, 1],
            data_type: data_type::FLOAT,
            raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into(),
            ..Tensor::default()
        };
        let quantised = QuantizedWeight::new(&weight, 0, |_| 0.0);
        let codes: Vec<i8> = quantised.codes.iter().map(|code| *code as i8).collect();
        assert_eq!(codes, [127, -64, 32, 0, 0, 0, 100, 3, -127]);
        assert_eq!(quantised.scales, [1.0 / 127.0, MIN_SCALE, 1.0]);
        let expected = (32.0 / 127.0 - 0.25) * 2.0 + (-64.0 / 127.0 + 0.5) * 4.0;
        let found = quantised.mean_error(&weight.dims, &[9.0, 4.0, 2.0]);
        assert!((found[0] - expected).abs() < 1e-6 && found[1..] == [0.0, 0.0], "{found:?}");
        // The last dimension's channels.
        let quantised = QuantizedWeight::new(&Tensor { dims: vec![3, 3], ..weight.clone() }, 1, |_| 0.0);
        assert_eq!(quantised.scales, [100.0 / 127.0, 3.0 / 127.0, 1.0]);
        let coarser = QuantizedWeight::new(&Tensor { dims: vec![3, 3], ..weight }, 1, |channel| channel as f32);
        assert_eq!(coarser.scales, [100.0 / 127.0, 1.0, 2.0]);
    }
}
