//! `cargo xtask guest-tests`: the guest programs of `guest-tests/` as images, for machines without nasm.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Subcommand;

use crate::host;

/// Bare-metal guest programs
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Assemble all programs into a directory, which FERRY_GUEST_IMAGES and `guest-tests/run-all --images` take
    Build { directory: PathBuf },
}

pub fn run(args: &Args) -> Result<ExitCode> {
    match &args.action {
        Action::Build { directory } => {
            let programs = guest_tests::programs()?;
            for program in &programs {
                guest_tests::assemble(program, directory)?;
            }
            host::say(&format!(
                "{} images in {}",
                programs.len(),
                directory.display()
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}
