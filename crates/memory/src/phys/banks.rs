//! Memory beside the RAM, where it stands, and which of the processor's accesses to a frame go to memory at all.
//!
//! # Unsafe
//! Copies out of and into banks, at ranges that [`Ram::in_bank`] checked against the mapping; the module above owns it.
#![expect(unsafe_code, reason = "copies out of and into the host mapping")]

use super::Ram;
use arch::{GuestPhys, PAGE_SHIFT};
use std::sync::atomic::{AtomicU64, Ordering};

/// Which of the processor's accesses to a frame go to its memory; the others go to the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rights {
    /// All to the bus: another device stands there (video memory, a flash chip in command mode, memory that is not enabled).
    Bus = 0,
    /// Loads and fetches to memory: ROM.
    Read = 1,
    /// Stores to memory: shadow RAM that is being filled.
    Write = 2,
    /// All to memory.
    ReadWrite = 3,
}

impl Rights {
    /// Bit 0: loads and fetches, bit 1: stores.
    pub fn of(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Bus,
            1 => Self::Read,
            2 => Self::Write,
            _ => Self::ReadWrite,
        }
    }
    /// Loads and fetches go to memory.
    pub fn read(self) -> bool {
        self as u8 & 1 != 0
    }
    /// Stores go to memory.
    pub fn write(self) -> bool {
        self as u8 & 2 != 0
    }
}

/// Memory beside the RAM: a flash chip, video memory. It stands where it is placed, inside the hole below 4 GiB or above all RAM.
pub(super) struct Bank {
    /// Guest-physical address; `u64::MAX` if it is nowhere.
    pub(super) base: AtomicU64,
    pub(super) size: u64,
    /// Where it begins in the mapping.
    pub(super) offset: usize,
}

pub(super) const NOWHERE: u64 = u64::MAX;

impl Ram {
    #[cold]
    pub(super) fn bank_offset(&self, addr: GuestPhys, len: u64) -> Option<usize> {
        self.banks.iter().find_map(|b| {
            let start = addr.0.checked_sub(b.base.load(Ordering::Acquire))?;
            (start.checked_add(len)? <= b.size).then_some(b.offset + start as usize)
        })
    }

    /// The bank that a mapping's offset lies in.
    pub(super) fn bank_at(&self, offset: usize) -> Option<&Bank> {
        self.banks.iter().find(|b| {
            offset
                .checked_sub(b.offset)
                .is_some_and(|o| (o as u64) < b.size)
        })
    }

    /// A number that moves on whenever [`Ram::set_rights`] or [`Ram::place`] change something.
    #[inline]
    pub fn layout(&self) -> u32 {
        self.layout.load(Ordering::Acquire)
    }

    /// Which accesses to the frame go to memory; none if there is none.
    pub fn rights(&self, frame: u64) -> Rights {
        self.frame(frame).map_or(Rights::Bus, |f| {
            Rights::of(f.rights.load(Ordering::Relaxed))
        })
    }

    /// From now on the processor's accesses to the frames of this range go to memory by `rights`, as far as there is memory. Devices and
    /// loaders reach it all the same.
    pub fn set_rights(&self, addr: GuestPhys, len: u64, rights: Rights) {
        let mut changed = false;
        for frame in addr.frame()..=GuestPhys(addr.0.saturating_add(len.saturating_sub(1))).frame()
        {
            let Some(o) = self.offset(GuestPhys(frame << PAGE_SHIFT), 1) else {
                continue;
            };
            changed |= self.set_frame_rights(o, rights);
        }
        if changed {
            self.layout.fetch_add(1, Ordering::Release);
        }
    }

    /// The same for a part of bank `n`, wherever it stands.
    pub fn set_bank_rights(&self, n: usize, offset: u64, len: u64, rights: Rights) {
        let Some(b) = self.banks.get(n) else { return };
        let end = offset.saturating_add(len).min(b.size);
        let mut changed = false;
        for at in (offset & !0xfff..end).step_by(1 << PAGE_SHIFT) {
            changed |= self.set_frame_rights(b.offset + at as usize, rights);
        }
        if changed {
            self.layout.fetch_add(1, Ordering::Release);
        }
    }

    fn set_frame_rights(&self, offset: usize, rights: Rights) -> bool {
        let Some(f) = self.frames.get(offset >> PAGE_SHIFT) else {
            return false;
        };
        let old = f.rights.swap(rights as u8, Ordering::Relaxed);
        if old != rights as u8 {
            self.touch_code(offset & !0xfff, 1 << PAGE_SHIFT);
        }
        old != rights as u8
    }

    /// Bank `n` stands at `base`, a page's address, from now on, or nowhere. RAM hides what overlaps it.
    pub fn place(&self, n: usize, base: Option<GuestPhys>) {
        let Some(b) = self.banks.get(n) else { return };
        let new = match base {
            Some(GuestPhys(at)) if at & 0xfff == 0 && at.checked_add(b.size).is_some() => at,
            _ => NOWHERE,
        };
        if b.base.load(Ordering::Acquire) != new {
            // While the old frame numbers can still be told.
            self.touch_code(b.offset, b.size as usize);
            b.base.store(new, Ordering::Release);
            self.layout.fetch_add(1, Ordering::Release);
        }
    }

    /// Where `len` bytes of bank `n` are in the mapping.
    fn in_bank(&self, n: usize, offset: u64, len: usize) -> Option<usize> {
        let b = self.banks.get(n)?;
        (offset.checked_add(len as u64)? <= b.size).then_some(b.offset + offset as usize)
    }

    /// Copies out of bank `n`, wherever it stands; tells whether that much is there.
    pub fn read_bank(&self, n: usize, offset: u64, into: &mut [u8]) -> bool {
        let Some(o) = self.in_bank(n, offset, into.len()) else {
            return false;
        };
        // SAFETY: `in_bank` checked the range; `into` is host memory, hence does not overlap.
        unsafe {
            self.map
                .as_ptr()
                .add(o)
                .copy_to_nonoverlapping(into.as_mut_ptr(), into.len())
        };
        true
    }

    /// Copies into bank `n`, whatever the processor's rights there.
    pub fn write_bank(&self, n: usize, offset: u64, from: &[u8]) -> bool {
        let Some(o) = self.in_bank(n, offset, from.len()) else {
            return false;
        };
        self.note(o, from.len());
        // SAFETY: as in `read_bank`.
        unsafe {
            self.map
                .as_mut_ptr()
                .add(o)
                .copy_from_nonoverlapping(from.as_ptr(), from.len())
        };
        self.touch_code(o, from.len());
        true
    }
}
