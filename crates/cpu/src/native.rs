//! What generated code keeps in the [`Cpu`] beside the architectural state, and where it finds everything.

use crate::state::Cpu;

/// Spill slots of the one-pass writer.
pub const SPILLS: usize = 64;
/// Scratch vectors.
pub const VECTORS: usize = 16;
/// log2 of [`JUMPS`].
pub const JUMP_BITS: u32 = 16;
/// Entries of the jump cache.
pub const JUMPS: usize = 1 << JUMP_BITS;

/// One entry of the jump cache: where host code for an address of the current mapping and mode starts.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct JumpEntry {
    /// The guest's RIP.
    pub rip: u64,
    /// [`Native::key`] when it was entered.
    pub key: u64,
    /// [`Native::page_base`] for it.
    pub base: u64,
    /// Host address.
    pub entry: u64,
}

impl JumpEntry {
    /// Matches nothing.
    pub const NONE: Self = Self {
        rip: u64::MAX,
        key: 0,
        base: 0,
        entry: 0,
    };

    /// Where the entry for `rip` stands.
    pub const fn place(rip: u64) -> usize {
        (rip ^ (rip as u32 >> JUMP_BITS) as u64) as usize % JUMPS
    }
}

/// Host addresses of the stubs that generated code calls or jumps to.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct Stubs {
    /// Loads through the slow path: `address` in, `value` out.
    pub load: u64,
    /// Stores through the slow path: `address` and `value` in.
    pub store: u64,
    /// Calls a helper row: pointer to the instruction in `address`.
    pub helper: u64,
    /// The same for a helper that neither reads nor changes floating-point state.
    pub quick: u64,
    /// Works out the status flags: [`CcOp::Bits`](semantics::emit::CcOp::Bits) after.
    pub flags: u64,
    /// A vector operation: pointer to it in `address`, operands in `vector`.
    pub vector: u64,
    /// A floating-point operation, likewise.
    pub fp: u64,
    /// Fills the TLB for the access to `address` if it is to RAM and permitted; bit 0 of `site` is set for a store.
    pub reach: u64,
    /// For regions: fills the TLB for the access to `address` if it is to RAM and permitted; bit 0 of `site` is set for a store.
    pub touch: u64,
    /// For regions: works out the status flags.
    pub status: u64,
    /// Loads the host's x87 with the guest's control and status word.
    pub x87: u64,
    /// Leaves generated code: the reason is in `value[0]`.
    pub exit: u64,
}

/// State of generated code. Zero until an engine takes over.
#[repr(C)]
pub struct Native {
    /// RIP of the current page's first byte.
    pub page_base: u64,
    /// Mapping epoch and mode: equal keys mean that RIP leads to the same code. In supervisor mode it is the epoch of global pages: entries
    /// of the jump cache for others are dropped when the address space changes.
    pub key: u64,
    /// Operand of a slow path.
    pub address: u64,
    /// Operand or answer of a slow path; reason of an exit.
    pub value: [u64; 2],
    /// Where in the page the slow path's instruction stands, how many were retired before it, and what is accessed.
    pub site: u64,
    /// The host's MXCSR outside generated code.
    pub host_mxcsr: u32,
    /// The host's x87: bit 0 is set while it has the guest's control word and the exception flags and condition codes of the guest's status
    /// word, bit 1 while its control word is not the host's own.
    pub x87_unit: u8,
    /// The host's own x87 control word.
    pub host_fcw: u16,
    /// Environment to load into the host's x87 (Vol. 1, figure 8-9).
    pub x87_environment: [u32; 7],
    /// Scratch for a way between MXCSR and memory.
    pub scratch_mxcsr: u32,
    /// A helper that leads elsewhere may go on at what the jump cache has for it, without the dispatcher.
    pub resume: bool,
    /// How often that was so.
    pub resumed: u64,
    /// Entries of regions.
    pub regions: u64,
    /// Address of the TLB's live arrays.
    pub tlb: u64,
    /// Address of the attention word.
    pub attention: u64,
    /// The bits of it that count now: not INTR while interrupts are disabled.
    pub attention_mask: u32,
    /// Instructions retired in generated code since it was entered.
    pub retired: u64,
    /// Host address of the engine's translations, for stubs that drop some.
    pub cache: u64,
    /// Two registers that a cold path borrows.
    pub saved: [u64; 2],
    /// Offsets of the operands and the result of a vector stub.
    pub operands: [u64; 3],
    /// Per segment one more than the last offset that may be read; 0 where the evaluator must look.
    pub read_limits: [u64; 6],
    /// The same for writes.
    pub write_limits: [u64; 6],
    /// Scratch vectors of one instruction.
    pub vector: [u128; VECTORS],
    pub spill: [u64; SPILLS],
    pub stubs: Stubs,
    /// Address of [`Native::jumps`].
    jump_cache: u64,
    pub jumps: Box<[JumpEntry]>,
}

impl Default for Native {
    fn default() -> Self {
        let jumps = vec![JumpEntry::NONE; JUMPS].into_boxed_slice();
        Self {
            page_base: 0,
            key: 0,
            address: 0,
            value: [0; 2],
            site: 0,
            host_mxcsr: 0x1f80,
            x87_unit: 0,
            host_fcw: 0x37f,
            x87_environment: [0x37f, 0, 0xffff, 0, 0, 0, 0],
            scratch_mxcsr: 0,
            resume: false,
            resumed: 0,
            regions: 0,
            tlb: 0,
            attention: 0,
            attention_mask: u32::MAX,
            retired: 0,
            cache: 0,
            saved: [0; 2],
            operands: [0; 3],
            read_limits: [0; 6],
            write_limits: [0; 6],
            vector: [0; VECTORS],
            spill: [0; SPILLS],
            stubs: Stubs::default(),
            jump_cache: jumps.as_ptr() as u64,
            jumps,
        }
    }
}

/// Offsets of fields from the `Cpu` pointer.
pub mod offset {
    use super::{Cpu, Native};
    use std::mem::offset_of;
    pub const GPR: usize = offset_of!(Cpu, gpr);
    pub const RIP: usize = offset_of!(Cpu, rip);
    pub const CC: usize = offset_of!(Cpu, flags.cc);
    pub const RES: usize = offset_of!(Cpu, flags.res);
    pub const SRC: usize = offset_of!(Cpu, flags.src);
    pub const DST: usize = offset_of!(Cpu, flags.dst);
    pub const SYSTEM_FLAGS: usize = offset_of!(Cpu, system_flags);
    pub const XMM: usize = offset_of!(Cpu, fpu.xmm);
    pub const MM: usize = offset_of!(Cpu, fpu.r);
    pub const FSW: usize = offset_of!(Cpu, fpu.fsw);
    pub const FCW: usize = offset_of!(Cpu, fpu.fcw);
    /// Twice TOP.
    pub const TOP: usize = offset_of!(Cpu, fpu.top);
    pub const TAGS: usize = offset_of!(Cpu, fpu.tags);
    pub const FCS: usize = offset_of!(Cpu, fpu.fcs);
    pub const FIP: usize = offset_of!(Cpu, fpu.fip);
    pub const FDS: usize = offset_of!(Cpu, fpu.fds);
    pub const FDP: usize = offset_of!(Cpu, fpu.fdp);
    pub const SEG: usize = offset_of!(Cpu, seg);
    const NATIVE: usize = offset_of!(Cpu, native);
    pub const PAGE_BASE: usize = NATIVE + offset_of!(Native, page_base);
    pub const KEY: usize = NATIVE + offset_of!(Native, key);
    pub const ADDRESS: usize = NATIVE + offset_of!(Native, address);
    pub const VALUE: usize = NATIVE + offset_of!(Native, value);
    pub const SITE: usize = NATIVE + offset_of!(Native, site);
    pub const ATTENTION: usize = NATIVE + offset_of!(Native, attention);
    pub const ATTENTION_MASK: usize = NATIVE + offset_of!(Native, attention_mask);
    pub const MXCSR: usize = offset_of!(Cpu, fpu.mxcsr);
    pub const HOST_MXCSR: usize = NATIVE + offset_of!(Native, host_mxcsr);
    pub const SCRATCH_MXCSR: usize = NATIVE + offset_of!(Native, scratch_mxcsr);
    pub const X87_UNIT: usize = NATIVE + offset_of!(Native, x87_unit);
    pub const HOST_FCW: usize = NATIVE + offset_of!(Native, host_fcw);
    pub const X87_ENVIRONMENT: usize = NATIVE + offset_of!(Native, x87_environment);
    pub const TLB: usize = NATIVE + offset_of!(Native, tlb);
    pub const REGIONS: usize = NATIVE + offset_of!(Native, regions);
    pub const RETIRED: usize = NATIVE + offset_of!(Native, retired);
    pub const SAVED: usize = NATIVE + offset_of!(Native, saved);
    pub const OPERANDS: usize = NATIVE + offset_of!(Native, operands);
    pub const READ_LIMITS: usize = NATIVE + offset_of!(Native, read_limits);
    pub const WRITE_LIMITS: usize = NATIVE + offset_of!(Native, write_limits);
    pub const VECTOR: usize = NATIVE + offset_of!(Native, vector);
    pub const SPILL: usize = NATIVE + offset_of!(Native, spill);
    pub const STUBS: usize = NATIVE + offset_of!(Native, stubs);
    pub const JUMP_CACHE: usize = NATIVE + offset_of!(Native, jump_cache);
}

/// Why generated code was left: [`Native::value`]`[0]`.
pub mod exit {
    use arch::{Exception, Fault};

    /// RIP names an address that the jump cache does not know.
    pub const LOOKUP: u64 = 0;
    /// The same, reached through the link slot whose address is in `value[1]`.
    pub const UNLINKED: u64 = 1;
    /// The attention word is set; RIP is right.
    pub const ATTEND: u64 = 2;
    /// The evaluator must do the instruction that `site` names.
    pub const EVALUATE: u64 = 3;
    /// A slow path found a fault, which stands in `value[1]`; `site` names the instruction.
    pub const FAULT: u64 = 4;
    /// A helper changed where or how to go on; RIP is right.
    pub const HELPER: u64 = 5;
    /// The instruction that `site` names raises: see [`raise`].
    pub const RAISE: u64 = 6;

    /// A helper found a fault, which stands in `value[1]`. RIP is right: that of the next task, if the fault is found after a task switch.
    pub const HELPER_FAULT: u64 = 7;

    /// The reason for raising `f`.
    pub const fn raise(f: Fault) -> u64 {
        RAISE | (f.exception as u64) << 8 | (f.error_code as u64) << 32
    }

    /// Packs a fault into `value[1]`.
    pub const fn pack(f: Fault) -> u64 {
        raise(f)
    }

    /// The fault in a packed word.
    pub fn fault(word: u64) -> Fault {
        let exception = match word >> 8 & 0xff {
            0 => Exception::DE,
            1 => Exception::DB,
            3 => Exception::BP,
            4 => Exception::OF,
            5 => Exception::BR,
            6 => Exception::UD,
            7 => Exception::NM,
            8 => Exception::DF,
            10 => Exception::TS,
            11 => Exception::NP,
            12 => Exception::SS,
            14 => Exception::PF,
            16 => Exception::MF,
            17 => Exception::AC,
            18 => Exception::MC,
            19 => Exception::XM,
            _ => Exception::GP,
        };
        Fault::with_code(exception, (word >> 32) as u32)
    }
}

/// Where a slow path stands: [`Native::site`].
pub mod site {
    /// In what a helper's site says beside: another instruction follows in the block.
    pub const MORE: u64 = 1;
    /// Host vector registers hold values that the stub must preserve.
    pub const VECTORS: u64 = 1 << 27;

    /// The block relies on pages that it found before: a store to the bus, which may change where memory is, must end it.
    pub const WINDOWS: u64 = 1 << 26;

    /// Packs the distance from the page's start, the instructions retired before and what is accessed.
    pub const fn pack(at: i64, done: u32, extra: u64) -> u64 {
        (at as u64 & 0xffff) | (done as u64 & 0xff) << 16 | extra << 24
    }
    /// Distance from the page's start.
    pub const fn at(site: u64) -> u64 {
        site & 0xffff
    }
    /// Instructions retired before.
    pub const fn done(site: u64) -> u64 {
        site >> 16 & 0xff
    }
    /// The segment of an access.
    pub const fn segment(extra: u64) -> arch::Seg {
        match extra >> 4 & 7 {
            0 => arch::Seg::Es,
            1 => arch::Seg::Cs,
            2 => arch::Seg::Ss,
            4 => arch::Seg::Fs,
            5 => arch::Seg::Gs,
            _ => arch::Seg::Ds,
        }
    }
    /// What is accessed: log2 of the size in bits 1:0, [`WINDOWS`] in bit 2, [`VECTORS`] in bit 3, the segment from bit 4.
    pub const fn extra(site: u64) -> u64 {
        site >> 24
    }
}
