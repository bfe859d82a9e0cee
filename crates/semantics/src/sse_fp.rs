//! SSE floating point: one body for each shape of operands; [`FpOp`] tells the operation.

use crate::emit::{Align, Emit, W32, W64, Width};
use crate::flags;
use crate::fp::{FpFormat, FpOp, Relation};
use crate::operand::{immediate, read, read_mm, read_xmm, read_xmm_low, register};
use crate::sse_mov::constant;
use decode::{Insn, Operand};

/// Lanes of a format in a vector.
fn lanes(format: FpFormat) -> u32 {
    match format {
        FpFormat::Single => 4,
        FpFormat::Double => 2,
    }
}

/// SRC of a scalar operation.
fn read_scalar<E: Emit>(e: &mut E, i: &Insn, format: FpFormat) -> Result<E::Vec, E::Stop> {
    match format {
        _ if i.ops[1] != Operand::Mem => Ok(e.xmm(register(i, 1))),
        FpFormat::Single => read_xmm_low::<E, W32>(e, i, 1),
        FpFormat::Double => read_xmm_low::<E, W64>(e, i, 1),
    }
}

/// ADDPS and its like: all lanes of DEST ← `op`(DEST, SRC).
pub fn packed<E: Emit>(e: &mut E, i: &Insn, op: FpOp, format: FpFormat) -> Result<(), E::Stop> {
    let b = read_xmm(e, i, 1, Align::Vector)?;
    let a = e.xmm(register(i, 0));
    let v = e.fp(op, format, lanes(format), a, b)?;
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// ADDSS and its like: the low lane of DEST.
pub fn scalar<E: Emit>(e: &mut E, i: &Insn, op: FpOp, format: FpFormat) -> Result<(), E::Stop> {
    let b = read_scalar(e, i, format)?;
    let a = e.xmm(register(i, 0));
    let v = e.fp(op, format, 1, a, b)?;
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// [`packed`] with an immediate.
pub fn packed_imm<E: Emit>(
    e: &mut E,
    i: &Insn,
    op: fn(u8) -> FpOp,
    format: FpFormat,
) -> Result<(), E::Stop> {
    packed(e, i, op(immediate(i, 2) as u8), format)
}

/// [`scalar`] with an immediate.
pub fn scalar_imm<E: Emit>(
    e: &mut E,
    i: &Insn,
    op: fn(u8) -> FpOp,
    format: FpFormat,
) -> Result<(), E::Stop> {
    scalar(e, i, op(immediate(i, 2) as u8), format)
}

/// CVTPD2PS, CVTPD2DQ, CVTTPD2DQ: two lanes narrowed, the high half of DEST cleared.
pub fn narrow<E: Emit>(e: &mut E, i: &Insn, op: FpOp) -> Result<(), E::Stop> {
    let b = read_xmm(e, i, 1, Align::Vector)?;
    let zero = constant(e, 0);
    let v = e.fp(op, FpFormat::Double, 2, zero, b)?;
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// CVTPS2PD, CVTDQ2PD: the low half of SRC widened.
pub fn widen<E: Emit>(e: &mut E, i: &Insn, op: FpOp, format: FpFormat) -> Result<(), E::Stop> {
    let b = read_xmm_low::<E, W64>(e, i, 1)?;
    let a = e.xmm(register(i, 0));
    let v = e.fp(op, format, 2, a, b)?;
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// CVTSI2SS, CVTSI2SD: an integer of width `W` into the low lane.
pub fn from_gpr<E: Emit, W: Width>(e: &mut E, i: &Insn, format: FpFormat) -> Result<(), E::Stop> {
    let b = read::<E, W>(e, i, 1)?;
    let b = e.vec_from::<W>(b);
    let a = e.xmm(register(i, 0));
    let op = if W::BITS == 64 {
        FpOp::FromInt64
    } else {
        FpOp::FromInt32
    };
    let v = e.fp(op, format, 1, a, b)?;
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// CVTSS2SI, CVTSD2SI, CVTTSS2SI, CVTTSD2SI: the low lane to an integer of width `W`.
pub fn to_gpr<E: Emit, W: Width>(
    e: &mut E,
    i: &Insn,
    op: FpOp,
    format: FpFormat,
) -> Result<(), E::Stop> {
    let b = read_scalar(e, i, format)?;
    let zero = constant(e, 0);
    let v = e.fp(op, format, 1, zero, b)?;
    let v = e.vec_lane::<W>(v, 0);
    e.set_reg::<W>(register(i, 0), v);
    Ok(())
}

/// CVTPI2PS, CVTPI2PD: two integers of an MMX register or memory into the low lanes. From memory it is no MMX instruction: Vol. 2A says
/// so of CVTPI2PD only, but processors treat both alike.
pub fn from_mm<E: Emit>(e: &mut E, i: &Insn, format: FpFormat) -> Result<(), E::Stop> {
    let from_register = i.ops[1] != Operand::Mem;
    if from_register {
        e.x87_pending()?;
    }
    let b = read_mm(e, i, 1)?;
    if from_register {
        e.enter_mmx()?;
    }
    let a = e.xmm(register(i, 0));
    let v = e.fp(FpOp::FromInt32, format, 2, a, b)?;
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// CVTPS2PI, CVTPD2PI, CVTTPS2PI, CVTTPD2PI: two lanes into the integers of an MMX register.
pub fn to_mm<E: Emit>(e: &mut E, i: &Insn, op: FpOp, format: FpFormat) -> Result<(), E::Stop> {
    e.x87_pending()?;
    let b = match format {
        FpFormat::Single => read_xmm_low::<E, W64>(e, i, 1)?,
        FpFormat::Double => read_xmm(e, i, 1, Align::Vector)?,
    };
    e.enter_mmx()?;
    let zero = constant(e, 0);
    let v = e.fp(op, format, 2, zero, b)?;
    e.set_mm(register(i, 0), v);
    Ok(())
}

/// COMISx, UCOMISx: unordered 111, greater 000, less 001, equal 100 in ZF, PF, CF; OF, SF and AF cleared.
pub fn compare<E: Emit>(
    e: &mut E,
    i: &Insn,
    relation: Relation,
    format: FpFormat,
) -> Result<(), E::Stop> {
    let b = read_scalar(e, i, format)?;
    let a = e.xmm(register(i, 0));
    let image = e.fp_compare(relation, format, a, b)?;
    flags::set_bits(e, image);
    Ok(())
}
