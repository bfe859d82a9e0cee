//! Binary arithmetic and logic (Vol. 2A and 2B: ADC, ADD, AND, CMP, DEC, INC, NEG, NOT, OR, SBB, SUB, TEST, XOR).

use crate::emit::{CcOp, Emit, Rmw, Use, W64, Width};
use crate::flags;
use crate::operand::{Place, read};
use decode::Insn;

/// A two-operand operation on DEST and SRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arith {
    Add,
    Or,
    Adc,
    Sbb,
    And,
    Sub,
    Xor,
    Cmp,
}

/// DEST ← DEST op SRC, flags accordingly; CMP writes flags only.
pub fn arith<E: Emit, W: Width>(e: &mut E, i: &Insn, op: Arith) -> Result<(), E::Stop> {
    let src = read::<E, W>(e, i, 1)?;
    if op == Arith::Cmp {
        let dst = read::<E, W>(e, i, 0)?;
        // The rule does not read the result.
        flags::set::<E, W>(e, CcOp::Sub, dst, src, dst);
        return Ok(());
    }
    let place = Place::<E>::of::<W>(e, i, 0, Use::Write)?;
    let carry = match op {
        Arith::Adc | Arith::Sbb => {
            let c = flags::cf(e);
            Some(e.number::<W>(c))
        }
        _ => None,
    };
    let dst = match place {
        Place::Memory(seg, a) if i.lock => {
            let (rmw, v) = match op {
                Arith::Add | Arith::Adc => (Rmw::Add, with_carry(e, src, carry)),
                Arith::Sub | Arith::Sbb | Arith::Cmp => {
                    let v = with_carry(e, src, carry);
                    (Rmw::Add, e.neg(v))
                }
                Arith::And => (Rmw::And, src),
                Arith::Or => (Rmw::Or, src),
                Arith::Xor => (Rmw::Xor, src),
            };
            e.rmw::<W>(rmw, seg, a, v)?
        }
        _ => place.modify::<W>(e)?,
    };
    let (res, cc) = match op {
        Arith::Add => (e.add(dst, src), CcOp::Add),
        Arith::Adc => {
            let v = with_carry(e, src, carry);
            (e.add(dst, v), CcOp::Adc)
        }
        Arith::Sub | Arith::Cmp => (e.sub(dst, src), CcOp::Sub),
        Arith::Sbb => {
            let v = with_carry(e, src, carry);
            (e.sub(dst, v), CcOp::Sbb)
        }
        Arith::And => (e.and(dst, src), CcOp::Logic),
        Arith::Or => (e.or(dst, src), CcOp::Logic),
        Arith::Xor => (e.xor(dst, src), CcOp::Logic),
    };
    if !(i.lock && matches!(place, Place::Memory(..))) {
        place.write::<W>(e, res)?;
    }
    if cc == CcOp::Logic {
        flags::set_logic::<E, W>(e, res);
    } else {
        flags::set::<E, W>(e, cc, res, src, dst);
    }
    Ok(())
}

fn with_carry<E: Emit, W: Width>(e: &mut E, v: E::Val<W>, carry: Option<E::Val<W>>) -> E::Val<W> {
    match carry {
        Some(c) => e.add(v, c),
        None => v,
    }
}

/// TEST: flags of DEST AND SRC.
pub fn test<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let src = read::<E, W>(e, i, 1)?;
    let dst = read::<E, W>(e, i, 0)?;
    let res = e.and(dst, src);
    flags::set_logic::<E, W>(e, res);
    Ok(())
}

/// A one-operand operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unary {
    Inc,
    Dec,
    Neg,
    Not,
}

/// DEST ← op DEST. INC and DEC leave CF alone; NOT leaves all flags alone.
pub fn unary<E: Emit, W: Width>(e: &mut E, i: &Insn, op: Unary) -> Result<(), E::Stop> {
    let place = Place::<E>::of::<W>(e, i, 0, Use::Write)?;
    let one = e.imm::<W>(1);
    let all = e.imm::<W>(W::MASK);
    let dst = match (place, op) {
        (Place::Memory(seg, a), Unary::Inc) if i.lock => e.rmw::<W>(Rmw::Add, seg, a, one)?,
        (Place::Memory(seg, a), Unary::Dec) if i.lock => e.rmw::<W>(Rmw::Add, seg, a, all)?,
        (Place::Memory(seg, a), Unary::Not) if i.lock => e.rmw::<W>(Rmw::Xor, seg, a, all)?,
        _ => place.modify::<W>(e)?,
    };
    let res = match op {
        Unary::Inc => e.add(dst, one),
        Unary::Dec => e.sub(dst, one),
        Unary::Neg => e.neg(dst),
        Unary::Not => e.not(dst),
    };
    match place {
        Place::Memory(seg, a) if i.lock => {
            if op == Unary::Neg {
                let seen = e.cas::<W>(seg, a, dst, res)?;
                let same = e.eq(seen, dst);
                let raced = e.negate(same);
                // Another processor was faster: the instruction starts anew.
                e.branch::<W64>(raced, 0)?;
            }
        }
        _ => place.write::<W>(e, res)?,
    }
    match op {
        Unary::Inc | Unary::Dec if !e.flags_wanted() => {}
        Unary::Inc | Unary::Dec => {
            let cf = flags::cf(e);
            let cf = e.number::<W>(cf);
            let cc = if op == Unary::Inc {
                CcOp::Inc
            } else {
                CcOp::Dec
            };
            flags::set::<E, W>(e, cc, res, cf, dst);
        }
        Unary::Neg => {
            let zero = e.imm::<W>(0);
            flags::set::<E, W>(e, CcOp::Sub, res, dst, zero);
        }
        Unary::Not => {}
    }
    Ok(())
}
