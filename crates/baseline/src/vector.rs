//! Vectors: each lives in a field of the `Cpu`, a guest register or a scratch one; operations load, compute and store.

use crate::block::{Baseline, Cell, Ended, FpCall};
use crate::host::{Cond, HostAssembler, Size};
use crate::values::Val;
use arch::Fault;
use cpu::native::{Stubs, VECTORS, offset};
use memory::Entry;
use semantics::emit::Align;
use semantics::vector::VecOp;
use std::mem::offset_of;

/// A vector by the offset of its 16 bytes in the `Cpu`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector(u32);

impl Vector {
    /// XMM register `r`.
    pub fn of_xmm(r: u8) -> Self {
        Self((offset::XMM + 16 * usize::from(r & 15)) as u32)
    }
    /// Where it stands.
    pub fn offset(self) -> usize {
        self.0 as usize
    }
}

impl<A: HostAssembler> Baseline<A> {
    /// A scratch vector of this instruction.
    pub(crate) fn scratch_vector(&mut self) -> Vector {
        let n = usize::from(self.vectors) % VECTORS;
        self.vectors = self.vectors.wrapping_add(1);
        Vector((offset::VECTOR + 16 * n) as u32)
    }

    /// A value zero-extended to a vector.
    pub(crate) fn vector_from(&mut self, v: Val) -> Vector {
        let s = self.scratch_vector();
        self.put(Size::B64, s.offset(), v);
        self.put(Size::B64, s.offset() + 8, Val::Imm(0));
        s
    }

    pub(crate) fn copy_vector(&mut self, to: Vector, from: Vector) {
        if to != from {
            self.v
                .asm
                .copy_vector(to.offset() as i32, from.offset() as i32);
        }
    }

    /// An aligned address or #GP(0).
    fn check_aligned(&mut self, addr: Val, align: Align) {
        if align == Align::Vector {
            let r = self.v.reg(addr);
            let l = self.plan_raise(Fault::GP0);
            self.v.asm.test_bits(Size::B32, r, 15);
            self.v.asm.jump_if(Cond::Ne, l);
            self.v.host = None;
            self.v.unlock();
        }
    }

    pub(crate) fn load_vector(&mut self, addr: Val, align: Align) -> Result<Vector, Ended> {
        self.check_aligned(addr, align);
        let s = self.scratch_vector();
        let (a, d) = self.vector_address(addr, offset_of!(Entry, read));
        self.v.asm.load_vector(s.offset() as i32, a, d);
        self.v.unlock();
        Ok(s)
    }

    pub(crate) fn store_vector(&mut self, addr: Val, v: Vector, align: Align) -> Result<(), Ended> {
        self.check_aligned(addr, align);
        let (a, d) = self.vector_address(addr, offset_of!(Entry, write));
        self.v.asm.store_vector(a, d, v.offset() as i32);
        self.v.unlock();
        Ok(())
    }

    /// Address and addend of 16 bytes in one page; the evaluator does the others.
    fn vector_address(&mut self, addr: Val, tag: usize) -> (u8, u8) {
        let (a, _, d, _) = self.probed(tag, addr, 16);
        (a, d)
    }

    pub(crate) fn vector_operation(&mut self, op: VecOp, a: Vector, b: Vector) -> Vector {
        let d = self.scratch_vector();
        if self.host_vectors
            && self
                .v
                .asm
                .vector(op, d.offset() as i32, a.offset() as i32, b.offset() as i32)
        {
            return d;
        }
        self.v.back_up_live();
        self.v.save_all();
        let cell = self.cell(Cell::Vector(op));
        self.pass_vectors(cell, a, b, d);
        self.call_stub(offset_of!(Stubs, vector));
        d
    }

    /// A floating-point word through the processor's own code; the answer of a compare is in `Native::value`.
    pub(crate) fn call_fp(&mut self, call: FpCall, a: Vector, b: Vector) -> Vector {
        let d = self.scratch_vector();
        if self.host_fp && self.mode.fp_masked() {
            let (_, scratch) = self.v.fresh(64);
            let (o, p, q) = (d.offset() as i32, a.offset() as i32, b.offset() as i32);
            let done = self.v.asm.fp(call, o, p, q, scratch);
            if let (true, FpCall::Compare(..)) = (done, call) {
                self.v
                    .asm
                    .store_cpu(Size::B64, offset::VALUE as i32, scratch);
                self.v.host = None;
            }
            self.v.unlock();
            if done {
                return d;
            }
        }
        self.v.back_up_live();
        self.v.save_all();
        // A fault needs the flags as they are before the instruction.
        self.store_flags();
        let cell = self.cell(Cell::Fp(call));
        self.pass_vectors(cell, a, b, d);
        let site = self.site(0);
        self.put(Size::B64, offset::SITE, Val::Imm(site));
        self.call_stub(offset_of!(Stubs, fp));
        d
    }

    fn pass_vectors(&mut self, cell: u32, a: Vector, b: Vector, d: Vector) {
        for (n, v) in [a, b, d].into_iter().enumerate() {
            self.put(Size::B64, offset::OPERANDS + 8 * n, Val::Imm(v.0.into()));
        }
        let r = A::POOL[0];
        self.v.asm.load_slot(r, cell);
        self.v.asm.store_cpu(Size::B64, offset::ADDRESS as i32, r);
    }
}
