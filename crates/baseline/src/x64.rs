//! The x86-64 host: [`HostAssembler`] over Cranelift's assembler.

use crate::block::FpCall;
use crate::host::{Alu, Cond, Fixup, HostAssembler, JUMP, Label, Reg, Shift, Size, Src};
use asm::{
    Amode, AmodeOffset, AmodeOffsetPlusKnownOffset, CodeSink, Fixed, GprMem, Inst, NonRspGpr,
    Scale, inst,
};
use cpu::native::{JUMP_BITS, JUMPS, JumpEntry, offset};
use cranelift_assembler_x64 as asm;
use semantics::vector::VecOp;

/// Cranelift's assembler over plain register numbers.
#[derive(Clone, Copy, Debug)]
pub struct Regs;

impl asm::Registers for Regs {
    type ReadGpr = u8;
    type ReadWriteGpr = u8;
    type WriteGpr = u8;
    type ReadXmm = u8;
    type ReadWriteXmm = u8;
    type WriteXmm = u8;
}

pub const RAX: Reg = 0;
pub const RCX: Reg = 1;
pub const RDX: Reg = 2;
/// The `Cpu` pointer: first argument of Cranelift's tail convention.
pub const CPU: Reg = 7;
/// The TLB's live arrays.
pub const TLB: Reg = 14;
/// Retired guest instructions.
pub const COUNTER: Reg = 15;

/// The assembler.
#[derive(Default)]
pub struct X64 {
    code: Sink,
    labels: Vec<u32>,
    uses: Vec<(u32, Label)>,
    crossings: Vec<u32>,
    fixups: Vec<Fixup>,
}

/// The bytes.
#[derive(Default)]
struct Sink(Vec<u8>);

impl CodeSink for Sink {
    fn put1(&mut self, v: u8) {
        self.0.push(v);
    }
    fn put2(&mut self, v: u16) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    fn put4(&mut self, v: u32) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    fn put8(&mut self, v: u64) {
        self.0.extend_from_slice(&v.to_le_bytes());
    }
    fn add_trap(&mut self, _: asm::TrapCode) {}
    fn use_target(&mut self, _: asm::DeferredTarget) {}
    fn known_offset(&self, _: asm::KnownOffset) -> i32 {
        0
    }
}

pub(crate) fn at(base: Reg, disp: i32) -> Amode<Reg> {
    let simm32 = AmodeOffsetPlusKnownOffset {
        simm32: AmodeOffset::new(disp),
        offset: None,
    };
    Amode::ImmReg {
        base,
        simm32,
        trap: None,
    }
}

fn indexed(base: Reg, index: Reg, scale: u8, disp: i32) -> Amode<Reg> {
    let scale = match scale {
        0 => Scale::One,
        1 => Scale::Two,
        2 => Scale::Four,
        _ => Scale::Eight,
    };
    Amode::ImmRegRegShift {
        base,
        index: NonRspGpr::new(index),
        scale,
        simm32: disp.into(),
        trap: None,
    }
}

fn mem(base: Reg, disp: i32) -> GprMem<Reg, Reg> {
    GprMem::Mem(at(base, disp))
}

macro_rules! put {
    ($self:ident, $name:ident($($arg:expr),*)) => {
        inst::$name::<Regs>::new($($arg),*).encode(&mut $self.code)
    };
}

/// Picks the 32- or 64-bit form.
macro_rules! sized {
    ($self:ident, $size:expr, $l:ident, $q:ident($($arg:expr),*)) => {
        if $size == Size::B64 { put!($self, $q($($arg),*)) } else { put!($self, $l($($arg),*)) }
    };
}

/// Picks among all four forms.
macro_rules! by_size {
    ($self:ident, $size:expr, $b:ident, $w:ident, $l:ident, $q:ident($($arg:expr),*)) => {
        match $size {
            Size::B8 => put!($self, $b($($arg),*)),
            Size::B16 => put!($self, $w($($arg),*)),
            Size::B32 => put!($self, $l($($arg),*)),
            Size::B64 => put!($self, $q($($arg),*)),
        }
    };
}

impl X64 {
    fn here(&self) -> u32 {
        self.code.0.len() as u32
    }

    pub(crate) fn bytes(&mut self, b: &[u8]) {
        self.code.0.extend_from_slice(b);
    }

    /// A 32-bit field that [`X64::finish`] fills with the distance to `l`.
    fn label_field(&mut self, l: Label) {
        self.code.put4(0);
        self.uses.push((self.here(), l));
    }

    fn condition(c: Cond) -> u8 {
        match c {
            Cond::Ult => 2,
            Cond::Uge => 3,
            Cond::Eq => 4,
            Cond::Ne => 5,
            Cond::Neg => 8,
            Cond::Pos => 9,
            Cond::Slt => 12,
            Cond::Sge => 13,
        }
    }

    /// An SSE instruction on `Cpu` state or registers, for the vector words.
    pub fn emit(&mut self, i: Inst<Regs>) {
        i.encode(&mut self.code);
    }
}

impl HostAssembler for X64 {
    // All but RSP, the Cpu pointer, the TLB's base and the counter.
    const POOL: &'static [Reg] = &[0, 3, 6, 8, 9, 10, 11, 12, 13, 5, 2, 1];
    const VECTOR_POOL: &'static [Reg] = &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const SHIFT_COUNT: Option<Reg> = Some(RCX);
    const WIDE: Option<(Reg, Reg)> = Some((RAX, RDX));
    const EXPECTED: Option<Reg> = Some(RAX);
    const X87: bool = true;

    fn x87(&mut self, w: crate::x87::X87Word) {
        crate::x64_x87::word(self, w);
    }

    const SECOND: Reg = 6;

    fn adopt(&mut self, code: &[u8], fields: &[(u32, Label)]) {
        let base = self.here();
        self.bytes(code);
        self.uses
            .extend(fields.iter().map(|&(at, l)| (base + at + 4, l)));
    }
    fn reset(&mut self) {
        self.code.0.clear();
        self.labels.clear();
        self.uses.clear();
        self.crossings.clear();
        self.fixups.clear();
    }
    fn position(&self) -> usize {
        self.code.0.len()
    }
    fn label(&mut self) -> Label {
        self.labels.push(u32::MAX);
        Label(self.labels.len() as u32 - 1)
    }
    fn bind(&mut self, l: Label) {
        self.labels[l.0 as usize] = self.here();
    }
    fn finish(&mut self, border: u32) {
        for &(end, l) in &self.uses {
            let to = self.labels[l.0 as usize];
            debug_assert_ne!(to, u32::MAX, "a label that is used is bound");
            let end = end as usize;
            self.code.0[end - 4..end].copy_from_slice(&to.wrapping_sub(end as u32).to_le_bytes());
            if (end as u32 <= border) != (to < border) {
                self.crossings.push(end as u32 - 4);
            }
        }
    }
    fn crossings(&self) -> &[u32] {
        &self.crossings
    }
    fn code(&self) -> &[u8] {
        &self.code.0
    }
    fn fixups(&self) -> &[Fixup] {
        &self.fixups
    }

    fn mov(&mut self, d: Reg, s: Reg) {
        put!(self, movq_mr(d, s));
    }
    fn constant(&mut self, d: Reg, v: u64) {
        if let Ok(v) = u32::try_from(v) {
            put!(self, movl_oi(d, v));
        } else if let Ok(v) = i32::try_from(v as i64) {
            put!(self, movq_mi_sxl(d, v));
        } else {
            put!(self, movabsq_oi(d, v));
        }
    }
    fn zero_extend(&mut self, size: Size, d: Reg, s: Reg) {
        match size {
            Size::B8 => put!(self, movzbl_rm(d, s)),
            Size::B16 => put!(self, movzwl_rm(d, s)),
            Size::B32 => put!(self, movl_mr(d, s)),
            Size::B64 => self.mov(d, s),
        }
    }
    fn sign_extend(&mut self, size: Size, d: Reg, s: Reg) {
        match size {
            Size::B8 => put!(self, movsbq_rm(d, s)),
            Size::B16 => put!(self, movswq_rm(d, s)),
            Size::B32 => put!(self, movslq_rm(d, s)),
            Size::B64 => self.mov(d, s),
        }
    }
    fn insert_low(&mut self, size: Size, d: Reg, s: Reg) {
        match size {
            Size::B8 => put!(self, movb_mr(d, s)),
            Size::B16 => put!(self, movw_mr(d, s)),
            Size::B32 | Size::B64 => self.zero_extend(size, d, s),
        }
    }
    fn insert_high_byte(&mut self, d: Reg, s: Reg) {
        put!(self, rorq_mi(d, 8u8));
        put!(self, movb_mr(d, s));
        put!(self, rolq_mi(d, 8u8));
    }
    fn high_byte(&mut self, d: Reg, s: Reg) {
        put!(self, movl_mr(d, s));
        put!(self, shrl_mi(d, 8u8));
        put!(self, movzbl_rm(d, d));
    }

    fn load_cpu(&mut self, size: Size, d: Reg, offset: i32) {
        match size {
            Size::B8 => put!(self, movzbl_rm(d, mem(CPU, offset))),
            Size::B16 => put!(self, movzwl_rm(d, mem(CPU, offset))),
            Size::B32 => put!(self, movl_rm(d, mem(CPU, offset))),
            Size::B64 => put!(self, movq_rm(d, mem(CPU, offset))),
        }
    }
    fn store_cpu(&mut self, size: Size, offset: i32, s: Reg) {
        by_size!(
            self,
            size,
            movb_mr,
            movw_mr,
            movl_mr,
            movq_mr(mem(CPU, offset), s)
        );
    }
    fn store_cpu_imm(&mut self, size: Size, offset: i32, v: i32) {
        match size {
            Size::B8 => put!(self, movb_mi(mem(CPU, offset), v as u8)),
            Size::B16 => put!(self, movw_mi(mem(CPU, offset), v as u16)),
            Size::B32 => put!(self, movl_mi(mem(CPU, offset), v)),
            Size::B64 => put!(self, movq_mi_sxl(mem(CPU, offset), v)),
        }
    }
    fn copy_cpu(&mut self, to: i32, from: i32) {
        // PUSH and POP keep registers and flags; generated code owns the stack below.
        put!(self, pushq_m(mem(CPU, from)));
        put!(self, popq_m(mem(CPU, to)));
    }
    fn load_at(&mut self, size: Size, d: Reg, base: Reg, index: Reg) {
        let m = GprMem::Mem(indexed(base, index, 0, 0));
        match size {
            Size::B8 => put!(self, movzbl_rm(d, m)),
            Size::B16 => put!(self, movzwl_rm(d, m)),
            Size::B32 => put!(self, movl_rm(d, m)),
            Size::B64 => put!(self, movq_rm(d, m)),
        }
    }
    fn store_at(&mut self, size: Size, base: Reg, index: Reg, s: Reg) {
        let m = GprMem::Mem(indexed(base, index, 0, 0));
        by_size!(self, size, movb_mr, movw_mr, movl_mr, movq_mr(m, s));
    }

    fn alu(&mut self, op: Alu, size: Size, d: Reg, a: Reg, b: Src) -> bool {
        match (op, b) {
            (Alu::Add, Src::Reg(b)) => sized!(self, size, leal_rm, leaq_rm(d, indexed(a, b, 0, 0))),
            (Alu::Add, Src::Imm(v)) => sized!(self, size, leal_rm, leaq_rm(d, at(a, v))),
            (Alu::Mul, Src::Imm(v)) => {
                if size == Size::B64 {
                    put!(self, imulq_rmi_sxl(d, a, v));
                } else {
                    put!(self, imull_rmi(d, a, v as u32));
                }
            }
            (_, Src::Reg(b)) => {
                self.mov(d, a);
                match op {
                    Alu::Sub => sized!(self, size, subl_rm, subq_rm(d, b)),
                    Alu::And => sized!(self, size, andl_rm, andq_rm(d, b)),
                    Alu::Or => sized!(self, size, orl_rm, orq_rm(d, b)),
                    Alu::Xor => sized!(self, size, xorl_rm, xorq_rm(d, b)),
                    Alu::Add | Alu::Mul => sized!(self, size, imull_rm, imulq_rm(d, b)),
                }
            }
            (_, Src::Imm(v)) => {
                self.mov(d, a);
                self.alu_imm(op, size, d, v);
            }
        }
        !matches!(op, Alu::Add | Alu::Mul)
    }
    fn lea(&mut self, d: Reg, a: Reg, b: Option<(Reg, u8)>, disp: i32) {
        match b {
            Some((b, scale)) => put!(self, leaq_rm(d, indexed(a, b, scale, disp))),
            None => put!(self, leaq_rm(d, at(a, disp))),
        }
    }
    fn not(&mut self, d: Reg, a: Reg) {
        self.mov(d, a);
        put!(self, notq_m(d));
    }
    fn shift_imm(&mut self, op: Shift, size: Size, d: Reg, a: Reg, n: u8) {
        self.mov(d, a);
        match op {
            Shift::Shl => sized!(self, size, shll_mi, shlq_mi(d, n)),
            Shift::Shr => sized!(self, size, shrl_mi, shrq_mi(d, n)),
            Shift::Sar => sized!(self, size, sarl_mi, sarq_mi(d, n)),
            Shift::Rotl => by_size!(self, size, rolb_mi, rolw_mi, roll_mi, rolq_mi(d, n)),
            Shift::Rotr => by_size!(self, size, rorb_mi, rorw_mi, rorl_mi, rorq_mi(d, n)),
        }
    }
    fn shift(&mut self, op: Shift, size: Size, d: Reg, a: Reg, n: Reg) {
        self.mov(d, a);
        match op {
            Shift::Shl => sized!(self, size, shll_mc, shlq_mc(d, Fixed(n))),
            Shift::Shr => sized!(self, size, shrl_mc, shrq_mc(d, Fixed(n))),
            Shift::Sar => sized!(self, size, sarl_mc, sarq_mc(d, Fixed(n))),
            Shift::Rotl => by_size!(self, size, rolb_mc, rolw_mc, roll_mc, rolq_mc(d, Fixed(n))),
            Shift::Rotr => by_size!(self, size, rorb_mc, rorw_mc, rorl_mc, rorq_mc(d, Fixed(n))),
        }
    }
    fn mul_high(&mut self, signed: bool, size: Size, d: Reg, a: Reg, b: Reg) {
        let (rax, rdx) = (Fixed(a), Fixed(d));
        if signed {
            sized!(self, size, imull_m, imulq_m(rax, rdx, b));
        } else {
            sized!(self, size, mull_m, mulq_m(rax, rdx, b));
        }
    }
    fn div(&mut self, signed: bool, size: Size, d: Reg) {
        let trap = asm::TrapCode(std::num::NonZeroU8::MIN);
        let (rax, rdx) = (Fixed(RAX), Fixed(RDX));
        if signed {
            sized!(self, size, idivl_m, idivq_m(rax, rdx, d, trap));
        } else {
            sized!(self, size, divl_m, divq_m(rax, rdx, d, trap));
        }
    }
    fn bswap(&mut self, size: Size, d: Reg, a: Reg) {
        self.mov(d, a);
        match size {
            Size::B64 => put!(self, bswapq_o(d)),
            Size::B32 => put!(self, bswapl_o(d)),
            Size::B16 => put!(self, rolw_mi(d, 8u8)),
            Size::B8 => {}
        }
    }
    fn popcnt(&mut self, d: Reg, a: Reg) {
        put!(self, popcntq_rm(d, a));
    }
    fn scan(&mut self, highest: bool, d: Reg, a: Reg) {
        if highest {
            put!(self, bsrq_rm(d, a));
        } else {
            put!(self, bsfq_rm(d, a));
        }
    }

    fn compare(&mut self, size: Size, a: Reg, b: Src) {
        match b {
            Src::Reg(b) => by_size!(self, size, cmpb_rm, cmpw_rm, cmpl_rm, cmpq_rm(a, b)),
            Src::Imm(v) => match (size, i8::try_from(v)) {
                (Size::B8, _) => put!(self, cmpb_mi(a, v as u8)),
                (Size::B16, _) => put!(self, cmpw_mi(a, v as u16)),
                (Size::B32, Ok(v)) => put!(self, cmpl_mi_sxb(a, v)),
                (Size::B32, _) => put!(self, cmpl_mi(a, v)),
                (Size::B64, Ok(v)) => put!(self, cmpq_mi_sxb(a, v)),
                (Size::B64, _) => put!(self, cmpq_mi(a, v)),
            },
        }
    }
    fn test_bits(&mut self, size: Size, a: Reg, mask: i32) {
        match size {
            Size::B8 => put!(self, testb_mi(a, mask as u8)),
            Size::B16 | Size::B32 => put!(self, testl_mi(a, mask)),
            Size::B64 => put!(self, testq_mi(a, mask)),
        }
    }
    fn test(&mut self, size: Size, a: Reg) {
        by_size!(self, size, testb_mr, testw_mr, testl_mr, testq_mr(a, a));
    }
    fn compare_cpu(&mut self, size: Size, a: Reg, offset: i32) {
        by_size!(
            self,
            size,
            cmpb_rm,
            cmpw_rm,
            cmpl_rm,
            cmpq_rm(a, mem(CPU, offset))
        );
    }
    fn set(&mut self, c: Cond, d: Reg) {
        // SETcc r8 by its own bytes: the condition is a number here.
        self.bytes(&[0x40 | d >> 3, 0x0f, 0x90 | Self::condition(c), 0xc0 | d & 7]);
        put!(self, movzbl_rm(d, d));
    }
    fn set_cpu(&mut self, c: Cond, offset: i32) {
        // SETcc [CPU + disp32].
        self.bytes(&[0x0f, 0x90 | Self::condition(c), 0x80 | CPU]);
        self.code.put4(offset as u32);
    }
    fn move_if(&mut self, c: Cond, d: Reg, a: Reg) {
        self.bytes(&[
            0x48 | d >> 3 << 2 | a >> 3,
            0x0f,
            0x40 | Self::condition(c),
            0xc0 | (d & 7) << 3 | a & 7,
        ]);
    }

    fn jump(&mut self, l: Label) {
        self.bytes(&[0xe9]);
        self.label_field(l);
    }
    fn jump_if(&mut self, c: Cond, l: Label) {
        self.bytes(&[0x0f, 0x80 | Self::condition(c)]);
        self.label_field(l);
    }
    fn jump_slot(&mut self, slot: u32) {
        self.bytes(&Self::jump_through(JUMP as i32));
        self.fixups.push(Fixup {
            at: self.here() - 4,
            slot,
            jumps: true,
        });
    }
    fn jump_through(distance: i32) -> [u8; JUMP] {
        let [a, b, c, d] = distance.wrapping_sub(JUMP as i32).to_le_bytes();
        [0xff, 0x25, a, b, c, d]
    }
    fn jump_to(distance: i32) -> [u8; JUMP] {
        let [a, b, c, d] = distance.wrapping_sub(5).to_le_bytes();
        [0xe9, a, b, c, d, 0xcc]
    }
    fn jump_cpu(&mut self, offset: i32) {
        put!(self, jmpq_m(mem(CPU, offset)));
    }
    fn call_cpu(&mut self, offset: i32) {
        // CALL [CPU + disp32].
        self.bytes(&[0xff, 0x90 | CPU]);
        self.code.put4(offset as u32);
    }
    fn load_slot(&mut self, d: Reg, slot: u32) {
        self.bytes(&[0x48 | d >> 3 << 2, 0x8b, 5 | (d & 7) << 3, 0, 0, 0, 0]);
        self.fixups.push(Fixup {
            at: self.here() - 4,
            slot,
            jumps: false,
        });
    }
    fn address_of_slot(&mut self, d: Reg, slot: u32) {
        self.bytes(&[0x48 | d >> 3 << 2, 0x8d, 5 | (d & 7) << 3, 0, 0, 0, 0]);
        self.fixups.push(Fixup {
            at: self.here() - 4,
            slot,
            jumps: false,
        });
    }
    fn check_attention(&mut self, t: Reg, l: Label) {
        put!(self, movq_rm(t, mem(CPU, offset::ATTENTION as i32)));
        put!(self, movl_rm(t, mem(t, 0)));
        put!(self, testl_mr(mem(CPU, offset::ATTENTION_MASK as i32), t));
        self.jump_if(Cond::Ne, l);
    }
    fn count(&mut self, n: i32) {
        // LEA keeps the flags.
        put!(self, leaq_rm(COUNTER, at(COUNTER, n)));
    }

    fn probe(&mut self, array: i32, tag: i32, a: Reg, bytes: u32, d: Reg, t: Reg, miss: Label) {
        const { assert!(size_of::<memory::Entry>() == 32) };
        let mask = (memory::ENTRIES as i32 - 1) << 5;
        put!(self, movl_mr(t, a));
        put!(self, shrl_mi(t, 7u8));
        put!(self, andl_mi(t, mask));
        put!(self, leaq_rm(d, at(a, bytes as i32 - 1)));
        put!(self, andq_mi_sxl(d, -0x1000));
        put!(
            self,
            cmpq_rm(d, GprMem::Mem(indexed(TLB, t, 0, array + tag)))
        );
        self.jump_if(Cond::Ne, miss);
        let addend = array + std::mem::offset_of!(memory::Entry, addend) as i32;
        put!(self, movq_rm(d, GprMem::Mem(indexed(TLB, t, 0, addend))));
    }
    fn jump_cached(&mut self, a: Reg, t: Reg, u: Reg, miss: Label) {
        const { assert!(size_of::<JumpEntry>() == 32) };
        put!(self, movl_mr(t, a));
        put!(self, shrl_mi(t, JUMP_BITS as u8));
        put!(self, xorl_rm(t, a));
        put!(self, shll_mi(t, 5u8));
        put!(self, andl_mi(t, (JUMPS as i32 - 1) << 5));
        put!(self, addq_rm(t, mem(CPU, offset::JUMP_CACHE as i32)));
        let field = |o: usize| mem(t, o as i32);
        put!(
            self,
            cmpq_rm(a, field(std::mem::offset_of!(JumpEntry, rip)))
        );
        self.jump_if(Cond::Ne, miss);
        put!(self, movq_rm(u, mem(CPU, offset::KEY as i32)));
        put!(
            self,
            cmpq_rm(u, field(std::mem::offset_of!(JumpEntry, key)))
        );
        self.jump_if(Cond::Ne, miss);
        put!(
            self,
            movq_rm(u, field(std::mem::offset_of!(JumpEntry, base)))
        );
        put!(self, movq_mr(mem(CPU, offset::PAGE_BASE as i32), u));
        put!(self, jmpq_m(field(std::mem::offset_of!(JumpEntry, entry))));
    }

    fn move_vector(&mut self, d: Reg, s: Reg) {
        put!(self, movaps_a(d, s));
    }
    fn zero_vector(&mut self, d: Reg) {
        put!(self, xorps_a(d, d));
    }
    fn load_vector_cpu(&mut self, d: Reg, offset: i32) {
        put!(self, movups_a(d, asm::XmmMem::Mem(at(CPU, offset))));
    }
    fn store_vector_cpu(&mut self, offset: i32, s: Reg) {
        put!(self, movups_b(asm::XmmMem::Mem(at(CPU, offset)), s));
    }
    fn load_vector(&mut self, d: Reg, base: Reg, index: Reg) {
        let m = asm::XmmMem::Mem(indexed(base, index, 0, 0));
        put!(self, movups_a(d, m));
    }
    fn store_vector(&mut self, base: Reg, index: Reg, s: Reg) {
        let m = asm::XmmMem::Mem(indexed(base, index, 0, 0));
        put!(self, movups_b(m, s));
    }
    fn vector_from(&mut self, size: Size, d: Reg, s: Reg) {
        sized!(self, size, movd_a, movq_a(d, s));
    }
    fn lane(&mut self, size: Size, d: Reg, s: Reg, n: u8) {
        match (size, n) {
            (Size::B64, 0) => put!(self, movq_b(d, s)),
            (Size::B32, 0) => put!(self, movd_b(d, s)),
            (Size::B64, _) => put!(self, pextrq_a(d, s, n)),
            (Size::B32, _) => put!(self, pextrd_a(d, s, n)),
            (Size::B16, _) => put!(self, pextrw_a(d, s, n)),
            (Size::B8, _) => put!(self, pextrb_a(d, s, n)),
        }
    }
    fn insert_lane(&mut self, size: Size, d: Reg, s: Reg, n: u8) {
        by_size!(self, size, pinsrb_a, pinsrw_a, pinsrd_a, pinsrq_a(d, s, n));
    }
    fn low_half(&mut self, d: Reg, s: Reg) {
        // MOVQ xmm, xmm: Cranelift has no use for it.
        self.bytes(&[
            0xf3,
            0x40 | d >> 3 << 2 | s >> 3,
            0x0f,
            0x7e,
            0xc0 | (d & 7) << 3 | s & 7,
        ]);
    }
    fn merge_low(&mut self, size: Size, d: Reg, s: Reg) {
        if size == Size::B64 {
            put!(self, movsd_a_r(d, s));
        } else {
            put!(self, movss_a_r(d, s));
        }
    }
    fn vector(&mut self, op: VecOp, d: Reg, a: Reg, b: Reg) -> bool {
        crate::x64_vector::vector(self, op, d, a, b)
    }
    fn fp(&mut self, call: FpCall, d: Reg, a: Reg, b: Reg, scratch: Reg) -> bool {
        crate::x64_vector::fp(self, call, d, a, b, scratch)
    }

    fn exchange_add(&mut self, size: Size, base: Reg, index: Reg, d: Reg) {
        let m = indexed(base, index, 0, 0);
        by_size!(
            self,
            size,
            lock_xaddb_mr,
            lock_xaddw_mr,
            lock_xaddl_mr,
            lock_xaddq_mr(m, d)
        );
    }
    fn exchange(&mut self, size: Size, base: Reg, index: Reg, d: Reg) {
        let m = indexed(base, index, 0, 0);
        by_size!(self, size, xchgb_rm, xchgw_rm, xchgl_rm, xchgq_rm(d, m));
    }
    fn compare_exchange(&mut self, size: Size, base: Reg, index: Reg, new: Reg) {
        let (m, rax) = (indexed(base, index, 0, 0), Fixed(RAX));
        by_size!(
            self,
            size,
            lock_cmpxchgb_mr,
            lock_cmpxchgw_mr,
            lock_cmpxchgl_mr,
            lock_cmpxchgq_mr(m, new, rax)
        );
    }
}

impl X64 {
    /// How much is written, to come back to it.
    pub(crate) fn mark(&self) -> usize {
        self.code.0.len()
    }

    /// Takes back what was written since the mark: plain instructions only.
    pub(crate) fn back_to(&mut self, mark: usize) {
        self.code.0.truncate(mark);
    }

    /// COMISS or COMISD.
    pub(crate) fn comis(&mut self, double: bool, a: Reg, b: Reg) {
        if double {
            self.bytes(&[0x66]);
        }
        self.bytes(&[
            0x40 | a >> 3 << 2 | b >> 3,
            0x0f,
            0x2f,
            0xc0 | (a & 7) << 3 | b & 7,
        ]);
    }

    /// The host's flags as a number.
    pub(crate) fn flags_to(&mut self, d: Reg) {
        // PUSHFQ.
        self.bytes(&[0x9c]);
        put!(self, popq_o(d));
    }

    fn alu_imm(&mut self, op: Alu, size: Size, d: Reg, v: i32) {
        if let Ok(v) = i8::try_from(v) {
            match op {
                Alu::Sub => sized!(self, size, subl_mi_sxb, subq_mi_sxb(d, v)),
                Alu::And => sized!(self, size, andl_mi_sxb, andq_mi_sxb(d, v)),
                Alu::Or => sized!(self, size, orl_mi_sxb, orq_mi_sxb(d, v)),
                Alu::Xor | Alu::Add | Alu::Mul => {
                    sized!(self, size, xorl_mi_sxb, xorq_mi_sxb(d, v))
                }
            }
            return;
        }
        match op {
            Alu::Sub => sized!(self, size, subl_mi, subq_mi_sxl(d, v)),
            Alu::And => sized!(self, size, andl_mi, andq_mi_sxl(d, v)),
            Alu::Or => sized!(self, size, orl_mi, orq_mi_sxl(d, v)),
            Alu::Xor | Alu::Add | Alu::Mul => sized!(self, size, xorl_mi, xorq_mi_sxl(d, v)),
        }
    }
}
