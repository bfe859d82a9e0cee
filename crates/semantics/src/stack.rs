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

/// PUSH Sreg. Wider pushes are zero-extended (Vol. 2B, PUSH).
pub fn push_segment<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = e.selector(crate::misc::segment(i, 0));
    let v = e.cast::<W16, W>(v);
    push::<E, W>(e, v)
}

/// The linear addresses of `N` slots below the stack pointer, proved writable from the first push on.
fn slots<E: Emit, W: Width, const N: usize>(
    e: &mut E,
) -> Result<([E::Val<W64>; N], E::Val<W64>), E::Stop> {
    let mut sp = pointer(e);
    let mut at = [sp; N];
    for a in &mut at {
        sp = moved(e, sp, -i64::from(W::BYTES));
        *a = linear(e, Seg::Ss, sp, W::BYTES, Use::Write)?;
        e.probe_write(Seg::Ss, *a, W::BYTES)?;
    }
    Ok((at, sp))
}

/// PUSHA, PUSHAD: all eight, rSP as it was before.
pub fn pusha<E: Emit, W: Width>(e: &mut E, _: &Insn) -> Result<(), E::Stop> {
    let (at, sp) = slots::<E, W, 8>(e)?;
    for (r, a) in at.into_iter().enumerate() {
        let v = e.reg::<W>(r as u8);
        e.store::<W>(Seg::Ss, a, v)?;
    }
    set_pointer(e, sp);
    Ok(())
}

/// POPA, POPAD: all but rSP.
pub fn popa<E: Emit, W: Width>(e: &mut E, _: &Insn) -> Result<(), E::Stop> {
    let mut sp = pointer(e);
    let zero = e.imm::<W>(0);
    let mut v = [zero; 8];
    for v in v.iter_mut().rev() {
        let a = linear(e, Seg::Ss, sp, W::BYTES, Use::Read)?;
        *v = e.load::<W>(Seg::Ss, a)?;
        sp = moved(e, sp, W::BYTES.into());
    }
    for (r, v) in v.into_iter().enumerate() {
        if r as u8 != Gpr::RSP {
            e.set_reg::<W>(r as u8, v);
        }
    }
    set_pointer(e, sp);
    Ok(())
}

/// ENTER: a frame of `imm16` bytes at nesting level `imm8` (Vol. 2A). Every push, and the new top, is probed before the first store.
pub fn enter<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let bytes = crate::operand::immediate(i, 0) & 0xffff;
    let level = crate::operand::immediate(i, 1) & 31;
    let step = i64::from(W::BYTES);
    let start = pointer(e);
    let pushes = if level == 0 { 1 } else { level as i64 + 1 };
    for k in 1..=pushes {
        let sp = moved(e, start, -k * step);
        let a = linear(e, Seg::Ss, sp, W::BYTES, Use::Write)?;
        e.probe_write(Seg::Ss, a, W::BYTES)?;
    }
    let top = moved(e, start, -pushes * step - bytes as i64);
    let a = linear(e, Seg::Ss, top, W::BYTES, Use::Write)?;
    e.probe_write(Seg::Ss, a, W::BYTES)?;

    let bp = e.reg::<W>(Gpr::RBP);
    let frame = moved(e, start, -step);
    let a = linear(e, Seg::Ss, frame, W::BYTES, Use::Write)?;
    e.store::<W>(Seg::Ss, a, bp)?;
    let old = e.reg::<W64>(Gpr::RBP);
    for k in 1..level as i64 {
        let from = moved(e, old, -k * step);
        let a = linear(e, Seg::Ss, from, W::BYTES, Use::Read)?;
        let v = e.load::<W>(Seg::Ss, a)?;
        let to = moved(e, frame, -k * step);
        let a = linear(e, Seg::Ss, to, W::BYTES, Use::Write)?;
        e.store::<W>(Seg::Ss, a, v)?;
    }
    // FrameTemp is all of ESP, not of SP, where the operand is wider than the stack pointer.
    let temp = match e.mode().stack() {
        Size::B16 => {
            let above = e.reg::<W64>(Gpr::RSP);
            let mask = e.imm::<W64>(!0xffff);
            let above = e.and(above, mask);
            e.or(above, frame)
        }
        _ => frame,
    };
    let temp = e.cast::<W64, W>(temp);
    if level > 0 {
        let to = moved(e, frame, -(level as i64) * step);
        let a = linear(e, Seg::Ss, to, W::BYTES, Use::Write)?;
        e.store::<W>(Seg::Ss, a, temp)?;
    }
    e.set_reg::<W>(Gpr::RBP, temp);
    set_pointer(e, top);
    Ok(())
}
