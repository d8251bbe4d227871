//! Markers and marker segments of a JPEG file (T.81, B.1.1).

use super::declined::Damaged;

/// Reader of markers and marker segments.
pub struct Segments<'a> {
    /// Bytes that are not read yet.
    pub rest: &'a [u8],
}

impl<'a> Segments<'a> {
    /// The second byte of the next marker. Bytes before it are skipped: the entropy-coded data of a scan that was not
    /// decoded, with its stuffed zeros, and fill bytes.
    pub fn next_marker(&mut self) -> Result<u8, Damaged> {
        loop {
            let index = self.rest.iter().position(|byte| *byte == 0xFF).ok_or(Damaged)?;
            let code = *self.rest.get(index + 1).ok_or(Damaged)?;
            let is_fill = code == 0xFF;
            self.rest = &self.rest[index + if is_fill { 1 } else { 2 }..];
            if !is_fill && code != 0 {
                return Ok(code);
            }
        }
    }

    /// The parameters of the marker segment whose marker was read, without their length.
    pub fn parameters(&mut self) -> Result<&'a [u8], Damaged> {
        let length = usize::from(u16_at(self.rest, 0)?);
        let parameters = self.rest.get(2..length).ok_or(Damaged)?;
        self.rest = &self.rest[length..];
        Ok(parameters)
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
    fn markers_follow_fill_bytes_and_skipped_scans() {
        let mut segments = Segments { rest: &[1, 2, 0xFF, 0, 3, 0xFF, 0xFF, 0xC4, 0, 4, 7, 8, 0xFF, 0xD9, 0xFF] };
        assert_eq!(segments.next_marker(), Ok(0xC4));
        assert_eq!(segments.parameters(), Ok([7, 8].as_slice()));
        assert_eq!(segments.next_marker(), Ok(0xD9));
        assert_eq!(segments.next_marker(), Err(Damaged));
    }

    #[test]
    fn segments_that_are_shorter_than_their_length_are_damaged() {
        for rest in [[].as_slice(), &[0], &[0, 1], &[0, 4, 7]] {
            assert_eq!(Segments { rest }.parameters(), Err(Damaged), "{rest:?}");
        }
    }
}
