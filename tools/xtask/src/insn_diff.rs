//! `cargo xtask insn-diff`: user-mode instructions on the host's CPU against Ferry's engines.
//!
//! The work is `testkit`'s; here are the arguments, the threads and the summary.

use anyhow::{Result, bail};
use clap::{Args as ClapArgs, ValueEnum};
use decode::Code;
use std::collections::{BTreeMap, HashSet};
use std::process::ExitCode;
use std::sync::{LazyLock, mpsc};
use std::time::Instant;
use testkit::case::Bits;
use testkit::compare::{Plan, Report, run as run_plan};
use testkit::evaluator::Evaluator;
use testkit::generate::codes::{NOT_IN_THIS_MODE, excluded};
use testkit::native::Unavailable;

/// Run random user-mode instructions on the host's CPU and in an engine, and compare
#[derive(ClapArgs)]
pub struct Args {
    /// How many cases
    #[arg(long, default_value_t = 100_000)]
    cases: u64,
    /// Which cases: the same seed makes the same ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The engine to test
    #[arg(long, value_enum, default_value_t = Engine::Eval)]
    engine: Engine,
    /// Run this one case
    #[arg(long, value_name = "INDEX")]
    only: Option<u64>,
    /// Start at this case
    #[arg(long, default_value_t = 0, value_name = "INDEX")]
    first: u64,
    /// Only instruction forms whose name (iced's `Code`) contains one of these, separated by commas. Other cases than without it
    #[arg(long, default_value = "", value_name = "NAMES")]
    filter: String,
    /// Only forms that the instruction table has
    #[arg(long)]
    rows: bool,
    /// How many mismatches to describe
    #[arg(long, default_value_t = 10)]
    show: usize,
    /// Threads, each with a child process
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, |n| n.get() as u64))]
    threads: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Engine {
    /// The evaluator
    Eval,
    /// The one-pass translator
    #[cfg(target_arch = "x86_64")]
    T1,
}

impl Engine {
    fn make(self) -> Result<Evaluator> {
        Ok(match self {
            Self::Eval => Evaluator::new(),
            #[cfg(target_arch = "x86_64")]
            Self::T1 => Evaluator::translated()?,
        })
    }
}

fn named(code: Code, filter: &str) -> bool {
    let name = format!("{code:?}");
    filter.split(',').any(|part| name.contains(part))
}

fn named_row(code: Code, filter: &str) -> bool {
    static ROWS: LazyLock<HashSet<Code>> =
        LazyLock::new(|| semantics::table::forms().map(|f| f.0).collect());
    named(code, filter) && ROWS.contains(&code)
}

/// Run, print, and tell by the status whether all was equal.
pub fn run(args: Args) -> Result<ExitCode> {
    let engine = args.engine;
    engine.make()?;
    let (first, count) = args
        .only
        .map_or((args.first, args.cases), |index| (index, 1));
    let keep = if args.rows { named_row } else { named };
    let mut options = String::new();
    if !args.filter.is_empty() {
        options += &format!(" --filter {}", args.filter);
    }
    if args.rows {
        options += " --rows";
    }
    let plan = Plan {
        seed: args.seed,
        first,
        count,
        keep,
        filter: args.filter,
        options,
        show: args.show,
    };
    let start = Instant::now();
    let report = match spread(&plan, engine, args.threads.max(1)) {
        Ok(report) => report,
        Err(Unavailable::Host) => {
            println!("insn-diff skipped: {}", Unavailable::Host);
            return Ok(ExitCode::SUCCESS);
        }
        Err(error) => bail!("no native oracle: {error}"),
    };
    print(&report, &plan, start);
    Ok(if report.mismatches == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Cut the plan into slices that the threads take by turns.
fn spread(plan: &Plan, engine: Engine, threads: u64) -> Result<Report, Unavailable> {
    const SLICE: u64 = 1 << 15;
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let sender = sender.clone();
            scope.spawn(move || {
                // It could be made a moment ago, before the threads.
                let Ok(mut evaluator) = engine.make() else {
                    return;
                };
                let mut first = plan.first + thread * SLICE;
                while first < plan.first + plan.count {
                    let count = SLICE.min(plan.first + plan.count - first);
                    let slice = Plan {
                        first,
                        count,
                        ..plan.clone()
                    };
                    if sender.send(run_plan(&slice, &mut evaluator)).is_err() {
                        return;
                    }
                    first += threads * SLICE;
                }
            });
        }
        drop(sender);
        let mut all = Report::default();
        for report in receiver {
            all.merge(report?);
        }
        Ok(all)
    })
}

fn print(report: &Report, plan: &Plan, start: Instant) {
    for text in report.shown.iter().take(plan.show) {
        println!("{text}");
    }
    if !report.by_code.is_empty() {
        println!("mismatches by form, with the first case of each:");
        let mut rows: Vec<_> = report.by_code.iter().collect();
        rows.sort_by_key(|(_, (n, _))| std::cmp::Reverse(*n));
        for (code, (n, first)) in rows {
            println!("{n:8}  {code}  --only {first}");
        }
    }
    for (why, n) in &report.lost {
        println!("{n:8}  not judged: {why}");
    }
    if plan.filter.is_empty() && plan.count > 1 {
        print_rows();
    }
    println!("seed {}, {:.1} s", plan.seed, start.elapsed().as_secs_f64());
    println!("{} cases, {} mismatches", report.cases, report.mismatches);
}

/// How many rows of the instruction table cases are made for, and why for no others.
fn print_rows() {
    let modes = [Bits::B16, Bits::B32, Bits::B64];
    let mut without: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut all, mut tested) = (0, 0);
    for (code, ..) in semantics::table::forms() {
        all += 1;
        let reasons: Vec<_> = modes.iter().map(|&bits| excluded(code, bits)).collect();
        if reasons.iter().any(Option::is_none) {
            tested += 1;
            continue;
        }
        // A mode that lacks the form says less than one that has it.
        let why = reasons
            .into_iter()
            .flatten()
            .find(|&why| why != NOT_IN_THIS_MODE);
        without
            .entry(why.unwrap_or(NOT_IN_THIS_MODE))
            .or_default()
            .push(format!("{code:?}"));
    }
    println!("{tested} of the table's {all} forms are tested; not the others:");
    for (why, codes) in without {
        let names: Vec<_> = codes.iter().take(6).map(String::as_str).collect();
        let more = if codes.len() > names.len() {
            ", ..."
        } else {
            ""
        };
        println!("{:8}  {why}: {}{more}", codes.len(), names.join(", "));
    }
}
