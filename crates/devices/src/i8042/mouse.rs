//! The mouse at the auxiliary port (IBM PS/2 Hardware Interface Technical Reference, "Auxiliary Device"), with the wheel protocol.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

const ACK: u8 = 0xfa;
const RESEND: u8 = 0xfe;

/// Room for answers and packets.
const BUFFER: usize = 256;

/// Sample rates that, set one after the other, turn the wheel on.
const WHEEL_KNOCK: [u8; 3] = [200, 100, 80];

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mouse {
    out: VecDeque<u8>,
    command: Option<u8>,
    last: u8,
    rates: [u8; 3],
    resolution: u8,
    scaling: bool,
    reporting: bool,
    remote: bool,
    wrap: bool,
    wheel: bool,
    buttons: u8,
    moved: [i32; 3],
}

impl Default for Mouse {
    fn default() -> Self {
        Self {
            out: VecDeque::new(),
            command: None,
            last: 0,
            rates: [0, 0, 100],
            resolution: 2,
            scaling: false,
            reporting: false,
            remote: false,
            wrap: false,
            wheel: false,
            buttons: 0,
            moved: [0; 3],
        }
    }
}

impl Mouse {
    /// The next byte for the controller.
    pub fn send(&mut self) -> Option<u8> {
        let b = self.out.pop_front();
        if let Some(b) = b {
            self.last = b;
        }
        b
    }

    /// The mouse moves right and up (and its wheel down), with `buttons` held (1 left, 2 right, 4 middle).
    pub fn motion(&mut self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        for (m, d) in self.moved.iter_mut().zip([dx, dy, dz]) {
            *m = m.saturating_add(d);
        }
        self.buttons = buttons & 7;
        if self.reporting && !self.remote && self.out.len() + 4 <= BUFFER {
            self.packet();
        }
    }

    fn packet(&mut self) {
        let take = |m: &mut i32, limit: i32| {
            let d = (*m).clamp(-limit, limit);
            *m -= d;
            d
        };
        let [x, y, z] = &mut self.moved;
        let (dx, dy, dz) = (take(x, 255), take(y, 255), take(z, 7));
        let signs = u8::from(dx < 0) << 4 | u8::from(dy < 0) << 5;
        let bytes = [8 | signs | self.buttons, dx as u8, dy as u8, dz as u8];
        let n = if self.wheel { 4 } else { 3 };
        self.reply(&bytes[..n]);
    }

    fn reply(&mut self, bytes: &[u8]) {
        if self.out.len() < 2 * BUFFER {
            self.out.extend(bytes);
        }
    }

    fn defaults(&mut self) {
        let out = std::mem::take(&mut self.out);
        let Self { last, wheel, .. } = *self;
        *self = Self {
            out,
            last,
            wheel,
            ..Self::default()
        };
    }

    /// A byte from the controller.
    pub fn receive(&mut self, byte: u8) {
        if self.wrap && !matches!(byte, 0xec | 0xff) {
            self.reply(&[byte]);
            return;
        }
        if let Some(command) = self.command.take() {
            self.parameter(command, byte);
            return;
        }
        match byte {
            RESEND => {
                let last = self.last;
                self.reply(&[last]);
            }
            0xff => {
                *self = Self::default();
                self.reply(&[ACK, 0xaa, 0]);
            }
            _ if self.set_mode(byte) => self.reply(&[ACK]),
            0xe9 => {
                let [a, b, c] = self.status();
                self.reply(&[ACK, a, b, c]);
            }
            0xeb => {
                self.reply(&[ACK]);
                self.packet();
            }
            0xf2 => {
                let id = if self.wheel { 3 } else { 0 };
                self.reply(&[ACK, id]);
            }
            _ => self.reply(&[RESEND]),
        }
    }

    /// Commands that only change a mode; tells whether `byte` is one.
    fn set_mode(&mut self, byte: u8) -> bool {
        match byte {
            0xe6 | 0xe7 => self.scaling = byte == 0xe7,
            0xe8 | 0xf3 => self.command = Some(byte),
            0xea | 0xf0 => self.remote = byte == 0xf0,
            0xec | 0xee => self.wrap = byte == 0xee,
            0xf4 | 0xf5 => self.reporting = byte == 0xf4,
            0xf6 => self.defaults(),
            _ => return false,
        }
        true
    }

    /// The answer to a status request.
    fn status(&self) -> [u8; 3] {
        let modes = u8::from(self.remote) << 6
            | u8::from(self.reporting) << 5
            | u8::from(self.scaling) << 4;
        let b = self.buttons;
        let buttons = (b & 1) << 2 | (b & 4) >> 1 | (b & 2) >> 1;
        [modes | buttons, self.resolution, self.rates[2]]
    }

    fn parameter(&mut self, command: u8, byte: u8) {
        if command == 0xe8 {
            self.resolution = byte & 3;
        } else {
            self.rates.rotate_left(1);
            self.rates[2] = byte;
            self.wheel |= self.rates == WHEEL_KNOCK;
        }
        self.reply(&[ACK]);
    }
}
