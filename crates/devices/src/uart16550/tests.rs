use super::*;
use crate::testing::{Fuzz, Wire, advance, clock};

const B: AccessSize = AccessSize::Byte;

struct Bench {
    clock: Arc<Clock>,
    uart: Uart16550,
    wire: Arc<Wire>,
    sent: Arc<Mutex<Vec<u8>>>,
}

fn bench() -> Bench {
    let (clock, wire, sent) = (clock(), Wire::new(), Arc::new(Mutex::new(Vec::new())));
    let to = sent.clone();
    let sink = Box::new(move |b: &[u8]| to.lock().unwrap().extend(b));
    let uart = Uart16550::new("uart0", clock.clone(), clock.alarm(0), wire.line(4), sink);
    Bench {
        clock,
        uart,
        wire,
        sent,
    }
}

impl Bench {
    fn w(&mut self, o: u16, v: u32) {
        self.uart.port_write(0, o, B, v);
    }
    fn r(&mut self, o: u16) -> u32 {
        self.uart.port_read(0, o, B)
    }
}

#[test]
fn transmits_and_asks_for_more() {
    let mut b = bench();
    b.w(4, 8);
    b.w(1, 2);
    assert!(b.wire.level(4));
    assert_eq!(b.r(2), 2);
    assert!(!b.wire.level(4), "reading IIR clears it");
    assert_eq!(b.r(2), 1);
    for c in b"hi" {
        let before = b.wire.edges(4);
        b.w(0, (*c).into());
        assert_eq!(b.wire.edges(4), before + 1, "an edge a byte");
    }
    assert_eq!(*b.sent.lock().unwrap(), b"hi");
    assert_eq!(b.r(5), 0x60);
    b.w(4, 0);
    assert!(!b.wire.level(4), "OUT2 gates");
}

#[test]
fn receives_by_trigger_and_timeout() {
    let mut b = bench();
    b.w(3, 0x83);
    b.w(0, 1);
    b.w(1, 0);
    assert_eq!(b.r(0), 1);
    b.w(3, 3);
    b.w(2, 0x81);
    b.w(4, 0xb);
    b.w(1, 1);
    let input = b.uart.input();
    input.push(b"1234567");
    assert!(!b.wire.level(4));
    advance(&b.clock, &mut b.uart, 347_219);
    assert_eq!(b.r(2), 0xc1);
    advance(&b.clock, &mut b.uart, 2);
    assert_eq!(b.r(2), 0xcc, "four characters of ten bits at 115200");
    assert_eq!(b.r(0), b'1'.into());
    assert_eq!(b.r(2), 0xc1);
    input.push(b"89");
    assert_eq!(b.r(2), 0xc4);
    input.push(&[b'x'; 100]);
    let mut all = Vec::new();
    while b.r(5) & 1 != 0 {
        all.push(b.r(0) as u8);
    }
    assert_eq!(all.len(), 108, "nothing lost");
    assert_eq!(&all[..9], b"23456789x");
    assert!(!b.wire.level(4));
    assert_eq!(input.pending(), 0);
}

#[test]
fn input_waits_for_a_listener() {
    let mut b = bench();
    b.uart.input().push(b"early");
    assert_eq!(b.r(5) & 1, 0);
    b.w(2, 7);
    b.w(4, 3);
    b.w(2, 7);
    assert_eq!(b.r(0), b'e'.into(), "a FIFO reset loses nothing");
    b.w(4, 0);
    assert_eq!(b.r(5) & 1, 0);
    assert_eq!(b.r(0), 0);
    for _ in 0..POLLS {
        b.r(5);
    }
    assert_eq!(b.r(0), b'a'.into(), "a polling guest listens");
}

#[test]
fn loopback_modem_and_line_status() {
    let mut b = bench();
    b.w(4, 0x1a);
    assert_eq!(b.r(6) & 0xf0, 0x90, "RTS to CTS, OUT2 to DCD");
    b.r(6);
    b.w(4, 0x15);
    assert_eq!(
        b.r(6),
        0x60 | 0xb,
        "deltas of CTS, DSR, DCD; RI only on its trailing edge"
    );
    b.w(4, 0x10);
    assert_eq!(b.r(6), 0x06, "TERI");
    b.w(0, 0x55);
    b.w(0, 0x66);
    assert_eq!(b.r(5), 0x63, "overrun");
    assert_eq!(b.r(5), 0x61);
    assert_eq!(b.r(0), 0x55);
    assert!(b.sent.lock().unwrap().is_empty());
    b.w(3, 0x40);
    b.w(1, 4);
    assert_eq!(b.r(2), 6);
    assert_eq!(b.r(5) & 0x10, 0x10);
    assert_eq!(b.r(2), 1);
    b.w(7, 0xa5);
    assert_eq!(b.r(7), 0xa5);
}

#[test]
fn state_survives_saving() {
    let mut b = bench();
    b.w(4, 3);
    b.w(2, 1);
    b.uart.input().push(b"abc");
    let s = b.uart.save().unwrap();
    b.uart.reset();
    b.uart.restore(&s).unwrap();
    assert_eq!((b.r(0), b.r(0), b.r(0)), (0x61, 0x62, 0x63));
}

#[test]
fn survives_anything() {
    let mut b = bench();
    let mut f = Fuzz::new(16550);
    let input = b.uart.input();
    for _ in 0..1_000_000 {
        f.ports(&mut b.uart, &[(0, 8)]);
        match f.below(8) {
            0 => f.time(&b.clock, &mut b.uart),
            1 if input.pending() < 100 => input.push(&[1, 2, 3]),
            _ => {}
        }
    }
}
