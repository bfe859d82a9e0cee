//! Far transfers: JMP, CALL and RET between segments, through call gates and to tasks (Vol. 2A, CALL, JMP; Vol. 2B, RET; Vol. 3A, 5.8).

use super::access::{Stack, class_at, load_system, next_rip, set_cpl};
use super::segment::{bad, check_stack, far_pointer, fetch, fetch_upper, load_real, null, touch};
use super::task::{self, Switch};
use crate::{Cpu, Stop};
use arch::{Descriptor, Exception, Fault, Seg, Segment, Selector, Size, is_canonical};
use decode::{Code, Insn, Operand};
use semantics::operand;

/// Types of system descriptors and gates (Vol. 3A, table 3-2).
pub mod kind {
    pub const TSS16: u8 = 1;
    pub const TSS16_BUSY: u8 = 3;
    pub const CALL16: u8 = 4;
    pub const TASK: u8 = 5;
    pub const TSS32: u8 = 9;
    pub const TSS32_BUSY: u8 = 0xb;
    /// A 64-bit call gate in IA-32e mode.
    pub const CALL32: u8 = 0xc;
}

/// A code segment that control may go to, and the privilege level it will run at.
#[derive(Clone, Copy)]
pub struct Target {
    pub cs: Segment,
    pub cpl: u8,
    pub rip: u64,
}

impl Target {
    /// The operand and stack-pointer size of the target.
    pub fn is_64(&self, cpu: &Cpu) -> bool {
        cpu.mode.long() && self.cs.long()
    }

    /// #GP(0) if the offset is outside the limit or not canonical.
    pub fn check(&self, cpu: &Cpu) -> Result<(), Fault> {
        let ok = if self.is_64(cpu) {
            is_canonical(self.rip)
        } else {
            self.rip <= self.cs.limit.into()
        };
        if ok { Ok(()) } else { Err(Fault::GP0) }
    }

    /// Loads CS, CPL and rIP.
    pub fn commit(&self, cpu: &mut Cpu) {
        cpu.seg[Seg::Cs as usize] = self.cs;
        cpu.rip = self.rip;
        set_cpl(cpu, self.cpl);
    }
}

/// CS filled from a descriptor, its RPL replaced by the level it will run at.
pub fn code_segment(selector: Selector, d: Descriptor, cpl: u8) -> Segment {
    Segment::from_descriptor(selector.0 & !3 | u16::from(cpl), d)
}

/// IA-32e mode: a code segment with both L and D is reserved.
pub fn check_code_size(cpu: &Cpu, selector: Selector, d: Descriptor) -> Result<(), Fault> {
    if cpu.mode.long() && d.long() && d.default_big() {
        return Err(bad(Exception::GP, selector));
    }
    Ok(())
}

/// A code segment reached without a gate (Vol. 3A, 5.8.1): CPL stays.
fn direct(cpu: &mut Cpu, selector: Selector, d: Descriptor, rip: u64) -> Result<Target, Fault> {
    let cpl = cpu.cpl;
    let allowed = if d.is_conforming() {
        d.dpl() <= cpl
    } else {
        selector.rpl() <= cpl && d.dpl() == cpl
    };
    if !d.is_code() || !allowed {
        return Err(bad(Exception::GP, selector));
    }
    check_code_size(cpu, selector, d)?;
    if !d.present() {
        return Err(bad(Exception::NP, selector));
    }
    let t = Target {
        cs: code_segment(selector, d, cpl),
        cpl,
        rip,
    };
    t.check(cpu)?;
    Ok(t)
}

/// A call gate's contents.
struct Gate {
    selector: Selector,
    offset: u64,
    width: Size,
    parameters: u64,
}

/// Checks a call gate and the code segment behind it (Vol. 3A, 5.8.3, 5.8.4).
fn through_gate(
    cpu: &mut Cpu,
    selector: Selector,
    d: Descriptor,
    call: bool,
) -> Result<(Gate, Target), Fault> {
    let long = cpu.mode.long();
    if d.dpl() < cpu.cpl || selector.rpl() > d.dpl() {
        return Err(bad(Exception::GP, selector));
    }
    let upper = if long {
        fetch_upper(cpu, selector, Exception::GP)?
    } else {
        0
    };
    if !d.present() {
        return Err(bad(Exception::NP, selector));
    }
    let width = match (long, d.kind()) {
        (true, _) => Size::B64,
        (_, kind::CALL16) => Size::B16,
        _ => Size::B32,
    };
    let low = d.0 & 0xffff
        | if width == Size::B16 {
            0
        } else {
            d.0 >> 32 & 0xffff_0000
        };
    let gate = Gate {
        selector: Selector((d.0 >> 16) as u16),
        offset: low | upper << 32,
        width,
        parameters: d.0 >> 32 & 0x1f,
    };
    let s = gate.selector;
    if s.is_null() {
        return Err(Fault::GP0);
    }
    let c = fetch(cpu, s, Exception::GP)?;
    let cpl = cpu.cpl;
    let allowed = if d_conforming(c) || call {
        c.dpl() <= cpl
    } else {
        c.dpl() == cpl
    };
    let sized = !long || c.long() && !c.default_big();
    if !c.is_code() || !allowed || !sized {
        return Err(bad(Exception::GP, s));
    }
    if !c.present() {
        return Err(bad(Exception::NP, s));
    }
    let c = touch(cpu, s, c)?;
    let new = if call && !d_conforming(c) {
        c.dpl()
    } else {
        cpl
    };
    let target = Target {
        cs: code_segment(s, c, new),
        cpl: new,
        rip: gate.offset,
    };
    Ok((gate, target))
}

fn d_conforming(d: Descriptor) -> bool {
    d.is_code() && d.is_conforming()
}

/// The stack for privilege level `cpl` as the TSS has it (Vol. 3A, 5.8.5; 5.8.5.1).
pub fn inner_stack(cpu: &mut Cpu, cpl: u8) -> Result<Stack, Fault> {
    let tss = cpu.tr;
    let invalid = bad(Exception::TS, Selector(tss.selector));
    let n = u32::from(cpl);
    if cpu.mode.long() {
        let rsp = stack_pointer_of(cpu, 4 + 8 * n)?;
        return Ok(Stack {
            seg: null(Selector(cpl.into()), cpl),
            pointer: rsp,
            size: Size::B64,
            class: class_at(cpu, cpl),
            code: 0,
        });
    }
    let big = tss.kind() & 8 != 0;
    let (at, len) = if big { (4 + 8 * n, 6) } else { (2 + 4 * n, 4) };
    if at + len - 1 > tss.limit {
        return Err(invalid);
    }
    let at = tss.base.wrapping_add(at.into());
    let (pointer, selector) = if big {
        let p: u32 = load_system(cpu, at)?;
        (u64::from(p), load_system::<u16>(cpu, at.wrapping_add(4))?)
    } else {
        let p: u16 = load_system(cpu, at)?;
        (u64::from(p), load_system::<u16>(cpu, at.wrapping_add(2))?)
    };
    let seg = check_stack(cpu, Selector(selector), cpl, Exception::TS)?;
    Ok(Stack::new(cpu, seg, pointer, cpl))
}

/// A 64-bit stack pointer out of the TSS: RSPn or ISTn (Vol. 3A, 7.7).
pub fn stack_pointer_of(cpu: &mut Cpu, offset: u32) -> Result<u64, Fault> {
    let tss = cpu.tr;
    if offset + 7 > tss.limit {
        return Err(bad(Exception::TS, Selector(tss.selector)));
    }
    let rsp: u64 = load_system(cpu, tss.base.wrapping_add(offset.into()))?;
    if !is_canonical(rsp) {
        return Err(Fault::new(Exception::SS));
    }
    Ok(rsp)
}

/// Selector, offset and operand size of a far JMP or CALL.
fn operands(cpu: &mut Cpu, i: &Insn) -> Result<(Selector, u64, Size), Stop> {
    use Code::*;
    let width = match i.code {
        Jmp_ptr1616 | Call_ptr1616 | Jmp_m1616 | Call_m1616 => Size::B16,
        Jmp_m1664 | Call_m1664 => Size::B64,
        _ => Size::B32,
    };
    Ok(match i.ops[0] {
        Operand::Far { selector, offset } => (Selector(selector), offset.into(), width),
        _ => {
            let (s, o) = far_pointer(cpu, i, width)?;
            (Selector(s), o, width)
        }
    })
}

/// JMP far.
pub fn jmp(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let (selector, offset, _) = operands(cpu, i)?;
    if !cpu.mode.protected() {
        return real(cpu, selector, offset);
    }
    if selector.is_null() {
        return Err(Fault::GP0.into());
    }
    let d = fetch(cpu, selector, Exception::GP)?;
    if d.is_code_or_data() {
        let t = direct(cpu, selector, d, offset)?;
        touch(cpu, selector, d)?;
        t.commit(cpu);
        return Err(Stop::Branch);
    }
    match (d.kind(), cpu.mode.long()) {
        (kind::CALL32, _) | (kind::CALL16, false) => {
            let (_, t) = through_gate(cpu, selector, d, false)?;
            t.check(cpu)?;
            t.commit(cpu);
            Err(Stop::Branch)
        }
        (kind::TSS16 | kind::TSS32 | kind::TASK, false) => {
            to_task(cpu, selector, d, Switch::Jump, i)
        }
        _ => Err(bad(Exception::GP, selector).into()),
    }
}

fn real(cpu: &mut Cpu, selector: Selector, offset: u64) -> Result<(), Stop> {
    if offset > cpu.seg[Seg::Cs as usize].limit.into() {
        return Err(Fault::GP0.into());
    }
    load_real(cpu, Seg::Cs, selector.0);
    cpu.rip = offset;
    cpu.update_mode();
    Err(Stop::Branch)
}

/// To a task by its TSS or by a task gate (Vol. 3A, 7.3).
fn to_task(
    cpu: &mut Cpu,
    selector: Selector,
    d: Descriptor,
    how: Switch,
    i: &Insn,
) -> Result<(), Stop> {
    if d.dpl() < cpu.cpl || d.dpl() < selector.rpl() {
        return Err(bad(Exception::GP, selector).into());
    }
    if !d.present() {
        return Err(bad(Exception::NP, selector).into());
    }
    let next = next_rip(cpu, i);
    if d.kind() == kind::TASK {
        let tss = Selector((d.0 >> 16) as u16);
        task::switch_by_gate(cpu, tss, how, next, None)?;
    } else {
        task::switch(cpu, selector, d, how, next, None)?;
    }
    Err(Stop::Branch)
}

/// CALL far.
pub fn call(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    let (selector, offset, width) = operands(cpu, i)?;
    let next = next_rip(cpu, i);
    let cs = u64::from(cpu.seg[Seg::Cs as usize].selector);
    if !cpu.mode.protected() {
        if offset > cpu.seg[Seg::Cs as usize].limit.into() {
            return Err(Fault::GP0.into());
        }
        let mut stack = Stack::current(cpu);
        stack.push(cpu, width, cs)?;
        stack.push(cpu, width, next)?;
        stack.commit(cpu);
        return real(cpu, selector, offset);
    }
    if selector.is_null() {
        return Err(Fault::GP0.into());
    }
    let d = fetch(cpu, selector, Exception::GP)?;
    if d.is_code_or_data() {
        let t = direct(cpu, selector, d, offset)?;
        let mut stack = Stack::current(cpu);
        stack.push(cpu, width, cs)?;
        stack.push(cpu, width, next)?;
        touch(cpu, selector, d)?;
        stack.commit(cpu);
        t.commit(cpu);
        return Err(Stop::Branch);
    }
    match (d.kind(), cpu.mode.long()) {
        (kind::CALL32, _) | (kind::CALL16, false) => {
            let (gate, t) = through_gate(cpu, selector, d, true)?;
            call_gate(cpu, &gate, &t, next)?;
            Err(Stop::Branch)
        }
        (kind::TSS16 | kind::TSS32 | kind::TASK, false) => {
            to_task(cpu, selector, d, Switch::Call, i)
        }
        _ => Err(bad(Exception::GP, selector).into()),
    }
}

fn call_gate(cpu: &mut Cpu, gate: &Gate, t: &Target, next: u64) -> Result<(), Fault> {
    let cs = u64::from(cpu.seg[Seg::Cs as usize].selector);
    let w = gate.width;
    if t.cpl == cpu.cpl {
        t.check(cpu)?;
        let mut stack = Stack::current(cpu);
        if t.is_64(cpu) {
            stack.size = Size::B64;
        }
        stack.push(cpu, w, cs)?;
        stack.push(cpu, w, next)?;
        stack.commit(cpu);
        t.commit(cpu);
        return Ok(());
    }
    let mut new = inner_stack(cpu, t.cpl)?;
    let mut old = Stack::current(cpu);
    let (ss, sp) = (
        cpu.seg[Seg::Ss as usize].selector,
        cpu.gpr[4] & old.size.mask(),
    );
    // The parameters are read first: they may fault on the caller's stack.
    let mut parameters = [0; 31];
    let count = if w == Size::B64 {
        0
    } else {
        gate.parameters as usize
    };
    for p in parameters.iter_mut().take(count) {
        *p = old.pop(cpu, w)?;
    }
    t.check(cpu)?;
    new.push(cpu, w, ss.into())?;
    new.push(cpu, w, sp)?;
    for p in parameters.iter().take(count).rev() {
        new.push(cpu, w, *p)?;
    }
    new.push(cpu, w, cs)?;
    new.push(cpu, w, next)?;
    cpu.seg[Seg::Ss as usize] = new.seg;
    new.commit(cpu);
    t.commit(cpu);
    Ok(())
}

/// The code segment that RET or IRET returns to (Vol. 2B, RET, "RETURN-TO-...-PRIVILEGE-LEVEL").
pub fn return_target(cpu: &mut Cpu, selector: Selector, rip: u64) -> Result<Target, Fault> {
    if selector.is_null() {
        return Err(Fault::GP0);
    }
    let d = fetch(cpu, selector, Exception::GP)?;
    let rpl = selector.rpl();
    let allowed = rpl >= cpu.cpl
        && if d.is_conforming() {
            d.dpl() <= rpl
        } else {
            d.dpl() == rpl
        };
    if !d.is_code() || !allowed {
        return Err(bad(Exception::GP, selector));
    }
    check_code_size(cpu, selector, d)?;
    if !d.present() {
        return Err(bad(Exception::NP, selector));
    }
    let d = touch(cpu, selector, d)?;
    let t = Target {
        cs: code_segment(selector, d, rpl),
        cpl: rpl,
        rip,
    };
    t.check(cpu)?;
    Ok(t)
}

/// The stack segment that RET or IRET returns to.
pub fn return_stack(cpu: &mut Cpu, selector: Selector, t: &Target) -> Result<Segment, Fault> {
    if selector.is_null() {
        // Only 64-bit code below level 3 may run without a stack segment.
        if !t.is_64(cpu) || t.cpl == 3 || selector.rpl() != t.cpl {
            return Err(Fault::GP0);
        }
        return Ok(null(selector, t.cpl));
    }
    check_stack(cpu, selector, t.cpl, Exception::GP)
}

/// Loads SS:rSP, then CS:rIP of a return to an outer level, and hides segments that it may not see (Vol. 3A, 5.8.6). A hidden register keeps
/// its base, as on the chips: FS and GS have one in 64-bit mode.
pub fn commit_return(cpu: &mut Cpu, t: &Target, ss: Segment, sp: u64) {
    let size = if t.is_64(cpu) {
        Size::B64
    } else if ss.default_big() {
        Size::B32
    } else {
        Size::B16
    };
    cpu.seg[Seg::Ss as usize] = ss;
    super::access::set_stack_pointer(cpu, size, sp);
    if t.cpl > cpu.cpl {
        for s in [Seg::Es, Seg::Ds, Seg::Fs, Seg::Gs] {
            let r = &mut cpu.seg[s as usize];
            let conforming = r.is_code() && r.kind() & 4 != 0;
            if r.present() && !conforming && r.dpl() < t.cpl {
                let base = r.base;
                *r = Segment {
                    base,
                    ..null(Selector(0), 0)
                };
            }
        }
    }
    t.commit(cpu);
}

/// RET far, with the bytes to drop as an immediate.
pub fn ret(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    use Code::*;
    let width = match i.code {
        Retfw | Retfw_imm16 => Size::B16,
        Retfq | Retfq_imm16 => Size::B64,
        _ => Size::B32,
    };
    let extra = operand::immediate(i, 0) & 0xffff;
    let mut stack = Stack::current(cpu);
    let rip = stack.pop(cpu, width)?;
    let selector = Selector(stack.pop(cpu, width)? as u16);
    if !cpu.mode.protected() {
        if rip > cpu.seg[Seg::Cs as usize].limit.into() {
            return Err(Fault::GP0.into());
        }
        stack.drop(extra);
        stack.commit(cpu);
        return real(cpu, selector, rip);
    }
    let t = return_target(cpu, selector, rip)?;
    if t.cpl == cpu.cpl {
        stack.drop(extra);
        stack.commit(cpu);
        t.commit(cpu);
        return Err(Stop::Branch);
    }
    stack.drop(extra);
    let sp = stack.pop(cpu, width)?;
    let ss = Selector(stack.pop(cpu, width)? as u16);
    let ss = return_stack(cpu, ss, &t)?;
    commit_return(cpu, &t, ss, sp.wrapping_add(extra));
    Err(Stop::Branch)
}
