//! x87 instructions against the host. An unmasked x87 exception traps only at the next waiting instruction, so that FNSAVE can
//! look at the unmasked responses as well.

use crate::operands::Random;
use crate::report::{Report, cases};
use softfloat::x87::{self, Constant};
use softfloat::{Class, Env, F32, F64, F80, Flags, Format, Ordering4, Rounding};
use std::arch::asm;

/// What FNSAVE and the memory operand tell after an instruction.
#[derive(Clone, Copy)]
pub struct After {
    pub save: [u8; 108],
    pub memory: [u8; 16],
}

impl After {
    pub fn fsw(&self) -> u16 {
        u16::from_le_bytes([self.save[4], self.save[5]])
    }
    pub fn flags(&self) -> Flags {
        Flags::from_bits(self.fsw() as u8)
    }
    pub fn c1(&self) -> bool {
        self.fsw() & 0x200 != 0
    }
    pub fn st(&self, i: usize) -> F80 {
        F80::from_bytes(self.save[28 + 10 * i..38 + 10 * i].try_into().unwrap())
    }
}

/// Defines a function that loads ST(1) and ST(0), sets the control word and runs one instruction; `{m}` is a memory operand.
#[macro_export]
macro_rules! x87_host {
    ($name:ident, $insn:expr) => {
        fn $name(fcw: u16, st0: F80, st1: F80, memory: [u8; 16]) -> After {
            let mut after = After { save: [0; 108], memory };
            let operands = [st0.to_bytes(), st1.to_bytes()];
            // SAFETY: the x87 state is saved before a waiting instruction could trap, and reset; writes go to `after`.
            unsafe {
                asm!(
                    "fninit", "fld tbyte ptr [{o} + 10]", "fld tbyte ptr [{o}]", "fldcw [{cw}]",
                    $insn,
                    "fnsave [{save}]",
                    o = in(reg) &operands, cw = in(reg) &fcw, save = in(reg) &mut after.save,
                    in("r8") &mut after.memory,
                    out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                    out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                );
            }
            after
        }
    };
}

x87_host!(fadd, "fadd st(0), st(1)");
x87_host!(fsub, "fsub st(0), st(1)");
x87_host!(fmul, "fmul st(0), st(1)");
x87_host!(fdiv, "fdiv st(0), st(1)");
x87_host!(fsqrt, "fsqrt");
x87_host!(fprem, "fprem");
x87_host!(fprem1, "fprem1");
x87_host!(frndint, "frndint");
x87_host!(fscale, "fscale");
x87_host!(fxtract, "fxtract");
x87_host!(fcom, "fcom st(1)");
x87_host!(fucom, "fucom st(1)");
x87_host!(fxam, "fxam");
x87_host!(fadd_m32, "fadd dword ptr [r8]");
x87_host!(fadd_m64, "fadd qword ptr [r8]");
x87_host!(fmul_m32, "fmul dword ptr [r8]");
x87_host!(fmul_m64, "fmul qword ptr [r8]");
x87_host!(fsubr_m32, "fsubr dword ptr [r8]");
x87_host!(fsub_m64, "fsub qword ptr [r8]");
x87_host!(fdiv_m32, "fdiv dword ptr [r8]");
x87_host!(fdivr_m64, "fdivr qword ptr [r8]");
x87_host!(fcom_m32, "fcom dword ptr [r8]");
x87_host!(fcom_m64, "fcom qword ptr [r8]");
x87_host!(fld_m32, "fld dword ptr [r8]");
x87_host!(fld_m64, "fld qword ptr [r8]");
x87_host!(fild_m16, "fild word ptr [r8]");
x87_host!(fild_m32, "fild dword ptr [r8]");
x87_host!(fild_m64, "fild qword ptr [r8]");
x87_host!(fbld, "fbld tbyte ptr [r8]");
x87_host!(fst_m32, "fst dword ptr [r8]");
x87_host!(fst_m64, "fst qword ptr [r8]");
x87_host!(fist_m16, "fist word ptr [r8]");
x87_host!(fist_m32, "fist dword ptr [r8]");
x87_host!(fistp_m64, "fistp qword ptr [r8]");
x87_host!(fisttp_m16, "fisttp word ptr [r8]");
x87_host!(fisttp_m32, "fisttp dword ptr [r8]");
x87_host!(fisttp_m64, "fisttp qword ptr [r8]");
x87_host!(fbstp, "fbstp tbyte ptr [r8]");

pub type Host = fn(u16, F80, F80, [u8; 16]) -> After;

/// The twelve RC and PC combinations, everything masked.
pub fn masked_controls() -> impl Iterator<Item = u16> {
    (0..12).map(|i: u16| 0x3f | (i & 3) << 10 | [0, 2, 3][usize::from(i >> 2)] << 8)
}

/// A random control word with some exception unmasked.
pub fn random_control(random: &mut Random) -> u16 {
    let pc = [0, 2, 3, 3][random.below(4) as usize];
    let masks = if random.one_in(2) {
        random.below(64) as u16
    } else {
        63 ^ 1 << random.below(6)
    };
    masks | pc << 8 | (random.below(4) as u16) << 10
}

/// Compares ST(0), flags and C1. With an unmasked pre-computation exception the register must be the operand.
fn arithmetic(name: &str, host: Host, ours: fn(&mut Env, F80, F80) -> F80) {
    let mut random = Random::new(0x87);
    let mut report = Report::new(name);
    for _ in 0..cases(100) {
        let a = random.f80();
        let b = random.f80_near(a);
        let unmasked = [random_control(&mut random), random_control(&mut random)];
        for fcw in masked_controls().chain(unmasked) {
            let mut env = Env::from_fcw(fcw);
            let mut got = ours(&mut env, a, b);
            if env.suppresses_result() {
                got = a;
            }
            let after = host(fcw, a, b, [0; 16]);
            if stays_tiny(&env, a, after.st(0), after.flags()) {
                continue;
            }
            report.check(
                (got, env.flags, env.roundup),
                (after.st(0), after.flags(), after.c1()),
                || format!("{a:?} {b:?} fcw {fcw:#x}"),
            );
        }
    }
    report.finish();
}

/// FPREM by infinity and FSCALE by zero leave their operand; whether a tiny one then underflows with the exception unmasked is a matter of
/// the processor: on AMD's (Zen 4) and in softfloat it does, on Intel's (Rocket Lake) not.
fn stays_tiny(env: &Env, operand: F80, host: F80, flags: Flags) -> bool {
    let unmasked = env.flags.contains(Flags::UE) && !env.masks.contains(Flags::UE);
    unmasked && !flags.contains(Flags::UE) && operand == host && operand.exponent() == 0
}

#[test]
fn add() {
    arithmetic("fadd", fadd, x87::add);
}

#[test]
fn sub() {
    arithmetic("fsub", fsub, x87::sub);
}

#[test]
fn mul() {
    arithmetic("fmul", fmul, x87::mul);
}

#[test]
fn div() {
    arithmetic("fdiv", fdiv, x87::div);
}

#[test]
fn sqrt() {
    arithmetic("fsqrt", fsqrt, |env, a, _| x87::sqrt(env, a));
}

#[test]
fn rndint() {
    arithmetic("frndint", frndint, |env, a, _| x87::rndint(env, a));
}

#[test]
fn scale() {
    arithmetic("fscale", fscale, x87::scale);
}

#[test]
fn remainder() {
    for (name, host, ours) in [
        (
            "fprem",
            fprem as Host,
            x87::prem as fn(&mut Env, F80, F80) -> x87::Remainder,
        ),
        ("fprem1", fprem1, x87::prem1),
    ] {
        let mut random = Random::new(0x9e3);
        let mut report = Report::new(name);
        for _ in 0..cases(200) {
            let a = random.f80();
            let b = random.f80_near(a);
            for fcw in [0x37f, 0x07f, 0xf7f, random_control(&mut random)] {
                let mut env = Env::from_fcw(fcw);
                let got = ours(&mut env, a, b);
                let value = if env.suppresses_result() {
                    a
                } else {
                    got.value
                };
                let after = host(fcw, a, b, [0; 16]);
                if stays_tiny(&env, a, after.st(0), after.flags()) {
                    continue;
                }
                let (c0, c3) = (after.fsw() >> 8 & 1, after.fsw() >> 14 & 1);
                let quotient = (c0 << 2 | c3 << 1) as u8 | u8::from(after.c1());
                let partial = after.fsw() & 0x400 != 0;
                report.check(
                    (value, env.flags, got.partial, got.quotient),
                    (after.st(0), after.flags(), partial, quotient),
                    || format!("{a:?} {b:?} fcw {fcw:#x}"),
                );
            }
        }
        report.finish();
    }
}

#[test]
fn xtract() {
    let mut random = Random::new(0xe87);
    let mut report = Report::new("fxtract");
    for _ in 0..cases(200) {
        let a = random.f80();
        for fcw in [0x37f, random_control(&mut random)] {
            let mut env = Env::from_fcw(fcw);
            let (mut st1, mut st0) = x87::xtract(&mut env, a);
            let after = fxtract(fcw, a, F80::ONE, [0; 16]);
            if env.suppresses_result() {
                (st0, st1) = (a, F80::ONE);
            }
            report.check(
                (st0, st1, env.flags, env.roundup),
                (after.st(0), after.st(1), after.flags(), after.c1()),
                || format!("{a:?} fcw {fcw:#x}"),
            );
        }
    }
    report.finish();
}

#[test]
fn compare() {
    for (name, host, ours) in [
        (
            "fcom",
            fcom as Host,
            x87::compare_signaling as fn(&mut Env, F80, F80) -> Ordering4,
        ),
        ("fucom", fucom, x87::compare_quiet),
    ] {
        let mut random = Random::new(0xc03);
        let mut report = Report::new(name);
        for _ in 0..cases(200) {
            let a = random.f80();
            let b = random.f80_near(a);
            let fcw = random_control(&mut random);
            let mut env = Env::from_fcw(fcw);
            let codes = match ours(&mut env, a, b) {
                Ordering4::Less => 0x100,
                Ordering4::Equal => 0x4000,
                Ordering4::Greater => 0,
                Ordering4::Unordered => 0x4500,
            };
            let after = host(fcw, a, b, [0; 16]);
            report.check(
                (codes, env.flags),
                (after.fsw() & 0x4700, after.flags()),
                || format!("{a:?} {b:?}"),
            );
        }
        report.finish();
    }
}

#[test]
fn examine() {
    let mut random = Random::new(0xa);
    let mut report = Report::new("fxam");
    for _ in 0..cases(200) {
        let a = random.f80();
        let codes = match a.class() {
            Class::Unsupported => 0,
            Class::Nan => 0x100,
            Class::Normal => 0x400,
            Class::Infinity => 0x500,
            Class::Zero => 0x4000,
            Class::Denormal => 0x4400,
        } | u16::from(a.is_negative()) << 9;
        report.check(codes, fxam(0x37f, a, a, [0; 16]).fsw() & 0x4700, || {
            format!("{a:?}")
        });
    }
    report.finish();
}

fn memory(bytes: &[u8]) -> [u8; 16] {
    let mut memory = [0; 16];
    memory[..bytes.len()].copy_from_slice(bytes);
    memory
}

#[test]
fn load_floats() {
    fn check<F: Format>(name: &str, host: Host, ours: fn(&mut Env, F) -> F80) {
        let mut random = Random::new(0x1d);
        let mut report = Report::new(name);
        for _ in 0..cases(200) {
            let a: F = random.float();
            let fcw = random_control(&mut random);
            let mut env = Env::from_fcw(fcw);
            let mut got = ours(&mut env, a);
            if env.unmasked().contains(Flags::IE) {
                // Nothing is pushed.
                got = F80::ONE;
            }
            let after = host(fcw, F80::ONE, F80::ZERO, memory(&a.bits().to_le_bytes()));
            report.check(
                (got, env.flags, env.roundup),
                (after.st(0), after.flags(), after.c1()),
                || format!("{a:x?} fcw {fcw:#x}"),
            );
        }
        report.finish();
    }
    check::<F32>("fld m32", fld_m32, x87::load_f32);
    check::<F64>("fld m64", fld_m64, x87::load_f64);
}

/// Instructions with a single or double in memory.
#[test]
fn memory_operands() {
    fn check<F: Format>(name: &str, host: Host, ours: fn(&mut Env, F80, F) -> F80) {
        let mut random = Random::new(0x1d);
        let mut report = Report::new(name);
        for _ in 0..cases(50) {
            let a = random.f80();
            let b: F = random.float();
            // Exponents and NaNs that meet each other's.
            let a = match random.below(4) {
                0 => x87::load_f64(&mut Env::default(), random.float()),
                1 => F80::from_parts(random.one_in(2), 0x7fff, random.pattern() | 1 << 63),
                _ => a,
            };
            for fcw in [0x37f, 0x7f, random_control(&mut random)] {
                let mut env = Env::from_fcw(fcw);
                let mut got = ours(&mut env, a, b);
                if env.suppresses_result() {
                    got = a;
                }
                let after = host(fcw, a, F80::ZERO, memory(&b.bits().to_le_bytes()));
                report.check(
                    (got, env.flags, env.roundup),
                    (after.st(0), after.flags(), after.c1()),
                    || format!("{a:?} {b:x?} fcw {fcw:#x}"),
                );
            }
        }
        report.finish();
    }
    check::<F32>("fadd m32", fadd_m32, x87::add);
    check::<F64>("fadd m64", fadd_m64, x87::add);
    check::<F32>("fmul m32", fmul_m32, x87::mul);
    check::<F64>("fmul m64", fmul_m64, x87::mul);
    check::<F32>("fsubr m32", fsubr_m32, |env, a, b| x87::sub(env, b, a));
    check::<F64>("fsub m64", fsub_m64, x87::sub);
    check::<F32>("fdiv m32", fdiv_m32, x87::div);
    check::<F64>("fdivr m64", fdivr_m64, |env, a, b| x87::div(env, b, a));
    check::<F32>("fcom m32", fcom_m32, |env, a, b| {
        x87::compare_signaling(env, a, b);
        a
    });
    check::<F64>("fcom m64", fcom_m64, |env, a, b| {
        x87::compare_signaling(env, a, b);
        a
    });
}

#[test]
fn load_integers() {
    let mut random = Random::new(0x1d2);
    let mut report = Report::new("fild, fbld");
    for _ in 0..cases(200) {
        let a = random.integer();
        let bytes = memory(&a.to_le_bytes());
        let load = |host: Host, bytes| host(0x37f, F80::ZERO, F80::ZERO, bytes).st(0);
        report.check(x87::from_i16(a as i16), load(fild_m16, bytes), || {
            format!("m16 {a:#x}")
        });
        report.check(x87::from_i32(a as i32), load(fild_m32, bytes), || {
            format!("m32 {a:#x}")
        });
        report.check(x87::from_i64(a), load(fild_m64, bytes), || {
            format!("m64 {a:#x}")
        });
        let mut digits = [0u8; 10];
        for digit in &mut digits[..random.below(10) as usize] {
            *digit = random.next() as u8;
        }
        digits[9] = (random.below(2) << 7) as u8;
        report.check(x87::from_bcd(digits), load(fbld, memory(&digits)), || {
            format!("bcd {digits:x?}")
        });
    }
    report.finish();
}

/// Compares the memory operand, flags and C1 of stores. What an unmasked exception keeps from memory must be untouched.
fn store(name: &str, host: Host, width: usize, ours: impl Fn(&mut Env, F80) -> u128) {
    let mut random = Random::new(0x57);
    let mut report = Report::new(name);
    for _ in 0..cases(100) {
        let a = random.f80();
        for fcw in [
            0x37f,
            0x77f,
            0xb7f,
            0xf7f,
            random_control(&mut random),
            random_control(&mut random),
        ] {
            let mut env = Env::from_fcw(fcw);
            let mut bytes = [0xa5; 16];
            let got = ours(&mut env, a);
            if !env.unmasked().intersects(!Flags::PE) {
                bytes[..width].copy_from_slice(&got.to_le_bytes()[..width]);
            }
            let after = host(fcw, a, F80::ZERO, [0xa5; 16]);
            report.check(
                (bytes, env.flags, env.roundup),
                (after.memory, after.flags(), after.c1()),
                || format!("{a:?} fcw {fcw:#x}"),
            );
        }
    }
    report.finish();
}

#[test]
fn store_floats() {
    store("fst m32", fst_m32, 4, |env, a| {
        x87::store_f32(env, a).bits().into()
    });
    store("fst m64", fst_m64, 8, |env, a| {
        x87::store_f64(env, a).bits().into()
    });
}

#[test]
fn store_integers() {
    fn truncating(env: &mut Env) -> &mut Env {
        env.rounding = Rounding::Zero;
        env
    }
    store("fist m16", fist_m16, 2, |env, a| {
        x87::to_i16(env, a) as u16 as u128
    });
    store("fist m32", fist_m32, 4, |env, a| {
        x87::to_i32(env, a) as u32 as u128
    });
    store("fistp m64", fistp_m64, 8, |env, a| {
        x87::to_i64(env, a) as u64 as u128
    });
    store("fisttp m16", fisttp_m16, 2, |env, a| {
        x87::to_i16(truncating(env), a) as u16 as u128
    });
    store("fisttp m32", fisttp_m32, 4, |env, a| {
        x87::to_i32(truncating(env), a) as u32 as u128
    });
    store("fisttp m64", fisttp_m64, 8, |env, a| {
        x87::to_i64(truncating(env), a) as u64 as u128
    });
    store("fbstp", fbstp, 10, |env, a| {
        let mut bytes = [0; 16];
        bytes[..10].copy_from_slice(&x87::to_bcd(env, a));
        u128::from_le_bytes(bytes)
    });
}

macro_rules! constants {
    ($($which:ident $insn:expr)*) => {
        #[test]
        fn constants() {
            let mut report = Report::new("constants");
            for fcw in masked_controls() {
                $({
                    x87_host!(host, $insn);
                    let mut env = Env::from_fcw(fcw);
                    let got = x87::constant(&mut env, Constant::$which);
                    let after = host(fcw, F80::ZERO, F80::ZERO, [0; 16]);
                    report.check((got, env.flags, env.roundup), (after.st(0), after.flags(), after.c1()), || {
                        format!("{} fcw {fcw:#x}", $insn)
                    });
                })*
            }
            report.finish();
        }
    };
}
constants!(One "fld1" Log2Ten "fldl2t" Log2E "fldl2e" Pi "fldpi" Log10Two "fldlg2" Ln2 "fldln2" Zero "fldz");
