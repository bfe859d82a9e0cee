//! What system helpers share: privilege checks, system-structure accesses and stacks that are not yet the current one.
//!
//! A [`Stack`] collects pushes and pops without touching SS or rSP, so that a transfer which faults half-way leaves the registers as they
//! were; only [`Stack::commit`] changes the processor.

use crate::Cpu;
use arch::{Exception, Fault, Gpr, Rflags, Seg, Segment, Size, Uint, is_canonical};
use memory::Class;

/// #GP(0) unless CPL = 0.
pub fn require_cpl0(cpu: &Cpu) -> Result<(), Fault> {
    if cpu.cpl == 0 {
        Ok(())
    } else {
        Err(Fault::GP0)
    }
}

/// #UD in real-address and virtual-8086 mode.
pub fn require_protected(cpu: &Cpu) -> Result<(), Fault> {
    if cpu.mode.protected() {
        Ok(())
    } else {
        Err(Fault::UD)
    }
}

/// Sets or clears system flags and brings the mode up to date.
pub fn set_flag(cpu: &mut Cpu, f: Rflags, on: bool) {
    cpu.system_flags = cpu.system_flags & !f.bits() | if on { f.bits() } else { 0 };
    cpu.update_mode();
}

/// The class of explicit accesses at privilege level `cpl` (Vol. 3A, 4.6.1).
pub fn class_at(cpu: &Cpu, cpl: u8) -> Class {
    if cpl == 3 {
        Class::User
    } else if cpu.mode.user_pages() {
        Class::SupervisorAc
    } else {
        Class::Supervisor
    }
}

/// A linear address as the mode has it: 32 bits outside IA-32e mode.
pub fn linear(cpu: &Cpu, addr: u64) -> u64 {
    if cpu.mode.long() {
        addr
    } else {
        addr & 0xffff_ffff
    }
}

/// Reads a descriptor table, a TSS or the IDT: a supervisor access whatever CPL (Vol. 3A, 4.6).
pub fn load_system<T: Uint>(cpu: &mut Cpu, addr: u64) -> Result<T, Fault> {
    let addr = linear(cpu, addr);
    cpu.load_linear::<T>(Class::Supervisor, Seg::Ds, addr)
}

/// Writes one of the same.
pub fn store_system<T: Uint>(cpu: &mut Cpu, addr: u64, v: T) -> Result<(), Fault> {
    let addr = linear(cpu, addr);
    cpu.store_linear::<T>(Class::Supervisor, Seg::Ds, addr, v)
}

/// Whether `bytes` bytes at `offset` lie in the segment (Vol. 3A, 5.3).
pub fn within(seg: &Segment, offset: u64, bytes: u64) -> bool {
    let last = offset.wrapping_add(bytes - 1);
    if seg.expand_down() {
        let top = if seg.default_big() {
            0xffff_ffff
        } else {
            0xffff
        };
        offset > seg.limit.into() && last <= top && last >= offset
    } else {
        last <= seg.limit.into() && last >= offset
    }
}

/// Bytes of a stack slot.
pub const fn bytes(width: Size) -> u64 {
    width.bits() as u64 / 8
}

/// A stack that is being pushed to or popped from.
#[derive(Clone, Copy)]
pub struct Stack {
    pub seg: Segment,
    pub pointer: u64,
    /// Size of the stack pointer: 64 bits means that the segment is not looked at.
    pub size: Size,
    pub class: Class,
    /// The error code of #SS: zero for the current stack, the selector of a new one.
    pub code: u32,
}

impl Stack {
    /// The current stack.
    pub fn current(cpu: &Cpu) -> Self {
        let size = cpu.mode.stack();
        Self {
            seg: cpu.seg[Seg::Ss as usize],
            pointer: cpu.gpr[usize::from(Gpr::RSP)] & size.mask(),
            size,
            class: class_at(cpu, cpu.cpl),
            code: 0,
        }
    }

    /// A new stack in `seg` for code at privilege level `cpl` outside 64-bit mode.
    pub fn new(cpu: &Cpu, seg: Segment, pointer: u64, cpl: u8) -> Self {
        let size = if seg.default_big() {
            Size::B32
        } else {
            Size::B16
        };
        Self {
            seg,
            pointer: pointer & size.mask(),
            size,
            class: class_at(cpu, cpl),
            code: u32::from(seg.selector & !3),
        }
    }

    fn address(&self, offset: u64, width: Size) -> Result<u64, Fault> {
        if self.size == Size::B64 {
            // The processor may still be in compatibility mode, where no access checks this.
            return if is_canonical(offset) && is_canonical(offset.wrapping_add(7)) {
                Ok(offset)
            } else {
                Err(Fault::with_code(Exception::SS, self.code))
            };
        }
        let usable = self.seg.present() && within(&self.seg, offset, bytes(width));
        if !usable {
            return Err(Fault::with_code(Exception::SS, self.code));
        }
        Ok(self.seg.base.wrapping_add(offset) & 0xffff_ffff)
    }

    /// Pushes `v`, truncated to `width`.
    pub fn push(&mut self, cpu: &mut Cpu, width: Size, v: u64) -> Result<(), Fault> {
        let sp = self.pointer.wrapping_sub(bytes(width)) & self.size.mask();
        let at = self.address(sp, width)?;
        match width {
            Size::B16 => cpu.store_linear::<u16>(self.class, Seg::Ss, at, v as u16),
            Size::B32 => cpu.store_linear::<u32>(self.class, Seg::Ss, at, v as u32),
            Size::B64 => cpu.store_linear::<u64>(self.class, Seg::Ss, at, v),
        }?;
        self.pointer = sp;
        Ok(())
    }

    /// Pops `width` bits, zero-extended.
    pub fn pop(&mut self, cpu: &mut Cpu, width: Size) -> Result<u64, Fault> {
        let at = self.address(self.pointer, width)?;
        let v = match width {
            Size::B16 => cpu.load_linear::<u16>(self.class, Seg::Ss, at)?.into(),
            Size::B32 => cpu.load_linear::<u32>(self.class, Seg::Ss, at)?.into(),
            Size::B64 => cpu.load_linear::<u64>(self.class, Seg::Ss, at)?,
        };
        self.drop(bytes(width));
        Ok(v)
    }

    /// Moves the pointer up.
    pub fn drop(&mut self, bytes: u64) {
        self.pointer = self.pointer.wrapping_add(bytes) & self.size.mask();
    }

    /// Makes the pointer the processor's; SS is the caller's to load.
    pub fn commit(&self, cpu: &mut Cpu) {
        set_stack_pointer(cpu, self.size, self.pointer);
    }
}

/// Sets SP, ESP or RSP.
pub fn set_stack_pointer(cpu: &mut Cpu, size: Size, v: u64) {
    let rsp = &mut cpu.gpr[usize::from(Gpr::RSP)];
    *rsp = match size {
        Size::B16 => *rsp & !0xffff | v & 0xffff,
        Size::B32 => v & 0xffff_ffff,
        Size::B64 => v,
    };
}

/// The address of the next instruction, as the code segment's size truncates it.
pub fn next_rip(cpu: &Cpu, i: &decode::Insn) -> u64 {
    cpu.rip.wrapping_add(i.len.into()) & cpu.mode.code().mask()
}

/// Sets CPL and what follows from it.
pub fn set_cpl(cpu: &mut Cpu, cpl: u8) {
    cpu.cpl = cpl & 3;
    cpu.update_mode();
}
