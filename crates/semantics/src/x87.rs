//! The x87 (Vol. 1, chapter 8): bodies of the instructions that engines write down. The rest of it is helpers.
//!
//! Order in every instruction: #NM, a pending exception (#MF), memory faults, then the operation, whose exceptions stay pending for the
//! next waiting instruction. What happens on the register stack is one [`Step`]: its meaning, with stack faults, unmasked exceptions and C1,
//! is that of the processor's own code, which an engine may replace only by what is the same to the bit.

use crate::emit::{Emit, Use, W16, W32, W64, Width};
use crate::flags::set_bits;
use crate::operand::{address, effective, read, write};
use arch::Fault;
use decode::{Code, Insn, Operand};
use softfloat::x87::Constant;

/// Basic arithmetic: DEST ← DEST op SRC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arith {
    Add,
    Mul,
    Sub,
    /// SRC - DEST.
    SubR,
    Div,
    /// SRC / DEST.
    DivR,
}

/// A second operand: a register, or the format of the bits that come with the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    St(u8),
    Single,
    Double,
    Int16,
    Int32,
    /// +0: FTST.
    Zero,
}

/// A format in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Single,
    Double,
    Extended,
    Int16,
    Int32,
    Int64,
}

impl Format {
    /// Bytes of it.
    pub const fn bytes(self) -> u32 {
        match self {
            Self::Int16 => 2,
            Self::Single | Self::Int32 => 4,
            Self::Double | Self::Int64 => 8,
            Self::Extended => 10,
        }
    }
}

/// What happens on the register stack and in the status word.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    /// FADD and its like; `pops` after.
    Arith {
        op: Arith,
        dst: u8,
        src: Source,
        pops: bool,
    },
    /// ST(0) against SRC: C3, C2, C0. `quiet`: quiet NaNs are no exception.
    Compare { quiet: bool, src: Source, pops: u8 },
    /// FSQRT.
    SquareRoot,
    /// FRNDINT.
    RoundToInteger,
    /// FLD, FILD: pushes the bits that come with the step.
    Load(Format),
    /// FLD ST(i).
    Duplicate(u8),
    /// FLD1 and its like.
    Constant(Constant),
    /// FST ST(i), FSTP ST(i).
    Copy { to: u8, pops: bool },
    /// FXCH.
    Exchange(u8),
    /// FCHS.
    Negate,
    /// FABS.
    Absolute,
    /// What follows a store.
    Pop,
}

/// #NM while CR0.EM or CR0.TS is set (Vol. 3A, 2.5).
#[inline(always)]
pub fn available<E: Emit>(e: &mut E) -> Result<(), E::Stop> {
    let m = e.mode();
    if m.em() || m.ts() {
        return e.raise(Fault::NM);
    }
    Ok(())
}

/// Notes where an instruction that is not a control instruction, and its memory operand, stand.
fn note<E: Emit>(e: &mut E, i: &Insn) {
    let memory = if i.ops[0] == Operand::Mem {
        Some((i.mem.seg, effective(e, i)))
    } else {
        None
    };
    e.x87_note(memory);
}

/// The `i` of an ST(i) operand: the one of the two that is not ST(0).
pub fn sti(i: &Insn) -> u8 {
    let n = |o: Operand| match o {
        Operand::St(n) => n & 7,
        _ => 0,
    };
    n(i.ops[0]).max(n(i.ops[1]))
}

/// A step without bits.
fn step<E: Emit>(e: &mut E, s: Step) -> Result<(), E::Stop> {
    let (v, high) = (e.imm::<W64>(0), e.imm::<W16>(0));
    e.x87(s, v, high)
}

/// An instruction on registers alone.
fn on_registers<E: Emit>(e: &mut E, i: &Insn, s: Step) -> Result<(), E::Stop> {
    e.x87_pending()?;
    note(e, i);
    step(e, s)
}

fn bits<E: Emit, W: Width>(e: &mut E, i: &Insn) -> Result<E::Val<W64>, E::Stop> {
    let v = read::<E, W>(e, i, 0)?;
    Ok(e.cast::<W, W64>(v))
}

/// SRC in memory.
fn source<E: Emit>(e: &mut E, i: &Insn) -> Result<Option<(Source, E::Val<W64>)>, E::Stop> {
    use Code::*;
    Ok(Some(match i.code {
        Fadd_m32fp | Fmul_m32fp | Fcom_m32fp | Fcomp_m32fp | Fsub_m32fp | Fsubr_m32fp
        | Fdiv_m32fp | Fdivr_m32fp => (Source::Single, bits::<E, W32>(e, i)?),
        Fadd_m64fp | Fmul_m64fp | Fcom_m64fp | Fcomp_m64fp | Fsub_m64fp | Fsubr_m64fp
        | Fdiv_m64fp | Fdivr_m64fp => (Source::Double, bits::<E, W64>(e, i)?),
        Fiadd_m32int | Fimul_m32int | Ficom_m32int | Ficomp_m32int | Fisub_m32int
        | Fisubr_m32int | Fidiv_m32int | Fidivr_m32int => (Source::Int32, bits::<E, W32>(e, i)?),
        Fiadd_m16int | Fimul_m16int | Ficom_m16int | Ficomp_m16int | Fisub_m16int
        | Fisubr_m16int | Fidiv_m16int | Fidivr_m16int => (Source::Int16, bits::<E, W16>(e, i)?),
        _ => return Ok(None),
    }))
}

/// Destination and whether a pop follows.
fn destination(i: &Insn) -> (u8, bool) {
    use Code::*;
    match i.code {
        Fadd_sti_st0 | Fmul_sti_st0 | Fsub_sti_st0 | Fsubr_sti_st0 | Fdiv_sti_st0
        | Fdivr_sti_st0 => (sti(i), false),
        Faddp_sti_st0 | Fmulp_sti_st0 | Fsubp_sti_st0 | Fsubrp_sti_st0 | Fdivp_sti_st0
        | Fdivrp_sti_st0 => (sti(i), true),
        _ => (0, false),
    }
}

/// FADD, FSUB, FMUL, FDIV and their reverse, integer and popping forms.
pub fn arith<E: Emit>(e: &mut E, i: &Insn, op: Arith) -> Result<(), E::Stop> {
    e.x87_pending()?;
    let memory = source(e, i)?;
    let (dst, pops) = destination(i);
    // With ST(i) as the destination ST(0) is the source.
    let n = if dst == 0 && !pops { sti(i) } else { 0 };
    let (src, v) = match memory {
        Some(m) => m,
        None => (Source::St(n), e.imm::<W64>(0)),
    };
    note(e, i);
    let high = e.imm::<W16>(0);
    e.x87(Step::Arith { op, dst, src, pops }, v, high)
}

/// FCOM, FCOMP, FCOMPP, FUCOM, FUCOMP, FUCOMPP, FICOM, FICOMP, FTST.
pub fn compare<E: Emit>(e: &mut E, i: &Insn, quiet: bool, pops: u8) -> Result<(), E::Stop> {
    e.x87_pending()?;
    let memory = source(e, i)?;
    let n = if pops == 2 { 1 } else { sti(i) };
    let (src, v) = match (memory, i.code) {
        (Some(m), _) => m,
        (None, Code::Ftst) => (Source::Zero, e.imm::<W64>(0)),
        (None, _) => (Source::St(n), e.imm::<W64>(0)),
    };
    note(e, i);
    let high = e.imm::<W16>(0);
    e.x87(Step::Compare { quiet, src, pops }, v, high)
}

/// FCOMI, FCOMIP, FUCOMI, FUCOMIP: ZF, PF, CF; OF, SF and AF are cleared.
pub fn compare_flags<E: Emit>(e: &mut E, i: &Insn, quiet: bool, pops: bool) -> Result<(), E::Stop> {
    e.x87_pending()?;
    note(e, i);
    let flags = e.x87_compare(quiet, sti(i), pops)?;
    set_bits(e, flags);
    Ok(())
}

/// FSQRT, FRNDINT, FCHS, FABS and the constants.
pub fn simple<E: Emit>(e: &mut E, i: &Insn, s: Step) -> Result<(), E::Stop> {
    on_registers(e, i, s)
}

/// FLD, FILD from memory.
pub fn load<E: Emit>(e: &mut E, i: &Insn, format: Format) -> Result<(), E::Stop> {
    e.x87_pending()?;
    let mut high = e.imm::<W16>(0);
    let v = match format {
        Format::Int16 => bits::<E, W16>(e, i)?,
        Format::Single | Format::Int32 => bits::<E, W32>(e, i)?,
        Format::Double | Format::Int64 => bits::<E, W64>(e, i)?,
        Format::Extended => {
            let a = address(e, i, 10, Use::Read)?;
            let v = e.load::<W64>(i.mem.seg, a)?;
            let a = moved(e, a, 8);
            high = e.load::<W16>(i.mem.seg, a)?;
            v
        }
    };
    note(e, i);
    e.x87(Step::Load(format), v, high)
}

/// A linear address moved on.
fn moved<E: Emit>(e: &mut E, a: E::Val<W64>, by: u64) -> E::Val<W64> {
    let by = e.imm::<W64>(by);
    let a = e.add(a, by);
    if e.mode().is_64() {
        a
    } else {
        let a = e.cast::<W64, W32>(a);
        e.cast::<W32, W64>(a)
    }
}

/// FST, FSTP, FIST, FISTP and, `truncating`, FISTTP to memory. Unmasked IE, OE and UE store nothing.
pub fn store<E: Emit>(
    e: &mut E,
    i: &Insn,
    format: Format,
    pops: bool,
    truncating: bool,
) -> Result<(), E::Stop> {
    e.x87_pending()?;
    let seg = i.mem.seg;
    let a = address(e, i, format.bytes(), Use::Write)?;
    e.probe_write(seg, a, format.bytes())?;
    note(e, i);
    let (v, high) = e.x87_store(format, truncating)?;
    match format.bytes() {
        2 => {
            let v = e.cast::<W64, W16>(v);
            e.store::<W16>(seg, a, v)?;
        }
        4 => {
            let v = e.cast::<W64, W32>(v);
            e.store::<W32>(seg, a, v)?;
        }
        8 => e.store::<W64>(seg, a, v)?,
        _ => {
            e.store::<W64>(seg, a, v)?;
            let a = moved(e, a, 8);
            e.store::<W16>(seg, a, high)?;
        }
    }
    if pops {
        step(e, Step::Pop)?;
    }
    Ok(())
}

/// FLD ST(i).
pub fn duplicate<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    on_registers(e, i, Step::Duplicate(sti(i)))
}

/// FST ST(i), FSTP ST(i) and its aliases.
pub fn copy<E: Emit>(e: &mut E, i: &Insn, pops: bool) -> Result<(), E::Stop> {
    on_registers(e, i, Step::Copy { to: sti(i), pops })
}

/// FXCH.
pub fn exchange<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    on_registers(e, i, Step::Exchange(sti(i)))
}

/// FLDCW.
pub fn load_control<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    e.x87_pending()?;
    let v = read::<E, W16>(e, i, 0)?;
    // Bit 6 reads as one, other reserved bits as zero.
    let (kept, one) = (e.imm::<W16>(0x1f3f), e.imm::<W16>(0x40));
    let v = e.and(v, kept);
    let v = e.or(v, one);
    e.x87_set_control(v)
}

/// FNSTCW.
pub fn store_control<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = e.x87_control();
    write::<E, W16>(e, i, 0, v)
}

/// FNSTSW to memory or AX.
pub fn store_status<E: Emit>(e: &mut E, i: &Insn) -> Result<(), E::Stop> {
    let v = e.x87_status();
    write::<E, W16>(e, i, 0, v)
}

/// WAIT: #NM only if CR0.MP and CR0.TS are both set.
pub fn wait<E: Emit>(e: &mut E, _: &Insn) -> Result<(), E::Stop> {
    let m = e.mode();
    if m.mp() && m.ts() {
        return e.raise(Fault::NM);
    }
    e.x87_pending()
}
