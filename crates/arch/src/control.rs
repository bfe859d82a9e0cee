//! RFLAGS, the control registers and EFER (Vol. 1, 3.4.3; Vol. 3A, 2.2.1, 2.5).

use bitflags::bitflags;

bitflags! {
    /// RFLAGS (Vol. 1, 3.4.3).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rflags: u64 {
        const CF = 1 << 0;
        /// Bit 1 reads as one.
        const FIXED = 1 << 1;
        const PF = 1 << 2;
        const AF = 1 << 4;
        const ZF = 1 << 6;
        const SF = 1 << 7;
        const TF = 1 << 8;
        const IF = 1 << 9;
        const DF = 1 << 10;
        const OF = 1 << 11;
        const IOPL = 3 << 12;
        const NT = 1 << 14;
        const RF = 1 << 16;
        const VM = 1 << 17;
        const AC = 1 << 18;
        const VIF = 1 << 19;
        const VIP = 1 << 20;
        const ID = 1 << 21;
        /// The six status flags.
        const STATUS = 0x8d5;
    }

    /// CR0 (Vol. 3A, 2.5).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Cr0: u64 {
        const PE = 1 << 0;
        const MP = 1 << 1;
        const EM = 1 << 2;
        const TS = 1 << 3;
        const ET = 1 << 4;
        const NE = 1 << 5;
        const WP = 1 << 16;
        const AM = 1 << 18;
        const NW = 1 << 29;
        const CD = 1 << 30;
        const PG = 1 << 31;
    }

    /// CR4 (Vol. 3A, 2.5).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Cr4: u64 {
        const VME = 1 << 0;
        const PVI = 1 << 1;
        const TSD = 1 << 2;
        const DE = 1 << 3;
        const PSE = 1 << 4;
        const PAE = 1 << 5;
        const MCE = 1 << 6;
        const PGE = 1 << 7;
        const PCE = 1 << 8;
        const OSFXSR = 1 << 9;
        const OSXMMEXCPT = 1 << 10;
        const UMIP = 1 << 11;
        const LA57 = 1 << 12;
        const VMXE = 1 << 13;
        const FSGSBASE = 1 << 16;
        const PCIDE = 1 << 17;
        const OSXSAVE = 1 << 18;
        const SMEP = 1 << 20;
        const SMAP = 1 << 21;
        const PKE = 1 << 22;
    }

    /// IA32_EFER (Vol. 3A, 2.2.1).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Efer: u64 {
        const SCE = 1 << 0;
        const LME = 1 << 8;
        const LMA = 1 << 10;
        const NXE = 1 << 11;
    }
}

/// DR6 and DR7 bits (Vol. 3B, 17.2).
pub mod debug {
    /// DR6: bits that read as one.
    pub const DR6_FIXED: u64 = 0xffff_0ff0;
    /// DR6.B0 to B3: the breakpoints that were met.
    pub const DR6_BREAKPOINTS: u64 = 0xf;
    /// DR6.BS: single step.
    pub const DR6_BS: u64 = 1 << 14;
    /// DR6.BD: debug-register access while DR7.GD is set.
    pub const DR6_BD: u64 = 1 << 13;
    /// DR6.BT: task switch into a TSS with T set.
    pub const DR6_BT: u64 = 1 << 15;
    /// DR7: bit 10 reads as one.
    pub const DR7_FIXED: u64 = 0x400;
    /// DR7.GD: general detect.
    pub const DR7_GD: u64 = 1 << 13;
}
