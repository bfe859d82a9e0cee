//! Where values stand at one moment: what a slow path, written later, finds there.

use crate::host::{Cond, HostAssembler, Reg, Size};
use crate::values::{Lazy, Test, Val, Values, offset_of_gpr, offset_of_spill};

/// Where data stood when a slow path was planned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spot {
    Imm(u64),
    Reg(Reg),
    /// A field of the `Cpu`.
    Cpu(i32),
}

/// What a slow path will store.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    At(Spot),
    /// 0 or 1 by a compare that the slow path makes.
    Compare(Cond, Size, Spot, Spot),
    /// 0 or 1 by a test of bits.
    Bits(Cond, Size, Spot, i32),
}

impl<A: HostAssembler> Values<A> {
    /// Where guest register `g` is now.
    pub(crate) fn home_spot(&self, g: usize) -> Spot {
        match self.home[g] {
            Some(Val::Imm(v)) => Spot::Imm(v),
            Some(Val::Temp(id)) => match self.temps[id as usize].reg {
                Some(r) => Spot::Reg(r),
                None => Spot::Cpu(offset_of_gpr(g)),
            },
            None => Spot::Cpu(offset_of_gpr(g)),
        }
    }

    /// Where the value stands now. It must not be lazy.
    fn spot(&self, v: Val) -> Spot {
        match v {
            Val::Imm(i) => Spot::Imm(i),
            Val::Temp(id) => {
                let t = &self.temps[id as usize];
                debug_assert!(t.lazy.is_none(), "a lazy value has no place");
                match (t.reg, t.spill) {
                    (Some(r), _) => Spot::Reg(r),
                    (None, Some(s)) => Spot::Cpu(offset_of_spill(s)),
                    (None, None) => Spot::Cpu(offset_of_gpr(self.backing(id).unwrap_or(0))),
                }
            }
        }
    }

    /// Where the value stands now, or how to work it out. See [`Values::settle`].
    pub fn place(&self, v: Val) -> Place {
        if let Val::Temp(id) = v
            && let Some(Lazy::Test(b)) = self.temps[id as usize].lazy
        {
            return match self.tests[b.0 as usize] {
                Test::Const(c) => Place::At(Spot::Imm(c.into())),
                Test::Compare(c, size, a, b) => Place::Compare(c, size, self.spot(a), self.spot(b)),
                Test::Bits(c, size, a, mask) => Place::Bits(c, size, self.spot(a), mask),
                Test::Value(a) => Place::At(self.spot(a)),
            };
        }
        Place::At(self.spot(v))
    }

    /// Works out a lazy value unless it is one compare of values that have places.
    pub fn settle(&mut self, v: Val) {
        let Val::Temp(id) = v else { return };
        let lazy =
            |s: &Self, v: Val| matches!(v, Val::Temp(id) if s.temps[id as usize].lazy.is_some());
        match self.temps[id as usize].lazy {
            None => {}
            Some(Lazy::Address { .. } | Lazy::Lane(..)) => {
                self.reg(v);
            }
            Some(Lazy::Test(b)) => {
                let plain = match self.tests[b.0 as usize] {
                    Test::Const(_) => true,
                    Test::Compare(_, _, a, b) => !lazy(self, a) && !lazy(self, b),
                    Test::Bits(_, _, a, _) | Test::Value(a) => !lazy(self, a),
                };
                if !plain {
                    self.reg(v);
                }
            }
        }
    }
}
