//! The x87 words: guest registers stay in the `Cpu`, the host's x87 computes on them.
//!
//! The host's unit works under the guest's control word with all exceptions masked, which [`arch::Mode::x87_masked`] says of the guest's too.
//! It is loaded with the guest's exception flags and condition codes by a stub when a block first needs it, so that its status word after
//! an operation is the guest's, but for TOP. Between instructions its stack is empty. What a step needs of the tags is checked before
//! anything is written; the evaluator does the instruction where it does not hold. While an exception is unmasked, or without such a unit,
//! each step is a call.

use crate::block::{Baseline, Cell, Ended, FpCall};
use crate::host::{Alu, Cond, HostAssembler, Reg, Shift, Size, Src};
use crate::values::Val;
use arch::Seg;
use cpu::native::{Stubs, offset};
use semantics::x87::{Arith, Format, Source, Step};
use softfloat::F80;
use softfloat::x87::Constant;
use std::mem::offset_of;

/// A step that the processor's own code does: operands and answer are in `Native::value`.
#[derive(Clone, Copy, Debug)]
pub enum X87Call {
    Step(Step),
    Compare { quiet: bool, n: u8, pops: bool },
    Store(Format, bool),
    SetControl,
}

/// What a host with an x87 writes. A slot is twice the number of a physical register.
#[derive(Clone, Copy, Debug)]
pub enum X87Word {
    /// `d ← slot of ST(n)`, of which `top` is that of ST(0).
    Slot {
        d: Reg,
        top: Reg,
        n: u8,
    },
    /// The tag of a slot, zero-extended.
    LoadTag {
        d: Reg,
        slot: Reg,
    },
    StoreTag {
        slot: Reg,
        valid: bool,
    },
    /// Significand (64 bits) or sign and exponent (16) of a slot.
    LoadPart {
        size: Size,
        d: Reg,
        slot: Reg,
    },
    StorePart {
        size: Size,
        slot: Reg,
        s: Reg,
    },
    /// Pushes a slot on the host's stack.
    Push(Reg),
    /// Pops into a slot.
    PopTo(Reg),
    /// Pushes what stands at an offset in the `Cpu`.
    PushAs(Format, i32),
    /// Pops, converted, to an offset in the `Cpu`.
    PopAs(Format, bool, i32),
    PushConstant(Constant),
    /// Below ← below op top, pop.
    ArithPop(Arith),
    /// Top ← top op top.
    ArithSelf(Arith),
    /// Top ← top op what stands at an offset.
    ArithMemory(Arith, Source, i32),
    SquareRoot,
    RoundToInteger,
    /// Compares top with the one below, and pops both.
    ComparePop(bool),
    /// Compares top with what stands at an offset, and pops.
    CompareMemory(Source, i32),
    /// Compares top with zero.
    CompareZero,
    /// Compares top with the one below, and pops both: the host's flags in `d`.
    CompareFlags {
        quiet: bool,
        d: Reg,
    },
    Drop,
    /// Stores the host's status word as the guest's.
    Status,
    /// Loads the guest's control word.
    Control,
    /// C1 of the guest's status word ← 0.
    ClearC1,
}

/// What the block knows of the x87 at this point.
#[derive(Clone, Copy, Default)]
pub(crate) struct Known {
    /// The host's unit is loaded.
    unit: bool,
    /// Twice TOP.
    pub top: Option<Val>,
    /// Registers, counted from the top, that are not empty, and that are.
    valid: u8,
    empty: u8,
    /// C1 is clear.
    c1_clear: bool,
    /// FCS is this code segment.
    fcs: bool,
    fds: Option<Seg>,
}

fn selector(seg: Seg) -> usize {
    offset::SEG + seg as usize * size_of::<arch::Segment>() + offset_of!(arch::Segment, selector)
}

impl<A: HostAssembler> Baseline<A> {
    fn x87_on_host(&self) -> bool {
        A::X87 && self.mode.x87_masked()
    }

    fn x87_word(&mut self, w: X87Word) {
        self.v.asm.x87(w);
    }

    /// The slot of ST(`n`), in a register that is locked.
    fn x87_slot(&mut self, n: u8) -> (Val, Reg) {
        let top = match self.x87.top {
            Some(t) => t,
            None => {
                let t = self.get(Size::B8, offset::TOP);
                self.x87.top = Some(t);
                t
            }
        };
        let r = self.v.reg(top);
        if n & 7 == 0 {
            return (top, r);
        }
        let (id, d) = self.v.fresh(8);
        self.x87_word(X87Word::Slot { d, top: r, n });
        self.v.host = None;
        (Val::Temp(id), d)
    }

    /// Leaves to the evaluator unless ST(`n`) is empty or not, as asked.
    fn x87_require(&mut self, n: u8, valid: bool) -> Result<(), Ended> {
        let bit = 1 << (n & 7);
        let (same, other) = if valid {
            (self.x87.valid, self.x87.empty)
        } else {
            (self.x87.empty, self.x87.valid)
        };
        if same & bit != 0 {
            return Ok(());
        }
        if other & bit != 0 {
            self.leave_to_evaluator();
            return Err(Ended);
        }
        let (_, slot) = self.x87_slot(n);
        let (_, d) = self.v.fresh(16);
        self.x87_word(X87Word::LoadTag { d, slot });
        self.v.asm.test(Size::B32, d);
        self.v.host = None;
        let bail = self.plan_bail();
        self.v
            .asm
            .jump_if(if valid { Cond::Eq } else { Cond::Ne }, bail);
        self.v.unlock();
        if valid {
            self.x87.valid |= bit;
        } else {
            self.x87.empty |= bit;
        }
        Ok(())
    }

    /// Makes sure that the host's unit is loaded.
    fn x87_unit(&mut self) {
        if self.x87.unit {
            return;
        }
        let (_, d) = self.v.fresh(8);
        self.v.asm.load_cpu(Size::B8, d, offset::X87_UNIT as i32);
        self.v.asm.test_bits(Size::B32, d, 1);
        let back = self.v.asm.label();
        let load = self.plan_x87_load(back);
        self.v.asm.jump_if(Cond::Eq, load);
        self.v.asm.bind(back);
        self.v.host = None;
        self.v.unlock();
        self.x87.unit = true;
    }

    fn x87_clear_c1(&mut self) {
        if !self.x87.c1_clear {
            self.x87_word(X87Word::ClearC1);
            self.v.host = None;
            self.x87.c1_clear = true;
        }
    }

    fn x87_set_top(&mut self, (v, r): (Val, Reg)) {
        self.v.asm.store_cpu(Size::B8, offset::TOP as i32, r);
        self.x87.top = Some(v);
    }

    /// ST(7), which is empty and holds its new content, becomes ST(0).
    fn x87_push(&mut self, (v, slot): (Val, Reg)) {
        self.x87_word(X87Word::StoreTag { slot, valid: true });
        self.x87_set_top((v, slot));
        self.x87.valid = self.x87.valid.rotate_left(1) | 1;
        self.x87.empty = self.x87.empty.rotate_left(1) & !1;
        self.v.unlock();
    }

    /// Empties ST(0), which becomes ST(7).
    fn x87_pop(&mut self) {
        let (_, slot) = self.x87_slot(0);
        self.x87_word(X87Word::StoreTag { slot, valid: false });
        let next = self.x87_slot(1);
        self.x87_set_top(next);
        self.x87.valid = (self.x87.valid & !1).rotate_right(1);
        self.x87.empty = (self.x87.empty | 1).rotate_right(1);
        self.v.unlock();
    }

    /// Copies register `from` to `to`.
    fn x87_copy(&mut self, to: Reg, from: Reg) {
        for size in [Size::B64, Size::B16] {
            let (_, d) = self.v.fresh(64);
            self.x87_word(X87Word::LoadPart {
                size,
                d,
                slot: from,
            });
            self.x87_word(X87Word::StorePart {
                size,
                slot: to,
                s: d,
            });
        }
    }

    /// Bits from memory where the host's unit can read them.
    fn x87_spill(&mut self, v: Val) -> i32 {
        self.put(Size::B64, offset::VALUE, v);
        offset::VALUE as i32
    }

    pub(crate) fn x87_step(&mut self, step: Step, v: Val, high: Val) -> Result<(), Ended> {
        if !self.x87_on_host() {
            self.x87_call(X87Call::Step(step), v, high);
            return Ok(());
        }
        match step {
            Step::Arith { op, dst, src, pops } => {
                self.x87_arith(op, dst, src, v)?;
                if pops {
                    self.x87_pop();
                }
            }
            Step::Compare { quiet, src, pops } => {
                self.x87_order(quiet, src, v)?;
                for _ in 0..pops {
                    self.x87_pop();
                }
            }
            Step::SquareRoot => self.x87_unary(X87Word::SquareRoot)?,
            Step::RoundToInteger => self.x87_unary(X87Word::RoundToInteger)?,
            Step::Load(format) => self.x87_load(format, v, high)?,
            Step::Duplicate(n) => {
                self.x87_require(n, true)?;
                self.x87_require(7, false)?;
                let (_, from) = self.x87_slot(n);
                let to = self.x87_slot(7);
                self.x87_copy(to.1, from);
                self.x87_clear_c1();
                self.x87_push(to);
            }
            Step::Constant(c) => {
                self.x87_require(7, false)?;
                self.x87_unit();
                let to = self.x87_slot(7);
                self.x87_word(X87Word::PushConstant(c));
                self.x87_word(X87Word::PopTo(to.1));
                self.x87_clear_c1();
                self.x87_push(to);
            }
            Step::Copy { to, pops } => {
                self.x87_require(0, true)?;
                self.x87_clear_c1();
                if to != 0 {
                    let ((_, from), (_, slot)) = (self.x87_slot(0), self.x87_slot(to));
                    self.x87_copy(slot, from);
                    self.x87_word(X87Word::StoreTag { slot, valid: true });
                    self.v.unlock();
                    self.x87.valid |= 1 << to;
                    self.x87.empty &= !(1 << to);
                }
                if pops {
                    self.x87_pop();
                }
            }
            Step::Exchange(n) => {
                self.x87_require(0, true)?;
                self.x87_require(n, true)?;
                self.x87_clear_c1();
                let ((_, a), (_, b)) = (self.x87_slot(0), self.x87_slot(n));
                for size in [Size::B64, Size::B16] {
                    let ((_, d), (_, s)) = (self.v.fresh(64), self.v.fresh(64));
                    self.x87_word(X87Word::LoadPart { size, d, slot: a });
                    self.x87_word(X87Word::LoadPart {
                        size,
                        d: s,
                        slot: b,
                    });
                    self.x87_word(X87Word::StorePart {
                        size,
                        slot: b,
                        s: d,
                    });
                    self.x87_word(X87Word::StorePart { size, slot: a, s });
                }
                self.v.unlock();
            }
            Step::Negate => self.x87_sign(Alu::Xor, 0x8000)?,
            Step::Absolute => self.x87_sign(Alu::And, 0x7fff)?,
            Step::Pop => self.x87_pop(),
        }
        Ok(())
    }

    fn x87_arith(&mut self, op: Arith, dst: u8, src: Source, v: Val) -> Result<(), Ended> {
        self.x87_require(dst, true)?;
        if let Source::St(n) = src {
            self.x87_require(n, true)?;
        }
        self.x87_unit();
        let slot = match src {
            Source::St(n) => {
                let (_, slot) = self.x87_slot(dst);
                self.x87_word(X87Word::Push(slot));
                if n == dst {
                    self.x87_word(X87Word::ArithSelf(op));
                } else {
                    let (_, other) = self.x87_slot(n);
                    self.x87_word(X87Word::Push(other));
                    self.x87_word(X87Word::ArithPop(op));
                }
                slot
            }
            _ => {
                let at = self.x87_spill(v);
                let (_, slot) = self.x87_slot(dst);
                self.x87_word(X87Word::Push(slot));
                self.x87_word(X87Word::ArithMemory(op, src, at));
                slot
            }
        };
        self.x87_word(X87Word::Status);
        self.x87_word(X87Word::PopTo(slot));
        self.x87.c1_clear = false;
        self.v.unlock();
        Ok(())
    }

    fn x87_unary(&mut self, w: X87Word) -> Result<(), Ended> {
        self.x87_require(0, true)?;
        self.x87_unit();
        let (_, slot) = self.x87_slot(0);
        self.x87_word(X87Word::Push(slot));
        self.x87_word(w);
        self.x87_word(X87Word::Status);
        self.x87_word(X87Word::PopTo(slot));
        self.x87.c1_clear = false;
        self.v.unlock();
        Ok(())
    }

    /// C3, C2 and C0 of ST(0) against `src`.
    fn x87_order(&mut self, quiet: bool, src: Source, v: Val) -> Result<(), Ended> {
        self.x87_require(0, true)?;
        if let Source::St(n) = src {
            self.x87_require(n, true)?;
        }
        self.x87_unit();
        match src {
            Source::St(n) => {
                let ((_, a), (_, b)) = (self.x87_slot(0), self.x87_slot(n));
                self.x87_word(X87Word::Push(b));
                self.x87_word(X87Word::Push(a));
                self.x87_word(X87Word::ComparePop(quiet));
            }
            Source::Zero => {
                let (_, a) = self.x87_slot(0);
                self.x87_word(X87Word::Push(a));
                self.x87_word(X87Word::CompareZero);
            }
            _ => {
                let at = self.x87_spill(v);
                let (_, a) = self.x87_slot(0);
                self.x87_word(X87Word::Push(a));
                self.x87_word(X87Word::CompareMemory(src, at));
            }
        }
        self.x87_word(X87Word::Status);
        if src == Source::Zero {
            self.x87_word(X87Word::Drop);
        }
        self.x87.c1_clear = true;
        self.v.unlock();
        Ok(())
    }

    fn x87_load(&mut self, format: Format, v: Val, high: Val) -> Result<(), Ended> {
        self.x87_require(7, false)?;
        let to = if format == Format::Extended {
            let (low, high) = (self.v.reg(v), self.v.reg(high));
            let to = self.x87_slot(7);
            for (size, s) in [(Size::B64, low), (Size::B16, high)] {
                self.x87_word(X87Word::StorePart {
                    size,
                    slot: to.1,
                    s,
                });
            }
            self.x87_clear_c1();
            to
        } else {
            self.x87_unit();
            let at = self.x87_spill(v);
            let to = self.x87_slot(7);
            self.x87_word(X87Word::PushAs(format, at));
            self.x87_word(X87Word::Status);
            self.x87_word(X87Word::PopTo(to.1));
            self.x87.c1_clear = true;
            to
        };
        self.x87_push(to);
        Ok(())
    }

    fn x87_sign(&mut self, op: Alu, mask: i32) -> Result<(), Ended> {
        self.x87_require(0, true)?;
        self.x87_clear_c1();
        let (_, slot) = self.x87_slot(0);
        let ((_, s), (_, d)) = (self.v.fresh(16), self.v.fresh(16));
        let size = Size::B16;
        self.x87_word(X87Word::LoadPart { size, d: s, slot });
        self.v.asm.alu(op, Size::B32, d, s, Src::Imm(mask));
        self.x87_word(X87Word::StorePart { size, slot, s: d });
        self.v.host = None;
        self.v.unlock();
        Ok(())
    }

    /// ZF, PF and CF of ST(0) against ST(`n`).
    pub(crate) fn x87_flags(&mut self, quiet: bool, n: u8, pops: bool) -> Result<Val, Ended> {
        if !self.x87_on_host() {
            let zero = Val::Imm(0);
            self.x87_call(X87Call::Compare { quiet, n, pops }, zero, zero);
            return Ok(self.get(Size::B64, offset::VALUE));
        }
        self.x87_require(0, true)?;
        self.x87_require(n, true)?;
        self.x87_unit();
        let ((_, a), (_, b)) = (self.x87_slot(0), self.x87_slot(n));
        let ((_, scratch), (id, d)) = (self.v.fresh(64), self.v.fresh(7));
        self.x87_word(X87Word::Push(b));
        self.x87_word(X87Word::Push(a));
        self.x87_word(X87Word::CompareFlags { quiet, d: scratch });
        self.x87_word(X87Word::Status);
        // ZF, PF, CF.
        self.v
            .asm
            .alu(Alu::And, Size::B32, d, scratch, Src::Imm(0x45));
        self.v.host = None;
        self.x87.c1_clear = true;
        self.v.unlock();
        if pops {
            self.x87_pop();
        }
        Ok(Val::Temp(id))
    }

    /// ST(0) in a format of memory: 64 bits and 16.
    pub(crate) fn x87_convert(
        &mut self,
        format: Format,
        truncating: bool,
    ) -> Result<(Val, Val), Ended> {
        let zero = Val::Imm(0);
        if !self.x87_on_host() {
            self.x87_call(X87Call::Store(format, truncating), zero, zero);
            let v = self.get(Size::B64, offset::VALUE);
            return Ok((v, self.get(Size::B16, offset::VALUE + 8)));
        }
        self.x87_require(0, true)?;
        if format == Format::Extended {
            self.x87_clear_c1();
            let (_, slot) = self.x87_slot(0);
            let ((low, d), (high, s)) = (self.v.fresh(64), self.v.fresh(16));
            let (wide, narrow) = (Size::B64, Size::B16);
            self.x87_word(X87Word::LoadPart {
                size: wide,
                d,
                slot,
            });
            self.x87_word(X87Word::LoadPart {
                size: narrow,
                d: s,
                slot,
            });
            self.v.unlock();
            return Ok((Val::Temp(low), Val::Temp(high)));
        }
        self.x87_unit();
        let (_, slot) = self.x87_slot(0);
        self.x87_word(X87Word::Push(slot));
        self.x87_word(X87Word::PopAs(format, truncating, offset::VALUE as i32));
        self.x87_word(X87Word::Status);
        self.x87.c1_clear = false;
        self.v.unlock();
        let v = self.get(Size::of(format.bytes() * 8), offset::VALUE);
        Ok((v, zero))
    }

    pub(crate) fn x87_pointers(&mut self, memory: Option<(Seg, Val)>) {
        let (_, d) = self.v.fresh(64);
        let at = self.at;
        self.page_plus(d, at);
        self.v.asm.store_cpu(Size::B64, offset::FIP as i32, d);
        self.v.unlock();
        if !self.x87.fcs {
            let s = self.get(Size::B16, selector(Seg::Cs));
            self.put(Size::B16, offset::FCS, s);
            self.x87.fcs = true;
        }
        if let Some((seg, a)) = memory {
            self.put(Size::B64, offset::FDP, a);
            if self.x87.fds != Some(seg) {
                let s = self.get(Size::B16, selector(seg));
                self.put(Size::B16, offset::FDS, s);
                self.x87.fds = Some(seg);
            }
        }
    }

    pub(crate) fn x87_status_word(&mut self) -> Val {
        let fsw = self.get(Size::B16, offset::FSW);
        let top = match self.x87.top {
            Some(t) => t,
            None => self.get(Size::B8, offset::TOP),
        };
        let (fsw, top) = (self.v.reg(fsw), self.v.reg(top));
        let ((_, a), (_, b), (id, d)) = (self.v.fresh(16), self.v.fresh(16), self.v.fresh(16));
        let asm = &mut self.v.asm;
        asm.alu(Alu::And, Size::B32, a, fsw, Src::Imm(0xc7ff));
        asm.shift_imm(Shift::Shl, Size::B32, b, top, 10);
        asm.alu(Alu::Or, Size::B32, d, a, Src::Reg(b));
        self.v.host = None;
        self.v.unlock();
        Val::Temp(id)
    }

    /// `v` has its reserved bits right and nothing above.
    pub(crate) fn x87_new_control(&mut self, v: Val) -> Result<(), Ended> {
        if !self.x87_on_host() {
            self.x87_call(X87Call::SetControl, v, Val::Imm(0));
            return Ok(());
        }
        // Unmasked exceptions are another mode.
        let r = self.v.reg(v);
        let (_, d) = self.v.fresh(64);
        self.v.asm.not(d, r);
        self.v.asm.test_bits(Size::B32, d, 0x3f);
        self.v.host = None;
        let bail = self.plan_bail();
        self.v.asm.jump_if(Cond::Ne, bail);
        self.v.unlock();
        self.put(Size::B16, offset::FCW, v);
        self.x87_unit();
        self.x87_word(X87Word::Control);
        Ok(())
    }

    /// TOP = 0 and all tags valid.
    pub(crate) fn x87_enter_mmx(&mut self) {
        let top = Some(Val::Imm(0));
        if self.x87.top == top && self.x87.valid == 0xff {
            return;
        }
        self.put(Size::B8, offset::TOP, Val::Imm(0));
        for half in [0, 8] {
            self.put(Size::B64, offset::TAGS + half, Val::Imm(u64::MAX));
        }
        (self.x87.top, self.x87.valid, self.x87.empty) = (top, 0xff, 0);
    }

    /// The processor's own code does it.
    fn x87_call(&mut self, call: X87Call, v: Val, high: Val) {
        self.put(Size::B64, offset::VALUE, v);
        self.put(Size::B64, offset::VALUE + 8, high);
        self.v.back_up_live();
        self.v.save_all();
        self.store_flags();
        let cell = self.cell(Cell::Fp(FpCall::X87(call, self.len)));
        let (r, at, site) = (A::POOL[0], self.at, self.site(0));
        self.page_plus(r, at);
        self.v.asm.store_cpu(Size::B64, offset::RIP as i32, r);
        self.v.asm.load_slot(r, cell);
        self.v.asm.store_cpu(Size::B64, offset::ADDRESS as i32, r);
        self.put(Size::B64, offset::SITE, Val::Imm(site));
        self.call_stub(offset_of!(Stubs, fp));
        self.x87 = Known::default();
    }
}

/// Offset of a part of register 0 in the `Cpu`.
pub(crate) fn part(size: Size) -> i32 {
    let within = match size {
        Size::B64 => offset_of!(F80, significand),
        _ => offset_of!(F80, sign_exponent),
    };
    (offset::MM + within) as i32
}
