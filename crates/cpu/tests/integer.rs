//! General-purpose instructions in the evaluator: one row a case. What the host's processor says is `cargo xtask insn-diff`'s business.

mod common;

use arch::{Exception, Fault, GuestPhys, Size};
use common::{STACK, run};
use cpu::Cpu;
use iced_x86::IcedError;
use iced_x86::code_asm::*;

const CF: u64 = 1;
const PF: u64 = 4;
const AF: u64 = 0x10;
const ZF: u64 = 0x40;
const SF: u64 = 0x80;
const OF: u64 = 0x800;
const ALL: u64 = 0x8d5;

/// Runs with RAX, RBX, RCX, RDX and the flags given; answers them.
fn check(
    size: Size,
    name: &str,
    write: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
    before: ([u64; 4], u64),
    after: ([u64; 4], u64),
) {
    let (mut cpu, fault) = run(size, write, |cpu| {
        let [a, b, c, d] = before.0;
        (cpu.gpr[0], cpu.gpr[3], cpu.gpr[1], cpu.gpr[2]) = (a, b, c, d);
        cpu.set_rflags(before.1 | 2);
    });
    assert_eq!(fault, None, "{name}");
    let flags = cpu.rflags() & ALL;
    let got = ([cpu.gpr[0], cpu.gpr[3], cpu.gpr[1], cpu.gpr[2]], flags);
    assert_eq!(got, after, "{name}: {got:x?} instead of {after:x?}");
}

macro_rules! cases {
    ($size:ident: $($name:ident($($arg:expr),*) $before:expr, $f0:expr => $after:expr, $f1:expr;)*) => {
        $(check(Size::$size, concat!(stringify!($name), " ", stringify!($($arg),*)), |a| a.$name($($arg),*), ($before, $f0), ($after, $f1));)*
    };
}

#[test]
fn shifts_and_rotates() {
    cases! { B64:
        shl(al, cl) [0x81, 0, 0, 0], ALL => [0x81, 0, 0, 0], ALL;
        shl(al, cl) [0x81, 0, 1, 0], 0 => [0x02, 0, 1, 0], CF | OF;
        shl(al, cl) [0x81, 0, 8, 0], 0 => [0, 0, 8, 0], CF | OF | ZF | PF;
        shl(al, cl) [0x81, 0, 9, 0], 0 => [0, 0, 9, 0], ZF | PF;
        shl(al, cl) [0x81, 0, 33, 0], 0 => [0x02, 0, 33, 0], CF | OF;
        shl(eax, 0) [0xffff_ffff_0000_0001, 0, 0, 0], ALL => [1, 0, 0, 0], ALL;
        shl(eax, 31) [3, 0, 0, 0], 0 => [0x8000_0000, 0, 0, 0], SF | PF | CF;
        shl(rax, cl) [3, 0, 63, 0], 0 => [1 << 63, 0, 63, 0], SF | PF | CF;
        shr(eax, 1) [0x8000_0001, 0, 0, 0], 0 => [0x4000_0000, 0, 0, 0], CF | OF | PF;
        shr(rax, cl) [1 << 63, 0, 63, 0], 0 => [1, 0, 63, 0], 0;
        sar(al, cl) [0x80, 0, 31, 0], 0 => [0xff, 0, 31, 0], SF | PF | CF;
        sar(rax, 63) [1 << 63, 0, 0, 0], 0 => [u64::MAX, 0, 0, 0], SF | PF;
        rol(al, cl) [0x81, 0, 8, 0], ZF => [0x81, 0, 8, 0], ZF | CF;
        rol(eax, 4) [0x1234_5678, 0, 0, 0], 0 => [0x2345_6781, 0, 0, 0], CF | OF;
        ror(ax, cl) [0x8001, 0, 17, 0], 0 => [0xc000, 0, 17, 0], CF;
        rcl(al, cl) [0x80, 0, 9, 0], CF => [0x80, 0, 9, 0], CF;
        rcl(al, cl) [0x80, 0, 1, 0], 0 => [0, 0, 1, 0], CF | OF;
        rcl(ax, cl) [0x1234, 0, 18, 0], CF => [0x2469, 0, 18, 0], 0;
        rcl(eax, 31) [5, 0, 0, 0], CF => [0xc000_0001, 0, 0, 0], OF;
        rcl(rax, cl) [1 << 63 | 1, 0, 2, 0], CF => [7, 0, 2, 0], 0;
        rcr(rax, 1) [2, 0, 0, 0], CF => [1 << 63 | 1, 0, 0, 0], OF;
        rcr(al, cl) [0x01, 0, 1, 0], 0 => [0, 0, 1, 0], CF;
        rcr(rax, cl) [0, 0, 0, 0], CF => [0, 0, 0, 0], CF;
        shld(eax, ebx, 8) [0x8123_4567, 0xab00_0000, 0, 0], 0 => [0x2345_67ab, 0xab00_0000, 0, 0], CF | OF;
        shld(rax, rbx, cl) [1, 1 << 63, 63, 0], 0 => [0xc000_0000_0000_0000, 1 << 63, 63, 0], SF | OF | PF;
        shrd(ax, bx, 4) [0x1238, 0x000a, 0, 0], 0 => [0xa123, 0x000a, 0, 0], SF | CF | OF;
        shrd(rax, rbx, cl) [8, 1, 4, 0], 0 => [1 << 60, 1, 4, 0], CF | PF;
    }
}

#[test]
fn multiplication_and_division() {
    cases! { B64:
        mul(bl) [0xff, 0xff, 0, 0], 0 => [0xfe01, 0xff, 0, 0], CF | OF;
        mul(rbx) [u64::MAX, 2, 0, 0], 0 => [u64::MAX - 1, 2, 0, 1], SF | CF | OF;
        imul(ebx) [0xffff_fffe, 3, 0, 0], 0 => [0xffff_fffa, 3, 0, 0xffff_ffff], SF | PF;
        imul_2(ax, bx) [0x4000, 4, 0, 0], 0 => [0, 4, 0, 0], ZF | PF | CF | OF;
        imul_3(rax, rbx, -3) [0, 5, 0, 0], 0 => [(-15i64) as u64, 5, 0, 0], SF;
        div(bl) [0x0105, 0x10, 0, 0], ALL => [0x0510, 0x10, 0, 0], ALL;
        div(rbx) [0, 2, 0, 1], 0 => [1 << 63, 2, 0, 0], 0;
        idiv(ebx) [0xffff_fff9, 2, 0, 0xffff_ffff], 0 => [0xffff_fffd, 2, 0, 0xffff_ffff], 0;
        idiv(bl) [0xff80, 1, 0, 0], 0 => [0x0080, 1, 0, 0], 0;
        cqo() [1 << 63, 0, 0, 0], 0 => [1 << 63, 0, 0, u64::MAX], 0;
        cwde() [0x8000, 0, 0, 0], 0 => [0xffff_8000, 0, 0, 0], 0;
    }
    cases! { B32:
        aam(10) [0x63, 0, 0, 0], 0 => [0x0909, 0, 0, 0], PF;
        aad(10) [0x0907, 0, 0, 0], 0 => [97, 0, 0, 0], 0;
        daa() [0xae, 0, 0, 0], 0 => [0x14, 0, 0, 0], CF | AF | PF;
        das() [0xee, 0, 0, 0], CF => [0x88, 0, 0, 0], CF | AF | SF | PF;
        aaa() [0x000f, 0, 0, 0], 0 => [0x0105, 0, 0, 0], CF | AF | PF;
        aas() [0x02ff, 0, 0, 0], 0 => [0x0109, 0, 0, 0], CF | AF | PF;
    }
    for divisor in [0u64, 1] {
        let (_, fault) = run(
            Size::B64,
            |a| a.div(ecx),
            |cpu| {
                cpu.gpr[1] = divisor;
                cpu.gpr[2] = 1;
            },
        );
        assert_eq!(fault, Some(Fault::new(Exception::DE)));
    }
    let overflow = |cpu: &mut Cpu| {
        (cpu.gpr[0], cpu.gpr[2], cpu.gpr[1]) = (0, 1 << 63, u64::MAX);
    };
    let (_, fault) = run(Size::B64, |a| a.idiv(rcx), overflow);
    assert_eq!(fault, Some(Fault::new(Exception::DE)));
}

#[test]
fn bits_and_exchanges() {
    cases! { B64:
        bt(eax, 36) [0x10, 0, 0, 0], ZF | OF => [0x10, 0, 0, 0], ZF | OF | CF;
        bts(eax, ebx) [0, 33, 0, 0], CF => [2, 33, 0, 0], 0;
        btr(rax, rbx) [u64::MAX, 63, 0, 0], 0 => [u64::MAX >> 1, 63, 0, 0], CF;
        btc(ax, 15) [0xffff_8000, 0, 0, 0], 0 => [0xffff_0000, 0, 0, 0], CF;
        bsf(eax, ebx) [0xdead_beef_1234_5678, 0, 0, 0], ALL => [0xdead_beef_1234_5678, 0, 0, 0], ZF | PF;
        bsf(eax, ebx) [u64::MAX, 0x10, 0, 0], ALL => [4, 0x10, 0, 0], 0;
        bsr(rax, rbx) [0, 1, 0, 0], 0 => [0, 1, 0, 0], PF;
        bsr(rax, rbx) [0, 1 << 63, 0, 0], 0 => [63, 1 << 63, 0, 0], PF;
        popcnt(eax, ebx) [0, 0, 0, 0], ALL => [0, 0, 0, 0], ZF;
        popcnt(rax, rbx) [0, u64::MAX, 0, 0], ALL => [64, u64::MAX, 0, 0], 0;
        cmpxchg(ebx, ecx) [u64::MAX << 32 | 5, 5, 7, 0], 0 => [u64::MAX << 32 | 5, 7, 7, 0], ZF | PF;
        cmpxchg(ebx, ecx) [u64::MAX << 32 | 5, 6, 7, 0], 0 => [6, 6, 7, 0], CF | SF | PF | AF;
        xadd(eax, ebx) [3, 4, 0, 0], 0 => [7, 3, 0, 0], 0;
        xadd(eax, eax) [3, 4, 0, 0], 0 => [6, 4, 0, 0], PF;
        crc32(eax, bl) [0, 1, 0, 0], 0 => [0xf26b_8303, 1, 0, 0], 0;
        sahf() [0xd500, 0, 0, 0], OF => [0xd500, 0, 0, 0], ALL;
        lahf() [0, 0, 0, 0], ALL => [0xd700, 0, 0, 0], ALL;
        cmc() [0, 0, 0, 0], ZF => [0, 0, 0, 0], ZF | CF;
    }
    let data = |cpu: &mut Cpu| {
        cpu.gpr[6] = 0x2_0000;
        (cpu.gpr[0], cpu.gpr[2], cpu.gpr[3], cpu.gpr[1]) = (0, 0, 1, 2);
    };
    let qword = |cpu: &Cpu, at| cpu.mmu.ram().load::<u64>(GuestPhys(at)).unwrap();
    // A bit string: bit 130 stands 16 bytes on, bit -1 before.
    let (cpu, _) = run(
        Size::B64,
        |a| {
            a.mov(eax, 130)?;
            a.lock().bts(qword_ptr(rsi), rax)?;
            a.mov(eax, -1)?;
            a.bts(dword_ptr(rsi), eax)
        },
        data,
    );
    assert_eq!((qword(&cpu, 0x2_0010), qword(&cpu, 0x1_fff8)), (4, 1 << 63));
    let (mut cpu, _) = run(
        Size::B64,
        |a| {
            a.lock().cmpxchg16b(ptr(rsi))?;
            a.lock().cmpxchg8b(ptr(rsi))
        },
        data,
    );
    assert_eq!((qword(&cpu, 0x2_0000), qword(&cpu, 0x2_0008)), (1, 2));
    // The second sees 1 and not 0.
    assert_eq!((cpu.gpr[0], cpu.gpr[2], cpu.rflags() & ZF), (1, 0, 0));
    let (_, fault) = run(Size::B64, |a| a.cmpxchg16b(ptr(rsi + 8)), data);
    assert_eq!(fault, Some(Fault::GP0));
}

fn strings(
    size: Size,
    setup: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
) -> Box<Cpu> {
    let (cpu, fault) = run(size, setup, |cpu| {
        let text: Vec<u8> = (0..=255u8).cycle().take(0x6000).collect();
        cpu.mmu.ram().write(GuestPhys(0x2_0000), &text).unwrap();
        (cpu.gpr[6], cpu.gpr[7]) = (0x2_0000, 0x3_0ffd);
    });
    assert_eq!(fault, None);
    cpu
}

fn bytes(cpu: &Cpu, at: u64, n: usize) -> Vec<u8> {
    let mut b = vec![0; n];
    cpu.mmu.ram().read(GuestPhys(at), &mut b).unwrap();
    b
}

#[test]
fn repeated_strings() {
    for size in [Size::B32, Size::B64] {
        // Far over a page, not aligned, so that bulk and single iterations take turns.
        let cpu = strings(size, |a| {
            a.mov(ecx, 0x5003)?;
            a.rep().movsb()
        });
        assert_eq!(bytes(&cpu, 0x2_0000, 0x5003), bytes(&cpu, 0x3_0ffd, 0x5003));
        assert_eq!(
            (cpu.gpr[1], cpu.gpr[6], cpu.gpr[7]),
            (0, 0x2_5003, 0x3_6000)
        );
        assert_eq!(bytes(&cpu, 0x3_6000, 1), [0]);
        // Overlapping by three: the pattern repeats.
        let cpu = strings(size, |a| {
            a.lea(edi, dword_ptr(esi + 3))?;
            a.mov(ecx, 100)?;
            a.rep().movsb()
        });
        let expected: Vec<u8> = [0, 1, 2].into_iter().cycle().take(103).collect();
        assert_eq!(bytes(&cpu, 0x2_0000, 103), expected);
        // Downwards.
        let cpu = strings(size, |a| {
            a.std()?;
            a.mov(ecx, 3)?;
            a.rep().movsw()?;
            a.cld()
        });
        assert_eq!((cpu.gpr[6], cpu.gpr[7]), (0x1_fffa, 0x3_0ff7));
        let cpu = strings(size, |a| {
            a.mov(eax, 0x1234_5678)?;
            a.mov(ecx, 0x900)?;
            a.rep().stosd()
        });
        assert_eq!((cpu.gpr[1], cpu.gpr[7]), (0, 0x3_33fd));
        assert_eq!(bytes(&cpu, 0x3_33f9, 5), [0x78, 0x56, 0x34, 0x12, 0]);
        // Until a difference, and nothing at all for a count of zero.
        let mut cpu = strings(size, |a| {
            a.mov(byte_ptr(0x2_0105u32), 9)?;
            a.lea(edi, dword_ptr(esi + 0x100))?;
            a.mov(ecx, 50)?;
            a.repe().cmpsb()?;
            a.mov(eax, 0)?;
            a.xor(ecx, ecx)?;
            a.stc()?;
            a.repne().scasb()
        });
        assert_eq!(
            (cpu.gpr[1], cpu.gpr[6], cpu.gpr[7]),
            (0, 0x2_0006, 0x2_0106)
        );
        assert_eq!(cpu.rflags() & CF, CF);
        let mut cpu = strings(size, |a| {
            a.mov(edi, esi)?;
            a.mov(eax, 77)?;
            a.mov(ecx, 1000)?;
            a.repne().scasb()
        });
        assert_eq!((cpu.gpr[1], cpu.gpr[7]), (1000 - 78, 0x2_0000 + 78));
        assert_eq!(cpu.rflags() & ZF, ZF);
    }
}

#[test]
fn a_string_fault_keeps_what_was_done() {
    let (cpu, fault) = run(
        Size::B64,
        |a| {
            a.mov(rdi, 0x3fff_fff0u64)?;
            a.mov(rcx, 100u64)?;
            a.rep().stosb()
        },
        |_| {},
    );
    // Beyond RAM nothing is stored, but the page is mapped; the next GiB is not.
    assert_eq!(fault, Some(Fault::with_code(Exception::PF, 2)));
    assert_eq!(
        (cpu.gpr[1], cpu.gpr[7], cpu.cr2),
        (84, 0x4000_0000, 0x4000_0000)
    );
}

#[test]
fn frames() {
    let (cpu, fault) = run(
        Size::B32,
        |a| {
            a.mov(eax, 1)?;
            a.mov(edi, 8)?;
            a.pusha()?;
            a.xor(eax, eax)?;
            a.xor(edi, edi)?;
            a.popa()?;
            a.mov(ebp, STACK as u32 - 0x100)?;
            a.mov(dword_ptr(ebp - 4), 0x1111)?;
            a.mov(dword_ptr(ebp - 8), 0x2222)?;
            a.enter(0x20, 3)
        },
        |_| {},
    );
    assert_eq!(fault, None);
    let at = STACK;
    let word = |n: u64| cpu.mmu.ram().load::<u32>(GuestPhys(n)).unwrap();
    assert_eq!((cpu.gpr[0], cpu.gpr[7]), (1, 8));
    assert_eq!((cpu.gpr[5], cpu.gpr[4]), (at - 4, at - 16 - 0x20));
    let frame = [word(at - 4), word(at - 8), word(at - 12), word(at - 16)];
    assert_eq!(frame, [at as u32 - 0x100, 0x1111, 0x2222, at as u32 - 4]);
}

#[test]
fn flags_through_the_stack() {
    let (mut cpu, fault) = run(
        Size::B64,
        |a| {
            a.push(0x20_0cd5)?;
            a.popfq()?;
            a.pushfq()?;
            a.pop(rax)
        },
        |_| {},
    );
    assert_eq!(fault, None);
    assert_eq!((cpu.gpr[0], cpu.rflags()), (0x20_0cd7, 0x20_0cd7));
}
