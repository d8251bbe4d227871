//! The instruction sets of this processor that the kernels are compiled for.

use std::fmt;
use std::str::FromStr;

use pulp::Arch;

use super::int8::Int8Isa;

/// Vector instructions of the processor. The first of [`Instructions::available`] is used unless others are asked for.
///
/// | name | layers in f32 | layers in int8 |
/// |---|---|---|
/// | `avx512-vnni` | AVX-512 | `vpdpbusd` on 512 bits |
/// | `avx-vnni` | AVX2 | `vpdpbusd` on 256 bits |
/// | `avx512` | AVX-512 | `vpmaddwd` on 256 bits |
/// | `avx2` | AVX2 | `vpmaddwd` on 256 bits |
/// | `neon-dotprod` | NEON | `sdot` |
/// | `neon` | NEON | `smull` |
/// | `plain` | vectors of four | plain Rust |
///
/// Models in int8 have the same output to the last bit with all of them.
#[derive(Clone, Copy, Debug)]
pub struct Instructions {
    name: &'static str,
    f32: Arch,
    pub(super) int8: Int8Isa,
}

impl Instructions {
    /// The instruction sets of this processor, the preferred one first.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = pulp::x86::V3::try_new().map(Arch::V3);
            let avx512 = pulp::x86::V4::try_new().map(Arch::V4);
            for (name, f32, int8) in [
                ("avx512-vnni", avx512, Int8Isa::Avx512Vnni),
                ("avx-vnni", avx2, Int8Isa::AvxVnni),
                ("avx512", avx512, Int8Isa::Avx2),
                ("avx2", avx2, Int8Isa::Avx2),
            ] {
                found.extend(f32.filter(|_| int8.is_available()).map(|f32| Self { name, f32, int8 }));
            }
        }
        #[cfg(target_arch = "aarch64")]
        for (name, int8) in [("neon-dotprod", Int8Isa::NeonDotprod), ("neon", Int8Isa::Neon)] {
            if int8.is_available() {
                found.push(Self { name, f32: Arch::new(), int8 });
            }
        }
        found.push(Self { name: "plain", f32: Arch::Scalar, int8: Int8Isa::Plain });
        found
    }

    /// The preferred ones.
    pub fn detect() -> Self {
        Self::available()[0]
    }

    /// The vectors of layers in f32.
    pub(crate) fn f32(self) -> Arch {
        self.f32
    }

    /// The name, as the table above has it.
    pub fn name(self) -> &'static str {
        self.name
    }
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(self.name)
    }
}

impl FromStr for Instructions {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let available = Self::available();
        available.iter().find(|found| found.name == name).copied().ok_or_else(|| {
            let names: Vec<_> = available.iter().map(|found| found.name).collect();
            format!("this processor does not have \"{name}\"; it has {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_found_by_their_names() {
        for found in Instructions::available() {
            assert_eq!(found.to_string().parse::<Instructions>().unwrap().name(), found.name());
        }
        let error = "mmx".parse::<Instructions>().unwrap_err();
        assert!(
            error.starts_with("this processor does not have \"mmx\"; it has ") && error.ends_with("plain"),
            "{error}"
        );
    }
}
