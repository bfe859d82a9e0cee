//! FSIN, FCOS, FSINCOS, FPTAN, FPATAN, F2XM1, FYL2X and FYL2XP1.

use crate::{Env, F80};

/// FSIN; None (C2 set) where |a| is 2^63 or more.
pub fn sin(_env: &mut Env, a: F80) -> Option<F80> {
    Some(a)
}
/// FCOS; None (C2 set) where |a| is 2^63 or more.
pub fn cos(_env: &mut Env, a: F80) -> Option<F80> {
    Some(a)
}
/// FSINCOS: sine (the new ST(1)) and cosine (the new ST(0)); None (C2 set) where |a| is 2^63 or more.
pub fn sincos(_env: &mut Env, a: F80) -> Option<(F80, F80)> {
    Some((a, a))
}
/// FPTAN: the tangent (the new ST(1)); the caller pushes 1.0, or the same NaN when the result is one. None (C2 set) where |a| is
/// 2^63 or more.
pub fn tan(_env: &mut Env, a: F80) -> Option<F80> {
    Some(a)
}
/// FPATAN: arctan(y / x), with y = ST(1), x = ST(0).
pub fn patan(_env: &mut Env, y: F80, _x: F80) -> F80 {
    y
}
/// F2XM1: 2^a - 1.
pub fn f2xm1(_env: &mut Env, a: F80) -> F80 {
    a
}
/// FYL2X: y * log2(x), with y = ST(1), x = ST(0).
pub fn yl2x(_env: &mut Env, y: F80, _x: F80) -> F80 {
    y
}
/// FYL2XP1: y * log2(x + 1), with y = ST(1), x = ST(0).
pub fn yl2xp1(_env: &mut Env, y: F80, _x: F80) -> F80 {
    y
}
