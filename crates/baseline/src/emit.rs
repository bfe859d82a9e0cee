//! `impl Emit for Baseline`: every word of the vocabulary written down as host code.

use crate::block::{Baseline, Cell, Deferred, Ended, FpCall, Near, inputs, stub};
use crate::host::{Alu, Cond, HostAssembler, Shift, Size};
use crate::values::{Bool, Lazy, Test, Val};
use crate::vectors::Vector;
use crate::x87::Known;
use crate::{arithmetic, softmmu};
use arch::{Fault, Mode, Seg, Size as ModeSize};
use cpu::native::{Stubs, offset, site};
use decode::Insn;
use memory::Entry;
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

pub(crate) fn t<W>(v: Val) -> Typed<W> {
    Typed(v, PhantomData)
}

pub(crate) fn size<W: Width>() -> Size {
    Size::of(W::BITS)
}

/// Host arithmetic is done in 32 or 64 bits.
pub(crate) fn wide<W: Width>() -> Size {
    if W::BITS == 64 { Size::B64 } else { Size::B32 }
}

/// Bits above which a result of [`wide`] arithmetic is zero.
pub(crate) fn result_width<W: Width>() -> u32 {
    if W::BITS == 64 { 64 } else { 32 }
}

pub(crate) fn signed<W: Width>(v: u64) -> i64 {
    ((v << (64 - W::BITS)) as i64) >> (64 - W::BITS)
}

/// What a slow path accesses, for [`cpu::native::site`].
pub(crate) fn access<W: Width>(seg: Seg) -> u64 {
    u64::from(W::BYTES.trailing_zeros()) | (seg as u64) << 4
}

/// Where the `Cpu` has a segment's base.
pub(crate) const fn base_of(seg: Seg) -> usize {
    offset::SEG + seg as usize * size_of::<arch::Segment>() + offset_of!(arch::Segment, base)
}

impl<A: HostAssembler> Baseline<A> {
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

    /// Leaves to the evaluator if the host's flags say `c`.
    pub(crate) fn bail_if(&mut self, b: Bool) {
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
        arithmetic::add(self, a, b)
    }
    fn sub<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        arithmetic::sub(self, a, b)
    }
    fn mul<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        arithmetic::mul(self, a, b)
    }
    fn and<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        arithmetic::and(self, a, b)
    }
    fn or<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        arithmetic::or(self, a, b)
    }
    fn xor<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        arithmetic::xor(self, a, b)
    }
    fn not<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        arithmetic::not(self, a)
    }
    fn shl<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        arithmetic::shl(self, a, n)
    }
    fn shr<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        arithmetic::shr(self, a, n)
    }
    fn sar<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        arithmetic::sar(self, a, n)
    }
    fn rotl<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        t(self.shift::<W>(Shift::Rotl, a.0, n.0))
    }
    fn rotr<W: Width>(&mut self, a: Typed<W>, n: Typed<W>) -> Typed<W> {
        t(self.shift::<W>(Shift::Rotr, a.0, n.0))
    }
    fn mul_high_u<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        arithmetic::mul_high_u(self, a, b)
    }
    fn mul_high_s<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        arithmetic::mul_high_s(self, a, b)
    }
    fn div_u<W: Width>(&mut self, hi: Typed<W>, lo: Typed<W>, d: Typed<W>) -> (Typed<W>, Typed<W>) {
        arithmetic::div_u(self, hi, lo, d)
    }
    fn div_s<W: Width>(&mut self, hi: Typed<W>, lo: Typed<W>, d: Typed<W>) -> (Typed<W>, Typed<W>) {
        arithmetic::div_s(self, hi, lo, d)
    }
    fn div_s_fits<W: Width>(&mut self, hi: Typed<W>, lo: Typed<W>, d: Typed<W>) -> Bool {
        arithmetic::div_s_fits(self, hi, lo, d)
    }
    fn bswap<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        arithmetic::bswap(self, a)
    }
    fn clz<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        arithmetic::clz(self, a)
    }
    fn ctz<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        t(self.scan_or::<W>(false, a.0, W::BITS.into()))
    }
    fn popcnt<W: Width>(&mut self, a: Typed<W>) -> Typed<W> {
        arithmetic::popcnt(self, a)
    }
    fn cast<F: Width, T: Width>(&mut self, v: Typed<F>) -> Typed<T> {
        arithmetic::cast::<A, F, T>(self, v)
    }
    fn loose<F: Width, T: Width>(&mut self, v: Typed<F>) -> Typed<T> {
        t(v.0)
    }
    fn sext<F: Width, T: Width>(&mut self, v: Typed<F>) -> Typed<T> {
        arithmetic::sext::<A, F, T>(self, v)
    }

    fn truth(&mut self, b: bool) -> Bool {
        self.v.test(Test::Const(b))
    }
    fn eq<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Bool {
        arithmetic::eq(self, a, b)
    }
    fn ult<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Bool {
        self.compare::<W>(Cond::Ult, a.0, b.0)
    }
    fn slt<W: Width>(&mut self, a: Typed<W>, b: Typed<W>) -> Bool {
        self.compare::<W>(Cond::Slt, a.0, b.0)
    }
    fn bit<W: Width>(&mut self, a: Typed<W>, n: u32) -> Bool {
        arithmetic::bit(self, a, n)
    }
    fn negate(&mut self, a: Bool) -> Bool {
        arithmetic::negate(self, a)
    }
    fn both(&mut self, a: Bool, b: Bool) -> Bool {
        arithmetic::both(self, a, b)
    }
    fn either(&mut self, a: Bool, b: Bool) -> Bool {
        arithmetic::either(self, a, b)
    }
    fn differ(&mut self, a: Bool, b: Bool) -> Bool {
        arithmetic::differ(self, a, b)
    }
    fn number<W: Width>(&mut self, b: Bool) -> Typed<W> {
        arithmetic::number::<A, W>(self, b)
    }
    fn select<W: Width>(&mut self, c: Bool, a: Typed<W>, b: Typed<W>) -> Typed<W> {
        arithmetic::select(self, c, a, b)
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
        softmmu::load(self, seg, addr)
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
        softmmu::store(self, seg, addr, v)
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
        seg: Seg,
        addr: Typed<W64>,
        v: Typed<W>,
    ) -> Result<Typed<W>, Ended> {
        if self.alone {
            return alone::rmw(self, op, seg, addr, v);
        }
        softmmu::rmw(self, op, addr, v)
    }
    fn cas<W: Width>(
        &mut self,
        seg: Seg,
        addr: Typed<W64>,
        expected: Typed<W>,
        new: Typed<W>,
    ) -> Result<Typed<W>, Ended> {
        if self.alone {
            return alone::cas(self, seg, addr, expected, new);
        }
        softmmu::cas(self, addr, expected, new)
    }
    fn check_segment(
        &mut self,
        seg: Seg,
        off: Typed<W64>,
        bytes: u32,
        access: Use,
    ) -> Result<(), Ended> {
        softmmu::check_segment(self, seg, off, bytes, access)
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

impl<A: HostAssembler> Baseline<A> {}
