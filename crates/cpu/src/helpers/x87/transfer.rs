//! Data transfer (Vol. 1, 8.3.2) that no engine writes down: FBLD, FBSTP, FSTPNCE, FCMOVcc, FFREE, FINCSTP, FDECSTP.

use super::stack::{C1, Stack};
use super::step::push;
use super::{complete, env, load_f80, note_pointers, offset, ready, stack_fault, sti, writable};
use crate::{Stop, state::Cpu};
use decode::{Code, Insn};
use semantics::emit::{Emit, Use, W16, W64};
use semantics::flags::{Cond, condition};
use semantics::operand::address;
use softfloat::x87;
use softfloat::{F80, Flags};

/// FBLD.
pub fn load_decimal(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    let a = address(cpu, i, 10, Use::Read)?;
    let v = load_f80(cpu, i.mem.seg, a)?;
    note_pointers(cpu, i);
    push(cpu, Some(x87::from_bcd(v.to_bytes())));
    Ok(())
}

/// FBSTP. Unmasked IE stores nothing.
pub fn store_decimal(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    let a = writable(cpu, i, 10)?;
    note_pointers(cpu, i);
    let mut env = env(cpu);
    let v = match cpu.fpu.st(0) {
        Some(v) => {
            let r = x87::to_bcd(&mut env, v);
            complete(cpu, &env);
            if env.unmasked().contains(Flags::IE) {
                return Ok(());
            }
            r
        }
        None if stack_fault(cpu, Stack::Underflow) => x87::BCD_INDEFINITE,
        None => return Ok(()),
    };
    let (seg, v) = (i.mem.seg, F80::from_bytes(v));
    cpu.store::<W64>(seg, a, v.significand)?;
    let at = offset(cpu, a, 8);
    cpu.store::<W16>(seg, at, v.sign_exponent)?;
    cpu.fpu.pop();
    Ok(())
}

/// FSTPNCE (D9 D8+i): FSTP ST(i) that raises no stack fault.
pub fn store_anyway(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    note_pointers(cpu, i);
    let v = match cpu.fpu.st(0) {
        Some(v) => {
            cpu.fpu.set_flag(C1, false);
            v
        }
        None => F80::INDEFINITE,
    };
    cpu.fpu.set_st(sti(i), v);
    cpu.fpu.pop();
    Ok(())
}

/// FCMOVcc: ST(0) ← ST(i) on a condition of EFLAGS. Both must be there in any case.
pub fn move_if(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    note_pointers(cpu, i);
    let c = match i.code {
        Code::Fcmovb_st0_sti => Cond::B,
        Code::Fcmove_st0_sti => Cond::E,
        Code::Fcmovbe_st0_sti => Cond::BE,
        Code::Fcmovu_st0_sti => Cond::P,
        Code::Fcmovnb_st0_sti => Cond::AE,
        Code::Fcmovne_st0_sti => Cond::NE,
        Code::Fcmovnbe_st0_sti => Cond::A,
        _ => Cond::NP,
    };
    match (cpu.fpu.st(0), cpu.fpu.st(sti(i))) {
        // C1 is cleared by a stack underflow only.
        (Some(_), Some(v)) => {
            if condition(cpu, c) {
                cpu.fpu.set_st(0, v);
            }
        }
        _ => {
            if stack_fault(cpu, Stack::Underflow) {
                cpu.fpu.set_st(0, F80::INDEFINITE);
            }
        }
    }
    Ok(())
}

/// FFREE, FFREEP, FINCSTP, FDECSTP, FNOP: what moves the stack without looking at it.
pub fn stack(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    match i.code {
        Code::Ffree_sti => {
            cpu.fpu.set_flag(C1, false);
            cpu.fpu.free(sti(i));
        }
        Code::Ffreep_sti => {
            cpu.fpu.set_flag(C1, false);
            cpu.fpu.free(sti(i));
            cpu.fpu.pop();
        }
        Code::Fincstp => {
            cpu.fpu.set_flag(C1, false);
            cpu.fpu.rotate(1);
        }
        Code::Fdecstp => {
            cpu.fpu.set_flag(C1, false);
            cpu.fpu.rotate(7);
        }
        _ => {}
    }
    Ok(())
}
