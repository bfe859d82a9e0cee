//! `impl Emit for ClifEmitter`: every word of the vocabulary written down as Cranelift IR.

use crate::integer::kind;
use crate::lift::ClifEmitter;
use arch::{Fault, Mode, Seg};
use cpu::native::{Stubs, offset};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{AtomicRmwOp, InstBuilder, MemFlagsData, Value, types};
use decode::{Flow, Insn};
use semantics::alone;
use semantics::emit::{
    Align, Cc, CcOp, Emit, Flags, OpSize, Rmw, Transfer, Use, W8, W16, W32, W64, Width,
};
use semantics::fp::{FpFormat, FpOp, Relation};
use semantics::table::Helper;
use semantics::vector::VecOp;
use semantics::x87::{Format, Step};
use std::marker::PhantomData;
use std::mem::offset_of;

/// A value that remembers its guest width.
pub struct Typed<W>(pub Value, PhantomData<W>);
impl<W> Clone for Typed<W> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<W> Copy for Typed<W> {}

fn t<W>(v: Value) -> Typed<W> {
    Typed(v, PhantomData)
}

/// This path is closed: what follows cannot be reached.
#[derive(Debug)]
pub struct Ended;

/// The deferred flags as a path knows them.
#[derive(Clone, Copy)]
pub enum Deferred {
    /// Their rule and its inputs are variables.
    Variable,
    /// The rule is known, and what it reads.
    Known(Cc, [Option<Value>; 3]),
}

impl ClifEmitter<'_> {
    /// Where paths meet, rule and inputs are variables.
    pub(crate) fn define_flags(&mut self) {
        if let Deferred::Known(cc, [res, src, dst]) = self.deferred {
            let rule = self.rule(cc);
            self.set_flag_variables([Some(rule), res, src, dst]);
        }
    }

    pub(crate) fn rule(&mut self, cc: Cc) -> Value {
        let word = i64::from(cc.op as u8) | i64::from(cc.size as u8) << 8;
        self.b.ins().iconst(types::I32, word)
    }

    /// Stores rule and inputs for whoever comes next.
    pub(crate) fn store_flags(&mut self) {
        let (cc, inputs) = match self.deferred {
            Deferred::Known(cc, inputs) => (self.rule(cc), inputs),
            Deferred::Variable => {
                let [cc, res, src, dst] = self.flag_variables();
                (cc, [Some(res), Some(src), Some(dst)])
            }
        };
        self.set_field(offset::CC, cc);
        for (v, at) in inputs
            .into_iter()
            .zip([offset::RES, offset::SRC, offset::DST])
        {
            if let Some(v) = v {
                self.set_field(at, v);
            }
        }
    }

    /// This instruction is not for regions.
    fn refuse(&mut self) -> Ended {
        self.unsupported = true;
        Ended
    }

    /// A value where there is none: the region will not be finished.
    fn nothing<W: Width>(&mut self) -> Typed<W> {
        self.unsupported = true;
        self.imm(0)
    }

    fn no_vector(&mut self) -> Value {
        self.unsupported = true;
        self.vector(0)
    }

    /// What a division leaves: a second one would take its time.
    fn remainder(&mut self, dividend: Value, quotient: Value, divisor: Value) -> Value {
        let product = self.b.ins().imul(quotient, divisor);
        self.b.ins().isub(dividend, product)
    }

    /// The host address of an operand of an atomic operation: aligned, or T1 does it.
    fn atomic<W: Width>(&mut self, addr: Typed<W64>) -> Value {
        if W::BYTES > 1 {
            let low = self.b.ins().band_imm_s(addr.0, i64::from(W::BYTES) - 1);
            let zero = self.b.ins().iconst(types::I64, 0);
            let crooked = self.b.ins().icmp(IntCC::NotEqual, low, zero);
            self.give_up_if(crooked);
        }
        self.host(addr.0, W::BYTES, true)
    }
}

impl Emit for ClifEmitter<'_> {
    type Val<W: Width> = Typed<W>;
    type Bool = Value;
    type Vec = Value;
    type Stop = Ended;

    fn mode(&self) -> Mode {
        self.plan.mode
    }

    fn imm<W: Width>(&mut self, v: u64) -> Typed<W> {
        t(self.constant::<W>(v))
    }
    fn add<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        t(self.sum(a.0, b.0, W::BITS == 64))
    }
    fn sub<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        t(self.difference(a.0, b.0, W::BITS == 64))
    }
    fn mul<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        t(self.b.ins().imul(a.0, b.0))
    }
    fn and<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        if a.0 == b.0 || self.known(b.0) == Some(W::MASK) {
            return a;
        }
        t(self.b.ins().band(a.0, b.0))
    }
    fn or<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        t(self.b.ins().bor(a.0, b.0))
    }
    fn xor<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        if a.0 == b.0 {
            return self.imm(0);
        }
        t(self.b.ins().bxor(a.0, b.0))
    }
    fn not<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        t(self.b.ins().bnot(a.0))
    }
    fn shl<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        if self.known(n.0) == Some(0) {
            return a;
        }
        t(self.b.ins().ishl(a.0, n.0))
    }
    fn shr<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        if self.known(n.0) == Some(0) {
            return a;
        }
        t(self.b.ins().ushr(a.0, n.0))
    }
    fn sar<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        if self.known(n.0) == Some(0) {
            return a;
        }
        t(self.b.ins().sshr(a.0, n.0))
    }
    fn rotl<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        t(self.b.ins().rotl(a.0, n.0))
    }
    fn rotr<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        t(self.b.ins().rotr(a.0, n.0))
    }
    fn mul_high_u<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        if W::BITS == 64 {
            return t(self.b.ins().umulhi(a.0, b.0));
        }
        let (a, b) = (self.cast::<W, W64>(a), self.cast::<W, W64>(b));
        let p = self.b.ins().imul(a.0, b.0);
        let p = self.b.ins().ushr_imm_u(p, i64::from(W::BITS));
        t(self.b.ins().ireduce(kind::<W>(), p))
    }
    fn mul_high_s<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        if W::BITS == 64 {
            return t(self.b.ins().smulhi(a.0, b.0));
        }
        let (a, b) = (self.sext::<W, W64>(a), self.sext::<W, W64>(b));
        let p = self.b.ins().imul(a.0, b.0);
        let p = self.b.ins().ushr_imm_u(p, i64::from(W::BITS));
        t(self.b.ins().ireduce(kind::<W>(), p))
    }
    fn div_u<W: Width>(&mut self, hi: Typed<W>, lo: Typed<W>, d: Typed<W>) -> (Typed<W>, Typed<W>) {
        if W::BITS < 32 {
            let v = self.nothing();
            return (v, v);
        }
        if self.known(hi.0) != Some(0) {
            let zero = self.imm::<W>(0);
            self.expect(hi.0, zero.0);
        }
        let q = self.b.ins().udiv(lo.0, d.0);
        (t(q), t(self.remainder(lo.0, q, d.0)))
    }
    fn div_s<W: Width>(&mut self, _: Typed<W>, lo: Typed<W>, d: Typed<W>) -> (Typed<W>, Typed<W>) {
        if W::BITS < 32 {
            let v = self.nothing();
            return (v, v);
        }
        let q = self.b.ins().sdiv(lo.0, d.0);
        (t(q), t(self.remainder(lo.0, q, d.0)))
    }
    fn div_s_fits<W: Width>(&mut self, hi: Typed<W>, lo: Typed<W>, d: Typed<W>) -> Value {
        // The dividend of one width, sign-extended, as compilers leave it.
        let sign = self.b.ins().sshr_imm_u(lo.0, i64::from(W::BITS) - 1);
        self.expect(hi.0, sign);
        let (zero, least, minus) = (
            self.imm::<W>(0),
            self.imm::<W>(1 << (W::BITS - 1)),
            self.imm::<W>(W::MASK),
        );
        let by_zero = self.b.ins().icmp(IntCC::Equal, d.0, zero.0);
        let (a, b) = (
            self.b.ins().icmp(IntCC::Equal, lo.0, least.0),
            self.b.ins().icmp(IntCC::Equal, d.0, minus.0),
        );
        let wide = self.b.ins().band(a, b);
        let bad = self.b.ins().bor(by_zero, wide);
        self.opposite(bad)
    }
    fn bswap<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        if W::BITS == 8 {
            return a;
        }
        t(self.b.ins().bswap(a.0))
    }
    fn clz<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        t(self.b.ins().clz(a.0))
    }
    fn ctz<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        t(self.b.ins().ctz(a.0))
    }
    fn popcnt<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        t(self.b.ins().popcnt(a.0))
    }
    fn cast<F: Width, T: Width>(&mut self, v: Typed<F>) -> Typed<T> {
        t(self.resize(v.0, F::BITS, kind::<T>()))
    }
    fn loose<F: Width, T: Width>(&mut self, v: Typed<F>) -> Typed<T> {
        match self.whole(v.0) {
            Some(whole) if T::BITS == 64 => t(whole),
            _ => self.cast(v),
        }
    }
    fn sext<F: Width, T: Width>(&mut self, v: Typed<F>) -> Typed<T> {
        if F::BITS < T::BITS {
            return t(self.b.ins().sextend(kind::<T>(), v.0));
        }
        self.cast(v)
    }

    fn truth(&mut self, b: bool) -> Value {
        self.b.ins().iconst(types::I8, i64::from(b))
    }
    fn eq<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Value {
        self.compare(IntCC::Equal, a.0, b.0)
    }
    fn ult<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Value {
        self.compare(IntCC::UnsignedLessThan, a.0, b.0)
    }
    fn slt<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Value {
        self.compare(IntCC::SignedLessThan, a.0, b.0)
    }
    fn bit<W: Width>(&mut self, a: Typed<W>, n: u32) -> Value {
        let zero = self.imm::<W>(0);
        if n == W::BITS - 1 {
            return self.compare(IntCC::SignedLessThan, a.0, zero.0);
        }
        let mask = self.imm::<W>(1 << n);
        let v = self.b.ins().band(a.0, mask.0);
        self.compare(IntCC::NotEqual, v, zero.0)
    }
    fn negate(&mut self, a: Value) -> Value {
        self.opposite(a)
    }
    fn both(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().band(a, b)
    }
    fn either(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().bor(a, b)
    }
    fn differ(&mut self, a: Value, b: Value) -> Value {
        self.b.ins().bxor(a, b)
    }
    fn number<W: Width>(&mut self, b: Value) -> Typed<W> {
        if W::BITS == 8 {
            return t(b);
        }
        t(self.b.ins().uextend(kind::<W>(), b))
    }
    fn select<W: Width>(&mut self, c: Value, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        t(self.b.ins().select(c, a.0, b.0))
    }

    fn reg<W: Width>(&mut self, r: u8) -> Typed<W> {
        let v = self.gpr(r);
        t(self.resize(v, 64, kind::<W>()))
    }
    fn set_reg<W: Width>(&mut self, r: u8, v: Typed<W>) {
        let wide = if W::BITS < 32 {
            let old = self.gpr(r);
            let old = self.b.ins().band_imm_s(old, !W::MASK as i64);
            let v = self.resize(v.0, W::BITS, types::I64);
            self.b.ins().bor(old, v)
        } else {
            self.resize(v.0, W::BITS, types::I64)
        };
        self.set_gpr(r, wide);
    }
    fn reg_high(&mut self, r: u8) -> Typed<W8> {
        let v = self.gpr(r);
        let v = self.b.ins().ushr_imm_u(v, 8);
        t(self.b.ins().ireduce(types::I8, v))
    }
    fn set_reg_high(&mut self, r: u8, v: Typed<W8>) {
        let old = self.gpr(r);
        let old = self.b.ins().band_imm_s(old, !0xff00);
        let v = self.resize(v.0, 8, types::I64);
        let v = self.b.ins().ishl_imm_u(v, 8);
        let v = self.b.ins().bor(old, v);
        self.set_gpr(r, v);
    }
    fn ip(&mut self) -> Typed<W64> {
        let base = self.field(types::I64, offset::PAGE_BASE);
        let v = self.b.ins().iadd_imm_s(base, self.at);
        self.sums.insert(v, (base, self.at));
        if self.plan.mode.is_64() {
            return t(v);
        }
        let v = self.b.ins().ireduce(types::I32, v);
        t(self.b.ins().uextend(types::I64, v))
    }
    fn seg_base(&mut self, seg: Seg) -> Typed<W64> {
        let at = offset::SEG
            + seg as usize * size_of::<arch::Segment>()
            + offset_of!(arch::Segment, base);
        t(self.field(types::I64, at))
    }
    fn selector(&mut self, seg: Seg) -> Typed<W16> {
        let at = offset::SEG
            + seg as usize * size_of::<arch::Segment>()
            + offset_of!(arch::Segment, selector);
        t(self.field(types::I16, at))
    }
    fn flags(&mut self) -> Flags<Typed<W64>> {
        if let Deferred::Variable = self.deferred {
            self.store_flags();
            self.call_stub(offset_of!(Stubs, status));
            let src = self.field(types::I64, offset::SRC);
            let bits = Cc {
                op: CcOp::Bits,
                size: OpSize::B64,
            };
            self.deferred = Deferred::Known(bits, [None, Some(src), None]);
        }
        let Deferred::Known(cc, inputs) = self.deferred else {
            let v = self.nothing();
            return Flags {
                cc: Cc {
                    op: CcOp::Bits,
                    size: OpSize::B64,
                },
                res: v,
                src: v,
                dst: v,
            };
        };
        let [res, src, dst] = inputs.map(|v| match v {
            Some(v) => t(v),
            None => self.imm(0),
        });
        Flags { cc, res, src, dst }
    }
    fn flags_wanted(&self) -> bool {
        !self.unseen
    }
    fn set_flags(&mut self, f: Flags<Typed<W64>>) {
        if self.unseen {
            return;
        }
        let (res, src, dst) = f.cc.op.inputs();
        self.deferred = Deferred::Known(
            f.cc,
            [
                res.then_some(f.res.0),
                src.then_some(f.src.0),
                dst.then_some(f.dst.0),
            ],
        );
    }
    fn system_flags(&mut self) -> Typed<W64> {
        t(self.field(types::I64, offset::SYSTEM_FLAGS))
    }
    fn set_direction(&mut self, down: bool) {
        let df = arch::Rflags::DF.bits() as i64;
        let v = self.system_flags().0;
        let v = if down {
            self.b.ins().bor_imm_s(v, df)
        } else {
            self.b.ins().band_imm_s(v, !df)
        };
        self.set_field(offset::SYSTEM_FLAGS, v);
    }

    fn load<W: Width>(&mut self, _: Seg, addr: Typed<W64>) -> Result<Typed<W>, Ended> {
        let host = self.host(addr.0, W::BYTES, false);
        let flags = self.memory_flags();
        Ok(t(self.b.ins().load(kind::<W>(), flags, host, 0)))
    }
    fn load_modify<W: Width>(&mut self, _: Seg, addr: Typed<W64>) -> Result<Typed<W>, Ended> {
        let host = self.host(addr.0, W::BYTES, true);
        let flags = self.memory_flags();
        Ok(t(self.b.ins().load(kind::<W>(), flags, host, 0)))
    }
    fn store<W: Width>(&mut self, _: Seg, addr: Typed<W64>, v: Typed<W>) -> Result<(), Ended> {
        let host = self.host(addr.0, W::BYTES, true);
        let flags = self.memory_flags();
        self.b.ins().store(flags, v.0, host, 0);
        Ok(())
    }
    fn load_vec(&mut self, _: Seg, addr: Typed<W64>, align: Align) -> Result<Value, Ended> {
        if align == Align::Vector {
            self.aligned(addr);
        }
        let host = self.host(addr.0, 16, false);
        let flags = self.memory_flags();
        Ok(self.b.ins().load(types::I8X16, flags, host, 0))
    }
    fn store_vec(&mut self, _: Seg, addr: Typed<W64>, v: Value, align: Align) -> Result<(), Ended> {
        if align == Align::Vector {
            self.aligned(addr);
        }
        let host = self.host(addr.0, 16, true);
        let flags = self.memory_flags();
        self.b.ins().store(flags, v, host, 0);
        Ok(())
    }
    fn probe_write(&mut self, _: Seg, addr: Typed<W64>, bytes: u32) -> Result<(), Ended> {
        self.host(addr.0, bytes, true);
        Ok(())
    }
    fn rmw<W: Width>(
        &mut self,
        op: Rmw,
        seg: Seg,
        addr: Typed<W64>,
        v: Typed<W>,
    ) -> Result<Typed<W>, Ended> {
        if self.switches.alone {
            return alone::rmw(self, op, seg, addr, v);
        }
        let host = self.atomic::<W>(addr);
        let op = match op {
            Rmw::Add => AtomicRmwOp::Add,
            Rmw::And => AtomicRmwOp::And,
            Rmw::Or => AtomicRmwOp::Or,
            Rmw::Xor => AtomicRmwOp::Xor,
            Rmw::Xchg => AtomicRmwOp::Xchg,
        };
        let flags = MemFlagsData::trusted();
        Ok(t(self.b.ins().atomic_rmw(
            kind::<W>(),
            flags,
            op,
            host,
            v.0,
        )))
    }
    fn cas<W: Width>(
        &mut self,
        seg: Seg,
        addr: Typed<W64>,
        expected: Typed<W>,
        new: Typed<W>,
    ) -> Result<Typed<W>, Ended> {
        if self.switches.alone {
            return alone::cas(self, seg, addr, expected, new);
        }
        let host = self.atomic::<W>(addr);
        let flags = MemFlagsData::trusted();
        Ok(t(self.b.ins().atomic_cas(flags, host, expected.0, new.0)))
    }
    fn check_segment(
        &mut self,
        seg: Seg,
        off: Typed<W64>,
        bytes: u32,
        access: Use,
    ) -> Result<(), Ended> {
        let last = self.b.ins().iadd_imm_s(off.0, i64::from(bytes) - 1);
        let table = match access {
            Use::Read => offset::READ_LIMITS,
            Use::Write => offset::WRITE_LIMITS,
        };
        let limit = self.field(types::I64, table + 8 * seg as usize);
        let beyond = self
            .b
            .ins()
            .icmp(IntCC::UnsignedGreaterThanOrEqual, last, limit);
        self.give_up_if(beyond);
        Ok(())
    }

    fn raise(&mut self, _: Fault) -> Result<(), Ended> {
        let exit = self.give_up();
        self.b.ins().jump(exit, &[]);
        Err(Ended)
    }
    fn raise_if(&mut self, c: Value, _: Fault) -> Result<(), Ended> {
        self.give_up_if(c);
        Ok(())
    }
    fn branch<W: Width>(&mut self, c: Value, offset: i64) -> Result<(), Ended> {
        if offset == 0 && decode::flow(self.insn.code) == Flow::Next {
            // Once more, from the start: somebody else was quicker.
            self.give_up_if(c);
            return Ok(());
        }
        if W::BITS == 16 {
            return Err(self.refuse());
        }
        self.end_in_branch(c, self.at + offset);
        Err(Ended)
    }
    fn jump<W: Width>(&mut self, offset: i64) -> Result<(), Ended> {
        if W::BITS == 16 {
            return Err(self.refuse());
        }
        self.end_in_jump(self.at + offset);
        Err(Ended)
    }
    fn jump_to(&mut self, target: Typed<W64>, _: Transfer) -> Result<(), Ended> {
        self.check_target(target)?;
        self.end_through(target.0);
        Err(Ended)
    }
    fn check_target(&mut self, target: Typed<W64>) -> Result<(), Ended> {
        if self.plan.mode.is_64() {
            // Canonical: bits 63 to 47 are all the same.
            let s = self.b.ins().sshr_imm_u(target.0, 47);
            let s = self.b.ins().iadd_imm_s(s, 1);
            let bad = self
                .b
                .ins()
                .icmp_imm_u(IntCC::UnsignedGreaterThanOrEqual, s, 2);
            self.give_up_if(bad);
        }
        Ok(())
    }
    fn when(
        &mut self,
        c: Value,
        then: impl FnOnce(&mut Self) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        self.define_flags();
        self.deferred = Deferred::Variable;
        let (inside, join) = (self.b.create_block(), self.b.create_block());
        self.b.ins().brif(c, inside, &[], join, &[]);
        self.b.seal_block(inside);
        self.b.switch_to_block(inside);
        self.forget_path();
        if then(self).is_ok() {
            self.define_flags();
            self.b.ins().jump(join, &[]);
        }
        self.forget_path();
        self.b.seal_block(join);
        self.b.switch_to_block(join);
        self.deferred = Deferred::Variable;
        Ok(())
    }
    fn helper(&mut self, _: Helper, _: &Insn) -> Result<(), Ended> {
        Err(self.refuse())
    }

    fn xmm(&mut self, r: u8) -> Value {
        self.vector(r)
    }
    fn set_xmm(&mut self, r: u8, v: Value) {
        self.set_vector(r, v);
    }
    fn mm(&mut self, _: u8) -> Value {
        self.no_vector()
    }
    fn set_mm(&mut self, _: u8, _: Value) {
        self.unsupported = true;
    }
    fn x87_pending(&mut self) -> Result<(), Ended> {
        Err(self.refuse())
    }
    fn enter_mmx(&mut self) -> Result<(), Ended> {
        Err(self.refuse())
    }
    fn vec_from<W: Width>(&mut self, v: Typed<W>) -> Value {
        self.lanes_from::<W>(v.0)
    }
    fn vec_lane<W: Width>(&mut self, v: Value, n: u32) -> Typed<W> {
        t(self.lane::<W>(v, n))
    }
    fn vec_with_lane<W: Width>(&mut self, v: Value, n: u32, lane: Typed<W>) -> Value {
        self.with_lane::<W>(v, n, lane.0)
    }
    fn vec(&mut self, op: VecOp, a: Value, b: Value) -> Value {
        match self.vector_operation(op, a, b) {
            Some(v) => v,
            None => self.no_vector(),
        }
    }
    fn string_compare(
        &mut self,
        _: u8,
        _: Value,
        _: Value,
        _: Typed<W32>,
        _: Typed<W32>,
    ) -> Typed<W32> {
        self.nothing()
    }
    fn fp(&mut self, _: FpOp, _: FpFormat, _: u32, _: Value, _: Value) -> Result<Value, Ended> {
        Err(self.refuse())
    }
    fn fp_compare(
        &mut self,
        _: Relation,
        _: FpFormat,
        _: Value,
        _: Value,
    ) -> Result<Typed<W64>, Ended> {
        Err(self.refuse())
    }
    fn x87(&mut self, _: Step, _: Typed<W64>, _: Typed<W16>) -> Result<(), Ended> {
        Err(self.refuse())
    }
    fn x87_compare(&mut self, _: bool, _: u8, _: bool) -> Result<Typed<W64>, Ended> {
        Err(self.refuse())
    }
    fn x87_store(&mut self, _: Format, _: bool) -> Result<(Typed<W64>, Typed<W16>), Ended> {
        Err(self.refuse())
    }
    fn x87_note(&mut self, _: Option<(Seg, Typed<W64>)>) {
        self.unsupported = true;
    }
    fn x87_status(&mut self) -> Typed<W16> {
        self.nothing()
    }
    fn x87_control(&mut self) -> Typed<W16> {
        self.nothing()
    }
    fn x87_set_control(&mut self, _: Typed<W16>) -> Result<(), Ended> {
        Err(self.refuse())
    }
}
