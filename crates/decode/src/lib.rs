//! The instruction decoder: iced-x86 behind one door.
//!
//! [`decode`] turns bytes into an [`Insn`]: a form (iced's [`Code`]) with operands resolved as far as decoding can. Everything is
//! relative to the instruction's own address, so that the same decoded instruction serves wherever its page is mapped.
//! Invariant: nothing here knows an address, and nothing outside this crate calls iced's decoder.

pub mod catalogue;
mod features;
mod insn;
pub mod status;

pub use features::required_features;
pub use iced_x86::{Code, Mnemonic};
pub use insn::{Insn, Mem, Operand, Rep};

use arch::{Mode, Seg, Size};
use iced_x86::{Decoder, DecoderOptions, Instruction, OpKind, Register};

/// The most bytes an instruction can have (Vol. 2A, 2.3.11).
pub const MAX_LEN: usize = 15;

/// Why bytes are no instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecodable {
    /// The bytes end before the instruction does; with [`MAX_LEN`] given it is too long, which is #GP(0).
    Short,
    /// No instruction: #UD.
    Invalid,
}

/// Decodes the instruction at the start of `bytes`.
pub fn decode(bytes: &[u8], mode: Mode) -> Result<Insn, Undecodable> {
    let bytes = bytes.get(..MAX_LEN).unwrap_or(bytes);
    let mut i = iced(bytes, mode, 0)?;
    if required_features(i.code()).is_none() {
        // 0F 0D and 0F 18 to 0F 1F are no-operations where no extension that we have defines them (Vol. 2D, table A-3).
        let nop = iced(bytes, mode, DecoderOptions::FORCE_RESERVED_NOP)?;
        if required_features(nop.code()).is_none() {
            return Err(Undecodable::Invalid);
        }
        i = nop;
    }
    if i.code() == Code::Pause && mode.code() == arch::Size::B64 && rex_b(bytes) {
        // F3 and REX.B before 90: the exchange with R8 wins on processors, F3 is ignored. iced sees PAUSE.
        let plain: Vec<u8> = bytes
            .iter()
            .map(|&b| if b == 0xf3 { 0x3e } else { b })
            .collect();
        i = iced(&plain, mode, 0)?;
    }
    Ok(lower(&i, mode))
}

/// Decodes instructions that stand one behind the other.
pub struct Stream<'a> {
    decoder: Decoder<'a>,
    bytes: &'a [u8],
    mode: Mode,
    at: usize,
}

impl<'a> Stream<'a> {
    /// A stream over `bytes`.
    pub fn new(bytes: &'a [u8], mode: Mode) -> Self {
        Self {
            decoder: Decoder::with_ip(mode.code().bits(), bytes, 0, OPTIONS),
            bytes,
            mode,
            at: 0,
        }
    }

    /// Bytes decoded so far.
    pub fn position(&self) -> usize {
        self.at
    }

    /// The next instruction, as [`decode`] would see it.
    #[expect(
        clippy::should_implement_trait,
        reason = "an error does not end the stream: it stays where it is"
    )]
    pub fn next(&mut self) -> Result<Insn, Undecodable> {
        self.decoder.set_ip(0);
        let i = self.decoder.decode();
        let code = i.code();
        if code == Code::INVALID || code == Code::Pause || required_features(code).is_none() {
            // What needs a second look starts over.
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let insn = decode(rest, self.mode)?;
            self.at += usize::from(insn.len);
            // Never past the end: the instruction stands in the bytes.
            let _ = self.decoder.set_position(self.at);
            return Ok(insn);
        }
        self.at += i.len();
        Ok(lower(&i, self.mode))
    }
}

/// Whether the byte before the opcode of a one-byte NOP is a REX prefix with B.
fn rex_b(bytes: &[u8]) -> bool {
    let opcode = bytes.iter().position(|&b| b == 0x90).unwrap_or(0);
    bytes[..opcode].last().is_some_and(|b| b & 0xf1 == 0x41)
}

/// TZCNT, LZCNT and WBNOINVD are BSF, BSR and WBINVD on processors without those extensions.
const OPTIONS: u32 =
    DecoderOptions::NO_MPFX_0FBC | DecoderOptions::NO_MPFX_0FBD | DecoderOptions::NO_WBNOINVD;

fn iced(bytes: &[u8], mode: Mode, options: u32) -> Result<Instruction, Undecodable> {
    let mut d = Decoder::with_ip(mode.code().bits(), bytes, 0, OPTIONS | options);
    let i = d.decode();
    if i.code() == Code::INVALID
        && (d.last_error() == iced_x86::DecoderError::NoMoreBytes || is_too_long(bytes, mode))
    {
        return Err(Undecodable::Short);
    }
    Ok(i)
}

/// Whether an instruction that is none with [`MAX_LEN`] bytes is so for want of more. iced says the same of both; but what is too long
/// must begin with a prefix, and lacks bytes without that prefix as well.
fn is_too_long(bytes: &[u8], mode: Mode) -> bool {
    bytes.len() == MAX_LEN && {
        let rest = bytes.get(1..).unwrap_or_default();
        let mut d = Decoder::with_ip(mode.code().bits(), rest, 0, OPTIONS);
        d.decode().code() == Code::INVALID && d.last_error() == iced_x86::DecoderError::NoMoreBytes
    }
}

/// Disassembles what stands at the start of `bytes`, for people: its length and text, a byte that is no instruction as `db`.
pub fn disassemble_any(bytes: &[u8], mode: Mode, address: u64) -> (usize, String) {
    let d = Decoder::with_ip(mode.code().bits(), bytes, address, OPTIONS).decode();
    if d.code() == Code::INVALID {
        let first = bytes.first().copied().unwrap_or(0);
        return (1, format!("db {first:02X}h"));
    }
    (d.len(), disassemble(bytes, mode, address))
}

/// Disassembles one instruction of a known address, for people.
pub fn disassemble(bytes: &[u8], mode: Mode, address: u64) -> String {
    use iced_x86::{Formatter, IntelFormatter};
    let i = Decoder::with_ip(mode.code().bits(), bytes, address, DecoderOptions::NONE).decode();
    let mut text = String::new();
    IntelFormatter::new().format(&i, &mut text);
    text
}

fn lower(i: &Instruction, mode: Mode) -> Insn {
    let rep = match (i.has_rep_prefix(), i.has_repne_prefix()) {
        (true, _) => Rep::Rep,
        (_, true) => Rep::Repne,
        _ => Rep::None,
    };
    let mut out = Insn {
        code: i.code(),
        len: i.len() as u8,
        rep,
        lock: i.has_lock_prefix(),
        address: mode.code(),
        ops: [Operand::None; 3],
        mem: Mem {
            base: Mem::NONE,
            index: Mem::NONE,
            scale: 0,
            seg: Seg::Ds,
            disp: 0,
        },
    };
    for n in 0..i.op_count().min(3) {
        out.ops[n as usize] = operand(i, n, mode, &mut out);
    }
    out
}

fn operand(i: &Instruction, n: u32, mode: Mode, out: &mut Insn) -> Operand {
    use OpKind::*;
    match i.op_kind(n) {
        Register => register(i.op_register(n)),
        NearBranch16 => Operand::Rel(i64::from(i.near_branch16() as i16)),
        NearBranch32 => Operand::Rel(i64::from(i.near_branch32() as i32)),
        NearBranch64 => Operand::Rel(i.near_branch64() as i64),
        FarBranch16 => Operand::Far {
            selector: i.far_branch_selector(),
            offset: i.far_branch16().into(),
        },
        FarBranch32 => Operand::Far {
            selector: i.far_branch_selector(),
            offset: i.far_branch32(),
        },
        Memory => {
            memory(i, mode, out);
            Operand::Mem
        }
        MemorySegSI | MemorySegDI | MemoryESDI => string(i, mode, out, Size::B16),
        MemorySegESI | MemorySegEDI | MemoryESEDI => string(i, mode, out, Size::B32),
        MemorySegRSI | MemorySegRDI | MemoryESRDI => string(i, mode, out, Size::B64),
        _ => Operand::Imm(i.immediate(n)),
    }
}

/// An implicit memory operand of a string instruction: the registers are the body's business.
fn string(i: &Instruction, mode: Mode, out: &mut Insn, size: Size) -> Operand {
    out.address = size;
    let seg = segment(i.memory_segment());
    // In 64-bit mode only FS and GS count.
    if let Some(seg) = seg.filter(|s| !mode.is_64() || matches!(s, Seg::Fs | Seg::Gs)) {
        // ES:rDI operands cannot be overridden and say ES; a source operand's segment wins.
        if seg != Seg::Es || i.segment_prefix() == iced_x86::Register::ES {
            out.mem.seg = seg;
        }
    }
    Operand::Implicit
}

fn memory(i: &Instruction, mode: Mode, out: &mut Insn) {
    let (base, index) = (i.memory_base(), i.memory_index());
    let bytes = match [base, index].into_iter().find(|&r| r != Register::None) {
        Some(r) => r.size(),
        None => i.memory_displ_size() as usize,
    };
    out.address = match bytes {
        2 => Size::B16,
        4 => Size::B32,
        8 => Size::B64,
        _ => mode.code(),
    };
    let number = |r: Register| match r {
        Register::None => Mem::NONE,
        Register::RIP | Register::EIP => Mem::RIP,
        r => r.number() as u8,
    };
    out.mem = Mem {
        base: number(base),
        index: number(index),
        scale: i.memory_index_scale().trailing_zeros() as u8,
        seg: memory_segment(i, mode),
        disp: i.memory_displacement64(),
    };
}

/// The segment of a memory operand. In 64-bit mode the prefixes of ES, CS, SS and DS are null prefixes (Vol. 1, 3.3.7.1): only the base
/// register tells whether it is a stack reference.
fn memory_segment(i: &Instruction, mode: Mode) -> Seg {
    let seg = segment(i.memory_segment()).unwrap_or(Seg::Ds);
    if mode.is_64() && !matches!(seg, Seg::Fs | Seg::Gs) {
        return match i.memory_base() {
            Register::RSP | Register::RBP | Register::ESP | Register::EBP => Seg::Ss,
            _ => Seg::Ds,
        };
    }
    seg
}

fn segment(r: Register) -> Option<Seg> {
    Some(match r {
        Register::ES => Seg::Es,
        Register::CS => Seg::Cs,
        Register::SS => Seg::Ss,
        Register::DS => Seg::Ds,
        Register::FS => Seg::Fs,
        Register::GS => Seg::Gs,
        _ => return None,
    })
}

fn register(r: Register) -> Operand {
    use Register as R;
    // Byte registers have numbers of their own in iced: 8 is SPL there. The encoding is that of the register they are part of.
    let n = if r.is_gpr8() && !matches!(r, R::AH | R::CH | R::DH | R::BH) {
        r.full_register().number() as u8
    } else {
        r.number() as u8
    };
    match r {
        R::AH | R::CH | R::DH | R::BH => Operand::GprHigh(n & 3),
        _ if r.is_gpr() => Operand::Gpr(n),
        _ if r.is_xmm() => Operand::Xmm(n),
        _ if r.is_mm() => Operand::Mm(n),
        _ if r.is_st() => Operand::St(n),
        _ if r.is_cr() => Operand::Cr(n),
        _ if r.is_dr() => Operand::Dr(n),
        _ => segment(r).map_or(Operand::None, Operand::Seg),
    }
}

/// Where control goes after an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// To the next instruction.
    Next,
    /// To the next instruction or a relative target.
    Conditional,
    /// Elsewhere.
    Away,
}

/// The control flow of a form.
pub fn flow(code: Code) -> Flow {
    use iced_x86::FlowControl as F;
    match code.flow_control() {
        F::Next => Flow::Next,
        F::ConditionalBranch => Flow::Conditional,
        _ => Flow::Away,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_sees_what_decode_sees() {
        let mode = Mode::new(arch::Size::B64, 0, 0);
        let mut bytes = Vec::new();
        for n in 0..4096u32 {
            bytes.extend_from_slice(&n.wrapping_mul(2_654_435_761).to_le_bytes());
        }
        // REX.B PAUSE, a reserved no-operation.
        bytes.extend_from_slice(&[0xf3, 0x41, 0x90, 0x0f, 0x19, 0xc0, 0xc3]);
        let mut at = 0;
        while at < bytes.len() {
            let mut s = Stream::new(&bytes[at..], mode);
            loop {
                let (here, alone) = (at + s.position(), decode(&bytes[at + s.position()..], mode));
                assert_eq!(s.next(), alone, "at {here}");
                if alone.is_err() {
                    break;
                }
            }
            at += s.position() + 1;
        }
    }

    #[test]
    fn sixteen_bytes_are_too_long_and_fifteen_are_not() {
        let nop = |prefixes: usize| [vec![0x66; prefixes], vec![0x90, 0x90]].concat();
        let mode = Mode::new(arch::Size::B32, 0, 0);
        assert_eq!(decode(&nop(14), mode).map(|i| i.len), Ok(15));
        assert_eq!(decode(&nop(15), mode).err(), Some(Undecodable::Short));
        // LOCK NOP is complete and none, however long.
        let locked = [vec![0xf0], vec![0x66; 13], vec![0x90]].concat();
        assert_eq!(decode(&locked, mode).err(), Some(Undecodable::Invalid));
    }
}
