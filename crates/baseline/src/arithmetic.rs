//! Integers and conditions. What is known while translating is worked out there and then.

use crate::block::Baseline;
use crate::emit::{Typed, result_width, signed, size, t, wide};
use crate::host::{Alu, Cond, HostAssembler, Shift, Size, Src};
use crate::values::{Bool, HostFlags, Lazy, Test, Val};
use semantics::emit::{Emit, W64, Width};

impl<A: HostAssembler> Baseline<A> {
    /// An operation of two sources and a new destination.
    pub(crate) fn binary<W: Width>(&mut self, op: Alu, a: Val, b: Val) -> Val {
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

    /// 0 or 1 from two truths.
    pub(crate) fn logic(&mut self, op: Alu, a: Bool, b: Bool) -> Bool {
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

    pub(crate) fn compare<W: Width>(&mut self, c: Cond, a: Val, b: Val) -> Bool {
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

    pub(crate) fn known(&self, b: Bool) -> Option<bool> {
        match self.v.tests[b.0 as usize] {
            Test::Const(c) => Some(c),
            _ => None,
        }
    }

    pub(crate) fn shift<W: Width>(&mut self, op: Shift, a: Val, n: Val) -> Val {
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

    pub(crate) fn mul_high<W: Width>(&mut self, is_signed: bool, a: Val, b: Val) -> Val {
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
    pub(crate) fn join<W: Width>(&mut self, hi: Val, lo: Val) -> Val {
        let lo = self.v.clean(lo, W::BITS);
        let hi = self.v.clean(hi, W::BITS);
        let n = Val::Imm(W::BITS.into());
        let hi = self.shift::<W64>(Shift::Shl, hi, n);
        self.binary::<W64>(Alu::Or, hi, lo)
    }

    /// Quotient and remainder.
    pub(crate) fn divide(
        &mut self,
        is_signed: bool,
        size: Size,
        hi: Val,
        lo: Val,
        d: Val,
    ) -> (Val, Val) {
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
    pub(crate) fn scan_or<W: Width>(&mut self, highest: bool, a: Val, otherwise: u64) -> Val {
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

/// The operands of an operation whose order does not matter: a constant stands second.
fn constant_last<W>(a: Typed<W>, b: Typed<W>) -> (Val, Val) {
    match a.0 {
        Val::Imm(_) => (b.0, a.0),
        _ => (a.0, b.0),
    }
}

pub(crate) fn add<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    a: Typed<W>,
    b: Typed<W>,
) -> Typed<W> {
    let (a, b) = match (a.0, b.0) {
        (Val::Imm(x), Val::Imm(y)) => return t(Val::Imm(x.wrapping_add(y) & W::MASK)),
        (Val::Imm(_), v) => (v, a.0),
        (v, w) => (v, w),
    };
    if b == Val::Imm(0) {
        return t(a);
    }
    if W::BITS == 64
        && let Some(lazy) = w.fold_address(a, b)
    {
        return t(w.v.lazy(lazy));
    }
    t(w.binary::<W>(Alu::Add, a, b))
}

pub(crate) fn sub<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    a: Typed<W>,
    b: Typed<W>,
) -> Typed<W> {
    match (a.0, b.0) {
        (Val::Imm(x), Val::Imm(y)) => t(Val::Imm(x.wrapping_sub(y) & W::MASK)),
        (_, Val::Imm(0)) => a,
        (a, b) => {
            let d = w.binary::<W>(Alu::Sub, a, b);
            if let (64, Val::Imm(by)) = (W::BITS, b)
                && let Ok(by) = i32::try_from(by as i64)
            {
                w.v.derive(d, a, -i64::from(by));
            }
            t(d)
        }
    }
}

pub(crate) fn mul<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    a: Typed<W>,
    b: Typed<W>,
) -> Typed<W> {
    let (a, b) = constant_last(a, b);
    let v = w.binary::<W>(Alu::Mul, a, b);
    w.v.host = None;
    t(v)
}

pub(crate) fn and<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    a: Typed<W>,
    b: Typed<W>,
) -> Typed<W> {
    let (a, b) = constant_last(a, b);
    match (a, b) {
        (Val::Imm(x), Val::Imm(y)) => t(Val::Imm(x & y)),
        (a, b) if a == b => t(a),
        (_, Val::Imm(m)) if m == W::MASK => t(a),
        _ => {
            let width = w.v.width(a).min(w.v.width(b));
            let v = w.binary::<W>(Alu::And, a, b);
            if let Val::Temp(id) = v {
                let w = &mut w.v.temps[id as usize].width;
                *w = (*w).min(width);
            }
            t(v)
        }
    }
}

pub(crate) fn or<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    a: Typed<W>,
    b: Typed<W>,
) -> Typed<W> {
    let (a, b) = constant_last(a, b);
    match (a, b) {
        (Val::Imm(x), Val::Imm(y)) => t(Val::Imm(x | y)),
        (_, Val::Imm(0)) => t(a),
        (a, b) if a == b => t(a),
        _ => {
            let width = w.v.width(a).max(w.v.width(b)).min(result_width::<W>());
            let v = w.binary::<W>(Alu::Or, a, b);
            if let Val::Temp(id) = v {
                w.v.temps[id as usize].width = width;
            }
            t(v)
        }
    }
}

pub(crate) fn xor<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    a: Typed<W>,
    b: Typed<W>,
) -> Typed<W> {
    if a.0 == b.0 {
        return t(Val::Imm(0));
    }
    let (a, b) = constant_last(a, b);
    match (a, b) {
        (Val::Imm(x), Val::Imm(y)) => t(Val::Imm(x ^ y)),
        _ => t(w.binary::<W>(Alu::Xor, a, b)),
    }
}

pub(crate) fn not<A: HostAssembler, W: Width>(w: &mut Baseline<A>, a: Typed<W>) -> Typed<W> {
    if let Val::Imm(v) = a.0 {
        return t(Val::Imm(!v & W::MASK));
    }
    let r = w.v.reg(a.0);
    let (id, d) = w.v.fresh(64);
    w.v.asm.not(d, r);
    w.v.unlock();
    t(Val::Temp(id))
}

pub(crate) fn shl<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    a: Typed<W>,
    n: Typed<W>,
) -> Typed<W> {
    if let (64, Val::Imm(n @ 1..=3), Val::Temp(_)) = (W::BITS, n.0, a.0)
        && w.v.address(a.0).is_none()
    {
        return t(w.v.lazy(Lazy::Address {
            base: None,
            index: Some((a.0, n as u8)),
            disp: 0,
        }));
    }
    t(w.shift::<W>(Shift::Shl, a.0, n.0))
}

pub(crate) fn shr<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    a: Typed<W>,
    n: Typed<W>,
) -> Typed<W> {
    // The host's 32-bit shift does not see the upper half.
    let a = if W::BITS < 32 {
        w.v.clean(a.0, W::BITS)
    } else {
        a.0
    };
    t(w.shift::<W>(Shift::Shr, a, n.0))
}

pub(crate) fn sar<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    a: Typed<W>,
    n: Typed<W>,
) -> Typed<W> {
    let a = if W::BITS < 32 {
        w.sext::<W, W64>(a).0
    } else {
        a.0
    };
    t(w.shift::<W>(Shift::Sar, a, n.0))
}

pub(crate) fn mul_high_u<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    a: Typed<W>,
    b: Typed<W>,
) -> Typed<W> {
    if W::BITS < 32 {
        let (a, b) = (w.v.clean(a.0, W::BITS), w.v.clean(b.0, W::BITS));
        let p = w.binary::<W64>(Alu::Mul, a, b);
        w.v.host = None;
        let n = w.imm::<W64>(W::BITS.into());
        return t(w.shift::<W64>(Shift::Shr, p, n.0));
    }
    t(w.mul_high::<W>(false, a.0, b.0))
}

pub(crate) fn mul_high_s<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    a: Typed<W>,
    b: Typed<W>,
) -> Typed<W> {
    if W::BITS < 32 {
        let (a, b) = (w.sext::<W, W64>(a), w.sext::<W, W64>(b));
        let p = w.binary::<W64>(Alu::Mul, a.0, b.0);
        w.v.host = None;
        let n = w.imm::<W64>(W::BITS.into());
        return t(w.shift::<W64>(Shift::Shr, p, n.0));
    }
    t(w.mul_high::<W>(true, a.0, b.0))
}

pub(crate) fn div_u<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    hi: Typed<W>,
    lo: Typed<W>,
    d: Typed<W>,
) -> (Typed<W>, Typed<W>) {
    if W::BITS < 32 {
        let n = w.join::<W>(hi.0, lo.0);
        let d = w.v.clean(d.0, W::BITS);
        let (q, r) = w.divide(false, Size::B32, Val::Imm(0), n, d);
        return (t(q), t(r));
    }
    let (q, r) = w.divide(false, size::<W>(), hi.0, lo.0, d.0);
    (t(q), t(r))
}

pub(crate) fn div_s<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    hi: Typed<W>,
    lo: Typed<W>,
    d: Typed<W>,
) -> (Typed<W>, Typed<W>) {
    if W::BITS < 32 {
        // `div_s_fits` has sent everything but a sign-extended dividend to the evaluator.
        let (n, d) = (w.sext::<W, W64>(lo), w.sext::<W, W64>(d));
        let s = w.imm::<W64>(63);
        let sign = w.shift::<W64>(Shift::Sar, n.0, s.0);
        let (q, r) = w.divide(true, Size::B32, sign, n.0, d.0);
        return (t(q), t(r));
    }
    let (q, r) = w.divide(true, size::<W>(), hi.0, lo.0, d.0);
    (t(q), t(r))
}

pub(crate) fn div_s_fits<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    hi: Typed<W>,
    lo: Typed<W>,
    d: Typed<W>,
) -> Bool {
    // The common case is tested; the evaluator knows the others.
    let n = w.imm::<W>(u64::from(W::BITS) - 1);
    let sign = w.sar(lo, n);
    let (h, s) = (w.v.clean(hi.0, W::BITS), w.v.clean(sign.0, W::BITS));
    let same = w.compare::<W>(Cond::Eq, h, s);
    let other = w.negate(same);
    w.bail_if(other);
    let zero = w.compare::<W>(Cond::Eq, d.0, Val::Imm(0));
    w.bail_if(zero);
    let minus = w.compare::<W>(Cond::Eq, d.0, Val::Imm(W::MASK));
    w.bail_if(minus);
    w.truth(true)
}

pub(crate) fn bswap<A: HostAssembler, W: Width>(w: &mut Baseline<A>, a: Typed<W>) -> Typed<W> {
    let r = w.v.reg(a.0);
    let (id, d) = w.v.fresh(if W::BITS == 32 { 32 } else { 64 });
    w.v.asm.bswap(size::<W>(), d, r);
    w.v.host = None;
    w.v.unlock();
    t(Val::Temp(id))
}

pub(crate) fn clz<A: HostAssembler, W: Width>(w: &mut Baseline<A>, a: Typed<W>) -> Typed<W> {
    // Index of the highest one, or for zero what makes the difference below the width.
    let bits = u64::from(W::BITS);
    let index = w.scan_or::<W>(true, a.0, 2 * bits - 1);
    let most = w.imm::<W>(bits - 1);
    let v = w.binary::<W>(Alu::Xor, index, most.0);
    t(v)
}

pub(crate) fn popcnt<A: HostAssembler, W: Width>(w: &mut Baseline<A>, a: Typed<W>) -> Typed<W> {
    let a = w.v.clean(a.0, W::BITS);
    let r = w.v.reg(a);
    let (id, d) = w.v.fresh(7);
    w.v.asm.popcnt(d, r);
    w.v.host = None;
    w.v.unlock();
    t(Val::Temp(id))
}

pub(crate) fn cast<A: HostAssembler, F: Width, T: Width>(
    w: &mut Baseline<A>,
    v: Typed<F>,
) -> Typed<T> {
    if T::BITS <= F::BITS {
        return match v.0 {
            Val::Imm(i) => t(Val::Imm(i & T::MASK)),
            v => t(v),
        };
    }
    let c = w.v.clean(v.0, F::BITS);
    w.v.unlock();
    t(c)
}

pub(crate) fn sext<A: HostAssembler, F: Width, T: Width>(
    w: &mut Baseline<A>,
    v: Typed<F>,
) -> Typed<T> {
    if let Val::Imm(i) = v.0 {
        return t(Val::Imm(signed::<F>(i) as u64 & T::MASK));
    }
    if T::BITS <= F::BITS {
        return t(v.0);
    }
    let r = w.v.reg(v.0);
    let (id, d) = w.v.fresh(64);
    w.v.asm.sign_extend(size::<F>(), d, r);
    w.v.unlock();
    t(Val::Temp(id))
}

pub(crate) fn eq<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    a: Typed<W>,
    b: Typed<W>,
) -> Bool {
    let (a, b) = constant_last(a, b);
    w.compare::<W>(Cond::Eq, a, b)
}

pub(crate) fn bit<A: HostAssembler, W: Width>(w: &mut Baseline<A>, a: Typed<W>, n: u32) -> Bool {
    if let Val::Imm(v) = a.0 {
        return w.truth(v >> n & 1 != 0);
    }
    if n == W::BITS - 1 {
        return w
            .v
            .test(Test::Compare(Cond::Neg, size::<W>(), a.0, Val::Imm(0)));
    }
    if n < 32 {
        return w.v.test(Test::Bits(Cond::Ne, Size::B32, a.0, 1i32 << n));
    }
    let shifted = w.shift::<W64>(Shift::Shr, a.0, Val::Imm(n.into()));
    w.v.test(Test::Bits(Cond::Ne, Size::B32, shifted, 1))
}

pub(crate) fn negate<A: HostAssembler>(w: &mut Baseline<A>, a: Bool) -> Bool {
    let n = match w.v.tests[a.0 as usize] {
        Test::Const(c) => Test::Const(!c),
        Test::Compare(c, s, x, y) => Test::Compare(c.inverted(), s, x, y),
        Test::Bits(c, s, v, m) => Test::Bits(c.inverted(), s, v, m),
        Test::Value(v) => Test::Compare(Cond::Eq, Size::B32, v, Val::Imm(0)),
    };
    w.v.test(n)
}

pub(crate) fn both<A: HostAssembler>(w: &mut Baseline<A>, a: Bool, b: Bool) -> Bool {
    match (w.known(a), w.known(b)) {
        (Some(false), _) | (_, Some(true)) => a,
        (Some(true), _) | (_, Some(false)) => b,
        _ => w.logic(Alu::And, a, b),
    }
}

pub(crate) fn either<A: HostAssembler>(w: &mut Baseline<A>, a: Bool, b: Bool) -> Bool {
    match (w.known(a), w.known(b)) {
        (Some(true), _) | (_, Some(false)) => a,
        (Some(false), _) | (_, Some(true)) => b,
        _ => w.logic(Alu::Or, a, b),
    }
}

pub(crate) fn differ<A: HostAssembler>(w: &mut Baseline<A>, a: Bool, b: Bool) -> Bool {
    match (w.known(a), w.known(b)) {
        (Some(false), _) => b,
        (_, Some(false)) => a,
        (Some(true), _) => w.negate(b),
        (_, Some(true)) => w.negate(a),
        _ => w.logic(Alu::Xor, a, b),
    }
}

pub(crate) fn number<A: HostAssembler, W: Width>(w: &mut Baseline<A>, b: Bool) -> Typed<W> {
    match w.v.tests[b.0 as usize] {
        Test::Const(c) => t(Val::Imm(c.into())),
        Test::Value(v) if w.v.width(v) == 1 => t(v),
        _ => t(w.v.lazy(Lazy::Test(b))),
    }
}

pub(crate) fn select<A: HostAssembler, W: Width>(
    w: &mut Baseline<A>,
    c: Bool,
    a: Typed<W>,
    b: Typed<W>,
) -> Typed<W> {
    if let Some(known) = w.known(c) {
        return if known { a } else { b };
    }
    let width = w.v.width(a.0).max(w.v.width(b.0));
    let (ra, rb) = (w.v.reg(a.0), w.v.reg(b.0));
    let (id, d) = w.v.fresh(width);
    match w.v.flags_of(c) {
        Err(known) => w.v.asm.mov(d, if known { ra } else { rb }),
        Ok(cond) => {
            w.v.asm.mov(d, rb);
            w.v.asm.move_if(cond, d, ra);
        }
    }
    w.v.unlock();
    t(Val::Temp(id))
}
