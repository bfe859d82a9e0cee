//! SSE floating-point operations as words of the vocabulary (Vol. 1, chapters 10 and 11).

use softfloat::sse::{self, Inexact};
use softfloat::{Env, F32, F64, Flags, Format, Ordering4, Rounding};

/// The element format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FpFormat {
    /// Binary32.
    Single,
    /// Binary64.
    Double,
}

/// Which rounding a conversion to integer uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToInt {
    /// MXCSR.RC.
    Current,
    /// Towards zero: CVTTxx.
    Truncate,
}

/// One lane-wise operation under MXCSR. `a` is DEST, `b` is SRC; operations with one operand take `b`.
///
/// The format that goes with the operation is that of its floating-point source; for [`FpOp::FromInt32`] and [`FpOp::FromInt64`],
/// whose source has none, that of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FpOp {
    Add,
    Sub,
    Mul,
    Div,
    /// `a < b ? a : b`, as MINxx defines it for NaN and zeros.
    Min,
    Max,
    /// Square root of `b`.
    Sqrt,
    /// CMPxx with predicate imm8\[2:0\]: all ones or zero.
    Cmp(u8),
    /// ADDSUBxx: even lanes subtract, odd ones add.
    AddSub,
    /// HADDxx, HSUBxx: neighbours of `a` in the low half, of `b` in the high half.
    HorizontalAdd,
    HorizontalSub,
    /// DPxx with imm8.
    Dot(u8),
    /// ROUNDxx with imm8.
    Round(u8),
    /// RCPxx and RSQRTxx: single format only; approximations without exceptions.
    Reciprocal,
    ReciprocalSqrt,
    /// Double to single.
    ToSingle,
    /// Single to double.
    ToDouble,
    ToInt32(ToInt),
    ToInt64(ToInt),
    FromInt32,
    FromInt64,
}

/// Which NaNs make a comparison invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Only signaling NaNs (UCOMISx).
    Quiet,
    /// Any NaN (COMISx).
    Signaling,
}

/// The meaning of [`crate::Emit::fp`]: the result in the low `lanes` lanes of the result's format, the other bits from `a`; exceptions
/// are or-ed into `env`. If one of them is unmasked, the result counts for nothing.
pub fn eval(op: FpOp, format: FpFormat, lanes: u32, a: u128, b: u128, env: &mut Env) -> u128 {
    match format {
        FpFormat::Single => operate::<F32>(op, lanes, a, b, env),
        FpFormat::Double => operate::<F64>(op, lanes, a, b, env),
    }
}

/// The meaning of [`crate::Emit::fp_compare`].
pub fn compare(relation: Relation, format: FpFormat, a: u128, b: u128, env: &mut Env) -> Ordering4 {
    match (format, relation) {
        (FpFormat::Single, Relation::Quiet) => {
            sse::compare_quiet(env, lane::<F32>(a, 0), lane(b, 0))
        }
        (FpFormat::Single, Relation::Signaling) => {
            sse::compare_signaling(env, lane::<F32>(a, 0), lane(b, 0))
        }
        (FpFormat::Double, Relation::Quiet) => {
            sse::compare_quiet(env, lane::<F64>(a, 0), lane(b, 0))
        }
        (FpFormat::Double, Relation::Signaling) => {
            sse::compare_signaling(env, lane::<F64>(a, 0), lane(b, 0))
        }
    }
}

/// Bits of the format.
const fn width<F: Format>() -> u32 {
    1 + F::EXPONENT + F::FRACTION
}

#[inline(always)]
fn lane<F: Format>(v: u128, n: u32) -> F {
    F::from_low_bits((v >> (n * width::<F>() & 127)) as u64)
}

/// `a` with its low `lanes` lanes of `bits` bits replaced by `f` of their numbers.
#[inline(always)]
fn fill(a: u128, lanes: u32, bits: u32, mut f: impl FnMut(u32) -> u64) -> u128 {
    let ones = u64::MAX >> (64 - bits);
    (0..lanes).fold(a, |v, n| {
        let at = n * bits & 127;
        v & !(u128::from(ones) << at) | u128::from(f(n) & ones) << at
    })
}

fn operate<F: Format>(op: FpOp, lanes: u32, a: u128, b: u128, env: &mut Env) -> u128 {
    let bits = width::<F>();
    let (x, y) = (|n| lane::<F>(a, n), |n| lane::<F>(b, n));
    let rounding = |how: ToInt, env: &Env| match how {
        ToInt::Current => env.rounding,
        ToInt::Truncate => Rounding::Zero,
    };
    let v = match op {
        FpOp::Add => fill(a, lanes, bits, |n| sse::add(env, x(n), y(n)).bits()),
        FpOp::Sub => fill(a, lanes, bits, |n| sse::sub(env, x(n), y(n)).bits()),
        FpOp::Mul => fill(a, lanes, bits, |n| sse::mul(env, x(n), y(n)).bits()),
        FpOp::Div => fill(a, lanes, bits, |n| sse::div(env, x(n), y(n)).bits()),
        FpOp::Min => fill(a, lanes, bits, |n| sse::min(env, x(n), y(n)).bits()),
        FpOp::Max => fill(a, lanes, bits, |n| sse::max(env, x(n), y(n)).bits()),
        FpOp::Sqrt => fill(a, lanes, bits, |n| sse::sqrt(env, y(n)).bits()),
        FpOp::Cmp(predicate) => fill(a, lanes, bits, |n| {
            u64::from(sse::cmp_predicate(env, x(n), y(n), predicate & 7)).wrapping_neg()
        }),
        FpOp::AddSub => fill(a, lanes, bits, |n| match n & 1 {
            0 => sse::sub(env, x(n), y(n)).bits(),
            _ => sse::add(env, x(n), y(n)).bits(),
        }),
        FpOp::HorizontalAdd => horizontal(a, b, lanes, |p, q| sse::add::<F>(env, p, q)),
        FpOp::HorizontalSub => horizontal(a, b, lanes, |p, q| sse::sub::<F>(env, p, q)),
        FpOp::Dot(imm) => dot::<F>(imm, lanes, a, b, env),
        FpOp::Round(imm) => {
            let rounding = match imm & 4 {
                0 => Rounding::from_rc(imm),
                _ => env.rounding,
            };
            let inexact = match imm & 8 {
                0 => Inexact::Report,
                _ => Inexact::Suppress,
            };
            fill(a, lanes, bits, |n| {
                sse::round_to_integral(env, y(n), rounding, inexact).bits()
            })
        }
        FpOp::Reciprocal => fill(a, lanes, 32, |n| sse::rcp(lane(b, n)).bits()),
        FpOp::ReciprocalSqrt => fill(a, lanes, 32, |n| sse::rsqrt(lane(b, n)).bits()),
        FpOp::ToSingle => fill(a, lanes, 32, |n| sse::f64_to_f32(env, lane(b, n)).bits()),
        FpOp::ToDouble => fill(a, lanes, 64, |n| sse::f32_to_f64(env, lane(b, n)).bits()),
        FpOp::ToInt32(how) => {
            let r = rounding(how, env);
            fill(a, lanes, 32, |n| sse::to_i32(env, y(n), r) as u64)
        }
        FpOp::ToInt64(how) => {
            let r = rounding(how, env);
            fill(a, lanes, 64, |n| sse::to_i64(env, y(n), r) as u64)
        }
        FpOp::FromInt32 => fill(a, lanes, bits, |n| {
            sse::from_i32::<F>(env, (b >> (32 * n & 127)) as i32).bits()
        }),
        FpOp::FromInt64 => fill(a, lanes, bits, |n| {
            sse::from_i64::<F>(env, (b >> (64 * n & 127)) as i64).bits()
        }),
    };
    // The steps of a dot product have settled theirs.
    if lanes > 1 && !matches!(op, FpOp::Dot(_)) {
        env.finish_packed();
    }
    v
}

fn horizontal<F: Format>(a: u128, b: u128, lanes: u32, mut f: impl FnMut(F, F) -> F) -> u128 {
    fill(a, lanes, width::<F>(), |n| {
        let v = if n < lanes / 2 { a } else { b };
        let n = 2 * n % lanes;
        f(lane(v, n), lane(v, n + 1)).bits()
    })
}

/// DPPS, DPPD (Vol. 2A): products chosen by imm8\[7:4\], summed pairwise, into the lanes chosen by imm8\[3:0\]. An unmasked exception of
/// one step ends the instruction before the next.
fn dot<F: Format>(imm: u8, lanes: u32, a: u128, b: u128, env: &mut Env) -> u128 {
    let bits = width::<F>();
    let mut step = |f: &mut dyn FnMut(&mut Env) -> u128| {
        let mut own = Env {
            flags: Flags::NONE,
            ..*env
        };
        let v = f(&mut own);
        own.finish_packed();
        env.flags |= own.flags;
        own.unmasked().is_empty().then_some(v)
    };
    let products = step(&mut |env| {
        fill(0, lanes, bits, |n| match imm >> (4 + n) & 1 {
            0 => 0,
            _ => sse::mul::<F>(env, lane(a, n), lane(b, n)).bits(),
        })
    });
    let Some(mut v) = products else { return a };
    let mut left = lanes;
    while left > 1 {
        left /= 2;
        let sums = step(&mut |env| {
            fill(0, left, bits, |n| {
                sse::add::<F>(env, lane(v, 2 * n), lane(v, 2 * n + 1)).bits()
            })
        });
        match sums {
            Some(s) => v = s,
            None => return a,
        }
    }
    let sum: F = lane(v, 0);
    fill(0, lanes, bits, |n| match imm >> n & 1 {
        0 => 0,
        _ => sum.bits(),
    })
}
