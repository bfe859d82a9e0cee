//! SYSCALL, SYSRET, SYSENTER, SYSEXIT as Intel's processors do them (Vol. 2B; Vol. 3A, 5.8.7, 5.8.8).

use super::access::{next_rip, require_cpl0, set_cpl, set_stack_pointer};
use super::flags::WRITABLE;
use crate::{Cpu, Stop};
use arch::{Efer, Fault, Gpr, Rflags, Seg, Segment, Size, is_canonical};
use decode::{Code, Insn};

const RCX: usize = Gpr::RCX as usize;
const RDX: usize = Gpr::RDX as usize;
const R11: usize = Gpr::R11 as usize;

/// A flat 4-GiB code segment: accessed, readable, present.
fn code(selector: u16, dpl: u8, long: bool) -> Segment {
    let size = if long { 0x2000 } else { 0x4000 };
    Segment {
        base: 0,
        limit: u32::MAX,
        selector,
        attributes: 0x809b | size | u16::from(dpl) << 5,
    }
}

/// A flat 4-GiB stack segment.
fn stack(selector: u16, dpl: u8) -> Segment {
    Segment {
        base: 0,
        limit: u32::MAX,
        selector,
        attributes: 0xc093 | u16::from(dpl) << 5,
    }
}

fn enter(cpu: &mut Cpu, cs: Segment, ss: Segment, cpl: u8, rip: u64) {
    cpu.seg[Seg::Cs as usize] = cs;
    cpu.seg[Seg::Ss as usize] = ss;
    cpu.rip = rip;
    set_cpl(cpu, cpl);
}

fn syscall_enabled(cpu: &Cpu) -> bool {
    cpu.mode.is_64() && cpu.mmu.paging.efer.contains(Efer::SCE)
}

/// SYSCALL: #UD outside 64-bit mode.
pub fn syscall(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    if !syscall_enabled(cpu) {
        return Err(Fault::UD.into());
    }
    let flags = cpu.rflags();
    cpu.gpr[RCX] = next_rip(cpu, i);
    cpu.gpr[R11] = flags & !Rflags::RF.bits();
    let base = (cpu.msr.star >> 32) as u16;
    let (cs, ss) = (
        code(base & !3, 0, true),
        stack((base & !3).wrapping_add(8), 0),
    );
    let rip = cpu.msr.lstar;
    let keep = !cpu.msr.fmask & !Rflags::RF.bits();
    cpu.replace_rflags(flags & keep);
    enter(cpu, cs, ss, 0, rip);
    Err(Stop::Branch)
}

/// SYSRET: a non-canonical RCX faults at level 0, before anything changed.
pub fn sysret(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    if !syscall_enabled(cpu) {
        return Err(Fault::UD.into());
    }
    require_cpl0(cpu)?;
    let wide = i.code == Code::Sysretq;
    let rcx = cpu.gpr[RCX];
    if wide && !is_canonical(rcx) {
        return Err(Fault::GP0.into());
    }
    let base = (cpu.msr.star >> 48) as u16;
    let cs = base.wrapping_add(if wide { 16 } else { 0 }) | 3;
    let ss = base.wrapping_add(8) | 3;
    let rip = if wide { rcx } else { rcx & 0xffff_ffff };
    let flags = cpu.gpr[R11] & WRITABLE & !(Rflags::RF | Rflags::VM).bits();
    cpu.replace_rflags(flags);
    enter(cpu, code(cs, 3, wide), stack(ss, 3), 3, rip);
    Err(Stop::Branch)
}

/// SYSENTER.
pub fn sysenter(cpu: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    let selector = cpu.msr.sysenter_cs as u16;
    let real = !cpu.mode.protected() && !cpu.mode.vm86();
    if real || selector & !3 == 0 {
        return Err(Fault::GP0.into());
    }
    let long = cpu.mode.long();
    let (rsp, rip) = (cpu.msr.sysenter_esp, cpu.msr.sysenter_eip);
    let narrow = |v: u64| if long { v } else { v & 0xffff_ffff };
    let flags = cpu.rflags() & !(Rflags::VM | Rflags::IF | Rflags::RF).bits();
    cpu.set_rflags(flags);
    let cs = selector & !3;
    enter(
        cpu,
        code(cs, 0, long),
        stack(cs.wrapping_add(8), 0),
        0,
        narrow(rip),
    );
    set_stack_pointer(cpu, Size::B64, narrow(rsp));
    Err(Stop::Branch)
}

/// SYSEXIT.
pub fn sysexit(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let selector = cpu.msr.sysenter_cs as u16;
    if !cpu.mode.protected() || selector & !3 == 0 {
        return Err(Fault::GP0.into());
    }
    require_cpl0(cpu)?;
    let wide = i.code == Code::Sysexitq;
    let (rsp, rip) = (cpu.gpr[RCX], cpu.gpr[RDX]);
    if wide && !(is_canonical(rsp) && is_canonical(rip)) {
        return Err(Fault::GP0.into());
    }
    let narrow = |v: u64| if wide { v } else { v & 0xffff_ffff };
    let cs = selector.wrapping_add(if wide { 32 } else { 16 }) | 3;
    enter(
        cpu,
        code(cs, 3, wide),
        stack(cs.wrapping_add(8), 3),
        3,
        narrow(rip),
    );
    set_stack_pointer(cpu, Size::B64, narrow(rsp));
    Err(Stop::Branch)
}
