//! One local APIC: its registers and the rules between them (Vol. 3A, chapter 10).

use super::bus::{Delivery, Message, Trigger};
use super::regs::*;
use super::state::State;
use bus::{Alarm, Attention, Clock};
use std::sync::Arc;

/// A local APIC behind its lock. Nothing here calls out but to raise attention and to set the alarm.
pub(super) struct Core {
    pub index: usize,
    pub physical_bits: u32,
    pub clock: Arc<Clock>,
    pub alarm: Alarm,
    pub attention: Arc<Attention>,
    pub s: State,
}

impl Core {
    pub fn is_bsp(&self) -> bool {
        self.index == 0
    }

    /// IA32_APIC_BASE[11]: the APIC exists.
    pub fn is_enabled(&self) -> bool {
        self.s.base & BASE_EN != 0
    }

    pub fn is_x2apic(&self) -> bool {
        self.s.base & BASE_EXTD != 0
    }

    /// SVR[8].
    pub fn is_software_enabled(&self) -> bool {
        self.is_enabled() && self.s.svr & SVR_ENABLE != 0
    }

    pub fn initial_id(&self) -> u32 {
        self.index as u32
    }

    /// The ID that messages compare with.
    pub fn apic_id(&self) -> u32 {
        if self.is_x2apic() {
            self.initial_id()
        } else {
            self.s.id >> 24
        }
    }

    /// LDR; in x2APIC mode derived from the ID (Vol. 3A, 10.12.10.2).
    pub fn ldr(&self) -> u32 {
        if self.is_x2apic() {
            let id = self.initial_id();
            id >> 4 << 16 | 1 << (id & 0xf)
        } else {
            self.s.ldr
        }
    }

    /// Power-on state; the bootstrap processor's as firmware leaves it.
    pub fn reset(&mut self) {
        let bsp = if self.is_bsp() { BASE_BSP } else { 0 };
        self.s.base = BASE_DEFAULT | BASE_EN | bsp;
        self.s.sipi = None;
        self.s.tsc_adjust = 0;
        self.clear();
        if self.is_bsp() {
            self.s.svr |= SVR_ENABLE;
            self.s.lvt[LVT_LINT0] = 7 << 8;
            self.s.lvt[LVT_LINT1] = 4 << 8;
        }
    }

    /// The state that reset, INIT and a global disable share (Vol. 3A, 10.4.7.1): everything but base, wires and the pending SIPI.
    pub fn clear(&mut self) {
        let State {
            base,
            lint,
            sipi,
            tsc_adjust,
            ..
        } = self.s;
        self.s = State {
            base,
            lint,
            sipi,
            tsc_adjust,
            id: self.initial_id() << 24,
            ..State::default()
        };
        self.alarm.cancel();
    }

    /// Takes a message that is addressed to this APIC; tells whether it did.
    pub fn accept(&mut self, m: Message) -> bool {
        if !self.is_enabled() {
            return false;
        }
        match m.delivery {
            Delivery::Fixed | Delivery::LowestPriority => {
                return self.is_software_enabled() && self.request(m.vector, m.trigger);
            }
            Delivery::Nmi => self.attention.raise(Attention::NMI),
            Delivery::Init => {
                self.s.sipi = None;
                self.attention.raise(Attention::INIT);
            }
            Delivery::StartUp => {
                self.s.sipi = Some(m.vector);
                self.attention.raise(Attention::SIPI);
            }
            Delivery::ExtInt => self.s.extint_message = true,
            // There is no system management mode in this machine, so nobody answers.
            Delivery::Smi | Delivery::Reserved => return false,
        }
        true
    }

    /// A vector into the IRR. The trigger mode register remembers who awaits an EOI message.
    pub fn request(&mut self, vector: u8, trigger: Trigger) -> bool {
        if vector < 16 {
            self.error(ESR_RECEIVE_VECTOR);
            return false;
        }
        self.s.irr.set(vector);
        match trigger {
            Trigger::Edge => self.s.tmr.clear(vector),
            Trigger::Level => self.s.tmr.set(vector),
        }
        true
    }

    /// An error for the ESR; interrupts once until the ESR is written (Vol. 3A, 10.5.3).
    pub fn error(&mut self, bit: u32) {
        let news = self.s.errors & bit == 0;
        self.s.errors |= bit;
        if news {
            self.fire(LVT_ERROR);
        }
    }

    /// A local interrupt of fixed or NMI kind happens.
    pub fn fire(&mut self, entry: usize) {
        let Some(&lvt) = self.s.lvt.get(entry) else {
            return;
        };
        if lvt & LVT_MASK != 0 || !self.is_enabled() {
            return;
        }
        let delivery = match entry {
            LVT_TIMER | LVT_ERROR => Delivery::Fixed,
            _ => Delivery::from_bits((lvt >> 8) as u8),
        };
        match delivery {
            // A bad vector in the error entry itself must not call for itself.
            Delivery::Fixed if lvt & 0xff < 16 => self.s.errors |= ESR_RECEIVE_VECTOR,
            Delivery::Fixed => drop(self.request(lvt as u8, Trigger::Edge)),
            Delivery::Nmi => self.attention.raise(Attention::NMI),
            Delivery::Init => self.attention.raise(Attention::INIT),
            _ => {}
        }
    }

    /// A LINT pin changes. With the APIC globally disabled the pins are INTR and NMI (Vol. 3A, 10.4.3).
    pub fn set_lint(&mut self, pin: usize, level: bool) {
        let Some(old) = self.s.lint.get_mut(pin) else {
            return;
        };
        let rose = level && !*old;
        *old = level;
        if !self.is_enabled() {
            if rose && pin == 1 {
                self.attention.raise(Attention::NMI);
            }
            return;
        }
        let entry = LVT_LINT0 + pin;
        if self.is_level_lint(entry) {
            self.sample_lint(entry);
        } else if rose {
            self.fire(entry);
        }
    }

    /// Fixed and level-triggered.
    fn is_level_lint(&self, entry: usize) -> bool {
        self.s
            .lvt
            .get(entry)
            .is_some_and(|l| l & LVT_LEVEL != 0 && l >> 8 & 7 == 0)
    }

    /// A level-triggered LINT requests while it is high and its last request has ended.
    pub fn sample_lint(&mut self, entry: usize) {
        let high = self.s.lint.get(entry - LVT_LINT0) == Some(&true);
        let Some(&lvt) = self.s.lvt.get(entry) else {
            return;
        };
        if high && lvt & (LVT_MASK | LVT_REMOTE_IRR) == 0 && self.request(lvt as u8, Trigger::Level)
        {
            self.s.lvt[entry] |= LVT_REMOTE_IRR;
        }
    }

    /// Whether INTR of the 8259 pair reaches the core.
    pub fn extint(&self) -> bool {
        let lint0 = self.s.lvt[LVT_LINT0];
        let wired = !self.is_enabled() || lint0 & (LVT_MASK | 7 << 8) == 7 << 8;
        self.s.lint[0] && wired || self.s.extint_message
    }

    /// Processor priority (Vol. 3A, 10.8.3.1).
    pub fn ppr(&self) -> u8 {
        let isrv = self.s.isr.highest().unwrap_or(0);
        if self.s.tpr >> 4 >= isrv >> 4 {
            self.s.tpr
        } else {
            isrv & 0xf0
        }
    }

    /// The request that the priorities let through.
    pub fn deliverable(&self) -> Option<u8> {
        let vector = self.s.irr.highest()?;
        (self.is_software_enabled() && vector >> 4 > self.ppr() >> 4).then_some(vector)
    }

    /// The core takes the deliverable vector.
    pub fn take(&mut self) -> Option<u8> {
        let vector = self.deliverable()?;
        self.s.irr.clear(vector);
        self.s.isr.set(vector);
        Some(vector)
    }

    /// EOI; tells the vector to broadcast (Vol. 3A, 10.8.5).
    pub fn eoi(&mut self) -> Option<u8> {
        let vector = self.s.isr.highest()?;
        self.s.isr.clear(vector);
        if !self.s.tmr.get(vector) {
            return None;
        }
        for entry in [LVT_LINT0, LVT_LINT1] {
            let lvt = &mut self.s.lvt[entry];
            if *lvt & LVT_REMOTE_IRR != 0 && *lvt as u8 == vector {
                *lvt &= !LVT_REMOTE_IRR;
                self.sample_lint(entry);
            }
        }
        (self.s.svr & SVR_SUPPRESS_EOI == 0).then_some(vector)
    }

    /// WRMSR of IA32_APIC_BASE (Vol. 3A, 10.12.5.1, figure 10-27); `false` is #GP.
    pub fn set_base(&mut self, value: u64) -> bool {
        let known = BASE_BSP | BASE_EXTD | BASE_EN;
        let address = (1u64.checked_shl(self.physical_bits).unwrap_or(0)).wrapping_sub(1) & !0xfff;
        if value & !(known | address) != 0 {
            return false;
        }
        let mode = |v: u64| (v & BASE_EN != 0, v & BASE_EXTD != 0);
        match (mode(self.s.base), mode(value)) {
            (_, (false, true)) => return false,
            // From x2APIC mode only to disabled, and to it only from xAPIC mode.
            ((true, true), (true, false)) | ((false, _), (true, true)) => return false,
            ((true, _), (false, false)) => self.clear(),
            ((true, false), (true, true)) => self.s.icr = 0,
            _ => {}
        }
        self.s.base = value & !BASE_BSP | self.s.base & BASE_BSP;
        true
    }
}
