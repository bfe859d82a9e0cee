//! Keys by their names: X11 keysyms, XT scan codes of VNC's extended key events, browsers' `KeyboardEvent.code`, and our own words.

use devices::i8042::Key;
use std::collections::BTreeSet;

const fn extended(code: u16) -> Key {
    Key(Key::EXTENDED | code)
}

/// Keys that type no character: our word, `KeyboardEvent.code`, keysym.
const NAMED: &[(&str, &str, u32, Key)] = &[
    ("esc", "Escape", 0xff1b, Key::ESCAPE),
    ("backspace", "Backspace", 0xff08, Key::BACKSPACE),
    ("tab", "Tab", 0xff09, Key::TAB),
    ("enter", "Enter", 0xff0d, Key::ENTER),
    ("ctrl", "ControlLeft", 0xffe3, Key::LEFT_CTRL),
    ("ctrl-r", "ControlRight", 0xffe4, Key::RIGHT_CTRL),
    ("shift", "ShiftLeft", 0xffe1, Key::LEFT_SHIFT),
    ("shift-r", "ShiftRight", 0xffe2, Key::RIGHT_SHIFT),
    ("alt", "AltLeft", 0xffe9, Key::LEFT_ALT),
    ("alt-r", "AltRight", 0xffea, Key::RIGHT_ALT),
    ("altgr", "", 0xfe03, Key::RIGHT_ALT),
    ("meta", "MetaLeft", 0xffeb, extended(0x5b)),
    ("meta-r", "MetaRight", 0xffec, extended(0x5c)),
    ("menu", "ContextMenu", 0xff67, extended(0x5d)),
    ("space", "Space", 0x20, Key::SPACE),
    ("caps-lock", "CapsLock", 0xffe5, Key::CAPS_LOCK),
    ("num-lock", "NumLock", 0xff7f, Key(0x45)),
    ("scroll-lock", "ScrollLock", 0xff14, Key(0x46)),
    ("print", "PrintScreen", 0xff61, extended(0x37)),
    ("pause", "Pause", 0xff13, Key::PAUSE),
    ("home", "Home", 0xff50, Key::HOME),
    ("left", "ArrowLeft", 0xff51, Key::LEFT),
    ("up", "ArrowUp", 0xff52, Key::UP),
    ("right", "ArrowRight", 0xff53, Key::RIGHT),
    ("down", "ArrowDown", 0xff54, Key::DOWN),
    ("page-up", "PageUp", 0xff55, Key::PAGE_UP),
    ("page-down", "PageDown", 0xff56, Key::PAGE_DOWN),
    ("end", "End", 0xff57, Key::END),
    ("insert", "Insert", 0xff63, Key::INSERT),
    ("delete", "Delete", 0xffff, Key::DELETE),
    ("f1", "F1", 0xffbe, Key(0x3b)),
    ("f2", "F2", 0xffbf, Key(0x3c)),
    ("f3", "F3", 0xffc0, Key(0x3d)),
    ("f4", "F4", 0xffc1, Key(0x3e)),
    ("f5", "F5", 0xffc2, Key(0x3f)),
    ("f6", "F6", 0xffc3, Key(0x40)),
    ("f7", "F7", 0xffc4, Key(0x41)),
    ("f8", "F8", 0xffc5, Key(0x42)),
    ("f9", "F9", 0xffc6, Key(0x43)),
    ("f10", "F10", 0xffc7, Key(0x44)),
    ("f11", "F11", 0xffc8, Key::F11),
    ("f12", "F12", 0xffc9, Key::F12),
    ("kp-enter", "NumpadEnter", 0xff8d, extended(0x1c)),
    ("kp-multiply", "NumpadMultiply", 0xffaa, Key(0x37)),
    ("kp-add", "NumpadAdd", 0xffab, Key(0x4e)),
    ("kp-subtract", "NumpadSubtract", 0xffad, Key(0x4a)),
    ("kp-decimal", "NumpadDecimal", 0xffae, Key(0x53)),
    ("kp-divide", "NumpadDivide", 0xffaf, extended(0x35)),
    ("kp-0", "Numpad0", 0xffb0, Key(0x52)),
    ("kp-1", "Numpad1", 0xffb1, Key(0x4f)),
    ("kp-2", "Numpad2", 0xffb2, Key(0x50)),
    ("kp-3", "Numpad3", 0xffb3, Key(0x51)),
    ("kp-4", "Numpad4", 0xffb4, Key(0x4b)),
    ("kp-5", "Numpad5", 0xffb5, Key(0x4c)),
    ("kp-6", "Numpad6", 0xffb6, Key(0x4d)),
    ("kp-7", "Numpad7", 0xffb7, Key(0x47)),
    ("kp-8", "Numpad8", 0xffb8, Key(0x48)),
    ("kp-9", "Numpad9", 0xffb9, Key(0x49)),
    ("less", "IntlBackslash", 0, Key(0x56)),
];

/// `KeyboardEvent.code` of keys that type a character, beside KeyA to KeyZ and Digit0 to Digit9.
const CODES: &[(&str, char)] = &[
    ("Minus", '-'),
    ("Equal", '='),
    ("BracketLeft", '['),
    ("BracketRight", ']'),
    ("Semicolon", ';'),
    ("Quote", '\''),
    ("Backquote", '`'),
    ("Backslash", '\\'),
    ("Comma", ','),
    ("Period", '.'),
    ("Slash", '/'),
];

/// The key of an X11 keysym, on a US keyboard.
pub fn of_keysym(keysym: u32) -> Option<Key> {
    if let Some(n) = NAMED.iter().find(|n| n.2 == keysym && keysym != 0) {
        return Some(n.3);
    }
    match keysym {
        0x20..=0x7e => Key::of_char(char::from(keysym as u8)).map(|k| k.0),
        // Shift and Tab, and Meta as old keyboards name Alt.
        0xfe20 => Some(Key::TAB),
        0xffe7 => Some(Key::LEFT_ALT),
        0xffe8 => Some(Key::RIGHT_ALT),
        _ => None,
    }
}

/// The key of an XT scan code as QEMU's extended key event has it: bit 7 stands for the E0 prefix.
pub fn of_xt(code: u32) -> Option<Key> {
    match code {
        0xc6 => Some(Key::PAUSE),
        0x54 => Some(extended(0x37)),
        1..=0x7f => Some(Key(code as u16)),
        0x81..=0xff => Some(extended(code as u16 & 0x7f)),
        // The prefix written out.
        0xe001..=0xe07f => Some(Key(code as u16)),
        _ => None,
    }
}

/// The key of a browser's `KeyboardEvent.code`.
pub fn of_code(code: &str) -> Option<Key> {
    if code.is_empty() {
        return None;
    }
    let named = NAMED.iter().find(|n| n.1 == code).map(|n| n.3);
    let typed = || {
        let one = |s: &str| s.chars().next().filter(|_| s.len() == 1);
        let c = match (code.strip_prefix("Key"), code.strip_prefix("Digit")) {
            (Some(c), _) => one(c)?.to_ascii_lowercase(),
            (_, Some(c)) => one(c)?,
            _ => CODES.iter().find(|n| n.0 == code)?.1,
        };
        Key::of_char(c).map(|k| k.0)
    };
    named.or_else(typed)
}

/// The key of a name such as `f1`, `ctrl` or `a`.
pub fn of_name(name: &str) -> Option<Key> {
    let lower = name.to_ascii_lowercase();
    if let Some(n) = NAMED.iter().find(|n| n.0 == lower) {
        return Some(n.3);
    }
    let mut chars = lower.chars();
    match (chars.next(), chars.next()) {
        (Some(c), None) => Key::of_char(c).map(|k| k.0),
        _ => None,
    }
}

/// Keys to be held together, such as `ctrl-alt-delete` or `ctrl+c`; the first that is none is told.
pub fn of_chord(text: &str) -> Result<Vec<Key>, String> {
    let mut keys = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        // The longest name first: names have hyphens too.
        let ends = rest
            .char_indices()
            .filter(|(i, c)| *i > 0 && matches!(c, '-' | '+'))
            .map(|(i, _)| i)
            .chain([rest.len()]);
        let found = ends
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
            .find_map(|e| Some((of_name(rest.get(..e)?)?, e)));
        let Some((key, end)) = found else {
            return Err(rest.to_string());
        };
        keys.push(key);
        rest = rest.get(end + 1..).unwrap_or("");
    }
    match keys.is_empty() {
        true => Err(text.to_string()),
        false => Ok(keys),
    }
}

/// Names of keys that type no character.
pub fn names() -> Vec<&'static str> {
    NAMED.iter().map(|n| n.0).collect()
}

/// Keys that one user holds down.
#[derive(Debug, Default)]
pub(crate) struct Pressed(BTreeSet<u16>);

impl Pressed {
    pub(crate) fn press(&mut self, key: Key) {
        self.0.insert(key.0);
    }
    pub(crate) fn release(&mut self, key: Key) {
        self.0.remove(&key.0);
    }
    pub(crate) fn take(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.0).into_iter().map(Key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_many_names() {
        assert_eq!(of_keysym(u32::from('a')), of_name("a"));
        assert_eq!(of_keysym(u32::from('A')), Some(Key(0x1e)));
        assert_eq!(of_keysym(0xffff), Some(Key::DELETE));
        assert_eq!(of_keysym(0x100_20ac), None);
        assert_eq!(of_xt(0xd3), Some(Key::DELETE));
        assert_eq!(of_xt(0x1e), Some(Key(0x1e)));
        assert_eq!(of_xt(0x1_0000), None);
        assert_eq!(of_code("KeyQ"), Some(Key(0x10)));
        assert_eq!(of_code("Digit0"), Some(Key(0x0b)));
        assert_eq!(of_code("Slash"), Some(Key(0x35)));
        assert_eq!(of_code("KeyÄ"), None);
        assert_eq!(of_code(""), None);
    }

    #[test]
    fn chords() {
        let keys = |t| of_chord(t).map(|k| k.iter().map(|k| k.0).collect::<Vec<_>>());
        assert_eq!(keys("ctrl-alt-delete"), Ok(vec![0x1d, 0x38, 0xe053]));
        assert_eq!(keys("shift-r-f1"), Ok(vec![0x36, 0x3b]));
        assert_eq!(keys("ctrl+c"), Ok(vec![0x1d, 0x2e]));
        assert_eq!(keys("page-up"), Ok(vec![0xe049]));
        assert_eq!(keys("ctrl--"), Ok(vec![0x1d, 0x0c]));
        assert_eq!(keys("ctrl-nokey"), Err("nokey".into()));
        assert_eq!(keys(""), Err("".into()));
    }
}
