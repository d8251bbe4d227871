//! Markers and marker segments of a JPEG file (T.81, B.1.1).

use super::problem::{Damaged, Problem};

/// Reader of markers and marker segments.
pub struct Segments<'a> {
    /// Bytes that are not read yet.
    pub rest: &'a [u8],
}

impl<'a> Segments<'a> {
    /// The second byte of the next marker, none at the end of the file. Bytes before it are skipped: fill bytes,
    /// entropy-coded data with their stuffed zeros, and whatever does not belong there.
    pub fn next_marker(&mut self) -> Option<u8> {
        self.skip_to(|code| code >= 0xC0)?;
        let code = self.rest[1];
        self.rest = &self.rest[2..];
        Some(code)
    }

    /// Skips the entropy-coded data of a scan. Fails if no marker follows, so that the file may end within the scan.
    pub fn skip_scan(&mut self) -> Result<(), Problem> {
        self.skip_to(|code| matches!(code, 0xC0..=0xCF | 0xD8..=0xFE)).ok_or(Problem::CutShort)
    }

    /// Skips to the next marker whose second byte is one that is wanted.
    fn skip_to(&mut self, is_wanted: impl Fn(u8) -> bool) -> Option<()> {
        loop {
            self.rest = &self.rest[self.rest.iter().position(|byte| *byte == 0xFF)?..];
            match *self.rest.get(1)? {
                // A fill byte.
                0xFF => self.rest = &self.rest[1..],
                code if is_wanted(code) => return Some(()),
                _ => self.rest = &self.rest[2..],
            }
        }
    }

    /// The parameters of the marker segment whose marker was read, without their length. A length of less than its own
    /// two bytes is one without parameters, as libjpeg takes it.
    pub fn parameters(&mut self) -> Result<&'a [u8], Problem> {
        let length = usize::from(u16_at(self.rest, 0).map_err(|Damaged| Problem::CutShort)?).max(2);
        if length > self.rest.len() {
            return Err(Problem::CutShort);
        }
        let (segment, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(&segment[2..])
    }

    /// The number of lines in a DNL segment (T.81, B.2.5) behind the first scan, whose data come next.
    pub fn number_of_lines(&self) -> Option<u16> {
        let segment = self.rest.windows(6).find(|bytes| bytes.starts_with(&[0xFF, 0xDC, 0, 4]))?;
        u16_at(segment, 4).ok()
    }
}

/// The 16-bit big-endian number at a byte offset.
pub fn u16_at(bytes: &[u8], offset: usize) -> Result<u16, Damaged> {
    let number = bytes.get(offset..).and_then(<[u8]>::first_chunk).ok_or(Damaged)?;
    Ok(u16::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_follow_fill_bytes_and_whatever_does_not_belong_there() {
        let bytes = [1, 2, 0xFF, 0, 3, 0xFF, 0x12, 4, 0xFF, 0xFF, 0xC4, 0, 4, 7, 8, 0xFF, 0xD0, 5, 0xFF, 0xD9, 0xFF];
        let mut segments = Segments { rest: &bytes };
        assert_eq!(segments.next_marker(), Some(0xC4));
        assert_eq!(segments.parameters(), Ok([7, 8].as_slice()));
        assert_eq!(segments.skip_scan(), Ok(()));
        assert_eq!(segments.next_marker(), Some(0xD9));
        assert_eq!(segments.next_marker(), None);
        assert_eq!(segments.skip_scan(), Err(Problem::CutShort));
    }

    #[test]
    fn segments_end_within_the_file() {
        for rest in [[].as_slice(), &[0], &[0, 4, 7]] {
            assert_eq!(Segments { rest }.parameters(), Err(Problem::CutShort), "{rest:?}");
        }
        for rest in [[0, 0, 7], [0, 1, 7], [0, 2, 7]] {
            let mut segments = Segments { rest: &rest };
            assert_eq!((segments.parameters(), segments.rest), (Ok([].as_slice()), [7].as_slice()), "{rest:?}");
        }
    }

    #[test]
    fn lines_are_counted_behind_the_first_scan() {
        assert_eq!(Segments { rest: &[1, 2, 0xFF, 0xDC, 0, 4, 1, 44, 0xFF, 0xD9] }.number_of_lines(), Some(300));
        assert_eq!(Segments { rest: &[1, 2, 0xFF, 0xDC, 0, 4, 1] }.number_of_lines(), None);
    }
}
