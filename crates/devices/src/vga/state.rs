//! What is saved of the adapter: all its registers. Display memory is the machine's to save, it stands beside RAM.

use super::regs::{attr, seq};
use serde::{Deserialize, Serialize};

pub const VERSION: u32 = 1;

/// An index register and what it leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File<const N: usize>
where
    [u8; N]: Serialize + for<'a> Deserialize<'a> + Default,
{
    pub index: u8,
    pub regs: [u8; N],
}

impl<const N: usize> Default for File<N>
where
    [u8; N]: Serialize + for<'a> Deserialize<'a> + Default,
{
    fn default() -> Self {
        Self {
            index: 0,
            regs: Default::default(),
        }
    }
}

impl<const N: usize> File<N>
where
    [u8; N]: Serialize + for<'a> Deserialize<'a> + Default,
{
    /// Register `n`; one that does not exist reads as zeros.
    pub fn get(&self, n: usize) -> u8 {
        self.regs.get(n).copied().unwrap_or(0)
    }
    /// The register that the index selects.
    pub fn selected(&self) -> u8 {
        self.get(self.index.into())
    }
    /// Whether a bit of register `n` is set.
    pub fn has(&self, n: usize, bit: u8) -> bool {
        self.get(n) & bit != 0
    }
}

/// Colour registers and the machine that steps through them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dac {
    pub mask: u8,
    /// Zero after the write index, three after the read index was set.
    pub state: u8,
    pub read_index: u8,
    pub write_index: u8,
    /// Which of red, green and blue comes next.
    pub component: u8,
    pub latch: [u8; 3],
    pub colors: Vec<[u8; 3]>,
}

impl Default for Dac {
    fn default() -> Self {
        Self {
            mask: 0xff,
            state: 0,
            read_index: 0,
            write_index: 0,
            component: 0,
            latch: [0; 3],
            colors: vec![[0; 3]; 256],
        }
    }
}

/// The registers behind 0x1CE and 0x1CF.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispi {
    pub index: u16,
    pub regs: [u16; 11],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    pub misc: u8,
    pub feature: u8,
    pub enable: u8,
    pub sequencer: File<8>,
    pub crtc: File<32>,
    pub graphics: File<16>,
    pub attribute: File<32>,
    /// The next write to the attribute port is data.
    pub attribute_data: bool,
    pub dac: Dac,
    /// The four planes' bytes of the last read.
    pub latches: u32,
    pub dispi: Dispi,
}

impl Default for State {
    fn default() -> Self {
        let mut s = Self {
            misc: 0,
            feature: 0,
            enable: 1,
            sequencer: File::default(),
            crtc: File::default(),
            graphics: File::default(),
            attribute: File::default(),
            attribute_data: false,
            dac: Dac::default(),
            latches: 0,
            dispi: Dispi::power_on(),
        };
        s.sequencer.regs[0] = 3;
        s
    }
}

impl State {
    /// Whether the screen is dark by the sequencer's or the attribute controller's will.
    pub fn is_dark(&self) -> bool {
        self.sequencer.has(seq::CLOCKING, seq::CLOCKING_OFF)
            || self.attribute.index & attr::VIDEO_ON == 0
    }

    /// Takes over only what a machine of this kind can be in.
    pub fn sane(mut self) -> Self {
        self.dac.colors.resize(256, [0; 3]);
        self.dac.component %= 3;
        self
    }
}
