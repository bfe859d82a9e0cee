//! Intel 82371AB (PIIX4), function 3: power management (datasheet, order 290562, 7.1).
//!
//! The PM registers are those of [`AcpiPm`](crate::AcpiPm), which the board has at fixed ports; firmware that places them by PMBA finds them there too.

use super::{Config, Identity, PciFunction, Pin};
use bus::Window;
use snapshot::{Error, Section};

const PMBA: u8 = 0x40;
const DEVACTB: u8 = 0x58;
const PMREGMISC: u8 = 0x80;
const SMBBA: u8 = 0x90;
const SMBHSTCFG: u8 = 0xd2;

/// The function.
pub struct Piix4Pm {
    block: Window,
}

impl Piix4Pm {
    /// Its configuration header.
    pub fn config() -> Config {
        let id = Identity {
            vendor: 0x8086,
            device: 0x7113,
            revision: 0x03,
            class: 0x06_8000,
        };
        Config::new(id)
            .register(0x04, &[0x00, 0x00, 0x80, 0x02], &[0x00, 0x00])
            .register(0x3c, &[9], &[0xff])
            .pin(Pin::A)
            .register(PMBA, &[0x01, 0, 0, 0], &[0xc0, 0xff, 0, 0])
            .register(0x48, &[0; 0x38], &[0xff; 0x38])
            // Device activity B with APMC_EN: says that system management mode, which there is not, is set up.
            .register(DEVACTB, &[0, 0, 0, 0x02], &[0xff; 4])
            .register(PMREGMISC, &[0], &[0x01])
            .register(SMBBA, &[0x01, 0, 0, 0], &[0xf0, 0xff, 0, 0])
            .register(SMBHSTCFG, &[0], &[0x0f])
    }

    /// `block` is a window of the PM block's region.
    pub fn new(block: Window) -> Self {
        Self { block }
    }

    fn apply(&self, c: &Config) {
        let base = u64::from(c.get_u16(PMBA) & 0xffc0);
        let on = c.get_u8(PMREGMISC) & 1 != 0 && base != 0;
        self.block.place(on.then_some(base..=base + 0x0f));
    }
}

impl PciFunction for Piix4Pm {
    fn name(&self) -> &str {
        "piix4-pm"
    }
    fn config_written(&mut self, config: &mut Config, _: u8, _: u8) {
        self.apply(config);
    }
    fn reset(&mut self, config: &mut Config) {
        self.apply(config);
    }
    fn save(&self) -> Result<Section, Error> {
        let Self { block: _ } = self;
        Section::new(self.name(), 1, &())
    }
    fn restore(&mut self, section: &Section, config: &mut Config) -> Result<(), Error> {
        section.read::<()>(self.name(), 1)?;
        self.apply(config);
        Ok(())
    }
}
