//! Integer vectors of each instruction set: the few operations that the int8 layers are written in.
//!
//! Every operation is exact or an IEEE 754 operation with one rounding, so that a network's output has the same bits
//! on every processor.

#[cfg(target_arch = "aarch64")]
use super::neon::{Neon, NeonDotprod};
use super::plain::Plain;
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512Vnni, AvxVnni};

/// Vectors in a group: a group has as many bytes as its four vectors of `i32` have lanes.
pub const GROUP: usize = 4;

/// Consecutive inputs whose products one lane of [`Vectors::dot`] adds.
pub const DOT: usize = 4;

/// Vectors of `i32`, of `f32`, and of four bytes a lane. A value is the proof that the processor has the instructions.
///
/// A *group* is `4 * LANES` bytes, one a channel, and the four vectors that hold a 32-bit number for each: lane `l` of
/// vector `v` belongs to channel [`channel`]`(v, l)`. Interleaving and packing work within 128 bits on x86-64, and
/// this order is what they leave.
pub trait Vectors: Copy {
    /// Lanes of a vector, a multiple of 4.
    const LANES: usize;
    /// Pixels of the largest tile of one group that fits the registers.
    const MR: usize;
    /// Subtracted from every activation before it is multiplied; [`dot`](Self::dot) lacks this many times the sum of
    /// the weights.
    const ACTIVATION_OFFSET: i32;
    /// Bytes of the packed weights of one vector.
    const WEIGHT_LEN: usize = Self::LANES * DOT;
    /// `LANES` integers.
    type I32: Copy;
    /// `LANES` floats.
    type F32: Copy;
    /// Four activations a lane.
    type Activations: Copy;
    /// Four weights a lane.
    type Weights: Copy;

    /// Loads the first `LANES` integers.
    fn load_i32(self, values: &[i32]) -> Self::I32;
    /// Loads the first `LANES` floats.
    fn load_f32(self, values: &[f32]) -> Self::F32;
    /// Broadcasts four activations to every lane.
    fn broadcast(self, activations: [u8; DOT]) -> Self::Activations;
    /// For each channel of a group, its activations in three rows, and any fourth; a row has `4 * LANES` bytes.
    fn interleave(self, rows: [&[u8]; 3]) -> [Self::Activations; GROUP];
    /// Packs the weights of one vector, four a lane, into the [`Vectors::WEIGHT_LEN`] bytes that
    /// [`Vectors::load_weights`] reads.
    fn pack_weights(self, weights: &[[i8; DOT]], packed: &mut [i8]);
    /// Loads the first [`Vectors::WEIGHT_LEN`] bytes of packed weights.
    fn load_weights(self, packed: &[i8]) -> Self::Weights;
    /// Adds to each lane the products of its four activations and weights, exactly.
    fn dot(self, sums: Self::I32, activations: Self::Activations, weights: Self::Weights) -> Self::I32;
    /// `round(sum * scale) + zero_point` in each lane: converted to f32, multiplied and rounded to nearest, ties to
    /// even, each with one rounding.
    fn requantize(self, sums: Self::I32, scale: Self::F32, zero_point: i32) -> Self::I32;
    /// Writes a group, clamped to 0 to 255.
    fn store_group(self, values: [Self::I32; GROUP], bytes: &mut [u8]);
    /// Writes one vector in the order of its lanes, clamped to 0 to 255.
    fn store_vector(self, values: Self::I32, bytes: &mut [u8]);
}

/// The channel within a group of a lane of one of its vectors.
pub const fn channel(vector: usize, lane: usize) -> usize {
    lane / 4 * 16 + vector * 4 + lane % 4
}

/// Work that is compiled once for each instruction set.
pub trait Kernel {
    /// The result.
    type Output;
    /// Does the work; must be inlined.
    fn run<V: Vectors>(self, vectors: V) -> Self::Output;
}

/// The instructions that multiply and add 8-bit integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Int8Isa {
    /// `vpdpbusd` on 512 bits.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// `vpdpbusd` on 256 bits.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// `vpmaddwd` of bytes widened to 16 bits.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// `sdot`.
    #[cfg(target_arch = "aarch64")]
    NeonDotprod,
    /// `smull` and pairwise additions.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// Plain Rust; the reference.
    Plain,
}

impl Int8Isa {
    /// Every instruction set of this architecture.
    #[cfg(test)]
    const ALL: &'static [Self] = &[
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Vnni,
        #[cfg(target_arch = "x86_64")]
        Self::AvxVnni,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "aarch64")]
        Self::NeonDotprod,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
        Self::Plain,
    ];

    /// The instruction sets of this processor.
    #[cfg(test)]
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|isa| isa.is_available())
    }

    /// Whether this processor has the instructions.
    #[cfg(any(test, target_arch = "x86_64", target_arch = "aarch64"))]
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => Avx512Vnni::new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => AvxVnni::new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => Avx2::new().is_some(),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => NeonDotprod::new().is_some(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Neon::new().is_some(),
            Self::Plain => true,
        }
    }

    /// Lanes of its vectors of `i32`.
    pub fn lanes(self) -> usize {
        struct Lanes;
        impl Kernel for Lanes {
            type Output = usize;

            #[inline(always)]
            fn run<V: Vectors>(self, _: V) -> usize {
                V::LANES
            }
        }
        self.dispatch(Lanes)
    }

    /// Packs weights `[vectors, lanes, DOT]`, see [`Vectors::pack_weights`].
    pub fn pack_weights(self, weights: &[[i8; DOT]]) -> Vec<i8> {
        struct Pack<'a>(&'a [[i8; DOT]]);
        impl Kernel for Pack<'_> {
            type Output = Vec<i8>;

            #[inline(always)]
            fn run<V: Vectors>(self, vectors: V) -> Vec<i8> {
                let mut packed = vec![0; self.0.len() / V::LANES * V::WEIGHT_LEN];
                for (weights, packed) in self.0.chunks_exact(V::LANES).zip(packed.chunks_exact_mut(V::WEIGHT_LEN)) {
                    vectors.pack_weights(weights, packed);
                }
                packed
            }
        }
        self.dispatch(Pack(weights))
    }

    /// See [`Vectors::ACTIVATION_OFFSET`].
    pub fn activation_offset(self) -> i32 {
        struct Offset;
        impl Kernel for Offset {
            type Output = i32;

            #[inline(always)]
            fn run<V: Vectors>(self, _: V) -> i32 {
                V::ACTIVATION_OFFSET
            }
        }
        self.dispatch(Offset)
    }

    /// Runs `kernel` with these instructions, or in plain Rust where the processor lacks them.
    pub fn dispatch<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
        macro_rules! run_with {
            ($token:ident) => {
                if let Some(token) = $token::new() {
                    return token.run(kernel);
                }
            };
        }
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => run_with!(Avx512Vnni),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni => run_with!(AvxVnni),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => run_with!(Avx2),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDotprod => run_with!(NeonDotprod),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => run_with!(Neon),
            Self::Plain => {}
        }
        kernel.run(Plain)
    }
}
