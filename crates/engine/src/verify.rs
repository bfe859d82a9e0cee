//! `--verify`: each block runs in the evaluator first, is undone, and runs again in the translator; both must end alike.
//!
//! The evaluator's run is recorded: what its stores replaced in RAM (the page walk's accessed and dirty bits among it) and what the TLB
//! took in. Undoing puts both back, so that the translated block meets what the evaluator met. Where generated code comes back early (the
//! evaluator is to do an instruction, attention is asked for), the evaluator runs once more, as many instructions, and that is compared.
//!
//! What cannot be repeated runs once, in the evaluator: instructions that reach outside of processor and RAM, or read the time, end blocks
//! (see [`acts_outside`]); a block that goes round more often than [`MOST`] says, whose accesses went to a device, that wrote code, or that flushed the TLB stands as the evaluator left it.
//! Both are counted.

use crate::dump;
use crate::run::{End, Engine, Pending};
use cpu::Cpu;
use cpu::block::Step;
use cpu::run::Rounds;
use cpu::state::{Fpu, Msrs, Table};
use decode::Code;
use hashbrown::HashMap;
use memory::Paging;
use semantics::emit::Flags;
use semantics::table;
use std::fmt;
use std::rc::Rc;

/// The most instructions that a block may take, in all its rounds: it stands as the evaluator left it if it takes more.
const MOST: u64 = 1 << 14;

/// The same for a region: it leaves at an edge back after some 1000, and is at most 250 instructions long.
const MOST_OF_REGION: u64 = 2000;

/// The engine's part.
#[derive(Default)]
pub(crate) struct Verify {
    /// What the evaluator is to run for each translation, by the host address where that stands now.
    scores: HashMap<u64, Score>,
    /// Memory after the evaluator's run, and after the translator's.
    memory: [Vec<u8>; 2],
}

impl Verify {
    /// Keeps what the evaluator is to compare a region with.
    pub(crate) fn note_region(&mut self, entry: u64, plan: &translate::Plan) {
        let mut steps = HashMap::new();
        for b in &plan.blocks {
            let mut at = u64::from(b.start);
            for i in &b.insns {
                if let Some(row) = table::row::<Cpu>(i.code) {
                    let step = Step {
                        body: row.body,
                        insn: *i,
                    };
                    steps.insert(at, step);
                }
                at += u64::from(i.len);
            }
        }
        self.scores.insert(entry, Score::Region(Rc::new(steps)));
    }

    /// The same for a block; whether it goes on by itself where it leads to its start.
    pub(crate) fn note_block(&mut self, entry: u64, steps: Rc<[Step]>, rounds: bool) {
        self.scores.insert(entry, Score::Block(steps, rounds));
    }
}

/// What is replayed.
#[derive(Clone)]
enum Score {
    /// A block's instructions, and whether it goes on by itself where it leads to its start.
    Block(Rc<[Step]>, bool),
    /// Those of a region by their offset in the page: whatever of them control comes to.
    Region(Rc<HashMap<u64, Step>>),
}

impl Score {
    /// Until attention is asked for in a block that goes round; at most `most` instructions.
    fn first(&self, cpu: &mut Cpu, most: u64) -> (u64, Option<arch::Fault>) {
        match self {
            Self::Block(steps, true) => cpu.replay(steps, most, Rounds::UntilAttention),
            Self::Block(steps, false) => cpu.replay(steps, most, Rounds::One),
            Self::Region(_) => self.again(cpu, most),
        }
    }

    /// Exactly `most`.
    fn again(&self, cpu: &mut Cpu, most: u64) -> (u64, Option<arch::Fault>) {
        match self {
            Self::Block(steps, true) => cpu.replay(steps, most, Rounds::All),
            Self::Block(steps, false) => cpu.replay(steps, most, Rounds::One),
            Self::Region(steps) => {
                let base = cpu.native.page_base;
                cpu.replay_where(|rip| steps.get(&rip.wrapping_sub(base)).copied(), most)
            }
        }
    }

    /// The instructions, for people.
    fn steps(&self) -> Vec<Step> {
        match self {
            Self::Block(steps, _) => steps.to_vec(),
            Self::Region(steps) => {
                let mut all: Vec<_> = steps.iter().collect();
                all.sort_unstable_by_key(|(at, _)| **at);
                all.into_iter().map(|(_, s)| *s).collect()
            }
        }
    }
}

/// How the two engines differed.
#[derive(Debug)]
pub struct Difference(String);

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether an instruction reads or changes what cannot be put back: ports, time, the halt state, MSRs, the mapping.
pub(crate) fn acts_outside(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        In_AL_imm8
            | In_AX_imm8
            | In_EAX_imm8
            | In_AL_DX
            | In_AX_DX
            | In_EAX_DX
            | Out_imm8_AL
            | Out_imm8_AX
            | Out_imm8_EAX
            | Out_DX_AL
            | Out_DX_AX
            | Out_DX_EAX
            | Insb_m8_DX
            | Insw_m16_DX
            | Insd_m32_DX
            | Outsb_DX_m8
            | Outsw_DX_m16
            | Outsd_DX_m32
            | Hlt
            | Monitorw
            | Monitord
            | Monitorq
            | Mwait
            | Rdtsc
            | Rdtscp
            | Rdpmc
            | Rdmsr
            | Wrmsr
            | Invlpg_m
            | Invpcid_r32_m128
            | Invpcid_r64_m128
            | Lmsw_rm16
            | Lmsw_r32m16
            | Lmsw_r64m16
            | Mov_cr_r32
            | Mov_cr_r64
    )
}

/// The architectural state that a block may change.
#[derive(Clone)]
struct State {
    gpr: [u64; 16],
    rip: u64,
    flags: Flags<u64>,
    system_flags: u64,
    mode: arch::Mode,
    cpl: u8,
    shadow: bool,
    nmi_blocked: bool,
    halted: bool,
    pending_debug: u64,
    seg: [arch::Segment; 6],
    ldtr: arch::Segment,
    tr: arch::Segment,
    gdtr: Table,
    idtr: Table,
    cr2: u64,
    dr: [u64; 8],
    fpu: Fpu,
    msr: Msrs,
    paging: Paging,
}

impl State {
    fn of(cpu: &Cpu) -> Self {
        Self {
            gpr: cpu.gpr,
            rip: cpu.rip,
            flags: cpu.flags,
            system_flags: cpu.system_flags,
            mode: cpu.mode,
            cpl: cpu.cpl,
            shadow: cpu.shadow,
            nmi_blocked: cpu.nmi_blocked,
            halted: cpu.halted,
            pending_debug: cpu.pending_debug,
            seg: cpu.seg,
            ldtr: cpu.ldtr,
            tr: cpu.tr,
            gdtr: cpu.gdtr,
            idtr: cpu.idtr,
            cr2: cpu.cr2,
            dr: cpu.dr,
            fpu: cpu.fpu.clone(),
            msr: cpu.msr.clone(),
            paging: cpu.mmu.paging.clone(),
        }
    }

    fn restore(&self, cpu: &mut Cpu) {
        let follows = cpu.mode != self.mode || cpu.seg != self.seg || cpu.cpl != self.cpl;
        cpu.gpr = self.gpr;
        cpu.rip = self.rip;
        cpu.flags = self.flags;
        cpu.system_flags = self.system_flags;
        cpu.cpl = self.cpl;
        cpu.shadow = self.shadow;
        cpu.nmi_blocked = self.nmi_blocked;
        cpu.halted = self.halted;
        cpu.pending_debug = self.pending_debug;
        cpu.seg = self.seg;
        cpu.ldtr = self.ldtr;
        cpu.tr = self.tr;
        cpu.gdtr = self.gdtr;
        cpu.idtr = self.idtr;
        cpu.cr2 = self.cr2;
        cpu.dr = self.dr;
        cpu.fpu.clone_from(&self.fpu);
        cpu.msr.clone_from(&self.msr);
        cpu.mmu.paging.clone_from(&self.paging);
        if follows {
            cpu.update_mode();
        }
    }

    /// Whether the processor is in this state; deferred status flags may be deferred in another way.
    fn is(&self, cpu: &mut Cpu) -> bool {
        self.gpr == cpu.gpr
            && self.rip == cpu.rip
            && self.system_flags == cpu.system_flags
            && self.has_status(cpu)
            && self.fpu == cpu.fpu
            && self.mode == cpu.mode
            && self.seg == cpu.seg
            && (self.cpl, self.shadow, self.nmi_blocked, self.halted)
                == (cpu.cpl, cpu.shadow, cpu.nmi_blocked, cpu.halted)
            && self.pending_debug == cpu.pending_debug
            && (self.cr2, self.dr) == (cpu.cr2, cpu.dr)
            && (self.ldtr, self.tr) == (cpu.ldtr, cpu.tr)
            && (self.gdtr, self.idtr) == (cpu.gdtr, cpu.idtr)
            && self.msr == cpu.msr
            && self.paging == cpu.mmu.paging
    }

    fn has_status(&self, cpu: &mut Cpu) -> bool {
        let (a, b) = (&self.flags, &cpu.flags);
        (a.cc, a.res, a.src, a.dst) == (b.cc, b.res, b.src, b.dst)
            || self.status(cpu) == semantics::flags::status(cpu)
    }

    /// The status flags; `cpu` works them out.
    fn status(&self, cpu: &mut Cpu) -> u64 {
        let own = std::mem::replace(&mut cpu.flags, self.flags);
        let status = semantics::flags::status(cpu);
        cpu.flags = own;
        status
    }

    /// What there is to see, by name.
    fn registers(&self, cpu: &mut Cpu) -> Vec<(String, String)> {
        let status = self.status(cpu);
        let mut all = Vec::new();
        let mut put = |name: String, v: String| all.push((name, v));
        let names = [
            "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11",
            "r12", "r13", "r14", "r15",
        ];
        for (name, v) in names.iter().zip(self.gpr) {
            put((*name).to_string(), format!("{v:016x}"));
        }
        put("rip".into(), format!("{:016x}", self.rip));
        put(
            "rflags".into(),
            format!("{:08x}", self.system_flags | status),
        );
        let parts = [
            "mode",
            "cpl",
            "shadow",
            "nmi blocked",
            "halted",
            "pending debug",
        ];
        let values = [
            self.mode.0.into(),
            self.cpl.into(),
            self.shadow.into(),
            self.nmi_blocked.into(),
            self.halted.into(),
            self.pending_debug,
        ];
        for (name, v) in parts.iter().zip(values) {
            put((*name).to_string(), format!("{v:x}"));
        }
        for (name, v) in ["es", "cs", "ss", "ds", "fs", "gs"].iter().zip(self.seg) {
            put((*name).to_string(), segment(&v));
        }
        put("ldtr".into(), segment(&self.ldtr));
        put("tr".into(), segment(&self.tr));
        for (name, t) in [("gdtr", self.gdtr), ("idtr", self.idtr)] {
            put(
                name.into(),
                format!("{:016x} limit {:04x}", t.base, t.limit),
            );
        }
        put("cr2".into(), format!("{:016x}", self.cr2));
        for (n, v) in self.dr.iter().enumerate() {
            put(format!("dr{n}"), format!("{v:016x}"));
        }
        let p = &self.paging;
        put("cr0".into(), format!("{:08x}", p.cr0.bits()));
        put("cr3".into(), format!("{:016x}", p.cr3));
        put("cr4".into(), format!("{:08x}", p.cr4.bits()));
        put("efer".into(), format!("{:08x}", p.efer.bits()));
        let f = &self.fpu;
        for (n, v) in f.xmm.iter().enumerate() {
            put(format!("xmm{n}"), format!("{v:032x}"));
        }
        for (n, v) in f.r.iter().enumerate() {
            put(
                format!("x87 r{n}"),
                format!("{:04x}_{:016x}", v.sign_exponent, v.significand),
            );
        }
        put("mxcsr".into(), format!("{:08x}", f.mxcsr));
        put("x87 control".into(), format!("{:04x}", f.fcw));
        put("x87 status".into(), format!("{:04x}", f.status()));
        put("x87 valid".into(), format!("{:02x}", f.valid()));
        let last = (f.fop, f.fcs, f.fip, f.fds, f.fdp);
        put("x87 last".into(), format!("{last:x?}"));
        put("xcr0".into(), format!("{:x}", f.xcr0));
        put("msrs".into(), format!("{:x?}", self.msr));
        all
    }
}

fn segment(s: &arch::Segment) -> String {
    format!(
        "{:04x} base {:x} limit {:x} attributes {:04x}",
        s.selector, s.base, s.limit, s.attributes
    )
}

impl Engine {
    /// Runs the block at RIP, translated at `entry`, in both engines.
    pub(crate) fn checked(&mut self, cpu: &mut Cpu, entry: u64) -> (End, Option<Pending>) {
        let Some(score) = self.verify.scores.get(&entry).cloned() else {
            return self.enter(cpu, entry);
        };
        let most = match score {
            Score::Block(..) => MOST,
            Score::Region(_) => MOST_OF_REGION,
        };
        cpu.refresh_fp_mode();
        let before = State::of(cpu);
        let epoch = cpu.mmu.tlb.epoch();
        cpu.outside = false;
        cpu.mmu.start_journal();
        let (done, fault) = score.first(cpu, most);
        cpu.mmu.stop_journal();
        cpu.refresh_fp_mode();
        let stats = self.stats.verify.get_or_insert_default();
        if cpu.outside
            || done == MOST && most == MOST
            || cpu.mmu.tlb.epoch() != epoch
            || cpu.mmu.ram().has_stale()
            || !cpu.mmu.tlb.flushed_pages.is_empty()
        {
            stats.skipped += 1;
            stats.skipped_instructions += done;
            cpu.counters.instructions += done;
            cpu.bus.clock().retire(done);
            return (fault.map_or(End::Next, End::Fault), None);
        }
        let mut expected = State::of(cpu);
        let [mut wanted, mut got] = std::mem::take(&mut self.verify.memory);
        wanted.clear();
        got.clear();
        cpu.mmu.ram().read_journal(&mut wanted);
        cpu.mmu.undo_journal();
        before.restore(cpu);
        let retired = cpu.counters.instructions;
        let (end, _) = self.enter(cpu, entry);
        let retired = cpu.counters.instructions.wrapping_sub(retired);
        cpu.refresh_fp_mode();
        cpu.mmu.ram().read_journal(&mut got);
        let faults = matches!(end, End::Fault(_));
        let early = retired < done || fault.is_some() && !faults;
        let mut raised = fault;
        if early {
            // The evaluator's state after as many instructions is what counts.
            let after = State::of(cpu);
            cpu.mmu.undo_journal();
            before.restore(cpu);
            raised = score.again(cpu, retired).1;
            cpu.refresh_fp_mode();
            expected = State::of(cpu);
            wanted.clear();
            cpu.mmu.ram().read_journal(&mut wanted);
            after.restore(cpu);
        }
        let alike = match end {
            End::Fault(f) => raised == Some(f) && wanted == got,
            End::Next => wanted == got,
            End::Evaluate => wanted == got || same_but_for_marks(&wanted, &got),
        };
        if alike && retired <= done && expected.is(cpu) {
            let stats = self.stats.verify.get_or_insert_default();
            stats.blocks += 1;
            stats.instructions += retired;
            stats.early += u64::from(early);
        } else {
            let raised = [
                raised,
                if let End::Fault(f) = end {
                    Some(f)
                } else {
                    None
                },
            ];
            let report = Report {
                before: &before,
                expected: &expected,
                steps: &score.steps(),
                counts: [done, retired],
                raised,
                memory: [&wanted, &got],
            };
            self.difference = Some(report.write(cpu));
        }
        self.verify.memory = [wanted, got];
        (end, None)
    }
}

/// Whether only accessed and dirty bits differ: those of an instruction that the evaluator is about to do are set before.
fn same_but_for_marks(a: &[u8], b: &[u8]) -> bool {
    const MARKS: u8 = 0x60;
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a | MARKS == b | MARKS)
}

/// What a difference is told from.
struct Report<'a> {
    before: &'a State,
    expected: &'a State,
    steps: &'a [Step],
    /// Instructions retired.
    counts: [u64; 2],
    raised: [Option<arch::Fault>; 2],
    memory: [&'a [u8]; 2],
}

impl Report<'_> {
    fn write(&self, cpu: &mut Cpu) -> Difference {
        let found = State::of(cpu);
        let mut text = String::from("the translator differs from the evaluator\n");
        let mut line = |l: String| {
            text.push_str(&l);
            text.push('\n');
        };
        line(format!(
            "  block at {:#x}, mode {:#x}",
            self.before.rip, self.before.mode.0
        ));
        let insns: Vec<_> = self.steps.iter().map(|s| s.insn).collect();
        for l in dump::guest(cpu, self.before.mode, self.before.rip, &insns) {
            line(format!("    {l}"));
        }
        let [done, retired] = self.counts;
        line(format!(
            "  retired: {done} by the evaluator, {retired} by the translator"
        ));
        if self.raised[0] != self.raised[1] {
            let name = |f: Option<arch::Fault>| {
                f.map_or("nothing".to_string(), |f| {
                    format!("{:?}({:#x})", f.exception, f.error_code)
                })
            };
            let [a, b] = self.raised.map(name);
            line(format!(
                "  raised: {a} by the evaluator, {b} by the translator"
            ));
        }
        line(format!(
            "  {:<14} {:<34} {:<34} {}",
            "", "before", "evaluator", "translator"
        ));
        let was = self.before.registers(cpu);
        let all = self
            .expected
            .registers(cpu)
            .into_iter()
            .zip(found.registers(cpu));
        for ((_, was), ((name, a), (_, b))) in was.into_iter().zip(all) {
            if a != b {
                line(format!("  {name:<14} {was:<34} {a:<34} {b}"));
            }
        }
        let [wanted, got] = self.memory;
        let mut at = 0;
        for (addr, len) in cpu.mmu.ram().journal_windows() {
            let (a, b) = (wanted.get(at..at + len), got.get(at..at + len));
            at += len;
            if let (Some(a), Some(b)) = (a, b)
                && a != b
            {
                let first = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(0) & !7;
                let hex = |bytes: &[u8]| {
                    let part = &bytes[first..(first + 16).min(bytes.len())];
                    part.iter().map(|b| format!("{b:02x} ")).collect::<String>()
                };
                let addr = addr.0 + first as u64;
                line(format!(
                    "  [{addr:#x}] physical{:<22} {:<48} {}",
                    "",
                    hex(a),
                    hex(b)
                ));
            }
        }
        text.truncate(text.trim_end().len());
        Difference(text)
    }
}
