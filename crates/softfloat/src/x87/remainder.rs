//! FPREM, FPREM1, FRNDINT, FSCALE and FXTRACT: exact or nearly so, and not subject to precision control.

use super::convert::{from_i64, from_magnitude, to_integral};
use super::round::{
    denormal_operand, denormal_operands, invalid, round_pack, special_operand, special_operands,
    unpack,
};
use crate::sse::Unpacked;
use crate::{Class, Env, F80, Flags, Precision};

/// What FPREM and FPREM1 leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remainder {
    /// The new ST(0).
    pub value: F80,
    /// C2: the reduction is not complete, the instruction is to be run again.
    pub partial: bool,
    /// The three low bits of the quotient: bit 2 goes to C0, bit 1 to C3, bit 0 to C1. Zero while the reduction is partial.
    pub quotient: u8,
}

impl Remainder {
    fn complete(value: F80) -> Remainder {
        Remainder {
            value,
            partial: false,
            quotient: 0,
        }
    }
}

/// FPREM: the remainder of the division truncated (the sign of ST(0) stays).
pub fn prem(env: &mut Env, st0: F80, st1: F80) -> Remainder {
    remainder(env, st0, st1, false)
}

/// FPREM1: the remainder of the division rounded to the nearest (IEEE 754).
pub fn prem1(env: &mut Env, st0: F80, st1: F80) -> Remainder {
    remainder(env, st0, st1, true)
}

fn remainder(env: &mut Env, st0: F80, st1: F80, nearest: bool) -> Remainder {
    env.roundup = false;
    if let Some(value) = special_operands(env, st0, st1) {
        return Remainder::complete(value);
    }
    if st0.class() == Class::Infinity || st1.class() == Class::Zero {
        return Remainder::complete(invalid(env));
    }
    if denormal_operands(env, st0, st1) {
        return Remainder::complete(F80::INDEFINITE);
    }
    if st0.class() == Class::Zero {
        return Remainder::complete(st0);
    }
    let a = unpack(st0);
    if st1.class() == Class::Infinity {
        return unchanged(env, a);
    }
    reduce(env, a, unpack(st1), nearest)
}

/// The dividend itself: exact, though it can be tiny.
fn unchanged(env: &mut Env, a: Unpacked) -> Remainder {
    let (exponent, significand) = (a.exponent, a.significand);
    Remainder::complete(round_pack(
        env,
        a.negative,
        exponent,
        significand,
        0,
        Precision::Extended,
    ))
}

/// The remainder of finite numbers that are not zero.
fn reduce(env: &mut Env, a: Unpacked, b: Unpacked, nearest: bool) -> Remainder {
    let distance = a.exponent - b.exponent;
    if distance < -1 || distance < 0 && !nearest {
        return unchanged(env, a);
    }
    let partial = distance >= 64;
    // A partial step takes N bits off the distance, 32 <= N <= 63 (SDM Vol. 2A, FPREM). Chips choose N so that the distance
    // that remains is a multiple of 32.
    let step = if partial {
        (distance & 31) | 32
    } else {
        distance.max(0)
    } as u32;
    // Significands are scaled so that both stand on the exponent of b (or, in a partial step, that much above it).
    let (mut quotient, mut rest) = if distance < 0 {
        (0u64, u128::from(a.significand))
    } else {
        let dividend = u128::from(a.significand) << step;
        let divisor = u128::from(b.significand);
        ((dividend / divisor) as u64, dividend % divisor)
    };
    let mut exponent = if partial {
        b.exponent + (distance - step as i32)
    } else {
        b.exponent
    };
    // With a distance of -1 the rest is measured in halves of b's last place.
    let divisor = u128::from(b.significand) << u32::from(distance < 0);
    if distance < 0 {
        exponent -= 1;
    }
    let mut negative = a.negative;
    if nearest && !partial {
        let other = divisor - rest;
        if rest > other || rest == other && quotient & 1 != 0 {
            rest = other;
            quotient = quotient.wrapping_add(1);
            negative = !negative;
        }
    }
    let value = if rest == 0 {
        F80::zero(a.negative)
    } else {
        let shift = rest.leading_zeros();
        let significand = ((rest << shift) >> 64) as u64;
        round_pack(
            env,
            negative,
            exponent + 64 - shift as i32,
            significand,
            0,
            Precision::Extended,
        )
    };
    Remainder {
        value,
        partial,
        quotient: if partial { 0 } else { quotient as u8 & 7 },
    }
}

/// FRNDINT.
pub fn rndint(env: &mut Env, a: F80) -> F80 {
    env.roundup = false;
    if let Some(result) = special_operand(env, a) {
        return result;
    }
    if a.class() == Class::Infinity || a.class() == Class::Zero || denormal_operand(env, a) {
        return a;
    }
    match to_integral(env, a) {
        Some((magnitude, up, false)) => {
            env.raise(Flags::PE);
            env.roundup = up;
            from_magnitude(a.is_negative(), magnitude)
        }
        _ => a,
    }
}

/// FSCALE: `st0 * 2^trunc(st1)`.
pub fn scale(env: &mut Env, st0: F80, st1: F80) -> F80 {
    env.roundup = false;
    if let Some(result) = special_operands(env, st0, st1) {
        return result;
    }
    let negative = st0.is_negative();
    match (st0.class(), st1.class(), st1.is_negative()) {
        (Class::Infinity, Class::Infinity, true) | (Class::Zero, Class::Infinity, false) => {
            return invalid(env);
        }
        _ => {}
    }
    if denormal_operands(env, st0, st1) {
        return F80::INDEFINITE;
    }
    match (st0.class(), st1.class()) {
        (Class::Infinity | Class::Zero, _) => return st0,
        (_, Class::Infinity) if st1.is_negative() => return F80::zero(negative),
        (_, Class::Infinity) => return F80::infinity(negative),
        _ => {}
    }
    let a = unpack(st0);
    let by = match st1.class() {
        Class::Zero => 0,
        _ => {
            let b = unpack(st1);
            match b.exponent {
                ..=-1 => 0,
                0..=16 => (b.significand >> (63 - b.exponent)) as i32,
                _ => 1 << 17,
            }
        }
    };
    let by = if st1.is_negative() { -by } else { by };
    round_pack(
        env,
        negative,
        a.exponent + by,
        a.significand,
        0,
        Precision::Extended,
    )
}

/// FXTRACT: the exponent (the new ST(1)) and the significand (the new ST(0)).
pub fn xtract(env: &mut Env, a: F80) -> (F80, F80) {
    env.roundup = false;
    if let Some(result) = special_operand(env, a) {
        return (result, result);
    }
    match a.class() {
        Class::Infinity => return (F80::INFINITY, a),
        Class::Zero => {
            env.raise(Flags::ZE);
            return (F80::infinity(true), a);
        }
        _ => {}
    }
    denormal_operand(env, a);
    let v = unpack(a);
    (
        from_i64(i64::from(v.exponent)),
        F80::from_parts(v.negative, super::round::BIAS as u16, v.significand),
    )
}
