//! The dispatcher: finds or makes the translation for RIP, enters it, and serves what it was left for.

use crate::arena::Arena;
use crate::cache::{Cache, Key};
use crate::jumps::Jumps;
use crate::profile::Profile;
use crate::regions::Regions;
use crate::sampler::Sampler;
use crate::show::{Shows, Translated};
use crate::stats::EngineStats;
use crate::verify::{Difference, Verify, acts_outside};
use crate::{Error, Options, enter};
use arch::{Fault, PAGE_MASK};
use baseline::block::TooWide;
use baseline::{Baseline, x64::X64};
use bus::Attention;
use bus::clock::Stopwatch;
use cpu::Cpu;
use cpu::event::Event;
use cpu::fetch::{Heat, Warm};
use cpu::native::{JumpEntry, exit, site};
use cpu::run::Next;
use cpu::state::Shortcuts;
use memory::Target;

/// A link cell that wants to lead to the translation for RIP, if RIP is still what it was then.
#[derive(Clone, Copy)]
pub(crate) struct Pending {
    /// Host address.
    cell: u64,
    rip: u64,
    mode: arch::Mode,
    /// The cell may be gone if translations were dropped since.
    drops: u64,
}

/// What generated code left to do.
pub(crate) enum End {
    Next,
    /// The evaluator does the instruction at RIP.
    Evaluate,
    /// The instruction at RIP faults.
    Fault(Fault),
}

/// What there is for RIP.
enum Found {
    /// Generated code.
    Entry(u64),
    /// The evaluator must do the next instruction.
    Hard,
    /// The evaluator did a block of it.
    Evaluated,
}

/// Changes of code in a page that make blocks there wait longer for their translation.
const CHANGES: u32 = 16;

/// One vCPU's engine.
pub struct Engine {
    pub(crate) cache: Cache,
    pub(crate) writer: Baseline<X64>,
    jumps: Jumps,
    pub(crate) options: Options,
    pub stats: EngineStats,
    pub(crate) verify: Verify,
    /// What `--verify` found.
    pub difference: Option<Difference>,
    pub(crate) shows: Shows,
    /// What went wrong with them.
    pub trouble: Option<Error>,
    pub(crate) regions: Option<Regions>,
    pub(crate) sampler: Option<Sampler>,
    pub(crate) profile: Option<Profile>,
    /// The link that [`Engine::step`] was left through.
    pending: Option<Pending>,
}

impl Engine {
    /// An engine with an empty code cache.
    pub fn new(mut options: Options) -> Result<Self, Error> {
        let loops = options.chain && options.loops;
        // Generated code must come back after each block.
        options.chain &= !options.verify;
        options.jump_cache &= !options.verify;
        if options.verify {
            (options.first, options.changing) = (0, 0);
        }
        let arena = Arena::new(options.code_cache)?;
        let shows = Shows::new(&options)?;
        let regions = Regions::new(&options)?;
        let profile = options.profile.clone().map(Profile::new);
        let mut writer = Baseline::new();
        (writer.host_fp, writer.host_vectors) = (options.fp, options.simd);
        writer.loops = loops;
        writer.drop_flags = options.flags;
        writer.windows = options.windows;
        writer.alone = options.alone;
        Ok(Self {
            cache: Cache::new(arena, options.direct),
            writer,
            jumps: Jumps::new(),
            options,
            stats: EngineStats::default(),
            verify: Verify::default(),
            difference: None,
            shows,
            regions,
            sampler: None,
            profile,
            trouble: None,
            pending: None,
        })
    }

    /// Runs until [`bus::Attention::STOP`] is raised, which is taken.
    pub fn run(&mut self, cpu: &mut Cpu) {
        cpu.native.stubs = enter::stubs();
        cpu.native.attention = cpu.attention.word_address();
        cpu.shortcuts = self.shortcuts();
        cpu.native.resume = self.options.resume && self.options.jump_cache;
        let mut pending = None;
        while cpu.between_blocks() == Next::Execute {
            if cpu.mmu.ram().has_stale() {
                self.drop_stale(cpu);
            }
            self.cache.collect();
            self.attend_regions(cpu);
            if cpu.needs_care() || !enter::translatable(cpu) {
                pending = None;
                cpu.evaluate_block();
                continue;
            }
            match self.entry(cpu, pending.take()) {
                Ok(Found::Entry(entry)) => {
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
                Ok(Found::Hard) => cpu.evaluate_one(),
                Ok(Found::Evaluated) => {}
                Err(f) => cpu.deliver(Event::Exception(f)),
            }
        }
        self.flush_shows();
        if let Some(p) = &self.profile
            && let Err(e) = p.write(self.options.symbols.as_deref())
        {
            self.trouble.get_or_insert(e);
        }
        self.count(cpu);
    }

    /// Brings the counters up to date.
    fn count(&mut self, cpu: &Cpu) {
        let (used, size) = self.cache.arena.used();
        let counts = self.cache.counts;
        let s = &mut self.stats;
        (s.resumed, s.region_entries) = (cpu.native.resumed, cpu.native.regions);
        (s.cache_used, s.cache_size) = (used as u64, size as u64);
        (s.invalidated, s.evicted) = (counts.invalidated, counts.evicted);
        (s.evictions, s.live) = (counts.evictions, counts.live);
        s.direct_links = counts.direct;
        s.jumps_emptied = self.jumps.emptied;
        (s.decoded, s.decode_ns) = (cpu.counters.decoded, cpu.counters.decode_ns);
    }

    /// One block, translated at once, or one instruction in the evaluator; a fault is answered, not delivered, and events are not taken. For
    /// tests.
    pub fn step(&mut self, cpu: &mut Cpu) -> Result<(), Fault> {
        (self.options.first, self.options.changing) = (0, 0);
        cpu.native.stubs = enter::stubs();
        cpu.native.attention = cpu.attention.word_address();
        cpu.shortcuts = self.shortcuts();
        let mut pending = self.pending.take();
        if cpu.mmu.ram().has_stale() {
            self.drop_stale(cpu);
            pending = None;
        }
        self.cache.collect();
        if cpu.needs_care() || !enter::translatable(cpu) {
            return evaluate(cpu);
        }
        match self.entry(cpu, pending)? {
            Found::Hard => evaluate(cpu),
            Found::Evaluated => Ok(()),
            Found::Entry(entry) => {
                let (end, link) = self.enter(cpu, entry);
                self.pending = link;
                match end {
                    End::Next => Ok(()),
                    End::Evaluate => evaluate(cpu),
                    End::Fault(f) => Err(f),
                }
            }
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
        let ram = cpu.mmu.ram().clone();
        self.cache.drop_stale(&ram, &mut cpu.native.jumps);
    }

    /// Drops what the jump cache knows of pages that INVLPG named, and of an address space that was left.
    #[inline]
    fn settle_jumps(&mut self, cpu: &mut Cpu) {
        let n = &mut cpu.native;
        self.jumps.enter(cpu.mmu.tlb.epoch(), &mut n.jumps);
        for page in cpu.mmu.tlb.flushed_pages.drain(..) {
            self.jumps.forget(page, &mut n.jumps);
        }
    }

    /// What there is for RIP, translated if it is time.
    fn entry(&mut self, cpu: &mut Cpu, pending: Option<Pending>) -> Result<Found, Fault> {
        self.settle_jumps(cpu);
        let user = cpu.cpl == 3;
        let place = JumpEntry::place(cpu.rip);
        if let Some(entry) = enter::enter_mode(cpu).filter(|_| pending.is_none()) {
            return Ok(Found::Entry(entry));
        }
        let linear = cpu.fetch_address()?;
        let Target::Ram(addr) = cpu.fetch_target(linear)? else {
            return Ok(Found::Hard);
        };
        let key = Key {
            addr,
            mode: cpu.mode,
        };
        let id = match self.cache.find(key) {
            Some(id) => id,
            None => {
                let heat = Heat {
                    first: self.options.first,
                    changing: self.options.changing,
                    changes: CHANGES,
                };
                match cpu.warm_up(linear, addr, heat)? {
                    Warm::Hard => return Ok(Found::Hard),
                    Warm::Evaluated => {
                        self.stats.warm_ups += 1;
                        return Ok(Found::Evaluated);
                    }
                    Warm::Ready(block) => match self.translate(cpu, linear, block, key) {
                        Some(id) => match self.region_at_once(cpu, key, id) {
                            Some(id) => id,
                            None => return Ok(Found::Hard),
                        },
                        None => return Ok(Found::Hard),
                    },
                }
            }
        };
        if let Some(p) = pending
            && self.options.chain
            && (p.rip, p.mode, p.drops) == (cpu.rip, cpu.mode, self.cache.drops())
        {
            self.cache.link(p.cell, id);
        }
        let entry = self.cache.entry(id);
        let base = cpu.rip.wrapping_sub(linear & PAGE_MASK);
        cpu.native.page_base = if cpu.mode.is_64() {
            base
        } else {
            base & 0xffff_ffff
        };
        if self.options.jump_cache {
            // A page that the TLB does not know any more may be of any size.
            let (shift, global) = cpu
                .mmu
                .tlb
                .page_of_code(cpu.class as usize, linear)
                .unwrap_or((u32::MAX, false));
            self.jumps.note(cpu.rip, linear, shift, !user && !global);
            self.cache.note_jump(id, cpu.rip);
            let n = &mut cpu.native;
            n.jumps[place] = JumpEntry {
                rip: cpu.rip,
                key: n.key,
                base: n.page_base,
                entry,
            };
        }
        Ok(Found::Entry(entry))
    }

    /// Translates a decoded block; `None` if that cannot be done.
    fn translate(&mut self, cpu: &mut Cpu, linear: u64, block: u32, key: Key) -> Option<u32> {
        let start = Stopwatch::start();
        let verify = self.options.verify;
        let insns = cpu.decoded(block);
        let insns = &insns[..insns.len().min(self.options.block)];
        let mut most = insns
            .iter()
            .position(|i| is_too_long(i) || verify && acts_outside(i.code))
            .unwrap_or(insns.len());
        let altered: Vec<decode::Insn>;
        let insns = if self.options.sabotage {
            altered = insns.iter().map(sabotage).collect();
            &altered
        } else {
            insns
        };
        let rest = cpu.rest_of_decoded(block);
        let rest_at = rest.and_then(|frame| cpu.mmu.ram().host_of(frame));
        if rest.is_some() && rest_at.is_none() {
            cpu.keep_evaluating(block);
            return None;
        }
        let (mut id, mut made) = (None, None);
        while most > 0 {
            let offset = key.addr.offset() as u32;
            match self
                .writer
                .translate(key.mode, offset, &insns[..most], rest_at)
            {
                Ok(b) => {
                    let s = &mut self.stats;
                    s.translations += 1;
                    s.guest_instructions += u64::from(b.instructions);
                    s.guest_bytes += u64::from(b.bytes);
                    s.host_bytes += b.code.len() as u64;
                    s.windowed += u64::from(b.windowed);
                    if self.options.alone {
                        let own = &insns[..b.instructions as usize];
                        s.plain_locks += own.iter().filter(|i| i.lock).count() as u64;
                    }
                    id = self.cache.insert(key, &b, rest, &mut cpu.native.jumps);
                    if verify || self.shows.any() {
                        // Sabotage is not for show.
                        let insns = &cpu.decoded(block)[..b.instructions as usize];
                        made = Some((insns.to_vec(), b.hot as usize, b.marks.to_vec(), b.rounds));
                    }
                    break;
                }
                Err(TooWide(n)) => most = n,
            }
        }
        match id {
            Some(_) => cpu.forget_decoded(block),
            None => cpu.keep_evaluating(block),
        }
        self.stats.translation_ns += start.elapsed_ns();
        if let (Some(id), Some((insns, len, marks, rounds))) = (id, made) {
            let entry = self.cache.entry(id);
            let at = self.cache.arena.offset(entry).unwrap_or(0);
            let t = Translated {
                linear,
                addr: key.addr.0,
                insns: &insns,
                host: self.cache.arena.bytes(at, len),
                entry,
                rare: self.cache.rare(id),
                marks,
                rounds,
            };
            self.show(cpu, &t);
        }
        id
    }

    /// Runs generated code; answers what is left to do, and the link cell that wants to lead to what comes next.
    pub(crate) fn enter(&mut self, cpu: &mut Cpu, entry: u64) -> (End, Option<Pending>) {
        self.stats.entries += 1;
        enter::run(cpu, &mut self.cache, entry);
        let retired = cpu.native.retired;
        let [reason, extra] = cpu.native.value;
        let at = cpu.native.site;
        let (before, mut link) = (site::done(at), None);
        let (mut done, mut wants_sample) = (retired, false);
        match reason & 0xff {
            exit::LOOKUP => self.stats.lookups += 1,
            exit::UNLINKED => {
                self.stats.links += 1;
                link = Some(Pending {
                    cell: extra,
                    rip: cpu.rip,
                    mode: cpu.mode,
                    drops: self.cache.drops(),
                });
            }
            exit::ATTEND => {
                self.stats.attentions += 1;
                wants_sample = cpu.attention.bits() & Attention::SAMPLE != 0;
            }
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
        if wants_sample {
            self.sample(cpu);
        }
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

/// One instruction in the evaluator, counted.
fn evaluate(cpu: &mut Cpu) -> Result<(), Fault> {
    cpu.step()?;
    cpu.counters.instructions += 1;
    Ok(())
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
