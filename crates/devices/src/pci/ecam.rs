//! The enhanced configuration access mechanism for bus 0 (PCI Express Base Specification 4.0, 7.2.2): configuration space as memory, 4 KiB a
//! function.
//!
//! The functions are conventional ones: where registers beyond the 256th would be, reads give all ones and writes go nowhere.

use super::{Address, PciBus};
use bus::{AccessSize, Device};
use snapshot::{Error, Section};

const VERSION: u32 = 1;

/// Configuration space of `pci` as one region of memory.
pub struct Ecam {
    pci: PciBus,
}

impl Ecam {
    /// Bytes of the region: 256 functions.
    pub const SIZE: u64 = 1 << 20;

    /// The functions of `pci`.
    pub fn new(pci: PciBus) -> Self {
        Self { pci }
    }
}

/// The function and register at `offset`, for an access that stays inside a doubleword of its first 256 bytes.
fn register(offset: u64, size: AccessSize) -> Option<(Address, u8)> {
    let inside = offset % 4 + size.bytes() <= 4;
    (offset < Ecam::SIZE && offset & 0xf00 == 0 && inside)
        .then_some((Address((offset >> 12) as u8), offset as u8))
}

/// A quadword in two halves; whatever else crosses a doubleword reaches nothing, which the specification leaves open.
fn halves(offset: u64, size: AccessSize) -> impl Iterator<Item = (u32, Option<(Address, u8)>)> {
    let (count, part) = match size {
        AccessSize::Qword => (2, AccessSize::Dword),
        _ => (1, size),
    };
    (0..count).map(move |n| (32 * n, register(offset + u64::from(4 * n), part)))
}

impl Device for Ecam {
    fn name(&self) -> &str {
        "pci-ecam"
    }

    fn mmio_read(&mut self, _: usize, offset: u64, size: AccessSize) -> u64 {
        let part = if size == AccessSize::Qword {
            AccessSize::Dword
        } else {
            size
        };
        halves(offset, size).fold(0, |value, (shift, found)| {
            let half = match found {
                Some((at, register)) => self.pci.config_read(at, register, part),
                None => part.mask() as u32,
            };
            value | u64::from(half) << shift
        })
    }

    fn mmio_write(&mut self, _: usize, offset: u64, size: AccessSize, value: u64) {
        let part = if size == AccessSize::Qword {
            AccessSize::Dword
        } else {
            size
        };
        for (shift, found) in halves(offset, size) {
            if let Some((at, register)) = found {
                self.pci
                    .config_write(at, register, part, (value >> shift) as u32);
            }
        }
    }

    fn reset(&mut self) {}

    fn save(&self) -> Result<Section, Error> {
        Section::new(self.name(), VERSION, &())
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        section.read(self.name(), VERSION)
    }
}
