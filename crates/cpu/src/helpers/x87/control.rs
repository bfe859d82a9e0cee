//! Control (Vol. 1, 8.3.12): control, status and tag words, environment and state in memory (Vol. 1, 8.1.10, figures 8-9 to 8-12).

use super::stack::EXCEPTIONS;
use super::{available, load_f80, offset, ready, summarize, writable};
use crate::{Stop, state::Cpu};
use decode::{Code, Insn};
use semantics::emit::{Emit, Use, W16, W32, W64};
use semantics::operand::address;

/// FLDCW. Bit 6 reads as one, other reserved bits as zero. Masks decide what is pending.
pub fn set_control(cpu: &mut Cpu, v: u16) {
    cpu.fpu.fcw = v & 0x1f3f | 0x40;
    summarize(cpu);
}

/// FNINIT.
pub fn initialize(cpu: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    available(cpu)?;
    cpu.fpu.initialize();
    cpu.ferr.set(false);
    Ok(())
}

/// FNCLEX.
pub fn clear(cpu: &mut Cpu, _: &Insn) -> Result<(), Stop> {
    available(cpu)?;
    cpu.fpu.fsw &= !EXCEPTIONS;
    cpu.ferr.set(false);
    Ok(())
}

/// The seven words of an environment, whatever their width in memory.
struct Image {
    wide: bool,
    protected: bool,
}

impl Image {
    fn of(cpu: &Cpu, code: Code) -> Self {
        Self {
            wide: matches!(
                code,
                Code::Fnstenv_m28byte
                    | Code::Fldenv_m28byte
                    | Code::Fnsave_m108byte
                    | Code::Frstor_m108byte
            ),
            protected: cpu.mode.protected(),
        }
    }

    fn word(&self) -> u64 {
        if self.wide { 4 } else { 2 }
    }

    /// Bytes of the environment.
    fn bytes(&self) -> u64 {
        7 * self.word()
    }

    fn build(&self, cpu: &Cpu) -> [u32; 7] {
        let f = &cpu.fpu;
        // Reserved halves are ones, as processors store them.
        let reserved = 0xffff_0000;
        let [control, state, tags] =
            [f.fcw, f.status(), f.tag_word()].map(|w| reserved | u32::from(w));
        let fop = u32::from(f.fop & 0x7ff);
        if self.protected {
            let (fip, fdp) = (f.fip as u32, f.fdp as u32);
            let (fcs, fds) = (u32::from(f.fcs), u32::from(f.fds));
            return [
                control,
                state,
                tags,
                fip,
                fcs | fop << 16,
                fdp,
                reserved | fds,
            ];
        }
        // Real-address and virtual-8086 mode have linear addresses.
        let ip = (f.fip as u32).wrapping_add(u32::from(f.fcs) << 4);
        let dp = (f.fdp as u32).wrapping_add(u32::from(f.fds) << 4);
        let high = |p: u32| {
            if self.wide {
                p >> 16 << 12
            } else {
                p >> 16 << 12 & 0xf000
            }
        };
        [
            control,
            state,
            tags,
            reserved | ip & 0xffff,
            high(ip) | fop,
            reserved | dp & 0xffff,
            high(dp),
        ]
    }

    fn take(&self, cpu: &mut Cpu, w: [u32; 7]) {
        let f = &mut cpu.fpu;
        f.set_status(w[1] as u16);
        f.set_tag_word(w[2] as u16);
        if self.protected {
            f.fip = w[3].into();
            f.fcs = w[4] as u16;
            if self.wide {
                f.fop = (w[4] >> 16) as u16 & 0x7ff;
            }
            f.fdp = w[5].into();
            f.fds = w[6] as u16;
        } else {
            let high = |v: u32| {
                if self.wide {
                    v >> 12 << 16
                } else {
                    (v & 0xf000) << 4
                }
            };
            f.fip = (w[3] & 0xffff | high(w[4])).into();
            f.fcs = 0;
            f.fop = w[4] as u16 & 0x7ff;
            f.fdp = (w[5] & 0xffff | high(w[6])).into();
            f.fds = 0;
        }
        set_control(cpu, w[0] as u16);
    }

    fn store(&self, cpu: &mut Cpu, i: &Insn, a: u64) -> Result<(), Stop> {
        for (n, w) in (0..).zip(self.build(cpu)) {
            let at = offset(cpu, a, n * self.word());
            if self.wide {
                cpu.store::<W32>(i.mem.seg, at, w)?;
            } else {
                cpu.store::<W16>(i.mem.seg, at, w as u16)?;
            }
        }
        Ok(())
    }

    fn load(&self, cpu: &mut Cpu, i: &Insn, a: u64) -> Result<[u32; 7], Stop> {
        let mut words = [0; 7];
        for (n, w) in (0..).zip(&mut words) {
            let at = offset(cpu, a, n * self.word());
            *w = if self.wide {
                cpu.load::<W32>(i.mem.seg, at)?
            } else {
                cpu.load::<W16>(i.mem.seg, at)?.into()
            };
        }
        Ok(words)
    }
}

/// FNSTENV: stores the environment, then masks all exceptions.
pub fn store_environment(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    available(cpu)?;
    let image = Image::of(cpu, i.code);
    let a = writable(cpu, i, image.bytes() as u32)?;
    image.store(cpu, i, a)?;
    cpu.fpu.fcw |= 0x3f;
    summarize(cpu);
    Ok(())
}

/// FLDENV.
pub fn load_environment(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    let image = Image::of(cpu, i.code);
    let a = address(cpu, i, image.bytes() as u32, Use::Read)?;
    let words = image.load(cpu, i, a)?;
    image.take(cpu, words);
    Ok(())
}

/// FNSAVE: stores environment and registers, ST(0) first, then FNINIT.
pub fn save(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    available(cpu)?;
    let image = Image::of(cpu, i.code);
    let a = writable(cpu, i, image.bytes() as u32 + 80)?;
    image.store(cpu, i, a)?;
    for n in 0..8 {
        let v = cpu.fpu.stale(n);
        let at = offset(cpu, a, image.bytes() + 10 * u64::from(n));
        cpu.store::<W64>(i.mem.seg, at, v.significand)?;
        let at = offset(cpu, at, 8);
        cpu.store::<W16>(i.mem.seg, at, v.sign_exponent)?;
    }
    cpu.fpu.initialize();
    cpu.ferr.set(false);
    Ok(())
}

/// FRSTOR.
pub fn restore(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    let image = Image::of(cpu, i.code);
    let a = address(cpu, i, image.bytes() as u32 + 80, Use::Read)?;
    let words = image.load(cpu, i, a)?;
    let mut registers = [softfloat::F80::ZERO; 8];
    for (n, r) in (0..).zip(&mut registers) {
        let at = offset(cpu, a, image.bytes() + 10 * n);
        *r = load_f80(cpu, i.mem.seg, at)?;
    }
    image.take(cpu, words);
    let tags = cpu.fpu.tags;
    for (n, r) in (0..).zip(registers) {
        cpu.fpu.set_st(n, r);
    }
    cpu.fpu.tags = tags;
    Ok(())
}
