//! A block under construction: its instructions and exits; and what comes out of it.
//!
//! Layout of a block: the hot path in guest order, then the sides of branches, then the rare ways, which the engine puts elsewhere
//! (`cold` plans and writes both). Control leaves only through [`Baseline::exit_to`], [`Baseline::exit_through`] and the planned paths, and
//! always with the deferred flags stored, guest registers written through and the retired instructions counted.

use crate::cold::{Cold, ColdKind, Target};
use crate::host::{Cond, Fixup, HostAssembler, Reg, Size};
use crate::loops::{Moves, Top};
use crate::values::{Val, Values};
use crate::window::{self, Opens};
use crate::x87::{Known, X87Call};
use arch::{Mode, Size as ModeSize};
use cpu::native::{offset, site};
use decode::Insn;
use semantics::emit::{Cc, CcOp, Flags, OpSize};
use semantics::fp::{FpFormat, FpOp, Relation};
use semantics::table::{self, Helper};
use semantics::vector::VecOp;

/// The deferred flags as the block knows them.
#[derive(Clone, Copy)]
pub(crate) enum Deferred {
    /// In the `Cpu`, rule unknown.
    Unknown,
    /// Known; `stored` if the `Cpu` has them too.
    Known { flags: Flags<Val>, stored: bool },
}

impl Deferred {
    /// Anything will do: nobody sees them before they change.
    pub const UNSEEN: Self = Self::Known {
        flags: Flags {
            cc: Cc {
                op: CcOp::Bits,
                size: OpSize::B64,
            },
            res: Val::Imm(0),
            src: Val::Imm(0),
            dst: Val::Imm(0),
        },
        stored: true,
    };
}

/// A relative target.
#[derive(Clone, Copy)]
pub(crate) struct Near {
    /// Distance from the page's start.
    pub distance: i64,
    /// The address is truncated to 16 bits.
    pub narrow: bool,
}

/// A data word beside the code that the engine fills in.
#[derive(Clone, Copy, Debug)]
pub enum Cell {
    /// A link: first the host address of the resolver, which stands at this offset in the code; later that of the target, which is this far
    /// from the page's start.
    Link { resolver: u32, target: i64 },
    /// The address of a helper call.
    Helper(Helper, Insn),
    /// The address of a vector operation.
    Vector(VecOp),
    /// The address of a floating-point operation.
    Fp(FpCall),
    /// A constant of the engine's.
    Word(u64),
}

/// A word on vectors that the processor's own code does, with its decode-time arguments.
#[derive(Clone, Copy, Debug)]
pub enum FpCall {
    Compute(FpOp, FpFormat, u32),
    Compare(Relation, FpFormat),
    /// PCMPxSTRx with imm8; lengths in `Native::value`.
    Strings(u8),
    /// A step of the x87, with the instruction's length; operands in `Native::value`.
    X87(X87Call, u8),
}

/// A finished block.
pub struct Block<'a> {
    pub code: &'a [u8],
    /// Bytes of it that are meant to run: what follows are the rare ways, which may stand elsewhere.
    pub hot: u32,
    /// Offsets of 32-bit fields with the distance from their end to a place on the other side.
    pub crossings: &'a [u32],
    /// Fields that want the distance to a link slot.
    pub fixups: &'a [Fixup],
    /// What the block's cells hold, in the order of their numbers.
    pub cells: &'a [Cell],
    /// Where the code of each instruction starts, and at last where the code behind them does.
    pub marks: &'a [u32],
    /// Accesses that do without the TLB.
    pub windowed: u32,
    /// It goes on at its start by itself if it leads there, until attention is asked for.
    pub rounds: bool,
    /// Offset in its page of the first guest byte covered.
    pub start: u32,
    /// Guest bytes and instructions covered.
    pub bytes: u32,
    pub instructions: u32,
}

/// The one-pass writer for host `A`.
pub struct Baseline<A: HostAssembler> {
    pub(crate) v: Values<A>,
    pub(crate) mode: Mode,
    pub(crate) deferred: Deferred,
    pub(crate) cold: Vec<Cold>,
    marks: Vec<u32>,
    pub(crate) cells: Vec<Cell>,
    /// Distance of the instruction under construction from the page's start.
    pub(crate) at: i64,
    /// Its length.
    pub(crate) len: u8,
    /// Another instruction follows it in the block.
    pub(crate) more: bool,
    /// Instructions before it in the block.
    done: u32,
    /// What is known of the x87.
    pub(crate) x87: Known,
    /// Address, addend and bytes of memory that this instruction may write without another probe.
    pub(crate) writable: Option<(Val, Val, u32)>,
    /// The branch target that this instruction has checked.
    pub(crate) checked: Option<Val>,
    /// Blocks that lead to their own start keep guest registers in host registers.
    pub loops: bool,
    /// The top of the loop that the block is, if it is one.
    pub(crate) top: Option<Top>,
    /// This path of the block has ended.
    ended: bool,
    /// Floating point may run on the host's unit, and so may vectors; else functions compute it.
    pub host_fp: bool,
    pub host_vectors: bool,
    /// Accesses beside an earlier one of the block do without the TLB.
    pub windows: bool,
    /// Accesses of the block under construction that do.
    pub(crate) windowed: u32,
    /// Which accesses of each instruction open windows.
    plan: Vec<Opens>,
    /// Those of the instruction under construction.
    pub(crate) opens: Opens,
    /// Flags that nobody can see are not worked out.
    pub drop_flags: bool,
    /// One processor runs: LOCK is a load and a store.
    pub alone: bool,
    /// The flags that each instruction leaves are dead.
    dead: Vec<bool>,
    /// Those of the instruction under construction are.
    pub(crate) unseen: bool,
}

/// The instruction of this number is not for the one-pass writer.
#[derive(Debug)]
pub struct TooWide(pub usize);

/// This path is closed: what follows cannot be reached.
#[derive(Debug)]
pub struct Ended;

pub(crate) fn stub(o: usize) -> i32 {
    (offset::STUBS + o) as i32
}

impl<A: HostAssembler> Baseline<A> {
    /// A writer; it is reused from block to block.
    pub fn new() -> Self {
        Self {
            v: Values::new(),
            mode: Mode::default(),
            deferred: Deferred::Unknown,
            cold: Vec::new(),
            marks: Vec::new(),
            cells: Vec::new(),
            at: 0,
            len: 0,
            more: false,
            done: 0,
            x87: Known::default(),
            writable: None,
            checked: None,
            loops: true,
            windows: true,
            windowed: 0,
            plan: Vec::new(),
            opens: Opens::default(),
            drop_flags: true,
            alone: true,
            top: None,
            ended: false,
            host_fp: true,
            host_vectors: true,
            dead: Vec::new(),
            unseen: false,
        }
    }

    /// Translates `insns`, which stand one behind the other from `start` bytes into their page, for `mode`. An instruction that needs more
    /// values at once than there is room for (ENTER with a deep nesting level) is refused by its number. `rest` is the host address of
    /// the frame that the last bytes of a single instruction over the page's end stand in.
    pub fn translate(
        &mut self,
        mode: Mode,
        start: u32,
        insns: &[Insn],
        rest: Option<u64>,
    ) -> Result<Block<'_>, TooWide> {
        self.begin(mode, start);
        decode::status::dead_flags(insns, &mut self.dead);
        self.plan.clear();
        if self.windows {
            window::plan(insns, &mut self.plan);
        }
        match rest {
            Some(host) => self.check_rest(host),
            None => self.open_loop(insns, start),
        }
        for (n, i) in insns.iter().enumerate() {
            self.writable = None;
            self.checked = None;
            self.len = i.len;
            self.more = n + 1 < insns.len();
            self.opens = self.plan.get(n).copied().unwrap_or_default();
            self.marks.push(self.v.asm.position() as u32);
            self.unseen = self.drop_flags && self.dead.get(n).copied().unwrap_or(false);
            match table::row::<Self>(i.code) {
                Some(row) => {
                    if (row.body)(self, i).is_err() {
                        self.ended = true;
                    }
                }
                None => self.leave_to_evaluator(),
            }
            if self.v.overflow {
                return Err(TooWide(n));
            }
            self.at += i64::from(i.len);
            self.done += 1;
            self.end_instruction();
            if self.ended {
                break;
            }
        }
        if !self.ended {
            let target = Near {
                distance: self.at,
                narrow: false,
            };
            self.exit_to(target, self.done);
        }
        self.marks.push(self.v.asm.position() as u32);
        let hot = self.write_cold();
        let (bytes, instructions) = ((self.at - i64::from(start)) as u32, self.done);
        self.v.asm.finish(hot);
        Ok(Block {
            code: self.v.asm.code(),
            hot,
            crossings: self.v.asm.crossings(),
            fixups: self.v.asm.fixups(),
            cells: &self.cells,
            marks: &self.marks,
            windowed: self.windowed,
            rounds: self.top.is_some(),
            start,
            bytes,
            instructions,
        })
    }

    /// Nothing is written yet.
    pub(crate) fn begin(&mut self, mode: Mode, start: u32) {
        self.v.reset();
        self.mode = mode;
        self.deferred = Deferred::Unknown;
        self.cold.clear();
        self.marks.clear();
        self.cells.clear();
        self.at = start.into();
        self.done = 0;
        self.x87 = Known::default();
        self.top = None;
        self.ended = false;
        self.windowed = 0;
    }

    fn end_instruction(&mut self) {
        let keep = match self.deferred {
            Deferred::Known { flags, .. } => inputs(&flags),
            Deferred::Unknown => [None; 3],
        };
        let keep: Vec<Val> = keep.into_iter().flatten().chain(self.x87.top).collect();
        self.v.end_instruction(&keep);
    }

    /// The site of the instruction under construction for slow paths.
    pub(crate) fn site(&self, extra: u64) -> u64 {
        site::pack(self.at, self.done, extra)
    }

    /// Stores the deferred flags if the `Cpu` does not have them yet.
    pub(crate) fn store_flags(&mut self) {
        if let Some(s) = self.snapshot() {
            self.write_snapshot(s);
            if let Deferred::Known { stored, .. } = &mut self.deferred {
                *stored = true;
            }
        }
    }

    /// The evaluator does this instruction and what follows is found anew.
    pub(crate) fn leave_to_evaluator(&mut self) {
        let l = self.plan_bail();
        self.v.asm.jump(l);
        self.ended = true;
    }

    /// A side exit: goes to `target` if the host's flags say `c`.
    pub(crate) fn branch_if(&mut self, c: Cond, target: Near) {
        let count = self.done + 1;
        let moves = self.moves_to(target);
        let l = self.plan(ColdKind::Branch {
            target,
            count,
            moves,
        });
        self.v.asm.jump_if(c, l);
    }

    /// Ends the path at `target` with `count` instructions retired.
    pub(crate) fn exit_to(&mut self, target: Near, count: u32) {
        self.store_flags();
        let moves = self.moves_to(target);
        self.link(target, count, moves);
        self.ended = true;
    }

    /// The moves that lead to `target`, if that is the top of this loop.
    fn moves_to(&self, target: Near) -> Moves {
        match self.top_at(target.distance) {
            Some(_) => self.loop_moves(),
            None => Moves::default(),
        }
    }

    /// The number of this instruction, counted.
    pub(crate) fn retired(&self) -> u32 {
        self.done + 1
    }

    pub(crate) fn link(&mut self, near: Near, count: u32, moves: Moves) {
        let target = near.distance;
        if count > 0 {
            self.v.asm.count(count as i32);
        }
        let local = (0..0x1000).contains(&target) && !near.narrow;
        if !local {
            let r = A::POOL[0];
            self.page_plus(r, target);
            if near.narrow {
                self.v.asm.zero_extend(Size::B16, r, r);
            }
            return self.through(r);
        }
        if target <= self.at {
            let entry = self.v.asm.label();
            self.cold.push(Cold {
                entry,
                flags: None,
                kind: ColdKind::Attend {
                    target: Target::Page(target),
                },
            });
            if let Some(top) = self.top_at(target) {
                return self.go_back(&moves, top, entry);
            }
            self.v.asm.check_attention(A::POOL[0], entry);
        }
        let slot = self.cell(Cell::Link {
            resolver: 0,
            target,
        });
        let entry = self.v.asm.label();
        self.cold.push(Cold {
            entry,
            flags: None,
            kind: ColdKind::Unlinked { slot, target },
        });
        self.v.asm.jump_slot(slot);
    }

    /// A new cell.
    pub(crate) fn cell(&mut self, c: Cell) -> u32 {
        self.cells.push(c);
        self.cells.len() as u32 - 1
    }

    /// `r ← RIP of the page's start plus `distance`, truncated to the address size.
    pub(crate) fn page_plus(&mut self, r: Reg, distance: i64) {
        self.v.asm.load_cpu(Size::B64, r, offset::PAGE_BASE as i32);
        self.v.asm.lea(r, r, None, distance as i32);
        if self.mode.code() != ModeSize::B64 {
            self.v.asm.zero_extend(Size::B32, r, r);
        }
    }

    /// Ends the path at the address that `target` holds.
    pub(crate) fn exit_through(&mut self, target: Val) {
        self.store_flags();
        let r = self.v.reg(target);
        self.v.asm.count(self.retired() as i32);
        self.through(r);
        self.ended = true;
    }

    /// Goes on at the address in `r` through the jump cache.
    pub(crate) fn through(&mut self, r: Reg) {
        let mut scratch = A::POOL.iter().copied().filter(|&x| x != r);
        let (t, u) = (scratch.next().unwrap_or(0), scratch.next().unwrap_or(0));
        let attend = self.v.asm.label();
        self.cold.push(Cold {
            entry: attend,
            flags: None,
            kind: ColdKind::Attend {
                target: Target::Reg(r),
            },
        });
        self.v.asm.check_attention(t, attend);
        let miss = self.v.asm.label();
        self.cold.push(Cold {
            entry: miss,
            flags: None,
            kind: ColdKind::Lookup { rip: r },
        });
        self.v.asm.jump_cached(r, t, u, miss);
    }
}

impl<A: HostAssembler> Default for Baseline<A> {
    fn default() -> Self {
        Self::new()
    }
}

/// The inputs that the rule reads.
pub(crate) fn inputs(f: &Flags<Val>) -> [Option<Val>; 3] {
    let (res, src, dst) = f.cc.op.inputs();
    [
        res.then_some(f.res),
        src.then_some(f.src),
        dst.then_some(f.dst),
    ]
}
