//! Delivery of exceptions and interrupts (Vol. 3A, chapter 6; 20.1.4 and 20.3 for real-address and virtual-8086 mode).
//!
//! Invariant: a delivery that faults leaves registers as they were (a task switch past its point of no return apart), so that the next
//! delivery starts from the same state.

use crate::helpers::access::{Stack, load_system};
use crate::helpers::far::{Target, code_segment, inner_stack, stack_pointer_of};
use crate::helpers::segment::{bad, fetch, load_real, null, touch};
use crate::helpers::task::{self, Switch};
use crate::state::Cpu;
use arch::control::debug;
use arch::{Descriptor, Exception, Fault, Rflags, Seg, Selector, Size};
use bus::{ResetSource, StopReason};

/// What is delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// An exception: RIP is what its handler shall see (for faults the instruction itself).
    Exception(Fault),
    /// An external interrupt between two instructions.
    External(u8),
    /// A non-maskable interrupt.
    Nmi,
}

/// Where an event comes from, as far as privilege and error codes care (Vol. 3A, 6.12.1.2, 6.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// INT n, INT3, INTO: the gate's DPL is checked.
    Software,
    /// Interrupts, exceptions and INT1: error codes have EXT set.
    External,
}

/// Classes of exceptions for double faults (Vol. 3A, table 6-4).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Severity {
    Benign,
    Contributory,
    Page,
}

fn severity(e: Exception) -> Severity {
    match e {
        Exception::DE | Exception::TS | Exception::NP | Exception::SS | Exception::GP => {
            Severity::Contributory
        }
        Exception::PF => Severity::Page,
        _ => Severity::Benign,
    }
}

/// What becomes of `second`, raised while `first` was delivered (Vol. 3A, table 6-5); `None` is a triple fault.
fn combine(first: Option<Exception>, second: Fault) -> Option<Fault> {
    let Some(first) = first else {
        return Some(second);
    };
    if first == Exception::DF {
        return None;
    }
    let double = match (severity(first), severity(second.exception)) {
        (Severity::Contributory, Severity::Contributory) => true,
        (Severity::Page, Severity::Contributory | Severity::Page) => true,
        (Severity::Benign | Severity::Contributory | Severity::Page, _) => false,
    };
    Some(if double {
        Fault::new(Exception::DF)
    } else {
        second
    })
}

/// Gate types (Vol. 3A, 6.11).
mod gate {
    pub const TASK: u8 = 5;
    pub const INTERRUPT16: u8 = 6;
    pub const TRAP16: u8 = 7;
    pub const INTERRUPT32: u8 = 0xe;
    pub const TRAP32: u8 = 0xf;
}

/// A gate of the IDT.
struct Gate {
    descriptor: Descriptor,
    selector: Selector,
    offset: u64,
    ist: u8,
    width: Size,
}

impl Gate {
    fn masks_interrupts(&self) -> bool {
        matches!(
            self.descriptor.kind(),
            gate::INTERRUPT16 | gate::INTERRUPT32
        )
    }
}

impl Cpu {
    /// Delivers `event`, and what faults on the way, up to the triple fault that resets the machine.
    pub fn deliver(&mut self, event: Event) {
        self.halted = false;
        let mut event = event;
        loop {
            let next = self.rip;
            let outcome = match event {
                Event::External(v) => {
                    tracing::trace!(target: "cpu::interrupt", vector = v, rip = next, "external");
                    self.enter(v, Origin::External, None, next, false)
                }
                Event::Nmi => {
                    tracing::trace!(target: "cpu::interrupt", rip = next, "NMI");
                    let r = self.enter(Exception::NMI as u8, Origin::External, None, next, false);
                    self.nmi_blocked |= r.is_ok();
                    r
                }
                Event::Exception(f) => {
                    let e = f.exception;
                    let code = e.has_error_code().then_some(f.error_code);
                    // RF in the image lets the instruction run when its breakpoint was not the cause (Vol. 3B, 17.3.1.1).
                    let resume = !matches!(e, Exception::DB | Exception::DF | Exception::MC);
                    if let Some(n) = self.counters.exceptions.get_mut(e as usize) {
                        *n += 1;
                    }
                    tracing::trace!(target: "cpu::exception", exception = ?e, code = f.error_code, rip = next, cr2 = self.cr2);
                    self.enter(e as u8, Origin::External, code, next, resume)
                }
            };
            let Err(second) = outcome else { return };
            let first = match event {
                Event::Exception(f) => Some(f.exception),
                _ => None,
            };
            match combine(first, second) {
                Some(f) => event = Event::Exception(f),
                None => {
                    tracing::debug!(target: "cpu::exception", rip = self.rip, cr2 = self.cr2, "triple fault");
                    self.halted = true;
                    self.stop
                        .request(StopReason::Reset(ResetSource::TripleFault));
                    return;
                }
            }
        }
    }

    /// Goes to the handler of `vector`. `next` is the return address, `resume` sets RF in the saved flags.
    pub(crate) fn enter(
        &mut self,
        vector: u8,
        origin: Origin,
        error_code: Option<u32>,
        next: u64,
        resume: bool,
    ) -> Result<(), Fault> {
        if vector == Exception::DB as u8 && origin == Origin::External {
            self.dr[7] &= !debug::DR7_GD;
            // IA32_DEBUGCTL.LBR and BTF (Vol. 3B, 17.4.1, 17.4.3).
            self.msr.debugctl &= !3;
        }
        let r = if self.mode.long() {
            self.enter_long(vector, origin, error_code, next, resume)
        } else if self.mode.protected() || self.mode.vm86() {
            self.enter_protected(vector, origin, error_code, next, resume)
        } else {
            self.enter_real(vector, next)
        };
        r.map_err(|mut f| {
            let selector_like = matches!(
                f.exception,
                Exception::TS | Exception::NP | Exception::SS | Exception::GP
            );
            if origin == Origin::External && selector_like {
                f.error_code |= 1;
            }
            f
        })
    }

    /// Through the interrupt vector table (Vol. 3A, 20.1.4).
    fn enter_real(&mut self, vector: u8, next: u64) -> Result<(), Fault> {
        let at = u64::from(vector) * 4;
        if at + 3 > self.idtr.limit.into() {
            return Err(Fault::GP0);
        }
        let pointer: u32 = load_system(self, self.idtr.base.wrapping_add(at))?;
        let image = self.rflags();
        let mut stack = Stack::current(self);
        stack.push(self, Size::B16, image)?;
        let cs = self.segment(Seg::Cs).selector;
        stack.push(self, Size::B16, cs.into())?;
        stack.push(self, Size::B16, next)?;
        stack.commit(self);
        load_real(self, Seg::Cs, (pointer >> 16) as u16);
        self.rip = u64::from(pointer & 0xffff);
        self.clear_flags(Rflags::IF | Rflags::TF | Rflags::RF | Rflags::AC);
        Ok(())
    }

    fn clear_flags(&mut self, f: Rflags) {
        self.system_flags &= !f.bits();
        self.update_mode();
    }

    /// The gate of `vector`, checked (Vol. 3A, 6.12.1, 6.14.1).
    fn gate(&mut self, vector: u8, origin: Origin) -> Result<Gate, Fault> {
        let code = u32::from(vector) << 3 | 2;
        let invalid = Fault::with_code(Exception::GP, code);
        let long = self.mode.long();
        let bytes = if long { 16 } else { 8 };
        let at = u64::from(vector) * bytes;
        if at + bytes - 1 > self.idtr.limit.into() {
            return Err(invalid);
        }
        let at = self.idtr.base.wrapping_add(at);
        let d = Descriptor(load_system(self, at)?);
        let upper: u64 = if long {
            load_system(self, at.wrapping_add(8))?
        } else {
            0
        };
        let (kind, system) = (d.kind(), !d.is_code_or_data());
        let known = match kind {
            gate::INTERRUPT32 | gate::TRAP32 => true,
            gate::INTERRUPT16 | gate::TRAP16 | gate::TASK => !long,
            _ => false,
        };
        if !system || !known || origin == Origin::Software && d.dpl() < self.cpl {
            return Err(invalid);
        }
        if !d.present() {
            return Err(Fault::with_code(Exception::NP, code));
        }
        let width = match kind {
            _ if long => Size::B64,
            gate::INTERRUPT16 | gate::TRAP16 => Size::B16,
            _ => Size::B32,
        };
        let high = if width == Size::B16 {
            0
        } else {
            d.0 >> 32 & 0xffff_0000
        };
        Ok(Gate {
            descriptor: d,
            selector: Selector((d.0 >> 16) as u16),
            offset: d.0 & 0xffff | high | (upper & 0xffff_ffff) << 32,
            ist: (d.0 >> 32 & 7) as u8,
            width,
        })
    }

    /// The handler's code segment, checked (Vol. 3A, 6.12.1.1).
    fn handler(&mut self, g: &Gate) -> Result<Target, Fault> {
        let s = g.selector;
        if s.is_null() {
            return Err(Fault::GP0);
        }
        let d = fetch(self, s, Exception::GP)?;
        let sized = !self.mode.long() || d.long() && !d.default_big();
        if !d.is_code() || d.dpl() > self.cpl || !sized {
            return Err(bad(Exception::GP, s));
        }
        if !d.present() {
            return Err(bad(Exception::NP, s));
        }
        let cpl = if d.is_conforming() { self.cpl } else { d.dpl() };
        // Virtual-8086 programs are interrupted to level 0 only.
        if self.mode.vm86() && cpl != 0 {
            return Err(bad(Exception::GP, s));
        }
        let d = touch(self, s, d)?;
        Ok(Target {
            cs: code_segment(s, d, cpl),
            cpl,
            rip: g.offset,
        })
    }

    fn image(&mut self, resume: bool) -> u64 {
        self.rflags() | if resume { Rflags::RF.bits() } else { 0 }
    }

    /// What a gate does to RFLAGS.
    fn enter_flags(&mut self, g: &Gate) {
        let mut f = Rflags::TF | Rflags::NT | Rflags::RF | Rflags::VM;
        if g.masks_interrupts() {
            f |= Rflags::IF;
        }
        self.clear_flags(f);
    }

    /// Through the IDT of protected mode, also from virtual-8086 mode.
    fn enter_protected(
        &mut self,
        vector: u8,
        origin: Origin,
        error_code: Option<u32>,
        next: u64,
        resume: bool,
    ) -> Result<(), Fault> {
        let g = self.gate(vector, origin)?;
        if g.descriptor.kind() == gate::TASK {
            return task::switch_by_gate(self, g.selector, Switch::Call, next, error_code);
        }
        let t = self.handler(&g)?;
        let (w, vm86) = (g.width, self.mode.vm86());
        let image = self.image(resume);
        let old = self.seg.map(|s| u64::from(s.selector));
        let inner = t.cpl < self.cpl;
        let mut stack = if inner {
            inner_stack(self, t.cpl)?
        } else {
            Stack::current(self)
        };
        if vm86 {
            for s in [Seg::Gs, Seg::Fs, Seg::Ds, Seg::Es] {
                stack.push(self, w, old[s as usize])?;
            }
        }
        if inner {
            let esp = self.gpr[4];
            stack.push(self, w, old[Seg::Ss as usize])?;
            stack.push(self, w, esp)?;
        }
        stack.push(self, w, image)?;
        stack.push(self, w, old[Seg::Cs as usize])?;
        stack.push(self, w, next)?;
        if let Some(code) = error_code {
            stack.push(self, w, code.into())?;
        }
        t.check(self)?;
        if inner {
            self.seg[Seg::Ss as usize] = stack.seg;
        }
        if vm86 {
            for s in [Seg::Gs, Seg::Fs, Seg::Ds, Seg::Es] {
                self.seg[s as usize] = null(Selector(0), 0);
            }
        }
        stack.commit(self);
        t.commit(self);
        self.enter_flags(&g);
        Ok(())
    }

    /// Through the IDT of IA-32e mode (Vol. 3A, 6.14).
    fn enter_long(
        &mut self,
        vector: u8,
        origin: Origin,
        error_code: Option<u32>,
        next: u64,
        resume: bool,
    ) -> Result<(), Fault> {
        let g = self.gate(vector, origin)?;
        let t = self.handler(&g)?;
        let image = self.image(resume);
        let (cs, ss) = (
            self.segment(Seg::Cs).selector,
            self.segment(Seg::Ss).selector,
        );
        let rsp = self.gpr[4];
        let inner = t.cpl < self.cpl;
        let mut stack = if inner {
            let mut s = Stack {
                seg: null(Selector(t.cpl.into()), t.cpl),
                pointer: 0,
                size: Size::B64,
                class: crate::helpers::access::class_at(self, t.cpl),
                code: 0,
            };
            s.pointer = match g.ist {
                0 => stack_pointer_of(self, 4 + 8 * u32::from(t.cpl))?,
                n => stack_pointer_of(self, 0x1c + 8 * u32::from(n))?,
            };
            s
        } else {
            let mut s = Stack::current(self);
            s.size = Size::B64;
            s.pointer = match g.ist {
                0 => rsp,
                n => stack_pointer_of(self, 0x1c + 8 * u32::from(n))?,
            };
            s
        };
        stack.pointer &= !15;
        t.check(self)?;
        stack.push(self, Size::B64, ss.into())?;
        stack.push(self, Size::B64, rsp)?;
        stack.push(self, Size::B64, image)?;
        stack.push(self, Size::B64, cs.into())?;
        stack.push(self, Size::B64, next)?;
        if let Some(code) = error_code {
            stack.push(self, Size::B64, code.into())?;
        }
        if inner {
            self.seg[Seg::Ss as usize] = stack.seg;
        }
        stack.commit(self);
        t.commit(self);
        self.enter_flags(&g);
        Ok(())
    }

    /// #DB for what `pending_debug` holds.
    pub fn debug_trap(&mut self) {
        let causes = std::mem::take(&mut self.pending_debug);
        self.note_debug(causes);
        self.deliver(Event::Exception(Fault::new(Exception::DB)));
    }

    /// DR6 gets the causes of a debug exception: the processor clears B0 to B3 of the last one, and leaves the rest to software (Vol. 3B,
    /// 17.2.3).
    pub(crate) fn note_debug(&mut self, causes: u64) {
        self.dr[6] = self.dr[6] & !debug::DR6_BREAKPOINTS | causes;
    }

    /// Whether DR7 arms an instruction breakpoint.
    pub(crate) fn instruction_breakpoints(&self) -> bool {
        let dr7 = self.dr[7];
        dr7 & 0xff != 0 && (0..4).any(|n| dr7 >> (2 * n) & 3 != 0 && dr7 >> (16 + 4 * n) & 3 == 0)
    }

    /// Whether the instruction at RIP has an armed breakpoint; DR6 notes which (Vol. 3B, 17.3.1.1).
    pub(crate) fn hits_instruction_breakpoint(&mut self) -> bool {
        if self.system_flag(Rflags::RF) {
            return false;
        }
        let at = if self.mode.is_64() {
            self.rip
        } else {
            self.rip.wrapping_add(self.segment(Seg::Cs).base) & 0xffff_ffff
        };
        let hits = (0..4)
            .filter(|&n| self.dr[7] >> (2 * n) & 3 != 0 && self.dr[7] >> (16 + 4 * n) & 3 == 0)
            .filter(|&n| self.dr[n] == at)
            .fold(0, |d, n| d | 1 << n);
        if hits != 0 {
            self.note_debug(hits);
        }
        hits != 0
    }
}
