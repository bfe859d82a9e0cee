//! Basic arithmetic (Vol. 1, 8.3.3): FADD, FSUB, FMUL, FDIV and their reverse, integer and popping forms.

use super::stack::Stack;
use super::{complete, env, note_pointers, ready, stack_fault, sti};
use crate::{Stop, state::Cpu};
use decode::{Code, Insn};
use semantics::emit::{W16, W32, W64};
use semantics::operand::read;
use softfloat::x87::{self, Operand};
use softfloat::{Env, F32, F64, F80};

#[derive(Clone, Copy)]
enum Op {
    Add,
    Mul,
    Sub,
    /// SRC - DEST.
    SubR,
    Div,
    /// SRC / DEST.
    DivR,
}

fn operation(code: Code) -> Op {
    use Code::*;
    match code {
        Fadd_m32fp | Fadd_m64fp | Fiadd_m32int | Fiadd_m16int | Fadd_st0_sti | Fadd_sti_st0
        | Faddp_sti_st0 => Op::Add,
        Fmul_m32fp | Fmul_m64fp | Fimul_m32int | Fimul_m16int | Fmul_st0_sti | Fmul_sti_st0
        | Fmulp_sti_st0 => Op::Mul,
        Fsub_m32fp | Fsub_m64fp | Fisub_m32int | Fisub_m16int | Fsub_st0_sti | Fsub_sti_st0
        | Fsubp_sti_st0 => Op::Sub,
        Fsubr_m32fp | Fsubr_m64fp | Fisubr_m32int | Fisubr_m16int | Fsubr_st0_sti
        | Fsubr_sti_st0 | Fsubrp_sti_st0 => Op::SubR,
        Fdiv_m32fp | Fdiv_m64fp | Fidiv_m32int | Fidiv_m16int | Fdiv_st0_sti | Fdiv_sti_st0
        | Fdivp_sti_st0 => Op::Div,
        _ => Op::DivR,
    }
}

/// Where SRC comes from: memory, or ST(i).
pub(super) fn memory_operand(cpu: &mut Cpu, i: &Insn) -> Result<Option<Operand>, Stop> {
    use Code::*;
    Ok(Some(match i.code {
        Fadd_m32fp | Fmul_m32fp | Fcom_m32fp | Fcomp_m32fp | Fsub_m32fp | Fsubr_m32fp
        | Fdiv_m32fp | Fdivr_m32fp => F32(read::<Cpu, W32>(cpu, i, 0)?).into(),
        Fadd_m64fp | Fmul_m64fp | Fcom_m64fp | Fcomp_m64fp | Fsub_m64fp | Fsubr_m64fp
        | Fdiv_m64fp | Fdivr_m64fp => F64(read::<Cpu, W64>(cpu, i, 0)?).into(),
        Fiadd_m32int | Fimul_m32int | Ficom_m32int | Ficomp_m32int | Fisub_m32int
        | Fisubr_m32int | Fidiv_m32int | Fidivr_m32int => {
            x87::from_i32(read::<Cpu, W32>(cpu, i, 0)? as i32).into()
        }
        Fiadd_m16int | Fimul_m16int | Ficom_m16int | Ficomp_m16int | Fisub_m16int
        | Fisubr_m16int | Fidiv_m16int | Fidivr_m16int => {
            x87::from_i16(read::<Cpu, W16>(cpu, i, 0)? as i16).into()
        }
        _ => return Ok(None),
    }))
}

/// Destination and whether a pop follows.
fn destination(i: &Insn) -> (u8, bool) {
    use Code::*;
    match i.code {
        Fadd_sti_st0 | Fmul_sti_st0 | Fsub_sti_st0 | Fsubr_sti_st0 | Fdiv_sti_st0
        | Fdivr_sti_st0 => (sti(i), false),
        Faddp_sti_st0 | Fmulp_sti_st0 | Fsubp_sti_st0 | Fsubrp_sti_st0 | Fdivp_sti_st0
        | Fdivrp_sti_st0 => (sti(i), true),
        _ => (0, false),
    }
}

fn compute(env: &mut Env, op: Op, dst: F80, src: Operand) -> F80 {
    match op {
        Op::Add => x87::add(env, dst, src),
        Op::Mul => x87::mul(env, dst, src),
        Op::Sub => x87::sub(env, dst, src),
        Op::SubR => x87::sub(env, src, dst),
        Op::Div => x87::div(env, dst, src),
        Op::DivR => x87::div(env, src, dst),
    }
}

/// DEST ← DEST op SRC.
pub fn arith(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    let memory = memory_operand(cpu, i)?;
    let (dst, pops) = destination(i);
    let src = memory.or_else(|| {
        // With ST(i) as the destination ST(0) is the source.
        let n = if dst == 0 && !pops { sti(i) } else { 0 };
        cpu.fpu.st(n).map(Operand::from)
    });
    note_pointers(cpu, i);
    let result = match (cpu.fpu.st(dst), src) {
        (Some(d), Some(s)) => {
            let mut env = env(cpu);
            let v = compute(&mut env, operation(i.code), d, s);
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
    Ok(())
}
