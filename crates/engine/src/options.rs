//! How the engine works: its options, and the optimisations that can be switched off by name.

use crate::dump::Dump;
use crate::perfmap::Symbols;
use std::path::PathBuf;
use std::sync::Arc;

/// How the engine works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of memory for generated code.
    pub code_cache: usize,
    /// Links between translations of one page.
    pub chain: bool,
    /// Blocks that lead to their own start keep guest registers in host registers; needs `chain`.
    pub loops: bool,
    /// Accesses of a block beside an earlier one do without the TLB.
    pub windows: bool,
    /// Status flags that nobody can see are not worked out.
    pub flags: bool,
    /// Linked blocks jump to each other, not through a word of data.
    pub direct: bool,
    /// LOCK is a load and a store: no other processor looks on.
    pub alone: bool,
    /// The inline cache of indirect and cross-page targets.
    pub jump_cache: bool,
    /// Helpers that lead elsewhere (SYSCALL, IRET ...) go on without the dispatcher; needs `jump_cache`.
    pub resume: bool,
    /// REP MOVS and REP STOS by many iterations at a time.
    pub rep: bool,
    /// SSE floating point on the host's unit.
    pub fp: bool,
    /// Vector operations on the host's unit.
    pub simd: bool,
    /// A TLB for each address space that the guest asks to keep.
    pub pcid: bool,
    /// x87 arithmetic on the host's unit.
    pub x87: bool,
    /// Hot loops are compiled as regions.
    pub regions: bool,
    /// In regions, memory operands remember the page that they touched last.
    pub pages: bool,
    /// In regions, what flags are where paths meet is found out.
    pub joints: bool,
    /// Samples, one a millisecond, that must meet a loop before it is compiled; 0 compiles each when T1 translates its head.
    pub tier_threshold: u32,
    /// Code without a loop makes regions too: for tests.
    pub straight: bool,
    /// Threads that compile regions; 0: the guest waits.
    pub jit_threads: usize,
    /// The most instructions in a block.
    pub block: usize,
    /// Times that a block is evaluated before it is translated.
    pub first: u8,
    /// The same in pages whose code was overwritten often.
    pub changing: u8,
    /// Each block runs in the evaluator as well and is compared; the engine stops at the first difference.
    pub verify: bool,
    /// A wrong rule, to see that it is found: ADD of two registers takes the carry.
    pub sabotage: bool,
    /// Blocks are shown as they are translated.
    pub dump: Option<Dump>,
    /// perf(1) is told the names of translated code, in `/tmp/perf-PID.map`.
    pub perf_map: bool,
    /// Where a profile of the guest is written when a run ends.
    pub profile: Option<PathBuf>,
    /// Names for guest addresses.
    pub symbols: Option<Arc<Symbols>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            code_cache: 256 << 20,
            chain: true,
            loops: true,
            windows: true,
            flags: true,
            alone: true,
            direct: true,
            jump_cache: true,
            resume: true,
            rep: true,
            fp: true,
            simd: true,
            pcid: true,
            x87: true,
            regions: true,
            pages: true,
            joints: true,
            tier_threshold: 8,
            straight: false,
            jit_threads: 1,
            block: 64,
            first: 4,
            changing: 32,
            verify: false,
            sabotage: false,
            dump: None,
            perf_map: false,
            profile: None,
            symbols: None,
        }
    }
}

/// An optimisation that can be switched off: results are the same without it.
pub struct Switch {
    pub name: &'static str,
    /// What happens then, in a line.
    pub what: &'static str,
    off: fn(&mut Options),
}

/// What can be switched off.
pub const SWITCHES: &[Switch] = &[
    Switch {
        name: "no-alone",
        what: "LOCK is atomic although no other processor looks on",
        off: |o| o.alone = false,
    },
    Switch {
        name: "no-block",
        what: "one instruction a block",
        off: |o| o.block = 1,
    },
    Switch {
        name: "no-chain",
        what: "blocks of a page are not linked to each other",
        off: |o| o.chain = false,
    },
    Switch {
        name: "no-direct",
        what: "linked blocks reach each other through a word of data",
        off: |o| o.direct = false,
    },
    Switch {
        name: "no-flags",
        what: "status flags are worked out even where nobody can see them",
        off: |o| o.flags = false,
    },
    Switch {
        name: "no-fp",
        what: "SSE floating point is computed in integers, not on the host's unit",
        off: |o| o.fp = false,
    },
    Switch {
        name: "no-joints",
        what: "in regions, the status flags are variables where paths meet",
        off: |o| o.joints = false,
    },
    Switch {
        name: "no-jump-cache",
        what: "indirect and cross-page jumps are looked up by the dispatcher",
        off: |o| o.jump_cache = false,
    },
    Switch {
        name: "no-loops",
        what: "a block that leads to its own start keeps no registers from one round to the next",
        off: |o| o.loops = false,
    },
    Switch {
        name: "no-pages",
        what: "in regions, each access to memory looks at the TLB",
        off: |o| o.pages = false,
    },
    Switch {
        name: "no-pcid",
        what: "the TLB forgets an address space when the guest leaves it, even if it asks to keep it",
        off: |o| o.pcid = false,
    },
    Switch {
        name: "no-regions",
        what: "hot loops are not compiled as regions",
        off: |o| o.regions = false,
    },
    Switch {
        name: "no-rep",
        what: "REP MOVS and REP STOS go one iteration at a time",
        off: |o| o.rep = false,
    },
    Switch {
        name: "no-resume",
        what: "helpers that lead elsewhere (SYSCALL, IRET, STI ...) go back to the dispatcher",
        off: |o| o.resume = false,
    },
    Switch {
        name: "no-simd",
        what: "MMX and SSE integer operations are computed by functions, not on the host's unit",
        off: |o| o.simd = false,
    },
    Switch {
        name: "no-warm-up",
        what: "blocks are translated at once, not evaluated a few times first",
        off: |o| (o.first, o.changing) = (0, 0),
    },
    Switch {
        name: "no-windows",
        what: "each memory access of a block looks at the TLB, also beside an earlier one",
        off: |o| o.windows = false,
    },
    Switch {
        name: "no-x87",
        what: "x87 arithmetic is computed in integers, not on the host's unit",
        off: |o| o.x87 = false,
    },
];

impl Options {
    /// The least and the most bytes of a code cache: code reaches its data by 32-bit distances.
    pub const CODE_CACHE_MIN: usize = 1 << 20;
    pub const CODE_CACHE_MAX: usize = 2 << 30;

    /// Switches an optimisation off; tells whether there is one of that name.
    pub fn switch_off(&mut self, name: &str) -> bool {
        let found = SWITCHES.iter().find(|s| s.name == name);
        if let Some(s) = found {
            (s.off)(self);
        }
        found.is_some()
    }
}
