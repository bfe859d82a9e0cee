//! Vectors as lanes: how a `u128` splits into integers and what the lane-wise families have in common.

/// An integer that a vector consists of.
pub trait Lane: Copy {
    /// All lanes of a vector, lowest first.
    type Lanes: AsRef<[Self]> + AsMut<[Self]>;
    fn split(v: u128) -> Self::Lanes;
    fn join(lanes: Self::Lanes) -> u128;
}

macro_rules! lane {
    ($($t:ty)*) => {$(
        impl Lane for $t {
            type Lanes = [$t; 16 / size_of::<$t>()];
            #[inline(always)]
            fn split(v: u128) -> Self::Lanes {
                std::array::from_fn(|n| (v >> (n * size_of::<$t>() * 8)) as $t)
            }
            #[inline(always)]
            fn join(lanes: Self::Lanes) -> u128 {
                let mut bytes = [0; 16];
                for (to, lane) in bytes.chunks_exact_mut(size_of::<$t>()).zip(lanes) {
                    to.copy_from_slice(&lane.to_le_bytes());
                }
                u128::from_le_bytes(bytes)
            }
        }
    )*};
}
lane!(u8 u16 u32 u64 i8 i16 i32 i64);

/// The vector whose lane `n` is `f(n)`.
#[inline(always)]
pub fn build<T: Lane>(f: impl Fn(usize) -> T) -> u128 {
    let mut out = T::split(0);
    for (n, lane) in out.as_mut().iter_mut().enumerate() {
        *lane = f(n);
    }
    T::join(out)
}

/// Lane-wise `f(a)`.
#[inline(always)]
pub fn map<T: Lane>(a: u128, f: impl Fn(T) -> T) -> u128 {
    let a = T::split(a);
    build(|n| f(a.as_ref()[n]))
}

/// Lane-wise `f(a, b)`.
#[inline(always)]
pub fn zip<T: Lane>(a: u128, b: u128, f: impl Fn(T, T) -> T) -> u128 {
    let (a, b) = (T::split(a), T::split(b));
    build(|n| f(a.as_ref()[n], b.as_ref()[n]))
}

/// Lane-wise all ones where `f(a, b)` holds, else zero.
#[inline(always)]
pub fn compare<T: Lane + From<bool> + WrappingNeg>(
    a: u128,
    b: u128,
    f: impl Fn(T, T) -> bool,
) -> u128 {
    zip(a, b, |a: T, b: T| T::from(f(a, b)).negated())
}

/// Two's complement.
pub trait WrappingNeg {
    fn negated(self) -> Self;
}
macro_rules! negated {
    ($($t:ty)*) => {$(impl WrappingNeg for $t {
        #[inline(always)]
        fn negated(self) -> Self { self.wrapping_neg() }
    })*};
}
negated!(u8 u16 u32 u64 i8 i16 i32 i64);

/// The low lanes of `v`, each made wider by `f`.
#[inline(always)]
pub fn widen<F: Lane, T: Lane>(v: u128, f: impl Fn(F) -> T) -> u128 {
    let v = F::split(v);
    build(|n| f(v.as_ref()[n]))
}

/// The lanes of `a`, then of `b`, each made half as wide by `f`.
#[inline(always)]
pub fn narrow<F: Lane, T: Lane>(a: u128, b: u128, f: impl Fn(F) -> T) -> u128 {
    let (a, b) = (F::split(a), F::split(b));
    let (a, b) = (a.as_ref(), b.as_ref());
    build(|n| f(*a.get(n).unwrap_or_else(|| &b[n - a.len()])))
}

/// For each pair of neighbours in `a` and the same pair in `b`, `f([a0, a1], [b0, b1])`.
#[inline(always)]
pub fn pairs<F: Lane, T: Lane>(a: u128, b: u128, f: impl Fn([F; 2], [F; 2]) -> T) -> u128 {
    let (a, b) = (F::split(a), F::split(b));
    let at = |v: &F::Lanes, n: usize| [v.as_ref()[2 * n], v.as_ref()[2 * n + 1]];
    build(|n| f(at(&a, n), at(&b, n)))
}

/// `f` of neighbours: those of `a` in the low half, those of `b` in the high half.
#[inline(always)]
pub fn horizontal<T: Lane>(a: u128, b: u128, f: impl Fn(T, T) -> T) -> u128 {
    let (a, b) = (T::split(a), T::split(b));
    let (a, b) = (a.as_ref(), b.as_ref());
    let half = a.len() / 2;
    build(|n| {
        let v = if n < half { a } else { b };
        let n = 2 * (n % half);
        f(v[n], v[n + 1])
    })
}

/// The low halves of `a` and `b`, lane by lane in turn.
#[inline(always)]
pub fn interleave_low<T: Lane>(a: u128, b: u128) -> u128 {
    let (a, b) = (T::split(a), T::split(b));
    build(|n| {
        if n % 2 == 0 {
            a.as_ref()[n / 2]
        } else {
            b.as_ref()[n / 2]
        }
    })
}

/// The high halves of `a` and `b`, lane by lane in turn.
#[inline(always)]
pub fn interleave_high<T: Lane>(a: u128, b: u128) -> u128 {
    interleave_low::<T>(a >> 64, b >> 64)
}

/// Lane `n` of `b` where bit `n` of `select` is set, else of `a`.
#[inline(always)]
pub fn blend<T: Lane>(a: u128, b: u128, select: u8) -> u128 {
    let (a, b) = (T::split(a), T::split(b));
    build(|n| {
        if select >> n & 1 != 0 {
            b.as_ref()[n]
        } else {
            a.as_ref()[n]
        }
    })
}

/// The most significant bit of every lane, as a number.
#[inline(always)]
pub fn signs<T: Lane + PartialOrd + Default>(v: u128) -> u128 {
    let v = T::split(v);
    let mut mask = 0;
    for (n, &lane) in v.as_ref().iter().enumerate() {
        mask |= u128::from(lane < T::default()) << n;
    }
    mask
}

/// Lane-wise shift by the low quadword of `count`: `f(lane, count)`, with counts above `most` giving `beyond(lane)`.
#[inline(always)]
pub fn shift<T: Lane>(
    a: u128,
    count: u128,
    most: u64,
    f: impl Fn(T, u32) -> T,
    beyond: impl Fn(T) -> T,
) -> u128 {
    match count as u64 {
        n if n <= most => map(a, |lane: T| f(lane, n as u32)),
        _ => map(a, beyond),
    }
}
