//! Instructions of the table's class `helper`, one file per subject.

use crate::{Stop, state::Cpu};
use decode::Insn;
use semantics::table::Helper;

/// Runs a helper.
pub fn call(cpu: &mut Cpu, helper: Helper, i: &Insn) -> Result<(), Stop> {
    let _ = i;
    match helper {
        Helper::Cpuid => Err(arch::Fault::UD.into()),
        Helper::Hlt => {
            cpu.halted = true;
            Err(Stop::End)
        }
    }
}
