//! A ROM that answers a second time below 1 MiB (82371SB datasheet, 3.1.14 XBCS: BIOSCS# for 0xE0000-0xFFFFF), while no shadow RAM hides it.

use bus::{AccessSize, Device};
use memory::Ram;
use snapshot::{Error, Section};
use std::sync::Arc;

/// The end of a bank of memory, as one memory region.
pub struct RomAlias {
    ram: Arc<Ram>,
    bank: usize,
    start: u64,
}

impl RomAlias {
    /// A region that shows bank `bank` of `ram` from `start` on.
    pub fn new(ram: Arc<Ram>, bank: usize, start: u64) -> Self {
        Self { ram, bank, start }
    }
}

impl Device for RomAlias {
    fn name(&self) -> &str {
        "rom-alias"
    }
    fn mmio_read(&mut self, _: usize, offset: u64, size: AccessSize) -> u64 {
        let mut bytes = [0xff; 8];
        let n = (size.bytes() as usize).min(8);
        let at = self.start.saturating_add(offset);
        for (i, b) in bytes.iter_mut().take(n).enumerate() {
            let mut byte = [0xff];
            self.ram
                .read_bank(self.bank, at.saturating_add(i as u64), &mut byte);
            *b = byte[0];
        }
        u64::from_le_bytes(bytes) & size.mask()
    }
    fn reset(&mut self) {}
    fn save(&self) -> Result<Section, Error> {
        let Self {
            ram: _,
            bank: _,
            start: _,
        } = self;
        Section::new(self.name(), 1, &())
    }
    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        section.read(self.name(), 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_bank_shows() {
        let ram = Ram::with_banks(0x1000, &[0x2000]).unwrap();
        ram.write_bank(0, 0x1000, &[1, 2, 3, 4]);
        let mut r = RomAlias::new(ram, 0, 0x1000);
        assert_eq!(r.mmio_read(0, 1, AccessSize::Word), 0x302);
        assert_eq!(r.mmio_read(0, 0xfff, AccessSize::Word), 0xff00);
        r.mmio_write(0, 0, AccessSize::Byte, 9);
        assert_eq!(r.mmio_read(0, 0, AccessSize::Byte), 1);
    }
}
