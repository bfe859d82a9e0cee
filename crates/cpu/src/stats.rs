//! What `--stats` tells of a processor.

use decode::Code;
use semantics::table::Helper;
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
    /// Nanoseconds spent decoding.
    pub decode_ns: u64,
    /// Exceptions delivered, by vector.
    pub exceptions: [u64; 32],
    /// External interrupts delivered.
    pub interrupts: u64,
    /// Reads and writes that the TLB did not serve: first touches of a page, devices, crossings of a page's end, stores near code.
    pub slow_reads: u64,
    pub slow_writes: u64,
    /// Stores to pages that hold code, or did not long ago.
    pub guarded_stores: u64,
    /// Calls of helpers.
    pub helpers: HelperCalls,
    /// Encodings that the table has no row for, or the CPU model no feature, by form: each raised #UD.
    pub unimplemented: BTreeMap<Unimplemented, u64>,
}

/// Calls by helper.
#[derive(Clone, Debug)]
pub struct HelperCalls([(Option<Helper>, u64); 128]);

impl Default for HelperCalls {
    fn default() -> Self {
        Self([(None, 0); 128])
    }
}

impl HelperCalls {
    /// Counts a call.
    #[inline]
    pub fn count(&mut self, helper: Helper) {
        let slot = &mut self.0[helper as usize % 128];
        *slot = (Some(helper), slot.1 + 1);
    }

    fn by_name(&self) -> BTreeMap<String, u64> {
        let named = self.0.iter().filter_map(|&(h, n)| Some((h?, n)));
        named.map(|(h, n)| (format!("{h:?}"), n)).collect()
    }
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
    /// Pages that the TLB took in.
    pub tlb_fills: u64,
    /// Accesses to data that the TLB did not serve. Those that it did serve are not counted.
    pub tlb_read_misses: u64,
    pub tlb_write_misses: u64,
    /// Stores to pages that hold code, or did not long ago.
    pub guarded_stores: u64,
    /// Calls of the processor's own code by instructions, by name.
    pub helpers: BTreeMap<String, u64>,
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
            tlb_read_misses: self.slow_reads,
            tlb_write_misses: self.slow_writes,
            guarded_stores: self.guarded_stores,
            helpers: self.helpers.by_name(),
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
