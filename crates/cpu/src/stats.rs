//! What `--stats` tells of a processor.

use decode::Code;
use serde::Serialize;
use std::collections::BTreeMap;

/// Counters that the evaluator keeps.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    /// Guest instructions retired.
    pub instructions: u64,
    /// Decoded blocks executed.
    pub block_runs: u64,
    /// Blocks decoded.
    pub blocks: u64,
    /// Instructions decoded.
    pub decoded: u64,
    /// Exceptions delivered, by vector.
    pub exceptions: [u64; 32],
    /// External interrupts delivered.
    pub interrupts: u64,
    /// Encodings that the table has no row for, or the CPU model no feature, by form: each raised #UD.
    pub unimplemented: BTreeMap<Unimplemented, u64>,
}

/// The name of a form that raised #UD.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unimplemented(pub u16);

/// A snapshot of the counters for people and programs.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    pub instructions: u64,
    pub block_runs: u64,
    pub blocks_decoded: u64,
    pub instructions_decoded: u64,
    pub tlb_fills: u64,
    pub interrupts: u64,
    /// By vector, those that occurred.
    pub exceptions: BTreeMap<u8, u64>,
    /// By form.
    pub unimplemented: BTreeMap<String, u64>,
}

impl Counters {
    /// Counts an encoding that raises #UD for want of a row.
    pub fn unimplemented(&mut self, code: Code) {
        *self
            .unimplemented
            .entry(Unimplemented(code as u16))
            .or_default() += 1;
    }

    /// The counters as a report.
    pub fn report(&self, tlb_fills: u64) -> Stats {
        let name = |u: &Unimplemented| {
            Code::try_from(usize::from(u.0)).map_or_else(|_| u.0.to_string(), |c| format!("{c:?}"))
        };
        Stats {
            instructions: self.instructions,
            block_runs: self.block_runs,
            blocks_decoded: self.blocks,
            instructions_decoded: self.decoded,
            tlb_fills,
            interrupts: self.interrupts,
            exceptions: (0u8..).zip(self.exceptions).filter(|e| e.1 != 0).collect(),
            unimplemented: self
                .unimplemented
                .iter()
                .map(|(u, n)| (name(u), *n))
                .collect(),
        }
    }
}
