//! Listings of guest and host code for people.

use arch::{Mode, Seg, Size};
use cpu::Cpu;
use decode::Insn;
use memory::{Access, Target};
use std::fmt::Write;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// What `--dump` shows of each block as it is translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dump {
    pub guest: bool,
    pub host: bool,
    /// The Cranelift IR of regions.
    pub clif: bool,
    /// Only blocks with code at these linear addresses.
    pub range: Option<RangeInclusive<u64>>,
    /// Where it goes: standard error if nothing is named.
    pub file: Option<PathBuf>,
}

impl Dump {
    /// Whether a block of `bytes` bytes at `linear` is wanted.
    pub fn wants(&self, linear: u64, bytes: u64) -> bool {
        let last = linear.saturating_add(bytes.saturating_sub(1));
        self.range
            .as_ref()
            .is_none_or(|r| *r.start() <= last && linear <= *r.end())
    }
}

/// A translated block as it is shown.
pub struct Listing<'a> {
    pub title: String,
    pub guest: Vec<String>,
    pub host: &'a [u8],
    /// The address of the host code.
    pub at: u64,
    /// The rare ways: address and code.
    pub rare: (u64, &'a [u8]),
    /// Where the code of each guest instruction starts in it.
    pub marks: &'a [u32],
}

/// Columns of the guest's side.
const GUEST: usize = 64;

impl Listing<'_> {
    /// The text: one side or both, each guest instruction beside the first of its host code.
    pub fn text(&self, dump: &Dump) -> String {
        let mut out = format!("{}\n", self.title);
        let mut put = |guest: &str, host: &str| {
            let line = match (dump.guest, dump.host) {
                (true, true) => format!("  {guest:<GUEST$} | {host}"),
                (true, false) => format!("  {guest}"),
                _ => format!("  {host}"),
            };
            // Writing to a string cannot fail.
            let _ = writeln!(out, "{}", line.trim_end());
        };
        if !dump.host {
            self.guest.iter().for_each(|g| put(g, ""));
            return out;
        }
        let (mut at, mut next) = (0usize, 0usize);
        while at < self.host.len() {
            let mut labels = Vec::new();
            while self.marks.get(next).is_some_and(|&m| m as usize <= at) {
                labels.push(self.guest.get(next).map_or("ways out", String::as_str));
                next += 1;
            }
            // An instruction without host code of its own stands on a line of its own.
            let last = labels.pop().unwrap_or("");
            labels.iter().for_each(|l| put(l, ""));
            let (text, len) = one(self.host, self.at, at);
            put(last, &text);
            at += len;
        }
        // What has no host code at all.
        for g in self.guest.iter().skip(next) {
            put(g, "");
        }
        let (start, rare) = self.rare;
        let (mut at, mut title) = (0, "rare ways");
        while at < rare.len() {
            let (text, len) = one(rare, start, at);
            put(std::mem::take(&mut title), &text);
            at += len;
        }
        out
    }
}

/// The host instruction `at` bytes into `code`, which stands at `start`, and its length.
pub(crate) fn one(code: &[u8], start: u64, at: usize) -> (String, usize) {
    let address = start.wrapping_add(at as u64);
    let rest = &code[at..];
    let (len, text) = decode::disassemble_any(rest, Mode::new(Size::B64, 0, 0), address);
    let len = len.clamp(1, rest.len());
    (format!("{address:x}  {text}"), len)
}

/// The instructions at `rip`, one a line: address, bytes, text.
pub fn guest(cpu: &mut Cpu, mode: Mode, rip: u64, insns: &[Insn]) -> Vec<String> {
    let mut at = rip;
    insns
        .iter()
        .map(|i| {
            let bytes = fetch(cpu, mode, at, i.len);
            let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
            let text = decode::disassemble_any(&bytes, mode, at).1;
            let line = format!("{at:x}  {hex:<20} {text}");
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
        cpu.segment(Seg::Cs).base
    };
    let cr2 = cpu.cr2;
    let bytes = (0..u64::from(len))
        .map_while(|n| {
            let linear = rip.wrapping_add(base).wrapping_add(n);
            let linear = if mode.is_64() {
                linear
            } else {
                linear & 0xffff_ffff
            };
            match cpu.resolve(cpu.class, linear, Access::Fetch) {
                Ok(Target::Ram(p)) => cpu.mmu.load_phys::<u8>(p),
                _ => None,
            }
        })
        .collect();
    cpu.cr2 = cr2;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_stand_beside_each_other() {
        let dump = Dump {
            guest: true,
            host: true,
            clif: false,
            range: Some(0x1000..=0x1003),
            file: None,
        };
        assert!(dump.wants(0xfff, 2) && dump.wants(0x1003, 1));
        assert!(!dump.wants(0xfff, 1) && !dump.wants(0x1004, 8));
        let listing = Listing {
            title: "block".into(),
            guest: vec!["1000  40 inc eax".into(), "1001  90 nop".into()],
            host: b"\x89\xc8",
            at: 0x7000,
            rare: (0x9000, b"\xc3"),
            marks: &[0, 2, 2],
        };
        let space = " ".repeat(GUEST - 16);
        let wide = " ".repeat(GUEST - 12);
        let rare = " ".repeat(GUEST - 9);
        assert_eq!(
            listing.text(&dump),
            format!(
                "block\n  1000  40 inc eax{space} | 7000  mov eax,ecx\n  1001  90 nop{wide} |\n  rare ways{rare} | 9000  ret\n"
            )
        );
    }
}
