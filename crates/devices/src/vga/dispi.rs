//! Bochs' display interface (Bochs documentation, "VBE Display Interface"; QEMU's standard-vga.txt): linear modes.

use super::Display;
use super::state::{Dispi, State};

const ID: u16 = 0;
const XRES: u16 = 1;
const YRES: u16 = 2;
const BPP: u16 = 3;
const ENABLE: u16 = 4;
const BANK: u16 = 5;
const VIRT_WIDTH: u16 = 6;
const VIRT_HEIGHT: u16 = 7;
const X_OFFSET: u16 = 8;
const Y_OFFSET: u16 = 9;
const MEMORY_64K: u16 = 10;

const ID_FIRST: u16 = 0xb0c0;
const ID_LAST: u16 = 0xb0c5;
const ENABLED: u16 = 1 << 0;
/// Resolution registers read as their maxima.
const GET_CAPS: u16 = 1 << 1;
const DAC_8_BITS: u16 = 1 << 5;
const NO_CLEAR: u16 = 1 << 7;
const MAX_XRES: u16 = 16_000;
const MAX_YRES: u16 = 12_000;
const MAX_BPP: u16 = 32;

/// What is shown in a linear mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub width: u32,
    pub height: u32,
    /// 4, 8, 15, 16, 24 or 32.
    pub bits: u32,
    /// Bytes from line to line (of a plane, with 4 bits).
    pub pitch: u32,
    /// The first byte shown (of a plane, with 4 bits).
    pub start: u64,
}

impl Dispi {
    pub fn power_on() -> Self {
        let mut d = Self::default();
        d.set(ID, ID_LAST);
        d
    }

    fn get(&self, n: u16) -> u16 {
        self.regs.get(usize::from(n)).copied().unwrap_or(0)
    }

    fn set(&mut self, n: u16, value: u16) {
        if let Some(r) = self.regs.get_mut(usize::from(n)) {
            *r = value;
        }
    }

    fn is_enabled(&self) -> bool {
        self.get(ENABLE) & ENABLED != 0
    }

    pub fn has_wide_dac(&self) -> bool {
        self.get(ENABLE) & DAC_8_BITS != 0
    }

    /// The bank of the legacy window, if a mode of this interface is on.
    pub fn bank(&self) -> Option<u16> {
        self.is_enabled().then(|| self.get(BANK))
    }

    /// Whether the mode that is on has planes.
    pub fn is_planar(&self) -> bool {
        self.get(BPP) == 4
    }

    /// Makes the registers hold what can be shown with `memory` bytes.
    fn settle(&mut self, memory: u64) {
        if !matches!(self.get(BPP), 4 | 8 | 15 | 16 | 24 | 32) {
            self.set(BPP, 8);
        }
        let width = (self.get(XRES) & !7).clamp(8, MAX_XRES);
        let pixels = memory * 8 / u64::from(self.bits_stored());
        let virt = self.get(VIRT_WIDTH) & !7;
        let virt = virt.clamp(width, MAX_XRES.max(width));
        let lines = (pixels / u64::from(virt)).clamp(1, u64::from(u16::MAX)) as u16;
        let height = self.get(YRES).clamp(1, MAX_YRES).min(lines);
        self.set(XRES, width);
        self.set(YRES, height);
        self.set(VIRT_WIDTH, virt);
        self.set(VIRT_HEIGHT, lines);
        self.set(X_OFFSET, self.get(X_OFFSET).min(virt - width));
        self.set(Y_OFFSET, self.get(Y_OFFSET).min(lines - height));
        let banks = (memory >> 16).clamp(1, u64::from(u16::MAX)) as u16;
        let banks = if self.is_planar() {
            (banks / 4).max(1)
        } else {
            banks
        };
        self.set(BANK, self.get(BANK) % banks);
    }

    /// Bits that a pixel takes in memory.
    fn bits_stored(&self) -> u32 {
        match self.get(BPP) {
            15 => 16,
            bits => u32::from(bits).max(1),
        }
    }

    /// What is shown, if a mode of this interface is on.
    pub fn geometry(&self) -> Option<Geometry> {
        if !self.is_enabled() {
            return None;
        }
        let bits = self.get(BPP).into();
        let per_line = |pixels: u16| match bits {
            4 => u32::from(pixels) / 8,
            _ => u32::from(pixels) * self.bits_stored() / 8,
        };
        let pitch = per_line(self.get(VIRT_WIDTH));
        Some(Geometry {
            width: self.get(XRES).into(),
            height: self.get(YRES).into(),
            bits,
            pitch,
            start: u64::from(pitch) * u64::from(self.get(Y_OFFSET))
                + u64::from(per_line(self.get(X_OFFSET))),
        })
    }
}

impl State {
    /// A read of register `n`.
    pub fn dispi_read(&self, n: u16, memory: u64) -> u16 {
        let d = &self.dispi;
        let caps = d.get(ENABLE) & GET_CAPS != 0;
        match n {
            XRES if caps => MAX_XRES,
            YRES if caps => MAX_YRES,
            BPP if caps => MAX_BPP,
            MEMORY_64K => (memory >> 16).min(u64::from(u16::MAX)) as u16,
            _ => d.get(n),
        }
    }

    /// A write of register `n`.
    pub fn dispi_write(&mut self, ram: &Display, n: u16, value: u16) {
        let memory = ram.size();
        let d = &mut self.dispi;
        match n {
            ID if !(ID_FIRST..=ID_LAST).contains(&value) => {}
            MEMORY_64K | VIRT_HEIGHT => {}
            ENABLE => {
                let was = d.is_enabled();
                d.set(ENABLE, value);
                if value & ENABLED != 0 && !was {
                    for (n, v) in [(VIRT_WIDTH, 0), (X_OFFSET, 0), (Y_OFFSET, 0), (BANK, 0)] {
                        d.set(n, v);
                    }
                    d.settle(memory);
                    if value & NO_CLEAR == 0 {
                        self.clear(ram);
                    }
                }
            }
            _ => {
                d.set(n, value);
                if d.is_enabled() {
                    d.settle(memory);
                }
            }
        }
    }

    /// Blackens what is shown.
    fn clear(&self, ram: &Display) {
        let Some(g) = self.dispi.geometry() else {
            return;
        };
        let planes = if g.bits == 4 { 4 } else { 1 };
        let zeros = [0; 4096];
        let mut left = u64::from(g.pitch) * u64::from(g.height) * planes;
        let mut at = 0;
        while left > 0 {
            let n = left.min(4096);
            ram.write(at, zeros.get(..n as usize).unwrap_or(&zeros));
            at += n;
            left -= n;
        }
    }
}
