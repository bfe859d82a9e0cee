//! What the controller remembers, and its EEPROM (6.1).

use super::regs::*;
use super::{DEVICE, VENDOR};
use crate::microwire::{Microwire, WORDS};
use serde::{Deserialize, Serialize};

pub(super) const VERSION: u32 = 1;

/// Nanoseconds of 33 ticks of the PCI clock, which TCTR counts.
const NS_OF_33: u64 = 1000;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// IDR0 to IDR5.
    pub id: [u8; 6],
    /// MAR0 to MAR7.
    pub groups: [u8; 8],
    pub command: u8,
    pub isr: u16,
    pub imr: u16,
    pub tcr: u32,
    pub receive: Receive,
    pub transmit: Transmit,
    pub eeprom: Eeprom,
    pub timer: Timer,
    pub misc: Misc,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Receive {
    pub rcr: u32,
    pub start: u32,
    /// Where the driver reads next (CAPR), 16 less than it says.
    pub capr: u16,
    /// Where the controller writes next (CBR).
    pub cbr: u16,
    pub missed: u32,
    /// A frame has no room yet.
    pub waits: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Transmit {
    pub status: [u32; 4],
    pub address: [u32; 4],
    /// The descriptor whose turn it is.
    pub next: u8,
}

impl Default for Transmit {
    fn default() -> Self {
        Self {
            status: [tsd::OWN; 4],
            address: [0; 4],
            next: 0,
        }
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Eeprom {
    /// 9346CR without the chip's output.
    pub control: u8,
    pub chip: Microwire,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Timer {
    /// Virtual time at which TCTR was zero.
    pub zero: u64,
    pub interrupt: u32,
    pub rung: bool,
}

/// Registers that only remember.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Misc {
    pub config: [u8; 5],
    pub mulint: u16,
    pub media: u8,
    pub bmcr: u16,
    pub anar: u16,
}

/// The words of the EEPROM.
pub(super) fn words(mac: [u8; 6]) -> [u16; WORDS] {
    let mut all = [0; WORDS];
    let pair = |a: usize| u16::from_le_bytes([mac[a], mac[a + 1]]);
    let known = [
        (0, 0x8129),
        (1, VENDOR),
        (2, DEVICE),
        (3, VENDOR),
        (4, DEVICE),
        (7, pair(0)),
        (8, pair(2)),
        (9, pair(4)),
    ];
    for (n, word) in known {
        if let Some(place) = all.get_mut::<usize>(n) {
            *place = word;
        }
    }
    all
}

impl State {
    /// After power-on, when the EEPROM was read.
    pub fn power_on(mac: [u8; 6]) -> Self {
        let mut s = Self {
            id: mac,
            ..Self::default()
        };
        s.misc.config = [0, 0x0d, 0, 0x01, 0];
        s.misc.bmcr = 0x3100;
        s.misc.anar = 0x05e1;
        s.soft_reset();
        s
    }

    /// RST in the command register (5.7): the identity and the configuration stay.
    pub fn soft_reset(&mut self) {
        self.command = 0;
        (self.isr, self.imr) = (0, 0);
        self.tcr = 0x0300_0000;
        self.receive = Receive {
            // The packet at the buffer's beginning is read first.
            capr: 0xfff0,
            ..Receive::default()
        };
        self.transmit = Transmit::default();
        self.timer.interrupt = 0;
    }

    pub fn timer_count(&self, now: u64) -> u32 {
        (u128::from(now.saturating_sub(self.timer.zero)) * 33 / u128::from(NS_OF_33)) as u32
    }

    /// When TCTR reaches TimerInt.
    pub fn timer_deadline(&self) -> Option<u64> {
        let ns = u64::from(self.timer.interrupt) * NS_OF_33 / 33 + 1;
        (self.timer.interrupt != 0 && !self.timer.rung).then(|| self.timer.zero.saturating_add(ns))
    }
}
