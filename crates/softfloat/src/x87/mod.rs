//! The x87 instruction set on [`F80`](crate::F80) (SDM Vol. 1, chapter 8).
//!
//! What stays with the caller: the register stack and its tags, stack faults, and the condition codes but C1, which
//! [`Env::roundup`](crate::Env::roundup) gives. With an unmasked IE, DE or ZE
//! ([`Env::suppresses_result`](crate::Env::suppresses_result)) the returned value must not be written; with an unmasked OE or
//! UE a register result is written (its exponent is biased by 24576 as SDM Vol. 1, 8.5.4 and 8.5.5 tell), a memory result is not.
//!
//! FXCH, FLD of a register, FLD m80fp, FSTP m80fp, FCHS ([`F80::negate`](crate::F80::negate)), FABS ([`F80::abs`](crate::F80::abs)) and
//! FCMOV raise nothing and have no function here.

mod arith;
mod compare;
mod constant;
mod convert;
mod remainder;
mod round;
mod transcendental;

pub use arith::{add, div, mul, sqrt, sub};
pub use compare::{compare_quiet, compare_signaling};
pub use constant::{Constant, constant};
pub use convert::{
    BCD_INDEFINITE, from_bcd, from_i16, from_i32, from_i64, load_f32, load_f64, store_f32,
    store_f64, to_bcd, to_i16, to_i32, to_i64,
};
pub use remainder::{Remainder, prem, prem1, rndint, scale, xtract};
pub use round::Operand;
pub use transcendental::{cos, f2xm1, patan, sin, sincos, tan, yl2x, yl2xp1};
