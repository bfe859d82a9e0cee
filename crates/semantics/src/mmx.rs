//! MMX (Vol. 1, chapter 9), in terms of the 128-bit operations of SSE: an MMX register is a vector whose upper half is zero.
//!
//! Where an operation is not lane by lane, both operands are joined first, so that one 128-bit operation does what the 64-bit one is
//! defined to do. Every body enters MMX state after its memory operand has been read or probed: a fault must leave x87 as it was.

use crate::emit::{Emit, Use, W16, W32, W64, Width};
use crate::operand::{address, immediate, read, read_mm, register, write};
use crate::sse_mov::{constant, store_masked};
use crate::vector::VecOp;
use arch::Fault;
use decode::{Insn, Operand};

/// What every MMX instruction checks first (Vol. 3A, 12.1): #UD if CR0.EM is set, #NM if CR0.TS is.
#[inline(always)]
pub fn available<E: Emit>(e: &mut E) -> Result<(), E::Stop> {
    let mode = e.mode();
    if mode.em() {
        e.undefined()?;
    }
    if mode.ts() {
        e.raise(Fault::NM)?;
    }
    Ok(())
}

/// The same and #MF if an x87 exception waits, which comes before any fault of a memory operand.
#[inline(always)]
pub fn ready<E: Emit>(e: &mut E) -> Result<(), E::Stop> {
    available(e)?;
    e.x87_pending()
}

/// DEST and SRC, MMX state entered.
fn operands<E: Emit>(e: &mut E, i: &Insn) -> Result<(E::Vec, E::Vec), E::Stop> {
    let b = read_mm(e, i, 1)?;
    e.enter_mmx()?;
    Ok((e.mm(register(i, 0)), b))
}

/// DEST ← `op`(DEST, SRC), lane by lane.
#[inline(always)]
pub fn packed<E: Emit>(e: &mut E, i: &Insn, op: VecOp) -> Result<(), E::Stop> {
    let (a, b) = operands(e, i)?;
    let v = e.vec(op, a, b);
    e.set_mm(register(i, 0), v);
    Ok(())
}

/// `op` on both operands joined, twice: packs and horizontal sums.
#[inline(always)]
pub fn joined<E: Emit>(e: &mut E, i: &Insn, op: VecOp) -> Result<(), E::Stop> {
    let (a, b) = operands(e, i)?;
    let both = e.vec(VecOp::Punpcklqdq, a, b);
    let v = e.vec(op, both, both);
    e.set_mm(register(i, 0), v);
    Ok(())
}

/// DEST ← `op`(DEST, imm8).
#[inline(always)]
pub fn shift_imm<E: Emit>(e: &mut E, i: &Insn, op: fn(u8) -> VecOp) -> Result<(), E::Stop> {
    e.enter_mmx()?;
    let a = e.mm(register(i, 0));
    let v = e.vec(op(immediate(i, 1) as u8), a, a);
    e.set_mm(register(i, 0), v);
    Ok(())
}

/// PUNPCKLxx: a memory operand is 32 bits.
#[inline(always)]
pub fn unpack_low<E: Emit>(e: &mut E, i: &Insn, op: VecOp) -> Result<(), E::Stop> {
    let b = match i.ops[1] {
        Operand::Mem => {
            let v = read::<E, W32>(e, i, 1)?;
            e.vec_from::<W32>(v)
        }
        _ => e.mm(register(i, 1)),
    };
    e.enter_mmx()?;
    let a = e.mm(register(i, 0));
    let v = e.vec(op, a, b);
    e.set_mm(register(i, 0), v);
    Ok(())
}

/// PUNPCKHxx: the upper half of the 128-bit low interleave.
#[inline(always)]
pub fn unpack_high<E: Emit>(e: &mut E, i: &Insn, op: VecOp) -> Result<(), E::Stop> {
    let (a, b) = operands(e, i)?;
    let v = e.vec(op, a, b);
    let v = e.vec(VecOp::Psrldq(8), v, v);
    e.set_mm(register(i, 0), v);
    Ok(())
}

/// PSHUFB: bit 3 of a number counts for nothing.
pub fn pshufb<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let (a, b) = operands(e, i)?;
    let used = constant(e, 0x8787_8787_8787_8787);
    let b = e.vec(VecOp::And, b, used);
    let v = e.vec(VecOp::Pshufb, a, b);
    e.set_mm(register(i, 0), v);
    Ok(())
}

/// PSHUFW.
pub fn pshufw<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let (_, b) = operands(e, i)?;
    let v = e.vec(VecOp::Pshuflw(immediate(i, 2) as u8), b, b);
    e.set_mm(register(i, 0), v);
    Ok(())
}

/// PALIGNR: DEST:SRC shifted right by bytes.
pub fn palignr<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let (a, b) = operands(e, i)?;
    let both = e.vec(VecOp::Punpcklqdq, b, a);
    let v = e.vec(VecOp::Psrldq(immediate(i, 2) as u8), both, both);
    e.set_mm(register(i, 0), v);
    Ok(())
}

/// MOVQ, MOVNTQ, MOVD to memory, or MOVQ to a register.
pub fn store<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = e.mm(register(i, 1));
    match i.ops[0] {
        Operand::Mem => {
            let to = address(e, i, W::BYTES, Use::Write)?;
            e.probe_write(i.mem.seg, to, W::BYTES)?;
            e.enter_mmx()?;
            let lane = e.vec_lane::<W>(v, 0);
            return e.store::<W>(i.mem.seg, to, lane);
        }
        Operand::Mm(r) => {
            e.enter_mmx()?;
            e.set_mm(r, v);
        }
        _ => {
            e.enter_mmx()?;
            let lane = e.vec_lane::<W>(v, 0);
            write::<E, W>(e, i, 0, lane)?;
        }
    }
    Ok(())
}

/// MOVQ into an MMX register from one or from memory.
pub fn movq<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let (_, b) = operands(e, i)?;
    e.set_mm(register(i, 0), b);
    Ok(())
}

/// MOVD, MOVQ into an MMX register, zero-extended.
pub fn from_gpr<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = read::<E, W>(e, i, 1)?;
    e.enter_mmx()?;
    let v = e.vec_from::<W>(v);
    e.set_mm(register(i, 0), v);
    Ok(())
}

/// PINSRW.
pub fn pinsrw<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = read::<E, W16>(e, i, 1)?;
    e.enter_mmx()?;
    let old = e.mm(register(i, 0));
    let v = e.vec_with_lane::<W16>(old, immediate(i, 2) as u32 & 3, v);
    e.set_mm(register(i, 0), v);
    Ok(())
}

/// PEXTRW.
pub fn pextrw<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    e.enter_mmx()?;
    let v = e.mm(register(i, 1));
    let v = e.vec_lane::<W16>(v, immediate(i, 2) as u32 & 3);
    let v = e.cast::<W16, W64>(v);
    e.set_reg::<W64>(register(i, 0), v);
    Ok(())
}

/// PMOVMSKB.
pub fn pmovmskb<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    e.enter_mmx()?;
    let v = e.mm(register(i, 1));
    let v = e.vec(VecOp::Pmovmskb, v, v);
    let v = e.vec_lane::<W32>(v, 0);
    e.set_reg::<W32>(register(i, 0), v);
    Ok(())
}

/// MASKMOVQ: the selected bytes of the first operand to DS:rDI. Processors are in MMX state already when it faults.
pub fn maskmovq<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    e.enter_mmx()?;
    let (v, mask) = (e.mm(register(i, 1)), e.mm(register(i, 2)));
    store_masked(e, i, 8, v, mask)
}
