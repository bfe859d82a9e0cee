//! The status flags: every formula stands here, once, over [`Emit`] (Vol. 1, 3.4.3.1; Vol. 1, appendix A).
//!
//! An instruction states its flag effects by [`set`] and its kin as a rule with the rule's inputs; who reads a flag works it out
//! then. Whether dead flags are dropped is the engine's business.

use crate::emit::{Cc, CcOp, Emit, Flags, OpSize, W8, W16, W32, W64, Width};
use arch::Rflags;

/// Sets the flags of `res` by the rule `op`.
#[inline(always)]
pub fn set<E: Emit, W: Width>(e: &mut E, op: CcOp, res: E::Val<W>, src: E::Val<W>, dst: E::Val<W>) {
    let f = Flags {
        cc: Cc { op, size: W::SIZE },
        res: e.loose::<W, W64>(res),
        src: e.loose::<W, W64>(src),
        dst: e.loose::<W, W64>(dst),
    };
    e.set_flags(f);
}

/// The flags of a logical operation.
#[inline(always)]
pub fn set_logic<E: Emit, W: Width>(e: &mut E, res: E::Val<W>) {
    set::<E, W>(e, CcOp::Logic, res, res, res);
}

/// SF, ZF and PF of `res`, with CF and OF given and AF cleared: shifts, rotates with a result, multiplications.
#[inline(always)]
pub fn set_result<E: Emit, W: Width>(e: &mut E, res: E::Val<W>, cf: E::Bool, of: E::Bool) {
    let c = e.number::<W64>(cf);
    let o = e.number::<W64>(of);
    let n = e.imm::<W64>(11);
    let o = e.shl(o, n);
    let src = e.or(c, o);
    let res = e.loose::<W, W64>(res);
    e.set_flags(Flags {
        cc: Cc {
            op: CcOp::Result,
            size: W::SIZE,
        },
        res,
        src,
        dst: res,
    });
}

/// All six flags from an EFLAGS image.
#[inline(always)]
pub fn set_bits<E: Emit>(e: &mut E, image: E::Val<W64>) {
    let mask = e.imm::<W64>(Rflags::STATUS.bits());
    let src = e.and(image, mask);
    e.set_flags(Flags {
        cc: Cc {
            op: CcOp::Bits,
            size: OpSize::B64,
        },
        res: src,
        src,
        dst: src,
    });
}

/// Changes the flags of `mask` to those of `image`; the others stay.
pub fn merge<E: Emit>(e: &mut E, mask: Rflags, image: E::Val<W64>) {
    if !e.flags_wanted() {
        return;
    }
    let carries = Rflags::CF | Rflags::OF;
    if carries.contains(mask) && e.flags().cc.op != CcOp::Bits {
        return merge_carries(e, mask, image);
    }
    let old = status(e);
    let keep = e.imm::<W64>(!mask.bits());
    let old = e.and(old, keep);
    let take = e.imm::<W64>(mask.bits());
    let new = e.and(image, take);
    let both = e.or(old, new);
    set_bits(e, both);
}

/// The same for CF and OF only, where the other flags still follow from a result.
fn merge_carries<E: Emit>(e: &mut E, mask: Rflags, image: E::Val<W64>) {
    let f = e.flags();
    let take = e.imm::<W64>(mask.bits());
    let mut src = e.and(image, take);
    type Flag<E> = fn(&mut E) -> <E as Emit>::Bool;
    let others: [(Flag<E>, Rflags); 3] = [(cf, Rflags::CF), (of, Rflags::OF), (af, Rflags::AF)];
    for (flag, bit) in others {
        if !mask.contains(bit) {
            let b = flag(e);
            let b = e.number::<W64>(b);
            let n = e.imm::<W64>(bit.bits().trailing_zeros().into());
            let b = e.shl(b, n);
            src = e.or(src, b);
        }
    }
    let res = result(e, &f);
    e.set_flags(Flags {
        cc: Cc {
            op: CcOp::Result,
            size: f.cc.size,
        },
        res,
        src,
        dst: res,
    });
}

/// Runs `$body` with `$W` standing for the width of `$size`.
macro_rules! by_size {
    ($size:expr, $W:ident => $body:expr) => {
        match $size {
            OpSize::B8 => {
                type $W = W8;
                $body
            }
            OpSize::B16 => {
                type $W = W16;
                $body
            }
            OpSize::B32 => {
                type $W = W32;
                $body
            }
            OpSize::B64 => {
                type $W = W64;
                $body
            }
        }
    };
}

fn low_bit<E: Emit>(e: &mut E, v: E::Val<W64>) -> E::Bool {
    e.bit::<W64>(v, 0)
}

/// CF.
pub fn cf<E: Emit>(e: &mut E) -> E::Bool {
    let f = e.flags();
    match f.cc.op {
        CcOp::Bits | CcOp::Inc | CcOp::Dec | CcOp::Result | CcOp::Shr | CcOp::Sar => {
            low_bit(e, f.src)
        }
        CcOp::Shl => by_size!(f.cc.size, W => e.bit::<W64>(f.src, W::BITS - 1)),
        CcOp::Add => by_size!(f.cc.size, W => below::<E, W>(e, f.res, f.src)),
        CcOp::Sub => by_size!(f.cc.size, W => below::<E, W>(e, f.dst, f.src)),
        CcOp::Product => by_size!(f.cc.size, W => is_wider::<E, W>(e, &f)),
        CcOp::Logic => e.truth(false),
        CcOp::Adc | CcOp::Sbb => {
            let v = carries(e, &f);
            by_size!(f.cc.size, W => e.bit::<W64>(v, W::BITS - 1))
        }
    }
}

fn below<E: Emit, W: Width>(e: &mut E, a: E::Val<W64>, b: E::Val<W64>) -> E::Bool {
    let (a, b) = (e.cast::<W64, W>(a), e.cast::<W64, W>(b));
    e.ult::<W>(a, b)
}

/// Whether a signed product does not fit its low half.
fn is_wider<E: Emit, W: Width>(e: &mut E, f: &Flags<E::Val<W64>>) -> E::Bool {
    let (a, b) = (e.cast::<W64, W>(f.src), e.cast::<W64, W>(f.dst));
    let low = e.cast::<W64, W>(f.res);
    let high = e.mul_high_s::<W>(a, b);
    let n = e.imm::<W>((W::BITS - 1).into());
    let sign = e.sar::<W>(low, n);
    let fits = e.eq::<W>(high, sign);
    e.negate(fits)
}

/// The vector of carries (ADC) or borrows (SBB) out of each bit: bit n is the carry out of bit n.
fn carries<E: Emit>(e: &mut E, f: &Flags<E::Val<W64>>) -> E::Val<W64> {
    // For subtraction the majority function takes the complement of dst and the result as it is.
    let (d, r) = if f.cc.op == CcOp::Sbb {
        (e.not(f.dst), f.res)
    } else {
        (f.dst, e.not(f.res))
    };
    let any = e.or(d, f.src);
    let any = e.and(any, r);
    let all = e.and(d, f.src);
    e.or(any, all)
}

/// The result, where it is not among the rule's inputs worked out anew; bits above the width may be set.
fn result<E: Emit>(e: &mut E, f: &Flags<E::Val<W64>>) -> E::Val<W64> {
    if f.cc.op == CcOp::Sub {
        e.sub(f.dst, f.src)
    } else {
        f.res
    }
}

/// DEST before the operation, on the same terms.
fn dest<E: Emit>(e: &mut E, f: &Flags<E::Val<W64>>) -> E::Val<W64> {
    match f.cc.op {
        CcOp::Add => e.sub(f.res, f.src),
        CcOp::Inc => {
            let one = e.imm::<W64>(1);
            e.sub(f.res, one)
        }
        CcOp::Dec => {
            let one = e.imm::<W64>(1);
            e.add(f.res, one)
        }
        _ => f.dst,
    }
}

/// ZF.
pub fn zf<E: Emit>(e: &mut E) -> E::Bool {
    let f = e.flags();
    match f.cc.op {
        CcOp::Bits => e.bit::<W64>(f.src, 6),
        CcOp::Sub => by_size!(f.cc.size, W => {
            let (a, b) = (e.cast::<W64, W>(f.dst), e.cast::<W64, W>(f.src));
            e.eq::<W>(a, b)
        }),
        _ => by_size!(f.cc.size, W => {
            let res = e.cast::<W64, W>(f.res);
            e.is_zero::<W>(res)
        }),
    }
}

/// SF.
pub fn sf<E: Emit>(e: &mut E) -> E::Bool {
    let f = e.flags();
    match f.cc.op {
        CcOp::Bits => e.bit::<W64>(f.src, 7),
        _ => {
            let res = result(e, &f);
            by_size!(f.cc.size, W => e.bit::<W64>(res, W::BITS - 1))
        }
    }
}

/// PF: even number of ones in the low byte.
pub fn pf<E: Emit>(e: &mut E) -> E::Bool {
    let f = e.flags();
    if f.cc.op == CcOp::Bits {
        return e.bit::<W64>(f.src, 2);
    }
    let res = result(e, &f);
    let low = e.cast::<W64, W8>(res);
    let ones = e.popcnt(low);
    let odd = e.bit::<W8>(ones, 0);
    e.negate(odd)
}

/// AF.
pub fn af<E: Emit>(e: &mut E) -> E::Bool {
    let f = e.flags();
    match f.cc.op {
        CcOp::Bits | CcOp::Result => e.bit::<W64>(f.src, 4),
        CcOp::Logic | CcOp::Product | CcOp::Shl | CcOp::Shr | CcOp::Sar => e.truth(false),
        CcOp::Inc | CcOp::Dec => {
            let d = dest(e, &f);
            let x = e.xor(d, f.res);
            e.bit::<W64>(x, 4)
        }
        CcOp::Add | CcOp::Adc | CcOp::Sub | CcOp::Sbb => {
            let (d, r) = (dest(e, &f), result(e, &f));
            let x = e.xor(d, f.src);
            let x = e.xor(x, r);
            e.bit::<W64>(x, 4)
        }
    }
}

/// OF.
pub fn of<E: Emit>(e: &mut E) -> E::Bool {
    let f = e.flags();
    match f.cc.op {
        CcOp::Bits | CcOp::Result => e.bit::<W64>(f.src, 11),
        CcOp::Logic | CcOp::Sar => e.truth(false),
        CcOp::Shl | CcOp::Shr => by_size!(f.cc.size, W => {
            // To the left OF tells whether the sign differs from CF, to the right whether the two highest bits do.
            let (v, n) = if f.cc.op == CcOp::Shl {
                (f.src, W::BITS - 1)
            } else {
                (f.res, W::BITS - 2)
            };
            let (msb, other) = (e.bit::<W64>(f.res, W::BITS - 1), e.bit::<W64>(v, n));
            e.differ(msb, other)
        }),
        CcOp::Product => by_size!(f.cc.size, W => is_wider::<E, W>(e, &f)),
        CcOp::Add | CcOp::Adc => {
            let d = dest(e, &f);
            let a = e.xor(d, f.res);
            let b = e.xor(f.src, f.res);
            let x = e.and(a, b);
            by_size!(f.cc.size, W => e.bit::<W64>(x, W::BITS - 1))
        }
        CcOp::Sub | CcOp::Sbb => {
            let r = result(e, &f);
            let a = e.xor(f.dst, f.src);
            let b = e.xor(f.dst, r);
            let x = e.and(a, b);
            by_size!(f.cc.size, W => e.bit::<W64>(x, W::BITS - 1))
        }
        CcOp::Inc => by_size!(f.cc.size, W => {
            let least = e.imm::<W>(1 << (W::BITS - 1));
            let res = e.cast::<W64, W>(f.res);
            e.eq::<W>(res, least)
        }),
        CcOp::Dec => by_size!(f.cc.size, W => {
            let most = e.imm::<W>(W::MASK >> 1);
            let res = e.cast::<W64, W>(f.res);
            e.eq::<W>(res, most)
        }),
    }
}

/// The six status flags at their EFLAGS positions.
pub fn status<E: Emit>(e: &mut E) -> E::Val<W64> {
    let f = e.flags();
    if f.cc.op == CcOp::Bits {
        return f.src;
    }
    let mut image = {
        let c = cf(e);
        e.number::<W64>(c)
    };
    type Flag<E> = fn(&mut E) -> <E as Emit>::Bool;
    let rest: [(Flag<E>, u64); 5] = [(pf, 2), (af, 4), (zf, 6), (sf, 7), (of, 11)];
    for (flag, at) in rest {
        let b = flag(e);
        let b = e.number::<W64>(b);
        let n = e.imm::<W64>(at);
        let b = e.shl(b, n);
        image = e.or(image, b);
    }
    image
}

/// A condition of Jcc, SETcc and CMOVcc by its encoding (Vol. 2D, table B-10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Cond {
    O = 0,
    NO = 1,
    B = 2,
    AE = 3,
    E = 4,
    NE = 5,
    BE = 6,
    A = 7,
    S = 8,
    NS = 9,
    P = 10,
    NP = 11,
    L = 12,
    GE = 13,
    LE = 14,
    G = 15,
}

/// Whether `c` holds. After a compare the relation is asked for directly, which engines fuse.
pub fn condition<E: Emit>(e: &mut E, c: Cond) -> E::Bool {
    let positive = match c {
        Cond::O | Cond::NO => of(e),
        Cond::B | Cond::AE => cf(e),
        Cond::E | Cond::NE => zf(e),
        Cond::BE | Cond::A => {
            let f = e.flags();
            if f.cc.op == CcOp::Sub {
                let above = by_size!(f.cc.size, W => below::<E, W>(e, f.src, f.dst));
                e.negate(above)
            } else if f.cc.op == CcOp::Bits {
                let either = e.imm::<W64>((Rflags::CF | Rflags::ZF).bits());
                let v = e.and(f.src, either);
                let neither = e.is_zero(v);
                e.negate(neither)
            } else {
                let (c, z) = (cf(e), zf(e));
                e.either(c, z)
            }
        }
        Cond::S | Cond::NS => sf(e),
        Cond::P | Cond::NP => pf(e),
        Cond::L | Cond::GE => less(e),
        Cond::LE | Cond::G => {
            let f = e.flags();
            if f.cc.op == CcOp::Sub {
                let greater = by_size!(f.cc.size, W => {
                    let (a, b) = (e.cast::<W64, W>(f.dst), e.cast::<W64, W>(f.src));
                    e.slt::<W>(b, a)
                });
                e.negate(greater)
            } else if f.cc.op == CcOp::Logic {
                // OF is clear: not above zero.
                by_size!(f.cc.size, W => {
                    let (res, one) = (e.cast::<W64, W>(f.res), e.imm::<W>(1));
                    e.slt::<W>(res, one)
                })
            } else {
                let (l, z) = (less(e), zf(e));
                e.either(l, z)
            }
        }
    };
    if c as u8 & 1 == 0 {
        positive
    } else {
        e.negate(positive)
    }
}

/// SF ≠ OF.
fn less<E: Emit>(e: &mut E) -> E::Bool {
    let f = e.flags();
    match f.cc.op {
        CcOp::Sub => by_size!(f.cc.size, W => {
            let (a, b) = (e.cast::<W64, W>(f.dst), e.cast::<W64, W>(f.src));
            e.slt::<W>(a, b)
        }),
        CcOp::Logic => sf(e),
        _ => {
            let (s, o) = (sf(e), of(e));
            e.differ(s, o)
        }
    }
}
