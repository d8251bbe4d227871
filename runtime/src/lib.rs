//! Film genres from a poster, on a small machine.
//!
//! A poster goes through three rooms, in this order: [`poster`] turns bytes into an upright picture and the picture into
//! the network's input, [`network`] turns the input into probabilities, [`threshold`] turns probabilities into genres.
//! [`mobilenet`] runs the graphs of the shipped ones.
//! [`card`] is what the model file says of itself, and ties the other three together. [`manifest`] reads labelled
//! posters and [`evaluation`] holds probabilities against labels. [`library`] takes a whole library of films through the
//! rooms. [`whole`] writes files.
//!
//! Training uses these very modules, so that a poster, a threshold or a figure can never mean one thing while training
//! and another on the device.

pub mod card;
pub mod commands;
pub mod evaluation;
pub mod library;
pub mod manifest;
pub mod mobilenet;
pub mod network;
pub mod poster;
pub mod threshold;
pub mod whole;
