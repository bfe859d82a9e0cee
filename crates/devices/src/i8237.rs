//! The pair of 8237A DMA controllers with their page registers (Intel 8237A datasheet, order 231466), port 0x80 for POST codes among them.
//!
//! No chip of this board requests DMA, so nothing is ever transferred: the registers read back as they were programmed.

use crate::bytes;
use bus::{AccessSize, Device};
use regs::*;
use snapshot::{Error, Section};
use state::{Chip, State};

/// Region number of the 8-bit controller's 16 ports (0x00).
pub const REGION_FIRST: usize = 0;
/// Region number of the 16-bit controller's 32 ports (0xC0), one register every two ports.
pub const REGION_SECOND: usize = 1;
/// Region number of the 16 page registers (0x80).
pub const REGION_PAGES: usize = 2;

mod regs {
    pub const COMMAND_STATUS: u16 = 8;
    pub const REQUEST: u16 = 9;
    pub const SINGLE_MASK: u16 = 10;
    pub const MODE: u16 = 11;
    pub const CLEAR_POINTER: u16 = 12;
    pub const MASTER_CLEAR: u16 = 13;
    pub const CLEAR_MASK: u16 = 14;
    pub const WRITE_MASK: u16 = 15;
}

/// The two controllers.
#[derive(Default)]
pub struct I8237 {
    s: State,
}

impl I8237 {
    pub fn new() -> Self {
        Self::default()
    }

    /// The last code written to the POST port.
    pub fn post_code(&self) -> u8 {
        let [post, ..] = self.s.pages;
        post
    }
}

impl Chip {
    fn read(&mut self, register: u16) -> u8 {
        match register {
            // Address and count of four channels, low byte first.
            0..8 => {
                self.high = !self.high;
                let v = self.words.get(usize::from(register)).copied().unwrap_or(0);
                bytes::of(v.into(), u16::from(!self.high))
            }
            WRITE_MASK => self.mask | 0xf0,
            COMMAND_STATUS | MASTER_CLEAR => 0,
            _ => 0xff,
        }
    }

    fn write(&mut self, register: u16, value: u8) {
        match register {
            0..8 => {
                self.high = !self.high;
                if let Some(w) = self.words.get_mut(usize::from(register)) {
                    let [low, high] = w.to_le_bytes();
                    *w = u16::from_le_bytes(if self.high {
                        [value, high]
                    } else {
                        [low, value]
                    });
                }
            }
            COMMAND_STATUS => self.command = value,
            SINGLE_MASK => {
                let bit = 1 << (value & 3);
                self.mask = self.mask & !bit | if value & 4 != 0 { bit } else { 0 };
            }
            MODE => {
                if let Some(m) = self.modes.get_mut(usize::from(value & 3)) {
                    *m = value;
                }
            }
            CLEAR_POINTER => self.high = false,
            MASTER_CLEAR => {
                self.command = 0;
                self.mask = 0xf;
                self.high = false;
            }
            CLEAR_MASK => self.mask = 0,
            WRITE_MASK => self.mask = value & 0xf,
            REQUEST => {}
            _ => {}
        }
    }
}

impl Device for I8237 {
    fn name(&self) -> &str {
        "i8237"
    }

    fn port_read(&mut self, region: usize, offset: u16, size: AccessSize) -> u32 {
        let [first, second] = &mut self.s.chips;
        bytes::read(offset, size, |o| match region {
            REGION_FIRST => first.read(o & 15),
            REGION_SECOND => second.read(o >> 1 & 15),
            _ => self.s.pages.get(usize::from(o)).copied().unwrap_or(0xff),
        })
    }

    fn port_write(&mut self, region: usize, offset: u16, size: AccessSize, value: u32) {
        let [first, second] = &mut self.s.chips;
        bytes::write(offset, size, value, |o, v| match region {
            REGION_FIRST => first.write(o & 15, v),
            REGION_SECOND => second.write(o >> 1 & 15, v),
            _ => {
                if let Some(p) = self.s.pages.get_mut(usize::from(o)) {
                    *p = v;
                }
                if o == 0 {
                    tracing::debug!(target: "devices::post", code = v);
                }
            }
        });
    }

    fn reset(&mut self) {
        self.s = State::default();
    }

    fn save(&self) -> Result<Section, Error> {
        let Self { s } = self;
        Section::new(self.name(), state::VERSION, s)
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        self.s = section.read(self.name(), state::VERSION)?;
        Ok(())
    }
}

mod state {
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 1;

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub struct State {
        pub chips: [Chip; 2],
        pub pages: [u8; 16],
    }

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct Chip {
        pub words: [u16; 8],
        pub modes: [u8; 4],
        pub command: u8,
        pub mask: u8,
        /// The first/last flip-flop.
        pub high: bool,
    }

    impl Default for Chip {
        fn default() -> Self {
            Self {
                words: [0; 8],
                modes: [0; 4],
                command: 0,
                mask: 0xf,
                high: false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Fuzz;

    const B: AccessSize = AccessSize::Byte;

    #[test]
    fn registers_read_back() {
        let mut d = I8237::new();
        for (region, stride) in [(REGION_FIRST, 1), (REGION_SECOND, 2)] {
            d.port_write(region, CLEAR_POINTER * stride, B, 0);
            d.port_write(region, 2 * stride, B, 0x34);
            d.port_write(region, 2 * stride, B, 0x12);
            assert_eq!(d.port_read(region, 2 * stride, B), 0x34);
            assert_eq!(d.port_read(region, 2 * stride, B), 0x12);
            d.port_write(region, SINGLE_MASK * stride, B, 2);
            assert_eq!(d.port_read(region, WRITE_MASK * stride, B), 0xfb);
            d.port_write(region, MASTER_CLEAR * stride, B, 0);
            assert_eq!(d.port_read(region, WRITE_MASK * stride, B), 0xff);
        }
        d.port_write(REGION_PAGES, 0, B, 0x55);
        assert_eq!(d.post_code(), 0x55);
        let s = d.save().unwrap();
        d.reset();
        d.restore(&s).unwrap();
        assert_eq!(d.port_read(REGION_PAGES, 0, B), 0x55);
    }

    #[test]
    fn survives_anything() {
        let mut d = I8237::new();
        let mut f = Fuzz::new(8237);
        for _ in 0..1_000_000 {
            f.ports(&mut d, &[(0, 16), (1, 32), (2, 16)]);
        }
    }
}
