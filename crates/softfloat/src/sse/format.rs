//! What the single and the double format have in common, and rounding into them.

use crate::wide::{overflows_to_infinity, rounds_up, shift_right_jam64};
use crate::{Env, F32, F64, Flags};

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::F32 {}
    impl Sealed for crate::F64 {}
}

/// A binary interchange format of at most 64 bits: [`F32`] or [`F64`].
pub trait Format: Copy + Eq + std::fmt::Debug + sealed::Sealed {
    /// Bits of the fraction (the significand without its hidden bit).
    const FRACTION: u32;
    /// Bits of the exponent.
    const EXPONENT: u32;
    /// The bits, zero-extended.
    fn bits(self) -> u64;
    /// From the low bits.
    fn from_low_bits(bits: u64) -> Self;

    /// Exponent bias.
    const BIAS: i32 = (1 << (Self::EXPONENT - 1)) - 1;
    /// The sign bit.
    const SIGN: u64 = 1 << (Self::FRACTION + Self::EXPONENT);
    /// The bits of plus infinity.
    const INFINITY: u64 = ((1 << Self::EXPONENT) - 1) << Self::FRACTION;
    /// The bit that tells quiet NaNs from signaling ones.
    const QUIET: u64 = 1 << (Self::FRACTION - 1);
    /// The bits of the QNaN real indefinite (SDM Vol. 1, 4.8.3.7).
    const INDEFINITE: u64 = Self::SIGN | Self::INFINITY | Self::QUIET;

    /// The bits without the sign.
    #[inline]
    fn magnitude(self) -> u64 {
        self.bits() & (Self::SIGN - 1)
    }

    /// The sign bit is set.
    #[inline]
    fn is_negative(self) -> bool {
        self.bits() & Self::SIGN != 0
    }

    /// A NaN, quiet or signaling.
    #[inline]
    fn is_nan(self) -> bool {
        self.magnitude() > Self::INFINITY
    }

    /// A NaN whose quiet bit is clear.
    #[inline]
    fn is_signaling(self) -> bool {
        self.is_nan() && self.bits() & Self::QUIET == 0
    }

    /// An infinity.
    #[inline]
    fn is_infinite(self) -> bool {
        self.magnitude() == Self::INFINITY
    }

    /// A zero of either sign.
    #[inline]
    fn is_zero(self) -> bool {
        self.magnitude() == 0
    }

    /// A denormal number (not a zero).
    #[inline]
    fn is_denormal(self) -> bool {
        self.magnitude().wrapping_sub(1) < (1 << Self::FRACTION) - 1
    }

    /// Not a zero, denormal, infinity or NaN.
    #[inline]
    fn is_normal(self) -> bool {
        self.magnitude().wrapping_sub(1 << Self::FRACTION) < Self::INFINITY - (1 << Self::FRACTION)
    }

    /// The QNaN real indefinite.
    #[inline]
    fn indefinite() -> Self {
        Self::from_low_bits(Self::INDEFINITE)
    }

    /// A zero with the sign given.
    #[inline]
    fn zero(negative: bool) -> Self {
        Self::from_low_bits(sign_bit::<Self>(negative))
    }

    /// An infinity with the sign given.
    #[inline]
    fn infinity(negative: bool) -> Self {
        Self::from_low_bits(sign_bit::<Self>(negative) | Self::INFINITY)
    }

    /// A NaN with its quiet bit set.
    #[inline]
    fn quieted(self) -> Self {
        Self::from_low_bits(self.bits() | Self::QUIET)
    }

    /// The operand as DAZ makes it: a denormal becomes a zero of its sign.
    #[inline]
    fn under_daz(self, env: &Env) -> Self {
        if env.daz && self.is_denormal() {
            Self::zero(self.is_negative())
        } else {
            self
        }
    }
}

impl Format for F32 {
    const FRACTION: u32 = 23;
    const EXPONENT: u32 = 8;
    #[inline]
    fn bits(self) -> u64 {
        u64::from(self.0)
    }
    #[inline]
    fn from_low_bits(bits: u64) -> F32 {
        F32(bits as u32)
    }
}

impl Format for F64 {
    const FRACTION: u32 = 52;
    const EXPONENT: u32 = 11;
    #[inline]
    fn bits(self) -> u64 {
        self.0
    }
    #[inline]
    fn from_low_bits(bits: u64) -> F64 {
        F64(bits)
    }
}

#[inline]
pub(crate) fn sign_bit<F: Format>(negative: bool) -> u64 {
    if negative { F::SIGN } else { 0 }
}

/// A finite number that is not zero: `(-1)^negative * significand * 2^(exponent - 63)`, bit 63 of the significand set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unpacked {
    pub(crate) negative: bool,
    pub(crate) exponent: i32,
    pub(crate) significand: u64,
}

/// Unpacks a finite number that is not zero.
#[inline]
pub(crate) fn unpack<F: Format>(value: F) -> Unpacked {
    let negative = value.is_negative();
    let biased = (value.magnitude() >> F::FRACTION) as i32;
    let fraction = value.bits() << (63 - F::FRACTION) & (u64::MAX >> 1);
    if biased != 0 {
        return Unpacked {
            negative,
            exponent: biased - F::BIAS,
            significand: fraction | 1 << 63,
        };
    }
    let shift = fraction.leading_zeros() & 63;
    Unpacked {
        negative,
        exponent: 1 - F::BIAS - shift as i32,
        significand: fraction << shift,
    }
}

/// Rounds `(-1)^negative * significand * 2^(exponent - 63)` into the format and raises OE, UE and PE. Bit 63 of the
/// significand is set; bit 0 may stand for any discarded bits below it.
#[inline]
pub(crate) fn round_pack<F: Format>(
    env: &mut Env,
    negative: bool,
    exponent: i32,
    significand: u64,
) -> F {
    let shift = 63 - F::FRACTION;
    let rest = significand & ((1 << shift) - 1);
    let kept = significand >> shift;
    let up = rounds_up(
        env.rounding,
        negative,
        kept & 1 != 0,
        rest,
        1 << (shift - 1),
    );
    let biased = exponent + F::BIAS;
    if biased >= 1 && biased < (1 << F::EXPONENT) - 1 {
        // The hidden bit adds one to the exponent, and so does a carry out of the significand.
        let bits = ((biased - 1) as u64) << F::FRACTION;
        let bits = bits + kept + u64::from(up);
        if bits < F::INFINITY {
            env.roundup = up;
            if rest != 0 {
                env.flags |= Flags::PE;
            }
            return F::from_low_bits(sign_bit::<F>(negative) | bits);
        }
    }
    if biased >= 1 {
        overflow(env, negative, rest != 0)
    } else {
        let carries = kept + u64::from(up) == 1 << (F::FRACTION + 1);
        underflow(
            env,
            negative,
            biased,
            significand,
            biased == 0 && carries,
            rest != 0,
        )
    }
}

#[cold]
fn overflow<F: Format>(env: &mut Env, negative: bool, inexact: bool) -> F {
    let masked = env.masked(Flags::OE);
    env.flags |= Flags::OE;
    if masked || inexact {
        env.flags |= Flags::PE;
    }
    let infinite = overflows_to_infinity(env.rounding, negative);
    env.roundup = infinite && masked;
    F::from_low_bits(sign_bit::<F>(negative) | (F::INFINITY - u64::from(!infinite)))
}

/// `carries`: with an unbounded exponent the value rounds up to the smallest normal number, which is not tiny. `inexact`: it
/// would be inexact with an unbounded exponent as well.
#[cold]
fn underflow<F: Format>(
    env: &mut Env,
    negative: bool,
    biased: i32,
    significand: u64,
    carries: bool,
    inexact: bool,
) -> F {
    let tiny = !carries;
    if tiny && !env.masked(Flags::UE) {
        env.flags |= if inexact {
            Flags::UE | Flags::PE
        } else {
            Flags::UE
        };
        env.roundup = false;
        return F::zero(negative);
    }
    if tiny && env.ftz {
        env.flags |= Flags::UE | Flags::PE;
        env.roundup = false;
        return F::zero(negative);
    }
    let shift = 63 - F::FRACTION;
    let denormal = shift_right_jam64(significand, biased.wrapping_neg().min(80) as u32 + 1);
    let rest = denormal & ((1 << shift) - 1);
    let kept = denormal >> shift;
    env.roundup = rounds_up(
        env.rounding,
        negative,
        kept & 1 != 0,
        rest,
        1 << (shift - 1),
    );
    if rest != 0 {
        env.flags |= if tiny {
            Flags::UE | Flags::PE
        } else {
            Flags::PE
        };
    }
    F::from_low_bits(sign_bit::<F>(negative) | (kept + u64::from(env.roundup)))
}
