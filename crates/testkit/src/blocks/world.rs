//! The guest of the blocks: the supervisor's part of the evaluator's world, two pages of code that user mode cannot write, and five of
//! data, each mapped twice: below 4 GiB, and far above for 64-bit code.

use super::Start;
use crate::case::{Bits, CODE, DATA, HIGH};
use crate::evaluator::{Evaluator, TABLES, segment};
use crate::generate::values;
use crate::rng::Rng;
use arch::{Fault, GuestPhys};
use cpu::Cpu;
use iced_x86::MemorySize;
use memory::Ram;
use std::sync::Arc;

/// Data pages.
pub const PAGES: usize = 5;
/// Their places behind `DATA` and `HIGH`: two to write, one to read, a hole, and two of stack.
pub const PLACES: [u64; PAGES] = [0, 0x1000, 0x2000, 0x4000, 0x5000];
/// The page that user mode cannot write.
const READ_ONLY: usize = 2;
/// Physical addresses.
const CODE_AT: u64 = 0x30_0000;
const DATA_AT: u64 = 0x31_0000;
const PAGE: usize = 0x1000;

/// Page-table bits.
pub const PRESENT: u64 = 1;
pub const WRITABLE: u64 = 2;
const USER: u64 = 4;
const ACCESSED: u64 = 0x20;
const DIRTY: u64 = 0x40;

/// One engine's processor, memory and page tables.
pub struct World {
    pub cpu: Box<Cpu>,
    pub ram: Arc<Ram>,
    /// Physical addresses of the page-table entries of each data page.
    entries: [[u64; 2]; PAGES],
    /// The bytes that code took last.
    laid: usize,
    at: u64,
    /// Data pages before a block.
    pristine: Arc<[u8]>,
}

/// What the data pages hold before each block: values worth computing with.
pub fn pristine() -> Arc<[u8]> {
    let mut rng = Rng::new(77, 0);
    let kinds = [
        MemorySize::UInt64,
        MemorySize::Packed128_Float32,
        MemorySize::Packed128_Float64,
        MemorySize::UInt32,
        MemorySize::Float80,
    ];
    let mut bytes = Vec::new();
    while bytes.len() < PAGES * PAGE {
        let kind = rng.pick(&kinds);
        let mut v = values::memory(&mut rng, kind);
        v.resize(16, rng.u64() as u8);
        bytes.extend(v);
    }
    bytes.truncate(PAGES * PAGE);
    bytes.into()
}

/// The addresses of a data page.
pub fn linear(page: usize) -> [u64; 2] {
    [DATA + PLACES[page], HIGH + PLACES[page]]
}

fn bits(page: usize) -> u64 {
    let write = if page == READ_ONLY { 0 } else { WRITABLE };
    1 << 63 | USER | write | PRESENT
}

impl World {
    pub fn new(pristine: Arc<[u8]>) -> Self {
        let Evaluator { cpu, ram, .. } = Evaluator::new();
        let mut world = Self {
            cpu,
            ram,
            entries: [[0; 2]; PAGES],
            laid: 0,
            at: 0,
            pristine,
        };
        let (low, high) = (world.table(DATA), world.table(HIGH));
        let slot = |linear: u64| 8 * (linear >> 12 & 0x1ff);
        for n in 0..16 {
            world.put(low + slot(DATA + 0x1000 * n), 0);
            world.put(high + slot(HIGH + 0x1000 * n), 0);
        }
        for page in 0..PAGES {
            let [l, h] = linear(page);
            world.entries[page] = [low + slot(l), high + slot(h)];
            world.map(page, bits(page));
        }
        for n in 0..2 {
            let at = CODE_AT + 0x1000 * n;
            world.put(low + slot(CODE + 0x1000 * n), at | 0x65);
            let _ = world.ram.write(GuestPhys(at), &[0xf4; PAGE]);
        }
        let all = world.pristine.clone();
        let _ = world.ram.write(GuestPhys(DATA_AT), &all);
        world.cpu.mmu.tlb.flush();
        world
    }

    /// The last-level table for `linear`.
    fn table(&self, linear: u64) -> u64 {
        (1..4).rev().fold(TABLES, |table, level| {
            let at = table + (linear >> (12 + 9 * level) & 0x1ff) * 8;
            self.ram.load::<u64>(GuestPhys(at)).unwrap_or(0) & 0xf_ffff_ffff_f000
        })
    }

    fn put(&self, at: u64, value: u64) {
        let _ = self.ram.write(GuestPhys(at), &value.to_le_bytes());
    }

    fn map(&mut self, page: usize, bits: u64) {
        for n in 0..2 {
            let at = DATA_AT + (page * PAGE) as u64;
            self.put(self.entries[page][n], at | bits);
            self.cpu.mmu.tlb.flush_page(linear(page)[n]);
        }
        // Code has not moved: what is known of jumps stays.
        self.cpu.mmu.tlb.flushed_pages.clear();
    }

    /// Maps all data pages anew, with nothing accessed and nothing in the TLB.
    pub fn remap(&mut self) {
        for page in 0..PAGES {
            self.map(page, bits(page));
        }
    }

    /// Takes `away` from the rights of a page.
    pub fn restrict(&mut self, page: usize, away: u64) {
        self.map(page, bits(page) & !away);
    }

    /// Gives all rights back.
    pub fn allow(&mut self, page: usize) {
        self.map(page, bits(page));
    }

    /// Accessed and dirty bits of a page: of both mappings.
    pub fn marks(&self, page: usize) -> u64 {
        let of = |at| self.ram.load::<u64>(GuestPhys(at)).unwrap_or(0) & (ACCESSED | DIRTY);
        let [l, h] = self.entries[page];
        of(l) | of(h) << 8
    }

    /// Puts code at an offset of the code pages; HLT stands everywhere else.
    pub fn lay(&mut self, at: u64, code: &[u8]) {
        let _ = self
            .ram
            .write(GuestPhys(CODE_AT + self.at), &vec![0xf4; self.laid]);
        let _ = self.ram.write(GuestPhys(CODE_AT + at), code);
        (self.at, self.laid) = (at, code.len());
    }

    /// Puts the pages of the mask back to what they were.
    pub fn restore(&self, pages: u32) {
        for page in (0..PAGES).filter(|p| pages >> p & 1 != 0) {
            let from = &self.pristine[page * PAGE..][..PAGE];
            let _ = self
                .ram
                .write(GuestPhys(DATA_AT + (page * PAGE) as u64), from);
        }
    }

    /// Reads a data page.
    pub fn page(&self, page: usize, into: &mut [u8; PAGE]) {
        let _ = self
            .ram
            .read(GuestPhys(DATA_AT + (page * PAGE) as u64), into);
    }

    /// Copies a data page from another world.
    pub fn copy_page(&self, page: usize, from: &World) {
        let mut bytes = [0; PAGE];
        from.page(page, &mut bytes);
        let _ = self
            .ram
            .write(GuestPhys(DATA_AT + (page * PAGE) as u64), &bytes);
    }

    /// Loads the registers.
    pub fn load(&mut self, start: &Start, bits: Bits, at: u64) {
        let cpu = &mut *self.cpu;
        cpu.gpr = start.gpr;
        cpu.rip = CODE + at;
        cpu.cpl = 3;
        cpu.shadow = false;
        cpu.leave = false;
        cpu.pending_debug = 0;
        cpu.cr2 = 0;
        for (n, &selector) in start.seg.iter().enumerate() {
            if cpu.seg[n].selector != selector || n >= 4 {
                cpu.seg[n] = segment(selector);
            }
        }
        if bits == Bits::B64 {
            cpu.seg[4].base = crate::case::FS_BASE;
            cpu.seg[5].base = HIGH;
        }
        cpu.fpu.clone_from(&start.fpu);
        cpu.set_rflags(start.rflags);
    }

    /// Takes over the registers of another world.
    pub fn take(&mut self, from: &mut World) {
        let (to, from) = (&mut *self.cpu, &mut *from.cpu);
        to.gpr = from.gpr;
        to.rip = from.rip;
        to.cpl = from.cpl;
        to.shadow = from.shadow;
        to.pending_debug = from.pending_debug;
        to.cr2 = from.cr2;
        to.seg = from.seg;
        to.fpu.clone_from(&from.fpu);
        to.set_rflags(from.rflags());
    }

    /// The evaluator, at most `most` instructions: how many have retired, and the fault that ended them.
    pub fn evaluate(&mut self, most: u64) -> (u64, Option<Fault>) {
        let cpu = &mut *self.cpu;
        let (mut done, mut fault) = (0, None);
        while done < most && fault.is_none() {
            cpu.refresh_fp_mode();
            match cpu.step() {
                Ok(()) => done += 1,
                Err(f) => fault = Some(f),
            }
        }
        cpu.leave = false;
        cpu.refresh_fp_mode();
        (done, fault)
    }
}
