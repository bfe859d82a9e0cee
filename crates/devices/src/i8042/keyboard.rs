//! The keyboard at the end of the cable (IBM PS/2 Hardware Interface Technical Reference, "Keyboard (101- and 102-Key)").

use super::keys::Key;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;
const SELF_TEST_PASSED: u8 = 0xaa;

/// Room for keystrokes; a real keyboard has 16 bytes, this one waits longer for a guest that is busy.
const BUFFER: usize = 4096;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Keyboard {
    out: VecDeque<u8>,
    /// Command that waits for its parameter.
    command: Option<u8>,
    last: u8,
    pub leds: u8,
    set: u8,
    scanning: bool,
}

impl Default for Keyboard {
    fn default() -> Self {
        Self {
            out: VecDeque::new(),
            command: None,
            last: 0,
            leds: 0,
            set: 2,
            scanning: true,
        }
    }
}

impl Keyboard {
    /// The next byte for the controller.
    pub fn send(&mut self) -> Option<u8> {
        let b = self.out.pop_front();
        if let Some(b) = b {
            self.last = b;
        }
        b
    }

    /// A key goes down or up.
    pub fn key(&mut self, key: Key, pressed: bool) {
        let code = match self.set {
            1 => key.set1(pressed),
            _ => key.set2(pressed),
        };
        if self.scanning && self.out.len() + code.len() <= BUFFER {
            self.out.extend(code);
        }
    }

    /// Waiting bytes.
    pub fn pending(&self) -> usize {
        self.out.len()
    }

    fn reply(&mut self, bytes: &[u8]) {
        if self.out.len() < 2 * BUFFER {
            self.out.extend(bytes);
        }
    }

    fn defaults(&mut self) {
        self.set = 2;
        self.out.clear();
    }

    /// A byte from the controller.
    pub fn receive(&mut self, byte: u8) {
        if let Some(command) = self.command.take()
            && byte < 0xed
        {
            self.parameter(command, byte);
            return;
        }
        match byte {
            0xed | 0xf0 | 0xf3 | 0xfb..=0xfd => {
                self.command = Some(byte);
                self.reply(&[ACK]);
            }
            0xee => self.reply(&[0xee]),
            0xf2 => self.reply(&[ACK, 0xab, 0x83]),
            0xf4 => {
                self.out.clear();
                self.scanning = true;
                self.reply(&[ACK]);
            }
            0xf5 | 0xf6 => {
                self.defaults();
                self.scanning = byte == 0xf6;
                self.reply(&[ACK]);
            }
            // All keys typematic, make/break, ...: of set 3, which is not had.
            0xf7..=0xfa => self.reply(&[ACK]),
            RESEND => {
                let last = self.last;
                self.reply(&[last]);
            }
            0xff => {
                *self = Self::default();
                self.reply(&[ACK, SELF_TEST_PASSED]);
            }
            _ => self.reply(&[RESEND]),
        }
    }

    fn parameter(&mut self, command: u8, byte: u8) {
        match (command, byte) {
            (0xed, leds) => {
                self.leds = leds & 7;
                self.reply(&[ACK]);
            }
            (0xf0, 0) => {
                let set = self.set;
                self.reply(&[ACK, set]);
            }
            (0xf0, set @ 1..=2) => {
                self.set = set;
                self.reply(&[ACK]);
            }
            (0xf0, _) => self.reply(&[RESEND]),
            _ => self.reply(&[ACK]),
        }
    }
}
