//! FLD and FST of the other formats: single, double, integers and packed decimals.

use super::round::{invalid, unpack};
use crate::sse::{self, Format};
use crate::wide::rounds_up;
use crate::{Class, Env, F32, F64, F80, Flags};

/// FLD m32fp. Of the unmasked exceptions only IE keeps the value from being pushed: DE is reported and the value is loaded, as
/// chips do. For the memory operand of FADD m32fp and its like see [`Operand`](super::Operand).
pub fn load_f32(env: &mut Env, a: F32) -> F80 {
    load(env, a)
}

/// FLD m64fp; see [`load_f32`].
pub fn load_f64(env: &mut Env, a: F64) -> F80 {
    load(env, a)
}

#[inline]
fn load<F: Format>(env: &mut Env, a: F) -> F80 {
    env.roundup = false;
    let value = widen(a);
    if !a.is_normal() {
        if a.is_denormal() {
            env.raise(Flags::DE);
        }
        if a.is_signaling() {
            env.raise(Flags::IE);
            return value.quieted();
        }
    }
    value
}

/// The same value, or the same NaN, in the wider format.
#[inline]
pub(super) fn widen<F: Format>(a: F) -> F80 {
    let negative = a.is_negative();
    if a.magnitude() >= F::INFINITY {
        let significand = a.bits() << (63 - F::FRACTION) | F80::INTEGER;
        return F80::from_parts(negative, 0x7fff, significand);
    }
    if a.is_zero() {
        return F80::zero(negative);
    }
    let v = sse::unpack(a);
    F80::from_parts(
        negative,
        (v.exponent + super::round::BIAS) as u16,
        v.significand,
    )
}

/// FST m32fp. With an unmasked IE, OE or UE nothing is to be stored.
pub fn store_f32(env: &mut Env, a: F80) -> F32 {
    store(env, a)
}

/// FST m64fp. With an unmasked IE, OE or UE nothing is to be stored.
pub fn store_f64(env: &mut Env, a: F80) -> F64 {
    store(env, a)
}

#[inline]
fn store<F: Format>(env: &mut Env, a: F80) -> F {
    env.roundup = false;
    let negative = a.is_negative();
    match a.class() {
        Class::Normal | Class::Denormal => {
            let v = unpack(a);
            // An unmasked overflow or underflow stores nothing, so there is no inexact result to report either.
            let before = std::mem::replace(&mut env.flags, Flags::NONE);
            let result = sse::round_pack(env, negative, v.exponent, v.significand);
            if env.unmasked().intersects(Flags::OE | Flags::UE) {
                env.flags &= !Flags::PE;
            }
            env.flags |= before;
            result
        }
        Class::Zero => F::zero(negative),
        Class::Infinity => F::infinity(negative),
        Class::Unsupported => {
            invalid(env);
            F::indefinite()
        }
        Class::Nan => {
            if a.is_signaling() {
                env.raise(Flags::IE);
            }
            sse::nan_to_format(negative, a.significand)
        }
    }
}

/// FILD m16int.
pub fn from_i16(value: i16) -> F80 {
    from_i64(i64::from(value))
}

/// FILD m32int.
pub fn from_i32(value: i32) -> F80 {
    from_i64(i64::from(value))
}

/// FILD m64int.
pub fn from_i64(value: i64) -> F80 {
    from_magnitude(value < 0, value.unsigned_abs())
}

/// An integer with a sign, zero included.
pub(super) fn from_magnitude(negative: bool, magnitude: u64) -> F80 {
    if magnitude == 0 {
        return F80::zero(negative);
    }
    let shift = magnitude.leading_zeros();
    F80::from_parts(
        negative,
        (super::round::BIAS + 63 - shift as i32) as u16,
        magnitude << shift,
    )
}

/// The magnitude of `a` rounded to an integer, whether it was rounded up, and whether it is exact; None where there is none
/// below 2^64.
pub(super) fn to_integral(env: &Env, a: F80) -> Option<(u64, bool, bool)> {
    match a.class() {
        Class::Zero => return Some((0, false, true)),
        Class::Normal | Class::Denormal => {}
        _ => return None,
    }
    let v = unpack(a);
    if v.exponent >= 64 {
        return None;
    }
    if v.exponent < -1 {
        let up = rounds_up(env.rounding, v.negative, false, 1, 2);
        return Some((u64::from(up), up, false));
    }
    let wide = u128::from(v.significand) << (v.exponent + 1);
    let (kept, rest) = ((wide >> 64) as u64, wide as u64);
    let up = rounds_up(env.rounding, v.negative, kept & 1 != 0, rest, 1 << 63);
    Some((kept + u64::from(up), up, rest == 0))
}

/// FIST m16int. FISTTP: with `env.rounding` set to zero. The integer indefinite with IE for what does not fit; with an
/// unmasked IE nothing is to be stored.
pub fn to_i16(env: &mut Env, a: F80) -> i16 {
    to_signed(env, a, 15) as i16
}

/// FIST m32int; see [`to_i16`].
pub fn to_i32(env: &mut Env, a: F80) -> i32 {
    to_signed(env, a, 31) as i32
}

/// FISTP m64int; see [`to_i16`].
pub fn to_i64(env: &mut Env, a: F80) -> i64 {
    to_signed(env, a, 63)
}

fn to_signed(env: &mut Env, a: F80, bits: u32) -> i64 {
    env.roundup = false;
    let limit = 1u64 << bits;
    let negative = a.is_negative();
    match to_integral(env, a) {
        Some((magnitude, up, exact)) if magnitude < limit || negative && magnitude == limit => {
            env.roundup = up;
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

/// The packed BCD integer indefinite (SDM Vol. 1, table 4-4).
pub const BCD_INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];

/// FBLD. Digits above 9 are not checked (SDM Vol. 2A, FBLD: the result is undefined); here they count for what they are.
pub fn from_bcd(bytes: [u8; 10]) -> F80 {
    let [digits @ .., sign] = bytes;
    let magnitude = digits.iter().rev().fold(0u64, |value, &byte| {
        value
            .wrapping_mul(100)
            .wrapping_add(u64::from(byte >> 4) * 10 + u64::from(byte & 15))
    });
    from_magnitude(sign & 0x80 != 0, magnitude)
}

/// FBSTP. [`BCD_INDEFINITE`] with IE for what needs more than 18 digits; with an unmasked IE nothing is to be stored.
pub fn to_bcd(env: &mut Env, a: F80) -> [u8; 10] {
    env.roundup = false;
    match to_integral(env, a) {
        Some((mut magnitude, up, exact)) if magnitude < 1_000_000_000_000_000_000 => {
            env.roundup = up;
            if !exact {
                env.raise(Flags::PE);
            }
            let mut bytes = [0; 10];
            let [digits @ .., sign] = &mut bytes;
            for byte in digits {
                let pair = (magnitude % 100) as u8;
                *byte = ((pair / 10) << 4) | (pair % 10);
                magnitude /= 100;
            }
            *sign = u8::from(a.is_negative()) << 7;
            bytes
        }
        _ => {
            env.raise(Flags::IE);
            BCD_INDEFINITE
        }
    }
}
