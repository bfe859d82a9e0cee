//! The meaning of the x87 words of `semantics`: arithmetic, comparison and transfers on the register stack (Vol. 1, 8.3.2 to 8.3.6).
//!
//! `Stop::End` is the answer where an unmasked exception keeps back what the rest of the body would do.

use super::stack::{C0, C1, C2, C3, Stack};
use super::{complete, env, signal, stack_fault};
use crate::{Stop, state::Cpu};
use arch::Rflags;
use semantics::x87::{Arith, Format, Source, Step};
use softfloat::x87::{self, Operand};
use softfloat::{Env, F32, F64, F80, Flags, Ordering4, Rounding};

/// Does a step; `v` and `high` are the bits from memory.
pub fn step(cpu: &mut Cpu, step: Step, v: u64, high: u16) {
    match step {
        Step::Arith { op, dst, src, pops } => arith(cpu, op, dst, operand(cpu, src, v), pops),
        Step::Compare { quiet, src, pops } => {
            let src = operand(cpu, src, v);
            if let Some(r) = relation(cpu, quiet, src) {
                cpu.fpu.set_codes(match r {
                    Ordering4::Greater => 0,
                    Ordering4::Less => C0,
                    Ordering4::Equal => C3,
                    Ordering4::Unordered => C3 | C2 | C0,
                });
                for _ in 0..pops {
                    cpu.fpu.pop();
                }
            }
        }
        Step::SquareRoot => unary(cpu, x87::sqrt),
        Step::RoundToInteger => unary(cpu, x87::rndint),
        Step::Load(format) => load(cpu, format, v, high),
        Step::Duplicate(n) => match cpu.fpu.st(n) {
            Some(v) => push(cpu, Some(v)),
            // An empty source comes before a full stack.
            None => {
                if stack_fault(cpu, Stack::Underflow) {
                    cpu.fpu.push(F80::INDEFINITE);
                }
            }
        },
        Step::Constant(which) => {
            let v = x87::constant(&mut env(cpu), which);
            push(cpu, Some(v));
        }
        Step::Copy { to, pops } => {
            let v = match cpu.fpu.st(0) {
                Some(v) => {
                    cpu.fpu.set_flag(C1, false);
                    Some(v)
                }
                None => stack_fault(cpu, Stack::Underflow).then_some(F80::INDEFINITE),
            };
            if let Some(v) = v {
                cpu.fpu.set_st(to, v);
                if pops {
                    cpu.fpu.pop();
                }
            }
        }
        Step::Exchange(n) => exchange(cpu, n),
        Step::Negate => sign(cpu, F80::negate),
        Step::Absolute => sign(cpu, F80::abs),
        Step::Pop => cpu.fpu.pop(),
    }
}

fn operand(cpu: &Cpu, src: Source, v: u64) -> Option<Operand> {
    Some(match src {
        Source::St(n) => cpu.fpu.st(n)?.into(),
        Source::Single => F32(v as u32).into(),
        Source::Double => F64(v).into(),
        Source::Int16 => x87::from_i16(v as i16).into(),
        Source::Int32 => x87::from_i32(v as i32).into(),
        Source::Zero => F80::ZERO.into(),
    })
}

fn compute(env: &mut Env, op: Arith, dst: F80, src: Operand) -> F80 {
    match op {
        Arith::Add => x87::add(env, dst, src),
        Arith::Mul => x87::mul(env, dst, src),
        Arith::Sub => x87::sub(env, dst, src),
        Arith::SubR => x87::sub(env, src, dst),
        Arith::Div => x87::div(env, dst, src),
        Arith::DivR => x87::div(env, src, dst),
    }
}

/// DEST ← DEST op SRC.
fn arith(cpu: &mut Cpu, op: Arith, dst: u8, src: Option<Operand>, pops: bool) {
    let result = match (cpu.fpu.st(dst), src) {
        (Some(d), Some(s)) => {
            let mut env = env(cpu);
            let v = compute(&mut env, op, d, s);
            complete(cpu, &env).then_some(v)
        }
        _ => stack_fault(cpu, Stack::Underflow).then_some(F80::INDEFINITE),
    };
    if let Some(v) = result {
        cpu.fpu.set_st(dst, v);
        if pops {
            cpu.fpu.pop();
        }
    }
}

/// ST(0) against SRC; `None` if nothing is to be changed. An unmasked invalid operation leaves condition codes, EFLAGS and stack as they
/// were, as the SDM has it.
fn relation(cpu: &mut Cpu, quiet: bool, src: Option<Operand>) -> Option<Ordering4> {
    let (Some(a), Some(b)) = (cpu.fpu.st(0), src) else {
        return stack_fault(cpu, Stack::Underflow).then_some(Ordering4::Unordered);
    };
    let mut env = env(cpu);
    let r = if quiet {
        x87::compare_quiet(&mut env, a, b)
    } else {
        x87::compare_signaling(&mut env, a, b)
    };
    complete(cpu, &env).then_some(r)
}

/// ZF, PF and CF of ST(0) against ST(`n`).
pub fn compare(cpu: &mut Cpu, quiet: bool, n: u8, pops: bool) -> Result<u64, Stop> {
    let src = cpu.fpu.st(n).map(Operand::from);
    let r = relation(cpu, quiet, src).ok_or(Stop::End)?;
    if pops {
        cpu.fpu.pop();
    }
    let flags = match r {
        Ordering4::Greater => Rflags::empty(),
        Ordering4::Less => Rflags::CF,
        Ordering4::Equal => Rflags::ZF,
        Ordering4::Unordered => Rflags::ZF | Rflags::PF | Rflags::CF,
    };
    Ok(flags.bits())
}

/// ST(0) ← f(ST(0)).
fn unary(cpu: &mut Cpu, f: impl FnOnce(&mut Env, F80) -> F80) {
    let result = match cpu.fpu.st(0) {
        Some(a) => {
            let mut env = env(cpu);
            let v = f(&mut env, a);
            complete(cpu, &env).then_some(v)
        }
        None => stack_fault(cpu, Stack::Underflow).then_some(F80::INDEFINITE),
    };
    if let Some(v) = result {
        cpu.fpu.set_st(0, v);
    }
}

/// Pushes a value, `None` standing for what an unmasked exception keeps back. An overflow of the stack comes before anything else.
pub fn push(cpu: &mut Cpu, v: Option<F80>) {
    if cpu.fpu.is_full() {
        if stack_fault(cpu, Stack::Overflow) {
            cpu.fpu.push(F80::INDEFINITE);
        }
        return;
    }
    cpu.fpu.set_flag(C1, false);
    if let Some(v) = v {
        cpu.fpu.push(v);
    }
}

fn load(cpu: &mut Cpu, format: Format, v: u64, high: u16) {
    let mut env = env(cpu);
    let v = match format {
        Format::Single => x87::load_f32(&mut env, F32(v as u32)),
        Format::Double => x87::load_f64(&mut env, F64(v)),
        Format::Extended => F80::new(high, v),
        Format::Int16 => x87::from_i16(v as i16),
        Format::Int32 => x87::from_i32(v as i32),
        Format::Int64 => x87::from_i64(v as i64),
    };
    if !cpu.fpu.is_full() {
        signal(cpu, env.flags);
    }
    // Of the unmasked exceptions only IE keeps the value back.
    push(cpu, (!env.unmasked().contains(Flags::IE)).then_some(v));
}

/// `v` in `format`: the low 64 bits and, for ten bytes, the rest.
fn convert(env: &mut Env, format: Format, v: F80) -> (u64, u16) {
    match format {
        Format::Single => (x87::store_f32(env, v).0.into(), 0),
        Format::Double => (x87::store_f64(env, v).0, 0),
        Format::Extended => (v.significand, v.sign_exponent),
        Format::Int16 => (x87::to_i16(env, v) as u64, 0),
        Format::Int32 => (x87::to_i32(env, v) as u64, 0),
        Format::Int64 => (x87::to_i64(env, v) as u64, 0),
    }
}

/// ST(0) in `format`; FISTTP truncates whatever RC says.
pub fn store(cpu: &mut Cpu, format: Format, truncating: bool) -> Result<(u64, u16), Stop> {
    let mut env = env(cpu);
    if truncating {
        env.rounding = Rounding::Zero;
    }
    match cpu.fpu.st(0) {
        Some(v) => {
            let r = convert(&mut env, format, v);
            complete(cpu, &env);
            if env.unmasked().intersects(Flags::IE | Flags::OE | Flags::UE) {
                return Err(Stop::End);
            }
            Ok(r)
        }
        None if stack_fault(cpu, Stack::Underflow) => {
            // The indefinite of each format, without further flags.
            Ok(convert(&mut Env::default(), format, F80::INDEFINITE))
        }
        None => Err(Stop::End),
    }
}

/// FXCH: empty registers count as the indefinite, after the stack fault.
fn exchange(cpu: &mut Cpu, n: u8) {
    let (a, b) = (cpu.fpu.st(0), cpu.fpu.st(n));
    if a.is_none() || b.is_none() {
        if !stack_fault(cpu, Stack::Underflow) {
            return;
        }
    } else {
        cpu.fpu.set_flag(C1, false);
    }
    cpu.fpu.set_st(0, b.unwrap_or(F80::INDEFINITE));
    cpu.fpu.set_st(n, a.unwrap_or(F80::INDEFINITE));
}

/// FCHS, FABS.
fn sign(cpu: &mut Cpu, f: impl FnOnce(F80) -> F80) {
    match cpu.fpu.st(0) {
        Some(v) => {
            cpu.fpu.set_flag(C1, false);
            cpu.fpu.set_st(0, f(v));
        }
        None => {
            if stack_fault(cpu, Stack::Underflow) {
                cpu.fpu.set_st(0, F80::INDEFINITE);
            }
        }
    }
}
