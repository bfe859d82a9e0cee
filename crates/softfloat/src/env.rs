//! The floating-point environment: rounding, masks, modes and the exceptions met (SDM Vol. 1, 8.1.3 to 8.1.5 and 10.2.3).

use std::ops::{BitAnd, BitAndAssign, BitOr, BitOrAssign, Not};

/// A set of floating-point exceptions, with the bit order of MXCSR, FSW and FCW: IE DE ZE OE UE PE.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// No exception.
    pub const NONE: Flags = Flags(0);
    /// Invalid operation.
    pub const IE: Flags = Flags(1);
    /// Denormal operand.
    pub const DE: Flags = Flags(2);
    /// Division by zero.
    pub const ZE: Flags = Flags(4);
    /// Numeric overflow.
    pub const OE: Flags = Flags(8);
    /// Numeric underflow.
    pub const UE: Flags = Flags(16);
    /// Inexact result (precision).
    pub const PE: Flags = Flags(32);
    /// All six.
    pub const ALL: Flags = Flags(63);
    /// The exceptions found before the computation (SDM Vol. 1, 4.9.2): unmasked, they leave the destination as it was.
    pub const PRE_COMPUTATION: Flags = Flags(7);

    /// The set of the low six bits of `bits`.
    pub const fn from_bits(bits: u8) -> Flags {
        Flags(bits & 63)
    }

    /// The bits, as they stand in MXCSR and FSW bits 0 to 5.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// No exception in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// All of `other` are in the set.
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// Some of `other` are in the set.
    pub const fn intersects(self, other: Flags) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Flags {
    type Output = Flags;
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    fn bitor_assign(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

impl BitAnd for Flags {
    type Output = Flags;
    fn bitand(self, other: Flags) -> Flags {
        Flags(self.0 & other.0)
    }
}

impl BitAndAssign for Flags {
    fn bitand_assign(&mut self, other: Flags) {
        self.0 &= other.0;
    }
}

impl Not for Flags {
    type Output = Flags;
    fn not(self) -> Flags {
        Flags(!self.0 & 63)
    }
}

impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut separator = "";
        for (bit, name) in ["IE", "DE", "ZE", "OE", "UE", "PE"].iter().enumerate() {
            if self.0 >> bit & 1 != 0 {
                write!(f, "{separator}{name}")?;
                separator = "|";
            }
        }
        if separator.is_empty() {
            f.write_str("-")
        } else {
            Ok(())
        }
    }
}

/// Rounding control, with the encoding of the RC fields of MXCSR and FCW (SDM Vol. 1, table 4-8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Rounding {
    /// To the nearest value, ties to even.
    #[default]
    Nearest = 0,
    /// Towards minus infinity.
    Down = 1,
    /// Towards plus infinity.
    Up = 2,
    /// Towards zero (truncate).
    Zero = 3,
}

impl Rounding {
    /// From the low two bits of `rc`.
    pub const fn from_rc(rc: u8) -> Rounding {
        match rc & 3 {
            0 => Rounding::Nearest,
            1 => Rounding::Down,
            2 => Rounding::Up,
            _ => Rounding::Zero,
        }
    }
}

/// x87 precision control: how many significand bits FADD, FSUB, FMUL, FDIV and FSQRT keep (SDM Vol. 1, table 8-2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 24 bits.
    Single,
    /// 53 bits.
    Double,
    /// 64 bits.
    #[default]
    Extended,
}

impl Precision {
    /// From the low two bits of `pc`; the reserved encoding 01 computes in extended precision, as chips do.
    pub const fn from_pc(pc: u8) -> Precision {
        match pc & 3 {
            0 => Precision::Single,
            2 => Precision::Double,
            _ => Precision::Extended,
        }
    }

    /// Bits of the significand, its integer bit included.
    pub const fn bits(self) -> u32 {
        match self {
            Precision::Single => 24,
            Precision::Double => 53,
            Precision::Extended => 64,
        }
    }
}

/// What an operation works under, and what it met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Env {
    /// Rounding control.
    pub rounding: Rounding,
    /// Exceptions masked (bit set: masked).
    pub masks: Flags,
    /// MXCSR.DAZ: SSE operations take denormal operands as zeros.
    pub daz: bool,
    /// MXCSR.FTZ: SSE operations flush tiny results to zero while UE is masked.
    pub ftz: bool,
    /// x87 precision control.
    pub precision: Precision,
    /// Exceptions met by the operations run under this environment; each operation or-s in its own.
    pub flags: Flags,
    /// x87 C1: the last x87 result was rounded up in magnitude. Assigned by each x87 operation that rounds; others clear it.
    pub roundup: bool,
}

impl Default for Env {
    /// All exceptions masked, nearest, extended: FNINIT and the reset value of MXCSR.
    fn default() -> Env {
        Env::from_fcw(0x37f)
    }
}

impl Env {
    /// The controls of an MXCSR value. Its sticky flags are not taken: `flags` starts empty, and the caller or-s
    /// `flags.bits()` into MXCSR afterwards.
    pub const fn from_mxcsr(mxcsr: u32) -> Env {
        Env {
            rounding: Rounding::from_rc((mxcsr >> 13) as u8),
            masks: Flags::from_bits((mxcsr >> 7) as u8),
            daz: mxcsr >> 6 & 1 != 0,
            ftz: mxcsr >> 15 & 1 != 0,
            precision: Precision::Extended,
            flags: Flags::NONE,
            roundup: false,
        }
    }

    /// The controls of an x87 control word; `flags` starts empty.
    pub const fn from_fcw(fcw: u16) -> Env {
        Env {
            rounding: Rounding::from_rc((fcw >> 10) as u8),
            masks: Flags::from_bits(fcw as u8),
            daz: false,
            ftz: false,
            precision: Precision::from_pc((fcw >> 8) as u8),
            flags: Flags::NONE,
            roundup: false,
        }
    }

    /// The exceptions met that are not masked: the ones that raise #XM, or #MF at the next waiting x87 instruction.
    pub fn unmasked(&self) -> Flags {
        self.flags & !self.masks
    }

    /// An unmasked IE, DE or ZE was met: the destination, the stack top and EFLAGS stay as they were (SDM Vol. 1, 8.5 and 11.5.3).
    /// Results that go to memory or, in SSE, anywhere stay unwritten for any unmasked exception but PE in x87.
    pub fn suppresses_result(&self) -> bool {
        self.unmasked().intersects(Flags::PRE_COMPUTATION)
    }

    /// To be called when the elements of a packed SSE operation have all run under this environment: if one of them met an
    /// unmasked pre-computation exception, no element reports post-computation ones (SDM Vol. 1, 11.5.3 and E.4).
    pub fn finish_packed(&mut self) {
        if self.suppresses_result() {
            self.flags &= Flags::PRE_COMPUTATION;
        }
    }

    /// Raises `flags`; true if one of them is not masked.
    #[inline]
    pub(crate) fn raise(&mut self, flags: Flags) -> bool {
        self.flags |= flags;
        flags.intersects(!self.masks)
    }

    #[inline]
    pub(crate) fn masked(&self, flags: Flags) -> bool {
        self.masks.contains(flags)
    }
}
