//! The x87 (Vol. 1, chapter 8; Vol. 2A): D8 to DF and WAIT, over crate `softfloat`.
//!
//! - [`stack`]: registers, tags, condition codes; stack faults and exception summary.
//! - [`step`]: the meaning of the words in which `semantics` writes the common instructions.
//! - [`function`], [`compare`], [`transfer`], [`control`]: the other instructions, by the sections of Vol. 1, 8.3.
//!
//! Order in every instruction: #NM, a pending exception (#MF), memory faults, then the operation, whose exceptions stay pending for the
//! next waiting instruction.
//!
//! Choices among what processors do. FIP and FCS are updated by every instruction but control instructions, FDP and FDS by those of them
//! with a memory operand, as long as CPUID does not announce the deprecations (leaf 7, EBX bits 6 and 13, which no model shows). FOP is
//! only updated by an unmasked exception (Vol. 1, 8.1.9.1: fopcode compatibility mode off, as on every processor since the Pentium 4).
//! With CR0.NE = 0 a pending exception drives FERR# ([`Cpu::ferr`]) for as long as it is pending, and waiting instructions go on as if
//! IGNNE# were asserted: the interrupt handler of the MS-DOS compatibility mode (Vol. 1, D.2) runs all the same.

pub mod compare;
pub mod control;
pub mod function;
mod stack;
pub mod step;
pub mod transfer;

use crate::{Stop, state::Cpu};
use arch::{Cr0, Exception, Fault, Seg};
use decode::{Insn, Operand};
use semantics::emit::{Emit, Use, W16, W64};
use semantics::x87::sti;
use softfloat::{Env, F80, Flags};
use stack::{C1, ES};

/// #NM while CR0.EM or CR0.TS is set (Vol. 3A, 2.5).
fn available(cpu: &Cpu) -> Result<(), Stop> {
    if cpu.mode.em() || cpu.mode.ts() {
        return Err(Fault::NM.into());
    }
    Ok(())
}

/// #MF if an unmasked exception is pending and CR0.NE is set.
pub fn pending(cpu: &Cpu) -> Result<(), Stop> {
    if cpu.fpu.fsw & ES != 0 && cpu.mmu.paging.cr0.contains(Cr0::NE) {
        return Err(Fault::new(Exception::MF).into());
    }
    Ok(())
}

/// What a waiting instruction does first.
fn ready(cpu: &Cpu) -> Result<(), Stop> {
    available(cpu)?;
    pending(cpu)
}

/// FNENI, FNDISI, FNSETPM: instructions of the 8087 and 287 that do nothing now.
pub fn ignore(cpu: &Cpu) -> Result<(), Stop> {
    available(cpu)
}

/// Notes where an instruction that is not a control instruction, and its memory operand, stand.
fn note_pointers(cpu: &mut Cpu, i: &Insn) {
    let memory =
        (i.ops[0] == Operand::Mem).then(|| (i.mem.seg, semantics::operand::effective(cpu, i)));
    note(cpu, memory);
}

/// The same with the memory operand's segment and effective address.
pub fn note(cpu: &mut Cpu, memory: Option<(Seg, u64)>) {
    cpu.fpu.fcs = cpu.segment(Seg::Cs).selector;
    cpu.fpu.fip = cpu.rip;
    if let Some((seg, a)) = memory {
        cpu.fpu.fds = cpu.segment(seg).selector;
        cpu.fpu.fdp = a;
    }
}

/// Reports the exceptions of an operation.
fn signal(cpu: &mut Cpu, flags: Flags) {
    cpu.fpu.fsw |= u16::from(flags.bits());
    summarize(cpu);
}

/// Works out ES and B from flags and masks; a change drives FERR#.
fn summarize(cpu: &mut Cpu) {
    let was = cpu.fpu.fsw & ES != 0;
    let is = cpu.fpu.summarize();
    if is && !was {
        note_opcode(cpu);
    }
    if is != was && !cpu.mmu.paging.cr0.contains(Cr0::NE) || was && !is {
        cpu.ferr.set(is);
    }
}

/// FOP: the low bits of the first opcode byte, and the second, of the instruction at RIP.
fn note_opcode(cpu: &mut Cpu) {
    let cr2 = cpu.cr2;
    let mut byte = |n: u64| -> Option<u8> {
        let at = cpu.rip.wrapping_add(n);
        let linear = if cpu.mode.is_64() {
            at
        } else {
            cpu.segment(Seg::Cs).base.wrapping_add(at) & 0xffff_ffff
        };
        cpu.load_linear(cpu.class, Seg::Cs, linear).ok()
    };
    let mut fop = None;
    for n in 0..decode::MAX_LEN as u64 - 1 {
        match byte(n) {
            Some(b @ 0xd8..=0xdf) => {
                fop = byte(n + 1).map(|modrm| u16::from(b & 7) << 8 | u16::from(modrm));
                break;
            }
            Some(_) => {}
            None => break,
        }
    }
    cpu.cr2 = cr2;
    if let Some(fop) = fop {
        cpu.fpu.fop = fop;
    }
}

/// Ends an operation: C1 and the exceptions of `env`; whether the result is to be written to a register.
fn complete(cpu: &mut Cpu, env: &Env) -> bool {
    cpu.fpu.set_flag(C1, env.roundup);
    signal(cpu, env.flags);
    !env.suppresses_result()
}

/// A stack fault (Vol. 1, 8.5.1.1): IE and SF, C1 tells overflow from underflow. Answers whether the masked response is to be given.
fn stack_fault(cpu: &mut Cpu, how: stack::Stack) -> bool {
    cpu.fpu.note_stack_fault(how);
    let masked = Flags::from_bits(cpu.fpu.fcw as u8).contains(Flags::IE);
    signal(cpu, Flags::IE);
    masked
}

/// The environment of the control word.
fn env(cpu: &Cpu) -> Env {
    Env::from_fcw(cpu.fpu.fcw)
}

/// Reads ten bytes.
fn load_f80(cpu: &mut Cpu, seg: Seg, a: u64) -> Result<F80, Stop> {
    let significand = cpu.load::<W64>(seg, a)?;
    let sign_exponent = cpu.load::<W16>(seg, offset(cpu, a, 8))?;
    Ok(F80::new(sign_exponent, significand))
}

/// A linear address moved on.
fn offset(cpu: &Cpu, a: u64, by: u64) -> u64 {
    let a = a.wrapping_add(by);
    if cpu.mode.is_64() { a } else { a & 0xffff_ffff }
}

/// The linear address of the memory operand, of which all of `bytes` bytes can be written.
fn writable(cpu: &mut Cpu, i: &Insn, bytes: u32) -> Result<u64, Stop> {
    let a = semantics::operand::address(cpu, i, bytes, Use::Write)?;
    cpu.probe_write(i.mem.seg, a, bytes)?;
    Ok(a)
}
