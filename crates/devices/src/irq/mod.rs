//! The board's interrupt wiring: sixteen ISA lines to the 8259 pair and the I/O APIC, the other pins to the I/O APIC alone.
//!
//! Each chip gets a wire of its own ([`IrqRouter::isa`], [`IrqRouter::gsi`]); wires to one input are ORed. ISA line 0 arrives at
//! I/O APIC pin 2 and line 2 nowhere (it is the 8259 cascade): the ACPI table needs an interrupt source override 0 -> 2.
//! While the HPET replaces the legacy timers (IA-PC HPET 1.0a, 2.3.5 LEG_RT_CNF), its wires stand in for those of PIT and RTC.
//!
//! # Lock order
//! chip that drives a line -> router -> 8259 pair -> I/O APIC -> local APIC. Nobody calls against this direction with a lock held: a
//! local APIC lets go of its own lock before it sends an IPI, tells the I/O APIC of an EOI, or asks the 8259 pair for a vector.

use crate::{I8259, IoApic, lock};
use bus::line::IrqSink;
use bus::{Device, IrqLine};
use snapshot::{Error, Section};
use state::State;
use std::sync::{Arc, Mutex};

/// Where a wire ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// ISA interrupt.
    Isa(u8),
    /// I/O APIC pin only.
    Pin(u8),
    /// HPET timer 0 or 1 in place of ISA 0 or 8.
    HpetLegacy(u8),
    /// Not an interrupt: high while the HPET replaces the legacy timers.
    HpetMode,
}

/// The wiring. Clones are handles to the same one.
#[derive(Clone)]
pub struct IrqRouter {
    shared: Arc<Shared>,
}

struct Shared {
    wiring: Mutex<Wiring>,
    pic: Vec<IrqLine>,
    pins: Vec<IrqLine>,
}

struct Wiring {
    targets: Vec<Target>,
    s: State,
}

impl IrqRouter {
    /// Wires from nobody yet to the inputs of `pic` and `ioapic`.
    pub fn new(pic: &I8259, ioapic: &IoApic) -> Self {
        Self {
            shared: Arc::new(Shared {
                wiring: Mutex::new(Wiring {
                    targets: Vec::new(),
                    s: State::default(),
                }),
                pic: (0..16).map(|n| pic.line(n)).collect(),
                pins: (0..IoApic::PINS).map(|n| ioapic.line(n)).collect(),
            }),
        }
    }

    fn wire(&self, target: Target) -> IrqLine {
        let mut w = lock(&self.shared.wiring);
        w.targets.push(target);
        w.s.levels.push(false);
        IrqLine::new(self.shared.clone(), w.targets.len() as u32 - 1)
    }

    /// A new wire to ISA interrupt `irq` (0-15).
    pub fn isa(&self, irq: u8) -> IrqLine {
        self.wire(Target::Isa(irq & 15))
    }

    /// A new wire to I/O APIC pin `pin` that the 8259 pair does not see.
    pub fn gsi(&self, pin: u8) -> IrqLine {
        self.wire(Target::Pin(pin))
    }

    /// HPET timer 0 (ISA 0) or 1 (ISA 8) in legacy replacement.
    pub fn hpet_legacy(&self, timer: u8) -> IrqLine {
        self.wire(Target::HpetLegacy(timer & 1))
    }

    /// Driven high while the HPET replaces the legacy timers.
    pub fn hpet_mode(&self) -> IrqLine {
        self.wire(Target::HpetMode)
    }
}

/// The I/O APIC pin of an ISA interrupt.
pub fn pin_of_isa(irq: u8) -> Option<u8> {
    match irq {
        0 => Some(2),
        2 => None,
        n => Some(n),
    }
}

impl Wiring {
    /// The ISA interrupt that `target` drives in the present mode.
    fn isa_of(&self, target: Target) -> Option<u8> {
        match target {
            Target::Isa(0 | 8) if self.s.hpet_mode => None,
            Target::Isa(n) => Some(n),
            Target::HpetLegacy(timer) if self.s.hpet_mode => Some(8 * timer),
            _ => None,
        }
    }

    fn any(&self, mut pick: impl FnMut(Target) -> bool) -> bool {
        let mut wires = self.targets.iter().zip(&self.s.levels);
        wires.any(|(&t, &level)| level && pick(t))
    }
}

impl Shared {
    fn drive_isa(&self, w: &Wiring, irq: u8) {
        let level = w.any(|t| w.isa_of(t) == Some(irq));
        if irq != 2
            && let Some(line) = self.pic.get(usize::from(irq))
        {
            line.set(level);
        }
        if let Some(pin) = pin_of_isa(irq) {
            self.drive_pin(w, pin);
        }
    }

    fn drive_pin(&self, w: &Wiring, pin: u8) {
        let level = w.any(|t| match t {
            Target::Pin(p) => p == pin,
            t => w.isa_of(t).and_then(pin_of_isa) == Some(pin),
        });
        if let Some(line) = self.pins.get(usize::from(pin)) {
            line.set(level);
        }
    }
}

impl IrqSink for Shared {
    fn set_level(&self, input: u32, level: bool) {
        let mut w = lock(&self.wiring);
        let Some(&target) = w.targets.get(input as usize) else {
            return;
        };
        if let Some(l) = w.s.levels.get_mut(input as usize) {
            if *l == level {
                return;
            }
            *l = level;
        }
        if target == Target::HpetMode {
            w.s.hpet_mode = level;
            self.drive_isa(&w, 0);
            self.drive_isa(&w, 8);
        } else if let Target::Pin(pin) = target {
            self.drive_pin(&w, pin);
        } else if let Some(irq) = w.isa_of(target) {
            self.drive_isa(&w, irq);
        }
    }
}

impl Device for IrqRouter {
    fn name(&self) -> &str {
        "irq-router"
    }
    /// The wires are driven by the chips, whose own reset lowers them.
    fn reset(&mut self) {}
    fn save(&self) -> Result<Section, Error> {
        let Wiring { targets: _, s } = &*lock(&self.shared.wiring);
        Section::new(self.name(), state::VERSION, s)
    }
    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        let mut s: State = section.read(self.name(), state::VERSION)?;
        let mut w = lock(&self.shared.wiring);
        s.levels.resize(w.targets.len(), false);
        w.s = s;
        Ok(())
    }
}

mod state {
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 1;

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub struct State {
        /// Per wire, in the order in which the board asked for them.
        pub levels: Vec<bool>,
        pub hpet_mode: bool,
    }
}

#[cfg(test)]
mod tests;
