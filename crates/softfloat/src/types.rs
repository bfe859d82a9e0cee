//! The three formats as bit patterns (SDM Vol. 1, 4.2.2 and table 4-3). Equality is identity of bits, never of values.

/// Single precision, as its bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct F32(pub u32);

/// Double precision, as its bits.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct F64(pub u64);

/// Double extended precision, as its bits: an x87 register.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct F80 {
    /// The significand with its explicit integer bit (bit 63).
    pub significand: u64,
    /// Bit 15: sign. Bits 14 to 0: exponent, biased by 16383.
    pub sign_exponent: u16,
}

impl std::fmt::Debug for F32 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "F32({:#010x})", self.0)
    }
}

impl std::fmt::Debug for F64 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "F64({:#018x})", self.0)
    }
}

impl std::fmt::Debug for F80 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "F80({:04x}.{:016x})",
            self.sign_exponent, self.significand
        )
    }
}

/// The result of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ordering4 {
    /// First operand below the second.
    Less,
    /// Equal; zeros of both signs are.
    Equal,
    /// First operand above the second.
    Greater,
    /// A NaN or an unsupported encoding among the operands.
    Unordered,
}

/// What FXAM tells of a register that is not empty (SDM Vol. 2A, FXAM).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Pseudo-NaN, pseudo-infinity or unnormal (SDM Vol. 1, 8.2.2).
    Unsupported,
    /// Quiet or signaling NaN.
    Nan,
    /// Normal finite number.
    Normal,
    /// Infinity.
    Infinity,
    /// Zero.
    Zero,
    /// Denormal or pseudo-denormal.
    Denormal,
}

impl F80 {
    /// The integer bit.
    pub const INTEGER: u64 = 1 << 63;
    /// The bit that tells quiet NaNs from signaling ones.
    pub const QUIET: u64 = 1 << 62;
    /// The largest biased exponent: infinities and NaNs.
    pub const EXPONENT_MAX: u16 = 0x7fff;
    /// The QNaN real indefinite (SDM Vol. 1, 4.8.3.7).
    pub const INDEFINITE: F80 = F80::new(0xffff, 0xc000_0000_0000_0000);
    /// +0.
    pub const ZERO: F80 = F80::new(0, 0);
    /// +1.
    pub const ONE: F80 = F80::new(0x3fff, F80::INTEGER);
    /// Plus infinity.
    pub const INFINITY: F80 = F80::new(0x7fff, F80::INTEGER);

    /// From its two fields.
    pub const fn new(sign_exponent: u16, significand: u64) -> F80 {
        F80 {
            significand,
            sign_exponent,
        }
    }

    /// From sign, biased exponent (low 15 bits) and significand.
    pub const fn from_parts(sign: bool, exponent: u16, significand: u64) -> F80 {
        F80 {
            significand,
            sign_exponent: (sign as u16) << 15 | exponent & 0x7fff,
        }
    }

    /// From the ten bytes of memory.
    pub const fn from_bytes(bytes: [u8; 10]) -> F80 {
        let [a, b, c, d, e, f, g, h, i, j] = bytes;
        F80 {
            significand: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            sign_exponent: u16::from_le_bytes([i, j]),
        }
    }

    /// To the ten bytes of memory.
    pub const fn to_bytes(self) -> [u8; 10] {
        let [a, b, c, d, e, f, g, h] = self.significand.to_le_bytes();
        let [i, j] = self.sign_exponent.to_le_bytes();
        [a, b, c, d, e, f, g, h, i, j]
    }

    /// The sign bit is set.
    pub const fn is_negative(self) -> bool {
        self.sign_exponent >> 15 != 0
    }

    /// The biased exponent.
    pub const fn exponent(self) -> u16 {
        self.sign_exponent & 0x7fff
    }

    /// What FXAM tells, the empty register aside.
    pub const fn class(self) -> Class {
        match (self.exponent(), self.significand >> 63) {
            (0, _) if self.significand == 0 => Class::Zero,
            (0, _) => Class::Denormal,
            (_, 0) => Class::Unsupported,
            (F80::EXPONENT_MAX, _) if self.significand == F80::INTEGER => Class::Infinity,
            (F80::EXPONENT_MAX, _) => Class::Nan,
            _ => Class::Normal,
        }
    }

    /// A NaN whose quiet bit is clear.
    pub const fn is_signaling(self) -> bool {
        matches!(self.class(), Class::Nan) && self.significand & F80::QUIET == 0
    }

    /// FCHS.
    #[must_use]
    pub const fn negate(self) -> F80 {
        F80::new(self.sign_exponent ^ 0x8000, self.significand)
    }

    /// FABS.
    #[must_use]
    pub const fn abs(self) -> F80 {
        F80::new(self.sign_exponent & 0x7fff, self.significand)
    }

    /// A NaN with its quiet bit set.
    pub(crate) const fn quieted(self) -> F80 {
        F80::new(self.sign_exponent, self.significand | F80::QUIET)
    }

    /// A signed infinity.
    pub(crate) const fn infinity(sign: bool) -> F80 {
        F80::from_parts(sign, 0x7fff, F80::INTEGER)
    }

    /// A signed zero.
    pub(crate) const fn zero(sign: bool) -> F80 {
        F80::from_parts(sign, 0, 0)
    }
}
