//! The high precision event timer (IA-PC HPET Specification 1.0a): a 64-bit counter at 100 MHz and three timers.

#[cfg(test)]
mod tests;

use crate::IrqRouter;
use bus::{AccessSize, Alarm, Clock, Device, IrqLine};
use regs::*;
use snapshot::{Error, Section};
use state::{State, Timer};
use std::sync::Arc;

mod regs {
    pub const CAPABILITIES: u64 = 0x000;
    pub const CONFIG: u64 = 0x010;
    pub const STATUS: u64 = 0x020;
    pub const COUNTER: u64 = 0x0f0;
    pub const TIMERS: u64 = 0x100;

    /// Nanoseconds a count.
    pub const PERIOD_NS: u64 = 10;
    /// Period in femtoseconds, Intel, legacy routing, 64 bits, three timers, revision 1.
    pub const CAPABILITIES_VALUE: u64 = PERIOD_NS * 1_000_000 << 32 | 0x8086_a201;
    pub const CONFIG_ENABLE: u64 = 1 << 0;
    pub const CONFIG_LEGACY: u64 = 1 << 1;

    pub const T_LEVEL: u64 = 1 << 1;
    pub const T_ENABLE: u64 = 1 << 2;
    pub const T_PERIODIC: u64 = 1 << 3;
    pub const T_VAL_SET: u64 = 1 << 6;
    pub const T_32BIT: u64 = 1 << 8;
    /// Periodic and 64-bit capable; I/O APIC inputs 2, 8 and 16-23 can be chosen.
    pub const T_CAPABILITIES: u64 = ROUTES << 32 | 1 << 4 | 1 << 5;
    pub const ROUTES: u64 = 0x00ff_0104;
    pub const T_WRITABLE: u64 = T_LEVEL | T_ENABLE | T_PERIODIC | T_VAL_SET | T_32BIT | 0x3e00;
}

/// Where the timers' outputs lead.
pub struct HpetWires {
    /// Per timer, a wire to each I/O APIC input.
    pub inputs: [Vec<IrqLine>; 3],
    /// Timers 0 and 1 in legacy replacement.
    pub legacy: [IrqLine; 2],
    /// High while they replace PIT and RTC.
    pub legacy_mode: IrqLine,
}

impl HpetWires {
    /// The wiring of a PC.
    pub fn new(router: &IrqRouter) -> Self {
        let all = |_| (0..24).map(|pin| router.gsi(pin)).collect();
        Self {
            inputs: [(), (), ()].map(all),
            legacy: [router.hpet_legacy(0), router.hpet_legacy(1)],
            legacy_mode: router.hpet_mode(),
        }
    }
}

/// The timer block; one MMIO region of 1 KiB.
pub struct Hpet {
    clock: Arc<Clock>,
    alarm: Alarm,
    wires: HpetWires,
    s: State,
}

impl Timer {
    fn mask(&self) -> u64 {
        if self.config & T_32BIT != 0 {
            0xffff_ffff
        } else {
            u64::MAX
        }
    }

    /// Counts from the last one looked at to the next match: 1 or more.
    fn distance(&self) -> u128 {
        match self.comparator.wrapping_sub(self.seen) & self.mask() {
            0 => u128::from(self.mask()) + 1,
            d => d.into(),
        }
    }

    /// Looks at all counts up to `counter`; tells whether one matched, and moves a periodic comparator past it.
    fn matches(&mut self, counter: u64) -> bool {
        let passed = counter.wrapping_sub(self.seen);
        let distance = self.distance();
        self.seen = counter;
        if u128::from(passed) < distance {
            return false;
        }
        if self.config & T_PERIODIC != 0 && self.period != 0 {
            let late = passed - distance as u64;
            let step = (late / self.period + 1).wrapping_mul(self.period);
            self.comparator = self.comparator.wrapping_add(step) & self.mask();
        }
        true
    }
}

impl Hpet {
    /// A block in reset state.
    pub fn new(clock: Arc<Clock>, alarm: Alarm, wires: HpetWires) -> Self {
        Self {
            clock,
            alarm,
            wires,
            s: State::default(),
        }
    }

    fn counts(&self) -> u64 {
        self.clock.now() / PERIOD_NS
    }

    fn is_running(&self) -> bool {
        self.s.config & CONFIG_ENABLE != 0
    }

    fn counter(&self) -> u64 {
        if self.is_running() {
            self.counts().wrapping_add(self.s.offset)
        } else {
            self.s.halted
        }
    }

    /// The wire that timer `n` drives now.
    fn wire(&self, n: usize) -> Option<&IrqLine> {
        if self.s.config & CONFIG_LEGACY != 0 && n < 2 {
            return self.wires.legacy.get(n);
        }
        let route = self.s.timers.get(n)?.config >> 9 & 0x1f;
        self.wires.inputs.get(n)?.get(route as usize)
    }

    /// Lets the timers see all counts up to now.
    fn sync(&mut self) {
        if !self.is_running() {
            return;
        }
        let counter = self.counter();
        for n in 0..self.s.timers.len() {
            let timer = &mut self.s.timers[n];
            if !timer.matches(counter) {
                continue;
            }
            if timer.config & T_LEVEL != 0 {
                self.s.status |= 1 << n;
            } else if timer.config & T_ENABLE != 0
                && let Some(w) = self.wire(n)
            {
                w.pulse();
            }
        }
        self.drive();
    }

    /// Levels of the level-triggered timers.
    fn drive(&mut self) {
        for n in 0..self.s.timers.len() {
            let config = self.s.timers[n].config;
            let level =
                config & T_LEVEL != 0 && config & T_ENABLE != 0 && self.s.status & 1 << n != 0;
            if self.s.timers[n].line != level {
                self.s.timers[n].line = level;
                if let Some(w) = self.wire(n) {
                    w.set(level);
                }
            }
        }
    }

    /// Lets go of all wires before a change of routing.
    fn release(&mut self) {
        for n in 0..self.s.timers.len() {
            if std::mem::take(&mut self.s.timers[n].line)
                && let Some(w) = self.wire(n)
            {
                w.set(false);
            }
        }
    }

    fn arm(&mut self) {
        let mut at = u64::MAX;
        if self.is_running() {
            for t in &self.s.timers {
                // A timer that disturbs nobody is worked out when somebody looks.
                if t.config & T_ENABLE == 0 {
                    continue;
                }
                let left = t.distance().min(u64::MAX.into()) as u64;
                let due = self.counts().saturating_add(left);
                at = at.min(due.saturating_mul(PERIOD_NS));
            }
        }
        self.alarm.set(at);
    }

    fn read(&self, register: u64) -> u64 {
        match register {
            CAPABILITIES => CAPABILITIES_VALUE,
            CONFIG => self.s.config,
            STATUS => self.s.status,
            COUNTER => self.counter(),
            _ => match self.s.timers.get(timer_index(register)) {
                Some(t) if register >= TIMERS => match register & 0x18 {
                    0x00 => t.config | T_CAPABILITIES,
                    0x08 => t.comparator,
                    _ => 0,
                },
                _ => 0,
            },
        }
    }

    /// `mask` covers the bytes that were stored.
    fn write(&mut self, register: u64, value: u64, mask: u64) {
        let merged = |old: u64| old & !mask | value & mask;
        match register {
            CONFIG => self.set_config(merged(self.s.config)),
            STATUS => self.s.status &= !(value & mask),
            COUNTER if !self.is_running() => {
                self.s.halted = merged(self.s.halted);
                for t in &mut self.s.timers {
                    t.seen = self.s.halted;
                }
            }
            _ if register >= TIMERS => {
                let n = timer_index(register);
                let counter = self.counter();
                self.release();
                if let Some(t) = self.s.timers.get_mut(n) {
                    match register & 0x18 {
                        0x00 => t.config = merged(t.config) & T_WRITABLE,
                        0x08 => t.set_comparator(merged(t.comparator), mask, counter),
                        _ => {}
                    }
                    t.comparator &= t.mask();
                }
            }
            _ => {}
        }
    }

    fn set_config(&mut self, value: u64) {
        let counter = self.counter();
        self.release();
        let was_legacy = self.s.config & CONFIG_LEGACY != 0;
        self.s.config = value & (CONFIG_ENABLE | CONFIG_LEGACY);
        self.s.halted = counter;
        self.s.offset = counter.wrapping_sub(self.counts());
        let legacy = self.s.config & CONFIG_LEGACY != 0;
        if legacy != was_legacy {
            self.wires.legacy_mode.set(legacy);
        }
    }
}

impl Timer {
    /// A store to the comparator: in periodic mode it is the period, and the accumulator too if VAL_SET was written before
    /// (2.3.9.2.2).
    fn set_comparator(&mut self, value: u64, mask: u64, counter: u64) {
        let periodic = self.config & T_PERIODIC != 0;
        if !periodic || self.config & T_VAL_SET != 0 {
            self.comparator = value;
            // A match with the present count still counts.
            self.seen = counter.wrapping_sub(1);
        }
        if periodic {
            self.period = (self.period & !mask | value & mask) & self.mask();
        }
        self.config &= !T_VAL_SET;
    }
}

fn timer_index(register: u64) -> usize {
    (register.wrapping_sub(TIMERS) / 0x20) as usize
}

impl Device for Hpet {
    fn name(&self) -> &str {
        "hpet"
    }

    fn mmio_read(&mut self, _: usize, offset: u64, size: AccessSize) -> u64 {
        self.sync();
        self.arm();
        self.read(offset & !7) >> (8 * (offset & 7)) & size.mask()
    }

    fn mmio_write(&mut self, _: usize, offset: u64, size: AccessSize, value: u64) {
        self.sync();
        let shift = 8 * (offset & 7);
        self.write(offset & !7, value << shift, size.mask() << shift);
        self.sync();
        self.drive();
        self.arm();
    }

    fn expire(&mut self, _: u64) {
        self.sync();
        self.arm();
    }

    fn reset(&mut self) {
        self.release();
        self.wires.legacy_mode.set(false);
        self.s = State::default();
        self.arm();
    }

    fn save(&self) -> Result<Section, Error> {
        let Self {
            clock: _,
            alarm: _,
            wires: _,
            s,
        } = self;
        Section::new(self.name(), state::VERSION, s)
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        self.s = section.read(self.name(), state::VERSION)?;
        self.arm();
        Ok(())
    }
}

mod state {
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 1;

    #[derive(Clone, Debug, Default, Serialize, Deserialize)]
    pub struct State {
        pub config: u64,
        pub status: u64,
        /// The counter while it stands.
        pub halted: u64,
        /// What it is ahead of virtual time while it runs.
        pub offset: u64,
        pub timers: [Timer; 3],
    }

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct Timer {
        pub config: u64,
        pub comparator: u64,
        pub period: u64,
        /// The count up to which matches were looked for.
        pub seen: u64,
        /// The level of the wire, if level-triggered.
        pub line: bool,
    }

    impl Default for Timer {
        fn default() -> Self {
            Self {
                config: 0,
                comparator: u64::MAX,
                period: 0,
                seen: 0,
                line: false,
            }
        }
    }
}
