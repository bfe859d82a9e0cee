//! The softmmu TLB: per class of rights a direct-mapped array of page tags and host addends.
//!
//! # Unsafe
//! Owns the dereference of `addr + addend`. Invariant: an entry with a valid tag was filled from a live frame of the [`Ram`] that the
//! owning [`Mmu`](crate::Mmu) holds, so that every byte of the tagged page plus addend lies in the mapping; the tag compare admits
//! only accesses that stay in the page.
#![expect(
    unsafe_code,
    reason = "reads and writes guest RAM through the addend of a checked entry"
)]

use crate::{Access, Class, Ram};
use arch::{PAGE_SHIFT, Uint};
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};

/// Entries per class.
pub const ENTRIES: usize = 1024;
/// Number of access classes, [`Class`], and one more that is never filled: engines probe it while every access must be looked at.
pub const CLASSES: usize = 4;
/// The array that is never filled.
pub const CHECKED: usize = 3;

/// One page of one class. A tag is the page's linear address, or [`Entry::NONE`] where that kind of access must take the slow path.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Entry {
    pub read: u64,
    pub write: u64,
    pub exec: u64,
    /// Host address minus linear address, wrapping.
    pub addend: u64,
}

impl Entry {
    /// Matches no page: the offset bits of a tag are zero.
    pub const NONE: u64 = u64::MAX;
    const EMPTY: Self = Self {
        read: Self::NONE,
        write: Self::NONE,
        exec: Self::NONE,
        addend: 0,
    };
}

const GLOBAL: u8 = 0x80;

/// The arrays.
#[repr(C)]
pub struct Tlb {
    /// By [`Class`], then by page number modulo [`ENTRIES`].
    pub entries: [[Entry; ENTRIES]; CLASSES],
    /// log2 of the guest page's size, and [`GLOBAL`].
    meta: [[u8; ENTRIES]; CLASSES],
    /// Moves on with every flush but those of single pages: what was worked out from the mapping in another epoch may be wrong.
    pub epoch: u64,
    /// Addresses given to [`Tlb::flush_page`] since somebody took them: what was worked out from these pages may be wrong.
    pub flushed_pages: Vec<u64>,
}

#[inline(always)]
fn index(addr: u64) -> usize {
    (addr >> PAGE_SHIFT) as usize % ENTRIES
}

impl Tlb {
    /// An empty TLB.
    pub fn new() -> Self {
        Self {
            entries: [[Entry::EMPTY; ENTRIES]; CLASSES],
            meta: [[0; ENTRIES]; CLASSES],
            epoch: 0,
            flushed_pages: Vec::new(),
        }
    }

    /// The tag that an access of `len` bytes needs: its last byte's page, so that one which crosses a page matches nothing.
    /// (An access that crosses has its first byte in another page than the indexed entry's tag.)
    #[inline(always)]
    fn last_page(addr: u64, len: usize) -> u64 {
        addr.wrapping_add(len as u64 - 1) & !arch::PAGE_MASK
    }

    /// Reads if the page is present for reading and the value does not cross its end.
    #[inline(always)]
    pub fn read<T: Uint>(&self, class: usize, addr: u64) -> Option<T> {
        let e = &self.entries[class % CLASSES][index(addr)];
        if e.read != Self::last_page(addr, size_of::<T>()) {
            return None;
        }
        // SAFETY: the tag matches, so the module's invariant holds for all bytes of the value.
        Some(unsafe { (addr.wrapping_add(e.addend) as *const T).read_unaligned() })
    }

    /// Writes on the same terms; `false` if the slow path must do it.
    #[inline(always)]
    pub fn write<T: Uint>(&self, class: usize, addr: u64, value: T) -> bool {
        let e = &self.entries[class % CLASSES][index(addr)];
        if e.write != Self::last_page(addr, size_of::<T>()) {
            return false;
        }
        // SAFETY: as for `read`.
        unsafe { (addr.wrapping_add(e.addend) as *mut T).write_unaligned(value) };
        true
    }

    /// [`Tlb::read`] of a vector.
    #[inline(always)]
    pub fn read_16(&self, class: usize, addr: u64) -> Option<u128> {
        let at = self.host(class, addr, 16, Access::Read)?;
        // SAFETY: as for `read`.
        let bytes = unsafe { at.cast::<[u8; 16]>().read() };
        Some(u128::from_le_bytes(bytes))
    }

    /// [`Tlb::write`] of a vector.
    #[inline(always)]
    pub fn write_16(&self, class: usize, addr: u64, value: u128) -> bool {
        let Some(at) = self.host(class, addr, 16, Access::Write) else {
            return false;
        };
        // SAFETY: as for `read`.
        unsafe { at.cast::<[u8; 16]>().write(value.to_le_bytes()) };
        true
    }

    /// Atomically replaces an aligned value if it still is `old`; answers what it was. `None` if the slow path must do it.
    #[inline(always)]
    pub fn compare_exchange<T: Uint>(&self, class: usize, addr: u64, old: T, new: T) -> Option<T> {
        let e = &self.entries[class % CLASSES][index(addr)];
        if e.write != addr & !arch::PAGE_MASK || addr & (size_of::<T>() as u64 - 1) != 0 {
            return None;
        }
        let at = addr.wrapping_add(e.addend) as *mut u8;
        let (old, new) = (old.u64(), new.u64());
        macro_rules! exchange {
            ($atomic:ty, $t:ty) => {{
                // SAFETY: the tag matches and the address is aligned to its size, so the value lies in the page; guest memory is never
                // accessed through references.
                let a = unsafe { <$atomic>::from_ptr(at.cast()) };
                let (Ok(v) | Err(v)) = a.compare_exchange(old as $t, new as $t, SeqCst, SeqCst);
                v.u64()
            }};
        }
        Some(T::of(match size_of::<T>() {
            1 => exchange!(AtomicU8, u8),
            2 => exchange!(AtomicU16, u16),
            4 => exchange!(AtomicU32, u32),
            _ => exchange!(AtomicU64, u64),
        }))
    }

    /// The host address of `len` bytes at `addr` for `access`, on the same terms: for atomic and bulk operations.
    #[inline(always)]
    pub fn host(&self, class: usize, addr: u64, len: usize, access: Access) -> Option<*mut u8> {
        let e = &self.entries[class % CLASSES][index(addr)];
        let tag = match access {
            Access::Read => e.read,
            Access::Write => e.write,
            Access::Fetch => e.exec,
        };
        (len > 0 && tag == Self::last_page(addr, len))
            .then(|| addr.wrapping_add(e.addend) as *mut u8)
    }

    /// Copies `len` bytes from `from` to `to` as a loop over ascending addresses would. `false`, and nothing done, if one of the two is
    /// not wholly in a page that the fast path serves, or if the loop would read what it wrote.
    pub fn copy(&self, class: usize, from: u64, to: u64, len: usize) -> bool {
        let (Some(from), Some(to)) = (
            self.host(class, from, len, Access::Read),
            self.host(class, to, len, Access::Write),
        ) else {
            return false;
        };
        let distance = (to as usize).wrapping_sub(from as usize);
        if distance > 0 && distance < len {
            return false;
        }
        // SAFETY: both tags match, so the module's invariant holds for `len` bytes at both places; they may overlap.
        unsafe { std::ptr::copy(from, to, len) };
        true
    }

    /// Writes `count` times `value` from `to` on, on the same terms.
    pub fn fill_with<T: Uint>(&self, class: usize, to: u64, value: T, count: usize) -> bool {
        let Some(to) = self.host(
            class,
            to,
            count.saturating_mul(size_of::<T>()),
            Access::Write,
        ) else {
            return false;
        };
        let bytes = value.u64().to_le_bytes();
        if bytes[..size_of::<T>()].iter().all(|&b| b == bytes[0]) {
            // SAFETY: as for `copy`.
            unsafe { to.write_bytes(bytes[0], count * size_of::<T>()) };
            return true;
        }
        for n in 0..count {
            // SAFETY: as for `copy`; n is below `count`.
            unsafe { to.cast::<T>().add(n).write_unaligned(value) };
        }
        true
    }

    /// The 16-byte kin of [`Tlb::compare_exchange`].
    pub fn compare_exchange_16(
        &self,
        class: usize,
        addr: u64,
        old: u128,
        new: u128,
    ) -> Option<u128> {
        if addr & 15 != 0 {
            return None;
        }
        let at = self.host(class, addr, 16, Access::Write)?;
        // SAFETY: the tag matches and the address is aligned to 16.
        Some(unsafe { crate::wide::compare_exchange(at, old, new) })
    }

    /// Fills the entry for `linear`'s page from a frame of RAM. `tags` says which accesses the fast path may serve.
    pub(crate) fn fill(
        &mut self,
        ram: &Ram,
        class: Class,
        linear: u64,
        frame: u64,
        tags: [bool; 3],
        shift: u32,
        global: bool,
    ) {
        let Some(host) = ram.host_frame(frame) else {
            return;
        };
        let page = linear & !arch::PAGE_MASK;
        let tag = |on: bool| if on { page } else { Entry::NONE };
        self.entries[class as usize][index(linear)] = Entry {
            read: tag(tags[0]),
            write: tag(tags[1]),
            exec: tag(tags[2]),
            addend: (host as u64).wrapping_sub(page),
        };
        self.meta[class as usize][index(linear)] = shift as u8 | if global { GLOBAL } else { 0 };
    }

    /// Forgets everything.
    pub fn flush(&mut self) {
        self.epoch += 1;
        self.entries = [[Entry::EMPTY; ENTRIES]; CLASSES];
    }

    /// Forgets all but global pages (MOV to CR3).
    pub fn flush_non_global(&mut self) {
        self.epoch += 1;
        for (row, meta) in self.entries.iter_mut().zip(&self.meta) {
            for (e, m) in row.iter_mut().zip(meta) {
                if m & GLOBAL == 0 {
                    *e = Entry::EMPTY;
                }
            }
        }
    }

    /// Forgets the page that holds `addr`, whatever its size (INVLPG).
    pub fn flush_page(&mut self, addr: u64) {
        if self.flushed_pages.len() < 64 {
            self.flushed_pages.push(addr);
        } else {
            self.flushed_pages.clear();
            self.epoch += 1;
        }
        for (row, meta) in self.entries.iter_mut().zip(&self.meta) {
            row[index(addr)] = Entry::EMPTY;
            for (e, m) in row.iter_mut().zip(meta) {
                let shift = u32::from(m & !GLOBAL);
                let tag = e.read.min(e.write).min(e.exec);
                if shift > PAGE_SHIFT && tag != Entry::NONE && (tag ^ addr) >> shift.min(63) == 0 {
                    *e = Entry::EMPTY;
                }
            }
        }
    }

    /// Takes the write tags of every mapping of a frame: it now holds code.
    pub(crate) fn protect(&mut self, ram: &Ram, frame: u64) {
        let Some(host) = ram.host_frame(frame) else {
            return;
        };
        for e in self.entries.iter_mut().flatten() {
            if e.write != Entry::NONE && e.write.wrapping_add(e.addend) == host as u64 {
                e.write = Entry::NONE;
            }
        }
    }
}

impl Default for Tlb {
    fn default() -> Self {
        Self::new()
    }
}
