//! RDMSR and WRMSR (Vol. 4, chapter 2): every register that this processor has.

use super::access::require_cpl0;
use crate::{Cpu, Stop};
use arch::cpuid::Feature;
use arch::msr::*;
use arch::{Cr0, Efer, Fault, Gpr, Seg, is_canonical};
use decode::Insn;
use semantics::Emit;
use semantics::emit::W32;

/// IA32_ARCH_CAPABILITIES. Nothing of a guest runs speculatively, so every claim of immunity is true: RDCL_NO, SKIP_L1DFL_VMENTRY,
/// SSB_NO, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO.
pub const ARCH_CAPABILITIES: u64 = 1 << 0
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 6
    | 1 << 8
    | 7 << 13
    | 1 << 20
    | 1 << 24
    | 1 << 26
    | 1 << 27;

/// IA32_MTRRCAP: eight variable ranges, fixed ranges, write combining.
const MTRRCAP: u64 = 8 | 1 << 8 | 1 << 10;

/// IA32_MISC_ENABLE: BTS and PEBS are unavailable (bits 11 and 12).
const MISC_UNAVAILABLE: u64 = 1 << 11 | 1 << 12;
/// Limit CPUID Maxval: for systems that cannot bear more than three leaves.
pub(super) const MISC_LIMIT_CPUID: u64 = 1 << 22;
/// XD Bit Disable: the processor seems to have no execute-disable bit.
pub(super) const MISC_XD_DISABLE: u64 = 1 << 34;
/// What software may set: fast strings, automatic thermal control, EIST, MONITOR, limit CPUID, xTPR messages off, XD off (Vol. 4, table 2-2).
const MISC_WRITABLE: u64 =
    1 << 0 | 1 << 3 | 1 << 16 | 1 << 18 | MISC_LIMIT_CPUID | 1 << 23 | MISC_XD_DISABLE;

const EBL_CR_POWERON: u32 = 0x2a;
const SMI_COUNT: u32 = 0x34;
const FSB_FREQ: u32 = 0xcd;
const PLATFORM_INFO: u32 = 0xce;
const MISC_FEATURES_ENABLES: u32 = 0x140;
const PERF_STATUS: u32 = 0x198;
const PERF_CTL: u32 = 0x199;
const THERM_INTERRUPT: u32 = 0x19b;
const THERM_STATUS: u32 = 0x19c;
const LASTBRANCH_FROM_IP: u32 = 0x1db;
const LASTINT_TO_IP: u32 = 0x1de;
const POWER_CTL: u32 = 0x1fc;
const MTRR_FIXED: [u32; 11] = [
    IA32_MTRR_FIX64K_00000,
    IA32_MTRR_FIX16K_80000,
    IA32_MTRR_FIX16K_A0000,
    IA32_MTRR_FIX4K_C0000,
    IA32_MTRR_FIX4K_C0000 + 1,
    IA32_MTRR_FIX4K_C0000 + 2,
    IA32_MTRR_FIX4K_C0000 + 3,
    IA32_MTRR_FIX4K_C0000 + 4,
    IA32_MTRR_FIX4K_C0000 + 5,
    IA32_MTRR_FIX4K_C0000 + 6,
    IA32_MTRR_FIX4K_C0000 + 7,
];

/// The time-stamp counter.
pub fn tsc(cpu: &Cpu) -> u64 {
    cpu.bus.clock().tsc().wrapping_add(cpu.msr.tsc_adjust)
}

/// RDMSR.
pub fn rdmsr(cpu: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    require_cpl0(cpu)?;
    let n = cpu.reg::<W32>(Gpr::RCX);
    let Some(v) = read(cpu, n) else {
        tracing::debug!(target: "cpu::msr", msr = n, rip = cpu.rip, "read of an unknown MSR");
        return Err(Fault::GP0.into());
    };
    cpu.set_reg::<W32>(Gpr::RAX, v as u32);
    cpu.set_reg::<W32>(Gpr::RDX, (v >> 32) as u32);
    Ok(())
}

/// WRMSR.
pub fn wrmsr(cpu: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    require_cpl0(cpu)?;
    let n = cpu.reg::<W32>(Gpr::RCX);
    let v = u64::from(cpu.reg::<W32>(Gpr::RAX)) | u64::from(cpu.reg::<W32>(Gpr::RDX)) << 32;
    if write(cpu, n, v).is_none() {
        tracing::debug!(target: "cpu::msr", msr = n, value = v, rip = cpu.rip, "refused write to an MSR");
        return Err(Fault::GP0.into());
    }
    Err(Stop::End)
}

fn has(cpu: &Cpu, f: Feature) -> bool {
    cpu.model.features.has(f)
}

/// The feature without which a register does not exist.
fn exists(cpu: &Cpu, n: u32) -> bool {
    let f = match n {
        IA32_TSC => Feature::Tsc,
        IA32_TSC_ADJUST => Feature::TscAdjust,
        IA32_ARCH_CAPABILITIES => Feature::ArchCapabilities,
        IA32_SYSENTER_CS..=IA32_SYSENTER_EIP => Feature::Sep,
        IA32_MTRRCAP | IA32_MTRR_PHYSBASE0..=0x20f | IA32_MTRR_DEF_TYPE => Feature::Mtrr,
        IA32_PAT => Feature::Pat,
        IA32_MCG_CAP..=IA32_MCG_CTL => Feature::Mca,
        IA32_EFER => Feature::Nx,
        IA32_STAR..=IA32_FMASK => Feature::Syscall,
        IA32_FS_BASE..=IA32_KERNEL_GS_BASE => Feature::Lm,
        IA32_TSC_AUX => Feature::Rdtscp,
        IA32_TSC_DEADLINE => Feature::TscDeadline,
        X2APIC_FIRST..=X2APIC_LAST => Feature::X2apic,
        IA32_APIC_BASE => Feature::Apic,
        _ if MTRR_FIXED.contains(&n) => Feature::Mtrr,
        _ => return true,
    };
    has(cpu, f)
}

/// What RDMSR reads; `None` is #GP(0).
pub fn read(cpu: &mut Cpu, n: u32) -> Option<u64> {
    if !exists(cpu, n) {
        return None;
    }
    let m = &cpu.msr;
    Some(match n {
        IA32_TSC => tsc(cpu),
        IA32_TSC_ADJUST => m.tsc_adjust,
        // Locked, nothing enabled: no VMX, no SGX.
        IA32_FEATURE_CONTROL => 1,
        IA32_ARCH_CAPABILITIES => ARCH_CAPABILITIES,
        IA32_MTRRCAP => MTRRCAP,
        IA32_SYSENTER_CS => m.sysenter_cs,
        IA32_SYSENTER_ESP => m.sysenter_esp,
        IA32_SYSENTER_EIP => m.sysenter_eip,
        // No bank reports errors.
        IA32_MCG_CAP => 0,
        IA32_MCG_STATUS => m.mcg_status,
        IA32_MISC_ENABLE => m.misc_enable | MISC_UNAVAILABLE,
        IA32_DEBUGCTL => m.debugctl,
        IA32_MTRR_PHYSBASE0..=0x20f => *m.mtrr_variable.get((n & 15) as usize)?,
        IA32_PAT => m.pat,
        IA32_MTRR_DEF_TYPE => m.mtrr_def_type,
        IA32_APIC_BASE | IA32_TSC_DEADLINE | X2APIC_FIRST..=X2APIC_LAST => cpu.apic.read_msr(n)?,
        IA32_EFER => cpu.mmu.paging.efer.bits(),
        IA32_STAR => m.star,
        IA32_LSTAR => m.lstar,
        IA32_CSTAR => m.cstar,
        IA32_FMASK => m.fmask,
        IA32_FS_BASE => cpu.seg[Seg::Fs as usize].base,
        IA32_GS_BASE => cpu.seg[Seg::Gs as usize].base,
        IA32_KERNEL_GS_BASE => m.kernel_gs_base,
        IA32_TSC_AUX => m.tsc_aux,
        // The revision of the microcode: zero would make some systems look for an update.
        IA32_BIOS_SIGN_ID => 1 << 32,
        // Harmless, read as zero. Systems read them by the CPU's family without asking CPUID: platform, bus and clock facts, and the
        // last-branch registers that DEBUGCTL.LBR would fill.
        IA32_PLATFORM_ID
        | EBL_CR_POWERON
        | SMI_COUNT
        | FSB_FREQ
        | PLATFORM_INFO
        | MISC_FEATURES_ENABLES
        | PERF_STATUS
        | PERF_CTL
        | THERM_INTERRUPT
        | THERM_STATUS
        | POWER_CTL => 0,
        LASTBRANCH_FROM_IP..=LASTINT_TO_IP => 0,
        _ => {
            let i = MTRR_FIXED.iter().position(|&f| f == n)?;
            *m.mtrr_fixed.get(i)?
        }
    })
}

/// A memory type that a PAT entry or an MTRR may hold (Vol. 3A, 11.11, 11.12).
fn memory_type(v: u64, pat: bool) -> bool {
    matches!(v, 0 | 1 | 4 | 5 | 6) || pat && v == 7
}

fn memory_types(v: u64, pat: bool) -> bool {
    v.to_le_bytes().iter().all(|&b| memory_type(b.into(), pat))
}

/// Does WRMSR; `None` is #GP(0).
pub fn write(cpu: &mut Cpu, n: u32, v: u64) -> Option<()> {
    if !exists(cpu, n) {
        return None;
    }
    let allow = |ok: bool| ok.then_some(());
    let phys = !((1u64 << cpu.mmu.paging.physical_bits) - 1);
    match n {
        IA32_TSC => {
            let adjust = v.wrapping_sub(cpu.bus.clock().tsc());
            set_adjust(cpu, adjust);
        }
        IA32_TSC_ADJUST => set_adjust(cpu, v),
        IA32_SYSENTER_CS => cpu.msr.sysenter_cs = v & 0xffff_ffff,
        IA32_SYSENTER_ESP => {
            allow(is_canonical(v))?;
            cpu.msr.sysenter_esp = v;
        }
        IA32_SYSENTER_EIP => {
            allow(is_canonical(v))?;
            cpu.msr.sysenter_eip = v;
        }
        IA32_MCG_STATUS => {
            allow(v == 0)?;
            cpu.msr.mcg_status = 0;
        }
        IA32_MISC_ENABLE => cpu.msr.misc_enable = v & MISC_WRITABLE,
        IA32_DEBUGCTL => {
            // LBR is kept but records nothing; BTF makes TF trap on branches only.
            allow(v & !0x3 == 0)?;
            cpu.msr.debugctl = v;
        }
        IA32_MTRR_PHYSBASE0..=0x20f => {
            let reserved = if n & 1 == 0 { 0xf00 } else { 0x7ff };
            allow(v & (phys | reserved) == 0)?;
            allow(n & 1 == 1 || memory_type(v & 0xff, false))?;
            *cpu.msr.mtrr_variable.get_mut((n & 15) as usize)? = v;
        }
        IA32_PAT => {
            allow(memory_types(v, true))?;
            cpu.msr.pat = v;
        }
        IA32_MTRR_DEF_TYPE => {
            allow(v & !0xcff == 0 && memory_type(v & 0xff, false))?;
            cpu.msr.mtrr_def_type = v;
        }
        IA32_APIC_BASE | IA32_TSC_DEADLINE | X2APIC_FIRST..=X2APIC_LAST => {
            allow(cpu.apic.write_msr(n, v))?;
        }
        IA32_EFER => set_efer(cpu, v)?,
        IA32_STAR => cpu.msr.star = v,
        IA32_LSTAR => {
            allow(is_canonical(v))?;
            cpu.msr.lstar = v;
        }
        IA32_CSTAR => {
            allow(is_canonical(v))?;
            cpu.msr.cstar = v;
        }
        IA32_FMASK => {
            allow(v >> 32 == 0)?;
            cpu.msr.fmask = v;
        }
        IA32_FS_BASE | IA32_GS_BASE => {
            allow(is_canonical(v))?;
            let seg = if n == IA32_FS_BASE { Seg::Fs } else { Seg::Gs };
            cpu.seg[seg as usize].base = v;
        }
        IA32_KERNEL_GS_BASE => {
            allow(is_canonical(v))?;
            cpu.msr.kernel_gs_base = v;
        }
        IA32_TSC_AUX => {
            allow(v >> 32 == 0)?;
            cpu.msr.tsc_aux = v;
        }
        // Microcode updates are taken and ignored; zero is what software writes before it reads the revision.
        IA32_BIOS_UPDT_TRIG | IA32_BIOS_SIGN_ID => {}
        // Kept constant: see `read`.
        EBL_CR_POWERON
        | MISC_FEATURES_ENABLES
        | PERF_CTL
        | THERM_INTERRUPT
        | THERM_STATUS
        | POWER_CTL => {}
        _ => {
            let i = MTRR_FIXED.iter().position(|&f| f == n)?;
            allow(memory_types(v, false))?;
            *cpu.msr.mtrr_fixed.get_mut(i)? = v;
        }
    }
    Some(())
}

fn set_adjust(cpu: &mut Cpu, adjust: u64) {
    cpu.msr.tsc_adjust = adjust;
    cpu.apic.set_tsc_adjust(adjust);
}

/// IA32_EFER: LME only without paging; LMA is the processor's (Vol. 3A, 2.2.1, 4.1.2).
fn set_efer(cpu: &mut Cpu, v: u64) -> Option<()> {
    let new = Efer::from_bits(v)?;
    let old = cpu.mmu.paging.efer;
    let mut allowed = Efer::LMA;
    for (f, b) in [
        (Feature::Syscall, Efer::SCE),
        (Feature::Lm, Efer::LME),
        (Feature::Nx, Efer::NXE),
    ] {
        let hidden = f == Feature::Nx && cpu.msr.misc_enable & MISC_XD_DISABLE != 0;
        if has(cpu, f) && !hidden {
            allowed |= b;
        }
    }
    let lme_changed = (old ^ new).contains(Efer::LME);
    if !allowed.contains(new) || lme_changed && cpu.mmu.paging.cr0.contains(Cr0::PG) {
        return None;
    }
    cpu.mmu.paging.efer = new - Efer::LMA | old & Efer::LMA;
    if (old ^ new).contains(Efer::NXE) {
        cpu.mmu.tlb.flush();
    }
    cpu.update_mode();
    Some(())
}
