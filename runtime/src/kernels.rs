//! A MobileNetV2 (Sandler et al., "MobileNetV2: inverted residuals and linear bottlenecks", 2018) with the head that `train`
//! gives it, run for one picture by code of its own: several times as fast as a general graph of convolutions.
//!
//! Maps are `[height, width, channels]`, so that a pointwise convolution is a matrix product as it lies and a depthwise
//! one runs along the channels. A block's wide middle, six times its input, never exists as a whole: [`Block`] makes a
//! few rows of it that stay in the second cache, and the stem is the first block's way to such rows.

mod block;
mod depthwise;
mod head;
mod isa;
mod pointwise;
mod weights;

use std::cell::RefCell;

use block::Scratch;
pub use block::{Block, Convolution, Input, Picture};
pub use head::{Dense, Head, Matrix};
pub use isa::Isa;
use isa::{add_pixels, room};
use pointwise::{Pointwise, Target};
pub use weights::Weights;

/// A trunk and the head that makes probabilities of its means.
#[derive(Debug)]
pub struct MobileNet {
    /// From a picture to means.
    pub trunk: Trunk,
    /// From means to probabilities.
    pub head: Head,
}

impl MobileNet {
    /// The number of classes.
    pub fn classes(&self) -> usize {
        self.head.classes.bias.len()
    }

    /// The probability of each class for a picture `[3, height, width]`, `size` its height and width.
    ///
    /// # Panics
    /// As [`Trunk::means`].
    pub fn probabilities(&self, planes: &[f32], size: [usize; 2]) -> Vec<f32> {
        self.head.probabilities(self.trunk.means(planes, size))
    }
}

/// The layers of a trunk, from the stem to the last pointwise convolution.
#[derive(Debug)]
pub struct Trunk {
    isa: Isa,
    /// Pads and stride of the stem; its weights are those of the first block's expansion.
    stem: ([usize; 4], usize),
    blocks: Vec<Block>,
    last: Pointwise,
}

thread_local! {
    /// Kept from picture to picture: the system takes longer to hand out memory than a small trunk to run.
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

#[derive(Default)]
struct Buffers {
    /// What the last block made, and what the next one makes.
    maps: [Vec<f32>; 2],
    scratch: Scratch,
}

impl Trunk {
    /// Puts layers together: pads (top, left, bottom, right) and stride of the stem, blocks, of which the first one's
    /// expansion is the stem itself with weights `[channels, 3, 3, 3]`, and the last convolution.
    pub fn new(isa: Isa, stem: ([usize; 4], usize), blocks: Vec<Block>, last: &Convolution) -> Self {
        let inputs = last.weight.count() / last.bias.len();
        let last = Pointwise::new(isa, last, [inputs, last.bias.len()]);
        Self { isa, stem, blocks, last }
    }

    /// The number of means that [`means`](Self::means) returns.
    pub fn channels(&self) -> usize {
        let taps = self.blocks.iter().filter(|block| block.is_tapped()).map(Block::middle);
        taps.sum::<usize>() + self.last.outputs()
    }

    /// The means over the picture of what the tapped blocks expand their inputs to, in their order, and of the last
    /// convolution's outputs.
    ///
    /// `planes` is a picture `[3, height, width]`, `size` its height and width.
    ///
    /// # Panics
    /// If `planes` is shorter, or a side with its pads is shorter than a kernel.
    pub fn means(&self, planes: &[f32], size: [usize; 2]) -> Vec<f32> {
        BUFFERS.with_borrow_mut(|Buffers { maps: [x, y], scratch }| {
            let mut means = Vec::new();
            let (pads, stride) = self.stem;
            let picture = Picture { planes, size, pads, stride };
            let mut size = picture.output_size();
            for (index, block) in self.blocks.iter().enumerate() {
                let input = if index == 0 { Input::Picture(&picture) } else { Input::Map(x) };
                block.run(&input, size, y, scratch, &mut means);
                size = block.output_size(size);
                std::mem::swap(x, y);
            }
            let outputs = self.last.outputs();
            let pixels = size[0] * size[1];
            let y = room(y, pixels * outputs);
            let places: Vec<usize> = (0..pixels).map(|pixel| pixel * outputs).collect();
            self.last.run(x, Target { y, places: &places, residual: None }, &mut scratch.buffers);
            let mut sums = vec![0.0; outputs];
            add_pixels(self.isa.arch, y, &mut sums);
            means.extend(sums.iter().map(|sum| sum / pixels as f32));
            means
        })
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use half::f16;
    use rand::{RngExt, SeedableRng};
    use rand_pcg::Pcg32;

    /// Numbers between -1 and 1, others in each call.
    pub fn random(len: usize) -> Vec<f32> {
        thread_local!(static RNG: RefCell<Pcg32> = RefCell::new(Pcg32::seed_from_u64(5)));
        RNG.with_borrow_mut(|rng| (0..len).map(|_| rng.random_range(-1.0..1.0)).collect())
    }

    /// Weights between -1 and 1, others in each call.
    pub fn singles(len: usize) -> Vec<[u8; 4]> {
        random(len).into_iter().map(f32::to_le_bytes).collect()
    }

    /// The same of 16 bits, and among them zero and the smallest.
    pub fn halves(len: usize) -> Vec<[u8; 2]> {
        let mut halves: Vec<_> = random(len).into_iter().map(|value| f16::from_f32(value).to_le_bytes()).collect();
        halves.iter_mut().zip([0_u16, 1, 0x8001, 0x83ff]).for_each(|(half, bits)| *half = bits.to_le_bytes());
        halves
    }

    /// Sums in another order differ in the last digits.
    pub fn assert_close(found: &[f32], expected: &[f32], what: &str) {
        assert_eq!(found.len(), expected.len(), "{what}");
        for (place, (found, expected)) in found.iter().zip(expected).enumerate() {
            let close = (found - expected).abs() <= 1e-5 * expected.abs().max(1.0);
            assert!(close, "{what}: {found} for {expected} at {place}");
        }
    }
}
