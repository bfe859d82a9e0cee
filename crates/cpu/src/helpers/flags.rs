//! CLI, STI, CLAC, STAC, and which bits of RFLAGS may be loaded by whom (Vol. 2; Vol. 3A, 5.9, 20.3).

use super::access::set_flag;
use crate::{Cpu, Stop};
use arch::cpuid::Feature;
use arch::{Cr4, Fault, Rflags, Size};
use decode::{Code, Insn};

/// All defined bits that software can set.
pub const WRITABLE: u64 = Rflags::all().bits() & !Rflags::FIXED.bits();

/// `image` with a flag set or cleared.
pub fn replace(image: u64, f: Rflags, on: bool) -> u64 {
    image & !f.bits() | if on { f.bits() } else { 0 }
}

/// What IRET and POPF may change at the current CPL and IOPL outside virtual-8086 mode: all but VM, and IOPL, VIF, VIP and IF by privilege.
pub fn allowed(cpu: &Cpu) -> u64 {
    let mut mask = WRITABLE & !Rflags::VM.bits();
    if cpu.cpl > 0 {
        mask &= !(Rflags::IOPL | Rflags::VIF | Rflags::VIP).bits();
    }
    if cpu.cpl > cpu.iopl() {
        mask &= !Rflags::IF.bits();
    }
    mask
}

/// Loads the flags of `mask` from `image`; a 16-bit image changes only the lower half.
pub fn load(cpu: &mut Cpu, image: u64, width: Size, mask: u64) {
    let mask = mask & WRITABLE & width.mask();
    let old = cpu.rflags();
    cpu.set_rflags(old & !mask | image & mask);
}

/// #GP(0) if a 16-bit image may not be loaded in virtual-8086 mode with VME: TF set, or IF while an interrupt waits (Vol. 2B, POPF).
pub fn check_virtual(cpu: &Cpu, image: u64) -> Result<(), Fault> {
    let pending = cpu.system_flag(Rflags::VIP) && image & Rflags::IF.bits() != 0;
    if pending || image & Rflags::TF.bits() != 0 {
        return Err(Fault::GP0);
    }
    Ok(())
}

/// Loads a 16-bit image in virtual-8086 mode with VME and IOPL < 3: IF goes to VIF.
pub fn load_virtual(cpu: &mut Cpu, image: u64) {
    let keep = (Rflags::IF | Rflags::IOPL).bits();
    let vif = image & Rflags::IF.bits() != 0;
    load(cpu, image, Size::B16, !keep);
    set_flag(cpu, Rflags::VIF, vif);
}

/// Which flag CLI and STI act on (Vol. 2A, CLI, table 3-7): IF, or VIF where CR4.VME or CR4.PVI makes it virtual.
fn interrupt_flag(cpu: &Cpu) -> Result<Rflags, Fault> {
    if cpu.cpl <= cpu.iopl() && (!cpu.mode.vm86() || cpu.iopl() == 3) {
        return Ok(Rflags::IF);
    }
    let cr4 = cpu.mmu.paging.cr4;
    let virtual_ok = if cpu.mode.vm86() {
        cr4.contains(Cr4::VME)
    } else {
        cpu.cpl == 3 && cr4.contains(Cr4::PVI)
    };
    if virtual_ok {
        Ok(Rflags::VIF)
    } else {
        Err(Fault::GP0)
    }
}

/// CLI.
pub fn cli(cpu: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    let f = interrupt_flag(cpu)?;
    // No decode-time fact depends on IF or VIF.
    cpu.system_flags &= !f.bits();
    Ok(())
}

/// STI: interrupts are recognised after the next instruction if IF was clear.
pub fn sti(cpu: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    let f = interrupt_flag(cpu)?;
    if f == Rflags::VIF && cpu.system_flag(Rflags::VIP) {
        return Err(Fault::GP0.into());
    }
    if f == Rflags::IF && !cpu.system_flag(Rflags::IF) {
        cpu.system_flags |= f.bits();
        cpu.shadow = true;
        return Err(Stop::End);
    }
    cpu.system_flags |= f.bits();
    Ok(())
}

/// CLAC and STAC.
pub fn clac_stac(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    if !cpu.model.features.has(Feature::Smap) {
        return Err(Fault::UD.into());
    }
    if cpu.cpl != 0 {
        return Err(Fault::UD.into());
    }
    let before = cpu.mode;
    set_flag(cpu, Rflags::AC, i.code == Code::Stac);
    if cpu.mode == before {
        Ok(())
    } else {
        Err(Stop::End)
    }
}
