//! The vocabulary in which instructions are written, once.
//!
//! A body is a function generic over [`Emit`]. An engine that implements it as "do it now" evaluates; one that implements it as "write it
//! down" translates. What decoding knows (operands, widths, prefixes, [`Mode`]) is ordinary Rust; guest data is [`Emit::Val`], guest
//! conditions are [`Emit::Bool`], and both are opaque, so that a body which confuses the two stages does not compile.
//!
//! Order in every body (Vol. 3A, 6.5: faults restart): read sources, compute, write memory, then registers and flags.
//! `Err` from a word means that the rest of the body must not run: in an evaluator because of a fault or a branch, in a translator
//! because this path of the code is closed. A possible fault is `Err` for the evaluator when it happens and a side exit, with `Ok`, for
//! a translator.

use crate::fp::{FpFormat, FpOp, Relation};
use crate::vector::VecOp;
use crate::x87::{Format, Step};
use arch::{Exception, Fault, Mode, Seg, Uint};
use decode::Insn;
use std::fmt::Debug;

/// An operand width. Known while decoding, hence a type, never a guest value.
pub trait Width: Copy + Debug + 'static {
    /// The host's integer of this width.
    type Uint: Uint;
    const BITS: u32;
    const BYTES: u32 = Self::BITS / 8;
    /// All ones.
    const MASK: u64 = u64::MAX >> (64 - Self::BITS);
    /// The same as a value, for [`Cc`].
    const SIZE: OpSize;
}

/// A width as a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum OpSize {
    B8 = 0,
    B16 = 1,
    B32 = 2,
    B64 = 3,
}

macro_rules! widths {
    ($($(#[$doc:meta])* $w:ident $u:ty, $s:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub struct $w;
        impl Width for $w { type Uint = $u; const BITS: u32 = <$u>::BITS; const SIZE: OpSize = OpSize::$s; }
    )*};
}
widths! {
    /// Byte.
    W8 u8, B8;
    /// Word.
    W16 u16, B16;
    /// Doubleword.
    W32 u32, B32;
    /// Quadword.
    W64 u64, B64;
}

/// How the status flags follow from (`res`, `src`, `dst`): the formulas stand in [`crate::flags`]. Bits above the rule's width are not
/// defined.
///
/// A rule reads only the inputs that [`CcOp::inputs`] names: an engine need not keep the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CcOp {
    /// All six flags at their EFLAGS positions in `src`.
    Bits = 0,
    /// `res = dst + src`.
    Add = 1,
    /// `res = dst + src + CF`.
    Adc = 2,
    /// `res = dst - src`.
    Sub = 3,
    /// `res = dst - src - CF`.
    Sbb = 4,
    /// AND, OR, XOR, TEST: CF = OF = AF = 0.
    Logic = 5,
    /// `res = dst + 1`; CF is bit 0 of `src`.
    Inc = 6,
    /// `res = dst - 1`; CF is bit 0 of `src`.
    Dec = 7,
    /// Result with CF and OF: bit 0 of `src` is CF, bit 11 is OF, bit 4 is AF; SF, ZF and PF follow from `res`.
    Result = 8,
    /// The low half of the signed product of `src` and `dst` is `res`; CF and OF tell whether the product is wider, AF is clear.
    Product = 9,
    /// `res` is `src` shifted left by one, and `src` is all that was shifted before.
    Shl = 10,
    /// The same to the right, unsigned.
    Shr = 11,
    /// The same to the right, signed.
    Sar = 12,
}

impl CcOp {
    /// Which of (res, src, dst) the formulas read.
    pub const fn inputs(self) -> (bool, bool, bool) {
        match self {
            Self::Bits => (false, true, false),
            Self::Logic => (true, false, false),
            Self::Add | Self::Inc | Self::Dec | Self::Result => (true, true, false),
            Self::Shl | Self::Shr | Self::Sar => (true, true, false),
            Self::Sub => (false, true, true),
            Self::Adc | Self::Sbb | Self::Product => (true, true, true),
        }
    }

    /// Every rule, by its number.
    pub const ALL: [Self; 13] = [
        Self::Bits,
        Self::Add,
        Self::Adc,
        Self::Sub,
        Self::Sbb,
        Self::Logic,
        Self::Inc,
        Self::Dec,
        Self::Result,
        Self::Product,
        Self::Shl,
        Self::Shr,
        Self::Sar,
    ];
}

/// What the deferred flags are: the rule and its width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Cc {
    pub op: CcOp,
    pub size: OpSize,
}

/// The deferred flags with the rule's inputs.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Flags<V> {
    pub cc: Cc,
    pub res: V,
    pub src: V,
    pub dst: V,
}

/// An atomic read-modify-write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rmw {
    Add,
    And,
    Or,
    Xor,
    Xchg,
}

/// What kind of near transfer an indirect jump is: engines predict by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    Jump,
    Call,
    Return,
}

/// What a memory operand is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Read,
    Write,
}

/// How vectors in memory must be aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Align {
    /// 16-byte alignment or #GP(0).
    Vector,
    Any,
}

/// What an instruction may do. See the module's head.
pub trait Emit: Sized {
    /// Guest data of width `W`.
    type Val<W: Width>: Copy;
    /// A guest condition.
    type Bool: Copy;
    /// A 128-bit vector.
    type Vec: Copy;
    /// Why the rest of the instruction must not run.
    type Stop;

    /// The processor mode that the code is valid for: a decode-time fact.
    fn mode(&self) -> Mode;

    // Integers. Arithmetic wraps. Shift and rotate counts must be below the width.
    fn imm<W: Width>(&mut self, v: u64) -> Self::Val<W>;
    fn add<W: Width>(&mut self, a: Self::Val<W>, b: Self::Val<W>) -> Self::Val<W>;
    fn sub<W: Width>(&mut self, a: Self::Val<W>, b: Self::Val<W>) -> Self::Val<W>;
    /// Low half of the product.
    fn mul<W: Width>(&mut self, a: Self::Val<W>, b: Self::Val<W>) -> Self::Val<W>;
    fn and<W: Width>(&mut self, a: Self::Val<W>, b: Self::Val<W>) -> Self::Val<W>;
    fn or<W: Width>(&mut self, a: Self::Val<W>, b: Self::Val<W>) -> Self::Val<W>;
    fn xor<W: Width>(&mut self, a: Self::Val<W>, b: Self::Val<W>) -> Self::Val<W>;
    fn not<W: Width>(&mut self, a: Self::Val<W>) -> Self::Val<W>;
    fn shl<W: Width>(&mut self, a: Self::Val<W>, n: Self::Val<W>) -> Self::Val<W>;
    fn shr<W: Width>(&mut self, a: Self::Val<W>, n: Self::Val<W>) -> Self::Val<W>;
    fn sar<W: Width>(&mut self, a: Self::Val<W>, n: Self::Val<W>) -> Self::Val<W>;
    fn rotl<W: Width>(&mut self, a: Self::Val<W>, n: Self::Val<W>) -> Self::Val<W>;
    fn rotr<W: Width>(&mut self, a: Self::Val<W>, n: Self::Val<W>) -> Self::Val<W>;
    /// High half of the unsigned product.
    fn mul_high_u<W: Width>(&mut self, a: Self::Val<W>, b: Self::Val<W>) -> Self::Val<W>;
    /// High half of the signed product.
    fn mul_high_s<W: Width>(&mut self, a: Self::Val<W>, b: Self::Val<W>) -> Self::Val<W>;
    /// Quotient and remainder of `hi:lo` by `d`. Requires that the quotient fits: `hi < d`.
    fn div_u<W: Width>(
        &mut self,
        hi: Self::Val<W>,
        lo: Self::Val<W>,
        d: Self::Val<W>,
    ) -> (Self::Val<W>, Self::Val<W>);
    /// Signed, truncating. Requires [`Emit::div_s_fits`].
    fn div_s<W: Width>(
        &mut self,
        hi: Self::Val<W>,
        lo: Self::Val<W>,
        d: Self::Val<W>,
    ) -> (Self::Val<W>, Self::Val<W>);
    /// Whether the signed quotient of `hi:lo` by `d` exists and fits.
    fn div_s_fits<W: Width>(
        &mut self,
        hi: Self::Val<W>,
        lo: Self::Val<W>,
        d: Self::Val<W>,
    ) -> Self::Bool;
    /// Bytes reversed.
    fn bswap<W: Width>(&mut self, a: Self::Val<W>) -> Self::Val<W>;
    /// Leading zeros; the width for zero.
    fn clz<W: Width>(&mut self, a: Self::Val<W>) -> Self::Val<W>;
    /// Trailing zeros; the width for zero.
    fn ctz<W: Width>(&mut self, a: Self::Val<W>) -> Self::Val<W>;
    fn popcnt<W: Width>(&mut self, a: Self::Val<W>) -> Self::Val<W>;
    /// Zero-extends or truncates.
    fn cast<F: Width, T: Width>(&mut self, v: Self::Val<F>) -> Self::Val<T>;
    /// A wider value whose upper bits are not defined.
    #[inline(always)]
    fn loose<F: Width, T: Width>(&mut self, v: Self::Val<F>) -> Self::Val<T> {
        self.cast::<F, T>(v)
    }
    /// Sign-extends or truncates.
    fn sext<F: Width, T: Width>(&mut self, v: Self::Val<F>) -> Self::Val<T>;

    // Conditions.
    fn truth(&mut self, b: bool) -> Self::Bool;
    fn eq<W: Width>(&mut self, a: Self::Val<W>, b: Self::Val<W>) -> Self::Bool;
    fn ult<W: Width>(&mut self, a: Self::Val<W>, b: Self::Val<W>) -> Self::Bool;
    fn slt<W: Width>(&mut self, a: Self::Val<W>, b: Self::Val<W>) -> Self::Bool;
    /// Bit `n`, known while decoding.
    fn bit<W: Width>(&mut self, a: Self::Val<W>, n: u32) -> Self::Bool;
    fn negate(&mut self, a: Self::Bool) -> Self::Bool;
    fn both(&mut self, a: Self::Bool, b: Self::Bool) -> Self::Bool;
    fn either(&mut self, a: Self::Bool, b: Self::Bool) -> Self::Bool;
    fn differ(&mut self, a: Self::Bool, b: Self::Bool) -> Self::Bool;
    /// 0 or 1.
    fn number<W: Width>(&mut self, b: Self::Bool) -> Self::Val<W>;
    /// `c ? a : b`; both are computed.
    fn select<W: Width>(&mut self, c: Self::Bool, a: Self::Val<W>, b: Self::Val<W>)
    -> Self::Val<W>;

    // Register state.
    fn reg<W: Width>(&mut self, r: u8) -> Self::Val<W>;
    /// A 32-bit result is zero-extended, narrower ones merge (Vol. 1, 3.4.1.1).
    fn set_reg<W: Width>(&mut self, r: u8, v: Self::Val<W>);
    /// AH, CH, DH, BH.
    fn reg_high(&mut self, r: u8) -> Self::Val<W8>;
    fn set_reg_high(&mut self, r: u8, v: Self::Val<W8>);
    /// The address of this instruction: RIP, EIP or IP.
    fn ip(&mut self) -> Self::Val<W64>;
    fn seg_base(&mut self, seg: Seg) -> Self::Val<W64>;
    fn selector(&mut self, seg: Seg) -> Self::Val<W16>;
    /// The deferred status flags. An engine that does not know the rule while translating makes them [`CcOp::Bits`] first.
    fn flags(&mut self) -> Flags<Self::Val<W64>>;
    fn set_flags(&mut self, f: Flags<Self::Val<W64>>);
    /// Whether anybody can see the status flags that this instruction leaves. What it would do for them alone may be left out if not;
    /// [`Emit::set_flags`] may be called all the same.
    #[inline(always)]
    fn flags_wanted(&self) -> bool {
        true
    }
    /// RFLAGS without the status flags; bit 1 set.
    fn system_flags(&mut self) -> Self::Val<W64>;
    /// CLD and STD.
    fn set_direction(&mut self, down: bool);

    // Memory. `addr` is linear; `seg` tells which exception a bad address raises (#SS or #GP).
    fn load<W: Width>(
        &mut self,
        seg: Seg,
        addr: Self::Val<W64>,
    ) -> Result<Self::Val<W>, Self::Stop>;
    /// Loads what the instruction will store back: faults as that store would.
    fn load_modify<W: Width>(
        &mut self,
        seg: Seg,
        addr: Self::Val<W64>,
    ) -> Result<Self::Val<W>, Self::Stop>;
    fn store<W: Width>(
        &mut self,
        seg: Seg,
        addr: Self::Val<W64>,
        v: Self::Val<W>,
    ) -> Result<(), Self::Stop>;
    fn load_vec(
        &mut self,
        seg: Seg,
        addr: Self::Val<W64>,
        align: Align,
    ) -> Result<Self::Vec, Self::Stop>;
    fn store_vec(
        &mut self,
        seg: Seg,
        addr: Self::Val<W64>,
        v: Self::Vec,
        align: Align,
    ) -> Result<(), Self::Stop>;
    /// Faults as a store of `bytes` bytes would: for instructions that write twice.
    fn probe_write(&mut self, seg: Seg, addr: Self::Val<W64>, bytes: u32)
    -> Result<(), Self::Stop>;
    /// Atomic (LOCK); answers the old value.
    fn rmw<W: Width>(
        &mut self,
        op: Rmw,
        seg: Seg,
        addr: Self::Val<W64>,
        v: Self::Val<W>,
    ) -> Result<Self::Val<W>, Self::Stop>;
    /// Atomic compare and exchange (LOCK); answers the old value. Writes in any case as far as faults go.
    fn cas<W: Width>(
        &mut self,
        seg: Seg,
        addr: Self::Val<W64>,
        expected: Self::Val<W>,
        new: Self::Val<W>,
    ) -> Result<Self::Val<W>, Self::Stop>;
    /// Segment limit and type check outside 64-bit mode (Vol. 3A, 5.3, 5.5): only called where the mode is not flat.
    fn check_segment(
        &mut self,
        seg: Seg,
        offset: Self::Val<W64>,
        bytes: u32,
        access: Use,
    ) -> Result<(), Self::Stop>;

    // Control.
    fn raise(&mut self, fault: Fault) -> Result<(), Self::Stop>;
    fn raise_if(&mut self, c: Self::Bool, fault: Fault) -> Result<(), Self::Stop>;
    /// Goes on at `ip + offset`, truncated to the operand size `W`, if `c`; else falls through.
    fn branch<W: Width>(&mut self, c: Self::Bool, offset: i64) -> Result<(), Self::Stop>;
    /// Goes on at `ip + offset`, truncated to `W`.
    fn jump<W: Width>(&mut self, offset: i64) -> Result<(), Self::Stop>;
    /// Goes on at an offset in the code segment that is already truncated. #GP(0) outside the limit or if not canonical.
    fn jump_to(&mut self, target: Self::Val<W64>, how: Transfer) -> Result<(), Self::Stop>;
    /// #GP(0) if `target` may not be jumped to: for CALL, which must know before it pushes.
    fn check_target(&mut self, target: Self::Val<W64>) -> Result<(), Self::Stop>;
    /// Runs `then` only if `c`. For effects; pure choices are [`Emit::select`].
    fn when(
        &mut self,
        c: Self::Bool,
        then: impl FnOnce(&mut Self) -> Result<(), Self::Stop>,
    ) -> Result<(), Self::Stop>;
    /// Calls a helper: an instruction, or part of one, that every engine leaves to the processor's own code.
    fn helper(&mut self, helper: crate::table::Helper, i: &Insn) -> Result<(), Self::Stop>;

    /// LFENCE, MFENCE, SFENCE: earlier loads and stores come before later ones. Nothing to do for an engine whose accesses are already
    /// in order.
    #[inline(always)]
    fn fence(&mut self) {}

    // Vectors. MMX registers are vectors whose upper half is zero.
    fn xmm(&mut self, r: u8) -> Self::Vec;
    fn set_xmm(&mut self, r: u8, v: Self::Vec);
    fn mm(&mut self, r: u8) -> Self::Vec;
    /// Sets the significand to the low half of `v` and sign and exponent to ones (Vol. 1, 9.2.1).
    fn set_mm(&mut self, r: u8, v: Self::Vec);
    /// #MF if an unmasked x87 exception waits and CR0.NE is set.
    fn x87_pending(&mut self) -> Result<(), Self::Stop>;
    /// What every MMX instruction but EMMS does once its operands cannot fault any more: TOP = 0, all tags valid (Vol. 1, 9.6.2); #MF if
    /// an x87 exception is pending.
    fn enter_mmx(&mut self) -> Result<(), Self::Stop>;
    /// Zero-extends to a vector.
    fn vec_from<W: Width>(&mut self, v: Self::Val<W>) -> Self::Vec;
    /// Lane `n`, counted in units of `W` and known while decoding.
    fn vec_lane<W: Width>(&mut self, v: Self::Vec, n: u32) -> Self::Val<W>;
    fn vec_with_lane<W: Width>(&mut self, v: Self::Vec, n: u32, lane: Self::Val<W>) -> Self::Vec;
    /// A lane-wise or shuffling operation without state: [`VecOp`] tells its meaning.
    fn vec(&mut self, op: VecOp, a: Self::Vec, b: Self::Vec) -> Self::Vec;

    /// The comparison of two strings of `a_len` and `b_len` elements: [`crate::sse_string::compare`] is the meaning. Answers IntRes2.
    fn string_compare(
        &mut self,
        imm: u8,
        a: Self::Vec,
        b: Self::Vec,
        a_len: Self::Val<W32>,
        b_len: Self::Val<W32>,
    ) -> Self::Val<W32>;

    // Floating point under MXCSR: sticky flags set, #XM raised if unmasked (then no result).
    /// The result in the low `lanes` lanes of the result's format; the others are `a`'s. [`crate::fp::eval`] is the meaning.
    fn fp(
        &mut self,
        op: FpOp,
        format: FpFormat,
        lanes: u32,
        a: Self::Vec,
        b: Self::Vec,
    ) -> Result<Self::Vec, Self::Stop>;
    /// Compares lane 0: COMISx (`signaling`) and UCOMISx. Answers less or unordered in bit 0, unordered in bit 2, equal or unordered in bit
    /// 6, where EFLAGS has CF, PF and ZF; the bits of the other status flags are clear.
    fn fp_compare(
        &mut self,
        relation: Relation,
        format: FpFormat,
        a: Self::Vec,
        b: Self::Vec,
    ) -> Result<Self::Val<W64>, Self::Stop>;

    // The x87. The meaning of the first three is the processor's own code over crate `softfloat`; a stack fault or an unmasked exception that
    // keeps a result back ends the instruction in `Err`.
    /// What happens on the register stack and in the status word; `v` and, for ten bytes, `high` are the bits from memory.
    fn x87(
        &mut self,
        step: Step,
        v: Self::Val<W64>,
        high: Self::Val<W16>,
    ) -> Result<(), Self::Stop>;
    /// Compares ST(0) with ST(`n`), and pops: answers ZF, PF and CF as they stand in EFLAGS.
    fn x87_compare(&mut self, quiet: bool, n: u8, pops: bool)
    -> Result<Self::Val<W64>, Self::Stop>;
    /// ST(0) in a format of memory, with the exceptions of the conversion: bits 0 to 63, and the rest of ten bytes.
    fn x87_store(
        &mut self,
        format: Format,
        truncating: bool,
    ) -> Result<(Self::Val<W64>, Self::Val<W16>), Self::Stop>;
    /// Sets FCS and FIP to this instruction, and FDS and FDP to its memory operand: segment and effective address.
    fn x87_note(&mut self, memory: Option<(Seg, Self::Val<W64>)>);
    /// FSW.
    fn x87_status(&mut self) -> Self::Val<W16>;
    /// FCW.
    fn x87_control(&mut self) -> Self::Val<W16>;
    /// Sets FCW, and with it what is pending.
    fn x87_set_control(&mut self, v: Self::Val<W16>) -> Result<(), Self::Stop>;

    // Words made of words.

    /// Zero?
    #[inline(always)]
    fn is_zero<W: Width>(&mut self, a: Self::Val<W>) -> Self::Bool {
        let z = self.imm::<W>(0);
        self.eq(a, z)
    }
    /// The most significant bit.
    #[inline(always)]
    fn is_negative<W: Width>(&mut self, a: Self::Val<W>) -> Self::Bool {
        self.bit(a, W::BITS - 1)
    }
    #[inline(always)]
    fn neg<W: Width>(&mut self, a: Self::Val<W>) -> Self::Val<W> {
        let z = self.imm::<W>(0);
        self.sub(z, a)
    }
    /// #UD.
    #[inline(always)]
    fn undefined(&mut self) -> Result<(), Self::Stop> {
        self.raise(Fault::UD)
    }
    /// #GP(0) if `c`.
    #[inline(always)]
    fn protect_if(&mut self, c: Self::Bool) -> Result<(), Self::Stop> {
        self.raise_if(c, Fault::new(Exception::GP))
    }
}
