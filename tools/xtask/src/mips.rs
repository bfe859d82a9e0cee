//! `cargo xtask mips`: guest instructions a second of CPU time, workload by workload.
//!
//! Each workload runs in a boot of its own; instructions and CPU time (all threads, user and system) of a boot that runs none are taken
//! off. The guest is any Linux whose init runs what `work=NAME:SIZE` on the kernel's command line names, prints `BENCH NAME ...` for it,
//! and resets.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};

use crate::guest;

/// Measure the engines' speed in a benchmark guest
#[derive(clap::Args)]
pub struct Args {
    /// Folder with `vmlinuz` and `initrd.cpio`
    #[arg(long)]
    guest: PathBuf,
    /// Ferry's engine
    #[arg(long, default_value = "eval")]
    engine: String,
    /// The path of a ferry; without it the release build
    #[arg(long)]
    vm: Option<PathBuf>,
    /// File with a workload and its size a line, to measure as well
    #[arg(long)]
    sizes: Option<PathBuf>,
    /// Boots without work, whose median is taken off
    #[arg(long, default_value_t = 3)]
    boots: usize,
    /// Workloads, as `NAME` or `NAME:SIZE`
    works: Vec<String>,
}

/// What a run cost.
#[derive(Clone, Copy)]
struct Cost {
    instructions: f64,
    seconds: f64,
}

impl Cost {
    fn mips(self) -> f64 {
        self.instructions / self.seconds / 1e6
    }

    fn less(self, other: Cost) -> Cost {
        Cost {
            instructions: self.instructions - other.instructions,
            seconds: self.seconds - other.seconds,
        }
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let ferry = match &args.vm {
        Some(path) => path.clone(),
        None => guest::ferry()?,
    };
    let mut works = args.works.clone();
    if let Some(file) = &args.sizes {
        works.extend(sizes(file)?);
    }
    let mut boots = Vec::new();
    for _ in 0..args.boots.max(1) {
        boots.push(cost(args, &ferry, "none")?);
    }
    boots.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let boot = boots[boots.len() / 2];
    println!(
        "{:<16} {:>12} {:>8} {:>8}",
        "workload", "M instr.", "CPU s", "MIPS"
    );
    print("(boot)", boot);
    for work in &works {
        print(work, cost(args, &ferry, work)?.less(boot));
    }
    Ok(ExitCode::SUCCESS)
}

fn print(name: &str, cost: Cost) {
    println!(
        "{name:<16} {:>12.1} {:>8.2} {:>8.1}",
        cost.instructions / 1e6,
        cost.seconds,
        cost.mips()
    );
}

/// Lines `NAME SIZE` or `NAME` as `NAME:SIZE` or `NAME`.
fn sizes(file: &Path) -> Result<Vec<String>> {
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(":");
    Ok(text
        .lines()
        .map(words)
        .filter(|work| !work.is_empty())
        .collect())
}

/// Boots once and runs `work`.
fn cost(args: &Args, ferry: &Path, work: &str) -> Result<Cost> {
    let mut command = Command::new(ferry);
    command
        .args(["run", "--no-reboot", "--stats=json", "--engine"])
        .arg(&args.engine);
    let files: [(&str, OsString); 2] = [
        ("--kernel", args.guest.join("vmlinuz").into()),
        ("--initrd", args.guest.join("initrd.cpio").into()),
    ];
    for (option, file) in &files {
        command.arg(option).arg(file);
    }
    command
        .arg("--append")
        .arg(format!("console=ttyS0 reboot=t panic=-1 quiet work={work}"));
    let before = children_seconds()?;
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot start {}", ferry.display()))?;
    let seconds = children_seconds()? - before;
    let (said, printed) = (
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout),
    );
    let name = work.split(':').next().unwrap_or(work);
    let done = name == "none" || printed.contains(&format!("BENCH {name} "));
    if !output.status.success() || !done {
        bail!(
            "{work} did not end well ({}): {printed}{said}",
            output.status
        );
    }
    let stats = said.lines().find(|line| line.starts_with('{'));
    let stats: serde_json::Value =
        serde_json::from_str(stats.context("ferry printed no counters")?)?;
    let instructions = stats["instructions"]
        .as_f64()
        .context("no count of instructions")?;
    Ok(Cost {
        instructions,
        seconds,
    })
}

/// CPU time of the children that ended: proc(5), stat, fields 16 and 17, in ticks of 10 ms.
fn children_seconds() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat").context("there is no /proc")?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks: Option<f64> = fields
        .split_whitespace()
        .skip(13)
        .take(2)
        .map(|field| field.parse::<f64>().ok())
        .sum();
    Ok(ticks.context("cannot read /proc/self/stat")? / 100.0)
}
