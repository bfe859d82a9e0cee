//! The processor's mode as far as the meaning of code depends on it: the mode part of a translation's key.

/// The size of a default operand or address, or of a stack pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Size {
    B16 = 0,
    B32 = 1,
    B64 = 2,
}

impl Size {
    /// 16, 32 or 64.
    pub const fn bits(self) -> u32 {
        16 << self as u32
    }
    /// All bits of an address of this size.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - self.bits())
    }
}

/// A set of decode-time facts about the processor. Code decoded or translated under one `Mode` is valid only under the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(transparent)]
pub struct Mode(pub u32);

macro_rules! bits {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $get:ident;)*) => {
        impl Mode {
            $($(#[$doc])* pub const $name: u32 = 1 << $bit;
              $(#[$doc])* #[inline(always)] pub const fn $get(self) -> bool { self.0 & Self::$name != 0 })*
        }
    };
}

bits! {
    /// SS.B: the stack pointer is ESP outside 64-bit mode.
    STACK32 = 2, stack32;
    /// CR0.PE and not RFLAGS.VM: selectors name descriptors.
    PROTECTED = 5, protected;
    /// RFLAGS.VM.
    VM86 = 6, vm86;
    /// IA32_EFER.LMA.
    LONG = 7, long;
    /// DS, ES and SS have base 0, limit 4 GiB and are present and writable (or 64-bit mode makes them so).
    FLAT = 8, flat;
    /// Supervisor accesses may touch user pages: no SMAP or RFLAGS.AC.
    USER_PAGES = 9, user_pages;
    /// RFLAGS.TF: single step.
    TRAP = 10, trap;
    /// CR0.EM.
    EM = 11, em;
    /// CR0.TS.
    TS = 12, ts;
    /// CR0.MP.
    MP = 13, mp;
    /// CR4.OSFXSR.
    OSFXSR = 14, osfxsr;
    /// Data breakpoints or alignment checks are armed: every access takes the slow path of the evaluator.
    CHECKED = 15, checked;
    /// All exceptions of MXCSR are masked.
    FP_MASKED = 16, fp_masked;
    /// All exceptions of FCW are masked, and engines may use the host's x87.
    X87_MASKED = 17, x87_masked;
}

impl Mode {
    /// A mode of these parts; flags are or-ed from the constants.
    pub const fn new(code: Size, cpl: u8, flags: u32) -> Self {
        Self(code as u32 | (cpl as u32 & 3) << 3 | flags)
    }
    /// CS.L and CS.D: the default operand and address size.
    #[inline(always)]
    pub const fn code(self) -> Size {
        match self.0 & 3 {
            0 => Size::B16,
            1 => Size::B32,
            _ => Size::B64,
        }
    }
    /// 64-bit mode (not compatibility mode).
    #[inline(always)]
    pub const fn is_64(self) -> bool {
        self.0 & 3 == 2
    }
    /// The size of the stack pointer.
    #[inline(always)]
    pub const fn stack(self) -> Size {
        if self.is_64() {
            Size::B64
        } else if self.stack32() {
            Size::B32
        } else {
            Size::B16
        }
    }
    /// Current privilege level.
    #[inline(always)]
    pub const fn cpl(self) -> u8 {
        (self.0 >> 3 & 3) as u8
    }
}
