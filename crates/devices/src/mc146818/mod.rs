//! The MC146818A real-time clock with CMOS RAM (Motorola data sheet ADI856), as the PC/AT uses it.
//!
//! Its time is a start time given by the board plus virtual time. Flags and registers are worked out when somebody looks; the alarm
//! rings only for interrupts that are enabled.

mod calendar;
#[cfg(test)]
mod tests;

use crate::bytes;
use bus::{AccessSize, Alarm, Clock, Device, IrqLine};
use calendar::{Fields, Format};
use regs::*;
use snapshot::{Error, Section};
use state::State;
use std::sync::Arc;

mod regs {
    pub const SECONDS: usize = 0;
    pub const SECONDS_ALARM: usize = 1;
    pub const MINUTES: usize = 2;
    pub const MINUTES_ALARM: usize = 3;
    pub const HOURS: usize = 4;
    pub const HOURS_ALARM: usize = 5;
    pub const WEEKDAY: usize = 6;
    pub const DAY: usize = 7;
    pub const MONTH: usize = 8;
    pub const YEAR: usize = 9;
    pub const A: usize = 10;
    pub const B: usize = 11;
    pub const C: usize = 12;
    pub const D: usize = 13;
    /// Where the PC keeps the century (FADT CENTURY).
    pub const CENTURY: usize = 0x32;

    pub const A_UIP: u8 = 0x80;
    pub const B_SET: u8 = 0x80;
    pub const B_PIE: u8 = 0x40;
    pub const B_AIE: u8 = 0x20;
    pub const B_UIE: u8 = 0x10;
    pub const B_SQWE: u8 = 0x08;
    pub const B_DM: u8 = 0x04;
    pub const B_24H: u8 = 0x02;
    pub const C_IRQF: u8 = 0x80;
    pub const C_PF: u8 = B_PIE;
    pub const C_AF: u8 = B_AIE;
    pub const C_UF: u8 = B_UIE;
    pub const D_VRT: u8 = 0x80;
    pub const HOUR_PM: u8 = 0x80;
    /// An alarm byte of this or more matches anything.
    pub const DONT_CARE: u8 = 0xc0;

    pub const SECOND_NS: u64 = 1_000_000_000;
    /// UIP leads the update by 244 us, which takes 1984 us with a 32768 Hz crystal (table 6).
    pub const UIP_NS: u64 = 244_000 + 1_984_000;
}

/// CMOS address of the century byte, for the FADT.
pub const CENTURY_REGISTER: u8 = CENTURY as u8;

/// What the firmware's memory test left in CMOS RAM.
#[derive(Clone, Copy, Debug)]
pub struct MemorySize {
    /// Bytes of RAM below 4 GiB.
    pub below_4g: u64,
    /// Bytes of RAM from 4 GiB on.
    pub above_4g: u64,
}

/// The clock.
pub struct Mc146818 {
    clock: Arc<Clock>,
    alarm: Alarm,
    irq: IrqLine,
    s: State,
}

impl Mc146818 {
    /// The clock with what firmware's setup knows of drives A: and B:, their types (0 is none).
    pub fn with_floppies(mut self, types: [u8; 2]) -> Self {
        let [a, b] = types;
        self.s.ram[0x10] = a << 4 | b & 15;
        let count = u8::from(a != 0) + u8::from(b != 0);
        if let Some(more) = count.checked_sub(1) {
            // Equipment: bit 0 there are some, bits 7:6 how many beyond the first.
            self.s.ram[0x14] |= 1 | more << 6;
        }
        self.s.sum();
        self
    }

    /// A clock that shows `start` (seconds since 1970, in the zone the guest expects) at virtual time zero.
    pub fn new(
        clock: Arc<Clock>,
        alarm: Alarm,
        irq: IrqLine,
        start: i64,
        memory: MemorySize,
    ) -> Self {
        let mut s = State {
            // Years 1970 to 9999.
            unix: start.clamp(0, 253_402_300_799),
            ..State::default()
        };
        s.ram[A] = 0x26;
        s.ram[B] = B_24H;
        s.set_memory(memory);
        s.render();
        Self {
            clock,
            alarm,
            irq,
            s,
        }
    }

    /// Brings time and flags to the present.
    fn sync(&mut self) -> u64 {
        let now = self.clock.now();
        self.s.advance(now);
        now
    }

    /// Drives the pin, and sets the alarm to the next interrupt.
    fn settle(&mut self) {
        let level = self.s.ram[C] & self.s.ram[B] & (C_PF | C_AF | C_UF) != 0;
        if level != self.s.irq {
            self.s.irq = level;
            self.irq.set(level);
        }
        self.alarm.set(self.s.next_interrupt());
    }

    fn read(&mut self, index: usize, now: u64) -> u8 {
        match index {
            A => self.s.ram[A] | if self.s.is_updating(now) { A_UIP } else { 0 },
            C => {
                let c = std::mem::take(&mut self.s.ram[C]);
                c | if c & self.s.ram[B] != 0 { C_IRQF } else { 0 }
            }
            D => D_VRT,
            _ => self.s.ram.get(index).copied().unwrap_or(0xff),
        }
    }

    fn write(&mut self, index: usize, value: u8, now: u64) {
        match index {
            A => self.s.set_a(value & !A_UIP, now),
            B => self.s.set_b(value, now),
            C | D => {}
            _ => {
                if let Some(r) = self.s.ram.get_mut(index) {
                    *r = value;
                }
                let is_time = index <= YEAR || index == CENTURY;
                if is_time && self.s.runs() {
                    self.s.parse();
                }
            }
        }
    }
}

impl State {
    fn format(&self) -> Format {
        Format(self.ram[B])
    }

    /// The divider chain is not held in reset.
    fn divides(&self) -> bool {
        self.ram[A] & 0x60 != 0x60
    }

    /// The calendar advances.
    fn runs(&self) -> bool {
        self.divides() && self.ram[B] & B_SET == 0
    }

    fn is_updating(&self, now: u64) -> bool {
        self.runs() && now.saturating_sub(self.second_start) % SECOND_NS >= SECOND_NS - UIP_NS
    }

    fn render(&mut self) {
        let f = self.format().render(self.unix, self.weekday_skew);
        for (index, v) in [
            (SECONDS, f.second),
            (MINUTES, f.minute),
            (HOURS, f.hour),
            (WEEKDAY, f.weekday),
            (DAY, f.day),
            (MONTH, f.month),
            (YEAR, f.year),
            (CENTURY, f.century),
        ] {
            self.ram[index] = v;
        }
    }

    fn parse(&mut self) {
        let r = &self.ram;
        let fields = Fields {
            second: r[SECONDS],
            minute: r[MINUTES],
            hour: r[HOURS],
            weekday: r[WEEKDAY],
            day: r[DAY],
            month: r[MONTH],
            year: r[YEAR],
            century: r[CENTURY],
        };
        (self.unix, self.weekday_skew) = self.format().parse(fields);
    }

    fn set_a(&mut self, value: u8, now: u64) {
        let was = self.divides();
        self.ram[A] = value;
        // "The first update cycle begins one-half second later" (register A, DV2-DV0).
        if !was && self.divides() {
            self.second_start = now.saturating_sub(SECOND_NS / 2);
        }
    }

    fn set_b(&mut self, value: u8, now: u64) {
        let was = self.runs();
        let format = self.ram[B] & (B_DM | B_24H);
        // SET clears UIE.
        let uie = if value & B_SET != 0 { B_UIE } else { 0 };
        self.ram[B] = value & !uie;
        match (was, self.runs()) {
            (false, true) => {
                self.parse();
                let phase = now.saturating_sub(self.second_start) % SECOND_NS;
                self.second_start = now - phase;
            }
            (true, true) if format != value & (B_DM | B_24H) => self.render(),
            _ => {}
        }
    }

    /// Counts of the 32768 Hz crystal.
    fn crystal(ns: u64) -> u64 {
        (u128::from(ns) * 32_768 / 1_000_000_000) as u64
    }

    /// log2 of the periodic rate in crystal counts (table 5).
    fn period_shift(&self) -> Option<u32> {
        match self.ram[A] & 0xf {
            _ if !self.divides() => None,
            0 => None,
            n @ 1..=2 => Some(u32::from(n) + 6),
            n => Some(u32::from(n) - 1),
        }
    }

    fn advance(&mut self, now: u64) {
        let from = self.synced;
        self.synced = from.max(now);
        if let Some(shift) = self.period_shift()
            && Self::crystal(from) >> shift != Self::crystal(self.synced) >> shift
        {
            self.ram[C] |= C_PF;
        }
        if !self.runs() {
            return;
        }
        let seconds = now.saturating_sub(self.second_start) / SECOND_NS;
        if seconds == 0 {
            return;
        }
        let before = self.unix;
        self.second_start += seconds * SECOND_NS;
        self.unix = before.saturating_add(seconds as i64);
        self.ram[C] |= C_UF;
        if self.next_alarm(before).is_some_and(|t| t <= self.unix) {
            self.ram[C] |= C_AF;
        }
        self.render();
    }

    /// The first second after `after` that the alarm registers match.
    fn next_alarm(&self, after: i64) -> Option<i64> {
        let field = |index: usize, decode: &dyn Fn(u8) -> i64| {
            let v = self.ram[index];
            (v < DONT_CARE).then(|| decode(v))
        };
        let f = self.format();
        let second = field(SECONDS_ALARM, &|v| f.decode(v));
        let minute = field(MINUTES_ALARM, &|v| f.decode(v));
        let hour = field(HOURS_ALARM, &|v| f.decode_hour(v));
        let misses = |want: Option<i64>, have: i64| want.is_some_and(|w| w != have);
        let mut t = after.checked_add(1)?;
        // Each step leaves an hour, a minute or a second that cannot match; a day has no more than these.
        for _ in 0..2 * (24 + 60 + 60) {
            let tod = t.rem_euclid(86_400);
            t = t.checked_add(if misses(hour, tod / 3600) {
                3600 - tod % 3600
            } else if misses(minute, tod / 60 % 60) {
                60 - tod % 60
            } else if misses(second, tod % 60) {
                1
            } else {
                return Some(t);
            })?;
        }
        None
    }

    /// Virtual time of the next enabled interrupt whose flag is not up already.
    fn next_interrupt(&self) -> u64 {
        let wanted = self.ram[B] & !self.ram[C];
        let mut at = u64::MAX;
        if wanted & B_PIE != 0
            && let Some(shift) = self.period_shift()
        {
            let next = u128::from((Self::crystal(self.synced) >> shift) + 1) << shift;
            let ns = (next * 1_000_000_000).div_ceil(32_768);
            at = at.min(u64::try_from(ns).unwrap_or(u64::MAX));
        }
        if !self.runs() {
            return at;
        }
        let after = |seconds: i64| {
            let ns = (seconds.max(1) as u64).saturating_mul(SECOND_NS);
            self.second_start.saturating_add(ns)
        };
        if wanted & B_UIE != 0 {
            at = at.min(after(1));
        }
        if wanted & B_AIE != 0
            && let Some(t) = self.next_alarm(self.unix)
        {
            at = at.min(after(t - self.unix));
        }
        at
    }

    /// The fields that firmware leaves for systems that look at CMOS.
    fn set_memory(&mut self, m: MemorySize) {
        let word = |bytes: u64, unit: u64| (bytes / unit).min(0xffff) as u16;
        let extended = m.below_4g.saturating_sub(1 << 20);
        let [low, high] = word(extended, 1024).to_le_bytes();
        let [low16, high16] = word(m.below_4g.saturating_sub(16 << 20), 0x1_0000).to_le_bytes();
        let above = (m.above_4g / 0x1_0000).to_le_bytes();
        for (index, v) in [
            (0x14, 0x06), // equipment: FPU, PS/2 mouse; no floppy, display with its own ROM
            (0x15, 0x80),
            (0x16, 0x02), // 640 KiB
            (0x17, low),
            (0x18, high),
            (0x30, low),
            (0x31, high),
            (0x34, low16),
            (0x35, high16),
            (0x5b, above[0]),
            (0x5c, above[1]),
            (0x5d, above[2]),
        ] {
            self.ram[index] = v;
        }
        self.sum();
    }

    /// The checksum over 0x10-0x2D.
    fn sum(&mut self) {
        let sum: u16 = self.ram[0x10..0x2e].iter().map(|&b| u16::from(b)).sum();
        [self.ram[0x2e], self.ram[0x2f]] = sum.to_be_bytes();
    }
}

impl Device for Mc146818 {
    fn name(&self) -> &str {
        "mc146818"
    }

    fn port_read(&mut self, _: usize, offset: u16, size: AccessSize) -> u32 {
        let now = self.sync();
        let value = bytes::read(offset, size, |o| match o {
            1 => self.read(self.s.index.into(), now),
            3 => self.read(usize::from(self.s.index_high) + 128, now),
            // The index registers cannot be read.
            _ => 0xff,
        });
        self.settle();
        value
    }

    fn port_write(&mut self, _: usize, offset: u16, size: AccessSize, value: u32) {
        let now = self.sync();
        bytes::write(offset, size, value, |o, v| match o {
            // Bit 7 would mask NMI; nothing on this board raises one that it masks.
            0 => self.s.index = v & 0x7f,
            1 => self.write(self.s.index.into(), v, now),
            2 => self.s.index_high = v & 0x7f,
            3 => self.write(usize::from(self.s.index_high) + 128, v, now),
            _ => {}
        });
        self.settle();
    }

    fn expire(&mut self, _: u64) {
        self.sync();
        self.settle();
    }

    /// The battery keeps time and RAM.
    fn reset(&mut self) {
        self.sync();
        self.s.ram[B] &= !(B_PIE | B_AIE | B_UIE | B_SQWE);
        self.s.ram[C] = 0;
        self.s.index = 0;
        self.settle();
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
        let s: State = section.read(self.name(), state::VERSION)?;
        self.s = State {
            ram: state::sized(s.ram),
            ..s
        };
        self.settle();
        Ok(())
    }
}

mod state {
    use serde::{Deserialize, Serialize};

    pub const VERSION: u32 = 1;

    #[derive(Clone, Debug, Serialize, Deserialize)]
    pub struct State {
        pub index: u8,
        /// Index of the upper bank (0x72).
        pub index_high: u8,
        /// 256 bytes, the registers among them.
        pub ram: Vec<u8>,
        /// The second that the calendar shows, since 1970.
        pub unix: i64,
        /// Virtual time at which it began.
        pub second_start: u64,
        /// Days that the guest's weekday runs ahead.
        pub weekday_skew: i64,
        /// Virtual time up to which the flags are worked out.
        pub synced: u64,
        /// The level of the interrupt pin.
        pub irq: bool,
    }

    /// RAM of the right size whatever a snapshot says.
    pub fn sized(mut ram: Vec<u8>) -> Vec<u8> {
        ram.resize(256, 0);
        ram
    }

    impl Default for State {
        fn default() -> Self {
            Self {
                index: 0,
                index_high: 0,
                ram: sized(Vec::new()),
                unix: 0,
                second_start: 0,
                weekday_skew: 0,
                synced: 0,
                irq: false,
            }
        }
    }
}
