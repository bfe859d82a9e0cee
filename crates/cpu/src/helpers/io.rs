//! IN, OUT, INS and OUTS (Vol. 1, chapter 19; Vol. 2A and 2B).

use crate::{Stop, state::Cpu};
use arch::{Fault, Gpr, Rflags, Seg};
use bus::AccessSize;
use decode::{Code, Insn, Operand};
use memory::Class;
use semantics::emit::{Emit, Use, W8, W16, W32, W64};
use semantics::operand::{linear, truncate};

/// The width of an I/O instruction's operand.
fn width(code: Code) -> AccessSize {
    match code {
        Code::In_AL_imm8
        | Code::In_AL_DX
        | Code::Out_imm8_AL
        | Code::Out_DX_AL
        | Code::Insb_m8_DX
        | Code::Outsb_DX_m8 => AccessSize::Byte,
        Code::In_AX_imm8
        | Code::In_AX_DX
        | Code::Out_imm8_AX
        | Code::Out_DX_AX
        | Code::Insw_m16_DX
        | Code::Outsw_DX_m16 => AccessSize::Word,
        _ => AccessSize::Dword,
    }
}

/// The port: operand `n`, an immediate byte or DX.
fn port(cpu: &Cpu, i: &Insn, n: usize) -> u16 {
    match i.ops[n] {
        Operand::Imm(v) => (v & 0xff) as u16,
        _ => cpu.gpr[usize::from(Gpr::RDX)] as u16,
    }
}

/// #GP(0) unless IOPL or the TSS's I/O permission bit map allows the access (Vol. 1, 19.5.2).
pub fn check_permission(cpu: &mut Cpu, port: u16, size: AccessSize) -> Result<(), Fault> {
    let virtual_8086 = cpu.mode.vm86();
    if !virtual_8086 && (!cpu.mode.protected() || cpu.cpl <= cpu.iopl()) {
        return Ok(());
    }
    let tss = cpu.tr;
    // A 16-bit TSS has no map.
    if !tss.present() || !matches!(tss.kind(), 9 | 11) || tss.limit < 103 {
        return Err(Fault::GP0);
    }
    let map: u16 = cpu.load_linear(Class::Supervisor, Seg::Ds, tss.base.wrapping_add(102))?;
    let at = u32::from(map) + u32::from(port >> 3);
    // Two bytes are read in any case, and both must lie within the limit.
    if at + 1 > tss.limit {
        return Err(Fault::GP0);
    }
    let bits: u16 =
        cpu.load_linear(Class::Supervisor, Seg::Ds, tss.base.wrapping_add(at.into()))?;
    let mask = (1u16 << size.bytes()) - 1;
    if bits >> (port & 7) & mask != 0 {
        return Err(Fault::GP0);
    }
    Ok(())
}

/// Notes I/O breakpoints (DR7 kind 2 with CR4.DE) that an access to `bytes` ports hits (Vol. 3B, 17.2.5).
fn match_breakpoints(cpu: &mut Cpu, port: u16, size: AccessSize) {
    if cpu.dr[7] & 0xff == 0 || !cpu.mmu.paging.cr4.contains(arch::Cr4::DE) {
        return;
    }
    for n in 0..4 {
        let (enabled, kind) = (cpu.dr[7] >> (2 * n) & 3 != 0, cpu.dr[7] >> (16 + 4 * n) & 3);
        let len = [1, 2, 8, 4][(cpu.dr[7] >> (18 + 4 * n) & 3) as usize];
        let start = cpu.dr[n] & !(len - 1);
        let (first, last) = (u64::from(port), u64::from(port) + size.bytes() - 1);
        if enabled && kind == 2 && first < start + len && start <= last {
            cpu.pending_debug |= 1 << n;
            cpu.leave = true;
        }
    }
}

fn set_accumulator(cpu: &mut Cpu, size: AccessSize, v: u32) {
    match size {
        AccessSize::Byte => cpu.set_reg::<W8>(Gpr::RAX, v as u8),
        AccessSize::Word => cpu.set_reg::<W16>(Gpr::RAX, v as u16),
        _ => cpu.set_reg::<W32>(Gpr::RAX, v),
    }
}

/// IN.
pub fn input(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let (size, port) = (width(i.code), port(cpu, i, 1));
    check_permission(cpu, port, size)?;
    match_breakpoints(cpu, port, size);
    let v = cpu.bus.port_read(port, size);
    set_accumulator(cpu, size, v);
    Ok(())
}

/// OUT. What a device does about it may concern the next instruction.
pub fn output(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let (size, port) = (width(i.code), port(cpu, i, 0));
    check_permission(cpu, port, size)?;
    let v = cpu.gpr[usize::from(Gpr::RAX)] as u32 & size.mask() as u32;
    match_breakpoints(cpu, port, size);
    cpu.bus.port_write(port, size, v);
    cpu.follow_layout();
    Err(Stop::End)
}

/// The linear address at `seg`:`register`.
fn string_address(
    cpu: &mut Cpu,
    i: &Insn,
    seg: Seg,
    register: u8,
    size: AccessSize,
    access: Use,
) -> Result<u64, Stop> {
    let r = cpu.gpr[usize::from(register)];
    let offset = truncate(cpu, i.address, r);
    linear(cpu, seg, offset, size.bytes() as u32, access)
}

fn advance(cpu: &mut Cpu, i: &Insn, register: u8, size: AccessSize) {
    let old = cpu.gpr[usize::from(register)];
    let new = if cpu.system_flag(Rflags::DF) {
        old.wrapping_sub(size.bytes())
    } else {
        old.wrapping_add(size.bytes())
    };
    match i.address {
        arch::Size::B16 => cpu.set_reg::<W16>(register, new as u16),
        arch::Size::B32 => cpu.set_reg::<W32>(register, new as u32),
        arch::Size::B64 => cpu.set_reg::<W64>(register, new),
    }
}

/// The permission check of INS and OUTS.
pub fn permission(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let operand = usize::from(matches!(
        i.code,
        Code::Insb_m8_DX | Code::Insw_m16_DX | Code::Insd_m32_DX
    ));
    let port = port(cpu, i, operand);
    Ok(check_permission(cpu, port, width(i.code))?)
}

/// One iteration of INS. Memory is probed before the port is read.
pub fn input_string(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let (size, port) = (width(i.code), port(cpu, i, 1));
    check_permission(cpu, port, size)?;
    let a = string_address(cpu, i, Seg::Es, Gpr::RDI, size, Use::Write)?;
    cpu.probe_write(Seg::Es, a, size.bytes() as u32)?;
    match_breakpoints(cpu, port, size);
    let v = cpu.bus.port_read(port, size);
    match size {
        AccessSize::Byte => cpu.store::<W8>(Seg::Es, a, v as u8)?,
        AccessSize::Word => cpu.store::<W16>(Seg::Es, a, v as u16)?,
        _ => cpu.store::<W32>(Seg::Es, a, v)?,
    }
    advance(cpu, i, Gpr::RDI, size);
    Ok(())
}

/// One iteration of OUTS.
pub fn output_string(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let (size, port) = (width(i.code), port(cpu, i, 0));
    check_permission(cpu, port, size)?;
    let seg = i.mem.seg;
    let a = string_address(cpu, i, seg, Gpr::RSI, size, Use::Read)?;
    let v = match size {
        AccessSize::Byte => cpu.load::<W8>(seg, a)?.into(),
        AccessSize::Word => cpu.load::<W16>(seg, a)?.into(),
        _ => cpu.load::<W32>(seg, a)?,
    };
    match_breakpoints(cpu, port, size);
    cpu.bus.port_write(port, size, v);
    cpu.follow_layout();
    advance(cpu, i, Gpr::RSI, size);
    Ok(())
}
