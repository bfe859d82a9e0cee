//! The CRT controller's counters: which address and row each line of the picture begins with.

use crate::vga::regs::crtc;
use crate::vga::state::State;

/// A line of the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// The memory address counter at its left end.
    pub address: u32,
    /// The row scan counter.
    pub row: u32,
    /// It lies below the line compare register's line: panning may be off.
    pub split: bool,
}

/// Characters in a line.
pub fn columns(s: &State) -> u32 {
    u32::from(s.crtc.get(crtc::DISPLAY_END)) + 1
}

/// Lines of the picture.
pub fn lines(s: &State) -> u32 {
    let overflow = u32::from(s.crtc.get(crtc::OVERFLOW));
    let end = u32::from(s.crtc.get(crtc::VERTICAL_END));
    (end | (overflow & 2) << 7 | (overflow & 0x40) << 3) + 1
}

/// The rows that a character has, less one.
pub fn max_row(s: &State) -> u32 {
    (s.crtc.get(crtc::MAX_SCAN) & 31).into()
}

/// Lines that are drawn twice.
pub fn is_doubled(s: &State) -> bool {
    s.crtc.has(crtc::MAX_SCAN, crtc::MAX_SCAN_DOUBLE)
}

/// What the address counter gains from one row of characters to the next.
pub fn pitch(s: &State) -> u32 {
    u32::from(s.crtc.get(crtc::OFFSET)) * 2
}

/// The start address, byte panning included.
pub fn start(s: &State) -> u32 {
    let [high, low] = [crtc::START_HIGH, crtc::START_LOW].map(|n| u32::from(s.crtc.get(n)));
    (high << 8 | low) + u32::from(s.crtc.get(crtc::PRESET_ROW) >> 5 & 3)
}

fn line_compare(s: &State) -> u32 {
    let overflow = u32::from(s.crtc.get(crtc::OVERFLOW));
    let max_scan = u32::from(s.crtc.get(crtc::MAX_SCAN));
    u32::from(s.crtc.get(crtc::LINE_COMPARE)) | (overflow & 0x10) << 4 | (max_scan & 0x40) << 3
}

/// All lines of the picture.
pub fn walk(s: &State) -> impl Iterator<Item = Line> {
    let (max_row, pitch) = (max_row(s), pitch(s));
    let (doubled, compare) = (is_doubled(s), line_compare(s));
    let mut next = Line {
        address: start(s),
        row: (s.crtc.get(crtc::PRESET_ROW) & 31).into(),
        split: false,
    };
    let mut second = false;
    (0..lines(s)).map(move |n| {
        let line = next;
        second = doubled && !second;
        if n == compare {
            second = false;
            next = Line {
                address: 0,
                row: 0,
                split: true,
            };
        } else if !second {
            next.row += 1;
            if next.row > max_row {
                next.row = 0;
                next.address = next.address.wrapping_add(pitch);
            }
        }
        line
    })
}

/// The address in the planes that a counter value stands for ("CRT Controller", mode control register).
pub fn address(s: &State, counter: u32, row: u32) -> u64 {
    let mode = s.crtc.get(crtc::MODE);
    let mut a = if s.crtc.has(crtc::UNDERLINE, crtc::UNDERLINE_DWORD) {
        counter << 2 | counter >> 14 & 3
    } else if mode & crtc::MODE_BYTE == 0 {
        let wrapped = if mode & crtc::MODE_WRAP != 0 { 15 } else { 13 };
        counter << 1 | counter >> wrapped & 1
    } else {
        counter
    };
    if mode & crtc::MODE_NO_ROW0 == 0 {
        a = a & !(1 << 13) | (row & 1) << 13;
    }
    if mode & crtc::MODE_NO_ROW1 == 0 {
        a = a & !(1 << 14) | (row >> 1 & 1) << 14;
    }
    (a & 0xffff).into()
}
