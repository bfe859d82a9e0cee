//! A region under construction: its blocks, the edges between them, and the ways out.
//!
//! Guest registers and the deferred flags are Cranelift variables; retired instructions are counted in the pinned register. A guest block
//! that has one predecessor goes on with what is statically known there; where edges meet, the flags are what [`crate::joint`] knows, or
//! their rule is a variable like its inputs. Exits are written last, when it is known which registers the region may change.

use crate::emit::Deferred;
use crate::integer::Widths;
use crate::joint::{Assumed, Meeting};
use crate::plan::{Block, Plan};
use crate::softmmu::Pages;
use cpu::native::offset;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    self, AbiParam, AliasRegion, AliasRegionData, ExtFuncData, ExternalName, FuncRef, Function,
    InstBuilder, MemFlagsData, Signature, Type, UserExternalName, Value, types,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use decode::Insn;
use hashbrown::HashMap;
use semantics::table;

/// A way out of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Leave {
    /// To what is `distance` bytes from the page's start; `from` is where the instruction stands that leads there.
    To { distance: i64, from: i64 },
    /// To the address in the second argument.
    Through,
    /// Attention is asked for, or enough was done at once: the processor stands at this distance.
    Attend { distance: i64 },
}

/// One exit: the code of the region jumps to it by its number.
#[derive(Clone, Copy, Debug)]
pub struct Exit {
    pub leave: Leave,
}

/// An exit that is still to be written.
struct Pending {
    block: ir::Block,
    number: usize,
    flags: Deferred,
    /// Instructions retired since the counter was brought up to date.
    done: u32,
    /// The address that [`Leave::Through`] leads to.
    target: Option<Value>,
}

/// What a lifter is switched to.
#[derive(Clone, Copy, Debug)]
pub struct Switches {
    /// Instructions after which a region leaves at a back edge; 0 is never.
    pub limit: u32,
    /// Operands remember the page that they touched last.
    pub pages: bool,
    /// Status flags that nobody can see are not worked out.
    pub flags: bool,
    /// One processor runs: LOCK is a load and a store.
    pub alone: bool,
    /// What flags are where paths meet is found out.
    pub joints: bool,
}

/// A region being written down: the state of the path under construction.
pub struct ClifEmitter<'f> {
    pub(crate) b: FunctionBuilder<'f>,
    pub(crate) plan: &'f Plan,
    pub(crate) switches: Switches,
    pub(crate) cpu: Value,
    pub(crate) tlb: Value,
    gpr: [Variable; 16],
    xmm: [Variable; 16],
    /// What the counter of retired instructions was when the region was entered.
    entered: Variable,
    /// The rule of the deferred flags, and its inputs.
    cc: [Variable; 4],
    /// General registers (low half) and vector registers that are used, and written.
    used: u32,
    written: u32,
    flags_used: bool,
    pub(crate) deferred: Deferred,
    /// What edges bring to each block, and what that is assumed to be.
    pub(crate) seen: Vec<Meeting>,
    pub(crate) assumed: &'f Assumed,
    /// The values that registers were last seen with on this path.
    latest: [Option<Value>; 16],
    pub(crate) widths: Widths,
    /// Constants and sums with constants that are known as such.
    pub(crate) constants: HashMap<Value, u64>,
    pub(crate) sums: HashMap<Value, (Value, i64)>,
    /// Comparisons whose opposite can be written.
    pub(crate) conditions: HashMap<Value, (IntCC, Value, Value)>,
    pub(crate) pages: Pages,
    /// The plan's registers that move in small steps.
    pub(crate) steady: u16,
    /// The instruction under construction, its distance from the page's start.
    pub(crate) insn: Insn,
    pub(crate) at: i64,
    /// Instructions retired on this path since the counter was brought up to date.
    done: u32,
    /// Nobody sees the flags that it leaves.
    pub(crate) unseen: bool,
    current: usize,
    /// CLIF blocks of the guest blocks, and what is known at their start.
    starts: Vec<ir::Block>,
    known: Vec<Option<Deferred>>,
    exits: Vec<Exit>,
    pending: Vec<Pending>,
    /// Edges back that are still to be written: the block of the check, where it leads.
    back: Vec<(ir::Block, usize, i64)>,
    /// An instruction wants what regions do not have.
    pub(crate) unsupported: bool,
    regions: Regions,
    calls: Calls,
}

/// Alias regions.
#[derive(Clone, Copy)]
struct Regions {
    cpu: AliasRegion,
    memory: AliasRegion,
    tlb: AliasRegion,
}

/// Signatures of what is called and jumped to.
#[derive(Clone, Copy)]
struct Calls {
    stub: ir::SigRef,
    leave: ir::SigRef,
    leave_to: ir::SigRef,
}

/// The name space of exits in relocations.
const EXITS: u32 = 1;

impl<'f> ClifEmitter<'f> {
    fn new(
        function: &'f mut Function,
        context: &'f mut FunctionBuilderContext,
        plan: &'f Plan,
        switches: Switches,
        assumed: &'f Assumed,
    ) -> Self {
        function.signature = signature(CallConv::Tail, 1);
        let mut b = FunctionBuilder::new(function, context);
        let stub = b.import_signature(signature(CallConv::PreserveAll, 1));
        let leave = b.import_signature(signature(CallConv::Tail, 1));
        let leave_to = b.import_signature(signature(CallConv::Tail, 2));
        let mut region = |n: u32, name: &'static str| {
            b.func.dfg.alias_regions.insert(AliasRegionData {
                user_id: n,
                description: name.into(),
            })
        };
        let regions = Regions {
            cpu: region(1, "cpu"),
            memory: region(2, "memory"),
            tlb: region(3, "tlb"),
        };
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        let cpu = b.block_params(entry)[0];
        let gpr = std::array::from_fn(|_| b.declare_var(types::I64));
        let xmm = std::array::from_fn(|_| b.declare_var(types::I8X16));
        let entered = b.declare_var(types::I64);
        let cc = [types::I32, types::I64, types::I64, types::I64].map(|t| b.declare_var(t));
        let starts = plan.blocks.iter().map(|_| b.create_block()).collect();
        let flags = MemFlagsData::trusted().with_alias_region(Some(regions.cpu));
        let tlb = b.ins().load(types::I64, flags, cpu, offset::TLB as i32);
        Self {
            b,
            plan,
            switches,
            cpu,
            tlb,
            gpr,
            xmm,
            entered,
            cc,
            used: 0,
            written: 0,
            flags_used: false,
            deferred: Deferred::Variable,
            seen: vec![Meeting::default(); plan.blocks.len()],
            assumed,
            latest: [None; 16],
            widths: Widths::default(),
            constants: HashMap::new(),
            sums: HashMap::new(),
            conditions: HashMap::new(),
            pages: Pages::default(),
            steady: plan.steady(),
            insn: plan.blocks[0].insns[0],
            at: 0,
            done: 0,
            unseen: false,
            current: 0,
            starts,
            known: vec![None; plan.blocks.len()],
            exits: Vec::new(),
            pending: Vec::new(),
            back: Vec::new(),
            unsupported: false,
            regions,
            calls: Calls {
                stub,
                leave,
                leave_to,
            },
        }
    }

    /// Writes the region down; answers its exits and what edges brought to each block, or `None` if an instruction cannot be lifted.
    fn region(mut self, config: TargetFrontendConfig) -> Option<(Vec<Exit>, Vec<Meeting>)> {
        let load = self.b.create_block();
        self.b.ins().jump(load, &[]);
        self.b.seal_block(load);
        let plan = self.plan;
        let mut dead = Vec::new();
        // Blocks that an edge back leads to have predecessors still to come, and so has the head.
        let mut open = vec![false; plan.blocks.len()];
        open[0] = true;
        for (n, b) in plan.blocks.iter().enumerate() {
            for to in b.followers().filter(|&t| t <= n) {
                open[to] = true;
            }
        }
        for (n, block) in plan.blocks.iter().enumerate() {
            let start = self.starts[n];
            if !open[n] {
                self.b.seal_block(start);
            }
            self.b.switch_to_block(start);
            self.current = n;
            self.forget_path();
            self.deferred = match self.known[n].take() {
                Some(d) => d,
                None => self.assume(n),
            };
            self.block(block, &mut dead);
            if self.unsupported {
                return None;
            }
        }
        self.write_exits();
        self.b.switch_to_block(load);
        self.write_entry();
        self.b.seal_all_blocks();
        self.b.finalize(config);
        Some((self.exits, self.seen))
    }

    /// Another path begins: what was known of values on the last one does not hold.
    pub(crate) fn forget_path(&mut self) {
        self.pages.forget();
        self.widths.forget();
        self.latest = [None; 16];
    }

    fn block(&mut self, block: &Block, dead: &mut Vec<bool>) {
        self.at = block.start.into();
        self.done = 0;
        decode::status::dead_flags(&block.insns, dead);
        let mut ended = false;
        for (n, i) in block.insns.iter().enumerate() {
            self.insn = *i;
            self.unseen = self.switches.flags && dead.get(n).copied().unwrap_or(false);
            match table::row::<Self>(i.code) {
                Some(row) => ended = (row.body)(self, i).is_err(),
                None => self.unsupported = true,
            }
            if ended || self.unsupported {
                return;
            }
            self.at += i64::from(i.len);
            self.done += 1;
        }
        self.insn = block.insns[block.insns.len() - 1];
        let from = self.at - i64::from(self.insn.len);
        self.bring_up_to_date(0);
        let to = self.edge(block.next, self.at, from);
        self.b.ins().jump(to, &[]);
        self.write_back_edges();
    }

    /// The path's flags and count become the variables': edges lead on. `more` instructions were retired beside.
    pub(crate) fn bring_up_to_date(&mut self, more: u32) {
        self.define_flags();
        let done = std::mem::take(&mut self.done) + more;
        self.retire(done);
    }

    /// `n` more instructions are retired.
    fn retire(&mut self, n: u32) {
        if n > 0 {
            let all = self.b.ins().get_pinned_reg(types::I64);
            let all = self.b.ins().iadd_imm_s(all, i64::from(n));
            self.b.ins().set_pinned_reg(all);
        }
    }

    /// Where an edge to block `to` leads, or one out of the region to `distance`. Flags and count are up to date.
    pub(crate) fn edge(&mut self, to: Option<usize>, distance: i64, from: i64) -> ir::Block {
        let Some(n) = to else {
            return self.exit(Leave::To { distance, from });
        };
        if self.plan.blocks[n].incoming == 1 {
            self.known[n] = Some(self.deferred);
        } else {
            self.meet(n);
        }
        if distance > from {
            return self.starts[n];
        }
        // Back: somebody may ask for attention. What is back is told by addresses, as T1 tells it: a way around that is partly T1's passes
        // one of both kinds of edges that are.
        let check = self.b.create_block();
        self.back.push((check, n, distance));
        check
    }

    /// Writes the checks on edges back, once the block that they leave has ended.
    fn write_back_edges(&mut self) {
        for (check, n, distance) in std::mem::take(&mut self.back) {
            self.write_back_edge(check, n, distance);
        }
    }

    fn write_back_edge(&mut self, check: ir::Block, n: usize, distance: i64) {
        self.b.switch_to_block(check);
        self.b.seal_block(check);
        let word = self.field(types::I64, offset::ATTENTION);
        let word = self
            .b
            .ins()
            .atomic_load(types::I32, MemFlagsData::trusted(), word);
        let mask = self.field(types::I32, offset::ATTENTION_MASK);
        let mut asked = self.b.ins().band(mask, word);
        if self.switches.limit > 0 {
            let before = self.b.use_var(self.entered);
            let n = self.b.ins().get_pinned_reg(types::I64);
            let n = self.b.ins().isub(n, before);
            let enough = self.b.ins().icmp_imm_u(
                IntCC::UnsignedGreaterThanOrEqual,
                n,
                i64::from(self.switches.limit),
            );
            let enough = self.b.ins().uextend(types::I32, enough);
            asked = self.b.ins().bor(asked, enough);
        }
        let attend = self.exit(Leave::Attend { distance });
        self.b.ins().brif(asked, attend, &[], self.starts[n], &[]);
    }

    /// A conditional branch ends the block: to `distance` if `c`.
    pub(crate) fn end_in_branch(&mut self, c: Value, distance: i64) {
        self.bring_up_to_date(1);
        let block = &self.plan.blocks[self.current];
        let (taken, next, end) = (block.taken, block.next, i64::from(block.end()));
        let (then, other) = (
            self.edge(taken, distance, self.at),
            self.edge(next, end, self.at),
        );
        self.b.ins().brif(c, then, &[], other, &[]);
        self.write_back_edges();
    }

    /// A jump ends it.
    pub(crate) fn end_in_jump(&mut self, distance: i64) {
        self.bring_up_to_date(1);
        let taken = self.plan.blocks[self.current].taken;
        let to = self.edge(taken, distance, self.at);
        self.b.ins().jump(to, &[]);
        self.write_back_edges();
    }

    /// A jump to the address in `target` ends it.
    pub(crate) fn end_through(&mut self, target: Value) {
        let plan = self.plan;
        let block = &plan.blocks[self.current];
        if block.targets.is_empty() {
            let exit = self.exit_with(Leave::Through, self.done + 1, Some(target));
            self.b.ins().jump(exit, &[]);
            return;
        }
        self.bring_up_to_date(1);
        let base = self.field(types::I64, offset::PAGE_BASE);
        let distance = self.b.ins().isub(target, base);
        let mut targets: Vec<(u32, usize)> = block
            .targets
            .iter()
            .map(|&t| (plan.blocks[t].start, t))
            .collect();
        targets.sort_unstable();
        self.search(&targets, distance, target);
        self.write_back_edges();
    }

    /// Goes on at whichever of `targets`, in order of their offsets, lies at `distance`; else leaves to the address in `address`. Branches
    /// that the host foretells by what happened before, as it does no jump through a table.
    fn search(&mut self, targets: &[(u32, usize)], distance: Value, address: Value) {
        if let [(at, n)] = *targets {
            let same = self
                .b
                .ins()
                .icmp_imm_u(IntCC::Equal, distance, i64::from(at));
            let to = self.edge(Some(n), at.into(), self.at);
            let exit = self.exit_with(Leave::Through, 0, Some(address));
            self.b.ins().brif(same, to, &[], exit, &[]);
            return;
        }
        let (low, high) = targets.split_at(targets.len() / 2);
        let below =
            self.b
                .ins()
                .icmp_imm_u(IntCC::UnsignedLessThan, distance, i64::from(high[0].0));
        for (half, block) in [low, high].into_iter().zip(self.two_ways(below)) {
            self.b.switch_to_block(block);
            self.b.seal_block(block);
            self.search(half, distance, address);
        }
    }

    /// Branches to one of two new blocks.
    fn two_ways(&mut self, c: Value) -> [ir::Block; 2] {
        let ways = [self.b.create_block(), self.b.create_block()];
        self.b.ins().brif(c, ways[0], &[], ways[1], &[]);
        ways
    }

    /// An exit from here with the state as it is.
    fn exit(&mut self, leave: Leave) -> ir::Block {
        self.exit_with(leave, self.done, None)
    }

    fn exit_with(&mut self, leave: Leave, done: u32, target: Option<Value>) -> ir::Block {
        let block = self.b.create_block();
        self.b.set_cold_block(block);
        self.exits.push(Exit { leave });
        self.pending.push(Pending {
            block,
            number: self.exits.len() - 1,
            flags: self.deferred,
            done,
            target,
        });
        block
    }

    /// Leaves before this instruction if `c`: T1 does it.
    pub(crate) fn give_up_if(&mut self, c: Value) {
        let go_on = self.b.create_block();
        let exit = self.give_up();
        self.b.ins().brif(c, exit, &[], go_on, &[]);
        self.b.seal_block(go_on);
        self.b.switch_to_block(go_on);
    }

    /// The exit before this instruction.
    pub(crate) fn give_up(&mut self) -> ir::Block {
        self.exit(Leave::To {
            distance: self.at,
            from: self.at,
        })
    }

    fn write_exits(&mut self) {
        for p in std::mem::take(&mut self.pending) {
            self.b.switch_to_block(p.block);
            self.b.seal_block(p.block);
            for r in 0..16 {
                if self.written >> r & 1 != 0 {
                    let v = self.b.use_var(self.gpr[r]);
                    self.set_field(offset::GPR + 8 * r, v);
                }
                if self.written >> (16 + r) & 1 != 0 {
                    let v = self.b.use_var(self.xmm[r]);
                    self.set_field(offset::XMM + 16 * r, v);
                }
            }
            self.deferred = p.flags;
            self.store_flags();
            self.retire(p.done);
            let name = self.exit_name(p.number, p.target.is_some());
            let mut args = vec![self.cpu];
            args.extend(p.target);
            self.b.ins().return_call(name, &args);
        }
    }

    fn exit_name(&mut self, number: usize, with_target: bool) -> FuncRef {
        let name = self
            .b
            .func
            .declare_imported_user_function(UserExternalName::new(EXITS, number as u32));
        let signature = if with_target {
            self.calls.leave_to
        } else {
            self.calls.leave
        };
        self.b.import_function(ExtFuncData {
            name: ExternalName::user(name),
            signature,
            colocated: true,
            patchable: false,
        })
    }

    /// The region's way in: what it uses comes out of the `Cpu`.
    fn write_entry(&mut self) {
        for r in 0..16 {
            if (self.used | self.written) >> r & 1 != 0 {
                let v = self.field(types::I64, offset::GPR + 8 * r);
                self.b.def_var(self.gpr[r], v);
            }
            if (self.used | self.written) >> (16 + r) & 1 != 0 {
                let v = self.field(types::I8X16, offset::XMM + 16 * r);
                self.b.def_var(self.xmm[r], v);
            }
        }
        if self.flags_used {
            let cells = [offset::CC, offset::RES, offset::SRC, offset::DST];
            for (var, at) in self.cc.into_iter().zip(cells) {
                let kind = if at == offset::CC {
                    types::I32
                } else {
                    types::I64
                };
                let v = self.field(kind, at);
                self.b.def_var(var, v);
            }
        }
        let entries = self.field(types::I64, offset::REGIONS);
        let entries = self.b.ins().iadd_imm_s(entries, 1);
        self.set_field(offset::REGIONS, entries);
        let zero = self.b.ins().iconst(types::I64, 0);
        if self.switches.limit > 0 {
            let before = self.b.ins().get_pinned_reg(types::I64);
            self.b.def_var(self.entered, before);
        }
        for (tag, addend) in self.pages.variables() {
            let none = self.b.ins().iconst(types::I64, memory::Entry::NONE as i64);
            self.b.def_var(tag, none);
            self.b.def_var(addend, zero);
        }
        let head = self.starts[0];
        let Some(fine) = self.guard() else {
            self.b.ins().jump(head, &[]);
            return;
        };
        // T1 does the first round, and comes back with such flags as a round leaves.
        let other = self.b.create_block();
        self.b.set_cold_block(other);
        self.b.ins().brif(fine, head, &[], other, &[]);
        self.b.switch_to_block(other);
        let at = self.plan.head().into();
        self.exits.push(Exit {
            leave: Leave::To {
                distance: at,
                from: at,
            },
        });
        let name = self.exit_name(self.exits.len() - 1, false);
        self.b.ins().return_call(name, &[self.cpu]);
    }

    // The processor's state.

    pub(crate) fn gpr(&mut self, r: u8) -> Value {
        self.used |= 1 << (r & 15);
        let v = self.b.use_var(self.gpr[usize::from(r & 15)]);
        self.latest[usize::from(r & 15)] = Some(v);
        v
    }
    /// The registers that are known to hold `v`, a bit each.
    pub(crate) fn holders(&self, v: Value) -> u16 {
        let holds = |r: &u16| self.latest[usize::from(*r)] == Some(v);
        (0..16).filter(holds).map(|r| 1 << r).sum()
    }
    pub(crate) fn set_gpr(&mut self, r: u8, v: Value) {
        self.written |= 1 << (r & 15);
        self.latest[usize::from(r & 15)] = Some(v);
        self.b.def_var(self.gpr[usize::from(r & 15)], v);
    }
    pub(crate) fn vector(&mut self, r: u8) -> Value {
        self.used |= 0x1_0000 << (r & 15);
        self.b.use_var(self.xmm[usize::from(r & 15)])
    }
    pub(crate) fn set_vector(&mut self, r: u8, v: Value) {
        self.written |= 0x1_0000 << (r & 15);
        self.b.def_var(self.xmm[usize::from(r & 15)], v);
    }

    pub(crate) fn flag_variables(&mut self) -> [Value; 4] {
        self.flags_used = true;
        self.cc.map(|v| self.b.use_var(v))
    }
    pub(crate) fn set_flag_variables(&mut self, v: [Option<Value>; 4]) {
        for (var, v) in self.cc.into_iter().zip(v) {
            if let Some(v) = v {
                self.b.def_var(var, v);
            }
        }
    }

    /// Loads a field of the `Cpu`.
    pub(crate) fn field(&mut self, kind: Type, at: usize) -> Value {
        let flags = self.cpu_flags();
        self.b.ins().load(kind, flags, self.cpu, at as i32)
    }
    /// Stores one.
    pub(crate) fn set_field(&mut self, at: usize, v: Value) {
        let flags = self.cpu_flags();
        self.b.ins().store(flags, v, self.cpu, at as i32);
    }
    fn cpu_flags(&self) -> MemFlagsData {
        MemFlagsData::trusted().with_alias_region(Some(self.regions.cpu))
    }
    /// How guest RAM is accessed.
    pub(crate) fn memory_flags(&self) -> MemFlagsData {
        MemFlagsData::new()
            .with_notrap()
            .with_alias_region(Some(self.regions.memory))
    }
    /// How the TLB is read.
    pub(crate) fn tlb_flags(&self) -> MemFlagsData {
        MemFlagsData::trusted().with_alias_region(Some(self.regions.tlb))
    }

    /// Calls a stub of `cpu::native::Stubs` that keeps every register.
    pub(crate) fn call_stub(&mut self, o: usize) {
        let stub = self.field(types::I64, offset::STUBS + o);
        self.b
            .ins()
            .call_indirect(self.calls.stub, stub, &[self.cpu]);
    }
}

fn signature(conv: CallConv, params: usize) -> Signature {
    let mut s = Signature::new(conv);
    s.params.extend(vec![AbiParam::new(types::I64); params]);
    s
}

/// Writes the region of `plan` into `function`; answers its exits, or `None` if an instruction of it cannot be lifted.
pub(crate) fn lift(
    function: &mut Function,
    context: &mut FunctionBuilderContext,
    plan: &Plan,
    switches: Switches,
    config: TargetFrontendConfig,
) -> Option<Vec<Exit>> {
    let name = function.name.clone();
    let mut assumed = Assumed::nothing(plan);
    let mut learned = !switches.joints;
    loop {
        let writer = ClifEmitter::new(function, context, plan, switches, &assumed);
        let (exits, seen) = writer.region(config)?;
        let again = match learned {
            false => assumed.learn(&seen),
            true => assumed.correct(&seen),
        };
        if !again {
            return Some(exits);
        }
        learned = true;
        function.clear();
        function.name = name.clone();
    }
}
