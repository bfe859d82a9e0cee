//! What stores replace, recorded so that they can be compared and taken back: for checking one engine against another.
//!
//! # Unsafe
//! Copies windows out of the mapping and back, all checked against its length as they are recorded.
#![expect(unsafe_code, reason = "copies windows of the host mapping")]

use super::Ram;
use arch::GuestPhys;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

/// What stores replaced, in their order.
#[derive(Default)]
pub(super) struct Journal {
    /// Offset in the mapping and bytes of each window; what stood there follows in `old`.
    windows: Vec<(usize, usize)>,
    old: Vec<u8>,
}

/// What is kept on either side of a store, so that one which is too wide shows.
const MARGIN: usize = 16;

impl Ram {
    /// From now on what stores replace is recorded, anew: for checking one engine against another. One vCPU only.
    pub(crate) fn start_journal(&self) {
        let mut j = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        j.windows.clear();
        j.old.clear();
        self.journaling.store(true, Ordering::Relaxed);
    }

    /// Nothing is recorded any more; what was recorded stays until the next start.
    pub(crate) fn stop_journal(&self) {
        self.journaling.store(false, Ordering::Relaxed);
    }

    /// The next store goes to `len` bytes at `offset`.
    #[inline]
    pub(super) fn note(&self, offset: usize, len: usize) {
        if self.journaling.load(Ordering::Relaxed) {
            self.record(offset, len);
        }
    }

    /// The next store goes to `len` bytes at a host address of the mapping.
    pub(crate) fn note_host(&self, host: u64, len: usize) {
        self.note(host.wrapping_sub(self.map.as_ptr() as u64) as usize, len);
    }

    #[cold]
    fn record(&self, offset: usize, len: usize) {
        let start = offset.saturating_sub(MARGIN);
        let end = (offset + len + MARGIN).min(self.map.len());
        let mut j = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        j.windows.push((start, end.saturating_sub(start)));
        self.append(start, end.saturating_sub(start), &mut j.old);
    }

    fn append(&self, offset: usize, len: usize, to: &mut Vec<u8>) {
        if offset + len > self.map.len() {
            return;
        }
        let at = to.len();
        to.resize(at + len, 0);
        // SAFETY: just checked against the mapping; `to` is host memory of `len` more bytes.
        unsafe {
            self.map
                .as_ptr()
                .add(offset)
                .copy_to_nonoverlapping(to[at..].as_mut_ptr(), len)
        };
    }

    /// Appends what now stands where the recorded stores went, one window behind the other.
    pub fn read_journal(&self, to: &mut Vec<u8>) {
        let j = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        for &(offset, len) in &j.windows {
            self.append(offset, len, to);
        }
    }

    /// The windows of [`Ram::read_journal`], in its order.
    pub fn journal_windows(&self) -> Vec<(GuestPhys, usize)> {
        let j = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let base = self.map.as_ptr() as u64;
        j.windows
            .iter()
            .filter_map(|&(o, len)| Some((self.guest_of(base + o as u64)?, len)))
            .collect()
    }

    /// Puts back what the recorded stores replaced.
    pub(crate) fn undo_journal(&self) {
        let j = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        let mut end = j.old.len();
        for &(offset, len) in j.windows.iter().rev() {
            let at = end - len;
            // SAFETY: `record` took the window from inside the mapping, and as many bytes.
            unsafe {
                self.map
                    .as_mut_ptr()
                    .add(offset)
                    .copy_from_nonoverlapping(j.old[at..end].as_ptr(), len)
            };
            end = at;
        }
    }
}
