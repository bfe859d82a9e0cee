//! Whole systems: Debian's kernels, unmodified, to a shell that runs a command; through each boot protocol.
//!
//! The files come from `cargo xtask guest path`, which fetches what its cache lacks. Where that fails, the test says so and is skipped.
//! `$FERRY_XTASK` is a ready xtask: under `cargo xtask arm test`, cargo would build one with the cross toolchain.

mod common;

use bus::StopReason;
use machine::EngineKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The evaluator needs some 30 s, an emulated host ten times that.
const LIMIT: Duration = Duration::from_secs(900);
const PROMPT: &str = "root@ferry:/root# ";

/// A file of the guest cache, or why there is none.
fn guest_file(kind: &str) -> Result<PathBuf, String> {
    let mut xtask = match std::env::var_os("FERRY_XTASK") {
        Some(xtask) => Command::new(xtask),
        None => {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.arg("xtask");
            cargo
        }
    };
    let output = xtask
        .args(["guest", "path", kind])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .map_err(|e| e.to_string())?;
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    match output.status.success() && path.is_file() {
        true => Ok(path),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Boots `kernel` with `initrd` to its shell, computes something in it, powers off.
fn boots(name: &str, kernel: &str, initrd: &str, machine: &str, engine: EngineKind) {
    let files = guest_file(kernel).and_then(|k| Ok((k, guest_file(initrd)?)));
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

/// The fastest engine of this host.
fn fastest() -> EngineKind {
    EngineKind::available()
        .last()
        .map_or(EngineKind::Eval, |&(_, kind)| kind)
}

#[test]
fn cloud_kernel_in_the_evaluator() {
    let name = "cloud_kernel_in_the_evaluator";
    boots(name, "vmlinuz", "initrd", "x86_64", EngineKind::Eval);
}

#[test]
fn cloud_kernel_in_the_fastest_engine() {
    let name = "cloud_kernel_in_the_fastest_engine";
    boots(name, "vmlinuz", "initrd", "x86_64", fastest());
}

#[test]
fn vmlinux_by_pvh() {
    let name = "vmlinux_by_pvh";
    boots(name, "vmlinux", "initrd", "x86_64", fastest());
}

#[test]
fn i386_kernel() {
    let name = "i386_kernel";
    boots(name, "vmlinuz-i386", "initrd-i386", "i686", fastest());
}
