//! Helpers of the kernels' tests: instruction sets, random values, comparison.

use std::cell::RefCell;

use half::f16;
use pulp::Arch;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg32;

/// Every instruction set that this machine can run.
pub fn every_arch() -> Vec<Arch> {
    #[cfg(target_arch = "x86_64")]
    let avx2 = pulp::x86::V3::try_new().map(Arch::V3);
    #[cfg(not(target_arch = "x86_64"))]
    let avx2 = None;
    [Arch::Scalar, Arch::new()].into_iter().chain(avx2).collect()
}

/// `len` numbers between -1 and 1; every call continues one random sequence per thread.
pub fn random(len: usize) -> Vec<f32> {
    thread_local!(static RNG: RefCell<Pcg32> = RefCell::new(Pcg32::seed_from_u64(5)));
    RNG.with_borrow_mut(|rng| (0..len).map(|_| rng.random_range(-1.0..1.0)).collect())
}

/// `len` weights between -1 and 1 as little-endian f32.
pub fn random_f32_bytes(len: usize) -> Vec<[u8; 4]> {
    random(len).into_iter().map(f32::to_le_bytes).collect()
}

/// `len` weights between -1 and 1 as little-endian f16; the first are zero and subnormals.
pub fn random_f16_bytes(len: usize) -> Vec<[u8; 2]> {
    let mut bytes: Vec<_> = random(len).into_iter().map(|value| f16::from_f32(value).to_le_bytes()).collect();
    bytes.iter_mut().zip([0_u16, 1, 0x8001, 0x83ff]).for_each(|(bytes, bits)| *bytes = bits.to_le_bytes());
    bytes
}

/// Asserts equality up to the rounding of sums in another order: 1e-5, relative above 1.
pub fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let is_close = (found - expected).abs() <= 1e-5 * expected.abs().max(1.0);
        assert!(is_close, "{what}: {found} for {expected} at {index}");
    }
}

/// `len` activations from 0 to 255.
pub fn random_codes(len: usize) -> Vec<u8> {
    random(len).into_iter().map(|value| ((value + 1.0) * 128.0) as u8).collect()
}

/// `len` weights from -127 to 127 as bytes.
pub fn random_weights(len: usize) -> Vec<u8> {
    random(len).into_iter().map(|value| (value * 127.9) as i8 as u8).collect()
}
