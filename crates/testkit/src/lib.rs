//! What tests share: the host's own CPU as oracle, a generator of instructions, vector readers. Dev only.
//!
//! The life of one case: [`generate::Generator`] makes a [`case::Case`] from a seed and an index; [`native`] runs it on the host's
//! CPU in a child process and any [`compare::Engine`] runs it too; [`compare::compare`] lists what differs, less the bits that
//! [`undefined`] says the architecture leaves open.
//!
//! [`blocks`] makes and checks whole blocks: the translator against the evaluator.
//!
//! Invariant: a case is a function of (seed, index) alone, so that one line reproduces a mismatch on any host.

#[cfg(target_arch = "x86_64")]
pub mod blocks;
pub mod case;
pub mod compare;
pub mod evaluator;
pub mod generate;
pub mod moo;
pub mod native;
pub mod rng;
pub mod undefined;
pub mod vectors;
