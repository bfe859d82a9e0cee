//! The stack (Vol. 2A and 2B: LEAVE, POP, PUSH; Vol. 1, chapter 6).

use crate::emit::{Emit, Use, W16, W32, W64, Width};
use crate::operand::{Place, linear, read, truncate};
use arch::{Gpr, Seg, Size};
use decode::{Insn, Operand};

/// The stack pointer: RSP, ESP or SP by SS.B, zero-extended.
#[inline(always)]
pub fn pointer<E: Emit>(e: &mut E) -> E::Val<W64> {
    let v = e.reg::<W64>(Gpr::RSP);
    let size = e.mode().stack();
    truncate(e, size, v)
}

/// Sets RSP, ESP or SP by SS.B.
#[inline(always)]
pub fn set_pointer<E: Emit>(e: &mut E, v: E::Val<W64>) {
    match e.mode().stack() {
        Size::B16 => {
            let v = e.cast::<W64, W16>(v);
            e.set_reg::<W16>(Gpr::RSP, v);
        }
        Size::B32 => {
            let v = e.cast::<W64, W32>(v);
            e.set_reg::<W32>(Gpr::RSP, v);
        }
        Size::B64 => e.set_reg::<W64>(Gpr::RSP, v),
    }
}

/// The stack pointer moved by `bytes`, truncated; the register stays.
#[inline(always)]
pub fn moved<E: Emit>(e: &mut E, from: E::Val<W64>, bytes: i64) -> E::Val<W64> {
    let d = e.imm::<W64>(bytes as u64);
    let v = e.add(from, d);
    let size = e.mode().stack();
    truncate(e, size, v)
}

/// Pushes `v`.
#[inline(always)]
pub fn push<E: Emit, W: Width>(e: &mut E, v: E::Val<W>) -> Result<(), E::Stop> {
    let sp = pointer(e);
    let sp = moved(e, sp, -i64::from(W::BYTES));
    let a = linear(e, Seg::Ss, sp, W::BYTES, Use::Write)?;
    e.store::<W>(Seg::Ss, a, v)?;
    set_pointer(e, sp);
    Ok(())
}

/// Reads the top of the stack; the pointer stays. Answers the value and the pointer above it.
#[inline(always)]
pub fn top<E: Emit, W: Width>(e: &mut E) -> Result<(E::Val<W>, E::Val<W64>), E::Stop> {
    let sp = pointer(e);
    let a = linear(e, Seg::Ss, sp, W::BYTES, Use::Read)?;
    let v = e.load::<W>(Seg::Ss, a)?;
    let above = moved(e, sp, W::BYTES.into());
    Ok((v, above))
}

/// PUSH of a register, memory or immediate.
pub fn push_operand<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = read::<E, W>(e, i, 0)?;
    push::<E, W>(e, v)
}

/// POP. A memory destination based on rSP is addressed with the pointer already moved (Vol. 2B, POP).
pub fn pop_operand<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let (v, above) = top::<E, W>(e)?;
    if i.ops[0] == Operand::Mem && i.mem.base == Gpr::RSP {
        let mut moved = *i;
        moved.mem.disp = i.mem.disp.wrapping_add(W::BYTES.into());
        Place::<E>::of::<W>(e, &moved, 0, Use::Write)?.write::<W>(e, v)?;
        set_pointer(e, above);
        return Ok(());
    }
    let place = Place::<E>::of::<W>(e, i, 0, Use::Write)?;
    match place {
        Place::Memory(..) => {
            place.write::<W>(e, v)?;
            set_pointer(e, above);
        }
        _ => {
            // POP rSP: the popped value wins.
            set_pointer(e, above);
            place.write::<W>(e, v)?;
        }
    }
    Ok(())
}

/// LEAVE: rSP ← rBP; rBP ← pop.
pub fn leave<E: Emit, W: Width>(e: &mut E, _: &Insn) -> Result<(), E::Stop> {
    let bp = e.reg::<W64>(Gpr::RBP);
    let size = e.mode().stack();
    let sp = truncate(e, size, bp);
    let a = linear(e, Seg::Ss, sp, W::BYTES, Use::Read)?;
    let v = e.load::<W>(Seg::Ss, a)?;
    let above = moved(e, sp, W::BYTES.into());
    set_pointer(e, above);
    e.set_reg::<W>(Gpr::RBP, v);
    Ok(())
}
