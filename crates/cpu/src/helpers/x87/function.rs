//! Functions of ST(0) and ST(1): remainder, scaling, transcendentals (Vol. 1, 8.3.3, 8.3.5, 8.3.7 to 8.3.9).

use super::stack::{C0, C1, C2, C3, Stack};
use super::{complete, env, note_pointers, ready, stack_fault};
use crate::{Stop, state::Cpu};
use decode::{Code, Insn};
use softfloat::x87;
use softfloat::{Class, Env, F80};

/// ST(0) ← f(ST(0)): F2XM1, FSIN, FCOS. The latter two set C2, and change nothing, for operands out of range.
pub fn unary(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    note_pointers(cpu, i);
    let Some(a) = cpu.fpu.st(0) else {
        if matches!(i.code, Code::Fsin | Code::Fcos) {
            cpu.fpu.set_flag(C2, false);
        }
        if stack_fault(cpu, Stack::Underflow) {
            cpu.fpu.set_st(0, F80::INDEFINITE);
        }
        return Ok(());
    };
    let mut env = env(cpu);
    let env = &mut env;
    let result = match i.code {
        Code::F2xm1 => Some(x87::f2xm1(env, a)),
        Code::Fsin => reduced(cpu, x87::sin(env, a)),
        _ => reduced(cpu, x87::cos(env, a)),
    };
    if complete(cpu, env)
        && let Some(v) = result
    {
        cpu.fpu.set_st(0, v);
    }
    Ok(())
}

/// C2 tells that the operand was out of range.
fn reduced<T>(cpu: &mut Cpu, result: Option<T>) -> Option<T> {
    cpu.fpu.set_flag(C2, result.is_none());
    result
}

/// ST(1) ← f(ST(1), ST(0)), pop: FPATAN, FYL2X, FYL2XP1.
pub fn binary(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    note_pointers(cpu, i);
    let result = match (cpu.fpu.st(1), cpu.fpu.st(0)) {
        (Some(y), Some(x)) => {
            let mut env = env(cpu);
            let v = match i.code {
                Code::Fpatan => x87::patan(&mut env, y, x),
                Code::Fyl2x => x87::yl2x(&mut env, y, x),
                _ => x87::yl2xp1(&mut env, y, x),
            };
            complete(cpu, &env).then_some(v)
        }
        _ => stack_fault(cpu, Stack::Underflow).then_some(F80::INDEFINITE),
    };
    if let Some(v) = result {
        cpu.fpu.set_st(1, v);
        cpu.fpu.pop();
    }
    Ok(())
}

/// ST(0) ← f(ST(0), ST(1)): FPREM, FPREM1, FSCALE.
pub fn scale(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    note_pointers(cpu, i);
    let (Some(a), Some(b)) = (cpu.fpu.st(0), cpu.fpu.st(1)) else {
        if i.code != Code::Fscale {
            cpu.fpu.set_flag(C2, false);
        }
        if stack_fault(cpu, Stack::Underflow) {
            cpu.fpu.set_st(0, F80::INDEFINITE);
        }
        return Ok(());
    };
    let mut env = env(cpu);
    if i.code == Code::Fscale {
        let v = x87::scale(&mut env, a, b);
        if complete(cpu, &env) {
            cpu.fpu.set_st(0, v);
        }
        return Ok(());
    }
    let r = match i.code {
        Code::Fprem1 => x87::prem1(&mut env, a, b),
        _ => x87::prem(&mut env, a, b),
    };
    if complete(cpu, &env) {
        cpu.fpu.set_st(0, r.value);
        if r.value.class() == Class::Nan {
            // There is no quotient: the reduction is complete, C0 and C3 stay.
            cpu.fpu.set_flag(C1 | C2, false);
            return Ok(());
        }
        let code = |bit: u8, flag: u16| if r.quotient & bit != 0 { flag } else { 0 };
        let partial = if r.partial { C2 } else { 0 };
        cpu.fpu
            .set_codes(code(4, C0) | code(2, C3) | code(1, C1) | partial);
    }
    Ok(())
}

/// Two results, the second pushed: FXTRACT, FPTAN, FSINCOS.
pub fn double(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    note_pointers(cpu, i);
    let (a, full) = (cpu.fpu.st(0), cpu.fpu.is_full());
    let result = match a {
        Some(a) if !full => {
            let mut env = env(cpu);
            let pair = both(cpu, &mut env, i.code, a);
            if complete(cpu, &env) { pair } else { None }
        }
        _ => {
            if i.code != Code::Fxtract {
                cpu.fpu.set_flag(C2, false);
            }
            let how = if a.is_none() {
                Stack::Underflow
            } else {
                Stack::Overflow
            };
            stack_fault(cpu, how).then_some((F80::INDEFINITE, F80::INDEFINITE))
        }
    };
    if let Some((below, top)) = result {
        cpu.fpu.set_st(0, below);
        cpu.fpu.push(top);
    }
    Ok(())
}

fn both(cpu: &mut Cpu, env: &mut Env, code: Code, a: F80) -> Option<(F80, F80)> {
    match code {
        Code::Fxtract => Some(x87::xtract(env, a)),
        Code::Fsincos => reduced(cpu, x87::sincos(env, a)),
        _ => {
            let tan = reduced(cpu, x87::tan(env, a))?;
            let one = if tan.class() == Class::Nan {
                tan
            } else {
                F80::ONE
            };
            Some((tan, one))
        }
    }
}
