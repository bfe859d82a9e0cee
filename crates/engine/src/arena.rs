//! Executable memory: shared memory mapped twice, read-write for us, read-execute for the processor; never both on one mapping. It has no
//! file, not even a memfd: perf(1) looks for names of its code only then in the map that we write.
//!
//! Code grows up from the start; cells, the data words that code jumps through and loads, grow down from the end, so that code and
//! data never share a cache line.
//!
//! # Unsafe
//! Owns both mappings. Invariant: every offset that is written was handed out by [`Arena::code`] or [`Arena::cells`], hence inside the
//! mapping; code that was handed out stays as it is until [`Arena::clear`], which is called only while no vCPU runs generated code.
#![expect(unsafe_code, reason = "owns the two mappings of generated code")]

use crate::Error;
use rustix::mm::{
    MapFlags, MprotectFlags, MremapFlags, ProtFlags, mmap_anonymous, mprotect, mremap, munmap,
};
use std::ptr::null_mut;

/// Both mappings of the memory for generated code.
pub struct Arena {
    write: *mut u8,
    exec: *const u8,
    len: usize,
    /// First free byte of code.
    code: usize,
    /// First used byte of cells.
    cells: usize,
}

// SAFETY: the mappings belong to the arena alone; access goes through `&mut`.
unsafe impl Send for Arena {}

impl Arena {
    /// `bytes` of memory, committed as it is used.
    pub fn new(bytes: usize) -> Result<Self, Error> {
        let len = bytes.next_multiple_of(1 << 16).max(1 << 20);
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
        Ok(Self {
            write,
            exec,
            len,
            code: 0,
            cells: len,
        })
    }

    /// Forgets all code. No vCPU may be inside.
    pub fn clear(&mut self) {
        self.code = 0;
        self.cells = self.len;
    }

    /// Bytes in use and in all.
    pub fn used(&self) -> (usize, usize) {
        (self.code + (self.len - self.cells), self.len)
    }

    /// Whether `code` bytes and `cells` cells fit.
    pub fn has_room(&self, code: usize, cells: usize) -> bool {
        self.code + code + 64 + 8 * cells <= self.cells
    }

    /// Places a block: answers its offset and that of its first cell. `patch` may change the bytes, knowing both.
    pub fn place(
        &mut self,
        code: &[u8],
        cells: usize,
        patch: impl FnOnce(&mut [u8], usize, usize),
    ) -> Option<(usize, usize)> {
        if !self.has_room(code.len(), cells) {
            return None;
        }
        let at = self.code;
        self.code = (at + code.len()).next_multiple_of(16);
        self.cells -= 8 * cells;
        let mut bytes = code.to_vec();
        patch(&mut bytes, at, self.cells);
        // SAFETY: `has_room` checked the range.
        unsafe {
            self.write
                .add(at)
                .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len())
        };
        Some((at, self.cells))
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

    /// Sets a cell.
    pub fn set_cell(&mut self, offset: usize, value: u64) {
        assert!(offset >= self.cells && offset + 8 <= self.len && offset.is_multiple_of(8));
        // SAFETY: just checked; cells are read by generated code with aligned loads, which see the old word or the new one.
        unsafe { self.write.add(offset).cast::<u64>().write_volatile(value) };
    }

    /// The bytes of a block, for people.
    pub fn bytes(&self, offset: usize, len: usize) -> Vec<u8> {
        let end = (offset + len).min(self.len);
        (offset.min(end)..end)
            // SAFETY: inside the mapping.
            .map(|o| unsafe { self.write.add(o).read() })
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
