//! Intel 82441FX, the host bridge of the 440FX (datasheet, order 290549).

use super::{Config, Identity, PciFunction};
use regs::*;
use snapshot::{Error, Section};

mod regs {
    /// DRAM row boundaries and the like: kept for the firmware, without effect.
    pub const PLAIN: std::ops::Range<u8> = 0x50..0x72;
    pub const PAM0: u8 = 0x59;
    pub const PAM6: u8 = 0x5f;
    pub const SMRAM: u8 = 0x72;
    /// Compatible SMRAM space at 0xA0000 (3.2.18).
    pub const SMRAM_RESET: u8 = 0x02;
}

/// Who may be told of the memory attributes of 0xC0000-0xFFFFF.
pub type MemoryHook = Box<dyn FnMut([u8; 7], u8) + Send>;

/// The bridge: device 0, function 0.
pub struct I440Fx {
    hook: MemoryHook,
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
            .register(0x04, &[0x06, 0x00, 0x00, 0x02], &[0x40, 0x01])
            .register(PLAIN.start, &zero, &plain)
            .register(PAM0, &[0; 7], &[0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33])
            .register(SMRAM, &[SMRAM_RESET], &[0x78])
    }

    /// A bridge that calls `hook` with PAM0-PAM6 and SMRAM whenever one of them is written, and at reset.
    pub fn new(hook: MemoryHook) -> Self {
        Self { hook }
    }

    fn apply(&mut self, c: &Config) {
        let pam = std::array::from_fn(|n| c.get_u8(PAM0 + n as u8));
        (self.hook)(pam, c.get_u8(SMRAM));
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
        let Self { hook: _ } = self;
        Section::new(self.name(), 1, &())
    }
    fn restore(&mut self, section: &Section, config: &mut Config) -> Result<(), Error> {
        section.read::<()>(self.name(), 1)?;
        self.apply(config);
        Ok(())
    }
}
