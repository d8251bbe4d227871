//! The orientation in an EXIF block, whatever kind of file it comes from.

use image::metadata::Orientation;

/// Prefix of an EXIF block in a JPEG; some programs write it in PNG and WebP, too.
pub const PREFIX: &[u8] = b"Exif\0\0";

/// The orientation of an EXIF block with or without its prefix; none if there is none, or none that is defined.
pub fn orientation(block: &[u8]) -> Option<Orientation> {
    Orientation::from_exif_chunk(block.strip_prefix(PREFIX).unwrap_or(block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orientations_are_read_with_and_without_the_prefix() {
        let block = |value: u8| {
            let header = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0";
            [header.as_slice(), &[value, 0, 0, 0, 0, 0, 0]].concat()
        };
        assert_eq!(orientation(&block(6)), Some(Orientation::Rotate90));
        assert_eq!(orientation(&[PREFIX, &block(6)].concat()), Some(Orientation::Rotate90));
        for broken in [&block(0)[..], &block(9), &block(6)[..12], b"MM\0*\xff\xff\xff\xff", PREFIX, b""] {
            assert_eq!(orientation(broken), None, "{broken:?}");
        }
    }
}
