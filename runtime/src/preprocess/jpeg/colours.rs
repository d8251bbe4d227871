//! Colour space of a JPEG, told from its markers as libjpeg does, and conversion to RGB (ITU-T T.871, 7).

use super::frame::ComponentHeader;

/// Colour space of the components.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    Grey,
    YCbCr,
    Rgb,
    /// Cyan, magenta, yellow and black. 0 is full ink, as Adobe's programs write it, and as is assumed of others.
    Cmyk,
    /// CMYK whose first three components are transformed like RGB to YCbCr.
    Ycck,
}

/// The segments that tell the colour space, before the first scan.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ColourSegments {
    /// Whether there is a JFIF segment.
    pub has_jfif: bool,
    /// Colour transform of the Adobe segment, if there is one: 0 for none, 1 for YCbCr, 2 for YCCK.
    pub adobe_transform: Option<u8>,
}

impl Colours {
    /// The colour space of one, three or four components. A JFIF segment outweighs an Adobe segment, and that the
    /// identifiers of the components, as in libjpeg.
    pub fn new(components: &[ComponentHeader], segments: ColourSegments) -> Self {
        let ids = components.iter().map(|component| component.id);
        match (components.len(), segments.adobe_transform) {
            (1, _) => Self::Grey,
            (3, _) if segments.has_jfif => Self::YCbCr,
            (3, Some(0)) => Self::Rgb,
            (3, None) if ids.eq(*b"RGB") => Self::Rgb,
            (3, _) => Self::YCbCr,
            (_, None | Some(0)) => Self::Cmyk,
            (_, Some(_)) => Self::Ycck,
        }
    }

    /// Whether RGB is a linear function of the components, so that images may be resized before the conversion.
    pub fn is_linear(self) -> bool {
        matches!(self, Self::Grey | Self::YCbCr | Self::Rgb)
    }

    /// Writes a row of RGB pixels from the samples of each component.
    #[inline(always)]
    pub fn paint(self, rows: &[Vec<u8>], pixels: &mut [u8]) {
        let pixels = pixels.as_chunks_mut::<3>().0.iter_mut();
        match (self, rows) {
            (Self::Rgb, [red, green, blue]) => {
                for (((pixel, red), green), blue) in pixels.zip(red).zip(green).zip(blue) {
                    *pixel = [*red, *green, *blue];
                }
            }
            (Self::YCbCr, [luma, cb, cr]) => {
                for (((pixel, luma), cb), cr) in pixels.zip(luma).zip(cb).zip(cr) {
                    *pixel = rgb(*luma, *cb, *cr);
                }
            }
            (Self::Cmyk, [cyan, magenta, yellow, black]) => {
                let inks = cyan.iter().zip(magenta).zip(yellow).zip(black);
                for (pixel, (((cyan, magenta), yellow), black)) in pixels.zip(inks) {
                    *pixel = [cyan, magenta, yellow].map(|paper| product(*paper, *black));
                }
            }
            (Self::Ycck, [luma, cb, cr, black]) => {
                let inks = luma.iter().zip(cb).zip(cr).zip(black);
                for (pixel, (((luma, cb), cr), black)) in pixels.zip(inks) {
                    *pixel = rgb(*luma, *cb, *cr).map(|ink| product(255 - ink, *black));
                }
            }
            (_, rows) => {
                for (pixel, grey) in pixels.zip(&rows[0]) {
                    *pixel = [*grey; 3];
                }
            }
        }
    }
}

/// RGB of YCbCr (T.871, 7), in fixed point with 16 bits of fraction.
#[inline(always)]
fn rgb(luma: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (luma, cb, cr) = ((i32::from(luma) << 16) + 0x8000, i32::from(cb) - 128, i32::from(cr) - 128);
    [luma + 91_881 * cr, luma - 22_554 * cb - 46_802 * cr, luma + 116_130 * cb]
        .map(|value| (value >> 16).clamp(0, 255) as u8)
}

/// The product of two shares of 255.
#[inline(always)]
fn product(a: u8, b: u8) -> u8 {
    ((u32::from(a) * u32::from(b) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::super::sampling::Sampling;
    use super::*;

    #[test]
    fn colour_spaces_are_told_as_libjpeg_does() {
        let cases: [(&[u8], bool, Option<u8>, Colours); 14] = [
            (&[1], false, None, Colours::Grey),
            (&[1], true, Some(0), Colours::Grey),
            (&[1, 2, 3], false, None, Colours::YCbCr),
            (&[0, 1, 2], false, None, Colours::YCbCr),
            (b"RGB", false, None, Colours::Rgb),
            (b"RGB", true, None, Colours::YCbCr),
            (b"RGB", false, Some(1), Colours::YCbCr),
            (&[1, 2, 3], false, Some(0), Colours::Rgb),
            (&[1, 2, 3], true, Some(0), Colours::YCbCr),
            (&[1, 2, 3], false, Some(1), Colours::YCbCr),
            (&[1, 2, 3, 4], false, None, Colours::Cmyk),
            (&[1, 2, 3, 4], true, None, Colours::Cmyk),
            (&[1, 2, 3, 4], false, Some(0), Colours::Cmyk),
            (&[1, 2, 3, 4], true, Some(2), Colours::Ycck),
        ];
        let sampling = Sampling { factor: 1, largest: 1 };
        for (ids, has_jfif, adobe_transform, colours) in cases {
            let component =
                |id: &u8| ComponentHeader { id: *id, quantisation_table: 0, sampling: (sampling, sampling) };
            let components: Vec<_> = ids.iter().map(component).collect();
            let found = Colours::new(&components, ColourSegments { has_jfif, adobe_transform });
            assert_eq!(found, colours, "{ids:?}, JFIF {has_jfif}, Adobe {adobe_transform:?}");
        }
    }

    #[test]
    fn primary_colours_are_painted() {
        let cases: [(Colours, &[u8], [u8; 3]); 7] = [
            (Colours::Grey, &[77], [77; 3]),
            (Colours::Rgb, &[1, 2, 3], [1, 2, 3]),
            (Colours::YCbCr, &[255, 128, 128], [255; 3]),
            (Colours::YCbCr, &[76, 85, 255], [254, 0, 0]),
            (Colours::Cmyk, &[255, 0, 0, 255], [255, 0, 0]),
            (Colours::Cmyk, &[255, 255, 255, 51], [51; 3]),
            (Colours::Ycck, &[0, 128, 128, 100], [100; 3]),
        ];
        for (colours, samples, expected) in cases {
            let rows: Vec<Vec<u8>> = samples.iter().map(|sample| vec![*sample]).collect();
            let mut pixel = [0; 3];
            colours.paint(&rows, &mut pixel);
            assert_eq!(pixel, expected, "{colours:?} {samples:?}");
        }
    }
}
