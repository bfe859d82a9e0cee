//! The chips, one file each.

mod bytes;
pub mod i8259;
pub mod ioapic;
pub mod irq;
pub mod local_apic;
#[cfg(test)]
mod testing;

pub use i8259::I8259;
pub use ioapic::IoApic;
pub use irq::IrqRouter;
pub use local_apic::{ApicBus, ApicDevice};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A chip's lock. A panic elsewhere leaves no chip unusable.
pub(crate) fn lock<T: ?Sized>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}
