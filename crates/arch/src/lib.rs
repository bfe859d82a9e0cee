//! The SDM's vocabulary as types: registers, exceptions, control bits, CPU modes.
//!
//! Everything here is a fact of the architecture (Intel SDM, volume and section cited at each item); nothing here acts.
//! Invariant: this crate depends on no other crate of Ferry.

pub mod control;
pub mod cpuid;
pub mod exception;
pub mod mode;
pub mod msr;
pub mod register;
pub mod segment;
pub mod uint;

pub use control::{Cr0, Cr4, Efer, Rflags};
pub use exception::{Exception, Fault};
pub use mode::{Mode, Size};
pub use register::{Gpr, Seg};
pub use segment::{Descriptor, Segment, Selector};
pub use uint::Uint;

/// A guest-physical address: an index into the machine's memory map, before any bus decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct GuestPhys(pub u64);

impl GuestPhys {
    /// The 4 KiB frame that holds this address.
    pub const fn frame(self) -> u64 {
        self.0 >> PAGE_SHIFT
    }
    /// The offset inside the 4 KiB frame.
    pub const fn offset(self) -> usize {
        (self.0 & PAGE_MASK) as usize
    }
}

/// log2 of the smallest page (Vol. 3A, 4.3).
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in the smallest page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// The offset bits of an address inside the smallest page.
pub const PAGE_MASK: u64 = PAGE_SIZE - 1;

/// Whether `addr` is canonical for 48-bit linear addresses (Vol. 1, 3.3.7.1).
pub const fn is_canonical(addr: u64) -> bool {
    ((addr as i64) << 16 >> 16) as u64 == addr
}
