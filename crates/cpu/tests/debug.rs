//! Debug registers, single step and interrupt shadows, in the run loop.

mod common;

use arch::{GuestPhys, Size};
use common::machine;
use cpu::Cpu;
use iced_x86::IcedError;
use iced_x86::code_asm::*;

type Program = fn(&mut CodeAssembler) -> Result<(), IcedError>;

/// Runs `program` at 1000:0000 in real mode until its HLT, with a #DB handler at 3000:0000 that counts in SI, ORs DR6 into EDI and keeps the
/// first return address in BP. Answers (SI, DR6's low word, BP, the processor).
fn traps(program: Program, prepare: fn(&mut Cpu)) -> (u64, u64, u64, Box<Cpu>) {
    let assemble = |p: Program| {
        let mut a = CodeAssembler::new(16).unwrap();
        p(&mut a).unwrap();
        a.assemble(0).unwrap()
    };
    let mut cpu = machine(Size::B16, &assemble(program));
    let ram = cpu.mmu.ram().clone();
    let handler = assemble(|a| {
        let mut again = a.create_label();
        a.push(eax)?;
        a.mov(eax, dr6)?;
        a.or(edi, eax)?;
        a.pop(eax)?;
        a.inc(si)?;
        a.test(bp, bp)?;
        a.jne(again)?;
        a.pop(bp)?;
        a.push(bp)?;
        a.set_label(&mut again)?;
        a.iret()
    });
    ram.write(GuestPhys(0x3_0000), &handler).unwrap();
    ram.write(GuestPhys(4), &0x3000_0000u32.to_le_bytes())
        .unwrap();
    cpu.idtr.limit = 0x3ff;
    prepare(&mut cpu);
    cpu.update_mode();
    let attention = cpu.attention.clone();
    std::thread::scope(|s| {
        s.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            attention.raise(bus::Attention::STOP);
        });
        cpu.run();
    });
    assert!(cpu.halted, "at {:#x}", cpu.rip);
    (
        cpu.gpr[6] & 0xffff,
        cpu.gpr[7] & 0xffff,
        cpu.gpr[5] & 0xffff,
        cpu,
    )
}

#[test]
fn single_step_counts_instructions() {
    let (count, hits, first, _) = traps(
        |a| {
            a.pushf()?;
            a.pop(ax)?;
            a.or(ax, 0x100)?;
            a.push(ax)?;
            a.popf()?;
            a.nop()?; // trapped
            a.nop()?; // trapped
            a.and(word_ptr(0x600), 0)?; // trapped
            a.pushf()?; // trapped
            a.pop(ax)?; // trapped
            a.and(ax, 0xfeff_u32 as i32)?; // trapped
            a.push(ax)?; // trapped
            a.popf()?; // trapped
            a.nop()?;
            a.hlt()
        },
        |_| {},
    );
    assert_eq!((count, hits & 0xf00f, first), (8, 0x4000, 8));
}

#[test]
fn mov_ss_holds_the_trap_back() {
    let (count, _, first, _) = traps(
        |a| {
            a.xor(ax, ax)?; // 0
            a.push(0x102)?; // 2
            a.popf()?; // 5
            a.mov(ss, ax)?; // 6: no trap
            a.nop()?; // 8: trapped, at 9
            a.push(2)?; // trapped
            a.popf()?; // trapped
            a.hlt()
        },
        |_| {},
    );
    assert_eq!((count, first), (3, 9));
}

#[test]
fn int_n_is_not_stepped_into() {
    let (count, _, _, _) = traps(
        |a| {
            a.push(0x102)?;
            a.popf()?;
            a.int(0x40)?; // no trap at the handler; IRET restores TF and traps after the next instruction
            a.nop()?; // trapped
            a.push(2)?; // trapped
            a.popf()?; // trapped
            a.hlt()
        },
        |cpu| {
            let ram = cpu.mmu.ram();
            ram.write(GuestPhys(0x40 * 4), &0x3800_0000u32.to_le_bytes())
                .unwrap();
            ram.write(GuestPhys(0x3_8000), &[0xcf]).unwrap();
        },
    );
    assert_eq!(count, 3);
}

#[test]
fn data_breakpoints_trap_after_the_access() {
    let watched: Program = |a| {
        a.mov(word_ptr(0x600), ax)?;
        a.mov(bx, word_ptr(0x602))?;
        a.mov(word_ptr(0x602), ax)?;
        a.mov(byte_ptr(0x604), al)?;
        a.hlt()
    };
    // Write, 2 bytes at 602h.
    let (count, hits, first, _) = traps(watched, |cpu| {
        cpu.dr[1] = 0x602;
        cpu.dr[7] = 0x400 | 1 << 2 | 0b01_01 << 20;
    });
    assert_eq!((count, hits & 0xf00f, first), (1, 2, 10));
    // Read or write, 4 bytes at 600h.
    let (count, hits, _, _) = traps(watched, |cpu| {
        cpu.dr[0] = 0x600;
        cpu.dr[7] = 0x400 | 1 | 0b11_11 << 16;
    });
    assert_eq!((count, hits & 0xf00f), (3, 1));
}

#[test]
fn general_detect_faults_before_the_access() {
    let (count, hits, first, cpu) = traps(
        |a| {
            a.nop()?;
            a.mov(eax, dr0)?;
            a.hlt()
        },
        |cpu| cpu.dr[7] |= 0x2000,
    );
    assert_eq!((count, hits & 0xf00f, first), (1, 0x2000, 1));
    assert_eq!(cpu.dr[7] & 0x2000, 0);
}

#[test]
fn icebp_is_a_trap() {
    let (count, hits, first, _) = traps(
        |a| {
            a.int1()?;
            a.hlt()
        },
        |_| {},
    );
    assert_eq!((count, hits & 0xf00f, first), (1, 0, 1));
}

#[test]
fn btf_steps_over_branches_only() {
    let (count, hits, first, cpu) = traps(
        |a| {
            let mut over = a.create_label();
            a.push(0x102)?; // 0
            a.popf()?; // 3
            a.nop()?; // 4
            a.nop()?; // 5
            a.jmp(over)?; // 6: trapped
            a.nop()?; // 8
            a.set_label(&mut over)?;
            a.push(2)?; // 9: trapped, since the first trap cleared BTF
            a.popf()?; // trapped
            a.hlt()
        },
        |cpu| cpu.msr.debugctl = 2,
    );
    assert_eq!((count, hits & 0xf00f, first), (3, 0x4000, 9));
    assert_eq!(cpu.msr.debugctl, 0);
}
