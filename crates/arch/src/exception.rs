//! Exceptions and how they are reported (Vol. 3A, 6.3 and table 6-1).

/// An exception or interrupt vector that the processor itself raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exception {
    /// #DE, divide error.
    DE = 0,
    /// #DB, debug.
    DB = 1,
    /// Non-maskable interrupt.
    NMI = 2,
    /// #BP, breakpoint.
    BP = 3,
    /// #OF, overflow.
    OF = 4,
    /// #BR, BOUND range exceeded.
    BR = 5,
    /// #UD, undefined opcode.
    UD = 6,
    /// #NM, device not available.
    NM = 7,
    /// #DF, double fault.
    DF = 8,
    /// #TS, invalid TSS.
    TS = 10,
    /// #NP, segment not present.
    NP = 11,
    /// #SS, stack-segment fault.
    SS = 12,
    /// #GP, general protection.
    GP = 13,
    /// #PF, page fault.
    PF = 14,
    /// #MF, x87 floating-point error.
    MF = 16,
    /// #AC, alignment check.
    AC = 17,
    /// #MC, machine check.
    MC = 18,
    /// #XM, SIMD floating-point exception.
    XM = 19,
}

impl Exception {
    /// Whether delivery pushes an error code (Vol. 3A, table 6-1).
    pub const fn has_error_code(self) -> bool {
        matches!(
            self,
            Self::DF | Self::TS | Self::NP | Self::SS | Self::GP | Self::PF | Self::AC
        )
    }
}

/// An exception about to be delivered. For #PF the faulting address stands in CR2 already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub exception: Exception,
    /// Pushed only where [`Exception::has_error_code`] says so.
    pub error_code: u32,
}

impl Fault {
    /// A fault whose error code is zero or absent.
    pub const fn new(exception: Exception) -> Self {
        Self {
            exception,
            error_code: 0,
        }
    }
    /// A fault with an error code.
    pub const fn with_code(exception: Exception, error_code: u32) -> Self {
        Self {
            exception,
            error_code,
        }
    }
    /// #GP(0).
    pub const GP0: Self = Self::new(Exception::GP);
    /// #UD.
    pub const UD: Self = Self::new(Exception::UD);
    /// #NM.
    pub const NM: Self = Self::new(Exception::NM);
}

/// Bits of a page-fault error code (Vol. 3A, 4.7).
pub mod pf {
    /// The fault was caused by a protection violation, not a missing page.
    pub const PRESENT: u32 = 1 << 0;
    /// The access was a write.
    pub const WRITE: u32 = 1 << 1;
    /// The access was made in user mode.
    pub const USER: u32 = 1 << 2;
    /// A reserved bit was set in a paging-structure entry.
    pub const RESERVED: u32 = 1 << 3;
    /// The access was an instruction fetch.
    pub const FETCH: u32 = 1 << 4;
}
