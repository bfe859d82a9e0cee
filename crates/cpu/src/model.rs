//! CPU models: what CPUID tells.

use arch::cpuid::{Feature, FeatureSet};

/// A CPU model.
#[derive(Clone, Debug)]
pub struct Model {
    pub name: &'static str,
    pub features: FeatureSet,
}

impl Model {
    /// The model of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        let features = Feature::ALL
            .iter()
            .fold(FeatureSet::EMPTY, |s, &f| s.with(f));
        Self::names()
            .iter()
            .find(|&&n| n == name)
            .map(|&name| Self { name, features })
    }
    /// All names.
    pub fn names() -> &'static [&'static str] {
        &["x86-64-v2"]
    }
    /// MAXPHYADDR.
    pub fn physical_bits(&self) -> u32 {
        40
    }
    /// Family, model and stepping as CPUID leaf 1 and EDX at reset show them.
    pub fn signature(&self) -> u32 {
        0x0006_06a1
    }
}
