//! Data transfer (Vol. 1, 8.3.2): FLD, FST, FILD, FIST, FISTTP, FBLD, FBSTP, FXCH, FCMOVcc, and FCHS, FABS, FFREE, FINCSTP, FDECSTP.

use super::function::truncating;
use super::stack::{C1, Stack};
use super::{
    complete, env, load_f80, note_pointers, offset, ready, signal, stack_fault, sti, writable,
};
use crate::{Stop, state::Cpu};
use decode::{Code, Insn};
use semantics::emit::{Emit, Use, W16, W32, W64};
use semantics::flags::{Cond, condition};
use semantics::operand::{address, read};
use softfloat::x87;
use softfloat::{Env, F32, F64, F80, Flags};

/// Pushes a value, `None` standing for what an unmasked exception keeps back. An overflow of the stack comes before anything else.
pub(super) fn push(cpu: &mut Cpu, v: Option<F80>) {
    if cpu.fpu.is_full() {
        if stack_fault(cpu, Stack::Overflow) {
            cpu.fpu.push(F80::INDEFINITE);
        }
        return;
    }
    cpu.fpu.set_flag(C1, false);
    if let Some(v) = v {
        cpu.fpu.push(v);
    }
}

/// FLD, FILD, FBLD.
pub fn load(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    use Code::*;
    ready(cpu)?;
    let mut env = env(cpu);
    let v = match i.code {
        Fld_m32fp => x87::load_f32(&mut env, F32(read::<Cpu, W32>(cpu, i, 0)?)),
        Fld_m64fp => x87::load_f64(&mut env, F64(read::<Cpu, W64>(cpu, i, 0)?)),
        Fild_m16int => x87::from_i16(read::<Cpu, W16>(cpu, i, 0)? as i16),
        Fild_m32int => x87::from_i32(read::<Cpu, W32>(cpu, i, 0)? as i32),
        Fild_m64int => x87::from_i64(read::<Cpu, W64>(cpu, i, 0)? as i64),
        Fld_m80fp | Fbld_m80bcd => {
            let a = address(cpu, i, 10, Use::Read)?;
            let v = load_f80(cpu, i.mem.seg, a)?;
            if i.code == Fld_m80fp {
                v
            } else {
                x87::from_bcd(v.to_bytes())
            }
        }
        _ => {
            // FLD ST(i).
            note_pointers(cpu, i);
            let v = cpu.fpu.st(sti(i));
            // An empty source comes before a full stack.
            if v.is_none() {
                if stack_fault(cpu, Stack::Underflow) {
                    cpu.fpu.push(F80::INDEFINITE);
                }
                return Ok(());
            }
            push(cpu, v);
            return Ok(());
        }
    };
    note_pointers(cpu, i);
    if !cpu.fpu.is_full() {
        signal(cpu, env.flags);
    }
    // Of the unmasked exceptions only IE keeps the value back.
    push(cpu, (!env.unmasked().contains(Flags::IE)).then_some(v));
    Ok(())
}

/// What is stored.
#[derive(Clone, Copy)]
enum Format {
    Single,
    Double,
    Extended,
    Int16,
    Int32,
    Int64,
    Bcd,
}

impl Format {
    fn bytes(self) -> u32 {
        match self {
            Self::Int16 => 2,
            Self::Single | Self::Int32 => 4,
            Self::Double | Self::Int64 => 8,
            Self::Extended | Self::Bcd => 10,
        }
    }

    /// `v` in this format: the low 64 bits and, for ten bytes, the rest.
    fn convert(self, env: &mut Env, v: F80) -> (u64, u16) {
        match self {
            Self::Single => (x87::store_f32(env, v).0.into(), 0),
            Self::Double => (x87::store_f64(env, v).0, 0),
            Self::Extended => (v.significand, v.sign_exponent),
            Self::Int16 => (x87::to_i16(env, v) as u64, 0),
            Self::Int32 => (x87::to_i32(env, v) as u64, 0),
            Self::Int64 => (x87::to_i64(env, v) as u64, 0),
            Self::Bcd => {
                let v = F80::from_bytes(x87::to_bcd(env, v));
                (v.significand, v.sign_exponent)
            }
        }
    }
}

/// Format, pop and truncation of a store.
fn store_form(code: Code) -> (Format, bool, bool) {
    use Code::*;
    match code {
        Fst_m32fp => (Format::Single, false, false),
        Fstp_m32fp => (Format::Single, true, false),
        Fst_m64fp => (Format::Double, false, false),
        Fstp_m64fp => (Format::Double, true, false),
        Fstp_m80fp => (Format::Extended, true, false),
        Fist_m16int => (Format::Int16, false, false),
        Fistp_m16int => (Format::Int16, true, false),
        Fisttp_m16int => (Format::Int16, true, true),
        Fist_m32int => (Format::Int32, false, false),
        Fistp_m32int => (Format::Int32, true, false),
        Fisttp_m32int => (Format::Int32, true, true),
        Fistp_m64int => (Format::Int64, true, false),
        Fisttp_m64int => (Format::Int64, true, true),
        _ => (Format::Bcd, true, false),
    }
}

/// FST, FSTP, FIST, FISTP, FISTTP, FBSTP to memory. Unmasked IE, OE and UE store nothing.
pub fn store(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    let (format, pops, truncates) = store_form(i.code);
    let a = writable(cpu, i, format.bytes())?;
    note_pointers(cpu, i);
    let mut env = env(cpu);
    if truncates {
        env = truncating(env);
    }
    let (low, high) = match cpu.fpu.st(0) {
        Some(v) => {
            let r = format.convert(&mut env, v);
            complete(cpu, &env);
            if env.unmasked().intersects(Flags::IE | Flags::OE | Flags::UE) {
                return Ok(());
            }
            r
        }
        None => {
            if !stack_fault(cpu, Stack::Underflow) {
                return Ok(());
            }
            // The indefinite of each format, without further flags.
            format.convert(&mut Env::default(), F80::INDEFINITE)
        }
    };
    let seg = i.mem.seg;
    match format.bytes() {
        2 => cpu.store::<W16>(seg, a, low as u16)?,
        4 => cpu.store::<W32>(seg, a, low as u32)?,
        8 => cpu.store::<W64>(seg, a, low)?,
        _ => {
            cpu.store::<W64>(seg, a, low)?;
            let at = offset(cpu, a, 8);
            cpu.store::<W16>(seg, at, high)?;
        }
    }
    if pops {
        cpu.fpu.pop();
    }
    Ok(())
}

/// FST ST(i), FSTP ST(i) and its aliases. FSTPNCE (D9 D8+i) raises no stack fault.
pub fn store_register(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    note_pointers(cpu, i);
    let v = match cpu.fpu.st(0) {
        Some(v) => {
            cpu.fpu.set_flag(C1, false);
            Some(v)
        }
        None if i.code == Code::Fstpnce_sti => Some(F80::INDEFINITE),
        None => stack_fault(cpu, Stack::Underflow).then_some(F80::INDEFINITE),
    };
    if let Some(v) = v {
        cpu.fpu.set_st(sti(i), v);
        if i.code != Code::Fst_sti {
            cpu.fpu.pop();
        }
    }
    Ok(())
}

/// FXCH: empty registers count as the indefinite, after the stack fault.
pub fn exchange(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    note_pointers(cpu, i);
    let n = sti(i);
    let (a, b) = (cpu.fpu.st(0), cpu.fpu.st(n));
    if a.is_none() || b.is_none() {
        if !stack_fault(cpu, Stack::Underflow) {
            return Ok(());
        }
    } else {
        cpu.fpu.set_flag(C1, false);
    }
    cpu.fpu.set_st(0, b.unwrap_or(F80::INDEFINITE));
    cpu.fpu.set_st(n, a.unwrap_or(F80::INDEFINITE));
    Ok(())
}

/// FCMOVcc: ST(0) ← ST(i) on a condition of EFLAGS. Both must be there in any case.
pub fn move_if(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    note_pointers(cpu, i);
    let c = match i.code {
        Code::Fcmovb_st0_sti => Cond::B,
        Code::Fcmove_st0_sti => Cond::E,
        Code::Fcmovbe_st0_sti => Cond::BE,
        Code::Fcmovu_st0_sti => Cond::P,
        Code::Fcmovnb_st0_sti => Cond::AE,
        Code::Fcmovne_st0_sti => Cond::NE,
        Code::Fcmovnbe_st0_sti => Cond::A,
        _ => Cond::NP,
    };
    match (cpu.fpu.st(0), cpu.fpu.st(sti(i))) {
        // C1 is cleared by a stack underflow only.
        (Some(_), Some(v)) => {
            if condition(cpu, c) {
                cpu.fpu.set_st(0, v);
            }
        }
        _ => {
            if stack_fault(cpu, Stack::Underflow) {
                cpu.fpu.set_st(0, F80::INDEFINITE);
            }
        }
    }
    Ok(())
}

/// FCHS, FABS.
pub fn sign(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    note_pointers(cpu, i);
    match cpu.fpu.st(0) {
        Some(v) => {
            cpu.fpu.set_flag(C1, false);
            let v = if i.code == Code::Fchs {
                v.negate()
            } else {
                v.abs()
            };
            cpu.fpu.set_st(0, v);
        }
        None => {
            if stack_fault(cpu, Stack::Underflow) {
                cpu.fpu.set_st(0, F80::INDEFINITE);
            }
        }
    }
    Ok(())
}

/// FFREE, FFREEP, FINCSTP, FDECSTP, FNOP: what moves the stack without looking at it.
pub fn stack(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    match i.code {
        Code::Ffree_sti => {
            cpu.fpu.set_flag(C1, false);
            cpu.fpu.free(sti(i));
        }
        Code::Ffreep_sti => {
            cpu.fpu.set_flag(C1, false);
            cpu.fpu.free(sti(i));
            cpu.fpu.pop();
        }
        Code::Fincstp => {
            cpu.fpu.set_flag(C1, false);
            cpu.fpu.rotate(1);
        }
        Code::Fdecstp => {
            cpu.fpu.set_flag(C1, false);
            cpu.fpu.rotate(7);
        }
        _ => {}
    }
    Ok(())
}
