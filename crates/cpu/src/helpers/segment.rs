//! Segment registers and system descriptors: MOV/POP Sreg, LDS..LGS, LLDT, LTR, LGDT and kin, LAR, LSL, VERR, VERW, ARPL, SWAPGS,
//! RD/WRFSBASE (Vol. 2; Vol. 3A, 3.4, 3.5, 5.3 to 5.10).

use super::access::{
    Stack, linear, load_system, require_cpl0, require_protected, set_stack_pointer, store_system,
};
use crate::{Cpu, Stop};
use arch::{Cr4, Descriptor, Exception, Fault, Rflags, Seg, Segment, Selector, Size, is_canonical};
use decode::{Code, Insn, Operand};
use semantics::Emit;
use semantics::emit::{Use, W16, W32, W64};
use semantics::operand;

/// The exception that a bad selector raises, with the selector as error code.
pub fn bad(exception: Exception, selector: Selector) -> Fault {
    Fault::with_code(exception, selector.error_code())
}

/// Linear address of a descriptor's first `bytes` bytes; `exception`(selector) outside its table.
fn descriptor_address(
    cpu: &Cpu,
    selector: Selector,
    bytes: u32,
    exception: Exception,
) -> Result<u64, Fault> {
    let (base, limit) = if selector.is_local() {
        if !cpu.ldtr.present() {
            return Err(bad(exception, selector));
        }
        (cpu.ldtr.base, cpu.ldtr.limit)
    } else {
        (cpu.gdtr.base, u32::from(cpu.gdtr.limit))
    };
    if selector.offset() + bytes - 1 > limit {
        return Err(bad(exception, selector));
    }
    Ok(base.wrapping_add(selector.offset().into()))
}

/// The descriptor that `selector` names.
pub fn fetch(cpu: &mut Cpu, selector: Selector, exception: Exception) -> Result<Descriptor, Fault> {
    let at = descriptor_address(cpu, selector, 8, exception)?;
    Ok(Descriptor(load_system(cpu, at)?))
}

/// The upper half of a 16-byte system descriptor of IA-32e mode (Vol. 3A, 7.2.3): base bits 63:32. Its type bits must be zero.
pub fn fetch_upper(cpu: &mut Cpu, selector: Selector, exception: Exception) -> Result<u64, Fault> {
    let at = descriptor_address(cpu, selector, 16, exception)?;
    let upper: u64 = load_system(cpu, at.wrapping_add(8))?;
    if upper >> 40 & 0x1f != 0 {
        return Err(bad(exception, selector));
    }
    Ok(upper)
}

/// Sets the accessed bit of a code or data descriptor in memory and answers the descriptor with it.
pub fn touch(cpu: &mut Cpu, selector: Selector, d: Descriptor) -> Result<Descriptor, Fault> {
    if d.kind() & 1 == 0 {
        set_kind_bits(cpu, selector, d, 1, 0)?;
    }
    Ok(Descriptor(d.0 | 1 << 40))
}

/// Sets and clears bits of the type field in memory: accessed, busy.
pub fn set_kind_bits(
    cpu: &mut Cpu,
    selector: Selector,
    d: Descriptor,
    set: u8,
    clear: u8,
) -> Result<(), Fault> {
    let at = descriptor_address(cpu, selector, 8, Exception::GP)?;
    let byte = (d.0 >> 40) as u8 & !clear | set;
    store_system::<u8>(cpu, at.wrapping_add(5), byte)
}

/// A segment register loaded in real-address or virtual-8086 mode (Vol. 3A, 20.1.1): in real mode the limit survives.
pub fn load_real(cpu: &mut Cpu, seg: Seg, selector: u16) {
    let vm86 = cpu.mode.vm86();
    let s = &mut cpu.seg[seg as usize];
    s.selector = selector;
    s.base = u64::from(selector) << 4;
    if vm86 {
        s.limit = 0xffff;
        s.attributes = 0xf3;
    } else {
        let kind = if seg == Seg::Cs {
            Segment::REAL_CODE
        } else {
            Segment::REAL_DATA
        };
        s.attributes = s.attributes & 0xd000 | kind;
    }
}

/// A register with a null selector: unusable. The DPL stands for CPL where SS may be null.
pub fn null(selector: Selector, dpl: u8) -> Segment {
    Segment {
        base: 0,
        limit: 0,
        selector: selector.0,
        attributes: u16::from(dpl) << 5,
    }
}

/// Checks a stack segment for privilege level `cpl` and answers its register; `exception` is #GP or, on the way to a new stack, #TS.
pub fn check_stack(
    cpu: &mut Cpu,
    selector: Selector,
    cpl: u8,
    exception: Exception,
) -> Result<Segment, Fault> {
    if selector.is_null() {
        return Err(bad(exception, selector));
    }
    let d = fetch(cpu, selector, exception)?;
    if selector.rpl() != cpl || !d.is_data() || !d.readable_or_writable() || d.dpl() != cpl {
        return Err(bad(exception, selector));
    }
    if !d.present() {
        return Err(bad(Exception::SS, selector));
    }
    let d = touch(cpu, selector, d)?;
    Ok(Segment::from_descriptor(selector.0, d))
}

/// Checks a selector for DS, ES, FS or GS and answers the register.
pub fn check_data(
    cpu: &mut Cpu,
    selector: Selector,
    cpl: u8,
    exception: Exception,
) -> Result<Segment, Fault> {
    if selector.is_null() {
        return Ok(null(selector, 0));
    }
    let d = fetch(cpu, selector, exception)?;
    let readable = d.is_data() || d.is_code() && d.readable_or_writable();
    if !readable {
        return Err(bad(exception, selector));
    }
    let conforming = d.is_code() && d.is_conforming();
    if !conforming && (selector.rpl() > d.dpl() || cpl > d.dpl()) {
        return Err(bad(exception, selector));
    }
    if !d.present() {
        return Err(bad(Exception::NP, selector));
    }
    let d = touch(cpu, selector, d)?;
    Ok(Segment::from_descriptor(selector.0, d))
}

/// Loads a segment register other than CS (Vol. 2B, MOV).
pub fn load(cpu: &mut Cpu, seg: Seg, selector: u16) -> Result<(), Fault> {
    if !cpu.mode.protected() {
        load_real(cpu, seg, selector);
    } else {
        let (s, cpl) = (Selector(selector), cpu.cpl);
        let new = if seg == Seg::Ss {
            if s.is_null() {
                if !cpu.mode.is_64() || cpl == 3 || s.rpl() != cpl {
                    return Err(Fault::GP0);
                }
                null(s, cpl)
            } else {
                check_stack(cpu, s, cpl, Exception::GP)?
            }
        } else {
            check_data(cpu, s, cpl, Exception::GP)?
        };
        cpu.seg[seg as usize] = new;
    }
    cpu.update_mode();
    Ok(())
}

/// After a segment load the code goes on under another mode if flatness or the stack's size changed; MOV SS and POP SS also open an
/// interrupt shadow.
fn loaded(cpu: &mut Cpu, seg: Seg, before: arch::Mode) -> Result<(), Stop> {
    if seg == Seg::Ss {
        cpu.shadow = true;
        return Err(Stop::End);
    }
    if cpu.mode == before {
        Ok(())
    } else {
        Err(Stop::End)
    }
}

fn destination(i: &Insn) -> Result<Seg, Fault> {
    match i.ops[0] {
        Operand::Seg(Seg::Cs) | Operand::None => Err(Fault::UD),
        Operand::Seg(s) => Ok(s),
        _ => Err(Fault::UD),
    }
}

/// MOV Sreg, r/m16.
pub fn mov_to_segment(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let seg = destination(i)?;
    let before = cpu.mode;
    let v = operand::read::<Cpu, W16>(cpu, i, 1)?;
    load(cpu, seg, v)?;
    loaded(cpu, seg, before)
}

/// POP Sreg.
pub fn pop_segment(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    use Code::*;
    let seg = destination(i)?;
    let before = cpu.mode;
    let width = match i.code {
        Popw_ES | Popw_SS | Popw_DS | Popw_FS | Popw_GS => Size::B16,
        Popq_FS | Popq_GS => Size::B64,
        _ => Size::B32,
    };
    let (size, mut stack) = (cpu.mode.stack(), Stack::current(cpu));
    let v = stack.pop(cpu, width)?;
    load(cpu, seg, v as u16)?;
    set_stack_pointer(cpu, size, stack.pointer);
    loaded(cpu, seg, before)
}

/// LDS, LES, LSS, LFS, LGS.
pub fn load_far_pointer(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    use Code::*;
    let (seg, width) = match i.code {
        Les_r16_m1616 => (Seg::Es, Size::B16),
        Les_r32_m1632 => (Seg::Es, Size::B32),
        Lds_r16_m1616 => (Seg::Ds, Size::B16),
        Lds_r32_m1632 => (Seg::Ds, Size::B32),
        Lss_r16_m1616 => (Seg::Ss, Size::B16),
        Lss_r32_m1632 => (Seg::Ss, Size::B32),
        Lss_r64_m1664 => (Seg::Ss, Size::B64),
        Lfs_r16_m1616 => (Seg::Fs, Size::B16),
        Lfs_r32_m1632 => (Seg::Fs, Size::B32),
        Lfs_r64_m1664 => (Seg::Fs, Size::B64),
        Lgs_r16_m1616 => (Seg::Gs, Size::B16),
        Lgs_r32_m1632 => (Seg::Gs, Size::B32),
        _ => (Seg::Gs, Size::B64),
    };
    let before = cpu.mode;
    let (selector, offset) = far_pointer(cpu, i, width)?;
    load(cpu, seg, selector)?;
    let r = operand::register(i, 0);
    match width {
        Size::B16 => cpu.set_reg::<W16>(r, offset as u16),
        Size::B32 => cpu.set_reg::<W32>(r, offset as u32),
        Size::B64 => cpu.set_reg::<W64>(r, offset),
    }
    // LSS opens no shadow: it loads both halves of the stack at once.
    if cpu.mode == before {
        Ok(())
    } else {
        Err(Stop::End)
    }
}

/// A far pointer in memory: offset of `width`, then selector.
pub fn far_pointer(cpu: &mut Cpu, i: &Insn, width: Size) -> Result<(u16, u64), Stop> {
    let n = width.bits() / 8;
    let at = operand::address(cpu, i, n + 2, Use::Read)?;
    let seg = i.mem.seg;
    let offset = match width {
        Size::B16 => cpu.load::<W16>(seg, at)?.into(),
        Size::B32 => cpu.load::<W32>(seg, at)?.into(),
        Size::B64 => cpu.load::<W64>(seg, at)?,
    };
    let second = linear(cpu, at.wrapping_add(n.into()));
    let selector = cpu.load::<W16>(seg, second)?;
    Ok((selector, offset))
}

/// LLDT.
pub fn lldt(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    require_protected(cpu)?;
    require_cpl0(cpu)?;
    let s = Selector(operand::read::<Cpu, W16>(cpu, i, 0)?);
    cpu.ldtr = check_ldt(cpu, s, Exception::GP)?;
    Ok(())
}

/// Checks an LDT selector and answers the register.
pub fn check_ldt(cpu: &mut Cpu, s: Selector, exception: Exception) -> Result<Segment, Fault> {
    if s.is_null() {
        return Ok(null(s, 0));
    }
    if s.is_local() {
        return Err(bad(exception, s));
    }
    let d = fetch(cpu, s, exception)?;
    if d.is_code_or_data() || d.kind() != 2 {
        return Err(bad(exception, s));
    }
    let upper = if cpu.mode.long() {
        fetch_upper(cpu, s, exception)?
    } else {
        0
    };
    if !d.present() {
        let e = if exception == Exception::GP {
            Exception::NP
        } else {
            exception
        };
        return Err(bad(e, s));
    }
    let mut new = Segment::from_descriptor(s.0, d);
    new.base |= upper << 32;
    if !is_canonical(new.base) && cpu.mode.long() {
        return Err(bad(exception, s));
    }
    Ok(new)
}

/// LTR: the TSS becomes busy.
pub fn ltr(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    require_protected(cpu)?;
    require_cpl0(cpu)?;
    let s = Selector(operand::read::<Cpu, W16>(cpu, i, 0)?);
    if s.is_null() {
        return Err(Fault::GP0.into());
    }
    if s.is_local() {
        return Err(bad(Exception::GP, s).into());
    }
    let d = fetch(cpu, s, Exception::GP)?;
    let long = cpu.mode.long();
    let available = !d.is_code_or_data() && (d.kind() == 9 || d.kind() == 1 && !long);
    if !available {
        return Err(bad(Exception::GP, s).into());
    }
    let upper = if long {
        fetch_upper(cpu, s, Exception::GP)?
    } else {
        0
    };
    if !d.present() {
        return Err(bad(Exception::NP, s).into());
    }
    let mut new = Segment::from_descriptor(s.0, Descriptor(d.0 | 2 << 40));
    new.base |= upper << 32;
    if long && !is_canonical(new.base) {
        return Err(bad(Exception::GP, s).into());
    }
    set_kind_bits(cpu, s, d, 2, 0)?;
    cpu.tr = new;
    Ok(())
}

/// #GP(0) where CR4.UMIP keeps SGDT, SIDT, SLDT, SMSW and STR from CPL > 0.
pub fn check_umip(cpu: &Cpu) -> Result<(), Fault> {
    if cpu.mmu.paging.cr4.contains(Cr4::UMIP) && cpu.cpl > 0 {
        return Err(Fault::GP0);
    }
    Ok(())
}

/// A store to memory is 16 bits wide, one to a register has the operand size (Vol. 2B, SLDT; SMSW; STR).
pub fn store_word(cpu: &mut Cpu, i: &Insn, v: u64) -> Result<(), Stop> {
    use Code::*;
    if i.ops[0] == Operand::Mem {
        return operand::write::<Cpu, W16>(cpu, i, 0, v as u16);
    }
    match i.code {
        Sldt_rm16 | Str_rm16 | Smsw_rm16 => operand::write::<Cpu, W16>(cpu, i, 0, v as u16),
        Sldt_r32m16 | Str_r32m16 | Smsw_r32m16 => operand::write::<Cpu, W32>(cpu, i, 0, v as u32),
        _ => operand::write::<Cpu, W64>(cpu, i, 0, v),
    }
}

/// SLDT.
pub fn sldt(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    require_protected(cpu)?;
    check_umip(cpu)?;
    store_word(cpu, i, cpu.ldtr.selector.into())
}

/// STR.
pub fn str(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    require_protected(cpu)?;
    check_umip(cpu)?;
    store_word(cpu, i, cpu.tr.selector.into())
}

/// LGDT and LIDT: with a 16-bit operand size only 24 bits of the base are loaded.
pub fn load_table(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    use Code::*;
    require_cpl0(cpu)?;
    let long = matches!(i.code, Lgdt_m1664 | Lidt_m1664);
    let at = operand::address(cpu, i, if long { 10 } else { 6 }, Use::Read)?;
    let seg = i.mem.seg;
    let limit = cpu.load::<W16>(seg, at)?;
    let second = linear(cpu, at.wrapping_add(2));
    let base = if long {
        let b = cpu.load::<W64>(seg, second)?;
        if !is_canonical(b) {
            return Err(Fault::GP0.into());
        }
        b
    } else {
        let b = u64::from(cpu.load::<W32>(seg, second)?);
        match i.code {
            Lgdt_m1632_16 | Lidt_m1632_16 => b & 0xff_ffff,
            _ => b,
        }
    };
    let table = match i.code {
        Lgdt_m1632_16 | Lgdt_m1632 | Lgdt_m1664 => &mut cpu.gdtr,
        _ => &mut cpu.idtr,
    };
    table.base = base;
    table.limit = limit;
    Ok(())
}

/// SGDT and SIDT.
pub fn store_table(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    use Code::*;
    check_umip(cpu)?;
    let long = matches!(i.code, Sgdt_m1664 | Sidt_m1664);
    let (base, limit) = match i.code {
        Sgdt_m1632_16 | Sgdt_m1632 | Sgdt_m1664 => (cpu.gdtr.base, cpu.gdtr.limit),
        _ => (cpu.idtr.base, cpu.idtr.limit),
    };
    let n = if long { 10 } else { 6 };
    let at = operand::address(cpu, i, n, Use::Write)?;
    let seg = i.mem.seg;
    cpu.probe_write(seg, at, n)?;
    cpu.store::<W16>(seg, at, limit)?;
    let second = linear(cpu, at.wrapping_add(2));
    if long {
        cpu.store::<W64>(seg, second, base)
    } else {
        // The 386 and later store all 32 bits (Vol. 2B, SGDT).
        cpu.store::<W32>(seg, second, base as u32)
    }
}

/// The descriptor that LAR, LSL, VERR or VERW ask about, if the selector names one within its table.
fn asked(cpu: &mut Cpu, s: Selector) -> Result<Option<Descriptor>, Fault> {
    if s.is_null() {
        return Ok(None);
    }
    match descriptor_address(cpu, s, 8, Exception::GP) {
        Err(_) => Ok(None),
        Ok(at) => Ok(Some(Descriptor(load_system(cpu, at)?))),
    }
}

/// Whether privilege lets a descriptor be seen (Vol. 3A, 5.10).
fn visible(cpu: &Cpu, s: Selector, d: Descriptor) -> bool {
    d.is_code() && d.is_conforming() || cpu.cpl <= d.dpl() && s.rpl() <= d.dpl()
}

fn set_zf(cpu: &mut Cpu, zf: bool) {
    let f = cpu.rflags() & !Rflags::ZF.bits();
    cpu.set_rflags(f | if zf { Rflags::ZF.bits() } else { 0 });
}

fn source_selector(cpu: &mut Cpu, i: &Insn, n: usize) -> Result<Selector, Stop> {
    Ok(Selector(operand::read::<Cpu, W16>(cpu, i, n)?))
}

/// LAR and LSL.
pub fn lar_lsl(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    use Code::*;
    require_protected(cpu)?;
    let s = source_selector(cpu, i, 1)?;
    let lar = matches!(i.code, Lar_r16_rm16 | Lar_r32_r32m16 | Lar_r64_r64m16);
    let long = cpu.mode.long();
    let found = asked(cpu, s)?.filter(|&d| {
        let kind_ok = d.is_code_or_data()
            || match d.kind() {
                1 | 3 => !long,
                2 | 9 | 0xb => true,
                4 | 5 => lar && !long,
                0xc => lar,
                _ => false,
            };
        kind_ok && visible(cpu, s, d)
    });
    let Some(d) = found else {
        set_zf(cpu, false);
        return Ok(());
    };
    let v = if lar {
        (d.0 >> 32) as u32 & 0x00ff_ff00
    } else {
        d.limit()
    };
    let r = operand::register(i, 0);
    match i.code {
        Lar_r16_rm16 | Lsl_r16_rm16 => cpu.set_reg::<W16>(r, v as u16),
        Lar_r32_r32m16 | Lsl_r32_r32m16 => cpu.set_reg::<W32>(r, v),
        _ => cpu.set_reg::<W64>(r, v.into()),
    }
    set_zf(cpu, true);
    Ok(())
}

/// VERR and VERW.
pub fn verify(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    use Code::*;
    require_protected(cpu)?;
    let s = source_selector(cpu, i, 0)?;
    let write = matches!(i.code, Verw_rm16 | Verw_r32m16 | Verw_r64m16);
    let found = asked(cpu, s)?;
    let ok = found.is_some_and(|d| {
        let right = if write {
            d.is_data() && d.readable_or_writable()
        } else {
            d.is_data() || d.is_code() && d.readable_or_writable()
        };
        right && visible(cpu, s, d)
    });
    set_zf(cpu, ok);
    Ok(())
}

/// ARPL.
pub fn arpl(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    require_protected(cpu)?;
    // DEST is written, and must be writable, only if it changes.
    let dst = operand::read::<Cpu, W16>(cpu, i, 0)?;
    let src = operand::read::<Cpu, W16>(cpu, i, 1)?;
    let adjust = dst & 3 < src & 3;
    if adjust {
        operand::write::<Cpu, W16>(cpu, i, 0, dst & !3 | src & 3)?;
    }
    set_zf(cpu, adjust);
    Ok(())
}

/// SWAPGS.
pub fn swapgs(cpu: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    if !cpu.mode.is_64() {
        return Err(Fault::UD.into());
    }
    require_cpl0(cpu)?;
    std::mem::swap(
        &mut cpu.seg[Seg::Gs as usize].base,
        &mut cpu.msr.kernel_gs_base,
    );
    Ok(())
}

/// RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE.
pub fn segment_base(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    use Code::*;
    if !cpu.mode.is_64() || !cpu.mmu.paging.cr4.contains(Cr4::FSGSBASE) {
        return Err(Fault::UD.into());
    }
    let seg = match i.code {
        Rdfsbase_r32 | Rdfsbase_r64 | Wrfsbase_r32 | Wrfsbase_r64 => Seg::Fs,
        _ => Seg::Gs,
    };
    let base = cpu.seg[seg as usize].base;
    match i.code {
        Rdfsbase_r32 | Rdgsbase_r32 => operand::write::<Cpu, W32>(cpu, i, 0, base as u32),
        Rdfsbase_r64 | Rdgsbase_r64 => operand::write::<Cpu, W64>(cpu, i, 0, base),
        Wrfsbase_r32 | Wrgsbase_r32 => {
            let v = operand::read::<Cpu, W32>(cpu, i, 0)?;
            cpu.seg[seg as usize].base = v.into();
            Ok(())
        }
        _ => {
            let v = operand::read::<Cpu, W64>(cpu, i, 0)?;
            if !is_canonical(v) {
                return Err(Fault::GP0.into());
            }
            cpu.seg[seg as usize].base = v;
            Ok(())
        }
    }
}
