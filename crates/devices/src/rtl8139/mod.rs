//! Fast Ethernet controller RTL8139C(L) (Realtek, "RTL8139C(L) data sheet" 1.4): four transmit descriptors, one receive buffer.
//!
//! Frames move on the network's thread, which works at registers and RAM through [`net::Nic`]; the registers have one lock.
//!
//! Absent: early interrupts, thresholds, loopback, wake-up and the power management capability, EEPROM writes, the boot ROM.

mod receive;
mod registers;
mod regs;
mod state;
#[cfg(test)]
mod tests;
mod transmit;

use crate::lock;
use crate::microwire::WORDS;
use crate::pci::{Bar, Config, Dma, Identity, Interrupts, PciFunction, Pin, Wires};
use bus::{AccessSize, Alarm, Clock};
use net::{Backend, Gso, Nic};
use regs::*;
use snapshot::{Error, Section};
use state::State;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

const VENDOR: u16 = 0x10ec;
const DEVICE: u16 = 0x8139;
/// Base address registers: the same registers in I/O space and in memory.
const IO_BAR: u8 = 0;
const MEMORY_BAR: u8 = 1;
const BYTES: u32 = 0x100;

/// The controller.
pub struct Rtl8139 {
    name: String,
    card: Arc<Card>,
    backend: Arc<dyn Backend>,
    clock: Arc<Clock>,
    alarm: Alarm,
}

/// What the network's thread works with.
struct Card {
    state: Mutex<State>,
    dma: Dma,
    interrupts: Interrupts,
    mac: [u8; 6],
    words: [u16; WORDS],
    /// The network sleeps and wants to be kicked.
    armed: AtomicBool,
}

impl Rtl8139 {
    /// Its configuration header.
    pub fn config() -> Config {
        let id = Identity {
            vendor: VENDOR,
            device: DEVICE,
            revision: 0x10,
            class: 0x02_0000,
        };
        Config::new(id)
            .subsystem(VENDOR, DEVICE)
            .pin(Pin::A)
            .bar(IO_BAR, Bar::Io { size: BYTES })
            .bar(
                MEMORY_BAR,
                Bar::Memory32 {
                    size: BYTES,
                    prefetchable: false,
                },
            )
    }

    /// A controller with the address `mac`, connected to `backend`.
    pub fn new(name: &str, wires: Wires, backend: Arc<dyn Backend>, mac: [u8; 6]) -> Self {
        let card = Arc::new(Card {
            state: Mutex::new(State::power_on(mac)),
            dma: wires.dma,
            interrupts: wires.interrupts,
            mac,
            words: state::words(mac),
            armed: AtomicBool::new(false),
        });
        backend.attach(card.clone());
        Self {
            name: name.to_owned(),
            card,
            backend,
            clock: wires.clock,
            alarm: wires.alarm,
        }
    }

    fn load(&self, offset: u8, size: AccessSize) -> u64 {
        let mut s = lock(&self.card.state);
        let now = self.clock.now();
        (0..size.bytes() as u8).fold(0, |v, n| {
            let byte = s.byte(offset.wrapping_add(n), now);
            v | u64::from(byte) << (8 * n)
        })
    }

    fn store(&self, offset: u8, size: AccessSize, value: u64) {
        let mut s = lock(&self.card.state);
        let now = self.clock.now();
        let bytes = value.to_le_bytes();
        let bytes = bytes.get(..size.bytes() as usize).unwrap_or_default();
        let moved = s.store(offset, bytes, now, &self.card);
        match s.timer_deadline() {
            Some(at) => self.alarm.set(at),
            None => self.alarm.cancel(),
        }
        self.card.update(&s);
        drop(s);
        if moved && self.card.armed.load(Ordering::SeqCst) {
            self.backend.kick();
        }
    }
}

impl Card {
    /// The pin.
    fn update(&self, s: &MutexGuard<'_, State>) {
        self.interrupts.set_level(s.isr & s.imr != 0);
    }
}

impl Nic for Card {
    fn take(&self, frame: &mut Vec<u8>) -> bool {
        let mut s = lock(&self.state);
        let taken = transmit::next(&mut s, &self.dma, frame);
        self.update(&s);
        taken
    }

    fn give(&self, frame: &[u8], _: Option<Gso>) -> bool {
        let mut s = lock(&self.state);
        let given = receive::frame(&mut s, &self.dma, frame);
        self.update(&s);
        given
    }

    fn disarm(&self) {
        self.armed.store(false, Ordering::SeqCst);
    }

    fn arm(&self, starved: bool) -> bool {
        self.armed.store(true, Ordering::SeqCst);
        let s = lock(&self.state);
        s.transmit.has_more(s.command) || starved && s.has_room()
    }
}

impl PciFunction for Rtl8139 {
    fn name(&self) -> &str {
        &self.name
    }

    fn port_read(&mut self, _: usize, offset: u16, size: AccessSize) -> u32 {
        self.load(offset as u8, size) as u32
    }

    fn port_write(&mut self, _: usize, offset: u16, size: AccessSize, value: u32) {
        self.store(offset as u8, size, value.into());
    }

    fn mmio_read(&mut self, _: usize, offset: u64, size: AccessSize) -> u64 {
        self.load(offset as u8, size)
    }

    fn mmio_write(&mut self, _: usize, offset: u64, size: AccessSize, value: u64) {
        self.store(offset as u8, size, value);
    }

    fn expire(&mut self, now: u64) {
        let mut s = lock(&self.card.state);
        if s.timer_deadline().is_some_and(|at| at <= now) {
            s.isr |= isr::TIMEOUT;
            // Once a count: the next one comes after the counter was written or has wrapped.
            s.timer.rung = true;
        }
        self.card.update(&s);
    }

    fn reset(&mut self, _: &mut Config) {
        let mut s = lock(&self.card.state);
        *s = State::power_on(self.card.mac);
        self.alarm.cancel();
        self.card.update(&s);
    }

    fn save(&self) -> Result<Section, Error> {
        let s = lock(&self.card.state);
        Section::new(self.name(), state::VERSION, &*s)
    }

    fn restore(&mut self, section: &Section, _: &mut Config) -> Result<(), Error> {
        let saved: State = section.read(self.name(), state::VERSION)?;
        let mut s = lock(&self.card.state);
        *s = saved;
        match s.timer_deadline() {
            Some(at) => self.alarm.set(at),
            None => self.alarm.cancel(),
        }
        self.card.update(&s);
        drop(s);
        self.backend.kick();
        Ok(())
    }
}
