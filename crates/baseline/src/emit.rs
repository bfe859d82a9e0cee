//! `impl Emit for Baseline`: every word of the vocabulary written down as host code.

use crate::block::{Baseline, Cell, Deferred, Ended, FpCall, Near, inputs, stub};
use crate::host::{Alu, Cond, HostAssembler, Label, Reg, Shift, Size, Src};
use crate::values::{Bool, HostFlags, Lazy, Test, Val};
use crate::vectors::Vector;
use crate::x87::Known;
use arch::{Fault, Mode, Seg, Size as ModeSize};
use cpu::native::{Stubs, offset, site};
use decode::Insn;
use memory::Entry;
use semantics::emit::{
    Align, Cc, CcOp, Emit, Flags, OpSize, Rmw, Transfer, Use, W8, W16, W32, W64, Width,
};
use semantics::fp::{FpFormat, FpOp, Relation};
use semantics::table::Helper;
use semantics::vector::VecOp;
use semantics::x87::{Format, Step};
use std::marker::PhantomData;
use std::mem::offset_of;

/// Whether a helper has nothing to do with floating-point state. What is not known to be so is taken to have.
fn is_quick(h: Helper) -> bool {
    use Helper as H;
    matches!(
        h,
        H::BulkMovs
            | H::BulkStos
            | H::Cmpxchg16b
            | H::Pushf
            | H::Popf
            | H::MovToSegment
            | H::Swapgs
            | H::SegmentBase
            | H::Iret
            | H::Syscall
            | H::Sysret
            | H::Sysenter
            | H::Sysexit
            | H::MovFromCr
            | H::MovToCr
            | H::Invlpg
            | H::Invpcid
            | H::Cli
            | H::Sti
            | H::ClacStac
            | H::TimeStamp
            | H::Rdmsr
            | H::Wrmsr
    )
}

/// A value that remembers its guest width.
pub struct Typed<W>(pub Val, PhantomData<W>);
impl<W> Clone for Typed<W> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<W> Copy for Typed<W> {}

fn t<W>(v: Val) -> Typed<W> {
    Typed(v, PhantomData)
}

fn size<W: Width>() -> Size {
    Size::of(W::BITS)
}

/// Host arithmetic is done in 32 or 64 bits.
fn wide<W: Width>() -> Size {
    if W::BITS == 64 { Size::B64 } else { Size::B32 }
}

/// Bits above which a result of [`wide`] arithmetic is zero.
fn result_width<W: Width>() -> u32 {
    if W::BITS == 64 { 64 } else { 32 }
}

fn signed<W: Width>(v: u64) -> i64 {
    ((v << (64 - W::BITS)) as i64) >> (64 - W::BITS)
}

/// What a slow path accesses, for [`cpu::native::site`].
fn access<W: Width>(seg: Seg) -> u64 {
    u64::from(W::BYTES.trailing_zeros()) | (seg as u64) << 4
}

/// Where the `Cpu` has a segment's base.
pub(crate) const fn base_of(seg: Seg) -> usize {
    offset::SEG + seg as usize * size_of::<arch::Segment>() + offset_of!(arch::Segment, base)
}

impl<A: HostAssembler> Baseline<A> {
    /// An operation of two sources and a new destination.
    fn binary<W: Width>(&mut self, op: Alu, a: Val, b: Val) -> Val {
        let ra = self.v.reg(a);
        let rb = self.v.src(b, wide::<W>());
        let (id, d) = self.v.fresh(result_width::<W>());
        let valid = self.v.asm.alu(op, wide::<W>(), d, ra, rb);
        let d = Val::Temp(id);
        if op != Alu::Add {
            self.v.host = (valid && W::BITS >= 32).then_some(HostFlags {
                size: size::<W>(),
                compare: (op == Alu::Sub).then_some((a, b)),
                result: Some(d),
            });
        }
        self.v.unlock();
        d
    }

    /// The linear address in a register, and the addend of its page: control comes here only if the TLB permits the access; else the
    /// evaluator does the instruction, by the path that is answered.
    pub(crate) fn probed(&mut self, tag: usize, addr: Val, bytes: u32) -> (Reg, u32, Reg, Label) {
        let a = self.v.reg(addr);
        let (id, d) = self.v.fresh(64);
        let (_, scratch) = self.v.fresh(64);
        // Only now: the path stores the deferred flags from where they are when the probe jumps.
        let miss = self.plan_bail();
        let array = self.class() * size_of::<[Entry; memory::ENTRIES]>();
        self.v
            .asm
            .probe(array as i32, tag as i32, a, bytes, d, scratch, miss);
        self.v.host = None;
        (a, id, d, miss)
    }

    /// The target `distance` from this instruction, of operand size `W`.
    fn near<W: Width>(&self, distance: i64) -> Near {
        Near {
            distance: self.at + distance,
            narrow: W::BITS == 16,
        }
    }

    /// The TLB array that data accesses of this mode use.
    pub(crate) fn class(&self) -> usize {
        match (self.mode.cpl() == 3, self.mode.user_pages()) {
            (true, _) => memory::Class::User as usize,
            (false, true) => memory::Class::SupervisorAc as usize,
            (false, false) => memory::Class::Supervisor as usize,
        }
    }

    /// Calls a stub that preserves only the `Cpu` pointer and the counter. No value may be in a register.
    pub(crate) fn call_stub(&mut self, o: usize) {
        self.v.asm.call_cpu(stub(o));
        self.v.host = None;
    }

    /// Stores a value of the block in a `Cpu` field.
    pub(crate) fn put(&mut self, size: Size, to: usize, v: Val) {
        match v {
            Val::Imm(i) if size != Size::B64 || i32::try_from(i as i64).is_ok() => {
                self.v.asm.store_cpu_imm(size, to as i32, i as i32);
            }
            _ => {
                let r = self.v.reg(v);
                self.v.asm.store_cpu(size, to as i32, r);
            }
        }
        self.v.unlock();
    }

    /// Loads a `Cpu` field.
    pub(crate) fn get(&mut self, size: Size, from: usize) -> Val {
        let width = match size {
            Size::B8 => 8,
            Size::B16 => 16,
            Size::B32 => 32,
            Size::B64 => 64,
        };
        let (id, d) = self.v.fresh(width);
        self.v.asm.load_cpu(size, d, from as i32);
        self.v.unlock();
        Val::Temp(id)
    }

    /// The host's address of a register operand of `rmw` and `cas`: aligned and writable, or the evaluator does it.
    fn atomic<W: Width>(&mut self, addr: Val) -> (Reg, Reg) {
        let (a, _, d, bail) = self.probed(offset_of!(Entry, write), addr, W::BYTES);
        if W::BYTES > 1 {
            self.v.asm.test_bits(Size::B32, a, W::BYTES as i32 - 1);
            self.v.asm.jump_if(Cond::Ne, bail);
        }
        (a, d)
    }

    /// Leaves to the evaluator if the host's flags say `c`.
    fn bail_if(&mut self, b: Bool) {
        match self.v.flags_of(b) {
            Err(false) => {}
            Err(true) => {
                let l = self.plan_bail();
                self.v.asm.jump(l);
            }
            Ok(c) => {
                let l = self.plan_bail();
                self.v.asm.jump_if(c, l);
            }
        }
        self.v.unlock();
    }

    /// 0 or 1 from two truths.
    fn logic(&mut self, op: Alu, a: Bool, b: Bool) -> Bool {
        let (a, b) = (self.v.lazy(Lazy::Test(a)), self.v.lazy(Lazy::Test(b)));
        let (ra, rb) = (self.v.reg(a), self.v.reg(b));
        let (id, d) = self.v.fresh(1);
        self.v.asm.alu(op, Size::B32, d, ra, Src::Reg(rb));
        self.v.host = Some(HostFlags {
            size: Size::B32,
            compare: None,
            result: Some(Val::Temp(id)),
        });
        self.v.unlock();
        self.v.test(Test::Value(Val::Temp(id)))
    }

    fn compare<W: Width>(&mut self, c: Cond, a: Val, b: Val) -> Bool {
        if let (Val::Imm(x), Val::Imm(y)) = (a, b) {
            let (x, y) = (x & W::MASK, y & W::MASK);
            let known = match c {
                Cond::Eq => x == y,
                Cond::Ult => x < y,
                _ => signed::<W>(x) < signed::<W>(y),
            };
            return self.v.test(Test::Const(known));
        }
        self.v.test(Test::Compare(c, size::<W>(), a, b))
    }

    fn known(&self, b: Bool) -> Option<bool> {
        match self.v.tests[b.0 as usize] {
            Test::Const(c) => Some(c),
            _ => None,
        }
    }
}

impl<A: HostAssembler> Emit for Baseline<A> {
    type Val<W: Width> = Typed<W>;
    type Bool = Bool;
    type Vec = Vector;
    type Stop = Ended;

    fn mode(&self) -> Mode {
        self.mode
    }

    fn imm<W: Width>(&mut self, v: u64) -> Typed<W> {
        t(Val::Imm(v & W::MASK))
    }
    fn add<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        let (a, b) = match (a.0, b.0) {
            (Val::Imm(x), Val::Imm(y)) => return t(Val::Imm(x.wrapping_add(y) & W::MASK)),
            (Val::Imm(_), v) => (v, a.0),
            (v, w) => (v, w),
        };
        if b == Val::Imm(0) {
            return t(a);
        }
        if W::BITS == 64
            && let Some(lazy) = self.fold_address(a, b)
        {
            return t(self.v.lazy(lazy));
        }
        t(self.binary::<W>(Alu::Add, a, b))
    }
    fn sub<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        match (a.0, b.0) {
            (Val::Imm(x), Val::Imm(y)) => t(Val::Imm(x.wrapping_sub(y) & W::MASK)),
            (_, Val::Imm(0)) => a,
            (a, b) => t(self.binary::<W>(Alu::Sub, a, b)),
        }
    }
    fn mul<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        let (a, b) = if let Val::Imm(_) = a.0 {
            (b.0, a.0)
        } else {
            (a.0, b.0)
        };
        let v = self.binary::<W>(Alu::Mul, a, b);
        self.v.host = None;
        t(v)
    }
    fn and<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        let (a, b) = if let Val::Imm(_) = a.0 {
            (b.0, a.0)
        } else {
            (a.0, b.0)
        };
        match (a, b) {
            (Val::Imm(x), Val::Imm(y)) => t(Val::Imm(x & y)),
            (a, b) if a == b => t(a),
            (_, Val::Imm(m)) if m == W::MASK => t(a),
            _ => {
                let width = self.v.width(a).min(self.v.width(b));
                let v = self.binary::<W>(Alu::And, a, b);
                if let Val::Temp(id) = v {
                    let w = &mut self.v.temps[id as usize].width;
                    *w = (*w).min(width);
                }
                t(v)
            }
        }
    }
    fn or<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        let (a, b) = if let Val::Imm(_) = a.0 {
            (b.0, a.0)
        } else {
            (a.0, b.0)
        };
        match (a, b) {
            (Val::Imm(x), Val::Imm(y)) => t(Val::Imm(x | y)),
            (_, Val::Imm(0)) => t(a),
            (a, b) if a == b => t(a),
            _ => {
                let width = self
                    .v
                    .width(a)
                    .max(self.v.width(b))
                    .min(result_width::<W>());
                let v = self.binary::<W>(Alu::Or, a, b);
                if let Val::Temp(id) = v {
                    self.v.temps[id as usize].width = width;
                }
                t(v)
            }
        }
    }
    fn xor<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        if a.0 == b.0 {
            return t(Val::Imm(0));
        }
        let (a, b) = if let Val::Imm(_) = a.0 {
            (b.0, a.0)
        } else {
            (a.0, b.0)
        };
        match (a, b) {
            (Val::Imm(x), Val::Imm(y)) => t(Val::Imm(x ^ y)),
            _ => t(self.binary::<W>(Alu::Xor, a, b)),
        }
    }
    fn not<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        if let Val::Imm(v) = a.0 {
            return t(Val::Imm(!v & W::MASK));
        }
        let r = self.v.reg(a.0);
        let (id, d) = self.v.fresh(64);
        self.v.asm.not(d, r);
        self.v.unlock();
        t(Val::Temp(id))
    }
    fn shl<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        if let (64, Val::Imm(n @ 1..=3), Val::Temp(_)) = (W::BITS, n.0, a.0)
            && self.v.address(a.0).is_none()
        {
            return t(self.v.lazy(Lazy::Address {
                base: None,
                index: Some((a.0, n as u8)),
                disp: 0,
            }));
        }
        t(self.shift::<W>(Shift::Shl, a.0, n.0))
    }
    fn shr<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        // The host's 32-bit shift does not see the upper half.
        let a = if W::BITS < 32 {
            self.v.clean(a.0, W::BITS)
        } else {
            a.0
        };
        t(self.shift::<W>(Shift::Shr, a, n.0))
    }
    fn sar<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        let a = if W::BITS < 32 {
            self.sext::<W, W64>(a).0
        } else {
            a.0
        };
        t(self.shift::<W>(Shift::Sar, a, n.0))
    }
    fn rotl<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        t(self.shift::<W>(Shift::Rotl, a.0, n.0))
    }
    fn rotr<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        t(self.shift::<W>(Shift::Rotr, a.0, n.0))
    }
    fn mul_high_u<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        if W::BITS < 32 {
            let (a, b) = (self.v.clean(a.0, W::BITS), self.v.clean(b.0, W::BITS));
            let p = self.binary::<W64>(Alu::Mul, a, b);
            self.v.host = None;
            let n = self.imm::<W64>(W::BITS.into());
            return t(self.shift::<W64>(Shift::Shr, p, n.0));
        }
        t(self.mul_high::<W>(false, a.0, b.0))
    }
    fn mul_high_s<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        if W::BITS < 32 {
            let (a, b) = (self.sext::<W, W64>(a), self.sext::<W, W64>(b));
            let p = self.binary::<W64>(Alu::Mul, a.0, b.0);
            self.v.host = None;
            let n = self.imm::<W64>(W::BITS.into());
            return t(self.shift::<W64>(Shift::Shr, p, n.0));
        }
        t(self.mul_high::<W>(true, a.0, b.0))
    }
    fn div_u<W: Width>(&mut self, hi: Typed<W>, lo: Typed<W>, d: Typed<W>) -> (Typed<W>, Typed<W>) {
        if W::BITS < 32 {
            let n = self.join::<W>(hi.0, lo.0);
            let d = self.v.clean(d.0, W::BITS);
            let (q, r) = self.divide(false, Size::B32, Val::Imm(0), n, d);
            return (t(q), t(r));
        }
        let (q, r) = self.divide(false, size::<W>(), hi.0, lo.0, d.0);
        (t(q), t(r))
    }
    fn div_s<W: Width>(&mut self, hi: Typed<W>, lo: Typed<W>, d: Typed<W>) -> (Typed<W>, Typed<W>) {
        if W::BITS < 32 {
            // `div_s_fits` has sent everything but a sign-extended dividend to the evaluator.
            let (n, d) = (self.sext::<W, W64>(lo), self.sext::<W, W64>(d));
            let s = self.imm::<W64>(63);
            let sign = self.shift::<W64>(Shift::Sar, n.0, s.0);
            let (q, r) = self.divide(true, Size::B32, sign, n.0, d.0);
            return (t(q), t(r));
        }
        let (q, r) = self.divide(true, size::<W>(), hi.0, lo.0, d.0);
        (t(q), t(r))
    }
    fn div_s_fits<W: Width>(&mut self, hi: Typed<W>, lo: Typed<W>, d: Typed<W>) -> Bool {
        // The common case is tested; the evaluator knows the others.
        let n = self.imm::<W>(u64::from(W::BITS) - 1);
        let sign = self.sar(lo, n);
        let (h, s) = (self.v.clean(hi.0, W::BITS), self.v.clean(sign.0, W::BITS));
        let same = self.compare::<W>(Cond::Eq, h, s);
        let other = self.negate(same);
        self.bail_if(other);
        let zero = self.compare::<W>(Cond::Eq, d.0, Val::Imm(0));
        self.bail_if(zero);
        let minus = self.compare::<W>(Cond::Eq, d.0, Val::Imm(W::MASK));
        self.bail_if(minus);
        self.truth(true)
    }
    fn bswap<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        let r = self.v.reg(a.0);
        let (id, d) = self.v.fresh(if W::BITS == 32 { 32 } else { 64 });
        self.v.asm.bswap(size::<W>(), d, r);
        self.v.host = None;
        self.v.unlock();
        t(Val::Temp(id))
    }
    fn clz<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        // Index of the highest one, or for zero what makes the difference below the width.
        let bits = u64::from(W::BITS);
        let index = self.scan_or::<W>(true, a.0, 2 * bits - 1);
        let most = self.imm::<W>(bits - 1);
        let v = self.binary::<W>(Alu::Xor, index, most.0);
        t(v)
    }
    fn ctz<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        t(self.scan_or::<W>(false, a.0, W::BITS.into()))
    }
    fn popcnt<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        let a = self.v.clean(a.0, W::BITS);
        let r = self.v.reg(a);
        let (id, d) = self.v.fresh(7);
        self.v.asm.popcnt(d, r);
        self.v.host = None;
        self.v.unlock();
        t(Val::Temp(id))
    }
    fn cast<F: Width, T: Width>(&mut self, v: Typed<F>) -> Typed<T> {
        if T::BITS <= F::BITS {
            return match v.0 {
                Val::Imm(i) => t(Val::Imm(i & T::MASK)),
                v => t(v),
            };
        }
        let c = self.v.clean(v.0, F::BITS);
        self.v.unlock();
        t(c)
    }
    fn loose<F: Width, T: Width>(&mut self, v: Typed<F>) -> Typed<T> {
        t(v.0)
    }
    fn sext<F: Width, T: Width>(&mut self, v: Typed<F>) -> Typed<T> {
        if let Val::Imm(i) = v.0 {
            return t(Val::Imm(signed::<F>(i) as u64 & T::MASK));
        }
        if T::BITS <= F::BITS {
            return t(v.0);
        }
        let r = self.v.reg(v.0);
        let (id, d) = self.v.fresh(64);
        self.v.asm.sign_extend(size::<F>(), d, r);
        self.v.unlock();
        t(Val::Temp(id))
    }

    fn truth(&mut self, b: bool) -> Bool {
        self.v.test(Test::Const(b))
    }
    fn eq<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Bool {
        let (a, b) = if let Val::Imm(_) = a.0 {
            (b.0, a.0)
        } else {
            (a.0, b.0)
        };
        self.compare::<W>(Cond::Eq, a, b)
    }
    fn ult<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Bool {
        self.compare::<W>(Cond::Ult, a.0, b.0)
    }
    fn slt<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Bool {
        self.compare::<W>(Cond::Slt, a.0, b.0)
    }
    fn bit<W: Width>(&mut self, a: Typed<W>, n: u32) -> Bool {
        if let Val::Imm(v) = a.0 {
            return self.truth(v >> n & 1 != 0);
        }
        if n == W::BITS - 1 {
            return self
                .v
                .test(Test::Compare(Cond::Neg, size::<W>(), a.0, Val::Imm(0)));
        }
        if n < 32 {
            return self.v.test(Test::Bits(Cond::Ne, Size::B32, a.0, 1i32 << n));
        }
        let shifted = self.shift::<W64>(Shift::Shr, a.0, Val::Imm(n.into()));
        self.v.test(Test::Bits(Cond::Ne, Size::B32, shifted, 1))
    }
    fn negate(&mut self, a: Bool) -> Bool {
        let n = match self.v.tests[a.0 as usize] {
            Test::Const(c) => Test::Const(!c),
            Test::Compare(c, s, x, y) => Test::Compare(c.inverted(), s, x, y),
            Test::Bits(c, s, v, m) => Test::Bits(c.inverted(), s, v, m),
            Test::Value(v) => Test::Compare(Cond::Eq, Size::B32, v, Val::Imm(0)),
        };
        self.v.test(n)
    }
    fn both(&mut self, a: Bool, b: Bool) -> Bool {
        match (self.known(a), self.known(b)) {
            (Some(false), _) | (_, Some(true)) => a,
            (Some(true), _) | (_, Some(false)) => b,
            _ => self.logic(Alu::And, a, b),
        }
    }
    fn either(&mut self, a: Bool, b: Bool) -> Bool {
        match (self.known(a), self.known(b)) {
            (Some(true), _) | (_, Some(false)) => a,
            (Some(false), _) | (_, Some(true)) => b,
            _ => self.logic(Alu::Or, a, b),
        }
    }
    fn differ(&mut self, a: Bool, b: Bool) -> Bool {
        match (self.known(a), self.known(b)) {
            (Some(false), _) => b,
            (_, Some(false)) => a,
            (Some(true), _) => self.negate(b),
            (_, Some(true)) => self.negate(a),
            _ => self.logic(Alu::Xor, a, b),
        }
    }
    fn number<W: Width>(&mut self, b: Bool) -> Typed<W> {
        match self.v.tests[b.0 as usize] {
            Test::Const(c) => t(Val::Imm(c.into())),
            Test::Value(v) if self.v.width(v) == 1 => t(v),
            _ => t(self.v.lazy(Lazy::Test(b))),
        }
    }
    fn select<W: Width>(&mut self, c: Bool, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        if let Some(known) = self.known(c) {
            return if known { a } else { b };
        }
        let width = self.v.width(a.0).max(self.v.width(b.0));
        let (ra, rb) = (self.v.reg(a.0), self.v.reg(b.0));
        let (id, d) = self.v.fresh(width);
        match self.v.flags_of(c) {
            Err(known) => self.v.asm.mov(d, if known { ra } else { rb }),
            Ok(cond) => {
                self.v.asm.mov(d, rb);
                self.v.asm.move_if(cond, d, ra);
            }
        }
        self.v.unlock();
        t(Val::Temp(id))
    }

    fn reg<W: Width>(&mut self, r: u8) -> Typed<W> {
        let v = self.v.home(usize::from(r & 15));
        self.v.unlock();
        match v {
            Val::Imm(i) => t(Val::Imm(i & W::MASK)),
            v => t(v),
        }
    }
    fn set_reg<W: Width>(&mut self, r: u8, v: Typed<W>) {
        let g = usize::from(r & 15);
        let v = match W::BITS {
            64 => v.0,
            32 => self.v.clean(v.0, 32),
            _ => {
                let old = self.v.home(g);
                let (ro, rv) = (self.v.reg(old), self.v.reg(v.0));
                let (id, d) = self.v.fresh(64);
                self.v.asm.mov(d, ro);
                self.v.asm.insert_low(size::<W>(), d, rv);
                Val::Temp(id)
            }
        };
        self.v.set_home(g, v);
        self.v.unlock();
    }
    fn reg_high(&mut self, r: u8) -> Typed<W8> {
        let v = self.v.home(usize::from(r & 15));
        if let Val::Imm(i) = v {
            return t(Val::Imm(i >> 8 & 0xff));
        }
        let s = self.v.reg(v);
        let (id, d) = self.v.fresh(8);
        self.v.asm.high_byte(d, s);
        self.v.host = None;
        self.v.unlock();
        t(Val::Temp(id))
    }
    fn set_reg_high(&mut self, r: u8, v: Typed<W8>) {
        let g = usize::from(r & 15);
        let old = self.v.home(g);
        let (ro, rv) = (self.v.reg(old), self.v.reg(v.0));
        let (id, d) = self.v.fresh(64);
        self.v.asm.mov(d, ro);
        self.v.asm.insert_high_byte(d, rv);
        self.v.host = None;
        self.v.set_home(g, Val::Temp(id));
        self.v.unlock();
    }
    fn ip(&mut self) -> Typed<W64> {
        let (id, d) = self.v.fresh(64);
        let at = self.at;
        self.page_plus(d, at);
        self.v.unlock();
        t(Val::Temp(id))
    }
    fn seg_base(&mut self, seg: Seg) -> Typed<W64> {
        t(self.get(Size::B64, base_of(seg)))
    }
    fn selector(&mut self, seg: Seg) -> Typed<W16> {
        let at = offset::SEG
            + seg as usize * size_of::<arch::Segment>()
            + offset_of!(arch::Segment, selector);
        t(self.get(Size::B16, at))
    }
    fn flags(&mut self) -> Flags<Typed<W64>> {
        if let Deferred::Unknown = self.deferred {
            // The stub keeps all registers.
            self.v.empty_vector_regs();
            self.v.asm.call_cpu(stub(offset_of!(Stubs, flags)));
            self.v.host = None;
            let src = self.get(Size::B64, offset::SRC);
            let flags = Flags {
                cc: Cc {
                    op: CcOp::Bits,
                    size: OpSize::B64,
                },
                res: Val::Imm(0),
                src,
                dst: Val::Imm(0),
            };
            self.deferred = Deferred::Known {
                flags,
                stored: true,
            };
        }
        match self.deferred {
            Deferred::Known { flags: f, .. } => Flags {
                cc: f.cc,
                res: t(f.res),
                src: t(f.src),
                dst: t(f.dst),
            },
            Deferred::Unknown => {
                let z = t(Val::Imm(0));
                Flags {
                    cc: Cc {
                        op: CcOp::Bits,
                        size: OpSize::B64,
                    },
                    res: z,
                    src: z,
                    dst: z,
                }
            }
        }
    }
    fn flags_wanted(&self) -> bool {
        !self.unseen
    }
    fn set_flags(&mut self, f: Flags<Typed<W64>>) {
        if self.unseen {
            self.deferred = Deferred::UNSEEN;
            return;
        }
        let flags = Flags {
            cc: f.cc,
            res: f.res.0,
            src: f.src.0,
            dst: f.dst.0,
        };
        for v in inputs(&flags).into_iter().flatten() {
            self.v.settle(v);
        }
        self.v.unlock();
        self.deferred = Deferred::Known {
            flags,
            stored: false,
        };
    }
    fn system_flags(&mut self) -> Typed<W64> {
        t(self.get(Size::B64, offset::SYSTEM_FLAGS))
    }
    fn set_direction(&mut self, down: bool) {
        let df = arch::Rflags::DF.bits();
        let v = self.system_flags();
        let v = if down {
            let b = self.imm::<W64>(df);
            self.or(v, b)
        } else {
            let b = self.imm::<W64>(!df);
            self.and(v, b)
        };
        self.put(Size::B64, offset::SYSTEM_FLAGS, v.0);
    }

    fn load<W: Width>(&mut self, seg: Seg, addr: Typed<W64>) -> Result<Typed<W>, Ended> {
        let a = self.v.reg(addr.0);
        let (id, d) = self.v.fresh(W::BITS);
        let (_, scratch) = self.v.fresh(64);
        let back = self.v.asm.label();
        let miss = self.plan_load(access::<W>(seg), addr.0, d, back);
        let array = self.class() * size_of::<[Entry; memory::ENTRIES]>();
        self.v.asm.probe(
            array as i32,
            offset_of!(Entry, read) as i32,
            a,
            W::BYTES,
            d,
            scratch,
            miss,
        );
        self.v.asm.load_at(size::<W>(), d, a, d);
        self.v.asm.bind(back);
        self.v.host = None;
        self.v.unlock();
        Ok(t(Val::Temp(id)))
    }
    fn load_modify<W: Width>(&mut self, _: Seg, addr: Typed<W64>) -> Result<Typed<W>, Ended> {
        let (a, addend, d, _) = self.probed(offset_of!(Entry, write), addr.0, W::BYTES);
        let (id, v) = self.v.fresh(W::BITS);
        self.v.asm.load_at(size::<W>(), v, a, d);
        self.writable = Some((addr.0, Val::Temp(addend), W::BYTES));
        self.v.unlock();
        Ok(t(Val::Temp(id)))
    }
    fn store<W: Width>(&mut self, seg: Seg, addr: Typed<W64>, v: Typed<W>) -> Result<(), Ended> {
        if let Some((a, addend, bytes)) = self.writable
            && let Some(by) = self.distance(addr.0, a)
            && i64::from(by) + i64::from(W::BYTES) <= i64::from(bytes)
        {
            let (ra, mut rd, rv) = (self.v.reg(a), self.v.reg(addend), self.v.reg(v.0));
            if by != 0 {
                let (_, d) = self.v.fresh(64);
                self.v.asm.lea(d, rd, None, by);
                rd = d;
            }
            self.v.asm.store_at(size::<W>(), ra, rd, rv);
            self.v.unlock();
            return Ok(());
        }
        let a = self.v.reg(addr.0);
        let rv = self.v.reg(v.0);
        let (_, d) = self.v.fresh(64);
        let (_, scratch) = self.v.fresh(64);
        let back = self.v.asm.label();
        let value = if let Val::Imm(_) = v.0 {
            self.v.value_of(rv)
        } else {
            v.0
        };
        let miss = self.plan_store(access::<W>(seg), addr.0, value, back);
        let array = self.class() * size_of::<[Entry; memory::ENTRIES]>();
        self.v.asm.probe(
            array as i32,
            offset_of!(Entry, write) as i32,
            a,
            W::BYTES,
            d,
            scratch,
            miss,
        );
        self.v.asm.store_at(size::<W>(), a, d, rv);
        self.v.asm.bind(back);
        self.v.host = None;
        self.v.unlock();
        Ok(())
    }
    fn load_vec(&mut self, _: Seg, addr: Typed<W64>, align: Align) -> Result<Vector, Ended> {
        self.load_vector(addr.0, align)
    }
    fn store_vec(
        &mut self,
        _: Seg,
        addr: Typed<W64>,
        v: Vector,
        align: Align,
    ) -> Result<(), Ended> {
        self.store_vector(addr.0, v, align)
    }
    fn probe_write(&mut self, _: Seg, addr: Typed<W64>, bytes: u32) -> Result<(), Ended> {
        let (_, addend, ..) = self.probed(offset_of!(Entry, write), addr.0, bytes);
        self.writable = Some((addr.0, Val::Temp(addend), bytes));
        self.v.unlock();
        Ok(())
    }
    fn rmw<W: Width>(
        &mut self,
        op: Rmw,
        _: Seg,
        addr: Typed<W64>,
        v: Typed<W>,
    ) -> Result<Typed<W>, Ended> {
        let r = self.v.reg(addr.0);
        let rv = self.v.reg(v.0);
        if let Rmw::Add | Rmw::Xchg = op {
            let _ = r;
            let (a, d) = self.atomic::<W>(addr.0);
            let (id, x) = self.v.fresh(64);
            self.v.asm.mov(x, rv);
            if op == Rmw::Add {
                self.v.asm.exchange_add(size::<W>(), a, d, x);
            } else {
                self.v.asm.exchange(size::<W>(), a, d, x);
            }
            self.v.host = None;
            self.v.unlock();
            let old = self.v.clean_always(Val::Temp(id), W::BITS);
            return Ok(t(old));
        }
        // A compare-and-exchange loop; the expected value has a register of its own.
        let expected = A::EXPECTED.unwrap_or(A::POOL[0]);
        self.v.take(expected);
        let (addr_v, v) = (addr.0, v.0);
        let (r, rv) = (self.v.reg(addr_v), self.v.reg(v));
        let _ = r;
        let (a, d) = self.atomic::<W>(addr_v);
        let (_, new) = self.v.fresh(64);
        self.v.asm.load_at(size::<W>(), expected, a, d);
        let again = self.v.asm.label();
        self.v.asm.bind(again);
        let alu = match op {
            Rmw::And => Alu::And,
            Rmw::Or => Alu::Or,
            _ => Alu::Xor,
        };
        self.v
            .asm
            .alu(alu, wide::<W>(), new, expected, Src::Reg(rv));
        self.v.asm.compare_exchange(size::<W>(), a, d, new);
        self.v.asm.jump_if(Cond::Ne, again);
        self.v.host = None;
        let old = self.v.name(expected, 64);
        self.v.unlock();
        Ok(t(self.v.clean_always(old, W::BITS)))
    }
    fn cas<W: Width>(
        &mut self,
        _: Seg,
        addr: Typed<W64>,
        expected: Typed<W>,
        new: Typed<W>,
    ) -> Result<Typed<W>, Ended> {
        let register = A::EXPECTED.unwrap_or(A::POOL[0]);
        self.v.into_reg(expected.0, register);
        self.v.reg(addr.0);
        let rn = self.v.reg(new.0);
        let (a, d) = self.atomic::<W>(addr.0);
        self.v.asm.compare_exchange(size::<W>(), a, d, rn);
        self.v.host = None;
        let old = self.v.name(register, 64);
        self.v.unlock();
        Ok(t(self.v.clean_always(old, W::BITS)))
    }
    fn check_segment(
        &mut self,
        seg: Seg,
        off: Typed<W64>,
        bytes: u32,
        access: Use,
    ) -> Result<(), Ended> {
        let r = self.v.reg(off.0);
        let (id, d) = self.v.fresh(64);
        self.v.asm.lea(d, r, None, bytes as i32 - 1);
        let table = if access == Use::Read {
            offset::READ_LIMITS
        } else {
            offset::WRITE_LIMITS
        };
        let bail = self.plan_bail();
        self.v
            .asm
            .compare_cpu(Size::B64, d, (table + 8 * seg as usize) as i32);
        self.v.asm.jump_if(Cond::Uge, bail);
        self.v.host = None;
        let _ = id;
        self.v.unlock();
        Ok(())
    }

    fn raise(&mut self, fault: Fault) -> Result<(), Ended> {
        let l = self.plan_raise(fault);
        self.v.asm.jump(l);
        Err(Ended)
    }
    fn raise_if(&mut self, c: Bool, fault: Fault) -> Result<(), Ended> {
        match self.v.flags_of(c) {
            Err(true) => self.raise(fault),
            Err(false) => Ok(()),
            Ok(cond) => {
                let l = self.plan_raise(fault);
                self.v.asm.jump_if(cond, l);
                self.v.unlock();
                Ok(())
            }
        }
    }
    fn branch<W: Width>(&mut self, c: Bool, distance: i64) -> Result<(), Ended> {
        let target = self.near::<W>(distance);
        match self.v.flags_of(c) {
            Err(true) => self.jump::<W>(distance),
            Err(false) => Ok(()),
            Ok(cond) => {
                self.branch_if(cond, target);
                self.v.unlock();
                Ok(())
            }
        }
    }
    fn jump<W: Width>(&mut self, distance: i64) -> Result<(), Ended> {
        let (target, count) = (self.near::<W>(distance), self.retired());
        self.exit_to(target, count);
        Err(Ended)
    }
    fn jump_to(&mut self, target: Typed<W64>, _: Transfer) -> Result<(), Ended> {
        self.check_target(target)?;
        self.exit_through(target.0);
        Err(Ended)
    }
    fn check_target(&mut self, target: Typed<W64>) -> Result<(), Ended> {
        if self.mode.code() != ModeSize::B64 || self.checked == Some(target.0) {
            return Ok(());
        }
        // Canonical: bits 63 to 47 are all the same.
        let s = self.shift::<W64>(Shift::Sar, target.0, Val::Imm(47));
        let one = self.binary::<W64>(Alu::Add, s, Val::Imm(1));
        let low = self.compare::<W64>(Cond::Ult, one, Val::Imm(2));
        let bad = self.negate(low);
        self.checked = Some(target.0);
        self.raise_if(bad, Fault::GP0)
    }
    fn when(
        &mut self,
        c: Bool,
        then: impl FnOnce(&mut Self) -> Result<(), Ended>,
    ) -> Result<(), Ended> {
        match self.v.flags_of(c) {
            Err(true) => then(self),
            Err(false) => Ok(()),
            Ok(cond) => {
                // Both ways must meet in one state: flags in the Cpu, every live value in memory, no register in use.
                let b = self.v.lazy(Lazy::Test(c));
                let _ = cond;
                self.v.reg(b);
                self.v.unlock();
                self.store_flags();
                self.deferred = Deferred::Unknown;
                self.v.back_up_live();
                let r = self.v.reg(b);
                self.v.asm.test(Size::B32, r);
                self.v.unlock();
                let skip = self.v.asm.label();
                self.v.asm.jump_if(Cond::Eq, skip);
                self.v.host = None;
                if then(self).is_ok() {
                    self.store_flags();
                    self.v.back_up_live();
                }
                self.v.asm.bind(skip);
                self.deferred = Deferred::Unknown;
                self.writable = None;
                self.v.forget_homes();
                self.x87 = Known::default();
                Ok(())
            }
        }
    }
    fn helper(&mut self, helper: Helper, i: &Insn) -> Result<(), Ended> {
        self.store_flags();
        self.v.back_up_live();
        self.v.save_all();
        self.deferred = Deferred::Unknown;
        let cell = self.cell(Cell::Helper(helper, *i));
        let more = if self.more { site::MORE } else { 0 };
        let (r, site) = (A::POOL[0], self.site(more));
        let at = self.at;
        self.page_plus(r, at);
        self.v.asm.store_cpu(Size::B64, offset::RIP as i32, r);
        self.v.asm.load_slot(r, cell);
        self.v.asm.store_cpu(Size::B64, offset::ADDRESS as i32, r);
        self.put(Size::B64, offset::SITE, Val::Imm(site));
        self.call_stub(if is_quick(helper) {
            offset_of!(Stubs, quick)
        } else {
            offset_of!(Stubs, helper)
        });
        self.v.forget_homes();
        self.x87 = Known::default();
        Ok(())
    }

    fn xmm(&mut self, r: u8) -> Vector {
        self.v.vector_home(usize::from(r & 15))
    }
    fn set_xmm(&mut self, r: u8, v: Vector) {
        self.v.set_vector_home(usize::from(r & 15), v);
        self.v.unlock();
    }
    fn mm(&mut self, r: u8) -> Vector {
        let v = self.get(
            Size::B64,
            offset::MM + usize::from(r & 7) * size_of::<softfloat::F80>(),
        );
        self.vector_from(v, Size::B64)
    }
    fn set_mm(&mut self, r: u8, v: Vector) {
        let to = offset::MM + usize::from(r & 7) * size_of::<softfloat::F80>();
        let low = self.vector_lane(v, 0, Size::B64);
        self.put(Size::B64, to + offset_of!(softfloat::F80, significand), low);
        self.put(
            Size::B16,
            to + offset_of!(softfloat::F80, sign_exponent),
            Val::Imm(0xffff),
        );
    }
    fn x87_pending(&mut self) -> Result<(), Ended> {
        if !self.mode.x87_masked() {
            // ES: the evaluator looks at CR0.NE.
            let fsw = self.get(Size::B16, offset::FSW);
            let pending = self.bit::<W16>(t(fsw), 7);
            self.bail_if(pending);
        }
        Ok(())
    }
    fn enter_mmx(&mut self) -> Result<(), Ended> {
        self.x87_pending()?;
        self.x87_enter_mmx();
        Ok(())
    }
    fn vec_from<W: Width>(&mut self, v: Typed<W>) -> Vector {
        self.vector_from(v.0, size::<W>())
    }
    fn vec_lane<W: Width>(&mut self, v: Vector, n: u32) -> Typed<W> {
        t(self.vector_lane(v, n & (16 / W::BYTES - 1), size::<W>()))
    }
    fn vec_with_lane<W: Width>(&mut self, v: Vector, n: u32, lane: Typed<W>) -> Vector {
        self.vector_with_lane(v, n & (16 / W::BYTES - 1), lane.0, size::<W>())
    }
    fn vec(&mut self, op: VecOp, a: Vector, b: Vector) -> Vector {
        self.vector_operation(op, a, b)
    }
    fn string_compare(
        &mut self,
        imm: u8,
        a: Vector,
        b: Vector,
        a_len: Typed<W32>,
        b_len: Typed<W32>,
    ) -> Typed<W32> {
        self.put(Size::B32, offset::VALUE, a_len.0);
        self.put(Size::B32, offset::VALUE + 8, b_len.0);
        t(self.call_fp(FpCall::Strings(imm), a, b).1)
    }
    fn fp(
        &mut self,
        op: FpOp,
        format: FpFormat,
        lanes: u32,
        a: Vector,
        b: Vector,
    ) -> Result<Vector, Ended> {
        Ok(self.call_fp(FpCall::Compute(op, format, lanes), a, b).0)
    }
    fn fp_compare(
        &mut self,
        relation: Relation,
        format: FpFormat,
        a: Vector,
        b: Vector,
    ) -> Result<Typed<W64>, Ended> {
        Ok(t(self.call_fp(FpCall::Compare(relation, format), a, b).1))
    }
    fn x87(&mut self, step: Step, v: Typed<W64>, high: Typed<W16>) -> Result<(), Ended> {
        self.x87_step(step, v.0, high.0)
    }
    fn x87_compare(&mut self, quiet: bool, n: u8, pops: bool) -> Result<Typed<W64>, Ended> {
        Ok(t(self.x87_flags(quiet, n, pops)?))
    }
    fn x87_store(
        &mut self,
        format: Format,
        truncating: bool,
    ) -> Result<(Typed<W64>, Typed<W16>), Ended> {
        let (v, high) = self.x87_convert(format, truncating)?;
        Ok((t(v), t(high)))
    }
    fn x87_note(&mut self, memory: Option<(Seg, Typed<W64>)>) {
        self.x87_pointers(memory.map(|(seg, a)| (seg, a.0)));
    }
    fn x87_status(&mut self) -> Typed<W16> {
        t(self.x87_status_word())
    }
    fn x87_control(&mut self) -> Typed<W16> {
        t(self.get(Size::B16, offset::FCW))
    }
    fn x87_set_control(&mut self, v: Typed<W16>) -> Result<(), Ended> {
        self.x87_new_control(v.0)
    }
}

impl<A: HostAssembler> Baseline<A> {
    /// How far behind `base` the address is, if it is known to be.
    fn distance(&self, addr: Val, base: Val) -> Option<i32> {
        if addr == base {
            return Some(0);
        }
        match self.v.address(addr)? {
            Lazy::Address {
                base: Some(b),
                index: None,
                disp,
            } if b == base && disp >= 0 => Some(disp),
            _ => None,
        }
    }

    /// `a + b` as an addressing mode, if it still is one.
    fn fold_address(&self, a: Val, b: Val) -> Option<Lazy> {
        let as_address = |v: Val| match v {
            Val::Imm(i) => i32::try_from(i as i64).ok().map(|disp| Lazy::Address {
                base: None,
                index: None,
                disp,
            }),
            _ => Some(self.v.address(v).unwrap_or(Lazy::Address {
                base: Some(v),
                index: None,
                disp: 0,
            })),
        };
        let (
            Lazy::Address {
                base: ab,
                index: ai,
                disp: ad,
            },
            Lazy::Address {
                base: bb,
                index: bi,
                disp: bd,
            },
        ) = (as_address(a)?, as_address(b)?)
        else {
            return None;
        };
        let disp = ad.checked_add(bd)?;
        let (base, index) = match (ab, ai, bb, bi) {
            (x, i, None, None) | (None, None, x, i) => (x, i),
            (Some(x), None, Some(y), None) => (Some(x), Some((y, 0))),
            (Some(x), None, None, Some(i)) | (None, Some(i), Some(x), None) => (Some(x), Some(i)),
            _ => return None,
        };
        Some(Lazy::Address { base, index, disp })
    }

    fn shift<W: Width>(&mut self, op: Shift, a: Val, n: Val) -> Val {
        let rotates = matches!(op, Shift::Rotl | Shift::Rotr);
        let size = if rotates { size::<W>() } else { wide::<W>() };
        let width = match op {
            Shift::Shr => W::BITS,
            Shift::Rotl | Shift::Rotr if W::BITS < 32 => 64,
            _ => result_width::<W>(),
        };
        if let Val::Imm(n) = n {
            let n = n as u8 & (W::BITS as u8 - 1);
            if n == 0 {
                return a;
            }
            let r = self.v.reg(a);
            let (id, d) = self.v.fresh(width);
            self.v.asm.shift_imm(op, size, d, r, n);
            self.v.host = None;
            self.v.unlock();
            return Val::Temp(id);
        }
        let count = match A::SHIFT_COUNT {
            Some(c) => {
                self.v.into_reg(n, c);
                c
            }
            None => self.v.reg(n),
        };
        let r = self.v.reg(a);
        let (id, d) = self.v.fresh(width);
        self.v.asm.shift(op, size, d, r, count);
        self.v.host = None;
        self.v.unlock();
        Val::Temp(id)
    }

    fn mul_high<W: Width>(&mut self, is_signed: bool, a: Val, b: Val) -> Val {
        let Some((low, high)) = A::WIDE else {
            let (ra, rb) = (self.v.reg(a), self.v.reg(b));
            let (id, d) = self.v.fresh(result_width::<W>());
            self.v.asm.mul_high(is_signed, size::<W>(), d, ra, rb);
            self.v.unlock();
            return Val::Temp(id);
        };
        self.v.into_reg(a, low);
        self.v.take(high);
        let rb = self.v.reg(b);
        self.v.asm.mul_high(is_signed, size::<W>(), high, low, rb);
        self.v.host = None;
        let v = self.v.name(high, result_width::<W>());
        self.v.unlock();
        v
    }

    /// `hi:lo` of a narrow width as one number.
    fn join<W: Width>(&mut self, hi: Val, lo: Val) -> Val {
        let lo = self.v.clean(lo, W::BITS);
        let hi = self.v.clean(hi, W::BITS);
        let n = Val::Imm(W::BITS.into());
        let hi = self.shift::<W64>(Shift::Shl, hi, n);
        self.binary::<W64>(Alu::Or, hi, lo)
    }

    /// Quotient and remainder.
    fn divide(&mut self, is_signed: bool, size: Size, hi: Val, lo: Val, d: Val) -> (Val, Val) {
        let (low, high) = A::WIDE.unwrap_or((A::POOL[0], A::POOL[1]));
        self.v.into_reg(lo, low);
        self.v.into_reg(hi, high);
        let rd = self.v.reg(d);
        self.v.asm.div(is_signed, size, rd);
        self.v.host = None;
        let width = if size == Size::B64 { 64 } else { 32 };
        let (q, r) = (self.v.name(low, width), self.v.name(high, width));
        self.v.unlock();
        (q, r)
    }

    /// The index of the lowest or highest one, `otherwise` for zero.
    fn scan_or<W: Width>(&mut self, highest: bool, a: Val, otherwise: u64) -> Val {
        let a = self.v.clean(a, W::BITS);
        let r = self.v.reg(a);
        let other = self.v.reg(Val::Imm(otherwise));
        let (id, d) = self.v.fresh(8);
        self.v.asm.scan(highest, d, r);
        self.v.asm.test(Size::B64, r);
        self.v.asm.move_if(Cond::Eq, d, other);
        self.v.host = None;
        self.v.unlock();
        Val::Temp(id)
    }
}
