//! A profile of the guest: where samples met it, as folded stacks.
//!
//! A line is `ring;place;how count`, as flame graph tools read it: the privilege, the symbol or address, and whether a region, a
//! block of T1 or the evaluator was at work. Samples are taken where generated code looks for attention, which is at edges back, and at indirect and far jumps: time
//! in straight code counts for the edge that follows.

use crate::{Error, Symbols};
use hashbrown::HashMap;
use std::fmt::Write;
use std::path::PathBuf;

/// Who executes what was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum How {
    Region,
    Block,
}

/// Samples by place.
pub(crate) struct Profile {
    path: PathBuf,
    counts: HashMap<(bool, u64, How), u64>,
}

impl Profile {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            counts: HashMap::new(),
        }
    }

    /// The processor is at `rip`, in user mode if `user`.
    pub(crate) fn note(&mut self, user: bool, rip: u64, how: How) {
        *self.counts.entry((user, rip, how)).or_default() += 1;
    }

    /// The lines, most frequent first.
    fn text(&self, symbols: Option<&Symbols>) -> String {
        let mut lines: HashMap<String, u64> = HashMap::new();
        for (&(user, rip, how), n) in &self.counts {
            let ring = if user { "user" } else { "kernel" };
            let place = symbols
                .and_then(|s| s.name(rip))
                .map(|s| s.split('+').next().unwrap_or_default().to_owned())
                .unwrap_or_else(|| format!("{rip:#x}"));
            let how = match how {
                How::Region => "region",
                How::Block => "block",
            };
            *lines.entry(format!("{ring};{place};{how}")).or_default() += n;
        }
        let mut lines: Vec<_> = lines.into_iter().collect();
        lines.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        lines.iter().fold(String::new(), |mut out, (place, n)| {
            let _ = writeln!(out, "{place} {n}");
            out
        })
    }

    /// Writes it out.
    pub(crate) fn write(&self, symbols: Option<&Symbols>) -> Result<(), Error> {
        std::fs::write(&self.path, self.text(symbols)).map_err(|source| Error::Write {
            path: self.path.clone(),
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_symbol_are_one_line() {
        let symbols =
            Symbols::parse("0000000000001000 T memcpy\n0000000000002000 T other\n").unwrap();
        let mut p = Profile::new(PathBuf::new());
        p.note(false, 0x1008, How::Region);
        p.note(false, 0x1010, How::Region);
        p.note(true, 0x40_0000, How::Block);
        assert_eq!(
            p.text(Some(&symbols)),
            "kernel;memcpy;region 2\nuser;0x400000;block 1\n"
        );
    }
}
