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

/// How an access is done: a quadword in two halves. Whatever else crosses a doubleword reaches nothing, which the specification leaves open.
fn parts(offset: u64, size: AccessSize) -> impl Iterator<Item = Part> {
    let (count, size) = match size {
        AccessSize::Qword => (2, AccessSize::Dword),
        _ => (1, size),
    };
    (0..count).map(move |n| Part {
        size,
        shift: 32 * n,
        register: register(offset + u64::from(4 * n), size),
    })
}

/// One configuration cycle.
struct Part {
    size: AccessSize,
    /// Where its bits stand in the value.
    shift: u32,
    register: Option<(Address, u8)>,
}

impl Device for Ecam {
    fn name(&self) -> &str {
        "pci-ecam"
    }

    fn mmio_read(&mut self, _: usize, offset: u64, size: AccessSize) -> u64 {
        parts(offset, size).fold(0, |value, part| {
            let bits = match part.register {
                Some((at, register)) => self.pci.config_read(at, register, part.size),
                None => part.size.mask() as u32,
            };
            value | u64::from(bits) << part.shift
        })
    }

    fn mmio_write(&mut self, _: usize, offset: u64, size: AccessSize, value: u64) {
        for part in parts(offset, size) {
            if let Some((at, register)) = part.register {
                let bits = (value >> part.shift) as u32;
                self.pci.config_write(at, register, part.size, bits);
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
