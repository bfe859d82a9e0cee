//! The vector words: each is one host operation on vector registers, or a call of the processor's own code.

use crate::block::{Baseline, Cell, Ended, FpCall};
use crate::host::{Cond, HostAssembler, Reg, Size};
use crate::values::{Lazy, Val};
use crate::vectors::Vector;
use arch::Fault;
use cpu::native::{Stubs, offset};
use memory::Entry;
use semantics::emit::Align;
use semantics::vector::VecOp;
use std::mem::offset_of;

impl<A: HostAssembler> Baseline<A> {
    /// The low `size` of a value, zero-extended to a vector.
    pub(crate) fn vector_from(&mut self, v: Val, size: Size) -> Vector {
        if v == Val::Imm(0) {
            let (new, d) = self.v.fresh_vector();
            self.v.asm.zero_vector(d);
            self.v.unlock();
            return new;
        }
        if let Some((from, 0, of)) = self.v.lane(v)
            && of == size
            && size == Size::B64
        {
            let s = self.v.vector_reg(from);
            let (new, d) = self.v.fresh_vector();
            self.v.asm.low_half(d, s);
            self.v.unlock();
            return new;
        }
        let bits = size.bits();
        let v = self.v.clean(v, bits);
        let r = self.v.reg(v);
        let (new, d) = self.v.fresh_vector();
        let size = if size == Size::B64 { size } else { Size::B32 };
        self.v.asm.vector_from(size, d, r);
        self.v.unlock();
        new
    }

    /// Lane `n`, when somebody asks for it.
    pub(crate) fn vector_lane(&mut self, v: Vector, n: u32, size: Size) -> Val {
        self.v.vector_reg(v);
        self.v.unlock();
        self.v.lazy(Lazy::Lane(v, n as u8, size))
    }

    /// `v` with another lane `n`.
    pub(crate) fn vector_with_lane(&mut self, v: Vector, n: u32, lane: Val, size: Size) -> Vector {
        let s = self.v.vector_reg(v);
        if let Some((from, 0, of)) = self.v.lane(lane)
            && of == size
            && n == 0
            && matches!(size, Size::B32 | Size::B64)
        {
            let low = self.v.vector_reg(from);
            let (new, d) = self.v.fresh_vector();
            self.v.asm.move_vector(d, s);
            self.v.asm.merge_low(size, d, low);
            self.v.unlock();
            return new;
        }
        let r = self.v.reg(lane);
        let (new, d) = self.v.fresh_vector();
        self.v.asm.move_vector(d, s);
        self.v.asm.insert_lane(size, d, r, n as u8);
        self.v.unlock();
        new
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
        let (a, d) = self.vector_address(addr, offset_of!(Entry, read));
        let (new, x) = self.v.fresh_vector();
        self.v.asm.load_vector(x, a, d);
        self.v.unlock();
        Ok(new)
    }

    pub(crate) fn store_vector(&mut self, addr: Val, v: Vector, align: Align) -> Result<(), Ended> {
        self.check_aligned(addr, align);
        let x = self.v.vector_reg(v);
        let (a, d) = self.vector_address(addr, offset_of!(Entry, write));
        self.v.asm.store_vector(a, d, x);
        self.v.unlock();
        Ok(())
    }

    /// Address and addend of 16 bytes in one page; the evaluator does the others.
    fn vector_address(&mut self, addr: Val, tag: usize) -> (Reg, Reg) {
        let (a, _, d, _) = self.probed(tag, addr, 16);
        (a, d)
    }

    pub(crate) fn vector_operation(&mut self, op: VecOp, a: Vector, b: Vector) -> Vector {
        let (ra, rb) = (self.v.vector_reg(a), self.v.vector_reg(b));
        let (new, d) = self.v.fresh_vector();
        let done = self.host_vectors && self.v.asm.vector(op, d, ra, rb);
        self.v.unlock();
        if done {
            return new;
        }
        self.v.back_up_live();
        self.v.save_all();
        let cell = self.cell(Cell::Vector(op));
        let new = self.pass_vectors(cell, a, b);
        self.call_stub(offset_of!(Stubs, vector));
        new
    }

    /// A floating-point word: on the host's unit, or through the processor's own code. The answer of a compare is `value`.
    pub(crate) fn call_fp(&mut self, call: FpCall, a: Vector, b: Vector) -> (Vector, Val) {
        if self.host_fp && self.mode.fp_masked() {
            let (ra, rb) = (self.v.vector_reg(a), self.v.vector_reg(b));
            let (new, d) = self.v.fresh_vector();
            let (id, scratch) = self.v.fresh(64);
            let done = self.v.asm.fp(call, d, ra, rb, scratch);
            if let FpCall::Compare(..) = call {
                self.v.host = None;
            }
            self.v.unlock();
            if done {
                return (new, Val::Temp(id));
            }
        }
        self.v.back_up_live();
        self.v.save_all();
        // A fault needs the flags as they are before the instruction.
        self.store_flags();
        let cell = self.cell(Cell::Fp(call));
        let new = self.pass_vectors(cell, a, b);
        let site = self.site(0);
        self.put(Size::B64, offset::SITE, Val::Imm(site));
        self.call_stub(offset_of!(Stubs, fp));
        let answer = match call {
            FpCall::Compute(..) | FpCall::X87(..) => Val::Imm(0),
            FpCall::Compare(..) | FpCall::Strings(_) => self.get(Size::B64, offset::VALUE),
        };
        (new, answer)
    }

    /// Names the operands and the result of a stub in the `Cpu`.
    fn pass_vectors(&mut self, cell: u32, a: Vector, b: Vector) -> Vector {
        let (a, b) = (self.v.vector_place(a), self.v.vector_place(b));
        self.v.unlock();
        self.v.empty_vector_regs();
        let (new, d) = self.v.vector_in_memory();
        for (n, at) in [a, b, d].into_iter().enumerate() {
            let at = Val::Imm(at as u64);
            self.put(Size::B64, offset::OPERANDS + 8 * n, at);
        }
        let r = A::POOL[0];
        self.v.asm.load_slot(r, cell);
        self.v.asm.store_cpu(Size::B64, offset::ADDRESS as i32, r);
        new
    }
}
