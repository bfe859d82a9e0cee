//! Scalar floating-point operations of SSE to SSE4.1 (SDM Vol. 1, 10.4, 11.4, 11.5 and appendix E), generic over [`F32`] and
//! [`F64`].
//!
//! Order of exceptions within one operation (SDM Vol. 1, 4.9.2): signaling NaN, quiet NaN (no exception, ends the operation),
//! other invalid operations and division by zero, denormal operand, then the ones found after rounding. The first group that
//! applies ends the list; an unmasked DE ends it as well.
//!
//! A packed operation is its scalar operations run one after another under one [`Env`](crate::Env), followed by
//! [`Env::finish_packed`](crate::Env::finish_packed).

mod approximate;
mod arith;
mod compare;
mod convert;
mod format;

pub use approximate::{rcp, rsqrt};
pub use arith::{add, div, max, min, mul, sqrt, sub};
pub use compare::{cmp_predicate, compare_quiet, compare_signaling};
pub(crate) use convert::nan_to_format;
pub use convert::{
    Inexact, f32_to_f64, f64_to_f32, from_i32, from_i64, round_to_integral, to_i32, to_i64,
};
pub use format::Format;
pub(crate) use format::{Unpacked, round_pack, unpack};
