use super::*;
use crate::testing::{Fuzz, Wire};

const B: AccessSize = AccessSize::Byte;

struct Bench {
    kbc: I8042,
    wire: Arc<Wire>,
    a20: A20Gate,
    stop: StopRequest,
}

fn bench() -> Bench {
    let (wire, a20, stop) = (Wire::new(), A20Gate::new(), StopRequest::new(vec![]));
    let kbc = I8042::new(wire.line(1), wire.line(12), a20.clone(), stop.clone());
    Bench {
        kbc,
        wire,
        a20,
        stop,
    }
}

impl Bench {
    fn command(&mut self, v: u32) {
        self.kbc.port_write(REGION_COMMAND, 0, B, v);
    }
    fn data(&mut self, v: u32) {
        self.kbc.port_write(REGION_DATA, 0, B, v);
    }
    fn status(&mut self) -> u32 {
        self.kbc.port_read(REGION_COMMAND, 0, B)
    }
    fn drain(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while self.status() & 1 != 0 {
            all.push(self.kbc.port_read(REGION_DATA, 0, B) as u8);
        }
        all
    }
}

#[test]
fn self_tests_and_configuration() {
    let mut b = bench();
    for (command, answer) in [
        (0xaa, 0x55),
        (0xab, 0),
        (0xa9, 0),
        (0x20, 0x44),
        (0xd0, 0x03),
    ] {
        b.command(command);
        assert_eq!(b.drain(), [answer], "{command:#x}");
    }
    b.command(0x60);
    b.data(0x65);
    b.command(0x20);
    assert_eq!(b.drain(), [0x65]);
    b.command(0x62);
    b.data(0x77);
    b.command(0x22);
    assert_eq!(b.drain(), [0x77]);
    b.command(0xd3);
    b.data(0xa5);
    assert_eq!(b.status() & 0x21, 0x21, "auxiliary loop back");
    assert_eq!(b.drain(), [0xa5]);
}

#[test]
fn keys_are_translated_and_interrupt() {
    let mut b = bench();
    b.command(0x60);
    b.data(0x45);
    b.kbc.press(Key::ENTER);
    assert!(b.wire.level(1));
    assert_eq!(b.kbc.port_read(REGION_DATA, 0, B), 0x1c);
    assert!(!b.wire.level(1));
    b.kbc.release(Key::ENTER);
    b.kbc.press(Key::UP);
    b.kbc.release(Key::UP);
    let before = b.wire.edges(1);
    assert_eq!(b.drain(), [0x9c, 0xe0, 0x48, 0xe0, 0xc8]);
    assert_eq!(b.wire.edges(1) - before, 4, "an edge for each byte");
    b.kbc.type_text("aB");
    assert_eq!(b.drain(), [0x1e, 0x9e, 0x2a, 0x30, 0xb0, 0xaa]);
    b.kbc.press(Key::PAUSE);
    assert_eq!(b.drain(), [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
    b.command(0x60);
    b.data(0x04);
    b.kbc.press(Key::ENTER);
    b.kbc.release(Key::ENTER);
    assert_eq!(b.drain(), [0x5a, 0xf0, 0x5a], "set 2 as it is");
}

#[test]
fn keyboard_commands() {
    let mut b = bench();
    let mut say = |bytes: &[u32]| {
        for v in bytes {
            b.data(*v);
        }
        b.drain()
    };
    assert_eq!(say(&[0xff]), [0xfa, 0xaa]);
    assert_eq!(say(&[0xf2]), [0xfa, 0xab, 0x41], "identity, translated");
    assert_eq!(say(&[0xed, 7]), [0xfa, 0xfa]);
    assert_eq!(say(&[0xee]), [0xee]);
    assert_eq!(say(&[0xf0, 0]), [0xfa, 0xfa, 0x41], "set 2, translated");
    assert_eq!(say(&[0xf3, 0x20]), [0xfa, 0xfa]);
    assert_eq!(say(&[0xf5]), [0xfa]);
    assert_eq!(say(&[0x05]), [0xfe]);
    assert_eq!(b.kbc.leds(), 7);
    b.kbc.press(Key::TAB);
    assert_eq!(b.drain(), [], "not scanning");
    b.data(0xf4);
    b.kbc.press(Key::TAB);
    assert_eq!(b.drain(), [0xfa, 0x0f]);
    b.command(0xad);
    b.kbc.press(Key::TAB);
    assert_eq!(b.drain(), []);
    b.command(0xae);
    assert_eq!(b.drain(), [0x0f]);
}

#[test]
fn mouse_protocol() {
    let mut b = bench();
    b.command(0x60);
    b.data(0x47);
    let mut say = |bytes: &[u32]| {
        for v in bytes {
            b.command(0xd4);
            b.data(*v);
        }
        b.drain()
    };
    assert_eq!(say(&[0xff]), [0xfa, 0xaa, 0]);
    assert_eq!(say(&[0xf2]), [0xfa, 0]);
    assert_eq!(
        say(&[0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf2]),
        [0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 0xfa, 3]
    );
    assert_eq!(say(&[0xe9]), [0xfa, 0, 2, 80]);
    assert_eq!(say(&[0xf4]), [0xfa]);
    b.kbc.move_mouse(5, -3, 1, 1);
    assert!(b.wire.level(12) && !b.wire.level(1));
    assert_eq!(b.status() & 0x21, 0x21);
    assert_eq!(b.drain(), [0x29, 5, 0xfd, 1]);
    assert!(!b.wire.level(12));
}

#[test]
fn output_port_resets_and_gates_a20() {
    let mut b = bench();
    b.command(0xd1);
    b.data(0xdd);
    assert!(!b.a20.is_open());
    b.command(0xdf);
    assert!(b.a20.is_open());
    b.command(0xff);
    assert_eq!(b.stop.take(), None);
    b.command(0xfe);
    assert_eq!(
        b.stop.take(),
        Some(StopReason::Reset(ResetSource::Keyboard))
    );
    b.command(0xd1);
    b.data(0x02);
    assert_eq!(
        b.stop.take(),
        Some(StopReason::Reset(ResetSource::Keyboard))
    );
}

#[test]
fn state_survives_saving() {
    let mut b = bench();
    b.kbc.type_text("x");
    let s = b.kbc.save().unwrap();
    b.kbc.reset();
    assert_eq!(b.drain(), []);
    b.kbc.restore(&s).unwrap();
    assert_eq!(b.drain(), [0x2d, 0xad]);
}

#[test]
fn survives_anything() {
    let mut b = bench();
    let mut f = Fuzz::new(8042);
    for _ in 0..1_000_000 {
        f.ports(&mut b.kbc, &[(REGION_DATA, 1), (REGION_COMMAND, 1)]);
        match f.below(16) {
            0 => b.kbc.press(Key(f.value() as u16)),
            1 => b.kbc.release(Key(f.value() as u16)),
            2 => {
                let [x, y, z] = [f.value(), f.value(), f.value()].map(|v| v as i32);
                b.kbc.move_mouse(x, y, z, f.value() as u8);
            }
            _ => {}
        }
    }
}
