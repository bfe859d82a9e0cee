//! Protected mode without paging: gates between levels, tasks, virtual-8086 mode, and the ways between the modes.

mod common;

use arch::{Exception, Fault, GuestPhys, Seg, Segment, Size};
use common::{CODE, machine};
use cpu::Cpu;
use cpu::event::Event;
use iced_x86::IcedError;
use iced_x86::code_asm::*;

const GDT: u64 = 0x2_0000;
const IDT: u64 = 0x2_1000;
const TSS_A: u64 = 0x2_2000;
const TSS_B: u64 = 0x2_3000;
const TSS_16: u64 = 0x2_4000;
const HANDLERS: u64 = 0x3_0000;
const USER: u64 = 0x4_0000;
const GATE_TARGET: u64 = 0x5_0000;
const USER_STACK: u64 = 0x6_0000;
const KERNEL_STACK: u64 = 0x7_0000;

const KCODE: u16 = 0x08;
const KDATA: u16 = 0x10;
const UCODE: u16 = 0x1b;
const UDATA: u16 = 0x23;
const A: u16 = 0x28;
const B: u16 = 0x30;
const CALL_GATE: u16 = 0x3b;
const TASK_GATE: u16 = 0x43;
const LDT: u16 = 0x48;
const B16: u16 = 0x50;

fn write(cpu: &Cpu, at: u64, bytes: &[u8]) {
    cpu.mmu.ram().write(GuestPhys(at), bytes).unwrap();
}
fn write64(cpu: &Cpu, at: u64, v: u64) {
    write(cpu, at, &v.to_le_bytes());
}
fn write32(cpu: &Cpu, at: u64, v: u32) {
    write(cpu, at, &v.to_le_bytes());
}
fn read64(cpu: &Cpu, at: u64) -> u64 {
    cpu.mmu.ram().load(GuestPhys(at)).unwrap()
}
fn read32(cpu: &Cpu, at: u64) -> u32 {
    cpu.mmu.ram().load(GuestPhys(at)).unwrap()
}
fn read16(cpu: &Cpu, at: u64) -> u16 {
    cpu.mmu.ram().load(GuestPhys(at)).unwrap()
}
/// `n` doublewords from the top of the stack.
fn frame(cpu: &Cpu, n: u64) -> Vec<u32> {
    let base = cpu.seg[Seg::Ss as usize].base;
    (0..n)
        .map(|k| read32(cpu, base + cpu.gpr[4] + 4 * k))
        .collect()
}

type Program = fn(&mut CodeAssembler) -> Result<(), IcedError>;

fn put(cpu: &Cpu, at: u64, bits: u32, program: Program) -> u64 {
    let mut a = CodeAssembler::new(bits).unwrap();
    program(&mut a).unwrap();
    let code = a.assemble(at).unwrap();
    write(cpu, at, &code);
    at + code.len() as u64
}

fn gate(kind: u64, selector: u16, offset: u64, dpl: u64) -> u64 {
    offset & 0xffff
        | u64::from(selector) << 16
        | kind << 40
        | dpl << 45
        | 1 << 47
        | (offset >> 16 & 0xffff) << 48
}

fn tss(base: u64, kind: u64, limit: u64) -> u64 {
    limit | (base & 0xff_ffff) << 16 | (kind | 0x80) << 40 | (base >> 24) << 56
}

fn system(program: Program) -> Box<Cpu> {
    let mut cpu = machine(Size::B32, &[0x90]);
    put(&cpu, CODE, 32, program);
    for (n, d) in [
        0,
        0x00cf_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00cf_fb00_0000_ffff,
        0x00cf_f300_0000_ffff,
        tss(TSS_A, 0xb, 0x67),
        tss(TSS_B, 9, 0x67),
        // Two parameters.
        gate(0xc, KCODE, GATE_TARGET, 3) | 2 << 32,
        gate(5, B, 0, 3),
        0x0000_8202_8000_0017,
        tss(TSS_16, 1, 0x2b),
    ]
    .into_iter()
    .enumerate()
    {
        write64(&cpu, GDT + 8 * n as u64, d);
    }
    for v in 0..256 {
        let dpl = if v >= 0x20 { 3 } else { 0 };
        write64(&cpu, IDT + 8 * v, gate(0xe, KCODE, HANDLERS + 16 * v, dpl));
    }
    write32(&cpu, TSS_A + 4, KERNEL_STACK as u32);
    write32(&cpu, TSS_A + 8, KDATA.into());
    cpu.gdtr.base = GDT;
    cpu.gdtr.limit = 0x57;
    cpu.idtr.base = IDT;
    cpu.idtr.limit = 0x7ff;
    cpu.tr = Segment {
        base: TSS_A,
        limit: 0x67,
        selector: A,
        attributes: 0x8b,
    };
    cpu.seg[Seg::Cs as usize].selector = KCODE;
    for s in [Seg::Ss, Seg::Ds, Seg::Es, Seg::Fs, Seg::Gs] {
        cpu.seg[s as usize].selector = KDATA;
    }
    cpu
}

fn run_to(cpu: &mut Cpu, end: u64) {
    for _ in 0..1000 {
        if cpu.rip == end {
            return;
        }
        if let Err(f) = cpu.step() {
            cpu.deliver(Event::Exception(f));
        }
    }
    panic!("never reached {end:#x}, stuck at {:#x}", cpu.rip);
}

fn fault(cpu: &mut Cpu) -> Fault {
    for _ in 0..1000 {
        if let Err(f) = cpu.step() {
            return f;
        }
    }
    panic!("no fault, at {:#x}", cpu.rip);
}

/// IRETD with `image` on the stack.
fn iret(cpu: &mut Cpu, image: &[u32]) {
    put(cpu, 0x5_8000, 32, |a| a.iretd());
    let top = 0x6_8000;
    for (n, &v) in image.iter().enumerate() {
        write32(cpu, top + 4 * n as u64, v);
    }
    cpu.gpr[4] = top;
    cpu.rip = 0x5_8000;
    cpu.step().unwrap();
}

fn to_user(cpu: &mut Cpu, program: Program) {
    put(cpu, USER, 32, program);
    iret(
        cpu,
        &[
            USER as u32,
            UCODE.into(),
            0x202,
            USER_STACK as u32,
            UDATA.into(),
        ],
    );
    assert_eq!((cpu.rip, cpu.cpl, cpu.gpr[4]), (USER, 3, USER_STACK));
    // Level 0 data is not for level 3.
    assert!(!cpu.seg[Seg::Ds as usize].present());
}

#[test]
fn interrupts_change_the_stack_and_iret_returns() {
    let mut cpu = system(|a| a.nop());
    put(&cpu, HANDLERS + 16 * 0x80, 32, |a| a.iretd());
    to_user(&mut cpu, |a| a.int(0x80));
    cpu.step().unwrap();
    assert_eq!((cpu.rip, cpu.cpl), (HANDLERS + 16 * 0x80, 0));
    assert_eq!(cpu.gpr[4], KERNEL_STACK - 20);
    assert_eq!(
        frame(&cpu, 5),
        [
            USER as u32 + 2,
            UCODE.into(),
            0x202,
            USER_STACK as u32,
            UDATA.into()
        ]
    );
    cpu.step().unwrap();
    assert_eq!((cpu.rip, cpu.cpl, cpu.gpr[4]), (USER + 2, 3, USER_STACK));
    assert_eq!(cpu.rflags() & 0x200, 0x200);
}

#[test]
fn a_call_gate_copies_parameters_and_retf_drops_them() {
    let mut cpu = system(|a| a.nop());
    put(&cpu, GATE_TARGET, 32, |a| a.db(&[0xca, 8, 0]));
    to_user(&mut cpu, |a| {
        a.push(0x11)?;
        a.push(0x22)?;
        a.db(&[0x9a, 0, 0, 0, 0, CALL_GATE as u8, 0])
    });
    run_to(&mut cpu, GATE_TARGET);
    assert_eq!(cpu.cpl, 0);
    assert_eq!(
        frame(&cpu, 6),
        [
            USER as u32 + 11,
            UCODE.into(),
            0x22,
            0x11,
            USER_STACK as u32 - 8,
            UDATA.into()
        ]
    );
    cpu.step().unwrap();
    assert_eq!((cpu.rip, cpu.cpl, cpu.gpr[4]), (USER + 11, 3, USER_STACK));
}

fn task_b(cpu: &Cpu) {
    for (at, v) in [
        (0x20, USER as u32),
        (0x24, 0x2),
        (0x28, 0xaaaa),
        (0x38, USER_STACK as u32),
        (0x48, UDATA.into()),
        (0x4c, UCODE.into()),
        (0x50, UDATA.into()),
        (0x54, UDATA.into()),
        (0x60, LDT.into()),
    ] {
        write32(cpu, TSS_B + at, v);
    }
}

#[test]
fn a_task_is_called_and_returns() {
    let mut cpu = system(|a| {
        a.mov(ebx, 0x1234)?;
        a.db(&[0x9a, 0, 0, 0, 0, B as u8, 0])
    });
    task_b(&cpu);
    put(&cpu, USER, 32, |a| a.iretd());
    run_to(&mut cpu, USER);
    assert_eq!((cpu.cpl, cpu.gpr[0], cpu.gpr[3]), (3, 0xaaaa, 0));
    assert_eq!(cpu.rflags(), 0x4002, "NT");
    assert_eq!((cpu.tr.selector, cpu.ldtr.selector), (B, LDT));
    assert_eq!(read16(&cpu, TSS_B), A);
    // Both are busy.
    assert_eq!(read64(&cpu, GDT + u64::from(A)) >> 40 & 0xf, 0xb);
    assert_eq!(read64(&cpu, GDT + u64::from(B)) >> 40 & 0xf, 0xb);
    assert_ne!(cpu.mmu.paging.cr0.bits() & 8, 0, "TS");
    cpu.step().unwrap();
    assert_eq!((cpu.rip, cpu.cpl, cpu.gpr[3]), (CODE + 12, 0, 0x1234));
    assert_eq!((cpu.tr.selector, cpu.rflags()), (A, 2));
    assert_eq!(read64(&cpu, GDT + u64::from(B)) >> 40 & 0xf, 9);
    assert_eq!(read32(&cpu, TSS_B + 0x24), 2, "NT is cleared in the image");
    assert_eq!(read32(&cpu, TSS_B + 0x20), USER as u32 + 1);
}

#[test]
fn an_exception_through_a_task_gate_pushes_its_error_code() {
    let mut cpu = system(|a| a.db(&[0xea, 0, 0, 0, 0, TASK_GATE as u8, 0]));
    task_b(&cpu);
    run_to(&mut cpu, USER);
    assert_eq!((cpu.tr.selector, cpu.rflags()), (B, 2));
    assert_eq!(read64(&cpu, GDT + u64::from(A)) >> 40 & 0xf, 9);

    let mut cpu = system(|a| {
        a.mov(eax, 0x77)?;
        a.mov(ds, eax)
    });
    task_b(&cpu);
    write64(&cpu, IDT + 8 * 13, gate(5, B, 0, 0));
    run_to(&mut cpu, USER);
    assert_eq!(frame(&cpu, 1), [0x74]);
    assert_eq!(read32(&cpu, TSS_A + 0x20), CODE as u32 + 5);
}

#[test]
fn a_16_bit_task_keeps_words() {
    let mut cpu = system(|a| a.db(&[0xea, 0, 0, 0, 0, B16 as u8, 0]));
    write64(&cpu, GDT + u64::from(KDATA), 0x008f_9302_0000_ffff);
    for (at, v) in [
        (0x0e, 0x1000u16),
        (0x10, 2),
        (0x12, 0xbeef),
        (0x22, KDATA),
        (0x24, KCODE),
        (0x26, KDATA),
        (0x28, KDATA),
    ] {
        write(&cpu, TSS_16 + at, &v.to_le_bytes());
    }
    run_to(&mut cpu, 0x1000);
    assert_eq!(cpu.gpr[0] & 0xffff, 0xbeef);
    assert_eq!(cpu.tr.kind(), 3);
    assert!(!cpu.seg[Seg::Fs as usize].present());
}

#[test]
fn virtual_8086_programs_are_interrupted_to_level_0() {
    let enter = |cpu: &mut Cpu, flags: u32| {
        put(cpu, 0x4_0000, 16, |a| a.int(0x21));
        iret(
            cpu,
            &[
                0, 0x4000, flags, 0xfffe, 0x5000, 0x6000, 0x6100, 0x6200, 0x6300,
            ],
        );
        assert!(cpu.mode.vm86());
        assert_eq!((cpu.cpl, cpu.rip), (3, 0));
        assert_eq!(cpu.seg[Seg::Gs as usize].base, 0x6_3000);
    };
    let mut cpu = system(|a| a.nop());
    enter(&mut cpu, 0x2_3202);
    put(&cpu, HANDLERS + 16 * 0x21, 32, |a| a.iretd());
    run_to(&mut cpu, HANDLERS + 16 * 0x21);
    assert_eq!(
        frame(&cpu, 9),
        [
            2, 0x4000, 0x2_3202, 0xfffe, 0x5000, 0x6000, 0x6100, 0x6200, 0x6300
        ]
    );
    assert!(!cpu.seg[Seg::Ds as usize].present());
    assert!(!cpu.mode.vm86());
    cpu.step().unwrap();
    assert!(cpu.mode.vm86());
    assert_eq!((cpu.rip, cpu.gpr[4]), (2, 0xfffe));

    // IOPL 0: #GP(0) for the monitor.
    let mut cpu = system(|a| a.nop());
    enter(&mut cpu, 0x2_0202);
    assert_eq!(fault(&mut cpu), Fault::GP0);

    // VME with the vector's bit clear: to the program's own handler, without level 0.
    let mut cpu = system(|a| a.nop());
    cpu.mmu.paging.cr4 |= arch::Cr4::VME;
    cpu.tr.limit = 0xfff;
    write(&cpu, TSS_A + 0x66, &0x100u16.to_le_bytes());
    write32(&cpu, 4 * 0x21, 0x4000_0100);
    enter(&mut cpu, 0xa_0202);
    cpu.step().unwrap();
    assert_eq!((cpu.rip, cpu.cpl), (0x100, 3));
    assert_eq!(cpu.gpr[4], 0xfffe - 6);
    let at = 0x5_0000 + cpu.gpr[4];
    // VIF shows as IF, IOPL as 3.
    assert_eq!([0, 2, 4].map(|n| read16(&cpu, at + n)), [2, 0x4000, 0x3202]);
    assert_eq!(cpu.rflags() & 0x8_0000, 0, "VIF is off");
}

#[test]
fn descriptors_are_looked_at_without_faults() {
    let check = |program: Program| {
        let mut cpu = system(program);
        for _ in 0..2 {
            cpu.step().unwrap();
        }
        let zf = cpu.rflags() & 0x40 != 0;
        zf.then_some(cpu.gpr[2] as u32)
    };
    assert_eq!(
        check(|a| {
            a.mov(eax, 8)?;
            a.lsl(edx, eax)
        }),
        Some(0xffff_ffff)
    );
    assert_eq!(
        check(|a| {
            a.mov(eax, 8)?;
            a.lar(edx, eax)
        }),
        Some(0x00cf_9b00)
    );
    assert_eq!(
        check(|a| {
            a.mov(eax, 0x1000)?;
            a.lar(edx, eax)
        }),
        None
    );
    assert_eq!(
        check(|a| {
            a.mov(eax, u32::from(CALL_GATE))?;
            a.lsl(edx, eax)
        }),
        None,
        "a gate has no limit"
    );
    assert!(
        check(|a| {
            a.mov(eax, 8)?;
            a.verr(ax)
        })
        .is_some()
    );
    assert!(
        check(|a| {
            a.mov(eax, 8)?;
            a.verw(ax)
        })
        .is_none()
    );
    assert!(
        check(|a| {
            a.mov(ecx, 3)?;
            a.arpl(ax, cx)
        })
        .is_some()
    );
}

#[test]
fn ltr_and_lldt() {
    let mut cpu = system(|a| {
        a.mov(eax, u32::from(B))?;
        a.ltr(ax)?;
        a.mov(eax, u32::from(LDT))?;
        a.lldt(ax)?;
        a.mov(eax, u32::from(B))?;
        a.ltr(ax)
    });
    assert_eq!(
        fault(&mut cpu),
        Fault::with_code(Exception::GP, B.into()),
        "busy"
    );
    assert_eq!((cpu.tr.base, cpu.tr.kind()), (TSS_B, 0xb));
    assert_eq!((cpu.ldtr.base, cpu.ldtr.limit), (0x2_8000, 0x17));
}

#[test]
fn from_real_mode_to_protected_mode_and_back() {
    let mut cpu = machine(Size::B16, &[]);
    put(&cpu, CODE, 16, |a| {
        a.lgdt(word_ptr(0x500))?;
        a.mov(eax, cr0)?;
        a.or(al, 1)?;
        a.mov(cr0, eax)?;
        // JMP 08:00011000
        a.db(&[0x66, 0xea, 0x00, 0x10, 0x01, 0x00, 0x08, 0x00])
    });
    put(&cpu, 0x1_1000, 32, |a| {
        a.mov(eax, 0x10)?;
        a.mov(fs, eax)?;
        a.mov(eax, cr0)?;
        a.and(al, 0xfe)?;
        a.mov(cr0, eax)?;
        a.db(&[0xea, 0x00, 0x20, 0x00, 0x00, 0x00, 0x10])
    });
    write(&cpu, 0x500, &[0x1f, 0, 0, 0, 2, 0]);
    write64(&cpu, GDT + 8, 0x00cf_9b00_0000_ffff);
    write64(&cpu, GDT + 16, 0x00cf_9300_0000_ffff);
    run_to(&mut cpu, 0x1_1000);
    assert!(cpu.mode.protected());
    assert_eq!(cpu.mode.code(), Size::B32);
    run_to(&mut cpu, 0x2000);
    assert!(!cpu.mode.protected());
    assert_eq!(cpu.seg[Seg::Cs as usize].base, 0x1_0000);
    assert_eq!(cpu.seg[Seg::Fs as usize].limit, u32::MAX, "unreal mode");
}

#[test]
fn real_mode_interrupts_use_the_vector_table() {
    let mut cpu = machine(Size::B16, &[]);
    cpu.idtr.limit = 0x3ff;
    put(&cpu, CODE, 16, |a| {
        a.sti()?;
        a.int(0x21)
    });
    write32(&cpu, 4 * 0x21, 0x3000_0000);
    put(&cpu, 0x3_0000, 16, |a| a.iret());
    cpu.step().unwrap();
    cpu.step().unwrap();
    assert_eq!((cpu.rip, cpu.seg[Seg::Cs as usize].selector), (0, 0x3000));
    assert_eq!(cpu.rflags() & 0x200, 0);
    let top = cpu.gpr[4];
    assert_eq!([0, 2, 4].map(|n| read16(&cpu, top + n)), [3, 0x1000, 0x202]);
    cpu.step().unwrap();
    assert_eq!((cpu.rip, cpu.seg[Seg::Cs as usize].selector), (3, 0x1000));
    assert_eq!(cpu.rflags() & 0x200, 0x200);
}

#[test]
fn long_mode_is_entered_by_its_book() {
    let mut cpu = system(|a| {
        a.mov(eax, 0x620)?;
        a.mov(cr4, eax)?;
        a.mov(eax, 0x10_0000)?;
        a.mov(cr3, eax)?;
        a.mov(ecx, 0xc000_0080u32)?;
        a.mov(eax, 0x100)?;
        a.xor(edx, edx)?;
        a.wrmsr()?;
        a.mov(eax, 0x8000_0011u32)?;
        a.mov(cr0, eax)?;
        a.db(&[0xea, 0, 0, 4, 0, 8, 0])
    });
    write64(&cpu, GDT + 8, 0x00af_9b00_0000_ffff);
    run_to(&mut cpu, USER);
    assert!(cpu.mode.is_64());
    assert_eq!(cpu.mmu.paging.efer.bits(), 0x500);
    // Compatibility mode is not left by clearing PG in 64-bit mode.
    put(&cpu, USER, 64, |a| {
        a.mov(eax, 0x11)?;
        a.mov(cr0, rax)
    });
    assert_eq!(fault(&mut cpu), Fault::GP0);
}

#[test]
fn selectors_are_refused_with_their_own_error_code() {
    for (program, want) in [
        (
            (|a: &mut CodeAssembler| a.db(&[0xea, 0, 0, 0, 0, 0x10, 0])) as Program,
            Fault::with_code(Exception::GP, 0x10),
        ),
        (
            |a| a.db(&[0xea, 0, 0, 0, 0, 0, 0]),
            Fault::with_code(Exception::GP, 0),
        ),
        (
            |a| a.db(&[0x9a, 0, 0, 0, 0, 0x1b, 0]),
            Fault::with_code(Exception::GP, 0x18),
        ),
        (
            |a| a.db(&[0xea, 0, 0, 0, 0, 0x28, 0]),
            Fault::with_code(Exception::GP, 0x28),
        ),
        (
            |a| {
                a.mov(eax, 0x100)?;
                a.lldt(ax)
            },
            Fault::with_code(Exception::GP, 0x100),
        ),
        (
            |a| {
                a.mov(eax, 0x10)?;
                a.ltr(ax)
            },
            Fault::with_code(Exception::GP, 0x10),
        ),
    ] {
        assert_eq!(fault(&mut system(program)), want);
    }
}
