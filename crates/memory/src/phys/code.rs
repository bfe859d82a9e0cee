//! Which lines of a frame code was made from: what a store there makes stale, and where TLBs may let stores through.

use super::Ram;
use super::banks::Rights;
use arch::{GuestPhys, PAGE_SHIFT};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

/// log2 of the bytes in a line: the grain in which code is kept apart from data in a frame.
pub const LINE_SHIFT: u32 = 6;

/// The lines of a frame that `len` bytes at `offset` touch, as a bit set.
pub fn lines(offset: usize, len: usize) -> u64 {
    let first = (offset >> LINE_SHIFT) as u32 & 63;
    let last = ((offset + len.max(1) - 1) >> LINE_SHIFT).min(63) as u32;
    (u64::MAX >> (63 - last.max(first))) & (u64::MAX << first)
}

/// What is known of a frame beside its content.
pub(super) struct Frame {
    /// [`Rights`].
    pub(super) rights: AtomicU8,
    /// The lines that decoded blocks or translations were made from.
    code: AtomicU64,
    /// Moves on whenever code in it is overwritten.
    generation: AtomicU32,
    /// Zero if TLBs may let stores through; else one more than the stores that came since the last code in it was overwritten.
    guard: AtomicU16,
    /// Where in a TLB entries that let stores through may be, see [`Writers`]: one more than a place in each 16 bits, 0 where there is none;
    /// all ones if there were too many.
    writers: AtomicU64,
}

impl Frame {
    pub(super) fn new() -> Self {
        Self {
            rights: AtomicU8::new(Rights::ReadWrite as u8),
            code: AtomicU64::new(0),
            generation: AtomicU32::new(0),
            guard: AtomicU16::new(0),
            writers: AtomicU64::new(0),
        }
    }
}

/// In which places of the TLBs' arrays there may be entries that let stores to a frame through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    /// At these, four at most: a page that the kernel cleared and a program wrote has two.
    At(Places),
    Anywhere,
}

/// Up to four places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Places(u64);

impl Places {
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        let words = (0..4).map(move |n| self.0 >> (16 * n) & 0xffff);
        words.filter_map(|w| (w as usize).checked_sub(1))
    }
}

/// Stores to a guarded frame that holds no code any more, until TLBs may let them through again: code often comes back.
pub(super) const PATIENCE: u16 = 64;

impl Ram {
    /// How many of `len` bytes at `addr`, inside one frame, come before the first line that code was made from.
    pub fn free_of_code(&self, addr: GuestPhys, len: usize) -> usize {
        let code = self
            .frame(addr.frame())
            .map_or(0, |f| f.code.load(Ordering::Relaxed));
        let hit = code & lines(addr.offset(), len);
        if hit == 0 {
            return len;
        }
        ((hit.trailing_zeros() as usize) << LINE_SHIFT).saturating_sub(addr.offset())
    }

    /// Code lines among `len` bytes at `offset` of the mapping are stale now.
    pub(super) fn touch_code(&self, offset: usize, len: usize) {
        let mut at = offset;
        let end = offset + len;
        while at < end {
            let i = at >> PAGE_SHIFT;
            let within = at & 0xfff;
            let step = (0x1000 - within).min(end - at);
            let frame = &self.frames[i];
            let code = frame.code.load(Ordering::Relaxed);
            if code != 0 {
                let hit = code & lines(within, step);
                if hit != 0 {
                    frame.code.fetch_and(!hit, Ordering::Relaxed);
                    frame.generation.fetch_add(1, Ordering::Release);
                    self.stale
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((self.frame_of(i), hit));
                    self.has_stale.store(true, Ordering::Release);
                }
            }
            at += step;
        }
    }

    /// Whether [`Ram::take_stale`] has something to give.
    #[inline]
    pub fn has_stale(&self) -> bool {
        self.has_stale.load(Ordering::Relaxed)
    }

    /// Frames with the code lines that were overwritten since the last call, in `into`, which is emptied first.
    pub fn take_stale(&self, into: &mut Vec<(u64, u64)>) {
        into.clear();
        self.has_stale.store(false, Ordering::Relaxed);
        let mut stale = self.stale.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(into, &mut stale);
    }

    /// Whether stores to the frame must be looked at: code was made from it, not long ago.
    #[inline]
    pub fn is_guarded(&self, frame: u64) -> bool {
        self.frame(frame)
            .is_some_and(|f| f.guard.load(Ordering::Relaxed) != 0)
    }

    /// Counts a store to a guarded frame that hit no code. Without code for long enough the guard is lifted.
    pub fn count_idle_store(&self, frame: u64) {
        let Some(f) = self.frame(frame) else { return };
        if f.code.load(Ordering::Relaxed) == 0 {
            let n = f.guard.load(Ordering::Relaxed);
            let next = match n {
                0 | PATIENCE.. => 0,
                n => n + 1,
            };
            f.guard.store(next, Ordering::Relaxed);
        }
    }

    /// Whether `len` bytes at `addr`, inside one frame, touch lines that code was made from.
    #[inline]
    pub fn is_code_at(&self, addr: GuestPhys, len: usize) -> bool {
        self.frame(addr.frame())
            .is_some_and(|f| f.code.load(Ordering::Relaxed) & lines(addr.offset(), len) != 0)
    }

    /// Notes that code is made from these lines of the frame; tells the frame's generation and whether it was not guarded before (then
    /// write tags to the frame must go from every TLB before the code is used). `None` if it is not RAM.
    pub fn mark_code(&self, frame: u64, lines: u64) -> Option<(u32, bool)> {
        let f = self.frame(frame)?;
        f.code.fetch_or(lines, Ordering::SeqCst);
        let new = f.guard.swap(1, Ordering::SeqCst) == 0;
        Some((f.generation.load(Ordering::Acquire), new))
    }

    /// The frame's generation: moves on whenever code in it is overwritten.
    #[inline]
    pub fn generation(&self, frame: u64) -> u32 {
        self.frame(frame)
            .map_or(0, |f| f.generation.load(Ordering::Acquire))
    }

    /// Notes that the entries at `place` of a TLB let stores to the frame through.
    pub(crate) fn note_writer(&self, frame: u64, place: usize) {
        const { assert!(crate::ENTRIES < u16::MAX as usize) };
        let Some(f) = self.frame(frame) else { return };
        let known = f.writers.load(Ordering::Relaxed);
        if known == u64::MAX || Places(known).iter().any(|p| p == place) {
            return;
        }
        let free = (0..4).find(|n| known >> (16 * n) & 0xffff == 0);
        let now = free.map_or(u64::MAX, |n| known | (place as u64 + 1) << (16 * n));
        f.writers.store(now, Ordering::Relaxed);
    }

    /// Where such entries may be; there are none from now on.
    pub(crate) fn take_writers(&self, frame: u64) -> Writers {
        let known = self.frame(frame);
        match known.map_or(0, |f| f.writers.swap(0, Ordering::Relaxed)) {
            u64::MAX => Writers::Anywhere,
            places => Writers::At(Places(places)),
        }
    }
}
