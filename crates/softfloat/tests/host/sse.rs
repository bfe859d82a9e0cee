//! SSE scalar instructions against the host. All exceptions masked, as an unmasked one would trap.

use crate::operands::Random;
use crate::report::{Report, cases};
use softfloat::sse::{self, Inexact};
use softfloat::{Env, F32, F64, Format, Ordering4, Rounding};
use std::arch::asm;

/// Runs one instruction on `xmm0` (first operand and result) and `xmm1` under an MXCSR value.
macro_rules! host {
    ($name:ident, $insn:expr) => {
        fn $name(mxcsr: u32, a: u64, b: u64) -> (u64, u32) {
            let (mut saved, mut after) = (0u32, mxcsr);
            let result: u64;
            // SAFETY: masked exceptions only; MXCSR is restored; no memory but the two locals is written.
            unsafe {
                asm!(
                    "stmxcsr [{saved}]", "ldmxcsr [{after}]",
                    "movq xmm0, {a}", "movq xmm1, {b}",
                    $insn,
                    "movq {r}, xmm0",
                    "stmxcsr [{after}]", "ldmxcsr [{saved}]",
                    saved = in(reg) &mut saved, after = in(reg) &mut after, a = in(reg) a, b = in(reg) b,
                    r = out(reg) result, out("rax") _, out("xmm0") _, out("xmm1") _,
                );
            }
            (result, after & 63)
        }
    };
}

host!(addss, "addss xmm0, xmm1");
host!(addsd, "addsd xmm0, xmm1");
host!(subss, "subss xmm0, xmm1");
host!(subsd, "subsd xmm0, xmm1");
host!(mulss, "mulss xmm0, xmm1");
host!(mulsd, "mulsd xmm0, xmm1");
host!(divss, "divss xmm0, xmm1");
host!(divsd, "divsd xmm0, xmm1");
host!(minss, "minss xmm0, xmm1");
host!(minsd, "minsd xmm0, xmm1");
host!(maxss, "maxss xmm0, xmm1");
host!(maxsd, "maxsd xmm0, xmm1");
host!(sqrtss, "sqrtss xmm0, xmm0");
host!(sqrtsd, "sqrtsd xmm0, xmm0");
host!(cvtss2sd, "cvtss2sd xmm0, xmm0");
host!(cvtsd2ss, "cvtsd2ss xmm0, xmm0");
host!(cvtss2si32, "cvtss2si eax, xmm0; movq xmm0, rax");
host!(cvtsd2si32, "cvtsd2si eax, xmm0; movq xmm0, rax");
host!(cvtss2si64, "cvtss2si rax, xmm0; movq xmm0, rax");
host!(cvtsd2si64, "cvtsd2si rax, xmm0; movq xmm0, rax");
host!(cvttss2si32, "cvttss2si eax, xmm0; movq xmm0, rax");
host!(cvttsd2si32, "cvttsd2si eax, xmm0; movq xmm0, rax");
host!(cvttss2si64, "cvttss2si rax, xmm0; movq xmm0, rax");
host!(cvttsd2si64, "cvttsd2si rax, xmm0; movq xmm0, rax");
host!(cvtsi2ss32, "movq rax, xmm0; cvtsi2ss xmm0, eax");
host!(cvtsi2sd32, "movq rax, xmm0; cvtsi2sd xmm0, eax");
host!(cvtsi2ss64, "movq rax, xmm0; cvtsi2ss xmm0, rax");
host!(cvtsi2sd64, "movq rax, xmm0; cvtsi2sd xmm0, rax");
host!(comiss, "comiss xmm0, xmm1; pushfq; pop rax; movq xmm0, rax");
host!(comisd, "comisd xmm0, xmm1; pushfq; pop rax; movq xmm0, rax");
host!(
    ucomiss,
    "ucomiss xmm0, xmm1; pushfq; pop rax; movq xmm0, rax"
);
host!(
    ucomisd,
    "ucomisd xmm0, xmm1; pushfq; pop rax; movq xmm0, rax"
);

/// The 16 MXCSR values with everything masked: four roundings, DAZ, FTZ.
fn controls() -> impl Iterator<Item = u32> {
    (0..16).map(|i: u32| 0x1f80 | (i & 3) << 13 | (i & 4) << 4 | (i & 8) << 12)
}

fn low<F: Format>(bits: u64) -> u64 {
    bits & (F::SIGN << 1).wrapping_sub(1)
}

type HostOp = fn(u32, u64, u64) -> (u64, u32);

fn binary<F: Format>(name: &str, host: HostOp, ours: impl Fn(&mut Env, F, F) -> u64) {
    // There are many predicates.
    let weight = if name.starts_with("cmp") { 20 } else { 100 };
    let mut random = Random::new(0x5eed);
    let mut report = Report::new(name);
    for _ in 0..cases(weight) {
        let a: F = random.float();
        let b = random.float_near(a);
        for mxcsr in controls() {
            let mut env = Env::from_mxcsr(mxcsr);
            let got = ours(&mut env, a, b);
            let (value, flags) = host(mxcsr, a.bits(), b.bits());
            report.check((got, u32::from(env.flags.bits())), (value, flags), || {
                format!("{a:x?} {b:x?} mxcsr {mxcsr:#x} (got {:?})", env.flags)
            });
        }
    }
    report.finish();
}

/// The host's register keeps the operand's upper half in single operations; only the low half is the result.
fn masked<F: Format>(host: HostOp) -> impl Fn(u32, u64, u64) -> (u64, u32) {
    move |mxcsr, a, b| {
        let (value, flags) = host(mxcsr, a, b);
        (low::<F>(value), flags)
    }
}

macro_rules! arithmetic {
    ($($test:ident: $f32:ident, $f64:ident = $ours:expr;)*) => {$(
        #[test]
        fn $test() {
            let ours: fn(&mut Env, F32, F32) -> F32 = $ours;
            binary::<F32>(stringify!($f32), |m, a, b| masked::<F32>($f32)(m, a, b), |e, a, b| ours(e, a, b).bits());
            let ours: fn(&mut Env, F64, F64) -> F64 = $ours;
            binary::<F64>(stringify!($f64), $f64, |e, a, b| ours(e, a, b).bits());
        }
    )*};
}

arithmetic! {
    add: addss, addsd = sse::add;
    sub: subss, subsd = sse::sub;
    mul: mulss, mulsd = sse::mul;
    div: divss, divsd = sse::div;
    min: minss, minsd = sse::min;
    max: maxss, maxsd = sse::max;
    sqrt: sqrtss, sqrtsd = |env, a, _| sse::sqrt(env, a);
}

#[test]
fn change_format() {
    binary::<F32>("cvtss2sd", cvtss2sd, |e, a, _| sse::f32_to_f64(e, a).bits());
    binary::<F64>(
        "cvtsd2ss",
        |m, a, b| masked::<F32>(cvtsd2ss)(m, a, b),
        |e, a, _| sse::f64_to_f32(e, a).bits(),
    );
}

#[test]
fn to_integer() {
    fn to32<F: Format>(env: &mut Env, a: F, rounding: Rounding) -> u64 {
        u64::from(sse::to_i32(env, a, rounding) as u32)
    }
    fn to64<F: Format>(env: &mut Env, a: F, rounding: Rounding) -> u64 {
        sse::to_i64(env, a, rounding) as u64
    }
    binary::<F32>("cvtss2si32", cvtss2si32, |e, a, _| to32(e, a, e.rounding));
    binary::<F64>("cvtsd2si32", cvtsd2si32, |e, a, _| to32(e, a, e.rounding));
    binary::<F32>("cvtss2si64", cvtss2si64, |e, a, _| to64(e, a, e.rounding));
    binary::<F64>("cvtsd2si64", cvtsd2si64, |e, a, _| to64(e, a, e.rounding));
    binary::<F32>("cvttss2si32", cvttss2si32, |e, a, _| {
        to32(e, a, Rounding::Zero)
    });
    binary::<F64>("cvttsd2si32", cvttsd2si32, |e, a, _| {
        to32(e, a, Rounding::Zero)
    });
    binary::<F32>("cvttss2si64", cvttss2si64, |e, a, _| {
        to64(e, a, Rounding::Zero)
    });
    binary::<F64>("cvttsd2si64", cvttsd2si64, |e, a, _| {
        to64(e, a, Rounding::Zero)
    });
}

#[test]
fn from_integer() {
    fn check<F: Format>(name: &str, host: HostOp, ours: fn(&mut Env, i64) -> F) {
        let mut random = Random::new(0x1279);
        let mut report = Report::new(name);
        for _ in 0..cases(100) {
            let value = random.integer();
            for mxcsr in controls() {
                let mut env = Env::from_mxcsr(mxcsr);
                let got = (ours(&mut env, value).bits(), u32::from(env.flags.bits()));
                let (bits, flags) = host(mxcsr, value as u64, 0);
                report.check(got, (low::<F>(bits), flags), || {
                    format!("{value:#x} mxcsr {mxcsr:#x}")
                });
            }
        }
        report.finish();
    }
    check::<F32>("cvtsi2ss32", cvtsi2ss32, |e, v| sse::from_i32(e, v as i32));
    check::<F64>("cvtsi2sd32", cvtsi2sd32, |e, v| sse::from_i32(e, v as i32));
    check::<F32>("cvtsi2ss64", cvtsi2ss64, sse::from_i64);
    check::<F64>("cvtsi2sd64", cvtsi2sd64, sse::from_i64);
}

#[test]
fn compare() {
    fn zf_pf_cf(outcome: Ordering4) -> u64 {
        match outcome {
            Ordering4::Less => 1,
            Ordering4::Equal => 0x40,
            Ordering4::Greater => 0,
            Ordering4::Unordered => 0x45,
        }
    }
    fn flags(host: HostOp) -> impl Fn(u32, u64, u64) -> (u64, u32) {
        move |mxcsr, a, b| {
            let (eflags, exceptions) = host(mxcsr, a, b);
            (eflags & 0x45, exceptions)
        }
    }
    binary::<F32>(
        "comiss",
        |m, a, b| flags(comiss)(m, a, b),
        |e, a, b| zf_pf_cf(sse::compare_signaling(e, a, b)),
    );
    binary::<F64>(
        "comisd",
        |m, a, b| flags(comisd)(m, a, b),
        |e, a, b| zf_pf_cf(sse::compare_signaling(e, a, b)),
    );
    binary::<F32>(
        "ucomiss",
        |m, a, b| flags(ucomiss)(m, a, b),
        |e, a, b| zf_pf_cf(sse::compare_quiet(e, a, b)),
    );
    binary::<F64>(
        "ucomisd",
        |m, a, b| flags(ucomisd)(m, a, b),
        |e, a, b| zf_pf_cf(sse::compare_quiet(e, a, b)),
    );
}

macro_rules! predicates {
    ($($imm:literal)*) => {
        #[test]
        fn cmp() {
            if !std::arch::is_x86_feature_detected!("avx") {
                println!("skipped: the host has no AVX, whose VCMPSS has all 32 predicates");
                return;
            }
            $({
                host!(vcmpss, concat!("vcmpss xmm0, xmm0, xmm1, ", $imm));
                host!(vcmpsd, concat!("vcmpsd xmm0, xmm0, xmm1, ", $imm));
                binary::<F32>(concat!("cmpss ", $imm), |m, a, b| masked::<F32>(vcmpss)(m, a, b), |e, a, b| {
                    if sse::cmp_predicate(e, a, b, $imm) { 0xffff_ffff } else { 0 }
                });
                binary::<F64>(concat!("cmpsd ", $imm), vcmpsd, |e, a, b| {
                    if sse::cmp_predicate(e, a, b, $imm) { u64::MAX } else { 0 }
                });
            })*
        }
    };
}
predicates!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31);

macro_rules! round_modes {
    ($($imm:literal)*) => {
        #[test]
        fn round_to_integral() {
            if !std::arch::is_x86_feature_detected!("sse4.1") {
                println!("skipped: the host has no SSE4.1");
                return;
            }
            fn ours<F: Format>(env: &mut Env, a: F, imm: u8) -> u64 {
                let rounding = if imm & 4 != 0 { env.rounding } else { Rounding::from_rc(imm) };
                let inexact = if imm & 8 != 0 { Inexact::Suppress } else { Inexact::Report };
                sse::round_to_integral(env, a, rounding, inexact).bits()
            }
            $({
                host!(roundss, concat!("roundss xmm0, xmm0, ", $imm));
                host!(roundsd, concat!("roundsd xmm0, xmm0, ", $imm));
                binary::<F32>(concat!("roundss ", $imm), |m, a, b| masked::<F32>(roundss)(m, a, b), |e, a, _| ours(e, a, $imm));
                binary::<F64>(concat!("roundsd ", $imm), roundsd, |e, a, _| ours(e, a, $imm));
            })*
        }
    };
}
round_modes!(0 1 2 3 4 8 9 10 11 12);

host!(rcpss, "rcpss xmm0, xmm0");
host!(rsqrtss, "rsqrtss xmm0, xmm0");

/// The approximations differ from chip to chip: both must lie within twice the documented bound, and special cases agree.
#[test]
fn approximations() {
    for (name, host, ours) in [
        ("rcpss", rcpss as HostOp, sse::rcp as fn(F32) -> F32),
        ("rsqrtss", rsqrtss, sse::rsqrt),
    ] {
        let mut random = Random::new(0xa99);
        let mut report = Report::new(name);
        for _ in 0..cases(100) {
            let a: F32 = random.float();
            let got = f32::from_bits(ours(a).0);
            let (bits, _) = host(0x1f80, a.bits(), 0);
            let want = f32::from_bits(bits as u32);
            // A result near the smallest normal number may be flushed by one and not by the other.
            let close = (f64::from(got) / f64::from(want) - 1.0).abs() <= 3.0 / 4096.0
                || got.abs().max(want.abs()) < f32::MIN_POSITIVE * 1.001;
            if !close {
                report.check(got.to_bits(), want.to_bits(), || format!("{a:x?}"));
            } else {
                report.check(0, 0, String::new);
            }
        }
        report.finish();
    }
}
