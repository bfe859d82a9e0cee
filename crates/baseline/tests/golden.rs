//! The host code of some hundred guest instructions and blocks, and what they cost, kept in `golden/`: a change of the writer shows what
//! it changes. `cargo xtask bless` writes them anew.

use arch::{Mode, Size};
use baseline::{Baseline, x64::X64};
use iced_x86::IcedError;
use iced_x86::code_asm::*;
use std::fmt::Write;
use std::path::{Path, PathBuf};

type Case = (
    &'static str,
    fn(&mut CodeAssembler) -> Result<(), IcedError>,
);

macro_rules! cases {
    ($($name:literal: |$a:ident| $($s:expr),+;)*) => {
        &[$(($name, |$a: &mut CodeAssembler| { $($s?;)+ Ok(()) })),*]
    };
}

const GROUPS: &[(&str, &[Case])] = &[
    (
        "integer",
        cases! {
            "mov r32, r32": |a| a.mov(eax, ecx);
            "mov r64, r64": |a| a.mov(rax, rcx);
            "mov r8, r8": |a| a.mov(al, cl);
            "mov r8h, r8": |a| a.mov(ah, cl);
            "mov r16, r16": |a| a.mov(ax, cx);
            "mov r32, imm": |a| a.mov(eax, 0x1234_5678);
            "mov r64, imm64": |a| a.mov(rax, 0x1234_5678_9abc_def0u64);
            "movzx r32, r8": |a| a.movzx(eax, cl);
            "movsx r64, r16": |a| a.movsx(rax, cx);
            "movsxd r64, r32": |a| a.movsxd(rax, ecx);
            "lea": |a| a.lea(rax, qword_ptr(rbx + rcx * 4 + 16));
            "xchg r64, r64": |a| a.xchg(rax, rcx);
            "bswap": |a| a.bswap(eax);
            "cdqe": |a| a.cdqe();
            "cqo": |a| a.cqo();
            "add r32, r32": |a| a.add(eax, ecx);
            "add r64, imm": |a| a.add(rax, 8);
            "add r8, r8": |a| a.add(al, cl);
            "sub r64, r64": |a| a.sub(rax, rcx);
            "adc r32, r32": |a| a.adc(eax, ecx);
            "sbb r64, r64": |a| a.sbb(rax, rcx);
            "inc r32": |a| a.inc(eax);
            "dec r64": |a| a.dec(rax);
            "neg r32": |a| a.neg(eax);
            "not r32": |a| a.not(eax);
            "and r32, imm": |a| a.and(eax, 0xff);
            "xor r32, itself": |a| a.xor(eax, eax);
            "cmp r32, r32": |a| a.cmp(eax, ecx);
            "test r64, r64": |a| a.test(rax, rax);
            "imul r64, r64": |a| a.imul_2(rax, rcx);
            "imul r32, r32, imm": |a| a.imul_3(eax, ecx, 10);
            "mul r64": |a| a.mul(rcx);
            "div r32": |a| a.div(ecx);
            "idiv r64": |a| a.idiv(rcx);
            "shl r32, imm": |a| a.shl(eax, 3);
            "sar r64, 1": |a| a.sar(rax, 1);
            "shr r32, cl": |a| a.shr(eax, cl);
            "rol r32, imm": |a| a.rol(eax, 5);
            "ror r64, cl": |a| a.ror(rax, cl);
            "rcl r32, 1": |a| a.rcl(eax, 1);
            "shld r64, r64, imm": |a| a.shld(rax, rcx, 7);
            "bt r32, imm": |a| a.bt(eax, 3);
            "bts r64, r64": |a| a.bts(rax, rcx);
            "bsf r32, r32": |a| a.bsf(eax, ecx);
            "popcnt": |a| a.popcnt(rax, rcx);
        },
    ),
    (
        "flags",
        cases! {
            "setz": |a| a.sete(al);
            "cmp, setl": |a| a.cmp(eax, ecx), a.setl(dl);
            "cmp, cmovb": |a| a.cmp(rax, rcx), a.cmovb(rdx, rsi);
            "add, adc": |a| a.add(rax, rcx), a.adc(rdx, rbx);
            "inc, adc": |a| a.inc(eax), a.adc(edx, ebx);
            "add, add: the first's are dead": |a| a.add(eax, ecx), a.add(eax, edx);
            "test, setnz": |a| a.test(ecx, ecx), a.setne(al);
            "lahf": |a| a.lahf();
            "sahf": |a| a.sahf();
            "pushfq": |a| a.pushfq();
            "clc": |a| a.clc();
            "cmc": |a| a.cmc();
        },
    ),
    (
        "memory",
        cases! {
            "mov r64, m": |a| a.mov(rax, qword_ptr(rbx));
            "mov r32, m with index": |a| a.mov(eax, dword_ptr(rbx + rcx * 4 + 8));
            "movzx r32, m8": |a| a.movzx(eax, byte_ptr(rbx));
            "mov m, r64": |a| a.mov(qword_ptr(rbx), rax);
            "mov m8, r8": |a| a.mov(byte_ptr(rbx), al);
            "mov m32, imm": |a| a.mov(dword_ptr(rbx), 7);
            "add r32, m": |a| a.add(eax, dword_ptr(rbx));
            "add m, r32": |a| a.add(dword_ptr(rbx), eax);
            "inc m64": |a| a.inc(qword_ptr(rbx));
            "cmp m8, imm": |a| a.cmp(byte_ptr(rbx), 0);
            "lock add m, r32": |a| a.lock().add(dword_ptr(rbx), eax);
            "lock cmpxchg m, r64": |a| a.lock().cmpxchg(qword_ptr(rbx), rcx);
            "lock xadd m, r32": |a| a.lock().xadd(dword_ptr(rbx), ecx);
            "xchg m, r64": |a| a.xchg(qword_ptr(rbx), rcx);
            "mov r64, fs:m": |a| a.mov(rax, qword_ptr(0x28).fs());
            "push r64": |a| a.push(rax);
            "pop r64": |a| a.pop(rax);
            "push, push, pop, pop": |a| a.push(rax), a.push(rcx), a.pop(rax), a.pop(rcx);
            "leave": |a| a.leave();
            "movsb": |a| a.movsb();
            "stosq": |a| a.stosq();
            "rep movsb": |a| a.rep().movsb();
            "rep stosq": |a| a.rep().stosq();
            "repne scasb": |a| a.repne().scasb();
        },
    ),
    (
        "vector",
        cases! {
            "movaps x, x": |a| a.movaps(xmm0, xmm1);
            "movdqu x, m": |a| a.movdqu(xmm0, xmmword_ptr(rbx));
            "movdqa m, x": |a| a.movdqa(xmmword_ptr(rbx), xmm0);
            "movd x, r32": |a| a.movd(xmm0, eax);
            "movq r64, x": |a| a.movq(rax, xmm0);
            "pxor x, itself": |a| a.pxor(xmm0, xmm0);
            "paddd": |a| a.paddd(xmm0, xmm1);
            "pcmpeqb, pmovmskb": |a| a.pcmpeqb(xmm0, xmm1), a.pmovmskb(eax, xmm0);
            "pshufb": |a| a.pshufb(xmm0, xmm1);
            "pshufd": |a| a.pshufd(xmm0, xmm1, 0x1b);
            "punpcklbw": |a| a.punpcklbw(xmm0, xmm1);
            "pslld imm": |a| a.pslld(xmm0, 3);
            "pmulld": |a| a.pmulld(xmm0, xmm1);
            "psadbw": |a| a.psadbw(xmm0, xmm1);
            "ptest": |a| a.ptest(xmm0, xmm1);
            "paddd mm": |a| a.paddd(mm0, mm1);
            "shufps": |a| a.shufps(xmm0, xmm1, 0x44);
        },
    ),
    (
        "float",
        cases! {
            "addss": |a| a.addss(xmm0, xmm1);
            "mulsd": |a| a.mulsd(xmm0, xmm1);
            "addpd": |a| a.addpd(xmm0, xmm1);
            "divps": |a| a.divps(xmm0, xmm1);
            "sqrtsd": |a| a.sqrtsd(xmm0, xmm1);
            "minss": |a| a.minss(xmm0, xmm1);
            "mulsd m": |a| a.mulsd(xmm0, qword_ptr(rbx));
            "ucomisd": |a| a.ucomisd(xmm0, xmm1);
            "cmpltpd": |a| a.cmpltpd(xmm0, xmm1);
            "cvtsi2sd r64": |a| a.cvtsi2sd(xmm0, rax);
            "cvttsd2si r32": |a| a.cvttsd2si(eax, xmm0);
            "cvtss2sd": |a| a.cvtss2sd(xmm0, xmm1);
            "mulsd, addsd": |a| a.mulsd(xmm0, xmm1), a.addsd(xmm2, xmm0);
            "ldmxcsr": |a| a.ldmxcsr(dword_ptr(rbx));
        },
    ),
    (
        "x87",
        cases! {
            "fld m64": |a| a.fld(qword_ptr(rbx));
            "fld1": |a| a.fld1();
            "fstp m64": |a| a.fstp(qword_ptr(rbx));
            "fadd st, st(1)": |a| a.fadd_2(st0, st1);
            "fmulp": |a| a.fmulp(st1, st0);
            "fdiv m32": |a| a.fdiv(dword_ptr(rbx));
            "fxch": |a| a.fxch(st0, st1);
            "fsqrt": |a| a.fsqrt();
            "fchs": |a| a.fchs();
            "fild m32": |a| a.fild(dword_ptr(rbx));
            "fistp m64": |a| a.fistp(qword_ptr(rbx));
            "fucomip": |a| a.fucomip(st0, st1);
            "fnstsw ax": |a| a.fnstsw(ax);
            "fsin": |a| a.fsin();
            "fld, fmul, faddp": |a| a.fld(qword_ptr(rbx)), a.fmul(qword_ptr(rcx)), a.faddp(st1, st0);
        },
    ),
    (
        "control",
        cases! {
            "jmp": |a| a.jmp(0x1_0100u64);
            "jz": |a| a.je(0x1_0100u64);
            "cmp, jb": |a| a.cmp(eax, ecx), a.jb(0x1_0100u64);
            "call": |a| a.call(0x1_0100u64);
            "ret": |a| a.ret();
            "jmp r64": |a| a.jmp(rax);
            "jmp to another page": |a| a.jmp(0x2_0100u64);
            "dec, jnz to the start": |a| a.dec(ecx), a.jne(0x1_0000u64);
            "loop": |a| a.loop_(0x1_0000u64);
            "sum": |a| a.add(rax, qword_ptr(rsi)), a.add(rsi, 8), a.cmp(rsi, rdi), a.jne(0x1_0000u64);
            "fill": |a| a.mov(dword_ptr(rdi + rcx * 4), eax), a.sub(rcx, 1), a.jne(0x1_0000u64);
            "daxpy": |a| a.movapd(xmm1, xmmword_ptr(rsi + rcx)), a.mulpd(xmm1, xmm0), a.addpd(xmm1, xmmword_ptr(rdi + rcx)), a.movapd(xmmword_ptr(rdi + rcx), xmm1), a.add(rcx, 16), a.cmp(rcx, rdx), a.jb(0x1_0000u64);
            "cpuid": |a| a.cpuid();
            "syscall": |a| a.syscall();
        },
    ),
];

/// Where the guest code stands.
const BASE: u64 = 0x1_0000;

/// The listing of one case, and its row of the table.
fn case(writer: &mut Baseline<X64>, (name, code): &Case) -> (String, String) {
    let mode = Mode::new(
        Size::B64,
        3,
        Mode::PROTECTED
            | Mode::LONG
            | Mode::FLAT
            | Mode::STACK32
            | Mode::OSFXSR
            | Mode::FP_MASKED
            | Mode::X87_MASKED,
    );
    let mut a = CodeAssembler::new(64).expect("64 bits");
    code(&mut a).expect(name);
    // What follows ends the block: its cost is not the instruction's.
    a.nop().expect("a no-operation");
    let bytes = a.assemble(BASE).expect(name);
    let (mut insns, mut at, mut text) = (Vec::new(), 0, format!("{name}\n"));
    while at < bytes.len() {
        let i = decode::decode(&bytes[at..], mode).expect(name);
        let end = at + usize::from(i.len);
        if end < bytes.len() {
            let line = decode::disassemble(&bytes[at..end], mode, BASE + at as u64);
            let _ = writeln!(text, "  {line}");
        }
        insns.push(i);
        at = end;
    }
    let guest = insns.len() - 1;
    let block = writer.translate(mode, 0, &insns, None).expect(name);
    let end = block.marks.get(guest).copied();
    let end = end.unwrap_or_else(|| *block.marks.last().expect("an end")) as usize;
    let (mut at, mut count) = (0, 0);
    while at < end {
        let rest = &block.code[at..];
        let (len, line) = decode::disassemble_any(rest, mode, at as u64);
        let _ = writeln!(text, "    {at:4x}  {line}");
        at += len.max(1);
        count += 1;
    }
    let rare = block.code.len() - block.marks.last().map_or(0, |&m| m as usize);
    let row = format!("| {name} | {guest} | {count} | {end} | {rare} |\n");
    text.push('\n');
    (text, row)
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Compares a file with what it should hold, or writes it.
fn settle(name: &str, text: &str, wrong: &mut Vec<String>) {
    let path = folder().join(name);
    if std::env::var_os("FERRY_BLESS").is_some() {
        std::fs::write(&path, text).expect("writable");
        return;
    }
    let was = std::fs::read_to_string(&path).unwrap_or_default();
    if was != text {
        let differs = was.lines().zip(text.lines()).position(|(a, b)| a != b);
        let line = differs.unwrap_or(was.lines().count().min(text.lines().count()));
        let of = |t: &str| t.lines().nth(line).unwrap_or("(end)").to_string();
        wrong.push(format!(
            "{name}:{}\n  was {}\n  is  {}",
            line + 1,
            of(&was),
            of(text)
        ));
    }
}

#[test]
fn host_code_is_what_it_was() {
    let mut writer = Baseline::<X64>::new();
    let mut wrong = Vec::new();
    let mut table = String::from(
        "Host instructions and bytes on the hot path of guest code, without the way to the next block; bytes of the block's rare ways.\n\
         Written by `cargo xtask bless`.\n\n\
         | guest code | instructions | host instructions | bytes | rare |\n|---|---|---|---|---|\n",
    );
    for (group, cases) in GROUPS {
        let mut all = String::new();
        for c in *cases {
            let (text, row) = case(&mut writer, c);
            all.push_str(&text);
            table.push_str(&row);
        }
        settle(&format!("{group}.txt"), &all, &mut wrong);
    }
    settle("cost.md", &table, &mut wrong);
    assert!(
        wrong.is_empty(),
        "host code changed; if that is meant, `cargo xtask bless` takes it over and `git diff` shows it\n{}",
        wrong.join("\n")
    );
}
