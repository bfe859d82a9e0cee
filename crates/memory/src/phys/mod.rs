//! Guest RAM: one anonymous mapping of the host, seen by guest-physical address. Memory beside it stands in `banks`, what is known of
//! code in each frame in `code`.
//!
//! # Unsafe
//! This module owns the mapping. Invariant: every offset handed to the pointer was checked against the mapping's length by
//! [`Ram::offset`], and nothing outlives the mapping, since all access goes through `&Ram`. Guest memory is shared with other vCPUs, so
//! it is only ever read and written through raw pointers; a torn value is the guest's own race.
#![expect(unsafe_code, reason = "owns the host mapping behind guest RAM")]

mod banks;
mod code;
mod file;
mod journal;

pub use banks::Rights;
pub(crate) use code::Writers;
pub use code::lines;

use arch::{GuestPhys, PAGE_SHIFT, Uint};
use banks::{Bank, NOWHERE};
use code::Frame;
use journal::Journal;
use memmap2::{MmapOptions, MmapRaw};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

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

    /// Whether all of these bytes are RAM, not a bank's memory: what devices reach by DMA.
    pub fn is_main(&self, addr: GuestPhys, len: u64) -> bool {
        self.main_offset(addr, len).is_some()
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
}

#[cfg(test)]
mod tests {
    use super::code::PATIENCE;
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
    fn writers_are_four_places_or_anywhere() {
        let r = Ram::new(0x4000).unwrap();
        let places = |w: Writers| match w {
            Writers::At(places) => Some(places.iter().collect::<Vec<_>>()),
            Writers::Anywhere => None,
        };
        assert_eq!(places(r.take_writers(1)), Some(vec![]));
        for place in [0, crate::ENTRIES - 1, 0, 7] {
            r.note_writer(1, place);
        }
        let noted = places(r.take_writers(1));
        assert_eq!(noted, Some(vec![0, crate::ENTRIES - 1, 7]));
        for place in [1, 2, 3, 4, 4, 5, 1] {
            r.note_writer(1, place);
        }
        assert_eq!(places(r.take_writers(1)), None);
        assert_eq!(places(r.take_writers(1)), Some(vec![]));
    }
}
