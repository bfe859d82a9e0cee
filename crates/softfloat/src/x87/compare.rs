//! FCOM, FUCOM, FCOMI, FUCOMI, FTST and FICOM (SDM Vol. 1, 8.1.4 and 8.3.6).
//!
//! With IE unmasked the SDM leaves the condition codes as they were; AMD's chips set them nevertheless (seen on family 19h), and
//! likewise with DE unmasked. The result here is the outcome in any case; the caller decides.

use super::round::Operand;
use crate::{Class, Env, F80, Flags, Ordering4};

/// FUCOM, FUCOMI: quiet NaNs are compared without an exception.
pub fn compare_quiet(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> Ordering4 {
    compare(env, a.into(), b.into(), false)
}

/// FCOM, FCOMI, FTST (with [`F80::ZERO`]), FICOM: any NaN is invalid.
pub fn compare_signaling(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> Ordering4 {
    compare(env, a.into(), b.into(), true)
}

fn compare(env: &mut Env, a: Operand, b: Operand, signaling: bool) -> Ordering4 {
    env.roundup = false;
    let denormal = a.is_denormal() || b.is_denormal();
    let (a, b) = (a.value, b.value);
    let (ca, cb) = (a.class(), b.class());
    if ca == Class::Unsupported || cb == Class::Unsupported {
        env.raise(Flags::IE);
        return Ordering4::Unordered;
    }
    if ca == Class::Nan || cb == Class::Nan {
        if signaling || a.is_signaling() || b.is_signaling() {
            env.raise(Flags::IE);
        }
        return Ordering4::Unordered;
    }
    if denormal {
        env.raise(Flags::DE);
    }
    match order_key(a).cmp(&order_key(b)) {
        std::cmp::Ordering::Less => Ordering4::Less,
        std::cmp::Ordering::Equal => Ordering4::Equal,
        std::cmp::Ordering::Greater => Ordering4::Greater,
    }
}

/// An integer ordered as the numbers are; both zeros give 0, a pseudo-denormal counts as the normal number it equals.
fn order_key(a: F80) -> i128 {
    let exponent = a.exponent().max((a.significand >> 63) as u16);
    let magnitude = i128::from(exponent) << 64 | i128::from(a.significand);
    if a.is_negative() {
        -magnitude
    } else {
        magnitude
    }
}
