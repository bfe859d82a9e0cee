//! `cargo xtask arm`: Ferry on aarch64 Linux, built and run on an x86-64 machine.
//!
//! On an aarch64 host the same commands use the host's own toolchain.

mod toolchain;

use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Subcommand;

pub use toolchain::Toolchain;

use crate::host;

/// Build and test for aarch64
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Make the cross toolchain in the cache, if it is not there
    Setup {
        /// Fetch it anew
        #[arg(long)]
        update: bool,
    },
    /// Build ferry (release), or what the given arguments of `cargo build` say
    Build {
        #[arg(last = true)]
        cargo: Vec<String>,
    },
    /// Run the tests under emulation: all, or what the given arguments of `cargo test` say
    Test {
        #[arg(last = true)]
        cargo: Vec<String>,
    },
    /// Build ferry (release) and run it under emulation with the given arguments
    Run {
        #[arg(last = true)]
        ferry: Vec<String>,
    },
}

pub fn run(args: &Args) -> Result<ExitCode> {
    if let Action::Setup { update: true } = args.action {
        toolchain::forget()?;
    }
    let toolchain = Toolchain::open()?;
    match &args.action {
        Action::Setup { .. } => {
            println!("{}", toolchain.describe());
            Ok(ExitCode::SUCCESS)
        }
        Action::Build { cargo } => {
            let mut build = toolchain.cargo("build")?;
            match cargo.is_empty() {
                true => build.args(["--release", "-p", "ferry"]),
                false => build.args(cargo),
            };
            status(&mut build)
        }
        Action::Test { cargo } => {
            let mut test = toolchain.cargo("test")?;
            // Doc tests and benches stay out; `xtask` is a tool of the host.
            test.args([
                "--profile",
                "ci",
                "--no-fail-fast",
                "--lib",
                "--bins",
                "--tests",
            ]);
            match cargo.is_empty() {
                true => test.args(["--workspace", "--exclude", "xtask"]),
                false => test.args(cargo),
            };
            status(&mut test)
        }
        Action::Run { ferry } => {
            host::run(toolchain.cargo("build")?.args(["--release", "-p", "ferry"]))?;
            status(toolchain.ferry()?.args(ferry))
        }
    }
}

/// Runs `command` on this terminal; its exit status is ours.
fn status(command: &mut Command) -> Result<ExitCode> {
    let status = command
        .status()
        .with_context(|| format!("cannot start {command:?}"))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
