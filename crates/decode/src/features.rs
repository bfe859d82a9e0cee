//! Which CPUID feature an instruction form belongs to.

use arch::cpuid::{Feature, FeatureSet};
use iced_x86::{Code, CpuidFeature};
use std::sync::LazyLock;

static REQUIRED: LazyLock<Vec<Option<FeatureSet>>> =
    LazyLock::new(|| Code::values().map(work_out).collect());

/// The features that a guest must see for `code` to exist; `None` if it belongs to an extension that Ferry has no name for.
pub fn required_features(code: Code) -> Option<FeatureSet> {
    REQUIRED.get(code as usize).copied().flatten()
}

fn work_out(code: Code) -> Option<FeatureSet> {
    let mut set = FeatureSet::EMPTY;
    for f in code.cpuid_features() {
        if let Some(f) = feature(*f)? {
            set = set.with(f);
        }
    }
    (code != Code::INVALID).then_some(set)
}

/// `None`: unknown; `Some(None)`: no CPUID bit.
fn feature(f: CpuidFeature) -> Option<Option<Feature>> {
    use CpuidFeature as C;
    Some(match f {
        C::INTEL8086
        | C::INTEL186
        | C::INTEL286
        | C::INTEL386
        | C::INTEL486
        | C::CPUID
        | C::SMM => None,
        C::MULTIBYTENOP | C::PAUSE | C::CET_IBT => None,
        C::FPU | C::FPU287 | C::FPU387 => Some(Feature::Fpu),
        C::TSC => Some(Feature::Tsc),
        C::MSR => Some(Feature::Msr),
        C::CX8 => Some(Feature::Cx8),
        C::CMOV => Some(Feature::Cmov),
        C::SEP => Some(Feature::Sep),
        C::CLFSH => Some(Feature::Clfsh),
        // RDPMC came with MMX and has no bit of its own.
        C::MMX | C::RDPMC => Some(Feature::Mmx),
        C::FXSR => Some(Feature::Fxsr),
        C::SSE => Some(Feature::Sse),
        C::SSE2 => Some(Feature::Sse2),
        C::SSE3 => Some(Feature::Sse3),
        C::MONITOR => Some(Feature::Monitor),
        C::SSSE3 => Some(Feature::Ssse3),
        C::CMPXCHG16B => Some(Feature::Cx16),
        C::SSE4_1 => Some(Feature::Sse4_1),
        C::SSE4_2 => Some(Feature::Sse4_2),
        C::MOVBE => Some(Feature::Movbe),
        C::POPCNT => Some(Feature::Popcnt),
        C::XSAVE => Some(Feature::Xsave),
        C::XSAVEOPT => Some(Feature::Xsaveopt),
        C::FSGSBASE => Some(Feature::Fsgsbase),
        C::INVPCID => Some(Feature::Invpcid),
        C::SMAP => Some(Feature::Smap),
        C::SYSCALL => Some(Feature::Syscall),
        C::X64 => Some(Feature::Lm),
        C::RDTSCP => Some(Feature::Rdtscp),
        C::PREFETCHW => None,
        _ => return None,
    })
}
