//! Choose registers and memory so that an instruction meets something: addresses that hit the data pages (or just miss them), divisors
//! that divide, selectors that exist, return addresses that can be returned to.

use super::encode::{far_selector, memory_len, target};
use super::values;
use crate::case::{
    self, Bits, CODE, Case, DATA, FS_BASE, GS_BASE, HIGH, PATCH_MAX, PATCHES_MAX, Patch, READ_ONLY,
    STACK, sreg,
};
use crate::rng::Rng;
use iced_x86::{
    Code, CodeSize, Instruction, InstructionInfoFactory, MemorySize, Mnemonic as M, OpKind,
    Register as R, UsedMemory,
};

/// Where the case's choices are made.
pub struct Aim<'a> {
    rng: &'a mut Rng,
    case: &'a mut Case,
    i: Instruction,
    /// Registers that already have a purpose, a bit each.
    fixed: u32,
}

/// Index of a general register in [`case::State::gpr`].
pub fn gpr_index(r: R) -> Option<usize> {
    if matches!(r, R::AH | R::CH | R::DH | R::BH) {
        return Some(r as usize - R::AH as usize);
    }
    let full = r.full_register();
    (R::RAX..=R::R15)
        .contains(&full)
        .then(|| full as usize - R::RAX as usize)
}

fn address_mask(size: CodeSize) -> u64 {
    match size {
        CodeSize::Code16 => 0xffff,
        CodeSize::Code32 => 0xffff_ffff,
        _ => u64::MAX,
    }
}

fn seg_base(case: &Case, segment: R) -> u64 {
    match (case.bits, segment) {
        (Bits::B64, R::FS) => FS_BASE,
        (Bits::B64, R::GS) => GS_BASE,
        (Bits::B64, _) => 0,
        _ => case::seg_base(case.state.seg[segment as usize - R::ES as usize]),
    }
}

fn index_value(case: &Case, n: usize, r: R) -> u64 {
    if r == R::AL {
        case.state.gpr[n] & 0xff
    } else {
        case.state.gpr[n]
    }
}

/// The linear address of a memory operand in the state before the instruction.
pub fn linear(case: &Case, m: &UsedMemory) -> u64 {
    let base = gpr_index(m.base()).map_or(0, |n| case.state.gpr[n]);
    let index = gpr_index(m.index()).map_or(0, |n| index_value(case, n, m.index()));
    let offset = base
        .wrapping_add(index.wrapping_mul(u64::from(m.scale())))
        .wrapping_add(m.displacement());
    let linear =
        (offset & address_mask(m.address_size())).wrapping_add(seg_base(case, m.segment()));
    if case.bits == Bits::B64 {
        linear
    } else {
        linear & 0xffff_ffff
    }
}

impl<'a> Aim<'a> {
    /// Aim `case`, whose code decodes to `i`.
    pub fn new(rng: &'a mut Rng, case: &'a mut Case, i: Instruction) -> Self {
        Self {
            rng,
            case,
            i,
            fixed: 0,
        }
    }

    /// Make all choices.
    pub fn run(mut self, info: &mut InstructionInfoFactory) {
        self.segments();
        self.stack();
        self.counts();
        let used: Vec<UsedMemory> = info.info(&self.i).used_memory().to_vec();
        self.bit_offset();
        for m in &used {
            self.memory(m);
        }
        self.special();
        if self.case.bits != Bits::B64 {
            // The upper halves are undefined after a change of mode (SDM Vol. 1, 3.4.1.1); clear is what both sides start from.
            for r in &mut self.case.state.gpr[..8] {
                *r &= 0xffff_ffff;
            }
        }
    }

    fn gpr(&mut self, r: R) -> Option<&mut u64> {
        gpr_index(r).map(|n| &mut self.case.state.gpr[n])
    }

    fn segments(&mut self) {
        let (rng, bits) = (&mut *self.rng, self.case.bits);
        let mut seg = [0, bits.cs(), case::USER_DS, 0, 0, 0];
        if bits == Bits::B64 {
            seg[sreg::DS] = rng.pick(&[0, 0, 0x2b, 0x1f]);
            seg[sreg::ES] = rng.pick(&[0, 0, 0x2b, 0x1f]);
        } else {
            let small =
                bits == Bits::B16 || rng.chance(5) || matches!(self.i.memory_displ_size(), 2);
            let data: &[u16] = &[0x17, 0x1f, 0x1f, 0x27, 0x2f, 0x37, 0x4f, 0x57, 0x0f, 0];
            for n in [sreg::ES, sreg::DS] {
                seg[n] = if small { 0x1f } else { 0x2b };
                if rng.chance(15) {
                    seg[n] = rng.pick(data);
                }
            }
            for n in [sreg::FS, sreg::GS] {
                seg[n] = rng.pick(data);
            }
            seg[sreg::SS] = if small {
                rng.pick(&[0x37, 0x37, 0x1f, 0x2b])
            } else {
                rng.pick(&[0x2b, 0x2b, 0x2b, 0x2b, 0x2b, 0x37, 0x1f])
            };
        }
        self.case.state.seg = seg;
    }

    fn stack_base(&self) -> u64 {
        if self.case.bits == Bits::B64 {
            0
        } else {
            case::seg_base(self.case.state.seg[sreg::SS])
        }
    }

    fn stack(&mut self) {
        let base = self.stack_base();
        let rng = &mut *self.rng;
        let mut sp = match rng.below(40) {
            0 => STACK + rng.below(40),
            1 => STACK + 0x2000 - rng.below(40),
            2 => READ_ONLY + rng.below(0x1000),
            _ => STACK + 0x800 + rng.below(0x1000),
        };
        if rng.chance(85) {
            sp &= !7;
        }
        sp = sp.wrapping_sub(base);
        if self.case.state.seg[sreg::SS] == 0x37 && self.case.bits != Bits::B64 {
            // SP is 16 bits here; what lies above must stay as it is.
            sp = sp & 0xffff | u64::from(rng.u64() as u16) << 16;
        }
        self.case.state.gpr[4] = sp;
        self.fixed |= 1 << 4;
        if matches!(self.i.mnemonic(), M::Enter | M::Leave) {
            self.case.state.gpr[5] = (STACK + 0x100 + self.rng.below(0x1e00)).wrapping_sub(base);
            self.fixed |= 1 << 5;
        }
    }

    /// A count in rCX for REP, LOOP and JCXZ; shifts by CL.
    fn counts(&mut self) {
        let i = self.i;
        let string = i.has_rep_prefix() || i.has_repne_prefix();
        if i.is_string_instruction() && string {
            let width = if i.op_kinds().any(|k| {
                matches!(
                    k,
                    OpKind::MemorySegSI | OpKind::MemoryESDI | OpKind::MemorySegDI
                )
            }) {
                16
            } else if i.op_kinds().any(|k| {
                matches!(
                    k,
                    OpKind::MemorySegESI | OpKind::MemoryESEDI | OpKind::MemorySegEDI
                )
            }) {
                32
            } else {
                64
            };
            let count = if self.rng.chance(90) {
                self.rng.below(9)
            } else {
                self.rng.below(70)
            };
            let above = if width == 64 {
                0
            } else {
                self.rng.u64() << width
            };
            self.case.state.gpr[1] = count | above;
            self.fixed |= 1 << 1;
        } else if self.rng.chance(30) {
            let low = self.rng.below(3);
            self.case.state.gpr[1] =
                self.rng
                    .pick(&[low, low | 1 << 16, low | 1 << 32, self.case.state.gpr[1]]);
        }
    }

    /// BT family with a register offset addresses memory beyond its operand: keep most offsets near.
    fn bit_offset(&mut self) {
        if !matches!(self.i.mnemonic(), M::Bt | M::Bts | M::Btr | M::Btc)
            || self.i.op0_kind() != OpKind::Memory
            || self.i.op1_kind() != OpKind::Register
        {
            return;
        }
        let offset = self.rng.below(4096).wrapping_sub(2048);
        let r = self.i.op1_register();
        if let Some(n) = gpr_index(r) {
            let above = if r.size() < 8 {
                self.rng.u64() << (8 * r.size())
            } else {
                0
            };
            let mask = if r.size() < 8 {
                (1 << (8 * r.size())) - 1
            } else {
                u64::MAX
            };
            self.case.state.gpr[n] = offset & mask | above;
            self.fixed |= 1 << n;
        }
    }

    fn seg_base(&self, segment: R) -> u64 {
        seg_base(self.case, segment)
    }

    /// A linear address for an operand of `len` bytes.
    fn target(&mut self, len: u64, aligned: bool) -> u64 {
        let rng = &mut *self.rng;
        let align = if aligned && len.is_power_of_two() {
            len.min(16)
        } else if aligned && len == 512 {
            16
        } else {
            1
        };
        let wide = self.case.bits == Bits::B64;
        let any = match rng.below(100) {
            0..=5 => DATA + 0x1000 - rng.below(len + 1),
            6..=9 => DATA + 0x2000 - rng.below(len + 2),
            10..=13 => READ_ONLY + rng.below(0x1000 - len.min(0x800)),
            14 => DATA.wrapping_sub(rng.below(len + 8)),
            15 => READ_ONLY + 0x1000 - rng.below(len + 1),
            16 => STACK + 0x100 + rng.below(0x1c00),
            17 => 0x2000_0000 + rng.below(0x1000_0000),
            18 | 19 if wide => HIGH + rng.below(0x1000 - len.min(0x800)),
            20 if wide => {
                let end = HIGH + 0x1000 - rng.below(len + 1);
                // Never the kernel's half: what a user access meets there is the host kernel's business.
                rng.pick(&[0x8000_0000_0000, 0x7fff_ffff_ffff, 1 << 63, end])
            }
            21..=30 => DATA + 0x100 + rng.below(0x1f00 - len.min(0x800)),
            _ => DATA + 0x100 + (rng.below(0x1e00 - len.min(0x800)) & !15),
        };
        if rng.chance(93) {
            any & !(align - 1)
        } else {
            any
        }
    }

    /// Aim one memory operand and choose what it holds.
    fn memory(&mut self, m: &UsedMemory) {
        let len = memory_len(m.memory_size()) as u64;
        let mask = address_mask(m.address_size());
        let (base, index, scale) = (m.base(), m.index(), u64::from(m.scale()));
        let seg_base = self.seg_base(m.segment());
        let (b, x) = (gpr_index(base), gpr_index(index));
        let locked = self.i.has_lock_prefix() || self.i.mnemonic() == M::Xchg;
        let mut t = self.target(len, true);
        if locked {
            // A locked access that splits a cache line is slow on all hosts and punished by some.
            t &= !(len.next_power_of_two() - 1);
        }
        let free = |fixed: u32, n: Option<usize>| n.is_some_and(|n| fixed & 1 << n == 0);
        if base != R::RIP && base != R::EIP {
            let want = t.wrapping_sub(seg_base).wrapping_sub(m.displacement());
            match (b, x) {
                (Some(n), Some(k)) if n == k && free(self.fixed, b) => {
                    let factor = 1 + scale;
                    let value = if factor == 2 {
                        want >> 1
                    } else {
                        want.wrapping_mul(inverse(factor))
                    };
                    self.set_address(n, value, mask);
                }
                (Some(n), _) if free(self.fixed, b) => {
                    let index_value = x.map_or(0, |k| self.index_value(k, index));
                    if x.is_some_and(|k| self.fixed & 1 << k == 0) {
                        self.fixed |= 1 << x.unwrap_or(0);
                    }
                    self.set_address(n, want.wrapping_sub(index_value.wrapping_mul(scale)), mask);
                }
                (_, Some(k)) if free(self.fixed, x) && index != R::AL => {
                    let base_value = b.map_or(0, |n| self.case.state.gpr[n]);
                    // Bits that the scale shifts out are free.
                    let high = if scale > 1 && mask == u64::MAX {
                        self.rng.below(scale) << (64 - scale.trailing_zeros())
                    } else {
                        0
                    };
                    self.set_address(k, (want.wrapping_sub(base_value) / scale) | high, mask);
                }
                _ => {}
            }
        }
        // Where it points now, whatever was fixed before.
        let at = self.resolve(m);
        self.fill(at, m.memory_size());
    }

    fn index_value(&self, n: usize, r: R) -> u64 {
        index_value(self.case, n, r)
    }

    fn set_address(&mut self, n: usize, value: u64, mask: u64) {
        let above = if mask == u64::MAX {
            0
        } else {
            self.rng.u64() & !mask
        };
        self.case.state.gpr[n] = value & mask | above;
        self.fixed |= 1 << n;
    }

    fn resolve(&self, m: &UsedMemory) -> u64 {
        linear(self.case, m)
    }

    fn fill(&mut self, at: u64, size: MemorySize) {
        let bytes = values::memory(self.rng, size);
        if self.rng.chance(10) && bytes.len() <= 16 {
            return;
        }
        self.patch(at, &bytes);
    }

    /// Lay `bytes` at `at`, as far as memory is mapped there and slots are left.
    fn patch(&mut self, at: u64, bytes: &[u8]) {
        for (n, part) in bytes.chunks(PATCH_MAX).enumerate() {
            let addr = at.wrapping_add((n * PATCH_MAX) as u64);
            let mapped = case::REGIONS.iter().any(|r| {
                addr >= r.base && addr.wrapping_add(part.len() as u64) <= r.base + r.len as u64
            });
            if mapped && addr >> 12 != CODE >> 12 && self.case.mem.len() < PATCHES_MAX {
                self.case.mem.push(Patch {
                    addr,
                    bytes: part.to_vec(),
                });
            }
        }
    }

    /// Put `value` where operand 0 of `size` bytes reads it: in its register or its memory.
    fn operand(&mut self, n: u32, value: &[u8]) {
        match self.i.op_kind(n) {
            OpKind::Register => {
                let r = self.i.op_register(n);
                if let Some(slot) = self.gpr(r) {
                    let mut bytes = slot.to_le_bytes();
                    let at = usize::from(matches!(r, R::AH | R::CH | R::DH | R::BH));
                    for (to, from) in bytes[at..].iter_mut().zip(value) {
                        *to = *from;
                    }
                    *slot = u64::from_le_bytes(bytes);
                }
            }
            OpKind::Memory => {
                let mut info = InstructionInfoFactory::new();
                let used = info
                    .info(&self.i)
                    .used_memory()
                    .iter()
                    .find(|m| m.segment() == self.i.memory_segment())
                    .copied();
                if let Some(m) = used {
                    let at = self.resolve(&m);
                    self.patch(at, value);
                }
            }
            _ => {}
        }
    }

    /// The linear address of the top of the stack.
    fn top(&self) -> u64 {
        let sp = self.case.state.gpr[4];
        let small = self.case.bits != Bits::B64 && self.case.state.seg[sreg::SS] == 0x37;
        self.stack_base() + if small { sp & 0xffff } else { sp }
    }

    /// Instructions that do little with random operands.
    fn special(&mut self) {
        let i = self.i;
        let bits = self.case.bits;
        let here = (bits, self.case.state.rip);
        match i.mnemonic() {
            M::Div | M::Idiv => self.dividend(),
            M::Ret => {
                let to = target(self.rng, &here, false);
                let top = self.top();
                self.patch(top, &to.to_le_bytes());
            }
            M::Retf => {
                let (to, selector) = (target(self.rng, &here, false), far_selector(self.rng, bits));
                let width = operand_bytes(i.code());
                let top = self.top();
                self.patch(top, &to.to_le_bytes()[..width]);
                self.patch(top + width as u64, &selector.to_le_bytes());
                // An outer return cannot happen at CPL 3, but the words are there.
            }
            M::Iret | M::Iretd | M::Iretq => {
                let width = operand_bytes(i.code());
                let sp = STACK + 0x800 + self.rng.below(0x1000);
                let words = [
                    target(self.rng, &here, false),
                    u64::from(far_selector(self.rng, bits)),
                    values::rflags(self.rng) | self.rng.u64() & 0x3000,
                    sp,
                    self.rng.pick(&[0x2b, 0x2b, 0x2b, 0x1f, 0x37, 0x17, 0]),
                ];
                let top = self.top();
                for (n, word) in words.iter().enumerate() {
                    self.patch(top + (n * width) as u64, &word.to_le_bytes()[..width]);
                }
                // NT makes it a return to another task, and the host's TSS is not ours to know.
                self.case.state.rflags &= !(1 << 14);
            }
            M::Popf | M::Popfd | M::Popfq => {
                let flags = values::rflags(self.rng) | self.rng.u64() & !0x4_4100 & 0xffff_f0ff;
                let top = self.top();
                self.patch(top, &(flags & !0x100).to_le_bytes());
            }
            M::Jmp | M::Call if matches!(i.op0_kind(), OpKind::Register | OpKind::Memory) => {
                let mut bytes = target(self.rng, &here, false).to_le_bytes().to_vec();
                let width = memory_len(i.memory_size());
                if matches!(
                    i.memory_size(),
                    MemorySize::SegPtr16 | MemorySize::SegPtr32 | MemorySize::SegPtr64
                ) {
                    bytes.truncate(width - 2);
                    bytes.extend_from_slice(&far_selector(self.rng, bits).to_le_bytes());
                } else if i.op0_kind() == OpKind::Memory {
                    bytes.truncate(width);
                }
                self.operand(0, &bytes);
            }
            M::Lds | M::Les | M::Lfs | M::Lgs | M::Lss => {
                let width = memory_len(i.memory_size());
                let mut bytes = self.rng.u64().to_le_bytes()[..width - 2].to_vec();
                bytes.extend_from_slice(&values::selector(self.rng).to_le_bytes());
                self.operand(1, &bytes);
            }
            M::Mov if i.op0_register().is_segment_register() => {
                let selector = values::selector(self.rng);
                self.operand(1, &selector.to_le_bytes());
            }
            M::Pop if i.op0_register().is_segment_register() => {
                let selector = values::selector(self.rng);
                let top = self.top();
                self.patch(top, &selector.to_le_bytes());
            }
            M::Lar | M::Lsl => {
                let selector = values::selector(self.rng);
                self.operand(1, &selector.to_le_bytes());
            }
            M::Verr | M::Verw | M::Arpl => {
                let selector = values::selector(self.rng);
                self.operand(0, &selector.to_le_bytes());
            }
            M::Bound => {
                let width = memory_len(i.memory_size()) / 2;
                let index = gpr_index(i.op0_register()).map_or(0, |n| self.case.state.gpr[n]);
                let (low, high) = (
                    index.wrapping_sub(self.rng.below(3)).wrapping_add(1),
                    index.wrapping_add(self.rng.below(3)).wrapping_sub(1),
                );
                let bytes = [&low.to_le_bytes()[..width], &high.to_le_bytes()[..width]].concat();
                self.operand(1, &bytes);
            }
            M::Cmpxchg if self.rng.chance(50) => {
                let accumulator = self.case.state.gpr[0].to_le_bytes();
                let width = if i.op0_kind() == OpKind::Register {
                    i.op0_register().size()
                } else {
                    memory_len(i.memory_size())
                };
                self.operand(0, &accumulator[..width]);
            }
            M::Cmpxchg8b | M::Cmpxchg16b if self.rng.chance(50) => {
                let half = if i.mnemonic() == M::Cmpxchg8b { 4 } else { 8 };
                let gpr = &self.case.state.gpr;
                let bytes = [&gpr[0].to_le_bytes()[..half], &gpr[2].to_le_bytes()[..half]].concat();
                self.operand(0, &bytes);
            }
            M::Pcmpestri | M::Pcmpestrm if self.rng.chance(80) => {
                self.case.state.gpr[0] = self.rng.below(40).wrapping_sub(20);
                self.case.state.gpr[2] = self.rng.below(40).wrapping_sub(20);
            }
            // Which parts of an image #AC looks at is not for every processor the same (SDM Vol. 3A, table 6-7, against its silicon).
            M::Fxsave
            | M::Fxsave64
            | M::Fxrstor
            | M::Fxrstor64
            | M::Fnsave
            | M::Frstor
            | M::Fnstenv
            | M::Fldenv => self.case.state.rflags &= !(1 << 18),
            M::Ldmxcsr => {
                let value = if self.rng.chance(90) {
                    values::mxcsr(self.rng)
                } else {
                    self.rng.u64() as u32 & !(1 << 17)
                };
                self.operand(0, &value.to_le_bytes());
            }
            M::Fldcw => {
                let value = if self.rng.chance(80) {
                    values::fcw(self.rng)
                } else {
                    self.rng.u64() as u16
                };
                self.operand(0, &value.to_le_bytes());
            }
            _ => {}
        }
    }

    /// A dividend that fits, most of the time.
    fn dividend(&mut self) {
        let signed = self.i.mnemonic() == M::Idiv;
        let width = if self.i.op0_kind() == OpKind::Register {
            self.i.op0_register().size()
        } else {
            memory_len(self.i.memory_size())
        };
        let choice = self.rng.below(10);
        if choice >= 8 {
            return;
        }
        let small = self.rng.below(4);
        let gpr = &mut self.case.state.gpr;
        let bits = 8 * width as u32;
        // DIV r/m8 divides AX, the others rDX:rAX.
        let (low, high): (u64, &mut u64) =
            (gpr[0], if width == 1 { &mut gpr[0] } else { &mut gpr[2] });
        let negative = signed && low >> (bits - 1) & 1 != 0;
        let value = if choice < 6 {
            if negative { u64::MAX } else { 0 }
        } else {
            small
        };
        if width == 1 {
            *high = *high & !0xff00 | (value & 0xff) << 8;
        } else if self.fixed & 1 << 2 == 0 {
            let mask = u64::MAX >> (64 - bits);
            *high = *high & !mask | value & mask;
        }
    }
}

/// Bytes of the operand size in far returns.
fn operand_bytes(code: Code) -> usize {
    match code.op_code().operand_size() {
        16 => 2,
        64 => 8,
        _ => 4,
    }
}

/// Inverse of an odd number modulo 2^64, by Newton's iteration.
fn inverse(n: u64) -> u64 {
    (0..6).fold(n, |x, _| {
        x.wrapping_mul(2u64.wrapping_sub(n.wrapping_mul(x)))
    })
}
