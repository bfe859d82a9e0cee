//! Operands: from what decoding found to guest values.

use crate::emit::{Align, Emit, Use, W8, W16, W32, W64, Width};
use arch::{Seg, Size};
use decode::{Insn, Mem, Operand};

/// Truncates an address of size `size`.
#[inline(always)]
pub fn truncate<E: Emit>(e: &mut E, size: Size, v: E::Val<W64>) -> E::Val<W64> {
    match size {
        Size::B16 => {
            let v = e.cast::<W64, W16>(v);
            e.cast::<W16, W64>(v)
        }
        Size::B32 => {
            let v = e.cast::<W64, W32>(v);
            e.cast::<W32, W64>(v)
        }
        Size::B64 => v,
    }
}

/// The effective address of the memory operand: an offset in its segment (Vol. 1, 3.7.5).
#[inline(always)]
pub fn effective<E: Emit>(e: &mut E, i: &Insn) -> E::Val<W64> {
    let m = i.mem;
    let mut a = match m.base {
        Mem::NONE => e.imm::<W64>(m.disp),
        base => {
            let b = if base == Mem::RIP {
                e.ip()
            } else {
                e.reg::<W64>(base)
            };
            if m.disp == 0 {
                b
            } else {
                let d = e.imm::<W64>(m.disp);
                e.add(b, d)
            }
        }
    };
    if m.index != Mem::NONE {
        let mut x = e.reg::<W64>(m.index);
        if m.scale != 0 {
            let n = e.imm::<W64>(m.scale.into());
            x = e.shl(x, n);
        }
        a = e.add(a, x);
    }
    truncate(e, i.address, a)
}

/// The linear address of `bytes` bytes at `offset` in `seg`, checked against the segment (Vol. 3A, 3.4, 5.3).
#[inline(always)]
pub fn linear<E: Emit>(
    e: &mut E,
    seg: Seg,
    offset: E::Val<W64>,
    bytes: u32,
    access: Use,
) -> Result<E::Val<W64>, E::Stop> {
    let mode = e.mode();
    let based = matches!(seg, Seg::Fs | Seg::Gs);
    if mode.is_64() {
        return Ok(if based {
            let b = e.seg_base(seg);
            e.add(b, offset)
        } else {
            offset
        });
    }
    if mode.flat() && !based && seg != Seg::Cs {
        return Ok(offset);
    }
    e.check_segment(seg, offset, bytes, access)?;
    let b = e.seg_base(seg);
    let a = e.add(b, offset);
    Ok(truncate(e, Size::B32, a))
}

/// The linear address of the instruction's memory operand.
#[inline(always)]
pub fn address<E: Emit>(
    e: &mut E,
    i: &Insn,
    bytes: u32,
    access: Use,
) -> Result<E::Val<W64>, E::Stop> {
    let offset = effective(e, i);
    linear(e, i.mem.seg, offset, bytes, access)
}

/// An operand that may be read and written: its address is worked out once.
pub enum Place<E: Emit> {
    Gpr(u8),
    GprHigh(u8),
    Memory(Seg, E::Val<W64>),
    Constant(u64),
}

impl<E: Emit> Clone for Place<E> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<E: Emit> Copy for Place<E> {}

impl<E: Emit> Place<E> {
    /// Operand `n`, about to be used for `access` in width `W`.
    #[inline(always)]
    pub fn of<W: Width>(e: &mut E, i: &Insn, n: usize, access: Use) -> Result<Self, E::Stop> {
        Ok(match i.ops[n] {
            Operand::Gpr(r) => Self::Gpr(r),
            Operand::GprHigh(r) => Self::GprHigh(r),
            Operand::Imm(v) => Self::Constant(v),
            Operand::Mem => Self::Memory(i.mem.seg, address(e, i, W::BYTES, access)?),
            // Forms with other operands have bodies that look at them directly.
            _ => Self::Constant(0),
        })
    }

    /// Its value.
    #[inline(always)]
    pub fn read<W: Width>(self, e: &mut E) -> Result<E::Val<W>, E::Stop> {
        Ok(match self {
            Self::Gpr(r) => e.reg::<W>(r),
            Self::GprHigh(r) => {
                let v = e.reg_high(r);
                e.cast::<W8, W>(v)
            }
            Self::Memory(seg, a) => e.load::<W>(seg, a)?,
            Self::Constant(v) => e.imm::<W>(v),
        })
    }

    /// Its value, about to be replaced: faults as the write would.
    #[inline(always)]
    pub fn modify<W: Width>(self, e: &mut E) -> Result<E::Val<W>, E::Stop> {
        match self {
            Self::Memory(seg, a) => e.load_modify::<W>(seg, a),
            _ => self.read::<W>(e),
        }
    }

    /// Replaces it.
    #[inline(always)]
    pub fn write<W: Width>(self, e: &mut E, v: E::Val<W>) -> Result<(), E::Stop> {
        match self {
            Self::Gpr(r) => e.set_reg::<W>(r, v),
            Self::GprHigh(r) => {
                let v = e.cast::<W, W8>(v);
                e.set_reg_high(r, v);
            }
            Self::Memory(seg, a) => e.store::<W>(seg, a, v)?,
            Self::Constant(_) => {}
        }
        Ok(())
    }
}

/// Reads operand `n`.
#[inline(always)]
pub fn read<E: Emit, W: Width>(e: &mut E, i: &Insn, n: usize) -> Result<E::Val<W>, E::Stop> {
    Place::<E>::of::<W>(e, i, n, Use::Read)?.read::<W>(e)
}

/// Writes operand `n`.
#[inline(always)]
pub fn write<E: Emit, W: Width>(
    e: &mut E,
    i: &Insn,
    n: usize,
    v: E::Val<W>,
) -> Result<(), E::Stop> {
    Place::<E>::of::<W>(e, i, n, Use::Write)?.write::<W>(e, v)
}

/// The number of a register operand; 0 for anything else, which no form that uses this has.
pub fn register(i: &Insn, n: usize) -> u8 {
    match i.ops[n] {
        Operand::Gpr(r)
        | Operand::GprHigh(r)
        | Operand::Xmm(r)
        | Operand::Mm(r)
        | Operand::St(r) => r,
        Operand::Cr(r) | Operand::Dr(r) => r,
        _ => 0,
    }
}

/// The value of an immediate operand; 0 for anything else.
pub fn immediate(i: &Insn, n: usize) -> u64 {
    match i.ops[n] {
        Operand::Imm(v) => v,
        _ => 0,
    }
}

/// The linear address of a 16-byte memory operand. One that must be aligned and is not raises #GP before its segment is looked at.
pub fn address_vec<E: Emit>(
    e: &mut E,
    i: &Insn,
    access: Use,
    align: Align,
) -> Result<E::Val<W64>, E::Stop> {
    let mode = e.mode();
    if align == Align::Vector && !mode.is_64() && !mode.flat() {
        let offset = effective(e, i);
        let base = e.seg_base(i.mem.seg);
        let a = e.add(base, offset);
        let low = e.imm::<W64>(15);
        let low = e.and(a, low);
        let aligned = e.is_zero(low);
        let not = e.negate(aligned);
        e.protect_if(not)?;
    }
    address(e, i, 16, access)
}

/// Reads a 16-byte operand: an XMM register or memory.
pub fn read_xmm<E: Emit>(e: &mut E, i: &Insn, n: usize, align: Align) -> Result<E::Vec, E::Stop> {
    match i.ops[n] {
        Operand::Mem => {
            let a = address_vec(e, i, Use::Read, align)?;
            e.load_vec(i.mem.seg, a, align)
        }
        _ => Ok(e.xmm(register(i, n))),
    }
}

/// Reads the low `W` of an XMM register, or `W` from memory, zero-extended.
pub fn read_xmm_low<E: Emit, W: Width>(e: &mut E, i: &Insn, n: usize) -> Result<E::Vec, E::Stop> {
    let v = match i.ops[n] {
        Operand::Mem => read::<E, W>(e, i, n)?,
        _ => {
            let v = e.xmm(register(i, n));
            e.vec_lane::<W>(v, 0)
        }
    };
    Ok(e.vec_from::<W>(v))
}

/// Reads an 8-byte operand: an MMX register or memory.
pub fn read_mm<E: Emit>(e: &mut E, i: &Insn, n: usize) -> Result<E::Vec, E::Stop> {
    match i.ops[n] {
        Operand::Mem => {
            let v = read::<E, W64>(e, i, n)?;
            Ok(e.vec_from::<W64>(v))
        }
        _ => Ok(e.mm(register(i, n))),
    }
}
