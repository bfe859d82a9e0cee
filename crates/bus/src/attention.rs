//! The word by which everybody else makes a vCPU look up from its work.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// One per vCPU. The engine polls [`Attention::bits`] at block borders; a halted vCPU sleeps in [`Attention::wait`].
#[derive(Debug, Default)]
#[repr(C)]
pub struct Attention {
    bits: AtomicU32,
    sleeper: Mutex<()>,
    wake: Condvar,
}

impl Attention {
    /// The local APIC may have a deliverable interrupt: ask it.
    pub const INTR: u32 = 1 << 0;
    /// An NMI is waiting.
    pub const NMI: u32 = 1 << 1;
    /// An INIT is waiting.
    pub const INIT: u32 = 1 << 2;
    /// A start-up IPI is waiting: ask the local APIC for its vector.
    pub const SIPI: u32 = 1 << 3;
    /// An alarm of the clock is due: run the bus's due devices.
    pub const TIMER: u32 = 1 << 4;
    /// Leave the run loop: the machine stops, resets or pauses.
    pub const STOP: u32 = 1 << 5;
    /// An engine wants to know where the processor is.
    pub const SAMPLE: u32 = 1 << 6;

    /// What is asked for. One relaxed load: cheap enough for every block.
    #[inline(always)]
    pub fn bits(&self) -> u32 {
        self.bits.load(Ordering::Relaxed)
    }

    /// Asks for `bits` and wakes the vCPU if it sleeps.
    pub fn raise(&self, bits: u32) {
        if self.bits.fetch_or(bits, Ordering::SeqCst) & bits != bits {
            drop(self.sleeper.lock().unwrap_or_else(PoisonError::into_inner));
            self.wake.notify_all();
        }
    }

    /// Takes back `bits`; tells which of them were set.
    pub fn take(&self, bits: u32) -> u32 {
        self.bits.fetch_and(!bits, Ordering::SeqCst) & bits
    }

    /// Sleeps until a bit of `mask` is set, or `timeout` has passed.
    pub fn wait(&self, mask: u32, timeout: Option<Duration>) {
        let guard = self.sleeper.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |_: &mut ()| self.bits.load(Ordering::SeqCst) & mask == 0;
        match timeout {
            Some(t) => drop(self.wake.wait_timeout_while(guard, t, idle)),
            None => drop(self.wake.wait_while(guard, idle)),
        }
    }

    /// The address of the polled word, for generated code: valid as long as this lives.
    pub fn word_address(&self) -> u64 {
        self.bits.as_ptr() as u64
    }
}
