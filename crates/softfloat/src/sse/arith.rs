//! ADDSS, SUBSS, MULSS, DIVSS, SQRTSS, MINSS, MAXSS and their double and packed forms.

use super::format::{Format, round_pack, unpack};
use crate::wide::{high_jam, shift_right_jam64};
use crate::{Env, Flags};

/// The NaN result of a two-operand operation, if an operand is a NaN (SDM Vol. 1, table 4-7, SSE column): the first operand
/// that is a NaN, quieted.
#[inline]
fn nan_result<F: Format>(env: &mut Env, a: F, b: F) -> Option<F> {
    if !a.is_nan() && !b.is_nan() {
        return None;
    }
    if a.is_signaling() || b.is_signaling() {
        env.raise(Flags::IE);
    }
    Some(if a.is_nan() { a.quieted() } else { b.quieted() })
}

/// Raises DE for denormal operands; true if the operation ends there.
#[inline]
pub(super) fn denormal_operand<F: Format>(env: &mut Env, a: F, b: F) -> bool {
    (a.is_denormal() || b.is_denormal()) && env.raise(Flags::DE)
}

fn invalid<F: Format>(env: &mut Env) -> F {
    env.raise(Flags::IE);
    F::indefinite()
}

/// ADDSS/ADDSD.
#[inline]
pub fn add<F: Format>(env: &mut Env, a: F, b: F) -> F {
    if a.is_normal() && b.is_normal() {
        return add_finite(env, a, b);
    }
    add_special(env, a, b, 0)
}

/// SUBSS/SUBSD.
#[inline]
pub fn sub<F: Format>(env: &mut Env, a: F, b: F) -> F {
    if a.is_normal() && b.is_normal() {
        return add_finite(env, a, F::from_low_bits(b.bits() ^ F::SIGN));
    }
    add_special(env, a, b, F::SIGN)
}

/// Sum with `flip` xor-ed into `b`, which must not touch a NaN: subtraction.
fn add_special<F: Format>(env: &mut Env, a: F, b: F, flip: u64) -> F {
    let (a, b) = (a.under_daz(env), b.under_daz(env));
    if let Some(nan) = nan_result(env, a, b) {
        return nan;
    }
    let b = F::from_low_bits(b.bits() ^ flip);
    if a.is_infinite() && b.is_infinite() && a != b {
        return invalid(env);
    }
    if denormal_operand(env, a, b) {
        return F::indefinite();
    }
    if a.is_infinite() {
        return a;
    }
    if b.is_infinite() {
        return b;
    }
    match (a.is_zero(), b.is_zero()) {
        (true, true) if a == b => a,
        (true, true) => F::zero(env.rounding == crate::Rounding::Down),
        // A denormal operand returned as it is can still be flushed or underflow.
        (true, false) => repack(env, b),
        (false, true) => repack(env, a),
        (false, false) => add_finite(env, a, b),
    }
}

fn repack<F: Format>(env: &mut Env, value: F) -> F {
    let v = unpack(value);
    round_pack(env, v.negative, v.exponent, v.significand)
}

#[inline]
fn add_finite<F: Format>(env: &mut Env, a: F, b: F) -> F {
    let (a, b) = if a.magnitude() >= b.magnitude() {
        (a, b)
    } else {
        (b, a)
    };
    let (a, b) = (unpack(a), unpack(b));
    // One bit of headroom for the carry; ten guard bits or more remain below either significand.
    let high = a.significand >> 1;
    let low = shift_right_jam64(b.significand >> 1, (a.exponent - b.exponent) as u32);
    let sum = if a.negative == b.negative {
        high + low
    } else {
        high - low
    };
    if sum == 0 {
        return F::zero(env.rounding == crate::Rounding::Down);
    }
    let shift = sum.leading_zeros();
    round_pack(env, a.negative, a.exponent + 1 - shift as i32, sum << shift)
}

/// MULSS/MULSD.
#[inline]
pub fn mul<F: Format>(env: &mut Env, a: F, b: F) -> F {
    if a.is_normal() && b.is_normal() {
        return mul_finite(env, a, b);
    }
    mul_special(env, a, b)
}

fn mul_special<F: Format>(env: &mut Env, a: F, b: F) -> F {
    let (a, b) = (a.under_daz(env), b.under_daz(env));
    if let Some(nan) = nan_result(env, a, b) {
        return nan;
    }
    if a.is_infinite() && b.is_zero() || a.is_zero() && b.is_infinite() {
        return invalid(env);
    }
    if denormal_operand(env, a, b) {
        return F::indefinite();
    }
    let negative = a.is_negative() != b.is_negative();
    if a.is_infinite() || b.is_infinite() {
        return F::infinity(negative);
    }
    if a.is_zero() || b.is_zero() {
        return F::zero(negative);
    }
    mul_finite(env, a, b)
}

#[inline]
fn mul_finite<F: Format>(env: &mut Env, a: F, b: F) -> F {
    let (a, b) = (unpack(a), unpack(b));
    let product = high_jam(u128::from(a.significand) * u128::from(b.significand));
    let shift = product.leading_zeros();
    round_pack(
        env,
        a.negative != b.negative,
        a.exponent + b.exponent + 1 - shift as i32,
        product << shift,
    )
}

/// DIVSS/DIVSD.
#[inline]
pub fn div<F: Format>(env: &mut Env, a: F, b: F) -> F {
    if a.is_normal() && b.is_normal() {
        return div_finite(env, a, b);
    }
    div_special(env, a, b)
}

fn div_special<F: Format>(env: &mut Env, a: F, b: F) -> F {
    let (a, b) = (a.under_daz(env), b.under_daz(env));
    if let Some(nan) = nan_result(env, a, b) {
        return nan;
    }
    let negative = a.is_negative() != b.is_negative();
    if a.is_infinite() && b.is_infinite() || a.is_zero() && b.is_zero() {
        return invalid(env);
    }
    if b.is_zero() && !a.is_infinite() {
        env.raise(Flags::ZE);
        return F::infinity(negative);
    }
    if denormal_operand(env, a, b) {
        return F::indefinite();
    }
    if a.is_infinite() {
        return F::infinity(negative);
    }
    if a.is_zero() || b.is_infinite() {
        return F::zero(negative);
    }
    div_finite(env, a, b)
}

#[inline]
fn div_finite<F: Format>(env: &mut Env, a: F, b: F) -> F {
    let (a, b) = (unpack(a), unpack(b));
    let quotient = if F::FRACTION < 32 {
        // Both significands have 24 bits: a 64-bit division gives 40 bits of quotient or more.
        let divisor = b.significand >> 40;
        ((a.significand / divisor) << 23) | u64::from(a.significand % divisor != 0)
    } else {
        let dividend = u128::from(a.significand) << 63;
        let divisor = u128::from(b.significand);
        (dividend / divisor) as u64 | u64::from(dividend % divisor != 0)
    };
    let shift = quotient.leading_zeros();
    round_pack(
        env,
        a.negative != b.negative,
        a.exponent - b.exponent - shift as i32,
        quotient << shift,
    )
}

/// SQRTSS/SQRTSD.
pub fn sqrt<F: Format>(env: &mut Env, a: F) -> F {
    let a = a.under_daz(env);
    if !a.is_normal() || a.is_negative() {
        if a.is_nan() {
            if a.is_signaling() {
                env.raise(Flags::IE);
            }
            return a.quieted();
        }
        if a.is_zero() {
            return a;
        }
        if a.is_negative() {
            return invalid(env);
        }
        if a.is_infinite() || denormal_operand(env, a, a) {
            return a;
        }
    }
    let v = unpack(a);
    let odd = v.exponent & 1 != 0;
    let root = if F::FRACTION < 32 {
        let radicand = if odd {
            v.significand
        } else {
            v.significand >> 1
        };
        let root = radicand.isqrt();
        root << 32 | u64::from(root * root != radicand)
    } else {
        let radicand = u128::from(v.significand) << if odd { 64 } else { 63 };
        let root = radicand.isqrt();
        root as u64 | u64::from(root * root != radicand)
    };
    round_pack(env, false, v.exponent >> 1, root)
}

/// The rule MINSS and MAXSS share: with a NaN, or with two zeros, the second operand.
#[inline]
fn select<F: Format>(env: &mut Env, a: F, b: F, first: fn(i64, i64) -> bool) -> F {
    let (a, b) = (a.under_daz(env), b.under_daz(env));
    if a.is_nan() || b.is_nan() {
        env.raise(Flags::IE);
        return b;
    }
    if denormal_operand(env, a, b) {
        return b;
    }
    if first(order_key(a), order_key(b)) {
        a
    } else {
        b
    }
}

/// A signed integer ordered as the numbers are; both zeros give 0.
#[inline]
pub(super) fn order_key<F: Format>(value: F) -> i64 {
    let magnitude = value.magnitude() as i64;
    if value.is_negative() {
        -magnitude
    } else {
        magnitude
    }
}

/// MINSS/MINSD.
pub fn min<F: Format>(env: &mut Env, a: F, b: F) -> F {
    select(env, a, b, |a, b| a < b)
}

/// MAXSS/MAXSD.
pub fn max<F: Format>(env: &mut Env, a: F, b: F) -> F {
    select(env, a, b, |a, b| a > b)
}
