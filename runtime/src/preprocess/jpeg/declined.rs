//! Reasons why a file is left to the decoder of all pixels.

/// Why a file is not decoded in the DCT domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declined {
    /// The image is not large enough for the wanted size; see [`MIN_SCALE`](super::plan::MIN_SCALE).
    TooSmall,
    /// The file uses a feature of JPEG that is rare in posters, or is of another format.
    Unsupported(&'static str),
    /// The file violates ITU-T T.81, or ends too early.
    Damaged,
}

/// [`Declined::Damaged`], where there is no other reason: of size zero, as it is returned for every coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl From<Damaged> for Declined {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}
