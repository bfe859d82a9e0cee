//! The decoded instruction.

use arch::{Seg, Size};
use iced_x86::Code;

/// A repeat prefix that the instruction gives a meaning to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rep {
    None,
    /// F3: REP, REPE.
    Rep,
    /// F2: REPNE.
    Repne,
}

/// One operand as far as decoding can resolve it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operand {
    None,
    /// A general register by number; the form tells its width.
    Gpr(u8),
    /// AH, CH, DH or BH: bits 15:8 of general register 0 to 3.
    GprHigh(u8),
    Xmm(u8),
    Mm(u8),
    St(u8),
    Seg(Seg),
    Cr(u8),
    Dr(u8),
    /// Sign-extended to 64 bits where the form says so, else zero-extended.
    Imm(u64),
    /// The memory operand: [`Insn::mem`].
    Mem,
    /// A string instruction's memory operand: rSI or rDI.
    Implicit,
    /// A branch target relative to the start of the instruction.
    Rel(i64),
    /// A far pointer.
    Far {
        selector: u16,
        offset: u32,
    },
}

/// A memory operand (Vol. 1, 3.7.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mem {
    /// Number of a general register, [`Mem::NONE`] or [`Mem::RIP`].
    pub base: u8,
    /// Number of a general register or [`Mem::NONE`].
    pub index: u8,
    /// log2 of the index's factor.
    pub scale: u8,
    /// Default or overriding segment.
    pub seg: Seg,
    /// With [`Mem::RIP`], relative to the start of the instruction.
    pub disp: u64,
}

impl Mem {
    /// No register.
    pub const NONE: u8 = 0xff;
    /// The address of the instruction.
    pub const RIP: u8 = 0xfe;
}

/// A decoded instruction, independent of where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Insn {
    pub code: Code,
    /// Bytes.
    pub len: u8,
    pub rep: Rep,
    pub lock: bool,
    /// Address size of the memory operand.
    pub address: Size,
    pub ops: [Operand; 3],
    pub mem: Mem,
}
