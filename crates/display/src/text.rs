//! Text modes in a terminal: a screen of characters as escape sequences (ECMA-48), typed bytes as keys.

use crate::Seat;
use devices::i8042::Key;
use devices::vga::{Cell, TextScreen, character};
use std::fmt::Write;

/// What a terminal shows, so that only changes are sent.
#[derive(Default)]
pub struct Painter {
    shown: Option<TextScreen>,
    said: bool,
}

/// Colours of the IBM palette in the order of ECMA-48.
const COLORS: [u8; 8] = [0, 4, 2, 6, 1, 5, 3, 7];

fn color(out: &mut String, cell: Cell) {
    let n = |c: u8| COLORS[usize::from(c & 7)];
    let foreground = if cell.foreground & 8 != 0 { 90 } else { 30 } + n(cell.foreground);
    let background = if cell.background & 8 != 0 { 100 } else { 40 } + n(cell.background);
    // Writing to a string cannot fail.
    let _ = write!(out, "\x1b[{foreground};{background}m");
}

impl Painter {
    /// What brings the terminal from what it shows to `screen`; `None` is a screen without text.
    pub fn paint(&mut self, screen: Option<&TextScreen>) -> String {
        let Some(screen) = screen else {
            self.shown = None;
            return match std::mem::replace(&mut self.said, true) {
                true => String::new(),
                false => "\x1b[0m\x1b[2J\x1b[H(the screen shows no text)".into(),
            };
        };
        self.said = false;
        let mut out = String::new();
        let size = |s: &TextScreen| (s.columns, s.rows);
        let old = self.shown.take().filter(|o| size(o) == size(screen));
        if old.is_none() {
            out.push_str("\x1b[0m\x1b[2J");
        }
        for y in 0..screen.rows {
            let row = screen.row(y);
            let before = old.as_ref().map(|o| o.row(y));
            if before == Some(row) {
                continue;
            }
            let _ = write!(out, "\x1b[{};1H", y + 1);
            let mut last = None;
            for cell in row {
                let look = (cell.foreground, cell.background);
                if last != Some(look) {
                    color(&mut out, *cell);
                    last = Some(look);
                }
                out.push(character(cell.code));
            }
            out.push_str("\x1b[0m");
        }
        let cursor = old.as_ref().map(|o| o.cursor);
        if !out.is_empty() || cursor != Some(screen.cursor) {
            match screen.cursor {
                Some((x, y)) => {
                    let _ = write!(out, "\x1b[{};{}H\x1b[?25h", y + 1, x + 1);
                }
                None => out.push_str("\x1b[?25l"),
            }
        }
        self.shown = Some(screen.clone());
        out
    }

    /// What leaves the terminal in order.
    pub fn end() -> &'static str {
        "\x1b[0m\x1b[?25h\r\n"
    }
}

/// Sequences of keys that type no character.
const SEQUENCES: &[(&[u8], Key)] = &[
    (b"\x1b[A", Key::UP),
    (b"\x1b[B", Key::DOWN),
    (b"\x1b[C", Key::RIGHT),
    (b"\x1b[D", Key::LEFT),
    (b"\x1b[H", Key::HOME),
    (b"\x1b[F", Key::END),
    (b"\x1b[1~", Key::HOME),
    (b"\x1b[2~", Key::INSERT),
    (b"\x1b[3~", Key::DELETE),
    (b"\x1b[4~", Key::END),
    (b"\x1b[5~", Key::PAGE_UP),
    (b"\x1b[6~", Key::PAGE_DOWN),
    (b"\x1bOP", Key(0x3b)),
    (b"\x1bOQ", Key(0x3c)),
    (b"\x1bOR", Key(0x3d)),
    (b"\x1bOS", Key(0x3e)),
    (b"\x1b[15~", Key(0x3f)),
    (b"\x1b[17~", Key(0x40)),
    (b"\x1b[18~", Key(0x41)),
    (b"\x1b[19~", Key(0x42)),
    (b"\x1b[20~", Key(0x43)),
    (b"\x1b[21~", Key(0x44)),
    (b"\x1b[23~", Key::F11),
    (b"\x1b[24~", Key::F12),
];

/// Types what a terminal sent.
pub fn type_bytes(seat: &Seat, mut bytes: &[u8]) {
    let tap = |modifier: Option<Key>, key: Key| {
        if let Some(m) = modifier {
            seat.input.press(m);
        }
        seat.input.press(key);
        seat.input.release(key);
        if let Some(m) = modifier {
            seat.input.release(m);
        }
    };
    while let Some((&b, rest)) = bytes.split_first() {
        if let Some((s, key)) = SEQUENCES.iter().find(|s| bytes.starts_with(s.0)) {
            tap(None, *key);
            bytes = bytes.get(s.len()..).unwrap_or(&[]);
            continue;
        }
        match b {
            b'\r' | b'\n' | b'\t' | 0x08 | 0x7f | 0x1b | 0x20..=0x7e => {
                seat.input.type_text(char::from(b).encode_utf8(&mut [0; 4]));
            }
            // Control characters are letters with Ctrl.
            1..=26 => {
                if let Some((key, _)) = Key::of_char(char::from(b + b'a' - 1)) {
                    tap(Some(Key::LEFT_CTRL), key);
                }
            }
            _ => {}
        }
        bytes = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn screen(text: &str) -> TextScreen {
        let cells = text.bytes().map(|code| Cell {
            code,
            foreground: 14,
            background: 1,
        });
        TextScreen {
            columns: 2,
            rows: 2,
            cells: cells.collect(),
            cursor: Some((1, 0)),
            palette: [0; 16],
        }
    }

    #[test]
    fn only_changes_are_painted() {
        let mut p = Painter::default();
        let first = p.paint(Some(&screen("abce")));
        assert!(
            first.starts_with("\x1b[0m\x1b[2J\x1b[1;1H\x1b[93;44mab"),
            "{first:?}"
        );
        let mut s = screen("abcd");
        p.paint(Some(&s));
        assert_eq!(p.paint(Some(&s)), "");
        s.cells[3].code = 0xdb;
        assert_eq!(
            p.paint(Some(&s)),
            "\x1b[2;1H\x1b[93;44mc█\x1b[0m\x1b[1;2H\x1b[?25h"
        );
        s.cursor = None;
        assert_eq!(p.paint(Some(&s)), "\x1b[?25l");
        assert!(p.paint(None).contains("no text"));
        assert_eq!(p.paint(None), "");
    }
}
