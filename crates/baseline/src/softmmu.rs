//! Guest memory: the TLB's inline probe before each access, and what stands before it when addresses share one.

use crate::block::{Baseline, Ended};
use crate::emit::{Typed, access, size, t, wide};
use crate::host::{Alu, Cond, HostAssembler, Label, Reg, Size, Src};
use crate::values::{Lazy, Val};
use arch::Seg;
use cpu::native::offset;
use memory::Entry;
use semantics::emit::{Rmw, Use, W64, Width};
use std::mem::offset_of;

impl<A: HostAssembler> Baseline<A> {
    /// `d` ← the addend of the page that `bytes` bytes at the address in `a` lie in, if the TLB entry of this mode has it under the tag at
    /// `tag`; else goes to `miss`.
    pub(crate) fn probe(&mut self, tag: usize, a: Reg, bytes: u32, d: Reg, t: Reg, miss: Label) {
        let array = self.class() * size_of::<[Entry; memory::ENTRIES]>();
        let (array, tag) = (array as i32, tag as i32);
        self.v.asm.probe(array, tag, a, bytes, d, t, miss);
    }

    /// The linear address in a register, and the addend of its page: control comes here only if the TLB permits the access; else the
    /// evaluator does the instruction, by the path that is answered.
    pub(crate) fn probed(&mut self, tag: usize, addr: Val, bytes: u32) -> (Reg, u32, Reg, Label) {
        let a = self.v.reg(addr);
        let (id, d) = self.v.fresh(64);
        let (_, scratch) = self.v.fresh(64);
        // Only now: the path stores the deferred flags from where they are when the probe jumps.
        let miss = self.plan_bail();
        self.probe(tag, a, bytes, d, scratch, miss);
        self.v.host = None;
        (a, id, d, miss)
    }

    /// The host's address of a register operand of `rmw` and `cas`: aligned and writable, or the evaluator does it.
    pub(crate) fn atomic<W: Width>(&mut self, addr: Val) -> (Reg, Reg) {
        let (a, _, d, bail) = self.probed(offset_of!(Entry, write), addr, W::BYTES);
        if W::BYTES > 1 {
            self.v.asm.test_bits(Size::B32, a, W::BYTES as i32 - 1);
            self.v.asm.jump_if(Cond::Ne, bail);
        }
        (a, d)
    }

    /// How far behind `base` the address is, if it is known to be.
    pub(crate) fn distance(&self, addr: Val, base: Val) -> Option<i32> {
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
    pub(crate) fn fold_address(&self, a: Val, b: Val) -> Option<Lazy> {
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
}

pub(crate) fn load<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    seg: Seg,
    addr: Typed<W64>,
) -> Result<Typed<W>, Ended> {
    if let Some(v) = w.in_window::<W>(seg, addr.0, None) {
        return Ok(t(v));
    }
    if w.opens.read
        && let Some(v) = w.open_window::<W>(addr.0, None)
    {
        return Ok(t(v));
    }
    let a = w.v.reg(addr.0);
    let (id, d) = w.v.fresh(W::BITS);
    let (_, scratch) = w.v.fresh(64);
    let back = w.v.asm.label();
    let miss = w.plan_load(access::<W>(seg), addr.0, d, back);
    w.probe(offset_of!(Entry, read), a, W::BYTES, d, scratch, miss);
    w.v.asm.load_at(size::<W>(), d, a, d);
    w.v.asm.bind(back);
    w.v.host = None;
    w.v.unlock();
    Ok(t(Val::Temp(id)))
}

pub(crate) fn store<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    seg: Seg,
    addr: Typed<W64>,
    v: Typed<W>,
) -> Result<(), Ended> {
    if let Some((a, addend, bytes)) = w.writable
        && let Some(by) = w.distance(addr.0, a)
        && i64::from(by) + i64::from(W::BYTES) <= i64::from(bytes)
    {
        let (ra, mut rd, rv) = (w.v.reg(a), w.v.reg(addend), w.v.reg(v.0));
        if by != 0 {
            let (_, d) = w.v.fresh(64);
            w.v.asm.lea(d, rd, None, by);
            rd = d;
        }
        w.v.asm.store_at(size::<W>(), ra, rd, rv);
        w.v.unlock();
        return Ok(());
    }
    if w.in_window::<W>(seg, addr.0, Some(v.0)).is_some() {
        return Ok(());
    }
    if w.opens.write && w.open_window::<W>(addr.0, Some(v.0)).is_some() {
        return Ok(());
    }
    let a = w.v.reg(addr.0);
    let rv = w.v.reg(v.0);
    let (_, d) = w.v.fresh(64);
    let (_, scratch) = w.v.fresh(64);
    let back = w.v.asm.label();
    let value = if let Val::Imm(_) = v.0 {
        w.v.value_of(rv)
    } else {
        v.0
    };
    let miss = w.plan_store(access::<W>(seg), addr.0, value, back);
    w.probe(offset_of!(Entry, write), a, W::BYTES, d, scratch, miss);
    w.v.asm.store_at(size::<W>(), a, d, rv);
    w.v.asm.bind(back);
    w.v.host = None;
    w.v.unlock();
    Ok(())
}

pub(crate) fn rmw<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    op: Rmw,
    addr: Typed<W64>,
    v: Typed<W>,
) -> Result<Typed<W>, Ended> {
    if let Rmw::Add | Rmw::Xchg = op {
        let rv = w.v.reg(v.0);
        let (a, d) = w.atomic::<W>(addr.0);
        let (id, x) = w.v.fresh(64);
        w.v.asm.mov(x, rv);
        if op == Rmw::Add {
            w.v.asm.exchange_add(size::<W>(), a, d, x);
        } else {
            w.v.asm.exchange(size::<W>(), a, d, x);
        }
        w.v.host = None;
        w.v.unlock();
        let old = w.v.clean_always(Val::Temp(id), W::BITS);
        return Ok(t(old));
    }
    // A compare-and-exchange loop; the expected value has a register of its own.
    let expected = A::EXPECTED.unwrap_or(A::POOL[0]);
    w.v.take(expected);
    let rv = w.v.reg(v.0);
    let (a, d) = w.atomic::<W>(addr.0);
    let (_, new) = w.v.fresh(64);
    w.v.asm.load_at(size::<W>(), expected, a, d);
    let again = w.v.asm.label();
    w.v.asm.bind(again);
    let alu = match op {
        Rmw::And => Alu::And,
        Rmw::Or => Alu::Or,
        _ => Alu::Xor,
    };
    w.v.asm.alu(alu, wide::<W>(), new, expected, Src::Reg(rv));
    w.v.asm.compare_exchange(size::<W>(), a, d, new);
    w.v.asm.jump_if(Cond::Ne, again);
    w.v.host = None;
    let old = w.v.name(expected, 64);
    w.v.unlock();
    Ok(t(w.v.clean_always(old, W::BITS)))
}

pub(crate) fn cas<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    addr: Typed<W64>,
    expected: Typed<W>,
    new: Typed<W>,
) -> Result<Typed<W>, Ended> {
    let register = A::EXPECTED.unwrap_or(A::POOL[0]);
    w.v.into_reg(expected.0, register);
    w.v.reg(addr.0);
    let rn = w.v.reg(new.0);
    let (a, d) = w.atomic::<W>(addr.0);
    w.v.asm.compare_exchange(size::<W>(), a, d, rn);
    w.v.host = None;
    let old = w.v.name(register, 64);
    w.v.unlock();
    Ok(t(w.v.clean_always(old, W::BITS)))
}

pub(crate) fn check_segment<A: HostAssembler>(
    w: &mut Baseline<A>,
    seg: Seg,
    off: Typed<W64>,
    bytes: u32,
    access: Use,
) -> Result<(), Ended> {
    let r = w.v.reg(off.0);
    let (id, d) = w.v.fresh(64);
    w.v.asm.lea(d, r, None, bytes as i32 - 1);
    let table = if access == Use::Read {
        offset::READ_LIMITS
    } else {
        offset::WRITE_LIMITS
    };
    let bail = w.plan_bail();
    w.v.asm
        .compare_cpu(Size::B64, d, (table + 8 * seg as usize) as i32);
    w.v.asm.jump_if(Cond::Uge, bail);
    w.v.host = None;
    let _ = id;
    w.v.unlock();
    Ok(())
}
