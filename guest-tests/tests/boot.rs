//! Whole systems: Debian's kernels, unmodified, to a shell that runs a command; through each boot protocol.
//!
//! The files come from `cargo xtask guest path`, which fetches what its cache lacks. Where that fails, the test says so and is skipped.
//! `$FERRY_XTASK` is a ready xtask: under `cargo xtask arm test`, cargo would build one with the cross toolchain.

mod common;
mod guest;

use bus::StopReason;
use machine::EngineKind;
use std::time::Duration;

/// The evaluator needs some 30 s, an emulated host ten times that.
const LIMIT: Duration = Duration::from_secs(900);
const PROMPT: &str = "root@ferry:/root# ";

/// Boots `kernel` with `initrd` to its shell, computes something in it, powers off.
fn boots(name: &str, kernel: &str, initrd: &str, machine: &str, engine: EngineKind) {
    let files = guest::file(kernel).and_then(|k| Ok((k, guest::file(initrd)?)));
    let (kernel, initrd) = match files {
        Ok(files) => files,
        Err(why) => {
            eprintln!("{name}: skipped, the guest's files cannot be had: {why}");
            return;
        }
    };
    let mut config = common::config(kernel, "x86-64-v2", engine);
    config.memory = 512 << 20;
    config.initrd = Some(initrd);
    config.command_line = "console=ttyS0 panic=-1 loglevel=4".to_owned();
    // What the shell echoes must not look like the answer.
    let command = "echo answer-$((6 * 7))-$(uname -m); poweroff -f\n";
    let outcome = common::converse(&config, LIMIT, Some((PROMPT, command)));
    let output = &outcome.output;
    let answer = format!("answer-42-{machine}");
    assert!(
        output.lines().any(|line| line.trim() == answer),
        "no {answer} in what {name} printed:\n{output}"
    );
    assert_eq!(
        outcome.reason,
        Some(StopReason::PowerOff),
        "{name} printed:\n{output}"
    );
}

#[test]
fn cloud_kernel_in_the_evaluator() {
    let name = "cloud_kernel_in_the_evaluator";
    boots(name, "vmlinuz", "initrd", "x86_64", EngineKind::Eval);
}

#[test]
fn cloud_kernel_in_the_fastest_engine() {
    let name = "cloud_kernel_in_the_fastest_engine";
    boots(name, "vmlinuz", "initrd", "x86_64", guest::fastest());
}

#[test]
fn vmlinux_by_pvh() {
    let name = "vmlinux_by_pvh";
    boots(name, "vmlinux", "initrd", "x86_64", guest::fastest());
}

#[test]
fn i386_kernel() {
    let name = "i386_kernel";
    boots(
        name,
        "vmlinuz-i386",
        "initrd-i386",
        "i686",
        guest::fastest(),
    );
}
