//! Guest RAM, the page walk and the softmmu TLB.
//!
//! A linear address takes this way: [`Tlb`] probe (inline, one compare) → on a miss [`walk`] through the guest's paging structures →
//! [`Ram`] or, if no RAM stands there, the bus. [`Mmu`] ties the three together for one vCPU.
//!
//! Invariants: no Rust reference to guest memory ever exists, only raw reads and writes of plain data; a TLB entry with a write
//! tag never covers a frame that holds decoded code, so every store to code passes through [`Ram::write`] and bumps the frame's
//! generation.

mod mmu;
mod phys;
mod tlb;
pub mod walk;
mod wide;

pub use mmu::{Mmu, Target};
pub use phys::{Error, OutsideRam, Ram, Rights, lines};
pub use tlb::{CHECKED, CLASSES, Context, ENTRIES, Entry, Tlb};
pub use walk::{Paging, Translation};

/// What an access does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
    Fetch,
}

/// With which rights an access is made: which of the TLB's arrays serves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Class {
    /// Supervisor mode; under CR4.SMAP user pages are closed (EFLAGS.AC = 0, or an implicit access).
    Supervisor = 0,
    /// Supervisor mode with user pages open: no SMAP, or EFLAGS.AC = 1.
    SupervisorAc = 1,
    /// User mode: CPL 3.
    User = 2,
}
