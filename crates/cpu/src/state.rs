//! The processor's architectural state.

use crate::block::Blocks;
use crate::model::Model;
use crate::native::Native;
use crate::stats::Counters;
use arch::{Cr0, Cr4, Efer, Mode, Rflags, Seg, Segment, Size};
use bus::{Attention, Bus, IrqLine, LocalApic, StopRequest};
use memory::{Class, Mmu, Paging, Ram};
use semantics::emit::{Cc, CcOp, Flags, OpSize};
use softfloat::F80;
use std::sync::Arc;

/// What a processor is connected to.
#[derive(Clone)]
pub struct Parts {
    pub ram: Arc<Ram>,
    pub bus: Arc<Bus>,
    pub apic: Arc<dyn LocalApic>,
    pub attention: Arc<Attention>,
    pub stop: StopRequest,
}

/// GDTR or IDTR (Vol. 3A, 2.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Table {
    pub base: u64,
    pub limit: u16,
}

/// Status word: TOP.
const TOP: u16 = 7 << 11;

/// x87, MMX and SSE state (Vol. 1, 8.1, 10.2).
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Fpu {
    /// XMM0 to XMM15.
    pub xmm: [u128; 16],
    /// Physical registers R0 to R7: ST(i) is `(TOP + i) & 7`, MMi is the significand of Ri.
    pub r: [F80; 8],
    /// Of each physical register: 0 if it is empty, else all ones.
    pub(crate) tags: [u16; 8],
    pub mxcsr: u32,
    /// Control word.
    pub fcw: u16,
    /// Status word, without TOP: its bits 13:11 mean nothing.
    pub(crate) fsw: u16,
    /// Twice TOP: the distance of ST(0)'s tag, and an eighth of that of its register.
    pub(crate) top: u8,
    /// Last opcode, instruction and data pointers.
    pub fop: u16,
    pub fcs: u16,
    pub fds: u16,
    pub fip: u64,
    pub fdp: u64,
    pub xcr0: u64,
}

impl Fpu {
    /// The state after FNINIT, with the registers left as they are after power-up (Vol. 3A, table 9-1).
    pub fn new() -> Self {
        Self {
            xmm: [0; 16],
            mxcsr: 0x1f80,
            fcw: 0x40,
            fsw: 0,
            top: 0,
            tags: [0xffff; 8],
            fop: 0,
            fcs: 0,
            fds: 0,
            fip: 0,
            fdp: 0,
            r: [F80 {
                significand: 0,
                sign_exponent: 0,
            }; 8],
            xcr0: 1,
        }
    }

    /// The status word (Vol. 1, 8.1.3).
    pub fn status(&self) -> u16 {
        self.fsw & !TOP | u16::from(self.top) << 10
    }

    /// Sets the status word.
    pub fn set_status(&mut self, v: u16) {
        self.fsw = v;
        self.top = (v >> 10) as u8 & 14;
    }

    /// Bit n: physical register n is not empty.
    pub fn valid(&self) -> u8 {
        (0..8).fold(0, |bits, n| {
            bits | u8::from(self.tags[usize::from(n as u8)] != 0) << n
        })
    }

    /// Sets which physical registers are not empty.
    pub fn set_valid(&mut self, bits: u8) {
        self.tags = std::array::from_fn(|n| if bits >> n & 1 == 0 { 0 } else { 0xffff });
    }

    /// All exceptions of the control word are masked.
    pub(crate) fn is_masked(&self) -> bool {
        self.fcw & 0x3f == 0x3f
    }
}

impl PartialEq for Fpu {
    fn eq(&self, other: &Self) -> bool {
        let parts = |f: &Self| {
            let x87 = (f.r, f.tags, f.fcw, f.status());
            let last = (f.fop, f.fcs, f.fip, f.fds, f.fdp);
            (x87, last, f.xmm, f.mxcsr, f.xcr0)
        };
        parts(self) == parts(other)
    }
}

impl Default for Fpu {
    fn default() -> Self {
        Self::new()
    }
}

/// Model-specific registers that hold plain state (Vol. 4).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Msrs {
    pub star: u64,
    pub lstar: u64,
    pub cstar: u64,
    pub fmask: u64,
    pub kernel_gs_base: u64,
    pub tsc_aux: u64,
    pub sysenter_cs: u64,
    pub sysenter_esp: u64,
    pub sysenter_eip: u64,
    pub pat: u64,
    pub misc_enable: u64,
    pub mtrr_def_type: u64,
    pub mtrr_variable: [u64; 16],
    pub mtrr_fixed: [u64; 11],
    pub mcg_status: u64,
    pub spec_ctrl: u64,
    pub debugctl: u64,
    pub xss: u64,
    /// IA32_TSC_ADJUST: what WRMSR to IA32_TSC or it has added to the clock's count.
    pub tsc_adjust: u64,
}

/// Shorter ways that lead to the same results.
#[derive(Clone, Copy, Debug)]
pub struct Shortcuts {
    /// REP MOVS and REP STOS by many iterations.
    pub bulk: bool,
    /// The TLB keeps the address spaces that the guest asks to keep.
    pub address_spaces: bool,
    /// x87 arithmetic on the host's unit, in engines that have it.
    pub x87: bool,
}

impl Default for Shortcuts {
    fn default() -> Self {
        Self {
            bulk: true,
            address_spaces: true,
            x87: true,
        }
    }
}

/// One processor.
///
/// Guest registers first: generated code reaches them with short offsets.
#[repr(C)]
pub struct Cpu {
    /// General registers by encoding.
    pub gpr: [u64; 16],
    /// The offset in CS of the instruction being executed.
    pub rip: u64,
    /// The deferred status flags.
    pub flags: Flags<u64>,
    /// RFLAGS but for the status flags.
    pub system_flags: u64,
    /// The decode-time facts: [`Cpu::update_mode`] works them out from the rest.
    pub mode: Mode,
    /// With which rights data accesses are made, by [`Cpu::update_mode`].
    pub class: Class,
    /// The TLB array that data accesses probe: `class`, or the one that is never filled.
    pub probe: usize,
    /// Current privilege level.
    pub cpl: u8,
    /// STI, MOV SS and POP SS: no interrupt (and, for SS, no debug trap) before the next instruction has ended.
    pub shadow: bool,
    /// An NMI is being handled: others wait until IRET.
    pub nmi_blocked: bool,
    /// HLT: nothing is executed until an event.
    pub halted: bool,
    /// INIT: waits for a start-up IPI.
    pub waiting_for_sipi: bool,
    /// Set by slow paths: the block must be left after this instruction, because code was written.
    pub leave: bool,
    /// Debug exceptions that wait for the end of the instruction: bits of DR6.
    pub pending_debug: u64,
    pub seg: [Segment; 6],
    pub ldtr: Segment,
    pub tr: Segment,
    pub gdtr: Table,
    pub idtr: Table,
    pub cr2: u64,
    pub dr: [u64; 8],
    pub fpu: Fpu,
    /// What generated code keeps beside.
    pub native: Native,
    pub msr: Msrs,
    pub mmu: Mmu,
    pub model: Model,
    pub bus: Arc<Bus>,
    pub apic: Arc<dyn LocalApic>,
    pub attention: Arc<Attention>,
    pub stop: StopRequest,
    /// FERR#: an unmasked x87 exception is pending while CR0.NE = 0. Boards of the PC wire it to IRQ 13.
    pub ferr: IrqLine,
    pub counters: Counters,
    /// An access went to the bus: it cannot be repeated.
    pub outside: bool,
    /// The [`memory::Ram::layout`] that the TLB was filled under.
    pub(crate) layout: u32,
    /// What the processor's own code may do at once that the guest cannot tell from the long way.
    pub shortcuts: Shortcuts,
    /// Taken out while it is walked.
    pub(crate) blocks: Option<Box<Blocks>>,
}

/// The state in which a boot protocol enters a kernel.
#[derive(Clone, Debug)]
pub struct BootState {
    pub gpr: [u64; 16],
    pub rip: u64,
    pub rflags: u64,
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub efer: u64,
    pub cs: Segment,
    pub ds: Segment,
    pub es: Segment,
    pub ss: Segment,
    pub fs: Segment,
    pub gs: Segment,
    pub tr: Segment,
    pub ldtr: Segment,
    /// Base and limit.
    pub gdtr: (u64, u16),
    pub idtr: (u64, u16),
}

impl Cpu {
    /// A processor after RESET#.
    pub fn new(model: Model, parts: Parts) -> Box<Self> {
        let paging = Paging {
            cr0: Cr0::ET,
            cr3: 0,
            cr4: Cr4::empty(),
            efer: Efer::empty(),
            pdptes: [0; 4],
            physical_bits: model.physical_bits(),
            giant_pages: model.features.has(arch::cpuid::Feature::Pdpe1gb),
        };
        let mut cpu = Box::new(Self {
            gpr: [0; 16],
            rip: 0,
            flags: NO_FLAGS,
            system_flags: Rflags::FIXED.bits(),
            mode: Mode::default(),
            class: Class::Supervisor,
            probe: 0,
            cpl: 0,
            shadow: false,
            nmi_blocked: false,
            halted: false,
            waiting_for_sipi: false,
            leave: false,
            pending_debug: 0,
            seg: [Segment::default(); 6],
            ldtr: Segment::default(),
            tr: Segment::default(),
            gdtr: Table::default(),
            idtr: Table::default(),
            cr2: 0,
            dr: [0; 8],
            fpu: Fpu::new(),
            native: Native::default(),
            msr: Msrs::default(),
            mmu: Mmu::new(parts.ram, paging),
            model,
            bus: parts.bus,
            apic: parts.apic,
            attention: parts.attention,
            stop: parts.stop,
            ferr: IrqLine::unconnected(),
            counters: Counters::default(),
            outside: false,
            layout: 0,
            shortcuts: Shortcuts::default(),
            blocks: None,
        });
        cpu.reset();
        cpu
    }

    /// RESET# (Vol. 3A, table 9-1).
    pub fn reset(&mut self) {
        self.init();
        self.fpu = Fpu::new();
        self.ferr.set(false);
        self.msr = Msrs {
            pat: 0x0007_0406_0007_0406,
            misc_enable: 1,
            ..Msrs::default()
        };
        self.mmu.paging.cr0 = Cr0::ET | Cr0::NW | Cr0::CD;
        self.update_mode();
        self.blocks = None;
    }

    /// INIT: as RESET#, but x87, SSE and most MSRs stay (Vol. 3A, table 9-1).
    pub fn init(&mut self) {
        self.gpr = [0; 16];
        self.gpr[usize::from(arch::Gpr::RDX)] = u64::from(self.model.signature());
        self.rip = 0xfff0;
        self.flags = NO_FLAGS;
        self.system_flags = Rflags::FIXED.bits();
        self.seg = [Segment::real(0, Segment::REAL_DATA); 6];
        self.seg[Seg::Cs as usize] = Segment {
            base: 0xffff_0000,
            limit: 0xffff,
            selector: 0xf000,
            attributes: Segment::REAL_CODE,
        };
        self.ldtr = Segment {
            base: 0,
            limit: 0xffff,
            selector: 0,
            attributes: 0x82,
        };
        self.tr = Segment {
            base: 0,
            limit: 0xffff,
            selector: 0,
            attributes: 0x8b,
        };
        self.gdtr = Table {
            base: 0,
            limit: 0xffff,
        };
        self.idtr = Table {
            base: 0,
            limit: 0xffff,
        };
        self.cr2 = 0;
        self.dr = [0; 8];
        self.dr[6] = arch::control::debug::DR6_FIXED;
        self.dr[7] = arch::control::debug::DR7_FIXED;
        self.cpl = 0;
        self.shadow = false;
        self.nmi_blocked = false;
        self.halted = false;
        self.waiting_for_sipi = false;
        self.pending_debug = 0;
        let p = &mut self.mmu.paging;
        p.cr0 = (p.cr0 & (Cr0::CD | Cr0::NW)) | Cr0::ET;
        p.cr3 = 0;
        p.cr4 = Cr4::empty();
        p.efer = Efer::empty();
        self.mmu.tlb.flush();
        self.mmu.tlb.restart_pcids();
        self.update_mode();
    }

    /// Takes over the state in which a boot protocol enters a kernel.
    pub fn set_boot_state(&mut self, b: &BootState) {
        self.reset();
        self.gpr = b.gpr;
        self.rip = b.rip;
        self.seg = [b.es, b.cs, b.ss, b.ds, b.fs, b.gs];
        self.tr = b.tr;
        self.ldtr = b.ldtr;
        self.gdtr = Table {
            base: b.gdtr.0,
            limit: b.gdtr.1,
        };
        self.idtr = Table {
            base: b.idtr.0,
            limit: b.idtr.1,
        };
        let p = &mut self.mmu.paging;
        p.cr0 = Cr0::from_bits_truncate(b.cr0);
        p.cr3 = b.cr3;
        p.cr4 = Cr4::from_bits_truncate(b.cr4);
        p.efer = Efer::from_bits_truncate(b.efer);
        // What firmware leaves behind: everything write-back, but for the last GiB below 4 GiB, where devices are (Vol. 3A, 11.11.2).
        let all = (1u64 << p.physical_bits) - 1;
        self.msr.mtrr_def_type = 0x806;
        self.msr.mtrr_variable[0] = 0xc000_0000;
        self.msr.mtrr_variable[1] = all & !0x3fff_ffff | 0x800;
        self.set_rflags(b.rflags);
    }

    /// RFLAGS, the status flags worked out.
    pub fn rflags(&mut self) -> u64 {
        self.system_flags | semantics::flags::status(self)
    }

    /// Sets all of RFLAGS and what follows from it.
    pub fn set_rflags(&mut self, value: u64) {
        self.replace_rflags(value);
        self.update_mode();
    }

    /// The same before something that calls [`Cpu::update_mode`].
    pub(crate) fn replace_rflags(&mut self, value: u64) {
        let status = value & Rflags::STATUS.bits();
        self.flags = Flags {
            cc: NO_FLAGS.cc,
            res: status,
            src: status,
            dst: status,
        };
        self.system_flags = value & !Rflags::STATUS.bits() | Rflags::FIXED.bits();
    }

    /// A bit of RFLAGS that is not a status flag.
    pub fn system_flag(&self, flag: Rflags) -> bool {
        self.system_flags & flag.bits() != 0
    }

    /// IOPL.
    pub fn iopl(&self) -> u8 {
        (self.system_flags >> 12 & 3) as u8
    }

    /// The segment register.
    pub fn segment(&self, seg: Seg) -> &Segment {
        &self.seg[seg as usize]
    }

    /// Makes `mode` follow MXCSR and FCW, which change without [`Cpu::update_mode`].
    pub fn refresh_fp_mode(&mut self) {
        if (self.fpu.mxcsr & 0x1f80 == 0x1f80) != self.mode.fp_masked()
            || (self.shortcuts.x87 && self.fpu.is_masked()) != self.mode.x87_masked()
        {
            self.update_mode();
        }
    }

    /// Works out `mode`, `class` and `probe`: to be called after a change of segment registers, control registers, EFER, CPL, DR7
    /// or RFLAGS' system bits.
    pub fn update_mode(&mut self) {
        let p = &self.mmu.paging;
        let vm = self.system_flag(Rflags::VM);
        let long = p.efer.contains(Efer::LMA);
        let cs = self.segment(Seg::Cs);
        let code = if long && cs.long() {
            Size::B64
        } else if cs.default_big() {
            Size::B32
        } else {
            Size::B16
        };
        let flat = code == Size::B64
            || [Seg::Ds, Seg::Es, Seg::Ss].iter().all(|&s| {
                let s = self.segment(s);
                s.base == 0
                    && s.limit == u32::MAX
                    && s.present()
                    && s.writable()
                    && !s.expand_down()
            });
        let user_pages = !p.cr4.contains(Cr4::SMAP) || self.system_flag(Rflags::AC);
        let aligned = self.cpl == 3 && p.cr0.contains(Cr0::AM) && self.system_flag(Rflags::AC);
        // DR7: an enabled breakpoint whose R/W field asks for data (Vol. 3B, 17.2.4).
        let dr7 = self.dr[7];
        let watched = (0..4).any(|n| dr7 >> (2 * n) & 3 != 0 && dr7 >> (16 + 4 * n) & 1 != 0);
        let mut bits = 0;
        let mut on = |condition: bool, bit: u32| {
            if condition {
                bits |= bit;
            }
        };
        // In 64-bit mode nobody looks: SYSCALL loads an SS with B set and interrupts a null one, and both run the same kernel.
        let stack32 = self.segment(Seg::Ss).default_big() && code != Size::B64;
        on(stack32, Mode::STACK32);
        on(p.cr0.contains(Cr0::PE) && !vm, Mode::PROTECTED);
        on(vm, Mode::VM86);
        on(long, Mode::LONG);
        on(flat, Mode::FLAT);
        on(user_pages, Mode::USER_PAGES);
        on(self.system_flag(Rflags::TF), Mode::TRAP);
        on(p.cr0.contains(Cr0::EM), Mode::EM);
        on(p.cr0.contains(Cr0::TS), Mode::TS);
        on(p.cr0.contains(Cr0::MP), Mode::MP);
        on(p.cr4.contains(Cr4::OSFXSR), Mode::OSFXSR);
        on(watched || aligned, Mode::CHECKED);
        on(self.fpu.mxcsr & 0x1f80 == 0x1f80, Mode::FP_MASKED);
        on(self.shortcuts.x87 && self.fpu.is_masked(), Mode::X87_MASKED);
        self.mode = Mode::new(code, self.cpl, bits);
        self.class = match (self.cpl == 3, user_pages) {
            (true, _) => Class::User,
            (false, true) => Class::SupervisorAc,
            (false, false) => Class::Supervisor,
        };
        // 64-bit code has no limits.
        let limited = Seg::ALL.into_iter().filter(|_| code != Size::B64);
        for seg in limited {
            let s = self.seg[seg as usize];
            let end = u64::from(s.limit) + 1;
            let plain = s.present() || !self.mode.protected();
            let readable = plain && s.readable() && !s.expand_down();
            let writable = plain && (s.writable() || !self.mode.protected()) && !s.expand_down();
            self.native.read_limits[seg as usize] = if readable { end } else { 0 };
            self.native.write_limits[seg as usize] = if writable { end } else { 0 };
        }
        self.probe = if self.mode.checked() {
            memory::CHECKED
        } else {
            self.class as usize
        };
    }
}

/// All status flags clear.
pub const NO_FLAGS: Flags<u64> = Flags {
    cc: Cc {
        op: CcOp::Bits,
        size: OpSize::B64,
    },
    res: 0,
    src: 0,
    dst: 0,
};
