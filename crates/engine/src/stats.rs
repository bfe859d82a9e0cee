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
    /// Nanoseconds spent translating, decoding included.
    pub translation_ns: u64,
    /// Guest instructions executed in generated code.
    pub executed: u64,
    /// Times that generated code was entered.
    pub entries: u64,
    /// Exits by cause.
    pub lookups: u64,
    pub links: u64,
    pub attentions: u64,
    pub evaluations: u64,
    pub faults: u64,
    pub helpers: u64,
    /// Translations dropped because their guest code was written.
    pub invalidated: u64,
    /// Times that the code cache was full and emptied.
    pub flushes: u64,
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
