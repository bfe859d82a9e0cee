//! The APIC timer (Vol. 3A, 10.5.4): one-shot, periodic, TSC deadline. It counts one tick a virtual nanosecond.

use super::core::Core;
use super::regs::*;
use bus::clock::TSC_HZ;

/// Frequency of the timer's input before the divider.
pub const TIMER_HZ: u64 = 1_000_000_000;

impl Core {
    fn mode(&self) -> u32 {
        self.s.lvt[LVT_TIMER] >> 17 & 3
    }

    fn is_deadline_mode(&self) -> bool {
        self.mode() == TIMER_TSC_DEADLINE
    }

    /// Divide configuration: 2, 4, 8, ... 128, 1.
    fn divisor(&self) -> u64 {
        let n = self.s.divide & 3 | self.s.divide >> 1 & 4;
        1 << (n.wrapping_add(1) & 7)
    }

    /// Virtual time at which the count reaches zero.
    fn zero_at(&self) -> u64 {
        self.s
            .timer_start
            .saturating_add(u64::from(self.s.timer_from).saturating_mul(self.divisor()))
    }

    /// The current-count register.
    pub fn current_count(&self) -> u32 {
        if self.s.timer_from == 0 || self.is_deadline_mode() {
            return 0;
        }
        let elapsed = self.clock.now().saturating_sub(self.s.timer_start) / self.divisor();
        let from = u64::from(self.s.timer_from);
        if elapsed < from {
            return (from - elapsed) as u32;
        }
        match self.s.initial_count {
            0 => 0,
            n if self.mode() == TIMER_PERIODIC => n - ((elapsed - from) % u64::from(n)) as u32,
            _ => 0,
        }
    }

    /// Counts on from `count` at this moment.
    fn start_from(&mut self, count: u32) {
        self.s.timer_from = count;
        self.s.timer_start = self.clock.now();
        self.arm();
    }

    /// A store to the initial-count register. Here and below, what was due before the store fires before it, though the alarm
    /// may not have rung yet.
    pub fn set_initial_count(&mut self, value: u32) {
        self.run_timer();
        if self.is_deadline_mode() {
            return;
        }
        self.s.initial_count = value;
        self.start_from(value);
    }

    /// A store to the divide-configuration register: the count goes on at the new rate.
    pub fn set_divide(&mut self, value: u32) {
        self.run_timer();
        let count = self.current_count();
        self.s.divide = value & 0xb;
        self.start_from(count);
    }

    /// A store to the LVT timer entry. A change to or from TSC-deadline mode disarms.
    pub fn set_timer_lvt(&mut self, value: u32) {
        self.run_timer();
        let count = self.current_count();
        let was = self.is_deadline_mode();
        self.s.lvt[LVT_TIMER] = value;
        if was != self.is_deadline_mode() {
            self.s.deadline = 0;
            self.s.timer_from = 0;
            self.s.initial_count = 0;
            self.arm();
        } else if was {
            self.arm();
        } else {
            self.start_from(count);
        }
    }

    /// IA32_TSC_DEADLINE, read.
    pub fn deadline(&self) -> u64 {
        if self.is_deadline_mode() {
            self.s.deadline
        } else {
            0
        }
    }

    /// IA32_TSC_DEADLINE, written.
    pub fn set_deadline(&mut self, value: u64) {
        if self.is_deadline_mode() {
            self.run_timer();
            self.s.deadline = value;
            self.run_timer();
        }
    }

    /// The guest's time-stamp counter.
    fn tsc(&self) -> u64 {
        self.clock.tsc().wrapping_add(self.s.tsc_adjust)
    }

    /// IA32_TSC_ADJUST changed: the deadline moves.
    pub fn set_tsc_adjust(&mut self, adjust: u64) {
        self.s.tsc_adjust = adjust;
        self.run_timer();
    }

    /// Sets the alarm to the timer's next event. A masked timer counts but wakes nobody.
    fn arm(&mut self) {
        let at = if self.is_deadline_mode() {
            match self.s.deadline {
                0 => u64::MAX,
                d => {
                    let ticks = d.saturating_sub(self.tsc());
                    let ns = (u128::from(ticks) * 1_000_000_000).div_ceil(TSC_HZ.into());
                    let ns = u64::try_from(ns).unwrap_or(u64::MAX);
                    self.clock.now().saturating_add(ns)
                }
            }
        } else if self.s.timer_from == 0 || self.s.lvt[LVT_TIMER] & LVT_MASK != 0 {
            u64::MAX
        } else {
            self.zero_at()
        };
        self.alarm.set(at);
    }

    /// Fires if the time has come, and arms again.
    pub fn run_timer(&mut self) {
        let now = self.clock.now();
        if self.is_deadline_mode() {
            if self.s.deadline != 0 && self.tsc() >= self.s.deadline {
                self.s.deadline = 0;
                self.fire(LVT_TIMER);
            }
        } else if self.s.timer_from != 0 && now >= self.zero_at() {
            let zero = self.zero_at();
            let period = u64::from(self.s.initial_count).saturating_mul(self.divisor());
            if self.mode() == TIMER_PERIODIC && period != 0 {
                self.s.timer_start = now - (now - zero) % period;
                self.s.timer_from = self.s.initial_count;
            } else {
                self.s.timer_from = 0;
            }
            self.fire(LVT_TIMER);
        }
        self.arm();
    }
}
