//! Trains a poster genre classifier with burn and exports it as one ONNX file that explains itself.
//!
//! [`data`] turns CSV files of labelled posters into batches, [`model`] holds the architectures, [`start`] what a training
//! begins with, [`fit`] is the training loop and [`run`] the directory it leaves behind, [`export`] makes and proves the ONNX
//! file. Preprocessing, thresholds, evaluation and the model's card are those of [`runtime`].

pub mod average;
pub mod calibration;
pub mod commands;
pub mod data;
pub mod export;
pub mod fit;
pub mod loss;
pub mod model;
pub mod run;
pub mod schedule;
pub mod start;
