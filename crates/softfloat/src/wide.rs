//! Integer helpers that several operations share.

use crate::Rounding;

/// `value >> shift` with every bit shifted out or-ed into bit 0 ("jamming"), so that rounding still sees it.
#[inline]
pub(crate) fn shift_right_jam64(value: u64, shift: u32) -> u64 {
    match shift {
        0 => value,
        1..=63 => value >> shift | u64::from(value << (64 - shift) != 0),
        _ => u64::from(value != 0),
    }
}

/// As [`shift_right_jam64`], on 128 bits.
#[inline]
pub(crate) fn shift_right_jam128(value: u128, shift: u32) -> u128 {
    match shift {
        0 => value,
        1..=127 => value >> shift | u128::from(value << (128 - shift) != 0),
        _ => u128::from(value != 0),
    }
}

/// The high half, with the low half jammed into bit 0.
#[inline]
pub(crate) fn high_jam(value: u128) -> u64 {
    (value >> 64) as u64 | u64::from(value as u64 != 0)
}

/// Whether a magnitude with lowest kept bit `odd` and discarded part `rest` (compared with `half`, its halfway point) is to
/// be rounded away from zero.
#[inline]
pub(crate) fn rounds_up(
    rounding: Rounding,
    negative: bool,
    odd: bool,
    rest: u64,
    half: u64,
) -> bool {
    match rounding {
        Rounding::Nearest => rest > half || rest == half && odd,
        Rounding::Down => negative && rest != 0,
        Rounding::Up => !negative && rest != 0,
        Rounding::Zero => false,
    }
}

/// Whether an overflow rounds to infinity rather than to the largest finite number (SDM Vol. 1, table 4-10).
#[inline]
pub(crate) fn overflows_to_infinity(rounding: Rounding, negative: bool) -> bool {
    match rounding {
        Rounding::Nearest => true,
        Rounding::Down => negative,
        Rounding::Up => !negative,
        Rounding::Zero => false,
    }
}
