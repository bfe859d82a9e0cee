//! Ports, the I/O permission bit map and POPF's privileges.

mod common;

use arch::{Fault, GuestPhys, Rflags, Segment, Size};
use bus::clock::Pace;
use bus::{AccessSize, Bus, Clock, Device};
use common::{STACK, run};
use cpu::Cpu;
use iced_x86::code_asm::*;
use snapshot::{Error, Section};
use std::sync::{Arc, Mutex};

/// Remembers what was written; reads count up.
#[derive(Default)]
struct Port {
    written: Arc<Mutex<Vec<(u16, u32)>>>,
    next: u32,
}

impl Device for Port {
    fn name(&self) -> &str {
        "port"
    }
    fn port_read(&mut self, _: usize, _: u16, _: AccessSize) -> u32 {
        self.next = self.next.wrapping_add(0x0101_0101);
        self.next
    }
    fn port_write(&mut self, _: usize, offset: u16, _: AccessSize, value: u32) {
        self.written.lock().unwrap().push((offset, value));
    }
    fn reset(&mut self) {}
    fn save(&self) -> Result<Section, Error> {
        Section::new("port", 1, &0)
    }
    fn restore(&mut self, _: &Section) -> Result<(), Error> {
        Ok(())
    }
}

/// The device at ports 100 to 107.
fn attach(cpu: &mut Cpu) -> Arc<Mutex<Vec<(u16, u32)>>> {
    let port = Port::default();
    let written = port.written.clone();
    let mut bus = Bus::new(Clock::new(Pace::Instructions { ns_per_1024: 1024 }));
    let index = bus.add(Arc::new(Mutex::new(port)));
    bus.map_ports(index, 0, 0x100..=0x107).unwrap();
    cpu.bus = Arc::new(bus);
    written
}

#[test]
fn in_out_ins_outs() {
    let mut written = None;
    let (cpu, fault) = run(
        Size::B64,
        |a| {
            a.mov(edx, 0x104)?;
            a.mov(rax, -1i64)?;
            a.in_(al, dx)?;
            a.mov(rbx, rax)?;
            a.in_(eax, dx)?;
            a.out(dx, ax)?;
            a.mov(edi, 0x2_0000)?;
            a.mov(ecx, 3)?;
            a.rep().insw()?;
            a.lea(rsi, ptr(rdi - 6))?;
            a.mov(ecx, 2)?;
            a.rep().outsd()
        },
        |cpu| written = Some(attach(cpu)),
    );
    assert_eq!(fault, None);
    assert_eq!((cpu.gpr[3], cpu.gpr[0]), (!0xff | 1, 0x0202_0202));
    assert_eq!(
        (cpu.gpr[7], cpu.gpr[6], cpu.gpr[1]),
        (0x2_0006, 0x2_0008, 0)
    );
    let words: [u16; 3] = [0, 2, 4].map(|n| cpu.mmu.ram().load(GuestPhys(0x2_0000 + n)).unwrap());
    assert_eq!(words, [0x0303, 0x0404, 0x0505]);
    let written = written.unwrap().lock().unwrap().clone();
    assert_eq!(written, [(4, 0x0202), (4, 0x0404_0303), (4, 0x0505)]);
}

/// CPL 3 with a TSS whose map opens port 0x100 only.
fn user(cpu: &mut Cpu) {
    attach(cpu);
    const TSS: u64 = 0x3_0000;
    let ram = cpu.mmu.ram();
    ram.write(GuestPhys(TSS + 102), &104u16.to_le_bytes())
        .unwrap();
    let mut map = [0xffu8; 0x42];
    map[0x20] = 0xfe;
    ram.write(GuestPhys(TSS + 104), &map).unwrap();
    cpu.tr = Segment {
        base: TSS,
        limit: 104 + 0x41,
        selector: 0x28,
        attributes: 0x8b,
    };
    cpu.cpl = 3;
    cpu.update_mode();
}

#[test]
fn the_bit_map_decides() {
    for (port, wide, ok) in [
        (0x100, false, true),
        (0x101, false, false),
        // Two ports, the second closed.
        (0x100, true, false),
        // Beyond the limit of the TSS.
        (0x210, false, false),
    ] {
        let (_, fault) = run(
            Size::B32,
            |a| {
                a.mov(edx, port)?;
                if wide { a.in_(ax, dx) } else { a.in_(al, dx) }
            },
            user,
        );
        assert_eq!(fault, if ok { None } else { Some(Fault::GP0) }, "{port:x}");
    }
    // IOPL 3 opens all.
    let (_, fault) = run(
        Size::B32,
        |a| {
            a.mov(edx, 0x101)?;
            a.in_(al, dx)
        },
        |cpu| {
            user(cpu);
            cpu.set_rflags(0x3002);
        },
    );
    assert_eq!(fault, None);
}

#[test]
fn popf_changes_what_the_level_may() {
    let all = !(Rflags::TF | Rflags::FIXED).bits() as u32;
    for (cpl, iopl, kept) in [
        // (CPL, IOPL before, bits that stay clear or set as they were)
        (0, 0, Rflags::empty()),
        (3, 0, Rflags::IF | Rflags::IOPL),
        (3, 3, Rflags::IOPL),
    ] {
        let (mut cpu, fault) = run(
            Size::B32,
            |a| {
                a.push(all as i32)?;
                a.popfd()
            },
            |cpu| {
                cpu.cpl = cpl;
                cpu.set_rflags(2 | iopl << 12);
            },
        );
        assert_eq!(fault, None);
        let ever = Rflags::STATUS
            | Rflags::IF
            | Rflags::DF
            | Rflags::IOPL
            | Rflags::NT
            | Rflags::AC
            | Rflags::ID;
        let expected = 2 | iopl << 12 | (ever - kept).bits();
        assert_eq!(cpu.rflags(), expected, "{cpl} {iopl}");
        assert_eq!(cpu.gpr[4], STACK);
    }
}
