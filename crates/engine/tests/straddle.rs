//! An instruction over a page's end, translated: its rest is overwritten, mapped elsewhere, and gone.
#![cfg(target_arch = "x86_64")]

#[path = "../../cpu/tests/common/mod.rs"]
mod common;

use arch::{Cr0, Cr4, Efer, Exception, GuestPhys, Size};
use common::machine;
use cpu::Cpu;
use engine::{Engine, Options};

/// Page tables, and two frames for the second page.
const PML4: u64 = 0x1_0000;
const PDPT: u64 = 0x1_1000;
const DIRECTORY: u64 = 0x1_2000;
const TABLE: u64 = 0x1_3000;
const CODE: u64 = 0x1_4000;
const REST: u64 = 0x1_6000;
const OTHER: u64 = 0x1_8000;
/// Linear: MOV EAX, imm32, of which two bytes stand on the second page.
const START: u64 = 0x4_0ffd;
const SECOND: u64 = 0x4_1000;

fn put(cpu: &Cpu, at: u64, v: u64) {
    cpu.mmu
        .ram()
        .write(GuestPhys(at), &v.to_le_bytes())
        .unwrap();
}

fn map_second(cpu: &mut Cpu, entry: u64) {
    put(cpu, TABLE + 8 * (SECOND >> 12), entry);
    cpu.mmu.tlb.flush_page(SECOND);
}

fn paged() -> Box<Cpu> {
    let mut cpu = machine(Size::B64, &[]);
    put(&cpu, PML4, PDPT | 3);
    put(&cpu, PDPT, DIRECTORY | 3);
    put(&cpu, DIRECTORY, TABLE | 3);
    put(&cpu, TABLE + 8 * (START >> 12), CODE | 3);
    let ram = cpu.mmu.ram().clone();
    ram.write(GuestPhys(CODE + 0xffd), &[0xb8, 0x11, 0x22])
        .unwrap();
    ram.write(GuestPhys(REST), &[0x33, 0x44, 0x90]).unwrap();
    ram.write(GuestPhys(OTHER), &[0x55, 0x66, 0x90]).unwrap();
    let paging = &mut cpu.mmu.paging;
    paging.cr3 = PML4;
    paging.cr4 |= Cr4::PAE;
    paging.efer |= Efer::LME | Efer::LMA;
    paging.cr0 |= Cr0::PE | Cr0::PG;
    cpu.mmu.tlb.flush();
    map_second(&mut cpu, REST | 3);
    cpu.update_mode();
    cpu
}

/// Runs the instruction some times; tells what EAX is then.
fn eax(cpu: &mut Cpu, engine: &mut Engine) -> u64 {
    for _ in 0..4 {
        (cpu.rip, cpu.gpr[0]) = (START, 0);
        engine.step(cpu).unwrap();
        assert_eq!(cpu.rip, START + 5);
    }
    cpu.gpr[0]
}

#[test]
fn its_rest_is_looked_at_each_time() {
    let mut cpu = paged();
    let mut engine = Engine::new(Options::default()).unwrap();
    assert_eq!(eax(&mut cpu, &mut engine), 0x4433_2211);
    assert_eq!(engine.stats.translations, 1);
    let evaluated = engine.stats.evaluations;
    assert_eq!(eax(&mut cpu, &mut engine), 0x4433_2211);
    assert_eq!(
        engine.stats.evaluations, evaluated,
        "it is generated code that runs"
    );

    cpu.mmu.ram().write(GuestPhys(REST), &[0x77]).unwrap();
    assert_eq!(eax(&mut cpu, &mut engine), 0x4477_2211, "overwritten");
    assert_eq!(engine.stats.translations, 2);

    map_second(&mut cpu, OTHER | 3);
    assert_eq!(eax(&mut cpu, &mut engine), 0x6655_2211, "another frame");
    map_second(&mut cpu, 0);
    cpu.rip = START;
    let fault = engine.step(&mut cpu).unwrap_err();
    assert_eq!(fault.exception, Exception::PF);
    assert_eq!((cpu.rip, cpu.cr2), (START, SECOND));
    map_second(&mut cpu, REST | 3);
    assert_eq!(eax(&mut cpu, &mut engine), 0x4477_2211, "back");
}
