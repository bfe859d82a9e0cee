//! Floating-point numbers with a 128-bit significand: the working precision of the transcendental instructions.
//!
//! Results are truncated; each operation is off by a few units in the 127th bit at most. An F80 has 64, so that a few dozen
//! operations still round correctly but for one case in about 2^55.

use crate::sse::Unpacked;

/// `(-1)^negative * significand * 2^(exponent - 127)`, bit 127 of the significand set; zero if it is zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wide {
    pub(super) negative: bool,
    pub(super) exponent: i32,
    pub(super) significand: u128,
}

/// The high 128 bits of the product.
#[inline]
pub(super) const fn mul_high(a: u128, b: u128) -> u128 {
    let (a1, a0, b1, b0) = (a >> 64, a & u64::MAX as u128, b >> 64, b & u64::MAX as u128);
    let (low, middle, cross) = (a0 * b0, a0 * b1, a1 * b0);
    let carry = (low >> 64) + (middle & u64::MAX as u128) + (cross & u64::MAX as u128);
    a1 * b1 + (middle >> 64) + (cross >> 64) + (carry >> 64)
}

impl Wide {
    pub(super) const ONE: Wide = Wide {
        negative: false,
        exponent: 0,
        significand: 1 << 127,
    };

    pub(super) fn from_unpacked(v: Unpacked) -> Wide {
        Wide {
            negative: v.negative,
            exponent: v.exponent,
            significand: u128::from(v.significand) << 64,
        }
    }

    /// `magnitude * 2^scale`.
    pub(super) fn from_integer(negative: bool, magnitude: u128, scale: i32) -> Wide {
        let shift = magnitude.leading_zeros();
        if shift == 128 {
            return Wide {
                negative,
                exponent: 0,
                significand: 0,
            };
        }
        Wide {
            negative,
            exponent: scale + 127 - shift as i32,
            significand: magnitude << shift,
        }
    }

    pub(super) fn is_zero(self) -> bool {
        self.significand == 0
    }

    pub(super) fn negate_if(self, negate: bool) -> Wide {
        Wide {
            negative: self.negative != negate,
            ..self
        }
    }

    pub(super) fn mul(self, other: Wide) -> Wide {
        let product = mul_high(self.significand, other.significand);
        let shift = product.leading_zeros() & 1;
        Wide {
            negative: self.negative != other.negative,
            exponent: self.exponent + other.exponent + 1 - shift as i32,
            significand: product << shift,
        }
    }

    pub(super) fn add(self, other: Wide) -> Wide {
        if self.is_zero() {
            return other;
        }
        if other.is_zero() {
            return self;
        }
        let (a, b) = if (self.exponent, self.significand) >= (other.exponent, other.significand) {
            (self, other)
        } else {
            (other, self)
        };
        let low = b
            .significand
            .checked_shr((a.exponent - b.exponent) as u32)
            .unwrap_or(0);
        if a.negative == b.negative {
            let (sum, carry) = a.significand.overflowing_add(low);
            if carry {
                return Wide {
                    exponent: a.exponent + 1,
                    significand: sum >> 1 | 1 << 127,
                    ..a
                };
            }
            return Wide {
                significand: sum,
                ..a
            };
        }
        Wide::from_integer(a.negative, a.significand - low, a.exponent - 127)
    }

    /// `self / other`; `other` is not zero.
    pub(super) fn div(self, other: Wide) -> Wide {
        // 2^255 / d to 63 bits from the upper half of d, too large by the lower half; then one step of Newton's iteration.
        let divisor = other.significand;
        let first = ((u128::MAX / (divisor >> 64)).min(u128::from(u64::MAX) << 1)) << 63;
        let error = mul_high(divisor, first).wrapping_sub(1 << 127) as i128;
        let correction = mul_high(first, error.unsigned_abs() << 1);
        let reciprocal = if error < 0 {
            first.saturating_add(correction)
        } else {
            first - correction
        };
        let quotient = mul_high(self.significand, reciprocal);
        let shift = quotient.leading_zeros().min(2);
        Wide {
            negative: self.negative != other.negative,
            exponent: self.exponent - other.exponent - shift as i32,
            significand: quotient << shift,
        }
    }

    /// The magnitude as a fraction of 2^128. It must be below one.
    pub(super) fn fraction(self) -> u128 {
        self.significand
            .checked_shr((-1 - self.exponent) as u32)
            .unwrap_or(0)
    }

    /// The square as a fraction of 2^128. The magnitude must be below one.
    pub(super) fn square_fraction(self) -> u128 {
        let square = mul_high(self.significand, self.significand);
        square
            .checked_shr((-2 - 2 * self.exponent) as u32)
            .unwrap_or(0)
    }

    /// `self * (1 + u)`, `u` a fraction of 2^128; never exactly `self`.
    pub(super) fn scale_up(self, u: u128) -> Wide {
        let increment = mul_high(self.significand, u).max(1);
        let (sum, carry) = self.significand.overflowing_add(increment);
        if carry {
            return Wide {
                exponent: self.exponent + 1,
                significand: sum >> 1 | 1 << 127,
                ..self
            };
        }
        Wide {
            significand: sum,
            ..self
        }
    }

    /// `self * (1 - u)`, `u` a fraction of 2^128 below one half; never exactly `self`.
    pub(super) fn scale_down(self, u: u128) -> Wide {
        let decrement = mul_high(self.significand, u).max(1);
        Wide::from_integer(
            self.negative,
            self.significand - decrement,
            self.exponent - 127,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotients_multiply_back() {
        let mut x = 0x1234_5678_9abc_def0_0fed_cba9_8765_4321u128;
        for i in 0..10_000 {
            x = x
                .wrapping_mul(0xda94_2042_e4dd_58b5_u128)
                .wrapping_add(0x5851_f42d_4c95_7f2d);
            let a = Wide {
                negative: false,
                exponent: 0,
                significand: x | 1 << 127,
            };
            x = x
                .wrapping_mul(0xda94_2042_e4dd_58b5_u128)
                .wrapping_add(0x5851_f42d_4c95_7f2d);
            let d = if i == 0 {
                1 << 127
            } else if i == 1 {
                u128::MAX
            } else {
                x | 1 << 127
            };
            let b = Wide {
                negative: false,
                exponent: 0,
                significand: d,
            };
            let back = a.div(b).mul(b);
            let mut difference = a.add(back.negate_if(true));
            difference.negative = false;
            assert!(
                difference.is_zero() || difference.exponent <= -122,
                "{a:x?} {b:x?} {difference:x?}"
            );
        }
    }
}
