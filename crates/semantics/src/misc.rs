//! Flag control, segment registers as sources, and what stands alone (Vol. 2A and 2B: BOUND, CLC, CLD, CLFLUSH, CMC, LAHF, LFENCE,
//! MFENCE, MOV from a segment register, SAHF, SFENCE, STC, STD, XLAT).

use crate::emit::{Emit, Use, W8, W16, W64, Width};
use crate::flags;
use crate::operand::{address, linear, read, truncate, write};
use arch::{Exception, Fault, Gpr, Rflags, Seg};
use decode::{Insn, Operand};

/// CLC and STC.
pub fn set_carry<E: Emit>(e: &mut E, _: &Insn, to: bool) -> Result<(), E::Stop> {
    let image = e.imm::<W64>(to.into());
    flags::merge(e, Rflags::CF, image);
    Ok(())
}

/// CMC.
pub fn complement_carry<E: Emit>(e: &mut E, _: &Insn) -> Result<(), E::Stop> {
    let cf = flags::cf(e);
    let cf = e.negate(cf);
    let image = e.number::<W64>(cf);
    flags::merge(e, Rflags::CF, image);
    Ok(())
}

/// CLD and STD.
pub fn direction<E: Emit>(e: &mut E, _: &Insn, down: bool) -> Result<(), E::Stop> {
    e.set_direction(down);
    Ok(())
}

/// LAHF: AH ← SF:ZF:0:AF:0:PF:1:CF.
pub fn lahf<E: Emit>(e: &mut E, _: &Insn) -> Result<(), E::Stop> {
    let image = flags::status(e);
    let image = e.cast::<W64, W8>(image);
    let fixed = e.imm::<W8>(2);
    let image = e.or(image, fixed);
    e.set_reg_high(Gpr::RAX, image);
    Ok(())
}

/// SAHF: SF, ZF, AF, PF and CF from AH; OF stays.
pub fn sahf<E: Emit>(e: &mut E, _: &Insn) -> Result<(), E::Stop> {
    let ah = e.reg_high(Gpr::RAX);
    let image = e.cast::<W8, W64>(ah);
    let all_but_of = Rflags::STATUS.difference(Rflags::OF);
    flags::merge(e, all_but_of, image);
    Ok(())
}

/// XLAT: AL ← [rBX + AL].
pub fn xlat<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let al = e.reg::<W8>(Gpr::RAX);
    let al = e.cast::<W8, W64>(al);
    let table = e.reg::<W64>(Gpr::RBX);
    let offset = e.add(table, al);
    let offset = truncate(e, i.address, offset);
    let a = linear(e, i.mem.seg, offset, 1, Use::Read)?;
    let v = e.load::<W8>(i.mem.seg, a)?;
    e.set_reg::<W8>(Gpr::RAX, v);
    Ok(())
}

/// BOUND: #BR unless lower bound ≤ index ≤ upper bound, signed.
pub fn bound<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let index = read::<E, W>(e, i, 0)?;
    let a = address(e, i, 2 * W::BYTES, Use::Read)?;
    let lower = e.load::<W>(i.mem.seg, a)?;
    let n = e.imm::<W64>(W::BYTES.into());
    let a = e.add(a, n);
    let upper = e.load::<W>(i.mem.seg, a)?;
    let (below, above) = (e.slt::<W>(index, lower), e.slt::<W>(upper, index));
    let out = e.either(below, above);
    e.raise_if(out, Fault::new(Exception::BR))
}

/// The segment register that operand `n` names.
pub fn segment(i: &Insn, n: usize) -> Seg {
    match i.ops[n] {
        Operand::Seg(s) => s,
        _ => Seg::Ds,
    }
}

/// MOV r/m, Sreg: memory takes 16 bits, a register all of its width `W`, zero-extended.
pub fn mov_from_segment<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = e.selector(segment(i, 1));
    match i.ops[0] {
        Operand::Mem => write::<E, W16>(e, i, 0, v),
        _ => {
            let v = e.cast::<W16, W>(v);
            write::<E, W>(e, i, 0, v)
        }
    }
}

/// LFENCE, MFENCE, SFENCE.
pub fn fence<E: Emit>(e: &mut E, _: &Insn) -> Result<(), E::Stop> {
    e.fence();
    Ok(())
}

/// CLFLUSH: there is no cache to flush; the byte must be readable.
pub fn clflush<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let a = address(e, i, 1, Use::Read)?;
    e.load::<W8>(i.mem.seg, a)?;
    Ok(())
}
