//! Data movement (Vol. 2A and 2B: BSWAP, CMOVcc, LEA, MOV, MOVBE, MOVSX, MOVZX, SETcc, XCHG).

use crate::emit::{Emit, Rmw, Use, W8, W64, Width};
use crate::flags::{Cond, condition};
use crate::operand::{Place, effective, read, register, write};
use decode::Insn;

/// DEST ← SRC.
pub fn mov<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = read::<E, W>(e, i, 1)?;
    write::<E, W>(e, i, 0, v)
}

/// MOVZX: DEST ← zero-extended SRC.
pub fn movzx<E: Emit, F: Width, T: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = read::<E, F>(e, i, 1)?;
    let v = e.cast::<F, T>(v);
    write::<E, T>(e, i, 0, v)
}

/// MOVSX, MOVSXD: DEST ← sign-extended SRC.
pub fn movsx<E: Emit, F: Width, T: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = read::<E, F>(e, i, 1)?;
    let v = e.sext::<F, T>(v);
    write::<E, T>(e, i, 0, v)
}

/// LEA: DEST ← effective address of SRC, truncated.
pub fn lea<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let a = effective(e, i);
    let a = e.cast::<W64, W>(a);
    e.set_reg::<W>(register(i, 0), a);
    Ok(())
}

/// XCHG: atomic with or without LOCK if an operand is memory.
pub fn xchg<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let reg = Place::<E>::of::<W>(e, i, 1, Use::Write)?;
    let other = Place::<E>::of::<W>(e, i, 0, Use::Write)?;
    let r = reg.read::<W>(e)?;
    let old = match other {
        Place::Memory(seg, a) => e.rmw::<W>(Rmw::Xchg, seg, a, r)?,
        _ => {
            let v = other.read::<W>(e)?;
            other.write::<W>(e, r)?;
            v
        }
    };
    reg.write::<W>(e, old)
}

/// CMOVcc: the source is read in any case; a 32-bit DEST is zero-extended in any case.
pub fn cmov<E: Emit, W: Width>(e: &mut E, i: &Insn, c: Cond) -> Result<(), E::Stop> {
    let src = read::<E, W>(e, i, 1)?;
    let dst = read::<E, W>(e, i, 0)?;
    let c = condition(e, c);
    let v = e.select(c, src, dst);
    write::<E, W>(e, i, 0, v)
}

/// SETcc: DEST ← condition.
pub fn set<E: Emit>(e: &mut E, i: &Insn, c: Cond) -> Result<(), E::Stop> {
    let c = condition(e, c);
    let v = e.number::<W8>(c);
    write::<E, W8>(e, i, 0, v)
}

/// BSWAP. The 16-bit form is undefined; processors clear the register's low word.
pub fn bswap<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = read::<E, W>(e, i, 0)?;
    let v = if W::BITS == 16 {
        e.imm::<W>(0)
    } else {
        e.bswap(v)
    };
    write::<E, W>(e, i, 0, v)
}

/// MOVBE: DEST ← SRC with its bytes reversed.
pub fn movbe<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = read::<E, W>(e, i, 1)?;
    let v = e.bswap(v);
    write::<E, W>(e, i, 0, v)
}
