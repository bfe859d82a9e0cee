//! Which rows of iced's table are generated, and why the others are not.

use crate::case::Bits;
use iced_x86::{Code, CpuidFeature as F, EncodingKind, Mnemonic as M};

/// Features of the instructions generated: x86-64-v2, and the 32-bit instructions of old.
const FEATURES: &[F] = &[
    F::INTEL8086,
    F::INTEL186,
    F::INTEL286,
    F::INTEL386,
    F::INTEL486,
    F::X64,
    F::CMOV,
    F::CMPXCHG16B,
    F::CX8,
    F::FPU,
    F::FPU287,
    F::FPU387,
    F::FXSR,
    F::MMX,
    F::SSE,
    F::SSE2,
    F::SSE3,
    F::SSSE3,
    F::SSE4_1,
    F::SSE4_2,
    F::MOVBE,
    F::POPCNT,
    F::MULTIBYTENOP,
    F::PAUSE,
    F::CLFSH,
    F::MSR,
    F::MONITOR,
    F::SYSCALL,
    F::SEP,
    F::SMM,
    F::CET_IBT,
    F::FSGSBASE,
];

/// Instructions that a user-mode case cannot show, or whose result is not a function of the case.
pub const EXCLUSIONS: &[(&[M], &str)] = &[
    (
        &[M::Fstpnce],
        "an undocumented alias of FSTP that processors treat differently when ST(0) is empty",
    ),
    (&[M::Rdtsc, M::Rdtscp, M::Rdpmc], "reads a counter"),
    (&[M::Cpuid], "reports the processor model"),
    (&[M::Syscall, M::Sysenter], "enters the host's kernel"),
    (
        &[M::Int, M::Int1, M::Int3],
        "enters the host's kernel, or cannot be told from the trap that ends a case",
    ),
    (
        &[M::Sgdt, M::Sidt, M::Smsw, M::Sldt, M::Str],
        "UMIP: Linux answers in the CPU's place",
    ),
    (
        &[M::Monitor, M::Mwait],
        "legality at CPL 3 is a vendor's choice (MSR C001_0015h on AMD)",
    ),
    (&[M::Rsm], "the two vendors fault differently outside SMM"),
    (
        &[M::Prefetchw],
        "a hint of 3DNow! descent; needs no feature bit on one vendor, faults on old ones of the other",
    ),
    (
        &[M::Sysret, M::Sysretq, M::Sysexit, M::Sysexitq],
        "AMD raises #UD in compatibility mode where Intel raises #GP",
    ),
];

/// The reason of forms that a mode does not have.
pub const NOT_IN_THIS_MODE: &str = "not valid in this mode";

/// The reason why `code` is not generated in mode `bits`, or `None` if it is.
pub fn excluded(code: Code, bits: Bits) -> Option<&'static str> {
    let op = code.op_code();
    if !op.is_instruction() || op.encoding() != EncodingKind::Legacy {
        return Some("not a legacy-encoded instruction");
    }
    if op.fwait() {
        return Some("two instructions: FWAIT comes first");
    }
    let (mode, decoders) = match bits {
        Bits::B16 => (op.mode16(), op.intel_decoder16() && op.amd_decoder16()),
        Bits::B32 => (op.mode32(), op.intel_decoder32() && op.amd_decoder32()),
        Bits::B64 => (op.mode64(), op.intel_decoder64() && op.amd_decoder64()),
    };
    if !mode {
        return Some(NOT_IN_THIS_MODE);
    }
    if !decoders {
        return Some("the two vendors decode it differently");
    }
    if !code.cpuid_features().iter().all(|f| FEATURES.contains(f)) {
        return Some("its CPUID feature is not in x86-64-v2");
    }
    let m = code.mnemonic();
    if format!("{code:?}").ends_with("_0F0D") {
        return Some("0F 0D with a register: a no-operation on Intel, #UD on AMD");
    }
    if matches!(code, Code::Movsxd_r16_rm16) {
        return Some("reads 16 bits on Intel, 32 on AMD");
    }
    EXCLUSIONS
        .iter()
        .find(|(list, _)| list.contains(&m))
        .map(|&(_, why)| why)
}

/// All codes generated in mode `bits`.
pub fn codes(bits: Bits) -> Vec<Code> {
    Code::values()
        .filter(|&c| c != Code::INVALID && excluded(c, bits).is_none())
        .collect()
}

/// Whether the host's CPU has what `code` needs. On other hosts no question arises.
pub fn host_has(code: Code) -> bool {
    code.cpuid_features().iter().all(|&f| has(f))
}

#[cfg(target_arch = "x86_64")]
fn has(feature: F) -> bool {
    match feature {
        F::SSE3 => std::arch::is_x86_feature_detected!("sse3"),
        F::SSSE3 => std::arch::is_x86_feature_detected!("ssse3"),
        F::SSE4_1 => std::arch::is_x86_feature_detected!("sse4.1"),
        F::SSE4_2 => std::arch::is_x86_feature_detected!("sse4.2"),
        F::POPCNT => std::arch::is_x86_feature_detected!("popcnt"),
        F::MOVBE => std::arch::is_x86_feature_detected!("movbe"),
        F::FSGSBASE => fsgsbase(),
        F::CMPXCHG16B => std::arch::is_x86_feature_detected!("cmpxchg16b"),
        _ => true,
    }
}

/// Whether the host's kernel has set CR4.FSGSBASE: bit 1 of AT_HWCAP2 (Linux, Documentation/arch/x86/x86_64/fsgs.rst).
#[cfg(target_arch = "x86_64")]
fn fsgsbase() -> bool {
    let auxv = std::fs::read("/proc/self/auxv").unwrap_or_default();
    let mut words = auxv
        .chunks_exact(8)
        .map(|w| u64::from_le_bytes(std::array::from_fn(|i| w[i])));
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        if key == 26 {
            return value & 2 != 0;
        }
    }
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has(_: F) -> bool {
    true
}
