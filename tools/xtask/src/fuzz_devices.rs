//! `cargo xtask fuzz-devices`: random accesses and DMA against each device, `device-fuzz`'s work in a process per device.

use crate::host;
use anyhow::{Context, Result, bail, ensure};
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::sync::Mutex;

/// Fuzz the devices: registers, DMA descriptors, time, and the world around them
#[derive(clap::Args)]
pub struct Args {
    /// Minutes for each device
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Only these devices
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    device: Vec<String>,
    /// Which inputs: the same seed makes the same ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Devices at once
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Run this input, that failed before, against the one device named
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    /// Print each access of the input
    #[arg(long, requires = "input")]
    trace: bool,
    /// Where inputs that fail are kept
    #[arg(long, default_value = "target/device-fuzz", value_name = "DIR")]
    out: PathBuf,
}

/// Run, and tell by the status whether all devices bore it.
pub fn run(args: &Args) -> Result<ExitCode> {
    let program = build()?;
    if let Some(input) = &args.input {
        let [device] = args.device.as_slice() else {
            bail!("--input wants the one device that it is for: --device NAME");
        };
        let mut replay = Command::new(&program);
        replay.arg("replay").arg(device).arg(input);
        replay.args(args.trace.then_some("--trace"));
        let status = replay.status().context("cannot run device-fuzz")?;
        return Ok(code(status.success()));
    }
    let all = host::output_text(host::command(&program).arg("list"))?;
    let known: Vec<&str> = all.lines().collect();
    let unknown = args.device.iter().find(|d| !known.contains(&d.as_str()));
    if let Some(name) = unknown {
        bail!(
            "no device is called {name} (there are {})",
            known.join(", ")
        );
    }
    let wanted = known
        .iter()
        .filter(|d| args.device.is_empty() || args.device.iter().any(|w| w == *d));
    let waiting: Mutex<Vec<&str>> = Mutex::new(wanted.rev().copied().collect());
    let failed: Mutex<Vec<&str>> = Mutex::default();
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                while let Some(device) = take(&waiting) {
                    let mut worker = Command::new(&program);
                    worker.args(["run", device]);
                    worker.args(["--minutes", &args.minutes.to_string()]);
                    worker.args(["--seed", &args.seed.to_string()]);
                    worker.arg("--out").arg(&args.out);
                    let fine = worker.status().is_ok_and(|s| s.success());
                    if !fine {
                        failed
                            .lock()
                            .unwrap_or_else(|e| e.into_inner())
                            .push(device);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(|e| e.into_inner());
    match failed.as_slice() {
        [] => println!("no panic, no hang, no growth"),
        some => println!("failed: {}", some.join(", ")),
    }
    Ok(code(failed.is_empty()))
}

fn take<'a>(waiting: &Mutex<Vec<&'a str>>) -> Option<&'a str> {
    waiting.lock().unwrap_or_else(|e| e.into_inner()).pop()
}

fn code(fine: bool) -> ExitCode {
    match fine {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

/// Builds the program; tells where it is.
fn build() -> Result<PathBuf> {
    let arguments = [
        "build",
        "--quiet",
        "--profile",
        "ci",
        "--package",
        "device-fuzz",
    ];
    let status = host::command("cargo")
        .args(arguments)
        .current_dir(host::repo()?)
        .status()
        .context("cannot run cargo")?;
    ensure!(
        status.success(),
        "cargo build of device-fuzz ended with {status}"
    );
    host::built("ci", "device-fuzz")
}
