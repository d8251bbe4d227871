//! Plan of a decode: how many coefficients of each block are kept, and where.

use super::frame::{ComponentHeader, FrameHeader};
use super::sampling::Sampling;

/// The least scale, image to wanted size, at which DCT-domain downscaling is used. Below it, decoding all pixels and
/// resizing them is faster.
pub const MIN_SCALE: f64 = 2.5;

/// Coefficients kept per side of a block for each output pixel that the side becomes. Of higher frequencies the
/// triangle filter lets through less than 2 %: `sinc(1.75 / 2)^2`.
const COEFFICIENTS_PER_PIXEL: f64 = 1.75;

/// The part of a frame that is decoded for a wanted size.
#[derive(Debug, PartialEq)]
pub struct Plan {
    /// MCUs across and down.
    pub mcus: (usize, usize),
    /// The layout of each component's coefficients.
    pub layouts: Vec<Layout>,
}

/// Layout of the coefficients that are kept of a component: a row-major matrix `[blocks down * coefficients per side,
/// blocks across * coefficients per side]`, where each block is a submatrix of its lowest frequencies.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// Sampling across and down.
    pub sampling: (Sampling, Sampling),
    /// Samples across and down that show the image.
    pub samples: (usize, usize),
    /// Blocks across and down, those included that only complete MCUs.
    pub blocks: (usize, usize),
    /// Coefficients kept of each block, across and down, 2 to 8.
    pub coefficients_per_side: (usize, usize),
}

impl Plan {
    /// The plan for all pixels.
    pub fn full(frame: &FrameHeader) -> Self {
        Self::new(frame, |_| (8, 8))
    }

    /// The plan for an output of at most `wanted` width and height in pixels; none if the image is too small for it.
    pub fn downscaled(frame: &FrameHeader, wanted: (u32, u32)) -> Option<Self> {
        let (width, height) = frame.dimensions;
        let scale = (width as f64 / f64::from(wanted.0), height as f64 / f64::from(wanted.1));
        let kept = |scale: f64, sampling: Sampling| {
            coefficients_per_side(scale * sampling.factor as f64 / sampling.largest as f64)
        };
        (scale.0.min(scale.1) >= MIN_SCALE)
            .then(|| Self::new(frame, |(across, down)| (kept(scale.0, across), kept(scale.1, down))))
    }

    /// Bytes of the coefficients, with a word for each block of a progressive frame.
    pub fn coefficient_bytes(&self, is_progressive: bool) -> u64 {
        let bytes = |layout: &Layout| {
            let words = if is_progressive { layout.blocks.0 * layout.blocks.1 } else { 0 };
            2 * (layout.stride() as u64 * layout.rows() as u64) + 8 * words as u64
        };
        self.layouts.iter().map(bytes).sum()
    }

    fn new(frame: &FrameHeader, kept: impl Fn((Sampling, Sampling)) -> (usize, usize)) -> Self {
        let (mcus, (width, height)) = (frame.mcus(), frame.dimensions);
        let layout = |ComponentHeader { sampling, .. }: &ComponentHeader| Layout {
            sampling: *sampling,
            samples: (sampling.0.samples(width), sampling.1.samples(height)),
            blocks: (mcus.0 * sampling.0.factor, mcus.1 * sampling.1.factor),
            coefficients_per_side: kept(*sampling),
        };
        Self { mcus, layouts: frame.components.iter().map(layout).collect() }
    }
}

impl Layout {
    /// Blocks across and down that show part of the image: those of a scan that is not interleaved (T.81, A.2.2).
    pub fn visible_blocks(&self) -> (usize, usize) {
        (self.samples.0.div_ceil(8), self.samples.1.div_ceil(8))
    }

    /// Samples of all blocks, once they are decoded.
    pub fn samples_decoded(&self) -> u64 {
        64 * self.blocks.0 as u64 * self.blocks.1 as u64
    }

    /// Coefficients in a row of the matrix.
    pub fn stride(&self) -> usize {
        self.blocks.0 * self.coefficients_per_side.0
    }

    /// Rows of the matrix.
    pub fn rows(&self) -> usize {
        self.blocks.1 * self.coefficients_per_side.1
    }

    /// Offset of the DC coefficient of the block at a column and a row.
    #[inline(always)]
    pub fn dc_offset(&self, (column, row): (usize, usize)) -> usize {
        row * self.coefficients_per_side.1 * self.stride() + column * self.coefficients_per_side.0
    }
}

/// Coefficients kept per side of a block where `scale` samples become one output pixel.
fn coefficients_per_side(scale: f64) -> usize {
    (COEFFICIENTS_PER_PIXEL * 8.0 / scale).ceil().clamp(2.0, 8.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn larger_scales_keep_fewer_coefficients() {
        assert_eq!([1.0, 2.0, 2.6, 5.2, 10.4, 100.0].map(coefficients_per_side), [8, 7, 6, 3, 2, 2]);
    }

    #[test]
    fn layouts_follow_from_scale_and_sampling() {
        let component = |id, factor| {
            let sampling = Sampling { factor, largest: 2 };
            ComponentHeader { id, quantisation_table: 0, sampling: (sampling, sampling) }
        };
        let components = vec![component(1, 2), component(2, 1), component(3, 1)];
        let frame = FrameHeader { is_progressive: false, dimensions: (500, 750), components };
        assert_eq!(Plan::downscaled(&frame, (100, 301)), None);

        let plan = Plan::downscaled(&frame, (100, 150)).unwrap();
        let [luma, cb, cr] = &plan.layouts[..] else { panic!("{plan:?}") };
        assert_eq!(plan.mcus, (32, 47));
        assert_eq!((luma.blocks, luma.visible_blocks(), luma.coefficients_per_side), ((64, 94), (63, 94), (3, 3)));
        assert_eq!((cb.blocks, cb.visible_blocks(), cb.coefficients_per_side), ((32, 47), (32, 47), (6, 6)));
        assert_eq!((luma.samples, cb.samples), ((500, 750), (250, 375)));
        assert_eq!(cb, cr);
        assert_eq!((luma.stride(), luma.rows(), luma.dc_offset((2, 1))), (192, 282, 3 * 192 + 6));
        let full = Plan::full(&frame);
        assert!(full.layouts.iter().all(|layout| layout.coefficients_per_side == (8, 8)));
    }
}
