//! The 80286 vectors judged: which rule excludes a test, how one is run, what is compared.
//!
//! The vectors come from a real 80286 in real mode; Ferry is a later processor. Where the two differ by design, a rule of [`Rule`] says so.

use crate::moo::{REGISTERS, Test};
use crate::undefined::{self, Chip};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic as M, Register};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Positions in [`REGISTERS`].
pub mod reg {
    /// CX
    pub const CX: usize = 2;
    /// CS
    pub const CS: usize = 4;
    /// SS
    pub const SS: usize = 5;
    /// SP
    pub const SP: usize = 8;
    /// IP
    pub const IP: usize = 12;
    /// FLAGS
    pub const FLAGS: usize = 13;
}

/// IOPL and NT: real mode on the 286 keeps them clear, later processors let POPF and IRET set them (SDM Vol. 3, 21.1).
const TOP_FLAGS: u16 = 0xf000;
const HLT: u8 = 0xf4;
const LOCK: u8 = 0xf0;
const REPNE: u8 = 0xf2;

/// A real-mode processor with 16 MiB of RAM whose port reads answer all ones.
pub trait RealMode {
    /// Start over: plain RAM of zeros but for `ram`, registers in the order of [`REGISTERS`].
    fn load(&mut self, regs: &[u16; 14], ram: &[(u32, u8)]);
    /// Run until HLT; `Err` says why it did not come to that.
    fn run(&mut self) -> Result<(), String>;
    /// The registers now, without FLAGS.
    fn regs(&self) -> [u16; 14];
    /// FLAGS now.
    fn flags(&mut self) -> u16;
    /// A byte of RAM now.
    fn byte(&self, addr: u32) -> u8;
}

/// Why a test says nothing about a later processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Instructions of more than 10 bytes: #GP on the 286, allowed up to 15 bytes later.
    Long,
    /// LOCK before a string instruction: ignored by the 286, #UD later (SDM Vol. 2, LOCK). Elsewhere LOCK is replaced by a prefix
    /// that is ignored, so that the rest of the test still counts.
    LockedString,
    /// A word of a string instruction at offset FFFF: #GP on both, but the 286 has moved SI and DI by then, where later processors
    /// restart from where they were.
    StringWrap,
    /// A stack reference across offset FFFF: interrupt 13 on the 286, #SS (12) on later processors (SDM Vol. 3, 21.2.2).
    StackWrap,
    /// MOV to or from segment register 4 or 5: #UD on the 286, FS and GS later.
    FsGs,
}

impl Rule {
    /// The rule that excludes `t`.
    pub fn of(t: &Test, i: &Instruction) -> Option<Self> {
        let wraps = t.exception.is_some_and(|e| e.number == 13);
        let fs_gs = |r: Register| matches!(r, Register::FS | Register::GS);
        if t.bytes.len() > 11 {
            Some(Self::Long)
        } else if i.is_string_instruction() && prefixes(&t.bytes).contains(&LOCK) {
            Some(Self::LockedString)
        } else if wraps && i.is_string_instruction() {
            Some(Self::StringWrap)
        } else if wraps && (i.is_stack_instruction() || i.memory_segment() == Register::SS) {
            Some(Self::StackWrap)
        } else if i.mnemonic() == M::Mov && (fs_gs(i.op0_register()) || fs_gs(i.op1_register())) {
            Some(Self::FsGs)
        } else {
            None
        }
    }
}

fn prefixes(bytes: &[u8]) -> &[u8] {
    let n = bytes
        .iter()
        .take_while(|b| matches!(**b, 0x26 | 0x2e | 0x36 | 0x3e | LOCK | REPNE | 0xf3))
        .count();
    &bytes[..n]
}

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As on the chip.
    Pass,
    /// Not run.
    Excluded(Rule),
    /// What differs.
    Fail(String),
}

/// Run and judge one test.
pub fn judge(t: &Test, cpu: &mut dyn RealMode) -> Verdict {
    let mut bytes = t.bytes.clone();
    let locked = prefixes(&bytes).len();
    for b in &mut bytes[..locked] {
        if *b == LOCK {
            *b = REPNE;
        }
    }
    let i = Decoder::with_ip(16, &bytes, 0, DecoderOptions::NO_INVALID_CHECK).decode();
    if let Some(rule) = Rule::of(t, &i) {
        return Verdict::Excluded(rule);
    }
    let mut regs = t.initial.regs.map(Option::unwrap_or_default);
    regs[reg::FLAGS] &= !TOP_FLAGS;
    let mut ram = t.initial.ram.clone();
    let start = u32::from(regs[reg::CS]) << 4;
    for (n, b) in bytes[..locked].iter().enumerate() {
        ram.push((start + u32::from(regs[reg::IP].wrapping_add(n as u16)), *b));
    }
    let before: BTreeMap<u32, u8> = ram.iter().copied().collect();
    if let Some(e) = t.exception {
        let word = |at: u32| {
            u32::from(before.get(&at).copied().unwrap_or(0))
                | u32::from(before.get(&(at + 1)).copied().unwrap_or(0)) << 8
        };
        let vector = u32::from(e.number) * 4;
        ram.push(((word(vector + 2) << 4) + word(vector), HLT));
    }
    cpu.load(&regs, &ram);
    let ran = cpu.run();
    let open = undefined::flags(&i, regs[reg::CX] as u8, Chip::Any).0 as u16 | TOP_FLAGS;
    let mut text = String::new();
    if let Err(why) = ran {
        let _ = write!(text, "{why}; ");
    }
    let mut now = cpu.regs();
    now[reg::FLAGS] = cpu.flags();
    for (n, name) in REGISTERS.iter().enumerate() {
        let mask = if n == reg::FLAGS { !open } else { u16::MAX };
        let want = t.last.regs[n].unwrap_or(regs[n]);
        if (want ^ now[n]) & mask != 0 {
            let _ = write!(
                text,
                "{name} {:04x} for {:04x}; ",
                now[n] & mask,
                want & mask
            );
        }
    }
    // The recorded address of the FLAGS image is that of a bus word; the stack pointer tells the byte.
    let sp = t.last.regs[reg::SP]
        .unwrap_or(regs[reg::SP])
        .wrapping_add(4);
    let image = t
        .exception
        .map(|_| (u32::from(regs[reg::SS]) << 4) + u32::from(sp));
    for &(addr, want) in &t.last.ram {
        let mask = match image {
            Some(at) if addr == at => !(open as u8),
            Some(at) if addr == at + 1 => !((open >> 8) as u8),
            _ => pushed_flags(&i, &now, addr),
        };
        let now = cpu.byte(addr);
        if (want ^ now) & mask != 0 {
            let _ = write!(
                text,
                "[{addr:06x}] {:02x} for {:02x}; ",
                now & mask,
                want & mask
            );
        }
    }
    if text.is_empty() {
        Verdict::Pass
    } else {
        Verdict::Fail(format!("{} #{} {:02x?}: {text}", t.name, t.index, t.bytes))
    }
}

/// What counts of a byte that PUSHF wrote: not the top flags.
fn pushed_flags(i: &Instruction, now: &[u16; 14], addr: u32) -> u8 {
    let top = (u32::from(now[reg::SS]) << 4) + u32::from(now[reg::SP]);
    if i.mnemonic() == M::Pushf && addr == top + 1 {
        0x0f
    } else {
        0xff
    }
}
