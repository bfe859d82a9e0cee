//! INT n, INT3, INTO, INT1 and IRET (Vol. 2A, INT, IRET; Vol. 3A, 6.12 to 6.14, 20.2, 20.3).

use super::access::{Stack, load_system, next_rip};
use super::far::{commit_return, return_stack, return_target};
use super::flags;
use super::segment::load_real;
use super::task;
use crate::event::Origin;
use crate::{Cpu, Stop};
use arch::control::debug;
use arch::{Cr4, Exception, Fault, Rflags, Seg, Segment, Selector, Size};
use decode::{Code, Insn};
use semantics::operand;

/// INT n.
pub fn int_n(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let vector = operand::immediate(i, 0) as u8;
    if cpu.mode.vm86() {
        if cpu.mmu.paging.cr4.contains(Cr4::VME) && !redirected(cpu, vector)? {
            return vm86_interrupt(cpu, i, vector);
        }
        if cpu.iopl() < 3 {
            return Err(Fault::GP0.into());
        }
    }
    software(cpu, i, vector)
}

/// INT3: no IOPL check in virtual-8086 mode.
pub fn int3(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    software(cpu, i, Exception::BP as u8)
}

/// INTO.
pub fn into(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    if cpu.rflags() & Rflags::OF.bits() == 0 {
        return Ok(());
    }
    software(cpu, i, Exception::OF as u8)
}

/// INT1 (ICEBP): #DB as a trap, without a look at the gate's DPL. It is also the exception for the breakpoints that MOV SS held back, as
/// kvm-unit-tests saw it on the chips.
pub fn int1(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let next = next_rip(cpu, i);
    // A task gate may owe a trap of its own.
    let held = std::mem::take(&mut cpu.pending_debug);
    if let Err(f) = cpu.enter(Exception::DB as u8, Origin::External, None, next, false) {
        cpu.pending_debug |= held;
        return Err(f.into());
    }
    if held != 0 {
        cpu.note_debug(held);
    }
    Err(Stop::Branch)
}

fn software(cpu: &mut Cpu, i: &Insn, vector: u8) -> Result<(), Stop> {
    let next = next_rip(cpu, i);
    tracing::trace!(target: "cpu::interrupt", vector, rip = cpu.rip, "software");
    cpu.enter(vector, Origin::Software, None, next, false)?;
    Err(Stop::Branch)
}

/// The software-interrupt redirection bit map of the TSS (Vol. 3A, 20.3.3): set means through the IDT.
fn redirected(cpu: &mut Cpu, vector: u8) -> Result<bool, Fault> {
    let tss = cpu.tr;
    if tss.kind() & 8 == 0 || tss.limit < 0x67 {
        return Err(Fault::GP0);
    }
    let map = u32::from(load_system::<u16>(cpu, tss.base.wrapping_add(0x66))?);
    // The map is the 32 bytes below the I/O permission bit map.
    let Some(at) = (map + u32::from(vector) / 8).checked_sub(32) else {
        return Err(Fault::GP0);
    };
    if at > tss.limit {
        return Err(Fault::GP0);
    }
    let byte: u8 = load_system(cpu, tss.base.wrapping_add(at.into()))?;
    Ok(byte >> (vector & 7) & 1 != 0)
}

/// INT n to the virtual-8086 program's own handler (Vol. 3A, table 20-2, methods 5 and 6).
fn vm86_interrupt(cpu: &mut Cpu, i: &Insn, vector: u8) -> Result<(), Stop> {
    let class = cpu.class;
    let at = u64::from(vector) * 4;
    let ip = cpu.load_linear::<u16>(class, Seg::Ds, at)?;
    let cs = cpu.load_linear::<u16>(class, Seg::Ds, at + 2)?;
    let mut image = cpu.rflags();
    if cpu.iopl() < 3 {
        // The program sees VIF in IF's place and an IOPL of 3.
        image = flags::replace(image, Rflags::IF, image & Rflags::VIF.bits() != 0);
        image |= Rflags::IOPL.bits();
    }
    let next = next_rip(cpu, i);
    let mut stack = Stack::current(cpu);
    stack.push(cpu, Size::B16, image)?;
    stack.push(cpu, Size::B16, cpu.seg[Seg::Cs as usize].selector.into())?;
    stack.push(cpu, Size::B16, next)?;
    stack.commit(cpu);
    load_real(cpu, Seg::Cs, cs);
    cpu.rip = ip.into();
    let clear = Rflags::TF
        | Rflags::NT
        | if cpu.iopl() < 3 {
            Rflags::VIF
        } else {
            Rflags::IF
        };
    cpu.system_flags &= !clear.bits();
    cpu.update_mode();
    Err(Stop::Branch)
}

/// IRET.
pub fn iret(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let width = match i.code {
        Code::Iretw => Size::B16,
        Code::Iretq => Size::B64,
        _ => Size::B32,
    };
    // NMIs are let in again even if the return faults (Vol. 3A, 6.7.1).
    cpu.nmi_blocked = false;
    if cpu.mode.vm86() {
        vm86_return(cpu, width)?;
    } else if !cpu.mode.protected() {
        real_return(cpu, width)?;
    } else if cpu.system_flag(Rflags::NT) {
        if cpu.mode.long() {
            return Err(Fault::GP0.into());
        }
        task::switch_back(cpu, next_rip(cpu, i))?;
    } else {
        protected_return(cpu, width)?;
    }
    Err(Stop::Branch)
}

fn pop3(cpu: &mut Cpu, width: Size) -> Result<(Stack, u64, u16, u64), Fault> {
    let mut stack = Stack::current(cpu);
    let rip = stack.pop(cpu, width)?;
    let cs = stack.pop(cpu, width)? as u16;
    let image = stack.pop(cpu, width)?;
    Ok((stack, rip, cs, image))
}

fn real_return(cpu: &mut Cpu, width: Size) -> Result<(), Fault> {
    let (stack, ip, cs, image) = pop3(cpu, width)?;
    if ip > cpu.seg[Seg::Cs as usize].limit.into() {
        return Err(Fault::GP0);
    }
    stack.commit(cpu);
    load_real(cpu, Seg::Cs, cs);
    cpu.rip = ip;
    let keep = Rflags::VM | Rflags::VIF | Rflags::VIP;
    flags::load(cpu, image, width, !keep.bits());
    Ok(())
}

fn vm86_return(cpu: &mut Cpu, width: Size) -> Result<(), Fault> {
    let full = cpu.iopl() == 3;
    let vme = cpu.mmu.paging.cr4.contains(Cr4::VME) && width == Size::B16;
    if !full && !vme {
        return Err(Fault::GP0);
    }
    let (stack, ip, cs, image) = pop3(cpu, width)?;
    if ip > cpu.seg[Seg::Cs as usize].limit.into() {
        return Err(Fault::GP0);
    }
    let fixed = (Rflags::IOPL | Rflags::VM | Rflags::VIF | Rflags::VIP).bits();
    if full {
        stack.commit(cpu);
        load_real(cpu, Seg::Cs, cs);
        cpu.rip = ip;
        flags::load(cpu, image, width, !fixed);
        return Ok(());
    }
    flags::check_virtual(cpu, image)?;
    stack.commit(cpu);
    load_real(cpu, Seg::Cs, cs);
    cpu.rip = ip;
    flags::load_virtual(cpu, image);
    Ok(())
}

fn protected_return(cpu: &mut Cpu, width: Size) -> Result<(), Fault> {
    let (mut stack, rip, cs, image) = pop3(cpu, width)?;
    let long = cpu.mode.long();
    if image & Rflags::VM.bits() != 0 && width == Size::B32 && cpu.cpl == 0 && !long {
        return to_vm86(cpu, stack, rip, cs, image);
    }
    let t = return_target(cpu, Selector(cs), rip)?;
    let mask = flags::allowed(cpu);
    if t.cpl == cpu.cpl && !cpu.mode.is_64() {
        stack.commit(cpu);
        t.commit(cpu);
    } else {
        let sp = stack.pop(cpu, width)?;
        let ss = Selector(stack.pop(cpu, width)? as u16);
        let ss = return_stack(cpu, ss, &t)?;
        commit_return(cpu, &t, ss, sp);
    }
    flags::load(cpu, image, width, mask);
    Ok(())
}

fn to_vm86(cpu: &mut Cpu, mut stack: Stack, ip: u64, cs: u16, image: u64) -> Result<(), Fault> {
    let esp = stack.pop(cpu, Size::B32)?;
    let mut selectors = [cs; 6];
    for s in [Seg::Ss, Seg::Es, Seg::Ds, Seg::Fs, Seg::Gs] {
        selectors[s as usize] = stack.pop(cpu, Size::B32)? as u16;
    }
    for (s, v) in cpu.seg.iter_mut().zip(selectors) {
        *s = Segment::real(v, 0xf3);
    }
    cpu.gpr[4] = esp;
    cpu.rip = ip & 0xffff;
    cpu.cpl = 3;
    flags::load(cpu, image, Size::B32, u64::MAX);
    Ok(())
}

/// DR7.GD: an access to a debug register is #DB with DR6.BD (Vol. 3B, 17.2.4).
pub fn general_detect(cpu: &mut Cpu) -> Result<(), Fault> {
    if cpu.dr[7] & debug::DR7_GD != 0 {
        cpu.note_debug(debug::DR6_BD);
        return Err(Fault::new(Exception::DB));
    }
    Ok(())
}
