//! Scan header (T.81, B.2.3): components of a scan, spectral selection and successive approximation.

use super::entropy::HuffmanTable;
use super::problem::{Damaged, Problem};

/// A component's part in a scan.
pub struct ScanComponent<'a> {
    /// Index of the component in the frame.
    pub index: usize,
    pub dc: Option<&'a HuffmanTable>,
    pub ac: Option<&'a HuffmanTable>,
    /// Prediction of the next DC coefficient: the one before.
    pub prediction: i32,
}

impl<'a> ScanComponent<'a> {
    /// The Huffman table of DC coefficients, if it was defined.
    #[inline(always)]
    pub fn dc_table(&self) -> Result<&'a HuffmanTable, Damaged> {
        self.dc.ok_or(Damaged)
    }

    /// The Huffman table of AC coefficients, if it was defined.
    #[inline(always)]
    pub fn ac_table(&self) -> Result<&'a HuffmanTable, Damaged> {
        self.ac.ok_or(Damaged)
    }
}

/// Spectral selection and successive approximation of a progressive scan (T.81, G.1.1.1).
#[derive(Debug, PartialEq)]
pub struct ScanParams {
    /// First coefficient in zigzag order (Ss).
    pub start: usize,
    /// Last coefficient in zigzag order (Se).
    pub end: usize,
    /// Point transform of the scan before, for the same coefficients (Ah); 0 for their first scan.
    pub high: u8,
    /// Point transform (Al): the lowest bit of the coefficients that the scan holds.
    pub low: u8,
}

/// The fields of a scan header.
pub struct ScanHeader<'a> {
    /// For each component its identifier (Cs) and the indices of its Huffman tables (Td and Ta, four bits each).
    pub selectors: &'a [[u8; 2]],
    pub params: ScanParams,
}

impl<'a> ScanHeader<'a> {
    /// Reads the parameters of an SOS segment.
    pub fn read(parameters: &'a [u8], is_progressive: bool) -> Result<Self, Problem> {
        let count = usize::from(*parameters.first().ok_or(Damaged)?);
        let selectors = parameters.get(1..1 + 2 * count).ok_or(Damaged)?.as_chunks().0;
        let &[start, end, approximation] = parameters.last_chunk().ok_or(Damaged)?;
        let params =
            ScanParams { start: start.into(), end: end.into(), high: approximation >> 4, low: approximation & 15 };
        let is_dc = params.start == 0;
        let is_valid = params.start <= params.end && params.end < 64 && params.low < 14;
        if !(1..=4).contains(&count) {
            return Err(Problem::Damaged);
        }
        // DC and AC coefficients are not mixed, and a scan of AC coefficients has one component (T.81, G.1.1.1.1).
        if is_progressive && (!is_valid || is_dc != (params.end == 0) || !is_dc && count != 1) {
            return Err(Problem::Damaged);
        }
        Ok(Self { selectors, params })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spectral_selections_that_the_standard_forbids_are_damaged() {
        let read = |parameters: &[u8]| ScanHeader::read(parameters, true).map(|header| header.params);
        let params = ScanParams { start: 1, end: 5, high: 2, low: 1 };
        assert_eq!(read(&[1, 1, 0, 1, 5, 0x21]), Ok(params));
        for (what, parameters) in [
            ("no component", [].as_slice()),
            ("cut short", &[2, 1, 0, 0]),
            ("DC and AC", &[1, 1, 0, 0, 5, 0]),
            ("end before start", &[1, 1, 0, 5, 4, 0]),
            ("end 64", &[1, 1, 0, 1, 64, 0]),
            ("point transform 14", &[1, 1, 0, 1, 5, 14]),
            ("AC of two components", &[2, 1, 0, 2, 0, 1, 5, 0]),
        ] {
            assert_eq!(read(parameters), Err(Problem::Damaged), "{what}");
        }
    }
}
