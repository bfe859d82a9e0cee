//! `cargo xtask`: the chores of the workspace that are more than a line of shell.
//!
//! This file only dispatches; one module a subcommand.

mod ablation;
mod apt;
mod arm;
mod bench_compare;
mod bless;
#[cfg(target_arch = "x86_64")]
mod block_fuzz;
mod check;
mod coverage;
mod disk_compare;
mod flamegraph;
mod fuzz_devices;
mod guest;
mod guest_tests;
mod host;
mod insn_diff;
mod kvm_unit_tests;
mod mips;
mod net_compare;
mod nightly;
mod pictures;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Chores of the Ferry workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Measure what each optimisation of the translator is worth
    Ablation(ablation::Args),
    /// Build and test for aarch64 Linux, from an x86-64 Debian
    Arm(arm::Args),
    /// Compare Ferry with another emulator in a benchmark guest
    BenchCompare(bench_compare::Args),
    /// Write the golden files of the tests anew
    Bless(bless::Args),
    /// Compare random blocks of guest code, translated, with the evaluator
    #[cfg(target_arch = "x86_64")]
    BlockFuzz(block_fuzz::Args),
    /// Run what CI runs: formatting, lints, the code map, tests
    Check(check::Args),
    /// Count the instruction table's forms by extension
    Coverage(coverage::Args),
    /// Compare disks under Ferry and under QEMU's TCG: sequential and random reads and writes
    DiskCompare(disk_compare::Args),
    /// Draw a profile of the guest
    Flamegraph(flamegraph::Args),
    /// Fuzz the devices: registers, DMA descriptors, time, and the world around them
    FuzzDevices(fuzz_devices::Args),
    /// Fetch Debian kernels, build the guest userland, run a guest
    Guest(guest::Args),
    /// Assemble the bare-metal guest programs
    GuestTests(guest_tests::Args),
    /// Compare user-mode instructions with the host's CPU
    InsnDiff(insn_diff::Args),
    /// Run kvm-unit-tests under Ferry, and under QEMU's TCG for comparison
    KvmUnitTests(kvm_unit_tests::Args),
    /// Measure guest instructions a second, workload by workload
    Mips(mips::Args),
    /// Compare the user network with another emulator's
    NetCompare(net_compare::Args),
    /// Run the slow tests, which tools/test leaves out
    Nightly(nightly::Args),
    /// Take the pictures of the documentation anew
    Pictures(pictures::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Ablation(args) => ablation::run(&args),
        Task::Arm(args) => arm::run(&args),
        Task::BenchCompare(args) => bench_compare::run(&args),
        Task::Bless(args) => bless::run(&args),
        #[cfg(target_arch = "x86_64")]
        Task::BlockFuzz(args) => block_fuzz::run(&args),
        Task::Check(args) => check::run(&args),
        Task::Coverage(args) => coverage::run(&args),
        Task::DiskCompare(args) => disk_compare::run(&args),
        Task::Flamegraph(args) => flamegraph::run(&args),
        Task::FuzzDevices(args) => fuzz_devices::run(&args),
        Task::Guest(args) => guest::run(args),
        Task::GuestTests(args) => guest_tests::run(&args),
        Task::InsnDiff(args) => insn_diff::run(args),
        Task::KvmUnitTests(args) => kvm_unit_tests::run(&args),
        Task::Mips(args) => mips::run(&args),
        Task::NetCompare(args) => net_compare::run(&args),
        Task::Nightly(args) => nightly::run(&args),
        Task::Pictures(args) => pictures::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("xtask: error: {error:#}");
        ExitCode::FAILURE
    })
}
