//! The dispatcher: finds or makes the translation for RIP, enters it, and serves what it was left for.

use crate::arena::Arena;
use crate::cache::{Cache, Key};
use crate::show::{Shows, Translated};
use crate::stats::EngineStats;
use crate::verify::{Difference, Verify, acts_outside};
use crate::{Error, Options, enter};
use arch::{Fault, GuestPhys, PAGE_MASK, Seg};
use baseline::block::TooWide;
use baseline::{Baseline, x64::X64};
use bus::clock::Stopwatch;
use cpu::Cpu;
use cpu::event::Event;
use cpu::native::{JumpEntry, exit, site};
use cpu::run::Next;
use cpu::state::Shortcuts;
use memory::{Access, Target};

/// A link cell that wants to lead to the translation for RIP, if RIP is still what it was then.
#[derive(Clone, Copy)]
pub(crate) struct Pending {
    /// Host address.
    cell: u64,
    rip: u64,
    mode: arch::Mode,
    /// The cell is gone if the cache was emptied since.
    flushes: u64,
}

/// What generated code left to do.
pub(crate) enum End {
    Next,
    /// The evaluator does the instruction at RIP.
    Evaluate,
    /// The instruction at RIP faults.
    Fault(Fault),
}

/// One vCPU's engine.
pub struct Engine {
    cache: Cache,
    writer: Baseline<X64>,
    pub(crate) options: Options,
    pub stats: EngineStats,
    pub(crate) verify: Verify,
    /// What `--verify` found.
    pub difference: Option<Difference>,
    pub(crate) shows: Shows,
    /// What went wrong with them.
    pub trouble: Option<Error>,
}

impl Engine {
    /// An engine with an empty code cache.
    pub fn new(mut options: Options) -> Result<Self, Error> {
        let loops = options.chain && options.loops;
        // Generated code must come back after each block.
        options.chain &= !options.verify;
        options.jump_cache &= !options.verify;
        let arena = Arena::new(options.code_cache)?;
        let shows = Shows::new(&options)?;
        let mut writer = Baseline::new();
        (writer.host_fp, writer.host_vectors) = (options.fp, options.simd);
        writer.loops = loops;
        writer.drop_flags = options.flags;
        Ok(Self {
            cache: Cache::new(arena),
            writer,
            options,
            stats: EngineStats::default(),
            verify: Verify::default(),
            difference: None,
            shows,
            trouble: None,
        })
    }

    /// Runs until [`bus::Attention::STOP`] is raised, which is taken.
    pub fn run(&mut self, cpu: &mut Cpu) {
        cpu.native.stubs = enter::stubs();
        cpu.native.attention = cpu.attention.word_address();
        cpu.shortcuts = self.shortcuts();
        let mut pending = None;
        while cpu.between_blocks() == Next::Execute {
            if cpu.mmu.ram().has_stale() {
                self.drop_stale(cpu);
                pending = None;
            }
            if cpu.needs_care() || !translatable(cpu) {
                pending = None;
                cpu.evaluate_block();
                continue;
            }
            match self.entry(cpu, pending.take()) {
                Ok(Some(entry)) => {
                    let (end, link) = if self.options.verify {
                        self.checked(cpu, entry)
                    } else {
                        self.enter(cpu, entry)
                    };
                    pending = link;
                    if self.difference.is_some() || self.trouble.is_some() {
                        break;
                    }
                    match end {
                        // A helper may owe a trap: the T flag of a task state segment.
                        End::Next if cpu.pending_debug != 0 => cpu.debug_trap(),
                        End::Next => {}
                        End::Evaluate => cpu.evaluate_one(),
                        End::Fault(f) => cpu.deliver(Event::Exception(f)),
                    }
                }
                Ok(None) => cpu.evaluate_one(),
                Err(f) => cpu.deliver(Event::Exception(f)),
            }
        }
        self.flush_shows();
        (self.stats.cache_used, self.stats.cache_size) = {
            let (used, size) = self.cache.arena.used();
            (used as u64, size as u64)
        };
    }

    /// One block, or one instruction in the evaluator; a fault is answered, not delivered, and events are not taken. For tests.
    pub fn step(&mut self, cpu: &mut Cpu) -> Result<(), Fault> {
        cpu.native.stubs = enter::stubs();
        cpu.native.attention = cpu.attention.word_address();
        cpu.shortcuts = self.shortcuts();
        self.drop_stale(cpu);
        if cpu.needs_care() || !translatable(cpu) {
            return cpu.step();
        }
        match self.entry(cpu, None)? {
            None => cpu.step(),
            Some(entry) => match self.enter(cpu, entry).0 {
                End::Next => Ok(()),
                End::Evaluate => cpu.step(),
                End::Fault(f) => Err(f),
            },
        }
    }

    fn shortcuts(&self) -> Shortcuts {
        Shortcuts {
            bulk: self.options.rep,
            address_spaces: self.options.pcid,
            x87: self.options.x87,
        }
    }

    /// Drops translations whose guest code was written.
    fn drop_stale(&mut self, cpu: &mut Cpu) {
        for (frame, hit) in cpu.mmu.ram().take_stale() {
            self.cache
                .invalidate(frame, hit, &mut cpu.native.jumps, &mut self.stats);
        }
    }

    /// Drops what the jump cache knows of pages that INVLPG named. A page may be as large as 1 GiB.
    fn forget_flushed(&mut self, cpu: &mut Cpu) {
        let n = &mut cpu.native;
        for page in cpu.mmu.tlb.flushed_pages.drain(..) {
            for j in &mut n.jumps {
                if (j.rip ^ page) >> 30 == 0 {
                    *j = JumpEntry::NONE;
                }
            }
        }
    }

    /// The host entry for RIP, translated if need be; `None` if the evaluator must do the next instruction.
    fn entry(&mut self, cpu: &mut Cpu, pending: Option<Pending>) -> Result<Option<u64>, Fault> {
        self.forget_flushed(cpu);
        cpu.refresh_fp_mode();
        let linear = cpu.fetch_address()?;
        let Target::Ram(addr) = fetch(cpu, linear)? else {
            return Ok(None);
        };
        let key = Key {
            addr,
            mode: cpu.mode,
        };
        let entry = match self.cache.find(key) {
            Some(e) => e,
            None => {
                let generation = cpu.mmu.ram().generation(key.addr.frame());
                if self.cache.is_hard(key, generation) {
                    return Ok(None);
                }
                match self.translate(cpu, linear, key)? {
                    Some(e) => e,
                    None => {
                        let generation = cpu.mmu.ram().generation(key.addr.frame());
                        self.cache.note_hard(key, generation);
                        return Ok(None);
                    }
                }
            }
        };
        if let Some(p) = pending
            && self.options.chain
            && (p.rip, p.mode, p.flushes) == (cpu.rip, cpu.mode, self.stats.flushes)
        {
            self.cache.link(p.cell, key);
        }
        cpu.native.attention_mask = cpu.attention_mask();
        cpu.native.tlb = cpu.mmu.tlb.arrays();
        let n = &mut cpu.native;
        let base = cpu.rip.wrapping_sub(linear & PAGE_MASK);
        n.page_base = if cpu.mode.is_64() {
            base
        } else {
            base & 0xffff_ffff
        };
        n.key = cpu.mmu.tlb.epoch() << 32 | u64::from(cpu.mode.0);
        if self.options.jump_cache {
            n.jumps[JumpEntry::place(cpu.rip)] = JumpEntry {
                rip: cpu.rip,
                key: n.key,
                base: n.page_base,
                entry,
            };
        }
        Ok(Some(entry))
    }

    fn translate(&mut self, cpu: &mut Cpu, linear: u64, key: Key) -> Result<Option<u64>, Fault> {
        let start = Stopwatch::start();
        let run = cpu.decode_run(linear, self.options.block)?;
        let mut insns: Vec<decode::Insn> = run
            .steps
            .iter()
            .take_while(|s| s.exists() && !is_too_long(&s.insn))
            .take_while(|s| !(self.options.verify && acts_outside(s.insn.code)))
            .map(|s| s.insn)
            .collect();
        if insns.is_empty() {
            return Ok(None);
        }
        let (mut entry, mut made) = (None, None);
        while entry.is_none() && !insns.is_empty() {
            let start = key.addr.offset() as u32;
            let wrong: Vec<_>;
            let given = if self.options.sabotage {
                wrong = insns.iter().map(sabotage).collect();
                &wrong
            } else {
                &insns
            };
            let block = match self.writer.translate(key.mode, start, given) {
                Ok(b) => b,
                Err(TooWide(n)) => {
                    insns.truncate(n);
                    continue;
                }
            };
            entry = self.cache.insert(key, &block);
            if entry.is_some() {
                let s = &mut self.stats;
                s.translations += 1;
                s.guest_instructions += u64::from(block.instructions);
                s.guest_bytes += u64::from(block.bytes);
                s.host_bytes += block.code.len() as u64;
                made = Some((
                    block.instructions,
                    block.code.len(),
                    block.marks.to_vec(),
                    block.rounds,
                ));
                break;
            }
            if self.cache.is_empty() {
                // Larger than the whole cache.
                break;
            }
            // Full: everything goes, and only what is still needed comes back.
            self.cache.clear();
            cpu.native.jumps.fill(JumpEntry::NONE);
            self.stats.flushes += 1;
        }
        self.stats.translation_ns += start.elapsed_ns();
        if let (Some(entry), Some((count, len, marks, rounds))) = (entry, made)
            && (self.options.verify || self.shows.any())
        {
            let at = self.cache.arena.offset(entry).unwrap_or(0);
            let t = Translated {
                linear,
                addr: key.addr.0,
                insns: &insns[..count as usize],
                host: self.cache.arena.bytes(at, len),
                entry,
                marks,
                rounds,
            };
            self.show(cpu, &t);
        }
        Ok(entry)
    }

    /// Runs generated code; answers what is left to do, and the link cell that wants to lead to what comes next.
    pub(crate) fn enter(&mut self, cpu: &mut Cpu, entry: u64) -> (End, Option<Pending>) {
        self.stats.entries += 1;
        enter::run(cpu, entry);
        let retired = cpu.native.retired;
        let [reason, extra] = cpu.native.value;
        let at = cpu.native.site;
        let (before, mut link) = (site::done(at), None);
        let mut done = retired;
        match reason & 0xff {
            exit::LOOKUP => self.stats.lookups += 1,
            exit::UNLINKED => {
                self.stats.links += 1;
                let flushes = self.stats.flushes;
                link = Some(Pending {
                    cell: extra,
                    rip: cpu.rip,
                    mode: cpu.mode,
                    flushes,
                });
            }
            exit::ATTEND => self.stats.attentions += 1,
            exit::HELPER => {
                self.stats.helpers += 1;
                done += before + 1;
                cpu.leave = false;
            }
            exit::HELPER_FAULT => done += before,
            _ => {
                done += before;
                let rip = cpu.native.page_base.wrapping_add(site::at(at));
                cpu.rip = if cpu.mode.is_64() {
                    rip
                } else {
                    rip & 0xffff_ffff
                };
            }
        }
        self.stats.executed += done;
        cpu.counters.instructions += done;
        cpu.bus.clock().retire(done);
        let end = match reason & 0xff {
            exit::EVALUATE => {
                self.stats.evaluations += 1;
                End::Evaluate
            }
            exit::FAULT | exit::HELPER_FAULT => {
                self.stats.faults += 1;
                End::Fault(exit::fault(extra))
            }
            exit::RAISE => {
                self.stats.faults += 1;
                End::Fault(exit::fault(reason))
            }
            _ => End::Next,
        };
        (end, link)
    }
}

/// The wrong rule of [`Options::sabotage`].
fn sabotage(i: &decode::Insn) -> decode::Insn {
    use decode::Code::*;
    let code = match i.code {
        Add_rm32_r32 => Adc_rm32_r32,
        Add_rm64_r64 => Adc_rm64_r64,
        other => other,
    };
    decode::Insn { code, ..*i }
}

/// Whether the one-pass writer serves this mode: 64-bit code, and 32-bit code without a limit to check.
fn translatable(cpu: &Cpu) -> bool {
    match cpu.mode.code() {
        arch::Size::B64 => true,
        arch::Size::B32 => cpu.segment(Seg::Cs).limit == u32::MAX,
        arch::Size::B16 => false,
    }
}

/// Where code at `linear` stands.
fn fetch(cpu: &mut Cpu, linear: u64) -> Result<Target, Fault> {
    // The TLB knows the host address of the page; the frame follows from a walk, remembered per linear page.
    match cpu
        .mmu
        .tlb
        .host(cpu.class as usize, linear, 1, Access::Fetch)
    {
        Some(h) => Ok(cpu
            .mmu
            .ram()
            .guest_of(h as u64)
            .map_or(Target::Bus(GuestPhys(0)), Target::Ram)),
        None => cpu.resolve(cpu.class, linear, Access::Fetch),
    }
}

/// Instructions of more values than the writer holds for one: ENTER that copies frame pointers, up to 31 of them, and MASKMOVDQU. The
/// evaluator does them.
fn is_too_long(i: &decode::Insn) -> bool {
    use decode::Code::*;
    match i.code {
        Maskmovdqu_rDI_xmm_xmm => true,
        Enterw_imm16_imm8 | Enterd_imm16_imm8 | Enterq_imm16_imm8 => {
            semantics::operand::immediate(i, 1) & 31 > 1
        }
        _ => false,
    }
}
