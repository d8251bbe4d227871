//! Reasons why a JPEG is refused.

/// Why a JPEG is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The file violates ITU-T T.81.
    Damaged,
    /// The file ends too early.
    CutShort,
    /// The file is of a kind of JPEG that is not supported: a noun phrase that begins with "JPEG".
    Unsupported(&'static str),
}

/// [`Problem::Damaged`], where there is no other reason: of size zero, as it is returned for every coefficient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl From<Damaged> for Problem {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}
