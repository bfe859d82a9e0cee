//! What stands around a region of T2: its ways out, in the baseline's own conventions.
//!
//! Code of a region that was compiled elsewhere jumps to one of these with guest registers, deferred flags and the counter up to date. As
//! they are T1's own exits, a region leads to blocks and other regions as a block does.

use crate::block::{Baseline, Block, Cell, Near};
use crate::cold::{Cold, ColdKind, Target};
use crate::host::{HostAssembler, Label};
use crate::loops::Moves;
use arch::Mode;
use cpu::native::{exit, offset, site};

/// A way out of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To what stands `distance` bytes from the page's start; the instruction that leads there stands at `from`.
    To { distance: i64, from: i64 },
    /// To the address in the second argument register.
    Through,
    /// Attention is asked for, with the processor at this distance.
    Attend { distance: i64 },
}

/// A compiled region.
pub struct Region<'a> {
    pub mode: Mode,
    /// Distance of the head from the page's start: a way there leads to T1's block, not to the region again.
    pub head: u32,
    pub code: &'a [u8],
    /// 32-bit fields with the distance from their end to a way: offset, and the way's number.
    pub jumps: &'a [(u32, u32)],
    pub ways: &'a [Way],
    /// Offset of the first guest byte that it is made from, how many there are, and how many instructions.
    pub start: u32,
    pub bytes: u32,
    pub instructions: u32,
}

impl<A: HostAssembler> Baseline<A> {
    /// Writes the ways out behind the code of `r`. Answers the block, and the number of the cell that is to lead to T1's block of the head,
    /// if any way does.
    pub fn wrap(&mut self, r: &Region<'_>) -> (Block<'_>, Option<u32>) {
        self.begin(r.mode, r.start);
        let mut labels: Vec<(Way, Label)> = Vec::new();
        let mut fields = Vec::with_capacity(r.jumps.len());
        for &(at, number) in r.jumps {
            let Some(&way) = r.ways.get(number as usize) else {
                continue;
            };
            let l = match labels.iter().find(|(w, _)| *w == way) {
                Some(&(_, l)) => l,
                None => {
                    let l = self.v.asm.label();
                    labels.push((way, l));
                    l
                }
            };
            fields.push((at, l));
        }
        self.v.asm.adopt(r.code, &fields);
        let hot = self.v.asm.position() as u32;
        let mut head: Option<(u32, Label)> = None;
        for (way, l) in labels {
            self.v.asm.bind(l);
            match way {
                Way::To { distance, .. } if distance == i64::from(r.head) => match head {
                    Some((_, first)) => self.v.asm.jump(first),
                    None => head = Some((self.head_cell(distance), l)),
                },
                Way::To { distance, from } => {
                    self.at = from;
                    let near = Near {
                        distance,
                        narrow: false,
                    };
                    self.link(near, 0, Moves::default());
                }
                Way::Through => self.through(A::SECOND),
                Way::Attend { distance } => {
                    let entry = self.v.asm.label();
                    self.v.asm.jump(entry);
                    self.cold.push(Cold {
                        entry,
                        flags: None,
                        kind: ColdKind::Attend {
                            target: Target::Page(distance),
                        },
                    });
                }
            }
        }
        self.write_cold();
        self.v.asm.finish(hot);
        let block = Block {
            code: self.v.asm.code(),
            hot,
            crossings: self.v.asm.crossings(),
            fixups: self.v.asm.fixups(),
            cells: &self.cells,
            marks: &[],
            windowed: 0,
            rounds: true,
            start: r.start,
            bytes: r.bytes,
            instructions: r.instructions,
        };
        (block, head.map(|(cell, _)| cell))
    }

    /// Through a cell that leads to T1's block at the head, and to the evaluator until it does.
    fn head_cell(&mut self, distance: i64) -> u32 {
        let slot = self.cell(Cell::Link {
            resolver: 0,
            target: distance,
        });
        self.v.asm.jump_slot(slot);
        let resolver = self.v.asm.position() as u32;
        self.cells[slot as usize] = Cell::Link {
            resolver,
            target: distance,
        };
        self.write_imm(offset::SITE as i32, site::pack(distance, 0, 0));
        self.leave(exit::EVALUATE);
        slot
    }
}
