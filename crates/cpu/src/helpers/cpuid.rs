//! CPUID (Vol. 2A): the model's leaves, and what in them depends on CR4 and the APIC.

use super::msr::{MISC_LIMIT_CPUID, MISC_XD_DISABLE};
use crate::{Cpu, Stop};
use arch::cpuid::Feature;
use arch::msr::IA32_APIC_BASE;
use arch::{Cr4, Gpr};
use decode::Insn;
use semantics::Emit;
use semantics::emit::W32;

/// CPUID.
pub fn cpuid(cpu: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    let (leaf, subleaf) = (cpu.reg::<W32>(Gpr::RAX), cpu.reg::<W32>(Gpr::RCX));
    let mut v = cpu.model.leaf(leaf, subleaf, cpu.apic.id());
    if leaf == 1 && cpu.mmu.paging.cr4.contains(Cr4::OSXSAVE) {
        v[2] |= 1 << Feature::Osxsave.location().bit;
    }
    // IA32_APIC_BASE.EN: a disabled APIC is not shown (Vol. 3A, 10.4.3).
    if leaf == 1
        && cpu
            .apic
            .read_msr(IA32_APIC_BASE)
            .is_some_and(|b| b & 1 << 11 == 0)
    {
        v[3] &= !(1 << Feature::Apic.location().bit);
    }
    if leaf == 0 && cpu.msr.misc_enable & MISC_LIMIT_CPUID != 0 {
        v[0] = v[0].min(3);
    }
    if leaf == 0x8000_0001 && cpu.msr.misc_enable & MISC_XD_DISABLE != 0 {
        v[3] &= !(1 << Feature::Nx.location().bit);
    }
    for (r, v) in [Gpr::RAX, Gpr::RBX, Gpr::RCX, Gpr::RDX].into_iter().zip(v) {
        cpu.set_reg::<W32>(r, v);
    }
    Ok(())
}
