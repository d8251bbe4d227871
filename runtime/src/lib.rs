//! Film genres from a poster: a multi-label image classifier for small machines, in pure Rust, without a network.
//!
//! ```
//! # let bytes = std::fs::read("../fixtures/posters/romcom-is-a-jpeg.png")?;
//! let model = runtime::Model::shipped()?;
//! let prediction = model.classify(&bytes)?;
//! for genre in prediction.genres(model.operating_point("balanced")?) {
//!     println!("{} {:.0} %", genre.name, 100.0 * genre.probability);
//! }
//! # assert_eq!(prediction.genres(model.default_operating_point())[0].name, "Comedy");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Inference has three stages: [`preprocess`] decodes and resizes a poster, [`Model`] runs the network, an
//! [`OperatingPoint`] applies a threshold per genre. The shipped MobileNetV2 models run on hand-written kernels
//! ([`Engine::Native`]); any other ONNX graph runs in tract ([`Engine::Tract`]). `examples/` has programs for one poster, a
//! folder in parallel, and a model of one's own.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | none | | poster in, genres out, by the native engine |
//! | `tract` | yes | any ONNX graph with a [model card](model::card), run by tract |
//! | `evaluation` | by `cli` | labelled posters from CSV ([`dataset`]), [`metrics`] and thresholds |
//! | `atomic-file` | by `cli` | [`atomic_file`]: atomic writes |
//! | `thumbnail` | by `cli` | [`thumbnail`]: small JPEG files of posters |
//! | `collection` | by `cli` | [`collection`]: tagging of a media library, SQLite, NFO files, watching |
//! | `display` | by `cli` | [`display`]: a poster with its title and genres on a small display |
//! | `hardware` | | displays on an I2C or SPI bus, on Linux |
//! | `cli` | yes | the program `runtime` |
//!
//! The library prints nothing, sets no panic hook and handles no signal. Training uses these very modules, so that a
//! poster, a threshold or a metric can never mean one thing while training and another on the device.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(unsafe_code)]

#[cfg(feature = "atomic-file")]
pub mod atomic_file;
#[cfg(feature = "collection")]
pub mod collection;
#[cfg(feature = "evaluation")]
pub mod dataset;
#[cfg(feature = "display")]
pub mod display;
mod error;
mod kernels;
pub mod memory;
pub mod metrics;
pub mod model;
#[doc(hidden)]
pub mod onnx;
pub mod operating_point;
#[cfg(any(feature = "collection", feature = "tract"))]
mod panics;
pub mod preprocess;
#[cfg(feature = "thumbnail")]
pub mod thumbnail;

pub use error::Error;
pub use model::{ActivationMap, Engine, Explanation, Genre, Instructions, Model, ModelOptions, Prediction};
pub use operating_point::OperatingPoint;
#[cfg(any(feature = "collection", feature = "tract"))]
pub use panics::catches_panics;
