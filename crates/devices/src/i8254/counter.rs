//! One counter of the 8254 in closed form: what it shows at a given tick, without counting through the ticks before.
//!
//! Ticks are CLK pulses since power-on. A written count is loaded by the pulse after the write (datasheet, "Mode Definitions").

use serde::{Deserialize, Serialize};

/// Read/Write field of the control word.
const RW_LSB: u8 = 1;
const RW_MSB: u8 = 2;

/// A count that takes effect at the end of the present (half) cycle of modes 2 and 3.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Pending {
    count: u32,
    /// The tick of the change; `i64::MAX` if only a trigger brings it.
    at: i64,
}

/// One counter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counter {
    mode: u8,
    bcd: bool,
    access: u8,
    gate: bool,
    /// The count in effect, in ticks: 1-65536.
    count: u32,
    /// A count was written since the control word.
    loaded: bool,
    pending: Option<Pending>,
    /// The tick at which the counting element held `count`.
    since: i64,
    /// Ticks counted when the gate stopped it.
    frozen: Option<i64>,
    /// Modes 1 and 5: the gate has risen since the control word.
    triggered: bool,
    low_byte: Option<u8>,
    read_high: bool,
    latch: Option<u16>,
    status_latch: Option<u8>,
}

fn from_bcd(v: u16) -> u32 {
    (0..4)
        .rev()
        .fold(0, |n, i| n * 10 + u32::from(v >> (4 * i) & 0xf))
}

fn to_bcd(v: u32) -> u16 {
    (0..4).fold(0, |b, i| b | ((v / 10u32.pow(i) % 10) as u16) << (4 * i))
}

impl Counter {
    /// Silent until the first control word.
    pub fn new(gate: bool) -> Self {
        Self {
            mode: 0,
            bcd: false,
            access: RW_LSB | RW_MSB,
            gate,
            count: 0x1_0000,
            loaded: false,
            pending: None,
            since: 0,
            frozen: None,
            triggered: false,
            low_byte: None,
            read_high: false,
            latch: None,
            status_latch: None,
        }
    }

    fn n(&self) -> i64 {
        self.count.max(1).into()
    }

    fn elapsed(&self, t: i64) -> i64 {
        self.frozen.unwrap_or_else(|| (t - self.since).max(0))
    }

    /// Ticks of the high half of a square wave.
    fn high_half(&self) -> i64 {
        (self.n() + 1) / 2
    }

    /// The tick that ends the cycle (mode 2) or half cycle (mode 3) running at `t`.
    fn boundary(&self, t: i64) -> i64 {
        let e = self.elapsed(t);
        let cycle = e - e % self.n();
        let half = self.high_half();
        if self.mode == 3 && e - cycle < half {
            self.since + cycle + half
        } else {
            self.since + cycle + self.n()
        }
    }

    /// Takes over a count whose time has come.
    fn commit(&mut self) {
        let Some(p) = self.pending.take() else {
            return;
        };
        let ends_high = self.mode == 3 && self.elapsed(p.at) % self.n() == self.high_half();
        self.count = p.count;
        self.since = p.at - if ends_high { self.high_half() } else { 0 };
    }

    /// Moves to tick `t`; tells whether OUT rose after tick `from`.
    pub fn advance(&mut self, mut from: i64, t: i64) -> bool {
        let mut rose = false;
        if let Some(p) = self.pending
            && p.at <= t
        {
            rose = self.rises(from, p.at);
            from = from.max(p.at);
            self.commit();
        }
        rose | self.rises(from, t)
    }

    /// Whether OUT rises in the ticks after `a` up to `b`, the present count given.
    fn rises(&self, a: i64, b: i64) -> bool {
        if !self.loaded || self.frozen.is_some() {
            return false;
        }
        let passes = |tick: i64| a < tick && tick <= b;
        match self.mode {
            0 => passes(self.since + self.n()),
            1 => self.triggered && passes(self.since + self.n()),
            2 | 3 => self.elapsed(a) / self.n() < self.elapsed(b) / self.n(),
            4 => passes(self.since + self.n() + 1),
            _ => self.triggered && passes(self.since + self.n() + 1),
        }
    }

    /// The next tick after `t` at which OUT rises, or falls for good measure.
    pub fn next_event(&self, t: i64) -> Option<i64> {
        if !self.loaded || self.frozen.is_some() {
            return None;
        }
        let end = self.since + self.n();
        let at = match self.mode {
            2 | 3 => self.boundary(t),
            0 => end,
            1 if self.triggered => end,
            5 if !self.triggered => return None,
            1 => return None,
            _ => end + 1,
        };
        (at > t).then_some(at)
    }

    /// OUT at tick `t`.
    pub fn out(&self, t: i64) -> bool {
        let e = self.elapsed(t);
        let phase = e % self.n();
        match self.mode {
            0 => self.loaded && e >= self.n(),
            1 => !(self.triggered && e < self.n()),
            2 => !(self.loaded && self.gate && phase == self.n() - 1),
            3 => !(self.loaded && self.gate && phase >= self.high_half()),
            4 => !(self.loaded && e == self.n() && t >= self.since),
            _ => !(self.triggered && e == self.n()),
        }
    }

    /// The counting element at tick `t`.
    fn element(&self, t: i64) -> u16 {
        let e = self.elapsed(t);
        let n = self.n();
        let left = match self.mode {
            2 => n - e % n,
            3 => {
                let phase = e % n;
                let half = self.high_half();
                let p = if phase < half { phase } else { phase - half };
                (n & !1) - 2 * p
            }
            _ => n - e,
        };
        if self.bcd {
            to_bcd(left.rem_euclid(10_000) as u32)
        } else {
            left as u16
        }
    }

    fn status(&self, t: i64) -> u8 {
        let null = !self.loaded || self.pending.is_some() || t < self.since;
        u8::from(self.out(t)) << 7
            | u8::from(null) << 6
            | self.access << 4
            | self.mode << 1
            | u8::from(self.bcd)
    }

    /// Control word with a Read/Write field that is not "latch".
    pub fn control(&mut self, value: u8) {
        *self = Self {
            mode: match value >> 1 & 7 {
                m @ 6..=7 => m - 4,
                m => m,
            },
            bcd: value & 1 != 0,
            access: value >> 4 & 3,
            ..Self::new(self.gate)
        };
    }

    /// Counter latch command; a latch not yet read stays.
    pub fn latch_count(&mut self, t: i64) {
        if self.latch.is_none() {
            self.latch = Some(self.element(t));
        }
    }

    /// Read-back command for the status.
    pub fn latch_status(&mut self, t: i64) {
        if self.status_latch.is_none() {
            self.status_latch = Some(self.status(t));
        }
    }

    pub fn read(&mut self, t: i64) -> u8 {
        if let Some(s) = self.status_latch.take() {
            return s;
        }
        let value = self.latch.unwrap_or_else(|| self.element(t));
        let [low, high] = value.to_le_bytes();
        let both = self.access == RW_LSB | RW_MSB;
        let high_turn = if both {
            self.read_high = !self.read_high;
            !self.read_high
        } else {
            self.access == RW_MSB
        };
        if !both || high_turn {
            self.latch = None;
        }
        if high_turn { high } else { low }
    }

    pub fn write(&mut self, t: i64, value: u8) {
        let raw = match self.access {
            RW_LSB => u16::from(value),
            RW_MSB => u16::from(value) << 8,
            _ => match self.low_byte.take() {
                Some(low) => u16::from_le_bytes([low, value]),
                None => {
                    self.low_byte = Some(value);
                    // Mode 0: the first byte stops the count and OUT is low at once.
                    if self.mode == 0 {
                        self.loaded = false;
                    }
                    return;
                }
            },
        };
        let count = match (self.bcd, raw) {
            (true, 0) => 10_000,
            (true, raw) => from_bcd(raw),
            (false, 0) => 0x1_0000,
            (false, raw) => raw.into(),
        };
        self.write_count(t, count);
    }

    fn write_count(&mut self, t: i64, count: u32) {
        match self.mode {
            1 | 5 => {
                self.pending = Some(Pending {
                    count,
                    at: i64::MAX,
                });
                self.loaded = true;
            }
            2 | 3 if self.loaded => {
                let at = if self.frozen.is_some() || t < self.since {
                    i64::MAX
                } else {
                    self.boundary(t)
                };
                self.pending = Some(Pending { count, at });
                // Not yet loaded by its pulse: the newer count replaces it.
                if t < self.since {
                    self.pending = None;
                    self.count = count;
                }
            }
            _ => {
                self.count = count;
                self.loaded = true;
                self.pending = None;
                self.since = t + 1;
                self.frozen = (!self.gate).then_some(0);
            }
        }
    }

    /// The GATE input changes at tick `t`.
    pub fn set_gate(&mut self, t: i64, gate: bool) {
        if gate == self.gate {
            return;
        }
        self.gate = gate;
        match (self.mode, gate) {
            (1 | 5, true) if self.loaded => {
                self.reload(t);
                self.triggered = true;
            }
            (1 | 5, _) => {}
            (_, false) => self.frozen = Some(self.elapsed(t)),
            (2 | 3, true) => self.reload(t),
            (_, true) => {
                if let Some(done) = self.frozen.take() {
                    self.since = t - done;
                }
            }
        }
    }

    fn reload(&mut self, t: i64) {
        if let Some(p) = self.pending.take() {
            self.count = p.count;
        }
        self.since = t + 1;
        self.frozen = None;
    }
}
