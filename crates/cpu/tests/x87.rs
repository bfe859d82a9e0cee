//! The x87 in the evaluator: stack, exceptions, state in memory. Arithmetic is crate `softfloat`'s own test's business.

mod common;

use arch::{Cr0, Exception, Fault, GuestPhys, Size};
use common::run;
use cpu::Cpu;
use iced_x86::IcedError;
use iced_x86::code_asm::*;

/// Where the tests' memory operands stand.
const DATA: u64 = 0x2_0000;

fn x87(
    size: Size,
    write: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
) -> (Box<Cpu>, Option<Fault>) {
    run(
        size,
        |a| {
            a.fninit()?;
            write(a)
        },
        |cpu| {
            cpu.mmu.paging.cr0 |= Cr0::NE | Cr0::MP;
            cpu.update_mode();
            (cpu.gpr[3], cpu.gpr[6]) = (DATA, DATA + 0x100);
        },
    )
}

fn load<T: arch::Uint>(cpu: &Cpu, at: u64) -> T {
    cpu.mmu.ram().load(GuestPhys(at)).unwrap()
}

fn status(cpu: &Cpu) -> u16 {
    cpu.fpu.status()
}

#[test]
fn sums_and_conversions() {
    let (cpu, fault) = x87(Size::B64, |a| {
        a.mov(dword_ptr(rbx), 7)?;
        a.fild(dword_ptr(rbx))?;
        a.fld1()?;
        a.faddp(st1, st0)?;
        a.fst(qword_ptr(rbx + 8))?;
        a.fld(st0)?;
        a.fmulp(st1, st0)?;
        a.fsqrt()?;
        a.fadd_2(st0, st0)?;
        a.fistp(word_ptr(rbx + 16))?;
        a.fldpi()?;
        a.fisttp(dword_ptr(rbx + 20))?;
        a.mov(dword_ptr(rbx + 24), -12345678)?;
        a.fild(dword_ptr(rbx + 24))?;
        a.fbstp(tbyte_ptr(rbx + 32))?;
        a.fld1()?;
        a.fldz()?;
        a.fcomip(st0, st1)
    });
    assert_eq!(fault, None);
    assert_eq!(load::<u64>(&cpu, DATA + 8), 8f64.to_bits());
    assert_eq!(load::<u16>(&cpu, DATA + 16), 16);
    assert_eq!(load::<u32>(&cpu, DATA + 20), 3);
    assert_eq!(load::<u64>(&cpu, DATA + 32), 0x1234_5678);
    assert_eq!(load::<u16>(&cpu, DATA + 40), 0x8000);
    let mut cpu = cpu;
    assert_eq!(cpu.rflags() & 0x8d5, 1);
    // PE of FISTTP, one register left.
    assert_eq!((status(&cpu), cpu.fpu.valid()), (0x3820, 0x80));
}

#[test]
fn stack_faults() {
    // Underflow: IE, SF, C1 clear; the indefinite is the masked answer.
    let (cpu, _) = x87(Size::B64, |a| a.fadd_2(st0, st3));
    assert_eq!(status(&cpu), 0x41);
    assert_eq!(cpu.fpu.r[0].to_bytes()[9], 0xff);
    // Overflow: C1 set.
    let (cpu, _) = x87(Size::B64, |a| {
        for _ in 0..9 {
            a.fld1()?;
        }
        Ok(())
    });
    assert_eq!(status(&cpu), 0x3a41);
    assert_eq!(cpu.fpu.r[7].to_bytes()[7..], [0xc0, 0xff, 0xff]);
}

#[test]
fn an_unmasked_exception_waits_for_the_next_instruction() {
    let divide = |a: &mut CodeAssembler| {
        a.mov(dword_ptr(rbx), 0x37b)?;
        a.fldcw(word_ptr(rbx))?;
        a.fld1()?;
        a.fldz()?;
        a.fdivp(st1, st0)
    };
    let (cpu, fault) = x87(Size::B64, divide);
    // Nothing popped; ES and B tell of ZE.
    assert_eq!((fault, status(&cpu), cpu.fpu.valid()), (None, 0xb084, 0xc0));
    // DE F9.
    assert_eq!(cpu.fpu.fop, 0x6f9);
    let (_, fault) = x87(Size::B64, |a| {
        divide(a)?;
        a.fnstsw(ax)?;
        a.wait()
    });
    assert_eq!(fault, Some(Fault::new(Exception::MF)));
    let (cpu, fault) = x87(Size::B64, |a| {
        divide(a)?;
        a.fnclex()?;
        a.fldz()
    });
    assert_eq!((fault, status(&cpu)), (None, 0x2800));
}

#[test]
fn not_available() {
    for (bits, wait, other) in [
        (Cr0::TS, None, Some(Fault::NM)),
        (Cr0::TS | Cr0::MP, Some(Fault::NM), Some(Fault::NM)),
        (Cr0::EM, None, Some(Fault::NM)),
        (Cr0::MP, None, None),
    ] {
        let set = |cpu: &mut Cpu| {
            cpu.mmu.paging.cr0 |= bits;
            cpu.update_mode();
        };
        assert_eq!(run(Size::B32, |a| a.wait(), set).1, wait);
        assert_eq!(run(Size::B32, |a| a.fnop(), set).1, other);
    }
}

#[test]
fn state_in_memory() {
    for size in [Size::B16, Size::B32, Size::B64] {
        let real = size == Size::B16;
        let (cpu, fault) = run(
            size,
            |a| {
                let (m, save) = match size {
                    Size::B16 => (ptr(bx), ptr(si)),
                    Size::B32 => (ptr(ebx), ptr(esi)),
                    Size::B64 => (ptr(rbx), ptr(rsi)),
                };
                a.fninit()?;
                a.fld1()?;
                a.fldz()?;
                if real {
                    a.fld(qword_ptr(bx))?;
                    a.fnstenv(m)?;
                    a.fnsave(save)?;
                    a.frstor(save)
                } else if size == Size::B32 {
                    a.fld(qword_ptr(ebx))?;
                    a.fnstenv(m)?;
                    a.fnsave(save)?;
                    a.frstor(save)
                } else {
                    a.fld(qword_ptr(rbx))?;
                    a.fnstenv(m)?;
                    a.fnsave(save)?;
                    a.frstor(save)
                }
            },
            |cpu| (cpu.gpr[3], cpu.gpr[6]) = (0x2000, 0x3000),
        );
        assert_eq!(fault, None);
        assert_eq!((cpu.fpu.valid(), status(&cpu)), (0xe0, 0x2800));
        assert_eq!(cpu.fpu.r[7], softfloat::F80::ONE);
        if real {
            // FIP is linear in real mode: CS:6 = 0x1_0006.
            let words: Vec<u16> = (0..7).map(|n| load(&cpu, 0x2000 + 2 * n)).collect();
            assert_eq!(words, [0x37f, 0x2800, 0x17ff, 6, 0x1000, 0x2000, 0]);
            assert_eq!(load::<u16>(&cpu, 0x3000 + 14 + 20 + 8), 0x3fff);
        } else {
            let words: Vec<u32> = (0..7).map(|n| load(&cpu, 0x2000 + 4 * n)).collect();
            let ip = common::CODE as u32 + 6;
            let expected = [0x37f, 0x2800, 0x17ff].map(|w| w | 0xffff_0000);
            assert_eq!(words[..3], expected);
            assert_eq!(words[3..6], [ip, 0x10, 0x2000]);
            assert_eq!(load::<u16>(&cpu, 0x3000 + 28 + 20 + 8), 0x3fff);
        }
    }
}
