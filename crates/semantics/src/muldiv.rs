//! Multiplication, division and sign extension of the accumulator (Vol. 2A: CBW/CWDE/CDQE, CWD/CDQ/CQO, DIV, IDIV, IMUL; Vol. 2B: MUL).
//!
//! Undefined flags: multiplications set SF, ZF and PF from the low half and clear AF, as Intel's do; divisions change none.

use crate::emit::{CcOp, Emit, W8, W16, W64, Width};
use crate::flags;
use crate::operand::{immediate, read, write};
use arch::{Exception, Fault, Gpr};
use decode::{Insn, Operand};

/// How numbers are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    Unsigned,
    Signed,
}

const DIVIDE_ERROR: Fault = Fault::new(Exception::DE);

/// The double-width accumulator AX, DX:AX, EDX:EAX or RDX:RAX: high and low half.
fn accumulator<E: Emit, W: Width>(e: &mut E) -> (E::Val<W>, E::Val<W>) {
    let low = e.reg::<W>(Gpr::RAX);
    if W::BITS == 8 {
        let high = e.reg_high(Gpr::RAX);
        return (e.cast::<W8, W>(high), low);
    }
    (e.reg::<W>(Gpr::RDX), low)
}

fn set_accumulator<E: Emit, W: Width>(e: &mut E, high: E::Val<W>, low: E::Val<W>) {
    e.set_reg::<W>(Gpr::RAX, low);
    if W::BITS == 8 {
        let high = e.cast::<W, W8>(high);
        e.set_reg_high(Gpr::RAX, high);
    } else {
        e.set_reg::<W>(Gpr::RDX, high);
    }
}

/// Whether the product is wider than its low half: CF and OF.
fn overflow<E: Emit, W: Width>(e: &mut E, sign: Sign, high: E::Val<W>, low: E::Val<W>) -> E::Bool {
    let fits = match sign {
        Sign::Unsigned => e.is_zero::<W>(high),
        Sign::Signed => {
            let n = e.imm::<W>((W::BITS - 1).into());
            let s = e.sar::<W>(low, n);
            e.eq::<W>(high, s)
        }
    };
    e.negate(fits)
}

/// MUL, and IMUL with one operand: the accumulator's double ← accumulator × SRC.
pub fn mul<E: Emit, W: Width>(e: &mut E, i: &Insn, sign: Sign) -> Result<(), E::Stop> {
    let src = read::<E, W>(e, i, 0)?;
    let a = e.reg::<W>(Gpr::RAX);
    let low = e.mul::<W>(a, src);
    let high = match sign {
        Sign::Unsigned => e.mul_high_u::<W>(a, src),
        Sign::Signed => e.mul_high_s::<W>(a, src),
    };
    let over = overflow::<E, W>(e, sign, high, low);
    set_accumulator::<E, W>(e, high, low);
    flags::set_result::<E, W>(e, low, over, over);
    Ok(())
}

/// IMUL with two or three operands: DEST ← truncated product.
pub fn imul<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let a = read::<E, W>(e, i, 1)?;
    let b = match i.ops[2] {
        Operand::Imm(_) => e.imm::<W>(immediate(i, 2)),
        _ => read::<E, W>(e, i, 0)?,
    };
    let low = e.mul::<W>(a, b);
    write::<E, W>(e, i, 0, low)?;
    flags::set::<E, W>(e, CcOp::Product, low, a, b);
    Ok(())
}

/// DIV and IDIV: quotient and remainder of the accumulator's double by SRC; #DE if the quotient does not exist or fit.
pub fn div<E: Emit, W: Width>(e: &mut E, i: &Insn, sign: Sign) -> Result<(), E::Stop> {
    let d = read::<E, W>(e, i, 0)?;
    let (high, low) = accumulator::<E, W>(e);
    let (q, r) = match sign {
        Sign::Unsigned => {
            let fits = e.ult::<W>(high, d);
            let bad = e.negate(fits);
            e.raise_if(bad, DIVIDE_ERROR)?;
            e.div_u::<W>(high, low, d)
        }
        Sign::Signed => {
            let fits = e.div_s_fits::<W>(high, low, d);
            let bad = e.negate(fits);
            e.raise_if(bad, DIVIDE_ERROR)?;
            e.div_s::<W>(high, low, d)
        }
    };
    set_accumulator::<E, W>(e, r, q);
    Ok(())
}

/// CBW, CWDE, CDQE: rAX ← sign-extended lower half.
pub fn extend<E: Emit, F: Width, T: Width>(e: &mut E, _: &Insn) -> Result<(), E::Stop> {
    let v = e.reg::<F>(Gpr::RAX);
    let v = e.sext::<F, T>(v);
    e.set_reg::<T>(Gpr::RAX, v);
    Ok(())
}

/// CWD, CDQ, CQO: rDX ← sign of rAX.
pub fn extend_double<E: Emit, W: Width>(e: &mut E, _: &Insn) -> Result<(), E::Stop> {
    let v = e.reg::<W>(Gpr::RAX);
    let n = e.imm::<W>((W::BITS - 1).into());
    let s = e.sar::<W>(v, n);
    e.set_reg::<W>(Gpr::RDX, s);
    Ok(())
}

/// AAM: AH ← AL / imm8, AL ← AL mod imm8; #DE for 0. SF, ZF and PF by AL; CF, OF and AF are cleared.
pub fn aam<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let base = immediate(i, 0) & 0xff;
    let zero = e.truth(base == 0);
    e.raise_if(zero, DIVIDE_ERROR)?;
    let d = e.imm::<W8>(base.max(1));
    let none = e.imm::<W8>(0);
    let al = e.reg::<W8>(Gpr::RAX);
    let (q, r) = e.div_u::<W8>(none, al, d);
    e.set_reg::<W8>(Gpr::RAX, r);
    e.set_reg_high(Gpr::RAX, q);
    flags::set_logic::<E, W8>(e, r);
    Ok(())
}

/// AAD: AL ← AL + AH × imm8, AH ← 0. SF, ZF and PF by AL; CF, OF and AF are cleared.
pub fn aad<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let base = e.imm::<W8>(immediate(i, 0) & 0xff);
    let ah = e.reg_high(Gpr::RAX);
    let al = e.reg::<W8>(Gpr::RAX);
    let product = e.mul::<W8>(ah, base);
    let res = e.add::<W8>(al, product);
    let ax = e.cast::<W8, W16>(res);
    e.set_reg::<W16>(Gpr::RAX, ax);
    flags::set_logic::<E, W8>(e, res);
    Ok(())
}

/// A decimal adjustment of AL after packed arithmetic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adjust {
    Add,
    Subtract,
}

/// DAA and DAS (Vol. 2A). OF, undefined, is cleared.
pub fn decimal<E: Emit>(e: &mut E, _: &Insn, how: Adjust) -> Result<(), E::Stop> {
    let old = e.reg::<W8>(Gpr::RAX);
    let (cf, af) = (flags::cf(e), flags::af(e));
    let low = low_digit_adjusts(e, old, af);
    let limit = e.imm::<W8>(0x99);
    let over = e.ult::<W8>(limit, old);
    let high = e.either(over, cf);
    let zero = e.imm::<W8>(0);
    let (six, sixty) = (e.imm::<W8>(6), e.imm::<W8>(0x60));
    let a = e.select::<W8>(low, six, zero);
    let b = e.select::<W8>(high, sixty, zero);
    let d = e.add(a, b);
    let (res, cf) = match how {
        Adjust::Add => (e.add(old, d), high),
        Adjust::Subtract => {
            // The borrow of the first step counts even where the second does not take place.
            let borrow = e.ult::<W8>(old, a);
            (e.sub(old, d), e.either(high, borrow))
        }
    };
    e.set_reg::<W8>(Gpr::RAX, res);
    set_adjusted(e, res, cf, low);
    Ok(())
}

/// AAA and AAS (Vol. 2A). Of the undefined flags SF, ZF and PF follow AL and OF is cleared.
pub fn ascii<E: Emit>(e: &mut E, _: &Insn, how: Adjust) -> Result<(), E::Stop> {
    let old = e.reg::<W8>(Gpr::RAX);
    let ax = e.reg::<W16>(Gpr::RAX);
    let af = flags::af(e);
    let adjusts = low_digit_adjusts(e, old, af);
    let d = e.imm::<W16>(0x106);
    let moved = match how {
        Adjust::Add => e.add(ax, d),
        Adjust::Subtract => e.sub(ax, d),
    };
    let ax = e.select::<W16>(adjusts, moved, ax);
    let mask = e.imm::<W16>(0xff0f);
    let ax = e.and(ax, mask);
    e.set_reg::<W16>(Gpr::RAX, ax);
    let al = e.cast::<W16, W8>(ax);
    set_adjusted(e, al, adjusts, adjusts);
    Ok(())
}

/// AL's low digit is above 9, or AF is set.
fn low_digit_adjusts<E: Emit>(e: &mut E, al: E::Val<W8>, af: E::Bool) -> E::Bool {
    let mask = e.imm::<W8>(15);
    let digit = e.and(al, mask);
    let nine = e.imm::<W8>(9);
    let over = e.ult::<W8>(nine, digit);
    e.either(over, af)
}

/// SF, ZF and PF of `res`, CF and AF as given, OF clear.
fn set_adjusted<E: Emit>(e: &mut E, res: E::Val<W8>, cf: E::Bool, af: E::Bool) {
    let c = e.number::<W64>(cf);
    let a = e.number::<W64>(af);
    let n = e.imm::<W64>(4);
    let a = e.shl(a, n);
    let src = e.or(c, a);
    let res = e.cast::<W8, W64>(res);
    e.set_flags(crate::emit::Flags {
        cc: crate::emit::Cc {
            op: crate::emit::CcOp::Result,
            size: W8::SIZE,
        },
        res,
        src,
        dst: res,
    });
}
