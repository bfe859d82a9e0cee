//! The 16550A serial port (National PC16550D datasheet, June 1995).
//!
//! Output leaves at once: the transmitter is always empty. Input comes from another thread through [`UartInput`] and waits in a queue
//! of its own until the guest shows that it listens (RTS, or the received-data interrupt, or polling) and the FIFO has space: no byte
//! is ever lost to an overrun, nor to the FIFO resets of a driver that is starting up.
//! Invariant: the port's lock is taken before that of the interrupt router.

use crate::{bytes, lock};
use bus::{AccessSize, Alarm, Clock, Device, IrqLine};
use regs::*;
use snapshot::{Error, Section};
use state::State;
use std::sync::{Arc, Mutex};

/// Where transmitted bytes go. Called with the port's lock held.
pub type ByteSink = Box<dyn FnMut(&[u8]) + Send>;

mod regs {
    pub const IER_RDA: u8 = 1 << 0;
    pub const IER_THRE: u8 = 1 << 1;
    pub const IER_LSR: u8 = 1 << 2;
    pub const IER_MSR: u8 = 1 << 3;
    pub const IIR_NONE: u8 = 1;
    pub const IIR_LSR: u8 = 6;
    pub const IIR_RDA: u8 = 4;
    pub const IIR_TIMEOUT: u8 = 0xc;
    pub const IIR_THRE: u8 = 2;
    pub const IIR_MSR: u8 = 0;
    pub const IIR_FIFO: u8 = 0xc0;
    pub const FCR_ENABLE: u8 = 1 << 0;
    pub const FCR_CLEAR_RX: u8 = 1 << 1;
    /// Bits that stay: enable, DMA mode, trigger.
    pub const FCR_KEPT: u8 = 0xc9;
    pub const LCR_DLAB: u8 = 1 << 7;
    pub const LCR_BREAK: u8 = 1 << 6;
    pub const LCR_PARITY: u8 = 1 << 3;
    pub const LCR_STOP: u8 = 1 << 2;
    pub const MCR_DTR: u8 = 1 << 0;
    pub const MCR_RTS: u8 = 1 << 1;
    pub const MCR_OUT1: u8 = 1 << 2;
    pub const MCR_OUT2: u8 = 1 << 3;
    pub const MCR_LOOP: u8 = 1 << 4;
    pub const LSR_DR: u8 = 1 << 0;
    pub const LSR_OE: u8 = 1 << 1;
    pub const LSR_BI: u8 = 1 << 4;
    pub const LSR_THRE_TEMT: u8 = 0x60;
    /// Bits that raise the line status interrupt.
    pub const LSR_ERRORS: u8 = 0x1e;
    pub const MSR_CTS: u8 = 1 << 4;
    pub const MSR_DSR: u8 = 1 << 5;
    pub const MSR_RI: u8 = 1 << 6;
    pub const MSR_DCD: u8 = 1 << 7;
    pub const MSR_TERI: u8 = 1 << 2;
    pub const FIFO: usize = 16;
    /// Input clock, before the divisor and the factor 16.
    pub const XTAL_HZ: u64 = 1_843_200;
    /// Polls of the LSR with nothing sent between, after which the guest counts as a listener.
    pub const POLLS: u8 = 8;
}

/// A serial port. Clones are handles to the same one.
#[derive(Clone)]
pub struct Uart16550 {
    name: Arc<str>,
    shared: Arc<Mutex<Port>>,
}

struct Port {
    clock: Arc<Clock>,
    alarm: Alarm,
    irq: IrqLine,
    sink: ByteSink,
    s: State,
}

/// The far end of the cable: what it sends, the guest receives.
#[derive(Clone)]
pub struct UartInput {
    shared: Arc<Mutex<Port>>,
}

impl UartInput {
    /// Sends `data` to the guest; from any thread, never blocks.
    pub fn push(&self, data: &[u8]) {
        let mut p = lock(&self.shared);
        p.s.queue.extend(data);
        p.feed();
        p.update();
    }

    /// Bytes that the guest has not read yet.
    pub fn pending(&self) -> usize {
        let p = lock(&self.shared);
        p.s.queue.len() + p.s.fifo.len()
    }
}

impl Uart16550 {
    /// A port called `name` ("uart0") that transmits to `sink`.
    pub fn new(name: &str, clock: Arc<Clock>, alarm: Alarm, irq: IrqLine, sink: ByteSink) -> Self {
        Self {
            name: name.into(),
            shared: Arc::new(Mutex::new(Port {
                clock,
                alarm,
                irq,
                sink,
                s: State::default(),
            })),
        }
    }

    /// The far end of the cable.
    pub fn input(&self) -> UartInput {
        UartInput {
            shared: self.shared.clone(),
        }
    }
}

impl Port {
    fn is_looped(&self) -> bool {
        self.s.mcr & MCR_LOOP != 0
    }

    fn capacity(&self) -> usize {
        if self.s.fcr & FCR_ENABLE != 0 {
            FIFO
        } else {
            1
        }
    }

    fn trigger(&self) -> usize {
        match (self.s.fcr & FCR_ENABLE, self.s.fcr >> 6) {
            (0, _) | (_, 0) => 1,
            (_, 1) => 4,
            (_, 2) => 8,
            _ => 14,
        }
    }

    fn listens(&self) -> bool {
        !self.is_looped()
            && (self.s.mcr & MCR_RTS != 0 || self.s.ier & IER_RDA != 0 || self.s.polls >= POLLS)
    }

    /// Moves waiting input into the FIFO.
    fn feed(&mut self) {
        while self.listens()
            && self.s.fifo.len() < self.capacity()
            && let Some(b) = self.s.queue.pop_front()
        {
            self.receive(b);
        }
    }

    fn receive(&mut self, byte: u8) {
        if self.s.fifo.len() < self.capacity() {
            self.s.fifo.push_back(byte);
        } else {
            self.s.lsr |= LSR_OE;
        }
        self.restart_timeout();
    }

    /// Four character times without traffic below the trigger level (datasheet, 8.6.1 "FIFO timeout").
    fn restart_timeout(&mut self) {
        self.s.timeout = false;
        if self.s.fcr & FCR_ENABLE != 0 && !self.s.fifo.is_empty() {
            self.s.timeout_at = self.clock.now().saturating_add(4 * self.char_ns());
        } else {
            self.s.timeout_at = u64::MAX;
        }
        self.alarm.set(self.s.timeout_at);
    }

    fn char_ns(&self) -> u64 {
        let stop = 1 + u64::from(self.s.lcr & LCR_STOP != 0);
        let parity = u64::from(self.s.lcr & LCR_PARITY != 0);
        let bits = 1 + 5 + u64::from(self.s.lcr & 3) + parity + stop;
        u64::from(self.s.divisor.max(1)) * 16 * bits * 1_000_000_000 / XTAL_HZ
    }

    /// Takes received bytes back, as if the far end had not sent them yet.
    fn unreceive(&mut self) {
        if !self.is_looped() {
            while let Some(b) = self.s.fifo.pop_back() {
                self.s.queue.push_front(b);
            }
        }
        self.s.fifo.clear();
        self.restart_timeout();
    }

    fn transmit(&mut self, byte: u8) {
        // The holding register fills and empties at once: the request goes away and comes back.
        self.s.thre_pending = false;
        self.update();
        if self.is_looped() {
            self.receive(byte);
        } else {
            (self.sink)(&[byte]);
        }
        self.s.thre_pending = true;
        self.s.polls = 0;
    }

    /// The interrupt of highest priority (table III of the datasheet).
    fn source(&self) -> u8 {
        let s = &self.s;
        if s.ier & IER_LSR != 0 && s.lsr & LSR_ERRORS != 0 {
            IIR_LSR
        } else if s.ier & IER_RDA != 0 && s.fifo.len() >= self.trigger() {
            IIR_RDA
        } else if s.ier & IER_RDA != 0 && s.timeout {
            IIR_TIMEOUT
        } else if s.ier & IER_THRE != 0 && s.thre_pending {
            IIR_THRE
        } else if s.ier & IER_MSR != 0 && s.msr_delta != 0 {
            IIR_MSR
        } else {
            IIR_NONE
        }
    }

    /// Drives the interrupt pin, which a PC gates with OUT2; loopback mode forces OUT2 inactive.
    fn update(&mut self) {
        let gate = self.s.mcr & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2;
        let level = gate && self.source() != IIR_NONE;
        if level != self.s.irq {
            self.s.irq = level;
            self.irq.set(level);
        }
    }

    /// Modem inputs: a far end that is always ready, or our own outputs in loopback.
    fn modem_inputs(&self) -> u8 {
        if !self.is_looped() {
            return MSR_CTS | MSR_DSR | MSR_DCD;
        }
        let pairs = [
            (MCR_RTS, MSR_CTS),
            (MCR_DTR, MSR_DSR),
            (MCR_OUT1, MSR_RI),
            (MCR_OUT2, MSR_DCD),
        ];
        let wired = pairs.iter().filter(|(m, _)| self.s.mcr & m != 0);
        wired.fold(0, |v, (_, i)| v | i)
    }

    fn set_mcr(&mut self, value: u8) {
        let old = self.modem_inputs();
        if self.s.mcr & MCR_RTS != 0 && value & MCR_RTS == 0 {
            self.unreceive();
            self.s.polls = 0;
        }
        self.s.mcr = value & 0x1f;
        let new = self.modem_inputs();
        let changed = (old ^ new) >> 4;
        // RI tells only its trailing edge.
        let ring = if old & MSR_RI != 0 && new & MSR_RI == 0 {
            MSR_TERI
        } else {
            0
        };
        self.s.msr_delta |= changed & !MSR_TERI | ring;
    }

    fn set_fcr(&mut self, value: u8) {
        let toggled = (self.s.fcr ^ value) & FCR_ENABLE != 0;
        // Without the enable bit no other bit is programmed.
        let value = if value & FCR_ENABLE == 0 { 0 } else { value };
        if toggled || value & FCR_CLEAR_RX != 0 {
            self.unreceive();
        }
        self.s.fcr = value & FCR_KEPT;
    }

    fn read(&mut self, offset: u16) -> u8 {
        let dlab = self.s.lcr & LCR_DLAB != 0;
        match offset {
            0 | 1 if dlab => bytes::of(self.s.divisor.into(), offset),
            0 => {
                let b = self.s.fifo.pop_front().unwrap_or(0);
                self.feed();
                self.restart_timeout();
                b
            }
            1 => self.s.ier,
            2 => {
                let source = self.source();
                if source == IIR_THRE {
                    self.s.thre_pending = false;
                }
                let fifo = self.s.fcr & FCR_ENABLE != 0;
                source | if fifo { IIR_FIFO } else { 0 }
            }
            3 => self.s.lcr,
            4 => self.s.mcr,
            5 => {
                self.s.polls = self.s.polls.saturating_add(1);
                self.feed();
                let ready = u8::from(!self.s.fifo.is_empty()) * LSR_DR;
                std::mem::take(&mut self.s.lsr) | ready | LSR_THRE_TEMT
            }
            6 => self.modem_inputs() | std::mem::take(&mut self.s.msr_delta),
            7 => self.s.scratch,
            _ => 0xff,
        }
    }

    fn write(&mut self, offset: u16, value: u8) {
        let dlab = self.s.lcr & LCR_DLAB != 0;
        match offset {
            0 if dlab => self.s.divisor = self.s.divisor & 0xff00 | u16::from(value),
            1 if dlab => self.s.divisor = self.s.divisor & 0xff | u16::from(value) << 8,
            0 => self.transmit(value),
            1 => {
                // Enabling with an empty holding register requests at once.
                if value & !self.s.ier & IER_THRE != 0 {
                    self.s.thre_pending = true;
                }
                self.s.ier = value & 0xf;
            }
            2 => self.set_fcr(value),
            3 => {
                // In loopback a break comes back as one.
                if value & !self.s.lcr & LCR_BREAK != 0 && self.is_looped() {
                    self.receive(0);
                    self.s.lsr |= LSR_BI;
                }
                self.s.lcr = value;
            }
            4 => self.set_mcr(value),
            7 => self.s.scratch = value,
            // LSR and MSR: factory test only.
            _ => {}
        }
        self.feed();
    }
}

impl Device for Uart16550 {
    fn name(&self) -> &str {
        &self.name
    }

    fn port_read(&mut self, _: usize, offset: u16, size: AccessSize) -> u32 {
        let mut p = lock(&self.shared);
        let value = bytes::read(offset, size, |o| p.read(o));
        p.update();
        value
    }

    fn port_write(&mut self, _: usize, offset: u16, size: AccessSize, value: u32) {
        let mut p = lock(&self.shared);
        bytes::write(offset, size, value, |o, v| p.write(o, v));
        p.update();
    }

    fn expire(&mut self, now: u64) {
        let mut p = lock(&self.shared);
        if now >= p.s.timeout_at {
            p.s.timeout = true;
            p.s.timeout_at = u64::MAX;
        }
        let at = p.s.timeout_at;
        p.alarm.set(at);
        p.update();
    }

    fn reset(&mut self) {
        let mut p = lock(&self.shared);
        let queue = std::mem::take(&mut p.s.queue);
        let irq = p.s.irq;
        p.s = State {
            queue,
            irq,
            ..State::default()
        };
        p.alarm.cancel();
        p.update();
    }

    fn save(&self) -> Result<Section, Error> {
        let Port {
            clock: _,
            alarm: _,
            irq: _,
            sink: _,
            s,
        } = &*lock(&self.shared);
        Section::new(self.name(), state::VERSION, s)
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        let s: State = section.read(self.name(), state::VERSION)?;
        let mut p = lock(&self.shared);
        p.alarm.set(s.timeout_at);
        p.s = s;
        Ok(())
    }
}

mod state {
    use serde::{Deserialize, Serialize};
    use std::collections::VecDeque;

    pub const VERSION: u32 = 1;

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct State {
        pub divisor: u16,
        pub ier: u8,
        pub fcr: u8,
        pub lcr: u8,
        pub mcr: u8,
        /// Error bits, until read.
        pub lsr: u8,
        pub msr_delta: u8,
        pub scratch: u8,
        /// Receiver FIFO.
        pub fifo: VecDeque<u8>,
        /// Sent by the far end, not yet received.
        pub queue: VecDeque<u8>,
        pub thre_pending: bool,
        pub timeout: bool,
        /// Virtual nanoseconds.
        pub timeout_at: u64,
        /// Reads of the LSR since the last transmission.
        pub polls: u8,
        /// The level of the interrupt pin.
        pub irq: bool,
    }

    impl Default for State {
        fn default() -> Self {
            Self {
                divisor: 12,
                ier: 0,
                fcr: 0,
                lcr: 0,
                mcr: 0,
                lsr: 0,
                msr_delta: 0,
                scratch: 0,
                fifo: VecDeque::new(),
                queue: VecDeque::new(),
                thre_pending: false,
                timeout: false,
                timeout_at: u64::MAX,
                polls: 0,
                irq: false,
            }
        }
    }
}

#[cfg(test)]
mod tests;
