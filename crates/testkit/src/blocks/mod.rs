//! Random blocks of guest code: the one-pass translator against the evaluator.
//!
//! [`generate`] makes a [`Block`] (instructions and branches between them) and a [`Start`] (registers) from a seed and an index; [`world`]
//! is the guest, once for each engine; [`check`] runs a block in both, from cold and from warm TLBs, with a fault at each page that it
//! touches, with attention asked for throughout, from a boundary in its midst; and [`reduce`] makes a block that differs small.

pub mod check;
pub mod generate;
pub mod reduce;
pub mod rounds;
pub mod world;

use crate::case::Bits;
use cpu::state::Fpu;

pub use check::{Checker, Difference, Tier};
pub use generate::Maker;
pub use rounds::Rounds;

/// Where a branch of a block goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// The item of this number; the one behind the last is the end.
    Item(usize),
    /// So many bytes behind the block's start, outside of it.
    Away(i32),
}

/// A branch of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jump {
    /// Jcc, by its condition code.
    If(u8),
    /// LOOPNE, LOOPE, LOOP, JRCXZ: opcodes E0 to E3.
    Count(u8),
    Always,
    Call,
}

/// A part of a block.
#[derive(Clone, Debug)]
pub enum Item {
    Plain(Vec<u8>),
    Branch(Jump, To),
}

/// A block of guest code.
#[derive(Clone, Debug)]
pub struct Block {
    pub bits: Bits,
    /// Offset of the first byte in the code pages.
    pub at: u64,
    pub items: Vec<Item>,
}

/// The registers that a block starts with.
#[derive(Clone)]
pub struct Start {
    pub gpr: [u64; 16],
    pub rflags: u64,
    /// Selectors ES, CS, SS, DS, FS, GS.
    pub seg: [u16; 6],
    pub fpu: Box<Fpu>,
}

impl Block {
    /// The bytes, with branches as short as can be.
    pub fn assemble(&self) -> Vec<u8> {
        let mut near = vec![false; self.items.len()];
        loop {
            let mut at = Vec::with_capacity(near.len() + 1);
            let mut end = 0i32;
            for (i, &near) in self.items.iter().zip(&near) {
                at.push(end);
                end += match i {
                    Item::Plain(b) => b.len() as i32,
                    Item::Branch(Jump::Call, _) => 5,
                    Item::Branch(Jump::Count(_), _) => 2,
                    Item::Branch(..) if !near => 2,
                    Item::Branch(Jump::If(_), _) => 6,
                    Item::Branch(..) => 5,
                };
            }
            at.push(end);
            let (mut out, mut again) = (Vec::with_capacity(end as usize), false);
            for (n, i) in self.items.iter().enumerate() {
                let (jump, to) = match i {
                    Item::Plain(b) => {
                        out.extend_from_slice(b);
                        continue;
                    }
                    Item::Branch(jump, to) => (jump, to),
                };
                let to = match *to {
                    To::Item(n) => at.get(n).copied().unwrap_or(end),
                    To::Away(d) => d,
                };
                let d = to - at[n + 1];
                let far = i8::try_from(d).is_err();
                match *jump {
                    // There is no long form: the end of the range has to do.
                    Jump::Count(op) => {
                        let d = d.clamp(-128, 127) as i8;
                        // Not into the midst of an instruction.
                        let d = if far { 0 } else { d };
                        out.extend([0xe0 | op & 3, d as u8]);
                    }
                    Jump::Call => {
                        out.push(0xe8);
                        out.extend(d.to_le_bytes());
                    }
                    Jump::If(cc) if near[n] => {
                        out.extend([0x0f, 0x80 | cc & 15]);
                        out.extend(d.to_le_bytes());
                    }
                    Jump::Always if near[n] => {
                        out.push(0xe9);
                        out.extend(d.to_le_bytes());
                    }
                    _ if far => {
                        near[n] = true;
                        again = true;
                    }
                    Jump::If(cc) => out.extend([0x70 | cc & 15, d as u8]),
                    Jump::Always => out.extend([0xeb, d as u8]),
                }
            }
            if !again {
                return out;
            }
        }
    }
}
