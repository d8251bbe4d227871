//! The error of a single poster: unreadable, damaged, too large, or refused by the decoder or the model.

use std::path::PathBuf;

use thiserror::Error;

/// Why there is no prediction for a poster. The other posters of the pass are not affected. Each message names the
/// file.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PosterFailure {
    /// The file cannot be read or decoded, or the model fails.
    #[error(transparent)]
    Classify(#[from] crate::Error),
    /// The file is larger than [`MAX_FILE_BYTES`](super::tag::MAX_FILE_BYTES).
    #[error(
        "{}: is {} MB large, more than the limit of {}; scale it down first",
        path.display(),
        bytes >> 20,
        limit >> 20
    )]
    FileTooLarge {
        /// Path of the image file.
        path: PathBuf,
        /// Size of the image file in bytes.
        bytes: u64,
        /// The largest size allowed, in bytes.
        limit: u64,
    },
    /// The image decoder or the model panicked.
    #[error("{}: the decoder gave up; it is damaged, fetch it again", path.display())]
    Panicked {
        /// Path of the image file.
        path: PathBuf,
    },
    /// An earlier pass failed; the state file has its message only.
    #[error("{message}")]
    Recorded {
        /// The message.
        message: String,
    },
}

impl PosterFailure {
    /// Whether the same bytes fail in every later pass, too. Permissions, limits and the file itself may change.
    pub fn is_permanent(&self) -> bool {
        use crate::Error::{TooLarge, TooMuchMemory, Unreadable};
        !matches!(
            self,
            Self::FileTooLarge { .. } | Self::Classify(Unreadable { .. } | TooLarge { .. } | TooMuchMemory { .. })
        )
    }
}
