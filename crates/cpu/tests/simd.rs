//! MMX, SSE and state saving: what the comparison with the host cannot reach, because it needs CPL 0, and a sample of each family.

mod common;

use arch::{Cr0, Cr4, Exception, Fault, Size};
use common::run;
use cpu::Cpu;
use iced_x86::code_asm::*;
use semantics::table;

/// Where the tests keep data.
const DATA: u64 = 0x2_0000;

fn set(cpu: &mut Cpu, addr: u64, bytes: &[u8]) {
    cpu.mmu
        .ram()
        .write(arch::GuestPhys(addr), bytes)
        .expect("in RAM");
}

fn get<const N: usize>(cpu: &Cpu, addr: u64) -> [u8; N] {
    let mut b = [0; N];
    cpu.mmu
        .ram()
        .read(arch::GuestPhys(addr), &mut b)
        .expect("in RAM");
    b
}

/// The fault that every form of a kind raises under some control bits: each instruction is the form's own encoding, run alone.
fn faults(belongs: impl Fn(decode::Code) -> bool, prepare: impl Fn(&mut Cpu), want: Exception) {
    let mut count = 0;
    for (code, _, name) in table::forms().filter(|f| belongs(f.0)) {
        let row = table::row::<Cpu>(code).expect("it is in the table");
        let mut cpu = common::machine(Size::B64, &[]);
        prepare(&mut cpu);
        cpu.update_mode();
        // Operands do not matter: the check is the first thing done.
        let insn = decode::decode(&[0x0f, 0x58, 0xc1], cpu.mode).expect("addps xmm0,xmm1");
        let got = (row.body)(&mut cpu, &decode::Insn { code, ..insn });
        assert_eq!(
            got,
            Err(cpu::Stop::Fault(Fault::new(want))),
            "{code:?}: {name}"
        );
        count += 1;
    }
    assert!(count > 50, "{count} forms");
}

fn is_sse(code: decode::Code) -> bool {
    use decode::Code as C;
    let name = format!("{code:?}");
    let exempt = matches!(code, C::Movnti_m32_r32 | C::Movnti_m64_r64);
    (name.contains("xmm") || name.contains("mxcsr")) && !exempt
}

fn is_mmx(code: decode::Code) -> bool {
    let name = format!("{code:?}");
    name == "Emms" || name.contains("_mm") && !name.contains("xmm")
}

#[test]
fn every_sse_row_asks_the_control_registers() {
    let em = |cpu: &mut Cpu| cpu.mmu.paging.cr0 |= Cr0::EM | Cr0::TS;
    faults(is_sse, em, Exception::UD);
    let no_osfxsr = |cpu: &mut Cpu| cpu.mmu.paging.cr4 -= Cr4::OSFXSR;
    faults(is_sse, no_osfxsr, Exception::UD);
    faults(is_sse, |cpu| cpu.mmu.paging.cr0 |= Cr0::TS, Exception::NM);
}

#[test]
fn every_mmx_row_asks_the_control_registers() {
    faults(is_mmx, |cpu| cpu.mmu.paging.cr0 |= Cr0::EM, Exception::UD);
    faults(is_mmx, |cpu| cpu.mmu.paging.cr0 |= Cr0::TS, Exception::NM);
    let pending = |cpu: &mut Cpu| {
        cpu.mmu.paging.cr0 |= Cr0::NE;
        cpu.fpu.set_status(0x80);
    };
    faults(is_mmx, pending, Exception::MF);
}

#[test]
fn an_unmasked_exception_leaves_the_destination() {
    let case = |on: Cr4| {
        run(
            Size::B64,
            |a| a.divps(xmm0, xmm1),
            |cpu| {
                cpu.mmu.paging.cr4 = cpu.mmu.paging.cr4 - Cr4::OSXMMEXCPT | on;
                cpu.fpu.mxcsr = 0x1f80 & !0x200;
                cpu.fpu.xmm[0] = 0x3f80_0000;
            },
        )
    };
    let (cpu, fault) = case(Cr4::OSXMMEXCPT);
    assert_eq!(fault, Some(Fault::new(Exception::XM)));
    // 1/0 is ZE, unmasked; the lanes of 0/0 are IE, masked; both are pre-computation exceptions.
    assert_eq!((cpu.fpu.xmm[0], cpu.fpu.mxcsr & 0x3f), (0x3f80_0000, 5));
    assert_eq!(case(Cr4::empty()).1, Some(Fault::UD));
}

#[test]
fn aligned_moves_fault_and_the_others_do_not() {
    let code = |aligned: bool| {
        run(
            Size::B64,
            move |a| {
                a.mov(rbx, DATA + 8)?;
                match aligned {
                    true => a.movaps(xmm0, xmmword_ptr(rbx)),
                    false => a.movups(xmm0, xmmword_ptr(rbx)),
                }
            },
            |cpu| set(cpu, DATA, &std::array::from_fn::<u8, 32, _>(|n| n as u8)),
        )
    };
    assert_eq!(code(true).1, Some(Fault::GP0));
    let (cpu, fault) = code(false);
    assert_eq!(fault, None);
    assert_eq!(cpu.fpu.xmm[0], 0x1716_1514_1312_1110_0f0e_0d0c_0b0a_0908);
}

#[test]
fn string_comparison_finds_a_character() {
    let (mut cpu, _) = run(
        Size::B64,
        |a| {
            a.mov(rbx, DATA)?;
            a.movdqu(xmm1, xmmword_ptr(rbx))?;
            a.pcmpistri(xmm1, xmmword_ptr(rbx + 16), 0)
        },
        |cpu| {
            set(cpu, DATA, b"xyz\0............");
            set(cpu, DATA + 16, b"abcdefghy\0......");
        },
    );
    // The index; CF (found), SF and ZF (both end early).
    assert_eq!((cpu.gpr[1], cpu.rflags() & 0x8d5), (8, 0xc1));
}

#[test]
fn mmx_and_x87_share_registers() {
    let (cpu, fault) = run(
        Size::B32,
        |a| {
            a.mov(eax, 0x8001_7fffu32 as i32)?;
            a.movd(mm3, eax)?;
            a.paddsw(mm3, mm3)?;
            a.movd(ecx, mm3)?;
            a.emms()
        },
        |_| {},
    );
    assert_eq!(fault, None);
    assert_eq!(cpu.gpr[1], 0x8000_7fff);
    assert_eq!(cpu.fpu.r[3].sign_exponent, 0xffff);
    assert_eq!(cpu.fpu.valid(), 0);
}

#[test]
fn fxsave_and_fxrstor_are_inverse() {
    let (cpu, fault) = run(
        Size::B64,
        |a| {
            a.mov(rbx, DATA)?;
            a.fxsave64(ptr(rbx))?;
            a.xorps(xmm9, xmm9)?;
            a.fninit()?;
            a.fxrstor64(ptr(rbx))
        },
        |cpu| {
            cpu.fpu.xmm[9] = 7 << 100;
            cpu.fpu.set_status(5 << 11);
            cpu.fpu.set_valid(0x81);
            cpu.fpu.r[5] = softfloat::F80::ONE;
            cpu.fpu.fip = 0x1234_5678_9abc;
        },
    );
    assert_eq!(fault, None);
    assert_eq!(
        (cpu.fpu.xmm[9], cpu.fpu.status() >> 11 & 7, cpu.fpu.valid()),
        (7 << 100, 5, 0x81)
    );
    assert_eq!(
        (cpu.fpu.r[5], cpu.fpu.fip),
        (softfloat::F80::ONE, 0x1234_5678_9abc)
    );
    // ST0 stands first; the mask of MXCSR behind MXCSR.
    assert_eq!(get::<10>(&cpu, DATA + 32), softfloat::F80::ONE.to_bytes());
    assert_eq!(get::<4>(&cpu, DATA + 28), 0xffffu32.to_le_bytes());
}

fn xsave_on(cpu: &mut Cpu) {
    cpu.mmu.paging.cr4 |= Cr4::OSXSAVE;
    cpu.fpu.xcr0 = 3;
}

#[test]
fn xsaveopt_leaves_out_initial_state_and_xrstor_makes_it() {
    let (cpu, fault) = run(
        Size::B64,
        |a| {
            a.mov(rbx, DATA)?;
            a.xor(edx, edx)?;
            a.mov(eax, 3)?;
            a.xsaveopt64(ptr(rbx))?;
            a.pcmpeqd(xmm2, xmm2)?;
            a.xrstor64(ptr(rbx))?;
            a.xor(ecx, ecx)?;
            a.xgetbv()
        },
        |cpu| {
            xsave_on(cpu);
            cpu.fpu.fcw = 0x27f;
            set(cpu, DATA + 160, &[0xaa; 16]);
        },
    );
    assert_eq!(fault, None);
    // XSTATE_BV: x87 only. XMM0's place is as it was; XMM2 was initialised.
    assert_eq!(get::<8>(&cpu, DATA + 512), 1u64.to_le_bytes());
    assert_eq!(get::<16>(&cpu, DATA + 160), [0xaa; 16]);
    assert_eq!((cpu.fpu.xmm[2], cpu.fpu.fcw), (0, 0x27f));
    assert_eq!((cpu.gpr[0], cpu.gpr[2]), (3, 0));
}

#[test]
fn xrstor_and_xsetbv_refuse_reserved_bits() {
    let xrstor = |header: [u8; 24], mxcsr: u32| {
        run(
            Size::B64,
            |a| {
                a.mov(rbx, DATA)?;
                a.xor(edx, edx)?;
                a.mov(eax, 3)?;
                a.xrstor64(ptr(rbx))
            },
            |cpu| {
                xsave_on(cpu);
                set(cpu, DATA + 512, &header);
                set(cpu, DATA + 24, &mxcsr.to_le_bytes());
            },
        )
        .1
    };
    let at = |n: usize, v: u8| std::array::from_fn(|k| if k == n { v } else { 0 });
    assert_eq!(xrstor(at(0, 3), 0x1f80), None);
    assert_eq!(xrstor(at(0, 4), 0x1f80), Some(Fault::GP0));
    assert_eq!(xrstor(at(15, 0x80), 0x1f80), Some(Fault::GP0));
    assert_eq!(xrstor(at(16, 1), 0x1f80), Some(Fault::GP0));
    assert_eq!(xrstor(at(0, 0), 0x1_0000), Some(Fault::GP0));
    let xsetbv = |v: u32, osxsave: bool| {
        run(
            Size::B64,
            |a| {
                a.xor(ecx, ecx)?;
                a.xor(edx, edx)?;
                a.mov(eax, v)?;
                a.xsetbv()
            },
            |cpu| {
                if osxsave {
                    xsave_on(cpu);
                }
            },
        )
        .1
    };
    assert_eq!(xsetbv(1, true), None);
    assert_eq!(xsetbv(2, true), Some(Fault::GP0));
    assert_eq!(xsetbv(7, true), Some(Fault::GP0));
    assert_eq!(xsetbv(3, false), Some(Fault::UD));
}
