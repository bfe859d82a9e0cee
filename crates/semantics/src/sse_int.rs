//! SSE packed integers, logic and shuffles: one body for each shape of operands; [`VecOp`] tells the operation.

use crate::emit::{Align, Emit, W64, Width};
use crate::flags;
use crate::operand::{immediate, read_xmm, read_xmm_low, register};
use crate::sse_mov::constant;
use crate::vector::VecOp;
use arch::Rflags;
use decode::Insn;

/// DEST ← `op`(DEST, SRC); SRC in memory is aligned.
#[inline(always)]
pub fn packed<E: Emit>(e: &mut E, i: &Insn, op: VecOp) -> Result<(), E::Stop> {
    let b = read_xmm(e, i, 1, Align::Vector)?;
    let a = e.xmm(register(i, 0));
    let v = e.vec(op, a, b);
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// The same with an immediate.
#[inline(always)]
pub fn packed_imm<E: Emit>(e: &mut E, i: &Insn, op: fn(u8) -> VecOp) -> Result<(), E::Stop> {
    packed(e, i, op(immediate(i, 2) as u8))
}

/// DEST ← `op`(DEST, imm8).
#[inline(always)]
pub fn shift_imm<E: Emit>(e: &mut E, i: &Insn, op: fn(u8) -> VecOp) -> Result<(), E::Stop> {
    let a = e.xmm(register(i, 0));
    let v = e.vec(op(immediate(i, 1) as u8), a, a);
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// PMOVSXxx, PMOVZXxx: DEST ← `op` of the low `W` of SRC.
#[inline(always)]
pub fn widen<E: Emit, W: Width>(e: &mut E, i: &Insn, op: VecOp) -> Result<(), E::Stop> {
    let b = read_xmm_low::<E, W>(e, i, 1)?;
    let v = e.vec(op, b, b);
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// INSERTPS: a memory operand is one lane, whatever imm8 says of the source lane.
pub fn insertps<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let imm = immediate(i, 2) as u8;
    let (b, imm) = match i.ops[1] {
        decode::Operand::Mem => (read_xmm_low::<E, crate::emit::W32>(e, i, 1)?, imm & 0x3f),
        _ => (e.xmm(register(i, 1)), imm),
    };
    let a = e.xmm(register(i, 0));
    let v = e.vec(VecOp::Insertps(imm), a, b);
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// The lanes of a variable blend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lanes {
    Bytes,
    Dwords,
    Qwords,
}

/// PBLENDVB, BLENDVPS, BLENDVPD: lanes of SRC where the sign of XMM0's lane is set, else of DEST.
pub fn blend_variable<E: Emit>(e: &mut E, i: &Insn, lanes: Lanes) -> Result<(), E::Stop> {
    let b = read_xmm(e, i, 1, Align::Vector)?;
    let a = e.xmm(register(i, 0));
    let signs = e.xmm(0);
    let mask = match lanes {
        Lanes::Bytes => {
            let zero = constant(e, 0);
            e.vec(VecOp::Pcmpgtb, zero, signs)
        }
        Lanes::Dwords => e.vec(VecOp::PsradImm(31), signs, signs),
        Lanes::Qwords => {
            let high = e.vec(VecOp::PsradImm(31), signs, signs);
            e.vec(VecOp::Pshufd(0b11_11_01_01), high, high)
        }
    };
    let taken = e.vec(VecOp::And, mask, b);
    let kept = e.vec(VecOp::AndNot, mask, a);
    let v = e.vec(VecOp::Or, taken, kept);
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// PTEST: ZF ← (SRC AND DEST = 0), CF ← (SRC AND NOT DEST = 0), the others cleared.
pub fn ptest<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let b = read_xmm(e, i, 1, Align::Vector)?;
    let a = e.xmm(register(i, 0));
    let common = e.vec(VecOp::And, a, b);
    let rest = e.vec(VecOp::AndNot, a, b);
    let zf = is_zero(e, common);
    let cf = is_zero(e, rest);
    set_flags(e, &[(zf, Rflags::ZF), (cf, Rflags::CF)]);
    Ok(())
}

/// All 128 bits clear?
fn is_zero<E: Emit>(e: &mut E, v: E::Vec) -> E::Bool {
    let low = e.vec_lane::<W64>(v, 0);
    let high = e.vec_lane::<W64>(v, 1);
    let any = e.or(low, high);
    e.is_zero(any)
}

/// Sets these status flags and clears the others.
pub fn set_flags<E: Emit>(e: &mut E, flags: &[(E::Bool, Rflags)]) {
    let mut image = e.imm::<W64>(0);
    for &(value, flag) in flags {
        let bit = e.number::<W64>(value);
        let n = e.imm::<W64>(flag.bits().trailing_zeros().into());
        let bit = e.shl(bit, n);
        image = e.or(image, bit);
    }
    flags::set_bits(e, image);
}
