//! All pixels of a frame: inverse DCT, upsampling and conversion to RGB.

use pulp::{Arch, Simd, WithSimd};

use super::coefficients::{Component, Frame};
use super::colours::Colours;
use super::idct;
use super::plan::Layout;
use crate::preprocess::rgb8::Rgb8Image;

/// The image of a frame of which every coefficient was kept.
pub fn paint(frame: Frame) -> Rgb8Image {
    // One component after the other: samples take half the memory of coefficients.
    let planes: Vec<Plane> = frame.components.into_iter().map(Plane::new).collect();
    let mut output = Rgb8Image::new(frame.dimensions.0 as u32, frame.dimensions.1 as u32);
    Arch::new().dispatch(Paint { planes, colours: frame.colours, output: &mut output });
    output
}

struct Paint<'a> {
    planes: Vec<Plane>,
    colours: Colours,
    output: &'a mut Rgb8Image,
}

impl WithSimd for Paint<'_> {
    type Output = ();

    /// Vectorised by the compiler, for the instruction set that [`Arch`] detects.
    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.output.width() as usize;
        let mut rows = vec![vec![0; width]; self.planes.len()];
        let mut sums = Vec::new();
        for (y, pixels) in self.output.as_raw_mut().chunks_exact_mut(3 * width).enumerate() {
            for (plane, row) in self.planes.iter().zip(&mut rows) {
                plane.upsample(y, &mut sums, row);
            }
            self.colours.paint(&rows, pixels);
        }
    }
}

/// The samples of one component.
struct Plane {
    layout: Layout,
    /// `[blocks down * 8, blocks across * 8]`.
    samples: Vec<u8>,
}

impl Plane {
    fn new(component: Component) -> Self {
        Self { samples: idct::samples(&component), layout: component.layout }
    }

    /// The samples of a line that show the image.
    #[inline(always)]
    fn line(&self, index: usize) -> &[u8] {
        &self.samples[index * self.layout.stride()..][..self.layout.samples.0]
    }

    /// Writes the value of each pixel of row `y`. Where samples span two pixels, rounding alternates between up and
    /// down as in libjpeg. `sums` is overwritten.
    #[inline(always)]
    fn upsample(&self, y: usize, sums: &mut Vec<u16>, row: &mut [u8]) {
        let (across, down) = self.layout.sampling;
        let near = self.line(down.near(y));
        if !across.is_double() && !down.is_double() {
            if across.factor == across.largest {
                row.copy_from_slice(near);
            } else {
                row.iter_mut().enumerate().for_each(|(x, value)| *value = near[across.near(x)]);
            }
            return;
        }
        sums.clear();
        if down.is_double() {
            let far = self.line(down.far(y, self.layout.samples.1));
            sums.extend(near.iter().zip(far).map(|(near, far)| 3 * u16::from(*near) + u16::from(*far)));
        } else {
            sums.extend(near.iter().map(|near| u16::from(*near)));
        }
        if !across.is_double() {
            let bias = 1 + (y % 2) as u16;
            let value = |x: usize| ((sums[across.near(x)] + bias) >> 2) as u8;
            row.iter_mut().enumerate().for_each(|(x, pixel)| *pixel = value(x));
            return;
        }
        let (bias, shift) = if down.is_double() { ([8, 7], 4) } else { ([1, 2], 2) };
        let value = |near: u16, far: u16, bias: u16| ((3 * near + far + bias) >> shift) as u8;
        let last = sums.len() - 1;
        row[0] = value(sums[0], sums[0], bias[0]);
        // The pixels between the centres of two samples: right of one, and left of the next.
        for (pair, pixels) in sums.windows(2).zip(row[1..].chunks_exact_mut(2)) {
            pixels[0] = value(pair[0], pair[1], bias[1]);
            pixels[1] = value(pair[1], pair[0], bias[0]);
        }
        if row.len().is_multiple_of(2) {
            row[2 * last + 1] = value(sums[last], sums[last], bias[1]);
        }
    }
}
