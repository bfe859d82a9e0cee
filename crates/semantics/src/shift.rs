//! Shifts and rotates (Vol. 2B: RCL/RCR/ROL/ROR, SAL/SAR/SHL/SHR, SHLD, SHRD).
//!
//! The count is masked to 5 bits, to 6 for 64-bit operands; a masked count of zero leaves the flags alone.
//! Undefined flags are as processors set them: for counts above 1 OF follows the formula for 1 (Intel and AMD alike); AF is cleared
//! by shifts (Intel; AMD sets it).

use crate::emit::{CcOp, Emit, Use, W8, W32, W64, Width};
use crate::flags;
use crate::operand::{Place, read};
use arch::Rflags;
use decode::{Insn, Operand};

/// A shift or rotate of one operand by a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    Rol,
    Ror,
    Rcl,
    Rcr,
    Shl,
    Shr,
    Sar,
}

/// A masked count: as a value, and whether it is known to differ from zero.
#[derive(Clone, Copy)]
struct Count<V, B> {
    n: V,
    /// `None`: the count is not known while decoding; holds the condition that it is not zero.
    known: Result<u64, B>,
}

fn count<E: Emit, W: Width>(e: &mut E, i: &Insn, n: usize) -> Count<E::Val<W64>, E::Bool> {
    let mask = if W::BITS == 64 { 63 } else { 31 };
    match i.ops[n] {
        Operand::Imm(v) => Count {
            n: e.imm::<W64>(v & mask),
            known: Ok(v & mask),
        },
        _ => {
            let c = e.reg::<W64>(arch::Gpr::RCX);
            let m = e.imm::<W64>(mask);
            let c = e.and(c, m);
            let zero = e.is_zero::<W64>(c);
            Count {
                n: c,
                known: Err(e.negate(zero)),
            }
        }
    }
}

impl<V, B> Count<V, B> {
    /// Runs `then`, which sets flags, if the count is not zero.
    fn if_nonzero<E: Emit<Bool = B>>(
        self,
        e: &mut E,
        then: impl FnOnce(&mut E),
    ) -> Result<(), E::Stop> {
        match self.known {
            Ok(0) => Ok(()),
            Ok(_) => {
                then(e);
                Ok(())
            }
            Err(c) => e.when(c, |e| {
                then(e);
                Ok(())
            }),
        }
    }
}

/// `k - n`.
fn from<E: Emit>(e: &mut E, k: u64, n: E::Val<W64>) -> E::Val<W64> {
    let k = e.imm::<W64>(k);
    e.sub(k, n)
}

/// `v << k`, `k` known and below 64.
fn up<E: Emit>(e: &mut E, v: E::Val<W64>, k: u32) -> E::Val<W64> {
    let k = e.imm::<W64>(k.into());
    e.shl(v, k)
}

/// `v >> k`, `k` known and below 64.
fn down<E: Emit>(e: &mut E, v: E::Val<W64>, k: u32) -> E::Val<W64> {
    let k = e.imm::<W64>(k.into());
    e.shr(v, k)
}

/// DEST ← DEST shifted or rotated.
pub fn shift<E: Emit, W: Width>(e: &mut E, i: &Insn, op: Shift) -> Result<(), E::Stop> {
    let c = count::<E, W>(e, i, 1);
    let place = Place::<E>::of::<W>(e, i, 0, Use::Write)?;
    let dst = place.modify::<W>(e)?;
    let n = c.n;
    let (res, cf) = match op {
        Shift::Shl | Shift::Shr | Shift::Sar => {
            let res = shifted::<E, W>(e, op, dst, n);
            place.write::<W>(e, res)?;
            return set_shifted::<E, W>(e, op, res, dst, c);
        }
        Shift::Rol | Shift::Ror => rotate::<E, W>(e, dst, n, op == Shift::Rol),
        Shift::Rcl | Shift::Rcr => rotate_carry::<E, W>(e, dst, n, op == Shift::Rcl),
    };
    place.write::<W>(e, res)?;
    if !e.flags_wanted() {
        return Ok(());
    }
    c.if_nonzero(e, |e| {
        let msb = e.is_negative::<W>(res);
        let of = match op {
            Shift::Rol | Shift::Rcl => e.differ(msb, cf),
            _ => {
                let next = e.bit::<W>(res, W::BITS - 2);
                e.differ(msb, next)
            }
        };
        set_carry_overflow(e, cf, of);
    })
}

/// `v` shifted by a masked count, which may be larger than a narrow width.
fn shifted<E: Emit, W: Width>(e: &mut E, op: Shift, v: E::Val<W>, n: E::Val<W64>) -> E::Val<W> {
    if W::BITS >= 32 {
        let n = e.cast::<W64, W>(n);
        return match op {
            Shift::Shl => e.shl::<W>(v, n),
            Shift::Shr => e.shr::<W>(v, n),
            _ => e.sar::<W>(v, n),
        };
    }
    let r = match op {
        Shift::Shl => {
            let x = e.loose::<W, W64>(v);
            e.shl(x, n)
        }
        Shift::Shr => {
            let x = e.cast::<W, W64>(v);
            e.shr(x, n)
        }
        _ => {
            let x = e.sext::<W, W64>(v);
            e.sar(x, n)
        }
    };
    e.cast::<W64, W>(r)
}

/// The flags of `res`, which is `dst` shifted by `c`.
fn set_shifted<E: Emit, W: Width>(
    e: &mut E,
    op: Shift,
    res: E::Val<W>,
    dst: E::Val<W>,
    c: Count<E::Val<W64>, E::Bool>,
) -> Result<(), E::Stop> {
    if !e.flags_wanted() {
        return Ok(());
    }
    let rule = match op {
        Shift::Shl => CcOp::Shl,
        Shift::Shr => CcOp::Shr,
        _ => CcOp::Sar,
    };
    let n = c.n;
    c.if_nonzero(e, |e| {
        let one = e.imm::<W64>(1);
        let less = e.sub(n, one);
        let before = shifted::<E, W>(e, op, dst, less);
        flags::set::<E, W>(e, rule, res, before, before);
    })
}

/// CF and OF change, the others stay.
fn set_carry_overflow<E: Emit>(e: &mut E, cf: E::Bool, of: E::Bool) {
    let c = e.number::<W64>(cf);
    let o = e.number::<W64>(of);
    let o = up(e, o, 11);
    let image = e.or(c, o);
    flags::merge(e, Rflags::CF | Rflags::OF, image);
}

/// The last bit shifted out to the right, for n > 0: bit n - 1.
fn last_out<E: Emit>(e: &mut E, x: E::Val<W64>, n: E::Val<W64>) -> E::Bool {
    let r = e.rotr(x, n);
    e.bit::<W64>(r, 63)
}

fn rotate<E: Emit, W: Width>(
    e: &mut E,
    dst: E::Val<W>,
    n: E::Val<W64>,
    left: bool,
) -> (E::Val<W>, E::Bool) {
    let m = e.imm::<W64>((W::BITS - 1).into());
    let n = e.and(n, m);
    let n = e.cast::<W64, W>(n);
    if left {
        let r = e.rotl::<W>(dst, n);
        (r, e.bit::<W>(r, 0))
    } else {
        let r = e.rotr::<W>(dst, n);
        (r, e.is_negative::<W>(r))
    }
}

/// Rotation of CF:DEST, W + 1 bits.
fn rotate_carry<E: Emit, W: Width>(
    e: &mut E,
    dst: E::Val<W>,
    n: E::Val<W64>,
    left: bool,
) -> (E::Val<W>, E::Bool) {
    let cf = flags::cf(e);
    let c = e.number::<W64>(cf);
    let x = e.cast::<W, W64>(dst);
    if W::BITS == 64 {
        let (res, out) = rotate_carry_64(e, x, c, n, left);
        // A count of zero leaves CF as it is; the caller does not ask then.
        return (e.cast::<W64, W>(res), out);
    }
    let n = modulo::<E, W>(e, n);
    let high = up(e, c, W::BITS % 64);
    let v = e.or(x, high);
    let rest = from(e, (W::BITS + 1).into(), n);
    let r = if left {
        let (a, b) = (e.shl(v, n), e.shr(v, rest));
        e.or(a, b)
    } else {
        let (a, b) = (e.shr(v, n), e.shl(v, rest));
        e.or(a, b)
    };
    let out = e.bit::<W64>(r, W::BITS % 64);
    (e.cast::<W64, W>(r), out)
}

/// The count modulo W + 1, for counts up to 31.
fn modulo<E: Emit, W: Width>(e: &mut E, mut n: E::Val<W64>) -> E::Val<W64> {
    let steps: &[u64] = match W::BITS {
        8 => &[18, 9],
        16 => &[17],
        _ => &[],
    };
    for &k in steps {
        let k = e.imm::<W64>(k);
        let below = e.ult::<W64>(n, k);
        let less = e.sub(n, k);
        n = e.select::<W64>(below, n, less);
    }
    n
}

fn rotate_carry_64<E: Emit>(
    e: &mut E,
    x: E::Val<W64>,
    c: E::Val<W64>,
    n: E::Val<W64>,
    left: bool,
) -> (E::Val<W64>, E::Bool) {
    let rest = from(e, 63, n);
    if left {
        let c = up(e, c, 63);
        let t = down(e, x, 1);
        let t = e.or(t, c);
        let t = down(e, t, 1);
        let (a, b) = (e.shl(x, n), e.shr(t, rest));
        let out = e.rotl(x, n);
        (e.or(a, b), e.bit::<W64>(out, 0))
    } else {
        let t = up(e, x, 1);
        let t = e.or(t, c);
        let t = up(e, t, 1);
        let (a, b) = (e.shr(x, n), e.shl(t, rest));
        (e.or(a, b), last_out(e, x, n))
    }
}

/// SHLD (`left`) and SHRD: DEST ← DEST shifted, filled from SRC. For 16-bit operands and counts above 16, where the result is
/// undefined, DEST:SRC rotates, as it does since the P6.
pub fn double<E: Emit, W: Width>(e: &mut E, i: &Insn, left: bool) -> Result<(), E::Stop> {
    let c = count::<E, W>(e, i, 2);
    let src = read::<E, W>(e, i, 1)?;
    let place = Place::<E>::of::<W>(e, i, 0, Use::Write)?;
    let dst = place.modify::<W>(e)?;
    let (d, s) = (e.cast::<W, W64>(dst), e.cast::<W, W64>(src));
    let n = c.n;
    let (res, cf) = match (W::BITS, left) {
        (64, true) => {
            let rest = from(e, 63, n);
            let s = down(e, s, 1);
            let (a, b) = (e.shl(d, n), e.shr(s, rest));
            let out = e.rotl(d, n);
            (e.or(a, b), e.bit::<W64>(out, 0))
        }
        (64, false) => {
            let rest = from(e, 63, n);
            let s = up(e, s, 1);
            let (a, b) = (e.shr(d, n), e.shl(s, rest));
            (e.or(a, b), last_out(e, d, n))
        }
        (32, true) => {
            let d = up(e, d, 32);
            let x = e.or(d, s);
            let x = e.rotl(x, n);
            (down(e, x, 32), e.bit::<W64>(x, 0))
        }
        (32, false) => {
            let s = up(e, s, 32);
            let x = e.or(d, s);
            let x = e.rotr(x, n);
            (x, e.bit::<W64>(x, 63))
        }
        (_, left) => {
            let (high, low) = if left { (d, s) } else { (s, d) };
            let high = up(e, high, 16);
            let x = e.or(high, low);
            let x = e.cast::<W64, W32>(x);
            let n = e.cast::<W64, W32>(n);
            let x = if left { e.rotl(x, n) } else { e.rotr(x, n) };
            let out = e.bit::<W32>(x, if left { 0 } else { 31 });
            let x = e.cast::<W32, W64>(x);
            (if left { down(e, x, 16) } else { x }, out)
        }
    };
    let res = e.cast::<W64, W>(res);
    place.write::<W>(e, res)?;
    if !e.flags_wanted() {
        return Ok(());
    }
    c.if_nonzero(e, |e| {
        let msb = e.is_negative::<W>(res);
        let of = if left {
            e.differ(msb, cf)
        } else {
            let next = e.bit::<W>(res, W::BITS - 2);
            e.differ(msb, next)
        };
        flags::set_result::<E, W>(e, res, cf, of);
    })
}

/// SALC (undocumented): AL ← all CF; flags stay.
pub fn salc<E: Emit>(e: &mut E, _: &Insn) -> Result<(), E::Stop> {
    let cf = flags::cf(e);
    let c = e.number::<W8>(cf);
    let v = e.neg::<W8>(c);
    e.set_reg::<W8>(arch::Gpr::RAX, v);
    Ok(())
}
