//! IEEE 754 and x87 arithmetic in software, exact to the bit as x86 processors do it.
//!
//! Every operation takes an [`Env`] (rounding, masks, DAZ/FTZ, precision control) and or-s the exceptions it meets into
//! [`Env::flags`]. [`sse`] has the scalar operations of SSE to SSE4.1, generic over [`F32`] and [`F64`]; [`x87`] has the x87
//! instruction set on [`F80`].
//!
//! Invariant: integer arithmetic only. The host's floating-point unit is never used, so that a guest computes the same bits on
//! every host. What is deliberately absent: trapping. An unmasked exception is reported in the flags, and [`Env::unmasked`] and
//! [`Env::suppresses_result`] tell the caller what the processor would do with the destination.
//!
//! Sources: Intel SDM Vol. 1 sections 4.8, 4.9, 8 (x87), 10.2.3 and 11.5 (SSE), appendices D and E.
#![forbid(unsafe_code)]

mod env;
pub mod sse;
mod types;
mod wide;
pub mod x87;

pub use env::{Env, Flags, Precision, Rounding};
pub use sse::Format;
pub use types::{Class, F32, F64, F80, Ordering4};
