use super::*;
use crate::testing::{Fuzz, Wire};

const B: AccessSize = AccessSize::Byte;

fn pair(icw4: u8) -> (I8259, Arc<Wire>) {
    let wire = Wire::new();
    let mut p = I8259::new(wire.line(0));
    for (region, base, icw3) in [(REGION_MASTER, 0x20, 4), (REGION_SLAVE, 0x28, 2)] {
        p.port_write(region, 0, B, 0x11);
        p.port_write(region, 1, B, base);
        p.port_write(region, 1, B, icw3);
        p.port_write(region, 1, B, icw4.into());
    }
    (p, wire)
}

fn isr(p: &mut I8259, region: usize) -> u32 {
    p.port_write(region, 0, B, 0x0b);
    p.port_read(region, 0, B)
}

#[test]
fn fully_nested_priorities() {
    let (mut p, wire) = pair(1);
    p.line(4).set(true);
    assert!(wire.level(0));
    assert_eq!(p.acknowledge(), 0x24);
    assert!(!wire.level(0), "edge: served once");
    p.line(5).set(true);
    assert!(!wire.level(0), "lower than the one in service");
    p.line(1).set(true);
    assert!(wire.level(0));
    assert_eq!(p.acknowledge(), 0x21);
    assert_eq!(isr(&mut p, REGION_MASTER), 0x12);
    p.port_write(REGION_MASTER, 0, B, 0x20);
    assert_eq!(isr(&mut p, REGION_MASTER), 0x10, "highest in service ends");
    p.port_write(REGION_MASTER, 0, B, 0x64);
    assert_eq!(p.acknowledge(), 0x25);
}

#[test]
fn cascade_and_slave_eoi() {
    let (mut p, wire) = pair(1);
    p.line(8).set(true);
    assert!(wire.level(0));
    assert_eq!(p.acknowledge(), 0x28);
    assert_eq!(isr(&mut p, REGION_MASTER), 4);
    assert_eq!(isr(&mut p, REGION_SLAVE), 1);
    p.port_write(REGION_SLAVE, 0, B, 0x20);
    p.line(12).set(true);
    assert!(!wire.level(0), "the master still serves its level 2");
    p.port_write(REGION_MASTER, 0, B, 0x20);
    assert_eq!(p.acknowledge(), 0x2c);
}

#[test]
fn special_fully_nested_mode_lets_the_slave_nest() {
    let (p, wire) = pair(0x11);
    p.line(12).set(true);
    assert_eq!(p.acknowledge(), 0x2c);
    p.line(8).set(true);
    assert!(wire.level(0));
    assert_eq!(p.acknowledge(), 0x28);
}

#[test]
fn levels_follow_the_wire_and_may_be_spurious() {
    let (mut p, wire) = pair(1);
    p.port_write(REGION_ELCR, 0, AccessSize::Word, 0xffff);
    assert_eq!(p.port_read(REGION_ELCR, 0, AccessSize::Word), 0xdef8);
    p.line(5).set(true);
    p.line(10).set(true);
    p.line(5).set(false);
    p.line(10).set(false);
    assert!(!wire.level(0));
    p.line(10).set(true);
    assert_eq!(p.acknowledge(), 0x2a);
    p.port_write(REGION_SLAVE, 0, B, 0x20);
    p.port_write(REGION_MASTER, 0, B, 0x20);
    assert!(wire.level(0), "still asserted");
    p.line(10).set(false);
    assert_eq!(p.acknowledge(), 0x27, "spurious level 7");
    assert_eq!(isr(&mut p, REGION_MASTER), 0);
}

#[test]
fn spurious_level_15() {
    let (mut p, _) = pair(1);
    p.line(9).set(true);
    // The slave withdraws between the two INTA cycles: mask it behind the latched level 2 of the master.
    lock(&p.shared.pair).s.chips[1].imr = 0xff;
    assert_eq!(p.acknowledge(), 0x2f);
    assert_eq!(isr(&mut p, REGION_SLAVE), 0);
    assert_eq!(isr(&mut p, REGION_MASTER), 4);
}

#[test]
fn masks_rotation_and_special_mask_mode() {
    let (mut p, wire) = pair(1);
    p.port_write(REGION_MASTER, 1, B, 0x02);
    p.line(1).set(true);
    assert!(!wire.level(0));
    p.port_write(REGION_MASTER, 1, B, 0);
    assert_eq!(p.acknowledge(), 0x21, "the latched edge survives the mask");
    p.port_write(REGION_MASTER, 0, B, 0xa0);
    p.line(0).set(true);
    p.line(3).set(true);
    assert_eq!(
        p.acknowledge(),
        0x23,
        "after rotation 2 is highest, 1 lowest"
    );
    p.line(4).set(true);
    p.port_write(REGION_MASTER, 0, B, 0x68);
    p.port_write(REGION_MASTER, 1, B, 0x08);
    assert!(
        wire.level(0),
        "special mask: a masked level in service blocks nobody"
    );
    assert_eq!(p.acknowledge(), 0x24);
}

#[test]
fn automatic_eoi_with_rotation_and_poll() {
    let (mut p, wire) = pair(3);
    p.port_write(REGION_MASTER, 0, B, 0x80);
    p.line(1).set(true);
    assert_eq!(p.acknowledge(), 0x21);
    assert_eq!(isr(&mut p, REGION_MASTER), 0);
    p.line(0).set(true);
    p.line(3).set(true);
    assert_eq!(p.acknowledge(), 0x23);
    p.port_write(REGION_MASTER, 0, B, 0x0c);
    assert_eq!(p.port_read(REGION_MASTER, 0, B), 0x80);
    assert!(!wire.level(0));
    p.port_write(REGION_MASTER, 0, B, 0x0c);
    assert_eq!(p.port_read(REGION_MASTER, 0, B), 0);
}

#[test]
fn icw1_forgets_edges_and_mask() {
    let (mut p, wire) = pair(1);
    p.line(1).set(true);
    p.port_write(REGION_MASTER, 0, B, 0x11);
    assert!(
        !wire.level(0),
        "edge sense is cleared: the wire must rise again"
    );
    assert_eq!(p.port_read(REGION_MASTER, 0, B), 0);
}

#[test]
fn state_survives_saving() {
    let (mut p, _) = pair(1);
    p.line(4).set(true);
    let s = p.save().unwrap();
    let mut q = I8259::new(IrqLine::unconnected());
    q.restore(&s).unwrap();
    assert_eq!(q.acknowledge(), 0x24);
    p.reset();
    assert_eq!(p.acknowledge(), 7);
}

#[test]
fn survives_anything() {
    let (mut p, _) = pair(1);
    let lines: Vec<_> = (0..16).map(|n| p.line(n)).collect();
    let mut f = Fuzz::new(8259);
    for _ in 0..1_000_000 {
        f.ports(&mut p, &[(0, 2), (1, 2), (2, 2)]);
        lines[f.below(16) as usize].set(f.flip());
        if f.flip() {
            p.acknowledge();
        }
    }
}
