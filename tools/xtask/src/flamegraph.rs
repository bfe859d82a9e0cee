//! `cargo xtask flamegraph`: a profile of `ferry run --profile` as a picture.

use anyhow::{Context, Result};
use inferno::flamegraph::{Options, from_lines};
use std::path::PathBuf;
use std::process::ExitCode;

/// Draw a profile of the guest
#[derive(clap::Args)]
pub struct Args {
    /// What `ferry run --profile FILE` wrote
    profile: PathBuf,
    /// Where the picture goes; without it beside the profile, with the ending `svg`
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let read = |p: &PathBuf| format!("cannot read {}", p.display());
    let text = std::fs::read_to_string(&args.profile).with_context(|| read(&args.profile))?;
    let out = match &args.out {
        Some(p) => p.clone(),
        None => args.profile.with_extension("svg"),
    };
    let mut options = Options::default();
    "Where the guest was met".clone_into(&mut options.title);
    "samples".clone_into(&mut options.count_name);
    let mut picture = Vec::new();
    from_lines(&mut options, text.lines(), &mut picture)
        .with_context(|| format!("{} is no profile", args.profile.display()))?;
    std::fs::write(&out, picture).with_context(|| format!("cannot write {}", out.display()))?;
    println!("{}", out.display());
    Ok(ExitCode::SUCCESS)
}
