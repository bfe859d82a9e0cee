//! What every engine leaves to the processor's own code: system instructions, far transfers, x87, bulk string moves.

/// A helper by name. The processor has one function for each, `fn(&mut Cpu, &Insn)`; its match over this enum is exhaustive, so a helper
/// without a function does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Helper {
    /// CPUID.
    Cpuid,
    /// HLT.
    Hlt,
}
