//! Windows: parts of a page that an access of the block has found in the TLB, for later accesses that lie beside it.
//!
//! Accesses around one register (a stack frame, the fields of a structure) mostly meet one page. The first of them looks at the TLB and keeps
//! the page's addend in a register; the next ones only see whether they leave the page, or not even that if they lie between bytes that
//! are known. A window ends with the block, with a call that may change the mapping, and where its register is needed.
//!
//! Invariant: where a window is used, control came by its first access with the tag found, so that its page is RAM, permitted, and at the
//! addend. The first access is done by the evaluator, which leaves the block, where that cannot be had (devices, faults, an access over the
//! page's end); so is a store to the bus while there are windows, as it may change where memory is.

use crate::block::{Baseline, stub};
use crate::cold::{Cold, ColdKind};
use crate::emit::{access, size};
use crate::host::{Alu, Cond, HostAssembler, Label, Reg, Size, Src};
use crate::places::Place;
use crate::values::Val;
use arch::{PAGE_SIZE, Seg};
use cpu::native::{Stubs, offset};
use decode::{Insn, Mem, Mnemonic, Operand};
use memory::Entry;
use semantics::emit::Width;
use std::mem::offset_of;

/// How far from what is known an access may lie.
const REACH: i64 = 1024;

/// Windows of a block at one time.
pub const MOST: usize = 2;

/// Bytes of one page around a value.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The value that addresses count from.
    pub root: u32,
    /// The first and the last byte that are known to lie in the page, from the root.
    first: i64,
    last: i64,
    /// It may be written.
    write: bool,
    /// The value with the page's addend.
    pub addend: u32,
}

/// Which accesses of an instruction open windows: later ones can use them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opens {
    pub read: bool,
    pub write: bool,
}

/// What an access must see to be in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// It lies between known bytes.
    None,
    /// It ends that many bytes behind the last known one, which lies this far from its address.
    Above { by: i64, known: i64 },
    /// It begins that many bytes before the first known one.
    Below { by: i64 },
}

/// The other side of a check: the access leaves the window's page.
pub(crate) struct Far {
    /// The address.
    a: Reg,
    size: Size,
    bytes: u32,
    write: bool,
    /// What is stored or loaded.
    value: Reg,
    /// Free.
    d: Reg,
    t: Reg,
    /// The slow path.
    miss: Label,
    back: Label,
}

/// The rare way of an access that opens a window.
pub(crate) struct Reach {
    addr: Place,
    site: u64,
    a: Reg,
    bytes: u32,
    write: bool,
    /// The addend.
    d: Reg,
    t: Reg,
    /// The evaluator does the instruction.
    bail: Label,
    back: Label,
}

impl Window {
    /// What `bytes` at `offset` must see; `None` if the window is not for them.
    fn check(&self, offset: i64, bytes: u32) -> Option<Check> {
        let end = offset + i64::from(bytes) - 1;
        match (offset < self.first, end > self.last) {
            (false, false) => Some(Check::None),
            (false, true) if end - self.last <= REACH => Some(Check::Above {
                by: end - self.last,
                known: self.last - offset,
            }),
            (true, false) if self.first - offset <= REACH => Some(Check::Below {
                by: self.first - offset,
            }),
            _ => None,
        }
    }
}

/// The registers that the accesses of `i` count from, and whether they write: a pair for its memory operand and one for the stack.
fn accesses(i: &Insn) -> [Option<(u8, bool)>; 2] {
    use Mnemonic as M;
    const RSP: u8 = 4;
    let stack = match i.code.mnemonic() {
        M::Push | M::Call => Some((RSP, true)),
        M::Pop | M::Ret => Some((RSP, false)),
        _ => None,
    };
    let plain =
        i.mem.index == Mem::NONE && i.mem.base < 16 && !matches!(i.mem.seg, Seg::Fs | Seg::Gs);
    let used = i.ops.contains(&Operand::Mem) && i.code.mnemonic() != M::Lea;
    let reads_only = matches!(
        i.code.mnemonic(),
        M::Cmp | M::Test | M::Push | M::Call | M::Jmp | M::Bt
    );
    let write = i.ops[0] == Operand::Mem && !reads_only;
    [(plain && used).then_some((i.mem.base, write)), stack]
}

/// The general register that `i` gives a value which does not follow from its last one.
fn replaces(i: &Insn) -> Option<u8> {
    use Mnemonic as M;
    let constant = matches!(i.ops[1], Operand::Imm(_));
    match (i.code.mnemonic(), i.ops[0]) {
        (M::Cmp | M::Test | M::Push | M::Call | M::Jmp | M::Bt, _) => None,
        (M::Add | M::Sub, Operand::Gpr(_)) if constant => None,
        (M::Inc | M::Dec, _) => None,
        (_, Operand::Gpr(r)) => Some(r),
        _ => None,
    }
}

/// For each of `insns` which of its accesses a later one can profit from. No more than a hint: what it misses costs time only.
pub fn plan(insns: &[Insn], out: &mut Vec<Opens>) {
    out.clear();
    // From the end: what comes of each register, reads and writes.
    let mut later = [Opens::default(); 16];
    for i in insns.iter().rev() {
        let mut opens = Opens::default();
        if let Some(r) = replaces(i) {
            later[usize::from(r & 15)] = Opens::default();
        }
        // A write may be followed by both, a read by reads. What an instruction writes after it read a device must not be begun anew.
        let accesses = accesses(i);
        let both = accesses[1].is_some() && i.ops.contains(&Operand::Mem);
        for (r, write) in accesses.into_iter().flatten() {
            let l = later[usize::from(r & 15)];
            match write {
                true => opens.write |= !both && (l.read || l.write),
                false => opens.read |= l.read,
            }
        }
        for (r, write) in accesses.into_iter().flatten() {
            let l = &mut later[usize::from(r & 15)];
            match write {
                true => l.write = true,
                false => l.read = true,
            }
        }
        out.push(opens);
    }
    out.reverse();
}

impl<A: HostAssembler> Baseline<A> {
    /// The window for an access, its addend, and what must be seen.
    fn window(&mut self, addr: Val, bytes: u32, write: bool) -> Option<(u32, Check)> {
        let (root, offset) = self.v.origin(addr)?;
        let found = self.v.windows.iter().find_map(|w| {
            let fits = w.root == root && (w.write || !write);
            let check = fits.then(|| w.check(offset, bytes)).flatten()?;
            Some((w.addend, check))
        })?;
        Some(found)
    }

    /// `value` ← or → `W::BYTES` bytes at `addr`, if a window has them.
    pub(crate) fn in_window<W: Width>(
        &mut self,
        seg: Seg,
        addr: Val,
        stored: Option<Val>,
    ) -> Option<Val> {
        let (addend, check) = self.window(addr, W::BYTES, stored.is_some())?;
        // All registers before the check: its other side comes back to the state that is known here.
        let d = self.v.reg(Val::Temp(addend));
        let a = self.v.reg(addr);
        let (value, x) = match stored {
            Some(v) => {
                let x = self.v.reg(v);
                (self.v.value_of(x), x)
            }
            None => {
                let (id, x) = self.v.fresh(W::BITS);
                (Val::Temp(id), x)
            }
        };
        let back = self.v.asm.label();
        self.windowed += 1;
        let checked = match check {
            Check::None => None,
            Check::Above { by, known } => Some((PAGE_SIZE as i64 - by, known, Cond::Uge)),
            Check::Below { by } => Some((by, by, Cond::Ult)),
        };
        if let Some((limit, known, leaves)) = checked {
            let (_, t) = self.v.fresh(64);
            let (scratch, miss) = match stored {
                Some(_) => {
                    let (_, scratch) = self.v.fresh(64);
                    (
                        scratch,
                        self.plan_store(access::<W>(seg), addr, value, back),
                    )
                }
                None => (x, self.plan_load(access::<W>(seg), addr, x, back)),
            };
            let entry = self.v.asm.label();
            self.cold.push(Cold {
                entry,
                flags: None,
                kind: ColdKind::Far(Far {
                    a,
                    size: size::<W>(),
                    bytes: W::BYTES,
                    write: stored.is_some(),
                    value: x,
                    d: scratch,
                    t,
                    miss,
                    back,
                }),
            });
            self.v.asm.lea(t, a, None, known as i32);
            let inside = Src::Imm(PAGE_SIZE as i32 - 1);
            self.v.asm.alu(Alu::And, Size::B32, t, t, inside);
            self.v.asm.compare(Size::B32, t, Src::Imm(limit as i32));
            self.v.asm.jump_if(leaves, entry);
            self.v.host = None;
        }
        match stored {
            Some(_) => self.v.asm.store_at(size::<W>(), a, d, x),
            None => self.v.asm.load_at(size::<W>(), x, a, d),
        }
        self.v.asm.bind(back);
        self.v.unlock();
        Some(value)
    }

    /// The same with an access that opens a window: control goes on only if the TLB permits it.
    pub(crate) fn open_window<W: Width>(&mut self, addr: Val, stored: Option<Val>) -> Option<Val> {
        let (root, offset) = self.v.origin(addr)?;
        let a = self.v.reg(addr);
        let x = stored.map(|v| self.v.reg(v));
        let (addend, d) = self.v.fresh(64);
        let (value, t) = self.v.fresh(W::BITS);
        let bail = self.plan_bail();
        let (entry, back) = (self.v.asm.label(), self.v.asm.label());
        let write = stored.is_some();
        let place = self.v.place(addr);
        let site = u64::from(write) | self.live_vectors();
        self.cold.push(Cold {
            entry,
            flags: None,
            kind: ColdKind::Reach(Reach {
                addr: place,
                site,
                a,
                bytes: W::BYTES,
                write,
                d,
                t,
                bail,
                back,
            }),
        });
        self.probe(tag(write), a, W::BYTES, d, t, entry);
        self.v.asm.bind(back);
        match x {
            Some(x) => self.v.asm.store_at(size::<W>(), a, d, x),
            None => self.v.asm.load_at(size::<W>(), t, a, d),
        }
        self.v.host = None;
        self.v.unlock();
        if self.v.windows.len() == MOST {
            self.v.windows.remove(0);
        }
        self.v.windows.push(Window {
            root,
            first: offset,
            last: offset + i64::from(W::BYTES) - 1,
            write,
            addend,
        });
        Some(Val::Temp(value))
    }

    /// An access that leaves its window's page: by the TLB, and back.
    pub(crate) fn write_far(&mut self, f: &Far) {
        self.probe(tag(f.write), f.a, f.bytes, f.d, f.t, f.miss);
        match f.write {
            true => self.v.asm.store_at(f.size, f.a, f.d, f.value),
            false => self.v.asm.load_at(f.size, f.value, f.a, f.d),
        }
        self.v.asm.jump(f.back);
    }

    /// A window's first access that the TLB does not have yet: once more, with the page filled in.
    pub(crate) fn write_reach(&mut self, r: &Reach) {
        self.write_place(r.addr, offset::ADDRESS as i32);
        self.write_imm(offset::SITE as i32, r.site);
        self.v.asm.call_cpu(stub(offset_of!(Stubs, reach)));
        self.probe(tag(r.write), r.a, r.bytes, r.d, r.t, r.bail);
        self.v.asm.jump(r.back);
    }
}

fn tag(write: bool) -> usize {
    match write {
        true => offset_of!(Entry, write),
        false => offset_of!(Entry, read),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_access_is_checked_on_the_side_where_it_leaves_what_is_known() {
        let w = Window {
            root: 0,
            first: 16,
            last: 23,
            write: true,
            addend: 1,
        };
        assert_eq!(w.check(16, 8), Some(Check::None));
        assert_eq!(w.check(20, 4), Some(Check::None));
        assert_eq!(w.check(24, 8), Some(Check::Above { by: 8, known: -1 }));
        assert_eq!(w.check(20, 8), Some(Check::Above { by: 4, known: 3 }));
        assert_eq!(w.check(8, 8), Some(Check::Below { by: 8 }));
        assert_eq!(w.check(12, 8), Some(Check::Below { by: 4 }));
        assert_eq!(w.check(8, 32), None);
        assert_eq!(w.check(REACH + 24, 8), None);
        assert_eq!(w.check(16 - REACH - 1, 1), None);
    }
}
