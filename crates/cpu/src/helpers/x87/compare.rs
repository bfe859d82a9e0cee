//! Classification (Vol. 1, 8.3.6): FXAM.

use super::stack::{C0, C1, C2, C3};
use super::{note_pointers, ready};
use crate::{Stop, state::Cpu};
use decode::Insn;
use softfloat::Class;

/// FXAM: C3, C2, C0 tell the class, C1 the sign.
pub fn examine(cpu: &mut Cpu, i: &Insn) -> Result<(), Stop> {
    ready(cpu)?;
    note_pointers(cpu, i);
    let (class, negative) = match cpu.fpu.st(0) {
        Some(v) => {
            let class = match v.class() {
                Class::Unsupported => 0,
                Class::Nan => C0,
                Class::Normal => C2,
                Class::Infinity => C2 | C0,
                Class::Zero => C3,
                Class::Denormal => C3 | C2,
            };
            (class, v.is_negative())
        }
        None => (C3 | C0, cpu.fpu.stale(0).is_negative()),
    };
    cpu.fpu.set_codes(class | if negative { C1 } else { 0 });
    Ok(())
}
