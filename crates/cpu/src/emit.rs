//! The evaluator: every word of the vocabulary done at once.

use crate::helpers::x87;
use crate::{Stop, helpers, state::Cpu};
use arch::{Cr4, Exception, Fault, Mode, PAGE_MASK, Rflags, Seg, Uint, is_canonical};
use decode::Insn;
use semantics::emit::{Align, Emit, Flags, Rmw, Transfer, Use, W64, Width};
use semantics::fp::{self, FpFormat, FpOp, Relation};
use semantics::table::Helper;
use semantics::vector::VecOp;
use semantics::x87::{Format, Step};
use softfloat::{Env, Ordering4};

/// Sign-extends the low `W` of `v`.
#[inline(always)]
fn signed<W: Width>(v: W::Uint) -> i64 {
    ((v.u64() << (64 - W::BITS)) as i64) >> (64 - W::BITS)
}

/// `hi:lo` as one number.
#[inline(always)]
fn wide<W: Width>(hi: W::Uint, lo: W::Uint) -> u128 {
    u128::from(hi.u64()) << W::BITS | u128::from(lo.u64())
}

#[inline(always)]
fn wide_signed<W: Width>(hi: W::Uint, lo: W::Uint) -> i128 {
    i128::from(signed::<W>(hi)) << W::BITS | i128::from(lo.u64())
}

impl Emit for Cpu {
    type Val<W: Width> = W::Uint;
    type Bool = bool;
    type Vec = u128;
    type Stop = Stop;

    #[inline(always)]
    fn mode(&self) -> Mode {
        self.mode
    }

    #[inline(always)]
    fn imm<W: Width>(&mut self, v: u64) -> W::Uint {
        W::Uint::of(v)
    }
    #[inline(always)]
    fn add<W: Width>(&mut self, a: W::Uint, b: W::Uint) -> W::Uint {
        W::Uint::of(a.u64().wrapping_add(b.u64()))
    }
    #[inline(always)]
    fn sub<W: Width>(&mut self, a: W::Uint, b: W::Uint) -> W::Uint {
        W::Uint::of(a.u64().wrapping_sub(b.u64()))
    }
    #[inline(always)]
    fn mul<W: Width>(&mut self, a: W::Uint, b: W::Uint) -> W::Uint {
        W::Uint::of(a.u64().wrapping_mul(b.u64()))
    }
    #[inline(always)]
    fn and<W: Width>(&mut self, a: W::Uint, b: W::Uint) -> W::Uint {
        W::Uint::of(a.u64() & b.u64())
    }
    #[inline(always)]
    fn or<W: Width>(&mut self, a: W::Uint, b: W::Uint) -> W::Uint {
        W::Uint::of(a.u64() | b.u64())
    }
    #[inline(always)]
    fn xor<W: Width>(&mut self, a: W::Uint, b: W::Uint) -> W::Uint {
        W::Uint::of(a.u64() ^ b.u64())
    }
    #[inline(always)]
    fn not<W: Width>(&mut self, a: W::Uint) -> W::Uint {
        W::Uint::of(!a.u64())
    }
    #[inline(always)]
    fn shl<W: Width>(&mut self, a: W::Uint, n: W::Uint) -> W::Uint {
        W::Uint::of(a.u64() << (n.u64() & 63))
    }
    #[inline(always)]
    fn shr<W: Width>(&mut self, a: W::Uint, n: W::Uint) -> W::Uint {
        W::Uint::of(a.u64() >> (n.u64() & 63))
    }
    #[inline(always)]
    fn sar<W: Width>(&mut self, a: W::Uint, n: W::Uint) -> W::Uint {
        W::Uint::of((signed::<W>(a) >> (n.u64() & 63)) as u64)
    }
    #[inline(always)]
    fn rotl<W: Width>(&mut self, a: W::Uint, n: W::Uint) -> W::Uint {
        let n = n.u64() as u32 % W::BITS;
        if n == 0 {
            a
        } else {
            W::Uint::of(a.u64() << n | a.u64() >> (W::BITS - n))
        }
    }
    #[inline(always)]
    fn rotr<W: Width>(&mut self, a: W::Uint, n: W::Uint) -> W::Uint {
        let n = n.u64() as u32 % W::BITS;
        if n == 0 {
            a
        } else {
            W::Uint::of(a.u64() >> n | a.u64() << (W::BITS - n))
        }
    }
    #[inline(always)]
    fn mul_high_u<W: Width>(&mut self, a: W::Uint, b: W::Uint) -> W::Uint {
        W::Uint::of((u128::from(a.u64()) * u128::from(b.u64()) >> W::BITS) as u64)
    }
    #[inline(always)]
    fn mul_high_s<W: Width>(&mut self, a: W::Uint, b: W::Uint) -> W::Uint {
        W::Uint::of((i128::from(signed::<W>(a)) * i128::from(signed::<W>(b)) >> W::BITS) as u64)
    }
    #[inline(always)]
    fn div_u<W: Width>(&mut self, hi: W::Uint, lo: W::Uint, d: W::Uint) -> (W::Uint, W::Uint) {
        if W::BITS < 64 {
            let n = hi.u64() << W::BITS | lo.u64();
            let d = d.u64();
            return (
                W::Uint::of(n.checked_div(d).unwrap_or(0)),
                W::Uint::of(n.checked_rem(d).unwrap_or(0)),
            );
        }
        let (n, d) = (wide::<W>(hi, lo), u128::from(d.u64()));
        let (q, r) = (n.checked_div(d).unwrap_or(0), n.checked_rem(d).unwrap_or(0));
        (W::Uint::of(q as u64), W::Uint::of(r as u64))
    }
    #[inline(always)]
    fn div_s<W: Width>(&mut self, hi: W::Uint, lo: W::Uint, d: W::Uint) -> (W::Uint, W::Uint) {
        let (n, d) = (wide_signed::<W>(hi, lo), i128::from(signed::<W>(d)));
        let (q, r) = (n.checked_div(d).unwrap_or(0), n.checked_rem(d).unwrap_or(0));
        (W::Uint::of(q as u64), W::Uint::of(r as u64))
    }
    #[inline(always)]
    fn div_s_fits<W: Width>(&mut self, hi: W::Uint, lo: W::Uint, d: W::Uint) -> bool {
        let (n, d) = (wide_signed::<W>(hi, lo), i128::from(signed::<W>(d)));
        let half = 1i128 << (W::BITS - 1);
        n.checked_div(d).is_some_and(|q| (-half..half).contains(&q))
    }
    #[inline(always)]
    fn bswap<W: Width>(&mut self, a: W::Uint) -> W::Uint {
        W::Uint::of(a.u64().swap_bytes() >> (64 - W::BITS))
    }
    #[inline(always)]
    fn clz<W: Width>(&mut self, a: W::Uint) -> W::Uint {
        W::Uint::of(u64::from(a.u64().leading_zeros() - (64 - W::BITS)))
    }
    #[inline(always)]
    fn ctz<W: Width>(&mut self, a: W::Uint) -> W::Uint {
        W::Uint::of(u64::from(a.u64().trailing_zeros().min(W::BITS)))
    }
    #[inline(always)]
    fn popcnt<W: Width>(&mut self, a: W::Uint) -> W::Uint {
        W::Uint::of(u64::from(a.u64().count_ones()))
    }
    #[inline(always)]
    fn cast<F: Width, T: Width>(&mut self, v: F::Uint) -> T::Uint {
        T::Uint::of(v.u64())
    }
    #[inline(always)]
    fn sext<F: Width, T: Width>(&mut self, v: F::Uint) -> T::Uint {
        T::Uint::of(signed::<F>(v) as u64)
    }

    #[inline(always)]
    fn truth(&mut self, b: bool) -> bool {
        b
    }
    #[inline(always)]
    fn eq<W: Width>(&mut self, a: W::Uint, b: W::Uint) -> bool {
        a == b
    }
    #[inline(always)]
    fn ult<W: Width>(&mut self, a: W::Uint, b: W::Uint) -> bool {
        a < b
    }
    #[inline(always)]
    fn slt<W: Width>(&mut self, a: W::Uint, b: W::Uint) -> bool {
        signed::<W>(a) < signed::<W>(b)
    }
    #[inline(always)]
    fn bit<W: Width>(&mut self, a: W::Uint, n: u32) -> bool {
        a.u64() >> (n & 63) & 1 != 0
    }
    #[inline(always)]
    fn negate(&mut self, a: bool) -> bool {
        !a
    }
    #[inline(always)]
    fn both(&mut self, a: bool, b: bool) -> bool {
        a & b
    }
    #[inline(always)]
    fn either(&mut self, a: bool, b: bool) -> bool {
        a | b
    }
    #[inline(always)]
    fn differ(&mut self, a: bool, b: bool) -> bool {
        a ^ b
    }
    #[inline(always)]
    fn number<W: Width>(&mut self, b: bool) -> W::Uint {
        W::Uint::of(b.into())
    }
    #[inline(always)]
    fn select<W: Width>(&mut self, c: bool, a: W::Uint, b: W::Uint) -> W::Uint {
        if c { a } else { b }
    }

    #[inline(always)]
    fn reg<W: Width>(&mut self, r: u8) -> W::Uint {
        W::Uint::of(self.gpr[usize::from(r & 15)])
    }
    #[inline(always)]
    fn set_reg<W: Width>(&mut self, r: u8, v: W::Uint) {
        let old = &mut self.gpr[usize::from(r & 15)];
        *old = if W::BITS >= 32 {
            v.u64()
        } else {
            *old & !W::MASK | v.u64()
        };
    }
    #[inline(always)]
    fn reg_high(&mut self, r: u8) -> u8 {
        (self.gpr[usize::from(r & 15)] >> 8) as u8
    }
    #[inline(always)]
    fn set_reg_high(&mut self, r: u8, v: u8) {
        let old = &mut self.gpr[usize::from(r & 15)];
        *old = *old & !0xff00 | u64::from(v) << 8;
    }
    #[inline(always)]
    fn ip(&mut self) -> u64 {
        self.rip
    }
    #[inline(always)]
    fn seg_base(&mut self, seg: Seg) -> u64 {
        self.seg[seg as usize].base
    }
    #[inline(always)]
    fn selector(&mut self, seg: Seg) -> u16 {
        self.seg[seg as usize].selector
    }
    #[inline(always)]
    fn flags(&mut self) -> Flags<u64> {
        self.flags
    }
    #[inline(always)]
    fn set_flags(&mut self, f: Flags<u64>) {
        self.flags = f;
    }
    #[inline(always)]
    fn system_flags(&mut self) -> u64 {
        self.system_flags
    }
    #[inline(always)]
    fn set_direction(&mut self, down: bool) {
        self.system_flags &= !Rflags::DF.bits();
        if down {
            self.system_flags |= Rflags::DF.bits();
        }
    }

    #[inline(always)]
    fn load<W: Width>(&mut self, seg: Seg, addr: u64) -> Result<W::Uint, Stop> {
        match self.mmu.tlb.read::<W::Uint>(self.probe, addr) {
            Some(v) => Ok(v),
            None => Ok(self.load_slow(self.class, seg, addr)?),
        }
    }
    #[inline(always)]
    fn load_modify<W: Width>(&mut self, seg: Seg, addr: u64) -> Result<W::Uint, Stop> {
        self.probe_write(seg, addr, W::BYTES)?;
        self.load::<W>(seg, addr)
    }
    #[inline(always)]
    fn store<W: Width>(&mut self, seg: Seg, addr: u64, v: W::Uint) -> Result<(), Stop> {
        if !self.mmu.tlb.write(self.probe, addr, v) {
            self.store_slow(self.class, seg, addr, v)?;
        }
        Ok(())
    }
    #[inline(always)]
    fn load_vec(&mut self, seg: Seg, addr: u64, align: Align) -> Result<u128, Stop> {
        if align == Align::Vector && addr & 15 != 0 {
            return Err(Fault::GP0.into());
        }
        match self.mmu.tlb.read_16(self.probe, addr) {
            Some(v) => Ok(v),
            None => self.load_vec_slow(seg, addr),
        }
    }
    #[inline(always)]
    fn store_vec(&mut self, seg: Seg, addr: u64, v: u128, align: Align) -> Result<(), Stop> {
        if align == Align::Vector && addr & 15 != 0 {
            return Err(Fault::GP0.into());
        }
        if self.mmu.tlb.write_16(self.probe, addr, v) {
            return Ok(());
        }
        self.store_vec_slow(seg, addr, v)
    }
    #[inline(always)]
    fn probe_write(&mut self, seg: Seg, addr: u64, bytes: u32) -> Result<(), Stop> {
        let hit = self
            .mmu
            .tlb
            .host(self.probe, addr, bytes as usize, memory::Access::Write);
        if hit.is_none() {
            self.probe_slow(self.class, seg, addr, bytes.into())?;
        }
        Ok(())
    }
    fn rmw<W: Width>(&mut self, op: Rmw, seg: Seg, addr: u64, v: W::Uint) -> Result<W::Uint, Stop> {
        let mut old = self.load_modify::<W>(seg, addr)?;
        loop {
            let new = W::Uint::of(match op {
                Rmw::Add => old.u64().wrapping_add(v.u64()),
                Rmw::And => old.u64() & v.u64(),
                Rmw::Or => old.u64() | v.u64(),
                Rmw::Xor => old.u64() ^ v.u64(),
                Rmw::Xchg => v.u64(),
            });
            let seen = self.cas::<W>(seg, addr, old, new)?;
            if seen == old {
                return Ok(old);
            }
            old = seen;
        }
    }
    fn cas<W: Width>(
        &mut self,
        seg: Seg,
        addr: u64,
        expected: W::Uint,
        new: W::Uint,
    ) -> Result<W::Uint, Stop> {
        if let Some(seen) = self
            .mmu
            .tlb
            .compare_exchange(self.probe, addr, expected, new)
        {
            return Ok(seen);
        }
        let seen = self.load_modify::<W>(seg, addr)?;
        self.store::<W>(seg, addr, if seen == expected { new } else { seen })?;
        Ok(seen)
    }
    fn check_segment(
        &mut self,
        seg: Seg,
        offset: u64,
        bytes: u32,
        access: Use,
    ) -> Result<(), Stop> {
        Ok(self.check_segment_use(seg, offset, bytes.into(), access)?)
    }

    #[inline(always)]
    fn raise(&mut self, fault: Fault) -> Result<(), Stop> {
        Err(fault.into())
    }
    #[inline(always)]
    fn raise_if(&mut self, c: bool, fault: Fault) -> Result<(), Stop> {
        if c { Err(fault.into()) } else { Ok(()) }
    }
    #[inline(always)]
    fn branch<W: Width>(&mut self, c: bool, offset: i64) -> Result<(), Stop> {
        if c { self.jump::<W>(offset) } else { Ok(()) }
    }
    #[inline(always)]
    fn jump<W: Width>(&mut self, offset: i64) -> Result<(), Stop> {
        let target = self.rip.wrapping_add_signed(offset) & W::MASK;
        self.jump_to(target, Transfer::Jump)
    }
    #[inline(always)]
    fn jump_to(&mut self, target: u64, _: Transfer) -> Result<(), Stop> {
        self.check_target(target)?;
        self.rip = target;
        Err(Stop::Branch)
    }
    #[inline(always)]
    fn check_target(&mut self, target: u64) -> Result<(), Stop> {
        let ok = if self.mode.is_64() {
            is_canonical(target)
        } else {
            target <= u64::from(self.seg[Seg::Cs as usize].limit)
        };
        if ok { Ok(()) } else { Err(Fault::GP0.into()) }
    }
    #[inline(always)]
    fn when(
        &mut self,
        c: bool,
        then: impl FnOnce(&mut Self) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        if c { then(self) } else { Ok(()) }
    }
    #[inline(always)]
    fn helper(&mut self, helper: Helper, i: &Insn) -> Result<(), Stop> {
        helpers::call(self, helper, i)
    }
    #[inline(always)]
    fn fence(&mut self) {
        std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    }

    #[inline(always)]
    fn xmm(&mut self, r: u8) -> u128 {
        self.fpu.xmm[usize::from(r & 15)]
    }
    #[inline(always)]
    fn set_xmm(&mut self, r: u8, v: u128) {
        self.fpu.xmm[usize::from(r & 15)] = v;
    }
    #[inline(always)]
    fn mm(&mut self, r: u8) -> u128 {
        self.fpu.r[usize::from(r & 7)].significand.into()
    }
    #[inline(always)]
    fn set_mm(&mut self, r: u8, v: u128) {
        self.fpu.r[usize::from(r & 7)] = softfloat::F80 {
            significand: v as u64,
            sign_exponent: 0xffff,
        };
    }
    fn x87_pending(&mut self) -> Result<(), Stop> {
        x87::pending(self)
    }
    fn enter_mmx(&mut self) -> Result<(), Stop> {
        self.x87_pending()?;
        self.fpu.top = 0;
        self.fpu.set_valid(0xff);
        Ok(())
    }
    #[inline(always)]
    fn vec_from<W: Width>(&mut self, v: W::Uint) -> u128 {
        v.u64().into()
    }
    #[inline(always)]
    fn vec_lane<W: Width>(&mut self, v: u128, n: u32) -> W::Uint {
        W::Uint::of((v >> ((n * W::BITS) & 127)) as u64)
    }
    #[inline(always)]
    fn vec_with_lane<W: Width>(&mut self, v: u128, n: u32, lane: W::Uint) -> u128 {
        let at = (n * W::BITS) & 127;
        v & !(u128::from(W::MASK) << at) | u128::from(lane.u64()) << at
    }
    #[inline(always)]
    fn vec(&mut self, op: VecOp, a: u128, b: u128) -> u128 {
        op.eval(a, b)
    }
    fn string_compare(&mut self, imm: u8, a: u128, b: u128, a_len: u32, b_len: u32) -> u32 {
        semantics::sse_string::compare(imm, a, b, a_len, b_len)
    }
    fn fp(
        &mut self,
        op: FpOp,
        format: FpFormat,
        lanes: u32,
        a: u128,
        b: u128,
    ) -> Result<u128, Stop> {
        let mut env = Env::from_mxcsr(self.fpu.mxcsr);
        let v = fp::eval(op, format, lanes, a, b, &mut env);
        self.settle(env)?;
        Ok(v)
    }
    fn fp_compare(
        &mut self,
        relation: Relation,
        format: FpFormat,
        a: u128,
        b: u128,
    ) -> Result<u64, Stop> {
        let mut env = Env::from_mxcsr(self.fpu.mxcsr);
        let order = fp::compare(relation, format, a, b, &mut env);
        self.settle(env)?;
        Ok(match order {
            Ordering4::Unordered => (Rflags::ZF | Rflags::PF | Rflags::CF).bits(),
            Ordering4::Less => Rflags::CF.bits(),
            Ordering4::Equal => Rflags::ZF.bits(),
            Ordering4::Greater => 0,
        })
    }
    fn x87(&mut self, step: Step, v: u64, high: u16) -> Result<(), Stop> {
        x87::step::step(self, step, v, high);
        Ok(())
    }
    fn x87_compare(&mut self, quiet: bool, n: u8, pops: bool) -> Result<u64, Stop> {
        x87::step::compare(self, quiet, n, pops)
    }
    fn x87_store(&mut self, format: Format, truncating: bool) -> Result<(u64, u16), Stop> {
        x87::step::store(self, format, truncating)
    }
    fn x87_note(&mut self, memory: Option<(Seg, u64)>) {
        x87::note(self, memory);
    }
    fn x87_status(&mut self) -> u16 {
        self.fpu.status()
    }
    fn x87_control(&mut self) -> u16 {
        self.fpu.fcw
    }
    fn x87_set_control(&mut self, v: u16) -> Result<(), Stop> {
        x87::control::set_control(self, v);
        Ok(())
    }
}

impl Cpu {
    #[cold]
    fn load_vec_slow(&mut self, seg: Seg, addr: u64) -> Result<u128, Stop> {
        self.check_vector(seg, addr, Use::Read)?;
        let low = self.load::<W64>(seg, addr)?;
        let high = self.load::<W64>(seg, addr.wrapping_add(8))?;
        Ok(u128::from(high) << 64 | u128::from(low))
    }
    #[cold]
    fn store_vec_slow(&mut self, seg: Seg, addr: u64, v: u128) -> Result<(), Stop> {
        self.check_vector(seg, addr, Use::Write)?;
        if addr & PAGE_MASK > PAGE_MASK - 15 {
            self.probe_write(seg, addr, 16)?;
        }
        self.store::<W64>(seg, addr, v as u64)?;
        self.store::<W64>(seg, addr.wrapping_add(8), (v >> 64) as u64)
    }
    /// What must be checked of 16 bytes as a whole, because the two halves that are accessed would pass or fail in another order.
    fn check_vector(&mut self, seg: Seg, addr: u64, access: Use) -> Result<(), Stop> {
        let crosses = addr & PAGE_MASK > PAGE_MASK - 15;
        if crosses || self.mode.checked() && addr & 15 != 0 {
            self.check_access(self.class, seg, addr, 16, access)?;
        }
        Ok(())
    }
    /// Merges the exceptions met into MXCSR; #XM if one is not masked, or #UD without CR4.OSXMMEXCPT (Vol. 1, 11.5).
    #[inline(always)]
    fn settle(&mut self, env: Env) -> Result<(), Stop> {
        self.fpu.mxcsr |= u32::from(env.flags.bits());
        if env.unmasked().is_empty() {
            return Ok(());
        }
        let handled = self.mmu.paging.cr4.contains(Cr4::OSXMMEXCPT);
        let exception = if handled {
            Exception::XM
        } else {
            Exception::UD
        };
        Err(Fault::new(exception).into())
    }
}
