//! Guest memory in regions.
//!
//! A memory operand remembers the page that it touched last: its tag and addend are variables of their own, which live around loops. As long
//! as the operand stays in that page, an access takes a compare and no look at the TLB, and the address of the data does not wait for the
//! TLB's answer. Where it leaves the page, the TLB is probed; where that does not know the page, a stub fills it if it can; and where that
//! cannot, because the access faults, reaches a device, goes over the page's end or would change code, the region is left before the
//! instruction. Operands whose registers jump about remember nothing.
//!
//! What was checked holds to the region's end: nothing in a region changes the mapping.

use crate::lift::ClifEmitter;
use arch::Seg;
use cpu::native::{Stubs, offset};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, InstructionData, Opcode, Value, ValueDef, types};
use cranelift_frontend::Variable;
use decode::Operand;
use hashbrown::HashMap;
use memory::{Class, ENTRIES, Entry};
use std::mem::offset_of;

/// What makes memory operands alike: the registers that their address is made of.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Kind {
    segment: u8,
    base: u8,
    index: u8,
    scale: u8,
    write: bool,
}

/// A checked range of addresses on the path under construction.
#[derive(Clone, Copy)]
struct Proof {
    root: Value,
    from: i64,
    to: i64,
    write: bool,
    addend: Value,
}

/// Operands that remember their pages: more would only be spilled.
const MOST: usize = 10;

/// Elements of a table whose index is small.
const SMALL: u64 = 0x400;

/// What a region knows of pages.
#[derive(Default)]
pub(crate) struct Pages {
    operands: HashMap<Kind, (Variable, Variable)>,
    proofs: Vec<Proof>,
}

impl Pages {
    /// Tags and addends of all operands.
    pub(crate) fn variables(&self) -> Vec<(Variable, Variable)> {
        let mut all: Vec<_> = self.operands.values().copied().collect();
        all.sort_unstable_by_key(|(tag, _)| tag.as_u32());
        all
    }

    /// Another path begins.
    pub(crate) fn forget(&mut self) {
        self.proofs.clear();
    }
}

impl ClifEmitter<'_> {
    /// The address as a value and a distance from it.
    fn root(&self, addr: Value) -> (Value, i64) {
        self.sums.get(&addr).copied().unwrap_or((addr, 0))
    }

    /// The host address of `bytes` bytes at the linear address `addr`: an access of this kind is permitted there.
    pub(crate) fn host(&mut self, addr: Value, bytes: u32, write: bool) -> Value {
        let (root, from) = self.root(addr);
        let to = from + i64::from(bytes);
        let known = self
            .pages
            .proofs
            .iter()
            .find(|p| p.root == root && p.from <= from && to <= p.to && (p.write || !write));
        let addend = match known {
            Some(p) => p.addend,
            None => {
                let addend = self.checked(addr, bytes, write);
                self.pages.proofs.push(Proof {
                    root,
                    from,
                    to,
                    write,
                    addend,
                });
                addend
            }
        };
        self.b.ins().iadd(addr, addend)
    }

    /// The operand that the instruction under construction accesses.
    fn operand(&mut self, write: bool) -> Option<(Variable, Variable)> {
        if !self.switches.pages || !self.is_steady() {
            return None;
        }
        let i = &self.insn;
        let kind = if i.ops.contains(&Operand::Mem)
            && !matches!(
                i.code.mnemonic(),
                decode::Mnemonic::Push | decode::Mnemonic::Pop | decode::Mnemonic::Call
            ) {
            Kind {
                segment: match i.mem.seg {
                    Seg::Fs | Seg::Gs => i.mem.seg as u8,
                    _ => 0,
                },
                base: i.mem.base,
                index: i.mem.index,
                scale: i.mem.scale,
                write,
            }
        } else {
            let base = match i.ops.contains(&Operand::Implicit) {
                true => 6 + u8::from(write),
                false => 4,
            };
            Kind {
                segment: 0,
                base,
                index: decode::Mem::NONE,
                scale: 0,
                write,
            }
        };
        if let Some(&v) = self.pages.operands.get(&kind) {
            return Some(v);
        }
        if self.pages.operands.len() >= MOST {
            return None;
        }
        let v = (
            self.b.declare_var(types::I64),
            self.b.declare_var(types::I64),
        );
        self.pages.operands.insert(kind, v);
        Some(v)
    }

    /// Whether the operand's registers walk in small steps: one that jumps about would leave the page that it remembers as often as not,
    /// and the processor cannot foretell when.
    fn is_steady(&mut self) -> bool {
        let i = self.insn;
        if !i.ops.contains(&Operand::Mem) {
            return true;
        }
        let steady = |r: u8| r >= 16 || self.steady >> r & 1 != 0;
        steady(i.mem.base) && (steady(i.mem.index) || self.is_small_register(i.mem.index))
    }

    /// Whether the register holds a byte or a few bits: an index of a table that fits a page.
    fn is_small_register(&mut self, r: u8) -> bool {
        let v = self.gpr(r);
        self.is_small(v)
    }

    fn is_small(&self, v: Value) -> bool {
        let dfg = &self.b.func.dfg;
        let ValueDef::Result(inst, _) = dfg.value_def(v) else {
            return false;
        };
        match dfg.insts[inst] {
            InstructionData::Unary {
                opcode: Opcode::Uextend | Opcode::Ireduce,
                arg,
            } => {
                dfg.value_type(v).bits() > 8 && dfg.value_type(arg).bits() <= 8
                    || self.is_small(arg)
            }
            InstructionData::Binary {
                opcode: Opcode::Band,
                args,
            } => args
                .iter()
                .any(|&a| self.known(a).is_some_and(|mask| mask < SMALL)),
            _ => false,
        }
    }

    /// The addend of the page that `bytes` bytes at `addr` lie in.
    fn checked(&mut self, addr: Value, bytes: u32, write: bool) -> Value {
        let Some((tag, addend)) = self.operand(write) else {
            let page = self.page_of(addr, bytes);
            return self.probed(addr, page, write, false);
        };
        let known = self.b.use_var(tag);
        // An access that is not aligned keeps low bits, which no tag has: it may go over the page's end.
        let crooked = match bytes.is_power_of_two() {
            true => i64::from(bytes) - 1,
            false => 0xfff,
        };
        let page = self.b.ins().band_imm_s(addr, -0x1000 | crooked);
        let same = self.b.ins().icmp(IntCC::Equal, page, known);
        let (other, join) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(other);
        self.b.ins().brif(same, join, &[], other, &[]);
        self.b.seal_block(other);
        self.b.switch_to_block(other);
        let page = self.page_of(addr, bytes);
        let found = self.probed(addr, page, write, true);
        self.b.def_var(tag, page);
        self.b.def_var(addend, found);
        self.b.ins().jump(join, &[]);
        self.b.seal_block(join);
        self.b.switch_to_block(join);
        self.b.use_var(addend)
    }

    /// The page of the last of `bytes` bytes at `addr`: one that the TLB does not have where `addr` points if that is another page.
    fn page_of(&mut self, addr: Value, bytes: u32) -> Value {
        let last = match bytes {
            1 => addr,
            _ => self.b.ins().iadd_imm_s(addr, i64::from(bytes) - 1),
        };
        self.b.ins().band_imm_s(last, -0x1000)
    }

    /// The same out of the TLB; whether that is done rarely.
    fn probed(&mut self, addr: Value, page: Value, write: bool, rare: bool) -> Value {
        const { assert!(size_of::<Entry>() == 32) };
        let class = match (self.plan.mode.cpl() == 3, self.plan.mode.user_pages()) {
            (true, _) => Class::User,
            (false, true) => Class::SupervisorAc,
            (false, false) => Class::Supervisor,
        };
        let array = class as usize * size_of::<[Entry; ENTRIES]>();
        let tag = if write {
            offset_of!(Entry, write)
        } else {
            offset_of!(Entry, read)
        };
        let flags = self.tlb_flags();
        let place = self.b.ins().ushr_imm_u(addr, 7);
        let place = self.b.ins().band_imm_s(place, (ENTRIES as i64 - 1) << 5);
        let entry = self.b.ins().iadd(self.tlb, place);
        let at = (array + tag) as i32;
        let found = self.b.ins().load(types::I64, flags, entry, at);
        let same = self.b.ins().icmp(IntCC::Equal, found, page);
        let (miss, hit) = (self.b.create_block(), self.b.create_block());
        self.b.set_cold_block(miss);
        if rare {
            self.b.set_cold_block(hit);
        }
        self.b.ins().brif(same, hit, &[], miss, &[]);
        self.b.seal_block(miss);
        self.b.switch_to_block(miss);
        self.set_field(offset::ADDRESS, addr);
        let kind = self.b.ins().iconst(types::I64, i64::from(write));
        self.set_field(offset::SITE, kind);
        self.call_stub(offset_of!(Stubs, touch));
        let found = self.b.ins().load(types::I64, flags, entry, at);
        let same = self.b.ins().icmp(IntCC::Equal, found, page);
        let exit = self.give_up();
        self.b.ins().brif(same, hit, &[], exit, &[]);
        self.b.seal_block(hit);
        self.b.switch_to_block(hit);
        let at = (array + offset_of!(Entry, addend)) as i32;
        self.b.ins().load(types::I64, flags, entry, at)
    }
}
