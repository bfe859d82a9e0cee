//! The pair of 8237A DMA controllers with their page registers (Intel 8237A datasheet, order 231466), port 0x80 for POST codes among them.
//!
//! A chip that requests DMA has an [`IsaDma`], its channel. Transfers are made at once, whatever the mode says of single, demand and
//! block. Absent: memory to memory, software requests, cascading further controllers.

mod channel;
#[cfg(test)]
mod tests;

pub use channel::{IsaDma, Moved};

use crate::{bytes, lock};
use bus::{AccessSize, Device};
use regs::*;
use snapshot::{Error, Section};
use state::{Chip, State};
use std::sync::{Arc, Mutex};

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

/// The two controllers. Clones are handles to the same ones.
#[derive(Clone, Default)]
pub struct I8237 {
    s: Arc<Mutex<State>>,
}

impl I8237 {
    pub fn new() -> Self {
        Self::default()
    }

    /// The last code written to the POST port.
    pub fn post_code(&self) -> u8 {
        let [post, ..] = lock(&self.s).pages;
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
            // Reading takes the terminal counts.
            COMMAND_STATUS => std::mem::take(&mut self.terminal),
            MASTER_CLEAR => 0,
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
                    if let Some(base) = self.base.get_mut(usize::from(register)) {
                        *base = *w;
                    }
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
                self.terminal = 0;
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
        let State { chips, pages } = &mut *lock(&self.s);
        let [first, second] = chips;
        bytes::read(offset, size, |o| match region {
            REGION_FIRST => first.read(o & 15),
            REGION_SECOND => second.read(o >> 1 & 15),
            _ => pages.get(usize::from(o)).copied().unwrap_or(0xff),
        })
    }

    fn port_write(&mut self, region: usize, offset: u16, size: AccessSize, value: u32) {
        let State { chips, pages } = &mut *lock(&self.s);
        let [first, second] = chips;
        bytes::write(offset, size, value, |o, v| match region {
            REGION_FIRST => first.write(o & 15, v),
            REGION_SECOND => second.write(o >> 1 & 15, v),
            _ => {
                if let Some(p) = pages.get_mut(usize::from(o)) {
                    *p = v;
                }
                if o == 0 {
                    tracing::debug!(target: "devices::post", code = v);
                }
            }
        });
    }

    fn reset(&mut self) {
        *lock(&self.s) = State::default();
    }

    fn save(&self) -> Result<Section, Error> {
        let Self { s } = self;
        Section::new(self.name(), state::VERSION, &*lock(s))
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        *lock(&self.s) = section.read(self.name(), state::VERSION)?;
        Ok(())
    }
}

mod state {
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 2;

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub struct State {
        pub chips: [Chip; 2],
        pub pages: [u8; 16],
    }

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct Chip {
        /// Address and count of four channels as they are, and as they were written.
        pub words: [u16; 8],
        pub base: [u16; 8],
        pub modes: [u8; 4],
        pub command: u8,
        pub mask: u8,
        /// Channels that reached their terminal count since the status was read.
        pub terminal: u8,
        /// The first/last flip-flop.
        pub high: bool,
    }

    impl Default for Chip {
        fn default() -> Self {
            Self {
                words: [0; 8],
                base: [0; 8],
                terminal: 0,
                modes: [0; 4],
                command: 0,
                mask: 0xf,
                high: false,
            }
        }
    }
}
