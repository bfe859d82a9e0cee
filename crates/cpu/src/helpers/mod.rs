//! Instructions of the table's class `helper`, one file per subject.

pub(crate) mod access;
mod bulk;
mod control;
mod cpuid;
pub(crate) mod far;
mod flags;
mod general;
mod interrupt;
mod io;
mod msr;
pub(crate) mod segment;
mod syscall;
pub(crate) mod task;
pub(crate) mod x87;
mod xsave;

use crate::{Stop, state::Cpu};
use decode::Insn;
use semantics::table::Helper;

/// Runs a helper.
pub fn call(cpu: &mut Cpu, helper: Helper, i: &Insn) -> Result<(), Stop> {
    cpu.counters.helpers.count(helper);
    match helper {
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
        Helper::PortPermission => io::permission(cpu, i),
        Helper::Cmpxchg16b => general::cmpxchg16b(cpu, i),
        Helper::Crc32 => general::crc32(cpu, i),
        Helper::Pushf => general::pushf(cpu, i),
        Helper::Popf => general::popf(cpu, i),
        Helper::MovToSegment => segment::mov_to_segment(cpu, i),
        Helper::PopSegment => segment::pop_segment(cpu, i),
        Helper::LoadFarPointer => segment::load_far_pointer(cpu, i),
        Helper::Lldt => segment::lldt(cpu, i),
        Helper::Ltr => segment::ltr(cpu, i),
        Helper::Sldt => segment::sldt(cpu, i),
        Helper::Str => segment::str(cpu, i),
        Helper::LoadTable => segment::load_table(cpu, i),
        Helper::StoreTable => segment::store_table(cpu, i),
        Helper::LarLsl => segment::lar_lsl(cpu, i),
        Helper::Verify => segment::verify(cpu, i),
        Helper::Arpl => segment::arpl(cpu, i),
        Helper::Swapgs => segment::swapgs(cpu, i),
        Helper::SegmentBase => segment::segment_base(cpu, i),
        Helper::JmpFar => far::jmp(cpu, i),
        Helper::CallFar => far::call(cpu, i),
        Helper::RetFar => far::ret(cpu, i),
        Helper::IntN => interrupt::int_n(cpu, i),
        Helper::Int3 => interrupt::int3(cpu, i),
        Helper::Into => interrupt::into(cpu, i),
        Helper::Int1 => interrupt::int1(cpu, i),
        Helper::Iret => interrupt::iret(cpu, i),
        Helper::Syscall => syscall::syscall(cpu, i),
        Helper::Sysret => syscall::sysret(cpu, i),
        Helper::Sysenter => syscall::sysenter(cpu, i),
        Helper::Sysexit => syscall::sysexit(cpu, i),
        Helper::MovFromCr => control::mov_from_cr(cpu, i),
        Helper::MovToCr => control::mov_to_cr(cpu, i),
        Helper::MovFromDr => control::mov_from_dr(cpu, i),
        Helper::MovToDr => control::mov_to_dr(cpu, i),
        Helper::Clts => control::clts(cpu, i),
        Helper::Lmsw => control::lmsw(cpu, i),
        Helper::Smsw => control::smsw(cpu, i),
        Helper::Invlpg => control::invlpg(cpu, i),
        Helper::Invpcid => control::invpcid(cpu, i),
        Helper::InvalidateCaches => control::invalidate_caches(cpu, i),
        Helper::Cli => flags::cli(cpu, i),
        Helper::Sti => flags::sti(cpu, i),
        Helper::ClacStac => flags::clac_stac(cpu, i),
        Helper::Monitor => control::monitor(cpu, i),
        Helper::Mwait => control::mwait(cpu, i),
        Helper::Rdmsr => msr::rdmsr(cpu, i),
        Helper::Wrmsr => msr::wrmsr(cpu, i),
        Helper::TimeStamp => control::time_stamp(cpu, i),
        Helper::Rdpmc => control::protection(cpu, i),
        Helper::Cpuid => cpuid::cpuid(cpu, i),
        Helper::Hlt => control::hlt(cpu, i),
        Helper::X87Examine => x87::compare::examine(cpu, i),
        Helper::X87Unary => x87::function::unary(cpu, i),
        Helper::X87Binary => x87::function::binary(cpu, i),
        Helper::X87Scale => x87::function::scale(cpu, i),
        Helper::X87Double => x87::function::double(cpu, i),
        Helper::X87LoadDecimal => x87::transfer::load_decimal(cpu, i),
        Helper::X87StoreDecimal => x87::transfer::store_decimal(cpu, i),
        Helper::X87StoreAnyway => x87::transfer::store_anyway(cpu, i),
        Helper::X87MoveIf => x87::transfer::move_if(cpu, i),
        Helper::X87Stack => x87::transfer::stack(cpu, i),
        Helper::X87Initialize => x87::control::initialize(cpu, i),
        Helper::X87Ignore => x87::ignore(cpu),
        Helper::X87Clear => x87::control::clear(cpu, i),
        Helper::X87StoreEnvironment => x87::control::store_environment(cpu, i),
        Helper::X87LoadEnvironment => x87::control::load_environment(cpu, i),
        Helper::X87Save => x87::control::save(cpu, i),
        Helper::X87Restore => x87::control::restore(cpu, i),
        Helper::Emms => xsave::emms(cpu),
        Helper::Ldmxcsr => xsave::ldmxcsr(cpu, i),
        Helper::Stmxcsr => xsave::stmxcsr(cpu, i),
        Helper::Fxsave => xsave::fxsave(cpu, i),
        Helper::Fxrstor => xsave::fxrstor(cpu, i),
        Helper::Xsave => xsave::xsave(cpu, i, xsave::Omit::Nothing),
        Helper::Xsaveopt => xsave::xsave(cpu, i, xsave::Omit::Initial),
        Helper::Xrstor => xsave::xrstor(cpu, i),
        Helper::Xgetbv => xsave::xgetbv(cpu),
        Helper::Xsetbv => xsave::xsetbv(cpu),
    }
}
