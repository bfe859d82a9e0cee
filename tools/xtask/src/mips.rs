//! `cargo xtask mips`: guest instructions a second of CPU time, workload by workload.
//!
//! Each workload runs in a boot of its own. Its CPU time (all threads) is that between its lines `START NAME` and `BENCH NAME ...`; its
//! instructions are those of the run less those of a boot without work, whose count moves by a percent with the timer's ticks: let a
//! workload have some hundred millions. The guest is any Linux whose init runs what `work=NAME:SIZE` on the kernel's command line names,
//! prints these lines, and resets.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
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
    /// Workloads, as `NAME` or `NAME:SIZE`
    works: Vec<String>,
}

/// All instructions of a run, and the CPU seconds of its workload; of the whole run if it has none.
#[derive(Clone, Copy)]
struct Cost {
    instructions: f64,
    seconds: f64,
}

impl Cost {
    fn mips(self) -> f64 {
        self.instructions / self.seconds / 1e6
    }
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let ferry = guest::ferry_or(&args.vm)?;
    let mut works = args.works.clone();
    if let Some(file) = &args.sizes {
        works.extend(sizes(file)?);
    }
    let boot = cost(args, &ferry, "none")?;
    println!(
        "{:<16} {:>12} {:>8} {:>8}",
        "workload", "M instr.", "CPU s", "MIPS"
    );
    print("(boot)", boot);
    for work in &works {
        let mut cost = cost(args, &ferry, work)?;
        cost.instructions -= boot.instructions;
        print(work, cost);
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
pub fn sizes(file: &Path) -> Result<Vec<String>> {
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
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", ferry.display()))?;
    let name = work.split(':').next().unwrap_or(work);
    let (start, end) = match name {
        "none" => (None, "INIT-DONE".to_owned()),
        name => (Some(format!("START {name}")), format!("BENCH {name} ")),
    };
    let (mut from, mut seconds, mut printed) = (0.0, None, String::new());
    for line in BufReader::new(child.stdout.take().context("no output")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if start
            .as_ref()
            .is_some_and(|start| line.trim_end().ends_with(start))
        {
            from = cpu_seconds(child.id())?;
        }
        if line.contains(&end) {
            seconds = Some(cpu_seconds(child.id())? - from);
        }
        printed.push_str(&line);
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let (true, Some(seconds)) = (output.status.success(), seconds) else {
        bail!(
            "{work} did not end well ({}): {printed}{said}",
            output.status
        );
    };
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

/// CPU time of all threads of a process that runs: the first number of each thread's schedstat, in nanoseconds.
pub fn cpu_seconds(pid: u32) -> Result<f64> {
    let mut sum = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))?.flatten() {
        // A thread may end in between.
        let text = std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        let ns = text.split_whitespace().next().and_then(|n| n.parse().ok());
        sum += ns.unwrap_or(0.0);
    }
    Ok(sum / 1e9)
}
