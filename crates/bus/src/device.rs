//! What a chip is to the rest of the machine.

use snapshot::{Error, Section};

/// The size of one bus access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum AccessSize {
    Byte = 1,
    Word = 2,
    Dword = 4,
    Qword = 8,
}

impl AccessSize {
    /// Bytes moved.
    pub const fn bytes(self) -> u64 {
        self as u64
    }
    /// All bits that the access moves.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self as u32)
    }
}

/// A chip on the bus. Ports and MMIO offsets are relative to where the board placed the range; `region` tells which of the device's
/// ranges was hit (numbered by the board in the order of placement).
///
/// All methods are called with the device's lock held; none may block. A guest may do anything at any time, so every method must be
/// total: no panic, no unbounded loop.
pub trait Device: Send {
    /// Unique name inside the machine ("i8254", "uart0").
    fn name(&self) -> &str;

    /// IN. Undecoded bits read as ones.
    fn port_read(&mut self, region: usize, offset: u16, size: AccessSize) -> u32 {
        let _ = (region, offset);
        size.mask() as u32
    }
    /// OUT.
    fn port_write(&mut self, region: usize, offset: u16, size: AccessSize, value: u32) {
        let _ = (region, offset, size, value);
    }
    /// A load from the device's memory range.
    fn mmio_read(&mut self, region: usize, offset: u64, size: AccessSize) -> u64 {
        let _ = (region, offset);
        size.mask()
    }
    /// A store to the device's memory range.
    fn mmio_write(&mut self, region: usize, offset: u64, size: AccessSize, value: u64) {
        let _ = (region, offset, size, value);
    }
    /// An [`Alarm`](crate::Alarm) of this device is due; `now` is virtual time in nanoseconds, not before the deadline.
    fn expire(&mut self, now: u64) {
        let _ = now;
    }
    /// RESET#: back to the power-on state of the datasheet.
    fn reset(&mut self);
    /// The device's state.
    fn save(&self) -> Result<Section, Error>;
    /// Takes over a saved state; on error the device is unchanged.
    fn restore(&mut self, section: &Section) -> Result<(), Error>;
}
