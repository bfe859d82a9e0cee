//! What a channel remembers.

use crate::ata::packet::Unit;
use serde::{Deserialize, Serialize};

pub(super) const VERSION: u32 = 1;

/// A channel: its drives' registers, the command under way, and the bus master.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub devices: [Device; 2],
    /// Device/head register: bit 4 selects.
    pub select: u8,
    /// Device control register.
    pub control: u8,
    /// INTRQ of the selected device.
    pub interrupt: bool,
    pub transfer: Option<Transfer>,
    pub master: Master,
}

/// A drive's registers and modes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Device {
    pub status: u8,
    pub error: u8,
    /// Features, sector count, LBA low, mid, high: what was written last, and before that (48-bit commands).
    pub file: [[u8; 2]; 5],
    pub heads: u8,
    pub per_track: u8,
    pub multiple: u8,
    /// SET FEATURES' transfer mode.
    pub mode: u8,
    pub no_write_cache: bool,
    pub unit: Unit,
}

/// Which way data go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Direction {
    /// From the device to the host.
    In,
    Out,
}

/// What the data of a transfer are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Protocol {
    /// ATA by the data register.
    Pio,
    /// ATA by bus mastering; waits for the start bit.
    Dma,
    /// Ranges to trim, by bus mastering.
    Trim,
    /// The 12 bytes of a packet.
    Packet,
    /// Data of a packet command by the data register.
    PacketPio,
    PacketDma,
}

/// A command that moves data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Transfer {
    pub direction: Direction,
    pub protocol: Protocol,
    /// Bytes of a DRQ block; of packets' data the most that the host wants at once.
    pub block: u32,
    /// What the data register reads or has written.
    pub data: Vec<u8>,
    pub position: usize,
    /// Where the DRQ block under way ends in `data`.
    pub end: usize,
    /// What is yet to be read from the medium or written to it: from where and how many bytes.
    pub at: u64,
    pub left: u64,
}

/// Bus master registers of a channel.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Master {
    pub command: u8,
    pub status: u8,
    pub table: u32,
}
