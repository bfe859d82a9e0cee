//! `cargo xtask nightly`: the slow tests, which `tools/test` leaves out.
//!
//! A test belongs to the nightly set if it is marked `#[ignore = "nightly: WHY"]`; no test is ignored for another reason (a test below sees
//! to it), so nextest's "ignored only" is the set.

use std::fs;
use std::process::{Command, ExitCode};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::host;

/// Run the slow tests, which tools/test leaves out
#[derive(clap::Args)]
pub struct Args {
    /// Only tests whose names contain one of these words
    filters: Vec<String>,
    /// Only tests of this package
    #[arg(short, long)]
    package: Option<String>,
    /// Name the tests of the set, and run none
    #[arg(long)]
    list: bool,
}

/// The profile of `.config/nextest.toml` with time enough, which also writes what the tests printed.
const PROFILE: &str = "nightly";

pub fn run(args: &Args) -> Result<ExitCode> {
    let repo = host::repo()?;
    let start = Instant::now();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(&repo).args(["nextest"]);
    match args.list {
        true => command.arg("list"),
        false => command.args(["run", "--profile", PROFILE]),
    };
    command.args(["--cargo-profile", "ci", "--run-ignored", "only"]);
    match &args.package {
        Some(package) => command.args(["--package", package]),
        None => command.arg("--workspace"),
    };
    let status = command
        .args(&args.filters)
        .status()
        .context("cannot run cargo nextest (tools/test installs it)")?;
    if !args.list {
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => dir.into(),
            None => repo.join("target"),
        };
        let report = target.join("nextest").join(PROFILE).join("junit.xml");
        let seconds = start.elapsed().as_secs();
        let verdict = if status.success() { "passed" } else { "FAILED" };
        for line in skips(&fs::read_to_string(report).unwrap_or_default()) {
            host::say(line);
        }
        host::say(&format!("the nightly set {verdict} in {seconds} s"));
    }
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// What tests said that lacked something: `NAME: skipped, WHY`.
fn skips(report: &str) -> impl Iterator<Item = &str> {
    report.lines().filter(|line| line.contains(": skipped, "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Calls `see` with the path and text of each Rust source below `dir`.
    fn sources(dir: &Path, see: &mut impl FnMut(&Path, &str)) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                sources(&path, see);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                see(&path, &fs::read_to_string(&path).unwrap());
            }
        }
    }

    #[test]
    fn every_ignored_test_is_of_the_nightly_set() {
        let repo = host::repo().unwrap();
        let mut found = Vec::new();
        for part in ["benches", "crates", "guest-tests", "tools"] {
            sources(&repo.join(part), &mut |path, text| {
                let marks = text.lines().map(str::trim);
                for mark in marks.filter(|line| line.starts_with("#[ignore")) {
                    if !mark.starts_with("#[ignore = \"nightly: ") {
                        found.push(format!("{}: {mark}", path.display()));
                    }
                }
            });
        }
        assert_eq!(found, [""; 0], "tests that no set runs");
    }

    #[test]
    fn skipped_tests_are_named() {
        let report = "<system-err>running\nboots: skipped, there is no mke2fs\nok</system-err>";
        let found: Vec<_> = skips(report).collect();
        assert_eq!(found, ["boots: skipped, there is no mke2fs"]);
    }
}
