//! Instructions of the table's class `helper`, one file per subject.

mod bulk;
mod general;
mod io;

use crate::{Stop, state::Cpu};
use decode::Insn;
use semantics::table::Helper;

/// Runs a helper.
pub fn call(cpu: &mut Cpu, helper: Helper, i: &Insn) -> Result<(), Stop> {
    match helper {
        Helper::Cpuid => Err(arch::Fault::UD.into()),
        Helper::Hlt => {
            cpu.halted = true;
            Err(Stop::End)
        }
        Helper::BulkMovs => {
            bulk::movs(cpu, i);
            Ok(())
        }
        Helper::BulkStos => {
            bulk::stos(cpu, i);
            Ok(())
        }
        Helper::In => io::input(cpu, i),
        Helper::Out => io::output(cpu, i),
        Helper::Ins => io::input_string(cpu, i),
        Helper::Outs => io::output_string(cpu, i),
        Helper::Cmpxchg16b => general::cmpxchg16b(cpu, i),
        Helper::Crc32 => general::crc32(cpu, i),
        Helper::Pushf => general::pushf(cpu, i),
        Helper::Popf => general::popf(cpu, i),
    }
}
