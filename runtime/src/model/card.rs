//! The model card: genres, input, operating points, training and metrics, in the metadata of the ONNX file.
//!
//! It lives in the ONNX file's own `metadata_props` (a list of keys and texts, see `ModelProto` in the
//! [ONNX specification](https://github.com/onnx/onnx/blob/main/docs/IR.md#optional-metadata)), one key for each field of
//! [`Card`]; fields that are not plain text are JSON. Netron and every other ONNX tool show it. It is read and written
//! here only.

use std::collections::BTreeMap;

use prost::Message;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub use crate::error::CardError;
use crate::metrics::Evaluation;
use crate::onnx;
use crate::operating_point::OperatingPoint;
use crate::preprocess::InputSpec;

/// Value of the key `format`: tells a card of this project, and the version of its layout.
pub const FORMAT: &str = "poster-genres/1";

/// The most pixels (width times height) of a model's input, 4096 x 4096: a network needs hundreds of bytes for each.
const MAX_INPUT_PIXELS: u64 = 1 << 24;

/// The model card of a model file.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// Short name of the model.
    pub name: String,
    /// What the model is and what it is for, in a sentence or two.
    pub description: String,
    /// Genres in the order of the output, `[N, G]`.
    pub genres: Vec<String>,
    /// Specification of the input, `[N, 3, height, width]` or `[N, height, width, 3]`.
    pub input: InputSpec,
    /// Named sets of thresholds; the first one is used where none is named.
    pub operating_points: Vec<OperatingPoint>,
    /// Output of the graph for each genre.
    pub output: Output,
    /// How the model was trained: settings and data.
    pub training: Training,
    /// The figures that the model reached, by the data they were measured on.
    pub figures: BTreeMap<String, Evaluation>,
}

/// Output of a graph for each genre.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Probabilities, in 0..=1: the graph ends with a sigmoid. A card without the key `output` means these.
    #[default]
    Probabilities,
    /// Logits, of which the sigmoid is still to be taken.
    Logits,
}

/// Value of the key `output` for [`Output::Probabilities`].
const PROBABILITIES: &str = "probabilities";

/// Value of the key `output` for [`Output::Logits`].
const LOGITS: &str = "logits";

/// How a model was trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Training {
    /// The architecture's name.
    pub architecture: String,
    /// The sets of posters it learned from, with their number.
    pub data: BTreeMap<String, usize>,
    /// Every setting of the run, and of those it started from.
    pub settings: Settings,
}

/// The settings of a training run: a JSON object whose keys are those of `train`'s configuration.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Settings(serde_json::Value);

/// Key of the training that a run's initial weights come from.
const STARTED_FROM: &str = "started_from";

impl Settings {
    /// The settings of a run, from a value that serialises to a JSON object.
    ///
    /// # Panics
    /// If JSON cannot hold the value, as a map whose keys are not strings.
    pub fn new(settings: &impl Serialize) -> Self {
        Self(serde_json::to_value(settings).expect("settings are strings, numbers, lists and objects"))
    }

    /// Key and value of every setting of this run alone, nested keys joined by a dot, in the order of the file. Settings
    /// that are null or an empty list are left out.
    ///
    /// ```
    /// use runtime::model::card::Settings;
    ///
    /// let json = r#"{"seed": 1, "schedule": {"epochs": 6}, "teachers": [], "started_from": null}"#;
    /// let settings: Settings = serde_json::from_str(json)?;
    /// assert_eq!(settings.entries(), [("seed".into(), "1".into()), ("schedule.epochs".into(), "6".into())]);
    /// # Ok::<(), serde_json::Error>(())
    /// ```
    pub fn entries(&self) -> Vec<(String, String)> {
        let mut entries = Vec::new();
        for (key, value) in self.0.as_object().into_iter().flatten().filter(|(key, _)| *key != STARTED_FROM) {
            flatten(key, value, &mut entries);
        }
        entries
    }

    /// The training that the run's initial weights come from, if they come from a model of this project.
    pub fn started_from(&self) -> Option<Training> {
        Training::deserialize(self.0.get(STARTED_FROM)?).ok()
    }
}

fn flatten(key: &str, value: &serde_json::Value, entries: &mut Vec<(String, String)>) {
    use serde_json::Value::{Array, Null, Object, String};
    let text = match value {
        Null => return,
        Array(list) if list.is_empty() => return,
        Object(object) => {
            return object.iter().for_each(|(own, value)| flatten(&format!("{key}.{own}"), value, entries));
        }
        Array(list) => {
            let texts = list.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_string));
            texts.collect::<Vec<_>>().join(", ")
        }
        String(text) => text.clone(),
        value => value.to_string(),
    };
    entries.push((key.to_string(), text));
}

impl Card {
    /// Reads the card of a model.
    ///
    /// # Errors
    /// If there is none, or if it is not complete and consistent.
    pub(crate) fn read(model: &onnx::Model) -> Result<Self, CardError> {
        let properties: BTreeMap<&str, &str> =
            model.metadata_props.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
        if properties.get("format") != Some(&FORMAT) {
            return Err(CardError::Missing);
        }
        let text = |key| properties.get(key).copied().ok_or(CardError::Incomplete(key));
        fn json<T: DeserializeOwned>(key: &'static str, text: &str) -> Result<T, CardError> {
            serde_json::from_str(text).map_err(|error| CardError::Malformed { key, reason: error.to_string() })
        }
        let card = Self {
            name: text("name")?.into(),
            description: text("description")?.into(),
            genres: json("genres", text("genres")?)?,
            input: json("input", text("input")?)?,
            operating_points: json("operating_points", text("operating_points")?)?,
            output: match properties.get("output").copied() {
                None | Some(PROBABILITIES) => Output::Probabilities,
                Some(LOGITS) => Output::Logits,
                Some(other) => {
                    let reason = format!("\"{other}\" is neither \"{PROBABILITIES}\" nor \"{LOGITS}\"");
                    return Err(CardError::Malformed { key: "output", reason });
                }
            },
            training: json("training", text("training")?)?,
            figures: json("figures", text("figures")?)?,
        };
        card.check()?;
        Ok(card)
    }

    /// Appends the card to an encoded ONNX model that has no metadata yet.
    ///
    /// Protocol Buffers merge concatenated messages, so that the `metadata_props` of the card need no decoding of the model
    /// (<https://protobuf.dev/programming-guides/encoding/#last-one-wins>).
    ///
    /// # Errors
    /// If the card is not consistent.
    pub fn append_to(&self, onnx: &mut Vec<u8>) -> Result<(), CardError> {
        self.check()?;
        fn json(value: &impl Serialize) -> String {
            serde_json::to_string(value).expect("a card holds only what JSON can hold")
        }
        let mut properties = vec![
            ("format", FORMAT.into()),
            ("name", self.name.clone()),
            ("description", self.description.clone()),
            ("genres", json(&self.genres)),
            ("input", json(&self.input)),
            ("operating_points", json(&self.operating_points)),
            ("training", json(&self.training)),
            ("figures", json(&self.figures)),
        ];
        if self.output == Output::Logits {
            properties.push(("output", LOGITS.into()));
        }
        let metadata_props =
            properties.into_iter().map(|(key, value)| onnx::Property { key: key.into(), value }).collect();
        onnx.extend(onnx::Model { metadata_props, ..onnx::Model::default() }.encode_to_vec());
        Ok(())
    }

    fn check(&self) -> Result<(), CardError> {
        let malformed = |key, reason: &str| Err(CardError::Malformed { key, reason: reason.into() });
        if self.genres.is_empty() {
            return malformed("genres", "there are none");
        }
        if u64::from(self.input.width) * u64::from(self.input.height) > MAX_INPUT_PIXELS {
            return malformed("input", "it has more than 16 million pixels");
        }
        if self.input.is_empty() || self.input.std.contains(&0.0) {
            return malformed("input", "its size or its standard deviation is zero");
        }
        if self.operating_points.is_empty() {
            return malformed("operating_points", "there are none");
        }
        if self.operating_points.iter().any(|point| point.thresholds.len() != self.genres.len()) {
            return malformed("operating_points", "there must be one threshold for each genre");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_has_pixels_but_not_so_many_that_memory_ends() {
        let model = crate::ModelOptions::new().lazy(true).shipped().unwrap();
        let cases = [
            (4096, 4096, None),
            (0, 64, Some("zero")),
            (4097, 4096, Some("16 million")),
            (u32::MAX, u32::MAX, Some("16 million")),
        ];
        for (width, height, problem) in cases {
            let card = Card { input: InputSpec::rgb(width, height), ..model.card().clone() };
            let error = card.append_to(&mut Vec::new()).err().map(|error| error.to_string());
            assert_eq!(error.is_some(), problem.is_some(), "{width} x {height}: {error:?}");
            assert!(error.unwrap_or_default().contains(problem.unwrap_or_default()), "{width} x {height}");
        }
    }
}
