//! Frame header (T.81, B.2.2): dimensions, and each component's sampling factors.

use super::declined::{Damaged, Declined};
use super::segments::u16_at;

/// The header of a frame that can be decoded in the DCT domain: 8 bits, grey or YCbCr.
#[derive(Debug, PartialEq)]
pub struct FrameHeader {
    pub is_progressive: bool,
    /// Width and height in pixels, neither 0.
    pub dimensions: (usize, usize),
    /// One component, luma, or three, luma, Cb and Cr (ITU-T T.871).
    pub components: Vec<ComponentHeader>,
}

/// The header of one component.
#[derive(Debug, PartialEq)]
pub struct ComponentHeader {
    pub id: u8,
    /// Index of the quantisation table (Tq).
    pub quantisation_table: u8,
    /// Horizontal and vertical sampling factor (H and V, 1 to 4): 8 x 8 blocks in an MCU.
    pub sampling_factors: (usize, usize),
    /// Horizontal and vertical subsampling: the largest sampling factor of the frame divided by this component's. A
    /// sample spans as many pixels.
    pub subsampling: (usize, usize),
}

impl FrameHeader {
    /// Reads the parameters of an SOF segment. `adobe_transform` is the colour transform of an Adobe APP14 segment, 0
    /// for RGB.
    pub fn read(parameters: &[u8], is_progressive: bool, adobe_transform: Option<u8>) -> Result<Self, Declined> {
        let (&[precision, _, _, _, _, count], rest) = parameters.split_first_chunk().ok_or(Damaged)?;
        let (height, width) = (usize::from(u16_at(parameters, 1)?), usize::from(u16_at(parameters, 3)?));
        let specifications: Vec<&[u8; 3]> = rest.as_chunks().0.iter().take(count.into()).collect();
        let is_rgb = adobe_transform == Some(0) || specifications.iter().map(|[id, ..]| *id).eq(*b"RGB");
        if specifications.len() != usize::from(count) || width == 0 {
            return Err(Declined::Damaged);
        }
        if precision != 8 {
            return Err(Declined::Unsupported("more than 8 bits per sample"));
        }
        if height == 0 {
            return Err(Declined::Unsupported("number of lines in a DNL segment"));
        }
        if !(count == 1 || count == 3 && !is_rgb) {
            return Err(Declined::Unsupported("colours other than grey and YCbCr"));
        }

        let factors = |[_, factors, _]: &[u8; 3]| (usize::from(factors >> 4), usize::from(factors & 15));
        let largest = specifications
            .iter()
            .map(|specification| factors(specification))
            .fold((0, 0), |largest, (h, v)| (largest.0.max(h), largest.1.max(v)));
        let mut components = Vec::with_capacity(specifications.len());
        for specification in specifications {
            let (h, v) = factors(specification);
            if !(1..=4).contains(&h) || !(1..=4).contains(&v) {
                return Err(Declined::Damaged);
            }
            if largest.0 % h != 0 || largest.1 % v != 0 {
                return Err(Declined::Unsupported("fractional subsampling"));
            }
            let [id, _, quantisation_table] = *specification;
            let subsampling = (largest.0 / h, largest.1 / v);
            components.push(ComponentHeader { id, quantisation_table, sampling_factors: (h, v), subsampling });
        }
        // One pair of resize matrices serves both.
        if let [_, cb, cr] = &components[..]
            && cb.subsampling != cr.subsampling
        {
            return Err(Declined::Unsupported("different subsampling of Cb and Cr"));
        }
        Ok(Self { is_progressive, dimensions: (width, height), components })
    }

    /// MCUs across and down (T.81, A.2.4).
    pub fn mcus(&self) -> (usize, usize) {
        let pixels = |factor: usize, subsampling: usize| 8 * factor * subsampling;
        let luma = &self.components[0];
        (
            self.dimensions.0.div_ceil(pixels(luma.sampling_factors.0, luma.subsampling.0)),
            self.dimensions.1.div_ceil(pixels(luma.sampling_factors.1, luma.subsampling.1)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parameters of an SOF segment of 8-bit samples, 400 x 600 pixels.
    fn parameters(components: &[[u8; 3]]) -> Vec<u8> {
        [
            &[8, 600_u16.to_be_bytes()[0], 600_u16.to_be_bytes()[1], 1, 144, components.len() as u8],
            components.as_flattened(),
        ]
        .concat()
    }

    #[test]
    fn dimensions_and_subsampling_are_read() {
        let header = FrameHeader::read(&parameters(&[[1, 0x21, 0], [2, 0x11, 1], [3, 0x11, 1]]), true, None).unwrap();
        assert_eq!((header.dimensions, header.mcus()), ((400, 600), (25, 75)));
        let subsampling: Vec<_> = header.components.iter().map(|component| component.subsampling).collect();
        assert_eq!(subsampling, [(1, 1), (2, 1), (2, 1)]);
    }

    #[test]
    fn other_frames_are_declined_with_the_reason() {
        let grey = parameters(&[[1, 0x11, 0]]);
        let with = |index: usize, value: u8| {
            let mut parameters = grey.clone();
            parameters[index] = value;
            parameters
        };
        let colours = |factors: [u8; 3]| parameters(&[[1, factors[0], 0], [2, factors[1], 1], [3, factors[2], 1]]);
        let no_lines = [&[8, 0, 0], &grey[3..]].concat();
        let cases: [(&str, Vec<u8>, Option<u8>, Declined); 10] = [
            ("cut short", grey[..8].to_vec(), None, Declined::Damaged),
            ("no component header", with(5, 2), None, Declined::Damaged),
            ("factor 0", with(7, 0x01), None, Declined::Damaged),
            ("factor 5", with(7, 0x15), None, Declined::Damaged),
            ("12 bits", with(0, 12), None, Declined::Unsupported("more than 8 bits per sample")),
            ("no lines", no_lines, None, Declined::Unsupported("number of lines in a DNL segment")),
            ("RGB", colours([0x11; 3]), Some(0), Declined::Unsupported("colours other than grey and YCbCr")),
            ("CMYK", parameters(&[[1, 0x11, 0]; 4]), None, Declined::Unsupported("colours other than grey and YCbCr")),
            ("3 to 2", colours([0x31, 0x21, 0x21]), None, Declined::Unsupported("fractional subsampling")),
            ("Cr", colours([0x22, 0x11, 0x12]), None, Declined::Unsupported("different subsampling of Cb and Cr")),
        ];
        for (what, parameters, adobe_transform, reason) in cases {
            assert_eq!(FrameHeader::read(&parameters, false, adobe_transform), Err(reason), "{what}");
        }
    }
}
