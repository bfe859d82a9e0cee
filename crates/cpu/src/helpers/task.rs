//! Hardware task switches (Vol. 3A, chapter 7).
//!
//! Everything that can fault in the old task's context is read or probed first; from the moment the registers are replaced, faults belong
//! to the new task (Vol. 3A, 7.3, step 11 on).

use super::access::{Stack, load_system, set_cpl, store_system};
use super::far::{code_segment, kind};
use super::segment::{bad, check_data, check_ldt, check_stack, fetch, null, set_kind_bits, touch};
use crate::Cpu;
use arch::control::debug;
use arch::{Cr0, Cr4, Descriptor, Exception, Fault, Rflags, Seg, Segment, Selector, Size};
use memory::Class;

/// What caused the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Switch {
    /// JMP.
    Jump,
    /// CALL, or an interrupt or exception through a task gate: the new task is nested.
    Call,
    /// IRET with NT set.
    Return,
}

/// What a TSS says (Vol. 3A, 7.2.1, 7.6).
#[derive(Default)]
struct Image {
    cr3: u32,
    eip: u32,
    eflags: u32,
    gpr: [u32; 8],
    seg: [u16; 6],
    ldt: u16,
    trap: bool,
}

/// The least limit of a TSS of this size.
const fn least(big: bool) -> u32 {
    if big { 0x67 } else { 0x2b }
}

fn read(cpu: &mut Cpu, base: u64, big: bool) -> Result<Image, Fault> {
    let mut t = Image::default();
    if big {
        t.cr3 = load_system(cpu, base.wrapping_add(0x1c))?;
        t.eip = load_system(cpu, base.wrapping_add(0x20))?;
        t.eflags = load_system(cpu, base.wrapping_add(0x24))?;
        for (n, r) in t.gpr.iter_mut().enumerate() {
            *r = load_system(cpu, base.wrapping_add(0x28 + 4 * n as u64))?;
        }
        for (n, s) in t.seg.iter_mut().enumerate() {
            *s = load_system(cpu, base.wrapping_add(0x48 + 4 * n as u64))?;
        }
        t.ldt = load_system(cpu, base.wrapping_add(0x60))?;
        t.trap = load_system::<u16>(cpu, base.wrapping_add(0x64))? & 1 != 0;
    } else {
        t.eip = load_system::<u16>(cpu, base.wrapping_add(0x0e))?.into();
        t.eflags = load_system::<u16>(cpu, base.wrapping_add(0x10))?.into();
        for (n, r) in t.gpr.iter_mut().enumerate() {
            // The upper halves are not in a 16-bit TSS (Vol. 3A, 7.6): they read as ones.
            *r = u32::from(load_system::<u16>(
                cpu,
                base.wrapping_add(0x12 + 2 * n as u64),
            )?) | 0xffff_0000;
        }
        for (n, s) in t.seg.iter_mut().take(4).enumerate() {
            *s = load_system(cpu, base.wrapping_add(0x22 + 2 * n as u64))?;
        }
        t.ldt = load_system(cpu, base.wrapping_add(0x2a))?;
    }
    Ok(t)
}

fn save(cpu: &mut Cpu, base: u64, big: bool, eflags: u64, next: u64) -> Result<(), Fault> {
    if big {
        store_system(cpu, base.wrapping_add(0x20), next as u32)?;
        store_system(cpu, base.wrapping_add(0x24), eflags as u32)?;
        for n in 0..8 {
            let v = cpu.gpr[n] as u32;
            store_system(cpu, base.wrapping_add(0x28 + 4 * n as u64), v)?;
        }
        for n in 0..6 {
            let v = cpu.seg[n].selector;
            store_system(cpu, base.wrapping_add(0x48 + 4 * n as u64), v)?;
        }
    } else {
        store_system(cpu, base.wrapping_add(0x0e), next as u16)?;
        store_system(cpu, base.wrapping_add(0x10), eflags as u16)?;
        for n in 0..8 {
            let v = cpu.gpr[n] as u16;
            store_system(cpu, base.wrapping_add(0x12 + 2 * n as u64), v)?;
        }
        for n in 0..4 {
            let v = cpu.seg[n].selector;
            store_system(cpu, base.wrapping_add(0x22 + 2 * n as u64), v)?;
        }
    }
    Ok(())
}

/// To the task whose TSS selector stands in a task gate.
pub fn switch_by_gate(
    cpu: &mut Cpu,
    tss: Selector,
    how: Switch,
    next: u64,
    error_code: Option<u32>,
) -> Result<(), Fault> {
    if tss.is_null() || tss.is_local() {
        return Err(bad(Exception::GP, tss));
    }
    let d = fetch(cpu, tss, Exception::GP)?;
    if d.is_code_or_data() || !matches!(d.kind(), kind::TSS16 | kind::TSS32) {
        return Err(bad(Exception::GP, tss));
    }
    if !d.present() {
        return Err(bad(Exception::NP, tss));
    }
    switch(cpu, tss, d, how, next, error_code)
}

/// IRET with NT: back to the task that the TSS links to.
pub fn switch_back(cpu: &mut Cpu, next: u64) -> Result<(), Fault> {
    let base = cpu.tr.base;
    let s = Selector(load_system::<u16>(cpu, base)?);
    if s.is_null() || s.is_local() {
        return Err(bad(Exception::TS, s));
    }
    let d = fetch(cpu, s, Exception::TS)?;
    if d.is_code_or_data() || !matches!(d.kind(), kind::TSS16_BUSY | kind::TSS32_BUSY) {
        return Err(bad(Exception::TS, s));
    }
    if !d.present() {
        return Err(bad(Exception::NP, s));
    }
    switch(cpu, s, d, Switch::Return, next, None)
}

/// Switches to the task of TSS descriptor `d`, whose type and privilege the caller has checked. `next` is where the old task will go on.
pub fn switch(
    cpu: &mut Cpu,
    selector: Selector,
    d: Descriptor,
    how: Switch,
    next: u64,
    error_code: Option<u32>,
) -> Result<(), Fault> {
    let big = d.kind() & 8 != 0;
    if d.limit() < least(big) {
        return Err(bad(Exception::TS, selector));
    }
    let (base, old) = (d.base(), cpu.tr);
    let old_big = old.kind() & 8 != 0;
    let image = read(cpu, base, big)?;
    cpu.probe_slow(
        Class::Supervisor,
        Seg::Ds,
        old.base,
        u64::from(least(old_big)) + 1,
    )?;

    let mut eflags = cpu.rflags();
    if how == Switch::Return {
        eflags &= !Rflags::NT.bits();
    }
    if how != Switch::Call {
        let o = Selector(old.selector);
        let od = fetch(cpu, o, Exception::TS)?;
        set_kind_bits(cpu, o, od, 0, 2)?;
    }
    save(cpu, old.base, old_big, eflags, next)?;
    if how == Switch::Call {
        store_system(cpu, base, old.selector)?;
    }
    if how != Switch::Return {
        set_kind_bits(cpu, selector, d, 2, 0)?;
    }
    cpu.tr = Segment::from_descriptor(selector.0, Descriptor(d.0 | 2 << 40));
    cpu.mmu.paging.cr0 |= Cr0::TS;
    cpu.dr[7] &= !0x155;
    enter(cpu, &image, big, how)?;

    if let Some(code) = error_code {
        let mut stack = Stack::current(cpu);
        let width = if big { Size::B32 } else { Size::B16 };
        stack.push(cpu, width, code.into())?;
        stack.commit(cpu);
    }
    if image.trap {
        cpu.pending_debug |= debug::DR6_BT;
    }
    if cpu.rip > cpu.seg[Seg::Cs as usize].limit.into() {
        return Err(Fault::GP0);
    }
    Ok(())
}

/// Loads the new task's registers, then its segments: faults from here on are the new task's.
fn enter(cpu: &mut Cpu, t: &Image, big: bool, how: Switch) -> Result<(), Fault> {
    if big && cpu.mmu.paging.cr0.contains(Cr0::PG) {
        cpu.mmu.paging.cr3 = t.cr3.into();
        cpu.mmu.tlb.flush_non_global();
    }
    cpu.rip = t.eip.into();
    for (r, v) in cpu.gpr.iter_mut().zip(t.gpr) {
        *r = v.into();
    }
    let mut eflags = u64::from(t.eflags) & super::flags::WRITABLE | Rflags::FIXED.bits();
    if how == Switch::Call {
        eflags |= Rflags::NT.bits();
    }
    let vm86 = eflags & Rflags::VM.bits() != 0;
    for (s, &selector) in cpu.seg.iter_mut().zip(&t.seg) {
        *s = if vm86 {
            Segment::real(selector, 0xf3)
        } else {
            null(Selector(selector), 0)
        };
    }
    let cs = Selector(t.seg[Seg::Cs as usize]);
    cpu.cpl = if vm86 { 3 } else { cs.rpl() };
    cpu.set_rflags(eflags);

    let ldt = Selector(t.ldt);
    cpu.ldtr = null(ldt, 0);
    if big && cpu.mmu.paging.cr0.contains(Cr0::PG) && cpu.mmu.paging.cr4.contains(Cr4::PAE) {
        let ram = cpu.mmu.ram().clone();
        if !cpu.mmu.paging.load_pdptes(&ram) {
            return Err(Fault::GP0);
        }
    }
    cpu.ldtr = check_ldt(cpu, ldt, Exception::TS)?;
    if vm86 {
        return Ok(());
    }
    if cs.is_null() {
        return Err(bad(Exception::TS, cs));
    }
    let d = fetch(cpu, cs, Exception::TS)?;
    let level = if d.is_conforming() {
        d.dpl() <= cs.rpl()
    } else {
        d.dpl() == cs.rpl()
    };
    if !d.is_code() || !level {
        return Err(bad(Exception::TS, cs));
    }
    if !d.present() {
        return Err(bad(Exception::NP, cs));
    }
    let d = touch(cpu, cs, d)?;
    let cpl = cs.rpl();
    cpu.seg[Seg::Cs as usize] = code_segment(cs, d, cpl);
    set_cpl(cpu, cpl);
    let ss = check_stack(cpu, Selector(t.seg[Seg::Ss as usize]), cpl, Exception::TS)?;
    cpu.seg[Seg::Ss as usize] = ss;
    cpu.update_mode();
    for s in [Seg::Ds, Seg::Es, Seg::Fs, Seg::Gs] {
        cpu.seg[s as usize] = check_data(cpu, Selector(t.seg[s as usize]), cpl, Exception::TS)?;
    }
    cpu.update_mode();
    Ok(())
}
