//! Keys and their scan codes: set 1 (XT), set 2 (AT), and the controller's translation from set 2 to set 1
//! (IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller", table of scan code translation).

/// A key, by its set 1 make code; those that set 1 prefixes with E0 carry [`Key::EXTENDED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub u16);

impl Key {
    /// The E0 prefix.
    pub const EXTENDED: u16 = 0xe000;

    pub const ESCAPE: Self = Self(0x01);
    pub const BACKSPACE: Self = Self(0x0e);
    pub const TAB: Self = Self(0x0f);
    pub const ENTER: Self = Self(0x1c);
    pub const LEFT_CTRL: Self = Self(0x1d);
    pub const LEFT_SHIFT: Self = Self(0x2a);
    pub const RIGHT_SHIFT: Self = Self(0x36);
    pub const LEFT_ALT: Self = Self(0x38);
    pub const SPACE: Self = Self(0x39);
    pub const CAPS_LOCK: Self = Self(0x3a);
    /// F1 to F10 follow each other from here.
    pub const F1: Self = Self(0x3b);
    pub const F11: Self = Self(0x57);
    pub const F12: Self = Self(0x58);
    pub const RIGHT_ALT: Self = Self(0xe038);
    pub const RIGHT_CTRL: Self = Self(0xe01d);
    pub const HOME: Self = Self(0xe047);
    pub const UP: Self = Self(0xe048);
    pub const PAGE_UP: Self = Self(0xe049);
    pub const LEFT: Self = Self(0xe04b);
    pub const RIGHT: Self = Self(0xe04d);
    pub const END: Self = Self(0xe04f);
    pub const DOWN: Self = Self(0xe050);
    pub const PAGE_DOWN: Self = Self(0xe051);
    pub const INSERT: Self = Self(0xe052);
    pub const DELETE: Self = Self(0xe053);
    /// Sends its break code with its make code (E1 prefix).
    pub const PAUSE: Self = Self(0xe11d);

    fn code(self) -> u8 {
        self.0 as u8 & 0x7f
    }

    fn is_extended(self) -> bool {
        self.0 & 0xff00 == Self::EXTENDED
    }

    /// The key that types `c` on a US keyboard, and whether Shift goes with it.
    pub fn of_char(c: char) -> Option<(Self, bool)> {
        const ROWS: [(u16, &str, &str); 4] = [
            (0x02, "1234567890-=", "!@#$%^&*()_+"),
            (0x10, "qwertyuiop[]", "QWERTYUIOP{}"),
            (0x1e, "asdfghjkl;'`", "ASDFGHJKL:\"~"),
            (0x2b, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
        ];
        match c {
            '\n' | '\r' => return Some((Self::ENTER, false)),
            '\t' => return Some((Self::TAB, false)),
            '\u{8}' | '\u{7f}' => return Some((Self::BACKSPACE, false)),
            '\u{1b}' => return Some((Self::ESCAPE, false)),
            ' ' => return Some((Self::SPACE, false)),
            _ => {}
        }
        ROWS.iter().find_map(|(first, plain, shifted)| {
            let at = |row: &str| row.chars().position(|k| k == c);
            let key = |i: usize| Self(first + i as u16);
            at(plain)
                .map(|i| (key(i), false))
                .or_else(|| at(shifted).map(|i| (key(i), true)))
        })
    }

    /// Make or break code in scan code set 1.
    pub fn set1(self, pressed: bool) -> Vec<u8> {
        if self == Self::PAUSE {
            return pause(pressed, &[0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
        }
        let code = self.code() | if pressed { 0 } else { 0x80 };
        if self.is_extended() {
            vec![0xe0, code]
        } else {
            vec![code]
        }
    }

    /// Make or break code in scan code set 2.
    pub fn set2(self, pressed: bool) -> Vec<u8> {
        if self == Self::PAUSE {
            return pause(pressed, &[0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77]);
        }
        let Some(code) = set2_of(self.code()) else {
            return Vec::new();
        };
        let mut bytes = Vec::with_capacity(3);
        if self.is_extended() {
            bytes.push(0xe0);
        }
        if !pressed {
            bytes.push(0xf0);
        }
        bytes.push(code);
        bytes
    }
}

fn pause(pressed: bool, code: &[u8]) -> Vec<u8> {
    if pressed { code.to_vec() } else { Vec::new() }
}

/// Set 1 code of each set 2 code below 0x80.
#[rustfmt::skip]
const TRANSLATION: [u8; 128] = [
    0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
    0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
    0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c, 0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
    0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
    0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
    0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
    0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
    0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
];

/// What the controller makes of a byte of the keyboard that is not the break prefix.
pub fn translate(code: u8) -> u8 {
    match code {
        0x83 => 0x41,
        0x84 => 0x54,
        _ => TRANSLATION.get(usize::from(code)).copied().unwrap_or(code),
    }
}

fn set2_of(set1: u8) -> Option<u8> {
    match set1 {
        // F7 lies beyond the others.
        0x41 => Some(0x83),
        _ => TRANSLATION.iter().position(|&c| c == set1).map(|i| i as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translation_undoes_set_2() {
        for code in 1..=0x7f {
            let Some(set2) = set2_of(code) else { continue };
            assert_eq!(translate(set2), code);
        }
        assert_eq!(Key::F1.set2(true), [0x05]);
        assert_eq!(Key(Key::F1.0 + 6).set2(true), [0x83]);
        assert_eq!(Key::UP.set2(false), [0xe0, 0xf0, 0x75]);
        assert_eq!(Key::UP.set1(false), [0xe0, 0xc8]);
        assert_eq!(Key::ENTER.set2(true), [0x5a]);
    }

    #[test]
    fn characters() {
        assert_eq!(Key::of_char('a'), Some((Key(0x1e), false)));
        assert_eq!(Key::of_char('Z'), Some((Key(0x2c), true)));
        assert_eq!(Key::of_char('?'), Some((Key(0x35), true)));
        assert_eq!(Key::of_char('"'), Some((Key(0x28), true)));
        assert_eq!(Key::of_char('|'), Some((Key(0x2b), true)));
        assert_eq!(Key::of_char('ä'), None);
    }
}
