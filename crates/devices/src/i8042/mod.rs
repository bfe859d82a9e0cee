//! The 8042 keyboard controller of the PC/AT and PS/2 with a keyboard and a mouse
//! (IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device Controller").
//!
//! Commands are answered at once: the input buffer is never full. Keys come from another thread through [`I8042`], a handle.

mod keyboard;
mod keys;
mod mouse;
#[cfg(test)]
mod tests;

pub use keys::Key;

use crate::reset::{A20Gate, A20Holder};
use crate::{bytes, lock};
use bus::{AccessSize, Device, IrqLine, ResetSource, StopReason, StopRequest};
use regs::*;
use snapshot::{Error, Section};
use state::{Source, State};
use std::sync::{Arc, Mutex};

/// Region number of the data port (0x60).
pub const REGION_DATA: usize = 0;
/// Region number of the command and status port (0x64).
pub const REGION_COMMAND: usize = 1;

mod regs {
    pub const STATUS_OBF: u8 = 1 << 0;
    pub const STATUS_SYS: u8 = 1 << 2;
    pub const STATUS_COMMAND: u8 = 1 << 3;
    /// The keyboard is not locked by its key.
    pub const STATUS_UNLOCKED: u8 = 1 << 4;
    pub const STATUS_AUX: u8 = 1 << 5;
    pub const CONFIG_KEYBOARD_INT: u8 = 1 << 0;
    pub const CONFIG_AUX_INT: u8 = 1 << 1;
    pub const CONFIG_SYS: u8 = 1 << 2;
    pub const CONFIG_KEYBOARD_OFF: u8 = 1 << 4;
    pub const CONFIG_AUX_OFF: u8 = 1 << 5;
    pub const CONFIG_TRANSLATE: u8 = 1 << 6;
    pub const OUTPUT_RUN: u8 = 1 << 0;
    pub const OUTPUT_A20: u8 = 1 << 1;
    pub const BREAK_PREFIX: u8 = 0xf0;
}

/// Controller, keyboard and mouse. Clones are handles to the same ones.
#[derive(Clone)]
pub struct I8042 {
    shared: Arc<Mutex<Controller>>,
}

struct Controller {
    keyboard_irq: IrqLine,
    aux_irq: IrqLine,
    a20: A20Gate,
    stop: StopRequest,
    s: State,
}

impl I8042 {
    /// A controller as firmware leaves it: tested, translating, both interrupts off.
    pub fn new(keyboard_irq: IrqLine, aux_irq: IrqLine, a20: A20Gate, stop: StopRequest) -> Self {
        Self {
            shared: Arc::new(Mutex::new(Controller {
                keyboard_irq,
                aux_irq,
                a20,
                stop,
                s: State::default(),
            })),
        }
    }

    /// `key` goes down.
    pub fn press(&self, key: Key) {
        self.key(key, true);
    }

    /// `key` comes up.
    pub fn release(&self, key: Key) {
        self.key(key, false);
    }

    fn key(&self, key: Key, pressed: bool) {
        let mut c = lock(&self.shared);
        c.s.keyboard.key(key, pressed);
        c.load();
    }

    /// Types `text` on a US keyboard; characters that it lacks are left out.
    pub fn type_text(&self, text: &str) {
        for (key, shift) in text.chars().filter_map(Key::of_char) {
            if shift {
                self.press(Key::LEFT_SHIFT);
            }
            self.press(key);
            self.release(key);
            if shift {
                self.release(Key::LEFT_SHIFT);
            }
        }
    }

    /// Bytes that the guest has not taken from the keyboard yet.
    pub fn pending(&self) -> usize {
        lock(&self.shared).s.keyboard.pending()
    }

    /// Moves the mouse right and up, turns its wheel down, with `buttons` held (1 left, 2 right, 4 middle).
    pub fn move_mouse(&self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        let mut c = lock(&self.shared);
        c.s.mouse.motion(dx, dy, dz, buttons);
        c.load();
    }

    /// Bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock.
    pub fn leds(&self) -> u8 {
        lock(&self.shared).s.keyboard.leds
    }
}

impl Controller {
    fn has(&self, bit: u8) -> bool {
        self.s.config & bit != 0
    }

    /// Fills the output buffer if it is empty: own answers first, then the keyboard, then the mouse.
    fn load(&mut self) {
        while self.s.output.is_none() {
            let next = if let Some(answer) = self.s.answers.pop_front() {
                Some(answer)
            } else if !self.has(CONFIG_KEYBOARD_OFF)
                && let Some(b) = self.s.keyboard.send()
            {
                match self.translated(b) {
                    Some(b) => Some((b, Source::Keyboard)),
                    None => continue,
                }
            } else if !self.has(CONFIG_AUX_OFF) {
                self.s.mouse.send().map(|b| (b, Source::Aux))
            } else {
                None
            };
            let Some((b, source)) = next else {
                break;
            };
            self.s.output = Some((b, source));
            self.s.data = b;
        }
        self.update();
    }

    /// A byte of the keyboard, or `None` for a break prefix that marks the byte after it.
    fn translated(&mut self, byte: u8) -> Option<u8> {
        if !self.has(CONFIG_TRANSLATE) {
            return Some(byte);
        }
        if byte == BREAK_PREFIX {
            self.s.breaks = true;
            return None;
        }
        let code = keys::translate(byte);
        Some(if std::mem::take(&mut self.s.breaks) {
            code | 0x80
        } else {
            code
        })
    }

    fn update(&mut self) {
        let source = self.s.output.map(|o| o.1);
        let keyboard = source == Some(Source::Keyboard) && self.has(CONFIG_KEYBOARD_INT);
        let aux = source == Some(Source::Aux) && self.has(CONFIG_AUX_INT);
        let lines = [&self.keyboard_irq, &self.aux_irq];
        let old = std::mem::replace(&mut self.s.irqs, [keyboard, aux]);
        for (i, line) in lines.into_iter().enumerate() {
            if old[i] != self.s.irqs[i] {
                line.set(self.s.irqs[i]);
            }
        }
    }

    fn answer(&mut self, byte: u8, source: Source) {
        if self.s.answers.len() < 64 {
            self.s.answers.push_back((byte, source));
        }
    }

    fn status(&self) -> u8 {
        let output = match self.s.output {
            Some((_, Source::Aux)) => STATUS_OBF | STATUS_AUX,
            Some(_) => STATUS_OBF,
            None => 0,
        };
        let sys = if self.has(CONFIG_SYS) { STATUS_SYS } else { 0 };
        let command = if self.s.last_was_command {
            STATUS_COMMAND
        } else {
            0
        };
        output | sys | command | STATUS_UNLOCKED
    }

    /// A read of the data port: the byte stays readable, but the buffer counts as empty and may be filled again.
    fn take(&mut self) -> u8 {
        let value = self.s.data;
        self.s.output = None;
        // The interrupt goes away before the next byte brings the next edge.
        self.update();
        self.load();
        value
    }

    fn command(&mut self, value: u8) {
        self.s.last_was_command = true;
        self.s.command = None;
        match value {
            0x20 => self.answer(self.s.config, Source::Keyboard),
            0x21..=0x3f => {
                let v = self.s.ram.get(usize::from(value & 0x1f)).copied();
                self.answer(v.unwrap_or(0), Source::Keyboard);
            }
            // Write RAM, output port, output buffers, mouse: the parameter follows.
            0x60..=0x7f | 0xd1..=0xd4 => self.s.command = Some(value),
            0xa7 => self.s.config |= CONFIG_AUX_OFF,
            0xa8 => self.s.config &= !CONFIG_AUX_OFF,
            // Interface tests and self test passed.
            0xa9 | 0xab => self.answer(0, Source::Keyboard),
            0xaa => {
                self.s.config |= CONFIG_SYS;
                self.answer(0x55, Source::Keyboard);
            }
            0xad => self.s.config |= CONFIG_KEYBOARD_OFF,
            0xae => self.s.config &= !CONFIG_KEYBOARD_OFF,
            0xc0 => self.answer(0x80, Source::Keyboard),
            0xd0 => {
                let v = self.output_port();
                self.answer(v, Source::Keyboard);
            }
            0xdd => self.set_output_port(self.s.output_port & !OUTPUT_A20),
            0xdf => self.set_output_port(self.s.output_port | OUTPUT_A20),
            // Pulse the output bits that are zero; bit 0 is RESET#.
            0xf0..=0xff if value & OUTPUT_RUN == 0 => self.reset_machine(),
            _ => {}
        }
    }

    fn output_port(&self) -> u8 {
        let interrupts = match self.s.output {
            Some((_, Source::Keyboard)) => 1 << 4,
            Some((_, Source::Aux)) => 1 << 5,
            None => 0,
        };
        self.s.output_port | interrupts
    }

    fn set_output_port(&mut self, value: u8) {
        self.s.output_port = value & (OUTPUT_RUN | OUTPUT_A20) | OUTPUT_RUN;
        self.a20.set(A20Holder::Keyboard, value & OUTPUT_A20 != 0);
        if value & OUTPUT_RUN == 0 {
            self.reset_machine();
        }
    }

    fn reset_machine(&self) {
        self.stop.request(StopReason::Reset(ResetSource::Keyboard));
    }

    /// A byte to the data port: the parameter of a command, or for the keyboard.
    fn data(&mut self, value: u8) {
        self.s.last_was_command = false;
        match self.s.command.take() {
            None => {
                // Writing to the keyboard turns its interface on.
                self.s.config &= !CONFIG_KEYBOARD_OFF;
                self.s.keyboard.receive(value);
            }
            Some(0x60) => self.s.config = value & 0x7f,
            Some(0xd1) => self.set_output_port(value),
            Some(0xd2) => self.answer(value, Source::Keyboard),
            Some(0xd3) => self.answer(value, Source::Aux),
            Some(0xd4) => {
                self.s.config &= !CONFIG_AUX_OFF;
                self.s.mouse.receive(value);
            }
            Some(ram) => {
                if let Some(r) = self.s.ram.get_mut(usize::from(ram & 0x1f)) {
                    *r = value;
                }
            }
        }
    }
}

impl Device for I8042 {
    fn name(&self) -> &str {
        "i8042"
    }

    fn port_read(&mut self, region: usize, offset: u16, size: AccessSize) -> u32 {
        let mut c = lock(&self.shared);
        bytes::read(offset, size, |o| match (region, o) {
            (REGION_DATA, 0) => c.take(),
            (REGION_COMMAND, 0) => c.status(),
            _ => 0xff,
        })
    }

    fn port_write(&mut self, region: usize, offset: u16, _: AccessSize, value: u32) {
        if offset != 0 {
            return;
        }
        let mut c = lock(&self.shared);
        match region {
            REGION_DATA => c.data(value as u8),
            _ => c.command(value as u8),
        }
        c.load();
    }

    fn reset(&mut self) {
        let mut c = lock(&self.shared);
        let irqs = c.s.irqs;
        c.s = State {
            irqs,
            ..State::default()
        };
        c.a20.set(A20Holder::Keyboard, true);
        c.update();
    }

    fn save(&self) -> Result<Section, Error> {
        let Controller {
            keyboard_irq: _,
            aux_irq: _,
            a20: _,
            stop: _,
            s,
        } = &*lock(&self.shared);
        Section::new(self.name(), state::VERSION, s)
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        let s: State = section.read(self.name(), state::VERSION)?;
        let mut c = lock(&self.shared);
        c.a20
            .set(A20Holder::Keyboard, s.output_port & OUTPUT_A20 != 0);
        c.s = s;
        Ok(())
    }
}

mod state {
    use super::keyboard::Keyboard;
    use super::mouse::Mouse;
    use super::regs::*;
    use serde::{Deserialize, Serialize};
    use std::collections::VecDeque;

    pub const VERSION: u32 = 1;

    /// Whom a byte in the output buffer is from.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub enum Source {
        Keyboard,
        Aux,
    }

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct State {
        /// Controller command byte.
        pub config: u8,
        pub output_port: u8,
        pub ram: [u8; 32],
        /// Command that waits for its parameter.
        pub command: Option<u8>,
        pub last_was_command: bool,
        /// The controller's own answers.
        pub answers: VecDeque<(u8, Source)>,
        /// Output buffer, if full.
        pub output: Option<(u8, Source)>,
        /// What the data port reads as.
        pub data: u8,
        /// Translation: the next code is a break code.
        pub breaks: bool,
        pub keyboard: Keyboard,
        pub mouse: Mouse,
        /// Levels of the interrupt lines.
        pub irqs: [bool; 2],
    }

    impl Default for State {
        fn default() -> Self {
            Self {
                config: CONFIG_TRANSLATE | CONFIG_SYS,
                output_port: OUTPUT_RUN | OUTPUT_A20,
                ram: [0; 32],
                command: None,
                last_was_command: false,
                answers: VecDeque::new(),
                output: None,
                data: 0,
                breaks: false,
                keyboard: Keyboard::default(),
                mouse: Mouse::default(),
                irqs: [false; 2],
            }
        }
    }
}
