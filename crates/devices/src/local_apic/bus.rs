//! What joins the local APICs: the messages they and the I/O APIC exchange (Vol. 3A, 10.6.2 and 10.11).

use super::core::Core;
use super::{ApicDevice, LocalApicHandle, Slot};
use crate::{I8259, lock};
use bus::line::IrqSink;
use bus::{Alarm, Attention, Clock, IrqLine, LocalApic};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

/// How the addressed APICs take a message (Vol. 3A, table 10-1, "Delivery Mode").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    Fixed,
    LowestPriority,
    Smi,
    Reserved,
    Nmi,
    Init,
    StartUp,
    ExtInt,
}

impl Delivery {
    /// The three-bit field of ICR, LVT and redirection entries.
    pub fn from_bits(bits: u8) -> Self {
        match bits & 7 {
            0 => Self::Fixed,
            1 => Self::LowestPriority,
            2 => Self::Smi,
            4 => Self::Nmi,
            5 => Self::Init,
            6 => Self::StartUp,
            7 => Self::ExtInt,
            _ => Self::Reserved,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    Edge,
    Level,
}

/// Who is addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// By 8-bit ID; 0xFF is everybody.
    Physical(u32),
    /// By 8-bit message destination address.
    Logical(u32),
    /// By 32-bit ID as an x2APIC sends it; 0xFFFF_FFFF is everybody.
    PhysicalX2(u32),
    /// Cluster and mask as an x2APIC sends it.
    LogicalX2(u32),
    /// The APIC with this index, whatever its ID.
    Index(usize),
    All,
    AllBut(usize),
}

/// An interrupt message.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    pub vector: u8,
    pub delivery: Delivery,
    pub trigger: Trigger,
    pub destination: Destination,
}

/// An I/O APIC, to which EOIs of level-triggered interrupts are broadcast.
pub trait EoiListener: Send + Sync {
    fn eoi(&self, vector: u8);
}

/// All local APICs of the machine.
///
/// Building a board: `ApicBus::new`, then `I8259::new(apics.lint(0, 0))`, `apics.connect_pic(&pic)`, `IoApic::new(apics.clone())`; each
/// vCPU gets `apics.local(i)`, and the bus `apics.device(i, alarm)`, which lets the timer ring, resets and saves.
pub struct ApicBus {
    pub(super) slots: Vec<Arc<Slot>>,
    extint: OnceLock<Box<dyn Fn() -> Option<u8> + Send + Sync>>,
    listeners: Mutex<Vec<Weak<dyn EoiListener>>>,
    /// Rotates lowest-priority arbitration among equals.
    turn: AtomicUsize,
}

impl ApicBus {
    /// One local APIC per vCPU, with IDs 0, 1, ...; the first is the bootstrap processor's. Addresses have `physical_bits` bits.
    ///
    /// No firmware runs before a kernel that is loaded directly, so reset leaves the bootstrap processor's APIC as firmware would:
    /// enabled in "virtual wire" mode, LINT0 as ExtINT and LINT1 as NMI (MultiProcessor Specification 1.4, 3.6.2.2).
    pub fn new(clock: Arc<Clock>, physical_bits: u32, vcpus: &[Arc<Attention>]) -> Arc<Self> {
        let slot = |(i, a): (usize, &Arc<Attention>)| {
            Slot::new(i, a.clone(), clock.clone(), physical_bits)
        };
        Arc::new(Self {
            slots: vcpus.iter().enumerate().map(slot).map(Arc::new).collect(),
            extint: OnceLock::new(),
            listeners: Mutex::default(),
            turn: AtomicUsize::new(0),
        })
    }

    /// The pair that answers the INTA cycles of ExtINT. Later calls change nothing.
    pub fn connect_pic(&self, pic: &I8259) {
        let _ = self.extint.set(Box::new(pic.acknowledger()));
    }

    pub(crate) fn add_eoi_listener(&self, listener: &Arc<dyn EoiListener>) {
        lock(&self.listeners).push(Arc::downgrade(listener));
    }

    /// The core's side of local APIC `index`, which must exist.
    pub fn local(self: &Arc<Self>, index: usize) -> Arc<dyn LocalApic> {
        Arc::new(LocalApicHandle {
            slot: self.slots[index].clone(),
            bus: self.clone(),
        })
    }

    /// The board's side of local APIC `index`, which must exist; its timer rings `alarm`.
    pub fn device(self: &Arc<Self>, index: usize, alarm: Alarm) -> ApicDevice {
        ApicDevice::new(self.slots[index].clone(), alarm)
    }

    /// The wire to pin LINT`pin` of local APIC `index`.
    pub fn lint(self: &Arc<Self>, index: usize, pin: u32) -> IrqLine {
        IrqLine::new(self.clone(), (index as u32) << 1 | pin & 1)
    }

    /// INTA on the 8259 pair. Called with no lock held.
    pub(super) fn inta(&self) -> Option<u8> {
        self.extint.get().and_then(|f| f())
    }

    /// EOI message. Called with no lock held.
    pub(super) fn broadcast_eoi(&self, vector: u8) {
        let listeners = lock(&self.listeners).clone();
        for l in listeners.iter().filter_map(Weak::upgrade) {
            l.eoi(vector);
        }
    }

    /// Delivers `m`; tells whether anybody took it. Called without the lock of any local APIC.
    pub fn send(&self, m: Message) -> bool {
        let addressed = |s: &&Arc<Slot>| s.with(|c| c.is_addressed(m.destination));
        if m.delivery != Delivery::LowestPriority {
            let deliver = |s: &Arc<Slot>| s.accept(m);
            return self
                .slots
                .iter()
                .filter(addressed)
                .map(deliver)
                .fold(false, |a, b| a | b);
        }
        // Arbitration by processor priority (Vol. 3A, 10.6.2.4); equals take turns.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % self.slots.len().max(1);
        let (late, early) = self
            .slots
            .split_at_checked(turn)
            .unwrap_or((&self.slots, &[]));
        let best = early
            .iter()
            .chain(late)
            .filter(addressed)
            .filter(|s| s.with(|c| c.is_software_enabled()))
            .min_by_key(|s| s.with(|c| c.ppr()));
        best.is_some_and(|s| s.accept(m))
    }

    /// A message signalled interrupt: a store of `data` to `address` in 0xFEEx_xxxx (Vol. 3A, 10.11).
    pub fn send_msi(&self, address: u64, data: u32) -> bool {
        let id = (address >> 12) as u32 & 0xff;
        let logical = address & 1 << 2 != 0;
        self.send(Message {
            vector: data as u8,
            delivery: Delivery::from_bits((data >> 8) as u8),
            trigger: if data & 1 << 15 != 0 {
                Trigger::Level
            } else {
                Trigger::Edge
            },
            destination: if logical {
                Destination::Logical(id)
            } else {
                Destination::Physical(id)
            },
        })
    }
}

impl IrqSink for ApicBus {
    fn set_level(&self, input: u32, level: bool) {
        if let Some(slot) = self.slots.get((input >> 1) as usize) {
            slot.with(|c| c.set_lint((input & 1) as usize, level));
        }
    }
}

impl Core {
    /// Whether this APIC is among `destination` (Vol. 3A, 10.6.2).
    fn is_addressed(&self, destination: Destination) -> bool {
        if !self.is_enabled() {
            return false;
        }
        match destination {
            Destination::Physical(0xff) | Destination::PhysicalX2(u32::MAX) | Destination::All => {
                true
            }
            Destination::Physical(id) | Destination::PhysicalX2(id) => id == self.apic_id(),
            Destination::Logical(mda) if self.is_x2apic() => {
                // Eight bits name the first members of cluster 0.
                self.matches_x2_logical(mda)
            }
            Destination::Logical(mda) => self.matches_logical(mda as u8),
            Destination::LogicalX2(mda) if self.is_x2apic() => self.matches_x2_logical(mda),
            Destination::LogicalX2(mda) => self.matches_logical(mda as u8),
            Destination::Index(i) => i == self.index,
            Destination::AllBut(i) => i != self.index,
        }
    }

    fn matches_x2_logical(&self, mda: u32) -> bool {
        let ldr = self.ldr();
        mda == u32::MAX || mda >> 16 == ldr >> 16 && mda & ldr & 0xffff != 0
    }

    /// Flat or cluster model, by the DFR.
    fn matches_logical(&self, mda: u8) -> bool {
        let ldr = (self.ldr() >> 24) as u8;
        if self.s.dfr >> 28 == 0xf {
            mda & ldr != 0
        } else {
            mda == 0xff || mda >> 4 == ldr >> 4 && mda & ldr & 0xf != 0
        }
    }
}
