//! Guest RAM: one anonymous mapping of the host, seen by guest-physical address.
//!
//! # Unsafe
//! This module owns the mapping. Invariant: every offset handed to the pointer was checked against the mapping's length by
//! [`Ram::offset`], and nothing outlives the mapping, since all access goes through `&Ram`. Guest memory is shared with other vCPUs, so
//! it is only ever read and written through raw pointers; a torn value is the guest's own race.
#![expect(unsafe_code, reason = "owns the host mapping behind guest RAM")]

use arch::{GuestPhys, PAGE_SHIFT, Uint};
use memmap2::{MmapOptions, MmapRaw};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// First byte of the hole for MMIO below 4 GiB.
pub const HOLE_START: u64 = 0xc000_0000;
/// First byte above the hole.
pub const HOLE_END: u64 = 1 << 32;

/// Host trouble with RAM.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host does not give that much.
    #[error("the host cannot reserve {bytes} bytes for guest memory")]
    Map {
        bytes: u64,
        #[source]
        source: std::io::Error,
    },
    /// Not a whole number of pages, or nothing.
    #[error("guest memory must be a positive multiple of 4096 bytes, not {bytes}")]
    Size { bytes: u64 },
}

/// The address range is not (wholly) RAM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("guest-physical {addr:#x} (+{len:#x}) is not RAM")]
pub struct OutsideRam {
    pub addr: u64,
    pub len: u64,
}

/// log2 of the bytes in a line: the grain in which code is kept apart from data in a frame.
pub const LINE_SHIFT: u32 = 6;

/// The lines of a frame that `len` bytes at `offset` touch, as a bit set.
pub fn lines(offset: usize, len: usize) -> u64 {
    let first = (offset >> LINE_SHIFT) as u32 & 63;
    let last = ((offset + len.max(1) - 1) >> LINE_SHIFT).min(63) as u32;
    (u64::MAX >> (63 - last.max(first))) & (u64::MAX << first)
}

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
struct Bank {
    /// Guest-physical address; `u64::MAX` if it is nowhere.
    base: AtomicU64,
    size: u64,
    /// Where it begins in the mapping.
    offset: usize,
}

const NOWHERE: u64 = u64::MAX;

/// What is known of a frame beside its content.
struct Frame {
    /// [`Rights`].
    rights: AtomicU8,
    /// The lines that decoded blocks or translations were made from.
    code: AtomicU64,
    /// Moves on whenever code in it is overwritten.
    generation: AtomicU32,
    /// Zero if TLBs may let stores through; else one more than the stores that came since the last code in it was overwritten.
    guard: AtomicU16,
    /// Where in a TLB entries that let stores through may be: see [`Writers`].
    writers: AtomicU16,
}

impl Frame {
    fn new() -> Self {
        Self {
            rights: AtomicU8::new(Rights::ReadWrite as u8),
            code: AtomicU64::new(0),
            generation: AtomicU32::new(0),
            guard: AtomicU16::new(0),
            writers: AtomicU16::new(0),
        }
    }
}

/// In which places of the TLBs' arrays there may be entries that let stores to a frame through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writers {
    None,
    At(usize),
    Anywhere,
}

/// Stores to a guarded frame that holds no code any more, until TLBs may let them through again: code often comes back.
const PATIENCE: u16 = 64;

/// The machine's RAM: from 0 up to 3 GiB, the rest from 4 GiB up.
pub struct Ram {
    map: MmapRaw,
    /// Bytes of RAM: the banks follow in the mapping.
    size: u64,
    banks: Vec<Bank>,
    /// Moves on whenever rights or places change: what was worked out from them is wrong then.
    layout: AtomicU32,
    frames: Box<[Frame]>,
    /// Code lines that were overwritten and not yet taken by [`Ram::take_stale`].
    stale: Mutex<Vec<(u64, u64)>>,
    has_stale: AtomicBool,
    journaling: AtomicBool,
    journal: Mutex<Journal>,
}

/// What stores replaced, in their order.
#[derive(Default)]
struct Journal {
    /// Offset in the mapping and bytes of each window; what stood there follows in `old`.
    windows: Vec<(usize, usize)>,
    old: Vec<u8>,
}

/// What is kept on either side of a store, so that one which is too wide shows.
const MARGIN: usize = 16;

impl Ram {
    /// `bytes` of zeroed RAM. The host commits pages as the guest touches them.
    pub fn new(bytes: u64) -> Result<Arc<Self>, Error> {
        Self::with_banks(bytes, &[])
    }

    /// RAM with further memory of these sizes, whole pages, that is nowhere yet ([`Ram::place`]): bank 0 and so on.
    pub fn with_banks(bytes: u64, banks: &[u64]) -> Result<Arc<Self>, Error> {
        let whole = |n: u64| n != 0 && n & 0xfff == 0;
        if let Some(&bytes) = [bytes].iter().chain(banks).find(|n| !whole(**n)) {
            return Err(Error::Size { bytes });
        }
        let mut total = bytes;
        let banks = banks
            .iter()
            .map(|&size| {
                let offset = total as usize;
                total = total.saturating_add(size);
                Bank {
                    base: AtomicU64::new(NOWHERE),
                    size,
                    offset,
                }
            })
            .collect();
        let frames = (total >> PAGE_SHIFT) as usize;
        let map = MmapOptions::new()
            .len(usize::try_from(total).unwrap_or(usize::MAX))
            .no_reserve_swap()
            .map_anon()
            .map_err(|source| Error::Map { bytes, source })?;
        // Large host pages where the host has them to give: most misses of its TLB are the guest's own.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Ok(Arc::new(Self {
            map: map.into(),
            size: bytes,
            banks,
            layout: AtomicU32::new(0),
            frames: std::iter::repeat_with(Frame::new).take(frames).collect(),
            stale: Mutex::default(),
            has_stale: AtomicBool::new(false),
            journaling: AtomicBool::new(false),
            journal: Mutex::default(),
        }))
    }

    /// Bytes of RAM in all.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The guest-physical ranges that RAM covers: (start, bytes).
    pub fn ranges(&self) -> Vec<(GuestPhys, u64)> {
        let low = self.size.min(HOLE_START);
        let mut r = vec![(GuestPhys(0), low)];
        if self.size > low {
            r.push((GuestPhys(HOLE_END), self.size - low));
        }
        r
    }

    /// The offset in the mapping of `len` bytes at `addr`, if they are all RAM on one side of the hole, or inside one bank.
    #[inline]
    fn offset(&self, addr: GuestPhys, len: u64) -> Option<usize> {
        match self.main_offset(addr, len) {
            Some(o) => Some(o),
            None if self.banks.is_empty() => None,
            None => self.bank_offset(addr, len),
        }
    }

    #[inline]
    fn main_offset(&self, addr: GuestPhys, len: u64) -> Option<usize> {
        let low = self.size.min(HOLE_START);
        let (start, room) = if addr.0 < HOLE_START {
            (addr.0, low)
        } else if addr.0 >= HOLE_END {
            (addr.0 - HOLE_END + HOLE_START, self.size)
        } else {
            return None;
        };
        (start.checked_add(len)? <= room).then_some(start as usize)
    }

    #[cold]
    fn bank_offset(&self, addr: GuestPhys, len: u64) -> Option<usize> {
        self.banks.iter().find_map(|b| {
            let start = addr.0.checked_sub(b.base.load(Ordering::Acquire))?;
            (start.checked_add(len)? <= b.size).then_some(b.offset + start as usize)
        })
    }

    /// Whether all of these bytes are RAM, not a bank's memory: what devices reach by DMA.
    pub fn is_main(&self, addr: GuestPhys, len: u64) -> bool {
        self.main_offset(addr, len).is_some()
    }

    /// The bank that a mapping's offset lies in.
    fn bank_at(&self, offset: usize) -> Option<&Bank> {
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

    #[inline]
    fn frame(&self, frame: u64) -> Option<&Frame> {
        let o = self.offset(GuestPhys(frame << PAGE_SHIFT), 1)?;
        self.frames.get(o >> PAGE_SHIFT)
    }

    /// Whether the frame is RAM.
    pub fn contains_frame(&self, frame: u64) -> bool {
        self.offset(GuestPhys(frame << PAGE_SHIFT), 1).is_some()
    }

    /// The host address of a frame of RAM: what a TLB entry's addend is made of.
    #[inline]
    pub(crate) fn host_frame(&self, frame: u64) -> Option<*mut u8> {
        let o = self.offset(GuestPhys(frame << PAGE_SHIFT), 1 << PAGE_SHIFT)?;
        // SAFETY: `offset` checked the whole frame against the mapping.
        Some(unsafe { self.map.as_mut_ptr().add(o) })
    }

    /// The host address of a frame, if it is RAM or a bank: what a TLB entry for it leads to.
    pub fn host_of(&self, frame: u64) -> Option<u64> {
        self.host_frame(frame).map(|p| p as u64)
    }

    /// The guest-physical address behind a host address that a TLB entry leads to.
    pub fn guest_of(&self, host: u64) -> Option<GuestPhys> {
        let o = host.checked_sub(self.map.as_ptr() as u64)?;
        if o >= self.size {
            let b = self.bank_at(usize::try_from(o).ok()?)?;
            let base = b.base.load(Ordering::Acquire);
            return (base != NOWHERE).then(|| GuestPhys(base + (o - b.offset as u64)));
        }
        Some({
            GuestPhys(if o >= HOLE_START {
                o - HOLE_START + HOLE_END
            } else {
                o
            })
        })
    }

    /// Copies RAM out.
    pub fn read(&self, addr: GuestPhys, into: &mut [u8]) -> Result<(), OutsideRam> {
        let len = into.len() as u64;
        let o = self
            .offset(addr, len)
            .ok_or(OutsideRam { addr: addr.0, len })?;
        // SAFETY: `offset` checked the range; `into` is host memory, hence does not overlap.
        unsafe {
            self.map
                .as_ptr()
                .add(o)
                .copy_to_nonoverlapping(into.as_mut_ptr(), into.len())
        };
        Ok(())
    }

    /// Whether RAM at `addr` holds these bytes.
    pub fn holds(&self, addr: GuestPhys, bytes: &[u8]) -> bool {
        let Some(o) = self.offset(addr, bytes.len() as u64) else {
            return false;
        };
        // SAFETY: `offset` checked the range; no reference to guest memory is made.
        let at = |n: usize| unsafe { self.map.as_ptr().add(o + n).read_volatile() };
        let (words, rest) = bytes.as_chunks::<8>();
        let word = |n: usize| {
            // SAFETY: as above.
            unsafe {
                self.map
                    .as_ptr()
                    .add(o + 8 * n)
                    .cast::<[u8; 8]>()
                    .read_volatile()
            }
        };
        let tail = bytes.len() - rest.len();
        words.iter().enumerate().all(|(n, w)| word(n) == *w)
            && rest.iter().enumerate().all(|(n, b)| at(tail + n) == *b)
    }

    /// Copies into RAM. Code made from the touched frames becomes stale: their generation moves on.
    pub fn write(&self, addr: GuestPhys, from: &[u8]) -> Result<(), OutsideRam> {
        let len = from.len() as u64;
        let o = self
            .offset(addr, len)
            .ok_or(OutsideRam { addr: addr.0, len })?;
        self.note(o, from.len());
        // SAFETY: as in `read`.
        unsafe {
            self.map
                .as_mut_ptr()
                .add(o)
                .copy_from_nonoverlapping(from.as_ptr(), from.len())
        };
        self.touch_code(o, from.len());
        Ok(())
    }

    /// Copies inside RAM, whatever the overlap; code made from what is overwritten becomes stale.
    pub fn copy(&self, from: GuestPhys, to: GuestPhys, bytes: usize) -> Result<(), OutsideRam> {
        let len = bytes as u64;
        let outside = |addr: GuestPhys| OutsideRam { addr: addr.0, len };
        let f = self.offset(from, len).ok_or(outside(from))?;
        let t = self.offset(to, len).ok_or(outside(to))?;
        self.note(t, bytes);
        // SAFETY: `offset` checked both ranges; they may overlap.
        unsafe {
            std::ptr::copy(
                self.map.as_ptr().add(f),
                self.map.as_mut_ptr().add(t),
                bytes,
            )
        };
        self.touch_code(t, bytes);
        Ok(())
    }

    /// Writes `count` times the low `size` bytes of `value`; code made from what is overwritten becomes stale.
    pub fn fill(
        &self,
        to: GuestPhys,
        value: u64,
        size: usize,
        count: usize,
    ) -> Result<(), OutsideRam> {
        let bytes = count.saturating_mul(size);
        let len = bytes as u64;
        let o = self.offset(to, len).ok_or(OutsideRam { addr: to.0, len })?;
        self.note(o, bytes);
        // SAFETY: `offset` checked the range.
        let at = unsafe { self.map.as_mut_ptr().add(o) };
        let image = value.to_le_bytes();
        let unit = &image[..size.min(8)];
        if unit.iter().all(|&b| b == image[0]) {
            // SAFETY: as above.
            unsafe { at.write_bytes(image[0], bytes) };
        } else {
            for n in 0..count {
                // SAFETY: as above; n is below `count`.
                unsafe {
                    at.add(n * size)
                        .copy_from_nonoverlapping(unit.as_ptr(), unit.len())
                };
            }
        }
        self.touch_code(o, bytes);
        Ok(())
    }

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
    fn touch_code(&self, offset: usize, len: usize) {
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

    /// The frame number of an index.
    fn frame_of(&self, index: usize) -> u64 {
        let f = index as u64;
        if f << PAGE_SHIFT >= self.size {
            let at = index << PAGE_SHIFT;
            return self.bank_at(at).map_or(u64::MAX, |b| {
                let base = b.base.load(Ordering::Acquire);
                base.wrapping_add((at - b.offset) as u64) >> PAGE_SHIFT
            });
        }
        if f >= HOLE_START >> PAGE_SHIFT {
            f + ((HOLE_END - HOLE_START) >> PAGE_SHIFT)
        } else {
            f
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

    /// One plain value out of RAM.
    pub fn load<T: Uint>(&self, addr: GuestPhys) -> Result<T, OutsideRam> {
        let len = size_of::<T>() as u64;
        let o = self
            .offset(addr, len)
            .ok_or(OutsideRam { addr: addr.0, len })?;
        // SAFETY: `offset` checked the range; any bits make a `T`.
        Ok(unsafe { self.map.as_ptr().add(o).cast::<T>().read_unaligned() })
    }

    /// Replaces an aligned quadword of a paging structure if it still is `old`; tells whether it was.
    pub(crate) fn compare_exchange64(&self, addr: GuestPhys, old: u64, new: u64) -> bool {
        let Some(o) = self.offset(GuestPhys(addr.0 & !7), 8) else {
            return false;
        };
        self.note(o, 8);
        // SAFETY: checked range, aligned to 8 since the mapping is page-aligned; other accesses from this process to paging
        // structures are raw and never references.
        let a = unsafe { AtomicU64::from_ptr(self.map.as_mut_ptr().add(o).cast()) };
        a.compare_exchange(old, new, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

    /// The same for a doubleword.
    pub(crate) fn compare_exchange32(&self, addr: GuestPhys, old: u32, new: u32) -> bool {
        let Some(o) = self.offset(GuestPhys(addr.0 & !3), 4) else {
            return false;
        };
        self.note(o, 4);
        // SAFETY: as for quadwords.
        let a = unsafe { AtomicU32::from_ptr(self.map.as_mut_ptr().add(o).cast()) };
        a.compare_exchange(old, new, Ordering::SeqCst, Ordering::Relaxed)
            .is_ok()
    }

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
    fn note(&self, offset: usize, len: usize) {
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
        if let Some(f) = self.frame(frame) {
            let here = place as u16 + 1;
            let known = f.writers.load(Ordering::Relaxed);
            if known != here {
                let now = if known == 0 { here } else { u16::MAX };
                f.writers.store(now, Ordering::Relaxed);
            }
        }
    }

    /// Where such entries may be; there are none from now on.
    pub(crate) fn take_writers(&self, frame: u64) -> Writers {
        match self
            .frame(frame)
            .map_or(0, |f| f.writers.swap(0, Ordering::Relaxed))
        {
            0 => Writers::None,
            u16::MAX => Writers::Anywhere,
            n => Writers::At(usize::from(n) - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hole_and_the_end_are_not_ram() {
        let r = Ram::new(0x10_0000).unwrap();
        let mut b = [0; 8];
        assert!(r.read(GuestPhys(0xf_fff8), &mut b).is_ok());
        assert!(r.read(GuestPhys(0xf_fff9), &mut b).is_err());
        assert!(r.read(GuestPhys(u64::MAX), &mut b).is_err());
        assert!(r.read(GuestPhys(HOLE_START), &mut b).is_err());
        assert!(r.read(GuestPhys(HOLE_END), &mut b).is_err());
        assert!(Ram::new(0).is_err());
    }

    #[test]
    fn memory_above_the_hole_follows_the_memory_below() {
        let r = Ram::new(HOLE_START + 0x1000).unwrap();
        assert_eq!(
            r.ranges(),
            vec![(GuestPhys(0), HOLE_START), (GuestPhys(HOLE_END), 0x1000)]
        );
        r.write(GuestPhys(HOLE_END), &[7]).unwrap();
        assert_eq!(r.load::<u8>(GuestPhys(HOLE_END)).unwrap(), 7);
        assert!(r.write(GuestPhys(HOLE_START - 1), &[1, 2]).is_err());
    }

    #[test]
    fn a_write_moves_the_generation_of_code_frames_only() {
        let r = Ram::new(0x4000).unwrap();
        let g = r.generation(1);
        r.write(GuestPhys(0x1000), &[1]).unwrap();
        assert_eq!(r.generation(1), g);
        assert_eq!(r.mark_code(1, u64::MAX), Some((g, true)));
        assert_eq!(r.mark_code(1, u64::MAX), Some((g, false)));
        r.write(GuestPhys(0xfff), &[1, 2]).unwrap();
        assert_ne!(r.generation(1), g);
        assert!(!r.is_code_at(GuestPhys(0x1000), 64));
        assert!(r.is_code_at(GuestPhys(0x1040), 1));
        let mut stale = Vec::new();
        r.take_stale(&mut stale);
        assert_eq!(stale, vec![(1, 1)]);
        assert!(!r.has_stale());
    }

    #[test]
    fn a_frame_is_guarded_until_it_was_without_code_for_long() {
        let r = Ram::new(0x4000).unwrap();
        r.mark_code(1, 1);
        for _ in 0..2 * PATIENCE {
            r.count_idle_store(1);
        }
        assert!(r.is_guarded(1));
        r.write(GuestPhys(0x1000), &[1]).unwrap();
        assert!(r.is_guarded(1));
        for _ in 0..2 * PATIENCE {
            r.count_idle_store(1);
        }
        assert!(!r.is_guarded(1));
        assert_eq!(r.mark_code(1, 1).map(|m| m.1), Some(true));
    }

    #[test]
    fn rights_and_places_change_and_code_there_becomes_stale() {
        let r = Ram::with_banks(0x4000, &[0x2000]).unwrap();
        let top = GuestPhys(HOLE_END - 0x2000);
        assert!(r.write_bank(0, 0x1ff0, &[1, 2]));
        assert!(!r.write_bank(0, 0x1fff, &[1, 2]) && !r.write_bank(1, 0, &[1]));
        assert!(r.load::<u8>(top).is_err());
        let seen = r.layout();
        r.place(0, Some(top));
        assert_ne!(r.layout(), seen);
        assert_eq!(r.load::<u16>(GuestPhys(HOLE_END - 16)).unwrap(), 0x201);
        assert!(!r.is_main(top, 1) && r.is_main(GuestPhys(0), 0x4000));
        let frame = top.frame() + 1;
        assert_eq!(r.rights(frame), Rights::ReadWrite);
        r.set_rights(top, 0x2000, Rights::Read);
        assert_eq!(r.rights(frame), Rights::Read);
        r.mark_code(frame, 1);
        let host = r.host_frame(frame).unwrap() as u64;
        assert_eq!(r.guest_of(host + 5), Some(GuestPhys(top.0 + 0x1005)));
        let (seen, mut stale) = (r.layout(), Vec::new());
        r.set_bank_rights(0, 0, 0x2000, Rights::Read);
        assert_eq!(r.layout(), seen, "nothing changed");
        r.set_bank_rights(0, 0, 0x2000, Rights::Bus);
        r.take_stale(&mut stale);
        assert_eq!(stale, [(frame, 1)]);
        r.mark_code(frame, 2);
        r.place(0, None);
        r.take_stale(&mut stale);
        assert_eq!(stale, [(frame, 2)]);
        assert_eq!(r.rights(frame), Rights::Bus);
        assert_eq!(r.guest_of(host), None);
    }

    #[test]
    fn writers_are_one_place_or_anywhere() {
        let r = Ram::new(0x4000).unwrap();
        assert_eq!(r.take_writers(1), Writers::None);
        r.note_writer(1, 0);
        r.note_writer(1, 0);
        assert_eq!(r.take_writers(1), Writers::At(0));
        r.note_writer(1, 1023);
        r.note_writer(1, 0);
        r.note_writer(1, 0);
        assert_eq!(r.take_writers(1), Writers::Anywhere);
        assert_eq!(r.take_writers(1), Writers::None);
    }
}
