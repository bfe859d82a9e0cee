//! A channel as the chip on it sees it.

use super::I8237;
use super::state::State;
use crate::lock;
use arch::GuestPhys;
use memory::Ram;
use std::sync::Arc;

/// Page register of each channel (0x87, 0x83, 0x81, 0x82, none for the cascade, 0x8B, 0x89, 0x8A).
const PAGES: [usize; 8] = [7, 3, 1, 2, 15, 11, 9, 10];
/// Command register: the controller is off.
const DISABLE: u8 = 1 << 2;
/// Mode register.
const AUTOINITIALISE: u8 = 1 << 4;
const DECREMENT: u8 = 1 << 5;
const TO_MEMORY: u8 = 1;
const FROM_MEMORY: u8 = 2;

/// What a transfer came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub bytes: usize,
    /// The channel's count ran out: TC.
    pub terminal_count: bool,
}

/// A DMA channel of a chip, for any thread.
#[derive(Clone)]
pub struct IsaDma {
    controllers: I8237,
    ram: Arc<Ram>,
    channel: u8,
}

impl IsaDma {
    /// Channel 0-3 (bytes) or 5-7 (words) of these controllers.
    pub fn new(controllers: &I8237, ram: Arc<Ram>, channel: u8) -> Self {
        Self {
            controllers: controllers.clone(),
            ram,
            channel: channel & 7,
        }
    }

    /// Data of the chip for memory: as much as the channel takes, nothing while it is masked.
    pub fn to_memory(&self, data: &[u8]) -> Moved {
        let mut s = lock(&self.controllers.s);
        self.run(&mut s, data.len(), TO_MEMORY, |at, n| {
            // What is no RAM swallows data, as on the bus.
            let _ = self
                .ram
                .write(GuestPhys(at), data.get(n).unwrap_or_default());
        })
    }

    /// Data of memory for the chip.
    pub fn from_memory(&self, into: &mut [u8]) -> Moved {
        let mut s = lock(&self.controllers.s);
        into.fill(0xff);
        self.run(&mut s, into.len(), FROM_MEMORY, |at, n| {
            // What is no RAM reads as ones.
            let _ = self
                .ram
                .read(GuestPhys(at), into.get_mut(n).unwrap_or_default());
        })
    }

    /// Calls `f` with (address, range of the data) for each piece without a wrap.
    fn run(
        &self,
        s: &mut State,
        bytes: usize,
        direction: u8,
        mut f: impl FnMut(u64, std::ops::Range<usize>),
    ) -> Moved {
        let State { chips, pages } = s;
        let [first, second] = chips;
        let (chip, unit) = match self.channel < 4 {
            true => (first, 1usize),
            false => (second, 2),
        };
        let n = usize::from(self.channel & 3);
        let page = PAGES.get(usize::from(self.channel)).copied().unwrap_or(0);
        let page = u64::from(pages.get(page).copied().unwrap_or(0));
        let mode = chip.modes.get(n).copied().unwrap_or(0);
        let kind = mode >> 2 & 3;
        if chip.mask >> n & 1 != 0 || chip.command & DISABLE != 0 || ![0, direction].contains(&kind)
        {
            return Moved::default();
        }
        let (Some(&address), Some(&count)) = (chip.words.get(2 * n), chip.words.get(2 * n + 1))
        else {
            return Moved::default();
        };
        let units = (bytes / unit).min(usize::from(count) + 1);
        for i in runs(address, units, mode & DECREMENT != 0) {
            let (at, range) = i;
            let place = match unit {
                1 => page << 16 | u64::from(at),
                _ => (page & 0xfe) << 16 | u64::from(at) << 1,
            };
            if kind != 0 {
                f(place, range.start * unit..range.end * unit);
            }
        }
        let step = units as u16;
        let next = match mode & DECREMENT {
            0 => address.wrapping_add(step),
            _ => address.wrapping_sub(step),
        };
        let terminal = units == usize::from(count) + 1;
        let (next, left) = match (terminal, mode & AUTOINITIALISE != 0) {
            (true, true) => (
                chip.base.get(2 * n).copied().unwrap_or(0),
                chip.base.get(2 * n + 1).copied().unwrap_or(0),
            ),
            _ => (next, count.wrapping_sub(step)),
        };
        if let Some([a, c]) = chip.words.get_mut(2 * n..2 * n + 2) {
            (*a, *c) = (next, left);
        }
        if terminal {
            chip.terminal |= 1 << n;
            if mode & AUTOINITIALISE == 0 {
                chip.mask |= 1 << n;
            }
        }
        Moved {
            bytes: units * unit,
            terminal_count: terminal,
        }
    }
}

/// Cuts a transfer of `units` from `address` on where the address wraps; downwards it goes unit by unit.
fn runs(address: u16, units: usize, down: bool) -> Vec<(u16, std::ops::Range<usize>)> {
    if down {
        return (0..units)
            .map(|i| (address.wrapping_sub(i as u16), i..i + 1))
            .collect();
    }
    let first = (0x1_0000 - usize::from(address)).min(units);
    let mut all = vec![(address, 0..first)];
    if first < units {
        all.push((0, first..units));
    }
    all
}
