//! Listings of guest and host code for people.

use arch::{GuestPhys, Mode, Size};
use cpu::Cpu;
use decode::Insn;
use memory::{Access, Target};

/// The instructions at `rip`, one a line: address, bytes, text.
pub(crate) fn guest(
    cpu: &mut Cpu,
    mode: Mode,
    rip: u64,
    insns: impl Iterator<Item = Insn>,
) -> Vec<String> {
    let mut at = rip;
    insns
        .map(|i| {
            let bytes = fetch(cpu, mode, at, i.len);
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            let line = format!(
                "{at:x}  {hex:<20} {}",
                decode::disassemble(&bytes, mode, at)
            );
            at = at.wrapping_add(i.len.into());
            line
        })
        .collect()
}

/// Bytes of code at an offset of CS, as far as they are in RAM. Reading leaves no trace in the processor.
fn fetch(cpu: &mut Cpu, mode: Mode, rip: u64, len: u8) -> Vec<u8> {
    let base = if mode.is_64() {
        0
    } else {
        cpu.segment(arch::Seg::Cs).base
    };
    let cr2 = cpu.cr2;
    let bytes = (0..u64::from(len))
        .map_while(|n| {
            let linear = rip.wrapping_add(base).wrapping_add(n);
            let linear = if mode.code() == Size::B64 {
                linear
            } else {
                linear & 0xffff_ffff
            };
            match cpu.resolve(cpu.class, linear, Access::Fetch) {
                Ok(Target::Ram(GuestPhys(p))) => cpu.mmu.load_phys::<u8>(GuestPhys(p)),
                _ => None,
            }
        })
        .collect();
    cpu.cr2 = cr2;
    bytes
}
