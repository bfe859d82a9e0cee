//! PCI configuration mechanism #1 (PCI Local Bus Specification 3.0, 3.2.2.3.2) and a host bridge: a bus on which nothing else sits.
//!
//! The bridge says it is an 82441FX, which every system knows and none expects to configure. Byte accesses to the second port of the
//! address register are the reset control register's (port 0xCF9).

use crate::bytes;
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
    /// Register offsets of the configuration header.
    pub const COMMAND: u8 = 0x04;
    /// Vendor and device, command and status, revision and class: host bridge.
    pub const HEADER: [u32; 3] = [0x1237_8086, 0x0200_0000, 0x0600_0002];
    /// Memory space and bus master cannot be switched off.
    pub const COMMAND_FIXED: u32 = 0x0006;
    /// SERR# and parity can.
    pub const COMMAND_WRITABLE: u32 = 0x0140;
}

/// Configuration ports: one region of eight ports (0xCF8).
pub struct PciConfig {
    reset: ResetControl,
    s: State,
}

impl PciConfig {
    /// A bus with its host bridge; port 0xCF9 resets through `stop`.
    pub fn new(stop: StopRequest) -> Self {
        Self {
            reset: ResetControl::new(stop),
            s: State::default(),
        }
    }

    /// The doubleword that the address register selects; `None` master-aborts.
    fn selected(&self) -> Option<u32> {
        let bus_device_function = self.s.address >> 8 & 0xffff;
        if self.s.address & ENABLE == 0 || bus_device_function != 0 {
            return None;
        }
        let register = self.s.address as u8 & 0xfc;
        let value = HEADER.get(usize::from(register / 4)).copied().unwrap_or(0);
        Some(match register {
            COMMAND => value | COMMAND_FIXED | u32::from(self.s.command),
            _ => value,
        })
    }
}

impl Device for PciConfig {
    fn name(&self) -> &str {
        "pci"
    }

    fn port_read(&mut self, _: usize, offset: u16, size: AccessSize) -> u32 {
        if offset >= DATA {
            let value = self.selected().unwrap_or(u32::MAX);
            return bytes::read(offset - DATA, size, |o| bytes::of(value.into(), o & 3));
        }
        match (offset, size) {
            (0, AccessSize::Dword) => self.s.address,
            (RESET_CONTROL, AccessSize::Byte) => self.reset.value.into(),
            _ => size.mask() as u32,
        }
    }

    fn port_write(&mut self, _: usize, offset: u16, size: AccessSize, value: u32) {
        match (offset, size) {
            (0, AccessSize::Dword) => self.s.address = value & ADDRESS_BITS,
            (RESET_CONTROL, AccessSize::Byte) => self.reset.write(value as u8),
            (DATA..8, _) if self.selected().is_some() && self.s.address as u8 & 0xfc == COMMAND => {
                bytes::write(offset - DATA, size, value, |o, v| {
                    let lane = u32::from(v) << (8 * (o & 3));
                    let kept = u32::from(self.s.command) & !(0xff << (8 * (o & 3)));
                    self.s.command = ((kept | lane) & COMMAND_WRITABLE) as u16;
                });
            }
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.s = State::default();
        self.reset.value = 0;
    }

    fn save(&self) -> Result<Section, Error> {
        let Self { reset, s } = self;
        Section::new(self.name(), state::VERSION, &(reset.value, s))
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        (self.reset.value, self.s) = section.read(self.name(), state::VERSION)?;
        Ok(())
    }
}

mod state {
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 1;

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub struct State {
        pub address: u32,
        pub command: u16,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fuzz;
    use bus::{ResetSource, StopReason};

    const D: AccessSize = AccessSize::Dword;

    #[test]
    fn the_bus_holds_a_host_bridge_and_nothing_else() {
        let mut p = PciConfig::new(StopRequest::new(vec![]));
        p.port_write(0, 0, D, 0x8000_0000);
        assert_eq!(p.port_read(0, 0, D), 0x8000_0000);
        assert_eq!(p.port_read(0, 4, D), 0x1237_8086);
        assert_eq!(p.port_read(0, 6, AccessSize::Word), 0x1237);
        p.port_write(0, 0, D, 0x8000_0008);
        assert_eq!(p.port_read(0, 7, AccessSize::Byte), 6);
        p.port_write(0, 0, D, 0x8000_0004);
        p.port_write(0, 4, AccessSize::Word, 0xffff);
        assert_eq!(p.port_read(0, 4, D), 0x0200_0146);
        for nobody in [0x8000_0800, 0x8000_0100, 0x8001_0000, 0] {
            p.port_write(0, 0, D, nobody);
            assert_eq!(p.port_read(0, 4, D), u32::MAX, "{nobody:#x}");
        }
    }

    #[test]
    fn port_cf9_resets() {
        let stop = StopRequest::new(vec![]);
        let mut p = PciConfig::new(stop.clone());
        p.port_write(0, 1, AccessSize::Byte, 6);
        assert_eq!(
            stop.take(),
            Some(StopReason::Reset(ResetSource::ResetControl))
        );
        assert_eq!(p.port_read(0, 1, AccessSize::Byte), 6);
        assert_eq!(p.port_read(0, 0, D), 0, "the address is untouched");
    }

    #[test]
    fn survives_anything() {
        let mut p = PciConfig::new(StopRequest::new(vec![]));
        let mut f = Fuzz::new(0xcf8);
        for _ in 0..1_000_000 {
            f.ports(&mut p, &[(0, 8)]);
            if f.flip() {
                p.port_write(0, 0, D, 0x8000_0000 | f.value() as u32 & 0x1ff);
            }
        }
        let s = p.save().unwrap();
        p.reset();
        p.restore(&s).unwrap();
    }
}
