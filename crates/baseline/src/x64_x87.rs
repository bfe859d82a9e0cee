//! The x86-64 host's x87 words, by their bytes: Cranelift's assembler has none.

use crate::host::Size;
use crate::x64::{CPU, X64};
use crate::x87::{X87Word, part};
use cpu::native::offset;
use semantics::x87::{Arith, Format, Source};
use softfloat::x87::Constant;

/// The number of an operation in D8, DA, DC and DE with a memory operand or ST(0) as the destination.
fn number(op: Arith) -> u8 {
    match op {
        Arith::Add => 0,
        Arith::Mul => 1,
        Arith::Sub => 4,
        Arith::SubR => 5,
        Arith::Div => 6,
        Arith::DivR => 7,
    }
}

/// The first opcode byte of an operation with this memory operand.
fn opcode(src: Source) -> u8 {
    match src {
        Source::Int32 => 0xda,
        Source::Double => 0xdc,
        Source::Int16 => 0xde,
        Source::Single | Source::St(_) | Source::Zero => 0xd8,
    }
}

/// Opcode and digit of FLD and FILD.
fn load(format: Format) -> (u8, u8) {
    match format {
        Format::Single => (0xd9, 0),
        Format::Double => (0xdd, 0),
        Format::Extended => (0xdb, 5),
        Format::Int16 => (0xdf, 0),
        Format::Int32 => (0xdb, 0),
        Format::Int64 => (0xdf, 5),
    }
}

/// Opcode and digit of FSTP, FISTP and FISTTP.
fn store(format: Format, truncating: bool) -> (u8, u8) {
    match (format, truncating) {
        (Format::Single, _) => (0xd9, 3),
        (Format::Double, _) => (0xdd, 3),
        (Format::Extended, _) => (0xdb, 7),
        (Format::Int16, false) => (0xdf, 3),
        (Format::Int32, false) => (0xdb, 3),
        (Format::Int64, false) => (0xdf, 7),
        (Format::Int16, true) => (0xdf, 1),
        (Format::Int32, true) => (0xdb, 1),
        (Format::Int64, true) => (0xdd, 1),
    }
}

fn constant(c: Constant) -> u8 {
    match c {
        Constant::One => 0xe8,
        Constant::Log2Ten => 0xe9,
        Constant::Log2E => 0xea,
        Constant::Pi => 0xeb,
        Constant::Log10Two => 0xec,
        Constant::Ln2 => 0xed,
        Constant::Zero => 0xee,
    }
}

/// The operand of an instruction whose first byte is `op` and whose digit is `digit`: `[CPU + o]`.
fn field(x: &mut X64, op: u8, digit: u8, o: i32) {
    x.bytes(&[op, 0x80 | digit << 3 | CPU]);
    x.bytes(&o.to_le_bytes());
}

/// `[CPU + (slot << scale) + o]` as the operand, or register `reg` with it.
fn slot(x: &mut X64, prefix: &[u8], op: &[u8], reg: u8, (slot, scale): (u8, u8), o: i32) {
    x.bytes(prefix);
    let rex = 0x40 | reg >> 3 << 2 | slot >> 3 << 1;
    if rex != 0x40 {
        x.bytes(&[rex]);
    }
    x.bytes(op);
    let sib = scale << 6 | (slot & 7) << 3 | CPU;
    x.bytes(&[0x84 | (reg & 7) << 3, sib]);
    x.bytes(&o.to_le_bytes());
}

/// Sixteen bytes a register: eight times the slot.
const REGISTER: u8 = 3;
/// Two bytes a tag: the slot itself.
const TAG: u8 = 0;

/// Writes a word down.
pub(crate) fn word(x: &mut X64, w: X87Word) {
    let (tags, fsw) = (offset::TAGS as i32, offset::FSW as i32);
    match w {
        X87Word::Slot { d, top, n } => {
            // LEA d, [top + 2n]; AND d, 14.
            let rex = 0x40 | d >> 3 << 2 | top >> 3;
            x.bytes(&[rex, 0x8d, 0x40 | (d & 7) << 3 | top & 7]);
            if top & 7 == 4 {
                x.bytes(&[0x24]);
            }
            x.bytes(&[n * 2]);
            x.bytes(&[0x40 | d >> 3, 0x83, 0xe0 | d & 7, 14]);
        }
        X87Word::LoadTag { d, slot: s } => slot(x, &[], &[0x0f, 0xb7], d, (s, TAG), tags),
        X87Word::StoreTag { slot: s, valid } => {
            slot(x, &[0x66], &[0xc7], 0, (s, TAG), tags);
            x.bytes(if valid { &[0xff, 0xff] } else { &[0, 0] });
        }
        X87Word::LoadPart { size, d, slot: s } => match size {
            Size::B64 => wide(x, 0x8b, d, s),
            _ => slot(x, &[], &[0x0f, 0xb7], d, (s, REGISTER), part(size)),
        },
        X87Word::StorePart { size, slot: to, s } => match size {
            Size::B64 => wide(x, 0x89, s, to),
            _ => slot(x, &[0x66], &[0x89], s, (to, REGISTER), part(size)),
        },
        X87Word::Push(s) => slot(x, &[], &[0xdb], 5, (s, REGISTER), part(Size::B64)),
        X87Word::PopTo(s) => slot(x, &[], &[0xdb], 7, (s, REGISTER), part(Size::B64)),
        X87Word::PushAs(format, o) => {
            let (op, digit) = load(format);
            field(x, op, digit, o);
        }
        X87Word::PopAs(format, truncating, o) => {
            let (op, digit) = store(format, truncating);
            field(x, op, digit, o);
        }
        X87Word::PushConstant(c) => x.bytes(&[0xd9, constant(c)]),
        // With ST(1) as the destination the digits of a difference and its reverse change places.
        X87Word::ArithPop(op) => {
            let n = number(op);
            let n = if n >= 4 { n ^ 1 } else { n };
            x.bytes(&[0xde, 0xc0 | n << 3 | 1]);
        }
        X87Word::ArithSelf(op) => x.bytes(&[0xd8, 0xc0 | number(op) << 3]),
        X87Word::ArithMemory(op, src, o) => field(x, opcode(src), number(op), o),
        X87Word::SquareRoot => x.bytes(&[0xd9, 0xfa]),
        X87Word::RoundToInteger => x.bytes(&[0xd9, 0xfc]),
        X87Word::ComparePop(quiet) => x.bytes(if quiet { &[0xda, 0xe9] } else { &[0xde, 0xd9] }),
        X87Word::CompareMemory(src, o) => field(x, opcode(src), 3, o),
        X87Word::CompareZero => x.bytes(&[0xd9, 0xe4]),
        X87Word::CompareFlags { quiet, d } => {
            // FUCOMIP or FCOMIP ST(1).
            x.bytes(&[0xdf, if quiet { 0xe9 } else { 0xf1 }]);
            x.flags_to(d);
            x.bytes(&[0xdd, 0xd8]);
        }
        X87Word::Drop => x.bytes(&[0xdd, 0xd8]),
        X87Word::Status => field(x, 0xdd, 7, fsw),
        X87Word::Control => field(x, 0xd9, 5, offset::FCW as i32),
        X87Word::ClearC1 => {
            // AND byte [CPU + o], not C1.
            field(x, 0x80, 4, fsw + 1);
            x.bytes(&[0xfd]);
        }
    }
}

/// MOV of a significand.
fn wide(x: &mut X64, op: u8, reg: u8, s: u8) {
    let rex = 0x48 | reg >> 3 << 2 | s >> 3 << 1;
    let sib = REGISTER << 6 | (s & 7) << 3 | CPU;
    x.bytes(&[rex, op, 0x84 | (reg & 7) << 3, sib]);
    x.bytes(&part(Size::B64).to_le_bytes());
}
