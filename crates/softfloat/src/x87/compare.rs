//! FCOM, FUCOM, FCOMI, FUCOMI, FTST and FICOM (SDM Vol. 1, 8.1.4 and 8.3.6).

use super::round::denormal_operands;
use crate::{Class, Env, F80, Flags, Ordering4};

/// FUCOM, FUCOMI: quiet NaNs are compared without an exception.
pub fn compare_quiet(env: &mut Env, a: F80, b: F80) -> Ordering4 {
    compare(env, a, b, false)
}

/// FCOM, FCOMI, FTST (with [`F80::ZERO`]), FICOM: any NaN is invalid.
pub fn compare_signaling(env: &mut Env, a: F80, b: F80) -> Ordering4 {
    compare(env, a, b, true)
}

fn compare(env: &mut Env, a: F80, b: F80, signaling: bool) -> Ordering4 {
    env.roundup = false;
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
    denormal_operands(env, a, b);
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
