//! FADD, FSUB, FMUL, FDIV and FSQRT: the five that obey precision control (SDM Vol. 1, 8.1.5.2).

use super::round::{
    Operand, denormal_operand, invalid, round_pack, special_operand, special_operands, unpack,
};
use crate::sse::Unpacked;
use crate::wide::shift_right_jam128;
use crate::{Class, Env, F80, Flags, Rounding};

fn is_infinite(a: F80) -> bool {
    a.class() == Class::Infinity
}

fn is_zero(a: F80) -> bool {
    a.class() == Class::Zero
}

/// FADD.
#[inline]
pub fn add(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> F80 {
    let (a, b) = (a.into(), b.into());
    if a.is_normal() && b.is_normal() {
        return add_finite(env, unpack_normal(a.value), unpack_normal(b.value));
    }
    add_special(env, a, b, false)
}

/// FSUB: `a - b`.
#[inline]
pub fn sub(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> F80 {
    let (a, b) = (a.into(), b.into());
    if a.is_normal() && b.is_normal() {
        return add_finite(env, unpack_normal(a.value), unpack_normal(b.value.negate()));
    }
    add_special(env, a, b, true)
}

#[inline]
fn unpack_normal(a: F80) -> Unpacked {
    Unpacked {
        negative: a.is_negative(),
        exponent: i32::from(a.exponent()) - super::round::BIAS,
        significand: a.significand,
    }
}

fn add_special(env: &mut Env, a: Operand, b: Operand, negate: bool) -> F80 {
    env.roundup = false;
    let denormal = a.is_denormal() || b.is_denormal();
    let (a, b) = (a.value, b.value);
    if let Some(result) = special_operands(env, a, b) {
        return result;
    }
    let b = if negate { b.negate() } else { b };
    if is_infinite(a) && is_infinite(b) && a != b {
        return invalid(env);
    }
    if denormal && env.raise(Flags::DE) {
        return F80::INDEFINITE;
    }
    if is_infinite(a) {
        return a;
    }
    if is_infinite(b) {
        return b;
    }
    match (is_zero(a), is_zero(b)) {
        (true, true) if a == b => a,
        (true, true) => F80::zero(env.rounding == Rounding::Down),
        (true, false) => repack(env, b),
        (false, true) => repack(env, a),
        (false, false) => add_finite(env, unpack(a), unpack(b)),
    }
}

/// A finite operand as the result: rounded to the precision.
fn repack(env: &mut Env, a: F80) -> F80 {
    let v = unpack(a);
    round_pack(env, v.negative, v.exponent, v.significand, 0, env.precision)
}

#[inline]
fn add_finite(env: &mut Env, a: Unpacked, b: Unpacked) -> F80 {
    let (a, b) = if (a.exponent, a.significand) >= (b.exponent, b.significand) {
        (a, b)
    } else {
        (b, a)
    };
    let high = u128::from(a.significand) << 63;
    let low = shift_right_jam128(
        u128::from(b.significand) << 63,
        (a.exponent - b.exponent) as u32,
    );
    let sum = if a.negative == b.negative {
        high + low
    } else {
        high - low
    };
    if sum == 0 {
        env.roundup = false;
        return F80::zero(env.rounding == Rounding::Down);
    }
    let shift = sum.leading_zeros();
    let sum = sum << shift;
    round_pack(
        env,
        a.negative,
        a.exponent + 1 - shift as i32,
        (sum >> 64) as u64,
        sum as u64,
        env.precision,
    )
}

/// FMUL.
#[inline]
pub fn mul(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> F80 {
    let (a, b) = (a.into(), b.into());
    if a.is_normal() && b.is_normal() {
        return mul_finite(env, unpack_normal(a.value), unpack_normal(b.value));
    }
    mul_special(env, a, b)
}

fn mul_special(env: &mut Env, a: Operand, b: Operand) -> F80 {
    env.roundup = false;
    let denormal = a.is_denormal() || b.is_denormal();
    let (a, b) = (a.value, b.value);
    if let Some(result) = special_operands(env, a, b) {
        return result;
    }
    if is_infinite(a) && is_zero(b) || is_zero(a) && is_infinite(b) {
        return invalid(env);
    }
    if denormal && env.raise(Flags::DE) {
        return F80::INDEFINITE;
    }
    let negative = a.is_negative() != b.is_negative();
    if is_infinite(a) || is_infinite(b) {
        return F80::infinity(negative);
    }
    if is_zero(a) || is_zero(b) {
        return F80::zero(negative);
    }
    mul_finite(env, unpack(a), unpack(b))
}

#[inline]
fn mul_finite(env: &mut Env, a: Unpacked, b: Unpacked) -> F80 {
    let product = u128::from(a.significand) * u128::from(b.significand);
    let shift = product.leading_zeros();
    let product = product << shift;
    let exponent = a.exponent + b.exponent + 1 - shift as i32;
    round_pack(
        env,
        a.negative != b.negative,
        exponent,
        (product >> 64) as u64,
        product as u64,
        env.precision,
    )
}

/// FDIV: `a / b`.
#[inline]
pub fn div(env: &mut Env, a: impl Into<Operand>, b: impl Into<Operand>) -> F80 {
    let (a, b) = (a.into(), b.into());
    if a.is_normal() && b.is_normal() {
        return div_finite(env, unpack_normal(a.value), unpack_normal(b.value));
    }
    div_special(env, a, b)
}

fn div_special(env: &mut Env, a: Operand, b: Operand) -> F80 {
    env.roundup = false;
    let denormal = a.is_denormal() || b.is_denormal();
    let (a, b) = (a.value, b.value);
    if let Some(result) = special_operands(env, a, b) {
        return result;
    }
    let negative = a.is_negative() != b.is_negative();
    if is_infinite(a) && is_infinite(b) || is_zero(a) && is_zero(b) {
        return invalid(env);
    }
    if is_zero(b) && !is_infinite(a) {
        env.raise(Flags::ZE);
        return F80::infinity(negative);
    }
    if denormal && env.raise(Flags::DE) {
        return F80::INDEFINITE;
    }
    if is_infinite(a) {
        return F80::infinity(negative);
    }
    if is_zero(a) || is_infinite(b) {
        return F80::zero(negative);
    }
    div_finite(env, unpack(a), unpack(b))
}

#[inline]
fn div_finite(env: &mut Env, a: Unpacked, b: Unpacked) -> F80 {
    // The dividend is halved where needed, so that the quotient lies in [2^63, 2^64).
    let below = a.significand < b.significand;
    let divisor = u128::from(b.significand);
    let dividend = u128::from(a.significand) << if below { 64 } else { 63 };
    let quotient = (dividend / divisor) as u64;
    let remainder = (dividend % divisor) as u64;
    // One more bit of the quotient, and a trace of the rest.
    let half = remainder >= b.significand - remainder;
    let trace = remainder != 0 && remainder != b.significand - remainder;
    let low = u64::from(half) << 63 | u64::from(trace);
    let exponent = a.exponent - b.exponent - i32::from(below);
    round_pack(
        env,
        a.negative != b.negative,
        exponent,
        quotient,
        low,
        env.precision,
    )
}

/// FSQRT.
pub fn sqrt(env: &mut Env, a: F80) -> F80 {
    env.roundup = false;
    if let Some(result) = special_operand(env, a) {
        return result;
    }
    if is_zero(a) {
        return a;
    }
    if a.is_negative() {
        return invalid(env);
    }
    if is_infinite(a) || denormal_operand(env, a) {
        return a;
    }
    let v = unpack(a);
    let radicand = u128::from(v.significand) << if v.exponent & 1 != 0 { 64 } else { 63 };
    let root = radicand.isqrt();
    let remainder = radicand - root * root;
    // (root + 1/2)^2 = root^2 + root + 1/4: never hit exactly.
    let low = u64::from(remainder > root) << 63 | u64::from(remainder != 0);
    round_pack(env, false, v.exponent >> 1, root as u64, low, env.precision)
}
