//! What the chips' tests share: a wire with a memory, a clock moved by hand, and a source of random accesses.

use bus::clock::Pace;
use bus::line::IrqSink;
use bus::{AccessSize, Clock, Device, IrqLine};
use std::sync::{Arc, Mutex};

/// 32 wires that remember their level and count their rising edges.
#[derive(Default)]
pub struct Wire {
    wires: Mutex<[(bool, u32); 32]>,
}

impl Wire {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }
    pub fn line(self: &Arc<Self>, n: u32) -> IrqLine {
        IrqLine::new(self.clone(), n)
    }
    pub fn level(&self, n: usize) -> bool {
        self.wires.lock().unwrap()[n].0
    }
    pub fn edges(&self, n: usize) -> u32 {
        self.wires.lock().unwrap()[n].1
    }
}

impl IrqSink for Wire {
    fn set_level(&self, input: u32, level: bool) {
        let mut w = self.wires.lock().unwrap();
        let (old, edges) = &mut w[input as usize & 31];
        *edges += u32::from(level && !*old);
        *old = level;
    }
}

/// A virtual clock that stands until it is moved.
pub fn clock() -> Arc<Clock> {
    Clock::new(Pace::Instructions { ns_per_1024: 1024 })
}

/// Moves `clock` by `ns`, stopping at each alarm of the one device on it.
pub fn advance(clock: &Clock, device: &mut dyn Device, ns: u64) {
    let end = clock.now() + ns;
    while clock.next_deadline() <= end {
        clock.skip_to(clock.next_deadline());
        let now = clock.now();
        for _ in clock.take_due(now) {
            device.expire(now);
        }
    }
    clock.skip_to(end);
}

/// xorshift64*, seeded: failures repeat.
pub struct Fuzz(u64);

/// A number from the environment.
fn wished(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Rounds of a test with random accesses: as many as it takes in a moment, or `$FERRY_FUZZ_TIMES` times that.
pub fn rounds(moment: u32) -> impl Iterator<Item = u64> {
    0..u64::from(moment) * wished("FERRY_FUZZ_TIMES").unwrap_or(1)
}

impl Fuzz {
    /// `$FERRY_FUZZ_SEED` makes other accesses of the same test.
    pub fn new(seed: u64) -> Self {
        let seed = seed.wrapping_add(wished("FERRY_FUZZ_SEED").unwrap_or(0) << 32);
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 16) % n
    }
    pub fn flip(&mut self) -> bool {
        self.next() >> 40 & 1 != 0
    }
    pub fn size(&mut self) -> AccessSize {
        [AccessSize::Byte, AccessSize::Word, AccessSize::Dword][self.below(3) as usize]
    }
    /// Random numbers of all magnitudes, edges included.
    pub fn value(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1 => u64::MAX,
            2 => 1 << self.below(64),
            _ => self.next() >> self.below(64),
        }
    }
    /// One random access to one of the regions (number, length).
    pub fn ports(&mut self, device: &mut dyn Device, regions: &[(usize, u16)]) {
        let (region, len) = regions[self.below(regions.len() as u64) as usize];
        let offset = self.below(len.into()) as u16;
        let size = self.size();
        if self.flip() {
            device.port_read(region, offset, size);
        } else {
            let value = self.value() as u32 & size.mask() as u32;
            device.port_write(region, offset, size, value);
        }
    }
    /// Moves the clock by a random span and lets due alarms ring.
    pub fn time(&mut self, clock: &Clock, device: &mut dyn Device) {
        let span = self.next() >> (24 + self.below(40));
        clock.skip_to(clock.now().saturating_add(span));
        let now = clock.now();
        for _ in clock.take_due(now) {
            device.expire(now);
        }
    }
}
