//! How a function interrupts: by its INTx pin (PCI 3.0, 2.2.6), by MSI (6.8.1) or by MSI-X (6.8.2).

use super::config::{Command, Config, MsixPlace, Vectors};
use crate::{ApicBus, lock};
use bus::{AccessSize, IrqLine};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};

/// Where interrupt messages go.
pub trait MsiSink: Send + Sync {
    /// A store of `data` to `address`.
    fn message(&self, address: u64, data: u32);
}

impl MsiSink for ApicBus {
    fn message(&self, address: u64, data: u32) {
        // The local APICs' window (Vol. 3A, 10.11.1); a message to anywhere else is lost.
        if address >> 20 == 0xfee {
            self.send_msi(address, data);
        }
    }
}

/// How the guest lets a function interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Intx,
    Msi,
    MsiX,
}

const ENTRY_MASKED: u32 = 1;
const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_FUNCTION_MASK: u16 = 1 << 14;

/// A function's interrupts. Clones are handles to the same ones, for any thread.
#[derive(Clone)]
pub struct Interrupts {
    shared: Arc<Shared>,
}

struct Shared {
    line: IrqLine,
    messages: Arc<dyn MsiSink>,
    vectors: Vectors,
    state: Mutex<State>,
}

/// What is saved.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    /// What the function wants on its pin.
    level: bool,
    /// What is on the wire.
    driven: bool,
    intx_disabled: bool,
    master: bool,
    msi_on: bool,
    /// log2 of the vectors that the guest lets us use.
    msi_log2: u8,
    msi_address: u64,
    msi_data: u16,
    msi_mask: u32,
    msi_pending: u32,
    msix_control: u16,
    /// Address low and high, data, vector control.
    table: Vec<[u32; 4]>,
    pending: Vec<u64>,
}

impl State {
    fn mode(&self) -> Mode {
        if self.msix_control & MSIX_ENABLE != 0 {
            Mode::MsiX
        } else if self.msi_on {
            Mode::Msi
        } else {
            Mode::Intx
        }
    }
}

impl Interrupts {
    pub(super) fn new(line: IrqLine, messages: Arc<dyn MsiSink>, vectors: Vectors) -> Self {
        let i = Self {
            shared: Arc::new(Shared {
                line,
                messages,
                vectors,
                state: Mutex::default(),
            }),
        };
        i.reset();
        i
    }

    /// How the guest wants to be interrupted now.
    pub fn mode(&self) -> Mode {
        lock(&self.shared.state).mode()
    }

    /// The level of the INTx pin: kept while messages are on, or INTx is disabled, and on the wire once it may be.
    pub fn set_level(&self, level: bool) {
        let mut s = lock(&self.shared.state);
        s.level = level;
        self.drive(&mut s);
    }

    /// Sends message `vector` if MSI or MSI-X is on (a masked one waits); tells whether one of them is.
    pub fn signal(&self, vector: u16) -> bool {
        let mut s = lock(&self.shared.state);
        match s.mode() {
            Mode::Intx => return false,
            Mode::Msi => {
                // The guest may grant fewer vectors than there are: they share then.
                let n = u32::from(vector) & ((1 << s.msi_log2) - 1);
                if s.msi_mask >> n & 1 != 0 {
                    s.msi_pending |= 1 << n;
                } else {
                    self.send_msi(&s, n);
                }
            }
            Mode::MsiX => self.signal_entry(&mut s, vector.into()),
        }
        true
    }

    /// An event with INTx as a fallback: message `vector`, or the pin up.
    pub fn raise(&self, vector: u16) {
        if !self.signal(vector) {
            self.set_level(true);
        }
    }

    fn send_msi(&self, s: &State, n: u32) {
        if s.master {
            let data = u32::from(s.msi_data) & !((1 << s.msi_log2) - 1) | n;
            self.shared.messages.message(s.msi_address, data);
        }
    }

    fn signal_entry(&self, s: &mut State, n: usize) {
        let Some(&[low, high, data, control]) = s.table.get(n) else {
            return;
        };
        if control & ENTRY_MASKED != 0 || s.msix_control & MSIX_FUNCTION_MASK != 0 {
            if let Some(word) = s.pending.get_mut(n / 64) {
                *word |= 1 << (n % 64);
            }
        } else if s.master {
            let address = u64::from(low) | u64::from(high) << 32;
            self.shared.messages.message(address, data);
        }
    }

    /// Sends what waited for its mask to go.
    fn send_pending(&self, s: &mut State) {
        match s.mode() {
            Mode::Intx => {}
            Mode::Msi => {
                let ready = s.msi_pending & !s.msi_mask;
                s.msi_pending &= !ready;
                for n in (0..32).filter(|n| ready >> n & 1 != 0) {
                    self.send_msi(s, n);
                }
            }
            Mode::MsiX if s.msix_control & MSIX_FUNCTION_MASK == 0 => {
                for w in 0..s.pending.len() {
                    let bits = s.pending.get_mut(w).map(std::mem::take).unwrap_or(0);
                    for b in (0..64).filter(|b| bits >> b & 1 != 0) {
                        self.signal_entry(s, 64 * w + b);
                    }
                }
            }
            Mode::MsiX => {}
        }
    }

    fn drive(&self, s: &mut State) {
        let level = s.level && !s.intx_disabled && s.mode() == Mode::Intx;
        if level != s.driven {
            s.driven = level;
            self.shared.line.set(level);
        }
    }

    /// Takes over what the guest wrote to the configuration space.
    pub(super) fn sync(&self, c: &Config) {
        let mut s = lock(&self.shared.state);
        let command = c.command();
        s.intx_disabled = command.contains(Command::INTX_DISABLE);
        s.master = command.contains(Command::MASTER);
        if let Some((at, log2)) = self.shared.vectors.msi {
            let control = c.get_u16(at + 2);
            s.msi_on = control & 1 != 0;
            s.msi_log2 = ((control >> 4) as u8 & 7).min(log2);
            s.msi_address = u64::from(c.get_u32(at + 4)) | u64::from(c.get_u32(at + 8)) << 32;
            s.msi_data = c.get_u16(at + 12);
            s.msi_mask = c.get_u32(at + 16);
        }
        if let Some(m) = self.shared.vectors.msix {
            s.msix_control = c.get_u16(m.capability + 2);
        }
        self.send_pending(&mut s);
        self.drive(&mut s);
    }

    /// Brings the status and pending bits of the configuration space up to date.
    pub(super) fn show(&self, c: &mut Config) {
        const STATUS: u8 = 0x06;
        const INTERRUPT_STATUS: u16 = 1 << 3;
        let s = lock(&self.shared.state);
        let status = c.get_u16(STATUS) & !INTERRUPT_STATUS;
        c.set_u16(STATUS, status | u16::from(s.level) << 3);
        if let Some((at, _)) = self.shared.vectors.msi {
            c.set_u32(at + 20, s.msi_pending);
        }
    }

    /// The byte of the MSI-X structures at `offset` of region `region`, if one is there.
    pub(super) fn msix_place(&self, region: usize, offset: u64) -> Option<MsixByte> {
        let m: MsixPlace = self.shared.vectors.msix?;
        if region != usize::from(m.bar) {
            return None;
        }
        let within = |start: u32, bytes: u64| {
            let o = offset.checked_sub(start.into())?;
            (o < bytes).then_some(o as usize)
        };
        let n = u64::from(m.vectors);
        within(m.table, 16 * n)
            .map(MsixByte::Table)
            .or_else(|| within(m.pending, 8 * n.div_ceil(64)).map(MsixByte::Pending))
    }

    pub(super) fn msix_read(&self, at: MsixByte, size: AccessSize) -> u64 {
        let s = lock(&self.shared.state);
        (0..size.bytes() as usize).fold(0, |v, i| {
            let byte = match at {
                MsixByte::Table(o) => {
                    let o = o + i;
                    let entry = s.table.get(o / 16).and_then(|e| e.get(o % 16 / 4));
                    entry.map_or(0xff, |w| w.to_le_bytes()[o % 4])
                }
                MsixByte::Pending(o) => {
                    let o = o + i;
                    s.pending
                        .get(o / 8)
                        .map_or(0xff, |w| w.to_le_bytes()[o % 8])
                }
            };
            v | u64::from(byte) << (8 * i)
        })
    }

    pub(super) fn msix_write(&self, at: MsixByte, size: AccessSize, value: u64) {
        let MsixByte::Table(start) = at else {
            return;
        };
        let mut s = lock(&self.shared.state);
        for i in 0..size.bytes() as usize {
            let o = start + i;
            if let Some(w) = s.table.get_mut(o / 16).and_then(|e| e.get_mut(o % 16 / 4)) {
                let mut bytes = w.to_le_bytes();
                bytes[o % 4] = (value >> (8 * i)) as u8;
                *w = u32::from_le_bytes(bytes);
            }
        }
        self.send_pending(&mut s);
    }

    pub(super) fn reset(&self) {
        let n = self
            .shared
            .vectors
            .msix
            .map_or(0, |m| usize::from(m.vectors));
        let mut s = lock(&self.shared.state);
        if s.driven {
            self.shared.line.set(false);
        }
        *s = State {
            table: vec![[0, 0, 0, ENTRY_MASKED]; n],
            pending: vec![0; n.div_ceil(64)],
            ..State::default()
        };
    }

    pub(super) fn save(&self) -> State {
        lock(&self.shared.state).clone()
    }

    pub(super) fn restore(&self, state: State) {
        let mut s = lock(&self.shared.state);
        let (table, pending) = (s.table.len(), s.pending.len());
        *s = state;
        s.table.resize(table, [0, 0, 0, ENTRY_MASKED]);
        s.pending.resize(pending, 0);
    }
}

/// A byte of the MSI-X structures.
#[derive(Clone, Copy, Debug)]
pub(super) enum MsixByte {
    Table(usize),
    Pending(usize),
}
