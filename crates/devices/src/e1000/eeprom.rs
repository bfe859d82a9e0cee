//! What the EEPROM holds (chapter 5.6) and how it is reached: by its pins in EECD (5.3.1) or by EERD (5.3.2).

use super::regs::{eecd, eerd};
use super::state::General;
use super::{DEVICE, SUBSYSTEM, VENDOR};
use crate::microwire::{Pins, WORDS};

/// All words add up to this (5.6.35).
const SUM: u16 = 0xbaba;

/// The words, for a card with this address.
pub(super) fn words(mac: [u8; 6]) -> [u16; WORDS] {
    let mut all = [0; WORDS];
    let pair = |a: usize| u16::from_le_bytes([mac[a], mac[a + 1]]);
    let known = [
        (0x00, pair(0)),
        (0x01, pair(2)),
        (0x02, pair(4)),
        // Signature, power management on, subsystem and vendor from here (5.6.7).
        (0x0a, 0x4408),
        (0x0b, SUBSYSTEM),
        (0x0c, VENDOR),
        (0x0d, DEVICE),
        (0x0e, VENDOR),
        // Initialization control 2 (5.6.12): 82540 family, no wake-up.
        (0x0f, 0x3040),
    ];
    for (n, word) in known {
        if let Some(place) = all.get_mut(n) {
            *place = word;
        }
    }
    let sum = all.iter().fold(0u16, |s, w| s.wrapping_add(*w));
    all[WORDS - 1] = SUM.wrapping_sub(sum);
    all
}

impl General {
    pub fn eecd(&self) -> u32 {
        let out = match self.microwire.output() {
            true => eecd::DO,
            false => 0,
        };
        // The request is granted at once.
        let granted = match self.eecd & eecd::REQ {
            0 => 0,
            _ => eecd::GNT,
        };
        self.eecd | out | granted | eecd::PRES
    }

    pub fn set_eecd(&mut self, value: u32, words: &[u16; WORDS]) {
        self.eecd = value & (eecd::SK | eecd::CS | eecd::DI | eecd::FWE | eecd::REQ);
        let pins = Pins {
            select: value & eecd::CS != 0,
            clock: value & eecd::SK != 0,
            data: value & eecd::DI != 0,
        };
        self.microwire.drive(pins, words);
    }

    pub fn set_eerd(&mut self, value: u32, words: &[u16; WORDS]) {
        self.eerd = value & 0xff00;
        if value & eerd::START != 0 {
            let n = (value >> 8) as usize % WORDS;
            let word = words.get(n).copied().unwrap_or_default();
            self.eerd |= eerd::DONE | u32::from(word) << 16;
        }
    }
}
