//! What is known of the status flags where paths meet.
//!
//! Mostly all edges to a block leave flags of one rule, whose inputs are what registers hold: a loop that ends in CMP of two registers. Then
//! nothing of the flags need be carried around the loop. That is found by writing the region down twice: the first time tells what each
//! edge brings, the second assumes it. The region's way in holds the processor to what is assumed at the head.

use crate::emit::Deferred;
use crate::lift::ClifEmitter;
use crate::plan::Plan;
use cpu::native::offset;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use semantics::emit::{Cc, CcOp, OpSize};

/// A rule, and for each of its inputs (res, src, dst) the general registers that hold it, a bit each; none if it is a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joint {
    cc: Cc,
    inputs: [u16; 3],
}

impl Joint {
    fn needs(self) -> [bool; 3] {
        let (res, src, dst) = self.cc.op.inputs();
        [res, src, dst]
    }

    /// The register that input `n` is taken from.
    fn register(self, n: usize) -> Option<u8> {
        let r = self.inputs[n].trailing_zeros();
        (r < 16).then_some(r as u8)
    }

    /// Whether `seen` bears out what was assumed.
    fn holds(self, seen: Meeting) -> bool {
        let Meeting::Alike(seen) = seen else {
            return false;
        };
        let held = |n: usize| {
            self.register(n)
                .is_none_or(|r| seen.inputs[n] >> r & 1 != 0)
        };
        self.cc == seen.cc && (0..3).all(held)
    }
}

/// What the edges to a block brought so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Meeting {
    #[default]
    Nobody,
    Alike(Joint),
    Unlike,
}

impl Meeting {
    fn and(self, other: Option<Joint>) -> Self {
        match (self, other) {
            (Self::Nobody, Some(j)) => Self::Alike(j),
            (Self::Alike(a), Some(b)) if a.cc == b.cc => Self::Alike(Joint {
                cc: a.cc,
                inputs: std::array::from_fn(|n| a.inputs[n] & b.inputs[n]),
            }),
            _ => Self::Unlike,
        }
    }
}

/// What is assumed of the blocks of a region.
#[derive(Clone, Debug)]
pub(crate) struct Assumed(Vec<Option<Joint>>);

impl Assumed {
    /// Nothing.
    pub(crate) fn nothing(plan: &Plan) -> Self {
        Self(vec![None; plan.blocks.len()])
    }

    pub(crate) fn of(&self, block: usize) -> Option<Joint> {
        self.0[block]
    }

    /// What can be assumed after edges brought this, if it is more than what was.
    pub(crate) fn learn(&mut self, seen: &[Meeting]) -> bool {
        let mut more = false;
        for (own, seen) in self.0.iter_mut().zip(seen) {
            if let Meeting::Alike(j) = seen {
                *own = Some(*j);
                more = true;
            }
        }
        more
    }

    /// Takes back what did not hold; tells whether there was any.
    pub(crate) fn correct(&mut self, seen: &[Meeting]) -> bool {
        let mut wrong = false;
        for (own, &seen) in self.0.iter_mut().zip(seen) {
            if own.is_some_and(|j| !j.holds(seen)) {
                *own = None;
                wrong = true;
            }
        }
        wrong
    }
}

impl ClifEmitter<'_> {
    /// An edge leads to block `n`, which others lead to as well.
    pub(crate) fn meet(&mut self, n: usize) {
        let brought = match self.deferred {
            Deferred::Variable => None,
            Deferred::Known(cc, inputs) => Some(Joint {
                cc,
                inputs: inputs.map(|v| v.map_or(0, |v| self.holders(v))),
            }),
        };
        self.seen[n] = self.seen[n].and(brought);
    }

    /// The flags at the start of block `n` as they are assumed.
    pub(crate) fn assume(&mut self, n: usize) -> Deferred {
        let Some(j) = self.assumed.of(n) else {
            return Deferred::Variable;
        };
        let needs = j.needs();
        let inputs = std::array::from_fn(|i| match (needs[i], j.register(i)) {
            (false, _) => None,
            (true, Some(r)) => Some(self.gpr(r)),
            (true, None) => Some(self.flag_variables()[i + 1]),
        });
        Deferred::Known(j.cc, inputs)
    }

    /// Whether the processor's flags are what is assumed at the head; `None` if nothing is.
    pub(crate) fn guard(&mut self) -> Option<Value> {
        let j = self.assumed.of(0)?;
        let cc = self.field(types::I32, offset::CC);
        let rule = self.rule(j.cc);
        let mut fine = self.b.ins().icmp(IntCC::Equal, cc, rule);
        // The other bits of these rules' inputs are not defined.
        let kind = match (j.cc.op, j.cc.size) {
            (CcOp::Add | CcOp::Sub | CcOp::Logic, OpSize::B8) => types::I8,
            (CcOp::Add | CcOp::Sub | CcOp::Logic, OpSize::B16) => types::I16,
            (CcOp::Add | CcOp::Sub | CcOp::Logic, OpSize::B32) => types::I32,
            _ => types::I64,
        };
        for (n, at) in [offset::RES, offset::SRC, offset::DST]
            .into_iter()
            .enumerate()
        {
            let (true, Some(r)) = (j.needs()[n], j.register(n)) else {
                continue;
            };
            let cell = self.field(kind, at);
            let own = self.gpr(r);
            let own = if kind == types::I64 {
                own
            } else {
                self.b.ins().ireduce(kind, own)
            };
            let same = self.b.ins().icmp(IntCC::Equal, cell, own);
            fine = self.b.ins().band(fine, same);
        }
        Some(fine)
    }
}
