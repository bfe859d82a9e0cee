//! Control and debug registers, the TLB, caches, HLT: MOV CR, MOV DR, CLTS, LMSW, SMSW, INVLPG, INVPCID, INVD, WBINVD, HLT, MONITOR,
//! MWAIT (Vol. 2; Vol. 3A, 2.5, 4.1, 4.10.4, 9.8.5; Vol. 3B, 17.2).

use super::access::{linear, require_cpl0};
use super::interrupt::general_detect;
use super::segment::{check_umip, store_word};
use crate::{Cpu, Stop};
use arch::control::debug;
use arch::cpuid::Feature;
use arch::{Cr0, Cr4, Efer, Fault, Seg, is_canonical};
use decode::{Code, Insn, Operand};
use semantics::Emit;
use semantics::emit::{Use, W8, W16, W32, W64};
use semantics::operand;

/// CR3 bit 63 in MOV to CR3 with CR4.PCIDE: entries of the PCID may be kept.
const CR3_KEEP: u64 = 1 << 63;

/// Bits of CR0 that exist.
const CR0_KNOWN: u64 = Cr0::all().bits();

/// What MOV to CR4 may set on this model (Vol. 3A, 2.5).
fn cr4_allowed(cpu: &Cpu) -> Cr4 {
    let f = cpu.model.features;
    let mut bits = Cr4::empty();
    for (feature, bit) in [
        (Feature::Vme, Cr4::VME | Cr4::PVI),
        (Feature::Tsc, Cr4::TSD),
        (Feature::De, Cr4::DE),
        (Feature::Pse, Cr4::PSE),
        (Feature::Pae, Cr4::PAE),
        (Feature::Mce, Cr4::MCE),
        (Feature::Pge, Cr4::PGE),
        // RDPMC came with MMX.
        (Feature::Mmx, Cr4::PCE),
        (Feature::Fxsr, Cr4::OSFXSR),
        (Feature::Sse, Cr4::OSXMMEXCPT),
        (Feature::Umip, Cr4::UMIP),
        (Feature::Fsgsbase, Cr4::FSGSBASE),
        (Feature::Pcid, Cr4::PCIDE),
        (Feature::Xsave, Cr4::OSXSAVE),
        (Feature::Smep, Cr4::SMEP),
        (Feature::Smap, Cr4::SMAP),
    ] {
        if f.has(feature) {
            bits |= bit;
        }
    }
    bits
}

/// Whether PAE paging (not 4-level) is in use: it caches four PDPTEs in the processor.
fn uses_pdptes(cpu: &Cpu) -> bool {
    let p = &cpu.mmu.paging;
    p.cr0.contains(Cr0::PG) && p.cr4.contains(Cr4::PAE) && !p.efer.contains(Efer::LMA)
}

/// Reads the PDPTEs anew under the paging registers as `change` leaves them; #GP(0) and no change if one is malformed.
fn change_paging(cpu: &mut Cpu, reload: bool, change: impl FnOnce(&mut Cpu)) -> Result<(), Fault> {
    let before = cpu.mmu.paging.clone();
    change(cpu);
    if reload && uses_pdptes(cpu) {
        let ram = cpu.mmu.ram().clone();
        if !cpu.mmu.paging.load_pdptes(&ram) {
            cpu.mmu.paging = before;
            return Err(Fault::GP0);
        }
    }
    Ok(())
}

/// MOV to CR0, and LMSW with the rest of CR0 as it is.
pub fn set_cr0(cpu: &mut Cpu, value: u64) -> Result<(), Fault> {
    if value >> 32 != 0 {
        return Err(Fault::GP0);
    }
    let old = cpu.mmu.paging.cr0;
    let new = Cr0::from_bits_truncate(value & CR0_KNOWN) | Cr0::ET;
    let has = |b| new.contains(b);
    if has(Cr0::PG) && !has(Cr0::PE) || has(Cr0::NW) && !has(Cr0::CD) {
        return Err(Fault::GP0);
    }
    let p = &cpu.mmu.paging;
    let (on, off) = (
        has(Cr0::PG) && !old.contains(Cr0::PG),
        !has(Cr0::PG) && old.contains(Cr0::PG),
    );
    let activates = on && p.efer.contains(Efer::LME);
    if activates && (!p.cr4.contains(Cr4::PAE) || cpu.seg[Seg::Cs as usize].long()) {
        return Err(Fault::GP0);
    }
    // A 16-bit TSS cannot serve IA-32e mode (Vol. 3A, 9.8.5.4).
    if activates && cpu.tr.present() && cpu.tr.kind() == super::far::kind::TSS16_BUSY {
        return Err(Fault::GP0);
    }
    if off && (cpu.mode.is_64() || p.cr4.contains(Cr4::PCIDE)) {
        return Err(Fault::GP0);
    }
    let reload = (old ^ new).intersects(Cr0::PG | Cr0::CD | Cr0::NW);
    change_paging(cpu, reload, |cpu| {
        let p = &mut cpu.mmu.paging;
        p.cr0 = new;
        if activates {
            p.efer |= Efer::LMA;
        }
        if off {
            p.efer -= Efer::LMA;
        }
    })?;
    if (old ^ new).intersects(Cr0::PG | Cr0::WP | Cr0::PE) {
        cpu.mmu.tlb.flush();
    }
    if !new.contains(Cr0::PE) {
        cpu.cpl = 0;
    }
    cpu.update_mode();
    Ok(())
}

fn set_cr3(cpu: &mut Cpu, value: u64) -> Result<(), Fault> {
    let p = &cpu.mmu.paging;
    let long = p.efer.contains(Efer::LMA);
    let pcids = p.cr4.contains(Cr4::PCIDE);
    let keep = value & CR3_KEEP != 0 && cpu.shortcuts.address_spaces;
    let mut value = value;
    if pcids {
        value &= !CR3_KEEP;
    }
    if !long {
        value &= 0xffff_ffff;
    } else if value >> p.physical_bits != 0 {
        return Err(Fault::GP0);
    }
    change_paging(cpu, true, |cpu| cpu.mmu.paging.cr3 = value)?;
    if pcids {
        cpu.mmu.tlb.switch((value & 0xfff) as u16, keep);
    } else {
        cpu.mmu.tlb.flush_non_global();
    }
    Ok(())
}

fn set_cr4(cpu: &mut Cpu, value: u64) -> Result<(), Fault> {
    let Some(new) = Cr4::from_bits(value).filter(|n| cr4_allowed(cpu).contains(*n)) else {
        return Err(Fault::GP0);
    };
    let p = &cpu.mmu.paging;
    let old = p.cr4;
    let long = p.efer.contains(Efer::LMA);
    if long && !new.contains(Cr4::PAE) {
        return Err(Fault::GP0);
    }
    let pcid_on = new.contains(Cr4::PCIDE) && !old.contains(Cr4::PCIDE);
    if pcid_on && (!long || p.cr3 & 0xfff != 0) {
        return Err(Fault::GP0);
    }
    let reload = (old ^ new).intersects(Cr4::PAE | Cr4::PSE | Cr4::PGE | Cr4::SMEP);
    change_paging(cpu, reload, |cpu| cpu.mmu.paging.cr4 = new)?;
    let flushing = Cr4::PAE | Cr4::PSE | Cr4::PGE | Cr4::SMEP | Cr4::SMAP | Cr4::PCIDE;
    if (old ^ new).intersects(flushing) {
        cpu.mmu.tlb.flush();
    }
    if (old ^ new).contains(Cr4::PCIDE) {
        cpu.mmu.tlb.restart_pcids();
    }
    cpu.update_mode();
    Ok(())
}

/// The register number of a CR or DR operand, and that of the general register.
fn numbers(i: &Insn, system: usize) -> (u8, u8) {
    (
        operand::register(i, system),
        operand::register(i, 1 - system),
    )
}

/// MOV r, CRn.
pub fn mov_from_cr(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let (n, r) = numbers(i, 1);
    require_cpl0(cpu)?;
    let p = &cpu.mmu.paging;
    let v = match n {
        0 => p.cr0.bits(),
        2 => cpu.cr2,
        3 => p.cr3,
        4 => p.cr4.bits(),
        8 => cpu.apic.cr8().into(),
        _ => return Err(Fault::UD.into()),
    };
    if i.code == Code::Mov_r64_cr {
        cpu.set_reg::<W64>(r, v);
    } else {
        cpu.set_reg::<W32>(r, v as u32);
    }
    Ok(())
}

/// MOV CRn, r.
pub fn mov_to_cr(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let (n, r) = numbers(i, 0);
    require_cpl0(cpu)?;
    let v = if i.code == Code::Mov_cr_r64 {
        cpu.reg::<W64>(r)
    } else {
        cpu.reg::<W32>(r).into()
    };
    match n {
        0 => set_cr0(cpu, v)?,
        2 => cpu.cr2 = v,
        3 => set_cr3(cpu, v)?,
        4 => set_cr4(cpu, v)?,
        8 if v > 15 => return Err(Fault::GP0.into()),
        8 => cpu.apic.set_cr8(v as u8),
        _ => return Err(Fault::UD.into()),
    }
    Err(Stop::End)
}

/// CLTS.
pub fn clts(cpu: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    require_cpl0(cpu)?;
    let before = cpu.mode;
    cpu.mmu.paging.cr0 -= Cr0::TS;
    cpu.update_mode();
    if cpu.mode == before {
        Ok(())
    } else {
        Err(Stop::End)
    }
}

/// LMSW: PE, MP, EM and TS; PE cannot be cleared.
pub fn lmsw(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    require_cpl0(cpu)?;
    let v = u64::from(operand::read::<Cpu, W16>(cpu, i, 0)?);
    let old = cpu.mmu.paging.cr0.bits();
    set_cr0(cpu, old & !0xe | v & 0xf)?;
    Err(Stop::End)
}

/// SMSW.
pub fn smsw(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    check_umip(cpu)?;
    store_word(cpu, i, cpu.mmu.paging.cr0.bits())
}

/// DR4 and DR5 are names of DR6 and DR7 unless CR4.DE is set.
fn debug_register(cpu: &Cpu, n: u8) -> Result<usize, Fault> {
    match n {
        4 | 5 if cpu.mmu.paging.cr4.contains(Cr4::DE) => Err(Fault::UD),
        4 | 5 => Ok(usize::from(n) + 2),
        0..=7 => Ok(n.into()),
        _ => Err(Fault::UD),
    }
}

/// MOV r, DRn.
pub fn mov_from_dr(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let (n, r) = numbers(i, 1);
    let n = debug_register(cpu, n)?;
    require_cpl0(cpu)?;
    general_detect(cpu)?;
    let v = cpu.dr[n];
    if i.code == Code::Mov_r64_dr {
        cpu.set_reg::<W64>(r, v);
    } else {
        cpu.set_reg::<W32>(r, v as u32);
    }
    Ok(())
}

/// MOV DRn, r.
pub fn mov_to_dr(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let (n, r) = numbers(i, 0);
    let n = debug_register(cpu, n)?;
    require_cpl0(cpu)?;
    general_detect(cpu)?;
    let v = if i.code == Code::Mov_dr_r64 {
        cpu.reg::<W64>(r)
    } else {
        cpu.reg::<W32>(r).into()
    };
    if n >= 6 && v >> 32 != 0 {
        return Err(Fault::GP0.into());
    }
    cpu.dr[n] = match n {
        // BLD (11) and RTM (16) belong to extensions that no model has: they read as ones.
        6 => v & 0xe00f | debug::DR6_FIXED | 0x1_0000,
        7 => v & 0xffff_2bff & !0x800 | debug::DR7_FIXED,
        _ => v,
    };
    cpu.update_mode();
    Err(Stop::End)
}

/// INVLPG: a non-canonical address is no page, hence nothing.
pub fn invlpg(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    require_cpl0(cpu)?;
    let offset = operand::effective(cpu, i);
    let based = !cpu.mode.is_64() || matches!(i.mem.seg, Seg::Fs | Seg::Gs);
    let base = if based {
        cpu.seg[i.mem.seg as usize].base
    } else {
        0
    };
    let at = linear(cpu, base.wrapping_add(offset));
    cpu.mmu.tlb.flush_page(at);
    Err(Stop::End)
}

/// INVPCID. Kind 0 drops the page of every PCID, which is more than it names.
pub fn invpcid(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    if !cpu.model.features.has(Feature::Invpcid) {
        return Err(Fault::UD.into());
    }
    require_cpl0(cpu)?;
    let r = operand::register(i, 0);
    let kind = if i.code == Code::Invpcid_r64_m128 {
        cpu.reg::<W64>(r)
    } else {
        cpu.reg::<W32>(r).into()
    };
    let at = operand::address(cpu, i, 16, Use::Read)?;
    let pcid = cpu.load::<W64>(i.mem.seg, at)?;
    let second = linear(cpu, at.wrapping_add(8));
    let addr = cpu.load::<W64>(i.mem.seg, second)?;
    let pcids = cpu.mmu.paging.cr4.contains(Cr4::PCIDE);
    let wrong_pcid = kind <= 1 && !pcids && pcid != 0;
    let wrong_addr = kind == 0 && !is_canonical(addr);
    if kind > 3 || pcid >> 12 != 0 || wrong_pcid || wrong_addr {
        return Err(Fault::GP0.into());
    }
    match kind {
        0 => cpu.mmu.tlb.flush_page(addr),
        1 => cpu.mmu.tlb.flush_pcid(pcid as u16),
        2 => cpu.mmu.tlb.flush(),
        _ => cpu.mmu.tlb.flush_all_non_global(),
    }
    Err(Stop::End)
}

/// INVD, WBINVD: guest memory is coherent, there is nothing to write back.
pub fn invalidate_caches(cpu: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    require_cpl0(cpu)?;
    Ok(())
}

/// HLT.
pub fn hlt(cpu: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    require_cpl0(cpu)?;
    cpu.halted = true;
    Err(Stop::End)
}

/// MONITOR: the address must be readable; no monitor is armed (MWAIT may end for any reason).
pub fn monitor(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    if cpu.cpl != 0 || !cpu.model.features.has(Feature::Monitor) {
        return Err(Fault::UD.into());
    }
    if cpu.reg::<W32>(arch::Gpr::RCX) != 0 {
        return Err(Fault::GP0.into());
    }
    let seg = match i.ops[0] {
        Operand::Mem | Operand::Implicit => i.mem.seg,
        _ => Seg::Ds,
    };
    let a = cpu.reg::<W64>(arch::Gpr::RAX);
    let a = operand::truncate(cpu, i.address, a);
    let at = operand::linear(cpu, seg, a, 1, Use::Read)?;
    cpu.load::<W8>(seg, at)?;
    Ok(())
}

/// MWAIT: ends at once, which the architecture permits (Vol. 2B, MWAIT: "implementation-dependent events").
pub fn mwait(cpu: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    if cpu.cpl != 0 || !cpu.model.features.has(Feature::Monitor) {
        return Err(Fault::UD.into());
    }
    if cpu.reg::<W32>(arch::Gpr::RCX) & !1 != 0 {
        return Err(Fault::GP0.into());
    }
    std::thread::yield_now();
    Err(Stop::End)
}

/// #GP(0), as an instruction whose every use is one.
pub fn protection(_: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    Err(Fault::GP0.into())
}

/// RDTSC and RDTSCP share CR4.TSD; RDPMC has CR4.PCE, and no model has a counter (Vol. 2B, RDPMC: #GP(0) for an invalid one).
pub fn time_stamp(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let cr4 = cpu.mmu.paging.cr4;
    if cpu.cpl > 0 && cr4.contains(Cr4::TSD) {
        return Err(Fault::GP0.into());
    }
    if i.code == Code::Rdtscp && !cpu.model.features.has(Feature::Rdtscp) {
        return Err(Fault::UD.into());
    }
    let t = super::msr::tsc(cpu);
    cpu.set_reg::<W32>(arch::Gpr::RAX, t as u32);
    cpu.set_reg::<W32>(arch::Gpr::RDX, (t >> 32) as u32);
    if i.code == Code::Rdtscp {
        let aux = cpu.msr.tsc_aux as u32;
        cpu.set_reg::<W32>(arch::Gpr::RCX, aux);
    }
    Ok(())
}
