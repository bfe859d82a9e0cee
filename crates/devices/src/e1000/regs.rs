//! Registers and bits of the 82540EM ("PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual", chapter 13).

pub(super) const CTRL: u32 = 0x0000;
pub(super) const STATUS: u32 = 0x0008;
pub(super) const EECD: u32 = 0x0010;
pub(super) const EERD: u32 = 0x0014;
pub(super) const MDIC: u32 = 0x0020;
pub(super) const ICR: u32 = 0x00c0;
pub(super) const ICS: u32 = 0x00c8;
pub(super) const IMS: u32 = 0x00d0;
pub(super) const IMC: u32 = 0x00d8;
pub(super) const RCTL: u32 = 0x0100;
pub(super) const TCTL: u32 = 0x0400;
pub(super) const RDBAL: u32 = 0x2800;
pub(super) const RDBAH: u32 = 0x2804;
pub(super) const RDLEN: u32 = 0x2808;
pub(super) const RDH: u32 = 0x2810;
pub(super) const RDT: u32 = 0x2818;
pub(super) const TDBAL: u32 = 0x3800;
pub(super) const TDBAH: u32 = 0x3804;
pub(super) const TDLEN: u32 = 0x3808;
pub(super) const TDH: u32 = 0x3810;
pub(super) const TDT: u32 = 0x3818;
pub(super) const STATISTICS: u32 = 0x4000;
pub(super) const RXCSUM: u32 = 0x5000;
pub(super) const MTA: u32 = 0x5200;
pub(super) const RA: u32 = 0x5400;
pub(super) const VFTA: u32 = 0x5600;
pub(super) const VET: u32 = 0x0038;

/// Registers that only remember what is written, with the bits that they have: delays, thresholds, flow control, LEDs, wake-up.
pub(super) const PLAIN: [(u32, u32); 25] = [
    (VET, 0xffff),
    (0x0018, u32::MAX),    // CTRL_EXT
    (0x001c, u32::MAX),    // FLA
    (0x0028, u32::MAX),    // FCAL
    (0x002c, 0xffff),      // FCAH
    (0x0030, 0xffff),      // FCT
    (0x00c4, 0xffff),      // ITR
    (0x0170, 0xffff),      // FCTTV
    (0x0178, u32::MAX),    // TXCW
    (0x0410, 0x3fff_ffff), // TIPG
    (0x0458, 0xffff),      // AIFS
    (0x0e00, u32::MAX),    // LEDCTL
    (0x1000, 0xffff),      // PBA
    (0x2160, 0xffff),      // FCRTL
    (0x2168, 0xffff),      // FCRTH
    (0x2820, 0xffff),      // RDTR
    (0x2828, u32::MAX),    // RXDCTL
    (0x282c, 0xffff),      // RADV
    (0x2c00, 0xfff),       // RSRPD
    (0x3820, 0xffff),      // TIDV
    (0x3828, u32::MAX),    // TXDCTL
    (0x382c, 0xffff),      // TADV
    (0x3830, u32::MAX),    // TSPMT
    (0x5800, 0xf),         // WUC
    (0x5820, u32::MAX),    // MANC
];

/// Device control (13.4.1).
pub(super) mod ctrl {
    pub const FD: u32 = 1;
    pub const SPEED_1000: u32 = 2 << 8;
    pub const RST: u32 = 1 << 26;
    pub const VME: u32 = 1 << 30;
    pub const PHY_RST: u32 = 1 << 31;
    /// What can be written.
    pub const WRITABLE: u32 = 0x7b7f_fbff;
}

/// Device status (13.4.2): full duplex, link up, 1000 Mb/s.
pub(super) const STATUS_VALUE: u32 = 1 | 1 << 1 | 2 << 6 | 2 << 8;

/// EEPROM control (13.4.3).
pub(super) mod eecd {
    pub const SK: u32 = 1;
    pub const CS: u32 = 2;
    pub const DI: u32 = 4;
    pub const DO: u32 = 8;
    pub const FWE: u32 = 3 << 4;
    pub const REQ: u32 = 1 << 6;
    pub const GNT: u32 = 1 << 7;
    pub const PRES: u32 = 1 << 8;
}

/// EEPROM read (13.4.4).
pub(super) mod eerd {
    pub const START: u32 = 1;
    pub const DONE: u32 = 1 << 4;
}

/// Management data (13.4.6).
pub(super) mod mdic {
    pub const WRITE: u32 = 1 << 26;
    pub const READ: u32 = 2 << 26;
    pub const OP: u32 = 3 << 26;
    pub const READY: u32 = 1 << 28;
    pub const INTERRUPT: u32 = 1 << 29;
    pub const ERROR: u32 = 1 << 30;
}

/// Interrupt causes (13.4.17).
pub(super) mod cause {
    pub const TXDW: u32 = 1;
    pub const TXQE: u32 = 1 << 1;
    pub const LSC: u32 = 1 << 2;
    pub const RXDMT0: u32 = 1 << 4;
    pub const RXO: u32 = 1 << 6;
    pub const RXT0: u32 = 1 << 7;
    pub const MDAC: u32 = 1 << 9;
    pub const ALL: u32 = 0x1_ffff;
}

/// Receive control (13.4.22).
pub(super) mod rctl {
    pub const EN: u32 = 1 << 1;
    pub const UPE: u32 = 1 << 3;
    pub const MPE: u32 = 1 << 4;
    pub const LPE: u32 = 1 << 5;
    pub const BAM: u32 = 1 << 15;
    pub const VFE: u32 = 1 << 18;
    pub const BSEX: u32 = 1 << 25;
    pub const SECRC: u32 = 1 << 26;
}

/// Transmit control (13.4.33).
pub(super) const TCTL_EN: u32 = 1 << 1;
/// A receive address is valid (13.5.3).
pub(super) const RAH_AV: u32 = 1 << 31;
/// Receive checksum control (13.4.49): IP, TCP and UDP.
pub(super) const IPOFL: u32 = 1 << 8;
pub(super) const TUOFL: u32 = 1 << 9;

/// Statistics (13.7), by their offset from [`STATISTICS`].
pub(super) mod statistic {
    pub const MPC: u32 = 0x10;
    pub const ROC: u32 = 0xac;
    pub const GPRC: u32 = 0x74;
    pub const BPRC: u32 = 0x78;
    pub const MPRC: u32 = 0x7c;
    pub const GPTC: u32 = 0x80;
    pub const GORC: u32 = 0x88;
    pub const GOTC: u32 = 0x90;
    pub const TOR: u32 = 0xc0;
    pub const TOT: u32 = 0xc8;
    pub const TPR: u32 = 0xd0;
    pub const TPT: u32 = 0xd4;
    pub const MPTC: u32 = 0xf0;
    pub const BPTC: u32 = 0xf4;
    pub const TSCTC: u32 = 0xf8;
    pub const BYTES: u32 = 0x100;
}
