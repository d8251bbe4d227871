//! What makes probabilities of a trunk's means.

use prost::bytes::Bytes;
use pulp::{Arch, Simd, WithSimd};

use super::isa::{dispatch, load, multiply_add, store};
use super::weights::Weight;

/// Two dense layers over means that are shifted and scaled first, with a ReLU between them and a sigmoid behind.
#[derive(Debug)]
pub struct Head {
    /// The vectors to use.
    pub arch: Arch,
    /// Added to the means.
    pub shift: Vec<f32>,
    /// What they are multiplied with then.
    pub scale: Vec<f32>,
    /// The first layer.
    pub hidden: Dense,
    /// The second one.
    pub classes: Dense,
}

/// A dense layer.
#[derive(Debug)]
pub struct Dense {
    /// `[inputs, outputs]`
    pub weight: Matrix,
    /// `[outputs]`
    pub bias: Vec<f32>,
}

/// The weights of a dense layer, in the order in which both an ONNX file has them and the layer uses them.
#[derive(Debug)]
pub enum Matrix {
    /// 32-bit floats.
    Single(Vec<f32>),
    /// The file's own bytes of 16-bit floats, the lowest byte of each first.
    Half(Bytes),
}

impl Head {
    /// The probability of each class.
    pub fn probabilities(&self, mut means: Vec<f32>) -> Vec<f32> {
        for (mean, (shift, scale)) in means.iter_mut().zip(self.shift.iter().zip(&self.scale)) {
            *mean = (*mean + shift) * scale;
        }
        let mut hidden = self.hidden.run(self.arch, &means);
        hidden.iter_mut().for_each(|value| *value = value.max(0.0));
        let mut logits = self.classes.run(self.arch, &hidden);
        logits.iter_mut().for_each(|value| *value = 1.0 / (1.0 + (-*value).exp()));
        logits
    }
}

impl Dense {
    fn run(&self, arch: Arch, x: &[f32]) -> Vec<f32> {
        dispatch(arch, Run { layer: self, x })
    }
}

struct Run<'a> {
    layer: &'a Dense,
    x: &'a [f32],
}

impl WithSimd for Run<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        match &self.layer.weight {
            Matrix::Single(weight) => self.sum(simd, weight),
            Matrix::Half(weight) => self.sum(simd, weight.as_chunks::<2>().0),
        }
    }
}

impl Run<'_> {
    #[inline(always)]
    fn sum<S: Simd, W: Weight>(self, simd: S, weights: &[W]) -> Vec<f32> {
        let mut y = self.layer.bias.clone();
        // Row by row, as they lie: the system's caches read ahead of it.
        for (x, weights) in self.x.iter().zip(weights.chunks_exact(y.len())) {
            let x = simd.splat_f32s(*x);
            for (y, weights) in y.chunks_mut(S::F32_LANES).zip(weights.chunks(S::F32_LANES)) {
                store(simd, multiply_add(simd, x, W::load(simd, weights), load(simd, y)), y);
            }
        }
        y
    }
}

#[cfg(test)]
mod tests {
    use super::super::isa::all;
    use super::super::tests::{assert_close, halves, random, singles};
    use super::super::weights::Weights;
    use super::*;

    #[test]
    fn every_size_and_kind_of_vector_gives_the_plain_product() {
        for arch in all().into_iter().map(|isa| isa.arch) {
            for (inputs, outputs) in [(1, 1), (7, 24), (8, 32), (33, 5)] {
                let (singles, halves) = (singles(inputs * outputs), halves(inputs * outputs));
                for weight in [Weights::Single(&singles), Weights::Half(&halves)] {
                    let (x, bias) = (random(inputs), random(outputs));
                    let floats = weight.floats();
                    let dot = |output: usize| {
                        let column = floats[output..].iter().step_by(outputs);
                        bias[output] + x.iter().zip(column).map(|(x, weight)| x * weight).sum::<f32>()
                    };
                    let expected: Vec<f32> = (0..outputs).map(dot).collect();
                    let weight = match weight {
                        Weights::Single(_) => Matrix::Single(floats.clone()),
                        Weights::Half(halves) => Matrix::Half(Bytes::copy_from_slice(halves.as_flattened())),
                    };
                    let layer = Dense { weight, bias: bias.clone() };
                    assert_close(&layer.run(arch, &x), &expected, &format!("{arch:?}, {inputs} to {outputs}"));
                }
            }
        }
    }
}
