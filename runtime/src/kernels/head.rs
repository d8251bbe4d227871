//! Classifier head: a two-layer perceptron from pooled features to one sigmoid probability per class.
//!
//! It computes in f32 with one order of operations, a rounding after every multiplication and addition, and an
//! exponential function of its own library: the same features give the same bits on every processor.

use prost::bytes::Bytes;
use pulp::{Arch, Simd, WithSimd};

use super::float16::f16_bytes_to_f32;
use super::simd::{dispatch, load, multiply_add, store};
use super::weights::Weight;

/// `sigmoid(classifier(relu(hidden((x + shift) * scale))))` for a vector `x` of pooled features.
#[derive(Debug)]
pub struct Head {
    /// The vectors that the dense layers use.
    pub arch: Arch,
    /// `[features]`, added to the features.
    pub shift: Vec<f32>,
    /// `[features]`, multiplied with the shifted features.
    pub scale: Vec<f32>,
    /// The hidden layer, followed by a ReLU.
    pub hidden: Dense,
    /// The classifier layer, followed by a sigmoid.
    pub classifier: Dense,
}

/// A dense layer, `x * weight + bias`.
#[derive(Debug)]
pub struct Dense {
    /// `[inputs, outputs]`
    pub weight: Matrix,
    /// `[outputs]`
    pub bias: Vec<f32>,
}

/// The weights of a dense layer, row-major `[inputs, outputs]`, as an ONNX `MatMul` has them.
#[derive(Debug)]
pub enum Matrix {
    /// f32.
    F32(Vec<f32>),
    /// Little-endian f16: bytes of the model file, shared with it.
    F16(Bytes),
    /// Integers, bytes of the model file, and the scale of each output, `[outputs]`.
    I8(Bytes, Vec<f32>),
}

/// Activations of the hidden layer and of the output for one image.
#[derive(Debug)]
pub struct Activations {
    /// Outputs of the hidden layer, behind its ReLU.
    pub hidden: Vec<f32>,
    /// The probability of each class.
    pub probabilities: Vec<f32>,
}

impl Head {
    /// Runs the head on pooled features `[features]`.
    pub fn run(&self, mut features: Vec<f32>) -> Activations {
        for (feature, (shift, scale)) in features.iter_mut().zip(self.shift.iter().zip(&self.scale)) {
            *feature = (*feature + shift) * scale;
        }
        let mut hidden = self.hidden.run(self.arch, &features);
        hidden.iter_mut().for_each(|value| *value = value.max(0.0));
        let mut logits = self.classifier.run(self.arch, &hidden);
        logits.iter_mut().for_each(|value| *value = 1.0 / (1.0 + libm::expf(-*value)));
        Activations { hidden, probabilities: logits }
    }

    /// The gradient of a class's logit with respect to the pooled features, `[features]`, where the hidden layer puts out
    /// `hidden`. A linear layer, a ReLU and a linear layer have it in closed form: it is that of the linear function that
    /// the head is while no hidden output changes between zero and more.
    pub fn gradient(&self, hidden: &[f32], class: usize) -> Vec<f32> {
        let classes = self.classifier.bias.len();
        let slopes: Vec<f32> = (hidden.iter().enumerate())
            .map(
                |(unit, output)| {
                    if *output > 0.0 { self.classifier.weight.value(unit * classes + class, class) } else { 0.0 }
                },
            )
            .collect();
        // The scale of an output of the hidden layer belongs to its slope.
        let slopes = match &self.hidden.weight {
            Matrix::I8(_, scale) => slopes.iter().zip(scale).map(|(slope, scale)| slope * scale).collect(),
            Matrix::F32(_) | Matrix::F16(_) => slopes,
        };
        let dots = dispatch(self.arch, RowDots { weight: &self.hidden.weight, x: &slopes });
        dots.iter().zip(&self.scale).map(|(dot, scale)| dot * scale).collect()
    }
}

impl Matrix {
    /// The element at an index, which belongs to `output`.
    fn value(&self, index: usize, output: usize) -> f32 {
        match self {
            Self::F32(weights) => weights[index],
            Self::F16(bytes) => f16_bytes_to_f32([bytes[2 * index], bytes[2 * index + 1]]),
            Self::I8(bytes, scale) => f32::from(bytes[index] as i8) * scale[output],
        }
    }
}

impl Dense {
    fn run(&self, arch: Arch, x: &[f32]) -> Vec<f32> {
        dispatch(arch, VectorMatrix { layer: self, x })
    }
}

/// The product of a vector and a matrix.
struct VectorMatrix<'a> {
    layer: &'a Dense,
    x: &'a [f32],
}

impl WithSimd for VectorMatrix<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Dense { weight, bias } = self.layer;
        match weight {
            Matrix::F32(weight) => self.add_product(simd, weight, bias.clone()),
            Matrix::F16(weight) => self.add_product(simd, weight.as_chunks::<2>().0, bias.clone()),
            Matrix::I8(weight, scale) => {
                let weight: &[i8] = bytemuck::cast_slice(weight);
                let sums = self.add_product(simd, weight, vec![0.0; bias.len()]);
                sums.iter().zip(scale).zip(bias).map(|((sum, scale), bias)| sum * scale + bias).collect()
            }
        }
    }
}

impl VectorMatrix<'_> {
    /// `y + x * weights`
    #[inline(always)]
    fn add_product<S: Simd, W: Weight>(&self, simd: S, weights: &[W], mut y: Vec<f32>) -> Vec<f32> {
        // Rows in memory order, which the hardware prefetcher follows.
        for (x, weights) in self.x.iter().zip(weights.chunks_exact(y.len())) {
            let x = simd.splat_f32s(*x);
            for (y, weights) in y.chunks_mut(S::F32_LANES).zip(weights.chunks(S::F32_LANES)) {
                // Not fused: not every processor has a fused multiply-add.
                let product = simd.mul_f32s(x, W::load(simd, weights));
                store(simd, simd.add_f32s(load(simd, y), product), y);
            }
        }
        y
    }
}

/// The products of a matrix's rows and a vector; of an int8 matrix without its scales.
struct RowDots<'a> {
    weight: &'a Matrix,
    x: &'a [f32],
}

impl WithSimd for RowDots<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        match self.weight {
            Matrix::F32(weight) => self.dots(simd, weight),
            Matrix::F16(weight) => self.dots(simd, weight.as_chunks::<2>().0),
            Matrix::I8(weight, _) => self.dots::<S, i8>(simd, bytemuck::cast_slice(weight)),
        }
    }
}

impl RowDots<'_> {
    #[inline(always)]
    fn dots<S: Simd, W: Weight>(self, simd: S, weights: &[W]) -> Vec<f32> {
        let dot = |row: &[W]| {
            let mut sum = simd.splat_f32s(0.0);
            for (x, weights) in self.x.chunks(S::F32_LANES).zip(row.chunks(S::F32_LANES)) {
                sum = multiply_add(simd, load(simd, x), W::load(simd, weights), sum);
            }
            simd.reduce_sum_f32s(sum)
        };
        weights.chunks_exact(self.x.len()).map(dot).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, every_arch, random, random_f16_bytes, random_f32_bytes, random_weights};
    use super::super::weights::Weights;
    use super::*;

    #[test]
    fn the_gradient_is_the_slope_of_the_logit() {
        let (features, hidden, classes) = (19, 33, 5);
        for arch in every_arch() {
            let dense = |inputs: usize, outputs: usize, kind: &str| {
                let len = inputs * outputs;
                let weight = match kind {
                    "f16" => Matrix::F16(Bytes::copy_from_slice(random_f16_bytes(len).as_flattened())),
                    "int8" => Matrix::I8(random_weights(len).into(), vec![1.0 / 127.0; outputs]),
                    _ => Matrix::F32(random(len)),
                };
                Dense { weight, bias: random(outputs) }
            };
            for kind in ["f32", "f16", "int8"] {
                let head = Head {
                    arch,
                    shift: random(features),
                    scale: random(features),
                    hidden: dense(features, hidden, kind),
                    classifier: dense(hidden, classes, kind),
                };
                let x = random(features);
                let logit = |x: &[f32], class: usize| head.classifier.run(arch, &head.run(x.to_vec()).hidden)[class];
                let at = head.run(x.clone());
                let class = 2;
                let gradient = head.gradient(&at.hidden, class);
                let slope = |feature: usize| {
                    let step = 2e-3;
                    let mut moved = [x.clone(), x.clone()];
                    moved[0][feature] -= step;
                    moved[1][feature] += step;
                    // If a ReLU switches in between, there is no slope to compare with.
                    let is_linear = moved.iter().all(|x| {
                        let hidden = head.run(x.clone()).hidden;
                        hidden.iter().zip(&at.hidden).all(|(a, b)| (*a > 0.0) == (*b > 0.0))
                    });
                    is_linear.then(|| (logit(&moved[1], class) - logit(&moved[0], class)) / (2.0 * step))
                };
                let slopes: Vec<Option<f32>> = (0..features).map(slope).collect();
                assert!(slopes.iter().flatten().count() > features / 2, "most steps are within one linear piece");
                for (feature, slope) in slopes.into_iter().enumerate() {
                    let Some(slope) = slope else { continue };
                    let found = gradient[feature];
                    assert!((found - slope).abs() < 0.02 * slope.abs().max(1.0), "{arch:?} {feature}: {found} {slope}");
                }
            }
        }
    }

    #[test]
    fn dense_layers_match_the_definition_for_every_vector_width_and_weight_type() {
        for arch in every_arch() {
            for (inputs, outputs) in [(1, 1), (7, 24), (8, 32), (33, 5)] {
                let (f32_bytes, f16_bytes) = (random_f32_bytes(inputs * outputs), random_f16_bytes(inputs * outputs));
                for weight in [Weights::F32(&f32_bytes), Weights::F16(&f16_bytes)] {
                    let (x, bias) = (random(inputs), random(outputs));
                    let floats = weight.to_f32();
                    let dot = |output: usize| {
                        let column = floats[output..].iter().step_by(outputs);
                        bias[output] + x.iter().zip(column).map(|(x, weight)| x * weight).sum::<f32>()
                    };
                    let expected: Vec<f32> = (0..outputs).map(dot).collect();
                    let weight = match weight {
                        Weights::F32(_) => Matrix::F32(floats.clone()),
                        Weights::F16(bytes) => Matrix::F16(Bytes::copy_from_slice(bytes.as_flattened())),
                        Weights::I8(_) => unreachable!("not among the cases"),
                    };
                    let layer = Dense { weight, bias: bias.clone() };
                    assert_close(&layer.run(arch, &x), &expected, &format!("{arch:?}, {inputs} to {outputs}"));
                }
            }
        }
    }
}
