//! The register space: one page in xAPIC mode, MSRs 0x800-0x8FF in x2APIC mode (Vol. 3A, 10.4.1 and 10.12.1.2).

use super::bus::{Delivery, Destination, Message, Trigger};
use super::core::Core;
use super::regs::*;

/// What a store leaves to do once the APIC's own lock is free.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effect {
    None,
    Eoi(u8),
    Ipi(Message),
    /// #GP: the register does not exist, cannot be written, or has reserved bits set.
    Fault,
}

fn eoi_effect(vector: Option<u8>) -> Effect {
    vector.map_or(Effect::None, Effect::Eoi)
}

impl Core {
    /// A register by its number (offset / 16); `None` does not exist or cannot be read.
    fn read_common(&self, reg: u32) -> Option<u32> {
        let s = &self.s;
        Some(match reg {
            REG_ID if self.is_x2apic() => self.initial_id(),
            REG_ID => s.id,
            REG_VERSION => VERSION_VALUE,
            REG_TPR => s.tpr.into(),
            REG_PPR => self.ppr().into(),
            REG_LDR => self.ldr(),
            REG_SVR => s.svr,
            REG_ISR..=0x17 => s.isr.word(reg & 7),
            REG_TMR..=0x1f => s.tmr.word(reg & 7),
            REG_IRR..=0x27 => s.irr.word(reg & 7),
            REG_ESR => s.esr,
            REG_ICR => s.icr as u32,
            REG_INITIAL => s.initial_count,
            REG_CURRENT => self.current_count(),
            REG_DIVIDE => s.divide,
            _ => *s.lvt.get(lvt_index(reg)?)?,
        })
    }

    /// A load from the page.
    pub fn mmio_read(&mut self, offset: u64) -> u32 {
        let reg = (offset >> 4) as u32 & 0xff;
        if offset & 0xf != 0 {
            return 0;
        }
        match reg {
            REG_APR => 0,
            REG_DFR => self.s.dfr,
            REG_ICR_HIGH => (self.s.icr >> 32) as u32,
            REG_EOI | REG_RRD => 0,
            _ => match self.read_common(reg) {
                Some(v) => v,
                None => {
                    self.error(ESR_REGISTER);
                    0
                }
            },
        }
    }

    /// A store to the page.
    pub fn mmio_write(&mut self, offset: u64, value: u32) -> Effect {
        if offset & 0xf != 0 {
            return Effect::None;
        }
        match (offset >> 4) as u32 & 0xff {
            REG_ID => self.s.id = value & 0xff00_0000,
            REG_TPR => self.s.tpr = value as u8,
            REG_EOI => return eoi_effect(self.eoi()),
            REG_LDR => self.s.ldr = value & 0xff00_0000,
            REG_DFR => self.s.dfr = value | 0x0fff_ffff,
            REG_ICR_HIGH => {
                self.s.icr = self.s.icr & 0xffff_ffff | u64::from(value & 0xff00_0000) << 32;
            }
            REG_ICR => {
                self.s.icr = self.s.icr & !0xffff_ffff | u64::from(value & ICR_BITS);
                return self.ipi();
            }
            // Read-only.
            REG_VERSION | REG_APR | REG_PPR | REG_RRD | REG_CURRENT | REG_ISR..=0x27 => {}
            reg => {
                if !self.write_common(reg, value) {
                    self.error(ESR_REGISTER);
                }
            }
        }
        Effect::None
    }

    /// The registers that both modes write alike; `false` does not exist.
    fn write_common(&mut self, reg: u32, value: u32) -> bool {
        match reg {
            REG_SVR => self.set_svr(value),
            REG_ESR => {
                self.s.esr = self.s.errors;
                self.s.errors = 0;
            }
            REG_INITIAL => self.set_initial_count(value),
            REG_DIVIDE => self.set_divide(value),
            _ => match lvt_index(reg) {
                Some(entry) => self.set_lvt(entry, value),
                None => return false,
            },
        }
        true
    }

    fn set_svr(&mut self, value: u32) {
        self.s.svr = value & SVR_BITS;
        // Software disable masks the whole table (Vol. 3A, 10.4.7.2).
        if value & SVR_ENABLE == 0 {
            for entry in 0..self.s.lvt.len() {
                self.set_lvt(entry, self.s.lvt[entry]);
            }
        }
    }

    fn set_lvt(&mut self, entry: usize, value: u32) {
        let Some(&old) = self.s.lvt.get(entry) else {
            return;
        };
        let mut value = value & LVT_BITS[entry];
        if self.s.svr & SVR_ENABLE == 0 {
            value |= LVT_MASK;
        }
        match entry {
            LVT_TIMER => self.set_timer_lvt(value),
            LVT_LINT0 | LVT_LINT1 => {
                let level = value & LVT_LEVEL != 0 && value >> 8 & 7 == 0;
                let remote = if level { old & LVT_REMOTE_IRR } else { 0 };
                self.s.lvt[entry] = value | remote;
                if level {
                    self.sample_lint(entry);
                }
            }
            _ => self.s.lvt[entry] = value,
        }
    }

    /// RDMSR in x2APIC mode; `None` is #GP.
    pub fn msr_read(&self, reg: u32) -> Option<u64> {
        match reg {
            REG_ICR => Some(self.s.icr),
            REG_EOI | REG_DFR | REG_ICR_HIGH | REG_SELF_IPI | REG_APR | REG_RRD => None,
            _ => self.read_common(reg).map(u64::from),
        }
    }

    /// WRMSR in x2APIC mode.
    pub fn msr_write(&mut self, reg: u32, value: u64) -> Effect {
        let reserved = match reg {
            REG_TPR | REG_SELF_IPI => !0xff,
            REG_EOI | REG_ESR => !0,
            REG_SVR => !u64::from(SVR_BITS),
            REG_ICR => !(0xffff_ffff_0000_0000 | u64::from(ICR_BITS)),
            REG_INITIAL => !0xffff_ffff,
            REG_DIVIDE => !0xb,
            _ => match lvt_index(reg) {
                Some(entry) => !u64::from(LVT_BITS[entry] | LVT_READ_ONLY),
                None => return Effect::Fault,
            },
        };
        if value & reserved != 0 {
            return Effect::Fault;
        }
        match reg {
            REG_TPR => self.s.tpr = value as u8,
            REG_EOI => return eoi_effect(self.eoi()),
            REG_ICR => {
                self.s.icr = value;
                return self.ipi();
            }
            REG_SELF_IPI => {
                return Effect::Ipi(Message {
                    vector: value as u8,
                    delivery: Delivery::Fixed,
                    trigger: Trigger::Edge,
                    destination: Destination::Index(self.index),
                });
            }
            _ => drop(self.write_common(reg, value as u32)),
        }
        Effect::None
    }

    /// What a store to the ICR sends (Vol. 3A, 10.6.1).
    fn ipi(&mut self) -> Effect {
        let low = self.s.icr as u32;
        let vector = low as u8;
        let delivery = Delivery::from_bits((low >> 8) as u8);
        let logical = low & ICR_LOGICAL != 0;
        let destination = match low >> 18 & 3 {
            1 => Destination::Index(self.index),
            2 => Destination::All,
            3 => Destination::AllBut(self.index),
            _ => {
                let wide = (self.s.icr >> 32) as u32;
                match (self.is_x2apic(), logical) {
                    (true, true) => Destination::LogicalX2(wide),
                    (true, false) => Destination::PhysicalX2(wide),
                    (false, true) => Destination::Logical(wide >> 24),
                    (false, false) => Destination::Physical(wide >> 24),
                }
            }
        };
        match delivery {
            Delivery::Fixed | Delivery::LowestPriority if vector < 16 => {
                self.error(ESR_SEND_VECTOR);
                return Effect::None;
            }
            // INIT level de-assert only synchronized the arbitration IDs of old processors.
            Delivery::Init if low & (ICR_LEVEL | ICR_ASSERT) == ICR_LEVEL => return Effect::None,
            Delivery::ExtInt | Delivery::Reserved => return Effect::None,
            _ => {}
        }
        Effect::Ipi(Message {
            vector,
            delivery,
            // IPIs are edge-triggered whatever the bit says (table 10-3).
            trigger: Trigger::Edge,
            destination,
        })
    }
}
