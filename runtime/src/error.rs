//! The one error type of the library's public calls, and that of model cards, which is part of it.

use std::io;

use thiserror::Error;

use crate::operating_point::UnknownOperatingPoint;

/// Why a model or a poster cannot be used.
///
/// Each message is one sentence that names the file, the problem, its cause and the way out. A cause is part of the
/// message and not a [`source`](std::error::Error::source) as well, so that a caller who prints the whole chain prints it
/// once. `name` is the path, or what the caller called the bytes.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("{name}: cannot be read ({cause}); check the path and its permissions")]
    Unreadable {
        /// Path of the file.
        name: String,
        /// The error of the operating system.
        cause: io::Error,
    },
    /// The file is not an ONNX model.
    #[error("{name}: is not an ONNX model, or it is damaged ({reason}); copy or export it again")]
    NotOnnx {
        /// Path or name of the model.
        name: String,
        /// The error of the Protocol Buffers decoder.
        reason: String,
    },
    /// The model has no card, or one that cannot be used.
    #[error("{name}: {cause}")]
    Card {
        /// Path or name of the model.
        name: String,
        /// The field that is missing or malformed.
        cause: CardError,
    },
    /// The graph cannot be run, is not the one that the card describes, or puts out no probabilities.
    #[error("{name}: its graph cannot be run: {reason}")]
    Graph {
        /// Path or name of the model.
        name: String,
        /// The problem and the way out.
        reason: String,
    },
    /// The engine that was asked for does not run this graph, or is not part of this build.
    #[error("{name}: {reason}")]
    Engine {
        /// Path or name of the model.
        name: String,
        /// Which engine would run it.
        reason: String,
    },
    /// The poster file has no bytes.
    #[error("{name}: is empty; copy or download it again")]
    Empty {
        /// Path or name of the poster.
        name: String,
    },
    /// The bytes are of no supported image format.
    #[error("{name}: is not a JPEG, PNG or WebP picture; convert it to one of these")]
    UnknownFormat {
        /// Path or name of the poster.
        name: String,
    },
    /// The bytes are of another format.
    #[error(
        "{name}: is {format}, not a JPEG, PNG or WebP picture; {}",
        if format.ends_with("page") { "download the picture itself" } else { "convert it to one of these" }
    )]
    OtherFormat {
        /// Path or name of the poster.
        name: String,
        /// Kind of file: a noun phrase.
        format: &'static str,
    },
    /// The image is of a rare kind of a supported format.
    #[error("{name}: {kind} is not supported; convert it to an ordinary JPEG or PNG")]
    Unsupported {
        /// Path or name of the poster.
        name: String,
        /// The kind: a noun phrase that begins with the format.
        kind: &'static str,
    },
    /// The image header claims more pixels than allowed.
    #[error("{name}: claims {width} x {height} pixels, more than the limit of {limit}; scale it down first")]
    TooLarge {
        /// Path or name of the poster.
        name: String,
        /// Claimed width in pixels.
        width: u32,
        /// Claimed height in pixels.
        height: u32,
        /// The most pixels allowed.
        limit: u64,
    },
    /// Decoding the image would take more memory than allowed.
    #[error(
        "{name}: takes {} MB of memory to decode, more than the limit of {} MB; scale it down first, or raise --max-memory",
        bytes.div_ceil(1 << 20),
        limit >> 20
    )]
    TooMuchMemory {
        /// Path or name of the poster.
        name: String,
        /// Bytes that decoding would take at most.
        bytes: u64,
        /// The most bytes allowed.
        limit: u64,
    },
    /// The image is damaged.
    #[error("{name}: cannot be decoded ({reason}); it is damaged or cut short, fetch it again")]
    Damaged {
        /// Path or name of the poster.
        name: String,
        /// The error of the image decoder.
        reason: String,
    },
    /// The model's card has no operating point of that name.
    #[error(transparent)]
    OperatingPoint(#[from] UnknownOperatingPoint),
}

/// Why a model file's card cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CardError {
    /// The file has no card.
    #[error(
        "has no card (its metadata lacks the key \"format\" with the value \"poster-genres/1\"); only models made by `train export` can be used"
    )]
    Missing,
    /// The card lacks one of its fields.
    #[error("has a card without the key \"{0}\"; export the model again with `train export`")]
    Incomplete(&'static str),
    /// A field does not hold what it should.
    #[error(
        "has a card whose key \"{key}\" cannot be understood ({reason}); export the model again with `train export`"
    )]
    Malformed {
        /// The field.
        key: &'static str,
        /// Problem with it.
        reason: String,
    },
}

/// A message of another library on one line.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
