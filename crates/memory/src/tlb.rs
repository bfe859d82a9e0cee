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

use crate::phys::Writers;
use crate::{Access, Class, Ram};
use arch::{PAGE_SHIFT, Uint};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering::SeqCst};

/// Entries per class.
pub const ENTRIES: usize = 4096;
/// Number of access classes, [`Class`], and one more that is never filled: engines probe it while every access must be looked at.
pub const CLASSES: usize = 4;
/// The array that is never filled.
pub const CHECKED: usize = 3;

/// One page of one class. A tag is the page's linear address, or [`Entry::NONE`] where that kind of access must take the slow path.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(32))]
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

impl Entry {
    /// Takes the write tag if it leads to the page at `host`.
    #[inline]
    fn protect(&mut self, host: u64, meta: &mut u8) {
        if self.write != Self::NONE && self.write.wrapping_add(self.addend) == host {
            self.write = Self::NONE;
            *meta |= GUARDED;
        }
    }
}

const GLOBAL: u8 = 0x80;
/// Only the guard of code keeps stores from the fast path.
const GUARDED: u8 = 0x40;
/// log2 of the page's size.
const SHIFT: u8 = 0x3f;

/// The arrays of one address space.
pub struct Context {
    /// By [`Class`], then by page number modulo [`ENTRIES`].
    entries: Box<[[Entry; ENTRIES]]>,
    /// log2 of the guest page's size, [`GLOBAL`] and [`GUARDED`].
    meta: Box<[[u8; ENTRIES]]>,
    /// Where entries of pages that are not global were filled since these were flushed; nobody knows all if it is full.
    local: Vec<u16>,
    large: LargePages,
    epoch: u64,
    pcid: u16,
}

/// Which large pages entries may have been filled from, so that a flush of a page seldom looks at every entry: a filter by 2 MiB that
/// may say too much.
struct LargePages {
    bits: [u64; 64],
    /// A page of more than 4 MiB was among them.
    giant: bool,
}

impl LargePages {
    const NONE: Self = Self {
        bits: [0; 64],
        giant: false,
    };

    fn place(addr: u64) -> (usize, u64) {
        let h = (addr >> 21).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 52;
        (h as usize / 64 % 64, 1 << (h % 64))
    }

    fn note(&mut self, addr: u64, shift: u32) {
        let half = 1 << 21;
        let (first, second) = (Self::place(addr & !half), Self::place(addr | half));
        match shift {
            ..=PAGE_SHIFT => {}
            21 => {
                let (word, bit) = Self::place(addr);
                self.bits[word] |= bit;
            }
            22 => {
                self.bits[first.0] |= first.1;
                self.bits[second.0] |= second.1;
            }
            _ => self.giant = true,
        }
    }

    fn may_hold(&self, addr: u64) -> bool {
        let (word, bit) = Self::place(addr);
        self.giant || self.bits[word] & bit != 0
    }
}

/// Entries that are not global and known by number: more of them are looked for.
const LOCAL: usize = 1024;

/// Address spaces kept besides the live one.
const PARKED: usize = 13;

/// The TLB: the live address space, and those that the guest asked to keep (Vol. 3A, 4.10.1).
pub struct Tlb {
    live: Context,
    /// The one that was live last stands last.
    parked: Vec<Context>,
    last_epoch: u64,
    global_epoch: u64,
    /// Addresses given to [`Tlb::flush_page`] since somebody took them: what was worked out from these pages may be wrong.
    pub flushed_pages: Vec<u64>,
    journal: Journal,
}

/// What fills replaced, while it is recorded.
#[derive(Default)]
struct Journal {
    /// Set while recording: stores are told to it.
    ram: Option<Arc<Ram>>,
    /// Class, index, entry, size and [`GLOBAL`].
    filled: Vec<(usize, usize, Entry, u8)>,
}

impl Context {
    fn new(pcid: u16, epoch: u64) -> Self {
        Self {
            entries: vec![[Entry::EMPTY; ENTRIES]; CLASSES].into_boxed_slice(),
            meta: vec![[0; ENTRIES]; CLASSES].into_boxed_slice(),
            local: Vec::with_capacity(LOCAL),
            large: LargePages::NONE,
            epoch,
            pcid,
        }
    }

    fn flush_non_global(&mut self) {
        if self.local.len() < LOCAL {
            for n in self.local.drain(..) {
                let (class, n) = (usize::from(n) / ENTRIES % CLASSES, usize::from(n) % ENTRIES);
                if self.meta[class][n] & GLOBAL == 0 {
                    self.entries[class][n] = Entry::EMPTY;
                }
            }
            return;
        }
        self.local.clear();
        for (row, meta) in self.entries.iter_mut().zip(&*self.meta).take(CHECKED) {
            for (e, m) in row.iter_mut().zip(meta) {
                if m & GLOBAL == 0 {
                    *e = Entry::EMPTY;
                }
            }
        }
    }

    fn flush_page(&mut self, addr: u64) {
        for row in &mut self.entries {
            row[index(addr)] = Entry::EMPTY;
        }
        if !self.large.may_hold(addr) {
            return;
        }
        for (row, meta) in self.entries.iter_mut().zip(&*self.meta) {
            for (e, m) in row.iter_mut().zip(meta) {
                let shift = u32::from(m & SHIFT);
                if shift > PAGE_SHIFT {
                    let tag = e.read.min(e.write).min(e.exec);
                    if tag != Entry::NONE && (tag ^ addr) >> shift.min(63) == 0 {
                        *e = Entry::EMPTY;
                    }
                }
            }
        }
    }

    /// Takes the write tags of the frame at `host` from the entries at the places of each class.
    fn protect(&mut self, host: u64, writers: Writers) {
        match writers {
            Writers::At(places) => places.iter().for_each(|n| self.protect_at(host, n)),
            Writers::Anywhere => (0..ENTRIES).for_each(|n| self.protect_at(host, n)),
        }
    }

    fn protect_at(&mut self, host: u64, place: usize) {
        for (row, meta) in self.entries.iter_mut().zip(&mut self.meta) {
            row[place % ENTRIES].protect(host, &mut meta[place % ENTRIES]);
        }
    }
}

#[inline(always)]
fn index(addr: u64) -> usize {
    (addr >> PAGE_SHIFT) as usize % ENTRIES
}

impl Tlb {
    /// An empty TLB.
    pub fn new() -> Self {
        Self {
            live: Context::new(0, 0),
            parked: Vec::new(),
            last_epoch: 0,
            global_epoch: 0,
            flushed_pages: Vec::new(),
            journal: Journal::default(),
        }
    }

    /// The live arrays' address, for generated code: it changes with [`Tlb::switch`] and [`Tlb::flush`].
    pub fn arrays(&self) -> u64 {
        self.live.entries.as_ptr() as u64
    }

    /// A number that moves on with every flush but those of single pages, and is another one for each address space kept: what was worked
    /// out from the mapping in one epoch holds as long as that epoch comes back.
    pub fn epoch(&self) -> u64 {
        self.live.epoch
    }

    /// The same for global pages, which all address spaces share: a number that moves on when these are flushed, and never is that of
    /// [`Tlb::epoch`].
    pub fn global_epoch(&self) -> u64 {
        self.global_epoch
    }

    /// log2 of the size of the page behind an entry that serves fetches at `addr`, and whether it is global.
    pub fn page_of_code(&self, class: usize, addr: u64) -> Option<(u32, bool)> {
        self.host(class, addr, 1, Access::Fetch)?;
        let m = self.live.meta[class % CLASSES][index(addr)];
        Some((u32::from(m & SHIFT), m & GLOBAL != 0))
    }

    fn new_epoch(&mut self) -> u64 {
        self.last_epoch += 1;
        self.last_epoch
    }

    /// The tag that an access of `len` bytes needs: its last byte's page, so that one which crosses a page matches nothing.
    /// (An access that crosses has its first byte in another page than the indexed entry's tag.)
    #[inline(always)]
    fn last_page(addr: u64, len: usize) -> u64 {
        addr.wrapping_add(len as u64 - 1) & !arch::PAGE_MASK
    }

    pub(crate) fn start_journal(&mut self, ram: &Arc<Ram>) {
        self.journal.filled.clear();
        self.journal.ram = Some(ram.clone());
    }

    pub(crate) fn stop_journal(&mut self) {
        self.journal.ram = None;
    }

    pub(crate) fn undo_journal(&mut self) {
        for (class, at, entry, meta) in self.journal.filled.drain(..).rev() {
            self.live.entries[class][at] = entry;
            self.live.meta[class][at] = meta;
        }
    }

    /// A store to `len` bytes at a host address follows.
    #[inline(always)]
    fn note(&self, host: u64, len: usize) {
        if let Some(ram) = &self.journal.ram {
            ram.note_host(host, len);
        }
    }

    /// Reads if the page is present for reading and the value does not cross its end.
    #[inline(always)]
    pub fn read<T: Uint>(&self, class: usize, addr: u64) -> Option<T> {
        let e = &self.live.entries[class % CLASSES][index(addr)];
        if e.read != Self::last_page(addr, size_of::<T>()) {
            return None;
        }
        // SAFETY: the tag matches, so the module's invariant holds for all bytes of the value.
        Some(unsafe { (addr.wrapping_add(e.addend) as *const T).read_unaligned() })
    }

    /// Writes on the same terms; `false` if the slow path must do it.
    #[inline(always)]
    pub fn write<T: Uint>(&self, class: usize, addr: u64, value: T) -> bool {
        let e = &self.live.entries[class % CLASSES][index(addr)];
        if e.write != Self::last_page(addr, size_of::<T>()) {
            return false;
        }
        self.note(addr.wrapping_add(e.addend), size_of::<T>());
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
        self.note(at as u64, 16);
        // SAFETY: as for `read`.
        unsafe { at.cast::<[u8; 16]>().write(value.to_le_bytes()) };
        true
    }

    /// Atomically replaces an aligned value if it still is `old`; answers what it was. `None` if the slow path must do it.
    #[inline(always)]
    pub fn compare_exchange<T: Uint>(&self, class: usize, addr: u64, old: T, new: T) -> Option<T> {
        let e = &self.live.entries[class % CLASSES][index(addr)];
        if e.write != addr & !arch::PAGE_MASK || addr & (size_of::<T>() as u64 - 1) != 0 {
            return None;
        }
        self.note(addr.wrapping_add(e.addend), size_of::<T>());
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
        let e = &self.live.entries[class % CLASSES][index(addr)];
        let tag = match access {
            Access::Read => e.read,
            Access::Write => e.write,
            Access::Fetch => e.exec,
        };
        (len > 0 && tag == Self::last_page(addr, len))
            .then(|| addr.wrapping_add(e.addend) as *mut u8)
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
        self.note(at as u64, 16);
        // SAFETY: the tag matches and the address is aligned to 16.
        Some(unsafe { crate::wide::compare_exchange(at, old, new) })
    }

    /// The host address for a store of `len` bytes at `addr` that only the guard of code keeps from the fast path.
    #[inline]
    pub fn guarded(&self, class: usize, addr: u64, len: usize) -> Option<u64> {
        let (row, meta) = (
            &self.live.entries[class % CLASSES],
            &self.live.meta[class % CLASSES],
        );
        let e = &row[index(addr)];
        // What may be written may be read.
        let here = meta[index(addr)] & GUARDED != 0 && e.read == Self::last_page(addr, len);
        here.then(|| addr.wrapping_add(e.addend))
    }

    /// Lets stores to `addr`'s page through, whose entry was guarded: the frame holds no code any more.
    pub(crate) fn unguard(&mut self, ram: &Ram, class: usize, addr: u64, frame: u64) {
        let class = class % CLASSES;
        let e = &mut self.live.entries[class][index(addr)];
        e.write = e.read;
        self.live.meta[class][index(addr)] &= !GUARDED;
        ram.note_writer(frame, index(addr));
    }

    /// Fills the entry for `linear`'s page from a frame of RAM. `tags` says which accesses the guest's paging permits; stores to guarded
    /// frames take the slow path none the less.
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
        // Where a write tag stands reads may go as well: memory that shadows a ROM (writes to RAM, reads from the bus) gets none.
        let write = tags[0] && tags[1];
        let guarded = write && ram.is_guarded(frame);
        if write && !guarded {
            ram.note_writer(frame, index(linear));
        }
        if !global && self.live.local.len() < LOCAL {
            self.live
                .local
                .push((class as usize * ENTRIES + index(linear)) as u16);
        }
        self.live.large.note(linear, shift);
        let page = linear & !arch::PAGE_MASK;
        let tag = |on: bool| if on { page } else { Entry::NONE };
        if self.journal.ram.is_some() {
            let (class, at) = (class as usize, index(linear));
            let was = (self.live.entries[class][at], self.live.meta[class][at]);
            self.journal.filled.push((class, at, was.0, was.1));
        }
        self.live.entries[class as usize][index(linear)] = Entry {
            read: tag(tags[0]),
            write: tag(write && !guarded),
            exec: tag(tags[2]),
            addend: (host as u64).wrapping_sub(page),
        };
        self.live.meta[class as usize][index(linear)] =
            shift as u8 | if global { GLOBAL } else { 0 } | if guarded { GUARDED } else { 0 };
    }

    /// Forgets everything, of all address spaces.
    pub fn flush(&mut self) {
        for row in &mut self.live.entries {
            row.fill(Entry::EMPTY);
        }
        self.live.local.clear();
        self.live.large = LargePages::NONE;
        self.live.epoch = self.new_epoch();
        self.global_epoch = self.new_epoch();
        self.parked.clear();
    }

    /// CR4.PCIDE changes: the live address space is that of PCID 0. After [`Tlb::flush`].
    pub fn restart_pcids(&mut self) {
        self.live.pcid = 0;
    }

    /// Forgets all but global pages of the live address space (MOV to CR3).
    pub fn flush_non_global(&mut self) {
        self.live.epoch = self.new_epoch();
        self.live.flush_non_global();
    }

    /// Forgets all but global pages of every address space.
    pub fn flush_all_non_global(&mut self) {
        self.flush_non_global();
        self.parked.clear();
    }

    /// Forgets all but global pages of the address space `pcid`.
    pub fn flush_pcid(&mut self, pcid: u16) {
        if self.live.pcid == pcid {
            self.flush_non_global();
        } else {
            self.parked.retain(|c| c.pcid != pcid);
        }
    }

    /// MOV to CR3 with CR4.PCIDE: `pcid` is live from now on; what is known of it stays if `keep`.
    pub fn switch(&mut self, pcid: u16, keep: bool) {
        if pcid != self.live.pcid {
            let epoch = self.new_epoch();
            let known = self.parked.iter().position(|c| c.pcid == pcid);
            let next = match known {
                Some(n) => self.parked.remove(n),
                None => Context::new(pcid, epoch),
            };
            if self.parked.len() >= PARKED {
                self.parked.remove(0);
            }
            let last = std::mem::replace(&mut self.live, next);
            self.parked.push(last);
        }
        if !keep {
            self.flush_non_global();
        }
    }

    /// Forgets the page that holds `addr`, whatever its size, in every address space (INVLPG).
    pub fn flush_page(&mut self, addr: u64) {
        if self.flushed_pages.len() < 64 {
            self.flushed_pages.push(addr);
        } else {
            // Nobody takes them: what hangs on any epoch is out of date.
            self.flushed_pages.clear();
            self.live.epoch = self.new_epoch();
            self.global_epoch = self.new_epoch();
            self.parked.clear();
        }
        self.live.flush_page(addr);
        for c in &mut self.parked {
            c.flush_page(addr);
        }
    }

    /// Takes the write tags of every mapping of a frame: it now holds code.
    pub(crate) fn protect(&mut self, ram: &Ram, frame: u64) {
        let Some(host) = ram.host_frame(frame) else {
            return;
        };
        let writers = ram.take_writers(frame);
        self.live.protect(host as u64, writers);
        for (.., e, m) in &mut self.journal.filled {
            e.protect(host as u64, m);
        }
        for c in &mut self.parked {
            c.protect(host as u64, writers);
        }
    }
}

impl Default for Tlb {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(t: &mut Tlb, ram: &Ram, linear: u64, frame: u64, global: bool) {
        t.fill(ram, Class::User, linear, frame, [true; 3], 12, global);
    }

    fn has(t: &Tlb, linear: u64) -> bool {
        t.read::<u8>(Class::User as usize, linear).is_some()
    }

    #[test]
    fn an_address_space_that_is_kept_comes_back_with_its_epoch() {
        let ram = Ram::new(0x10_000).unwrap();
        let mut t = Tlb::new();
        page(&mut t, &ram, 0x5000, 1, false);
        let epoch = t.epoch();
        t.switch(7, true);
        assert!(!has(&t, 0x5000));
        assert_ne!(t.epoch(), epoch);
        t.switch(0, true);
        assert!(has(&t, 0x5000));
        assert_eq!(t.epoch(), epoch);
        t.switch(7, true);
        t.switch(0, false);
        assert!(!has(&t, 0x5000));
        assert_ne!(t.epoch(), epoch);
    }

    #[test]
    fn a_page_is_flushed_and_protected_in_every_address_space() {
        let ram = Ram::new(0x10_000).unwrap();
        let mut t = Tlb::new();
        page(&mut t, &ram, 0x5000, 1, false);
        page(&mut t, &ram, 0x6000, 2, true);
        t.switch(3, true);
        t.flush_page(0x5000);
        assert_eq!(ram.mark_code(2, 1).map(|m| m.1), Some(true));
        t.protect(&ram, 2);
        t.switch(0, true);
        assert!(!has(&t, 0x5000));
        assert!(has(&t, 0x6000));
        assert!(!t.write(Class::User as usize, 0x6000, 1u8));
        assert!(t.guarded(Class::User as usize, 0x6000, 1).is_some());
        assert!(t.guarded(Class::User as usize, 0x6fff, 2).is_none());
        page(&mut t, &ram, 0x6000, 2, true);
        assert!(!t.write(Class::User as usize, 0x6000, 1u8));
        page(&mut t, &ram, 0x7000, 3, false);
        t.flush_non_global();
        assert!(has(&t, 0x6000) && !has(&t, 0x7000));
        for n in 0..2 * LOCAL as u64 {
            page(&mut t, &ram, 0x8000 + (n << 12), 3, false);
        }
        let global = t.global_epoch();
        t.flush_non_global();
        assert!(has(&t, 0x6000) && !has(&t, 0x8000));
        assert_eq!(t.global_epoch(), global);
        t.flush();
        assert_ne!(t.global_epoch(), global);
        assert!(!has(&t, 0x6000));
    }

    #[test]
    fn a_flush_anywhere_in_a_large_page_reaches_every_part_of_it() {
        let ram = Ram::new(0x10_000).unwrap();
        let mut t = Tlb::new();
        for (shift, far) in [(21, 0x1f_f000), (22, 0x3f_f000), (30, 0x3fff_f000)] {
            let base = 0x4000_0000;
            t.fill(&ram, Class::User, base + 0x3000, 1, [true; 3], shift, false);
            page(&mut t, &ram, 0x9000, 2, false);
            t.flush_page(base - 0x1000);
            assert!(has(&t, base + 0x3000));
            t.flush_page(base + far);
            assert!(!has(&t, base + 0x3000) && has(&t, 0x9000));
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_written_past_the_slow_path() {
        let ram = Ram::new(0x10_000).unwrap();
        let mut t = Tlb::new();
        t.fill(
            &ram,
            Class::User,
            0x5000,
            1,
            [false, true, false],
            12,
            false,
        );
        assert!(!t.write(Class::User as usize, 0x5000, 1u8) && !has(&t, 0x5000));
    }

    #[test]
    fn no_more_address_spaces_are_kept_than_there_is_room_for() {
        let ram = Ram::new(0x10_000).unwrap();
        let mut t = Tlb::new();
        page(&mut t, &ram, 0x5000, 1, false);
        for pcid in 1..=PARKED as u16 + 1 {
            t.switch(pcid, true);
        }
        assert_eq!(t.parked.len(), PARKED);
        t.switch(0, true);
        assert!(!has(&t, 0x5000));
    }
}
