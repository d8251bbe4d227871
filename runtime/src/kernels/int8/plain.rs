//! The integer vectors in plain Rust: the reference that defines the result of the others.

use std::array::from_fn;

use super::vectors::{DOT, GROUP, Vectors};

/// Four lanes.
#[derive(Clone, Copy)]
pub struct Plain;

const LANES: usize = 4;

impl Vectors for Plain {
    const LANES: usize = LANES;
    const MR: usize = 2;
    const ACTIVATION_OFFSET: i32 = 0;
    type I32 = [i32; LANES];
    type F32 = [f32; LANES];
    type Activations = [[u8; DOT]; LANES];
    type Weights = [[i8; DOT]; LANES];

    #[inline(always)]
    fn load_i32(self, values: &[i32]) -> [i32; LANES] {
        from_fn(|lane| values[lane])
    }

    #[inline(always)]
    fn load_f32(self, values: &[f32]) -> [f32; LANES] {
        from_fn(|lane| values[lane])
    }

    #[inline(always)]
    fn broadcast(self, activations: [u8; DOT]) -> [[u8; DOT]; LANES] {
        [activations; LANES]
    }

    #[inline(always)]
    fn interleave(self, [above, centre, below]: [&[u8]; 3]) -> [[[u8; DOT]; LANES]; GROUP] {
        from_fn(|vector| {
            from_fn(|lane| {
                let channel = vector * LANES + lane;
                [above[channel], centre[channel], below[channel], 0]
            })
        })
    }

    #[inline(always)]
    fn pack_weights(self, weights: &[[i8; DOT]], packed: &mut [i8]) {
        packed.copy_from_slice(weights.as_flattened());
    }

    #[inline(always)]
    fn load_weights(self, weights: &[i8]) -> [[i8; DOT]; LANES] {
        from_fn(|lane| from_fn(|index| weights[lane * DOT + index]))
    }

    #[inline(always)]
    fn dot(self, sums: [i32; LANES], activations: [[u8; DOT]; LANES], weights: [[i8; DOT]; LANES]) -> [i32; LANES] {
        from_fn(|lane| {
            let product = |index: usize| i32::from(activations[lane][index]) * i32::from(weights[lane][index]);
            sums[lane] + (0..DOT).map(product).sum::<i32>()
        })
    }

    #[inline(always)]
    fn requantize(self, sums: [i32; LANES], scale: [f32; LANES], zero_point: i32) -> [i32; LANES] {
        from_fn(|lane| (sums[lane] as f32 * scale[lane]).round_ties_even() as i32 + zero_point)
    }

    #[inline(always)]
    fn store_group(self, values: [[i32; LANES]; GROUP], bytes: &mut [u8]) {
        for (bytes, values) in bytes.chunks_exact_mut(LANES).zip(values) {
            self.store_vector(values, bytes);
        }
    }

    #[inline(always)]
    fn store_vector(self, values: [i32; LANES], bytes: &mut [u8]) {
        for (byte, value) in bytes.iter_mut().zip(values) {
            *byte = value.clamp(0, 255) as u8;
        }
    }
}
