//! From a row of iced's table to instruction bytes: operands, then prefixes that need not be there.

use crate::case::{Bits, CODE, DATA, GS_BASE, READ_ONLY, STACK};
use crate::rng::Rng;
use iced_x86::{
    Code, Decoder, DecoderOptions, Encoder, Instruction, MemorySize, OpCodeOperandKind as K,
    OpKind, Register as R,
};

/// Addressing facts chosen once an instruction.
struct Form {
    bits: Bits,
    /// Bits of an effective address.
    address: u32,
    /// Linear address of the first byte.
    ip: u64,
}

const GPR8: &[R] = &[
    R::AL,
    R::CL,
    R::DL,
    R::BL,
    R::AH,
    R::CH,
    R::DH,
    R::BH,
    R::SPL,
    R::BPL,
    R::SIL,
    R::DIL,
    R::R8L,
    R::R9L,
    R::R15L,
    R::R12L,
];

fn nth(first: R, n: u64) -> R {
    R::try_from(first as usize + n as usize).unwrap_or(first)
}

fn gpr(rng: &mut Rng, bits: Bits, width: u32) -> R {
    let n = if bits == Bits::B64 {
        rng.below(16)
    } else {
        rng.below(8)
    };
    match width {
        8 if bits == Bits::B64 => rng.pick(GPR8),
        8 => GPR8[rng.below(8) as usize],
        16 => nth(R::AX, n),
        32 => nth(R::EAX, n),
        _ => nth(R::RAX, n),
    }
}

/// Encode `code` with random operands for a case at `ip` (an offset in CS). `None` if this try has no encoding.
pub fn encode(rng: &mut Rng, code: Code, bits: Bits, ip: u64) -> Option<Vec<u8>> {
    let address = match bits {
        Bits::B64 => rng.pick(&[64, 64, 64, 64, 64, 64, 32]),
        Bits::B32 => rng.pick(&[32, 32, 32, 32, 16]),
        Bits::B16 => rng.pick(&[16, 16, 16, 32]),
    };
    let op = code.op_code();
    let fixed = op.address_size();
    let form = Form {
        bits,
        address: if fixed == 0 { address } else { fixed },
        ip,
    };
    let mut i = Instruction::default();
    i.set_code(code);
    let mut in_memory = false;
    for n in 0..op.op_count() {
        operand(rng, &form, &mut i, n, op.op_kind(n));
        in_memory |= i.op_kind(n) == OpKind::Memory;
    }
    if in_memory {
        let overrides: &[R] = if bits == Bits::B64 {
            &[R::FS, R::GS]
        } else {
            &[R::ES, R::CS, R::SS, R::DS, R::FS, R::GS]
        };
        if rng.chance(15) && i.segment_prefix() == R::None {
            i.set_segment_prefix(rng.pick(overrides));
        }
        if op.can_use_lock_prefix() && rng.chance(30) {
            i.set_has_lock_prefix(true);
        }
    }
    if (op.can_use_rep_prefix() || op.can_use_repne_prefix()) && rng.chance(60) {
        if op.can_use_repne_prefix() && rng.chance(50) {
            i.set_has_repne_prefix(true);
        } else {
            i.set_has_rep_prefix(true);
        }
    }
    let mut encoder = Encoder::new(bits.count());
    encoder.encode(&i, ip).ok()?;
    let mut bytes = encoder.take_buffer();
    // Branches lose sense when their operand size changes: the vendors differ there.
    let branch = matches!(
        i.op0_kind(),
        OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64
    ) || code.is_jmp_near_indirect()
        || code.is_call_near_indirect();
    if !branch {
        mutate(rng, bits, &mut bytes);
    }
    (bytes.len() <= 15).then_some(bytes)
}

fn operand(rng: &mut Rng, form: &Form, i: &mut Instruction, n: u32, kind: K) {
    let bits = form.bits;
    let memory_or = |rng: &mut Rng, i: &mut Instruction, register: R| {
        if rng.chance(60) {
            memory(rng, form, i, n);
        } else {
            set_register(i, n, register);
        }
    };
    let vectors = if bits == Bits::B64 { 16 } else { 8 };
    match kind {
        K::r8_or_mem => {
            let r = gpr(rng, bits, 8);
            memory_or(rng, i, r);
        }
        K::r16_or_mem => {
            let r = gpr(rng, bits, 16);
            memory_or(rng, i, r);
        }
        K::r32_or_mem => {
            let r = gpr(rng, bits, 32);
            memory_or(rng, i, r);
        }
        K::r64_or_mem => {
            let r = gpr(rng, bits, 64);
            memory_or(rng, i, r);
        }
        K::mm_or_mem => {
            let r = nth(R::MM0, rng.below(8));
            memory_or(rng, i, r);
        }
        K::xmm_or_mem => {
            let r = nth(R::XMM0, rng.below(vectors));
            memory_or(rng, i, r);
        }
        K::mem | K::mem_mib => memory(rng, form, i, n),
        K::mem_offs => {
            i.set_op_kind(n, OpKind::Memory);
            i.set_memory_base(R::None);
            i.set_memory_displ_size(form.address / 8);
            i.set_memory_displacement64(absolute(rng, form.address));
        }
        K::r8_reg | K::r8_opcode => set_register(i, n, gpr(rng, bits, 8)),
        K::r16_reg | K::r16_reg_mem | K::r16_rm | K::r16_opcode => {
            set_register(i, n, gpr(rng, bits, 16))
        }
        K::r32_reg | K::r32_reg_mem | K::r32_rm | K::r32_opcode => {
            set_register(i, n, gpr(rng, bits, 32))
        }
        K::r64_reg | K::r64_reg_mem | K::r64_rm | K::r64_opcode => {
            set_register(i, n, gpr(rng, bits, 64))
        }
        K::mm_reg | K::mm_rm => set_register(i, n, nth(R::MM0, rng.below(8))),
        K::xmm_reg | K::xmm_rm => set_register(i, n, nth(R::XMM0, rng.below(vectors))),
        K::seg_reg => set_register(i, n, nth(R::ES, rng.below(6))),
        K::cr_reg => set_register(i, n, nth(R::CR0, rng.pick(&[0, 2, 3, 4, 8]))),
        K::dr_reg => set_register(i, n, nth(R::DR0, rng.below(8))),
        K::sti_opcode => set_register(i, n, nth(R::ST0, rng.below(8))),
        K::st0 => set_register(i, n, R::ST0),
        K::es => set_register(i, n, R::ES),
        K::cs => set_register(i, n, R::CS),
        K::ss => set_register(i, n, R::SS),
        K::ds => set_register(i, n, R::DS),
        K::fs => set_register(i, n, R::FS),
        K::gs => set_register(i, n, R::GS),
        K::al => set_register(i, n, R::AL),
        K::cl => set_register(i, n, R::CL),
        K::ax => set_register(i, n, R::AX),
        K::dx => set_register(i, n, R::DX),
        K::eax => set_register(i, n, R::EAX),
        K::rax => set_register(i, n, R::RAX),
        K::imm8 | K::imm4_m2z => {
            let second =
                n > 0 && matches!(i.op_kind(n - 1), OpKind::Immediate8 | OpKind::Immediate16);
            i.set_op_kind(
                n,
                if second {
                    OpKind::Immediate8_2nd
                } else {
                    OpKind::Immediate8
                },
            );
            let v = rng.edge() as u8;
            if second {
                // ENTER's nesting level; deep ones are long.
                i.set_immediate8_2nd(if rng.chance(80) { v % 4 } else { v });
            } else {
                i.set_immediate8(v);
            }
        }
        K::imm8_const_1 => {
            i.set_op_kind(n, OpKind::Immediate8);
            i.set_immediate8(1);
        }
        K::imm8sex16 => {
            i.set_op_kind(n, OpKind::Immediate8to16);
            i.set_immediate8to16(rng.edge() as i8 as i16);
        }
        K::imm8sex32 => {
            i.set_op_kind(n, OpKind::Immediate8to32);
            i.set_immediate8to32(rng.edge() as i8 as i32);
        }
        K::imm8sex64 => {
            i.set_op_kind(n, OpKind::Immediate8to64);
            i.set_immediate8to64(rng.edge() as i8 as i64);
        }
        K::imm16 => {
            i.set_op_kind(n, OpKind::Immediate16);
            i.set_immediate16(rng.edge() as u16);
        }
        K::imm32 => {
            i.set_op_kind(n, OpKind::Immediate32);
            i.set_immediate32(rng.edge() as u32);
        }
        K::imm32sex64 => {
            i.set_op_kind(n, OpKind::Immediate32to64);
            i.set_immediate32to64(rng.edge() as i32 as i64);
        }
        K::imm64 => {
            i.set_op_kind(n, OpKind::Immediate64);
            i.set_immediate64(rng.edge());
        }
        K::seg_rSI => i.set_op_kind(
            n,
            by_address(
                form,
                [
                    OpKind::MemorySegSI,
                    OpKind::MemorySegESI,
                    OpKind::MemorySegRSI,
                ],
            ),
        ),
        K::es_rDI => i.set_op_kind(
            n,
            by_address(
                form,
                [OpKind::MemoryESDI, OpKind::MemoryESEDI, OpKind::MemoryESRDI],
            ),
        ),
        K::seg_rDI => i.set_op_kind(
            n,
            by_address(
                form,
                [
                    OpKind::MemorySegDI,
                    OpKind::MemorySegEDI,
                    OpKind::MemorySegRDI,
                ],
            ),
        ),
        K::seg_rBX_al => {
            i.set_op_kind(n, OpKind::Memory);
            i.set_memory_base(by_address(form, [R::BX, R::EBX, R::RBX]));
            i.set_memory_index(R::AL);
        }
        K::br16_1 | K::br16_2 => {
            i.set_op_kind(n, OpKind::NearBranch16);
            i.set_near_branch16(target(rng, form, kind == K::br16_1) as u16);
        }
        K::br32_1 | K::br32_4 => {
            i.set_op_kind(n, OpKind::NearBranch32);
            i.set_near_branch32(target(rng, form, kind == K::br32_1) as u32);
        }
        K::br64_1 | K::br64_4 => {
            i.set_op_kind(n, OpKind::NearBranch64);
            i.set_near_branch64(target(rng, form, kind == K::br64_1));
        }
        K::farbr2_2 => {
            i.set_op_kind(n, OpKind::FarBranch16);
            i.set_far_branch16(away(form, rng.below(0x1000)) as u16);
            i.set_far_branch_selector(far_selector(rng, bits));
        }
        K::farbr4_2 => {
            i.set_op_kind(n, OpKind::FarBranch32);
            i.set_far_branch32(away(form, CODE + 0x800 + rng.below(0x7f0)) as u32);
            i.set_far_branch_selector(far_selector(rng, bits));
        }
        _ => {}
    }
}

/// `to`, moved out of the instruction's own bytes.
fn away(form: &Form, to: u64) -> u64 {
    let start = form.ip & 0xfff;
    if (to & 0xfff).wrapping_sub(start) < 16 {
        to ^ 0x80
    } else {
        to
    }
}

/// A selector for a far transfer: mostly one that can be gone to.
pub fn far_selector(rng: &mut Rng, bits: Bits) -> u16 {
    match rng.below(10) {
        0..=4 => bits.cs(),
        5 => Bits::B32.cs(),
        6 => Bits::B64.cs(),
        7 => Bits::B16.cs(),
        8 => rng.pick(&[0x3f, 0x57]),
        _ => super::values::selector(rng),
    }
}

/// Where a branch may go: the code page (all INT3), never into the instruction itself; or memory that is not mapped.
pub fn target(rng: &mut Rng, form_or: &impl HasIp, near: bool) -> u64 {
    let ip = form_or.ip();
    if near {
        return if rng.chance(50) {
            ip + 20 + rng.below(100)
        } else {
            ip - 20 - rng.below(80)
        };
    }
    match rng.below(8) {
        0 if form_or.is_wide() => 0x2000_0000 + rng.below(0x1000_0000),
        _ => ip & !0xfff | (ip + 0x20 + rng.below(0xf00)) & 0xfff,
    }
}

/// What [`target`] must know.
pub trait HasIp {
    /// Offset of the instruction.
    fn ip(&self) -> u64;
    /// Whether targets beyond 64 KiB make sense.
    fn is_wide(&self) -> bool;
}

impl HasIp for Form {
    fn ip(&self) -> u64 {
        self.ip
    }

    fn is_wide(&self) -> bool {
        self.bits != Bits::B16
    }
}

impl HasIp for (Bits, u64) {
    fn ip(&self) -> u64 {
        self.1
    }

    fn is_wide(&self) -> bool {
        self.0 != Bits::B16
    }
}

fn by_address<T: Copy>(form: &Form, items: [T; 3]) -> T {
    match form.address {
        16 => items[0],
        32 => items[1],
        _ => items[2],
    }
}

fn set_register(i: &mut Instruction, n: u32, register: R) {
    i.set_op_kind(n, OpKind::Register);
    i.set_op_register(n, register);
}

/// An address that needs no register.
fn absolute(rng: &mut Rng, address: u32) -> u64 {
    if address == 16 {
        // Within the 64 KiB segments: data, read-only page, stack, or nothing.
        return match rng.below(12) {
            0 => 0x4000 + rng.below(0x1000),
            1 => 0x8000 + rng.below(0x2000),
            2 => rng.below(0x1_0000),
            3 => rng.below(32),
            _ => rng.below(0x1f0) << 4,
        };
    }
    match rng.below(12) {
        0 => READ_ONLY + rng.below(0x1000),
        1 => STACK + rng.below(0x2000),
        2 => rng.below(0x3000),
        3 => DATA + rng.below(0x2010),
        4 if address == 64 => GS_BASE,
        _ => DATA + (rng.below(0x1f0) << 4),
    }
}

fn memory(rng: &mut Rng, form: &Form, i: &mut Instruction, n: u32) {
    i.set_op_kind(n, OpKind::Memory);
    if form.address == 16 {
        let (base, index) = rng.pick(&[
            (R::BX, R::SI),
            (R::BX, R::DI),
            (R::BP, R::SI),
            (R::BP, R::DI),
            (R::SI, R::None),
            (R::DI, R::None),
            (R::BP, R::None),
            (R::BX, R::None),
            (R::None, R::None),
        ]);
        i.set_memory_base(base);
        i.set_memory_index(index);
        let (size, displacement) = if base == R::None {
            (2, absolute(rng, 16))
        } else {
            displacement(rng, 2)
        };
        i.set_memory_displ_size(size);
        i.set_memory_displacement64(displacement & 0xffff);
        return;
    }
    let wide = form.address == 64;
    let reg = |rng: &mut Rng| gpr(rng, form.bits, form.address);
    let scale = rng.pick(&[1, 2, 4, 8]);
    i.set_memory_index_scale(scale);
    match rng.below(20) {
        0 => {
            i.set_memory_displ_size(if wide { 8 } else { 4 });
            i.set_memory_displacement64(absolute(rng, 32));
        }
        1 | 2 if form.bits == Bits::B64 => {
            i.set_memory_base(if wide { R::RIP } else { R::EIP });
            i.set_memory_displ_size(if wide { 8 } else { 4 });
            i.set_memory_displacement64(absolute(rng, 32));
        }
        3 | 4 => {
            i.set_memory_index(reg(rng));
            i.set_memory_displ_size(if wide { 8 } else { 4 });
            let d = displacement(rng, 4).1;
            i.set_memory_displacement64(if wide { d } else { d & 0xffff_ffff });
        }
        k => {
            i.set_memory_base(reg(rng));
            if k < 12 {
                i.set_memory_index(reg(rng));
            }
            let (size, d) = displacement(rng, if wide { 8 } else { 4 });
            i.set_memory_displ_size(size);
            i.set_memory_displacement64(if wide { d } else { d & 0xffff_ffff });
        }
    }
}

/// Size and value of a displacement: none, 8 bits or `size`.
fn displacement(rng: &mut Rng, size: u32) -> (u32, u64) {
    match rng.below(3) {
        0 => (0, 0),
        1 => (1, rng.u64() as i8 as u64),
        _ if size == 2 => (2, rng.u64() as i16 as u64),
        _ => (size, rng.edge() as i32 as u64),
    }
}

/// Add prefixes in front that are ignored, change the size, or make the instruction invalid; sometimes change a REX prefix.
fn mutate(rng: &mut Rng, bits: Bits, bytes: &mut Vec<u8>) {
    if rng.chance(8) {
        bytes.insert(
            0,
            rng.pick(&[0x2e, 0x36, 0x3e, 0x26, 0x66, 0x66, 0x67, 0xf2, 0xf3]),
        );
    }
    if bits == Bits::B64 && rng.chance(8) {
        let at = bytes
            .iter()
            .position(|b| {
                !matches!(
                    b,
                    0x2e | 0x36 | 0x3e | 0x26 | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3
                )
            })
            .unwrap_or(0);
        let rex = 0x40 | rng.below(16) as u8;
        match bytes.get_mut(at) {
            Some(b) if *b & 0xf0 == 0x40 => *b = rex,
            _ => bytes.insert(at, rex),
        }
    }
    if rng.chance(1) && !bytes.contains(&0xf0) {
        bytes.insert(0, 0xf0);
    }
}

/// Decode what [`encode`] made, as the CPU will.
pub fn decode(bits: Bits, ip: u64, bytes: &[u8]) -> Instruction {
    Decoder::with_ip(bits.count(), bytes, ip, DecoderOptions::NONE).decode()
}

/// Size of the memory operand, for the few that iced calls unknown.
pub fn memory_len(size: MemorySize) -> usize {
    match size {
        MemorySize::Unknown => 1,
        _ => size.size(),
    }
}
