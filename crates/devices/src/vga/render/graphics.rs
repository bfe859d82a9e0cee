//! Graphics modes of the VGA itself: planes, CGA's two bits a pixel, and 256 colours.

use super::{Memory, dac, palette, scan};
use crate::vga::dispi::Geometry;
use crate::vga::frame::Frame;
use crate::vga::regs::{attr, crtc, gfx};
use crate::vga::state::State;

/// How the shift registers turn four planes' bytes into pixels ("Graphics Controller", mode register).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shift {
    Planes,
    Interleaved,
    Bytes,
}

impl Shift {
    fn of(s: &State) -> Self {
        let mode = s.graphics.get(gfx::MODE);
        if mode & gfx::MODE_256 != 0 {
            Self::Bytes
        } else if mode & gfx::MODE_INTERLEAVE != 0 {
            Self::Interleaved
        } else {
            Self::Planes
        }
    }

    /// Pixels out of one memory cycle.
    fn pixels(self) -> u32 {
        if self == Self::Bytes { 4 } else { 8 }
    }

    /// Pixel `n` from the left.
    fn pixel(self, planes: [u8; 4], n: u32) -> u8 {
        let [a, b, c, d] = planes;
        match self {
            Self::Planes => {
                let bit = |p: u8| p >> (7 - n % 8) & 1;
                bit(a) | bit(b) << 1 | bit(c) << 2 | bit(d) << 3
            }
            Self::Interleaved => {
                let (low, high) = if n < 4 { (a, c) } else { (b, d) };
                let two = |p: u8| p >> (6 - 2 * (n % 4)) & 3;
                two(low) | two(high) << 2
            }
            Self::Bytes => planes[n as usize % 4],
        }
    }
}

/// The colours of pixel values.
fn colors(s: &State, shift: Shift) -> [u32; 256] {
    if shift == Shift::Bytes {
        return dac(s);
    }
    let palette = palette(s);
    let enabled = usize::from(s.attribute.get(attr::PLANES) & 15);
    std::array::from_fn(|i| palette[i & enabled])
}

/// Lines that one line of pixels takes on the monitor: they are shown once.
fn times(s: &State) -> u32 {
    let rows_address = crtc::MODE_NO_ROW0 | crtc::MODE_NO_ROW1;
    let rows = match s.crtc.get(crtc::MODE) & rows_address == rows_address {
        true => scan::max_row(s) + 1,
        false => 1,
    };
    rows << u32::from(scan::is_doubled(s))
}

/// The picture.
pub fn frame(s: &State, memory: &Memory) -> Frame {
    let shift = Shift::of(s);
    let (colors, columns, times) = (colors(s, shift), scan::columns(s), times(s));
    let mut frame = Frame::black(columns * shift.pixels(), scan::lines(s).div_ceil(times));
    let width = frame.width as usize;
    let panning = u32::from(s.attribute.get(attr::PANNING) & 15);
    let panning = match shift {
        Shift::Bytes => panning / 2 % 4,
        _ => panning & 7,
    };
    let split_stays = s.attribute.has(attr::MODE, attr::MODE_PANNING_SPLIT);
    let lines = scan::walk(s).step_by(times as usize);
    for (line, out) in lines.zip(frame.pixels.chunks_exact_mut(width.max(1))) {
        let pan = if line.split && split_stays {
            0
        } else {
            panning
        };
        let fetch = |column: u32| {
            let counter = line.address.wrapping_add(column) & 0xffff;
            memory.planes(scan::address(s, counter, line.row))
        };
        let mut from = (u32::MAX, [0; 4]);
        for (x, o) in (pan..).zip(out) {
            let column = x / shift.pixels();
            if from.0 != column {
                from = (column, fetch(column));
            }
            *o = colors[usize::from(shift.pixel(from.1, x % shift.pixels()))];
        }
    }
    frame
}

/// A planar mode of the Bochs interface.
pub fn planar(s: &State, memory: &Memory, g: Geometry) -> Frame {
    let colors = colors(s, Shift::Planes);
    let mut frame = Frame::black(g.width, g.height);
    for (y, out) in (0u64..).zip(frame.pixels.chunks_exact_mut(g.width.max(1) as usize)) {
        let first = g.start + y * u64::from(g.pitch);
        for (column, eight) in (0u64..).zip(out.chunks_mut(8)) {
            let planes = memory.planes(first + column);
            for (n, o) in (0..).zip(eight) {
                *o = colors[usize::from(Shift::Planes.pixel(planes, n))];
            }
        }
    }
    frame
}
