//! Exceptions and interrupts (Vol. 3A, chapter 6).

use crate::state::Cpu;
use arch::{Exception, Fault};

/// What is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An exception at the instruction that RIP names.
    Exception(Fault),
    /// An external interrupt between two instructions.
    External(u8),
    /// A non-maskable interrupt.
    Nmi,
}

impl Cpu {
    /// Delivers `event`.
    pub fn deliver(&mut self, event: Event) {
        let _ = event;
        self.stop
            .request(bus::StopReason::Reset(bus::ResetSource::TripleFault));
    }

    /// #DB for what `pending_debug` holds.
    pub(crate) fn debug_trap(&mut self) {
        self.dr[6] |= std::mem::take(&mut self.pending_debug);
        self.deliver(Event::Exception(Fault::new(Exception::DB)));
    }

    /// Whether DR7 arms an instruction breakpoint.
    pub(crate) fn instruction_breakpoints(&self) -> bool {
        let dr7 = self.dr[7];
        dr7 & 0xff != 0 && (0..4).any(|n| dr7 >> (2 * n) & 3 != 0 && dr7 >> (16 + 4 * n) & 3 == 0)
    }

    /// Whether the instruction at RIP has an armed breakpoint; DR6 notes which (Vol. 3B, 17.3.1.1).
    pub(crate) fn hits_instruction_breakpoint(&mut self) -> bool {
        if self.system_flag(arch::Rflags::RF) {
            return false;
        }
        let at = self.rip.wrapping_add(if self.mode.is_64() {
            0
        } else {
            self.segment(arch::Seg::Cs).base
        });
        let hits = (0..4)
            .filter(|&n| self.dr[7] >> (2 * n) & 3 != 0 && self.dr[7] >> (16 + 4 * n) & 3 == 0)
            .filter(|&n| self.dr[n] == at)
            .fold(0, |d, n| d | 1 << n);
        self.dr[6] |= hits;
        hits != 0
    }
}
