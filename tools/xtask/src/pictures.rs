//! `cargo xtask pictures`: takes the pictures of the documentation anew, of real systems in Ferry (`crates/cli/tests/pictures.rs`).

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};

use crate::host;

/// Take the pictures of the documentation anew
#[derive(clap::Args)]
pub struct Args {
    /// Only pictures whose tests' names contain one of these words
    filters: Vec<String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let repo = host::repo()?;
    let pictures = repo.join("docs/pictures");
    host::make_dir(&pictures)?;
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(&repo)
        .args(["nextest", "run", "--profile", "nightly"])
        .args(["--cargo-profile", "ci", "--run-ignored", "only"])
        .args(["--package", "ferry", "--test", "pictures"])
        .args(["--success-output", "final"])
        .args(&args.filters)
        .env("FERRY_PICTURES", &pictures)
        .status()
        .context("cannot run cargo nextest (tools/test installs it)")?;
    Ok(match status.success() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
