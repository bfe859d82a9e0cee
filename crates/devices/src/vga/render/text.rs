//! Text modes: characters and attributes in planes 0 and 1, fonts in plane 2.

use super::{Memory, palette, scan};
use crate::vga::frame::{Cell, Frame, TextScreen};
use crate::vga::regs::{attr, crtc, seq};
use crate::vga::state::State;

/// Bytes from one character's pattern to the next's.
const PATTERN: u64 = 32;

/// Where in plane 2 the fonts are: for characters without and with attribute bit 3.
fn fonts(s: &State) -> [u64; 2] {
    let maps = s.sequencer.get(seq::CHARACTER_MAP);
    let b = maps & 3 | maps >> 2 & 4;
    let a = maps >> 2 & 3 | maps >> 3 & 4;
    [b, a].map(|n| u64::from(n & 3) * 0x4000 + u64::from(n >> 2) * 0x2000)
}

/// How a cell is drawn.
struct Look {
    fonts: [u64; 2],
    palette: [u32; 16],
    blinks: bool,
    blink_on: bool,
    lines_joined: bool,
    underlined: Option<u32>,
}

impl Look {
    fn new(s: &State, blink_on: bool) -> Self {
        let mode = s.attribute.get(attr::MODE);
        Self {
            fonts: fonts(s),
            palette: palette(s),
            blinks: mode & attr::MODE_BLINK != 0,
            blink_on,
            lines_joined: mode & attr::MODE_LINE != 0,
            underlined: (mode & attr::MODE_MONO != 0)
                .then(|| u32::from(s.crtc.get(crtc::UNDERLINE) & 31)),
        }
    }

    fn cell(&self, code: u8, attribute: u8) -> Cell {
        let background = match self.blinks {
            true => attribute >> 4 & 7,
            false => attribute >> 4,
        };
        Cell {
            code,
            foreground: attribute & 15,
            background,
        }
    }

    /// The dots of one row of a cell, the leftmost in bit 8, and its colours.
    fn dots(&self, memory: &Memory, code: u8, attribute: u8, row: u32) -> (u16, u32, u32) {
        let font = self.fonts[usize::from(attribute >> 3 & 1)];
        let pattern = memory.planes(font + u64::from(code) * PATTERN + u64::from(row & 31))[2];
        let mut dots = u16::from(pattern) << 1;
        if self.lines_joined && (0xc0..=0xdf).contains(&code) {
            dots |= u16::from(pattern & 1);
        }
        if self.underlined == Some(row) && attribute & 7 == 1 {
            dots = 0x1ff;
        }
        if self.blinks && !self.blink_on && attribute & 0x80 != 0 {
            dots = 0;
        }
        let cell = self.cell(code, attribute);
        let color = |i: u8| self.palette[usize::from(i & 15)];
        (dots, color(cell.foreground), color(cell.background))
    }
}

/// The cursor: its address, and the rows in which it is drawn.
fn cursor(s: &State) -> Option<(u32, std::ops::RangeInclusive<u32>)> {
    let [high, low] = [crtc::CURSOR_HIGH, crtc::CURSOR_LOW].map(|n| u32::from(s.crtc.get(n)));
    let (start, end) = (s.crtc.get(crtc::CURSOR_START), s.crtc.get(crtc::CURSOR_END));
    (start & crtc::CURSOR_OFF == 0 && start & 31 <= end & 31)
        .then(|| (high << 8 | low, (start & 31).into()..=(end & 31).into()))
}

/// Dots of a cell from left to right, and how often each is drawn: 40-column modes are as wide as the others.
fn cell_width(s: &State) -> (u32, u32) {
    let clocking = s.sequencer.get(seq::CLOCKING);
    let dots = if clocking & seq::CLOCKING_8_DOTS != 0 {
        8
    } else {
        9
    };
    let times = if clocking & seq::CLOCKING_HALF != 0 {
        2
    } else {
        1
    };
    (dots, times)
}

/// The picture.
pub fn frame(s: &State, memory: &Memory, cursor_on: bool, blink_on: bool) -> Frame {
    let (look, columns) = (Look::new(s, blink_on), scan::columns(s));
    let (dots_wide, times) = cell_width(s);
    let cursor = cursor(s).filter(|_| cursor_on);
    let mut frame = Frame::black(columns * dots_wide * times, scan::lines(s));
    let width = frame.width as usize;
    let panning = u32::from(s.attribute.get(attr::PANNING) & 15);
    // Nine-dot modes count 8 as no shift, 0 to 7 as one more.
    let panning = match (dots_wide, panning) {
        (9, 8..) => 0,
        (9, p) => p + 1,
        (_, p) => p & 7,
    };
    let split_stays = s.attribute.has(attr::MODE, attr::MODE_PANNING_SPLIT);
    let mut dots_of_line = Vec::with_capacity(width + 16);
    for (line, out) in scan::walk(s).zip(frame.pixels.chunks_exact_mut(width.max(1))) {
        dots_of_line.clear();
        for column in 0..=columns {
            let counter = line.address.wrapping_add(column) & 0xffff;
            let [code, attribute, ..] = memory.planes(scan::address(s, counter, line.row));
            let (mut dots, foreground, background) = look.dots(memory, code, attribute, line.row);
            let here = |c: &(u32, std::ops::RangeInclusive<u32>)| {
                c.0 == counter && c.1.contains(&line.row)
            };
            if cursor.as_ref().is_some_and(here) {
                dots = 0x1ff;
            }
            for dot in 0..dots_wide {
                let on = dots >> (8 - dot) & 1 != 0;
                dots_of_line.push(if on { foreground } else { background });
            }
        }
        let shift = if line.split && split_stays {
            0
        } else {
            panning
        };
        let dots = dots_of_line.iter().skip(shift as usize);
        let stretched = dots.flat_map(|&d| std::iter::repeat_n(d, times as usize));
        for (o, dot) in out.iter_mut().zip(stretched) {
            *o = dot;
        }
    }
    frame
}

/// The characters.
pub fn screen(s: &State, memory: &Memory) -> TextScreen {
    let look = Look::new(s, true);
    let columns = scan::columns(s) as usize;
    let height = (scan::max_row(s) + 1) << u32::from(scan::is_doubled(s));
    let rows = (scan::lines(s) / height).max(1) as usize;
    let cursor = cursor(s).map(|c| c.0);
    let mut screen = TextScreen {
        columns,
        rows,
        cells: Vec::with_capacity(columns * rows),
        cursor: None,
        palette: look.palette,
    };
    for row in 0..rows {
        let first = scan::start(s).wrapping_add(scan::pitch(s).wrapping_mul(row as u32));
        for column in 0..columns {
            let counter = first.wrapping_add(column as u32) & 0xffff;
            let [code, attribute, ..] = memory.planes(scan::address(s, counter, 0));
            if cursor == Some(counter) {
                screen.cursor = Some((column, row));
            }
            screen.cells.push(look.cell(code, attribute));
        }
    }
    screen
}
