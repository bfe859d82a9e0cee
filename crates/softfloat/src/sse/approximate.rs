//! RCPSS and RSQRTSS: approximations with a relative error of at most 1.5 * 2^-12 (SDM Vol. 2B).
//!
//! The processors answer from tables that differ between makers and models, so the low bits are no architectural fact. This
//! module answers with the exact result truncated to 13 significant bits and centred in that interval: error at most 2^-13.
//! Powers of two (of four, for RSQRTSS) give the exact answer. Neither instruction raises exceptions or looks at MXCSR:
//! denormal operands count as zeros, tiny results are flushed to zero.

use super::format::{Format, sign_bit, unpack};
use crate::F32;

/// Rounds a significand with bit 63 set to 13 bits; a carry goes to the exponent.
fn pack_approximation(negative: bool, exponent: i32, significand: u64) -> F32 {
    let kept = ((significand >> 50) + 1) >> 1;
    let biased = exponent + F32::BIAS;
    let magnitude = match biased {
        ..=0 => 0,
        1..=254 => (((biased - 1) as u64) << 23) + (kept << 11),
        _ => F32::INFINITY,
    };
    F32::from_low_bits(sign_bit::<F32>(negative) | magnitude)
}

/// RCPSS: about `1 / a`.
pub fn rcp(a: F32) -> F32 {
    let negative = a.is_negative();
    if a.is_nan() {
        return a.quieted();
    }
    if a.is_infinite() {
        return F32::zero(negative);
    }
    if !a.is_normal() {
        return F32::infinity(negative);
    }
    let v = unpack(a);
    let divisor = v.significand >> 40;
    let quotient = (1 << 62) / divisor;
    let shift = quotient.leading_zeros();
    // The quotient is 2^62 / (m * 2^23) for a significand m in [1, 2): 2^39 if m is one, else below.
    pack_approximation(negative, -v.exponent + 24 - shift as i32, quotient << shift)
}

/// RSQRTSS: about `1 / sqrt(a)`; the real indefinite for negative operands.
pub fn rsqrt(a: F32) -> F32 {
    if a.is_nan() {
        return a.quieted();
    }
    if !a.is_normal() && !a.is_infinite() {
        return F32::infinity(a.is_negative());
    }
    if a.is_negative() {
        return F32::indefinite();
    }
    if a.is_infinite() {
        return F32::zero(false);
    }
    let v = unpack(a);
    // a = m * 4^k with m in [1, 4), as r = m * 2^61; 2^62 / sqrt(r * 2) = 2^31 / sqrt(m), then squared up.
    let odd = v.exponent & 1 != 0;
    let radicand = if odd {
        v.significand
    } else {
        v.significand >> 1
    };
    let root = radicand.isqrt();
    let quotient = ((1u128 << 94) / u128::from(root)) as u64;
    let shift = quotient.leading_zeros();
    // root = sqrt(m) * 2^31, so quotient = 2^63 / sqrt(m), in (2^62, 2^63].
    pack_approximation(false, -(v.exponent >> 1) - shift as i32, quotient << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(f: fn(F32) -> F32, exact: fn(f64) -> f64) {
        let mut bits = 0x0080_0000u32;
        while bits < 0x7f80_0000 {
            let x = f64::from(f32::from_bits(bits));
            let (got, want) = (f64::from(f32::from_bits(f(F32(bits)).0)), exact(x));
            if want >= f64::from(f32::MIN_POSITIVE) {
                assert!(
                    ((got - want) / want).abs() <= 1.5 / 4096.0,
                    "{bits:#x}: {got} for {want}"
                );
            } else {
                assert_eq!(got, 0.0);
            }
            bits += 4001;
        }
    }

    #[test]
    fn errors_stay_in_the_documented_bound() {
        check(rcp, |x| 1.0 / x);
        check(rsqrt, |x| 1.0 / x.sqrt());
    }

    #[test]
    fn powers_of_two_are_exact() {
        assert_eq!(rcp(F32(0x3f80_0000)), F32(0x3f80_0000));
        assert_eq!(rcp(F32(0xc000_0000)), F32(0xbf00_0000));
        assert_eq!(rsqrt(F32(0x4080_0000)), F32(0x3f00_0000));
    }
}
