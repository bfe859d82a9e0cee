//! Intel 82371SB (PIIX3), function 0: PCI-to-ISA bridge (datasheet, order 290550, 3.1).
//!
//! Its ISA side is the board's chips; here are the registers that firmware expects, and the PIRQ route control registers.

use super::router::{self, PirqRouter};
use super::{Config, Identity, PciFunction};
use snapshot::{Error, Section};

/// PIRQRCA, the first of four.
const PIRQRC: u8 = 0x60;

/// The bridge.
pub struct Piix3 {
    router: PirqRouter,
}

impl Piix3 {
    /// Its configuration header.
    pub fn config() -> Config {
        let id = Identity {
            vendor: 0x8086,
            device: 0x7000,
            revision: 0x00,
            class: 0x06_0100,
        };
        Config::new(id)
            .register(0x04, &[0x07, 0x00, 0x00, 0x02], &[0x08, 0x01])
            // I/O recovery, X-bus chip select.
            .register(0x4c, &[0x4d, 0x00, 0x03, 0x00], &[0x7f, 0x00, 0xff, 0x01])
            .register(PIRQRC, &[0x80; 4], &[0x8f; 4])
            // Top of memory, miscellaneous status, motherboard IRQ and DMA routes, chip selects, APIC base, deterministic latency, SMI.
            .register(0x69, &[0x02, 0, 0], &[0xfe, 0x88, 0xd5])
            .register(0x70, &[0x80; 2], &[0xef; 2])
            .register(0x76, &[0x0c; 2], &[0x8f; 2])
            .register(0x78, &[0x02, 0], &[0xff, 0xff])
            .register(0x80, &[0, 0, 0], &[0x7f, 0, 0x0f])
            .register(0xa0, &[0x08, 0, 0, 0], &[0x1f, 0, 0xff, 0xff])
            .register(0xa4, &[0; 6], &[0xff, 0xff, 0xff, 0xff, 0xff, 0])
            .register(0xaa, &[0, 0], &[0xff, 0xff])
            .register(0xac, &[0, 0, 0], &[0xff, 0, 0xff])
    }

    /// A bridge that routes through `router`.
    pub fn new(router: PirqRouter) -> Self {
        Self { router }
    }

    fn apply(&self, c: &Config) {
        for n in 0..4 {
            self.router.set_route(usize::from(n), c.get_u8(PIRQRC + n));
        }
    }
}

impl PciFunction for Piix3 {
    fn name(&self) -> &str {
        "piix3"
    }
    fn config_written(&mut self, config: &mut Config, _: u8, _: u8) {
        self.apply(config);
    }
    fn reset(&mut self, config: &mut Config) {
        self.apply(config);
    }
    fn save(&self) -> Result<Section, Error> {
        let Self { router } = self;
        Section::new(self.name(), 1, &router.save())
    }
    fn restore(&mut self, section: &Section, _: &mut Config) -> Result<(), Error> {
        let state: router::State = section.read(self.name(), 1)?;
        self.router.restore(state);
        Ok(())
    }
}
