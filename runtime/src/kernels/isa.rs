//! Vectors of numbers, as wide as the isa has them.

use pulp::{Arch, NullaryFnOnce, Scalar128b, Simd, WithSimd};

/// What a isa can do, found out when the program runs.
#[derive(Clone, Copy, Debug)]
pub struct Isa {
    /// Its vectors.
    pub arch: Arch,
    /// Whether it multiplies pairs of 16-bit floats.
    pub pairs: Option<Pairs>,
}

impl Isa {
    /// The one that runs this.
    pub fn detect() -> Self {
        Self { arch: Arch::new(), pairs: Pairs::try_new() }
    }

    /// The same without what rounds to 16 bits.
    pub fn without_bf16(self) -> Self {
        Self { pairs: None, ..self }
    }
}

/// The proof that a isa has AVX512-BF16: an instruction that multiplies twice as many numbers as others, pairs of bfloat16
/// (the upper halves of 32-bit floats), and adds them up in 32 bits.
#[cfg(target_arch = "x86_64")]
pub use x86::Pairs;

#[cfg(target_arch = "x86_64")]
mod x86 {
    pulp::simd_type! {
        pub struct Pairs {
            avx512f: "avx512f",
            avx512bw: "avx512bw",
            avx512dq: "avx512dq",
            avx512vl: "avx512vl",
            avx512bf16: "avx512bf16",
        }
    }
}

/// No isa of this kind is known to have such an instruction.
#[cfg(not(target_arch = "x86_64"))]
#[derive(Clone, Copy, Debug)]
pub enum Pairs {}

#[cfg(not(target_arch = "x86_64"))]
impl Pairs {
    fn try_new() -> Option<Self> {
        None
    }

    pub fn vectorize<F: NullaryFnOnce>(self, _: F) -> F::Output {
        match self {}
    }
}

/// Runs `work`, of which everything is inlined, with a isa's vectors and products of pairs.
#[inline(always)]
pub fn with_pairs<S: Simd, W: WithSimd>(pairs: Pairs, simd: S, work: W) -> W::Output {
    struct Both<S, W>(S, W);
    impl<S: Simd, W: WithSimd> NullaryFnOnce for Both<S, W> {
        type Output = W::Output;

        #[inline(always)]
        fn call(self) -> W::Output {
            self.1.with_simd(self.0)
        }
    }
    pairs.vectorize(Both(simd, work))
}

/// Runs `work` with the widest vectors of the isa: AVX-512, AVX2 or NEON, found out when it runs; else with
/// vectors of four numbers, which every x86-64 isa has and the compiler knows to use.
pub fn dispatch<W: WithSimd>(arch: Arch, work: W) -> W::Output {
    match arch {
        Arch::Scalar => Simd::vectorize(Scalar128b, work),
        arch => arch.dispatch(work),
    }
}

/// Numbers in a vector.
pub fn lanes(arch: Arch) -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    dispatch(arch, Lanes)
}

/// `a * b + c`. Processors without a fused instruction for it round twice, since to emulate it would take a function call.
#[inline(always)]
pub fn multiply_add<S: Simd>(simd: S, a: S::f32s, b: S::f32s, c: S::f32s) -> S::f32s {
    if S::IS_SCALAR || cfg!(target_arch = "x86_64") && S::F32_LANES == 4 {
        simd.add_f32s(simd.mul_f32s(a, b), c)
    } else {
        simd.mul_add_e_f32s(a, b, c)
    }
}

/// A vector of numbers, or as many as there are and zeros.
#[inline(always)]
pub fn load<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    match S::as_simd_f32s(values).0 {
        [whole] => *whole,
        _ => simd.partial_load_f32s(values),
    }
}

/// Writes a vector, or as much of it as there is room for.
#[inline(always)]
pub fn store<S: Simd>(simd: S, vector: S::f32s, values: &mut [f32]) {
    match S::as_mut_simd_f32s(values).0 {
        [whole] => *whole = vector,
        _ => simd.partial_store_f32s(values, vector),
    }
}

/// Adds up pixels, `[pixels, channels]`, channel by channel.
pub fn add_pixels(arch: Arch, pixels: &[f32], sums: &mut [f32]) {
    struct Add<'a> {
        pixels: &'a [f32],
        sums: &'a mut [f32],
    }
    impl WithSimd for Add<'_> {
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
    dispatch(arch, Add { pixels, sums });
}

/// `len` numbers of a buffer, whatever they are.
pub fn room<T: Clone + Default>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    if buffer.len() < len {
        // Zeros that nobody has written yet, while a longer old buffer would have to be copied.
        *buffer = vec![T::default(); len];
    }
    &mut buffer[..len]
}

/// The same from the beginning of a cache line on: vectors that lie across two cost twice.
pub fn aligned(buffer: &mut Vec<f32>, len: usize) -> &mut [f32] {
    const LINE: usize = 64;
    let begin = room(buffer, len + LINE / size_of::<f32>()).as_ptr().align_offset(LINE);
    &mut buffer[begin..begin + len]
}

/// Every kind of vectors that this isa has, and what it has itself.
#[cfg(test)]
pub fn all() -> Vec<Isa> {
    let mut all = vec![Arch::Scalar, Arch::new()];
    #[cfg(target_arch = "x86_64")]
    all.extend(pulp::x86::V3::try_new().map(Arch::V3));
    let exact = all.into_iter().map(|arch| Isa { arch, pairs: None });
    exact.chain([Isa::detect()]).collect()
}
