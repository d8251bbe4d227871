//! Pretrained ImageNet weights of MobileNetV2, from safetensors files and PyTorch checkpoints.
//!
//! Two naming schemes are read, each as `.safetensors`, torchvision's as `.pth` too:
//!
//! * this project's: `stem.conv`, `blocks.0.depthwise` ... `blocks.16.project`, `head.conv`, each with `weight` and
//!   `bias`;
//! * torchvision's `mobilenet_v2`: `features.0.0`, `features.1.conv.0.0` and so on, each followed by its batch
//!   normalisation, which is folded into the convolution.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use burn::store::{ModuleStore, PytorchStore, SafetensorsStore, bridge};
use burn::tensor::TensorData;

/// The epsilon that batch normalisation adds to the variance in torchvision's networks.
const EPSILON: f32 = 1e-5;

/// The tensors of a file of weights, by name.
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, TensorData>,
}

/// Weight and bias of a convolution.
pub struct Convolution {
    /// `[outputs, inputs / groups, kernel, kernel]`
    pub weight: TensorData,
    /// `[outputs]`
    pub bias: TensorData,
}

impl Weights {
    /// Reads a file: safetensors if its name says so, otherwise a PyTorch checkpoint.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let failed = || {
            format!(
                "{}: cannot be read as weights; name a .safetensors file or a .pth file of tensors by name",
                path.display()
            )
        };
        ensure!(path.is_file(), "{}: is not a file; name one with --pretrained", path.display());
        let convert = |tensors: &BTreeMap<String, burn::store::burn_pack::Tensor>| -> Result<_> {
            tensors.iter().map(|(name, tensor)| Ok((name.clone(), bridge::to_data(tensor)?.convert::<f32>()))).collect()
        };
        let tensors = if path.extension().is_some_and(|extension| extension == "safetensors") {
            let mut store = SafetensorsStore::from_file(path);
            convert(store.get_all_tensors().map_err(|error| anyhow!("{error}")).with_context(failed)?)
        } else {
            let mut store = PytorchStore::from_file(path);
            convert(store.get_all_tensors().map_err(|error| anyhow!("{error}")).with_context(failed)?)
        };
        Ok(Self { path: path.to_path_buf(), tensors: tensors.with_context(failed)? })
    }

    /// Mean and standard deviation of the input that the weights were trained with, red, green, blue, for channels of 0 to
    /// 1.
    pub fn normalisation(&self) -> ([f32; 3], [f32; 3]) {
        if self.is_torchvision() { ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]) } else { ([0.5; 3], [0.5; 3]) }
    }

    fn is_torchvision(&self) -> bool {
        self.tensors.keys().any(|name| name.starts_with("features."))
    }

    /// The convolution of that name (in this project's scheme: `stem.conv`, `blocks.3.expand`) and weight shape,
    /// `[outputs, inputs / groups, kernel, kernel]`. Batch normalisation after it is folded in, per output channel:
    ///
    /// ```text
    /// scale  = gamma / sqrt(variance + epsilon)
    /// weight = weight * scale
    /// bias   = beta - mean * scale
    /// ```
    ///
    /// # Errors
    /// If the file lacks one of its tensors, or has one of another shape.
    pub fn convolution(&self, name: &str, shape: [usize; 4]) -> Result<Convolution> {
        let (convolution, norm) =
            if self.is_torchvision() { torchvision(name) } else { (name.to_string(), String::new()) };
        let weight = self.tensor(&format!("{convolution}.weight"), &shape)?;
        let outputs = [shape[0]];
        if !self.tensors.contains_key(&format!("{norm}.running_var")) {
            let bias = self.tensor(&format!("{convolution}.bias"), &outputs)?;
            return Ok(Convolution { weight, bias });
        }
        let [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"]
            .map(|tensor| self.tensor(&format!("{norm}.{tensor}"), &outputs).map(floats));
        let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
        let scale: Vec<f32> =
            gamma.iter().zip(&variance).map(|(gamma, variance)| gamma / (variance + EPSILON).sqrt()).collect();
        let mut weight = floats(weight);
        let kernel = weight.len() / shape[0];
        for (weights, scale) in weight.chunks_exact_mut(kernel).zip(&scale) {
            weights.iter_mut().for_each(|weight| *weight *= scale);
        }
        let bias = beta.iter().zip(&mean).zip(&scale).map(|((beta, mean), scale)| beta - mean * scale).collect();
        Ok(Convolution { weight: TensorData::new(weight, shape), bias: TensorData::new::<f32, _>(bias, outputs) })
    }

    fn tensor(&self, name: &str, shape: &[usize]) -> Result<TensorData> {
        let path = self.path.display();
        let tensor = self.tensors.get(name).ok_or_else(|| {
            anyhow!(
                "{path}: has no tensor \"{name}\"; its weights must be those of a MobileNetV2, named as torchvision or this \
                 project names them"
            )
        })?;
        ensure!(
            tensor.shape().as_slice() == shape,
            "{path}: \"{name}\" is {:?}, the network's is {shape:?}; only weights of the same width fit",
            tensor.shape().as_slice()
        );
        Ok(tensor.clone())
    }
}

fn floats(data: TensorData) -> Vec<f32> {
    data.try_to_vec().expect("weights are converted to f32 when read")
}

/// Names of a convolution and of its batch normalisation in torchvision's network.
fn torchvision(name: &str) -> (String, String) {
    let path: Vec<&str> = name.split('.').collect();
    match path[..] {
        ["stem", _] => ("features.0.0".into(), "features.0.1".into()),
        ["blocks", block, layer] => {
            let block: usize = block.parse().expect("a block has a number");
            // The first block has no expansion, so the indices of its other layers are one less.
            let index = ["expand", "depthwise", "project"].iter().position(|own| *own == layer).unwrap_or(2)
                - usize::from(block == 0);
            let prefix = format!("features.{}.conv", block + 1);
            if layer == "project" {
                (format!("{prefix}.{index}"), format!("{prefix}.{}", index + 1))
            } else {
                (format!("{prefix}.{index}.0"), format!("{prefix}.{index}.1"))
            }
        }
        _ => ("features.18.0".into(), "features.18.1".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn torchvision_names() {
        let cases = [
            ("stem.conv", "features.0.0", "features.0.1"),
            ("blocks.0.depthwise", "features.1.conv.0.0", "features.1.conv.0.1"),
            ("blocks.0.project", "features.1.conv.1", "features.1.conv.2"),
            ("blocks.1.expand", "features.2.conv.0.0", "features.2.conv.0.1"),
            ("blocks.16.depthwise", "features.17.conv.1.0", "features.17.conv.1.1"),
            ("blocks.16.project", "features.17.conv.2", "features.17.conv.3"),
            ("head.conv", "features.18.0", "features.18.1"),
        ];
        for (name, convolution, norm) in cases {
            assert_eq!(torchvision(name), (convolution.into(), norm.into()), "{name}");
        }
    }

    #[test]
    fn batch_normalisation_is_folded() {
        let tensor = |values: &[f32], shape: &[usize]| TensorData::new(values.to_vec(), shape.to_vec());
        let tensors = [
            ("features.0.0.weight", tensor(&[1.0, 2.0], &[2, 1, 1, 1])),
            ("features.0.1.weight", tensor(&[3.0, 1.0], &[2])),
            ("features.0.1.bias", tensor(&[0.5, -1.0], &[2])),
            ("features.0.1.running_mean", tensor(&[1.0, 4.0], &[2])),
            ("features.0.1.running_var", tensor(&[4.0, 1.0], &[2])),
        ];
        let tensors = tensors.into_iter().map(|(name, tensor)| (name.to_string(), tensor)).collect();
        let weights = Weights { path: "w.pth".into(), tensors };
        let Convolution { weight, bias } = weights.convolution("stem.conv", [2, 1, 1, 1]).unwrap();
        let (weight, bias) = (floats(weight), floats(bias));
        // (x w - mean) gamma / sqrt(variance) + beta at x = 1 and x = 3.
        for (x, expected) in [(1.0, [0.5, -3.0]), (3.0, [3.5, 1.0])] {
            for (index, expected) in expected.into_iter().enumerate() {
                let found: f32 = x * weight[index] + bias[index];
                assert!((found - expected).abs() < 1e-3, "x = {x}, channel {index}: {found} is not {expected}");
            }
        }
        let error = weights.convolution("blocks.1.expand", [96, 16, 1, 1]).err().unwrap().to_string();
        assert!(error.contains("w.pth: has no tensor \"features.2.conv.0.0.weight\""), "{error}");
        let error = weights.convolution("stem.conv", [32, 3, 3, 3]).err().unwrap().to_string();
        assert!(error.contains("is [2, 1, 1, 1], the network's is [32, 3, 3, 3]"), "{error}");
    }
}
