//! The I/O APIC (Intel 82093AA datasheet, order 290566, with the EOI register of version 0x20: ICH4 datasheet, 9.5.5).
//!
//! Lines carry "asserted", not volts, so the polarity bit of an entry is kept and not used.
//! Invariant: the lock is taken before that of any local APIC; an EOI comes in with no lock held.

use crate::local_apic::{ApicBus, Delivery, Destination, EoiListener, Message, Trigger};
use crate::{bytes, lock};
use bus::line::IrqSink;
use bus::{AccessSize, Device, IrqLine};
use regs::*;
use snapshot::{Error, Section};
use state::State;
use std::sync::{Arc, Mutex};

mod regs {
    pub const IOREGSEL: u64 = 0x00;
    pub const IOWIN: u64 = 0x10;
    pub const EOI: u64 = 0x40;
    pub const ID: u8 = 0;
    pub const VERSION: u8 = 1;
    pub const ARBITRATION: u8 = 2;
    pub const REDIRECTION: u8 = 0x10;
    /// Version 0x20, highest entry 23.
    pub const VERSION_VALUE: u32 = 0x0017_0020;
    pub const RTE_DELIVERY_STATUS: u64 = 1 << 12;
    pub const RTE_REMOTE_IRR: u64 = 1 << 14;
    pub const RTE_LEVEL: u64 = 1 << 15;
    pub const RTE_MASK: u64 = 1 << 16;
    pub const RTE_LOGICAL: u64 = 1 << 11;
    pub const RTE_READ_ONLY: u64 = RTE_DELIVERY_STATUS | RTE_REMOTE_IRR;
    /// Bits that exist.
    pub const RTE_BITS: u64 = 0xff00_0000_0001_ffff;
}

/// One I/O APIC. Clones are handles to the same one.
#[derive(Clone)]
pub struct IoApic {
    shared: Arc<Shared>,
}

struct Shared {
    core: Mutex<State>,
    apics: Arc<ApicBus>,
}

impl IoApic {
    /// Interrupt inputs.
    pub const PINS: u32 = 24;

    /// An I/O APIC in reset state that delivers over `apics` and hears its EOIs.
    pub fn new(apics: Arc<ApicBus>) -> Self {
        let shared = Arc::new(Shared {
            core: Mutex::new(State::default()),
            apics,
        });
        let listener: Arc<dyn EoiListener> = shared.clone();
        shared.apics.add_eoi_listener(&listener);
        Self { shared }
    }

    /// The wire to input `pin`.
    pub fn line(&self, pin: u32) -> IrqLine {
        IrqLine::new(self.shared.clone(), pin)
    }
}

impl Shared {
    /// Sends what entry `pin` says; level-triggered entries wait for the EOI.
    fn deliver(&self, s: &mut State, pin: usize) {
        let Some(rte) = s.redirection.get_mut(pin) else {
            return;
        };
        let level = *rte & RTE_LEVEL != 0;
        if *rte & RTE_MASK != 0 || level && *rte & RTE_REMOTE_IRR != 0 {
            return;
        }
        let destination = (*rte >> 56) as u32;
        let delivery = Delivery::from_bits((*rte >> 8) as u8);
        let accepted = self.apics.send(Message {
            vector: *rte as u8,
            delivery,
            trigger: if level { Trigger::Level } else { Trigger::Edge },
            destination: if *rte & RTE_LOGICAL != 0 {
                Destination::Logical(destination)
            } else {
                Destination::Physical(destination)
            },
        });
        let awaits_eoi = matches!(delivery, Delivery::Fixed | Delivery::LowestPriority);
        if level && accepted && awaits_eoi {
            *rte |= RTE_REMOTE_IRR;
        }
    }

    fn set_input(&self, s: &mut State, pin: u32, level: bool) {
        if pin >= IoApic::PINS {
            return;
        }
        let bit = 1 << pin;
        let rose = level && s.lines & bit == 0;
        s.lines = if level { s.lines | bit } else { s.lines & !bit };
        // Edges at a masked pin are lost (82093AA, 3.2.4, "Interrupt Mask").
        if rose {
            self.deliver(s, pin as usize);
        }
    }

    fn end(&self, s: &mut State, vector: u8) {
        for pin in 0..s.redirection.len() {
            let rte = &mut s.redirection[pin];
            if *rte as u8 == vector && *rte & RTE_LEVEL != 0 && *rte & RTE_REMOTE_IRR != 0 {
                *rte &= !RTE_REMOTE_IRR;
                if s.lines & 1 << pin != 0 {
                    self.deliver(s, pin);
                }
            }
        }
    }

    fn read(&self, s: &State) -> u32 {
        match s.select {
            ID | ARBITRATION => u32::from(s.id) << 24,
            VERSION => VERSION_VALUE,
            n => s.entry_half(n).map_or(0, |(pin, high)| {
                let rte = s.redirection.get(pin).copied().unwrap_or(0);
                (rte >> (32 * u32::from(high))) as u32
            }),
        }
    }

    fn write(&self, s: &mut State, value: u32) {
        if s.select == ID {
            s.id = (value >> 24) as u8 & 0xf;
            return;
        }
        let Some((pin, high)) = s.entry_half(s.select) else {
            return;
        };
        let Some(rte) = s.redirection.get_mut(pin) else {
            return;
        };
        if high {
            *rte = (*rte & 0xffff_ffff | u64::from(value) << 32) & RTE_BITS;
            return;
        }
        let kept = *rte & (RTE_READ_ONLY | 0xffff_ffff_0000_0000);
        *rte = (kept | u64::from(value) & !RTE_READ_ONLY) & RTE_BITS;
        // An entry that is not level-triggered waits for no EOI; Linux clears a stuck Remote IRR by that.
        if *rte & RTE_LEVEL == 0 {
            *rte &= !RTE_REMOTE_IRR;
        } else if s.lines & 1 << pin != 0 {
            self.deliver(s, pin);
        }
    }
}

impl State {
    /// Entry and half that index register `n` selects.
    fn entry_half(&self, n: u8) -> Option<(usize, bool)> {
        let n = n.checked_sub(REDIRECTION)?;
        let pin = usize::from(n / 2);
        (pin < self.redirection.len()).then_some((pin, n & 1 != 0))
    }
}

impl IrqSink for Shared {
    fn set_level(&self, input: u32, level: bool) {
        self.set_input(&mut lock(&self.core), input, level);
    }
}

impl EoiListener for Shared {
    fn eoi(&self, vector: u8) {
        self.end(&mut lock(&self.core), vector);
    }
}

impl Device for IoApic {
    fn name(&self) -> &str {
        "ioapic"
    }

    fn mmio_read(&mut self, _: usize, offset: u64, size: AccessSize) -> u64 {
        let s = lock(&self.shared.core);
        let value = match offset & !3 {
            IOREGSEL => u32::from(s.select),
            IOWIN => self.shared.read(&s),
            _ => 0,
        };
        u64::from(value) >> (8 * (offset & 3)) & size.mask()
    }

    fn mmio_write(&mut self, _: usize, offset: u64, size: AccessSize, value: u64) {
        let mut s = lock(&self.shared.core);
        match offset {
            IOREGSEL => s.select = value as u8,
            // The registers are 32 bits wide and take no part of themselves.
            IOWIN if size >= AccessSize::Dword => self.shared.write(&mut s, value as u32),
            EOI => self.shared.end(&mut s, bytes::of(value, 0)),
            _ => {}
        }
    }

    fn reset(&mut self) {
        let mut s = lock(&self.shared.core);
        let lines = s.lines;
        *s = State {
            lines,
            ..State::default()
        };
    }

    fn save(&self) -> Result<Section, Error> {
        Section::new(self.name(), state::VERSION, &*lock(&self.shared.core))
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        *lock(&self.shared.core) = section.read(self.name(), state::VERSION)?;
        Ok(())
    }
}

mod state {
    use super::regs::RTE_MASK;
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 1;

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct State {
        pub select: u8,
        pub id: u8,
        /// The wires.
        pub lines: u32,
        pub redirection: [u64; 24],
    }

    impl Default for State {
        fn default() -> Self {
            Self {
                select: 0,
                id: 0,
                lines: 0,
                redirection: [RTE_MASK; 24],
            }
        }
    }
}
