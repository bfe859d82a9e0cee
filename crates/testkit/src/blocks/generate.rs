//! Random blocks, reproducible from (seed, index): few registers, many readers and writers of flags one behind the other, memory operands
//! off few registers into few pages, loops.

use super::world::PLACES;
use super::{Block, Item, Jump, Start, To};
use crate::case::{self, Bits, CODE, DATA, HIGH, USER_DS};
use crate::evaluator::load_fpu;
use crate::generate::codes::excluded;
use crate::generate::{encode, values};
use crate::rng::Rng;
use cpu::state::Fpu;
use iced_x86::{
    Code, CpuidFeature as F, Encoder, Instruction, Mnemonic as M, OpCodeOperandKind as K, OpKind,
    Register as R,
};
use semantics::table::Class;

/// Forms by mnemonic: a mnemonic of many forms is as frequent as one of few.
type Group = Vec<Vec<Code>>;

/// The kinds of instructions.
#[derive(Default)]
struct Groups {
    /// Readers and writers of flags.
    flags: Group,
    /// The rest of the general instructions.
    general: Group,
    vector: Group,
    x87: Group,
    /// Calls to the processor's own code.
    helpers: Group,
}

/// Makes blocks.
pub struct Maker {
    seed: u64,
    groups: [Groups; 2],
}

/// The registers of a block by purpose, as encoded.
struct Palette {
    bases: Vec<u8>,
    work: Vec<u8>,
    vectors: Vec<u8>,
    /// Addresses are those of segments that start at `DATA`.
    offset: bool,
}

const FLAGS: &[M] = &[
    M::Add,
    M::Adc,
    M::Sub,
    M::Sbb,
    M::Cmp,
    M::Test,
    M::And,
    M::Or,
    M::Xor,
    M::Inc,
    M::Dec,
    M::Neg,
    M::Not,
    M::Shl,
    M::Sal,
    M::Shr,
    M::Sar,
    M::Rol,
    M::Ror,
    M::Rcl,
    M::Rcr,
    M::Shld,
    M::Shrd,
    M::Mul,
    M::Imul,
    M::Bt,
    M::Bts,
    M::Btr,
    M::Btc,
    M::Bsf,
    M::Bsr,
    M::Popcnt,
    M::Xadd,
    M::Cmpxchg,
    M::Lahf,
    M::Sahf,
    M::Pushf,
    M::Pushfd,
    M::Pushfq,
    M::Popfq,
    M::Popfd,
    M::Clc,
    M::Stc,
    M::Cmc,
    M::Seta,
    M::Setae,
    M::Setb,
    M::Setbe,
    M::Sete,
    M::Setne,
    M::Setg,
    M::Setge,
    M::Setl,
    M::Setle,
    M::Seto,
    M::Setno,
    M::Setp,
    M::Setnp,
    M::Sets,
    M::Setns,
    M::Cmova,
    M::Cmovae,
    M::Cmovb,
    M::Cmovbe,
    M::Cmove,
    M::Cmovne,
    M::Cmovg,
    M::Cmovge,
    M::Cmovl,
    M::Cmovle,
    M::Cmovo,
    M::Cmovno,
    M::Cmovp,
    M::Cmovnp,
    M::Cmovs,
    M::Cmovns,
    M::Comiss,
    M::Ucomisd,
    M::Ptest,
];

/// Not in the midst of a block: transfers (blocks have their own), and what leaves user mode.
fn transfers(code: Code) -> bool {
    use iced_x86::FlowControl as C;
    !matches!(code.flow_control(), C::Next)
        || matches!(code.mnemonic(), M::Into | M::Hlt | M::Lss | M::Xbegin)
}

impl Groups {
    fn new(bits: Bits) -> Self {
        let mut all = Self::default();
        for (code, class, _) in semantics::table::forms() {
            let op = code.op_code();
            if excluded(code, bits).is_some() || transfers(code) || !op.cpl3() || op.is_privileged()
            {
                continue;
            }
            let features = code.cpuid_features();
            let is = |list: &[F]| features.iter().any(|f| list.contains(f));
            let m = code.mnemonic();
            let group = if class != Class::Lift {
                &mut all.helpers
            } else if FLAGS.contains(&m) {
                &mut all.flags
            } else if is(&[F::FPU, F::FPU287, F::FPU387]) {
                &mut all.x87
            } else if is(&[
                F::MMX,
                F::SSE,
                F::SSE2,
                F::SSE3,
                F::SSSE3,
                F::SSE4_1,
                F::SSE4_2,
            ]) {
                &mut all.vector
            } else {
                &mut all.general
            };
            match group.iter_mut().find(|g| g[0].mnemonic() == m) {
                Some(g) => g.push(code),
                None => group.push(vec![code]),
            }
        }
        all
    }
}

fn pick_code(rng: &mut Rng, group: &Group) -> Option<Code> {
    let of = group.get(rng.below(group.len() as u64) as usize)?;
    Some(rng.pick(of))
}

fn some(rng: &mut Rng, from: &mut Vec<u8>, count: u64) -> Vec<u8> {
    (0..count)
        .filter_map(|_| {
            let n = rng.below(from.len() as u64) as usize;
            (n < from.len()).then(|| from.swap_remove(n))
        })
        .collect()
}

impl Palette {
    fn new(rng: &mut Rng, bits: Bits) -> Self {
        let wide = bits == Bits::B64;
        let mut bases = if wide {
            vec![3, 5, 6, 7, 8, 12, 13, 15]
        } else {
            vec![3, 5, 6, 7]
        };
        let count = 1 + rng.below(2);
        let bases = some(rng, &mut bases, count);
        let mut rest: Vec<u8> = (0..if wide { 16 } else { 8 })
            .filter(|r| *r != 4 && !bases.contains(r))
            .collect();
        let count = 2 + rng.below(4);
        let mut work = some(rng, &mut rest, count);
        for r in [0, 1] {
            if rng.chance(60) && !work.contains(&r) {
                work.push(r);
            }
        }
        let mut vectors: Vec<u8> = (0..if wide { 16 } else { 8 }).collect();
        // Sometimes more than the host keeps.
        let count = if rng.chance(15) { 14 } else { 3 };
        let vectors = some(rng, &mut vectors, count);
        Self {
            bases,
            work,
            vectors,
            offset: !wide && rng.chance(8),
        }
    }

    fn register(&self, rng: &mut Rng) -> u8 {
        match rng.below(100) {
            0..=4 => rng.pick(&self.bases),
            5 => 4,
            _ => rng.pick(&self.work),
        }
    }
}

fn nth(first: R, n: u8) -> R {
    R::try_from(first as usize + usize::from(n)).unwrap_or(first)
}

fn general(rng: &mut Rng, bits: Bits, size: usize, n: u8) -> R {
    match size {
        1 if n < 4 && rng.chance(25) => nth(R::AH, n),
        1 if n < 4 => nth(R::AL, n),
        1 if bits == Bits::B64 => nth(R::SPL, n - 4),
        1 => nth(R::AL, n & 3),
        2 => nth(R::AX, n),
        4 => nth(R::EAX, n),
        _ => nth(R::RAX, n),
    }
}

/// Gives an instruction operands of the palette.
fn retarget(rng: &mut Rng, p: &Palette, bits: Bits, i: &mut Instruction) {
    let op = i.code().op_code();
    for n in 0..op.op_count() {
        match (i.op_kind(n), op.op_kind(n)) {
            (
                OpKind::Register,
                K::r8_or_mem
                | K::r16_or_mem
                | K::r32_or_mem
                | K::r64_or_mem
                | K::r8_reg
                | K::r8_opcode
                | K::r16_reg
                | K::r16_rm
                | K::r16_opcode
                | K::r32_reg
                | K::r32_rm
                | K::r32_opcode
                | K::r64_reg
                | K::r64_rm
                | K::r64_opcode,
            ) => {
                let size = i.op_register(n).size();
                let r = p.register(rng);
                i.set_op_register(n, general(rng, bits, size, r));
            }
            (OpKind::Register, K::xmm_reg | K::xmm_rm | K::xmm_or_mem) => {
                i.set_op_register(n, nth(R::XMM0, rng.pick(&p.vectors)));
            }
            (OpKind::Register, K::mm_reg | K::mm_rm | K::mm_or_mem) => {
                i.set_op_register(n, nth(R::MM0, rng.below(3) as u8));
            }
            (OpKind::Memory, k) if !matches!(k, K::mem_offs | K::seg_rBX_al) => {
                let size = i.memory_size().size() as u64;
                let (first, width) = if bits == Bits::B64 && !rng.chance(4) {
                    (R::RAX, 8)
                } else {
                    (R::EAX, 4)
                };
                let base = if rng.chance(4) { 4 } else { rng.pick(&p.bases) };
                i.set_memory_base(nth(first, base));
                i.set_memory_index(R::None);
                i.set_memory_index_scale(1);
                if rng.chance(8) {
                    let r = rng.pick(&p.work);
                    i.set_memory_index(nth(first, r));
                    i.set_memory_index_scale(rng.pick(&[1, 2, 4, 8]));
                }
                let mut d = match rng.below(8) {
                    0..=2 => 0,
                    3 | 4 => rng.below(128) as i64 - 64,
                    5 => rng.below(16) as i64 - 8,
                    6 => rng.below(0x400) as i64 - 0x200,
                    _ => rng.below(0x1800) as i64 - 0xc00,
                };
                if rng.chance(70) && size.is_power_of_two() {
                    d &= -(size.min(16) as i64);
                }
                let d = if width == 8 {
                    d as u64
                } else {
                    d as u64 & 0xffff_ffff
                };
                i.set_memory_displ_size(if d == 0 { 0 } else { 1 });
                i.set_memory_displacement64(d);
                i.set_segment_prefix(R::None);
                if rng.chance(2) {
                    i.set_segment_prefix(if bits == Bits::B64 { R::GS } else { R::ES });
                }
            }
            _ => {}
        }
    }
    // Few counts that are masked to nothing at once.
    if matches!(
        i.mnemonic(),
        M::Shl | M::Shr | M::Sar | M::Rol | M::Ror | M::Rcl | M::Rcr | M::Shld | M::Shrd
    ) && i.op_count() > 1
        && i.op_kind(i.op_count() - 1) == OpKind::Immediate8
        && rng.chance(60)
    {
        i.set_immediate8(rng.pick(&[0, 1, 1, 2, 7, 8, 31, 32, 33]));
    }
}

impl Maker {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            groups: [Groups::new(Bits::B32), Groups::new(Bits::B64)],
        }
    }

    /// Block `index` and the registers that it starts with.
    pub fn block(&self, index: u64) -> (Block, Start) {
        let mut rng = Rng::new(self.seed, index);
        let bits = if rng.chance(65) { Bits::B64 } else { Bits::B32 };
        let p = Palette::new(&mut rng, bits);
        let start = start(&mut rng, &p, bits);
        let groups = &self.groups[usize::from(bits == Bits::B64)];
        // Percents of flags, general, vectors; the rest is x87.
        let weights: [u64; 3] = rng.pick(&[
            [80, 20, 0],
            [60, 40, 0],
            [60, 38, 2],
            [30, 20, 50],
            [10, 5, 85],
            [25, 10, 0],
            [10, 5, 15],
            [40, 30, 20],
        ]);
        let at = match rng.below(10) {
            0 => 0xf80 + rng.below(0x78),
            1 => 0,
            _ => 0x200 + rng.below(0xc00),
        };
        let count = 1 + rng.below(24) as usize;
        let mut items = Vec::with_capacity(count + 2);
        while items.len() < count {
            if count > 2 && rng.chance(5) {
                items.push(branch(&mut rng, count));
                continue;
            }
            let n = rng.below(100);
            let group = if rng.chance(3) {
                &groups.helpers
            } else if n < weights[0] {
                &groups.flags
            } else if n < weights[0] + weights[1] {
                &groups.general
            } else if n < weights[0] + weights[1] + weights[2] {
                &groups.vector
            } else {
                &groups.x87
            };
            if let Some(bytes) = instruction(&mut rng, group, &p, bits, CODE + at) {
                items.push(Item::Plain(bytes));
            }
        }
        end(&mut rng, &mut items, &p, bits);
        (Block { bits, at, items }, start)
    }
}

fn branch(rng: &mut Rng, count: usize) -> Item {
    let jump = match rng.below(12) {
        0 => Jump::Count(rng.below(4) as u8),
        1 => Jump::Always,
        2 => Jump::Call,
        _ => Jump::If(rng.below(16) as u8),
    };
    let to = match rng.below(10) {
        0 => To::Away(0x400),
        1 => To::Item(0),
        _ => To::Item(rng.below(count as u64 + 1) as usize),
    };
    Item::Branch(jump, to)
}

/// How a block ends: a third of them lead back to their start.
fn end(rng: &mut Rng, items: &mut Vec<Item>, p: &Palette, bits: Bits) {
    let r = rng.pick(&p.work);
    let wide = bits == Bits::B64;
    let rex = |b: u8| 0x48 | b >> 3;
    let plain = |bytes: &[u8]| Item::Plain(bytes.to_vec());
    match rng.below(18) {
        0 | 1 => items.push(Item::Branch(Jump::If(rng.below(16) as u8), To::Item(0))),
        2 | 3 => {
            // DEC r; JNZ.
            let dec = [rex(r), 0xff, 0xc8 | r & 7];
            items.push(plain(&dec[usize::from(!wide)..]));
            items.push(Item::Branch(
                Jump::If(rng.pick(&[5, 5, 9, 13])),
                To::Item(0),
            ));
        }
        4 => {
            // AND r, 7; SUB r, 1; JNC.
            let sub = [rex(r), 0x83, 0xe8 | r & 7, 1];
            let and = [rex(r), 0x83, 0xe0 | r & 7, 7];
            items.push(plain(&and[usize::from(!wide)..]));
            items.push(plain(&sub[usize::from(!wide)..]));
            items.push(Item::Branch(Jump::If(rng.pick(&[3, 5, 7])), To::Item(0)));
        }
        5 => items.push(Item::Branch(Jump::Count(2), To::Item(0))),
        6 => items.push(Item::Branch(Jump::Always, To::Item(0))),
        7 => items.push(Item::Branch(Jump::Always, To::Away(0x600))),
        8 => items.push(plain(&[0x0f, 0x0b])),
        9 => items.push(Item::Branch(
            Jump::If(rng.below(16) as u8),
            To::Away(-0x100),
        )),
        10 => items.push(plain(&[0xc3])),
        _ => {}
    }
}

fn instruction(rng: &mut Rng, group: &Group, p: &Palette, bits: Bits, ip: u64) -> Option<Vec<u8>> {
    let code = pick_code(rng, group)?;
    let m = code.mnemonic();
    // Most of these fault with random operands.
    if matches!(
        m,
        M::Div | M::Idiv | M::Aam | M::Bound | M::Mov | M::Pop | M::Lds | M::Les
    ) && (m != M::Mov && m != M::Pop || code.op_code().op_kind(0) == K::seg_reg)
        && !rng.chance(15)
    {
        return None;
    }
    let bytes = encode::encode(rng, code, bits, ip)?;
    let mut i = encode::decode(bits, ip, &bytes);
    let odd = i.code() == Code::INVALID || i.len() != bytes.len() || loads_stack_segment(&i);
    if odd || transfers(i.code()) || excluded(i.code(), bits).is_some() {
        return None;
    }
    if matches!(m, M::Bt | M::Bts | M::Btr | M::Btc)
        && i.op0_kind() == OpKind::Memory
        && i.op1_kind() == OpKind::Register
        && !rng.chance(20)
    {
        return None;
    }
    if rng.chance(6) {
        return Some(bytes);
    }
    retarget(rng, p, bits, &mut i);
    let mut encoder = Encoder::new(bits.count());
    encoder.encode(&i, ip).ok()?;
    Some(encoder.take_buffer())
}

/// The interrupt shadow behind it makes the engine evaluate.
fn loads_stack_segment(i: &Instruction) -> bool {
    i.op_count() > 0 && i.op0_kind() == OpKind::Register && i.op0_register() == R::SS
        || matches!(i.mnemonic(), M::Lss)
}

fn start(rng: &mut Rng, p: &Palette, bits: Bits) -> Start {
    let wide = bits == Bits::B64;
    let mut gpr: [u64; 16] = std::array::from_fn(|_| rng.edge());
    if rng.chance(60) {
        gpr[1] = rng.below(8);
    }
    // Counters of loops.
    if rng.chance(60) {
        let r = rng.pick(&p.work);
        gpr[usize::from(r)] = 1 + rng.below(9);
    }
    let place = |rng: &mut Rng| {
        let within = match rng.below(20) {
            0 | 1 => 0x1000 - rng.below(40),
            2 => 0x2000 - rng.below(40),
            3 => 0x3000 - rng.below(40),
            4 => 0x2000 + rng.below(0xf00),
            5 => 0x3000 + rng.below(0x1000),
            6 => 0x5000 - rng.below(40),
            7..=9 => 0x4000 + rng.below(0x1e00),
            _ => 0x100 + rng.below(0x1e00),
        };
        let within = if rng.chance(70) { within & !15 } else { within };
        let base = if wide && rng.chance(40) { HIGH } else { DATA };
        if p.offset { within } else { base + within }
    };
    for &b in &p.bases {
        gpr[usize::from(b)] = place(rng);
    }
    for r in [6, 7] {
        if !p.work.contains(&r) && rng.chance(60) {
            gpr[usize::from(r)] = place(rng);
        }
    }
    let stack = match rng.below(20) {
        0 | 1 => PLACES[4] + rng.below(24),
        2 => PLACES[3] + rng.below(24),
        3 => PLACES[2] + rng.below(24),
        _ => PLACES[3] + 0x200 + rng.below(0x1c00),
    };
    gpr[4] = DATA + if rng.chance(85) { stack & !7 } else { stack };
    if !wide {
        for r in &mut gpr {
            *r &= 0xffff_ffff;
        }
        for r in &mut gpr[8..] {
            *r = 0;
        }
    }
    let mut seg = [0, bits.cs(), USER_DS, 0, 0, 0];
    if !wide {
        let data = if p.offset { 0x1f } else { USER_DS };
        seg[case::sreg::DS] = data;
        seg[case::sreg::ES] = data;
    }
    let state = case::State {
        gpr,
        rip: CODE,
        rflags: values::rflags(rng) & !(1 << 18),
        seg,
        fx: values::fxsave(rng),
    };
    let mut fpu = Box::new(Fpu::new());
    load_fpu(&mut fpu, &state);
    Start {
        gpr,
        rflags: state.rflags,
        seg,
        fpu,
    }
}
