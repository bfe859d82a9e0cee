//! The run loop: events, then a block, and again.

use crate::block::{Blocks, Step};
use crate::event::Event;
use crate::fetch::Found;
use crate::{Stats, Stop, state::Cpu};
use arch::{Fault, Rflags};
use bus::Attention;
use bus::clock::Pace;
use decode::{Code, Insn, Operand};
use semantics::table::Body;

/// What a run loop does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    Execute,
    Leave,
}

/// Whether a block that leads to its own start is gone through again at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounds {
    One,
    /// Until attention is asked for.
    UntilAttention,
    All,
}

impl Cpu {
    /// Runs until [`Attention::STOP`] is raised, which is taken.
    pub fn run(&mut self) {
        let mut blocks = self.blocks.take().unwrap_or_default();
        while self.between_blocks() == Next::Execute {
            self.run_block(&mut blocks);
        }
        self.blocks = Some(blocks);
    }

    /// What a run loop does between two blocks: events, and the clock where instructions pace it.
    #[inline(always)]
    pub fn between_blocks(&mut self) -> Next {
        if let Pace::Instructions { .. } = self.bus.clock().pace()
            && self.bus.clock().is_due()
        {
            self.bus.run_due();
        }
        if self.attention.bits() & self.attention_mask() != 0 || self.halted {
            return self.attend();
        }
        Next::Execute
    }

    /// The bits of the attention word that count now.
    #[inline(always)]
    pub fn attention_mask(&self) -> u32 {
        if self.system_flag(Rflags::IF) {
            u32::MAX
        } else {
            !Attention::INTR
        }
    }

    /// One block in the evaluator, or one instruction where more would be wrong.
    pub fn evaluate_block(&mut self) {
        let mut blocks = self.blocks.take().unwrap_or_default();
        self.run_block(&mut blocks);
        self.blocks = Some(blocks);
    }

    /// One instruction in the evaluator, with what follows from it.
    pub fn evaluate_one(&mut self) {
        let mut blocks = self.blocks.take().unwrap_or_default();
        let shadow = std::mem::take(&mut self.shadow);
        let trap = self.mode.trap();
        match self.next_step(&mut blocks) {
            Ok(s) => self.run_one(&s, shadow, trap),
            Err(f) => self.deliver(Event::Exception(f)),
        }
        self.blocks = Some(blocks);
    }

    /// Whether the next instruction must be evaluated by itself: single step, breakpoints, an interrupt shadow, RF
    /// (which the next instruction clears).
    #[inline(always)]
    pub fn needs_care(&self) -> bool {
        self.shadow
            || self.mode.trap()
            || self.mode.checked()
            || self.system_flag(Rflags::RF)
            || self.instruction_breakpoints()
    }

    /// Executes `steps` as a block, at most `most` instructions: answers how many have retired, and the fault of the next. If it leads
    /// to its own start, it goes on there as `rounds` says. Nothing is counted, delivered or trapped: for
    /// checking other engines.
    pub fn replay(&mut self, steps: &[Step], most: u64, rounds: Rounds) -> (u64, Option<Fault>) {
        let (mut done, mut fault) = (0, None);
        let (start, mode) = (self.rip, self.mode);
        let mut rest = steps.iter();
        while done < most {
            let Some(s) = rest.next() else { break };
            match (s.body)(self, &s.insn) {
                Ok(()) => self.advance(s.insn.len),
                Err(Stop::Fault(f)) => {
                    fault = Some(f);
                    break;
                }
                Err(stop) => {
                    if stop == Stop::End {
                        self.advance(s.insn.len);
                    }
                    done += 1;
                    let again = stop == Stop::Branch
                        && (self.rip, self.mode) == (start, mode)
                        && match rounds {
                            Rounds::One => false,
                            Rounds::UntilAttention => {
                                self.attention.bits() & self.attention_mask() == 0
                            }
                            Rounds::All => true,
                        };
                    if !again {
                        break;
                    }
                    rest = steps.iter();
                    continue;
                }
            }
            done += 1;
            if self.leave {
                break;
            }
        }
        self.leave = false;
        (done, fault)
    }

    /// The same for the instructions that `step` answers for an address, until it answers none or `most` have retired.
    pub fn replay_where(
        &mut self,
        step: impl Fn(u64) -> Option<Step>,
        most: u64,
    ) -> (u64, Option<Fault>) {
        let (mut done, mut fault) = (0, None);
        while done < most
            && let Some(s) = step(self.rip)
        {
            match self.execute(&s) {
                Ok(()) => done += 1,
                Err(f) => {
                    fault = Some(f);
                    break;
                }
            }
            if self.leave {
                break;
            }
        }
        self.leave = false;
        (done, fault)
    }

    /// Executes one instruction; tells whether it ended without a fault. Events are not taken: for tests and single steps.
    pub fn step(&mut self) -> Result<(), Fault> {
        let mut blocks = self.blocks.take().unwrap_or_default();
        let r = self.next_step(&mut blocks).and_then(|s| self.execute(&s));
        self.blocks = Some(blocks);
        r
    }

    /// The instruction at RIP alone.
    fn next_step(&mut self, blocks: &mut Blocks) -> Result<Step, Fault> {
        Ok(match self.find_block(blocks, true)? {
            Found::Outside(step) => step,
            Found::Kept(index) => {
                let (bodies, insns) = blocks.steps(index);
                Step {
                    body: bodies[0],
                    insn: insns[0],
                }
            }
        })
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.counters.report(self.mmu.fills)
    }

    fn execute(&mut self, step: &Step) -> Result<(), Fault> {
        match (step.body)(self, &step.insn) {
            Ok(()) | Err(Stop::End) => self.advance(step.insn.len),
            Err(Stop::Branch) => {}
            Err(Stop::Fault(f)) => return Err(f),
        }
        Ok(())
    }

    #[inline(always)]
    fn advance(&mut self, len: u8) {
        self.rip = self.rip.wrapping_add(len.into());
        if !self.mode.is_64() {
            self.rip &= 0xffff_ffff;
        }
    }

    fn run_block(&mut self, blocks: &mut Blocks) {
        let shadow = std::mem::take(&mut self.shadow);
        match self.find_block(blocks, false) {
            Ok(Found::Kept(index)) => self.run_steps(blocks.steps(index), shadow),
            Ok(Found::Outside(s)) => self.run_steps((&[s.body], &[s.insn]), shadow),
            Err(f) => self.deliver(Event::Exception(f)),
        }
    }

    /// Executes the steps of a block, or the first alone where more would be wrong.
    pub(crate) fn run_steps(&mut self, (bodies, insns): (&[Body<Self>], &[Insn]), shadow: bool) {
        let trap = self.mode.trap();
        let resume = self.system_flag(Rflags::RF);
        if shadow || trap || resume || self.instruction_breakpoints() {
            let first = Step {
                body: bodies[0],
                insn: insns[0],
            };
            return self.run_one(&first, shadow, trap);
        }
        let mut done = 0;
        let mut fault = None;
        let mut n = 0;
        while let (Some(body), Some(insn)) = (bodies.get(n), insns.get(n)) {
            let from = self.rip;
            match body(self, insn) {
                Ok(()) => {
                    self.advance(insn.len);
                    done += 1;
                    n += 1;
                    if self.leave {
                        break;
                    }
                }
                Err(Stop::Branch) => {
                    done += 1;
                    match skip(insns, n, self.rip.wrapping_sub(from)) {
                        Some(to) if !self.leave => n = to,
                        _ => break,
                    }
                }
                Err(Stop::End) => {
                    self.advance(insn.len);
                    done += 1;
                    break;
                }
                Err(Stop::Fault(f)) => {
                    fault = Some(f);
                    break;
                }
            }
        }
        self.leave = false;
        self.counters.instructions += done;
        self.counters.block_runs += 1;
        self.bus.clock().retire(done);
        if let Some(f) = fault {
            self.deliver(Event::Exception(f));
        } else if self.pending_debug != 0 && !self.shadow {
            self.debug_trap();
        }
    }

    /// One instruction under single step, breakpoints, RF or an interrupt shadow.
    #[cold]
    fn run_one(&mut self, step: &Step, shadow: bool, trap: bool) {
        if !shadow && self.hits_instruction_breakpoint() {
            return self.deliver(Event::Exception(Fault::new(arch::Exception::DB)));
        }
        self.system_flags &= !Rflags::RF.bits();
        let next = self.rip.wrapping_add(step.insn.len.into());
        // IA32_DEBUGCTL.BTF: only branches are trapped (Vol. 3B, 17.4.3).
        let branches_only = self.msr.debugctl & 2 != 0;
        match self.execute(step) {
            Ok(()) => {
                let trap = trap && (!branches_only || self.rip != next);
                self.counters.instructions += 1;
                self.bus.clock().retire(1);
                self.leave = false;
                // INT n and its kin clear TF before the trap is due (Vol. 3B, 17.3.1.4).
                if trap && (self.mode.trap() || !is_software_interrupt(step.insn.code)) {
                    self.pending_debug |= arch::control::debug::DR6_BS;
                }
                // MOV SS and POP SS hold debug traps back until the next instruction has ended (Vol. 3A, 6.8.3).
                if self.shadow && loads_ss(&step.insn) {
                    self.pending_debug &= !arch::control::debug::DR6_BS;
                } else if self.pending_debug != 0 {
                    self.debug_trap();
                }
            }
            Err(f) => self.deliver(Event::Exception(f)),
        }
    }

    /// Serves the attention word; a halted processor sleeps here.
    #[cold]
    fn attend(&mut self) -> Next {
        loop {
            let a = self.attention.clone();
            if a.take(Attention::STOP) != 0 {
                return Next::Leave;
            }
            if a.take(Attention::TIMER) != 0 {
                self.bus.run_due();
            }
            if a.take(Attention::INIT) != 0 {
                self.apic.init();
                self.init();
                self.waiting_for_sipi = true;
            }
            if self.waiting_for_sipi {
                if a.take(Attention::SIPI) != 0
                    && let Some(vector) = self.apic.take_sipi()
                {
                    self.start_up(vector);
                    return Next::Execute;
                }
                a.wait(!Attention::SAMPLE, None);
                continue;
            }
            if !self.shadow {
                if !self.nmi_blocked && a.take(Attention::NMI) != 0 {
                    self.halted = false;
                    self.deliver(Event::Nmi);
                    return Next::Execute;
                }
                if self.system_flag(Rflags::IF)
                    && a.take(Attention::INTR) != 0
                    && let Some(vector) = self.apic.acknowledge()
                {
                    // There may be another behind it.
                    a.raise(Attention::INTR);
                    self.halted = false;
                    self.counters.interrupts += 1;
                    self.deliver(Event::External(vector));
                    return Next::Execute;
                }
            }
            if !self.halted {
                return Next::Execute;
            }
            self.sleep();
        }
    }

    /// HLT: until something asks for attention.
    fn sleep(&mut self) {
        let mut mask = !(Attention::INTR | Attention::NMI | Attention::SAMPLE);
        if self.system_flag(Rflags::IF) {
            mask |= Attention::INTR;
        }
        if !self.nmi_blocked {
            mask |= Attention::NMI;
        }
        let clock = self.bus.clock().clone();
        if let Pace::Instructions { .. } = clock.pace() {
            let next = clock.next_deadline();
            if next != u64::MAX {
                clock.skip_to(next);
                self.bus.run_due();
                return;
            }
        }
        self.attention.wait(mask, None);
    }

    /// A start-up IPI (Vol. 3A, 8.4.4.2).
    fn start_up(&mut self, vector: u8) {
        self.waiting_for_sipi = false;
        self.seg[arch::Seg::Cs as usize] =
            arch::Segment::real(u16::from(vector) << 8, arch::Segment::REAL_CODE);
        self.rip = 0;
        self.update_mode();
    }
}

/// Where a branch from step `n` that goes `distance` bytes forward leads in the same block, if it does.
fn skip(insns: &[Insn], n: usize, distance: u64) -> Option<usize> {
    let mut left = distance;
    for (at, i) in insns.iter().enumerate().skip(n) {
        if left == 0 {
            // A branch to itself, such as a repeated string instruction's, ends the block.
            return (at > n).then_some(at);
        }
        left = left.checked_sub(i.len.into())?;
    }
    None
}

fn is_software_interrupt(code: Code) -> bool {
    matches!(code, Code::Int_imm8 | Code::Int3 | Code::Into | Code::Int1)
}

fn loads_ss(i: &Insn) -> bool {
    i.ops[0] == Operand::Seg(arch::Seg::Ss)
}
