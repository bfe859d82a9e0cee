//! T2: a region of guest code, a loop with what belongs to it, to host code by way of Cranelift.
//!
//! - [`plan`]: which instructions of a page make a region.
//! - [`emit`]: `impl Emit for ClifEmitter`, every word of the vocabulary written down as Cranelift IR.
//! - [`lift`]: blocks, edges and exits of a region.
//! - [`joint`]: what is known of the status flags where edges meet.
//! - [`softmmu`]: guest memory, with the pages that each operand touched last kept in SSA values.
//! - [`compile`]: Cranelift's settings, and the way to bytes.
//!
//! Guest registers are SSA values from the region's entry to its exits: an exit stores those that the region may have changed, with the
//! deferred flags. Nothing in a region faults, helps or reaches a device: where an instruction would, the region is left before it, and T1
//! does it. So every exit is at the boundary of an instruction.
//!
//! Invariant: this crate writes down and never executes; it owns no executable memory.

pub mod compile;
pub mod emit;
mod integer;
mod joint;
pub mod lift;
pub mod plan;
mod softmmu;
mod vector;

pub use compile::{Compiled, Compiler, Error, Host, Options};
pub use lift::{Exit, Leave};
pub use plan::{Limits, Plan};
