//! The foreign oracle: each [`semantics::vector::VecOp`] and [`semantics::fp::FpOp`] against the host's own instruction of that name.
//! Skipped on hosts that are not x86-64 with SSE4.2.
#![cfg(target_arch = "x86_64")]
#![expect(
    unsafe_code,
    reason = "runs the host's instructions by inline assembly"
)]

mod fp;
mod vector;

use std::arch::x86_64::__m128i;
use std::mem::transmute;

/// Whether the host has what is compared; says so if not.
fn host_has_sse4_2() -> bool {
    let has = std::is_x86_feature_detected!("sse4.2");
    if !has {
        eprintln!("skipped: the host has no SSE4.2");
    }
    has
}

/// As a register.
fn to_host(v: u128) -> __m128i {
    // SAFETY: any bits are a vector.
    unsafe { transmute::<u128, __m128i>(v) }
}

/// From a register.
fn from_host(v: __m128i) -> u128 {
    // SAFETY: any bits are a number.
    unsafe { transmute::<__m128i, u128>(v) }
}

/// A reproducible sequence (SplitMix64).
struct Random(u64);

impl Random {
    fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
    fn pick(&mut self, from: &[u64]) -> u64 {
        from[self.u64() as usize % from.len()]
    }
}
