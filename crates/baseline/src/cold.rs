//! What a block does rarely: slow loads and stores, exits, exceptions. Each is planned where the hot path jumps to it, with the values and
//! the flags as they stand there, and written behind it.

use crate::block::{Baseline, Cell, Deferred, Near, inputs, stub};
use crate::host::{HostAssembler, Label, Reg, Size, Src};
use crate::loops::Moves;
use crate::places::{Place, Spot};
use crate::values::Val;
use crate::window::{Far, Reach};
use arch::Fault;
use cpu::native::{Stubs, exit, offset, site};
use semantics::emit::Cc;
use std::mem::offset_of;

/// What a cold path stores before it leaves or calls.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot {
    cc: Cc,
    res: Option<Place>,
    src: Option<Place>,
    dst: Option<Place>,
}

/// A path that is taken rarely, written behind the hot one.
pub(crate) struct Cold {
    pub entry: Label,
    pub flags: Option<Snapshot>,
    pub kind: ColdKind,
}

pub(crate) enum ColdKind {
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
    /// An access that opens a window, where the TLB has no entry.
    Reach(Reach),
    /// An access that leaves its window's page.
    Far(Far),
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

#[derive(Clone, Copy)]
pub(crate) enum Target {
    Page(i64),
    Reg(Reg),
}

impl<A: HostAssembler> Baseline<A> {
    /// What tells a stub that preserves registers that there is something in vector registers.
    pub(crate) fn live_vectors(&self) -> u64 {
        if self.v.x.live() { site::VECTORS } else { 0 }
    }

    /// The site for a stub of a slow access.
    fn access_site(&self, extra: u64) -> u64 {
        let windows = match self.v.windows.is_empty() {
            true => 0,
            false => site::WINDOWS,
        };
        self.site(extra) | self.live_vectors() | windows
    }

    pub(crate) fn snapshot(&self) -> Option<Snapshot> {
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

    /// Writes the flags to the `Cpu`. Uses no register that may hold a value; changes the host's flags only for lazy inputs.
    pub(crate) fn write_snapshot(&mut self, s: Snapshot) {
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
    pub(crate) fn write_place(&mut self, p: Place, to: i32) {
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

    pub(crate) fn write_imm(&mut self, to: i32, v: u64) {
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

    pub(crate) fn plan(&mut self, kind: ColdKind) -> Label {
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

    /// Writes the planned paths: first the sides of branches, which are as likely as what follows the branch, then what is rare. Tells
    /// where that begins.
    pub(crate) fn write_cold(&mut self) -> u32 {
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
            ColdKind::Reach(r) => self.write_reach(&r),
            ColdKind::Far(f) => self.write_far(&f),
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

    pub(crate) fn leave(&mut self, reason: u64) {
        self.write_imm(offset::VALUE as i32, reason);
        self.v.asm.jump_cpu(stub(offset_of!(Stubs, exit)));
    }
}
