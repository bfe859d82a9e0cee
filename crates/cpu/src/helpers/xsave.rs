//! What saves and restores x87, MMX and SSE state: FXSAVE, FXRSTOR, the XSAVE family, LDMXCSR, STMXCSR, EMMS, and XCR0
//! (Vol. 1, 10.5 and chapter 13).
//!
//! What is deliberately absent: the compacted format. CPUID shows no XSAVEC, and the header check refuses it.

use crate::Stop;
use crate::state::{Cpu, Fpu};
use arch::{Cr4, Exception, Fault, Gpr};
use decode::{Code, Insn};
use semantics::emit::{Emit, Use, W8, W32, W64};
use semantics::operand::{address, read, write};
use softfloat::F80;

/// MXCSR_MASK: the bits that MXCSR has (Vol. 1, 11.6.6).
const MXCSR_MASK: u32 = 0xffff;
/// XCR0 and state-component bits (Vol. 1, 13.1).
const X87: u64 = 1;
const SSE: u64 = 2;
/// All components that there are.
const ALL: u64 = X87 | SSE;
/// Bytes of the FXSAVE image, and of it with the XSAVE header.
const LEGACY: u32 = 512;
const WITH_HEADER: u32 = LEGACY + 64;
/// Quadwords of the image (Vol. 1, table 10-2): MXCSR with its mask, ST0, XMM0, and of the header.
const MXCSR: u64 = 3;
const ST0: u64 = 4;
const XMM0: u64 = 20;
const XSTATE_BV: u64 = 64;

/// A save area in guest memory.
#[derive(Clone, Copy)]
struct Area {
    seg: arch::Seg,
    base: u64,
}

impl Area {
    /// The operand of `bytes` bytes, which must be aligned to `align`.
    fn of(cpu: &mut Cpu, i: &Insn, bytes: u32, align: u64, access: Use) -> Result<Self, Stop> {
        let base = address(cpu, i, bytes, access)?;
        let seg = i.mem.seg;
        if base & (align - 1) != 0 {
            // #AC comes first where alignment is checked, which the SDM leaves to the implementation.
            cpu.check_access(cpu.class, seg, base, align, access)?;
            return Err(Fault::GP0.into());
        }
        // The area spans two pages at most. The last byte is touched before the first, as processors' microcode does.
        let last = base.wrapping_add(u64::from(bytes) - 1);
        match access {
            Use::Read => {
                cpu.load::<W8>(seg, last)?;
                cpu.load::<W8>(seg, base)?;
            }
            Use::Write => {
                cpu.probe_write(seg, last, 1)?;
                cpu.probe_write(seg, base, 1)?;
            }
        }
        Ok(Self { seg, base })
    }
    fn get(self, cpu: &mut Cpu, n: u64) -> Result<u64, Stop> {
        cpu.load::<W64>(self.seg, self.base.wrapping_add(8 * n))
    }
    fn put(self, cpu: &mut Cpu, n: u64, v: u64) -> Result<(), Stop> {
        cpu.store::<W64>(self.seg, self.base.wrapping_add(8 * n), v)
    }
}

/// What the image's instruction and data pointers are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pointers {
    /// Selectors and 32-bit offsets.
    Far,
    /// 64-bit offsets: REX.W.
    Wide,
}

impl Pointers {
    fn of(i: &Insn) -> Self {
        match i.code {
            Code::Fxsave64_m512byte
            | Code::Fxrstor64_m512byte
            | Code::Xsave64_mem
            | Code::Xsaveopt64_mem
            | Code::Xrstor64_mem => Self::Wide,
            _ => Self::Far,
        }
    }
}

/// Which components XSAVE leaves out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Omit {
    /// XSAVE.
    Nothing,
    /// XSAVEOPT: what is in its initial configuration.
    Initial,
}

/// XMM registers that the mode reaches.
fn xmm_count(cpu: &Cpu) -> usize {
    if cpu.mode.is_64() { 16 } else { 8 }
}

/// Quadword 0 to 2 of the image.
fn x87_head(f: &Fpu, pointers: Pointers) -> [u64; 3] {
    let control = u64::from(f.fcw)
        | u64::from(f.status()) << 16
        | u64::from(f.valid()) << 32
        | u64::from(f.fop & 0x7ff) << 48;
    if pointers == Pointers::Wide {
        return [control, f.fip, f.fdp];
    }
    let pointer = |offset: u64, selector: u16| offset & 0xffff_ffff | u64::from(selector) << 32;
    [control, pointer(f.fip, f.fcs), pointer(f.fdp, f.fds)]
}

fn set_x87_head(f: &mut Fpu, pointers: Pointers, [control, ip, dp]: [u64; 3]) {
    // Bit 6 reads as one, the reserved bits as zero.
    f.fcw = control as u16 & 0x1f3f | 0x40;
    f.set_status((control >> 16) as u16 & !0x8080);
    if f.fsw & !f.fcw & 0x3f != 0 {
        // ES and B follow from the exceptions that are not masked.
        f.fsw |= 0x8080;
    }
    f.set_valid((control >> 32) as u8);
    f.fop = (control >> 48) as u16 & 0x7ff;
    if pointers == Pointers::Wide {
        (f.fip, f.fcs, f.fdp, f.fds) = (ip, 0, dp, 0);
    } else {
        (f.fip, f.fcs) = (ip & 0xffff_ffff, (ip >> 32) as u16);
        (f.fdp, f.fds) = (dp & 0xffff_ffff, (dp >> 32) as u16);
    }
}

fn save_x87(cpu: &mut Cpu, a: Area, pointers: Pointers) -> Result<(), Stop> {
    for (n, v) in (0..).zip(x87_head(&cpu.fpu, pointers)) {
        a.put(cpu, n, v)?;
    }
    for n in 0..8 {
        let st = cpu.fpu.r[cpu.fpu.physical(n as u8)];
        a.put(cpu, ST0 + 2 * n, st.significand)?;
        a.put(cpu, ST0 + 2 * n + 1, st.sign_exponent.into())?;
    }
    Ok(())
}

fn save_mxcsr(cpu: &mut Cpu, a: Area) -> Result<(), Stop> {
    let v = u64::from(cpu.fpu.mxcsr) | u64::from(MXCSR_MASK) << 32;
    a.put(cpu, MXCSR, v)
}

fn save_xmm(cpu: &mut Cpu, a: Area) -> Result<(), Stop> {
    for n in 0..xmm_count(cpu) {
        let v = cpu.fpu.xmm[n];
        a.put(cpu, XMM0 + 2 * n as u64, v as u64)?;
        a.put(cpu, XMM0 + 2 * n as u64 + 1, (v >> 64) as u64)?;
    }
    Ok(())
}

fn load_x87(cpu: &mut Cpu, a: Area, pointers: Pointers, into: &mut Fpu) -> Result<(), Stop> {
    let head = [a.get(cpu, 0)?, a.get(cpu, 1)?, a.get(cpu, 2)?];
    set_x87_head(into, pointers, head);
    for n in 0..8 {
        let significand = a.get(cpu, ST0 + 2 * n)?;
        let sign_exponent = a.get(cpu, ST0 + 2 * n + 1)? as u16;
        let r = into.physical(n as u8);
        into.r[r] = F80 {
            significand,
            sign_exponent,
        };
    }
    Ok(())
}

fn load_mxcsr(cpu: &mut Cpu, a: Area, into: &mut Fpu) -> Result<(), Stop> {
    into.mxcsr = checked_mxcsr(a.get(cpu, MXCSR)? as u32)?;
    Ok(())
}

fn load_xmm(cpu: &mut Cpu, a: Area, into: &mut Fpu) -> Result<(), Stop> {
    for n in 0..xmm_count(cpu) {
        let low = a.get(cpu, XMM0 + 2 * n as u64)?;
        let high = a.get(cpu, XMM0 + 2 * n as u64 + 1)?;
        into.xmm[n] = u128::from(high) << 64 | u128::from(low);
    }
    Ok(())
}

/// #GP(0) if a reserved bit is set (Vol. 1, 10.2.3).
fn checked_mxcsr(v: u32) -> Result<u32, Stop> {
    if v & !MXCSR_MASK != 0 {
        return Err(Fault::GP0.into());
    }
    Ok(v)
}

/// Puts x87 state into its initial configuration (Vol. 1, 13.6).
fn init_x87(f: &mut Fpu) {
    f.fcw = 0x37f;
    f.set_status(0);
    f.set_valid(0);
    (f.fop, f.fcs, f.fds) = (0, 0, 0);
    (f.fip, f.fdp) = (0, 0);
    f.r = [F80::ZERO; 8];
}

/// XINUSE: the components that are not in their initial configuration (Vol. 1, 13.6).
fn in_use(cpu: &Cpu) -> u64 {
    let f = &cpu.fpu;
    let initial = x87_head(f, Pointers::Wide) == [0x37f, 0, 0]
        && (f.fcs, f.fds) == (0, 0)
        && f.r.iter().all(|&r| r == F80::ZERO);
    let mut bits = 0;
    if !initial {
        bits |= X87;
    }
    if f.xmm.iter().take(xmm_count(cpu)).any(|&v| v != 0) {
        bits |= SSE;
    }
    bits
}

/// EMMS: #MF if an exception is pending, else all registers are empty.
pub fn emms(cpu: &mut Cpu) -> Result<(), Stop> {
    cpu.enter_mmx()?;
    cpu.fpu.set_valid(0);
    Ok(())
}

/// LDMXCSR.
pub fn ldmxcsr(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let v = read::<Cpu, W32>(cpu, i, 0)?;
    cpu.fpu.mxcsr = checked_mxcsr(v)?;
    Ok(())
}

/// STMXCSR.
pub fn stmxcsr(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let v = cpu.fpu.mxcsr;
    write::<Cpu, W32>(cpu, i, 0, v)
}

/// FXSAVE: without CR4.OSFXSR, XMM registers and MXCSR are left out (Vol. 2A, FXSAVE).
pub fn fxsave(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let a = Area::of(cpu, i, LEGACY, 16, Use::Write)?;
    save_x87(cpu, a, Pointers::of(i))?;
    if cpu.mode.osfxsr() {
        save_mxcsr(cpu, a)?;
        save_xmm(cpu, a)?;
    }
    Ok(())
}

/// FXRSTOR: all is read before anything is changed.
pub fn fxrstor(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let a = Area::of(cpu, i, LEGACY, 16, Use::Read)?;
    // All 512 bytes are the operand, the reserved ones included.
    a.get(cpu, 63)?;
    let mut fpu = cpu.fpu.clone();
    if cpu.mode.osfxsr() {
        load_mxcsr(cpu, a, &mut fpu)?;
        load_xmm(cpu, a, &mut fpu)?;
    }
    load_x87(cpu, a, Pointers::of(i), &mut fpu)?;
    cpu.fpu = fpu;
    Ok(())
}

/// #UD unless CR4.OSXSAVE.
fn os_xsave(cpu: &Cpu) -> Result<(), Stop> {
    if cpu.mmu.paging.cr4.contains(Cr4::OSXSAVE) {
        Ok(())
    } else {
        Err(Fault::UD.into())
    }
}

/// What all of the XSAVE family check first. Answers the requested-feature bitmap (Vol. 1, 13.3).
fn requested(cpu: &Cpu) -> Result<u64, Stop> {
    os_xsave(cpu)?;
    if cpu.mode.ts() {
        return Err(Fault::NM.into());
    }
    Ok(edx_eax(cpu) & cpu.fpu.xcr0)
}

fn edx_eax(cpu: &Cpu) -> u64 {
    let low = |r: u8| cpu.gpr[usize::from(r)] & 0xffff_ffff;
    low(Gpr::RDX) << 32 | low(Gpr::RAX)
}

/// XSAVE (Vol. 1, 13.7) and XSAVEOPT (13.9).
pub fn xsave(cpu: &mut Cpu, i: &Insn, omit: Omit) -> Result<(), Stop> {
    let rfbm = requested(cpu)?;
    let a = Area::of(cpu, i, WITH_HEADER, 64, Use::Write)?;
    let used = in_use(cpu);
    let old = a.get(cpu, XSTATE_BV)?;
    let save = match omit {
        Omit::Nothing => rfbm,
        Omit::Initial => rfbm & used,
    };
    if save & X87 != 0 {
        save_x87(cpu, a, Pointers::of(i))?;
    }
    if save & SSE != 0 {
        save_xmm(cpu, a)?;
    }
    if rfbm & SSE != 0 {
        save_mxcsr(cpu, a)?;
    }
    a.put(cpu, XSTATE_BV, old & !rfbm | used & rfbm)
}

/// XRSTOR (Vol. 1, 13.8), standard form.
pub fn xrstor(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let rfbm = requested(cpu)?;
    let a = Area::of(cpu, i, WITH_HEADER, 64, Use::Read)?;
    let present = a.get(cpu, XSTATE_BV)?;
    // XCOMP_BV and the eight bytes behind it must be zero (13.8.1).
    let reserved = a.get(cpu, XSTATE_BV + 1)? | a.get(cpu, XSTATE_BV + 2)?;
    if present & !cpu.fpu.xcr0 != 0 || reserved != 0 {
        return Err(Fault::GP0.into());
    }
    let mut fpu = cpu.fpu.clone();
    if rfbm & SSE != 0 {
        load_mxcsr(cpu, a, &mut fpu)?;
        if present & SSE != 0 {
            load_xmm(cpu, a, &mut fpu)?;
        } else {
            let n = xmm_count(cpu);
            fpu.xmm[..n].fill(0);
        }
    }
    if rfbm & X87 != 0 {
        if present & X87 != 0 {
            load_x87(cpu, a, Pointers::of(i), &mut fpu)?;
        } else {
            init_x87(&mut fpu);
        }
    }
    cpu.fpu = fpu;
    Ok(())
}

/// XGETBV: XCR0 is the only register that there is.
pub fn xgetbv(cpu: &mut Cpu) -> Result<(), Stop> {
    os_xsave(cpu)?;
    if cpu.gpr[usize::from(Gpr::RCX)] as u32 != 0 {
        return Err(Fault::new(Exception::GP).into());
    }
    let v = cpu.fpu.xcr0;
    cpu.gpr[usize::from(Gpr::RAX)] = v & 0xffff_ffff;
    cpu.gpr[usize::from(Gpr::RDX)] = v >> 32;
    Ok(())
}

/// XSETBV: x87 state cannot be switched off, and no bit of a component set that does not exist (Vol. 1, 13.3).
pub fn xsetbv(cpu: &mut Cpu) -> Result<(), Stop> {
    os_xsave(cpu)?;
    let v = edx_eax(cpu);
    let register = cpu.gpr[usize::from(Gpr::RCX)] as u32;
    if cpu.cpl != 0 || register != 0 || v & X87 == 0 || v & !ALL != 0 {
        return Err(Fault::GP0.into());
    }
    cpu.fpu.xcr0 = v;
    Ok(())
}
