//! The processor: architectural state, the evaluator, event delivery and the helpers that every engine shares.
//!
//! - [`state`]: what the SDM says a processor holds.
//! - [`emit`]: `impl Emit for Cpu`, the evaluator's words: tier 0 and the reference.
//! - [`access`]: memory accesses that the TLB's fast path does not serve.
//! - [`run`], [`fetch`] and [`block`]: the run loop over decoded blocks, how they are found and decoded, and where they are kept.
//! - [`event`]: exceptions and interrupts.
//! - [`helpers`]: instructions of the table's class `helper`.
//! - [`native`]: what generated code keeps beside.
//! - [`model`]: what CPUID says.
//!
//! Invariant: this crate runs everything without any other engine.

pub mod access;
pub mod block;
pub mod emit;
pub mod event;
pub mod fetch;
pub mod helpers;
pub mod model;
pub mod native;
pub mod run;
pub mod state;
pub mod stats;

pub use model::Model;
pub use state::{BootState, Cpu, Parts};
pub use stats::Stats;

use arch::Fault;

/// Why the body of an instruction ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// An exception: RIP still names the instruction.
    Fault(Fault),
    /// A transfer: RIP names the next instruction to execute.
    Branch,
    /// The instruction is complete and RIP must move past it, but what was decoded behind it may no longer be what comes next: the mode,
    /// the mapping or the interrupt flag changed.
    End,
}

impl From<Fault> for Stop {
    fn from(f: Fault) -> Self {
        Self::Fault(f)
    }
}
