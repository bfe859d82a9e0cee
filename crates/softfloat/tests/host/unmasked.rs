//! SSE instructions with unmasked exceptions: the host traps, and a SIGFPE handler tells which flags it had set.

use crate::operands::Random;
use crate::report::{Report, cases};
use softfloat::sse::{self, Inexact};
use softfloat::{Env, F32, F64, Format, Rounding};
use std::arch::{asm, naked_asm};

/// `struct sigaction` of the kernel's interface.
#[repr(C)]
struct SigAction {
    handler: extern "C" fn(i32, *mut u8, *mut u64),
    flags: u64,
    restorer: unsafe extern "C" fn(),
    mask: u64,
}

/// Ends a signal handler: `rt_sigreturn`.
#[unsafe(naked)]
unsafe extern "C" fn restorer() {
    naked_asm!("mov eax, 15", "syscall")
}

/// Hands MXCSR over in R14 with bit 32 set, masks everything and goes on at the address in R15.
extern "C" fn on_sigfpe(_signal: i32, _info: *mut u8, context: *mut u64) {
    // SAFETY: `context` is the kernel's `ucontext` of the thread that trapped, which is in `run` below: the general registers
    // stand from word 5, in the order R8 to R15, RDI, RSI, RBP, RBX, RDX, RAX, RCX, RSP, RIP; word 28 points at the FXSAVE
    // image, with MXCSR at byte 24.
    unsafe {
        let registers = context.add(5);
        let mxcsr = (*context.add(28) as *mut u32).add(6);
        *registers.add(6) = u64::from(*mxcsr) | 1 << 32;
        *mxcsr = 0x1f80;
        *registers.add(16) = *registers.add(7);
    }
}

fn install() {
    let action = SigAction {
        handler: on_sigfpe,
        flags: 0x4400_0004,
        restorer,
        mask: 0,
    };
    let result: i64;
    // SAFETY: rt_sigaction(SIGFPE, &action, NULL, 8) with a handler that lives as long as the program.
    unsafe {
        asm!("syscall", inlateout("rax") 13i64 => result, in("rdi") 8, in("rsi") &action, in("rdx") 0, in("r10") 8,
            out("rcx") _, out("r11") _);
    }
    assert_eq!(result, 0);
}

/// What an instruction did: the register, MXCSR's flags, and whether it trapped.
type Done = ([u64; 2], u8, bool);
type HostOp = fn(u32, [u64; 2], [u64; 2]) -> Done;

macro_rules! host {
    ($insn:expr) => {{
        fn run(mxcsr: u32, a: [u64; 2], b: [u64; 2]) -> Done {
            let (mut saved, mut after, mut result) = (0u32, mxcsr, a);
            let trapped: u64;
            // SAFETY: a trap ends in `on_sigfpe`, which goes on at label 2; MXCSR is restored; only locals are written.
            unsafe {
                asm!(
                    "stmxcsr [{saved}]", "xor r14d, r14d", "lea r15, [rip + 2f]",
                    "movups xmm0, [{r}]", "movups xmm1, [{b}]", "mov rax, [{r}]",
                    "ldmxcsr [{after}]",
                    $insn,
                    "stmxcsr [{after}]",
                    "2:",
                    "ldmxcsr [{saved}]", "movups [{r}], xmm0",
                    saved = in(reg) &mut saved, after = in(reg) &mut after, r = in(reg) &mut result, b = in(reg) &b,
                    out("rax") _, out("r14") trapped, out("r15") _, out("xmm0") _, out("xmm1") _,
                );
            }
            let flags = if trapped == 0 { after } else { trapped as u32 };
            (result, flags as u8 & 63, trapped != 0)
        }
        run as HostOp
    }};
}

fn random_mxcsr(random: &mut Random) -> u32 {
    let masks = if random.one_in(2) {
        random.below(64)
    } else {
        63 ^ 1 << random.below(6)
    };
    let modes = random.below(16);
    (masks << 7 | (modes & 3) << 13 | (modes & 4) << 4 | (modes & 8) << 12) as u32
}

/// Runs a packed instruction and its elements one by one.
fn packed<F: Format>(name: &str, host: HostOp, ours: impl Fn(&mut Env, F, F) -> F) {
    install();
    let mut random = Random::new(0x3a9);
    let mut report = Report::new(name);
    let bits = (F::FRACTION + F::EXPONENT + 1) as usize;
    let lanes = 128 / bits;
    for _ in 0..cases(20) {
        let (mut a, mut b) = ([0u64; 2], [0u64; 2]);
        for lane in 0..lanes {
            // Ordinary lanes in between, so that post-computation exceptions are not always hidden.
            let x: F = if random.one_in(2) {
                random.float()
            } else {
                F::from_low_bits((F::BIAS as u64) << F::FRACTION)
            };
            let y = if random.one_in(2) {
                random.float_near(x)
            } else {
                x
            };
            a[lane * bits / 64] |= x.bits() << (lane * bits % 64);
            b[lane * bits / 64] |= y.bits() << (lane * bits % 64);
        }
        let mxcsr = random_mxcsr(&mut random);
        let mut env = Env::from_mxcsr(mxcsr);
        let mut result = [0u64; 2];
        for lane in 0..lanes {
            let pick = |v: [u64; 2]| F::from_low_bits(v[lane * bits / 64] >> (lane * bits % 64));
            let value = ours(&mut env, pick(a), pick(b));
            result[lane * bits / 64] |= value.bits() << (lane * bits % 64);
        }
        env.finish_packed();
        let trapped = !env.unmasked().is_empty();
        if trapped {
            result = a;
        }
        report.check(
            (result, env.flags.bits(), trapped),
            host(mxcsr, a, b),
            || format!("{a:x?} {b:x?} mxcsr {mxcsr:#x} (got {:?})", env.flags),
        );
    }
    report.finish();
}

/// Runs a scalar instruction; `ours` gives the low 64 bits of the register.
fn scalar<F: Format>(name: &str, host: HostOp, ours: impl Fn(&mut Env, F, F) -> u64) {
    install();
    let mut random = Random::new(0x3aa);
    let mut report = Report::new(name);
    for _ in 0..cases(20) {
        let x: F = random.float();
        let y = random.float_near(x);
        let (a, b) = ([x.bits(), 0], [y.bits(), 0]);
        let mxcsr = random_mxcsr(&mut random);
        let mut env = Env::from_mxcsr(mxcsr);
        let result = [ours(&mut env, x, y), 0];
        let trapped = !env.unmasked().is_empty();
        report.check(
            (if trapped { a } else { result }, env.flags.bits(), trapped),
            host(mxcsr, a, b),
            || format!("{x:x?} {y:x?} mxcsr {mxcsr:#x} (got {:?})", env.flags),
        );
    }
    report.finish();
}

#[test]
fn packed_arithmetic() {
    packed::<F32>("addps", host!("addps xmm0, xmm1"), sse::add);
    packed::<F64>("addpd", host!("addpd xmm0, xmm1"), sse::add);
    packed::<F32>("subps", host!("subps xmm0, xmm1"), sse::sub);
    packed::<F64>("subpd", host!("subpd xmm0, xmm1"), sse::sub);
    packed::<F32>("mulps", host!("mulps xmm0, xmm1"), sse::mul);
    packed::<F64>("mulpd", host!("mulpd xmm0, xmm1"), sse::mul);
    packed::<F32>("divps", host!("divps xmm0, xmm1"), sse::div);
    packed::<F64>("divpd", host!("divpd xmm0, xmm1"), sse::div);
    packed::<F32>("minps", host!("minps xmm0, xmm1"), sse::min);
    packed::<F64>("maxpd", host!("maxpd xmm0, xmm1"), sse::max);
    packed::<F32>("sqrtps", host!("sqrtps xmm0, xmm1"), |env, _, b| {
        sse::sqrt(env, b)
    });
    packed::<F64>("sqrtpd", host!("sqrtpd xmm0, xmm1"), |env, _, b| {
        sse::sqrt(env, b)
    });
    packed::<F32>("cvtps2dq", host!("cvtps2dq xmm0, xmm1"), |env, _, b| {
        F32(sse::to_i32(env, b, env.rounding) as u32)
    });
    packed::<F32>("cmpltps", host!("cmpltps xmm0, xmm1"), |env, a, b| {
        F32(if sse::cmp_predicate(env, a, b, 1) {
            u32::MAX
        } else {
            0
        })
    });
}

#[test]
fn scalar_conversions() {
    scalar::<F32>("cvtss2sd", host!("cvtss2sd xmm0, xmm0"), |env, a, _| {
        sse::f32_to_f64(env, a).bits()
    });
    scalar::<F64>(
        "cvtsd2ss",
        host!("cvtsd2ss xmm0, xmm0; movd eax, xmm0; movq xmm0, rax"),
        |env, a, _| sse::f64_to_f32(env, a).bits(),
    );
    scalar::<F32>(
        "cvttss2si",
        host!("cvttss2si rax, xmm0; movq xmm0, rax"),
        |env, a, _| sse::to_i64(env, a, Rounding::Zero) as u64,
    );
    scalar::<F64>(
        "cvtsd2si",
        host!("cvtsd2si rax, xmm0; movq xmm0, rax"),
        |env, a, _| sse::to_i64(env, a, env.rounding) as u64,
    );
    if std::arch::is_x86_feature_detected!("sse4.1") {
        scalar::<F64>("roundsd", host!("roundsd xmm0, xmm0, 4"), |env, a, _| {
            sse::round_to_integral(env, a, env.rounding, Inexact::Report).bits()
        });
    }
    scalar::<F64>(
        "comisd",
        host!("comisd xmm0, xmm1; pushfq; pop rax; and eax, 0x45; movq xmm0, rax"),
        |env, a, b| [1, 0x40, 0, 0x45][sse::compare_signaling(env, a, b) as usize],
    );
}
