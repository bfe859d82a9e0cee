use super::*;
use crate::testing::{Fuzz, Wire, advance, clock};

const BYTE: AccessSize = AccessSize::Byte;
/// 29 February 2024 23:59:58, a Thursday.
const LEAP: i64 = 1_709_251_198;

struct Bench {
    clock: Arc<Clock>,
    rtc: Mc146818,
    wire: Arc<Wire>,
}

fn bench(start: i64) -> Bench {
    let (clock, wire) = (clock(), Wire::new());
    let memory = MemorySize {
        below_4g: 512 << 20,
        above_4g: 1 << 32,
    };
    let rtc = Mc146818::new(clock.clone(), clock.alarm(0), wire.line(8), start, memory);
    Bench { clock, rtc, wire }
}

impl Bench {
    fn r(&mut self, index: usize) -> u32 {
        self.rtc.port_write(0, 0, BYTE, index as u32);
        self.rtc.port_read(0, 1, BYTE)
    }
    fn w(&mut self, index: usize, v: u32) {
        self.rtc.port_write(0, 0, BYTE, index as u32);
        self.rtc.port_write(0, 1, BYTE, v);
    }
    fn time(&mut self) -> [u32; 8] {
        [CENTURY, YEAR, MONTH, DAY, HOURS, MINUTES, SECONDS, WEEKDAY].map(|i| self.r(i))
    }
    fn pass(&mut self, ms: u64) {
        advance(&self.clock, &mut self.rtc, ms * 1_000_000);
    }
}

#[test]
fn the_calendar_is_right_over_centuries() {
    let f = Format(B_DM | B_24H);
    let cases = [
        (0, (1970, 1, 1, 5)),
        (951_782_400, (2000, 2, 29, 3)),
        (4_107_542_400, (2100, 3, 1, 2)),
        (-1, (1969, 12, 31, 4)),
        (253_402_300_799, (9999, 12, 31, 6)),
    ];
    for (unix, (y, m, d, wd)) in cases {
        let r = f.render(unix, 0);
        let year = u32::from(r.century) * 100 + u32::from(r.year);
        assert_eq!((year, r.month, r.day, r.weekday), (y, m, d, wd), "{unix}");
    }
    for b in [0, B_DM, B_24H, B_DM | B_24H] {
        for i in 0..20_000 {
            let unix = i * 10_007 * 37 + i;
            let f = Format(b);
            assert_eq!(f.parse(f.render(unix, 0)), (unix, 0));
        }
    }
}

#[test]
fn runs_with_virtual_time_in_all_formats() {
    let mut b = bench(LEAP);
    assert_eq!(b.time(), [0x20, 0x24, 0x02, 0x29, 0x23, 0x59, 0x58, 0x05]);
    b.pass(2000);
    assert_eq!(b.time(), [0x20, 0x24, 0x03, 0x01, 0x00, 0x00, 0x00, 0x06]);
    b.w(B, 0);
    assert_eq!(b.r(HOURS), 0x12, "midnight is 12 AM");
    b.w(B, u32::from(B_DM));
    b.pass(13 * 3600 * 1000);
    assert_eq!(b.r(HOURS), 0x81, "1 PM");
    assert_eq!(b.r(YEAR), 24);
}

#[test]
fn can_be_set() {
    let mut b = bench(LEAP);
    b.w(B, 0x82);
    b.pass(5000);
    assert_eq!(b.r(SECONDS), 0x58, "SET stops the update");
    for (i, v) in [
        (YEAR, 0x99),
        (CENTURY, 0x19),
        (MONTH, 0x12),
        (DAY, 0x31),
        (HOURS, 0x23),
        (MINUTES, 0x59),
        (SECONDS, 0x59),
        (WEEKDAY, 1),
    ] {
        b.w(i, v);
    }
    b.w(B, 2);
    b.pass(1000);
    assert_eq!(b.time(), [0x20, 0, 1, 1, 0, 0, 0, 2]);
}

#[test]
fn update_in_progress_precedes_the_update() {
    let mut b = bench(LEAP);
    b.pass(997);
    assert_eq!(b.r(A), 0x26);
    b.pass(1);
    assert_eq!(b.r(A), 0xa6);
    assert_eq!(b.r(SECONDS), 0x58);
    b.pass(2);
    assert_eq!(b.r(A), 0x26);
    assert_eq!(b.r(SECONDS), 0x59);
    b.w(A, 0x70);
    b.pass(10_000);
    assert_eq!(b.r(SECONDS), 0x59, "divider in reset");
    b.w(A, 0x26);
    b.pass(499);
    assert_eq!(b.r(SECONDS), 0x59);
    b.pass(1);
    assert_eq!(b.r(SECONDS), 0, "half a second later");
}

#[test]
fn periodic_update_and_alarm_interrupts() {
    let mut b = bench(LEAP);
    b.r(C);
    b.w(B, 0x42);
    let mut n = 0;
    for _ in 0..2000 {
        b.pass(1);
        if b.wire.level(8) {
            assert_eq!(b.r(C) & 0xc0, 0xc0);
            assert!(!b.wire.level(8));
            n += 1;
        }
    }
    assert_eq!(n, 2000, "1024 Hz: at least one a millisecond");
    b.w(B, 0x12);
    b.r(C);
    b.pass(999);
    assert!(!b.wire.level(8));
    b.pass(1);
    assert!(b.wire.level(8));
    assert_eq!(b.r(C) & 0x90, 0x90);
    b.w(SECONDS_ALARM, 0x30);
    b.w(MINUTES_ALARM, 0xff);
    b.w(HOURS_ALARM, 0x01);
    b.w(B, 0x22);
    b.r(C);
    b.pass(1000 * (3600 + 28));
    assert!(!b.wire.level(8), "01:00:29");
    b.pass(1000);
    assert_eq!(b.r(HOURS), 1);
    assert!(b.wire.level(8));
    assert_eq!(b.r(C) & 0xa0, 0xa0);
    b.w(HOURS_ALARM, 0x77);
    b.pass(48 * 3600 * 1000);
    assert_eq!(b.r(C) & 0x20, 0, "no such hour");
}

#[test]
fn periodic_rates() {
    for (rate, hz) in [(1, 256), (2, 128), (3, 8192), (6, 1024), (15, 2)] {
        let mut b = bench(0);
        b.w(A, 0x20 | rate);
        b.w(B, 0x42);
        let mut n = 0;
        while b.clock.now() < 1_000_000_000 {
            let next = b.clock.next_deadline() - b.clock.now();
            advance(&b.clock, &mut b.rtc, next);
            if b.wire.level(8) {
                n += 1;
                b.r(C);
            }
        }
        assert_eq!(n, hz, "rate {rate}");
    }
}

#[test]
fn ram_and_memory_size() {
    let mut b = bench(0);
    let word = |b: &mut Bench, i| b.r(i) | b.r(i + 1) << 8;
    assert_eq!(word(&mut b, 0x15), 640);
    assert_eq!(word(&mut b, 0x17), 0xffff);
    assert_eq!(word(&mut b, 0x34), 496 * 16);
    assert_eq!(word(&mut b, 0x5c), 0x100);
    b.w(0x70, 0x5a);
    b.rtc.port_write(0, 2, BYTE, 0x70);
    b.rtc.port_write(0, 3, BYTE, 0xa5);
    assert_eq!(b.r(0x70), 0x5a);
    assert_eq!(b.rtc.port_read(0, 3, BYTE), 0xa5);
    assert_eq!(b.r(D), 0x80);
    let s = b.rtc.save().unwrap();
    b.w(0x70, 0);
    b.rtc.reset();
    b.rtc.restore(&s).unwrap();
    assert_eq!(b.r(0x70), 0x5a);
}

#[test]
fn survives_anything() {
    let mut b = bench(0);
    let mut f = Fuzz::new(146_818);
    for _ in 0..1_000_000 {
        f.ports(&mut b.rtc, &[(0, 4)]);
        if f.flip() {
            b.w(f.below(14) as usize, f.value() as u32 & 0xff);
        }
        if f.below(4) == 0 {
            f.time(&b.clock, &mut b.rtc);
        }
    }
}
