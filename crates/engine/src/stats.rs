//! What `--stats` tells of the engine.

use serde::Serialize;

/// Counters of the engine.
#[derive(Clone, Debug, Default, Serialize)]
pub struct EngineStats {
    /// Blocks translated, with the guest instructions and bytes in them and the host bytes that came out.
    pub translations: u64,
    pub guest_instructions: u64,
    pub guest_bytes: u64,
    pub host_bytes: u64,
    /// Memory accesses among them that lie beside an earlier one and do without the TLB.
    pub windowed: u64,
    /// Instructions with LOCK among them, translated as if they had none.
    pub plain_locks: u64,
    /// Nanoseconds spent translating.
    pub translation_ns: u64,
    /// Regions compiled and put in, with the guest instructions and host bytes in them; hot loops that made none; regions that did not pay.
    pub regions: u64,
    pub region_instructions: u64,
    pub region_bytes: u64,
    pub regions_refused: u64,
    pub regions_dropped: u64,
    /// Nanoseconds spent compiling them, in whatever thread.
    pub region_ns: u64,
    /// Times that regions were entered, and samples taken to find them.
    pub region_entries: u64,
    pub samples: u64,
    /// Instructions decoded, and nanoseconds spent on that.
    pub decoded: u64,
    pub decode_ns: u64,
    /// Guest instructions executed in generated code.
    pub executed: u64,
    /// Times that generated code was entered.
    pub entries: u64,
    /// Exits by cause.
    #[serde(skip)]
    pub lookups: u64,
    #[serde(skip)]
    pub links: u64,
    #[serde(skip)]
    pub attentions: u64,
    #[serde(skip)]
    pub evaluations: u64,
    #[serde(skip)]
    pub faults: u64,
    #[serde(skip)]
    pub helpers: u64,
    /// Helpers that led elsewhere without the dispatcher.
    pub resumed: u64,
    /// Blocks evaluated because they were not executed often enough to be translated.
    pub warm_ups: u64,
    /// Translations dropped because their guest code was written.
    pub invalidated: u64,
    /// Translations dropped for their room in the code cache, and times that a part of it was emptied for that.
    pub evicted: u64,
    pub evictions: u64,
    /// Translations that are.
    pub live: u64,
    /// Times that the whole jump cache was emptied.
    pub jumps_emptied: u64,
    /// Links that were made jumps to their target.
    pub direct_links: u64,
    /// Bytes of the code cache in use, and its size.
    pub cache_used: u64,
    pub cache_size: u64,
    /// With `--verify`, what was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verify: Option<VerifyStats>,
}

/// What `--stats` tells of the comparison.
#[derive(Clone, Debug, Default, Serialize)]
pub struct VerifyStats {
    /// Blocks that ended alike, and the instructions in them.
    pub blocks: u64,
    pub instructions: u64,
    /// Of those, blocks that came back early: the evaluator ran twice.
    pub early: u64,
    /// Blocks that ran once because they reached a device, or wrote code, or flushed the TLB.
    pub skipped: u64,
    pub skipped_instructions: u64,
}

/// Ways out of generated code, by cause.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Exits {
    /// To an address that the jump cache did not know.
    pub lookup: u64,
    /// Through a link that led nowhere yet.
    pub unlinked: u64,
    /// An interrupt, a timer or a stop was pending.
    pub attention: u64,
    /// An instruction for the evaluator.
    pub evaluate: u64,
    /// An exception.
    pub fault: u64,
    /// A helper changed the mode, the mapping or the place to go on.
    pub helper: u64,
}

/// The counters with what follows from them.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub counters: EngineStats,
    pub exits: Exits,
    /// Guest instructions executed by the evaluator, and the share of generated code in all.
    pub evaluated: u64,
    pub translated_share: f64,
    /// Per guest instruction translated: nanoseconds, decoding included, and bytes of host code.
    pub ns_per_translated_instruction: f64,
    pub host_bytes_per_instruction: f64,
    /// Guest instructions executed in generated code each time it was entered.
    pub executed_per_entry: f64,
}

/// To four decimals: people read it.
fn rounded(v: f64) -> f64 {
    (v * 1e4).round() / 1e4
}

fn ratio(a: u64, b: u64) -> f64 {
    rounded(a as f64 / b.max(1) as f64)
}

impl EngineStats {
    /// The report; `instructions` were retired by all engines together.
    pub fn report(&self, instructions: u64) -> Report {
        Report {
            counters: self.clone(),
            exits: Exits {
                lookup: self.lookups,
                unlinked: self.links,
                attention: self.attentions,
                evaluate: self.evaluations,
                fault: self.faults,
                helper: self.helpers,
            },
            evaluated: instructions.saturating_sub(self.executed),
            translated_share: ratio(self.executed, instructions),
            ns_per_translated_instruction: rounded(
                ratio(self.translation_ns, self.guest_instructions)
                    + ratio(self.decode_ns, self.decoded),
            ),
            host_bytes_per_instruction: ratio(self.host_bytes, self.guest_instructions),
            executed_per_entry: ratio(self.executed, self.entries),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratios_stand_even_where_nothing_was_done() {
        let r = EngineStats::default().report(0);
        assert_eq!((r.evaluated, r.translated_share), (0, 0.0));
        let s = EngineStats {
            executed: 75,
            entries: 25,
            guest_instructions: 8,
            translation_ns: 1000,
            ..EngineStats::default()
        };
        let r = s.report(100);
        assert_eq!((r.evaluated, r.translated_share), (25, 0.75));
        assert_eq!(r.ns_per_translated_instruction, 125.0);
        assert_eq!(r.executed_per_entry, 3.0);
    }
}
