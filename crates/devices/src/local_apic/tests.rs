use super::*;
use crate::testing::{Fuzz, advance, clock};
use crate::{I8259, IoApic};
use ::bus::AccessSize;

struct Board {
    clock: Arc<Clock>,
    attention: Vec<Arc<Attention>>,
    apics: Arc<ApicBus>,
    cpu: Vec<Arc<dyn LocalApic>>,
    device: Vec<ApicDevice>,
    pic: I8259,
    ioapic: IoApic,
}

fn board(cpus: usize) -> Board {
    let clock = clock();
    let attention: Vec<_> = (0..cpus).map(|_| Arc::new(Attention::default())).collect();
    let apics = ApicBus::new(clock.clone(), 40, &attention);
    let pic = I8259::new(apics.lint(0, 0));
    apics.connect_pic(&pic);
    let ioapic = IoApic::new(apics.clone());
    Board {
        cpu: (0..cpus).map(|i| apics.local(i)).collect(),
        device: (0..cpus).map(|i| apics.device(i, clock.alarm(i))).collect(),
        clock,
        attention,
        apics,
        pic,
        ioapic,
    }
}

impl Board {
    fn enable(&self) {
        for c in &self.cpu {
            c.mmio_write(0xf0, 0x1ff);
        }
    }
    fn x2apic(&self, i: usize) {
        let base = self.cpu[i].read_msr(MSR_BASE).unwrap();
        assert!(self.cpu[i].write_msr(MSR_BASE, base | BASE_EXTD));
    }
    fn redirect(&mut self, pin: u64, rte: u64) {
        for half in 0..2 {
            let d = AccessSize::Dword;
            self.ioapic.mmio_write(0, 0, d, 0x10 + 2 * pin + half);
            self.ioapic
                .mmio_write(0, 0x10, d, rte >> (32 * half) & 0xffff_ffff);
        }
    }
    fn rte_low(&mut self, pin: u64) -> u64 {
        self.ioapic
            .mmio_write(0, 0, AccessSize::Dword, 0x10 + 2 * pin);
        self.ioapic.mmio_read(0, 0x10, AccessSize::Dword)
    }
}

#[test]
fn firmware_leaves_the_virtual_wire() {
    let mut b = board(2);
    for (port, v) in [(0, 0x11), (1, 0x20), (1, 4), (1, 1)] {
        b.pic.port_write(0, port, AccessSize::Byte, v);
    }
    b.pic.line(1).set(true);
    assert!(b.cpu[0].has_interrupt() && !b.cpu[1].has_interrupt());
    assert_eq!(b.attention[0].bits(), Attention::INTR);
    assert_eq!(b.cpu[0].acknowledge(), Some(0x21));
    assert!(!b.cpu[0].has_interrupt());
    assert_eq!(b.cpu[0].acknowledge(), None);
    b.apics.lint(0, 1).set(true);
    assert_eq!(b.attention[0].bits() & Attention::NMI, Attention::NMI);
}

#[test]
fn priorities_and_eoi() {
    let b = board(1);
    b.enable();
    let c = &b.cpu[0];
    let ipi = |v: u32| c.mmio_write(0x300, 0x4_4000 | v);
    ipi(0x31);
    ipi(0x52);
    assert_eq!(c.acknowledge(), Some(0x52));
    assert!(!c.has_interrupt(), "0x31 waits for 0x5x to end");
    assert_eq!(c.mmio_read(0xa0), 0x50);
    ipi(0x5f);
    assert!(!c.has_interrupt(), "same class");
    ipi(0x61);
    c.set_cr8(6);
    assert!(!c.has_interrupt());
    c.set_cr8(5);
    assert_eq!(c.acknowledge(), Some(0x61));
    c.mmio_write(0xb0, 0);
    c.mmio_write(0xb0, 0);
    c.set_cr8(0);
    assert_eq!(c.acknowledge(), Some(0x5f));
    c.mmio_write(0xb0, 0);
    assert_eq!(c.acknowledge(), Some(0x31));
    assert_eq!(c.mmio_read(0x110), 1 << 0x11);
    c.mmio_write(0xb0, 0);
    assert_eq!(c.mmio_read(0x110), 0);
}

#[test]
fn timer_one_shot_periodic_and_masked() {
    let mut b = board(1);
    b.enable();
    let c = b.cpu[0].clone();
    c.mmio_write(0x3e0, 0x3); // divide by 16
    c.mmio_write(0x320, 0x40);
    c.mmio_write(0x380, 100);
    advance(&b.clock, &mut b.device[0], 800);
    assert_eq!(c.mmio_read(0x390), 50);
    assert!(!c.has_interrupt());
    advance(&b.clock, &mut b.device[0], 800);
    assert_eq!(c.acknowledge(), Some(0x40));
    c.mmio_write(0xb0, 0);
    advance(&b.clock, &mut b.device[0], 10_000);
    assert!(!c.has_interrupt());
    c.mmio_write(0x320, 0x2_0041);
    c.mmio_write(0x380, 10);
    for _ in 0..5 {
        advance(&b.clock, &mut b.device[0], 160);
        assert_eq!(c.acknowledge(), Some(0x41));
        c.mmio_write(0xb0, 0);
    }
    c.mmio_write(0x320, 0x3_0041);
    advance(&b.clock, &mut b.device[0], 1600 + 32);
    assert!(!c.has_interrupt());
    assert_eq!(c.mmio_read(0x390), 8, "a masked timer counts");
    c.mmio_write(0x3e0, 0xb);
    advance(&b.clock, &mut b.device[0], 3);
    assert_eq!(c.mmio_read(0x390), 5, "divide by 1");
}

#[test]
fn an_alarm_that_rings_behind_the_stop_of_the_timer_does_nothing() {
    let mut b = board(1);
    b.enable();
    let c = b.cpu[0].clone();
    c.mmio_write(0x3e0, 0xb);
    c.mmio_write(0x320, 0x2_0040);
    c.mmio_write(0x380, 100);
    advance(&b.clock, &mut b.device[0], 99);
    c.mmio_write(0x380, 0);
    b.clock.skip_to(150);
    b.device[0].expire(150);
    assert!(!c.has_interrupt());
    assert_eq!(b.clock.next_deadline(), u64::MAX);
}

#[test]
fn what_is_due_before_a_store_fires_before_it() {
    // Interrupt at 100, the store at 110, the alarm rings at 120: a processor's timer has set the IRR by then, and nothing but the
    // processor takes it back.
    let stores: [(&str, u32, u32, fn(&dyn LocalApic)); 5] = [
        ("stop", 0x2_0040, 0x40, |c| c.mmio_write(0x380, 0)),
        ("mask", 0x2_0040, 0x40, |c| c.mmio_write(0x320, 0x1_0040)),
        ("vector", 0x40, 0x40, |c| c.mmio_write(0x320, 0x41)),
        ("divide", 0x40, 0x40, |c| c.mmio_write(0x3e0, 0)),
        ("deadline", 0x4_0042, 0x42, |c| {
            assert!(c.write_msr(MSR_TSC_DEADLINE, 0));
        }),
    ];
    for (name, lvt, vector, store) in stores {
        let mut b = board(1);
        b.enable();
        let c = b.cpu[0].clone();
        c.mmio_write(0x3e0, 0xb);
        c.mmio_write(0x320, lvt);
        c.mmio_write(0x380, 100);
        c.write_msr(MSR_TSC_DEADLINE, 100);
        b.clock.skip_to(110);
        assert!(!c.has_interrupt(), "{name}");
        store(&*c);
        b.clock.skip_to(120);
        b.device[0].expire(120);
        assert_eq!(c.acknowledge(), Some(vector as u8), "{name}");
        c.mmio_write(0xb0, 0);
        advance(&b.clock, &mut b.device[0], 10_000);
        assert!(!c.has_interrupt(), "{name}: once");
    }
}

#[test]
fn tsc_deadline() {
    let mut b = board(1);
    b.enable();
    let c = b.cpu[0].clone();
    assert!(c.write_msr(MSR_TSC_DEADLINE, 50), "ignored in other modes");
    assert_eq!(c.read_msr(MSR_TSC_DEADLINE), Some(0));
    c.mmio_write(0x320, 0x4_0040);
    c.set_tsc_adjust(1000);
    c.write_msr(MSR_TSC_DEADLINE, 1500);
    advance(&b.clock, &mut b.device[0], 499);
    assert_eq!(c.read_msr(MSR_TSC_DEADLINE), Some(1500));
    assert!(!c.has_interrupt());
    advance(&b.clock, &mut b.device[0], 1);
    assert_eq!(c.acknowledge(), Some(0x40));
    assert_eq!(c.read_msr(MSR_TSC_DEADLINE), Some(0));
    c.mmio_write(0xb0, 0);
    c.write_msr(MSR_TSC_DEADLINE, 10);
    assert_eq!(c.acknowledge(), Some(0x40), "past deadlines fire at once");
    c.mmio_write(0xb0, 0);
    c.write_msr(MSR_TSC_DEADLINE, 5000);
    c.set_tsc_adjust(4500);
    assert_eq!(c.acknowledge(), Some(0x40));
}

#[test]
fn apic_base_transitions() {
    let b = board(1);
    let c = &b.cpu[0];
    assert_eq!(c.read_msr(MSR_BASE), Some(0xfee0_0900));
    assert_eq!(c.mmio_base(), Some(0xfee0_0000));
    assert_eq!(c.read_msr(0x802), None, "xAPIC mode has no MSRs");
    for bad in [0xfee0_0500, 0xfee0_0901, 1 << 40 | 0xfee0_0900] {
        assert!(!c.write_msr(MSR_BASE, bad), "{bad:#x}");
    }
    b.x2apic(0);
    assert_eq!(c.mmio_base(), None);
    assert!(!c.write_msr(MSR_BASE, 0xfee0_0900), "x2APIC to xAPIC");
    assert!(c.write_msr(MSR_BASE, 0xfee0_0100));
    assert!(!c.write_msr(MSR_BASE, 0xfee0_0d00), "disabled to x2APIC");
    assert!(c.write_msr(MSR_BASE, 0xfed0_0900));
    assert_eq!(c.mmio_base(), Some(0xfed0_0000));
    assert_eq!(c.mmio_read(0xf0), 0xff, "as after reset");
}

#[test]
fn x2apic_registers_fault_as_documented() {
    let b = board(3);
    b.x2apic(2);
    let c = &b.cpu[2];
    assert_eq!(c.read_msr(0x802), Some(2));
    assert_eq!(c.read_msr(0x80d), Some(4));
    for unreadable in [0x80b, 0x80e, 0x831, 0x83f, 0x800, 0x809, 0x83a] {
        assert_eq!(c.read_msr(unreadable), None, "{unreadable:#x}");
    }
    for (msr, v) in [
        (0x802, 0),
        (0x803, 0),
        (0x80a, 0),
        (0x80b, 1),
        (0x80d, 0),
        (0x810, 0),
        (0x828, 1),
        (0x832, 1 << 19),
        (0x839, 0),
        (0x808, 0x100),
        (0x80f, 1 << 31),
        (0x83f, 0x100),
        (0x830, 1 << 20),
    ] {
        assert!(!c.write_msr(msr, v), "{msr:#x}");
    }
    assert!(c.write_msr(0x80f, 0x1ff));
    assert!(c.write_msr(0x83f, 0x77));
    assert_eq!(c.acknowledge(), Some(0x77));
    assert!(c.write_msr(0x80b, 0));
}

#[test]
fn interprocessor_interrupts_reach_whom_they_name() {
    let b = board(4);
    b.enable();
    let pending = |b: &Board| {
        let mut mask = 0u32;
        for (i, c) in b.cpu.iter().enumerate() {
            if c.has_interrupt() {
                c.acknowledge();
                c.mmio_write(0xb0, 0);
                mask |= 1 << i;
            }
        }
        mask
    };
    let send = |hi: u32, lo: u32| {
        b.cpu[0].mmio_write(0x310, hi << 24);
        b.cpu[0].mmio_write(0x300, lo);
        pending(&b)
    };
    assert_eq!(send(2, 0x4040), 4);
    assert_eq!(send(0xff, 0x4040), 0xf);
    assert_eq!(send(0, 0x4_4040), 1);
    assert_eq!(send(0, 0x8_4040), 0xf);
    assert_eq!(send(0, 0xc_4040), 0xe);
    for (i, c) in b.cpu.iter().enumerate() {
        c.mmio_write(0xd0, 1 << (24 + i));
    }
    assert_eq!(send(0b1010, 0x4840), 0b1010, "flat");
    assert_eq!(send(0b1110, 0x4940).count_ones(), 1, "lowest priority: one");
    for (i, c) in b.cpu.iter().enumerate() {
        c.mmio_write(0xe0, 0x0fff_ffff);
        c.mmio_write(0xd0, ((i as u32 / 2) << 4 | 1 << (i % 2)) << 24);
    }
    assert_eq!(send(0x13, 0x4840), 0b1100, "cluster 1");
    b.cpu[0].mmio_write(0x300, 0xc_4500);
    b.cpu[0].mmio_write(0x310, 3 << 24);
    b.cpu[0].mmio_write(0x300, 0x8500);
    b.cpu[0].mmio_write(0x300, 0x4699);
    assert_eq!(b.attention[1].bits() & !Attention::INTR, Attention::INIT);
    assert_eq!(
        b.attention[3].bits() & !Attention::INTR,
        Attention::INIT | Attention::SIPI
    );
    b.cpu[3].init();
    assert_eq!(b.cpu[3].take_sipi(), Some(0x99));
    assert_eq!(b.cpu[3].take_sipi(), None);
}

#[test]
fn illegal_vectors_and_registers_are_errors() {
    let b = board(1);
    b.enable();
    let c = &b.cpu[0];
    c.mmio_write(0x370, 0x30);
    c.mmio_write(0x300, 0x4_4005);
    c.mmio_read(0x3f0);
    assert_eq!(c.mmio_read(0x280), 0, "not latched yet");
    c.mmio_write(0x280, 0);
    assert_eq!(c.mmio_read(0x280), ESR_SEND_VECTOR | ESR_REGISTER);
    assert_eq!(c.acknowledge(), Some(0x30));
    c.mmio_write(0x280, 0);
    assert_eq!(c.mmio_read(0x280), 0);
}

#[test]
fn ioapic_edges_levels_and_eoi() {
    let mut b = board(1);
    b.enable();
    let c = b.cpu[0].clone();
    b.redirect(4, 0x44);
    let line = b.ioapic.line(4);
    line.set(true);
    assert_eq!(c.acknowledge(), Some(0x44));
    c.mmio_write(0xb0, 0);
    line.set(true);
    assert!(!c.has_interrupt(), "no new edge");
    b.redirect(9, 0x8049);
    let line = b.ioapic.line(9);
    line.set(true);
    assert_eq!(c.acknowledge(), Some(0x49));
    assert_eq!(b.rte_low(9), 0xc049, "remote IRR");
    line.set(false);
    line.set(true);
    assert!(!c.has_interrupt(), "waits for the EOI");
    c.mmio_write(0xb0, 0);
    assert_eq!(c.acknowledge(), Some(0x49), "still asserted");
    line.set(false);
    c.mmio_write(0xb0, 0);
    assert_eq!(b.rte_low(9), 0x8049);
    assert!(!c.has_interrupt());
    // Masked: the level waits, the edge is lost.
    b.redirect(9, 0x1_8049);
    line.set(true);
    assert!(!c.has_interrupt());
    b.redirect(9, 0x8049);
    assert_eq!(c.acknowledge(), Some(0x49));
    line.set(false);
    c.mmio_write(0xf0, 0x11ff);
    c.mmio_write(0xb0, 0);
    assert_eq!(b.rte_low(9), 0xc049, "EOI broadcast is suppressed");
    b.ioapic.mmio_write(0, 0x40, AccessSize::Dword, 0x49);
    assert_eq!(b.rte_low(9), 0x8049, "EOI register");
    b.redirect(3, 0x1_0043);
    b.ioapic.line(3).set(true);
    b.redirect(3, 0x43);
    assert!(!c.has_interrupt());
}

#[test]
fn ioapic_other_deliveries() {
    let mut b = board(2);
    b.enable();
    b.redirect(1, 1 << 56 | 0x400);
    b.ioapic.line(1).pulse();
    assert_eq!(b.attention[1].bits(), Attention::NMI);
    b.redirect(2, 1 << 56 | 0x700);
    b.ioapic.line(2).pulse();
    assert!(b.cpu[1].has_interrupt());
    assert_eq!(
        b.cpu[1].acknowledge(),
        Some(7),
        "the pair has nothing: spurious"
    );
    assert!(!b.cpu[1].has_interrupt());
    assert!(b.apics.send_msi(0xfee0_1000, 0x55));
    assert_eq!(b.cpu[1].acknowledge(), Some(0x55));
    assert_eq!(b.rte_low(23), 0x1_0000);
    b.ioapic.mmio_write(0, 0, AccessSize::Dword, 1);
    assert_eq!(b.ioapic.mmio_read(0, 0x10, AccessSize::Dword), 0x17_0020);
}

#[test]
fn level_triggered_lint0() {
    let b = board(1);
    b.enable();
    let c = &b.cpu[0];
    c.mmio_write(0x350, 0x8033);
    b.apics.lint(0, 0).set(true);
    assert_eq!(c.acknowledge(), Some(0x33));
    assert_eq!(c.mmio_read(0x350), 0xc033);
    c.mmio_write(0xb0, 0);
    assert_eq!(c.acknowledge(), Some(0x33));
    b.apics.lint(0, 0).set(false);
    c.mmio_write(0xb0, 0);
    assert!(!c.has_interrupt());
}

#[test]
fn state_survives_saving() {
    let mut b = board(1);
    b.enable();
    b.cpu[0].mmio_write(0x300, 0x4_4066);
    b.cpu[0].mmio_write(0x320, 0x40);
    b.cpu[0].mmio_write(0x380, 100);
    let s = b.device[0].save().unwrap();
    b.device[0].reset();
    assert!(!b.cpu[0].has_interrupt());
    b.device[0].restore(&s).unwrap();
    assert_eq!(b.cpu[0].acknowledge(), Some(0x66));
    b.cpu[0].mmio_write(0xb0, 0);
    advance(&b.clock, &mut b.device[0], 200);
    assert_eq!(b.cpu[0].acknowledge(), Some(0x40));
}

#[test]
fn survives_anything() {
    let mut b = board(3);
    b.enable();
    let mut f = Fuzz::new(10);
    for _ in 0..1_000_000 {
        let i = f.below(3) as usize;
        let c = b.cpu[i].clone();
        match f.below(12) {
            0 => drop(c.mmio_read(f.below(0x1000))),
            1 | 2 => c.mmio_write(f.below(0x40) << 4, f.value() as u32),
            3 => drop(c.read_msr(0x800 + f.below(0x100) as u32)),
            4 => drop(c.write_msr(0x800 + f.below(0x100) as u32, f.value())),
            5 => drop(c.write_msr(MSR_BASE, 0xfee0_0000 | f.below(16) << 8)),
            6 => drop(c.write_msr(MSR_TSC_DEADLINE, f.value())),
            7 => drop(c.acknowledge()),
            8 => c.set_tsc_adjust(f.value()),
            9 => {
                let size = f.size();
                let (at, v) = (f.below(0x48), f.value());
                b.ioapic.mmio_write(0, at & !0xf, size, v);
                b.ioapic.mmio_read(0, at, size);
            }
            10 => b.ioapic.line(f.below(26) as u32).set(f.flip()),
            _ => {
                c.set_cr8(f.below(16) as u8);
                b.apics.lint(i, f.below(2) as u32).set(f.flip());
                f.time(&b.clock, &mut b.device[i]);
                c.init();
            }
        }
    }
}
