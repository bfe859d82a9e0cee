//! From registers and display memory to pictures: pure functions, on a copy that was taken at one moment.

mod graphics;
mod linear;
mod scan;
mod text;

use super::frame::{Frame, TextScreen};
use super::regs::{attr, gfx};
use super::state::State;

/// The part of display memory that can be seen.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Offset of the first byte in display memory.
    pub at: u64,
    pub bytes: Vec<u8>,
}

impl Memory {
    /// Four planes' bytes at an address of the planes; zeros beyond what is there.
    fn planes(&self, address: u64) -> [u8; 4] {
        let at = (address * 4).wrapping_sub(self.at) as usize;
        let four = at.checked_add(4).and_then(|e| self.bytes.get(at..e));
        four.and_then(|f| f.try_into().ok()).unwrap_or_default()
    }
}

/// The adapter at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(super) state: State,
    pub(super) memory: Memory,
    /// Virtual time in nanoseconds: what blinks goes by it.
    pub(super) now: u64,
}

/// Nanoseconds for which a cursor is on and off: 16 frames. Characters blink half as fast.
const BLINK_NS: u64 = 228_288_000;

impl Snapshot {
    /// What a monitor shows.
    pub fn frame(&self) -> Frame {
        let s = &self.state;
        if let Some(g) = s.dispi.geometry() {
            return match g.bits {
                4 => graphics::planar(s, &self.memory, g),
                _ => linear::frame(s, &self.memory, g),
            };
        }
        let mut frame = match s.graphics.has(gfx::MISC, gfx::MISC_GRAPHICS) {
            true => graphics::frame(s, &self.memory),
            false => text::frame(s, &self.memory, self.cursor_on(), self.blink_on()),
        };
        if s.is_dark() {
            frame.pixels.fill(0);
        }
        frame
    }

    /// What a monitor shows in characters; `None` in graphics modes and on a screen that is off.
    pub fn text(&self) -> Option<TextScreen> {
        let s = &self.state;
        let graphics =
            s.dispi.geometry().is_some() || s.graphics.has(gfx::MISC, gfx::MISC_GRAPHICS);
        (!graphics && !s.is_dark()).then(|| text::screen(s, &self.memory))
    }

    fn cursor_on(&self) -> bool {
        self.now / BLINK_NS & 1 == 0
    }

    fn blink_on(&self) -> bool {
        self.now / (2 * BLINK_NS) & 1 == 0
    }
}

/// The 256 colours of the DAC.
fn dac(s: &State) -> [u32; 256] {
    let wide = |v: u8| match s.dispi.has_wide_dac() {
        true => v,
        false => v << 2 | v >> 4 & 3,
    };
    std::array::from_fn(|i| {
        let i = i & usize::from(s.dac.mask);
        let [r, g, b] = s.dac.colors.get(i).copied().unwrap_or_default();
        u32::from_be_bytes([0, wide(r), wide(g), wide(b)])
    })
}

/// The colours of the attribute controller's palette ("Attribute Controller", colour select register).
fn palette(s: &State) -> [u32; 16] {
    let dac = dac(s);
    let select = s.attribute.get(attr::COLOR_SELECT);
    let narrow = s.attribute.has(attr::MODE, attr::MODE_SELECT_54);
    std::array::from_fn(|i| {
        let p = s.attribute.get(i);
        let n = match narrow {
            true => p & 0x0f | select << 4,
            false => p & 0x3f | (select & 0x0c) << 4,
        };
        dac[usize::from(n)]
    })
}
