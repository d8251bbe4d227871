//! Sampling factors (T.81, A.1.1) and upsampling along one axis.

/// Sampling of a component along one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// The component's sampling factor (H or V), 1 to 4: blocks in an MCU.
    pub factor: usize,
    /// The largest sampling factor of the frame along this axis.
    pub largest: usize,
}

impl Sampling {
    /// The number of samples of an axis of `length` pixels (T.81, A.1.1).
    pub fn samples(self, length: usize) -> usize {
        (length * self.factor).div_ceil(self.largest)
    }

    /// The sample that a pixel's centre lies in.
    #[inline(always)]
    pub fn near(self, pixel: usize) -> usize {
        (2 * pixel + 1) * self.factor / (2 * self.largest)
    }

    /// Whether a sample spans two pixels. Those are upsampled as decoders usually do ("fancy upsampling" of libjpeg): a
    /// pixel is three quarters its own sample and one quarter the nearer neighbour. In all other cases it is its own.
    pub fn is_double(self) -> bool {
        self.largest == 2 * self.factor
    }

    /// The neighbour of a pixel's own sample, of `samples`, where a sample spans two pixels.
    pub fn far(self, pixel: usize, samples: usize) -> usize {
        let near = self.near(pixel);
        if pixel % 2 == 1 { (near + 1).min(samples - 1) } else { near.saturating_sub(1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pixel_has_a_sample_and_every_sample_a_pixel() {
        for largest in 1..=4 {
            for factor in 1..=largest {
                let sampling = Sampling { factor, largest };
                for length in 1..40 {
                    let near: Vec<usize> = (0..length).map(|pixel| sampling.near(pixel)).collect();
                    assert!(near.is_sorted() && *near.last().unwrap() < sampling.samples(length), "{sampling:?}");
                    if length % largest == 0 {
                        assert!((0..sampling.samples(length)).all(|sample| near.contains(&sample)), "{sampling:?}");
                    }
                }
            }
        }
        let half = Sampling { factor: 2, largest: 4 };
        assert_eq!(
            [0, 1, 2, 3, 4].map(|pixel| (half.near(pixel), half.far(pixel, 3))),
            [(0, 0), (0, 1), (1, 0), (1, 2), (2, 1)]
        );
    }
}
