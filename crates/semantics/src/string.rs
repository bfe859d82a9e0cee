//! String instructions (Vol. 1, 7.3.9; Vol. 2A and 2B: CMPS, INS, LODS, MOVS, OUTS, REP, SCAS, STOS).
//!
//! A body is one iteration. With a repeat prefix it counts rCX down and branches to the instruction itself, so that interrupts, faults
//! and single-step come between iterations (Vol. 2B, REP).

use crate::emit::{CcOp, Emit, Use, W16, W32, W64, Width};
use crate::flags;
use crate::operand::{linear, truncate};
use crate::table::Helper;
use arch::{Gpr, Seg, Size};
use decode::{Insn, Rep};

/// rSI, rDI or rCX by address size.
fn index<E: Emit>(e: &mut E, i: &Insn, r: u8) -> E::Val<W64> {
    let v = e.reg::<W64>(r);
    truncate(e, i.address, v)
}

fn set_index<E: Emit>(e: &mut E, i: &Insn, r: u8, v: E::Val<W64>) {
    match i.address {
        Size::B16 => {
            let v = e.cast::<W64, W16>(v);
            e.set_reg::<W16>(r, v);
        }
        Size::B32 => {
            let v = e.cast::<W64, W32>(v);
            e.set_reg::<W32>(r, v);
        }
        Size::B64 => e.set_reg::<W64>(r, v),
    }
}

/// Moves an index register by the operand's size in the direction of DF.
fn advance<E: Emit, W: Width>(e: &mut E, i: &Insn, r: u8) {
    let f = e.system_flags();
    let down = e.bit::<W64>(f, 10);
    let (minus, plus) = (
        e.imm::<W64>(u64::from(W::BYTES).wrapping_neg()),
        e.imm::<W64>(W::BYTES.into()),
    );
    let step = e.select::<W64>(down, minus, plus);
    let old = index(e, i, r);
    let new = e.add(old, step);
    set_index(e, i, r, new);
}

/// The operand at seg:rSI.
fn source<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<E::Val<W>, E::Stop> {
    let offset = index(e, i, Gpr::RSI);
    let a = linear(e, i.mem.seg, offset, W::BYTES, Use::Read)?;
    e.load::<W>(i.mem.seg, a)
}

/// The linear address of ES:rDI.
fn destination<E: Emit, W: Width>(
    e: &mut E,
    i: &Insn,
    access: Use,
) -> Result<E::Val<W64>, E::Stop> {
    let offset = index(e, i, Gpr::RDI);
    linear(e, Seg::Es, offset, W::BYTES, access)
}

/// Runs `once` as often as the prefix says. `bulk` may do whole iterations first, but leaves the last one. `once` answers whether two
/// operands were equal if the instruction compares.
fn repeat<E: Emit>(
    e: &mut E,
    i: &Insn,
    bulk: Option<Helper>,
    once: impl FnOnce(&mut E) -> Result<Option<E::Bool>, E::Stop>,
) -> Result<(), E::Stop> {
    if i.rep == Rep::None {
        once(e)?;
        return Ok(());
    }
    let c = index(e, i, Gpr::RCX);
    let none = e.is_zero::<W64>(c);
    go(e, none, i.len.into())?;
    if let Some(bulk) = bulk {
        e.helper(bulk, i)?;
    }
    let equal = once(e)?;
    let c = index(e, i, Gpr::RCX);
    let one = e.imm::<W64>(1);
    let c = e.sub(c, one);
    set_index(e, i, Gpr::RCX, c);
    // An engine may have lost what it knew of the count: the register is what counts.
    let left = index(e, i, Gpr::RCX);
    let none = e.is_zero::<W64>(left);
    let mut again = e.negate(none);
    if let Some(equal) = equal {
        let matches = if i.rep == Rep::Rep {
            equal
        } else {
            e.negate(equal)
        };
        again = e.both(again, matches);
    }
    go(e, again, 0)
}

/// A branch inside the code segment's own size.
fn go<E: Emit>(e: &mut E, c: E::Bool, offset: i64) -> Result<(), E::Stop> {
    match e.mode().code() {
        Size::B16 => e.branch::<W16>(c, offset),
        Size::B32 => e.branch::<W32>(c, offset),
        Size::B64 => e.branch::<W64>(c, offset),
    }
}

/// MOVS: ES:rDI ← seg:rSI.
pub fn movs<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    repeat(e, i, Some(Helper::BulkMovs), |e| {
        let v = source::<E, W>(e, i)?;
        let a = destination::<E, W>(e, i, Use::Write)?;
        e.store::<W>(Seg::Es, a, v)?;
        advance::<E, W>(e, i, Gpr::RSI);
        advance::<E, W>(e, i, Gpr::RDI);
        Ok(None)
    })
}

/// STOS: ES:rDI ← accumulator.
pub fn stos<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    repeat(e, i, Some(Helper::BulkStos), |e| {
        let v = e.reg::<W>(Gpr::RAX);
        let a = destination::<E, W>(e, i, Use::Write)?;
        e.store::<W>(Seg::Es, a, v)?;
        advance::<E, W>(e, i, Gpr::RDI);
        Ok(None)
    })
}

/// LODS: accumulator ← seg:rSI.
pub fn lods<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    repeat(e, i, None, |e| {
        let v = source::<E, W>(e, i)?;
        e.set_reg::<W>(Gpr::RAX, v);
        advance::<E, W>(e, i, Gpr::RSI);
        Ok(None)
    })
}

/// CMPS: flags of seg:rSI - ES:rDI.
pub fn cmps<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    repeat(e, i, None, |e| {
        let a = source::<E, W>(e, i)?;
        let at = destination::<E, W>(e, i, Use::Read)?;
        let b = e.load::<W>(Seg::Es, at)?;
        advance::<E, W>(e, i, Gpr::RSI);
        advance::<E, W>(e, i, Gpr::RDI);
        Ok(Some(compare::<E, W>(e, a, b)))
    })
}

/// SCAS: flags of accumulator - ES:rDI.
pub fn scas<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    repeat(e, i, None, |e| {
        let at = destination::<E, W>(e, i, Use::Read)?;
        let b = e.load::<W>(Seg::Es, at)?;
        let a = e.reg::<W>(Gpr::RAX);
        advance::<E, W>(e, i, Gpr::RDI);
        Ok(Some(compare::<E, W>(e, a, b)))
    })
}

fn compare<E: Emit, W: Width>(e: &mut E, a: E::Val<W>, b: E::Val<W>) -> E::Bool {
    let res = e.sub::<W>(a, b);
    flags::set::<E, W>(e, CcOp::Sub, res, b, a);
    e.eq::<W>(a, b)
}

/// INS and OUTS: one iteration is the helper's, with the I/O permission check.
pub fn io<E: Emit>(e: &mut E, i: &Insn, helper: Helper) -> Result<(), E::Stop> {
    // Permission is asked for before the count: REP with a count of 0 faults all the same.
    e.helper(Helper::PortPermission, i)?;
    repeat(e, i, None, |e| {
        e.helper(helper, i)?;
        Ok(None)
    })
}
