//! Vector values of a block under construction: the same scheme as [`crate::values`], over the host's vector registers.
//!
//! XMM registers of the guest are written through, so that a copy in a host register is always clean. Vector values live no longer than
//! their instruction, but as what a guest register holds.

use crate::host::{HostAssembler, Reg};
use crate::places::Spot;
use crate::values::Values;
use cpu::native::{VECTORS, offset};

/// A vector by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector(pub u32);

/// Where a vector is.
#[derive(Clone, Copy, Debug)]
struct Temp {
    reg: Option<Reg>,
    spill: Option<u8>,
    /// The instruction that used it last.
    used: u32,
}

/// All vectors of a block.
pub struct Vectors {
    temps: Vec<Temp>,
    /// What each host register holds.
    regs: [Option<u32>; 32],
    /// Registers that must not be given up now.
    locked: u32,
    /// The value that each XMM register has.
    home: [Option<Vector>; 16],
    /// Spill slots in use.
    spills: u32,
}

impl Vectors {
    pub fn new() -> Self {
        Self {
            temps: Vec::new(),
            regs: [None; 32],
            locked: 0,
            home: [None; 16],
            spills: 0,
        }
    }

    /// Forgets everything: a new block.
    pub fn reset(&mut self) {
        self.temps.clear();
        self.regs = [None; 32];
        self.locked = 0;
        self.home = [None; 16];
        self.spills = 0;
    }

    /// Whether a host register holds a vector that a call must preserve.
    pub fn live(&self) -> bool {
        self.regs.iter().any(Option::is_some)
    }

    /// The guest register that backs a value up.
    fn backing(&self, id: u32) -> Option<usize> {
        self.home.iter().position(|h| *h == Some(Vector(id)))
    }

    /// Where memory has a copy: an offset in the `Cpu`.
    fn place(&self, v: Vector) -> Option<i32> {
        match self.temps[v.0 as usize].spill {
            Some(s) => Some(offset_of_spill(s)),
            None => self.backing(v.0).map(offset_of_xmm),
        }
    }

    fn name(&mut self, reg: Option<Reg>, used: u32) -> Vector {
        let id = self.temps.len() as u32;
        self.temps.push(Temp {
            reg,
            spill: None,
            used,
        });
        if let Some(r) = reg {
            self.regs[usize::from(r)] = Some(id);
        }
        Vector(id)
    }
}

impl Default for Vectors {
    fn default() -> Self {
        Self::new()
    }
}

pub(crate) fn offset_of_xmm(g: usize) -> i32 {
    (offset::XMM + 16 * g) as i32
}

fn offset_of_spill(s: u8) -> i32 {
    (offset::VECTOR + 16 * usize::from(s)) as i32
}

impl<A: HostAssembler> Values<A> {
    /// A new vector in a free register, which is locked.
    pub fn fresh_vector(&mut self) -> (Vector, Reg) {
        let r = self.free_vector_reg();
        self.x.locked |= 1 << r;
        (self.x.name(Some(r), self.now), r)
    }

    /// A new vector that stands in a spill slot, for an answer that comes in memory, and where that is.
    pub fn vector_in_memory(&mut self) -> (Vector, i32) {
        let v = self.x.name(None, self.now);
        let s = self.vector_slot();
        self.x.temps[v.0 as usize].spill = Some(s);
        (v, offset_of_spill(s))
    }

    /// The vector in a register, locked there.
    pub fn vector_reg(&mut self, v: Vector) -> Reg {
        self.x.temps[v.0 as usize].used = self.now;
        let r = match self.x.temps[v.0 as usize].reg {
            Some(r) => r,
            None => {
                let from = self.x.place(v);
                debug_assert!(from.is_some(), "a vector that is used is somewhere");
                let r = self.free_vector_reg();
                self.asm.load_vector_cpu(r, from.unwrap_or(0));
                self.x.temps[v.0 as usize].reg = Some(r);
                self.x.regs[usize::from(r)] = Some(v.0);
                r
            }
        };
        self.x.locked |= 1 << r;
        r
    }

    /// Where memory has the vector; it is stored there if need be.
    pub fn vector_place(&mut self, v: Vector) -> i32 {
        if let Some(at) = self.x.place(v) {
            return at;
        }
        let r = self.vector_reg(v);
        self.spill_vector(v, r)
    }

    /// The value of XMM register `g`.
    pub fn vector_home(&mut self, g: usize) -> Vector {
        match self.x.home[g] {
            Some(v) => {
                self.x.temps[v.0 as usize].used = self.now;
                v
            }
            None => {
                let v = self.x.name(None, self.now);
                self.x.home[g] = Some(v);
                v
            }
        }
    }

    /// XMM register `g` from now on has the value `v`; it is written through.
    pub fn set_vector_home(&mut self, g: usize, v: Vector) {
        if self.x.home[g] == Some(v) {
            return;
        }
        // A value that only lives in the memory that is about to change moves into a register.
        if let Some(old) = self.x.home[g] {
            let t = self.x.temps[old.0 as usize];
            let alone = t.reg.is_none() && t.spill.is_none();
            let others = self.x.home.iter().filter(|h| **h == Some(old)).count();
            if alone && others == 1 && t.used == self.now {
                self.vector_reg(old);
            }
        }
        let r = self.vector_reg(v);
        self.asm.store_vector_cpu(offset_of_xmm(g), r);
        self.x.home[g] = Some(v);
    }

    /// Where XMM register `g` is now.
    pub(crate) fn vector_home_spot(&self, g: usize) -> Spot {
        let reg = self.x.home[g].and_then(|v| self.x.temps[v.0 as usize].reg);
        reg.map_or(Spot::Cpu(offset_of_xmm(g)), Spot::Reg)
    }

    /// Lets registers be given up again.
    pub(crate) fn unlock_vectors(&mut self) {
        self.x.locked = 0;
    }

    /// The instruction ends: what is not a guest register's value is gone.
    pub(crate) fn end_vectors(&mut self) {
        self.x.locked = 0;
        if self.x.temps.is_empty() {
            return;
        }
        for &r in A::VECTOR_POOL {
            if let Some(id) = self.x.regs[usize::from(r)]
                && self.x.backing(id).is_none()
            {
                self.x.regs[usize::from(r)] = None;
                self.x.temps[id as usize].reg = None;
            }
        }
        for h in self.x.home.iter().flatten() {
            self.x.temps[h.0 as usize].spill = None;
        }
        self.x.spills = 0;
    }

    /// Every vector that this instruction may still use gets a slot, so that it outlives [`Values::forget_vectors`].
    pub(crate) fn back_up_vectors(&mut self) {
        for id in 0..self.x.temps.len() as u32 {
            let t = self.x.temps[id as usize];
            let held = t.reg.is_some() || self.x.backing(id).is_some();
            if t.used == self.now && t.spill.is_none() && held {
                let r = self.vector_reg(Vector(id));
                self.spill_vector(Vector(id), r);
                self.x.locked = 0;
            }
        }
    }

    /// No host register holds a vector any more; each that is used again has a copy in memory.
    pub(crate) fn empty_vector_regs(&mut self) {
        for &r in A::VECTOR_POOL {
            self.evict_vector(r);
        }
    }

    /// Nothing is known of the guest's XMM registers, and no host register holds anything.
    pub(crate) fn forget_vectors(&mut self) {
        self.x.home = [None; 16];
        for r in &mut self.x.regs {
            if let Some(id) = r.take() {
                self.x.temps[id as usize].reg = None;
            }
        }
    }

    fn evict_vector(&mut self, r: Reg) {
        let Some(id) = self.x.regs[usize::from(r)] else {
            return;
        };
        let dead = self.x.temps[id as usize].used != self.now;
        if self.x.place(Vector(id)).is_none() && !dead {
            self.spill_vector(Vector(id), r);
        }
        self.x.regs[usize::from(r)] = None;
        self.x.temps[id as usize].reg = None;
    }

    fn vector_slot(&mut self) -> u8 {
        let slot = self.x.spills.trailing_ones() as u8;
        if usize::from(slot) >= VECTORS {
            self.overflow = true;
            return 0;
        }
        self.x.spills |= 1 << slot;
        slot
    }

    fn spill_vector(&mut self, v: Vector, r: Reg) -> i32 {
        let slot = self.vector_slot();
        self.asm.store_vector_cpu(offset_of_spill(slot), r);
        self.x.temps[v.0 as usize].spill = Some(slot);
        offset_of_spill(slot)
    }

    fn free_vector_reg(&mut self) -> Reg {
        let open = |x: &Vectors, r: Reg| x.locked >> r & 1 == 0;
        if let Some(&r) = A::VECTOR_POOL
            .iter()
            .find(|&&r| self.x.regs[usize::from(r)].is_none() && open(&self.x, r))
        {
            return r;
        }
        // The one that was used longest ago.
        let oldest = A::VECTOR_POOL
            .iter()
            .filter(|&&r| open(&self.x, r))
            .min_by_key(|&&r| {
                self.x.regs[usize::from(r)].map_or(0, |id| self.x.temps[id as usize].used)
            });
        debug_assert!(oldest.is_some(), "an operation locks few registers");
        let r = oldest.copied().unwrap_or(A::VECTOR_POOL[0]);
        self.evict_vector(r);
        r
    }
}
