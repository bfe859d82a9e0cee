//! What ATA devices say and understand, whatever carries the commands (the PIIX3's task file, an AHCI port): ATA/ATAPI-7 (INCITS 397-2005)
//! with the parts of ACS-2 that today's systems ask for, and the MMC-5 packet commands of a CD-ROM.

pub(crate) mod identify;
pub(crate) mod packet;

use block::Disk;

/// Bytes of an ATA sector.
pub(crate) const SECTOR: u64 = 512;
/// Bytes of a CD's block.
pub(crate) const BLOCK: u64 = 2048;
/// Most sectors in one DRQ block of READ/WRITE MULTIPLE.
pub(crate) const MULTIPLE_MAX: u8 = 16;

/// Status register (7.15).
pub(crate) mod status {
    pub const ERR: u8 = 0x01;
    pub const DRQ: u8 = 0x08;
    /// Seek complete in old devices.
    pub const DSC: u8 = 0x10;
    pub const DF: u8 = 0x20;
    pub const DRDY: u8 = 0x40;
    pub const BSY: u8 = 0x80;
}

/// Error register (7.9).
pub(crate) mod error {
    pub const ABRT: u8 = 0x04;
    pub const IDNF: u8 = 0x10;
    pub const UNC: u8 = 0x40;
}

/// Commands (clause 6, and table 10 of ACS-2).
pub(crate) mod command {
    pub const DATA_SET_MANAGEMENT: u8 = 0x06;
    pub const DEVICE_RESET: u8 = 0x08;
    pub const READ_SECTORS: u8 = 0x20;
    pub const READ_SECTORS_NO_RETRY: u8 = 0x21;
    pub const READ_SECTORS_EXT: u8 = 0x24;
    pub const READ_DMA_EXT: u8 = 0x25;
    pub const READ_NATIVE_MAX_EXT: u8 = 0x27;
    pub const READ_MULTIPLE_EXT: u8 = 0x29;
    pub const WRITE_SECTORS: u8 = 0x30;
    pub const WRITE_SECTORS_NO_RETRY: u8 = 0x31;
    pub const WRITE_SECTORS_EXT: u8 = 0x34;
    pub const WRITE_DMA_EXT: u8 = 0x35;
    pub const WRITE_MULTIPLE_EXT: u8 = 0x39;
    pub const WRITE_DMA_FUA_EXT: u8 = 0x3d;
    pub const READ_VERIFY: u8 = 0x40;
    pub const READ_VERIFY_NO_RETRY: u8 = 0x41;
    pub const READ_VERIFY_EXT: u8 = 0x42;
    pub const READ_FPDMA_QUEUED: u8 = 0x60;
    pub const WRITE_FPDMA_QUEUED: u8 = 0x61;
    pub const EXECUTE_DIAGNOSTIC: u8 = 0x90;
    pub const INITIALIZE_PARAMETERS: u8 = 0x91;
    pub const PACKET: u8 = 0xa0;
    pub const IDENTIFY_PACKET: u8 = 0xa1;
    pub const READ_MULTIPLE: u8 = 0xc4;
    pub const WRITE_MULTIPLE: u8 = 0xc5;
    pub const SET_MULTIPLE: u8 = 0xc6;
    pub const READ_DMA: u8 = 0xc8;
    pub const READ_DMA_NO_RETRY: u8 = 0xc9;
    pub const WRITE_DMA: u8 = 0xca;
    pub const WRITE_DMA_NO_RETRY: u8 = 0xcb;
    pub const CHECK_POWER: u8 = 0xe5;
    pub const FLUSH_CACHE: u8 = 0xe7;
    pub const FLUSH_CACHE_EXT: u8 = 0xea;
    pub const IDENTIFY: u8 = 0xec;
    pub const SET_FEATURES: u8 = 0xef;
    pub const SECURITY_FREEZE: u8 = 0xf5;
    pub const READ_NATIVE_MAX: u8 = 0xf8;
}

/// What the signature in the registers says after a reset (9.12).
pub(crate) const SIGNATURE_PACKET: [u8; 2] = [0x14, 0xeb];

/// Cylinders, heads and sectors of the default translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub cylinders: u16,
    pub heads: u8,
    pub sectors: u8,
}

impl Geometry {
    /// 16 heads, 63 sectors, as many cylinders as fit and words can say (Annex B).
    pub(crate) fn of(sectors: u64) -> Self {
        Self {
            cylinders: (sectors / (16 * 63)).clamp(1, 16383) as u16,
            heads: 16,
            sectors: 63,
        }
    }
}

/// Sectors of a disk: a tail of less than one is not reachable.
pub(crate) fn sectors(disk: &Disk) -> u64 {
    disk.image().size() / SECTOR
}
