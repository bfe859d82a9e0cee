use super::*;
use crate::testing::{Fuzz, Wire, advance, clock};

const B: AccessSize = AccessSize::Byte;

struct Bench {
    clock: Arc<Clock>,
    pit: I8254,
    wire: Arc<Wire>,
}

fn bench() -> Bench {
    let (clock, wire) = (clock(), Wire::new());
    let pit = I8254::new(clock.clone(), clock.alarm(0), wire.line(0));
    Bench { clock, pit, wire }
}

impl Bench {
    fn w(&mut self, offset: u16, v: u32) {
        self.pit.port_write(REGION_COUNTERS, offset, B, v);
    }
    fn r(&mut self, offset: u16) -> u32 {
        self.pit.port_read(REGION_COUNTERS, offset, B)
    }
    fn port61(&mut self, v: u32) {
        self.pit.port_write(REGION_SYSTEM_CONTROL, 0, B, v);
    }
    fn out2(&mut self) -> bool {
        self.pit.port_read(REGION_SYSTEM_CONTROL, 0, B) & 0x20 != 0
    }
    /// To the start of the tick `n` after the present one.
    fn ticks(&mut self, n: i64) {
        let t = ns_of(tick_at(self.clock.now()) + n);
        let ns = t - self.clock.now();
        advance(&self.clock, &mut self.pit, ns);
    }
    /// OUT of counter 2 over the next ticks, the present one first.
    fn wave(&mut self, n: usize) -> String {
        let mut s = String::new();
        for _ in 0..n {
            s.push(if self.out2() { '-' } else { '_' });
            self.ticks(1);
        }
        s
    }
    /// Counter 2 in `mode` with an LSB count.
    fn tone(&mut self, mode: u32, count: u32) {
        self.w(3, 0x90 | mode << 1);
        self.w(2, count);
    }
}

#[test]
fn the_waveforms_of_the_six_modes() {
    // Figures 15-20 of the datasheet; the first tick is that of the write.
    let mut b = bench();
    b.port61(1);
    b.tone(0, 4);
    assert_eq!(b.wave(8), "_____---");
    b.tone(2, 3);
    assert_eq!(b.wave(11), "---_--_--_-");
    b.tone(3, 4);
    assert_eq!(b.wave(10), "---__--__-");
    b.tone(3, 5);
    assert_eq!(b.wave(12), "----__---__-");
    b.tone(4, 3);
    assert_eq!(b.wave(8), "----_---");
    b.port61(0);
    b.tone(1, 3);
    b.ticks(2);
    b.port61(1);
    assert_eq!(b.wave(6), "____--", "low from the trigger on");
    b.port61(0);
    b.tone(5, 3);
    b.ticks(2);
    b.port61(1);
    assert_eq!(b.wave(7), "----_--");
}

#[test]
fn gate_pauses_or_reloads() {
    let mut b = bench();
    b.port61(1);
    b.tone(0, 10);
    b.ticks(5);
    assert_eq!(b.r(2), 6);
    b.port61(0);
    b.ticks(20);
    assert_eq!(b.r(2), 6);
    b.port61(1);
    b.ticks(6);
    assert_eq!(b.r(2), 0);
    assert!(b.out2());
    b.tone(2, 10);
    b.ticks(5);
    b.port61(0);
    b.port61(1);
    b.ticks(1);
    assert_eq!(b.r(2), 10, "the rising gate reloads");
}

#[test]
fn new_counts_wait_for_the_cycle() {
    let mut b = bench();
    b.port61(1);
    b.tone(2, 4);
    b.ticks(2);
    b.w(2, 2);
    assert_eq!(b.wave(7), "--_-_-_");
    b.tone(3, 8);
    b.ticks(2);
    b.w(2, 4);
    assert_eq!(b.wave(9), "---__--__", "at the end of the half cycle");
}

#[test]
fn latches_read_back_and_bcd() {
    let mut b = bench();
    b.port61(1);
    b.w(3, 0xb0);
    b.w(2, 0x34);
    assert!(!b.out2());
    b.w(2, 0x12);
    b.ticks(1);
    b.w(3, 0x80);
    b.ticks(7);
    b.w(3, 0x80);
    assert_eq!((b.r(2), b.r(2)), (0x34, 0x12), "latched");
    assert_eq!((b.r(2), b.r(2)), (0x2d, 0x12), "live");
    b.w(3, 0xc8);
    assert_eq!((b.r(2), b.r(2), b.r(2)), (0x30, 0x2d, 0x12));
    b.w(3, 0xb1);
    b.w(2, 0);
    b.w(2, 0);
    b.w(3, 0xe8);
    assert_eq!(b.r(2), 0x71, "null count");
    b.ticks(2);
    assert_eq!((b.r(2), b.r(2)), (0x99, 0x99), "BCD from 10000");
    b.w(3, 0xe8);
    assert_eq!(b.r(2), 0x31);
}

#[test]
fn counter_0_interrupts_at_its_rate() {
    let mut b = bench();
    b.w(3, 0x34);
    let n = HZ as u32 / 1000;
    b.w(0, n & 0xff);
    b.w(0, n >> 8);
    let before = b.wire.edges(0);
    advance(&b.clock, &mut b.pit, 1_000_000_000);
    let edges = b.wire.edges(0) - before;
    assert_eq!(edges, 1000, "1193 ticks each");
    b.w(3, 0x30);
    b.w(0, 100);
    b.w(0, 0);
    let before = b.wire.edges(0);
    assert!(!b.wire.level(0));
    advance(&b.clock, &mut b.pit, 1_000_000);
    assert!(b.wire.level(0));
    assert_eq!(b.wire.edges(0) - before, 1, "mode 0: once");
    b.w(3, 0x36);
    b.w(0, 0);
    b.w(0, 0);
    let before = b.wire.edges(0);
    advance(&b.clock, &mut b.pit, 1_000_000_000);
    assert_eq!(b.wire.edges(0) - before, 18, "18.2 Hz");
}

#[test]
fn refresh_toggles() {
    let mut b = bench();
    let r = |b: &mut Bench| b.pit.port_read(REGION_SYSTEM_CONTROL, 0, B) & 0x10;
    let mut changes = 0;
    let mut last = r(&mut b);
    for _ in 0..1000 {
        b.clock.skip_to(b.clock.now() + 1000);
        let now = r(&mut b);
        changes += u32::from(now != last);
        last = now;
    }
    assert_eq!(changes, 66, "every 15.085 us");
}

#[test]
fn state_survives_saving() {
    let mut b = bench();
    b.port61(3);
    b.tone(2, 200);
    b.ticks(17);
    let s = b.pit.save().unwrap();
    b.pit.reset();
    assert_ne!(b.r(2), 184);
    b.pit.restore(&s).unwrap();
    assert_eq!(b.r(2), 184);
}

#[test]
fn survives_anything() {
    let mut b = bench();
    let mut f = Fuzz::new(8254);
    for _ in 0..1_000_000 {
        f.ports(&mut b.pit, &[(0, 4), (1, 1)]);
        if f.below(4) == 0 {
            f.time(&b.clock, &mut b.pit);
        }
    }
}
