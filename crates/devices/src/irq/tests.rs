use super::*;
use crate::hpet::{Hpet, HpetWires};
use crate::testing::{Fuzz, clock};
use crate::{ApicBus, I8254, Uart16550, i8259};
use bus::{AccessSize, Attention, LocalApic};
use std::thread;

const B: AccessSize = AccessSize::Byte;
const D: AccessSize = AccessSize::Dword;

struct Board {
    pic: I8259,
    ioapic: IoApic,
    router: IrqRouter,
    apics: Arc<ApicBus>,
    cpu: Arc<dyn LocalApic>,
}

/// Pair at vectors 0x20 and 0x28, all inputs open; I/O APIC pin n sends 0x40 + n.
fn board() -> Board {
    let attention = [Arc::new(Attention::default())];
    let apics = ApicBus::new(clock(), 40, &attention);
    let mut pic = I8259::new(apics.lint(0, 0));
    apics.connect_pic(&pic);
    let mut ioapic = IoApic::new(apics.clone());
    let router = IrqRouter::new(&pic, &ioapic);
    for (region, base) in [(i8259::REGION_MASTER, 0x20), (i8259::REGION_SLAVE, 0x28)] {
        for (port, v) in [(0, 0x11), (1, base), (1, 4), (1, 3)] {
            pic.port_write(region, port, B, v);
        }
    }
    for pin in 0..24 {
        ioapic.mmio_write(0, 0, D, 0x10 + 2 * pin);
        ioapic.mmio_write(0, 0x10, D, 0x40 + pin);
    }
    let cpu = apics.local(0);
    Board {
        pic,
        ioapic,
        router,
        apics,
        cpu,
    }
}

impl Board {
    /// All vectors that the processor takes now.
    fn vectors(&self) -> Vec<u8> {
        let mut all = Vec::new();
        while self.cpu.has_interrupt() {
            let v = self.cpu.acknowledge();
            if v.is_some_and(|v| v >= 0x40) {
                self.cpu.mmio_write(0xb0, 0);
            }
            all.extend(v);
        }
        all
    }
}

#[test]
fn isa_lines_reach_both_controllers() {
    let b = board();
    for (irq, vectors) in [
        (0, vec![0x20, 0x42]),
        (1, vec![0x21, 0x41]),
        (2, vec![]),
        (8, vec![0x28, 0x48]),
        (15, vec![0x2f, 0x4f]),
    ] {
        let line = b.router.isa(irq);
        line.set(true);
        assert_eq!(b.vectors(), vectors, "{irq}");
        line.set(false);
        assert_eq!(b.vectors(), []);
    }
    b.router.gsi(20).set(true);
    assert_eq!(b.vectors(), [0x54]);
    b.router.gsi(5).set(true);
    assert_eq!(b.vectors(), [0x45]);
    b.router.gsi(200).set(true);
    assert_eq!(b.vectors(), []);
}

#[test]
fn wires_to_one_input_are_ored() {
    let b = board();
    let (x, y) = (b.router.isa(5), b.router.isa(5));
    x.set(true);
    assert_eq!(b.vectors(), [0x25, 0x45]);
    y.set(true);
    x.set(false);
    x.set(true);
    assert_eq!(b.vectors(), [], "never low");
    x.set(false);
    y.set(false);
    y.set(true);
    assert_eq!(b.vectors(), [0x25, 0x45]);
}

#[test]
fn the_hpet_stands_in_for_pit_and_rtc() {
    let b = board();
    let (pit, rtc) = (b.router.isa(0), b.router.isa(8));
    let (h0, h1, mode) = (
        b.router.hpet_legacy(0),
        b.router.hpet_legacy(1),
        b.router.hpet_mode(),
    );
    h0.pulse();
    assert_eq!(b.vectors(), []);
    mode.set(true);
    pit.pulse();
    rtc.pulse();
    assert_eq!(b.vectors(), []);
    h0.pulse();
    assert_eq!(b.vectors(), [0x20, 0x42]);
    h1.pulse();
    assert_eq!(b.vectors(), [0x28, 0x48]);
    mode.set(false);
    pit.pulse();
    assert_eq!(b.vectors(), [0x20, 0x42]);
    let s = b.router.save().unwrap();
    b.router.clone().restore(&s).unwrap();
}

/// Every lock order that the board has, from many threads at once: ends, or the test times out.
#[test]
fn nobody_deadlocks() {
    const ROUNDS: usize = 20_000;
    let b = board();
    let clock = clock();
    let unconnected = bus::Alarm::unconnected;
    let mut uart = Uart16550::new(
        "uart0",
        clock.clone(),
        unconnected(),
        b.router.isa(4),
        Box::new(|_| ()),
    );
    let input = uart.input();
    let mut pit = I8254::new(clock.clone(), unconnected(), b.router.isa(0));
    let mut hpet = Hpet::new(clock.clone(), unconnected(), HpetWires::new(&b.router));
    let (mut pic, mut ioapic, cpu, apics) = (
        b.pic.clone(),
        b.ioapic.clone(),
        b.cpu.clone(),
        b.apics.clone(),
    );
    thread::scope(|s| {
        s.spawn(|| {
            let mut f = Fuzz::new(1);
            for _ in 0..ROUNDS {
                cpu.acknowledge();
                cpu.mmio_write(f.below(0x40) << 4, f.value() as u32);
                cpu.mmio_write(0xf0, 0x1ff);
                cpu.mmio_write(0xb0, 0);
            }
        });
        s.spawn(move || {
            let mut f = Fuzz::new(2);
            for _ in 0..ROUNDS {
                f.ports(&mut pic, &[(0, 2), (1, 2), (2, 2)]);
            }
        });
        s.spawn(move || {
            let mut f = Fuzz::new(3);
            for _ in 0..ROUNDS {
                ioapic.mmio_write(0, 0, D, 0x10 + f.below(48));
                ioapic.mmio_write(0, 0x10, D, f.value() & 0xffff_a7ff);
                ioapic.mmio_write(0, 0x40, D, f.below(256));
            }
        });
        s.spawn(move || {
            let mut f = Fuzz::new(4);
            for _ in 0..ROUNDS {
                f.ports(&mut uart, &[(0, 8)]);
                f.ports(&mut pit, &[(0, 4), (1, 1)]);
                clock.skip_to(clock.now() + f.below(100_000));
                pit.expire(clock.now());
                uart.expire(clock.now());
                let at = [0x10, 0x100, 0x108, 0x20][f.below(4) as usize];
                hpet.mmio_write(0, at, AccessSize::Qword, f.value());
            }
        });
        s.spawn(move || {
            let mut f = Fuzz::new(5);
            for _ in 0..ROUNDS {
                input.push(&[0x20]);
                apics.send_msi(0xfee0_0000, f.value() as u32 & 0xffff);
                apics.lint(0, 1).set(f.flip());
            }
        });
    });
}
