//! REP MOVS and REP STOS many iterations at a time.
//!
//! Invariant: what a call does is what so many whole iterations of the body would have done, and it does none that could fault, touch a
//! device, hit code or a breakpoint, or overlap so that the order shows. The last iteration is left to the body. Only pages that the TLB
//! serves already are touched: the body's own iterations bring in the next page.

use crate::state::Cpu;
use arch::{Gpr, PAGE_MASK, PAGE_SIZE, Rflags, Seg};
use decode::{Code, Insn};
use semantics::emit::Use;

/// The most bytes that one call moves, so that interrupts need not wait.
const MOST: u64 = 64 << 10;

/// Bytes of one element.
fn element(code: Code) -> u64 {
    match code {
        Code::Movsb_m8_m8 | Code::Stosb_m8_AL => 1,
        Code::Movsw_m16_m16 | Code::Stosw_m16_AX => 2,
        Code::Movsd_m32_m32 | Code::Stosd_m32_EAX => 4,
        _ => 8,
    }
}

/// A pointer register that moves upwards through a segment.
struct Run {
    register: u8,
    offset: u64,
    /// Linear address minus offset.
    base: u64,
}

impl Run {
    /// The run of `bytes` bytes from the register on, if all of it lies in the segment and the offset does not wrap.
    fn new(cpu: &Cpu, i: &Insn, seg: Seg, register: u8, bytes: u64, access: Use) -> Option<Self> {
        let mask = i.address.mask();
        let offset = cpu.gpr[usize::from(register)] & mask;
        if offset.checked_add(bytes)? > mask {
            return None;
        }
        let base = if cpu.mode.is_64() {
            match seg {
                Seg::Fs | Seg::Gs => cpu.segment(seg).base,
                _ => 0,
            }
        } else {
            cpu.check_segment_use(seg, offset, bytes, access).ok()?;
            cpu.segment(seg).base
        };
        let run = Self {
            register,
            offset,
            base,
        };
        // Outside 64-bit mode linear addresses wrap at 4 GiB; the body knows how.
        let end = run.linear().checked_add(bytes)?;
        (cpu.mode.is_64() || end <= 1 << 32).then_some(run)
    }

    fn linear(&self) -> u64 {
        self.base.wrapping_add(self.offset)
    }

    /// Bytes to the end of the page.
    fn room(&self) -> u64 {
        PAGE_SIZE - (self.linear() & PAGE_MASK)
    }

    /// Stores the register as the body would have left it.
    fn commit(&self, cpu: &mut Cpu, i: &Insn) {
        set_by_address_size(cpu, i, self.register, self.offset);
    }
}

fn set_by_address_size(cpu: &mut Cpu, i: &Insn, register: u8, v: u64) {
    let r = &mut cpu.gpr[usize::from(register)];
    *r = match i.address {
        arch::Size::B16 => *r & !0xffff | v & 0xffff,
        _ => v & i.address.mask(),
    };
}

/// How many iterations may be done at once; `None` if that is not worth the trouble.
fn iterations(cpu: &Cpu, i: &Insn, size: u64) -> Option<u64> {
    let count = cpu.gpr[usize::from(Gpr::RCX)] & i.address.mask();
    let n = count.saturating_sub(1).min(MOST / size);
    (n >= 4 && cpu.shortcuts.bulk && !cpu.system_flag(Rflags::DF) && !cpu.mode.trap()).then_some(n)
}

fn count_down(cpu: &mut Cpu, i: &Insn, done: u64) {
    let count = cpu.gpr[usize::from(Gpr::RCX)] & i.address.mask();
    set_by_address_size(cpu, i, Gpr::RCX, count - done);
}

/// REP MOVS.
pub fn movs(cpu: &mut Cpu, i: &Insn) {
    let size = element(i.code);
    let Some(n) = iterations(cpu, i, size) else {
        return;
    };
    let (Some(mut from), Some(mut to)) = (
        Run::new(cpu, i, i.mem.seg, Gpr::RSI, n * size, Use::Read),
        Run::new(cpu, i, Seg::Es, Gpr::RDI, n * size, Use::Write),
    ) else {
        return;
    };
    let mut done = 0;
    while done < n {
        let step = (from.room().min(to.room()) / size).min(n - done);
        let bytes = step * size;
        if step == 0
            || !cpu
                .mmu
                .tlb
                .copy(cpu.probe, from.linear(), to.linear(), bytes as usize)
        {
            break;
        }
        from.offset += bytes;
        to.offset += bytes;
        done += step;
    }
    if done > 0 {
        from.commit(cpu, i);
        to.commit(cpu, i);
        count_down(cpu, i, done);
    }
}

/// REP STOS.
pub fn stos(cpu: &mut Cpu, i: &Insn) {
    let size = element(i.code);
    let Some(n) = iterations(cpu, i, size) else {
        return;
    };
    let Some(mut to) = Run::new(cpu, i, Seg::Es, Gpr::RDI, n * size, Use::Write) else {
        return;
    };
    let value = cpu.gpr[usize::from(Gpr::RAX)];
    let mut done = 0;
    while done < n {
        let step = (to.room() / size).min(n - done);
        let (tlb, at, count) = (&cpu.mmu.tlb, to.linear(), step as usize);
        if step == 0
            || !match size {
                1 => tlb.fill_with(cpu.probe, at, value as u8, count),
                2 => tlb.fill_with(cpu.probe, at, value as u16, count),
                4 => tlb.fill_with(cpu.probe, at, value as u32, count),
                _ => tlb.fill_with(cpu.probe, at, value, count),
            }
        {
            break;
        }
        to.offset += step * size;
        done += step;
    }
    if done > 0 {
        to.commit(cpu, i);
        count_down(cpu, i, done);
    }
}
