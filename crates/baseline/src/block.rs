//! A block under construction: exits, slow paths, flags; and what comes out of it.
//!
//! Layout of a block: the hot path in guest order, then the cold paths that it planned, then constants. Control leaves only through
//! [`Baseline::exit_to`], [`Baseline::exit_through`] and the cold paths, and always with the deferred flags stored, guest registers
//! written through and the retired instructions counted.

use crate::host::{Cond, Fixup, HostAssembler, Label, Reg, Size, Src};
use crate::loops::{Moves, Top};
use crate::values::{Place, Spot, Val, Values};
use crate::x87::{Known, X87Call};
use arch::{Fault, Mode, Size as ModeSize};
use cpu::native::{Stubs, exit, offset, site};
use decode::Insn;
use semantics::emit::{Cc, CcOp, Flags, OpSize};
use semantics::fp::{FpFormat, FpOp, Relation};
use semantics::table::{self, Helper};
use semantics::vector::VecOp;
use std::mem::offset_of;

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

/// What a cold path stores before it leaves or calls.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot {
    cc: Cc,
    res: Option<Place>,
    src: Option<Place>,
    dst: Option<Place>,
}

/// A path that is taken rarely, written behind the hot one.
struct Cold {
    entry: Label,
    flags: Option<Snapshot>,
    kind: ColdKind,
}

enum ColdKind {
    /// A slow load: answers in `d`, then back.
    Load {
        site: u64,
        addr: Place,
        d: Reg,
        back: Label,
    },
    /// A slow store.
    Store {
        site: u64,
        addr: Place,
        value: Place,
        back: Label,
    },
    /// Leaves with the instruction to be done by the evaluator, or with an exception.
    Leave { site: u64, reason: u64 },
    /// Loads the host's x87, then back.
    X87Load { back: Label },
    /// Leaves to `target`, counting `count`.
    Branch {
        target: Near,
        count: u32,
        moves: Moves,
    },
    /// The attention word asks: RIP becomes the target.
    Attend { target: Target },
    /// A link slot that leads nowhere yet.
    Unlinked { slot: u32, target: i64 },
    /// The jump cache does not know the address in the register.
    Lookup { rip: Reg },
    /// It stands there already.
    Written,
}

/// A relative target.
#[derive(Clone, Copy)]
pub(crate) struct Near {
    /// Distance from the page's start.
    pub distance: i64,
    /// The address is truncated to 16 bits.
    pub narrow: bool,
}

#[derive(Clone, Copy)]
enum Target {
    Page(i64),
    Reg(Reg),
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
    /// It goes on at its start by itself if it leads there, until attention is asked for.
    pub rounds: bool,
    /// Guest bytes and instructions covered.
    pub bytes: u32,
    pub instructions: u32,
}

/// The one-pass writer for host `A`.
pub struct Baseline<A: HostAssembler> {
    pub(crate) v: Values<A>,
    pub(crate) mode: Mode,
    pub(crate) deferred: Deferred,
    cold: Vec<Cold>,
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
    /// Flags that nobody can see are not worked out.
    pub drop_flags: bool,
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
            drop_flags: true,
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
        self.v.reset();
        self.mode = mode;
        self.deferred = Deferred::Unknown;
        self.cold.clear();
        self.marks.clear();
        self.cells.clear();
        self.at = start.into();
        self.done = 0;
        self.x87 = Known::default();
        self.ended = false;
        decode::status::dead_flags(insns, &mut self.dead);
        match rest {
            Some(host) => self.check_rest(host),
            None => self.open_loop(insns, start),
        }
        for (n, i) in insns.iter().enumerate() {
            self.writable = None;
            self.checked = None;
            self.len = i.len;
            self.more = n + 1 < insns.len();
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
            rounds: self.top.is_some(),
            bytes,
            instructions,
        })
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

    /// The same for a stub that preserves registers: vector registers only if there is something in them.
    fn access_site(&self, extra: u64) -> u64 {
        let vectors = if self.v.x.live() { site::VECTORS } else { 0 };
        self.site(extra) | vectors
    }

    fn snapshot(&self) -> Option<Snapshot> {
        let Deferred::Known {
            flags,
            stored: false,
        } = self.deferred
        else {
            return None;
        };
        let [res, src, dst] = inputs(&flags).map(|v| v.map(|v| self.v.place(v)));
        Some(Snapshot {
            cc: flags.cc,
            res,
            src,
            dst,
        })
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

    /// Writes the flags to the `Cpu`. Uses no register that may hold a value; changes the host's flags only for lazy inputs.
    fn write_snapshot(&mut self, s: Snapshot) {
        let cc = i32::from(s.cc.op as u8) | i32::from(s.cc.size as u8) << 8;
        self.v.asm.store_cpu_imm(Size::B32, offset::CC as i32, cc);
        for (place, o) in [
            (s.res, offset::RES),
            (s.src, offset::SRC),
            (s.dst, offset::DST),
        ] {
            if let Some(p) = place {
                self.write_place(p, o as i32);
            }
        }
    }

    /// Puts a value into a `Cpu` field without changing a register.
    fn write_place(&mut self, p: Place, to: i32) {
        match p {
            Place::At(Spot::Imm(v)) => self.write_imm(to, v),
            Place::At(Spot::Reg(r)) => self.v.asm.store_cpu(Size::B64, to, r),
            Place::At(Spot::Cpu(from)) => self.v.asm.copy_cpu(to, from),
            Place::Compare(c, size, a, b) => {
                self.v.asm.store_cpu_imm(Size::B64, to, 0);
                let (a, b) = self.borrow(a, b);
                self.v.asm.compare(size, a.0, Src::Reg(b.0));
                self.give_back(a, b);
                self.v.asm.set_cpu(c, to);
            }
            Place::Bits(c, size, v, mask) => {
                self.v.asm.store_cpu_imm(Size::B64, to, 0);
                let (a, b) = self.borrow(v, Spot::Imm(0));
                self.v.asm.test_bits(size, a.0, mask);
                self.give_back(a, b);
                self.v.asm.set_cpu(c, to);
            }
        }
    }

    fn write_imm(&mut self, to: i32, v: u64) {
        match i32::try_from(v as i64) {
            Ok(v) => self.v.asm.store_cpu_imm(Size::B64, to, v),
            Err(_) => {
                self.v.asm.store_cpu_imm(Size::B32, to, v as u32 as i32);
                self.v
                    .asm
                    .store_cpu_imm(Size::B32, to + 4, (v >> 32) as u32 as i32);
            }
        }
    }

    /// Two operands in registers; those that stood elsewhere borrow one, whose content is saved. Tells which are borrowed.
    fn borrow(&mut self, a: Spot, b: Spot) -> ((Reg, bool), (Reg, bool)) {
        let own = |s: Spot| if let Spot::Reg(r) = s { Some(r) } else { None };
        let other = |taken: [Option<Reg>; 2]| {
            A::POOL
                .iter()
                .copied()
                .find(|r| !taken.contains(&Some(*r)))
                .unwrap_or(A::POOL[0])
        };
        let ra = own(a).unwrap_or_else(|| other([own(b), None]));
        let rb = own(b).unwrap_or_else(|| other([Some(ra), None]));
        for (spot, r, save) in [(a, ra, 0), (b, rb, 8)] {
            if own(spot).is_none() {
                self.v
                    .asm
                    .store_cpu(Size::B64, offset::SAVED as i32 + save, r);
                match spot {
                    Spot::Imm(v) => self.v.asm.constant(r, v),
                    Spot::Cpu(o) => self.v.asm.load_cpu(Size::B64, r, o),
                    Spot::Reg(_) => {}
                }
            }
        }
        ((ra, own(a).is_none()), (rb, own(b).is_none()))
    }

    fn give_back(&mut self, a: (Reg, bool), b: (Reg, bool)) {
        for ((r, borrowed), save) in [(a, 0), (b, 8)] {
            if borrowed {
                self.v
                    .asm
                    .load_cpu(Size::B64, r, offset::SAVED as i32 + save);
            }
        }
    }

    fn plan(&mut self, kind: ColdKind) -> Label {
        let entry = self.v.asm.label();
        let flags = self.snapshot();
        self.cold.push(Cold { entry, flags, kind });
        entry
    }

    /// The cold path of a slow load into `d` that comes back to `back`.
    pub(crate) fn plan_load(&mut self, extra: u64, addr: Val, d: Reg, back: Label) -> Label {
        let (site, addr) = (self.access_site(extra), self.v.place(addr));
        self.plan(ColdKind::Load {
            site,
            addr,
            d,
            back,
        })
    }

    /// The cold path of a slow store.
    pub(crate) fn plan_store(&mut self, extra: u64, addr: Val, value: Val, back: Label) -> Label {
        let (site, addr, value) = (
            self.access_site(extra),
            self.v.place(addr),
            self.v.place(value),
        );
        self.plan(ColdKind::Store {
            site,
            addr,
            value,
            back,
        })
    }

    /// The cold path that loads the host's x87 and comes back to `back`.
    pub(crate) fn plan_x87_load(&mut self, back: Label) -> Label {
        let entry = self.v.asm.label();
        self.cold.push(Cold {
            entry,
            flags: None,
            kind: ColdKind::X87Load { back },
        });
        entry
    }

    /// The cold path that lets the evaluator do the whole instruction.
    pub(crate) fn plan_bail(&mut self) -> Label {
        let site = self.site(0);
        self.plan(ColdKind::Leave {
            site,
            reason: exit::EVALUATE,
        })
    }

    /// The cold path that raises.
    pub(crate) fn plan_raise(&mut self, f: Fault) -> Label {
        let site = self.site(0);
        self.plan(ColdKind::Leave {
            site,
            reason: exit::raise(f),
        })
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

    fn link(&mut self, near: Near, count: u32, moves: Moves) {
        let target = near.distance;
        self.v.asm.count(count as i32);
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
    fn through(&mut self, r: Reg) {
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

    /// Writes the planned paths: first the sides of branches, which are as likely as what follows the branch, then what is rare. Tells
    /// where that begins.
    fn write_cold(&mut self) -> u32 {
        self.write_planned(|k| matches!(k, ColdKind::Branch { .. }));
        let hot = self.v.asm.position() as u32;
        self.write_planned(|_| true);
        hot
    }

    /// Writes the planned paths that `which` names. They may plan further ones (a side of a branch its link).
    fn write_planned(&mut self, which: impl Fn(&ColdKind) -> bool) {
        let mut n = 0;
        while n < self.cold.len() {
            let c = &mut self.cold[n];
            n += 1;
            if !which(&c.kind) {
                continue;
            }
            let kind = std::mem::replace(&mut c.kind, ColdKind::Written);
            let (entry, flags) = (c.entry, c.flags);
            if let ColdKind::Written = kind {
                continue;
            }
            if let ColdKind::Unlinked { slot, target } = kind {
                let resolver = self.v.asm.position() as u32;
                self.cells[slot as usize] = Cell::Link { resolver, target };
            }
            self.v.asm.bind(entry);
            if let Some(s) = flags {
                self.write_snapshot(s);
            }
            self.write_cold_kind(kind);
        }
    }

    fn write_cold_kind(&mut self, kind: ColdKind) {
        let (rax, value) = (A::POOL[0], offset::VALUE as i32);
        match kind {
            ColdKind::Load {
                site,
                addr,
                d,
                back,
            } => {
                self.write_place(addr, offset::ADDRESS as i32);
                self.write_imm(offset::SITE as i32, site);
                self.v.asm.call_cpu(stub(offset_of!(Stubs, load)));
                self.v.asm.load_cpu(Size::B64, d, value);
                self.v.asm.jump(back);
            }
            ColdKind::Store {
                site,
                addr,
                value: v,
                back,
            } => {
                self.write_place(addr, offset::ADDRESS as i32);
                self.write_place(v, value);
                self.write_imm(offset::SITE as i32, site);
                self.v.asm.call_cpu(stub(offset_of!(Stubs, store)));
                self.v.asm.jump(back);
            }
            ColdKind::Leave { site, reason } => {
                self.write_imm(offset::SITE as i32, site);
                self.leave(reason);
            }
            ColdKind::X87Load { back } => {
                self.v.asm.call_cpu(stub(offset_of!(Stubs, x87)));
                self.v.asm.jump(back);
            }
            ColdKind::Branch {
                target,
                count,
                moves,
            } => self.link(target, count, moves),
            ColdKind::Attend { target } => {
                match target {
                    Target::Page(t) => self.page_plus(rax, t),
                    Target::Reg(r) => self.v.asm.mov(rax, r),
                }
                self.v.asm.store_cpu(Size::B64, offset::RIP as i32, rax);
                self.leave(exit::ATTEND);
            }
            ColdKind::Unlinked { slot, target } => {
                self.page_plus(rax, target);
                self.v.asm.store_cpu(Size::B64, offset::RIP as i32, rax);
                self.v.asm.address_of_slot(rax, slot);
                self.v.asm.store_cpu(Size::B64, value + 8, rax);
                self.leave(exit::UNLINKED);
            }
            ColdKind::Written => {}
            ColdKind::Lookup { rip } => {
                self.v.asm.store_cpu(Size::B64, offset::RIP as i32, rip);
                self.leave(exit::LOOKUP);
            }
        }
    }

    fn leave(&mut self, reason: u64) {
        self.write_imm(offset::VALUE as i32, reason);
        self.v.asm.jump_cpu(stub(offset_of!(Stubs, exit)));
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
