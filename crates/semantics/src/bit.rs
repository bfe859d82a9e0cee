//! Bits (Vol. 2A: BSF, BSR, BT, BTC, BTR, BTS; Vol. 2B: POPCNT).

use crate::emit::{Emit, Rmw, Use, W64, Width};
use crate::flags;
use crate::operand::{Place, effective, immediate, linear, read, register, truncate};
use arch::Rflags;
use decode::{Insn, Operand};

/// What becomes of the bit that CF shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    Keep,
    Set,
    Reset,
    Complement,
}

/// BT, BTS, BTR, BTC: CF ← the bit. A register index reaches beyond a memory operand (Vol. 2A, 3.1.1.9, "bit strings"). The other
/// flags stay, as they do on processors where the SDM leaves OF, SF, AF and PF open.
pub fn bit<E: Emit, W: Width>(e: &mut E, i: &Insn, then: Then) -> Result<(), E::Stop> {
    let index = match i.ops[1] {
        Operand::Imm(_) => e.imm::<W>(immediate(i, 1)),
        _ => read::<E, W>(e, i, 1)?,
    };
    let access = if then == Then::Keep {
        Use::Read
    } else {
        Use::Write
    };
    let place = match i.ops[0] {
        Operand::Mem => {
            let mut offset = effective(e, i);
            if !matches!(i.ops[1], Operand::Imm(_)) {
                let signed = e.sext::<W, W64>(index);
                let down = e.imm::<W64>(W::BITS.trailing_zeros().into());
                let element = e.sar(signed, down);
                let up = e.imm::<W64>(W::BYTES.trailing_zeros().into());
                let bytes = e.shl(element, up);
                let sum = e.add(offset, bytes);
                offset = truncate(e, i.address, sum);
            }
            Place::<E>::Memory(i.mem.seg, linear(e, i.mem.seg, offset, W::BYTES, access)?)
        }
        _ => Place::<E>::of::<W>(e, i, 0, access)?,
    };
    let mask = e.imm::<W>((W::BITS - 1).into());
    let n = e.and(index, mask);
    let one = e.imm::<W>(1);
    let this = e.shl::<W>(one, n);
    let old = match (place, then) {
        (_, Then::Keep) => place.read::<W>(e)?,
        (Place::Memory(seg, a), _) if i.lock => {
            let (op, v) = match then {
                Then::Reset => (Rmw::And, e.not(this)),
                Then::Complement => (Rmw::Xor, this),
                _ => (Rmw::Or, this),
            };
            e.rmw::<W>(op, seg, a, v)?
        }
        _ => place.modify::<W>(e)?,
    };
    let locked = i.lock && matches!(place, Place::Memory(..));
    if then != Then::Keep && !locked {
        let new = match then {
            Then::Reset => {
                let others = e.not(this);
                e.and(old, others)
            }
            Then::Complement => e.xor(old, this),
            _ => e.or(old, this),
        };
        place.write::<W>(e, new)?;
    }
    if !e.flags_wanted() {
        return Ok(());
    }
    let down = e.shr::<W>(old, n);
    let image = e.cast::<W, W64>(down);
    flags::merge(e, Rflags::CF, image);
    Ok(())
}

/// From which end a scan starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    Forward,
    Reverse,
}

/// BSF, BSR: DEST ← index of the first bit. A zero SRC leaves all 64 bits of DEST as they were (as AMD documents and Intel does).
/// ZF tells it; the undefined flags follow the index, as processors have it.
pub fn scan<E: Emit, W: Width>(e: &mut E, i: &Insn, from: Scan) -> Result<(), E::Stop> {
    let src = read::<E, W>(e, i, 1)?;
    let zero = e.is_zero::<W>(src);
    let index = match from {
        Scan::Forward => e.ctz::<W>(src),
        Scan::Reverse => {
            let n = e.clz::<W>(src);
            let top = e.imm::<W>((W::BITS - 1).into());
            e.sub(top, n)
        }
    };
    let r = register(i, 0);
    if W::BITS == 16 {
        let old = e.reg::<W>(r);
        let v = e.select::<W>(zero, old, index);
        e.set_reg::<W>(r, v);
    } else {
        let old = e.reg::<W64>(r);
        let new = e.cast::<W, W64>(index);
        let v = e.select::<W64>(zero, old, new);
        e.set_reg::<W64>(r, v);
    }
    // Bit 8 makes an index of 0 differ from a zero source, and neither PF nor SF sees it.
    let mark = e.imm::<W>(0x100);
    let marked = e.or(index, mark);
    let none = e.imm::<W>(0);
    let res = e.select::<W>(zero, none, marked);
    flags::set_logic::<E, W>(e, res);
    Ok(())
}

/// POPCNT: DEST ← number of ones in SRC; ZF by SRC, the other flags cleared.
pub fn popcnt<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let src = read::<E, W>(e, i, 1)?;
    let n = e.popcnt::<W>(src);
    e.set_reg::<W>(register(i, 0), n);
    let zero = e.is_zero::<W>(src);
    let z = e.number::<W64>(zero);
    let at = e.imm::<W64>(6);
    let image = e.shl(z, at);
    flags::set_bits(e, image);
    Ok(())
}
