//! Near control transfer (Vol. 2A and 2B: CALL, JMP, Jcc, JrCXZ, LOOPcc, NOP, RET).
//!
//! The width parameter `W` of a transfer is its operand size: the target is truncated to it.

use crate::emit::{Emit, Transfer, W16, W32, W64, Width};
use crate::flags::{Cond, condition};
use crate::operand::{read, truncate};
use crate::stack;
use arch::{Gpr, Size};
use decode::{Insn, Operand};

/// A relative target: from the start of the instruction.
fn target(i: &Insn) -> i64 {
    match i.ops[0] {
        Operand::Rel(t) => t,
        _ => 0,
    }
}

/// The address behind this instruction, as `W` pushes it.
fn next<E: Emit, W: Width>(e: &mut E, i: &Insn) -> E::Val<W> {
    let ip = e.ip();
    let n = e.imm::<W64>(i.len.into());
    let next = e.add(ip, n);
    e.cast::<W64, W>(next)
}

/// NOP, PAUSE, ENDBR, prefetches: nothing. A memory operand is not accessed.
pub fn nop<E: Emit>(_: &mut E, _: &Insn) -> Result<(), E::Stop> {
    Ok(())
}

/// UD0, UD1, UD2.
pub fn undefined<E: Emit>(e: &mut E, _: &Insn) -> Result<(), E::Stop> {
    e.undefined()
}

/// Jcc.
pub fn jcc<E: Emit, W: Width>(e: &mut E, i: &Insn, c: Cond) -> Result<(), E::Stop> {
    let c = condition(e, c);
    e.branch::<W>(c, target(i))
}

/// JMP rel.
pub fn jmp<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    e.jump::<W>(target(i))
}

/// JMP r/m.
pub fn jmp_indirect<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let t = read::<E, W>(e, i, 0)?;
    let t = e.cast::<W, W64>(t);
    e.jump_to(t, Transfer::Jump)
}

/// CALL rel.
pub fn call<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let ip = e.ip();
    let d = e.imm::<W64>(target(i) as u64);
    let t = e.add(ip, d);
    let t = e.cast::<W64, W>(t);
    let t = e.cast::<W, W64>(t);
    e.check_target(t)?;
    let ret = next::<E, W>(e, i);
    stack::push::<E, W>(e, ret)?;
    e.jump::<W>(target(i))
}

/// CALL r/m.
pub fn call_indirect<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let t = read::<E, W>(e, i, 0)?;
    let t = e.cast::<W, W64>(t);
    e.check_target(t)?;
    let ret = next::<E, W>(e, i);
    stack::push::<E, W>(e, ret)?;
    e.jump_to(t, Transfer::Call)
}

/// RET, with the bytes to drop as an immediate.
pub fn ret<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let (t, above) = stack::top::<E, W>(e)?;
    let t = e.cast::<W, W64>(t);
    e.check_target(t)?;
    let above = match i.ops[0] {
        Operand::Imm(n) => stack::moved(e, above, n as i64),
        _ => above,
    };
    stack::set_pointer(e, above);
    e.jump_to(t, Transfer::Return)
}

/// Which further condition LOOPcc has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopIf {
    Always,
    Equal,
    NotEqual,
}

fn count<E: Emit>(e: &mut E, size: Size) -> E::Val<W64> {
    let c = e.reg::<W64>(Gpr::RCX);
    truncate(e, size, c)
}

/// LOOPcc: `W` is the operand size, `size` the address size, which is rCX's.
pub fn loop_<E: Emit, W: Width>(
    e: &mut E,
    i: &Insn,
    size: Size,
    when: LoopIf,
) -> Result<(), E::Stop> {
    let c = count(e, size);
    let one = e.imm::<W64>(1);
    let c = e.sub(c, one);
    let c = truncate(e, size, c);
    let done = e.is_zero::<W64>(c);
    let mut go = e.negate(done);
    if when != LoopIf::Always {
        let z = condition(
            e,
            if when == LoopIf::Equal {
                Cond::E
            } else {
                Cond::NE
            },
        );
        go = e.both(go, z);
    }
    let t = truncated_target::<E, W>(e, i);
    let fall = next::<E, W64>(e, i);
    let to = e.select::<W64>(go, t, fall);
    e.check_target(to)?;
    match size {
        Size::B16 => {
            let c = e.cast::<W64, W16>(c);
            e.set_reg::<W16>(Gpr::RCX, c);
        }
        Size::B32 => {
            let c = e.cast::<W64, W32>(c);
            e.set_reg::<W32>(Gpr::RCX, c);
        }
        Size::B64 => e.set_reg::<W64>(Gpr::RCX, c),
    }
    e.branch::<W>(go, target(i))
}

fn truncated_target<E: Emit, W: Width>(e: &mut E, i: &Insn) -> E::Val<W64> {
    let ip = e.ip();
    let d = e.imm::<W64>(target(i) as u64);
    let t = e.add(ip, d);
    let t = e.cast::<W64, W>(t);
    e.cast::<W, W64>(t)
}

/// JCXZ, JECXZ, JRCXZ.
pub fn jrcxz<E: Emit, W: Width>(e: &mut E, i: &Insn, size: Size) -> Result<(), E::Stop> {
    let c = count(e, size);
    let z = e.is_zero::<W64>(c);
    e.branch::<W>(z, target(i))
}
