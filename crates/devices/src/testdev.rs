//! The test device that kvm-unit-tests expect (QEMU's `pc-testdev`; the ports by `lib/x86/fwcfg`, `x86/ioapic.c`, `x86/realmode.c` and the
//! like of those tests): a way to pull interrupt lines, a few bytes of registers, and memory behind the bus. Port 0xD1, the size of the
//! memory, is the DMA controller's here: the tests ask the firmware configuration device for it.

use bus::{AccessSize, Device, IrqLine};
use snapshot::{Error, Section};

/// Region of the plain port: 0xE0-0xE3, an I/O register of four bytes.
pub const REGION_IO: usize = 0;
/// Region of ports 0x2000-0x2017: a store drives interrupt line `n`.
pub const REGION_IRQ: usize = 1;
/// Region of port 0xE4: flushes the page that holds the address written; nothing to do where every access is the guest's own.
pub const REGION_FLUSH: usize = 2;
/// Memory region: 64 KiB at 0xFF00_0000.
pub const REGION_MMIO: usize = 3;
/// Bytes of the memory region.
pub const MMIO_SIZE: u64 = 0x1_0000;

/// The device.
pub struct TestDevice {
    lines: Vec<IrqLine>,
    register: [u8; 4],
    bytes: Vec<u8>,
}

impl TestDevice {
    /// `lines` are the inputs of the I/O APIC, in their order.
    pub fn new(lines: Vec<IrqLine>) -> Self {
        Self {
            lines,
            register: [0; 4],
            bytes: vec![0; MMIO_SIZE as usize],
        }
    }
}

impl Device for TestDevice {
    fn name(&self) -> &str {
        "testdev"
    }

    fn port_read(&mut self, region: usize, offset: u16, size: AccessSize) -> u32 {
        match region {
            REGION_IO => crate::bytes::read(offset, size, |o| {
                self.register.get(usize::from(o)).copied().unwrap_or(0xff)
            }),
            _ => size.mask() as u32,
        }
    }

    fn port_write(&mut self, region: usize, offset: u16, size: AccessSize, value: u32) {
        match region {
            REGION_IO => crate::bytes::write(offset, size, value, |o, v| {
                if let Some(r) = self.register.get_mut(usize::from(o)) {
                    *r = v;
                }
            }),
            REGION_IRQ => {
                if let Some(line) = self.lines.get(usize::from(offset)) {
                    line.set(value & 1 != 0);
                }
            }
            _ => {}
        }
    }

    fn mmio_read(&mut self, _: usize, offset: u64, size: AccessSize) -> u64 {
        (0..size.bytes()).fold(0, |v, i| {
            let at = usize::try_from(offset.wrapping_add(i)).ok();
            let byte = at.and_then(|o| self.bytes.get(o)).copied();
            v | u64::from(byte.unwrap_or(0xff)) << (8 * i)
        })
    }

    fn mmio_write(&mut self, _: usize, offset: u64, size: AccessSize, value: u64) {
        for i in 0..size.bytes() {
            let at = usize::try_from(offset.wrapping_add(i)).ok();
            if let Some(b) = at.and_then(|o| self.bytes.get_mut(o)) {
                *b = (value >> (8 * i)) as u8;
            }
        }
    }

    fn reset(&mut self) {
        self.register = [0; 4];
        for line in &self.lines {
            line.set(false);
        }
    }

    fn save(&self) -> Result<Section, Error> {
        let Self {
            lines: _,
            register,
            bytes,
        } = self;
        Section::new(self.name(), 1, &(register, bytes))
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        let (register, mut bytes): ([u8; 4], Vec<u8>) = section.read(self.name(), 1)?;
        bytes.resize(MMIO_SIZE as usize, 0);
        (self.register, self.bytes) = (register, bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fuzz, Wire};

    #[test]
    fn lines_registers_and_memory() {
        let wire = Wire::new();
        let lines = (0..24).map(|n| wire.line(n)).collect();
        let mut t = TestDevice::new(lines);
        t.port_write(REGION_IRQ, 5, AccessSize::Dword, 1);
        assert!(wire.level(5));
        t.port_write(REGION_IRQ, 5, AccessSize::Byte, 0);
        assert!(!wire.level(5));
        t.port_write(REGION_IO, 0, AccessSize::Dword, 0x1234_5678);
        assert_eq!(t.port_read(REGION_IO, 1, AccessSize::Word), 0x3456);
        t.mmio_write(0, 8, AccessSize::Qword, 0x0102_0304_0506_0708);
        assert_eq!(t.mmio_read(0, 9, AccessSize::Dword), 0x0405_0607);
        t.port_write(REGION_IRQ, 9, AccessSize::Byte, 1);
        t.reset();
        assert!(!wire.level(9));
    }

    #[test]
    fn survives_anything() {
        let mut t = TestDevice::new(vec![]);
        let mut f = Fuzz::new(0xe0);
        for _ in 0..100_000 {
            f.ports(&mut t, &[(0, 4), (1, 24), (2, 1)]);
            t.mmio_write(0, f.value(), AccessSize::Qword, f.value());
            t.mmio_read(0, f.value(), AccessSize::Qword);
        }
    }
}
