//! The register stack, its tags and the status word (Vol. 1, 8.1.2 to 8.1.7).

use crate::state::Fpu;
use softfloat::{Class, F80};

/// Status word: condition codes.
pub(super) const C0: u16 = 1 << 8;
pub(super) const C1: u16 = 1 << 9;
pub(super) const C2: u16 = 1 << 10;
pub(super) const C3: u16 = 1 << 14;
/// Status word: exception summary.
pub(super) const ES: u16 = 1 << 7;
/// Status word: stack fault.
const SF: u16 = 1 << 6;
/// Status word: busy, the same as ES since the 287.
const B: u16 = 1 << 15;

/// The exception flags, SF, ES and B: what FNCLEX clears.
pub(super) const EXCEPTIONS: u16 = 0x80ff;

/// Which stack fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stack {
    Overflow,
    Underflow,
}

impl Fpu {
    /// Moves TOP.
    pub(super) fn rotate(&mut self, by: u8) {
        self.top = self.top.wrapping_add(2 * by) & 14;
    }

    /// The number of the physical register that ST(`n`) is.
    pub(crate) fn physical(&self, n: u8) -> usize {
        usize::from((self.top >> 1).wrapping_add(n) & 7)
    }

    /// ST(`n`), unless it is empty.
    pub(super) fn st(&self, n: u8) -> Option<F80> {
        let p = self.physical(n);
        (self.tags[p] != 0).then(|| self.r[p])
    }

    pub(super) fn set_st(&mut self, n: u8, v: F80) {
        let p = self.physical(n);
        self.tags[p] = 0xffff;
        self.r[p] = v;
    }

    /// Tags ST(`n`) empty.
    pub(super) fn free(&mut self, n: u8) {
        let p = self.physical(n);
        self.tags[p] = 0;
    }

    /// Whether a push would overflow.
    pub(super) fn is_full(&self) -> bool {
        self.st(7).is_some()
    }

    pub(super) fn push(&mut self, v: F80) {
        self.rotate(7);
        self.set_st(0, v);
    }

    pub(super) fn pop(&mut self) {
        self.free(0);
        self.rotate(1);
    }

    pub(super) fn set_flag(&mut self, flag: u16, on: bool) {
        self.fsw = self.fsw & !flag | if on { flag } else { 0 };
    }

    /// C3, C2 and C0 from `codes`, C1 cleared.
    pub(super) fn set_codes(&mut self, codes: u16) {
        self.fsw = self.fsw & !(C0 | C1 | C2 | C3) | codes;
    }

    pub(super) fn note_stack_fault(&mut self, how: Stack) {
        self.fsw |= SF;
        self.set_flag(C1, how == Stack::Overflow);
    }

    /// ES and B are set if and only if an exception is flagged and not masked.
    pub(crate) fn summarize(&mut self) -> bool {
        let is = self.fsw & !self.fcw & 0x3f != 0;
        self.set_flag(ES | B, is);
        is
    }

    /// The full tag word (Vol. 1, 8.1.7): 00 valid, 01 zero, 10 special, 11 empty.
    pub(crate) fn tag_word(&self) -> u16 {
        (0..8).fold(0, |word, n| {
            let p = usize::from(n as u8);
            let tag = if self.tags[p] == 0 {
                3
            } else {
                match self.r[p].class() {
                    Class::Normal => 0,
                    Class::Zero => 1,
                    _ => 2,
                }
            };
            word | tag << (2 * n)
        })
    }

    /// Of a full tag word only "empty" counts; the rest follows from the registers.
    pub(crate) fn set_tag_word(&mut self, word: u16) {
        self.tags = std::array::from_fn(|n| if word >> (2 * n) & 3 == 3 { 0 } else { 0xffff });
    }

    /// FNINIT (Vol. 2A).
    pub(crate) fn initialize(&mut self) {
        self.fcw = 0x37f;
        self.set_status(0);
        self.set_valid(0);
        self.fop = 0;
        self.fcs = 0;
        self.fds = 0;
        self.fip = 0;
        self.fdp = 0;
    }

    /// What stands in ST(`n`), empty or not.
    pub(super) fn stale(&self, n: u8) -> F80 {
        self.r[self.physical(n)]
    }
}
