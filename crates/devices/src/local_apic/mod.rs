//! The local APIC: xAPIC and x2APIC modes, timer, local vectors, interprocessor interrupts (Vol. 3A, chapter 10).
//!
//! [`ApicBus`] owns all local APICs of a machine. A processor core sees its own through `bus::LocalApic`, the board through
//! [`ApicDevice`]. The lock of one local APIC is the innermost of all (lock order: see `irq`): with it held, nothing is called but
//! the clock and the attention word.

mod bus;
mod core;
mod registers;
#[cfg(test)]
mod tests;
mod timer;

pub use self::bus::{ApicBus, Delivery, Destination, EoiListener, Message, Trigger};
pub use self::timer::TIMER_HZ;

use self::core::Core;
use self::registers::Effect;
use self::state::State;
use crate::lock;
use ::bus::{Alarm, Attention, Clock, Device, LocalApic};
use regs::*;
use snapshot::{Error, Section};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

mod regs {
    pub const MSR_BASE: u32 = 0x1b;
    pub const MSR_TSC_DEADLINE: u32 = 0x6e0;
    pub const MSR_X2_FIRST: u32 = 0x800;
    pub const MSR_X2_LAST: u32 = 0x8ff;

    pub const BASE_DEFAULT: u64 = 0xfee0_0000;
    pub const BASE_BSP: u64 = 1 << 8;
    pub const BASE_EXTD: u64 = 1 << 10;
    pub const BASE_EN: u64 = 1 << 11;

    // Register numbers: MMIO offset / 16, MSR - 0x800 (table 10-1, table 10-6).
    pub const REG_ID: u32 = 0x02;
    pub const REG_VERSION: u32 = 0x03;
    pub const REG_TPR: u32 = 0x08;
    pub const REG_APR: u32 = 0x09;
    pub const REG_PPR: u32 = 0x0a;
    pub const REG_EOI: u32 = 0x0b;
    pub const REG_RRD: u32 = 0x0c;
    pub const REG_LDR: u32 = 0x0d;
    pub const REG_DFR: u32 = 0x0e;
    pub const REG_SVR: u32 = 0x0f;
    pub const REG_ISR: u32 = 0x10;
    pub const REG_TMR: u32 = 0x18;
    pub const REG_IRR: u32 = 0x20;
    pub const REG_ESR: u32 = 0x28;
    pub const REG_ICR: u32 = 0x30;
    pub const REG_ICR_HIGH: u32 = 0x31;
    pub const REG_LVT: u32 = 0x32;
    pub const REG_INITIAL: u32 = 0x38;
    pub const REG_CURRENT: u32 = 0x39;
    pub const REG_DIVIDE: u32 = 0x3e;
    pub const REG_SELF_IPI: u32 = 0x3f;

    /// Version 0x14, six LVT entries, EOI broadcast suppression.
    pub const VERSION_VALUE: u32 = 0x0105_0014;

    pub const LVT_TIMER: usize = 0;
    pub const LVT_LINT0: usize = 3;
    pub const LVT_LINT1: usize = 4;
    pub const LVT_ERROR: usize = 5;
    pub const LVT_REMOTE_IRR: u32 = 1 << 14;
    pub const LVT_LEVEL: u32 = 1 << 15;
    pub const LVT_MASK: u32 = 1 << 16;
    /// Bits that a store may carry and that are not taken: delivery status, remote IRR.
    pub const LVT_READ_ONLY: u32 = 1 << 12 | LVT_REMOTE_IRR;
    /// Writable bits: timer, thermal, performance, LINT0, LINT1, error (figure 10-8).
    pub const LVT_BITS: [u32; 6] = [0x7_00ff, 0x1_07ff, 0x1_07ff, 0x1_a7ff, 0x1_a7ff, 0x1_00ff];

    pub const TIMER_PERIODIC: u32 = 1;
    pub const TIMER_TSC_DEADLINE: u32 = 2;

    pub const SVR_ENABLE: u32 = 1 << 8;
    pub const SVR_SUPPRESS_EOI: u32 = 1 << 12;
    /// Vector, enable, focus checking, EOI suppression.
    pub const SVR_BITS: u32 = 0x13ff;

    pub const ESR_SEND_VECTOR: u32 = 1 << 5;
    pub const ESR_RECEIVE_VECTOR: u32 = 1 << 6;
    pub const ESR_REGISTER: u32 = 1 << 7;

    pub const ICR_LOGICAL: u32 = 1 << 11;
    pub const ICR_ASSERT: u32 = 1 << 14;
    pub const ICR_LEVEL: u32 = 1 << 15;
    /// All but the delivery status.
    pub const ICR_BITS: u32 = 0x000c_cfff;

    /// Index into the local vector table of register `reg`.
    pub fn lvt_index(reg: u32) -> Option<usize> {
        (REG_LVT..REG_LVT + 6)
            .contains(&reg)
            .then(|| (reg - REG_LVT) as usize)
    }
}

/// A local APIC with what may be asked of it without its lock.
struct Slot {
    core: Mutex<Core>,
    /// Whether an interrupt is deliverable: polled by the engine.
    deliverable: AtomicBool,
    /// Copy of IA32_APIC_BASE.
    base: AtomicU64,
    attention: Arc<Attention>,
    name: String,
    id: u32,
}

impl Slot {
    fn new(index: usize, attention: Arc<Attention>, clock: Arc<Clock>, physical_bits: u32) -> Self {
        let core = Core {
            index,
            physical_bits,
            clock,
            alarm: Alarm::unconnected(),
            attention: attention.clone(),
            s: State::default(),
        };
        let slot = Self {
            core: Mutex::new(core),
            deliverable: AtomicBool::new(false),
            base: AtomicU64::new(0),
            attention,
            name: format!("lapic{index}"),
            id: index as u32,
        };
        slot.with(Core::reset);
        slot
    }

    /// Does `f` under the lock, then tells the core if an interrupt has become deliverable.
    fn with<R>(&self, f: impl FnOnce(&mut Core) -> R) -> R {
        let mut core = lock(&self.core);
        let r = f(&mut core);
        let deliverable = core.extint() || core.deliverable().is_some();
        self.base.store(core.s.base, Ordering::Relaxed);
        self.deliverable.store(deliverable, Ordering::SeqCst);
        if deliverable {
            self.attention.raise(Attention::INTR);
        }
        r
    }

    fn accept(&self, m: Message) -> bool {
        self.with(|c| c.accept(m))
    }
}

/// What a processor core holds.
struct LocalApicHandle {
    slot: Arc<Slot>,
    bus: Arc<ApicBus>,
}

impl LocalApicHandle {
    /// Finishes a store once the lock is free; `false` is #GP.
    fn finish(&self, effect: Effect) -> bool {
        match effect {
            Effect::None => {}
            Effect::Eoi(vector) => self.bus.broadcast_eoi(vector),
            Effect::Ipi(m) => drop(self.bus.send(m)),
            Effect::Fault => return false,
        }
        true
    }
}

impl LocalApic for LocalApicHandle {
    fn has_interrupt(&self) -> bool {
        self.slot.deliverable.load(Ordering::Relaxed)
    }

    fn acknowledge(&self) -> Option<u8> {
        let (extint, vector) = self.slot.with(|c| {
            if c.extint() {
                c.s.extint_message = false;
                (true, None)
            } else {
                (false, c.take())
            }
        });
        if extint { self.bus.inta() } else { vector }
    }

    fn take_sipi(&self) -> Option<u8> {
        self.slot.with(|c| c.s.sipi.take())
    }

    fn cr8(&self) -> u8 {
        lock(&self.slot.core).s.tpr >> 4
    }

    fn set_cr8(&self, value: u8) {
        self.slot.with(|c| c.s.tpr = value << 4);
    }

    fn read_msr(&self, msr: u32) -> Option<u64> {
        let core = lock(&self.slot.core);
        match msr {
            MSR_BASE => Some(core.s.base),
            MSR_TSC_DEADLINE => Some(core.deadline()),
            MSR_X2_FIRST..=MSR_X2_LAST if core.is_x2apic() => core.msr_read(msr - MSR_X2_FIRST),
            _ => None,
        }
    }

    fn write_msr(&self, msr: u32, value: u64) -> bool {
        let effect = self.slot.with(|c| match msr {
            MSR_BASE if c.set_base(value) => Effect::None,
            MSR_TSC_DEADLINE => {
                c.set_deadline(value);
                Effect::None
            }
            MSR_X2_FIRST..=MSR_X2_LAST if c.is_x2apic() => c.msr_write(msr - MSR_X2_FIRST, value),
            _ => Effect::Fault,
        });
        self.finish(effect)
    }

    fn set_tsc_adjust(&self, adjust: u64) {
        self.slot.with(|c| c.set_tsc_adjust(adjust));
    }

    fn mmio_base(&self) -> Option<u64> {
        let base = self.slot.base.load(Ordering::Relaxed);
        (base & (BASE_EN | BASE_EXTD) == BASE_EN).then_some(base & !0xfff)
    }

    fn mmio_read(&self, offset: u64) -> u32 {
        self.slot.with(|c| c.mmio_read(offset))
    }

    fn mmio_write(&self, offset: u64, value: u32) {
        let effect = self.slot.with(|c| c.mmio_write(offset, value));
        self.finish(effect);
    }

    fn id(&self) -> u32 {
        self.slot.id
    }

    fn init(&self) {
        self.slot.with(Core::clear);
    }
}

/// What the board puts on the bus: lets the timer ring, resets, saves. It has no ports and no memory range.
pub struct ApicDevice {
    slot: Arc<Slot>,
}

impl ApicDevice {
    fn new(slot: Arc<Slot>, alarm: Alarm) -> Self {
        slot.with(|c| c.alarm = alarm);
        Self { slot }
    }
}

impl Device for ApicDevice {
    fn name(&self) -> &str {
        &self.slot.name
    }

    fn expire(&mut self, _: u64) {
        self.slot.with(Core::run_timer);
    }

    fn reset(&mut self) {
        self.slot.with(Core::reset);
    }

    fn save(&self) -> Result<Section, Error> {
        let Core {
            index: _,
            physical_bits: _,
            clock: _,
            alarm: _,
            attention: _,
            s,
        } = &*lock(&self.slot.core);
        Section::new(self.name(), state::VERSION, s)
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        let s: State = section.read(self.name(), state::VERSION)?;
        self.slot.with(|c| {
            c.s = s;
            c.run_timer();
        });
        Ok(())
    }
}

mod state {
    use super::regs::LVT_MASK;
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 1;

    /// A register of one bit a vector (IRR, ISR, TMR).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Vectors([u32; 8]);

    impl Vectors {
        pub fn set(&mut self, v: u8) {
            self.0[usize::from(v >> 5)] |= 1 << (v & 31);
        }
        pub fn clear(&mut self, v: u8) {
            self.0[usize::from(v >> 5)] &= !(1 << (v & 31));
        }
        pub fn get(&self, v: u8) -> bool {
            self.0[usize::from(v >> 5)] & 1 << (v & 31) != 0
        }
        pub fn word(&self, i: u32) -> u32 {
            self.0[i as usize & 7]
        }
        pub fn highest(&self) -> Option<u8> {
            let i = self.0.iter().rposition(|&w| w != 0)?;
            Some((i as u32 * 32 + 31 - self.0[i].leading_zeros()) as u8)
        }
    }

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct State {
        /// IA32_APIC_BASE.
        pub base: u64,
        /// xAPIC ID register.
        pub id: u32,
        pub tpr: u8,
        pub ldr: u32,
        pub dfr: u32,
        pub svr: u32,
        pub irr: Vectors,
        pub isr: Vectors,
        pub tmr: Vectors,
        /// As the guest last latched it.
        pub esr: u32,
        /// Errors since then.
        pub errors: u32,
        pub icr: u64,
        pub lvt: [u32; 6],
        pub divide: u32,
        pub initial_count: u32,
        /// The count at `timer_start`; 0: the timer stands.
        pub timer_from: u32,
        /// Virtual nanoseconds.
        pub timer_start: u64,
        /// IA32_TSC_DEADLINE.
        pub deadline: u64,
        pub tsc_adjust: u64,
        /// Levels of LINT0 and LINT1.
        pub lint: [bool; 2],
        /// An ExtINT message waits for its INTA.
        pub extint_message: bool,
        pub sipi: Option<u8>,
    }

    impl Default for State {
        fn default() -> Self {
            Self {
                base: 0,
                id: 0,
                tpr: 0,
                ldr: 0,
                dfr: !0,
                svr: 0xff,
                irr: Vectors::default(),
                isr: Vectors::default(),
                tmr: Vectors::default(),
                esr: 0,
                errors: 0,
                icr: 0,
                lvt: [LVT_MASK; 6],
                divide: 0,
                initial_count: 0,
                timer_from: 0,
                timer_start: 0,
                deadline: 0,
                tsc_adjust: 0,
                lint: [false; 2],
                extint_message: false,
                sipi: None,
            }
        }
    }
}
