//! Registers and bits of the RTL8139C(L) (Realtek, "RTL8139C(L) data sheet" 1.4, chapter 5).

pub(super) const IDR0: u8 = 0x00;
pub(super) const MAR0: u8 = 0x08;
pub(super) const TSD0: u8 = 0x10;
pub(super) const TSAD0: u8 = 0x20;
pub(super) const RBSTART: u8 = 0x30;
pub(super) const ERBCR: u8 = 0x34;
pub(super) const ERSR: u8 = 0x36;
pub(super) const CR: u8 = 0x37;
pub(super) const CAPR: u8 = 0x38;
pub(super) const CBR: u8 = 0x3a;
pub(super) const IMR: u8 = 0x3c;
pub(super) const ISR: u8 = 0x3e;
pub(super) const TCR: u8 = 0x40;
pub(super) const RCR: u8 = 0x44;
pub(super) const TCTR: u8 = 0x48;
pub(super) const MPC: u8 = 0x4c;
pub(super) const CR9346: u8 = 0x50;
pub(super) const CONFIG0: u8 = 0x51;
pub(super) const CONFIG1: u8 = 0x52;
pub(super) const TIMER_INT: u8 = 0x54;
pub(super) const MSR: u8 = 0x58;
pub(super) const CONFIG3: u8 = 0x59;
pub(super) const CONFIG4: u8 = 0x5a;
pub(super) const MULINT: u8 = 0x5c;
pub(super) const TSAD: u8 = 0x60;
pub(super) const BMCR: u8 = 0x62;
pub(super) const BMSR: u8 = 0x64;
pub(super) const ANAR: u8 = 0x66;
pub(super) const ANLPAR: u8 = 0x68;
pub(super) const ANER: u8 = 0x6a;
pub(super) const CSCR: u8 = 0x74;

/// Transmit status (5.4).
pub(super) mod tsd {
    pub const SIZE: u32 = 0x1fff;
    pub const OWN: u32 = 1 << 13;
    pub const TOK: u32 = 1 << 15;
    pub const TABT: u32 = 1 << 30;
    pub const CRS: u32 = 1 << 31;
    pub const THRESHOLD: u32 = 0x3f << 16;
}

/// Command (5.7).
pub(super) mod cr {
    pub const BUFE: u8 = 1;
    pub const TE: u8 = 4;
    pub const RE: u8 = 8;
    pub const RST: u8 = 0x10;
}

/// Interrupt status and mask (5.8, 5.9).
pub(super) mod isr {
    pub const ROK: u16 = 1;
    pub const TOK: u16 = 4;
    pub const LINK: u16 = 0x20;
    pub const TIMEOUT: u16 = 0x4000;
    pub const SERR: u16 = 0x8000;
    pub const ALL: u16 = 0xe07f;
}

/// Receive configuration (5.11).
pub(super) mod rcr {
    pub const AAP: u32 = 1;
    pub const APM: u32 = 2;
    pub const AM: u32 = 4;
    pub const AB: u32 = 8;
    pub const WRAP: u32 = 0x80;
}

/// Transmit configuration (5.10): what can be written, and the chip's version.
pub(super) mod tcr {
    pub const CLRABT: u32 = 1;
    pub const WRITABLE: u32 = 0x0307_07f0;
    pub const VERSION: u32 = 0x7400_0000;
}

/// 93C46 command (5.13).
pub(super) mod cr9346 {
    pub const EEDO: u8 = 1;
    pub const EEDI: u8 = 2;
    pub const EESK: u8 = 4;
    pub const EECS: u8 = 8;
    /// Operating mode: all bits lets the configuration be written, the upper one alone drives the EEPROM's pins.
    pub const EEM: u8 = 0xc0;
    pub const PROGRAM: u8 = 0x80;
    pub const AUTOLOAD: u8 = 0x40;
}

/// A packet's header in the receive buffer (5.1).
pub(super) mod header {
    pub const ROK: u16 = 1;
    pub const BAR: u16 = 0x2000;
    pub const PAM: u16 = 0x4000;
    pub const MAR: u16 = 0x8000;
    pub const BYTES: usize = 4;
}
