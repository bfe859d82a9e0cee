//! One case: instruction bytes, the state before, the memory it may touch; and what came out.
//!
//! A case runs at CPL 3 in a small world that both sides build alike: the pages of [`REGIONS`], the GDT selectors that Linux gives a
//! user process, and the LDT of [`LDT`]. All memory holds [`pattern`] but where the case lays a [`Patch`], and the code page holds INT3.

use crate::rng::mix;

/// The mode a case runs in: 64-bit, or compatibility mode with a 32-bit or a 16-bit code segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bits {
    /// Compatibility mode, CS.D = 0.
    B16,
    /// Compatibility mode, CS.D = 1.
    B32,
    /// 64-bit mode.
    B64,
}

impl Bits {
    /// The number of bits, as iced's decoder wants it.
    pub fn count(self) -> u32 {
        match self {
            Self::B16 => 16,
            Self::B32 => 32,
            Self::B64 => 64,
        }
    }

    /// The selector in CS.
    pub fn cs(self) -> u16 {
        match self {
            Self::B16 => CS16,
            Self::B32 => USER32_CS,
            Self::B64 => USER64_CS,
        }
    }

    /// Base of the code segment: what turns RIP into a linear address.
    pub fn cs_base(self) -> u64 {
        match self {
            Self::B16 => CODE,
            _ => 0,
        }
    }
}

/// Access that user mode has to a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read, write and execute.
    Code,
    /// Read and write.
    Data,
    /// Read only.
    ReadOnly,
}

/// Mapped pages, at the same linear addresses on both sides. What lies between is not mapped.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// First address.
    pub base: u64,
    /// Length in bytes, whole pages.
    pub len: usize,
    /// What user mode may do there.
    pub access: Access,
}

/// The code page.
pub const CODE: u64 = 0x1000_0000;
/// Two data pages; the next page is not mapped.
pub const DATA: u64 = 0x1001_0000;
/// A read-only page between two pages that are not mapped.
pub const READ_ONLY: u64 = 0x1001_4000;
/// Two stack pages, within 64 KiB of `DATA` so that 16-bit segments reach both.
pub const STACK: u64 = 0x1001_8000;
/// A data page above 4 GiB, for 64-bit address arithmetic.
pub const HIGH: u64 = 0x1234_5678_9000;
/// FS base of 64-bit cases.
pub const FS_BASE: u64 = DATA + 0x208;
/// GS base of 64-bit cases.
pub const GS_BASE: u64 = HIGH - 0x10_0000;

/// All mapped pages.
pub const REGIONS: [Region; 5] = [
    Region {
        base: CODE,
        len: 0x1000,
        access: Access::Code,
    },
    Region {
        base: DATA,
        len: 0x2000,
        access: Access::Data,
    },
    Region {
        base: READ_ONLY,
        len: 0x1000,
        access: Access::ReadOnly,
    },
    Region {
        base: STACK,
        len: 0x2000,
        access: Access::Data,
    },
    Region {
        base: HIGH,
        len: 0x1000,
        access: Access::Data,
    },
];

/// Linux's selector for 64-bit user code.
pub const USER64_CS: u16 = 0x33;
/// Linux's selector for 32-bit user code.
pub const USER32_CS: u16 = 0x23;
/// Linux's selector for user data and stack.
pub const USER_DS: u16 = 0x2b;
/// The 16-bit code segment of [`LDT`].
pub const CS16: u16 = 0x0f;

/// What kind of segment an LDT entry describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegKind {
    /// Read/write data, expand-up.
    Data,
    /// Read-only data, expand-up.
    DataReadOnly,
    /// Read/write data, expand-down.
    ExpandDown,
    /// Code, execute and read.
    Code,
    /// Code, execute only.
    CodeOnly,
}

/// One LDT entry; entry `n` has the selector `n * 8 + 7`.
#[derive(Clone, Copy, Debug)]
pub struct LdtEntry {
    /// Base address.
    pub base: u32,
    /// Limit, in bytes or pages.
    pub limit: u32,
    /// The D/B bit.
    pub big: bool,
    /// The G bit.
    pub pages: bool,
    /// The P bit.
    pub present: bool,
    /// Type.
    pub kind: SegKind,
}

const fn entry(base: u64, limit: u32, big: bool, pages: bool, kind: SegKind) -> Option<LdtEntry> {
    Some(LdtEntry {
        base: base as u32,
        limit,
        big,
        pages,
        present: true,
        kind,
    })
}

/// The local descriptor table. All descriptors are DPL 3 and accessed.
pub const LDT: [Option<LdtEntry>; 11] = [
    None,
    // 0x0f: CS of 16-bit cases.
    entry(CODE, 0xffff, false, false, SegKind::Code),
    // 0x17: the data pages, with an exact limit.
    entry(DATA, 0x1fff, true, false, SegKind::Data),
    // 0x1f: 64 KiB around data, read-only page and stack: where 16-bit addresses reach.
    entry(DATA, 0xffff, true, false, SegKind::Data),
    // 0x27: read-only data.
    entry(DATA, 0xf, true, true, SegKind::DataReadOnly),
    // 0x2f: expand-down, valid from DATA + 0x1000 on.
    entry(DATA, 0xfff, true, false, SegKind::ExpandDown),
    // 0x37: a 16-bit stack.
    entry(DATA, 0xffff, false, false, SegKind::Data),
    // 0x3f: execute-only code.
    entry(CODE, 0xffff, true, false, SegKind::CodeOnly),
    // 0x47: not present.
    Some(LdtEntry {
        base: DATA as u32,
        limit: 0xffff,
        big: true,
        pages: false,
        present: false,
        kind: SegKind::Data,
    }),
    // 0x4f: 16-bit expand-down, valid from DATA + 0x1000 to DATA + 0xffff.
    entry(DATA, 0xfff, false, false, SegKind::ExpandDown),
    // 0x57: readable 32-bit code with a base.
    entry(CODE, 0xffff, true, false, SegKind::Code),
];

/// 16-bit and other small stacks and data segments start here.
pub fn seg_base(selector: u16) -> u64 {
    if selector & 4 == 0 {
        return 0;
    }
    LDT.get(usize::from(selector >> 3))
        .copied()
        .flatten()
        .map_or(0, |e| u64::from(e.base))
}

/// Indices into [`State::seg`], in the order of the reg field of MOV Sreg.
pub mod sreg {
    /// ES
    pub const ES: usize = 0;
    /// CS
    pub const CS: usize = 1;
    /// SS
    pub const SS: usize = 2;
    /// DS
    pub const DS: usize = 3;
    /// FS
    pub const FS: usize = 4;
    /// GS
    pub const GS: usize = 5;
}

/// Bytes of the case's choosing laid over the pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Linear address; the patch lies within one region.
    pub addr: u64,
    /// At most [`PATCH_MAX`] bytes.
    pub bytes: Vec<u8>,
}

/// Longest patch.
pub const PATCH_MAX: usize = 64;
/// Most patches a case may have.
pub const PATCHES_MAX: usize = 12;

/// The registers that user mode sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// RIP, an offset in CS.
    pub rip: u64,
    /// RFLAGS.
    pub rflags: u64,
    /// Selectors ES, CS, SS, DS, FS, GS. In 64-bit mode FS and GS have [`FS_BASE`] and [`GS_BASE`] whatever they hold.
    pub seg: [u16; 6],
    /// The image that FXSAVE64 stores (SDM Vol. 2A, FXSAVE).
    pub fx: [u8; 512],
}

impl State {
    /// A little-endian 16-bit field of the FXSAVE image.
    pub fn fx16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.fx[at], self.fx[at + 1]])
    }

    /// MXCSR.
    pub fn mxcsr(&self) -> u32 {
        u32::from_le_bytes([self.fx[24], self.fx[25], self.fx[26], self.fx[27]])
    }

    /// The 80 bits of ST(i), in stack order.
    pub fn st(&self, i: usize) -> [u8; 10] {
        let at = 32 + 16 * i;
        std::array::from_fn(|k| self.fx[at + k])
    }

    /// XMM register `i`.
    pub fn xmm(&self, i: usize) -> u128 {
        let at = 160 + 16 * i;
        u128::from_le_bytes(std::array::from_fn(|k| self.fx[at + k]))
    }
}

/// One instruction and all that it may read.
#[derive(Clone, Debug)]
pub struct Case {
    /// The seed of the run.
    pub seed: u64,
    /// Number of the case within the seed.
    pub index: u64,
    /// Mode.
    pub bits: Bits,
    /// Instruction bytes, at most 15.
    pub code: Vec<u8>,
    /// State before; `rip` points at the code in [`CODE`].
    pub state: State,
    /// Memory contents.
    pub mem: Vec<Patch>,
}

/// An exception as the CPU raised it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Vector.
    pub vector: u8,
    /// Error code, 0 where the vector has none.
    pub error: u32,
    /// CR2, for #PF only.
    pub cr2: u64,
}

/// An aligned piece of memory that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Linear address, a multiple of [`CHUNK`].
    pub addr: u64,
    /// Contents after.
    pub bytes: [u8; CHUNK],
}

/// Granularity in which changes are reported.
pub const CHUNK: usize = 64;

/// What a case did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// State after: at the next instruction, or at the fault.
    pub state: State,
    /// The exception that ended it.
    pub fault: Option<Fault>,
    /// Memory that differs from what was there before, in order of address.
    pub mem: Vec<Chunk>,
}

/// What memory holds before a case: a fixed function of the address; INT3 in the code page.
pub fn pattern(addr: u64) -> u8 {
    if (CODE..CODE + 0x1000).contains(&addr) {
        return 0xcc;
    }
    (mix(addr >> 3) >> (8 * (addr & 7))) as u8
}

/// The byte at `addr` before the case runs, patches and code included.
pub fn byte_before(case: &Case, addr: u64) -> u8 {
    let code = case.state.rip.wrapping_add(case.bits.cs_base());
    let at = addr.wrapping_sub(code);
    if at < case.code.len() as u64 {
        return case.code[at as usize];
    }
    let patched = case
        .mem
        .iter()
        .rev()
        .find(|p| addr.wrapping_sub(p.addr) < p.bytes.len() as u64);
    patched.map_or_else(|| pattern(addr), |p| p.bytes[(addr - p.addr) as usize])
}
