//! Executable memory: shared memory mapped twice, read-write for us, read-execute for the processor; never both on one mapping. It has no
//! file, not even a memfd: perf(1) looks for names of its code only then in the map that we write.
//!
//! The arena is a ring of segments. A translation is placed in the hole that a dropped one left, or at the end of the segment that is open;
//! when that is full, the next one is opened, and whoever owns what lies in it drops that first. In a segment the code that is meant to
//! run grows up from the start, so that it lies close together. Rare ways, and data, the words that code jumps through and loads, come
//! from pages that are taken from the end, each of one kind: code and data never share a cache line.
//!
//! # Unsafe
//! Owns both mappings. Invariant: every offset that is written lies in a [`Space`] that was handed out, hence inside the mapping; code in
//! it stays as it is until the space is given back, which happens only when no vCPU can be inside any more.
#![expect(unsafe_code, reason = "owns the two mappings of generated code")]

use crate::Error;
use baseline::host::JUMP;
use rustix::mm::{
    Advice, MapFlags, MprotectFlags, MremapFlags, ProtFlags, madvise, mmap_anonymous, mprotect,
    mremap, munmap,
};
use std::ptr::null_mut;

/// Segments of the arena.
pub const SEGMENTS: usize = 16;
/// The smallest segment.
const LEAST: usize = 64 << 10;
/// Code is placed in units of this.
const CODE_UNIT: usize = 16;
/// Rare ways are placed in units of this.
const RARE_UNIT: usize = 32;
/// Rare ways and data are taken from the end of a segment by this much.
const CHUNK: usize = 4 << 10;
/// Data is placed in units of this.
const DATA_UNIT: usize = 16;
/// Code sizes, in units, that holes are sorted by; larger ones stand together.
const CLASSES: usize = 257;

/// What a translation takes, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    pub code: usize,
    pub rare: usize,
    pub data: usize,
}

impl Want {
    fn rounded(self) -> Self {
        Self {
            code: self.code.next_multiple_of(CODE_UNIT),
            rare: self.rare.next_multiple_of(RARE_UNIT),
            data: self.data.next_multiple_of(DATA_UNIT),
        }
    }
}

/// What one translation occupies: offsets and lengths of its code, rare ways and data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Space {
    pub code: u32,
    code_len: u32,
    pub rare: u32,
    rare_len: u32,
    pub data: u32,
    data_len: u32,
}

impl Space {
    /// Bytes in all.
    pub fn bytes(self) -> usize {
        self.code_len as usize + self.rare_len as usize + self.data_len as usize
    }

    /// Where the rare ways stand, and their length.
    pub fn rare(self) -> (usize, usize) {
        (self.rare as usize, self.rare_len as usize)
    }

    /// Whether `len` bytes at `offset` of the arena are code of it.
    fn holds_code(self, offset: u32, len: usize) -> bool {
        let end = u64::from(offset) + len as u64;
        let inside = |at: u32, n: u32| offset >= at && end <= u64::from(at) + u64::from(n);
        inside(self.code, self.code_len) || inside(self.rare, self.rare_len)
    }
}

/// What is left of the chunk that was taken last.
#[derive(Clone, Copy, Default)]
struct Chunk {
    at: usize,
    end: usize,
}

#[derive(Clone, Copy, Default)]
struct Segment {
    /// First free byte of code.
    code: usize,
    /// First byte taken from the end.
    end: usize,
    rare: Chunk,
    data: Chunk,
}

impl Segment {
    /// Room, all or none of it.
    fn take(&mut self, w: Want) -> Option<Space> {
        let mut s = *self;
        s.code += w.code;
        let rare = s.take_from_end(w.rare, |s| &mut s.rare)?;
        let data = s.take_from_end(w.data, |s| &mut s.data)?;
        if s.code > s.end {
            return None;
        }
        let code = self.code;
        *self = s;
        Some(Space {
            code: code as u32,
            code_len: w.code as u32,
            rare: rare as u32,
            rare_len: w.rare as u32,
            data: data as u32,
            data_len: w.data as u32,
        })
    }

    fn take_from_end(&mut self, bytes: usize, which: fn(&mut Self) -> &mut Chunk) -> Option<usize> {
        let chunk = *which(self);
        if chunk.end - chunk.at < bytes {
            let size = bytes.next_multiple_of(CHUNK);
            self.end = self.end.checked_sub(size)?;
            let at = self.end;
            *which(self) = Chunk { at, end: at + size };
        }
        let at = which(self).at;
        which(self).at += bytes;
        Some(at)
    }
}

/// Both mappings of the memory for generated code.
pub struct Arena {
    write: *mut u8,
    exec: *const u8,
    len: usize,
    segments: [Segment; SEGMENTS],
    /// The one that is being filled.
    open: usize,
    /// Spaces given back, by units of code.
    holes: Vec<Vec<Space>>,
    used: usize,
}

// SAFETY: the mappings belong to the arena alone; access goes through `&mut`.
unsafe impl Send for Arena {}

impl Arena {
    /// At least `bytes` of memory, committed as it is used.
    pub fn new(bytes: usize) -> Result<Self, Error> {
        let segment = (bytes / SEGMENTS).next_multiple_of(1 << 12).max(LEAST);
        let len = segment * SEGMENTS;
        let trouble = |e: rustix::io::Errno| Error::Map {
            bytes: len,
            source: e.into(),
        };
        let prot = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let write =
            unsafe { mmap_anonymous(null_mut(), len, prot, MapFlags::SHARED) }.map_err(trouble)?;
        // SAFETY: of shared memory, an old size of 0 asks for a second mapping and leaves the first as it is (mremap(2)).
        let exec = unsafe { mremap(write, 0, len, MremapFlags::MAYMOVE) }.map_err(trouble)?;
        // SAFETY: the mapping just made, in which there is nothing yet.
        unsafe { mprotect(exec, len, MprotectFlags::READ | MprotectFlags::EXEC) }
            .map_err(trouble)?;
        let (write, exec) = (write.cast(), exec.cast_const().cast());
        let mut arena = Self {
            write,
            exec,
            len,
            segments: [Segment::default(); SEGMENTS],
            open: 0,
            holes: vec![Vec::new(); CLASSES],
            used: 0,
        };
        for n in 0..SEGMENTS {
            arena.empty(n);
        }
        Ok(arena)
    }

    fn segment_len(&self) -> usize {
        self.len / SEGMENTS
    }

    fn empty(&mut self, n: usize) {
        let len = self.segment_len();
        self.segments[n] = Segment {
            code: n * len,
            end: (n + 1) * len,
            ..Segment::default()
        };
    }

    /// Which segment a space lies in.
    pub fn segment_of(&self, s: Space) -> usize {
        s.code as usize / self.segment_len()
    }

    /// The segment that [`Arena::advance`] would open.
    pub fn next(&self) -> usize {
        (self.open + 1) % SEGMENTS
    }

    /// Opens the next segment. What lies in it was dropped, and no vCPU is inside.
    pub fn advance(&mut self) {
        let len = self.segment_len();
        let full = self.open * len;
        // What is full is hardly written any more: its pages need not count twice.
        // SAFETY: inside our mapping, which is shared: the content stays.
        let _ = unsafe { madvise(self.write.add(full).cast(), len, Advice::LinuxDontNeed) };
        self.open = self.next();
        let n = self.open;
        for class in &mut self.holes {
            class.retain(|s| s.code as usize / len != n);
        }
        self.empty(n);
    }

    /// Bytes in use and in all.
    pub fn used(&self) -> (usize, usize) {
        (self.used, self.len)
    }

    /// Whether a segment is large enough.
    pub fn can_hold(&self, w: Want) -> bool {
        let w = w.rounded();
        let most = w.rare.next_multiple_of(CHUNK) + w.data.next_multiple_of(CHUNK);
        w.code + most <= self.segment_len()
    }

    /// Room for a translation; `None` if the open segment is full.
    pub fn alloc(&mut self, w: Want) -> Option<Space> {
        let w = w.rounded();
        let space = match self.take_hole(w) {
            Some(s) => s,
            None => self.segments[self.open].take(w)?,
        };
        self.used += space.bytes();
        Some(space)
    }

    /// A hole that fits well enough.
    fn take_hole(&mut self, w: Want) -> Option<Space> {
        let units = w.code / CODE_UNIT;
        let fits = |s: &Space| {
            let (rare, data) = (s.rare_len as usize, s.data_len as usize);
            (w.rare..=w.rare + 256).contains(&rare) && (w.data..=w.data + 256).contains(&data)
        };
        for class in units..(units + 2).min(CLASSES) {
            let holes = &mut self.holes[class];
            let from = holes.len().saturating_sub(8);
            if let Some(n) = holes[from..].iter().position(fits) {
                return Some(holes.swap_remove(from + n));
            }
        }
        None
    }

    /// A space is no longer occupied; it can be handed out again after [`Arena::reuse`].
    pub fn release(&mut self, s: Space) {
        self.used -= s.bytes();
    }

    /// No vCPU can be in a released space any more.
    pub fn reuse(&mut self, s: Space) {
        let class = s.code_len as usize / CODE_UNIT;
        if let Some(holes) = self.holes.get_mut(class) {
            holes.push(s);
        }
    }

    /// Puts code, or a field of it, where a space has room for it: at an offset of the arena.
    pub fn write_code(&mut self, s: Space, at: u32, code: &[u8]) {
        assert!(s.holds_code(at, code.len()) && at as usize + code.len() <= self.len);
        // SAFETY: just checked.
        unsafe {
            self.write
                .add(at as usize)
                .copy_from_nonoverlapping(code.as_ptr(), code.len())
        };
    }

    /// Puts a plain value into a space's data.
    pub fn write_data<T: Copy>(&mut self, s: Space, at: usize, value: T) {
        const { assert!(align_of::<T>() <= DATA_UNIT) };
        let offset = s.data as usize + at;
        assert!(
            at + size_of::<T>() <= s.data_len as usize
                && offset + size_of::<T>() <= self.len
                && offset.is_multiple_of(align_of::<T>())
        );
        // SAFETY: just checked.
        unsafe { self.write.add(offset).cast::<T>().write(value) };
    }

    /// Writes over the jump at `at`, which may run meanwhile on this thread's processor: it meets the old one or the new one.
    pub fn write_jump(&mut self, at: u32, jump: [u8; JUMP]) {
        let at = at as usize;
        assert!(at + JUMP <= self.len);
        // SAFETY: just checked; one vCPU executes here, the caller's, which is not in this instruction.
        unsafe {
            self.write
                .add(at)
                .copy_from_nonoverlapping(jump.as_ptr(), JUMP)
        };
    }

    /// The address that the processor executes or reads `offset` at.
    pub fn address(&self, offset: usize) -> u64 {
        self.exec as u64 + offset as u64
    }

    /// The offset of an address that [`Arena::address`] gave.
    pub fn offset(&self, address: u64) -> Option<usize> {
        let o = address.checked_sub(self.exec as u64)? as usize;
        (o < self.len).then_some(o)
    }

    /// Sets a cell, which generated code may be reading.
    pub fn set_cell(&mut self, offset: usize, value: u64) {
        assert!(offset + 8 <= self.len && offset.is_multiple_of(8));
        // SAFETY: just checked; cells are read by generated code with aligned loads, which see the old word or the new one.
        unsafe { self.write.add(offset).cast::<u64>().write_volatile(value) };
    }

    /// A word of data.
    pub fn word(&self, offset: usize) -> Option<u64> {
        let fits = offset + 8 <= self.len && offset.is_multiple_of(8);
        // SAFETY: just checked.
        fits.then(|| unsafe { self.exec.add(offset).cast::<u64>().read_volatile() })
    }

    /// The bytes of a block, for people.
    pub fn bytes(&self, offset: usize, len: usize) -> Vec<u8> {
        let end = (offset + len).min(self.len);
        (offset.min(end)..end)
            // SAFETY: inside the mapping.
            .map(|o| unsafe { self.exec.add(o).read() })
            .collect()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: both mappings are ours and nothing outlives the arena.
        unsafe {
            let _ = munmap(self.write.cast(), self.len);
            let _ = munmap(self.exec.cast_mut().cast(), self.len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn released_space_is_used_again_and_segments_come_round() {
        let mut a = Arena::new(1 << 20).unwrap();
        let want = |code, rare, data| Want { code, rare, data };
        let s = a.alloc(want(100, 50, 40)).unwrap();
        a.write_code(s, s.code, &[0xc3; 100]);
        a.write_code(s, s.rare, &[0xc3; 50]);
        a.write_data(s, 8, 7u64);
        assert_eq!(a.word(s.data as usize + 8), Some(7));
        a.release(s);
        a.reuse(s);
        assert_eq!(a.alloc(want(90, 33, 33)), Some(s));
        let mut opened = 0;
        while opened < 3 * SEGMENTS {
            if a.alloc(want(1000, 600, 100)).is_none() {
                a.advance();
                opened += 1;
            }
        }
        assert!(a.can_hold(want(1000, 600, 100)) && !a.can_hold(want(LEAST, 0, 16)));
    }

    #[test]
    fn spaces_of_a_segment_lie_apart() {
        let mut a = Arena::new(1 << 20).unwrap();
        let mut taken = Vec::new();
        for n in 0..1000 {
            let want = Want {
                code: 10 + n * 7 % 300,
                rare: n * 13 % 700,
                data: n * 5 % 90,
            };
            let Some(s) = a.alloc(want) else { break };
            for (at, len) in [
                (s.code, s.code_len),
                (s.rare, s.rare_len),
                (s.data, s.data_len),
            ] {
                taken.push((at, at + len));
            }
        }
        taken.retain(|(a, b)| a < b);
        taken.sort_unstable();
        assert!(taken.len() > 150);
        assert!(taken.windows(2).all(|w| w[0].1 <= w[1].0));
    }
}
