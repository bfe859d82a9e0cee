//! CPUID feature names (Vol. 2A, CPUID): only those that Ferry can show to a guest.

/// A feature bit: leaf, subleaf, register (0 EAX, 1 EBX, 2 ECX, 3 EDX) and bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureBit {
    pub leaf: u32,
    pub subleaf: u32,
    pub register: u8,
    pub bit: u8,
}

macro_rules! features {
    ($($(#[$doc:meta])* $name:ident = $leaf:literal, $sub:literal, $reg:ident, $bit:literal;)*) => {
        /// A CPUID feature flag.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Feature { $($(#[$doc])* $name),* }
        impl Feature {
            /// Every feature, in the order of declaration.
            pub const ALL: &'static [Feature] = &[$(Feature::$name),*];
            /// Where CPUID shows it.
            pub const fn location(self) -> FeatureBit {
                match self { $(Feature::$name => FeatureBit { leaf: $leaf, subleaf: $sub, register: reg::$reg, bit: $bit }),* }
            }
            /// The name as Intel and Linux spell it, in lower case.
            pub fn name(self) -> String {
                match self { $(Feature::$name => stringify!($name)),* }.to_lowercase()
            }
        }
    };
}

mod reg {
    pub const EAX: u8 = 0;
    pub const EBX: u8 = 1;
    pub const ECX: u8 = 2;
    pub const EDX: u8 = 3;
}

features! {
    Fpu = 1, 0, EDX, 0;
    Vme = 1, 0, EDX, 1;
    De = 1, 0, EDX, 2;
    Pse = 1, 0, EDX, 3;
    Tsc = 1, 0, EDX, 4;
    Msr = 1, 0, EDX, 5;
    Pae = 1, 0, EDX, 6;
    Mce = 1, 0, EDX, 7;
    Cx8 = 1, 0, EDX, 8;
    Apic = 1, 0, EDX, 9;
    Sep = 1, 0, EDX, 11;
    Mtrr = 1, 0, EDX, 12;
    Pge = 1, 0, EDX, 13;
    Mca = 1, 0, EDX, 14;
    Cmov = 1, 0, EDX, 15;
    Pat = 1, 0, EDX, 16;
    Pse36 = 1, 0, EDX, 17;
    Clfsh = 1, 0, EDX, 19;
    Mmx = 1, 0, EDX, 23;
    Fxsr = 1, 0, EDX, 24;
    Sse = 1, 0, EDX, 25;
    Sse2 = 1, 0, EDX, 26;
    Sse3 = 1, 0, ECX, 0;
    Monitor = 1, 0, ECX, 3;
    Ssse3 = 1, 0, ECX, 9;
    Cx16 = 1, 0, ECX, 13;
    Pcid = 1, 0, ECX, 17;
    Sse4_1 = 1, 0, ECX, 19;
    Sse4_2 = 1, 0, ECX, 20;
    X2apic = 1, 0, ECX, 21;
    Movbe = 1, 0, ECX, 22;
    Popcnt = 1, 0, ECX, 23;
    TscDeadline = 1, 0, ECX, 24;
    Xsave = 1, 0, ECX, 26;
    /// Set while CR4.OSXSAVE is set.
    Osxsave = 1, 0, ECX, 27;
    Hypervisor = 1, 0, ECX, 31;
    Arat = 6, 0, EAX, 2;
    Fsgsbase = 7, 0, EBX, 0;
    TscAdjust = 7, 0, EBX, 1;
    Smep = 7, 0, EBX, 7;
    Erms = 7, 0, EBX, 9;
    Invpcid = 7, 0, EBX, 10;
    Smap = 7, 0, EBX, 20;
    Umip = 7, 0, ECX, 2;
    Fsrm = 7, 0, EDX, 4;
    ArchCapabilities = 7, 0, EDX, 29;
    Xsaveopt = 0xd, 1, EAX, 0;
    LahfLm = 0x8000_0001, 0, ECX, 0;
    Syscall = 0x8000_0001, 0, EDX, 11;
    Nx = 0x8000_0001, 0, EDX, 20;
    Pdpe1gb = 0x8000_0001, 0, EDX, 26;
    Rdtscp = 0x8000_0001, 0, EDX, 27;
    Lm = 0x8000_0001, 0, EDX, 29;
    InvariantTsc = 0x8000_0007, 0, EDX, 8;
}

/// A set of features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FeatureSet(u64);

const _: () = assert!(Feature::ALL.len() <= 64);

impl FeatureSet {
    /// No feature.
    pub const EMPTY: Self = Self(0);
    /// These features.
    pub const fn of(features: &[Feature]) -> Self {
        let (mut set, mut i) = (Self::EMPTY, 0);
        while i < features.len() {
            set = set.with(features[i]);
            i += 1;
        }
        set
    }
    /// This set and `f`.
    #[must_use]
    pub const fn with(self, f: Feature) -> Self {
        Self(self.0 | 1 << f as u8)
    }
    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// This set without `f`.
    #[must_use]
    pub const fn without(self, f: Feature) -> Self {
        Self(self.0 & !(1 << f as u8))
    }
    /// Whether `f` is in the set.
    pub const fn has(self, f: Feature) -> bool {
        self.0 >> f as u8 & 1 != 0
    }
    /// Whether all of `other` is in this set.
    pub const fn covers(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }
    /// The features in the set, in declaration order.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.iter().copied().filter(move |f| self.has(*f))
    }
}
