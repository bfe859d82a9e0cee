//! System instructions and event delivery, in 64-bit mode: descriptor tables, interrupts between levels, SYSCALL, MSRs, CPUID.

mod common;

use arch::{Exception, Fault, GuestPhys, Seg, Segment, Size};
use common::{CODE, machine};
use cpu::Cpu;
use cpu::event::Event;
use iced_x86::code_asm::*;

const GDT: u64 = 0x2_0000;
const IDT: u64 = 0x2_1000;
const TSS: u64 = 0x2_2000;
/// Handler of vector n: `HANDLERS + 16 * n`.
const HANDLERS: u64 = 0x3_0000;
const USER: u64 = 0x4_0000;

const KCODE: u16 = 0x08;
const KDATA: u16 = 0x10;
const UDATA: u16 = 0x23;
const UCODE: u16 = 0x2b;
const TASK: u16 = 0x30;

fn write64(cpu: &Cpu, at: u64, v: u64) {
    cpu.mmu
        .ram()
        .write(GuestPhys(at), &v.to_le_bytes())
        .unwrap();
}

fn read64(cpu: &Cpu, at: u64) -> u64 {
    cpu.mmu.ram().load(GuestPhys(at)).unwrap()
}

fn assemble(
    at: u64,
    bits: u32,
    write: impl FnOnce(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>,
) -> Vec<u8> {
    let mut a = CodeAssembler::new(bits).unwrap();
    write(&mut a).unwrap();
    a.assemble(at).unwrap()
}

/// A 64-bit processor with a GDT, an IDT and a TSS in memory, TR loaded.
fn system(
    write: impl FnOnce(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>,
) -> (Box<Cpu>, u64) {
    let code = assemble(CODE, 64, write);
    let mut cpu = machine(Size::B64, &code);
    for (n, d) in [
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00cf_fb00_0000_ffff,
        0x00cf_f300_0000_ffff,
        0x00af_fb00_0000_ffff,
        0x0000_8902_2000_0067,
        0,
    ]
    .into_iter()
    .enumerate()
    {
        write64(&cpu, GDT + 8 * n as u64, d);
    }
    for v in 0..256u64 {
        let at = HANDLERS + 16 * v;
        // Present interrupt gates; the last half may be called from level 3.
        let dpl = if v >= 0x80 { 3 << 45 } else { 0 };
        let low = at & 0xffff | u64::from(KCODE) << 16 | 0x8e << 40 | dpl | (at >> 16) << 48;
        write64(&cpu, IDT + 16 * v, low);
        write64(&cpu, IDT + 16 * v + 8, 0);
    }
    write64(&cpu, TSS + 4, 0x7_0000);
    write64(&cpu, TSS + 0x24, 0x7_1000);
    cpu.gdtr.base = GDT;
    cpu.gdtr.limit = 0x3f;
    cpu.idtr.base = IDT;
    cpu.idtr.limit = 0xfff;
    cpu.tr = Segment {
        base: TSS,
        limit: 0x67,
        selector: TASK,
        attributes: 0x8b,
    };
    cpu.seg[Seg::Cs as usize].selector = KCODE;
    cpu.seg[Seg::Ss as usize].selector = KDATA;
    (cpu, CODE + code.len() as u64)
}

/// Steps until RIP is `end`, delivering faults.
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

/// Steps to the first fault.
fn fault(cpu: &mut Cpu) -> Fault {
    for _ in 0..1000 {
        if let Err(f) = cpu.step() {
            return f;
        }
    }
    panic!("no fault");
}

/// Goes to level 3 at [`USER`] with `code` there.
fn to_user(
    cpu: &mut Cpu,
    write: impl FnOnce(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>,
) {
    let code = assemble(USER, 64, write);
    cpu.mmu.ram().write(GuestPhys(USER), &code).unwrap();
    let iret = assemble(0x5_0000, 64, |a| a.iretq());
    cpu.mmu.ram().write(GuestPhys(0x5_0000), &iret).unwrap();
    let top = 0x6_0000;
    for (n, v) in [USER, UCODE.into(), 0x202, 0x5_f000, UDATA.into()]
        .into_iter()
        .enumerate()
    {
        write64(cpu, top + 8 * n as u64, v);
    }
    cpu.gpr[4] = top;
    cpu.rip = 0x5_0000;
    cpu.step().unwrap();
    assert_eq!((cpu.rip, cpu.cpl, cpu.gpr[4]), (USER, 3, 0x5_f000));
}

#[test]
fn a_fault_at_level_3_lands_on_the_stack_of_the_tss() {
    let (mut cpu, _) = system(|a| a.nop());
    to_user(&mut cpu, |a| a.cli());
    run_to(&mut cpu, HANDLERS + 16 * 13);
    assert_eq!(cpu.cpl, 0);
    let top = 0x7_0000 - 48;
    assert_eq!(cpu.gpr[4], top);
    let frame: Vec<u64> = (0..6).map(|n| read64(&cpu, top + 8 * n)).collect();
    // Error code, RIP, CS, RFLAGS with RF, RSP, SS.
    assert_eq!(
        frame,
        [0, USER, UCODE.into(), 0x1_0202, 0x5_f000, UDATA.into()]
    );
    assert_eq!(cpu.seg[Seg::Ss as usize].selector, 0);
    assert_eq!(cpu.rflags() & 0x200, 0);
}

#[test]
fn int_n_looks_at_the_gates_privilege() {
    let (mut cpu, _) = system(|a| a.nop());
    to_user(&mut cpu, |a| {
        a.int(0x80)?;
        a.int(0x21)
    });
    run_to(&mut cpu, HANDLERS + 16 * 0x80);
    assert_eq!(read64(&cpu, cpu.gpr[4]), USER + 2);
    let back = assemble(HANDLERS + 16 * 0x80, 64, |a| a.iretq());
    cpu.mmu
        .ram()
        .write(GuestPhys(HANDLERS + 16 * 0x80), &back)
        .unwrap();
    cpu.step().unwrap();
    assert_eq!((cpu.rip, cpu.cpl), (USER + 2, 3));
    assert_eq!(
        fault(&mut cpu),
        Fault::with_code(Exception::GP, 0x21 << 3 | 2)
    );
}

#[test]
fn syscall_and_sysret_are_inverse() {
    let (mut cpu, _) = system(|a| a.nop());
    cpu.mmu.paging.efer |= arch::Efer::SCE;
    cpu.msr.star = 0x1b << 48 | u64::from(KCODE) << 32;
    cpu.msr.lstar = 0x3_8000;
    cpu.msr.fmask = 0x200;
    let kernel = assemble(0x3_8000, 64, |a| a.sysretq());
    cpu.mmu.ram().write(GuestPhys(0x3_8000), &kernel).unwrap();
    to_user(&mut cpu, |a| {
        a.syscall()?;
        a.nop()
    });
    cpu.step().unwrap();
    assert_eq!((cpu.rip, cpu.cpl, cpu.gpr[1]), (0x3_8000, 0, USER + 2));
    assert_eq!((cpu.gpr[11], cpu.rflags()), (0x202, 2));
    cpu.step().unwrap();
    assert_eq!((cpu.rip, cpu.cpl, cpu.rflags()), (USER + 2, 3, 0x202));
    assert_eq!(cpu.seg[Seg::Cs as usize].selector, UCODE);
    assert_eq!(cpu.seg[Seg::Ss as usize].selector, UDATA);
    assert!(cpu.mode.is_64());
}

#[test]
fn double_and_triple_faults() {
    let (mut cpu, _) = system(|a| a.ud2());
    // #UD is benign, its gate is missing: #NP; that gate is missing too: contributory twice.
    write64(&cpu, IDT + 16 * 6, 0x8e00_0008_0000 & !(1 << 47));
    write64(&cpu, IDT + 16 * 11, 0x8e00_0008_0000 & !(1 << 47));
    run_to(&mut cpu, HANDLERS + 16 * 8);
    assert_eq!(read64(&cpu, cpu.gpr[4]), 0);
    cpu.idtr.limit = 0;
    cpu.deliver(Event::Exception(Fault::UD));
    assert!(cpu.halted);
    assert_eq!(
        cpu.stop.take(),
        Some(bus::StopReason::Reset(bus::ResetSource::TripleFault))
    );
}

#[test]
fn an_interrupt_stack_is_used_without_a_change_of_level() {
    let (mut cpu, _) = system(|a| a.nop());
    let low = read64(&cpu, IDT + 16 * 0x40);
    write64(&cpu, IDT + 16 * 0x40, low | 1 << 32);
    let before = cpu.gpr[4];
    cpu.deliver(Event::External(0x40));
    assert_eq!((cpu.rip, cpu.gpr[4]), (HANDLERS + 16 * 0x40, 0x7_1000 - 40));
    assert_eq!(read64(&cpu, 0x7_1000 - 16), before);
    assert_eq!(cpu.seg[Seg::Ss as usize].selector, KDATA);
}

#[test]
fn segment_loads_check_and_set_accessed() {
    let (mut cpu, end) = system(|a| {
        a.mov(eax, 0x23)?;
        a.mov(ds, eax)?;
        a.mov(ecx, 0)?;
        a.mov(es, ecx)
    });
    write64(&cpu, GDT + 0x20, 0x00cf_f200_0000_ffff);
    run_to(&mut cpu, end);
    assert_eq!(read64(&cpu, GDT + 0x20), 0x00cf_f300_0000_ffff);
    assert_eq!(cpu.seg[Seg::Ds as usize].limit, u32::MAX);
    assert!(!cpu.seg[Seg::Es as usize].present());

    for (selector, want) in [
        (0x08u32, Fault::with_code(Exception::GP, 0x08)),
        (0x48, Fault::with_code(Exception::GP, 0x48)),
        (0x23, Fault::with_code(Exception::GP, 0x20)),
    ] {
        let (mut cpu, _) = system(|a| {
            a.mov(eax, selector)?;
            a.mov(ss, eax)
        });
        assert_eq!(fault(&mut cpu), want);
    }
}

#[test]
fn msr_writes_are_checked() {
    let wrmsr = |n: u32, v: u64| {
        let (mut cpu, end) = system(|a| {
            a.mov(ecx, n)?;
            a.mov(eax, v as u32)?;
            a.mov(edx, (v >> 32) as u32)?;
            a.wrmsr()?;
            a.xor(eax, eax)?;
            a.rdmsr()
        });
        for _ in 0..6 {
            cpu.step()?;
        }
        assert_eq!(cpu.rip, end);
        Ok(cpu.gpr[0] | cpu.gpr[2] << 32)
    };
    let gp = Err(Fault::GP0);
    assert_eq!(
        wrmsr(0xc000_0100, 0xffff_8000_1234_5678),
        Ok(0xffff_8000_1234_5678)
    );
    assert_eq!(wrmsr(0xc000_0100, 0x1234_5678_1234_5678), gp);
    assert_eq!(wrmsr(0xc000_0080, 0xd01), Ok(0xd01));
    assert_eq!(
        wrmsr(0xc000_0080, 0x001),
        gp,
        "LME cannot change under paging"
    );
    assert_eq!(wrmsr(0xc000_0080, 0x8d01), gp, "reserved");
    assert_eq!(
        wrmsr(0x277, 0x0007_0406_0007_0406),
        Ok(0x0007_0406_0007_0406)
    );
    assert_eq!(wrmsr(0x277, 2), gp);
    assert_eq!(wrmsr(0x10a, 0), gp, "read-only");
    assert_eq!(wrmsr(0x1234_5678, 0), gp);
}

#[test]
fn control_registers_are_checked() {
    let to_cr0 = |v: u64| {
        let (mut cpu, _) = system(|a| {
            a.mov(rax, v)?;
            a.mov(cr0, rax)?;
            a.ud2()
        });
        fault(&mut cpu)
    };
    assert_eq!(to_cr0(0x8001_0033), Fault::UD);
    assert_eq!(to_cr0(0x1_8000_0011), Fault::GP0);
    assert_eq!(to_cr0(0x8000_0010), Fault::GP0, "PG without PE");
    assert_eq!(to_cr0(0x0000_0011), Fault::GP0, "PG off in 64-bit mode");
    let to_cr4 = |v: u64| {
        let (mut cpu, _) = system(|a| {
            a.mov(rax, v)?;
            a.mov(cr4, rax)?;
            a.ud2()
        });
        fault(&mut cpu)
    };
    assert_eq!(to_cr4(0x6a0), Fault::UD);
    assert_eq!(to_cr4(0x600), Fault::GP0, "PAE off in long mode");
    assert_eq!(to_cr4(0x20_06a0 | 1 << 17), Fault::UD, "PCIDE");
    assert_eq!(to_cr4(0x6a0 | 1 << 13), Fault::GP0, "VMXE");
}

#[test]
fn single_step_traps_after_the_instruction() {
    let (mut cpu, _) = system(|a| {
        a.nop()?;
        a.nop()
    });
    cpu.set_rflags(0x102);
    // The run loop does the trapping; a handler that halts with STOP raised ends it.
    let hlt = assemble(0, 64, |a| a.hlt()).to_vec();
    cpu.mmu.ram().write(GuestPhys(HANDLERS + 16), &hlt).unwrap();
    let (attention, stop) = (cpu.attention.clone(), std::thread::spawn(|| {}));
    stop.join().unwrap();
    std::thread::scope(|s| {
        s.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            attention.raise(bus::Attention::STOP);
        });
        cpu.run();
    });
    assert!(cpu.halted);
    assert_eq!(cpu.dr[6] & 0x4000, 0x4000);
    assert_eq!(read64(&cpu, cpu.gpr[4]), CODE + 1);
    assert_eq!(read64(&cpu, cpu.gpr[4] + 16) & 0x1_0100, 0x100);
}

#[test]
fn cpuid_tells_what_the_registers_say() {
    let leaf = |n: u32, prepare: fn(&mut Cpu)| {
        let (mut cpu, end) = system(|a| {
            a.mov(eax, n)?;
            a.xor(ecx, ecx)?;
            a.cpuid()
        });
        prepare(&mut cpu);
        run_to(&mut cpu, end);
        [0, 3, 1, 2].map(|r| cpu.gpr[r] as u32)
    };
    assert_eq!(leaf(0, |_| {})[0], 0x16);
    assert_eq!(leaf(0, |cpu| cpu.msr.misc_enable |= 1 << 22)[0], 3);
    let xd = |prepare: fn(&mut Cpu)| leaf(0x8000_0001, prepare)[3] >> 20 & 1;
    assert_eq!(xd(|_| {}), 1);
    assert_eq!(xd(|cpu| cpu.msr.misc_enable |= 1 << 34), 0);
    assert_eq!(leaf(0x15, |_| {}), [1, 1, 1_000_000_000, 0]);
    assert_eq!(
        leaf(1, |cpu| cpu.mmu.paging.cr4 |= arch::Cr4::OSXSAVE)[2] >> 27 & 1,
        1
    );
}

#[test]
fn interrupt_flags_by_privilege() {
    // (IOPL, CR4.PVI, program, fault, flags after)
    let run = |flags: u64,
               pvi: bool,
               program: fn(&mut CodeAssembler) -> Result<(), iced_x86::IcedError>| {
        let (mut cpu, _) = system(|a| a.nop());
        to_user(&mut cpu, program);
        cpu.set_rflags(flags | 2);
        if pvi {
            cpu.mmu.paging.cr4 |= arch::Cr4::PVI;
        }
        cpu.step().map(|()| cpu.rflags() & 0x18_0200)
    };
    let (cli, sti) = (
        |a: &mut CodeAssembler| a.cli(),
        |a: &mut CodeAssembler| a.sti(),
    );
    assert_eq!(run(0x200, false, cli), Err(Fault::GP0));
    assert_eq!(run(0x3200, false, cli), Ok(0));
    assert_eq!(run(0x8_0200, true, cli), Ok(0x200));
    assert_eq!(run(0x200, true, sti), Ok(0x8_0200));
    assert_eq!(run(0x10_0200, true, sti), Err(Fault::GP0), "VIP");
}

#[test]
fn sysenter_and_sysexit() {
    let (mut cpu, _) = system(|a| a.nop());
    cpu.msr.sysenter_cs = KCODE.into();
    cpu.msr.sysenter_eip = 0x3_8000;
    cpu.msr.sysenter_esp = 0x7_2000;
    // SYSEXIT with REX.W: CS = SYSENTER_CS + 32.
    cpu.mmu
        .ram()
        .write(GuestPhys(0x3_8000), &[0x48, 0x0f, 0x35])
        .unwrap();
    to_user(&mut cpu, |a| a.sysenter());
    cpu.step().unwrap();
    assert_eq!((cpu.rip, cpu.cpl, cpu.gpr[4]), (0x3_8000, 0, 0x7_2000));
    assert_eq!(cpu.rflags() & 0x200, 0);
    cpu.gpr[1] = 0x6_0000;
    cpu.gpr[2] = USER;
    cpu.step().unwrap();
    assert_eq!((cpu.rip, cpu.cpl, cpu.gpr[4]), (USER, 3, 0x6_0000));
    assert_eq!(cpu.seg[Seg::Cs as usize].selector, KCODE + 32 | 3);
    cpu.msr.sysenter_cs = 0;
    assert_eq!(fault(&mut cpu), Fault::GP0);
}

#[test]
fn umip_and_fsgsbase() {
    for write in [
        (|a: &mut CodeAssembler| a.sgdt(ptr(rsp))) as fn(&mut CodeAssembler) -> _,
        |a| a.sidt(ptr(rsp)),
        |a| a.sldt(eax),
        |a| a.str(eax),
        |a| a.smsw(eax),
    ] {
        let (mut cpu, _) = system(|a| a.nop());
        to_user(&mut cpu, write);
        cpu.step().unwrap();
        cpu.rip = USER;
        cpu.mmu.paging.cr4 |= arch::Cr4::UMIP;
        assert_eq!(fault(&mut cpu), Fault::GP0);
    }
    let (mut cpu, _) = system(|a| a.nop());
    to_user(&mut cpu, |a| {
        a.mov(rax, 0x7fff_1234_5678u64)?;
        a.wrgsbase(rax)?;
        a.rdgsbase(ecx)
    });
    cpu.mmu.paging.cr4 |= arch::Cr4::FSGSBASE;
    for _ in 0..3 {
        cpu.step().unwrap();
    }
    assert_eq!(cpu.seg[Seg::Gs as usize].base, 0x7fff_1234_5678);
    assert_eq!(cpu.gpr[1], 0x1234_5678);
    cpu.mmu.paging.cr4 -= arch::Cr4::FSGSBASE;
    cpu.rip = USER;
    assert_eq!(fault(&mut cpu), Fault::UD);
}
