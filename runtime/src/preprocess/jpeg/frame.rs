//! Frame header (T.81, B.2.2): dimensions, and each component's sampling factors.

use super::problem::{Damaged, Problem};
use super::sampling::Sampling;
use super::segments::u16_at;

/// The header of a frame of 8-bit samples, and one, three or four components.
#[derive(Clone, Debug, PartialEq)]
pub struct FrameHeader {
    pub is_progressive: bool,
    /// Width and height in pixels. A height of 0 is said by a DNL segment.
    pub dimensions: (usize, usize),
    pub components: Vec<ComponentHeader>,
}

/// The header of one component.
#[derive(Clone, Debug, PartialEq)]
pub struct ComponentHeader {
    pub id: u8,
    /// Index of the quantisation table (Tq).
    pub quantisation_table: u8,
    /// Sampling across and down.
    pub sampling: (Sampling, Sampling),
}

impl FrameHeader {
    /// Reads the parameters of an SOF segment.
    pub fn read(parameters: &[u8], is_progressive: bool) -> Result<Self, Problem> {
        let (&[precision, _, _, _, _, count], rest) = parameters.split_first_chunk().ok_or(Damaged)?;
        let (height, width) = (usize::from(u16_at(parameters, 1)?), usize::from(u16_at(parameters, 3)?));
        let specifications: Vec<&[u8; 3]> = rest.as_chunks().0.iter().take(count.into()).collect();
        match (precision, count) {
            (8, 1 | 3 | 4) => {}
            (8, 0) => return Err(Problem::Damaged),
            (8, _) => return Err(Problem::Unsupported("JPEG with two or more than four colour components")),
            (12, _) => return Err(Problem::Unsupported("JPEG with 12 bits per sample")),
            _ => return Err(Problem::Unsupported("JPEG with another number of bits per sample than 8")),
        }
        if specifications.len() != usize::from(count) || width == 0 {
            return Err(Problem::Damaged);
        }
        let factors = |[_, factors, _]: &[u8; 3]| (usize::from(factors >> 4), usize::from(factors & 15));
        let all = || specifications.iter().map(|specification| factors(specification));
        if !all().all(|(h, v)| (1..=4).contains(&h) && (1..=4).contains(&v)) {
            return Err(Problem::Damaged);
        }
        let largest = all().fold((0, 0), |largest, (h, v)| (largest.0.max(h), largest.1.max(v)));
        let component = |specification: &&[u8; 3]| {
            let ([id, _, quantisation_table], (h, v)) = (**specification, factors(specification));
            let sampling = (Sampling { factor: h, largest: largest.0 }, Sampling { factor: v, largest: largest.1 });
            ComponentHeader { id, quantisation_table, sampling }
        };
        let components = specifications.iter().map(component).collect();
        Ok(Self { is_progressive, dimensions: (width, height), components })
    }

    /// MCUs across and down (T.81, A.2.4).
    pub fn mcus(&self) -> (usize, usize) {
        let (across, down) = self.components[0].sampling;
        (self.dimensions.0.div_ceil(8 * across.largest), self.dimensions.1.div_ceil(8 * down.largest))
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
    fn dimensions_and_sampling_are_read() {
        let header = FrameHeader::read(&parameters(&[[1, 0x31, 0], [2, 0x11, 1], [3, 0x22, 1]]), true).unwrap();
        assert_eq!((header.dimensions, header.mcus()), ((400, 600), (17, 38)));
        let sampling: Vec<_> = header.components.iter().map(|component| component.sampling).collect();
        let expected = [(3, 1), (1, 1), (2, 2)]
            .map(|(h, v)| (Sampling { factor: h, largest: 3 }, Sampling { factor: v, largest: 2 }));
        assert_eq!(sampling, expected);
    }

    #[test]
    fn other_frames_are_refused_with_the_reason() {
        let grey = parameters(&[[1, 0x11, 0]]);
        let with = |index: usize, value: u8| {
            let mut parameters = grey.clone();
            parameters[index] = value;
            parameters
        };
        let components = "JPEG with two or more than four colour components";
        let cases: [(&str, Vec<u8>, Problem); 9] = [
            ("cut short", grey[..8].to_vec(), Problem::Damaged),
            ("no component header", with(5, 3), Problem::Damaged),
            ("no component", with(5, 0), Problem::Damaged),
            ("factor 0", with(7, 0x01), Problem::Damaged),
            ("factor 5", with(7, 0x15), Problem::Damaged),
            ("12 bits", with(0, 12), Problem::Unsupported("JPEG with 12 bits per sample")),
            ("16 bits", with(0, 16), Problem::Unsupported("JPEG with another number of bits per sample than 8")),
            ("two components", parameters(&[[1, 0x11, 0]; 2]), Problem::Unsupported(components)),
            ("five components", parameters(&[[1, 0x11, 0]; 5]), Problem::Unsupported(components)),
        ];
        for (what, parameters, problem) in cases {
            assert_eq!(FrameHeader::read(&parameters, false), Err(problem), "{what}");
        }
    }
}
