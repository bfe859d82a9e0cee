//! Random operands with a liking for the edges. Seeded: a run repeats.

use softfloat::{F80, Format};

/// xorshift64*.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 16) % limit
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A 64-bit pattern: random, sparse, dense, or runs of ones.
    pub fn pattern(&mut self) -> u64 {
        let (a, b) = (self.below(64) as u32, self.below(64) as u32);
        match self.below(8) {
            0..=2 => self.next(),
            3 => 1 << a,
            4 => (1 << a) | (1 << b),
            5 => u64::MAX << a,
            6 => (u64::MAX << a).wrapping_add(1 << b),
            _ => (u64::MAX << a) ^ (u64::MAX << b),
        }
    }

    pub fn integer(&mut self) -> i64 {
        let shift = self.below(64);
        (self.pattern() as i64).wrapping_shr(shift as u32)
    }

    /// A single or double of any kind.
    pub fn float<F: Format>(&mut self) -> F {
        let exponents = 1u64 << F::EXPONENT;
        let bias = F::BIAS as u64;
        let exponent = match self.below(16) {
            0 | 1 => 0,
            2 => exponents - 1,
            3 => self.below(4),
            4 => exponents - 1 - self.below(4),
            5..=7 => self.below(exponents),
            8 => bias / 2 + self.below(8),
            9 => bias + bias / 2 - self.below(8),
            10..=12 => bias - 4 + self.below(8),
            _ => bias - 35 + self.below(100),
        };
        let fraction = if self.one_in(12) {
            0
        } else {
            self.pattern() & ((1 << F::FRACTION) - 1)
        };
        let sign = if self.one_in(2) { F::SIGN } else { 0 };
        F::from_low_bits(sign | (exponent % exponents) << F::FRACTION | fraction)
    }

    /// A second operand for `a`: often of a close magnitude.
    pub fn float_near<F: Format>(&mut self, a: F) -> F {
        match self.below(8) {
            0 => F::from_low_bits(a.bits() ^ (self.pattern() & ((1 << F::FRACTION) - 1))),
            1 => F::from_low_bits(
                a.bits().wrapping_add(self.below(5)).wrapping_sub(2) ^ (self.next() & F::SIGN),
            ),
            _ => self.float(),
        }
    }

    /// An x87 register of any kind.
    pub fn f80(&mut self) -> F80 {
        let exponent = match self.below(20) {
            0 | 1 => 0,
            2 => 0x7fff,
            3 => self.below(70),
            4 => 0x7ffe - self.below(70),
            5..=7 => self.below(0x8000),
            8 => 0x1fff - 35 + self.below(70),
            9 => 0x5fff - 35 + self.below(70),
            10 => 0x3fff - 1023 - 64 + self.below(80),
            11 => 0x3fff + 1023 - 4 + self.below(8),
            12 => 0x3fff - 126 - 30 + self.below(40),
            13 => 0x3fff + 127 - 4 + self.below(8),
            14 | 15 => 0x3fff - 4 + self.below(8),
            _ => 0x3fff - 70 + self.below(140),
        };
        let mut significand = if self.one_in(16) {
            1 << 63
        } else {
            self.pattern()
        };
        match self.below(24) {
            0 => {}
            1 => significand = 0,
            2 => significand &= !(1 << 63),
            _ if exponent == 0 && self.one_in(2) => significand &= !(1 << 63),
            _ => significand |= 1 << 63,
        }
        F80::from_parts(self.one_in(2), exponent as u16, significand)
    }

    /// A second operand for `a`: often of a close magnitude.
    pub fn f80_near(&mut self, a: F80) -> F80 {
        match self.below(8) {
            0 => F80::new(a.sign_exponent, a.significand ^ self.pattern()),
            1 => F80::from_parts(
                self.one_in(2),
                a.exponent()
                    .wrapping_add(self.below(5) as u16)
                    .wrapping_sub(2),
                a.significand.wrapping_add(self.below(5)).wrapping_sub(2),
            ),
            2 => F80::from_parts(
                self.one_in(2),
                a.exponent()
                    .wrapping_add(self.below(140) as u16)
                    .wrapping_sub(70),
                self.pattern() | 1 << 63,
            ),
            _ => self.f80(),
        }
    }
}
