//! Every instruction's meaning, written once.
//!
//! - [`emit`]: the vocabulary, `trait Emit`.
//! - [`table`]: which instruction forms exist, and the body of each.
//! - [`flags`], [`operand`], [`vector`], [`fp`]: what bodies share.
//! - one file per instruction family of the SDM for the bodies.
//!
//! Invariant: this crate knows no engine. It compiles against any type that implements [`Emit`], and nothing else says what an
//! instruction does, but for the helpers that the table names.

pub mod alone;
pub mod arith;
pub mod bit;
pub mod control;
pub mod emit;
pub mod exchange;
pub mod flags;
pub mod fp;
pub mod misc;
pub mod mmx;
pub mod mov;
pub mod muldiv;
pub mod operand;
pub mod shift;
pub mod sse_fp;
pub mod sse_int;
pub mod sse_mov;
pub mod sse_string;
pub mod stack;
pub mod string;
pub mod table;
pub mod vector;
pub mod x87;

pub use emit::Emit;
