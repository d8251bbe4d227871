//! Large images whose rows come one after the other: they are averaged in squares, so that never all pixels are in
//! memory.

use super::rgb8::Rgb8Image;

/// Pixels of the reduced image for each pixel of the wanted size, on either side, at the least. The triangle filter
/// that follows then hardly differs from one over all pixels: `images_are_reduced_without_a_trace` measures it.
const KEPT: u32 = 4;

/// The side of the squares for an image that will be resized to `wanted` width and height or less: 1 keeps all pixels.
pub fn reduction(dimensions: (u32, u32), wanted: (u32, u32)) -> u32 {
    let scale = |length: u32, wanted: u32| length / wanted.max(1).saturating_mul(KEPT);
    scale(dimensions.0, wanted.0).min(scale(dimensions.1, wanted.1)).clamp(1, 256)
}

/// An image of averaged squares. Those at the right and lower edge are cut if the sides are not divisible.
#[derive(Clone, Debug, PartialEq)]
pub struct ReducedImage {
    /// An average for each square.
    pub averages: Rgb8Image,
    /// Width and height in pixels of the whole image.
    pub dimensions: (u32, u32),
    /// Side of a square in pixels.
    pub reduction: u32,
}

/// Takes the rows of an image.
pub struct Reducer {
    image: ReducedImage,
    /// Rows so far.
    rows: u32,
    /// Sums of red, green and blue of the squares that are not complete.
    sums: Vec<[u32; 3]>,
}

impl Reducer {
    /// # Panics
    /// If the reduced image does not fit in memory.
    pub fn new(dimensions: (u32, u32), reduction: u32) -> Self {
        let (width, height) = (dimensions.0.div_ceil(reduction), dimensions.1.div_ceil(reduction));
        let sums = if reduction > 1 { vec![[0; 3]; width as usize] } else { Vec::new() };
        let image = ReducedImage { averages: Rgb8Image::new(width, height), dimensions, reduction };
        Self { image, rows: 0, sums }
    }

    /// Bytes on the heap.
    pub fn memory(dimensions: (u32, u32), reduction: u32) -> u64 {
        let (width, height) = (dimensions.0.div_ceil(reduction).into(), dimensions.1.div_ceil(reduction).into());
        3_u64.saturating_mul(width).saturating_mul(height).saturating_add(12 * width)
    }

    /// Adds the next row: red, green and blue of each pixel. Rows and pixels beyond the image are left out.
    pub fn add(&mut self, row: impl Iterator<Item = [u8; 3]>) {
        let ReducedImage { averages, dimensions: (width, height), reduction } = &mut self.image;
        let stride = averages.width() as usize;
        let target = averages.as_raw_mut().as_chunks_mut::<3>().0;
        let y = self.rows;
        if y == *height {
            return;
        }
        self.rows += 1;
        let target = &mut target[(y / *reduction) as usize * stride..][..stride];
        if *reduction == 1 {
            target.iter_mut().zip(row).for_each(|(target, pixel)| *target = pixel);
            return;
        }
        let mut row = row.take(*width as usize);
        for sums in &mut self.sums {
            for pixel in row.by_ref().take(*reduction as usize) {
                sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += u32::from(value));
            }
        }
        let rows = y % *reduction + 1;
        if rows == *reduction || self.rows == *height {
            for (index, (sums, target)) in (0..).zip(self.sums.iter_mut().zip(target)) {
                let count = rows * (*width - index * *reduction).min(*reduction);
                *target = sums.map(|sum| ((sum + count / 2) / count) as u8);
                *sums = [0; 3];
            }
        }
    }

    /// The image. Rows that did not come are black.
    pub fn finish(self) -> ReducedImage {
        self.image
    }
}

#[cfg(test)]
mod tests {
    use image::metadata::Orientation;

    use super::*;
    use crate::preprocess::DecodedImage;

    fn reduce(image: &Rgb8Image, reduction: u32) -> ReducedImage {
        let mut reducer = Reducer::new(image.dimensions(), reduction);
        let rows = image.as_raw().as_chunks::<3>().0.chunks(image.width() as usize);
        rows.for_each(|row| reducer.add(row.iter().copied()));
        reducer.finish()
    }

    #[test]
    fn squares_are_averaged_also_where_they_are_cut() {
        let image = Rgb8Image::from_fn(5, 3, |x, y| [(10 * x) as u8, (10 * y) as u8, 7]);
        let reduced = reduce(&image, 2);
        assert_eq!(reduced.averages.dimensions(), (3, 2));
        let expected = [[5, 5, 7], [25, 5, 7], [40, 5, 7], [5, 20, 7], [25, 20, 7], [40, 20, 7]];
        assert_eq!(reduced.averages.pixels().collect::<Vec<_>>(), expected);
        assert_eq!(reduce(&image, 1).averages, image);
    }

    #[test]
    fn images_are_reduced_if_four_pixels_are_left_for_each_that_is_wanted() {
        for (dimensions, wanted, expected) in [
            ((2048, 3072), (256, 384), 2),
            ((2047, 3072), (256, 384), 1),
            ((9000, 10_000), (96, 128), 19),
            ((100_000, 1000), (96, 128), 1),
            ((30, 40), (256, 384), 1),
            ((1_000_000, 100), (1, 1), 25),
            ((u32::MAX, u32::MAX), (1, 1), 256),
        ] {
            assert_eq!(reduction(dimensions, wanted), expected, "{dimensions:?} for {wanted:?}");
        }
    }

    #[test]
    fn images_are_reduced_without_a_trace() {
        // Edges and grain at every scale, and sides that no square divides.
        let image = Rgb8Image::from_fn(803, 1207, |x, y| {
            let grain = (x * 7919 + y * 104_729).wrapping_mul(2_654_435_761) >> 26;
            let edges = if (x / 37 + y / 53) % 2 == 0 { 150 } else { 0 };
            [(edges + grain) as u8, ((x * y) >> 12) as u8, (x / 4) as u8 ^ (y / 5) as u8]
        });
        let wanted = (48, 72);
        let stored = reduce(&image, reduction(image.dimensions(), wanted)).into();
        let reduced = DecodedImage { stored, orientation: Orientation::NoTransforms };
        assert_eq!(reduced.dimensions(), (803, 1207));
        for (width, height) in [wanted, (20, 30), (47, 11)] {
            let expected = super::super::resize(&image, width, height);
            let found = reduced.resize(width, height);
            let differences = found.as_raw().iter().zip(expected.as_raw()).map(|(a, b)| a.abs_diff(*b));
            let (worst, sum) = differences.fold((0, 0), |(worst, sum), next| (worst.max(next), sum + u32::from(next)));
            let mean = f64::from(sum) / expected.as_raw().len() as f64;
            assert!(worst <= 6 && mean < 0.8, "{width} x {height}: differs by up to {worst}, {mean:.2} on average");
        }
    }
}
