//! Labelled posters on their way into the training loop.
//!
//! A [`Dataset`](runtime::dataset::Dataset) lists images and labels; [`PosterSet`] adds the pixels, which [`pixels`]
//! decodes once into a memory-mapped cache. [`batches`] is the data loader: worker threads prepare batches ahead of
//! the training loop, with the data augmentation of [`augment`]. [`backbone_features`] caches the output of a frozen
//! backbone, [`teacher`] the probabilities for knowledge distillation. [`split`] and [`duplicates`] make train,
//! validation and test parts of one dataset that share no poster.

pub mod augment;
pub mod backbone_features;
pub mod batches;
pub mod duplicates;
pub mod features;
pub mod pixels;
mod poster_set;
pub mod source;
pub mod split;
pub mod teacher;

pub use poster_set::PosterSet;
