//! `cargo xtask bless`: takes over what the golden tests find now as what they shall find.

use anyhow::{Context, Result};
use std::process::{Command, ExitCode};

/// Write the golden files of the tests anew
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_: &Args) -> Result<ExitCode> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["test", "--profile", "ci", "--test", "golden"])
        .args(["-p", "baseline", "-p", "translate"])
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
        .env("FERRY_BLESS", "1")
        .env("INSTA_UPDATE", "always")
        .status()
        .context("cannot run cargo")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
