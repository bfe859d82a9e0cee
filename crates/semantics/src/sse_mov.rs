//! SSE data movement (Vol. 2A and 2B: LDDQU, MASKMOVDQU, MOVAPS to MOVUPS, MOVD, MOVNTxx, MOVQ2DQ, PEXTRx, PINSRx).
//!
//! The non-temporal forms are plain stores and loads: caches are not architectural.

use crate::emit::{Align, Emit, Use, W8, W16, W32, W64, Width};
use crate::operand::{
    address_vec, immediate, linear, read, read_xmm, read_xmm_low, register, truncate, write,
};
use crate::vector::VecOp;
use arch::{Fault, Gpr};
use decode::{Insn, Operand};

/// What every SSE instruction checks first (Vol. 3A, 2.5 and 13.1): #UD if CR0.EM is set or CR4.OSFXSR is clear, #NM if CR0.TS is.
#[inline(always)]
pub fn available<E: Emit>(e: &mut E) -> Result<(), E::Stop> {
    let mode = e.mode();
    if mode.em() || !mode.osfxsr() {
        e.undefined()?;
    }
    if mode.ts() {
        e.raise(Fault::NM)?;
    }
    Ok(())
}

/// A vector known while decoding.
pub fn constant<E: Emit>(e: &mut E, v: u128) -> E::Vec {
    let low = e.imm::<W64>(v as u64);
    let low = e.vec_from::<W64>(low);
    match (v >> 64) as u64 {
        0 => low,
        high => {
            let high = e.imm::<W64>(high);
            e.vec_with_lane::<W64>(low, 1, high)
        }
    }
}

/// Writes a 16-byte operand: an XMM register or memory.
fn write_xmm<E: Emit>(
    e: &mut E,
    i: &Insn,
    n: usize,
    v: E::Vec,
    align: Align,
) -> Result<(), E::Stop> {
    match i.ops[n] {
        Operand::Mem => {
            let a = address_vec(e, i, Use::Write, align)?;
            e.store_vec(i.mem.seg, a, v, align)
        }
        _ => {
            e.set_xmm(register(i, n), v);
            Ok(())
        }
    }
}

/// MOVAPS, MOVUPS, MOVDQA, MOVDQU, LDDQU, MOVNTPS, MOVNTDQ, MOVNTDQA and their like: DEST ← SRC, all 16 bytes.
pub fn mov<E: Emit>(e: &mut E, i: &Insn, align: Align) -> Result<(), E::Stop> {
    let v = read_xmm(e, i, 1, align)?;
    write_xmm(e, i, 0, v, align)
}

/// MOVSS, MOVSD: from memory zero-extended, between registers the low lane only.
pub fn mov_scalar<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    if i.ops[1] == Operand::Mem {
        let v = read_xmm_low::<E, W>(e, i, 1)?;
        e.set_xmm(register(i, 0), v);
        return Ok(());
    }
    let v = e.xmm(register(i, 1));
    let lane = e.vec_lane::<W>(v, 0);
    if i.ops[0] == Operand::Mem {
        return write::<E, W>(e, i, 0, lane);
    }
    let old = e.xmm(register(i, 0));
    let v = e.vec_with_lane::<W>(old, 0, lane);
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// MOVQ between XMM registers and memory: a register is zero-extended.
pub fn movq<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = read_xmm_low::<E, W64>(e, i, 1)?;
    if i.ops[0] == Operand::Mem {
        let lane = e.vec_lane::<W64>(v, 0);
        return write::<E, W64>(e, i, 0, lane);
    }
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// MOVD, MOVQ into an XMM register, zero-extended.
pub fn to_xmm<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = read::<E, W>(e, i, 1)?;
    let v = e.vec_from::<W>(v);
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// MOVD, MOVQ from an XMM register.
pub fn from_xmm<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = e.xmm(register(i, 1));
    let v = e.vec_lane::<W>(v, 0);
    write::<E, W>(e, i, 0, v)
}

/// MOVLPS, MOVHPS and MOVLPD, MOVHPD from memory: one half of DEST.
pub fn load_half<E: Emit>(e: &mut E, i: &Insn, half: u32) -> Result<(), E::Stop> {
    let v = read::<E, W64>(e, i, 1)?;
    let old = e.xmm(register(i, 0));
    let v = e.vec_with_lane::<W64>(old, half, v);
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// MOVLPS, MOVHPS and MOVLPD, MOVHPD to memory.
pub fn store_half<E: Emit>(e: &mut E, i: &Insn, half: u32) -> Result<(), E::Stop> {
    let v = e.xmm(register(i, 1));
    let v = e.vec_lane::<W64>(v, half);
    write::<E, W64>(e, i, 0, v)
}

/// MOVHLPS: the low half of DEST ← the high half of SRC.
pub fn movhlps<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let (a, b) = (e.xmm(register(i, 0)), e.xmm(register(i, 1)));
    let v = e.vec(VecOp::Punpckhqdq, b, a);
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// MOVDDUP: both halves ← the low quadword of SRC.
pub fn movddup<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = read_xmm_low::<E, W64>(e, i, 1)?;
    let v = e.vec(VecOp::Punpcklqdq, v, v);
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// PINSRB, PINSRW, PINSRD, PINSRQ: lane imm8 of DEST ← SRC.
pub fn insert<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let lane = immediate(i, 2) as u32 % (128 / W::BITS);
    let v = read::<E, W>(e, i, 1)?;
    let old = e.xmm(register(i, 0));
    let v = e.vec_with_lane::<W>(old, lane, v);
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// PEXTRB, PEXTRW, PEXTRD, PEXTRQ, EXTRACTPS: DEST ← lane imm8 of SRC; a register is zero-extended.
pub fn extract<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let lane = immediate(i, 2) as u32 % (128 / W::BITS);
    let v = e.xmm(register(i, 1));
    let v = e.vec_lane::<W>(v, lane);
    if i.ops[0] == Operand::Mem {
        return write::<E, W>(e, i, 0, v);
    }
    let v = e.cast::<W, W64>(v);
    e.set_reg::<W64>(register(i, 0), v);
    Ok(())
}

/// The linear address of the implicit operand at DS:rDI of `bytes` bytes.
pub fn address_rdi<E: Emit>(e: &mut E, i: &Insn, bytes: u32) -> Result<E::Val<W64>, E::Stop> {
    let offset = e.reg::<W64>(Gpr::RDI);
    let offset = truncate(e, i.address, offset);
    linear(e, i.mem.seg, offset, bytes, Use::Write)
}

/// Stores the low `lanes` bytes of `v` whose byte in `mask` has its top bit set. What the others' addresses hold is not touched, but
/// all must be writable, as implementations may ask (Vol. 2B, MASKMOVDQU).
pub fn store_masked<E: Emit>(
    e: &mut E,
    i: &Insn,
    lanes: u32,
    v: E::Vec,
    mask: E::Vec,
) -> Result<(), E::Stop> {
    let to = address_rdi(e, i, lanes)?;
    let bits = e.vec(VecOp::Pmovmskb, mask, mask);
    let bits = e.vec_lane::<W16>(bits, 0);
    e.probe_write(i.mem.seg, to, lanes)?;
    for n in 0..lanes {
        let selected = e.bit(bits, n);
        e.when(selected, |e| {
            let offset = e.imm::<W64>(n.into());
            let at = e.add(to, offset);
            let byte = e.vec_lane::<W8>(v, n);
            e.store::<W8>(i.mem.seg, at, byte)
        })?;
    }
    Ok(())
}

/// MASKMOVDQU: the selected bytes of the first operand to DS:rDI.
pub fn maskmovdqu<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let (v, mask) = (e.xmm(register(i, 1)), e.xmm(register(i, 2)));
    store_masked(e, i, 16, v, mask)
}

/// MOVQ2DQ.
pub fn movq2dq<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    e.enter_mmx()?;
    let v = e.mm(register(i, 1));
    e.set_xmm(register(i, 0), v);
    Ok(())
}

/// MOVDQ2Q.
pub fn movdq2q<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    e.enter_mmx()?;
    let v = e.xmm(register(i, 1));
    e.set_mm(register(i, 0), v);
    Ok(())
}

/// PMOVMSKB, MOVMSKPS, MOVMSKPD: the signs of SRC's lanes into a general register.
pub fn mask<E: Emit>(e: &mut E, i: &Insn, op: VecOp) -> Result<(), E::Stop> {
    let v = e.xmm(register(i, 1));
    let v = e.vec(op, v, v);
    let v = e.vec_lane::<W32>(v, 0);
    e.set_reg::<W32>(register(i, 0), v);
    Ok(())
}
