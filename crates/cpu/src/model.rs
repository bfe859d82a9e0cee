//! CPU models: which features a guest sees, and what CPUID says about the rest (Vol. 2A, CPUID).
//!
//! Invariant: a feature beyond the 64-bit baseline is shown only if every instruction form that belongs to it has a row in the table, so
//! that no guest is promised what raises #UD.

use arch::cpuid::{Feature, FeatureSet};
use bus::clock::TSC_HZ;
use std::sync::LazyLock;

/// A CPU model.
#[derive(Clone, Debug)]
pub struct Model {
    pub name: &'static str,
    pub features: FeatureSet,
    /// Logical processors of the machine: one package, one core each.
    pub cpus: u32,
    signature: u32,
    max_leaf: u32,
    long: bool,
}

/// What every x86-64 processor has (the psABI's x86-64-v1) and what its kernels expect beside.
const BASELINE: FeatureSet = {
    use Feature::*;
    FeatureSet::of(&[
        Fpu, De, Pse, Tsc, Msr, Pae, Mce, Cx8, Apic, Sep, Mtrr, Pge, Mca, Cmov, Pat, Pse36, Clfsh,
        Mmx, Fxsr, Sse, Sse2, Syscall, Nx, Lm,
    ])
};

/// What no user program needs and every model of today has: paging, interrupts, time.
const SYSTEM: FeatureSet = {
    use Feature::*;
    FeatureSet::of(&[
        Vme,
        Pcid,
        X2apic,
        TscDeadline,
        Hypervisor,
        Arat,
        Fsgsbase,
        TscAdjust,
        Smep,
        Erms,
        Invpcid,
        Smap,
        Umip,
        Fsrm,
        ArchCapabilities,
        Pdpe1gb,
        Rdtscp,
        InvariantTsc,
    ])
};

/// The psABI's x86-64-v2.
const LEVEL2: FeatureSet = {
    use Feature::*;
    FeatureSet::of(&[Sse3, Ssse3, Cx16, Sse4_1, Sse4_2, Popcnt, LahfLm])
};

/// A P54C: the first with an APIC, before MMX.
const PENTIUM: FeatureSet = {
    use Feature::*;
    FeatureSet::of(&[Fpu, Vme, De, Pse, Tsc, Msr, Mce, Cx8, Apic])
};

/// Set by the processor, not by the model.
const DYNAMIC: FeatureSet = FeatureSet::of(&[Feature::Osxsave]);

/// Family 6, model 1Ch, stepping 10. That processor executes in order and does not speculate, and nor does Ferry: guests that go by model
/// (Linux: cpu_vuln_whitelist, NO_SPECULATION) then need no mitigation at all.
const SIGNATURE: u32 = 0x0001_06ca;

const NAMES: [&str; 4] = ["pentium", "x86-64-v1", "x86-64-v2", "max"];

/// The features whose every form has a row.
static IMPLEMENTED: LazyLock<FeatureSet> = LazyLock::new(|| {
    let rows: std::collections::HashSet<_> = semantics::table::forms().map(|f| f.0).collect();
    let all = FeatureSet::of(Feature::ALL);
    decode::Code::values()
        .filter(|c| !rows.contains(c) && !is_exempt(*c))
        .filter_map(decode::required_features)
        .fold(all, |set, missing| {
            missing.iter().fold(set, FeatureSet::without)
        })
});

/// Forms that no processor of these models has, that the SDM reserves, or that are two instructions (WAIT and the waiting one's body).
fn is_exempt(code: decode::Code) -> bool {
    use decode::Code::*;
    matches!(
        code,
        Rsm | Fstenv_m14byte
            | Fstenv_m28byte
            | Fstcw_m2byte
            | Fneni
            | Feni
            | Fndisi
            | Fdisi
            | Fclex
            | Finit
            | Fnsetpm
            | Fsetpm
            | Fsave_m94byte
            | Fsave_m108byte
            | Fstsw_m2byte
            | Fstsw_AX
    )
}

impl Model {
    /// The model of that name.
    pub fn by_name(name: &str) -> Option<Self> {
        let name = *NAMES.iter().find(|&&n| n == name)?;
        let wanted = match name {
            "pentium" => PENTIUM,
            "x86-64-v1" => BASELINE.union(SYSTEM),
            "x86-64-v2" => BASELINE.union(SYSTEM).union(LEVEL2),
            _ => FeatureSet::of(Feature::ALL).without(Feature::Monitor),
        };
        let required = if name == "pentium" { PENTIUM } else { BASELINE };
        let features = wanted
            .iter()
            .filter(|&f| required.has(f) || IMPLEMENTED.has(f))
            .filter(|&f| !DYNAMIC.has(f))
            .fold(FeatureSet::EMPTY, FeatureSet::with);
        let long = name != "pentium";
        Some(Self {
            name,
            features,
            cpus: 1,
            signature: if long { SIGNATURE } else { 0x52c },
            max_leaf: if long { 0x16 } else { 1 },
            long,
        })
    }

    /// All names; the default is `x86-64-v2`.
    pub fn names() -> &'static [&'static str] {
        &NAMES
    }

    /// The same model in a machine of `cpus` processors.
    #[must_use]
    pub fn with_cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus.max(1);
        self
    }

    /// MAXPHYADDR.
    pub fn physical_bits(&self) -> u32 {
        if self.long { 40 } else { 32 }
    }

    /// Family, model and stepping as CPUID leaf 1 and EDX at reset show them.
    pub fn signature(&self) -> u32 {
        self.signature
    }

    /// The feature bits of one register of a leaf.
    fn bits(&self, leaf: u32, subleaf: u32, register: u8) -> u32 {
        self.features
            .iter()
            .map(Feature::location)
            .filter(|l| l.leaf == leaf && l.subleaf == subleaf && l.register == register)
            .fold(0, |v, l| v | 1 << l.bit)
    }

    fn all_bits(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        [0, 1, 2, 3].map(|r| self.bits(leaf, subleaf, r))
    }

    /// Bits of an x2APIC ID that number the processors of the package.
    fn id_shift(&self) -> u32 {
        self.cpus.next_power_of_two().trailing_zeros()
    }

    /// What CPUID answers in EAX, EBX, ECX and EDX on the processor with APIC ID `id`; what depends on CR4 and XCR0 is the caller's.
    pub fn leaf(&self, leaf: u32, subleaf: u32, id: u32) -> [u32; 4] {
        let leaf = match leaf {
            0x4000_0000..=0x4000_00ff if self.features.has(Feature::Hypervisor) => leaf,
            0x8000_0000..=0x8000_0008 if self.long => leaf,
            l if l <= self.max_leaf => l,
            // Beyond the last: as the last basic leaf (Vol. 2A, CPUID).
            _ => self.max_leaf,
        };
        match leaf {
            0 => {
                let [ebx, edx, ecx] = words(b"GenuineIntel");
                [self.max_leaf, ebx, ecx, edx]
            }
            1 => {
                let f = self.all_bits(1, 0);
                let clflush = if self.features.has(Feature::Clfsh) {
                    8
                } else {
                    0
                };
                let count = self.cpus.min(255);
                // HTT: the count is valid.
                let htt = if self.cpus > 1 { 1 << 28 } else { 0 };
                [
                    self.signature,
                    (id & 0xff) << 24 | count << 16 | clflush << 8,
                    f[2],
                    f[3] | htt,
                ]
            }
            // The caches stand in leaf 4.
            2 => [0x00ff_0001, 0, 0, 0],
            4 => self.cache(subleaf),
            // ARAT.
            6 => self.all_bits(6, 0),
            7 if subleaf == 0 => self.all_bits(7, 0),
            0xb => self.topology(subleaf, id),
            0xd => self.extended_state(subleaf),
            // TSC and crystal: one to one.
            0x15 => [1, 1, TSC_HZ as u32, 0],
            0x16 => {
                let mhz = (TSC_HZ / 1_000_000) as u32;
                [mhz, mhz, 100, 0]
            }
            0x4000_0000 => {
                let [ebx, ecx, edx] = words(b"FerryFerryFe");
                [0x4000_0010, ebx, ecx, edx]
            }
            // TSC and APIC timer frequency in kHz, as several hypervisors tell them.
            0x4000_0010 => {
                let khz = (TSC_HZ / 1000) as u32;
                [khz, khz, 0, 0]
            }
            0x8000_0000 => [0x8000_0008, 0, 0, 0],
            0x8000_0001 => self.all_bits(0x8000_0001, 0),
            0x8000_0002..=0x8000_0004 => brand(leaf - 0x8000_0002),
            // L2: 1 MiB, 16-way, 64 bytes a line.
            0x8000_0006 => [0, 0, 1024 << 16 | 8 << 12 | 64, 0],
            0x8000_0007 => self.all_bits(0x8000_0007, 0),
            0x8000_0008 => [self.physical_bits() | 48 << 8, 0, 0, 0],
            _ => [0; 4],
        }
    }

    /// Leaf 4: L1d and L1i of 32 KiB, L2 of 1 MiB, each a core's own.
    fn cache(&self, subleaf: u32) -> [u32; 4] {
        let (kind, level, ways, sets) = match subleaf {
            0 => (1, 1, 8, 64),
            1 => (2, 1, 8, 64),
            2 => (3, 2, 16, 1024),
            _ => return [0; 4],
        };
        let cores = self.cpus.next_power_of_two().min(64) - 1;
        [
            kind | level << 5 | 1 << 8 | cores << 26,
            (ways - 1) << 22 | 63,
            sets - 1,
            0,
        ]
    }

    /// Leaf Bh: one thread a core, all cores in one package.
    fn topology(&self, subleaf: u32, id: u32) -> [u32; 4] {
        match subleaf {
            0 => [0, 1, 1 << 8, id],
            1 => [self.id_shift(), self.cpus, 2 << 8 | 1, id],
            n => [0, 0, n & 0xff, id],
        }
    }

    /// Leaf Dh for x87 and SSE state; EBX of subleaf 0 (the size in use) is the same for all values of XCR0.
    fn extended_state(&self, subleaf: u32) -> [u32; 4] {
        if !self.features.has(Feature::Xsave) {
            return [0; 4];
        }
        match subleaf {
            0 => [3, 576, 576, 0],
            1 => self.all_bits(0xd, 1),
            _ => [0; 4],
        }
    }
}

fn words(text: &[u8; 12]) -> [u32; 3] {
    [0, 4, 8].map(|at| u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]]))
}

/// Sixteen bytes of the brand string.
fn brand(part: u32) -> [u32; 4] {
    let mut text = [0u8; 48];
    let name = b"Ferry virtual CPU @ 1.00GHz";
    text[..name.len()].copy_from_slice(name);
    [0, 4, 8, 12].map(|n| {
        let at = (part as usize % 3) * 16 + n;
        u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_a_model_and_nothing_else_has() {
        for n in Model::names() {
            assert_eq!(Model::by_name(n).map(|m| m.name), Some(*n));
        }
        assert!(Model::by_name("486").is_none());
    }

    #[test]
    fn what_every_model_promises_is_in_the_table() {
        let missing: Vec<_> = BASELINE
            .union(SYSTEM)
            .union(LEVEL2)
            .iter()
            .filter(|&f| !IMPLEMENTED.has(f))
            .collect();
        assert_eq!(missing, []);
    }

    #[test]
    fn models_grow() {
        let f = |n| Model::by_name(n).unwrap().features;
        assert!(f("x86-64-v2").covers(f("x86-64-v1")));
        assert!(f("max").covers(f("x86-64-v2")));
        assert!(!f("pentium").has(Feature::Cmov));
    }

    #[test]
    fn leaves_follow_the_features_and_the_topology() {
        let m = Model::by_name("x86-64-v2").unwrap().with_cpus(6);
        let vendor = m.leaf(0, 0, 0);
        assert_eq!(vendor, [0x16, 0x756e_6547, 0x6c65_746e, 0x4965_6e69]);
        let one = m.leaf(1, 0, 5);
        assert_eq!(one[0], SIGNATURE);
        assert_eq!(one[1], 5 << 24 | 6 << 16 | 8 << 8);
        assert_ne!(one[3] & 1 << 26, 0, "SSE2");
        assert_eq!(m.leaf(0xb, 0, 5), [0, 1, 0x100, 5]);
        assert_eq!(m.leaf(0xb, 1, 5), [3, 6, 0x201, 5]);
        assert_eq!(m.leaf(0xb, 2, 5), [0, 0, 2, 5]);
        assert_eq!(m.leaf(0x8000_0008, 0, 0)[0], 40 | 48 << 8);
        // Out of range: the last basic leaf.
        assert_eq!(m.leaf(0x8000_1000, 0, 0), m.leaf(0x16, 0, 0));
        let p = Model::by_name("pentium").unwrap();
        assert_eq!(p.leaf(0x8000_0000, 0, 0), p.leaf(1, 0, 0));
    }
}
