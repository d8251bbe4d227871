//! Classifier head: a two-layer perceptron from pooled features to one sigmoid probability per class.
//!
//! It computes in f32 with one order of operations, a rounding after every multiplication and addition, and an
//! exponential function of its own library: the same features give the same bits on every processor.

use prost::bytes::Bytes;
use pulp::{Arch, Simd, WithSimd};

use super::simd::{dispatch, load, store};
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

impl Head {
    /// The probability of each class for pooled features `[features]`.
    pub fn probabilities(&self, mut features: Vec<f32>) -> Vec<f32> {
        for (feature, (shift, scale)) in features.iter_mut().zip(self.shift.iter().zip(&self.scale)) {
            *feature = (*feature + shift) * scale;
        }
        let mut hidden = self.hidden.run(self.arch, &features);
        hidden.iter_mut().for_each(|value| *value = value.max(0.0));
        let mut logits = self.classifier.run(self.arch, &hidden);
        logits.iter_mut().for_each(|value| *value = 1.0 / (1.0 + libm::expf(-*value)));
        logits
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

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, every_arch, random, random_f16_bytes, random_f32_bytes};
    use super::super::weights::Weights;
    use super::*;

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
