//! Exchange and compare (Vol. 2A: CMPXCHG, CMPXCHG8B; Vol. 2C: XADD).

use crate::emit::{CcOp, Emit, Rmw, Use, W32, W64, Width};
use crate::flags;
use crate::operand::{Place, address, read, register};
use arch::{Gpr, Rflags};
use decode::Insn;

/// CMPXCHG: if the accumulator equals DEST, DEST ← SRC; else the accumulator ← DEST. A DEST in memory is written in any case.
pub fn cmpxchg<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let src = read::<E, W>(e, i, 1)?;
    let expected = e.reg::<W>(Gpr::RAX);
    let place = Place::<E>::of::<W>(e, i, 0, Use::Write)?;
    let dst = match place {
        Place::Memory(seg, a) if i.lock => e.cas::<W>(seg, a, expected, src)?,
        _ => place.modify::<W>(e)?,
    };
    let same = e.eq::<W>(expected, dst);
    let new = e.select::<W>(same, src, dst);
    match place {
        Place::Memory(..) if i.lock => set_if_different::<E, W>(e, same, dst),
        Place::Memory(..) => {
            place.write::<W>(e, new)?;
            set_if_different::<E, W>(e, same, dst);
        }
        _ => {
            set_if_different::<E, W>(e, same, dst);
            // The upper half of an unequal 32-bit DEST stays, as it does on processors.
            e.when(same, |e| place.write::<W>(e, new))?;
        }
    }
    let res = e.sub::<W>(expected, dst);
    flags::set::<E, W>(e, CcOp::Sub, res, dst, expected);
    Ok(())
}

/// The accumulator ← `v` unless `same`; then all of it stays, the upper half of RAX included.
fn set_if_different<E: Emit, W: Width>(e: &mut E, same: E::Bool, v: E::Val<W>) {
    if W::BITS < 32 {
        let old = e.reg::<W>(Gpr::RAX);
        let v = e.select::<W>(same, old, v);
        e.set_reg::<W>(Gpr::RAX, v);
    } else {
        let v = e.cast::<W, W64>(v);
        keep_or_set(e, same, Gpr::RAX, v);
    }
}

fn keep_or_set<E: Emit>(e: &mut E, keep: E::Bool, r: u8, v: E::Val<W64>) {
    let old = e.reg::<W64>(r);
    let v = e.select::<W64>(keep, old, v);
    e.set_reg::<W64>(r, v);
}

/// CMPXCHG8B: the same for EDX:EAX and ECX:EBX; only ZF changes. Atomic with or without LOCK.
pub fn cmpxchg8b<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let a = address(e, i, 8, Use::Write)?;
    let expected = pair(e, Gpr::RDX, Gpr::RAX);
    let new = pair(e, Gpr::RCX, Gpr::RBX);
    let old = e.cas::<W64>(i.mem.seg, a, expected, new)?;
    let same = e.eq::<W64>(old, expected);
    let low = e.cast::<W64, W32>(old);
    let low = e.cast::<W32, W64>(low);
    let n = e.imm::<W64>(32);
    let high = e.shr(old, n);
    keep_or_set(e, same, Gpr::RAX, low);
    keep_or_set(e, same, Gpr::RDX, high);
    let z = e.number::<W64>(same);
    let n = e.imm::<W64>(6);
    let image = e.shl(z, n);
    flags::merge(e, Rflags::ZF, image);
    Ok(())
}

/// The low doublewords of two registers as a quadword.
fn pair<E: Emit>(e: &mut E, high: u8, low: u8) -> E::Val<W64> {
    let h = e.reg::<W32>(high);
    let h = e.cast::<W32, W64>(h);
    let n = e.imm::<W64>(32);
    let h = e.shl(h, n);
    let l = e.reg::<W32>(low);
    let l = e.cast::<W32, W64>(l);
    e.or(h, l)
}

/// XADD: SRC ← DEST, DEST ← their sum.
pub fn xadd<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let source = Place::<E>::of::<W>(e, i, 1, Use::Write)?;
    let place = Place::<E>::of::<W>(e, i, 0, Use::Write)?;
    let src = source.read::<W>(e)?;
    let dst = match place {
        Place::Memory(seg, a) if i.lock => e.rmw::<W>(Rmw::Add, seg, a, src)?,
        _ => place.modify::<W>(e)?,
    };
    let res = e.add::<W>(dst, src);
    match place {
        Place::Memory(..) => {
            if !i.lock {
                place.write::<W>(e, res)?;
            }
            source.write::<W>(e, dst)?;
        }
        _ => {
            // XADD r, r of the same register: the sum wins.
            source.write::<W>(e, dst)?;
            place.write::<W>(e, res)?;
        }
    }
    flags::set::<E, W>(e, CcOp::Add, res, src, dst);
    Ok(())
}

/// XCHG's cousin without a register: MOVNTI, a store that no one may tell from MOV (Vol. 2B).
pub fn movnti<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = e.reg::<W>(register(i, 1));
    let a = address(e, i, W::BYTES, Use::Write)?;
    e.store::<W>(i.mem.seg, a, v)
}
