use super::*;
use crate::testing::{Fuzz, Wire, advance, clock};

const Q: AccessSize = AccessSize::Qword;
const D: AccessSize = AccessSize::Dword;

struct Bench {
    clock: Arc<Clock>,
    hpet: Hpet,
    wire: Arc<Wire>,
}

/// Legacy outputs on wires 24 and 25, their mode on 26.
fn bench() -> Bench {
    let (clock, wire) = (clock(), Wire::new());
    let all = |_| (0..24).map(|n| wire.line(n)).collect();
    let wires = HpetWires {
        inputs: [(), (), ()].map(all),
        legacy: [wire.line(24), wire.line(25)],
        legacy_mode: wire.line(26),
    };
    let hpet = Hpet::new(clock.clone(), clock.alarm(0), wires);
    Bench { clock, hpet, wire }
}

impl Bench {
    fn w(&mut self, at: u64, v: u64) {
        self.hpet.mmio_write(0, at, Q, v);
    }
    fn r(&mut self, at: u64) -> u64 {
        self.hpet.mmio_read(0, at, Q)
    }
    fn pass(&mut self, ns: u64) {
        advance(&self.clock, &mut self.hpet, ns);
    }
}

#[test]
fn counts_at_100_mhz() {
    let mut b = bench();
    assert_eq!(b.r(0), 0x0098_9680_8086_a201);
    b.pass(500);
    assert_eq!(b.r(0xf0), 0);
    b.w(0xf0, 1000);
    b.w(0x10, 1);
    b.pass(1_000);
    assert_eq!(b.r(0xf0), 1100);
    assert_eq!(b.hpet.mmio_read(0, 0xf4, D), 0);
    b.w(0xf0, 5);
    assert_eq!(b.r(0xf0), 1100, "no stores while it runs");
    b.w(0x10, 0);
    b.pass(1_000);
    assert_eq!(b.r(0xf0), 1100);
    b.w(0x10, 1);
    b.pass(10);
    assert_eq!(b.r(0xf0), 1101);
}

#[test]
fn one_shot_edge() {
    let mut b = bench();
    b.w(0x10, 1);
    b.w(0x140, T_ENABLE | 20 << 9);
    b.w(0x148, 100);
    b.pass(999);
    assert_eq!(b.wire.edges(20), 0);
    b.pass(1);
    assert_eq!(b.wire.edges(20), 1);
    assert!(!b.wire.level(20));
    b.pass(1_000_000);
    assert_eq!(b.wire.edges(20), 1);
    assert_eq!(b.r(0x20), 0);
    b.w(0x140, 20 << 9);
    let now = b.r(0xf0);
    b.w(0x148, now + 10);
    b.pass(1_000);
    assert_eq!(b.wire.edges(20), 1, "not enabled");
}

#[test]
fn periodic_with_val_set() {
    let mut b = bench();
    b.w(0x10, 1);
    b.pass(5_000);
    b.w(0x100, T_ENABLE | T_PERIODIC | T_VAL_SET | 2 << 9);
    b.w(0x108, 1_000);
    b.w(0x108, 100);
    b.pass(5_000);
    assert_eq!(b.wire.edges(2), 1, "first at 1000");
    b.pass(10_000);
    assert_eq!(b.wire.edges(2), 11, "then every 100");
    assert_eq!(b.r(0x108), 2_100);
}

#[test]
fn level_triggered_until_status_is_cleared() {
    let mut b = bench();
    b.w(0x120, T_ENABLE | T_LEVEL | 16 << 9);
    b.w(0x128, 50);
    b.w(0x10, 1);
    b.pass(500);
    assert!(b.wire.level(16));
    assert_eq!(b.r(0x20), 2);
    b.w(0x20, 2);
    assert!(!b.wire.level(16));
    assert_eq!(b.r(0x20), 0);
}

#[test]
fn legacy_replacement() {
    let mut b = bench();
    b.w(0x100, T_ENABLE | T_PERIODIC | 20 << 9);
    b.w(0x108, 10);
    b.w(0x120, T_ENABLE);
    b.w(0x128, 15);
    b.w(0x10, 3);
    assert!(b.wire.level(26));
    b.pass(1_000);
    assert_eq!(b.wire.edges(20), 0);
    assert_eq!(b.wire.edges(25), 1);
    b.w(0x10, 0);
    assert!(!b.wire.level(26));
}

#[test]
fn thirty_two_bit_timers_wrap() {
    let mut b = bench();
    b.w(0xf0, 0x1_ffff_fff0);
    b.w(0x140, T_ENABLE | T_32BIT | 20 << 9);
    b.w(0x148, 0xf_0000_0010);
    assert_eq!(b.r(0x148), 0x10);
    b.w(0x10, 1);
    b.pass(319);
    assert_eq!(b.wire.edges(20), 0);
    b.pass(1);
    assert_eq!(b.wire.edges(20), 1);
    b.pass(10 << 32);
    assert_eq!(b.wire.edges(20), 2, "again after each wrap");
}

#[test]
fn state_survives_saving() {
    let mut b = bench();
    b.w(0x10, 1);
    b.w(0x140, T_ENABLE | 20 << 9);
    b.w(0x148, 100);
    let s = b.hpet.save().unwrap();
    b.hpet.reset();
    b.hpet.restore(&s).unwrap();
    b.pass(1_000);
    assert_eq!(b.wire.edges(20), 1);
}

#[test]
fn survives_anything() {
    let mut b = bench();
    let mut f = Fuzz::new(64);
    for _ in 0..1_000_000 {
        let register = [
            0u64, 0x10, 0x20, 0xf0, 0x100, 0x108, 0x120, 0x128, 0x140, 0x148, 0x160, 0x3f8,
        ][f.below(12) as usize];
        let at = register + f.below(8);
        let size = [AccessSize::Byte, AccessSize::Word, D, Q][f.below(4) as usize];
        let v = f.value();
        if f.flip() {
            b.hpet.mmio_write(0, at, size, v);
        } else {
            b.hpet.mmio_read(0, at, size);
        }
        if f.below(4) == 0 {
            f.time(&b.clock, &mut b.hpet);
        }
    }
}
