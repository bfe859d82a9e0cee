//! What the one-pass writer asks of a host's assembler.
//!
//! Operations have three operands; the destination is always a register that holds nothing else, so no operation destroys a source.

/// A host register by its number.
pub type Reg = u8;

/// A label inside one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(pub u32);

/// The width of a host operation: narrow guest widths are worked on in 32 bits, with whatever stands above them ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    B8,
    B16,
    B32,
    B64,
}

impl Size {
    /// The width of `bits` bits.
    pub fn of(bits: u32) -> Self {
        match bits {
            8 => Self::B8,
            16 => Self::B16,
            32 => Self::B32,
            _ => Self::B64,
        }
    }
    /// Its bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::B8 => 8,
            Self::B16 => 16,
            Self::B32 => 32,
            Self::B64 => 64,
        }
    }
}

/// Two-operand arithmetic. All but `Add` leave the host's flags of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alu {
    Add,
    Sub,
    And,
    Or,
    Xor,
    Mul,
}

/// Shifts and rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    Shl,
    Shr,
    Sar,
    Rotl,
    Rotr,
}

/// A relation that a compare left in the host's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cond {
    Eq,
    Ne,
    Ult,
    Uge,
    Slt,
    Sge,
    Neg,
    Pos,
}

impl Cond {
    /// The opposite.
    #[must_use]
    pub fn inverted(self) -> Self {
        match self {
            Self::Eq => Self::Ne,
            Self::Ne => Self::Eq,
            Self::Ult => Self::Uge,
            Self::Uge => Self::Ult,
            Self::Slt => Self::Sge,
            Self::Sge => Self::Slt,
            Self::Neg => Self::Pos,
            Self::Pos => Self::Neg,
        }
    }
}

/// A register or a constant that fits the host's immediates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Src {
    Reg(Reg),
    Imm(i32),
}

/// A place that the engine fills in when it puts a block into the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fixup {
    /// Byte offset in the block's code of a 32-bit field, relative to the field's end.
    pub at: u32,
    /// The cell that the field names, by its number in the block.
    pub slot: u32,
    /// The field ends an instruction of [`JUMP`] bytes that jumps through the cell.
    pub jumps: bool,
}

/// Bytes of a jump through a cell, which can be written over by a jump to a place.
pub const JUMP: usize = 6;

/// The assembler of a host. Offsets are from the `Cpu` pointer unless a base is named.
pub trait HostAssembler: Default {
    /// Registers that values may live in.
    const POOL: &'static [Reg];
    /// Registers that vectors may live in.
    const VECTOR_POOL: &'static [Reg];
    /// A variable shift's count must be in this register, where the host has such a rule.
    const SHIFT_COUNT: Option<Reg>;
    /// Wide multiplications and divisions work in these two (low, high), where the host has such a rule.
    const WIDE: Option<(Reg, Reg)>;
    /// Compare-and-exchange expects the old value here, where the host has such a rule.
    const EXPECTED: Option<Reg>;

    /// The second argument of Cranelift's tail convention.
    const SECOND: Reg;

    /// Starts a new block.
    fn reset(&mut self);
    /// Takes in finished code, in which the distances to labels are missing from these 32-bit fields.
    fn adopt(&mut self, code: &[u8], fields: &[(u32, Label)]);
    /// Bytes so far.
    fn position(&self) -> usize;
    fn label(&mut self) -> Label;
    fn bind(&mut self, l: Label);
    /// Resolves labels, and notes which fields name a place on the other side of `border`.
    fn finish(&mut self, border: u32);
    /// The offsets of these 32-bit fields.
    fn crossings(&self) -> &[u32];
    /// The code of a finished block.
    fn code(&self) -> &[u8];
    /// Fields for link slots.
    fn fixups(&self) -> &[Fixup];

    fn mov(&mut self, d: Reg, s: Reg);
    fn constant(&mut self, d: Reg, v: u64);
    /// Zero-extends the low `size` of `s`.
    fn zero_extend(&mut self, size: Size, d: Reg, s: Reg);
    /// Sign-extends to 64 bits.
    fn sign_extend(&mut self, size: Size, d: Reg, s: Reg);
    /// The low `size` of `d` becomes that of `s`; the rest stays.
    fn insert_low(&mut self, size: Size, d: Reg, s: Reg);
    /// Bits 8 to 15 of `d` become the low byte of `s`.
    fn insert_high_byte(&mut self, d: Reg, s: Reg);
    /// Bits 8 to 15 of `s`, zero-extended.
    fn high_byte(&mut self, d: Reg, s: Reg);

    /// Loads zero-extended from the `Cpu`.
    fn load_cpu(&mut self, size: Size, d: Reg, offset: i32);
    fn store_cpu(&mut self, size: Size, offset: i32, s: Reg);
    /// Stores a sign-extended constant.
    fn store_cpu_imm(&mut self, size: Size, offset: i32, v: i32);
    /// Copies a quadword between `Cpu` fields; no register changes.
    fn copy_cpu(&mut self, to: i32, from: i32);
    /// Loads zero-extended from `base + index`.
    fn load_at(&mut self, size: Size, d: Reg, base: Reg, index: Reg);
    fn store_at(&mut self, size: Size, base: Reg, index: Reg, s: Reg);

    /// `d ← a op b`; only for 32 and 64 bits. Tells whether the host's flags now are those of the result (and, for `Sub`, of the compare).
    fn alu(&mut self, op: Alu, size: Size, d: Reg, a: Reg, b: Src) -> bool;
    /// `d ← a + (b << scale) + disp` without touching flags.
    fn lea(&mut self, d: Reg, a: Reg, b: Option<(Reg, u8)>, disp: i32);
    fn not(&mut self, d: Reg, a: Reg);
    fn shift_imm(&mut self, op: Shift, size: Size, d: Reg, a: Reg, n: u8);
    /// The count is below the width and in [`HostAssembler::SHIFT_COUNT`] if that is set.
    fn shift(&mut self, op: Shift, size: Size, d: Reg, a: Reg, n: Reg);
    /// High half of a product: for hosts with [`HostAssembler::WIDE`] `a` is in its low register and the result comes in its high one.
    fn mul_high(&mut self, signed: bool, size: Size, d: Reg, a: Reg, b: Reg);
    /// Divides `hi:lo` by `d` in the wide registers: quotient in the low, remainder in the high one.
    fn div(&mut self, signed: bool, size: Size, d: Reg);
    fn bswap(&mut self, size: Size, d: Reg, a: Reg);
    /// Ones in the value; `a` is zero-extended.
    fn popcnt(&mut self, d: Reg, a: Reg);
    /// Trailing and leading zeros of a non-zero 64-bit value, as the host's bit scans give them: index of the lowest, highest one.
    fn scan(&mut self, highest: bool, d: Reg, a: Reg);

    /// Leaves a compare in the host's flags.
    fn compare(&mut self, size: Size, a: Reg, b: Src);
    /// Leaves Eq or Ne of one bit being clear in the flags.
    fn test_bits(&mut self, size: Size, a: Reg, mask: i32);
    /// Leaves Eq or Ne zero, and the sign.
    fn test(&mut self, size: Size, a: Reg);
    /// Compares a register with a `Cpu` field.
    fn compare_cpu(&mut self, size: Size, a: Reg, offset: i32);
    fn set(&mut self, c: Cond, d: Reg);
    /// The low byte of a `Cpu` field becomes 0 or 1.
    fn set_cpu(&mut self, c: Cond, offset: i32);
    /// `d ← c ? a : d`.
    fn move_if(&mut self, c: Cond, d: Reg, a: Reg);

    fn jump(&mut self, l: Label);
    fn jump_if(&mut self, c: Cond, l: Label);
    /// Jumps through cell `slot`: [`HostAssembler::jump_through`].
    fn jump_slot(&mut self, slot: u32);
    /// The instruction that jumps through the cell `distance` bytes behind its start.
    fn jump_through(distance: i32) -> [u8; JUMP];
    /// The instruction that jumps to the code `distance` bytes behind its start.
    fn jump_to(distance: i32) -> [u8; JUMP];
    /// Jumps through a `Cpu` field.
    fn jump_cpu(&mut self, offset: i32);
    /// Calls through a `Cpu` field: a stub that preserves every register.
    fn call_cpu(&mut self, offset: i32);
    /// Loads from cell `slot`.
    fn load_slot(&mut self, d: Reg, slot: u32);
    /// The address of cell `slot`.
    fn address_of_slot(&mut self, d: Reg, slot: u32);
    /// Jumps to `l` if the attention word is not zero. `t` is scratch.
    fn check_attention(&mut self, t: Reg, l: Label);
    /// Adds to the register that counts retired instructions.
    fn count(&mut self, n: i32);

    /// Probes the TLB: `d` becomes the addend if the page of `a` to `a + bytes - 1` has the tag at `tag` (an offset in an entry of the array
    /// `array` bytes behind the live arrays' start); else jumps to `miss`. `t` is scratch.
    fn probe(&mut self, array: i32, tag: i32, a: Reg, bytes: u32, d: Reg, t: Reg, miss: Label);
    /// Probes the jump cache for the address in `a`: jumps to its entry, or to `miss`. `t` is scratch. See `cpu::native::Native`.
    fn jump_cached(&mut self, a: Reg, t: Reg, u: Reg, miss: Label);

    /// Atomic `d ← [base + index]; [base + index] ← d + s`.
    fn exchange_add(&mut self, size: Size, base: Reg, index: Reg, d: Reg);
    fn exchange(&mut self, size: Size, base: Reg, index: Reg, d: Reg);
    /// Atomic compare and exchange: expects the content of [`HostAssembler::EXPECTED`], leaves there what was found; Eq if it was the same.
    fn compare_exchange(&mut self, size: Size, base: Reg, index: Reg, new: Reg);

    // Vectors.
    fn move_vector(&mut self, d: Reg, s: Reg);
    fn zero_vector(&mut self, d: Reg);
    /// Loads 16 bytes of the `Cpu`.
    fn load_vector_cpu(&mut self, d: Reg, offset: i32);
    fn store_vector_cpu(&mut self, offset: i32, s: Reg);
    /// Loads 16 bytes from `base + index`.
    fn load_vector(&mut self, d: Reg, base: Reg, index: Reg);
    fn store_vector(&mut self, base: Reg, index: Reg, s: Reg);
    /// The low 32 or 64 bits of a general register, zero-extended.
    fn vector_from(&mut self, size: Size, d: Reg, s: Reg);
    /// Lane `n` in a general register, zero-extended.
    fn lane(&mut self, size: Size, d: Reg, s: Reg, n: u8);
    /// Lane `n` of `d` becomes the low bits of a general register.
    fn insert_lane(&mut self, size: Size, d: Reg, s: Reg, n: u8);
    /// The low half of `s`, zero-extended.
    fn low_half(&mut self, d: Reg, s: Reg);
    /// The low 32 or 64 bits of `d` become those of `s`.
    fn merge_low(&mut self, size: Size, d: Reg, s: Reg);
    /// `d ← a op b`; `false` if the host has no short code for it, and nothing was written.
    fn vector(&mut self, op: semantics::vector::VecOp, d: Reg, a: Reg, b: Reg) -> bool;
    /// A floating-point word on the host's unit, under the guest's MXCSR with all exceptions masked; the answer of a compare is in
    /// `scratch`, as [`semantics::Emit::fp_compare`] wants it. `false` if the host does not do it exactly.
    fn fp(&mut self, call: crate::block::FpCall, d: Reg, a: Reg, b: Reg, scratch: Reg) -> bool;
    /// Whether the host has an x87 of the guest's kind.
    const X87: bool = false;
    /// A word of it.
    fn x87(&mut self, _: crate::x87::X87Word) {}
}
