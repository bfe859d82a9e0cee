//! PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (Vol. 2B, 4.1).

use crate::emit::{Align, Emit, W32, Width};
use crate::operand::{immediate, read_xmm, register};
use crate::sse_int::set_flags;
use crate::sse_mov::constant;
use crate::vector::VecOp;
use crate::vector::lanes::Lane;
use arch::{Gpr, Rflags};
use decode::Insn;

/// Where the result goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An index to ECX.
    Index,
    /// A mask to XMM0.
    Mask,
}

/// imm8\[0\]: elements are words, not bytes.
fn words(imm: u8) -> bool {
    imm & 1 != 0
}

/// IntRes2 (Vol. 2B, 4.1.1 to 4.1.6) of the strings `a` (first operand) and `b` (second) with so many valid elements.
pub fn compare(imm: u8, a: u128, b: u128, a_len: u32, b_len: u32) -> u32 {
    let signed = imm & 2 != 0;
    match (words(imm), signed) {
        (false, false) => aggregate(
            imm,
            &<u8 as Lane>::split(a).map(i32::from),
            &<u8 as Lane>::split(b).map(i32::from),
            a_len,
            b_len,
        ),
        (false, true) => aggregate(
            imm,
            &<i8 as Lane>::split(a).map(i32::from),
            &<i8 as Lane>::split(b).map(i32::from),
            a_len,
            b_len,
        ),
        (true, false) => aggregate(
            imm,
            &<u16 as Lane>::split(a).map(i32::from),
            &<u16 as Lane>::split(b).map(i32::from),
            a_len,
            b_len,
        ),
        (true, true) => aggregate(
            imm,
            &<i16 as Lane>::split(a).map(i32::from),
            &<i16 as Lane>::split(b).map(i32::from),
            a_len,
            b_len,
        ),
    }
}

fn aggregate(imm: u8, a: &[i32], b: &[i32], a_len: u32, b_len: u32) -> u32 {
    let count = a.len();
    let valid = |v: &[i32], len: u32| -> usize { v.len().min(len as usize) };
    let (va, vb) = (&a[..valid(a, a_len)], &b[..valid(b, b_len)]);
    // Bit j of IntRes1, by imm8[3:2].
    let bit = |j: usize| match (imm >> 2 & 3, vb.get(j)) {
        // Equal any: the element is in the set.
        (0, Some(x)) => va.contains(x),
        // Ranges: pairs of bounds, the last one without a partner counting for nothing.
        (1, Some(x)) => va.chunks_exact(2).any(|r| r[0] <= *x && *x <= r[1]),
        (0 | 1, None) => false,
        // Equal each: both past the end count as equal.
        (2, x) => va.get(j) == x,
        // Equal ordered: `a` stands at this place of `b`, as far as the register reaches.
        _ => va.iter().zip(j..count).all(|(x, k)| vb.get(k) == Some(x)),
    };
    let result = (0..count).fold(0, |r, j| r | u32::from(bit(j)) << j);
    let all = (1 << count) - 1;
    // imm8[5:4]: polarity; masked negative inverts valid elements only.
    match imm >> 4 & 3 {
        1 => result ^ all,
        3 => result ^ ((1 << vb.len()) - 1),
        _ => result,
    }
}

/// Elements before the first null element, at most `count`.
fn implicit_length<E: Emit>(e: &mut E, imm: u8, v: E::Vec) -> E::Val<W32> {
    let zero = constant(e, 0);
    let equal = if words(imm) {
        VecOp::Pcmpeqw
    } else {
        VecOp::Pcmpeqb
    };
    let nulls = e.vec(equal, v, zero);
    let mask = e.vec(VecOp::Pmovmskb, nulls, nulls);
    let mask = e.vec_lane::<W32>(mask, 0);
    let end = e.imm::<W32>(1 << 16);
    let mask = e.or(mask, end);
    let bytes = e.ctz(mask);
    let shift = e.imm::<W32>(words(imm).into());
    e.shr(bytes, shift)
}

/// |EAX| or |EDX|, at most `count`.
fn explicit_length<E: Emit, W: Width>(e: &mut E, r: u8, count: u64) -> E::Val<W32> {
    let v = e.reg::<W>(r);
    let minus = e.neg(v);
    let negative = e.is_negative(v);
    let v = e.select(negative, minus, v);
    let most = e.imm::<W>(count);
    let below = e.ult(v, most);
    let v = e.select(below, v, most);
    e.cast::<W, W32>(v)
}

/// PCMPISTRI, PCMPISTRM: strings end with a null element.
pub fn implicit<E: Emit>(e: &mut E, i: &Insn, to: Outcome) -> Result<(), E::Stop> {
    let imm = immediate(i, 2) as u8;
    let b = read_xmm(e, i, 1, Align::Any)?;
    let a = e.xmm(register(i, 0));
    let a_len = implicit_length(e, imm, a);
    let b_len = implicit_length(e, imm, b);
    finish(e, imm, to, (a, a_len), (b, b_len))
}

/// PCMPESTRI, PCMPESTRM: lengths are in EAX and EDX, with REX.W in RAX and RDX.
pub fn explicit<E: Emit, W: Width>(e: &mut E, i: &Insn, to: Outcome) -> Result<(), E::Stop> {
    let imm = immediate(i, 2) as u8;
    let b = read_xmm(e, i, 1, Align::Any)?;
    let a = e.xmm(register(i, 0));
    let count = if words(imm) { 8 } else { 16 };
    let a_len = explicit_length::<E, W>(e, Gpr::RAX, count);
    let b_len = explicit_length::<E, W>(e, Gpr::RDX, count);
    finish(e, imm, to, (a, a_len), (b, b_len))
}

type Text<E> = (<E as Emit>::Vec, <E as Emit>::Val<W32>);

fn finish<E: Emit>(e: &mut E, imm: u8, to: Outcome, a: Text<E>, b: Text<E>) -> Result<(), E::Stop> {
    let r = e.string_compare(imm, a.0, b.0, a.1, b.1);
    let count = e.imm::<W32>(if words(imm) { 8 } else { 16 });
    let none = e.is_zero(r);
    match to {
        Outcome::Index => {
            // imm8[6]: the most significant set bit, not the least.
            let index = if imm & 0x40 == 0 {
                e.ctz(r)
            } else {
                let top = e.imm::<W32>(31);
                let zeros = e.clz(r);
                e.sub(top, zeros)
            };
            let index = e.select(none, count, index);
            e.set_reg::<W32>(Gpr::RCX, index);
        }
        Outcome::Mask => {
            let bits = e.vec_from::<W32>(r);
            // imm8[6]: a mask of elements, not of bits.
            let v = if imm & 0x40 == 0 {
                bits
            } else {
                spread(e, imm, bits)
            };
            e.set_xmm(0, v);
        }
    }
    let cf = e.negate(none);
    let zf = e.ult(b.1, count);
    let sf = e.ult(a.1, count);
    let of = e.bit(r, 0);
    set_flags(
        e,
        &[
            (cf, Rflags::CF),
            (zf, Rflags::ZF),
            (sf, Rflags::SF),
            (of, Rflags::OF),
        ],
    );
    Ok(())
}

/// Each bit as an element of ones or zeros.
fn spread<E: Emit>(e: &mut E, imm: u8, bits: E::Vec) -> E::Vec {
    let (from, own, equal) = if words(imm) {
        (0, 0x0080_0040_0020_0010_0008_0004_0002_0001, VecOp::Pcmpeqw)
    } else {
        (
            0x0101_0101_0101_0101 << 64,
            0x8040_2010_0804_0201_8040_2010_0804_0201,
            VecOp::Pcmpeqb,
        )
    };
    let from = constant(e, from);
    let own = constant(e, own);
    let everywhere = e.vec(VecOp::Pshufb, bits, from);
    let set = e.vec(VecOp::And, everywhere, own);
    e.vec(equal, set, own)
}
