//! PCI configuration mechanism #1 (PCI Local Bus Specification 3.0, 3.2.2.3.2).
//!
//! Byte accesses to the second port of the address register are the reset control register's (port 0xCF9).

use super::{Address, PciBus};
use crate::reset::ResetControl;
use bus::{AccessSize, Device, StopRequest};
use regs::*;
use snapshot::{Error, Section};
use state::State;

mod regs {
    pub const ENABLE: u32 = 1 << 31;
    pub const ADDRESS_BITS: u32 = 0x80ff_fffc;
    pub const RESET_CONTROL: u16 = 1;
    pub const DATA: u16 = 4;
}

/// Configuration ports: one region of eight ports (0xCF8).
pub struct PciConfig {
    pci: PciBus,
    reset: ResetControl,
    s: State,
}

impl PciConfig {
    /// The ports of `pci`; port 0xCF9 resets through `stop`.
    pub fn new(pci: PciBus, stop: StopRequest) -> Self {
        Self {
            pci,
            reset: ResetControl::new(stop),
            s: State::default(),
        }
    }

    /// The function and the register that the address register selects; `None` master-aborts.
    fn selected(&self) -> Option<(Address, u8)> {
        let a = self.s.address;
        (a & ENABLE != 0 && a >> 16 & 0xff == 0)
            .then_some((Address((a >> 8) as u8), a as u8 & 0xfc))
    }
}

impl Device for PciConfig {
    fn name(&self) -> &str {
        "pci"
    }

    fn port_read(&mut self, _: usize, offset: u16, size: AccessSize) -> u32 {
        if let Some(byte) = offset.checked_sub(DATA) {
            return match self.selected() {
                Some((at, register)) => self.pci.config_read(at, register | byte as u8 & 3, size),
                None => size.mask() as u32,
            };
        }
        match (offset, size) {
            (0, AccessSize::Dword) => self.s.address,
            (RESET_CONTROL, AccessSize::Byte) => self.reset.value.into(),
            _ => size.mask() as u32,
        }
    }

    fn port_write(&mut self, _: usize, offset: u16, size: AccessSize, value: u32) {
        if let Some(byte) = offset.checked_sub(DATA) {
            if let Some((at, register)) = self.selected() {
                self.pci
                    .config_write(at, register | byte as u8 & 3, size, value);
            }
            return;
        }
        match (offset, size) {
            (0, AccessSize::Dword) => self.s.address = value & ADDRESS_BITS,
            (RESET_CONTROL, AccessSize::Byte) => self.reset.write(value as u8),
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.s = State::default();
        self.reset.value = 0;
    }

    fn save(&self) -> Result<Section, Error> {
        let Self { pci: _, reset, s } = self;
        Section::new(self.name(), state::VERSION, &(reset.value, s))
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        (self.reset.value, self.s) = section.read(self.name(), state::VERSION)?;
        Ok(())
    }
}

mod state {
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 2;

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub struct State {
        pub address: u32,
    }
}
