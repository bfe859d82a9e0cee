//! Unpacking, operand checks and rounding that all x87 operations share.

use crate::sse::{Format, Unpacked};
use crate::wide::{overflows_to_infinity, rounds_up, shift_right_jam128};
use crate::{Class, Env, F32, F64, F80, Flags, Precision};

pub(crate) const BIAS: i32 = 16383;

/// An operand of FADD, FSUB, FMUL, FDIV and FCOM: a register, or a single or double in memory.
///
/// A number in memory is not loaded first and then used: its denormals and signaling NaNs count as operands of the operation
/// itself, though in the wider format a denormal becomes a normal number.
#[derive(Clone, Copy, Debug)]
pub struct Operand {
    pub(crate) value: F80,
    /// The value is a denormal number of its own, narrower format.
    pub(crate) was_denormal: bool,
}

impl From<F80> for Operand {
    #[inline]
    fn from(value: F80) -> Operand {
        Operand {
            value,
            was_denormal: false,
        }
    }
}

impl From<F32> for Operand {
    #[inline]
    fn from(value: F32) -> Operand {
        Operand {
            value: super::convert::widen(value),
            was_denormal: value.is_denormal(),
        }
    }
}

impl From<F64> for Operand {
    #[inline]
    fn from(value: F64) -> Operand {
        Operand {
            value: super::convert::widen(value),
            was_denormal: value.is_denormal(),
        }
    }
}

impl Operand {
    /// A normal number: the operand of the fast paths.
    #[inline]
    pub(crate) fn is_normal(self) -> bool {
        self.value.is_normal() && !self.was_denormal
    }

    pub(crate) fn is_denormal(self) -> bool {
        self.was_denormal || self.value.class() == Class::Denormal
    }
}

/// What an unmasked overflow takes from the exponent and an unmasked underflow adds to it (SDM Vol. 1, 8.5.4).
const BIAS_ADJUST: i32 = 24576;

impl F80 {
    /// A normal number: the operand of the fast paths.
    #[inline]
    pub(crate) fn is_normal(self) -> bool {
        self.significand >> 63 != 0 && (1..0x7fff).contains(&self.exponent())
    }
}

/// Unpacks a finite number that is not zero: normal, denormal or pseudo-denormal.
#[inline]
pub(crate) fn unpack(value: F80) -> Unpacked {
    let shift = value.significand.leading_zeros() & 63;
    let biased = i32::from(value.exponent().max(1));
    Unpacked {
        negative: value.is_negative(),
        exponent: biased - BIAS - shift as i32,
        significand: value.significand << shift,
    }
}

/// IE and the real indefinite.
#[cold]
pub(crate) fn invalid(env: &mut Env) -> F80 {
    env.raise(Flags::IE);
    F80::INDEFINITE
}

/// The result of an operation that has an unsupported encoding or a NaN as its operand.
pub(crate) fn special_operand(env: &mut Env, a: F80) -> Option<F80> {
    match a.class() {
        Class::Unsupported => Some(invalid(env)),
        Class::Nan => {
            if a.is_signaling() {
                env.raise(Flags::IE);
            }
            Some(a.quieted())
        }
        _ => None,
    }
}

/// The result of an operation that has an unsupported encoding or a NaN among its operands (SDM Vol. 1, table 4-7, x87
/// column): a quiet NaN wins against a signaling one, then the larger significand, then the positive sign.
pub(crate) fn special_operands(env: &mut Env, a: F80, b: F80) -> Option<F80> {
    match (a.class(), b.class()) {
        (Class::Unsupported, _) | (_, Class::Unsupported) => Some(invalid(env)),
        (Class::Nan, Class::Nan) => {
            let (sa, sb) = (a.is_signaling(), b.is_signaling());
            if sa || sb {
                env.raise(Flags::IE);
            }
            let first = match (sa, sb) {
                (true, false) => false,
                (false, true) => true,
                _ if a.significand != b.significand => a.significand > b.significand,
                _ => !a.is_negative(),
            };
            Some(if first { a.quieted() } else { b.quieted() })
        }
        (Class::Nan, _) => special_operand(env, a),
        (_, Class::Nan) => special_operand(env, b),
        _ => None,
    }
}

/// Raises DE for a denormal operand; true if the operation ends there.
pub(crate) fn denormal_operand(env: &mut Env, a: F80) -> bool {
    a.class() == Class::Denormal && env.raise(Flags::DE)
}

/// Raises DE if one of the operands is denormal; true if the operation ends there.
pub(crate) fn denormal_operands(env: &mut Env, a: F80, b: F80) -> bool {
    (a.class() == Class::Denormal || b.class() == Class::Denormal) && env.raise(Flags::DE)
}

struct Rounded {
    significand: u64,
    /// The significand was all ones and became one half of two.
    carry: bool,
    up: bool,
    inexact: bool,
}

/// Rounds the 128-bit significand `high:low` to the precision.
#[inline]
fn round(env: &Env, negative: bool, high: u64, low: u64, precision: Precision) -> Rounded {
    let drop = 64 - precision.bits();
    let (kept, rest) = if drop == 0 {
        (high, low)
    } else {
        (
            high >> drop << drop,
            high << (64 - drop) | u64::from(low != 0),
        )
    };
    let up = rounds_up(env.rounding, negative, high >> drop & 1 != 0, rest, 1 << 63);
    let (significand, carry) = kept.overflowing_add(u64::from(up) << drop);
    Rounded {
        significand: if carry { F80::INTEGER } else { significand },
        carry,
        up,
        inexact: rest != 0,
    }
}

/// Rounds `(-1)^negative * high:low * 2^(exponent - 127)` to `precision`, and raises OE, UE and PE. Bit 63 of `high` is set;
/// bit 0 of `low` may stand for any discarded bits below it.
#[inline]
pub(crate) fn round_pack(
    env: &mut Env,
    negative: bool,
    exponent: i32,
    high: u64,
    low: u64,
    precision: Precision,
) -> F80 {
    let rounded = round(env, negative, high, low, precision);
    let biased = exponent + BIAS + i32::from(rounded.carry);
    if exponent + BIAS >= 1 && biased < 0x7fff {
        env.roundup = rounded.up;
        if rounded.inexact {
            env.flags |= Flags::PE;
        }
        return F80::from_parts(negative, biased as u16, rounded.significand);
    }
    if biased >= 1 && exponent + BIAS >= 1 {
        overflow(env, negative, biased, rounded, precision)
    } else {
        underflow(
            env,
            negative,
            exponent + BIAS,
            (high, low),
            rounded,
            precision,
        )
    }
}

#[cold]
fn overflow(
    env: &mut Env,
    negative: bool,
    biased: i32,
    rounded: Rounded,
    precision: Precision,
) -> F80 {
    env.flags |= Flags::OE;
    if !env.masked(Flags::OE) {
        if rounded.inexact {
            env.flags |= Flags::PE;
        }
        env.roundup = rounded.up;
        let adjusted = biased - BIAS_ADJUST;
        if adjusted < 0x7fff {
            return F80::from_parts(negative, adjusted as u16, rounded.significand);
        }
        // FSCALE alone gets here: beyond the biased range as well (SDM Vol. 1, 8.5.4).
        env.flags |= Flags::PE;
        env.roundup = true;
        return F80::infinity(negative);
    }
    env.flags |= Flags::PE;
    env.roundup = overflows_to_infinity(env.rounding, negative);
    if env.roundup {
        return F80::infinity(negative);
    }
    F80::from_parts(negative, 0x7ffe, u64::MAX << (64 - precision.bits()))
}

#[cold]
fn underflow(
    env: &mut Env,
    negative: bool,
    biased: i32,
    (high, low): (u64, u64),
    rounded: Rounded,
    precision: Precision,
) -> F80 {
    // Tininess is detected after rounding (SDM Vol. 1, 4.9.1.5).
    let tiny = biased < 0 || !rounded.carry;
    if tiny && !env.masked(Flags::UE) {
        env.flags |= if rounded.inexact {
            Flags::UE | Flags::PE
        } else {
            Flags::UE
        };
        env.roundup = rounded.up;
        let adjusted = biased + i32::from(rounded.carry) + BIAS_ADJUST;
        if adjusted >= 1 {
            return F80::from_parts(negative, adjusted as u16, rounded.significand);
        }
        env.flags |= Flags::PE;
        env.roundup = false;
        return F80::zero(negative);
    }
    let wide = u128::from(high) << 64 | u128::from(low);
    let wide = shift_right_jam128(wide, biased.wrapping_neg().min(200) as u32 + 1);
    let denormal = round(env, negative, (wide >> 64) as u64, wide as u64, precision);
    env.roundup = denormal.up;
    if denormal.inexact {
        env.flags |= if tiny {
            Flags::UE | Flags::PE
        } else {
            Flags::PE
        };
    }
    F80::from_parts(
        negative,
        (denormal.significand >> 63) as u16,
        denormal.significand,
    )
}
