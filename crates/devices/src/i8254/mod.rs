//! The 8254 programmable interval timer (Intel 8254 datasheet, order 231164) and port 0x61 of the PC, which drives counter 2's gate.
//!
//! Counter 0's OUT is the timer interrupt. Ticks that nobody could take are merged: if the host was late, one edge stands for all.

mod counter;
#[cfg(test)]
mod tests;

use crate::bytes;
use bus::{AccessSize, Alarm, Clock, Device, IrqLine};
use snapshot::{Error, Section};
use state::State;
use std::sync::Arc;

/// Region number of the four ports of the chip (0x40).
pub const REGION_COUNTERS: usize = 0;
/// Region number of the system control port (0x61).
pub const REGION_SYSTEM_CONTROL: usize = 1;

/// CLK of all three counters.
pub const HZ: u64 = 1_193_182;

/// Ticks between refresh requests: counter 1 as a PC programs it.
const REFRESH_TICKS: i64 = 18;

/// The timer.
pub struct I8254 {
    clock: Arc<Clock>,
    alarm: Alarm,
    irq: IrqLine,
    s: State,
}

fn tick_at(ns: u64) -> i64 {
    (u128::from(ns) * u128::from(HZ) / 1_000_000_000) as i64
}

/// The first nanosecond of a tick.
fn ns_of(tick: i64) -> u64 {
    (tick.max(0) as u128 * 1_000_000_000).div_ceil(HZ.into()) as u64
}

impl I8254 {
    /// A timer whose counter 0 drives `irq`.
    pub fn new(clock: Arc<Clock>, alarm: Alarm, irq: IrqLine) -> Self {
        Self {
            clock,
            alarm,
            irq,
            s: State::default(),
        }
    }

    fn now(&self) -> i64 {
        tick_at(self.clock.now())
    }

    /// Brings all counters to the present and tells the interrupt line what happened.
    fn sync(&mut self) -> i64 {
        let t = self.now().max(self.s.tick);
        let from = std::mem::replace(&mut self.s.tick, t);
        for (i, c) in self.s.counters.iter_mut().enumerate() {
            let rose = c.advance(from, t);
            if i == 0 && rose {
                self.irq.set(false);
                self.irq.set(true);
            }
        }
        t
    }

    /// After a change: the level of the line and the next alarm.
    fn settle(&mut self, t: i64) {
        let [timer, ..] = &self.s.counters;
        self.irq.set(timer.out(t));
        match timer.next_event(t) {
            Some(tick) => self.alarm.set(ns_of(tick)),
            None => self.alarm.cancel(),
        }
    }

    fn read(&mut self, t: i64, region: usize, offset: u16) -> u8 {
        let [.., tone] = &self.s.counters;
        if region == REGION_SYSTEM_CONTROL {
            return self.s.system_control
                | u8::from((t / REFRESH_TICKS) & 1 != 0) << 4
                | u8::from(tone.out(t)) << 5;
        }
        // The control word cannot be read.
        let counter = self.s.counters.get_mut(usize::from(offset));
        counter.map_or(0xff, |c| c.read(t))
    }

    fn write(&mut self, t: i64, region: usize, offset: u16, value: u8) {
        if region == REGION_SYSTEM_CONTROL {
            self.s.system_control = value & 0xf;
            let [.., tone] = &mut self.s.counters;
            tone.set_gate(t, value & 1 != 0);
        } else if let Some(c) = self.s.counters.get_mut(usize::from(offset)) {
            c.write(t, value);
        } else {
            self.control_word(t, value);
        }
    }

    fn control_word(&mut self, t: i64, value: u8) {
        let select = usize::from(value >> 6);
        if let Some(c) = self.s.counters.get_mut(select) {
            match value >> 4 & 3 {
                0 => c.latch_count(t),
                _ => c.control(value),
            }
            return;
        }
        for (i, c) in self.s.counters.iter_mut().enumerate() {
            if value & 2 << i == 0 {
                continue;
            }
            if value & 1 << 5 == 0 {
                c.latch_count(t);
            }
            if value & 1 << 4 == 0 {
                c.latch_status(t);
            }
        }
    }
}

impl Device for I8254 {
    fn name(&self) -> &str {
        "i8254"
    }

    fn port_read(&mut self, region: usize, offset: u16, size: AccessSize) -> u32 {
        let t = self.sync();
        bytes::read(offset, size, |o| self.read(t, region, o))
    }

    fn port_write(&mut self, region: usize, offset: u16, size: AccessSize, value: u32) {
        let t = self.sync();
        bytes::write(offset, size, value, |o, v| self.write(t, region, o, v));
        self.settle(t);
    }

    fn expire(&mut self, _: u64) {
        let t = self.sync();
        self.settle(t);
    }

    fn reset(&mut self) {
        self.s = State {
            tick: self.now(),
            ..State::default()
        };
        let t = self.s.tick;
        self.settle(t);
    }

    fn save(&self) -> Result<Section, Error> {
        let Self {
            clock: _,
            alarm: _,
            irq: _,
            s,
        } = self;
        Section::new(self.name(), state::VERSION, s)
    }

    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        self.s = section.read(self.name(), state::VERSION)?;
        let t = self.s.tick;
        self.settle(t);
        Ok(())
    }
}

mod state {
    use super::counter::Counter;
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 1;

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct State {
        pub counters: [Counter; 3],
        /// The low four bits of port 0x61.
        pub system_control: u8,
        /// The tick up to which the interrupt line was told.
        pub tick: i64,
    }

    impl Default for State {
        fn default() -> Self {
            Self {
                // Only counter 2's gate is not tied high.
                counters: [true, true, false].map(Counter::new),
                system_control: 0,
                tick: 0,
            }
        }
    }
}
