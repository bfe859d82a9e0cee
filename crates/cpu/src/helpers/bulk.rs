//! REP MOVS and REP STOS many iterations at a time.
//!
//! Invariant: what a call does is what so many whole iterations of the body would have done, and it does none that could fault, touch a
//! device, hit code or a breakpoint, or overlap so that the order shows. The last iteration is left to the body. A page that the next
//! iteration touches anyhow may be brought into the TLB; what that faults with is left to the iteration.

use crate::state::Cpu;
use arch::{Gpr, PAGE_MASK, PAGE_SIZE, Rflags, Seg};
use decode::{Code, Insn};
use memory::Access;
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

/// A pointer register that moves through a segment.
struct Run {
    register: u8,
    /// Of the next element.
    offset: u64,
    /// Linear address minus offset.
    base: u64,
    size: u64,
    down: bool,
}

impl Run {
    /// The run of `n` elements of `size` bytes from the register on, if all of it lies in the segment and the offset does not wrap.
    fn new(
        cpu: &Cpu,
        i: &Insn,
        seg: Seg,
        register: u8,
        (n, size): (u64, u64),
        access: Use,
    ) -> Option<Self> {
        let mask = i.address.mask();
        let offset = cpu.gpr[usize::from(register)] & mask;
        let down = cpu.system_flag(Rflags::DF);
        let bytes = n * size;
        let low = match down {
            true => offset.checked_sub(bytes)?,
            false => offset,
        };
        // Downwards the element at the end belongs to the run and the one at the start does not: both ends are looked at.
        let bytes = if down { bytes + size } else { bytes };
        if low.checked_add(bytes)? > mask {
            return None;
        }
        let base = if cpu.mode.is_64() {
            match seg {
                Seg::Fs | Seg::Gs => cpu.segment(seg).base,
                _ => 0,
            }
        } else {
            cpu.check_segment_use(seg, low, bytes, access).ok()?;
            cpu.segment(seg).base
        };
        // Outside 64-bit mode linear addresses wrap at 4 GiB; the body knows how.
        let end = base.wrapping_add(low).checked_add(bytes)?;
        (cpu.mode.is_64() || end <= 1 << 32).then_some(Self {
            register,
            offset,
            base,
            size,
            down,
        })
    }

    /// The linear address of the next element.
    fn linear(&self) -> u64 {
        self.base.wrapping_add(self.offset)
    }

    /// Elements from the next one on that lie wholly in its page.
    fn room(&self) -> u64 {
        let at = self.linear() & PAGE_MASK;
        let left = PAGE_SIZE - at;
        match self.down {
            false => left / self.size,
            true if left < self.size => 0,
            true => at / self.size + 1,
        }
    }

    /// The lowest linear address of the next `n` elements.
    fn lowest(&self, n: u64) -> u64 {
        match self.down {
            false => self.linear(),
            true => self.linear() - (n - 1) * self.size,
        }
    }

    /// How many of the next `n` elements lie in the `free` bytes from the lowest on.
    fn before(&self, free: usize, n: u64) -> u64 {
        let fit = free as u64 / self.size;
        match self.down {
            false => n.min(fit),
            // All or nothing: they are taken from the top.
            true if fit < n => 0,
            true => n,
        }
    }

    fn advance(&mut self, n: u64) {
        self.offset = match self.down {
            false => self.offset.wrapping_add(n * self.size),
            true => self.offset.wrapping_sub(n * self.size),
        };
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
    // The array that lets nothing through is probed where every access must be looked at.
    let checked = cpu.probe != cpu.class as usize;
    (n >= 4 && cpu.shortcuts.bulk && !checked && !cpu.mode.trap()).then_some(n)
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
        Run::new(cpu, i, i.mem.seg, Gpr::RSI, (n, size), Use::Read),
        Run::new(cpu, i, Seg::Es, Gpr::RDI, (n, size), Use::Write),
    ) else {
        return;
    };
    let mut done = 0;
    while done < n {
        let room = from.room().min(to.room()).min(n - done);
        let step = if room > 0 {
            copy(cpu, &from, &to, room)
        } else {
            0
        };
        if step == 0 {
            break;
        }
        from.advance(step);
        to.advance(step);
        done += step;
    }
    if done > 0 {
        from.commit(cpu, i);
        to.commit(cpu, i);
        count_down(cpu, i, done);
    }
}

/// Copies `n` elements inside one page each, or as many as come before code; none if the loop would read what it wrote, or if the fast path
/// serves one of the two pages not.
fn copy(cpu: &mut Cpu, from: &Run, to: &Run, n: u64) -> u64 {
    let (class, len) = (cpu.class, (n * from.size) as usize);
    let (f, t) = (from.lowest(n), to.lowest(n));
    let Some(f) = cpu.mmu.page_for(class, f, len, Access::Read) else {
        return 0;
    };
    let Some((t, free)) = cpu.mmu.page_for_write(class, t, len) else {
        return 0;
    };
    let ahead = if from.down {
        f.0.wrapping_sub(t.0)
    } else {
        t.0.wrapping_sub(f.0)
    };
    if (1..len as u64).contains(&ahead) {
        return 0;
    }
    let n = to.before(free, n);
    let bytes = (n * to.size) as usize;
    match cpu.mmu.ram().copy(f, t, bytes) {
        Ok(()) => n,
        Err(_) => 0,
    }
}

/// REP STOS.
pub fn stos(cpu: &mut Cpu, i: &Insn) {
    let size = element(i.code);
    let Some(n) = iterations(cpu, i, size) else {
        return;
    };
    let Some(mut to) = Run::new(cpu, i, Seg::Es, Gpr::RDI, (n, size), Use::Write) else {
        return;
    };
    let mut done = 0;
    while done < n {
        let room = to.room().min(n - done);
        let step = if room > 0 { fill(cpu, &to, room) } else { 0 };
        if step == 0 {
            break;
        }
        to.advance(step);
        done += step;
    }
    if done > 0 {
        to.commit(cpu, i);
        count_down(cpu, i, done);
    }
}

/// Fills `n` elements inside one page, or as many as come before code.
fn fill(cpu: &mut Cpu, to: &Run, n: u64) -> u64 {
    let len = (n * to.size) as usize;
    let Some((t, free)) = cpu.mmu.page_for_write(cpu.class, to.lowest(n), len) else {
        return 0;
    };
    let n = to.before(free, n);
    let value = cpu.gpr[usize::from(Gpr::RAX)];
    match cpu.mmu.ram().fill(t, value, to.size as usize, n as usize) {
        Ok(()) => n,
        Err(_) => 0,
    }
}
