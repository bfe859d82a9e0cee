//! An instruction that goes over the end of its page: a block by itself, which first looks whether the next page still is the frame that
//! the rest was read from.
//!
//! The mapping can change without the first page's, so the check stands in the code: the TLB must serve fetches from the next page, and lead to
//! the expected host address. If not, the evaluator does the instruction and fills the TLB, or faults.

use crate::block::{Baseline, Cell};
use crate::emit::base_of;
use crate::host::{Cond, HostAssembler, Size, Src};
use arch::{PAGE_SIZE, Seg};
use memory::Entry;
use std::mem::offset_of;

impl<A: HostAssembler> Baseline<A> {
    /// Opens a block whose instruction ends in the frame at the host address `rest`.
    pub(crate) fn check_rest(&mut self, rest: u64) {
        self.top = None;
        let (a, d, t) = (A::POOL[0], A::POOL[1], A::POOL[2]);
        self.page_plus(a, PAGE_SIZE as i64);
        if !self.mode.is_64() {
            self.v.asm.load_cpu(Size::B64, t, base_of(Seg::Cs) as i32);
            self.v.asm.lea(a, a, Some((t, 0)), 0);
            self.v.asm.zero_extend(Size::B32, a, a);
        }
        let miss = self.plan_bail();
        self.probe(offset_of!(Entry, exec), a, 1, d, t, miss);
        self.v.asm.lea(d, d, Some((a, 0)), 0);
        let slot = self.cell(Cell::Word(rest));
        self.v.asm.load_slot(t, slot);
        self.v.asm.compare(Size::B64, d, Src::Reg(t));
        self.v.asm.jump_if(Cond::Ne, miss);
        self.v.host = None;
    }
}
