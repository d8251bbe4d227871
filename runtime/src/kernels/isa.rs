//! CPU feature detection and run-time dispatch: AVX-512, AVX2, NEON or four-lane vectors, and AVX512-BF16.

use pulp::{Arch, Scalar128b, Simd, WithSimd};

/// The instruction set that the kernels use, detected at run time.
///
/// The fields are private so that `bf16` is set only beside the AVX-512 vectors that it works on.
#[derive(Clone, Copy, Debug)]
pub struct Isa {
    arch: Arch,
    bf16: Option<Avx512Bf16>,
}

impl Isa {
    /// Detects the instruction set of this machine.
    pub fn detect() -> Self {
        let arch = Arch::new();
        Self { arch, bf16: Avx512Bf16::detect(arch) }
    }

    /// This instruction set without bf16 products: all arithmetic is f32.
    pub fn without_bf16(self) -> Self {
        Self { bf16: None, ..self }
    }

    /// The vectors, for [`dispatch`].
    pub fn arch(self) -> Arch {
        self.arch
    }

    /// The bf16 dot product, if the machine has it.
    pub fn bf16(self) -> Option<Avx512Bf16> {
        self.bf16
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx512Bf16, with_avx512_bf16};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use pulp::x86::V4;
    use pulp::{Arch, NullaryFnOnce};

    pulp::simd_type! {
        /// CPU features of `vdpbf16ps` on 512-bit vectors.
        struct Features {
            avx512f: "avx512f",
            avx512bw: "avx512bw",
            avx512dq: "avx512dq",
            avx512vl: "avx512vl",
            avx512bf16: "avx512bf16",
        }
    }

    /// Zero-sized token: AVX512-BF16 was detected, and pulp's AVX-512 vectors ([`V4`]) are in use.
    ///
    /// It enables `vdpbf16ps`, a dot product of bf16 pairs with f32 accumulation: two multiply-adds per 32-bit lane.
    /// The private fields make detection the only way to obtain one.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx512Bf16 {
        v4: V4,
        features: Features,
    }

    impl Avx512Bf16 {
        /// Detects AVX512-BF16 beside the vectors `arch`.
        ///
        /// `V4` asks for more features than bf16 does (avx512cd, bmi, lzcnt …). A virtual machine may mask one of
        /// those, so that `arch` is only AVX2 although the bf16 features are all there.
        pub fn detect(arch: Arch) -> Option<Self> {
            Self::combine(arch, Features::try_new()).map(|(v4, features)| Self { v4, features })
        }

        /// Combines bf16 features with AVX-512 vectors: `None` if either is missing.
        fn combine<F>(arch: Arch, features: Option<F>) -> Option<(V4, F)> {
            match arch {
                Arch::V4(v4) => features.map(|features| (v4, features)),
                _ => None,
            }
        }

        /// AVX-512 vectors.
        #[inline(always)]
        pub fn v4(self) -> V4 {
            self.v4
        }
    }

    /// Runs `work`, in which everything is inlined, in a function compiled for AVX512-BF16.
    #[inline(always)]
    pub fn with_avx512_bf16<F: NullaryFnOnce>(token: Avx512Bf16, work: F) -> F::Output {
        token.features.vectorize(work)
    }

    #[cfg(test)]
    mod tests {
        use pulp::x86::V3;

        use super::*;

        #[test]
        fn bf16_is_offered_only_beside_avx512_vectors() {
            let archs = [Some(Arch::Scalar), V3::try_new().map(Arch::V3), V4::try_new().map(Arch::V4)];
            for arch in archs.into_iter().flatten() {
                let is_v4 = matches!(arch, Arch::V4(_));
                assert_eq!(Avx512Bf16::combine(arch, Some(())).is_some(), is_v4, "{arch:?} with the features of bf16");
                assert!(Avx512Bf16::combine(arch, None::<()>).is_none(), "{arch:?} without the features of bf16");
                assert!(is_v4 || Avx512Bf16::detect(arch).is_none(), "{arch:?} on this machine");
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
pub use other::{Avx512Bf16, with_avx512_bf16};

#[cfg(not(target_arch = "x86_64"))]
mod other {
    use pulp::{Arch, NullaryFnOnce};

    /// Uninhabited: AVX512-BF16 exists on x86-64 only.
    #[derive(Clone, Copy, Debug)]
    pub enum Avx512Bf16 {}

    impl Avx512Bf16 {
        /// Always `None`.
        pub fn detect(_: Arch) -> Option<Self> {
            None
        }
    }

    /// Cannot be called.
    pub fn with_avx512_bf16<F: NullaryFnOnce>(token: Avx512Bf16, _: F) -> F::Output {
        match token {}
    }
}

/// Runs `work` with the widest vectors of `arch`: AVX-512, AVX2 or NEON; else with vectors of four f32, which every
/// x86-64 processor has (SSE2).
pub fn dispatch<W: WithSimd>(arch: Arch, work: W) -> W::Output {
    match arch {
        Arch::Scalar => Simd::vectorize(Scalar128b, work),
        arch => arch.dispatch(work),
    }
}

/// Number of f32 lanes in a vector.
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

/// Every instruction set that this machine can run, with and without bf16.
#[cfg(test)]
pub fn every_isa() -> Vec<Isa> {
    #[cfg(target_arch = "x86_64")]
    let avx2 = pulp::x86::V3::try_new().map(Arch::V3);
    #[cfg(not(target_arch = "x86_64"))]
    let avx2 = None;
    let archs = [Arch::Scalar, Arch::new()].into_iter().chain(avx2);
    let exact = archs.map(|arch| Isa { arch, bf16: None });
    exact.chain([Isa::detect()]).collect()
}
