//! What every engine leaves to the processor's own code: system instructions, far transfers, x87, bulk string moves.

/// A helper by name. The processor has one function for each, `fn(&mut Cpu, &Insn)`; its match over this enum is exhaustive, so a helper
/// without a function does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Helper {
    /// CPUID.
    Cpuid,
    /// HLT.
    Hlt,

    // General-purpose instructions.
    /// REP MOVS: may do whole iterations, all but the last, where no one can tell it from the loop.
    BulkMovs,
    /// REP STOS: likewise.
    BulkStos,
    /// IN.
    In,
    /// OUT.
    Out,
    /// INS: one iteration; the count is the caller's.
    Ins,
    /// OUTS: one iteration; the count is the caller's.
    Outs,
    /// CMPXCHG16B.
    Cmpxchg16b,
    /// CRC32.
    Crc32,
    /// PUSHF, PUSHFD, PUSHFQ.
    Pushf,
    /// POPF, POPFD, POPFQ.
    Popf,
}
