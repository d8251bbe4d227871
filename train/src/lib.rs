//! Training, evaluation and ONNX export of a multi-label poster-genre classifier, with burn.
//!
//! | step | modules |
//! |---|---|
//! | labelled posters to batches | [`data`]: pixel cache, split, data augmentation, data loader |
//! | networks and initial weights | [`model`], [`init`] |
//! | training loop | [`trainer`], with [`loss`], [`lr_schedule`] and [`ema`]; [`config`] describes a run |
//! | run directory: checkpoints, history, results | [`run_dir`], [`history`] |
//! | after training | [`tune`]: [`calibration`], rounding to f16, then the thresholds of the operating points |
//! | pictures and tables of runs and models | [`report`], from what [`scored`] keeps |
//! | ONNX file with model card, parity check | [`export`] |
//! | inference with burn, for validation and export | [`predict`] |
//!
//! The library knows nothing of the command line, which is private to the program `train`. Preprocessing, metrics,
//! the choice of thresholds and the model card come from [`runtime`], so that training and the device cannot differ
//! in them.

pub mod calibration;
pub mod config;
pub mod data;
pub mod ema;
pub mod export;
pub mod files;
pub mod history;
pub mod init;
pub mod loss;
pub mod lr_schedule;
pub mod model;
pub mod predict;
pub mod progress;
pub mod report;
pub mod run_dir;
pub mod scored;
pub mod trainer;
pub mod tune;
