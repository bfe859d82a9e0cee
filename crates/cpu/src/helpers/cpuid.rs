//! CPUID (Vol. 2A): the model's leaves, and what in them depends on CR4 and the APIC.

use crate::{Cpu, Stop};
use arch::cpuid::Feature;
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
    for (r, v) in [Gpr::RAX, Gpr::RBX, Gpr::RCX, Gpr::RDX].into_iter().zip(v) {
        cpu.set_reg::<W32>(r, v);
    }
    Ok(())
}
