//! Vector operations without state: packed integer arithmetic, shuffles, packs (Vol. 1, chapters 9 to 12).
//!
//! The table below is the meaning, in terms of [`lanes`]: one line an operation, named as the SSE instruction that does the same, so
//! that an engine with SSE at hand has one instruction to write for each. What MMX, or an instruction with three inputs, needs beyond
//! that is composed of these in the bodies.

pub mod lanes;

use lanes::{
    blend, build, compare, horizontal, interleave_high, interleave_low, map, narrow, pairs, shift,
    signs, widen, zip,
};

macro_rules! vec_ops {
    ($($(#[$doc:meta])* $name:ident $(($imm:ident))? = |$a:pat_param, $b:pat_param| $meaning:expr;)*) => {
        /// One 128-bit operation. Immediates are part of the operation: they are known while decoding.
        ///
        /// [`VecOp::eval`] is the meaning; an engine may emit any code that gives the same bits. One-operand operations take it from
        /// `b` (SRC), but for shifts by an immediate, which take `a`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum VecOp { $($(#[$doc])* $name $((vec_ops!(@type $imm)))?),* }

        impl VecOp {
            /// The result for operands `a` (DEST) and `b` (SRC).
            #[inline(always)]
            pub fn eval(self, a: u128, b: u128) -> u128 {
                // By way of a function pointer, not of the expressions themselves: where the operation is a constant, as in the rows
                // of the table, only its own code is instantiated.
                let (meaning, imm): (fn(u128, u128, u8) -> u128, u8) = match self {
                    $(Self::$name $(($imm))? => (|$a, $b, _imm| { $(let $imm = _imm;)? $meaning }, vec_ops!(@value $($imm)?)),)*
                };
                meaning(a, b, imm)
            }
            /// Every operation, with the given immediate where it has one.
            pub fn all(imm: u8) -> impl Iterator<Item = Self> {
                [$(vec_ops!(@make $name imm $($imm)?)),*].into_iter()
            }
        }
    };
    (@type $imm:ident) => { u8 };
    (@value) => { 0 };
    (@value $imm:ident) => { $imm };
    (@make $name:ident $n:ident) => { VecOp::$name };
    (@make $name:ident $n:ident $imm:ident) => { VecOp::$name($n) };
}

vec_ops! {
    /// Bitwise AND: PAND, ANDPS, ANDPD.
    And = |a, b| a & b;
    /// `!a & b`: PANDN, ANDNPS, ANDNPD.
    AndNot = |a, b| !a & b;
    /// Bitwise OR: POR, ORPS, ORPD.
    Or = |a, b| a | b;
    /// Bitwise XOR: PXOR, XORPS, XORPD.
    Xor = |a, b| a ^ b;

    /// Wrapping sums.
    Paddb = |a, b| zip(a, b, u8::wrapping_add);
    Paddw = |a, b| zip(a, b, u16::wrapping_add);
    Paddd = |a, b| zip(a, b, u32::wrapping_add);
    Paddq = |a, b| zip(a, b, u64::wrapping_add);
    /// Wrapping differences.
    Psubb = |a, b| zip(a, b, u8::wrapping_sub);
    Psubw = |a, b| zip(a, b, u16::wrapping_sub);
    Psubd = |a, b| zip(a, b, u32::wrapping_sub);
    Psubq = |a, b| zip(a, b, u64::wrapping_sub);
    /// Saturating sums and differences, signed and unsigned.
    Paddsb = |a, b| zip(a, b, i8::saturating_add);
    Paddsw = |a, b| zip(a, b, i16::saturating_add);
    Paddusb = |a, b| zip(a, b, u8::saturating_add);
    Paddusw = |a, b| zip(a, b, u16::saturating_add);
    Psubsb = |a, b| zip(a, b, i8::saturating_sub);
    Psubsw = |a, b| zip(a, b, i16::saturating_sub);
    Psubusb = |a, b| zip(a, b, u8::saturating_sub);
    Psubusw = |a, b| zip(a, b, u16::saturating_sub);
    /// Rounded averages.
    Pavgb = |a, b| zip(a, b, |a: u8, b: u8| ((u16::from(a) + u16::from(b) + 1) >> 1) as u8);
    Pavgw = |a, b| zip(a, b, |a: u16, b: u16| ((u32::from(a) + u32::from(b) + 1) >> 1) as u16);
    /// Minima and maxima.
    Pminub = |a, b| zip(a, b, u8::min);
    Pminuw = |a, b| zip(a, b, u16::min);
    Pminud = |a, b| zip(a, b, u32::min);
    Pminsb = |a, b| zip(a, b, i8::min);
    Pminsw = |a, b| zip(a, b, i16::min);
    Pminsd = |a, b| zip(a, b, i32::min);
    Pmaxub = |a, b| zip(a, b, u8::max);
    Pmaxuw = |a, b| zip(a, b, u16::max);
    Pmaxud = |a, b| zip(a, b, u32::max);
    Pmaxsb = |a, b| zip(a, b, i8::max);
    Pmaxsw = |a, b| zip(a, b, i16::max);
    Pmaxsd = |a, b| zip(a, b, i32::max);
    /// Absolute values.
    Pabsb = |_, b| map(b, i8::wrapping_abs);
    Pabsw = |_, b| map(b, i16::wrapping_abs);
    Pabsd = |_, b| map(b, i32::wrapping_abs);
    /// `a` times the sign of `b`.
    Psignb = |a, b| zip(a, b, |a: i8, b: i8| a.wrapping_mul(b.signum()));
    Psignw = |a, b| zip(a, b, |a: i16, b: i16| a.wrapping_mul(b.signum()));
    Psignd = |a, b| zip(a, b, |a: i32, b: i32| a.wrapping_mul(b.signum()));

    /// Products: low half, high half, rounded high part, whole.
    Pmullw = |a, b| zip(a, b, u16::wrapping_mul);
    Pmulld = |a, b| zip(a, b, u32::wrapping_mul);
    Pmulhw = |a, b| zip(a, b, |a: i16, b: i16| ((i32::from(a) * i32::from(b)) >> 16) as i16);
    Pmulhuw = |a, b| zip(a, b, |a: u16, b: u16| ((u32::from(a) * u32::from(b)) >> 16) as u16);
    Pmulhrsw = |a, b| zip(a, b, |a: i16, b: i16| ((((i32::from(a) * i32::from(b)) >> 14) + 1) >> 1) as i16);
    Pmuludq = |a, b| zip(a, b, |a: u64, b: u64| (a & 0xffff_ffff) * (b & 0xffff_ffff));
    Pmuldq = |a, b| zip(a, b, |a: i64, b: i64| i64::from(a as i32) * i64::from(b as i32));
    /// Sums of neighbouring products.
    Pmaddwd = |a, b| pairs(a, b, |a: [i16; 2], b: [i16; 2]| {
        (i32::from(a[0]) * i32::from(b[0])).wrapping_add(i32::from(a[1]) * i32::from(b[1]))
    });
    /// Unsigned bytes of `a` times signed bytes of `b`, summed with saturation.
    Pmaddubsw = |a, b| pairs(a, b, |a: [u8; 2], b: [u8; 2]| {
        let product = |n: usize| i32::from(a[n]) * i32::from(b[n] as i8);
        (product(0) + product(1)).clamp(i16::MIN.into(), i16::MAX.into()) as i16
    });
    /// Sums of absolute differences, by quadword.
    Psadbw = |a, b| {
        let distance = zip(a, b, u8::abs_diff).to_le_bytes();
        build(|n| distance[8 * n..8 * n + 8].iter().map(|&d| u64::from(d)).sum::<u64>())
    };
    /// Sums of absolute differences of one group of four bytes of `b` and eight overlapping ones of `a`.
    Mpsadbw(imm) = |a, b| {
        let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
        let (from, with) = (usize::from(imm >> 2 & 1) * 4, usize::from(imm & 3) * 4);
        build(|n| (0..4).map(|k| u16::from(a[from + n + k].abs_diff(b[with + k]))).sum::<u16>())
    };
    /// The least unsigned word of `b`, and its index above it.
    Phminposuw = |_, b| {
        let words = <u16 as lanes::Lane>::split(b);
        let least = words.iter().zip(0u128..).min().map_or((0, 0), |(&w, n)| (w, n));
        u128::from(least.0) | least.1 << 16
    };

    /// Comparisons: all ones where true.
    Pcmpeqb = |a, b| compare(a, b, |a: u8, b: u8| a == b);
    Pcmpeqw = |a, b| compare(a, b, |a: u16, b: u16| a == b);
    Pcmpeqd = |a, b| compare(a, b, |a: u32, b: u32| a == b);
    Pcmpeqq = |a, b| compare(a, b, |a: u64, b: u64| a == b);
    Pcmpgtb = |a, b| compare(a, b, |a: i8, b: i8| a > b);
    Pcmpgtw = |a, b| compare(a, b, |a: i16, b: i16| a > b);
    Pcmpgtd = |a, b| compare(a, b, |a: i32, b: i32| a > b);
    Pcmpgtq = |a, b| compare(a, b, |a: i64, b: i64| a > b);

    /// Neighbours added or subtracted.
    Phaddw = |a, b| horizontal(a, b, u16::wrapping_add);
    Phaddd = |a, b| horizontal(a, b, u32::wrapping_add);
    Phaddsw = |a, b| horizontal(a, b, i16::saturating_add);
    Phsubw = |a, b| horizontal(a, b, u16::wrapping_sub);
    Phsubd = |a, b| horizontal(a, b, u32::wrapping_sub);
    Phsubsw = |a, b| horizontal(a, b, i16::saturating_sub);

    /// Shifts by the low quadword of `b`.
    Psllw = |a, b| shift(a, b, 15, |a: u16, n| a << n, |_| 0);
    Pslld = |a, b| shift(a, b, 31, |a: u32, n| a << n, |_| 0);
    Psllq = |a, b| shift(a, b, 63, |a: u64, n| a << n, |_| 0);
    Psrlw = |a, b| shift(a, b, 15, |a: u16, n| a >> n, |_| 0);
    Psrld = |a, b| shift(a, b, 31, |a: u32, n| a >> n, |_| 0);
    Psrlq = |a, b| shift(a, b, 63, |a: u64, n| a >> n, |_| 0);
    Psraw = |a, b| shift(a, b, 15, |a: i16, n| a >> n, |a| a >> 15);
    Psrad = |a, b| shift(a, b, 31, |a: i32, n| a >> n, |a| a >> 31);
    /// Shifts by an immediate.
    PsllwImm(n) = |a, _| VecOp::Psllw.eval(a, n.into());
    PslldImm(n) = |a, _| VecOp::Pslld.eval(a, n.into());
    PsllqImm(n) = |a, _| VecOp::Psllq.eval(a, n.into());
    PsrlwImm(n) = |a, _| VecOp::Psrlw.eval(a, n.into());
    PsrldImm(n) = |a, _| VecOp::Psrld.eval(a, n.into());
    PsrlqImm(n) = |a, _| VecOp::Psrlq.eval(a, n.into());
    PsrawImm(n) = |a, _| VecOp::Psraw.eval(a, n.into());
    PsradImm(n) = |a, _| VecOp::Psrad.eval(a, n.into());
    /// Shifts of the whole by bytes.
    Pslldq(n) = |a, _| a.checked_shl(u32::from(n) * 8).unwrap_or(0);
    Psrldq(n) = |a, _| a.checked_shr(u32::from(n) * 8).unwrap_or(0);

    /// Packs with saturation.
    Packsswb = |a, b| narrow(a, b, |v: i16| v.clamp(-0x80, 0x7f) as i8);
    Packssdw = |a, b| narrow(a, b, |v: i32| v.clamp(-0x8000, 0x7fff) as i16);
    Packuswb = |a, b| narrow(a, b, |v: i16| v.clamp(0, 0xff) as u8);
    Packusdw = |a, b| narrow(a, b, |v: i32| v.clamp(0, 0xffff) as u16);
    /// Interleaves; PUNPCKxDQ is UNPCKxPS and PUNPCKxQDQ is UNPCKxPD.
    Punpcklbw = |a, b| interleave_low::<u8>(a, b);
    Punpcklwd = |a, b| interleave_low::<u16>(a, b);
    Punpckldq = |a, b| interleave_low::<u32>(a, b);
    Punpcklqdq = |a, b| interleave_low::<u64>(a, b);
    Punpckhbw = |a, b| interleave_high::<u8>(a, b);
    Punpckhwd = |a, b| interleave_high::<u16>(a, b);
    Punpckhdq = |a, b| interleave_high::<u32>(a, b);
    Punpckhqdq = |a, b| interleave_high::<u64>(a, b);
    /// Lanes of `b` made wider.
    Pmovsxbw = |_, b| widen(b, |v: i8| i16::from(v));
    Pmovsxbd = |_, b| widen(b, |v: i8| i32::from(v));
    Pmovsxbq = |_, b| widen(b, |v: i8| i64::from(v));
    Pmovsxwd = |_, b| widen(b, |v: i16| i32::from(v));
    Pmovsxwq = |_, b| widen(b, |v: i16| i64::from(v));
    Pmovsxdq = |_, b| widen(b, |v: i32| i64::from(v));
    Pmovzxbw = |_, b| widen(b, |v: u8| u16::from(v));
    Pmovzxbd = |_, b| widen(b, |v: u8| u32::from(v));
    Pmovzxbq = |_, b| widen(b, |v: u8| u64::from(v));
    Pmovzxwd = |_, b| widen(b, |v: u16| u32::from(v));
    Pmovzxwq = |_, b| widen(b, |v: u16| u64::from(v));
    Pmovzxdq = |_, b| widen(b, |v: u32| u64::from(v));

    /// Bytes of `a` chosen by `b`; zero where its top bit is set.
    Pshufb = |a, b| {
        let a = a.to_le_bytes();
        map(b, |n: u8| if n & 0x80 == 0 { a[usize::from(n & 15)] } else { 0 })
    };
    /// Doublewords of `b` by four two-bit numbers.
    Pshufd(imm) = |_, b| build(|n| (b >> (32 * (imm >> (2 * n) & 3))) as u32);
    /// The low words likewise; the high ones stay.
    Pshuflw(imm) = |_, b| {
        let from = |n: usize| if n < 4 { usize::from(imm >> (2 * n) & 3) } else { n };
        build(|n| (b >> (16 * from(n))) as u16)
    };
    /// The high words likewise; the low ones stay.
    Pshufhw(imm) = |_, b| {
        let from = |n: usize| if n < 4 { n } else { 4 + usize::from(imm >> (2 * n - 8) & 3) };
        build(|n| (b >> (16 * from(n))) as u16)
    };
    /// Two lanes of `a`, then two of `b`.
    Shufps(imm) = |a, b| {
        let from = |n| if n < 2 { a } else { b };
        build(|n| (from(n) >> (32 * (imm >> (2 * n) & 3))) as u32)
    };
    /// One lane of `a`, then one of `b`.
    Shufpd(imm) = |a, b| {
        let from = |n| if n == 0 { a } else { b };
        build(|n| (from(n) >> (64 * (imm >> n & 1))) as u64)
    };
    /// `a:b` shifted right by bytes.
    Palignr(n) = |a, b| match n {
        0 => b,
        1..=15 => b >> (8 * n) | a << (128 - 8 * u32::from(n)),
        _ => a.checked_shr(8 * u32::from(n) - 128).unwrap_or(0),
    };
    /// Lanes of `b` where the bit is set, else of `a`.
    Pblendw(imm) = |a, b| blend::<u16>(a, b, imm);
    Blendps(imm) = |a, b| blend::<u32>(a, b, imm);
    Blendpd(imm) = |a, b| blend::<u64>(a, b, imm);
    /// A lane of `b` into one of `a`, then some lanes zeroed.
    Insertps(imm) = |a, b| {
        let lane = (b >> (32 * (imm >> 6))) as u32;
        let a = <u32 as lanes::Lane>::split(a);
        build(|n| match n {
            _ if imm >> n & 1 != 0 => 0,
            _ if n == usize::from(imm >> 4 & 3) => lane,
            _ => a[n],
        })
    };

    /// The signs of the lanes of `b`, as a number.
    Pmovmskb = |_, b| signs::<i8>(b);
    Movmskps = |_, b| signs::<i32>(b);
    Movmskpd = |_, b| signs::<i64>(b);
}

#[cfg(test)]
mod tests;
