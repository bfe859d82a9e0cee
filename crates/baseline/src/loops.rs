//! Blocks that lead to their own start: their guest registers stay in host registers from one round to the next.
//!
//! The registers that the loop brings along are loaded before its top; each way back puts them where the top expects them. As they are
//! written through all the same, state is precise everywhere, and a cycle of moves is broken by a load.

use crate::block::Baseline;
use crate::host::{HostAssembler, Label, Reg, Size};
use crate::places::Spot;
use crate::values::offset_of_gpr;
use crate::vectors::offset_of_xmm;
use decode::{Insn, Mem, Operand};

/// General and vector registers that a loop keeps.
const GENERAL: usize = 7;
const VECTORS: usize = 10;

/// The top of a loop: where it is, and the host registers in which it expects guest registers.
pub(crate) struct Top {
    label: Label,
    /// Distance from the page's start.
    at: i64,
    general: Vec<(usize, Reg)>,
    vectors: Vec<(usize, Reg)>,
}

/// One move of a way back.
#[derive(Clone, Copy, Debug)]
struct Move {
    to: Reg,
    from: Spot,
    /// Where memory has the same.
    copy: Spot,
}

/// What a way back does before it jumps.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    /// General registers that hold what a move takes or what need not move.
    held: u32,
    general: Vec<Move>,
    vectors: Vec<Move>,
}

/// Whether one of `insns`, which stand from `start`, leads back there.
fn leads_back(insns: &[Insn], start: u32) -> bool {
    let mut at = i64::from(start);
    insns.iter().any(|i| {
        let target = match i.ops[0] {
            Operand::Rel(d) => Some(at + d),
            _ => None,
        };
        at += i64::from(i.len);
        let jump = !matches!(i.code.mnemonic(), decode::Mnemonic::Call);
        jump && target == Some(i64::from(start))
    })
}

/// Guest registers, the most used first, whose value at the start of `insns` counts.
fn brought_along(insns: &[Insn]) -> (Vec<usize>, Vec<usize>) {
    let (mut general, mut vectors) = ([(0u32, true); 16], [(0u32, true); 16]);
    let touch = |set: &mut [(u32, bool); 16], r: u8, written: bool| {
        if let Some((uses, needed)) = set.get_mut(usize::from(r)) {
            if *uses == 0 {
                *needed = !written;
            }
            *uses += 1;
        }
    };
    for i in insns {
        for r in [i.mem.base, i.mem.index] {
            if r != Mem::NONE {
                touch(&mut general, r, false);
            }
        }
        let fresh = i.only_writes_first();
        for (n, o) in i.ops.iter().enumerate().rev() {
            match *o {
                Operand::Gpr(r) => touch(&mut general, r, n == 0 && fresh),
                Operand::GprHigh(r) => touch(&mut general, r, false),
                Operand::Xmm(r) => touch(&mut vectors, r, n == 0 && fresh),
                _ => {}
            }
        }
    }
    let pick = |set: [(u32, bool); 16], most: usize| {
        let mut used: Vec<usize> = (0..16).filter(|&r| set[r].0 > 0 && set[r].1).collect();
        used.sort_by_key(|&r| std::cmp::Reverse(set[r].0));
        used.truncate(most);
        used
    };
    (pick(general, GENERAL), pick(vectors, VECTORS))
}

impl<A: HostAssembler> Baseline<A> {
    /// If the block is a loop: loads what it brings along and marks its top.
    pub(crate) fn open_loop(&mut self, insns: &[Insn], start: u32) {
        self.top = None;
        if !self.loops || !leads_back(insns, start) {
            return;
        }
        let (general, vectors) = brought_along(insns);
        let mut top = Top {
            label: self.v.asm.label(),
            at: start.into(),
            general: Vec::new(),
            vectors: Vec::new(),
        };
        for g in general {
            let v = self.v.home(g);
            top.general.push((g, self.v.reg(v)));
        }
        for g in vectors {
            let v = self.v.vector_home(g);
            top.vectors.push((g, self.v.vector_reg(v)));
        }
        self.v.unlock();
        self.v.host = None;
        self.v.asm.bind(top.label);
        self.top = Some(top);
    }

    /// What must move if control goes from here to the loop's top.
    pub(crate) fn loop_moves(&self) -> Moves {
        let Some(top) = &self.top else {
            return Moves::default();
        };
        let general = top.general.iter().map(|&(g, to)| Move {
            to,
            from: self.v.home_spot(g),
            copy: Spot::Cpu(offset_of_gpr(g)),
        });
        let vectors = top.vectors.iter().map(|&(g, to)| Move {
            to,
            from: self.v.vector_home_spot(g),
            copy: Spot::Cpu(offset_of_xmm(g)),
        });
        let held = general.clone().fold(0, |held, m| match m.from {
            Spot::Reg(r) => held | 1 << r,
            _ => held,
        });
        Moves {
            held,
            general: in_order(general),
            vectors: in_order(vectors),
        }
    }

    /// The loop's top if it stands at `distance`.
    pub(crate) fn top_at(&self, distance: i64) -> Option<Label> {
        self.top
            .as_ref()
            .filter(|t| t.at == distance)
            .map(|t| t.label)
    }

    /// Goes back to the loop's top, unless attention is asked for.
    pub(crate) fn go_back(&mut self, moves: &Moves, label: Label, attend: Label) {
        let mut pool = A::POOL.iter().copied();
        let scratch = pool.find(|&r| moves.held >> r & 1 == 0);
        let scratch = scratch.unwrap_or(A::POOL[0]);
        self.v.asm.check_attention(scratch, attend);
        for m in &moves.general {
            match m.from {
                Spot::Reg(s) => self.v.asm.mov(m.to, s),
                Spot::Imm(v) => self.v.asm.constant(m.to, v),
                Spot::Cpu(o) => self.v.asm.load_cpu(Size::B64, m.to, o),
            }
        }
        for m in &moves.vectors {
            match m.from {
                Spot::Reg(s) => self.v.asm.move_vector(m.to, s),
                Spot::Cpu(o) => self.v.asm.load_vector_cpu(m.to, o),
                Spot::Imm(_) => self.v.asm.zero_vector(m.to),
            }
        }
        self.v.asm.jump(label);
    }
}

/// The moves that are needed, in an order in which none destroys the source of a later one; a cycle is broken through memory.
fn in_order(moves: impl Iterator<Item = Move>) -> Vec<Move> {
    // A register that stays as it is is still a source: nothing else has it as its destination.
    let mut left: Vec<Move> = moves.filter(|m| m.from != Spot::Reg(m.to)).collect();
    let mut out = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let read_later = |to: Reg| {
            left.iter()
                .position(|m| m.to != to && m.from == Spot::Reg(to))
        };
        match left.iter().position(|m| read_later(m.to).is_none()) {
            Some(n) => out.push(left.swap_remove(n)),
            None => {
                if let Some(n) = read_later(left[0].to) {
                    left[n].from = left[n].copy;
                }
            }
        }
    }
    out
}
