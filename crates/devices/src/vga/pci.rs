//! The adapter on PCI (QEMU documentation, "standard VGA"): frame buffer, registers and video BIOS.

use super::{MEMORY, REGION_LINEAR, REGION_REGISTERS, Vga};
use crate::pci::{Bar, Config, Identity, PciFunction};
use bus::{AccessSize, Device};
use snapshot::{Error, Section};

/// Who Bochs and QEMU say it is: a VGA-compatible controller.
const IDENTITY: Identity = Identity {
    vendor: 0x1234,
    device: 0x1111,
    revision: 2,
    class: 0x03_0000,
};
const REGISTERS_SIZE: u32 = 0x1000;

/// An adapter as a function of bus 0. Regions 8 to 10 are the board's to place.
pub struct PciVga {
    vga: Vga,
}

impl PciVga {
    pub fn new(vga: Vga) -> Self {
        Self { vga }
    }

    /// The configuration header; with the content of the expansion ROM, if there is one.
    pub fn config(rom: Option<&[u8]>) -> Config {
        let frame_buffer = Bar::Memory32 {
            size: MEMORY as u32,
            prefetchable: true,
        };
        let registers = Bar::Memory32 {
            size: REGISTERS_SIZE,
            prefetchable: false,
        };
        let config = Config::new(IDENTITY)
            .bar(REGION_LINEAR as u8, frame_buffer)
            .bar(REGION_REGISTERS as u8, registers);
        match rom {
            Some(rom) => config.rom(rom),
            None => config,
        }
    }

    /// Makes display memory RAM where the frame buffer is decoded.
    fn place(&self, config: &Config) {
        let at = config.placement(REGION_LINEAR);
        self.vga.shared.ram.place(at.map(|r| *r.start()));
    }
}

impl PciFunction for PciVga {
    fn name(&self) -> &str {
        self.vga.name()
    }
    fn port_read(&mut self, region: usize, offset: u16, size: AccessSize) -> u32 {
        self.vga.port_read(region, offset, size)
    }
    fn port_write(&mut self, region: usize, offset: u16, size: AccessSize, value: u32) {
        self.vga.port_write(region, offset, size, value);
    }
    fn mmio_read(&mut self, region: usize, offset: u64, size: AccessSize) -> u64 {
        self.vga.mmio_read(region, offset, size)
    }
    fn mmio_write(&mut self, region: usize, offset: u64, size: AccessSize, value: u64) {
        self.vga.mmio_write(region, offset, size, value);
    }
    fn config_written(&mut self, config: &mut Config, _: u8, _: u8) {
        self.place(config);
    }
    fn reset(&mut self, config: &mut Config) {
        self.vga.reset();
        self.place(config);
    }
    fn save(&self) -> Result<Section, Error> {
        self.vga.save()
    }
    fn restore(&mut self, section: &Section, config: &mut Config) -> Result<(), Error> {
        self.vga.restore(section)?;
        self.place(config);
        Ok(())
    }
}
