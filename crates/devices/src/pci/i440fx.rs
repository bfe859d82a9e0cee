//! Intel 82441FX, the host bridge of the 440FX (datasheet, order 290549).

use super::{Config, Identity, PciFunction};
use arch::GuestPhys;
use memory::{Ram, Rights};
use regs::*;
use snapshot::{Error, Section};
use std::sync::Arc;

mod regs {
    /// DRAM row boundaries and the like: kept for the firmware, without effect.
    pub const PLAIN: std::ops::Range<u8> = 0x50..0x72;
    pub const PAM0: u8 = 0x59;
    pub const PAM6: u8 = 0x5f;
    pub const SMRAM: u8 = 0x72;
    /// Compatible SMRAM space at 0xA0000 (3.2.18).
    pub const SMRAM_RESET: u8 = 0x02;
    pub const SMRAM_OPEN: u8 = 1 << 6;
    /// The video memory of a PC, and RAM behind it that SMRAM_OPEN shows.
    pub const VIDEO: (u64, u64) = (0xa_0000, 0x2_0000);
    /// What the four bits of a nibble of PAM1-PAM6 govern, from 0xC0000 on.
    pub const SEGMENT: u64 = 0x4000;
    /// What PAM0's upper nibble governs.
    pub const BIOS: (u64, u64) = (0xf_0000, 0x1_0000);
}

/// The registers that open all of the shadow RAM, as firmware leaves them: (offset, value).
pub const SHADOW_OPEN: [(u8, u8); 7] = [
    (PAM0, 0x30),
    (PAM0 + 1, 0x33),
    (PAM0 + 2, 0x33),
    (PAM0 + 3, 0x33),
    (PAM0 + 4, 0x33),
    (PAM0 + 5, 0x33),
    (PAM0 + 6, 0x33),
];

/// The bridge: device 0, function 0. Its programmable attribute map (3.2.16) lets RAM show from 0xC0000 on.
pub struct I440Fx {
    ram: Arc<Ram>,
}

impl I440Fx {
    /// Its configuration header.
    pub fn config() -> Config {
        let id = Identity {
            vendor: 0x8086,
            device: 0x1237,
            revision: 0x02,
            class: 0x06_0000,
        };
        let plain = [0xff; (PLAIN.end - PLAIN.start) as usize];
        let zero = [0; (PLAIN.end - PLAIN.start) as usize];
        Config::new(id)
            // By these, firmware knows an emulated board from a real one.
            .subsystem(0x1af4, 0x1100)
            .register(0x04, &[0x06, 0x00, 0x00, 0x02], &[0x40, 0x01])
            .register(PLAIN.start, &zero, &plain)
            .register(PAM0, &[0; 7], &[0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33])
            .register(SMRAM, &[SMRAM_RESET], &[0x78])
    }

    /// The bridge in front of `ram`.
    pub fn new(ram: Arc<Ram>) -> Self {
        Self { ram }
    }

    fn apply(&mut self, c: &Config) {
        let set = |(at, len), rights| self.ram.set_rights(GuestPhys(at), len, rights);
        set(BIOS, Rights::of(c.get_u8(PAM0) >> 4));
        for n in 0..12u8 {
            let nibble = c.get_u8(PAM0 + 1 + n / 2) >> (4 * (n & 1));
            let at = VIDEO.0 + VIDEO.1 + SEGMENT * u64::from(n);
            set((at, SEGMENT), Rights::of(nibble));
        }
        let open = c.get_u8(SMRAM) & SMRAM_OPEN != 0;
        let rights = if open { Rights::ReadWrite } else { Rights::Bus };
        set(VIDEO, rights);
    }
}

impl PciFunction for I440Fx {
    fn name(&self) -> &str {
        "i440fx"
    }
    fn config_written(&mut self, config: &mut Config, offset: u8, bytes: u8) {
        let end = offset.saturating_add(bytes);
        if offset <= PAM6 && end > PAM0 || (offset..end).contains(&SMRAM) {
            self.apply(config);
        }
    }
    fn reset(&mut self, config: &mut Config) {
        self.apply(config);
    }
    fn save(&self) -> Result<Section, Error> {
        let Self { ram: _ } = self;
        Section::new(self.name(), 1, &())
    }
    fn restore(&mut self, section: &Section, config: &mut Config) -> Result<(), Error> {
        section.read::<()>(self.name(), 1)?;
        self.apply(config);
        Ok(())
    }
}
