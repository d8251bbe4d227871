//! Global average pooling: per-channel sums of NHWC pixels, a strip at a time; the caller divides by the pixel count.

use pulp::{Arch, Simd, WithSimd};

use super::simd::{dispatch, load, store};

/// Adds NHWC pixels, `[pixels, channels]`, to `sums`, `[channels]`.
pub fn add_channel_sums(arch: Arch, pixels: &[f32], sums: &mut [f32]) {
    dispatch(arch, AddChannelSums { pixels, sums });
}

struct AddChannelSums<'a> {
    pixels: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for AddChannelSums<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.sums.len();
        for (index, sums) in self.sums.chunks_mut(S::F32_LANES).enumerate() {
            let mut sum = load(simd, sums);
            for pixel in self.pixels.chunks_exact(channels) {
                let values = &pixel[index * S::F32_LANES..][..sums.len()];
                sum = simd.add_f32s(sum, load(simd, values));
            }
            store(simd, sum, sums);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_close, every_arch, random};
    use super::*;

    #[test]
    fn channel_sums_are_the_same_for_every_vector_width() {
        for arch in every_arch() {
            for (pixels, channels) in [(1, 1), (3, 16), (7, 33), (5, 96)] {
                let x = random(pixels * channels);
                let before = random(channels);
                let sum = |channel: usize| before[channel] + x[channel..].iter().step_by(channels).sum::<f32>();
                let expected: Vec<f32> = (0..channels).map(sum).collect();
                let mut sums = before.clone();
                add_channel_sums(arch, &x, &mut sums);
                assert_close(&sums, &expected, &format!("{arch:?}, {pixels} pixels of {channels} channels"));
            }
        }
    }
}
