//! The configuration of a training run: data, architecture, input, optimiser, loss and data augmentation.

use std::path::{Path, PathBuf};

use anyhow::Result;
use runtime::dataset::Source;
use runtime::model::card::Training;
use runtime::preprocess::InputSpec;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data::augment::Augmentation;
use crate::loss::Loss;
use crate::lr_schedule::LrSchedule;
use crate::model::Architecture;

/// Everything that a run depends on, apart from the device: the same configuration and data give the same weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainConfig {
    /// CSV files of the training posters.
    pub train: Vec<Source>,
    /// CSV files of the validation posters, for the best epoch, calibration and thresholds.
    pub validation: Vec<Source>,
    /// The number of genres, in alphabetical order, after which the genre lists of all these files were cut; whole
    /// lists if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_limit: Option<usize>,
    /// The network's architecture.
    pub architecture: Architecture,
    /// Initial weights: a weights file, an exported model, or a run directory; random if absent.
    pub pretrained: Option<PathBuf>,
    /// How the network with the initial weights was trained, if it was a poster classifier.
    #[serde(default)]
    pub started_from: Option<Training>,
    /// The number of parts of the backbone, from the input on, that are frozen; see
    /// [`BACKBONE_BLOCKS`](crate::model::mobilenet::BACKBONE_BLOCKS).
    pub freeze: usize,
    /// Augmented views of each poster whose frozen features are cached; 0 augments anew in every epoch.
    #[serde(default)]
    pub views: usize,
    /// The network's input.
    pub input: InputSpec,
    /// Posters per step.
    pub batch_size: usize,
    /// Learning-rate schedule of the classifier head.
    pub schedule: LrSchedule,
    /// The backbone's learning rate as a fraction of the classifier head's, 0 to 1.
    #[serde(alias = "trunk_rate")]
    pub backbone_lr_scale: f64,
    /// The training objective.
    pub loss: Loss,
    /// Teachers for knowledge distillation: exported models, or CSV files of probabilities.
    pub teachers: Vec<PathBuf>,
    /// Exponent of class-balanced sampling; 0 draws every poster once an epoch.
    pub sampling: f64,
    /// Decoupled weight decay of AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019); 0 is
    /// Adam.
    pub weight_decay: f64,
    /// EMA decay per step, 0 to 1 (1 excluded); 0 makes the EMA equal to the weights.
    #[serde(alias = "average")]
    pub ema_decay: f64,
    /// Quantisation-aware training: every forward pass sees the weights rounded to int8.
    #[serde(default)]
    pub quantization_aware: bool,
    /// Data augmentation.
    pub augmentation: Augmentation,
    /// Early stopping: epochs without a new lowest validation loss after which the run ends; never if absent.
    pub patience: Option<usize>,
    /// Seed of initial weights, order, data augmentation and dropout.
    pub seed: u64,
}

impl TrainConfig {
    /// Height and width of the network's input, in pixels.
    pub fn input_size(&self) -> [usize; 2] {
        [self.input.height, self.input.width].map(|side| side as usize)
    }

    /// The configuration as JSON for the model card: without the datasets, which the card lists by name, and with the
    /// names of files instead of their paths on this machine.
    ///
    /// # Errors
    /// If a path is not Unicode.
    pub fn to_card(&self) -> Result<Value> {
        let mut value = serde_json::to_value(self)?;
        if let Some(object) = value.as_object_mut() {
            object.retain(|key, _| key != "train" && key != "validation");
            let name = |path: &PathBuf| Path::file_name(path).map(|name| name.to_string_lossy().into_owned());
            object.insert("pretrained".into(), self.pretrained.as_ref().and_then(name).into());
            object.insert("teachers".into(), self.teachers.iter().filter_map(name).collect());
        }
        Ok(value)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::data::augment::Mix;
    use crate::lr_schedule::Decay;
    use serde_json::json;

    /// A configuration with a value other than the default in each renamed field.
    pub(crate) fn example() -> TrainConfig {
        TrainConfig {
            train: vec!["/home/me/posters/train.csv".parse().unwrap()],
            validation: vec!["/home/me/posters/val.csv".parse().unwrap()],
            list_limit: None,
            architecture: Architecture::Cnn,
            pretrained: Some("/home/me/weights/imagenet.pth".into()),
            started_from: None,
            freeze: 0,
            views: 0,
            input: InputSpec::rgb(32, 48),
            batch_size: 8,
            schedule: LrSchedule { peak: 1e-3, warmup: 0.5, epochs: 3, decay: Decay::Plateau },
            backbone_lr_scale: 0.25,
            loss: Loss::PLAIN,
            teachers: vec!["/home/me/models/teacher.onnx".into()],
            sampling: 0.0,
            weight_decay: 0.05,
            ema_decay: 0.99,
            quantization_aware: false,
            augmentation: Augmentation {
                flip: true,
                random_resized_crop: 0.3,
                color_jitter: 0.1,
                random_erasing: 0.2,
                mix: Mix::Cutmix,
            },
            patience: None,
            seed: 7,
        }
    }

    #[test]
    fn old_names_of_fields_are_read() {
        let mut value = serde_json::to_value(example()).unwrap();
        for (path, old, new) in [
            ("", "trunk_rate", "backbone_lr_scale"),
            ("", "average", "ema_decay"),
            ("/augmentation", "crop", "random_resized_crop"),
            ("/augmentation", "colour", "color_jitter"),
            ("/augmentation", "erase", "random_erasing"),
        ] {
            let object = value.pointer_mut(path).unwrap().as_object_mut().unwrap();
            let field = object.remove(new).unwrap_or_else(|| panic!("{new} is not written"));
            object.insert(old.into(), field);
        }
        assert_eq!(serde_json::from_value::<TrainConfig>(value).unwrap(), example());
    }

    #[test]
    fn the_card_holds_no_path_of_this_machine() {
        let card = example().to_card().unwrap();
        assert!(!card.to_string().contains("/home"), "{card}");
        let fields = ["train", "validation", "pretrained", "teachers", "ema_decay"].map(|key| card.get(key).cloned());
        assert_eq!(fields, [None, None, Some(json!("imagenet.pth")), Some(json!(["teacher.onnx"])), Some(json!(0.99))]);
    }
}
