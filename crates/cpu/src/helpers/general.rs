//! General-purpose instructions of class `helper`: CMPXCHG16B, CRC32, PUSHF, POPF (Vol. 2A and 2B).

use crate::{Stop, state::Cpu};
use arch::{Cr4, Fault, Gpr, Rflags};
use decode::{Code, Insn};
use semantics::emit::{Emit, Use, W8, W16, W32, W64};
use semantics::operand::{address, read, register};
use semantics::stack;

/// CMPXCHG16B: DEST is compared with RDX:RAX, becomes RCX:RBX if equal, else goes to RDX:RAX. #GP(0) if not aligned.
pub fn cmpxchg16b(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let seg = i.mem.seg;
    let a = address(cpu, i, 16, Use::Write)?;
    if a & 15 != 0 {
        return Err(Fault::GP0.into());
    }
    let pair = |cpu: &Cpu, high: u8, low: u8| {
        u128::from(cpu.gpr[usize::from(high)]) << 64 | u128::from(cpu.gpr[usize::from(low)])
    };
    let (expected, new) = (pair(cpu, Gpr::RDX, Gpr::RAX), pair(cpu, Gpr::RCX, Gpr::RBX));
    cpu.probe_write(seg, a, 16)?;
    let fast = cpu.mmu.tlb.compare_exchange_16(cpu.probe, a, expected, new);
    let seen = match fast {
        Some(seen) => seen,
        None => {
            // Code, a device or a watched page: no other way than two halves.
            let low = cpu.load_modify::<W64>(seg, a)?;
            let high = cpu.load_modify::<W64>(seg, a.wrapping_add(8))?;
            let seen = u128::from(high) << 64 | u128::from(low);
            let v = if seen == expected { new } else { seen };
            cpu.store::<W64>(seg, a, v as u64)?;
            cpu.store::<W64>(seg, a.wrapping_add(8), (v >> 64) as u64)?;
            seen
        }
    };
    let same = seen == expected;
    if !same {
        cpu.gpr[usize::from(Gpr::RAX)] = seen as u64;
        cpu.gpr[usize::from(Gpr::RDX)] = (seen >> 64) as u64;
    }
    let image = if same { Rflags::ZF.bits() } else { 0 };
    semantics::flags::merge(cpu, Rflags::ZF, image);
    Ok(())
}

/// The Castagnoli polynomial 11EDC6F41H, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What eight zero bits do to a remainder whose low byte is the index.
const CRC: [u32; 256] = {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
};

/// CRC32: accumulates SRC in DEST, zero-extended.
pub fn crc32(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let (src, bytes): (u64, usize) = match i.code {
        Code::Crc32_r32_rm8 | Code::Crc32_r64_rm8 => (read::<Cpu, W8>(cpu, i, 1)?.into(), 1),
        Code::Crc32_r32_rm16 => (read::<Cpu, W16>(cpu, i, 1)?.into(), 2),
        Code::Crc32_r32_rm32 => (read::<Cpu, W32>(cpu, i, 1)?.into(), 4),
        _ => (read::<Cpu, W64>(cpu, i, 1)?, 8),
    };
    let r = register(i, 0);
    let start = cpu.reg::<W32>(r);
    let crc = src
        .to_le_bytes()
        .iter()
        .take(bytes)
        .fold(start, |crc, &b| crc >> 8 ^ CRC[usize::from(crc as u8 ^ b)]);
    cpu.set_reg::<W32>(r, crc);
    Ok(())
}

/// Virtual-8086 mode with IOPL below 3: PUSHF and POPF are #GP(0), but for the 16-bit forms under CR4.VME, which see VIF as IF
/// (Vol. 3A, 20.3).
enum Sensitive {
    No,
    VirtualInterrupt,
}

fn sensitive(cpu: &Cpu, word: bool) -> Result<Sensitive, Fault> {
    if !cpu.mode.vm86() || cpu.iopl() == 3 {
        return Ok(Sensitive::No);
    }
    if word && cpu.mmu.paging.cr4.contains(Cr4::VME) {
        return Ok(Sensitive::VirtualInterrupt);
    }
    Err(Fault::GP0)
}

/// PUSHF, PUSHFD, PUSHFQ: RFLAGS with VM and RF cleared.
pub fn pushf(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let how = sensitive(cpu, i.code == Code::Pushfw)?;
    let mut image = cpu.rflags() & !(Rflags::VM | Rflags::RF).bits();
    if let Sensitive::VirtualInterrupt = how {
        image |= Rflags::IOPL.bits();
        image &= !Rflags::IF.bits();
        if cpu.system_flag(Rflags::VIF) {
            image |= Rflags::IF.bits();
        }
    }
    match i.code {
        Code::Pushfw => stack::push::<Cpu, W16>(cpu, image as u16),
        Code::Pushfd => stack::push::<Cpu, W32>(cpu, image as u32),
        _ => stack::push::<Cpu, W64>(cpu, image),
    }
}

/// POPF, POPFD, POPFQ: what may change depends on operand size, CPL, IOPL and mode (Vol. 2B, table 4-15).
pub fn popf(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let how = sensitive(cpu, i.code == Code::Popfw)?;
    let (image, above): (u64, u64) = match i.code {
        Code::Popfw => {
            let (v, above) = stack::top::<Cpu, W16>(cpu)?;
            (v.into(), above)
        }
        Code::Popfd => {
            let (v, above) = stack::top::<Cpu, W32>(cpu)?;
            (v.into(), above)
        }
        _ => stack::top::<Cpu, W64>(cpu)?,
    };
    let mut changes = Rflags::STATUS | Rflags::TF | Rflags::DF | Rflags::NT;
    if i.code != Code::Popfw {
        // RF is always cleared: it is not taken from the image.
        changes |= Rflags::AC | Rflags::ID | Rflags::RF;
    }
    let mut image = image & !Rflags::RF.bits();
    if let Sensitive::VirtualInterrupt = how {
        let enables = image & Rflags::IF.bits() != 0;
        if enables && cpu.system_flag(Rflags::VIP) || image & Rflags::TF.bits() != 0 {
            return Err(Fault::GP0.into());
        }
        changes |= Rflags::VIF;
        if enables {
            image |= Rflags::VIF.bits();
        } else {
            image &= !Rflags::VIF.bits();
        }
    } else {
        if cpu.cpl <= cpu.iopl() || !cpu.mode.protected() {
            changes |= Rflags::IF;
        }
        if cpu.cpl == 0 && !cpu.mode.vm86() {
            changes |= Rflags::IOPL;
        }
    }
    let new = cpu.rflags() & !changes.bits() | image & changes.bits();
    stack::set_pointer(cpu, above);
    cpu.set_rflags(new);
    Err(Stop::End)
}
