//! Why the pixels of an image are refused, before the file's name is known.

use super::jpeg::Problem;
use crate::error::Error;

/// The reason where pixels are missing.
pub const CUT_SHORT: &str = "the file ends in the middle of the picture";

/// Why an image is refused.
pub enum Refusal {
    /// It is damaged: the reason.
    Damaged(String),
    /// It is of a kind that is not supported, named by a noun phrase that begins with the format.
    Unsupported(&'static str),
}

impl Refusal {
    /// The error of the file of that name.
    pub fn named(self, name: &str) -> Error {
        let name = name.to_string();
        match self {
            Self::Damaged(reason) => Error::Damaged { name, reason },
            Self::Unsupported(kind) => Error::Unsupported { name, kind },
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Damaged => Self::Damaged("it is not a valid JPEG".into()),
            Problem::CutShort => Self::Damaged(CUT_SHORT.into()),
            Problem::Unsupported(kind) => Self::Unsupported(kind),
        }
    }
}
