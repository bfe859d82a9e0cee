//! Conversions between the formats and to and from integers, and ROUNDSS.

use super::arith::denormal_operand;
use super::format::{Format, round_pack, sign_bit, unpack};
use crate::wide::rounds_up;
use crate::{Env, F32, F64, Flags, Rounding};

/// Whether ROUNDSS raises PE for an inexact result (bit 3 of its immediate clear) or not (set).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inexact {
    /// PE is raised.
    Report,
    /// PE is left alone.
    Suppress,
}

/// A finite magnitude rounded to an integer; `exact` is false if anything was discarded.
struct Integral {
    magnitude: u64,
    exact: bool,
}

/// Rounds a finite number that is not zero to an integer. None if its exponent is 64 or more.
#[inline]
fn to_integral<F: Format>(value: F, rounding: Rounding) -> Option<Integral> {
    let v = unpack(value);
    if v.exponent >= 64 {
        return None;
    }
    if v.exponent == 63 {
        return Some(Integral {
            magnitude: v.significand,
            exact: true,
        });
    }
    if v.exponent < -1 {
        // Below one half: only the direction of the rounding counts.
        let up = rounds_up(rounding, v.negative, false, 1, 2);
        return Some(Integral {
            magnitude: u64::from(up),
            exact: false,
        });
    }
    let shift = (63 - v.exponent) as u32;
    let kept = if shift == 64 {
        0
    } else {
        v.significand >> shift
    };
    let rest = v.significand << ((64 - shift) & 63);
    let up = rounds_up(rounding, v.negative, kept & 1 != 0, rest, 1 << 63);
    Some(Integral {
        magnitude: kept + u64::from(up),
        exact: rest == 0,
    })
}

/// ROUNDSS/ROUNDSD. A denormal operand raises no DE here (SDM Vol. 2B, ROUNDSS: exceptions are invalid and precision only).
pub fn round_to_integral<F: Format>(
    env: &mut Env,
    a: F,
    rounding: Rounding,
    inexact: Inexact,
) -> F {
    let a = a.under_daz(env);
    if a.is_nan() {
        if a.is_signaling() {
            env.raise(Flags::IE);
        }
        return a.quieted();
    }
    if a.is_zero() || a.is_infinite() {
        return a;
    }
    match to_integral(a, rounding) {
        Some(Integral {
            exact: false,
            magnitude,
        }) => {
            if inexact == Inexact::Report {
                env.raise(Flags::PE);
            }
            F::from_low_bits(
                sign_bit::<F>(a.is_negative()) | integer_magnitude_bits::<F>(magnitude),
            )
        }
        _ => a,
    }
}

/// The bits of an integer that the format holds exactly.
fn integer_magnitude_bits<F: Format>(magnitude: u64) -> u64 {
    if magnitude == 0 {
        return 0;
    }
    let shift = magnitude.leading_zeros();
    let fraction = (magnitude << shift) >> (63 - F::FRACTION);
    ((62 - shift as i32 + F::BIAS) as u64) * (1 << F::FRACTION) + fraction
}

/// CVTSS2SI/CVTSD2SI to 32 bits with `rounding` = `env.rounding`, CVTTSS2SI with [`Rounding::Zero`]. The integer indefinite
/// 0x8000_0000 with IE for NaNs, infinities and what does not fit.
pub fn to_i32<F: Format>(env: &mut Env, a: F, rounding: Rounding) -> i32 {
    to_signed(env, a, rounding, 31) as i32
}

/// CVTSS2SI/CVTSD2SI to 64 bits; see [`to_i32`].
pub fn to_i64<F: Format>(env: &mut Env, a: F, rounding: Rounding) -> i64 {
    to_signed(env, a, rounding, 63)
}

#[inline]
fn to_signed<F: Format>(env: &mut Env, a: F, rounding: Rounding, bits: u32) -> i64 {
    let a = a.under_daz(env);
    if a.is_zero() {
        return 0;
    }
    let limit = 1u64 << bits;
    let negative = a.is_negative();
    let integral = if a.magnitude() >= F::INFINITY {
        None
    } else {
        to_integral(a, rounding)
    };
    match integral {
        Some(Integral { magnitude, exact })
            if magnitude < limit || negative && magnitude == limit =>
        {
            if !exact {
                env.raise(Flags::PE);
            }
            if negative {
                (magnitude as i64).wrapping_neg()
            } else {
                magnitude as i64
            }
        }
        _ => {
            env.raise(Flags::IE);
            (limit as i64).wrapping_neg()
        }
    }
}

/// CVTSI2SS/CVTSI2SD/CVTDQ2PS/CVTDQ2PD.
pub fn from_i32<F: Format>(env: &mut Env, value: i32) -> F {
    from_i64(env, i64::from(value))
}

/// CVTSI2SS/CVTSI2SD from 64 bits.
pub fn from_i64<F: Format>(env: &mut Env, value: i64) -> F {
    if value == 0 {
        return F::zero(false);
    }
    let magnitude = value.unsigned_abs();
    let shift = magnitude.leading_zeros();
    round_pack(env, value < 0, 63 - shift as i32, magnitude << shift)
}

/// CVTSS2SD.
pub fn f32_to_f64(env: &mut Env, a: F32) -> F64 {
    change_format(env, a)
}

/// CVTSD2SS.
pub fn f64_to_f32(env: &mut Env, a: F64) -> F32 {
    change_format(env, a)
}

#[inline]
fn change_format<A: Format, B: Format>(env: &mut Env, a: A) -> B {
    let a = a.under_daz(env);
    let negative = a.is_negative();
    if !a.is_normal() {
        if a.is_nan() {
            if a.is_signaling() {
                env.raise(Flags::IE);
            }
            return nan_to_format(negative, a.bits() << (63 - A::FRACTION));
        }
        if a.is_infinite() {
            return B::infinity(negative);
        }
        if a.is_zero() || denormal_operand(env, a, a) {
            return B::zero(negative);
        }
    }
    let v = unpack(a);
    round_pack(env, negative, v.exponent, v.significand)
}

/// The quiet NaN whose fraction is the top of `significand` below bit 63.
pub(crate) fn nan_to_format<B: Format>(negative: bool, significand: u64) -> B {
    let fraction = (significand & (u64::MAX >> 1)) >> (63 - B::FRACTION);
    B::from_low_bits(sign_bit::<B>(negative) | B::INFINITY | B::QUIET | fraction)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wide::shift_right_jam64;

    #[test]
    fn jam_keeps_a_trace_of_what_it_discards() {
        assert_eq!(shift_right_jam64(0b1010, 1), 0b101);
        assert_eq!(shift_right_jam64(0b1010, 2), 0b11);
        assert_eq!(shift_right_jam64(1 << 63, 64), 1);
        assert_eq!(shift_right_jam64(0, 200), 0);
    }

    #[test]
    fn one_half_rounds_to_even() {
        let mut env = Env::default();
        for (value, expect) in [
            (0.5f64, 0),
            (1.5, 2),
            (2.5, 2),
            (-0.5, 0),
            (-1.5, -2),
            (0.500_000_1, 1),
        ] {
            assert_eq!(
                to_i32(&mut env, F64(value.to_bits()), Rounding::Nearest),
                expect
            );
        }
        assert_eq!(env.flags, Flags::PE);
    }
}
