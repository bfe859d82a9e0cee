//! What the architecture leaves open: the one table of flags, status bits and memory bytes that a comparison passes over.
//!
//! Each row names the page of the SDM (Vol. 2) that says so. Where Intel and AMD agree in silicon on an "undefined" result, the row is
//! narrower than the manual and says so: Ferry does as the chips do.

use crate::case::{Bits, Case, Outcome, USER_DS, USER64_CS};
use crate::generate::aim::linear;
use iced_x86::{Instruction, InstructionInfoFactory, Mnemonic as M, OpKind};
use std::sync::LazyLock;

const CF: u64 = 1 << 0;
const PF: u64 = 1 << 2;
const AF: u64 = 1 << 4;
const ZF: u64 = 1 << 6;
const SF: u64 = 1 << 7;
const OF: u64 = 1 << 11;

/// FSW condition bits.
const C0: u16 = 1 << 8;
const C1: u16 = 1 << 9;
const C2: u16 = 1 << 10;
const C3: u16 = 1 << 14;

/// How far the floating-point result may lie from the host's.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Tolerance {
    /// Bit for bit.
    Exact,
    /// ST(0) and ST(1) within so many units in the last place.
    Ulps(u64),
    /// XMM lanes that differ by at most this fraction.
    Relative(f32),
}

/// What not to compare.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// Bits of RFLAGS.
    pub flags: u64,
    /// Bits of FSW.
    pub fsw: u16,
    /// Destination register and memory as a whole.
    pub destination: bool,
    /// Everything: the vendors differ.
    pub all: bool,
    /// General registers as a whole.
    pub registers: bool,
    /// Memory that the engine left as it was.
    pub partial_stores: bool,
    /// Which of two faults, and at which of two addresses.
    pub fault_order: bool,
    /// Floating-point results.
    pub tolerance: Tolerance,
    /// Ranges of linear memory.
    pub memory: Vec<(u64, u64)>,
}

/// When a row of [`FLAGS`] applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// The count is not 0.
    Shifted,
    /// The count is neither 0 nor 1.
    Multiple,
    /// The count is at least the operand's width.
    Wide,
    /// The count is greater than the operand's width.
    Beyond,
}

/// Undefined flags: instructions, condition, flags, those of them in which Ferry differs from AMD's processors (Zen 4), source.
pub const FLAGS: &[(&[M], When, u64, u64, &str)] = &[
    (
        &[M::And, M::Or, M::Xor, M::Test],
        When::Always,
        AF,
        0,
        "AND, OR, XOR, TEST",
    ),
    (
        &[M::Shl, M::Sal, M::Shr, M::Sar],
        When::Shifted,
        AF,
        AF,
        "SAL/SAR/SHL/SHR: AF",
    ),
    (
        &[M::Shl, M::Sal, M::Shr, M::Sar],
        When::Multiple,
        OF,
        0,
        "SAL/SAR/SHL/SHR: OF for counts other than 1",
    ),
    (
        &[M::Shl, M::Sal, M::Shr],
        When::Wide,
        CF,
        0,
        "SAL/SAR/SHL/SHR: CF for counts of the width or more",
    ),
    (
        &[M::Rol, M::Ror, M::Rcl, M::Rcr],
        When::Multiple,
        OF,
        0,
        "RCL/RCR/ROL/ROR: OF for counts other than 1",
    ),
    (&[M::Shld, M::Shrd], When::Shifted, AF, AF, "SHLD, SHRD: AF"),
    (
        &[M::Shld, M::Shrd],
        When::Multiple,
        OF,
        0,
        "SHLD, SHRD: OF for counts other than 1",
    ),
    (
        &[M::Shld, M::Shrd],
        When::Wide,
        OF,
        OF,
        "SHLD, SHRD: OF for a count of the width",
    ),
    (
        &[M::Shld, M::Shrd],
        When::Beyond,
        ALL,
        ALL,
        "SHLD, SHRD: all, for counts beyond the width",
    ),
    (
        &[M::Mul, M::Imul],
        When::Always,
        SF | ZF | AF | PF,
        SF | ZF | AF | PF,
        "MUL, IMUL",
    ),
    (
        &[M::Div, M::Idiv],
        When::Always,
        ALL,
        SF | ZF | AF | PF,
        "DIV, IDIV",
    ),
    (
        // AMD's generations differ: Zen 3 leaves them as they were.
        &[M::Bsf, M::Bsr],
        When::Always,
        CF | OF | SF | AF | PF,
        CF | OF | SF | AF | PF,
        "BSF, BSR",
    ),
    (
        &[M::Bt, M::Bts, M::Btr, M::Btc],
        When::Always,
        OF | SF | AF | PF,
        0,
        "BT, BTS, BTR, BTC",
    ),
    (
        &[M::Aaa, M::Aas],
        When::Always,
        OF | SF | ZF | PF,
        OF | SF | ZF | PF,
        "AAA, AAS",
    ),
    (&[M::Daa, M::Das], When::Always, OF, OF, "DAA, DAS"),
    (&[M::Aam], When::Always, OF | AF | CF, 0, "AAM"),
    (&[M::Aad], When::Always, OF | AF | CF, OF | AF | CF, "AAD"),
];

/// All status flags.
const ALL: u64 = CF | PF | AF | ZF | SF | OF;

/// Whose undefined results to pass over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Chip {
    /// An AMD processor of today: only those that differ.
    Amd,
    /// Any other: all that the manual leaves open.
    Any,
}

impl Chip {
    /// This host's.
    pub fn host() -> Self {
        static AMD: LazyLock<bool> = LazyLock::new(|| {
            std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|s| s.contains("AuthenticAMD"))
        });
        if *AMD { Self::Amd } else { Self::Any }
    }
}

/// x87 instructions that define C0, C2 and C3; all others leave them undefined, and AMD's as they were (SDM Vol. 1, 8.1.3.4, and the pages of Vol. 2).
const CONDITIONS: &[M] = &[
    M::Fcom,
    M::Fcomp,
    M::Fcompp,
    M::Fucom,
    M::Fucomp,
    M::Fucompp,
    M::Ficom,
    M::Ficomp,
    M::Ftst,
    M::Fxam,
    M::Fprem,
    M::Fprem1,
    M::Fldenv,
    M::Frstor,
    M::Fxrstor,
    M::Fxrstor64,
    M::Fninit,
    M::Fnsave,
];

/// The transcendental instructions: SDM Vol. 1, 8.3.10: the error is less than 1 ulp of the exact result, so two chips may be 2 apart.
const TRANSCENDENTAL: &[M] = &[
    M::Fsin,
    M::Fcos,
    M::Fsincos,
    M::Fptan,
    M::Fpatan,
    M::F2xm1,
    M::Fyl2x,
    M::Fyl2xp1,
];

/// RCPPS and its kin: SDM: relative error at most 1.5 * 2^-12, so two chips may be twice that apart.
const APPROXIMATE: &[M] = &[M::Rcpps, M::Rcpss, M::Rsqrtps, M::Rsqrtss];

/// What is open after `i` ran on `case`; `after` is what the host made of it.
pub fn open(case: &Case, i: &Instruction, after: &Outcome) -> Open {
    let m = i.mnemonic();
    let mut open = Open {
        flags: 0,
        fsw: 0,
        destination: false,
        all: is_vendors_choice(case, i, after) || is_intels_choice(case, i, after),
        registers: false,
        partial_stores: false,
        fault_order: false,
        tolerance: Tolerance::Exact,
        memory: Vec::new(),
    };
    if after.fault.is_none() {
        (open.flags, open.destination) = flags(i, case.state.gpr[1] as u8, Chip::host());
    }
    if after.fault.is_some() {
        // A fault restarts the instruction, and the SDM does not say what it stored or loaded before (Vol. 3A, 6.5): processors write what
        // comes before the fault, Ferry nothing.
        open.partial_stores =
            !(i.is_string_instruction() && (i.has_rep_prefix() || i.has_repne_prefix()));
        open.registers = matches!(m, M::Popa | M::Popad);
        // Two operands fault in an order of the vendor's choice; so do LOCK where it is not allowed and the operand behind it.
        open.fault_order = i.is_invalid() || FAULT_ORDER.contains(&m) || in_parts(i);
    }
    if is_x87(i) && !CONDITIONS.contains(&m) && Chip::host() == Chip::Any {
        open.fsw |= C0 | C2 | C3;
    }
    // FCOMI and its kin: "C1: set to 0" (SDM Vol. 2A); AMD leaves it.
    let compares_flags = matches!(m, M::Fcomi | M::Fcomip | M::Fucomi | M::Fucomip);
    if compares_flags {
        open.fsw |= C1;
    }
    // An unmasked invalid operation or denormal operand: the SDM has condition codes and EFLAGS stay (Vol. 2A, FCOM, FCOMI); AMD sets them to "unordered".
    let invalid = after.state.fx16(2) & !after.state.fx16(0) & 3 != 0;
    if invalid && is_x87(i) {
        open.fsw |= C0 | C1 | C2 | C3;
        if compares_flags {
            open.flags |= CF | PF | ZF | AF | SF | OF;
        }
    }
    if TRANSCENDENTAL.contains(&m) {
        open.tolerance = Tolerance::Ulps(2);
        open.fsw &= !C2;
        open.fsw |= C1;
    }
    if APPROXIMATE.contains(&m) {
        open.tolerance = Tolerance::Relative(3.0 / 4096.0);
    }
    // The last x87 instruction's opcode, address and operand (FOP, FIP, FDP): AMD records them only while an exception is pending,
    // Intel always, newer ones without FCS and FDS (SDM Vol. 1, 8.1.8). In images, reserved bytes are open as well.
    let fields: &[(u64, u64)] = match m {
        M::Fnstenv | M::Fnsave if matches!(i.memory_size().size(), 28 | 108) => {
            &[(2, 4), (6, 8), (10, 28)]
        }
        M::Fnstenv | M::Fnsave => &[(6, 14)],
        M::Fxsave | M::Fxsave64 => &[(5, 24), (28, 32), (416, 512)],
        _ => &[],
    };
    if let (Some(&(_, _)), Some(at)) = (fields.first(), operand_address(case, i)) {
        open.memory
            .extend(fields.iter().map(|&(from, to)| (at + from, at + to)));
    }
    open
}

/// Instructions with several memory accesses, of which the host may have met another fault first.
const FAULT_ORDER: &[M] = &[
    M::Retf,
    M::Iret,
    M::Iretd,
    M::Iretq,
    M::Popa,
    M::Popad,
    M::Enter,
    M::Call,
    M::Jmp,
    M::Bound,
    M::Lds,
    M::Les,
    M::Lfs,
    M::Lgs,
    M::Lss,
    M::Cmpsb,
    M::Cmpsw,
    M::Cmpsd,
    M::Cmpsq,
    M::Fxsave,
    M::Fxsave64,
    M::Fxrstor,
    M::Fxrstor64,
    M::Fnsave,
    M::Fbld,
    M::Fnstenv,
    M::Frstor,
    M::Fldenv,
];

/// A misaligned 16-byte operand outside its segment: #GP(0) or #SS(0), both of one class of priority (SDM Vol. 3A, table 6-2); ten bytes,
/// which are read in two parts.
fn in_parts(i: &Instruction) -> bool {
    let size = i.memory_size().size();
    size == 16 && i.memory_segment() == iced_x86::Register::SS || size == 10
}

/// Cases in which the vendors differ altogether.
///
/// - A far CALL or RET from compatibility mode into 64-bit code, on a stack that is not flat: AMD uses the new mode's stack addresses.
/// - MASKMOVQ and MASKMOVDQU with nothing selected: whether a fault is seen is implementation dependent (SDM Vol. 2B).
/// - CVTPI2PS from memory: the SDM has it enter MMX state, AMD does not (as both for CVTPI2PD).
/// - Operands that wrap around 4 GiB in a flat segment: "may or may not cause the indicated exceptions" (SDM Vol. 3A, 5.3).
fn is_vendors_choice(case: &Case, i: &Instruction, after: &Outcome) -> bool {
    let m = i.mnemonic();
    let far = i.is_call_far() || i.is_call_far_indirect() || m == M::Retf;
    let leaves =
        case.bits != Bits::B64 && (after.state.seg[1] == USER64_CS || after.fault.is_some());
    let unselected =
        matches!(m, M::Maskmovq | M::Maskmovdqu) && after.fault.is_some_and(|f| f.vector != 16);
    let cvtpi2ps = m == M::Cvtpi2ps && i.op1_kind() == OpKind::Memory;
    let wraps = case.bits != Bits::B64
        && operand_address(case, i)
            .is_some_and(|at| at + i.memory_size().size() as u64 > 0x1_0000_0000);
    far && leaves && case.state.seg[2] != USER_DS || unselected || cvtpi2ps || wraps
}

/// Cases in which Intel's processors (Rocket Lake) differ from AMD's (Zen 4), whose choice is Ferry's.
///
/// - PUSH of a segment register: "written on the stack using a 16-bit move" (SDM Vol. 2B); POP reads as much, which matters to #AC.
/// - MOVUPS and MOVUPD: no #AC.
/// - DPPS and DPPD: which of two NaNs the sum takes.
/// - String instructions: what a fault in the midst leaves; and REP with 32-bit addresses and ECX = 0 in 64-bit mode clears the upper halves.
/// - PAUSE with prefixes.
/// - An MMX store that faults has entered MMX state.
/// - An x87 store whose unmasked exception keeps it from storing does not look at the page.
fn is_intels_choice(case: &Case, i: &Instruction, after: &Outcome) -> bool {
    const ES: u16 = 0x80;
    const AC: u64 = 1 << 18;
    if Chip::host() != Chip::Any {
        return false;
    }
    let segment = i.op0_register().is_segment_register();
    let checked = case.state.rflags & AC != 0;
    let stores = i.op0_kind() == OpKind::Memory;
    let mmx = stores && i.op_count() > 1 && i.op1_register().is_mm() && after.fault.is_some();
    let x87 = stores && is_x87(i) && after.fault.is_none() && after.state.fx16(2) & ES != 0;
    let string = i.is_string_instruction();
    let none = case.bits == Bits::B64 && case.state.gpr[1] as u32 == 0;
    match i.mnemonic() {
        M::Push => segment,
        M::Pop => segment && checked,
        M::Movups | M::Movupd => checked,
        M::Dpps | M::Dppd | M::Pause => true,
        _ => mmx || x87 || string && (none || after.fault.is_some()),
    }
}

/// Whether `i` is an x87 instruction.
pub fn is_x87(i: &Instruction) -> bool {
    use iced_x86::CpuidFeature as F;
    i.cpuid_features()
        .iter()
        .any(|f| matches!(f, F::FPU | F::FPU287 | F::FPU387))
}

/// The linear address of the memory operand.
pub fn operand_address(case: &Case, i: &Instruction) -> Option<u64> {
    if !i.op_kinds().any(|k| k == OpKind::Memory) {
        return None;
    }
    let mut info = InstructionInfoFactory::new();
    let m = info.info(i).used_memory().first().copied()?;
    Some(linear(case, &m))
}

/// Flags that `i` leaves undefined when CL is `cl`, and whether its destination is undefined too.
pub fn flags(i: &Instruction, cl: u8, chip: Chip) -> (u64, bool) {
    let (count, width) = count(i, cl);
    let mut open = (0, false);
    for &(list, when, flags, differs, _) in FLAGS {
        let applies = match when {
            When::Always => true,
            When::Shifted => count != 0,
            When::Multiple => count > 1,
            When::Wide => count >= width,
            When::Beyond => count > width,
        };
        if applies && list.contains(&i.mnemonic()) {
            open.0 |= if chip == Chip::Amd { differs } else { flags };
            // SHLD, SHRD: the destination is undefined too.
            open.1 |= when == When::Beyond;
        }
    }
    open
}

/// The masked count of a shift or rotate and its width in bits; (1, 64) for others.
fn count(i: &Instruction, cl: u8) -> (u64, u64) {
    if !FLAGS
        .iter()
        .any(|(list, when, ..)| *when == When::Multiple && list.contains(&i.mnemonic()))
    {
        return (1, 64);
    }
    let last = i.op_count() - 1;
    let raw = if i.op_kind(last) == OpKind::Register {
        u64::from(cl)
    } else {
        i.immediate(last)
    };
    let width = match i.op0_kind() {
        OpKind::Register => i.op0_register().size(),
        _ => i.memory_size().size(),
    } as u64
        * 8;
    (raw & if width == 64 { 63 } else { 31 }, width)
}
