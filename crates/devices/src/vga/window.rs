//! The window at 0xA0000 to 0xBFFFF: what the graphics controller does between processor and planes.
//!
//! Display memory is kept as the planes lie side by side: the byte at `address` of plane `p` is byte `4 * address + p`. So a doubleword is
//! what one memory cycle moves, and packed modes (Bochs VBE) see the same bytes in order.

use super::Display;
use super::regs::{MISC_RAM, gfx, seq};
use super::state::State;

/// Bytes of a plane that the VGA's own address counter reaches.
pub const PLANE: u32 = 0x1_0000;

/// Where an access goes.
enum Way {
    /// A byte of packed display memory.
    Packed(u64),
    /// A byte of some planes.
    Planar { address: u32, planes: u8 },
}

/// A byte of ones for each bit that is set.
fn spread(planes: u8) -> u32 {
    (0..4).fold(0, |v, p| {
        v | if planes >> p & 1 != 0 {
            0xff << (8 * p)
        } else {
            0
        }
    })
}

impl State {
    /// The address inside the window that the memory map selects, if `offset` from 0xA0000 is in it.
    fn window(&self, offset: u32) -> Option<u32> {
        if self.misc & MISC_RAM == 0 {
            return None;
        }
        let (first, size) = match self.graphics.get(gfx::MISC) >> 2 & 3 {
            0 => (0, 0x2_0000),
            1 => (0, 0x1_0000),
            2 => (0x1_0000, 0x8000),
            _ => (0x1_8000, 0x8000),
        };
        offset.checked_sub(first).filter(|&o| o < size)
    }

    fn way(&self, a: u32, odd_even: bool) -> Way {
        if let Some(bank) = self.dispi.bank() {
            if !self.dispi.is_planar() {
                return Way::Packed(u64::from(bank) * 0x1_0000 + u64::from(a & 0xffff));
            }
            let address = u32::from(bank) * PLANE + (a & 0xffff);
            return Way::Planar {
                address,
                planes: 15,
            };
        }
        if self.sequencer.has(seq::MEMORY_MODE, seq::MEMORY_CHAIN4) {
            return Way::Planar {
                address: a & 0xfffc | a >> 16 & 3,
                planes: 1 << (a & 3),
            };
        }
        let chained = self.graphics.has(gfx::MISC, gfx::MISC_CHAIN);
        let address = if chained {
            // Address bit 16 stands in for bit 0 where the window has it.
            a & 0xfffe | a >> 16 & 1
        } else {
            a & 0xffff
        };
        let planes = match (odd_even, a & 1) {
            (false, _) => 0b1111,
            (true, 0) => 0b0101,
            (true, _) => 0b1010,
        };
        Way::Planar { address, planes }
    }

    /// A byte read at `offset` from 0xA0000.
    pub fn window_read(&mut self, ram: &Display, offset: u32) -> u8 {
        let Some(a) = self.window(offset) else {
            return 0xff;
        };
        let odd_even = self.graphics.has(gfx::MODE, gfx::MODE_ODD_EVEN);
        let (address, planes) = match self.way(a, odd_even) {
            Way::Packed(at) => {
                let mut b = [0];
                ram.read(at, &mut b);
                return b[0];
            }
            Way::Planar { address, planes } => (address, planes),
        };
        let mut four = [0; 4];
        ram.read(u64::from(address) * 4, &mut four);
        self.latches = u32::from_le_bytes(four);
        if self.graphics.has(gfx::MODE, gfx::MODE_READ_COMPARE) {
            let wanted = spread(self.graphics.get(gfx::COMPARE));
            let cared = spread(self.graphics.get(gfx::CARE));
            let [a, b, c, d] = ((self.latches ^ wanted) & cared).to_le_bytes();
            return !(a | b | c | d);
        }
        let map = self.graphics.get(gfx::READ_MAP) & 3;
        let plane = match planes {
            0b1111 => map,
            0b0101 => map & 2,
            0b1010 => map & 2 | 1,
            one => one.trailing_zeros() as u8 & 3,
        };
        four[usize::from(plane)]
    }

    /// A byte written at `offset` from 0xA0000.
    pub fn window_write(&mut self, ram: &Display, offset: u32, value: u8) {
        let Some(a) = self.window(offset) else {
            return;
        };
        let odd_even = !self.sequencer.has(seq::MEMORY_MODE, seq::MEMORY_SEQUENTIAL);
        let (address, planes) = match self.way(a, odd_even) {
            Way::Packed(at) => return ram.write(at, &[value]),
            Way::Planar { address, planes } => (address, planes),
        };
        let planes = spread(planes & self.sequencer.get(seq::MAP_MASK));
        if planes == 0 {
            return;
        }
        let at = u64::from(address) * 4;
        let mut four = [0; 4];
        ram.read(at, &mut four);
        let old = u32::from_le_bytes(four);
        let new = old & !planes | self.combine(value) & planes;
        ram.write(at, &new.to_le_bytes());
    }

    /// What a write of `value` brings to the four planes ("Graphics Controller", write modes 0 to 3).
    fn combine(&self, value: u8) -> u32 {
        let g = &self.graphics;
        let rotated = value.rotate_right(u32::from(g.get(gfx::ROTATE) & 7));
        let set_reset = spread(g.get(gfx::SET_RESET));
        let every = |b: u8| u32::from_le_bytes([b; 4]);
        let mut mask = every(g.get(gfx::BIT_MASK));
        let data = match g.get(gfx::MODE) & 3 {
            0 => {
                let enabled = spread(g.get(gfx::ENABLE_SET_RESET));
                every(rotated) & !enabled | set_reset & enabled
            }
            1 => return self.latches,
            2 => spread(value & 15),
            _ => {
                mask &= every(rotated);
                set_reset
            }
        };
        let done = match g.get(gfx::ROTATE) >> 3 & 3 {
            0 => data,
            1 => data & self.latches,
            2 => data | self.latches,
            _ => data ^ self.latches,
        };
        done & mask | self.latches & !mask
    }
}
