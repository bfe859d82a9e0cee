//! Comparison and classification (Vol. 1, 8.3.6): FCOM, FUCOM, FICOM, FTST, FXAM and the forms that set EFLAGS.
//!
//! An unmasked invalid operation leaves condition codes, EFLAGS and stack as they were, as the SDM has it.

use super::arith::memory_operand;
use super::stack::{C0, C1, C2, C3, Stack};
use super::{complete, env, note_pointers, ready, stack_fault, sti};
use crate::{Stop, state::Cpu};
use arch::Rflags;
use decode::{Code, Insn};
use softfloat::x87::{self, Operand};
use softfloat::{Class, F80, Ordering4};

/// Whether quiet NaNs compare without an exception.
fn quiet(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        Fucom_st0_sti | Fucomp_st0_sti | Fucompp | Fucomi_st0_sti | Fucomip_st0_sti
    )
}

fn pops(code: Code) -> u32 {
    use Code::*;
    match code {
        Fcompp | Fucompp => 2,
        Fcomp_m32fp | Fcomp_m64fp | Ficomp_m16int | Ficomp_m32int | Fcomp_st0_sti
        | Fcomp_st0_sti_DCD8 | Fcomp_st0_sti_DED0 | Fucomp_st0_sti | Fcomip_st0_sti
        | Fucomip_st0_sti => 1,
        _ => 0,
    }
}

/// ST(0) against SRC; `None` if nothing is to be changed.
fn relation(cpu: &mut Cpu, i: &Insn) -> Result<Option<Ordering4>, Stop> {
    ready(cpu)?;
    let memory = memory_operand(cpu, i)?;
    let src = match i.code {
        Code::Ftst => Some(F80::ZERO.into()),
        Code::Fcompp | Code::Fucompp => cpu.fpu.st(1).map(Operand::from),
        _ => memory.or_else(|| cpu.fpu.st(sti(i)).map(Operand::from)),
    };
    note_pointers(cpu, i);
    let (Some(a), Some(b)) = (cpu.fpu.st(0), src) else {
        return Ok(stack_fault(cpu, Stack::Underflow).then_some(Ordering4::Unordered));
    };
    let mut env = env(cpu);
    let r = if quiet(i.code) {
        x87::compare_quiet(&mut env, a, b)
    } else {
        x87::compare_signaling(&mut env, a, b)
    };
    Ok(complete(cpu, &env).then_some(r))
}

fn pop(cpu: &mut Cpu, n: u32) {
    for _ in 0..n {
        cpu.fpu.pop();
    }
}

/// FCOM, FCOMP, FCOMPP, FUCOM, FUCOMP, FUCOMPP, FICOM, FICOMP, FTST: C3, C2, C0.
pub fn compare(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    if let Some(r) = relation(cpu, i)? {
        cpu.fpu.set_codes(match r {
            Ordering4::Greater => 0,
            Ordering4::Less => C0,
            Ordering4::Equal => C3,
            Ordering4::Unordered => C3 | C2 | C0,
        });
        pop(cpu, pops(i.code));
    }
    Ok(())
}

/// FCOMI, FCOMIP, FUCOMI, FUCOMIP: ZF, PF, CF; OF, SF and AF are cleared.
pub fn compare_flags(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    if let Some(r) = relation(cpu, i)? {
        let flags = match r {
            Ordering4::Greater => Rflags::empty(),
            Ordering4::Less => Rflags::CF,
            Ordering4::Equal => Rflags::ZF,
            Ordering4::Unordered => Rflags::ZF | Rflags::PF | Rflags::CF,
        };
        semantics::flags::set_bits(cpu, flags.bits());
        pop(cpu, pops(i.code));
    }
    Ok(())
}

/// FXAM: C3, C2, C0 tell the class, C1 the sign.
pub fn examine(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    note_pointers(cpu, i);
    let (class, negative) = match cpu.fpu.st(0) {
        Some(v) => {
            let class = match v.class() {
                Class::Unsupported => 0,
                Class::Nan => C0,
                Class::Normal => C2,
                Class::Infinity => C2 | C0,
                Class::Zero => C3,
                Class::Denormal => C3 | C2,
            };
            (class, v.is_negative())
        }
        None => (C3 | C0, cpu.fpu.stale(0).is_negative()),
    };
    cpu.fpu.set_codes(class | if negative { C1 } else { 0 });
    Ok(())
}
