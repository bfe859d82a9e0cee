//! `device-fuzz`: a fuzzing campaign against one device, in a process of its own, so that a panic, a hang or growth is the device's.
//!
//! Whatever fails, the input is in a file before the process ends, and `replay` runs it again. `cargo xtask fuzz-devices` runs this for
//! device after device.

mod watch;

use anyhow::{Context, Result, bail};
use bus::clock::Stopwatch;
use clap::{Parser, Subcommand};
use device_fuzz::campaign::Campaign;
use device_fuzz::drive::{self, Seen};
use device_fuzz::{ROWS, Row, table};
use std::path::PathBuf;
use std::process::ExitCode;
use watch::{Usage, Watch};

/// Fuzz one device
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Name the devices
    List,
    /// Run inputs against a device
    Run {
        device: String,
        #[arg(long, default_value_t = 5.0)]
        minutes: f64,
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Where an input that fails is kept
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// Run an input from a file
    Replay {
        device: String,
        file: PathBuf,
        /// Print each access
        #[arg(long)]
        trace: bool,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::List => {
            ROWS.iter().for_each(|row| println!("{}", row.name));
            Ok(())
        }
        Command::Run {
            device,
            minutes,
            seed,
            out,
        } => row(&device).and_then(|row| run(row, minutes, seed, out)),
        Command::Replay {
            device,
            file,
            trace,
        } => row(&device).and_then(|row| replay(row, &file, trace)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("device-fuzz: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn row(name: &str) -> Result<&'static Row> {
    table::by_name(name).with_context(|| {
        let names: Vec<&str> = ROWS.iter().map(|r| r.name).collect();
        format!(
            "no device is called {name} (there are {})",
            names.join(", ")
        )
    })
}

/// Seconds between two lines of progress.
const PROGRESS: u64 = 60;
/// Seconds after which memory is measured first: caches are warm and the inputs that are kept are found.
const WARM: f64 = 0.4;

fn run(row: &'static Row, minutes: f64, seed: u64, out: PathBuf) -> Result<()> {
    let seconds = (minutes * 60.0).max(0.1);
    let watch = Watch::start(row.name, out)?;
    let clock = Stopwatch::start();
    let elapsed = || clock.elapsed_ns() as f64 / 1e9;
    let mut campaign = Campaign::new(row, seed);
    let (mut runs, mut next_line) = (0u64, PROGRESS as f64);
    let mut warm = None;
    while elapsed() < seconds {
        let input = campaign.invent();
        watch.begins(&input);
        campaign.run(input);
        watch.ends();
        runs += 1;
        if warm.is_none() && elapsed() > WARM * seconds {
            warm = Some(Usage::now()?);
        }
        if elapsed() > next_line && seconds - elapsed() > 1.0 {
            next_line += PROGRESS as f64;
            line(row, elapsed(), runs, &campaign)?;
        }
    }
    line(row, elapsed(), runs, &campaign)?;
    let end = Usage::now()?;
    if let Some(growth) = warm.and_then(|warm| end.growth_since(&warm)) {
        bail!("{}: {growth}", row.name);
    }
    Ok(())
}

fn line(row: &Row, seconds: f64, runs: u64, campaign: &Campaign) -> Result<()> {
    let (kept, seen) = campaign.found();
    println!(
        "{:<12} {seconds:5.0} s {runs:>9} inputs {kept:>5} kept {seen:>7} answers  {}",
        row.name,
        Usage::now()?
    );
    Ok(())
}

fn replay(row: &'static Row, file: &PathBuf, trace: bool) -> Result<()> {
    let input = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    if trace {
        tracing_subscriber::fmt()
            .with_env_filter("bus=trace,devices=trace")
            .without_time()
            .init();
    }
    let mut target = (row.make)();
    drive::run(&mut target, &input, &mut Seen::default());
    println!("{}: the input of {} bytes ends", row.name, input.len());
    Ok(())
}
