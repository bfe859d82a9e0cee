//! The evaluator (`cpu`) as an [`Engine`]: a small guest in which user mode sees the same world as the native child's.
//!
//! Long mode with four-level paging: the regions of [`case`] at their addresses for user mode, and above them, for the supervisor alone,
//! a GDT with Linux's selectors, the LDT, a TSS without I/O bitmap and an IDT whose only use is INTO's gate.

pub mod real;

use crate::case::{
    self, Access, Bits, CHUNK, Case, Chunk, Fault, LDT, LdtEntry, Outcome, REGIONS, SegKind,
    pattern, sreg,
};
use crate::compare::Engine;
use arch::cpuid::{Feature, FeatureSet};
use arch::{Cr0, Cr4, Descriptor, Efer, Exception, GuestPhys, Segment};
use bus::clock::{Clock, Pace};
use bus::{Attention, Bus, LocalApic, StopRequest};
use cpu::{BootState, Cpu, Model, Parts};
use memory::Ram;
use std::sync::Arc;

/// A local APIC of which nobody asks anything.
struct NoApic;

impl LocalApic for NoApic {
    fn has_interrupt(&self) -> bool {
        false
    }
    fn acknowledge(&self) -> Option<u8> {
        None
    }
    fn take_sipi(&self) -> Option<u8> {
        None
    }
    fn cr8(&self) -> u8 {
        0
    }
    fn set_cr8(&self, _: u8) {}
    fn read_msr(&self, _: u32) -> Option<u64> {
        None
    }
    fn write_msr(&self, _: u32, _: u64) -> bool {
        false
    }
    fn mmio_base(&self) -> Option<u64> {
        None
    }
    fn mmio_read(&self, _: u64) -> u32 {
        u32::MAX
    }
    fn mmio_write(&self, _: u64, _: u32) {}
    fn id(&self) -> u32 {
        0
    }
    fn init(&self) {}
}

/// A processor of the default model with `bytes` of RAM and no devices.
fn processor(bytes: u64) -> (Box<Cpu>, Arc<Ram>) {
    let ram = Ram::new(bytes).expect("the host has memory for a test guest");
    let attention = Arc::new(Attention::default());
    let parts = Parts {
        ram: ram.clone(),
        bus: Arc::new(Bus::new(Clock::new(Pace::Instructions {
            ns_per_1024: 1024,
        }))),
        apic: Arc::new(NoApic),
        attention: attention.clone(),
        stop: StopRequest::new(vec![attention]),
    };
    // All that the table has, whichever models show it.
    let mut model = Model::by_name("x86-64-v2").expect("the default model exists");
    model.features = Feature::ALL
        .iter()
        .fold(FeatureSet::EMPTY, |set, &f| set.with(f));
    (Cpu::new(model, parts), ram)
}

/// Where the supervisor's structures lie, linear; physical is the same less [`KERNEL`].
const KERNEL: u64 = 0xffff_ff00_0000_0000;
const GDT_AT: u64 = 0x1000;
const LDT_AT: u64 = 0x2000;
const TSS_AT: u64 = 0x3000;
const IDT_AT: u64 = 0x4000;
const HANDLER_AT: u64 = 0x6000;
const KERNEL_STACK: u64 = 0x8000;
pub(crate) const TABLES: u64 = 0x10_0000;
/// Physical address of the first region; they follow each other.
const WORLD: u64 = 0x20_0000;
const RAM_BYTES: u64 = 0x40_0000;

const LDT_SELECTOR: u16 = 0x48;
const TSS_SELECTOR: u16 = 0x40;
const KERNEL_CS: u16 = 0x10;

const fn descriptor(base: u64, limit: u64, kind: u64, flags: u64) -> u64 {
    (limit & 0xffff)
        | (base & 0xff_ffff) << 16
        | kind << 40
        | (limit >> 16 & 0xf) << 48
        | flags << 52
        | (base >> 24 & 0xff) << 56
}

/// Linux's GDT as far as user mode can tell: arch/x86/include/asm/segment.h.
const GDT: [u64; 7] = [
    0,
    descriptor(0, 0xf_ffff, 0x9b, 0xc),
    descriptor(0, 0xf_ffff, 0x9b, 0xa),
    descriptor(0, 0xf_ffff, 0x93, 0xc),
    descriptor(0, 0xf_ffff, 0xfb, 0xc),
    descriptor(0, 0xf_ffff, 0xf3, 0xc),
    descriptor(0, 0xf_ffff, 0xfb, 0xa),
];

fn ldt_descriptor(e: &LdtEntry) -> u64 {
    let kind = match e.kind {
        SegKind::Data => 0xf3,
        SegKind::DataReadOnly => 0xf1,
        SegKind::ExpandDown => 0xf7,
        SegKind::Code => 0xfb,
        SegKind::CodeOnly => 0xf9,
    };
    let kind = if e.present { kind } else { kind & !0x80 };
    // Linux sets AVL from `useable`.
    descriptor(
        u64::from(e.base),
        u64::from(e.limit),
        kind,
        u64::from(e.pages) << 3 | u64::from(e.big) << 2 | 1,
    )
}

/// The evaluator with its world.
pub struct Evaluator {
    pub(crate) cpu: Box<Cpu>,
    pub(crate) ram: Arc<Ram>,
    pristine: Vec<u8>,
    before: Vec<u8>,
    after: Vec<u8>,
    boot: BootState,
    /// The translator, where it is under test.
    #[cfg(target_arch = "x86_64")]
    translator: Option<engine::Engine>,
}

impl Default for Evaluator {
    fn default() -> Self {
        Self::new()
    }
}

impl Evaluator {
    /// Build the guest.
    pub fn new() -> Self {
        let (mut cpu, ram) = processor(RAM_BYTES);
        let put = |at: u64, bytes: &[u8]| ram.write(GuestPhys(at), bytes).expect("inside RAM");
        let words = |at: u64, words: &[u64]| {
            for (n, w) in words.iter().enumerate() {
                put(at + 8 * n as u64, &w.to_le_bytes());
            }
        };
        words(GDT_AT, &GDT);
        let system =
            |base: u64, limit: u64, kind: u64| [descriptor(base, limit, kind, 0), base >> 32];
        words(
            GDT_AT + u64::from(TSS_SELECTOR),
            &system(KERNEL + TSS_AT, 0x67, 0x8b),
        );
        words(
            GDT_AT + u64::from(LDT_SELECTOR),
            &system(KERNEL + LDT_AT, LDT.len() as u64 * 8 - 1, 0x82),
        );
        for (n, e) in LDT.iter().enumerate() {
            if let Some(e) = e {
                words(LDT_AT + 8 * n as u64, &[ldt_descriptor(e)]);
            }
        }
        put(TSS_AT + 4, &(KERNEL + KERNEL_STACK).to_le_bytes());
        put(TSS_AT + 0x66, &0x68u16.to_le_bytes());
        for vector in 0..256 {
            let to = KERNEL + HANDLER_AT + 16 * vector;
            // A 64-bit interrupt gate of DPL 3.
            words(
                IDT_AT + 16 * vector,
                &[
                    (to & 0xffff)
                        | u64::from(KERNEL_CS) << 16
                        | 0xee << 40
                        | (to >> 16 & 0xffff) << 48,
                    to >> 32,
                ],
            );
        }
        let mut tables = Tables {
            ram: ram.clone(),
            next: TABLES + 0x1000,
        };
        for page in (0..0x10_000).step_by(0x1000) {
            tables.map(KERNEL + page, page, 0x63);
        }
        let mut at = WORLD;
        for r in &REGIONS {
            let bits = match r.access {
                Access::Code => 0x67,
                Access::Data => 1 << 63 | 0x67,
                Access::ReadOnly => 1 << 63 | 0x65,
            };
            for page in (0..r.len as u64).step_by(0x1000) {
                tables.map(r.base + page, at + page, bits);
            }
            at += r.len as u64;
        }
        let pristine: Vec<u8> = REGIONS
            .iter()
            .flat_map(|r| (r.base..r.base + r.len as u64).map(pattern))
            .collect();
        put(WORLD, &pristine);
        let boot = boot_state();
        cpu.set_boot_state(&boot);
        Self {
            cpu,
            ram,
            before: pristine.clone(),
            after: pristine.clone(),
            pristine,
            boot,
            #[cfg(target_arch = "x86_64")]
            translator: None,
        }
    }

    /// The same world with the one-pass translator, an instruction a block, as the engine.
    #[cfg(target_arch = "x86_64")]
    pub fn translated() -> Result<Self, engine::Error> {
        let options = engine::Options {
            chain: false,
            jump_cache: false,
            block: 1,
            ..engine::Options::default()
        };
        Ok(Self {
            translator: Some(engine::Engine::new(options)?),
            ..Self::new()
        })
    }

    fn step(&mut self) -> Result<(), arch::Fault> {
        #[cfg(target_arch = "x86_64")]
        if let Some(t) = &mut self.translator {
            return t.step(&mut self.cpu);
        }
        self.cpu.step()
    }

    /// The processor, for a look at its counters.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    fn lay(&mut self, addr: u64, bytes: &[u8]) {
        let Some(at) = offset(addr) else { return };
        let end = (at + bytes.len()).min(self.before.len());
        self.before[at..end].copy_from_slice(&bytes[..end - at]);
        let _ = self
            .ram
            .write(GuestPhys(WORLD + at as u64), &bytes[..end - at]);
    }

    fn unlay(&mut self, addr: u64, len: usize) {
        let Some(at) = offset(addr) else { return };
        let end = (at + len).min(self.before.len());
        self.before[at..end].copy_from_slice(&self.pristine[at..end]);
        let _ = self
            .ram
            .write(GuestPhys(WORLD + at as u64), &self.pristine[at..end]);
    }

    fn load(&mut self, case: &Case) {
        let s = &case.state;
        let cpu = &mut self.cpu;
        cpu.gpr = s.gpr;
        cpu.rip = s.rip;
        cpu.cpl = 3;
        cpu.shadow = false;
        cpu.leave = false;
        cpu.pending_debug = 0;
        cpu.cr2 = 0;
        for (n, &selector) in s.seg.iter().enumerate() {
            cpu.seg[n] = segment(selector);
        }
        if case.bits == Bits::B64 {
            cpu.seg[sreg::FS].base = case::FS_BASE;
            cpu.seg[sreg::GS].base = case::GS_BASE;
        }
        load_fpu(&mut cpu.fpu, s);
        cpu.set_rflags(s.rflags);
    }

    /// The end of INTO: the gate was taken, and the frame tells where user mode was left.
    fn take_from_gate(&mut self) -> Option<Fault> {
        if self.cpu.cpl == 3 {
            return None;
        }
        let vector = (self.cpu.rip.wrapping_sub(KERNEL + HANDLER_AT) / 16) as u8;
        let sp = self.cpu.gpr[4].wrapping_sub(KERNEL);
        let word = |n: u64| self.ram.load::<u64>(GuestPhys(sp + 8 * n)).unwrap_or(0);
        let (rip, cs, flags, rsp, ss) = (word(0), word(1), word(2), word(3), word(4));
        self.cpu.rip = rip;
        self.cpu.gpr[4] = rsp;
        self.cpu.seg[sreg::CS] = segment(cs as u16);
        self.cpu.seg[sreg::SS] = segment(ss as u16);
        self.cpu.cpl = 3;
        self.cpu.set_rflags(flags);
        Some(Fault {
            vector,
            error: 0,
            cr2: 0,
        })
    }

    fn collect(&mut self) -> Vec<Chunk> {
        let _ = self.ram.read(GuestPhys(WORLD), &mut self.after);
        let mut changed = Vec::new();
        let mut at = 0;
        for r in &REGIONS {
            for chunk in (at..at + r.len).step_by(CHUNK) {
                let (was, now) = (
                    &self.before[chunk..chunk + CHUNK],
                    &self.after[chunk..chunk + CHUNK],
                );
                if was != now {
                    changed.push(Chunk {
                        addr: r.base + (chunk - at) as u64,
                        bytes: std::array::from_fn(|i| now[i]),
                    });
                    let _ = self.ram.write(GuestPhys(WORLD + chunk as u64), was);
                }
            }
            at += r.len;
        }
        changed
    }
}

impl Engine for Evaluator {
    fn run(&mut self, case: &Case) -> Outcome {
        let code = case.state.rip + case.bits.cs_base();
        for p in &case.mem {
            self.lay(p.addr, &p.bytes);
        }
        self.lay(code, &case.code);
        self.load(case);
        let mut fault = None;
        // A step is one iteration of a repeated string instruction.
        for _ in 0..100_000 {
            match self.step() {
                Ok(()) if self.cpu.rip == case.state.rip => {}
                Ok(()) => break,
                Err(f) => {
                    let cr2 = if f.exception == Exception::PF {
                        self.cpu.cr2
                    } else {
                        0
                    };
                    fault = Some(Fault {
                        vector: f.exception as u8,
                        error: f.error_code,
                        cr2,
                    });
                    break;
                }
            }
        }
        fault = fault.or_else(|| self.take_from_gate());
        let mem = self.collect();
        for p in &case.mem {
            self.unlay(p.addr, p.bytes.len());
        }
        self.unlay(code, case.code.len());
        let cpu = &mut self.cpu;
        let mut fx = [0; 512];
        store_fpu(&cpu.fpu, &mut fx);
        let state = case::State {
            gpr: cpu.gpr,
            rip: cpu.rip,
            rflags: cpu.rflags(),
            seg: std::array::from_fn(|n| cpu.seg[n].selector),
            fx,
        };
        self.restore_mode();
        Outcome { state, fault, mem }
    }
}

impl Evaluator {
    /// User mode cannot change control registers; but should a bug let it, the next case starts clean.
    fn restore_mode(&mut self) {
        let p = &self.cpu.mmu.paging;
        if p.cr3 != self.boot.cr3
            || p.cr0.bits() != self.boot.cr0
            || self.cpu.gdtr.base != self.boot.gdtr.0
        {
            self.cpu.set_boot_state(&self.boot);
        }
    }
}

/// Offset of `addr` in the world.
fn offset(addr: u64) -> Option<usize> {
    let mut at = 0;
    for r in &REGIONS {
        if addr.wrapping_sub(r.base) < r.len as u64 {
            return Some(at + (addr - r.base) as usize);
        }
        at += r.len;
    }
    None
}

/// A segment register as loading `selector` leaves it.
pub(crate) fn segment(selector: u16) -> Segment {
    let raw = match selector {
        0..=3 => {
            return Segment {
                selector,
                ..Segment::default()
            };
        }
        s if s & 4 != 0 => LDT
            .get(usize::from(s >> 3))
            .copied()
            .flatten()
            .as_ref()
            .map_or(0, ldt_descriptor),
        s => GDT.get(usize::from(s >> 3)).copied().unwrap_or(0),
    };
    Segment::from_descriptor(selector, Descriptor(raw))
}

fn boot_state() -> BootState {
    let system = |base: u64, limit: u32, selector: u16, attributes: u16| Segment {
        base,
        limit,
        selector,
        attributes,
    };
    let data = segment(case::USER_DS);
    BootState {
        gpr: [0; 16],
        rip: 0,
        rflags: 2,
        cr0: (Cr0::PE | Cr0::MP | Cr0::ET | Cr0::NE | Cr0::WP | Cr0::AM | Cr0::PG).bits(),
        cr3: TABLES,
        cr4: (Cr4::PSE | Cr4::PAE | Cr4::PGE | Cr4::OSFXSR | Cr4::OSXMMEXCPT | Cr4::FSGSBASE)
            .bits(),
        efer: (Efer::SCE | Efer::LME | Efer::LMA | Efer::NXE).bits(),
        cs: segment(case::USER64_CS),
        ds: data,
        es: data,
        ss: data,
        fs: data,
        gs: data,
        tr: system(KERNEL + TSS_AT, 0x67, TSS_SELECTOR, 0x8b),
        ldtr: system(
            KERNEL + LDT_AT,
            LDT.len() as u32 * 8 - 1,
            LDT_SELECTOR,
            0x82,
        ),
        gdtr: (KERNEL + GDT_AT, 0x57),
        idtr: (KERNEL + IDT_AT, 0xfff),
    }
}

/// Page tables, built from the bottom of their area.
struct Tables {
    ram: Arc<Ram>,
    next: u64,
}

impl Tables {
    fn map(&mut self, linear: u64, physical: u64, bits: u64) {
        let mut table = TABLES;
        for level in (1..4).rev() {
            let at = table + (linear >> (12 + 9 * level) & 0x1ff) * 8;
            let entry = self.ram.load::<u64>(GuestPhys(at)).expect("inside RAM");
            table = if entry & 1 != 0 {
                entry & !0xfff
            } else {
                self.add(at)
            };
        }
        self.put(table + (linear >> 12 & 0x1ff) * 8, physical | bits);
    }

    fn add(&mut self, at: u64) -> u64 {
        let table = self.next;
        self.next += 0x1000;
        self.put(at, table | 0x67);
        table
    }

    fn put(&self, at: u64, value: u64) {
        self.ram
            .write(GuestPhys(at), &value.to_le_bytes())
            .expect("inside RAM");
    }
}

pub(crate) fn load_fpu(f: &mut cpu::state::Fpu, s: &case::State) {
    f.fcw = s.fx16(0);
    f.set_status(s.fx16(2));
    f.set_valid(s.fx[4]);
    f.mxcsr = s.mxcsr();
    let top = usize::from(f.status() >> 11 & 7);
    for i in 0..8 {
        let v = s.st(i);
        let r = &mut f.r[(top + i) & 7];
        r.significand = u64::from_le_bytes(std::array::from_fn(|k| v[k]));
        r.sign_exponent = u16::from_le_bytes([v[8], v[9]]);
    }
    for i in 0..16 {
        f.xmm[i] = s.xmm(i);
    }
}

fn store_fpu(f: &cpu::state::Fpu, fx: &mut [u8; 512]) {
    fx[..2].copy_from_slice(&f.fcw.to_le_bytes());
    fx[2..4].copy_from_slice(&f.status().to_le_bytes());
    fx[4] = f.valid();
    fx[24..28].copy_from_slice(&f.mxcsr.to_le_bytes());
    let top = usize::from(f.status() >> 11 & 7);
    for i in 0..8 {
        let r = &f.r[(top + i) & 7];
        fx[32 + 16 * i..40 + 16 * i].copy_from_slice(&r.significand.to_le_bytes());
        fx[40 + 16 * i..42 + 16 * i].copy_from_slice(&r.sign_exponent.to_le_bytes());
    }
    for i in 0..16 {
        fx[160 + 16 * i..176 + 16 * i].copy_from_slice(&f.xmm[i].to_le_bytes());
    }
}
