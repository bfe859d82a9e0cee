//! A block in both engines, in several ways, compared.

use super::world::{PAGES, PRESENT, WRITABLE, World, linear, pristine};
use super::{Block, Start};
use crate::case::{Bits, CODE};
use arch::Fault;
use bus::Attention;
use cpu::Cpu;
use engine::Engine;
use std::fmt::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most instructions of a run.
pub const LIMIT: u64 = 150;

/// The translator that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// The one-pass translator alone.
    T1,
    /// Every block that it translates becomes a region too.
    T2,
}

/// How a block ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With nothing in the TLB.
    Cold,
    /// Attention is asked for: the translator comes back as soon as it may.
    Attention,
    /// From the boundary behind so many instructions.
    Resumed(u64),
    /// With a page that is not there, or cannot be written.
    Fault { page: u64, write: bool },
}

/// How the engines differed.
#[derive(Debug)]
pub struct Difference {
    pub way: Way,
    /// Name, evaluator's, translator's.
    pub what: Vec<(String, String, String)>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  {:x?}: evaluator, translator", self.way)?;
        for (name, a, b) in &self.what {
            writeln!(f, "    {name:<10} {a:<36} {b}")?;
        }
        Ok(())
    }
}

type Outcome = Result<(), Vec<(String, String, String)>>;

/// Both engines with their worlds.
pub struct Checker {
    eval: World,
    jit: World,
    engine: Engine,
    /// Runs begun: a watchdog sees by it that something moves.
    pub beats: Arc<AtomicU64>,
    /// Runs compared.
    pub runs: u64,
    /// Instructions retired by the translator, and how many of them it left to the evaluator.
    pub retired: u64,
}

impl Checker {
    pub fn new(tier: Tier) -> Result<Self, engine::Error> {
        let options = engine::Options {
            regions: tier == Tier::T2,
            tier_threshold: 0,
            jit_threads: 0,
            straight: true,
            code_cache: 4 << 20,
            // How many iterations one step does depends on the TLB, which the engines fill in different order.
            rep: false,
            ..engine::Options::default()
        };
        // Everything is to be translated.
        let mut options = options;
        options.switch_off("no-warm-up");
        let bytes = pristine();
        let mut eval = World::new(bytes.clone());
        eval.cpu.shortcuts.bulk = false;
        Ok(Self {
            eval,
            jit: World::new(bytes),
            engine: Engine::new(options)?,
            beats: Arc::default(),
            runs: 0,
            retired: 0,
        })
    }

    /// What makes generated code come back.
    pub fn attention(&self) -> Arc<Attention> {
        self.jit.cpu.attention.clone()
    }

    /// How often regions were entered.
    pub fn region_entries(&self) -> u64 {
        self.jit.cpu.native.regions
    }

    /// The translator's counters.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Runs the block in all ways; `n` chooses where it is resumed.
    pub fn check(&mut self, block: &Block, start: &Start, n: u64) -> Result<(), Difference> {
        let code = block.assemble();
        self.bytes(block.bits, block.at, &code, start, n)
    }

    /// The same for bytes at an offset of the code pages.
    pub fn bytes(
        &mut self,
        bits: Bits,
        at: u64,
        code: &[u8],
        start: &Start,
        n: u64,
    ) -> Result<(), Difference> {
        for w in [&mut self.eval, &mut self.jit] {
            w.lay(at, code);
            w.remap();
        }
        let r = self.ways(bits, at, start, n);
        self.jit.cpu.attention.take(!0);
        let all = (1 << PAGES) - 1;
        if r.is_err() {
            self.eval.restore(all);
            self.jit.restore(all);
        }
        r
    }

    fn ways(&mut self, bits: Bits, at: u64, start: &Start, n: u64) -> Result<(), Difference> {
        let fail = |way| move |what| Difference { way, what };
        self.load(start, bits, at);
        let (count, fault) = self.eval.evaluate(LIMIT);
        let mut pages = 0u32;
        for p in 0..PAGES {
            pages |= u32::from(self.eval.marks(p) != 0) << p;
        }
        if fault.is_some() {
            let r = self.alone(count, fault, pages);
            r.map_err(fail(Way::Cold))?;
        }
        self.restore(pages);
        self.load(start, bits, at);
        self.together(pages).map_err(fail(Way::Attention))?;
        let written: Vec<_> = (0..PAGES)
            .map(|p| (self.eval.marks(p) >> 6 | self.eval.marks(p) >> 14) & 1 != 0)
            .collect();
        if fault.is_some() && count > 1 {
            let k = 1 + n % (count - 1);
            self.restore(pages);
            self.eval.load(start, bits, at);
            let (done, early) = self.eval.evaluate(k);
            if done == k && early.is_none() {
                self.jit.take(&mut self.eval);
                for p in (0..PAGES).filter(|p| pages >> p & 1 != 0) {
                    self.jit.copy_page(p, &self.eval);
                }
                let (count, fault) = self.eval.evaluate(LIMIT);
                if fault.is_some() {
                    let r = self.alone(count, fault, pages);
                    r.map_err(fail(Way::Resumed(k)))?;
                }
            }
        }
        for p in (0..PAGES).filter(|p| pages >> p & 1 != 0) {
            for write in [false, true] {
                if write && !written[p] {
                    continue;
                }
                let away = if write { WRITABLE } else { PRESENT };
                self.eval.restrict(p, away);
                self.jit.restrict(p, away);
                self.restore(pages);
                self.load(start, bits, at);
                let (count, fault) = self.eval.evaluate(LIMIT);
                let r = if fault.is_some() {
                    self.alone(count, fault, pages)
                } else {
                    self.restore(pages);
                    self.load(start, bits, at);
                    self.together(pages)
                };
                self.eval.allow(p);
                self.jit.allow(p);
                let page = linear(p)[0];
                r.map_err(fail(Way::Fault { page, write }))?;
            }
        }
        self.restore(pages);
        Ok(())
    }

    fn load(&mut self, start: &Start, bits: Bits, at: u64) {
        self.eval.load(start, bits, at);
        self.jit.load(start, bits, at);
    }

    fn restore(&self, pages: u32) {
        self.eval.restore(pages);
        self.jit.restore(pages);
    }

    /// One step of the translator: instructions retired, and the fault.
    fn step(&mut self) -> (u64, Option<Fault>) {
        let cpu = &mut *self.jit.cpu;
        let before = cpu.counters.instructions;
        let fault = self.engine.step(cpu).err();
        (cpu.counters.instructions.wrapping_sub(before), fault)
    }

    /// The translator after the evaluator, which ended after `count` instructions with `fault`.
    fn alone(&mut self, count: u64, fault: Option<Fault>, pages: u32) -> Outcome {
        self.begin();
        let (mut done, mut raised) = (0, None);
        while raised.is_none() && done <= count {
            let (n, f) = self.step();
            (done, raised) = (done + n, f);
        }
        self.retired += done;
        self.compare(count, fault, done, raised, Some(pages))
    }

    /// Both in turn, the translator with attention asked for, compared wherever it comes back.
    fn together(&mut self, pages: u32) -> Outcome {
        self.begin();
        self.jit.cpu.attention.raise(Attention::INTR);
        let (mut done, mut still) = (0, 0);
        loop {
            let (n, raised) = self.step();
            let (count, mut fault) = self.eval.evaluate(n);
            if raised.is_some() && fault.is_none() && count == n {
                // The fault is that of the next instruction.
                let (more, f) = self.eval.evaluate(1);
                fault = f;
                if more != 0 {
                    return Err(vec![fault_difference(fault, raised)]);
                }
            }
            done += n;
            still = if n == 0 { still + 1 } else { 0 };
            let last = raised.is_some() || fault.is_some() || done >= LIMIT || still > 4;
            self.compare(count, fault, n, raised, last.then_some(pages))?;
            if last {
                break;
            }
        }
        self.retired += done;
        self.jit.cpu.attention.take(!0);
        Ok(())
    }

    fn begin(&mut self) {
        self.runs += 1;
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Registers; and memory of some pages, with the marks of all.
    fn compare(
        &mut self,
        count: u64,
        fault: Option<Fault>,
        done: u64,
        raised: Option<Fault>,
        pages: Option<u32>,
    ) -> Outcome {
        self.jit.cpu.refresh_fp_mode();
        let (a, b) = (&mut *self.eval.cpu, &mut *self.jit.cpu);
        let mut what = Vec::new();
        if count != done {
            what.push(("retired".into(), count.to_string(), done.to_string()));
        }
        if fault != raised {
            what.push(fault_difference(fault, raised));
        }
        let (fa, fb) = (a.rflags(), b.rflags());
        let same = a.gpr == b.gpr
            && a.rip == b.rip
            && fa == fb
            && a.fpu == b.fpu
            && a.seg == b.seg
            && a.mode == b.mode
            && a.cr2 == b.cr2
            && (a.cpl, a.shadow, a.pending_debug) == (b.cpl, b.shadow, b.pending_debug);
        if !same {
            registers(a, b, &mut what);
        }
        if let Some(pages) = pages {
            let (mut x, mut y) = ([0; 0x1000], [0; 0x1000]);
            for p in 0..PAGES {
                let (m, n) = (self.eval.marks(p), self.jit.marks(p));
                if m != n {
                    let name = format!("marks {:x}", linear(p)[0]);
                    what.push((name, format!("{m:x}"), format!("{n:x}")));
                }
                if pages >> p & 1 == 0 {
                    continue;
                }
                self.eval.page(p, &mut x);
                self.jit.page(p, &mut y);
                if x != y {
                    let first = x.iter().zip(&y).position(|(x, y)| x != y).unwrap_or(0) & !7;
                    let hex = |b: &[u8; 0x1000]| {
                        let mut s = String::new();
                        for b in &b[first..(first + 16).min(0x1000)] {
                            let _ = write!(s, "{b:02x} ");
                        }
                        s
                    };
                    let name = format!("[{:x}]", linear(p)[0] + first as u64);
                    what.push((name, hex(&x), hex(&y)));
                }
            }
        }
        if what.is_empty() { Ok(()) } else { Err(what) }
    }
}

fn fault_difference(a: Option<Fault>, b: Option<Fault>) -> (String, String, String) {
    let name = |f: Option<Fault>| match f {
        Some(f) => format!("{:?}({:x})", f.exception, f.error_code),
        None => "none".into(),
    };
    ("fault".into(), name(a), name(b))
}

fn registers(a: &mut Cpu, b: &mut Cpu, what: &mut Vec<(String, String, String)>) {
    let mut put = |name: &str, x: String, y: String| {
        if x != y {
            what.push((name.to_string(), x, y));
        }
    };
    const NAMES: [&str; 16] = [
        "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
        "r13", "r14", "r15",
    ];
    for (n, name) in NAMES.iter().enumerate() {
        put(
            name,
            format!("{:016x}", a.gpr[n]),
            format!("{:016x}", b.gpr[n]),
        );
    }
    put("rip", format!("{:x}", a.rip), format!("{:x}", b.rip));
    put(
        "rflags",
        format!("{:08x}", a.rflags()),
        format!("{:08x}", b.rflags()),
    );
    put("cr2", format!("{:x}", a.cr2), format!("{:x}", b.cr2));
    put("mode", format!("{:x}", a.mode.0), format!("{:x}", b.mode.0));
    let rest = |c: &Cpu| format!("{:?}", (c.cpl, c.shadow, c.pending_debug));
    put("cpl, ...", rest(a), rest(b));
    for n in 0..6 {
        put(
            "segment",
            format!("{:x?}", a.seg[n]),
            format!("{:x?}", b.seg[n]),
        );
    }
    for n in 0..16 {
        let hex = |c: &Cpu| format!("{:032x}", c.fpu.xmm[n]);
        put(&format!("xmm{n}"), hex(a), hex(b));
    }
    for n in 0..8 {
        let hex = |c: &Cpu| {
            let r = c.fpu.r[n];
            format!("{:04x}_{:016x}", r.sign_exponent, r.significand)
        };
        put(&format!("x87 r{n}"), hex(a), hex(b));
    }
    let control = |c: &Cpu| {
        let f = &c.fpu;
        format!(
            "mxcsr {:x} fcw {:x} fsw {:x} valid {:x}",
            f.mxcsr,
            f.fcw,
            f.status(),
            f.valid()
        )
    };
    put("control", control(a), control(b));
    let last = |c: &Cpu| {
        let f = &c.fpu;
        format!("{:x?}", (f.fop, f.fcs, f.fip, f.fds, f.fdp))
    };
    put("x87 last", last(a), last(b));
}

/// Code in guest assembly.
pub fn listing(bits: Bits, at: u64, code: &[u8]) -> Vec<String> {
    let base = CODE + at;
    let mut decoder =
        iced_x86::Decoder::with_ip(bits.count(), code, base, iced_x86::DecoderOptions::NONE);
    let mut lines = Vec::new();
    while decoder.can_decode() {
        let from = decoder.position();
        let i = decoder.decode();
        let mut line = format!("{:x}  ", i.ip());
        for b in &code[from..decoder.position()] {
            let _ = write!(line, "{b:02x}");
        }
        lines.push(format!("{line:<44}{}", text(&i)));
    }
    lines
}

fn text(i: &iced_x86::Instruction) -> String {
    use iced_x86::Formatter;
    let mut out = String::new();
    iced_x86::IntelFormatter::new().format(i, &mut out);
    out
}
