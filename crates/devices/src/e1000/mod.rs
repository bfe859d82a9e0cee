//! Ethernet controller 82540EM (Intel, "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual" 4.0), as on the
//! PRO/1000 MT Desktop: legacy and extended descriptors, checksums and TCP segmentation, address and VLAN filters.
//!
//! Frames move on the network's thread, which works at the rings through [`net::Nic`]; the registers and the rings have one lock.
//!
//! Absent: delays of interrupts (RDTR, RADV, TIDV, TADV, ITR: an event interrupts at once), flow control, wake-up, loopback, EEPROM
//! writes, MSI.

mod eeprom;
mod offload;
mod phy;
mod receive;
mod regs;
mod state;
#[cfg(test)]
mod tests;
mod transmit;

use crate::lock;
use crate::microwire::WORDS;
use crate::pci::{Bar, Config, Dma, Identity, Interrupts, PciFunction, Pin, Wires};
use bus::AccessSize;
use net::{Backend, Gso, Nic};
use regs::*;
use snapshot::{Error, Section};
use state::State;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

const VENDOR: u16 = 0x8086;
const DEVICE: u16 = 0x100e;
const SUBSYSTEM: u16 = 0x001e;
/// Base address registers: the registers in memory, and a window to them in I/O space.
const MEMORY_BAR: u8 = 0;
const IO_BAR: u8 = 1;
const BYTES: u32 = 0x2_0000;

/// The controller.
pub struct E1000 {
    name: String,
    card: Arc<Card>,
    backend: Arc<dyn Backend>,
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

impl E1000 {
    /// Its configuration header.
    pub fn config() -> Config {
        let id = Identity {
            vendor: VENDOR,
            device: DEVICE,
            revision: 0x02,
            class: 0x02_0000,
        };
        Config::new(id)
            .subsystem(VENDOR, SUBSYSTEM)
            .pin(Pin::A)
            .bar(
                MEMORY_BAR,
                Bar::Memory32 {
                    size: BYTES,
                    prefetchable: false,
                },
            )
            .bar(IO_BAR, Bar::Io { size: 64 })
    }

    /// A controller with the address `mac`, connected to `backend`.
    pub fn new(name: &str, wires: Wires, backend: Arc<dyn Backend>, mac: [u8; 6]) -> Self {
        let mut state = State::default();
        state.reset(mac);
        let card = Arc::new(Card {
            state: Mutex::new(state),
            dma: wires.dma,
            interrupts: wires.interrupts,
            mac,
            words: State::words(mac),
            armed: AtomicBool::new(false),
        });
        backend.attach(card.clone());
        Self {
            name: name.to_owned(),
            card,
            backend,
        }
    }

    /// There may be something to do for the network.
    fn kick(&self) {
        if self.card.armed.load(Ordering::SeqCst) {
            self.backend.kick();
        }
    }

    fn load(&self, register: u32) -> u32 {
        let mut s = lock(&self.card.state);
        match register {
            CTRL => s.general.ctrl,
            STATUS => STATUS_VALUE,
            EECD => s.general.eecd(),
            EERD => s.general.eerd,
            MDIC => s.general.mdic,
            ICR => {
                let cause = std::mem::take(&mut s.interrupt.cause);
                self.card.update(&s);
                cause
            }
            IMS => s.interrupt.mask,
            RCTL => s.receive.rctl,
            TCTL => s.transmit.tctl,
            RXCSUM => s.receive.rxcsum,
            RDBAL | RDBAH | RDLEN | RDH | RDT => s.receive.ring.load(register - RDBAL),
            TDBAL | TDBAH | TDLEN | TDH | TDT => s.transmit.ring.load(register - TDBAL),
            _ => match table(&mut s, register) {
                Some(place) => *place,
                None if register.wrapping_sub(STATISTICS) < statistic::BYTES => {
                    s.take_statistic(register - STATISTICS)
                }
                None => 0,
            },
        }
    }

    fn store(&self, register: u32, value: u32) {
        let mut s = lock(&self.card.state);
        match register {
            CTRL if value & ctrl::RST != 0 => {
                s.reset(self.card.mac);
            }
            CTRL => {
                s.general.ctrl = value & ctrl::WRITABLE;
                if value & ctrl::PHY_RST != 0 {
                    s.phy.registers = phy::power_on();
                }
            }
            EECD => s.general.set_eecd(value, &self.card.words),
            EERD => s.general.set_eerd(value, &self.card.words),
            MDIC => phy::access(&mut s, value),
            ICR => s.interrupt.cause &= !value,
            ICS => s.interrupt.cause |= value & cause::ALL,
            IMS => s.interrupt.mask |= value & cause::ALL,
            IMC => s.interrupt.mask &= !value,
            RCTL => s.receive.rctl = value,
            TCTL => s.transmit.tctl = value,
            RXCSUM => s.receive.rxcsum = value & 0x3ff,
            RDBAL | RDBAH | RDLEN | RDH | RDT => s.receive.ring.store(register - RDBAL, value),
            TDBAL | TDBAH | TDLEN | TDH | TDT => s.transmit.ring.store(register - TDBAL, value),
            _ => {
                let mask = PLAIN.iter().find(|p| p.0 == register).map(|p| p.1);
                if let Some(place) = table(&mut s, register) {
                    *place = value & mask.unwrap_or(u32::MAX);
                }
            }
        }
        self.card.update(&s);
        drop(s);
        if matches!(register, RCTL | TCTL | RDT | TDT) {
            self.kick();
        }
    }
}

/// Where a register is that only remembers.
fn table(s: &mut State, register: u32) -> Option<&mut u32> {
    let within = |start: u32, words: u32| {
        let at = register.checked_sub(start)? / 4;
        (at < words).then_some(at as usize)
    };
    if let Some(n) = within(MTA, 128) {
        return s.receive.groups.get_mut(n);
    }
    if let Some(n) = within(RA, 32) {
        return s.receive.addresses.get_mut(n);
    }
    if let Some(n) = within(VFTA, 128) {
        return s.receive.vlans.get_mut(n);
    }
    let n = PLAIN.iter().position(|p| p.0 == register)?;
    s.plain.get_mut(n)
}

impl Card {
    /// The pin.
    fn update(&self, s: &MutexGuard<'_, State>) {
        let level = s.interrupt.cause & s.interrupt.mask != 0;
        self.interrupts.set_level(level);
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
        s.transmit.has_more() || starved && s.receive.has_room()
    }
}

impl PciFunction for E1000 {
    fn name(&self) -> &str {
        &self.name
    }

    fn mmio_read(&mut self, _: usize, offset: u64, size: AccessSize) -> u64 {
        let at = offset as u32 & (BYTES - 4);
        let low = u64::from(self.load(at));
        match size {
            AccessSize::Qword => low | u64::from(self.load((at + 4) & (BYTES - 4))) << 32,
            _ => low >> (8 * (offset & 3)) & size.mask(),
        }
    }

    fn mmio_write(&mut self, _: usize, offset: u64, size: AccessSize, value: u64) {
        // Registers are written as a whole (13.2.1).
        let at = offset as u32 & (BYTES - 4);
        match size {
            AccessSize::Dword => self.store(at, value as u32),
            AccessSize::Qword => {
                self.store(at, value as u32);
                self.store((at + 4) & (BYTES - 4), (value >> 32) as u32);
            }
            _ => {}
        }
    }

    /// IOADDR and IODATA (13.2.2).
    fn port_read(&mut self, _: usize, offset: u16, size: AccessSize) -> u32 {
        let address = lock(&self.card.state).general.io_address;
        let value = match offset & !3 {
            0 => address,
            4 if address < BYTES => self.load(address & !3),
            _ => 0,
        };
        value >> (8 * (offset & 3)) & size.mask() as u32
    }

    fn port_write(&mut self, _: usize, offset: u16, size: AccessSize, value: u32) {
        if size != AccessSize::Dword {
            return;
        }
        match offset {
            0 => lock(&self.card.state).general.io_address = value,
            4 => {
                let address = lock(&self.card.state).general.io_address;
                if address < BYTES {
                    self.store(address & !3, value);
                }
            }
            _ => {}
        }
    }

    fn reset(&mut self, _: &mut Config) {
        let mut s = lock(&self.card.state);
        s.reset(self.card.mac);
        self.card.update(&s);
    }

    fn save(&self) -> Result<Section, Error> {
        let s = lock(&self.card.state);
        Section::new(self.name(), state::VERSION, &*s)
    }

    fn restore(&mut self, section: &Section, _: &mut Config) -> Result<(), Error> {
        let saved: State = section.read(self.name(), state::VERSION)?;
        let mut s = lock(&self.card.state);
        s.reset(self.card.mac);
        // Tables of other sizes would not be this chip's.
        if saved.is_sound() {
            *s = saved;
        }
        self.card.update(&s);
        drop(s);
        self.backend.kick();
        Ok(())
    }
}
