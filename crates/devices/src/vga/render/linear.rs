//! Linear modes of the Bochs interface.

use super::{Memory, dac};
use crate::vga::dispi::Geometry;
use crate::vga::frame::Frame;
use crate::vga::state::State;

/// Five or six bits as eight.
fn five(v: u32) -> u32 {
    (v & 31) << 3 | (v & 31) >> 2
}
fn six(v: u32) -> u32 {
    (v & 63) << 2 | (v & 63) >> 4
}

/// The picture. Memory begins with its first byte.
pub fn frame(s: &State, memory: &Memory, g: Geometry) -> Frame {
    let mut frame = Frame::black(g.width, g.height);
    let colors = dac(s);
    let lines = memory.bytes.chunks(g.pitch.max(1) as usize);
    let width = g.width.max(1) as usize;
    for (from, out) in lines.zip(frame.pixels.chunks_exact_mut(width)) {
        match g.bits {
            8 => {
                for (o, b) in out.iter_mut().zip(from) {
                    *o = colors[usize::from(*b)];
                }
            }
            15 | 16 => {
                for (o, two) in out.iter_mut().zip(from.chunks_exact(2)) {
                    let v = u32::from(two[0]) | u32::from(two[1]) << 8;
                    *o = match g.bits {
                        15 => five(v >> 10) << 16 | five(v >> 5) << 8 | five(v),
                        _ => five(v >> 11) << 16 | six(v >> 5) << 8 | five(v),
                    };
                }
            }
            24 => {
                for (o, three) in out.iter_mut().zip(from.chunks_exact(3)) {
                    *o = u32::from_le_bytes([three[0], three[1], three[2], 0]);
                }
            }
            _ => {
                for (o, four) in out.iter_mut().zip(from.chunks_exact(4)) {
                    *o = u32::from_le_bytes([four[0], four[1], four[2], 0]);
                }
            }
        }
    }
    frame
}
