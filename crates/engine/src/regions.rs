//! T2's part of the engine: which loops are hot, their way through the compiler, and into the cache.
//!
//! [`Sampler`] makes the processor come back once a millisecond, as a rule at the head of the loop that it is in. What is met there often
//! enough is asked for: the page's bytes go to a compiler, in a thread of its own unless the engine was told to wait. What comes back is
//! put in only if the guest's code still is what it was made from. T1's block at the head is written anew then, so that it leads to the
//! region where it went round by itself; links find the region from now on. A region that is entered for a few instructions at a time costs
//! more than it saves, and goes again.

use crate::cache::Key;
use crate::profile::How;
use crate::run::Engine;
use crate::sampler::Sampler;
use crate::show::Translated;
use crate::{Error, Options};
use arch::{GuestPhys, PAGE_SIZE};
use baseline::region::{Region, Way};
use bus::Attention;
use bus::clock::Stopwatch;
use cpu::Cpu;
use decode::{Code, Insn};
use hashbrown::HashMap;
use memory::Target;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use translate::{Compiled, Compiler, Host, Leave};

/// Instructions after which a region leaves at an edge back, where each run is compared.
const BOUND: u32 = 1000;
/// Samples after which those that led to nothing are forgotten.
const WINDOW: u32 = 2000;
/// Loops remembered at most.
const REMEMBERED: usize = 1 << 16;
/// Guest instructions between two entries of regions under which the hot one does not pay, and how often that may be seen.
const PAYS: u64 = 40;
const STRIKES: u8 = 3;
/// How many times more samples a loop wants that is a part of a region already.
const INSIDE: u32 = 4;

/// A region to be compiled.
struct Request {
    key: Key,
    /// Its linear address, for people.
    linear: u64,
    page: Box<[u8; PAGE_SIZE as usize]>,
    /// Offsets in the page that control went to before.
    visited: Box<[u64; 64]>,
    /// What the CPU model shows.
    features: arch::cpuid::FeatureSet,
    /// Whether it pays does not matter.
    forced: bool,
}

/// What came of it.
struct Answer {
    key: Key,
    linear: u64,
    page: Box<[u8; PAGE_SIZE as usize]>,
    compiled: Option<Box<Compiled>>,
    ns: u64,
}

/// Who compiles.
enum Where {
    Here(Box<Compiler>),
    Threads {
        requests: Sender<Request>,
        answers: Receiver<Answer>,
    },
}

/// What is known of a loop.
#[derive(Clone, Copy, Default)]
struct Loop {
    samples: u32,
    strikes: u8,
    /// It was asked for when the frame's code was of this generation.
    asked: Option<u32>,
    /// It was put in as a part of a region when the frame's code was of this generation.
    inside: Option<u32>,
}

impl Loop {
    /// Samples before it is asked for. What another region holds is met here when that region has just been left for a sample: it is its
    /// own region only if it goes on without that one.
    fn threshold(self, least: u32, generation: u32) -> u32 {
        match self.inside == Some(generation) {
            true => least.saturating_mul(INSIDE),
            false => least,
        }
    }
}

/// T2, if it is on.
pub(crate) struct Regions {
    place: Where,
    threshold: u32,
    loops: HashMap<Key, Loop>,
    /// Samples in this window.
    samples: u32,
    /// Requests without an answer.
    waiting: usize,
    /// Entries of regions and instructions executed at the last sample.
    seen: (u64, u64),
}

impl Regions {
    /// T2 as `options` want it; `None` if it is off.
    pub(crate) fn new(options: &Options) -> Result<Option<Self>, Error> {
        if !options.regions {
            return Ok(None);
        }
        let how = how(options);
        let host = Host::new(&how).map_err(|e| Error::Translate(e.to_string()))?;
        let place = if options.jit_threads == 0 {
            Where::Here(Box::new(Compiler::new(host, how)))
        } else {
            let (requests, taken) = channel::<Request>();
            let (given, answers) = channel();
            let taken = Arc::new(Mutex::new(taken));
            for n in 0..options.jit_threads {
                let (taken, given) = (taken.clone(), given.clone());
                let mut compiler = Compiler::new(host.clone(), how);
                thread::Builder::new()
                    .name(format!("compiler {n}"))
                    .spawn(move || {
                        loop {
                            let next = taken.lock().unwrap_or_else(PoisonError::into_inner).recv();
                            let Ok(request) = next else { break };
                            if given.send(compile(&mut compiler, request)).is_err() {
                                break;
                            }
                        }
                    })
                    .map_err(Error::Thread)?;
            }
            Where::Threads { requests, answers }
        };
        Ok(Some(Self {
            place,
            threshold: options.tier_threshold,
            loops: HashMap::new(),
            samples: 0,
            waiting: 0,
            seen: (0, 0),
        }))
    }
}

/// How regions are compiled.
fn how(o: &Options) -> translate::Options {
    let bounded = o.verify || o.tier_threshold == 0;
    translate::Options {
        limits: translate::Limits {
            straight: o.straight,
            ..translate::Limits::default()
        },
        pages: o.pages,
        flags: o.flags,
        alone: o.alone,
        joints: o.joints,
        limit: if bounded { BOUND } else { 0 },
        text: o.dump.as_ref().is_some_and(|d| d.clif),
        ..translate::Options::default()
    }
}

fn compile(compiler: &mut Compiler, r: Request) -> Answer {
    let start = Stopwatch::start();
    let visited = |at: u32| r.visited[at as usize / 64 % 64] >> (at % 64) & 1 != 0;
    let shown = |c: Code| decode::required_features(c).is_some_and(|f| r.features.covers(f));
    let plan = compiler.plan(
        &r.page[..],
        r.key.mode,
        r.key.addr.offset() as u32,
        visited,
        shown,
    );
    let plan = plan.filter(|p| r.forced || !p.is_for_t1());
    let compiled = plan.and_then(|p| match compiler.compile(p) {
        Ok(c) => c,
        Err(e) => {
            tracing::warn!(target: "regions", "{e}");
            None
        }
    });
    Answer {
        key: r.key,
        linear: r.linear,
        page: r.page,
        compiled: compiled.map(Box::new),
        ns: start.elapsed_ns(),
    }
}

impl Engine {
    /// The vCPU is about to execute: what was compiled meanwhile is put in.
    #[inline]
    pub(crate) fn attend_regions(&mut self, cpu: &mut Cpu) {
        match &self.sampler {
            Some(s) => s.tell(),
            None if self.wants_samples() => self.sampler = Sampler::start(cpu.attention.clone()),
            None => {}
        }
        if self.regions.as_ref().is_some_and(|r| r.waiting > 0) {
            self.take_answers(cpu);
        }
    }

    fn wants_samples(&self) -> bool {
        self.profile.is_some() || self.regions.as_ref().is_some_and(|r| r.threshold > 0)
    }

    #[cold]
    fn take_answers(&mut self, cpu: &mut Cpu) {
        while let Some(r) = &mut self.regions
            && let Where::Threads { answers, .. } = &r.place
            && let Ok(answer) = answers.try_recv()
        {
            r.waiting -= 1;
            self.install(cpu, answer);
        }
    }

    /// Generated code came back with the processor at the start of something, because a sample is wanted.
    #[cold]
    pub(crate) fn sample(&mut self, cpu: &mut Cpu) {
        cpu.attention.take(Attention::SAMPLE);
        self.stats.samples += 1;
        let Some(key) = key_of(cpu) else { return };
        let is_region = self
            .cache
            .find(key)
            .is_some_and(|id| self.cache.is_region(id));
        if let Some(p) = &mut self.profile {
            let how = if is_region { How::Region } else { How::Block };
            p.note(cpu.cpl == 3, cpu.rip, how);
        }
        let Some(r) = &mut self.regions else { return };
        r.samples += 1;
        if r.samples >= WINDOW || r.loops.len() > REMEMBERED {
            r.samples = 0;
            r.loops
                .retain(|_, l| l.asked.is_some() || l.inside.is_some());
            if r.loops.len() > REMEMBERED {
                r.loops.clear();
            }
            for l in r.loops.values_mut() {
                l.samples = 0;
            }
        }
        let now = (cpu.native.regions, self.stats.executed);
        let entries = now.0.wrapping_sub(r.seen.0);
        let executed = now.1.wrapping_sub(r.seen.1);
        r.seen = now;
        let l = r.loops.entry(key).or_default();
        l.samples += 1;
        if is_region {
            if entries > 0 && executed / entries < PAYS {
                l.strikes += 1;
                if l.strikes >= STRIKES {
                    tracing::debug!(target: "regions", "region at {:#x} does not pay", cpu.rip);
                    self.stats.regions_dropped += 1;
                    self.cache.drop_key(key, &mut cpu.native.jumps);
                }
            } else {
                l.strikes = 0;
            }
            return;
        }
        let generation = cpu.mmu.ram().generation(key.addr.frame());
        if l.samples >= l.threshold(r.threshold, generation) && l.asked != Some(generation) {
            l.asked = Some(generation);
            self.ask(cpu, key);
        }
    }

    /// What there is for `key`, which T1 has just translated as `id`: a region at once if that is wanted.
    pub(crate) fn region_at_once(&mut self, cpu: &mut Cpu, key: Key, id: u32) -> Option<u32> {
        if self.regions.as_ref().is_none_or(|r| r.threshold > 0) {
            return Some(id);
        }
        self.ask(cpu, key);
        self.cache.find(key)
    }

    fn ask(&mut self, cpu: &mut Cpu, key: Key) {
        let mut page = Box::new([0; PAGE_SIZE as usize]);
        let start = GuestPhys(key.addr.0 & !(PAGE_SIZE - 1));
        if cpu.mmu.ram().read(start, &mut page[..]).is_err() {
            return;
        }
        let mut visited = Box::new([0; 64]);
        self.cache.entries_of(key.addr.frame(), key.mode, |at| {
            visited[at as usize / 64 % 64] |= 1 << (at % 64);
        });
        let request = Request {
            key,
            linear: cpu.fetch_address().unwrap_or(cpu.rip),
            page,
            visited,
            features: cpu.model.features,
            forced: self.options.tier_threshold == 0,
        };
        let Some(r) = &mut self.regions else { return };
        match &mut r.place {
            Where::Here(compiler) => {
                let answer = compile(compiler, request);
                self.install(cpu, answer);
            }
            Where::Threads { requests, .. } => {
                if requests.send(request).is_ok() {
                    r.waiting += 1;
                }
            }
        }
    }

    /// Puts a compiled region in, if the guest's code still is what it was made from. No vCPU is in generated code.
    fn install(&mut self, cpu: &mut Cpu, answer: Answer) {
        let stats = &mut self.stats;
        stats.region_ns += answer.ns;
        let Some(c) = answer.compiled else {
            stats.regions_refused += 1;
            return;
        };
        let (key, plan) = (answer.key, &c.plan);
        let (from, to) = plan.extent();
        let range = from as usize..to as usize;
        let lines = memory::lines(range.start, range.len());
        let frame = key.addr.frame();
        // Marked as code before it is read again.
        if cpu.mmu.mark_code(frame, lines).is_none() {
            return;
        }
        let mut now = vec![0; range.len()];
        let at = GuestPhys(key.addr.0 - key.addr.offset() as u64 + u64::from(from));
        if cpu.mmu.ram().read(at, &mut now).is_err() || answer.page.get(range) != Some(&now[..]) {
            self.stats.regions_refused += 1;
            return;
        }
        self.cache.collect();
        self.cache.drop_key(key, &mut cpu.native.jumps);
        self.cache.collect();
        let insns = &plan.blocks[0].insns[..plan.blocks[0].insns.len().min(self.options.block)];
        let Some(base) = self.base_of_region(cpu, key, insns) else {
            return;
        };
        let ways: Vec<Way> = c.exits.iter().map(|e| way(e.leave)).collect();
        let region = Region {
            mode: key.mode,
            head: plan.head(),
            code: &c.code,
            jumps: &c.jumps,
            ways: &ways,
            start: from,
            bytes: to - from,
            instructions: plan.instructions() as u32,
        };
        let block = self.writer.wrap(&region);
        let len = block.0.code.len();
        let Some(id) =
            self.cache
                .insert_region(key, (&block.0, block.1), base, &mut cpu.native.jumps)
        else {
            return;
        };
        let s = &mut self.stats;
        s.regions += 1;
        s.region_instructions += plan.instructions() as u64;
        s.region_bytes += len as u64;
        tracing::debug!(target: "regions", "region at {:#x}: {} instructions, {len} bytes", key.addr.0, plan.instructions());
        if let Some(r) = &mut self.regions {
            let generation = cpu.mmu.ram().generation(frame);
            for b in plan.blocks.iter().skip(1) {
                let addr = GuestPhys(key.addr.0 - key.addr.offset() as u64 + u64::from(b.start));
                r.loops.entry(Key { addr, ..key }).or_default().inside = Some(generation);
            }
        }
        let entry = self.cache.entry(id);
        if self.options.verify {
            self.verify.note_region(entry, plan);
        }
        if self.shows.any() {
            self.show_region(answer.linear, &answer.page[..], &c, entry);
        }
    }

    /// T1's block at a region's head, which leads to the region where it leads to its own start.
    fn base_of_region(&mut self, cpu: &mut Cpu, key: Key, insns: &[Insn]) -> Option<u32> {
        let loops = std::mem::replace(&mut self.writer.loops, false);
        let offset = key.addr.offset() as u32;
        let done = self.writer.translate(key.mode, offset, insns, None);
        let base = match done {
            Ok(b) => {
                let (n, marks) = (b.instructions as usize, b.marks.to_vec());
                let id = self.cache.insert(key, &b, None, &mut cpu.native.jumps);
                id.map(|id| (id, n, marks))
            }
            Err(_) => None,
        };
        self.writer.loops = loops;
        let (id, n, marks) = base?;
        if self.options.verify {
            let entry = self.cache.entry(id);
            let t = Translated {
                linear: key.addr.0,
                addr: key.addr.0,
                insns: &insns[..n],
                host: Vec::new(),
                entry,
                rare: (0, Vec::new()),
                marks,
                rounds: false,
            };
            self.note_steps(&t);
        }
        Some(id)
    }
}

fn way(l: Leave) -> Way {
    match l {
        Leave::To { distance, from } => Way::To { distance, from },
        Leave::Through => Way::Through,
        Leave::Attend { distance } => Way::Attend { distance },
    }
}

/// What stands at the processor's address.
fn key_of(cpu: &mut Cpu) -> Option<Key> {
    if cpu.needs_care() || !crate::enter::translatable(cpu) {
        return None;
    }
    // The guest has not come there yet: a fault is for later, and CR2 with it.
    let cr2 = cpu.cr2;
    let linear = cpu.fetch_address().ok()?;
    let target = cpu.fetch_target(linear);
    cpu.cr2 = cr2;
    match target.ok()? {
        Target::Ram(addr) => Some(Key {
            addr,
            mode: cpu.mode,
        }),
        Target::Bus(_) => None,
    }
}
