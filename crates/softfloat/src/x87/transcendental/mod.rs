//! FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X and FYL2XP1 (SDM Vol. 1, 8.3.7 to 8.3.10; special cases: the tables of
//! their pages in Vol. 2A).
//!
//! Chips answer within one unit in the last place, and not all with the same bits. Here the exact value is rounded as RC tells
//! (in all but about one case in 2^55, by the width of what is
//! computed), so that a chip's answer is at most one unit away. Precision control does not apply.
//!
//! One error of the chips is kept, as guests compare with chips: arguments of FSIN, FCOS, FSINCOS and FPTAN above pi/4 are
//! reduced with a pi of 66 bits (SDM Vol. 1, 8.3.8). Near multiples of pi the answer is the exact function of an argument that
//! is off by about 2^-67 of the quotient.

mod series;
mod wide;

use super::round::{
    BIAS, denormal_operand, denormal_operands, invalid, round_pack, special_operand,
    special_operands, unpack,
};
use crate::{Class, Env, F80, Flags, Precision};
use wide::Wide;

/// Rounds a result; `exact` if there is nothing below its 128 bits.
fn finish(env: &mut Env, value: Wide, exact: bool) -> F80 {
    let (high, low) = (
        (value.significand >> 64) as u64,
        value.significand as u64 | u64::from(!exact),
    );
    if high == 0 {
        return F80::zero(value.negative);
    }
    round_pack(
        env,
        value.negative,
        value.exponent,
        high,
        low,
        Precision::Extended,
    )
}

/// An angle reduced to a multiple of pi/2 and a rest of at most pi/4.
struct Angle {
    negative: bool,
    quadrant: u8,
    rest: Wide,
}

/// pi to 66 bits, as a multiple of 2^-64 (SDM Vol. 1, 8.3.8).
const PI_66: u128 = 0x3_243f_6a88_85a3_08d3;

/// The operand of a trigonometric instruction that is a finite number below 2^63, not zero. Else: its result, or None for an
/// operand out of range.
fn angle(env: &mut Env, a: F80, of_zero: F80) -> Result<Angle, Option<F80>> {
    env.roundup = false;
    if let Some(result) = special_operand(env, a) {
        return Err(Some(result));
    }
    match a.class() {
        Class::Infinity => return Err(Some(invalid(env))),
        Class::Zero => return Err(Some(of_zero)),
        _ => {}
    }
    if i32::from(a.exponent()) >= BIAS + 63 {
        return Err(None);
    }
    if denormal_operand(env, a) {
        return Err(Some(F80::INDEFINITE));
    }
    let v = unpack(a);
    let mut rest = Wide::from_unpacked(v).negate_if(v.negative);
    let mut quadrant = 0;
    if v.exponent >= -1 {
        // In units of 2^-65, of which pi/2 has PI_66: exact.
        let scaled = u128::from(v.significand) << (v.exponent + 2);
        let (quotient, remainder) = (scaled / PI_66, scaled % PI_66);
        let up = remainder > PI_66 / 2;
        quadrant = (quotient as u8).wrapping_add(u8::from(up)) & 3;
        rest = Wide::from_integer(up, if up { PI_66 - remainder } else { remainder }, -65);
    }
    Ok(Angle {
        negative: v.negative,
        quadrant,
        rest,
    })
}

impl Angle {
    fn sin(&self) -> Wide {
        let value = if self.quadrant & 1 == 0 {
            series::sin(self.rest)
        } else {
            series::cos(self.rest)
        };
        value.negate_if(self.negative != (self.quadrant >= 2))
    }

    fn cos(&self) -> Wide {
        let value = if self.quadrant & 1 == 0 {
            series::cos(self.rest)
        } else {
            series::sin(self.rest)
        };
        value.negate_if(matches!(self.quadrant, 1 | 2))
    }
}

/// FSIN; None (C2 set, nothing changed) where |a| is 2^63 or more.
pub fn sin(env: &mut Env, a: F80) -> Option<F80> {
    match angle(env, a, a) {
        Ok(angle) => Some(finish(env, angle.sin(), false)),
        Err(result) => result,
    }
}

/// FCOS; None (C2 set, nothing changed) where |a| is 2^63 or more.
pub fn cos(env: &mut Env, a: F80) -> Option<F80> {
    match angle(env, a, F80::ONE) {
        Ok(angle) => Some(finish(env, angle.cos(), false)),
        Err(result) => result,
    }
}

/// FSINCOS: sine (the new ST(1)) and cosine (the new ST(0)); None (C2 set, nothing changed) where |a| is 2^63 or more.
pub fn sincos(env: &mut Env, a: F80) -> Option<(F80, F80)> {
    match angle(env, a, a) {
        Ok(angle) => {
            // C1 tells of the sine.
            let cos = finish(env, angle.cos(), false);
            Some((finish(env, angle.sin(), false), cos))
        }
        Err(Some(zero)) if zero.class() == Class::Zero => Some((zero, F80::ONE)),
        Err(result) => result.map(|result| (result, result)),
    }
}

/// FPTAN: the tangent (the new ST(1)); the caller pushes 1.0, or the same NaN when the result is one. None (C2 set, nothing
/// changed) where |a| is 2^63 or more.
pub fn tan(env: &mut Env, a: F80) -> Option<F80> {
    match angle(env, a, a) {
        Ok(angle) => Some(finish(env, angle.sin().div(angle.cos()), false)),
        Err(result) => result,
    }
}

/// FPATAN: arctan(y / x) in the quadrant of the point, with y = ST(1), x = ST(0).
pub fn patan(env: &mut Env, y: F80, x: F80) -> F80 {
    env.roundup = false;
    if let Some(result) = special_operands(env, x, y) {
        return result;
    }
    if denormal_operands(env, x, y) {
        return F80::INDEFINITE;
    }
    let negative = y.is_negative();
    let behind = x.is_negative();
    let pi_times = |quarters: u128| series::PI.mul(Wide::from_integer(false, quarters, -2));
    let magnitude = match (y.class(), x.class()) {
        (Class::Infinity, Class::Infinity) => pi_times(if behind { 3 } else { 1 }),
        (Class::Zero, _) | (_, Class::Infinity) if !behind => return F80::zero(negative),
        (Class::Zero, _) | (_, Class::Infinity) => series::PI,
        (Class::Infinity, _) | (_, Class::Zero) => pi_times(2),
        _ => {
            let (y, x) = (
                Wide::from_unpacked(unpack(y.abs())),
                Wide::from_unpacked(unpack(x.abs())),
            );
            if (y.exponent, y.significand) > (x.exponent, x.significand) {
                pi_times(2).add(series::atan(x, y).negate_if(!behind))
            } else if behind {
                series::PI.add(series::atan(y, x).negate_if(true))
            } else {
                series::atan(y, x)
            }
        }
    };
    finish(env, magnitude.negate_if(negative), false)
}

/// F2XM1: 2^a - 1, for a from -1 to 1. Beyond that the SDM leaves the result undefined; chips were seen to
/// leave `a`, which holds here.
pub fn f2xm1(env: &mut Env, a: F80) -> F80 {
    env.roundup = false;
    if let Some(result) = special_operand(env, a) {
        return result;
    }
    match a.class() {
        Class::Infinity if a.is_negative() => return F80::ONE.negate(),
        Class::Infinity | Class::Zero => return a,
        _ => {}
    }
    if denormal_operand(env, a) {
        return F80::INDEFINITE;
    }
    let v = unpack(a);
    if v.exponent >= 0 {
        // PE even for the exact results of -1 and 1, as chips do.
        env.raise(Flags::PE);
        return if a == F80::ONE.negate() {
            F80::from_parts(true, BIAS as u16 - 1, F80::INTEGER)
        } else {
            a
        };
    }
    finish(env, series::exp2_minus_1(Wide::from_unpacked(v)), false)
}

/// FYL2X: y * log2(x), with y = ST(1), x = ST(0).
pub fn yl2x(env: &mut Env, y: F80, x: F80) -> F80 {
    env.roundup = false;
    if let Some(result) = special_operands(env, x, y) {
        return result;
    }
    let (cx, cy) = (x.class(), y.class());
    if x.is_negative() && cx != Class::Zero {
        return invalid(env);
    }
    let one = Wide::ONE;
    let v = if matches!(cx, Class::Normal | Class::Denormal) {
        Wide::from_unpacked(unpack(x))
    } else {
        one
    };
    let is_one = cx == Class::Normal && v.exponent == 0 && v.significand == one.significand;
    let below_one = cx == Class::Zero || v.exponent < 0;
    match (cx, cy) {
        (Class::Zero | Class::Infinity, Class::Zero) => return invalid(env),
        (_, Class::Infinity) if is_one => return invalid(env),
        (Class::Zero, Class::Normal | Class::Denormal) => {
            env.raise(Flags::ZE);
            return F80::infinity(!y.is_negative());
        }
        _ => {}
    }
    if denormal_operands(env, x, y) {
        return F80::INDEFINITE;
    }
    let negative = y.is_negative() != below_one;
    if cx == Class::Infinity || cy == Class::Infinity || cx == Class::Zero {
        return F80::infinity(negative);
    }
    if cy == Class::Zero || is_one {
        return F80::zero(negative);
    }
    logarithm(env, series::log2(v), y)
}

/// The logarithm times y. Chips raise PE (and UE, if it is tiny) even where the product is exact, that is for powers of two.
fn logarithm(env: &mut Env, logarithm: series::Log2, y: F80) -> F80 {
    let product = logarithm.value.mul(Wide::from_unpacked(unpack(y)));
    let result = finish(env, product, logarithm.exact);
    env.raise(if result.exponent() == 0 {
        Flags::UE | Flags::PE
    } else {
        Flags::PE
    });
    result
}

/// FYL2XP1: y * log2(x + 1), with y = ST(1), x = ST(0). The SDM leaves the result undefined where the magnitude of x is above
/// 1 - sqrt(1/2); here the formula holds above -1, and what is below stays, as chips were seen to do.
pub fn yl2xp1(env: &mut Env, y: F80, x: F80) -> F80 {
    env.roundup = false;
    if let Some(result) = special_operands(env, x, y) {
        return result;
    }
    let (cx, cy) = (x.class(), y.class());
    match (cx, cy) {
        (Class::Zero, Class::Infinity) | (Class::Infinity, Class::Zero) => return invalid(env),
        (Class::Infinity, _) if x.is_negative() => return invalid(env),
        _ => {}
    }
    if denormal_operands(env, x, y) {
        return F80::INDEFINITE;
    }
    let negative = y.is_negative() != x.is_negative();
    if cx == Class::Infinity || cy == Class::Infinity {
        return F80::infinity(negative);
    }
    if cx == Class::Zero || cy == Class::Zero {
        return F80::zero(negative);
    }
    let v = Wide::from_unpacked(unpack(x));
    if v.negative && v.exponent >= 0 {
        env.raise(Flags::PE);
        return x;
    }
    logarithm(env, series::log2_plus_1(v), y)
}
