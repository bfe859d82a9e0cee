//! Values of a block under construction: names for what host registers, spill slots and guest registers hold.
//!
//! A value never changes once it has a name. Guest registers are written through, so that a register's copy is always clean: giving it
//! up costs nothing. Comparisons are lazy: they have no host code until somebody asks.

use crate::host::{Cond, HostAssembler, Reg, Size, Src};
use crate::vectors::{Vector, Vectors};
use crate::window::Window;
use cpu::native::offset;

/// A named value or a constant. Bits above the value's width are not defined unless [`Temp::width`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Val {
    Imm(u64),
    Temp(u32),
}

/// A condition by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bool(pub u32);

/// What a condition is.
#[derive(Clone, Copy, Debug)]
pub enum Test {
    Const(bool),
    /// `a` compared with `b`.
    Compare(Cond, Size, Val, Val),
    /// Whether `value & mask` is zero (`Eq`) or not.
    Bits(Cond, Size, Val, i32),
    /// 0 or 1 in a value.
    Value(Val),
}

/// A value that has no host code yet.
#[derive(Clone, Copy, Debug)]
pub enum Lazy {
    /// 0 or 1 of a condition.
    Test(Bool),
    /// `base + (index << scale) + disp` in 64 bits: what a host's addressing mode can say.
    Address {
        base: Option<Val>,
        index: Option<(Val, u8)>,
        disp: i32,
    },
    /// A lane of a vector that lives as long as the instruction.
    Lane(Vector, u8, Size),
}

/// A value.
#[derive(Clone, Copy, Debug)]
pub struct Temp {
    pub reg: Option<Reg>,
    pub spill: Option<u8>,
    /// Bits from here up are zero.
    pub width: u32,
    /// Set until somebody asks for the value.
    pub lazy: Option<Lazy>,
    /// The value that it is a known distance from, as an address, and the distance.
    origin: Option<(u32, i64)>,
    /// The instruction that used it last.
    used: u32,
}

/// All values of a block, and where they are.
pub struct Values<A> {
    pub asm: A,
    pub x: Vectors,
    pub temps: Vec<Temp>,
    pub tests: Vec<Test>,
    /// What each host register holds.
    regs: [Option<u32>; 32],
    /// Registers that must not be given up now.
    locked: u32,
    /// The value that each guest register has.
    pub home: [Option<Val>; 16],
    /// Spill slots in use.
    spills: u64,
    /// An instruction needed more spill slots than there are: what was written is worthless.
    pub overflow: bool,
    /// Number of the instruction under construction.
    pub now: u32,
    /// Which compare the host's flags hold, if any.
    pub host: Option<HostFlags>,
    /// Pages that accesses of the block found: their addends are in registers, or the window is gone.
    pub windows: Vec<Window>,
}

impl<A: HostAssembler> Default for Values<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// What the host's flags stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostFlags {
    pub size: Size,
    /// `a` compared with `b`.
    pub compare: Option<(Val, Val)>,
    /// Zero and sign of this value.
    pub result: Option<Val>,
}

pub(crate) fn offset_of_gpr(g: usize) -> i32 {
    (offset::GPR + 8 * g) as i32
}

pub(crate) fn offset_of_spill(s: u8) -> i32 {
    (offset::SPILL + 8 * usize::from(s)) as i32
}

impl<A: HostAssembler> Values<A> {
    pub fn new() -> Self {
        Self {
            asm: A::default(),
            x: Vectors::new(),
            temps: Vec::new(),
            tests: Vec::new(),
            regs: [None; 32],
            locked: 0,
            home: [None; 16],
            spills: 0,
            overflow: false,
            now: 0,
            host: None,
            windows: Vec::new(),
        }
    }

    /// Forgets everything: a new block.
    pub fn reset(&mut self) {
        self.asm.reset();
        self.x.reset();
        self.temps.clear();
        self.tests.clear();
        self.regs = [None; 32];
        self.locked = 0;
        self.home = [None; 16];
        self.spills = 0;
        self.overflow = false;
        self.now = 0;
        self.host = None;
        self.windows.clear();
    }

    /// A new value that lives in a free register, which it answers and locks.
    pub fn fresh(&mut self, width: u32) -> (u32, Reg) {
        let reg = self.free_reg();
        let id = self.temps.len() as u32;
        self.temps.push(Temp {
            reg: Some(reg),
            spill: None,
            width,
            lazy: None,
            origin: None,
            used: self.now,
        });
        self.regs[usize::from(reg)] = Some(id);
        self.lock(reg);
        (id, reg)
    }

    /// A value that is worked out when it is needed.
    pub fn lazy(&mut self, lazy: Lazy) -> Val {
        let id = self.temps.len() as u32;
        let origin = match lazy {
            Lazy::Address {
                base: Some(b),
                index: None,
                disp,
            } => self.origin(b).map(|(root, d)| (root, d + i64::from(disp))),
            _ => None,
        };
        let width = match lazy {
            Lazy::Test(_) => 1,
            Lazy::Address { .. } => 64,
            Lazy::Lane(_, _, size) => size.bits(),
        };
        self.temps.push(Temp {
            reg: None,
            spill: None,
            width,
            lazy: Some(lazy),
            origin,
            used: self.now,
        });
        Val::Temp(id)
    }

    /// The value that an address is a known distance from, itself if there is no other, and the distance.
    pub fn origin(&self, v: Val) -> Option<(u32, i64)> {
        let Val::Temp(id) = v else { return None };
        Some(self.temps[id as usize].origin.unwrap_or((id, 0)))
    }

    /// The 64-bit value `v` was worked out as `from` plus `distance`.
    pub fn derive(&mut self, v: Val, from: Val, distance: i64) {
        if let (Val::Temp(id), Some((root, d))) = (v, self.origin(from)) {
            self.temps[id as usize].origin = d.checked_add(distance).map(|d| (root, d));
        }
    }

    /// The window whose addend a value is.
    fn window_of(&self, id: u32) -> Option<usize> {
        self.windows.iter().position(|w| w.addend == id)
    }

    /// The addressing mode that a value stands for, if it is still one.
    pub fn address(&self, v: Val) -> Option<Lazy> {
        let Val::Temp(id) = v else { return None };
        self.temps[id as usize]
            .lazy
            .filter(|l| matches!(l, Lazy::Address { .. }))
    }

    /// The lane that a value stands for, if nobody has asked for it yet.
    pub fn lane(&self, v: Val) -> Option<(Vector, u8, Size)> {
        let Val::Temp(id) = v else { return None };
        match self.temps[id as usize].lazy {
            Some(Lazy::Lane(v, n, size)) => Some((v, n, size)),
            _ => None,
        }
    }

    pub fn lock(&mut self, reg: Reg) {
        self.locked |= 1 << reg;
    }
    /// Ends an operation: its registers may be given up again.
    pub fn unlock(&mut self) {
        self.locked = 0;
        self.unlock_vectors();
    }

    /// The guest register that backs a value up.
    pub(crate) fn backing(&self, id: u32) -> Option<usize> {
        self.home.iter().position(|h| *h == Some(Val::Temp(id)))
    }

    fn free_reg(&mut self) -> Reg {
        let open = |r: Reg, locked: u32| locked >> r & 1 == 0;
        if let Some(&r) = A::POOL
            .iter()
            .find(|&&r| self.regs[usize::from(r)].is_none() && open(r, self.locked))
        {
            return r;
        }
        // The value that was used longest ago; one that needs no store first.
        let mut best = (u32::MAX, A::POOL[0]);
        for &r in A::POOL {
            if let Some(id) = self.regs[usize::from(r)].filter(|_| open(r, self.locked)) {
                let t = &self.temps[id as usize];
                let costs =
                    t.spill.is_none() && self.backing(id).is_none() && self.window_of(id).is_none();
                let rank = t.used * 2 + u32::from(costs);
                if rank < best.0 {
                    best = (rank, r);
                }
            }
        }
        debug_assert_ne!(
            best.0,
            u32::MAX,
            "an operation locks fewer registers than there are"
        );
        self.evict(best.1);
        best.1
    }

    /// Empties a register; its value goes on elsewhere.
    pub fn evict(&mut self, reg: Reg) {
        let Some(id) = self.regs[usize::from(reg)].take() else {
            return;
        };
        if let Some(n) = self.window_of(id) {
            self.windows.remove(n);
        } else if self.temps[id as usize].spill.is_none() && self.backing(id).is_none() {
            self.spill(id, reg);
        }
        self.temps[id as usize].reg = None;
    }

    fn spill(&mut self, id: u32, reg: Reg) {
        let slot = self.spills.trailing_ones() as u8;
        if usize::from(slot) >= cpu::native::SPILLS {
            self.overflow = true;
            self.temps[id as usize].spill = Some(0);
            return;
        }
        self.spills |= 1 << slot;
        self.asm.store_cpu(Size::B64, offset_of_spill(slot), reg);
        self.temps[id as usize].spill = Some(slot);
    }

    /// Makes `reg` free for an operation that needs this very register, and locks it.
    pub fn take(&mut self, reg: Reg) {
        if let Some(id) = self.regs[usize::from(reg)] {
            // Move it rather than store it, if there is room.
            let room = A::POOL.iter().find(|&&r| {
                self.regs[usize::from(r)].is_none() && self.locked >> r & 1 == 0 && r != reg
            });
            if let Some(&r) = room {
                self.asm.mov(r, reg);
                self.regs[usize::from(r)] = Some(id);
                self.regs[usize::from(reg)] = None;
                self.temps[id as usize].reg = Some(r);
            } else {
                self.evict(reg);
            }
        }
        self.lock(reg);
    }

    /// Gives the taken register `reg` a new value.
    pub fn name(&mut self, reg: Reg, width: u32) -> Val {
        debug_assert!(self.regs[usize::from(reg)].is_none());
        let id = self.temps.len() as u32;
        self.temps.push(Temp {
            reg: Some(reg),
            spill: None,
            width,
            lazy: None,
            origin: None,
            used: self.now,
        });
        self.regs[usize::from(reg)] = Some(id);
        Val::Temp(id)
    }

    /// The value in a register, locked there.
    pub fn reg(&mut self, v: Val) -> Reg {
        let id = match v {
            Val::Imm(i) => {
                let (_, r) = self.fresh(64);
                self.asm.constant(r, i);
                return r;
            }
            Val::Temp(id) => id,
        };
        self.temps[id as usize].used = self.now;
        if let Some(r) = self.temps[id as usize].reg {
            self.lock(r);
            return r;
        }
        if let Some(lazy) = self.temps[id as usize].lazy.take() {
            let r = match lazy {
                Lazy::Test(b) => self.materialise(b),
                Lazy::Address { base, index, disp } => self.work_out_address(base, index, disp),
                Lazy::Lane(v, n, size) => {
                    let s = self.vector_reg(v);
                    let r = self.free_reg();
                    self.lock(r);
                    self.asm.lane(size, r, s, n);
                    r
                }
            };
            self.temps[id as usize].reg = Some(r);
            self.regs[usize::from(r)] = Some(id);
            return r;
        }
        let from = match self.temps[id as usize].spill {
            Some(s) => offset_of_spill(s),
            None => {
                let g = self.backing(id);
                debug_assert!(g.is_some(), "a value that is used is somewhere");
                offset_of_gpr(g.unwrap_or(0))
            }
        };
        let r = self.free_reg();
        self.asm.load_cpu(Size::B64, r, from);
        self.temps[id as usize].reg = Some(r);
        self.regs[usize::from(r)] = Some(id);
        self.lock(r);
        r
    }

    /// The value in exactly `reg`, which is taken: a copy that may be destroyed.
    pub fn into_reg(&mut self, v: Val, reg: Reg) {
        if let Val::Imm(i) = v {
            self.take(reg);
            self.asm.constant(reg, i);
            return;
        }
        let r = self.reg(v);
        if r == reg {
            // The value's name moves away; its bits are still there.
            self.locked &= !(1 << reg);
            self.take(reg);
            return;
        }
        self.take(reg);
        self.asm.mov(reg, r);
    }

    /// As an operand of an operation that takes immediates.
    pub fn src(&mut self, v: Val, size: Size) -> Src {
        if let Val::Imm(i) = v {
            let fits = match size {
                Size::B64 => i32::try_from(i as i64).ok(),
                _ => Some(i as u32 as i32),
            };
            if let Some(i) = fits {
                return Src::Imm(i);
            }
        }
        Src::Reg(self.reg(v))
    }

    /// Bits above which the value is zero.
    pub fn width(&self, v: Val) -> u32 {
        match v {
            Val::Imm(i) => 64 - i.leading_zeros(),
            Val::Temp(id) => self.temps[id as usize].width,
        }
    }

    /// The value zero-extended from `bits`.
    pub fn clean(&mut self, v: Val, bits: u32) -> Val {
        match v {
            Val::Imm(i) => Val::Imm(i & u64::MAX >> (64 - bits)),
            _ if self.width(v) <= bits || bits == 64 => v,
            _ => {
                let s = self.reg(v);
                let (id, d) = self.fresh(bits);
                self.asm.zero_extend(Size::of(bits), d, s);
                Val::Temp(id)
            }
        }
    }

    /// The value zero-extended from `bits` even if it is thought to be: for results of operations that leave the upper bits alone.
    pub fn clean_always(&mut self, v: Val, bits: u32) -> Val {
        if bits == 64 {
            return v;
        }
        let s = self.reg(v);
        let (id, d) = self.fresh(bits);
        self.asm.zero_extend(Size::of(bits), d, s);
        self.unlock();
        Val::Temp(id)
    }

    /// The value that a register holds.
    pub fn value_of(&self, reg: Reg) -> Val {
        self.regs[usize::from(reg)].map_or(Val::Imm(0), Val::Temp)
    }

    /// Names a condition.
    pub fn test(&mut self, t: Test) -> Bool {
        self.tests.push(t);
        Bool(self.tests.len() as u32 - 1)
    }

    /// Puts a condition into the host's flags: it holds if the answer does. `None` with the truth if it is known.
    pub fn flags_of(&mut self, b: Bool) -> Result<Cond, bool> {
        match self.tests[b.0 as usize] {
            Test::Const(c) => Err(c),
            Test::Compare(c, size, a, v) => {
                let simple =
                    v == Val::Imm(0) && matches!(c, Cond::Eq | Cond::Ne | Cond::Neg | Cond::Pos);
                if let Some(h) = self.host.filter(|h| h.size == size)
                    && (h.compare == Some((a, v)) && !matches!(c, Cond::Neg | Cond::Pos)
                        || simple && h.result == Some(a))
                {
                    return Ok(c);
                }
                let r = self.reg(a);
                if simple {
                    self.asm.test(size, r);
                    self.host = Some(HostFlags {
                        size,
                        compare: None,
                        result: Some(a),
                    });
                } else {
                    let s = self.src(v, size);
                    self.asm.compare(size, r, s);
                    self.host = Some(HostFlags {
                        size,
                        compare: Some((a, v)),
                        result: None,
                    });
                }
                Ok(c)
            }
            Test::Bits(c, size, v, mask) => {
                let r = self.reg(v);
                self.asm.test_bits(size, r, mask);
                self.host = None;
                Ok(c)
            }
            Test::Value(v) => {
                let r = self.reg(v);
                self.asm.test(Size::B32, r);
                self.host = None;
                Ok(Cond::Ne)
            }
        }
    }

    fn work_out_address(&mut self, base: Option<Val>, index: Option<(Val, u8)>, disp: i32) -> Reg {
        let index = index.map(|(x, n)| (self.reg(x), n));
        let r = match (base, index) {
            (Some(b), index) => {
                let b = self.reg(b);
                let r = self.free_reg();
                self.asm.lea(r, b, index, disp);
                r
            }
            (None, Some((x, n))) => {
                let r = self.free_reg();
                self.asm
                    .shift_imm(crate::host::Shift::Shl, Size::B64, r, x, n);
                self.host = None;
                if disp != 0 {
                    self.asm.lea(r, r, None, disp);
                }
                r
            }
            (None, None) => {
                let r = self.free_reg();
                self.asm.constant(r, disp as u64);
                r
            }
        };
        self.lock(r);
        r
    }

    /// 0 or 1 in a new register.
    fn materialise(&mut self, b: Bool) -> Reg {
        if let Test::Value(v) = self.tests[b.0 as usize] {
            let s = self.reg(v);
            let r = self.free_reg();
            self.lock(r);
            self.asm.mov(r, s);
            return r;
        }
        match self.flags_of(b) {
            Err(known) => {
                let r = self.free_reg();
                self.lock(r);
                self.asm.constant(r, known.into());
                r
            }
            Ok(c) => {
                let r = self.free_reg();
                self.lock(r);
                self.asm.set(c, r);
                r
            }
        }
    }

    /// Guest register `g` from now on has the value `v`, whose upper bits are right; it is written through.
    pub fn set_home(&mut self, g: usize, v: Val) {
        self.release_home(g);
        match v {
            Val::Imm(i) => match i32::try_from(i as i64) {
                Ok(i) => self.asm.store_cpu_imm(Size::B64, offset_of_gpr(g), i),
                Err(_) => {
                    let r = self.reg(v);
                    self.asm.store_cpu(Size::B64, offset_of_gpr(g), r);
                }
            },
            Val::Temp(_) => {
                let r = self.reg(v);
                self.asm.store_cpu(Size::B64, offset_of_gpr(g), r);
            }
        }
        self.home[g] = Some(v);
    }

    /// Guest register `g` is about to be overwritten in memory: a value that only lives there moves into a register.
    fn release_home(&mut self, g: usize) {
        let old = self.home[g].take();
        if let Some(Val::Temp(id)) = old
            && self.temps[id as usize].reg.is_none()
            && self.temps[id as usize].spill.is_none()
            && self.temps[id as usize].lazy.is_none()
            && self.backing(id).is_none()
        {
            self.home[g] = old;
            self.reg(Val::Temp(id));
            self.home[g] = None;
        }
    }

    /// The 64-bit value of guest register `g`.
    pub fn home(&mut self, g: usize) -> Val {
        if let Some(v) = self.home[g] {
            if let Val::Temp(id) = v {
                self.temps[id as usize].used = self.now;
            }
            return v;
        }
        let (id, r) = self.fresh(64);
        self.asm.load_cpu(Size::B64, r, offset_of_gpr(g));
        self.home[g] = Some(Val::Temp(id));
        Val::Temp(id)
    }

    /// The instruction ends: values that are neither a guest register's nor in `keep` are gone.
    pub fn end_instruction(&mut self, keep: &[Val]) {
        self.unlock();
        let mut kept: Vec<u32> = Vec::with_capacity(8);
        for v in keep {
            self.keep(*v, &mut kept);
        }
        let mut spills = 0u64;
        for &r in A::POOL {
            if let Some(id) = self.regs[usize::from(r)]
                && !kept.contains(&id)
                && self.backing(id).is_none()
                && self.window_of(id).is_none()
            {
                self.regs[usize::from(r)] = None;
                self.temps[id as usize].reg = None;
            }
        }
        for h in self.home.iter().flatten() {
            if let Val::Temp(id) = h {
                spills |= self.temps[*id as usize].spill.map_or(0, |s| 1 << s);
            }
        }
        for id in kept {
            spills |= self.temps[id as usize].spill.map_or(0, |s| 1 << s);
        }
        self.spills = spills;
        self.end_vectors();
        self.now += 1;
    }

    /// A value with all that a lazy one depends on.
    fn keep(&self, v: Val, kept: &mut Vec<u32>) {
        let Val::Temp(id) = v else { return };
        if kept.contains(&id) {
            return;
        }
        kept.push(id);
        match self.temps[id as usize].lazy {
            Some(Lazy::Test(b)) => match self.tests[b.0 as usize] {
                Test::Compare(_, _, a, b) => {
                    self.keep(a, kept);
                    self.keep(b, kept);
                }
                Test::Bits(_, _, a, _) | Test::Value(a) => self.keep(a, kept),
                Test::Const(_) => {}
            },
            Some(Lazy::Address { base, index, .. }) => {
                for v in base.into_iter().chain(index.map(|i| i.0)) {
                    self.keep(v, kept);
                }
            }
            Some(Lazy::Lane(..)) | None => {}
        }
    }

    /// Control is about to split or a call is about to come after which registers hold nothing: every value that is in a register only
    /// goes to memory.
    pub fn save_all(&mut self) {
        for &r in A::POOL {
            if self.regs[usize::from(r)].is_some() {
                self.evict(r);
            }
        }
        self.empty_vector_regs();
        self.unlock();
    }

    /// Every value that this instruction may still use gets a spill slot, so that it outlives [`Values::forget_homes`].
    pub fn back_up_live(&mut self) {
        for id in 0..self.temps.len() as u32 {
            let t = self.temps[id as usize];
            if t.used != self.now || t.spill.is_some() {
                continue;
            }
            let held = t.reg.is_some() || t.lazy.is_some() || self.backing(id).is_some();
            if held {
                let r = self.reg(Val::Temp(id));
                self.spill(id, r);
                self.unlock();
            }
        }
        self.back_up_vectors();
    }

    /// After a join or a call that may have changed guest registers: nothing is known of them, and no register holds anything.
    pub fn forget_homes(&mut self) {
        for h in &mut self.home {
            *h = None;
        }
        for r in &mut self.regs {
            if let Some(id) = r.take() {
                self.temps[id as usize].reg = None;
            }
        }
        self.windows.clear();
        self.forget_vectors();
        self.host = None;
        self.unlock();
    }
}
