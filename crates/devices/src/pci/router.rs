//! From INTx pins to interrupt controllers (82371SB datasheet, order 290550, 3.1.11 PIRQRC; PCI-to-PCI Bridge Specification, 2.2.6 for the swizzle).
//!
//! The pins of all slots are wired to four PIRQ lines, turned by one from slot to slot. Each PIRQ goes to pin 16-19 of the I/O APIC, and, where its
//! route control register says so, to one ISA interrupt.

use crate::{IrqRouter, lock};
use bus::IrqLine;
use bus::line::IrqSink;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex};

/// I/O APIC pin of PIRQA#.
pub const FIRST_PIN: u8 = 16;

/// PIRQ lines with their route control registers. Clones are handles to the same ones.
#[derive(Clone)]
pub struct PirqRouter {
    shared: Arc<Shared>,
}

struct Shared {
    isa: Vec<IrqLine>,
    pins: [IrqLine; 4],
    state: Mutex<State>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct State {
    /// Bit `4 * device + pin`: what is on each slot's pins.
    pins: u128,
    routes: [u8; 4],
}

const UNROUTED: u8 = 0x80;

/// The PIRQ line, 0-3, of a device's pin (A is 0).
pub fn pirq(device: u8, pin: u8) -> u8 {
    device.wrapping_add(pin).wrapping_sub(1) & 3
}

/// Interrupts that PIRQs can be routed to (PIRQRC bits 3:0; the others are reserved).
fn target(route: u8) -> Option<u8> {
    let irq = route & 15;
    let allowed = matches!(irq, 3..=7 | 9..=12 | 14 | 15);
    (route & UNROUTED == 0 && allowed).then_some(irq)
}

impl PirqRouter {
    /// PIRQ lines that lead to the I/O APIC only, as after reset.
    pub fn new(irqs: &IrqRouter) -> Self {
        Self {
            shared: Arc::new(Shared {
                isa: (0..16).map(|n| irqs.isa(n)).collect(),
                pins: [0, 1, 2, 3].map(|n| irqs.gsi(FIRST_PIN + n)),
                state: Mutex::new(State {
                    pins: 0,
                    routes: [UNROUTED; 4],
                }),
            }),
        }
    }

    /// Route control register `n`.
    pub(super) fn set_route(&self, n: usize, value: u8) {
        let mut s = lock(&self.shared.state);
        let Some(r) = s.routes.get_mut(n) else {
            return;
        };
        let old = std::mem::replace(r, value);
        for irq in [target(old), target(value)].into_iter().flatten() {
            self.drive_isa(&s, irq);
        }
    }

    fn level(s: &State, pirq_line: u8) -> bool {
        let mut up = (0..128u8).filter(|n| s.pins >> n & 1 != 0);
        s.pins != 0 && up.any(|n| pirq(n >> 2, n & 3) == pirq_line)
    }

    fn drive_isa(&self, s: &State, irq: u8) {
        let routed = |n: &u8| {
            s.routes
                .get(usize::from(*n))
                .is_some_and(|r| target(*r) == Some(irq))
        };
        let level = (0..4).filter(routed).any(|n| Self::level(s, n));
        if let Some(line) = self.shared.isa.get(usize::from(irq)) {
            line.set(level);
        }
    }

    pub(super) fn save(&self) -> State {
        lock(&self.shared.state).clone()
    }

    pub(super) fn restore(&self, state: State) {
        *lock(&self.shared.state) = state;
    }
}

impl IrqSink for PirqRouter {
    fn set_level(&self, input: u32, level: bool) {
        let n = input as u8 & 127;
        let mut s = lock(&self.shared.state);
        s.pins = s.pins & !(1 << n) | u128::from(level) << n;
        let line = pirq(n >> 2, n & 3);
        if let Some(pin) = self.shared.pins.get(usize::from(line)) {
            pin.set(Self::level(&s, line));
        }
        let route = s.routes.get(usize::from(line)).copied();
        if let Some(irq) = route.and_then(target) {
            self.drive_isa(&s, irq);
        }
    }
}
