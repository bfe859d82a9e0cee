//! `cargo xtask block-fuzz`: random blocks of guest code, the one-pass translator or regions against the evaluator.
//!
//! The work is `testkit`'s; here are the arguments, the threads, the watchdog and the summary.

use anyhow::Result;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use testkit::blocks::check::listing;
use testkit::blocks::{Checker, Maker, Tier, reduce::reduce};

#[derive(Clone, Copy, clap::ValueEnum)]
enum Engine {
    T1,
    T2,
}

impl From<Engine> for Tier {
    fn from(e: Engine) -> Self {
        match e {
            Engine::T1 => Self::T1,
            Engine::T2 => Self::T2,
        }
    }
}

/// Run random blocks in the translator and in the evaluator, and compare
#[derive(clap::Args)]
pub struct Args {
    /// Which translator: the one-pass translator, or regions wherever they can be
    #[arg(long, value_enum, default_value = "t1")]
    engine: Engine,
    /// How many blocks
    #[arg(long, default_value_t = 100_000)]
    blocks: u64,
    /// Which blocks: the same seed makes the same ones
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Start at this block
    #[arg(long, default_value_t = 0, value_name = "INDEX")]
    first: u64,
    /// Run this one block
    #[arg(long, value_name = "INDEX")]
    only: Option<u64>,
    /// How many differences to reduce and describe
    #[arg(long, default_value_t = 10)]
    show: u64,
    /// Threads, each with guests of its own
    #[arg(long, default_value_t = std::thread::available_parallelism().map_or(1, |n| n.get() as u64))]
    threads: u64,
}

#[derive(Default)]
struct Totals {
    runs: AtomicU64,
    retired: AtomicU64,
    translated: AtomicU64,
    regions: AtomicU64,
    entries: AtomicU64,
    evaluated: AtomicU64,
    differences: AtomicU64,
    done: AtomicU64,
}

/// Run, print, and tell by the status whether all was equal.
pub fn run(args: &Args) -> Result<ExitCode> {
    let (first, count) = args.only.map_or((args.first, args.blocks), |i| (i, 1));
    let start = Instant::now();
    let totals = Totals::default();
    let shown = Mutex::new(0);
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..args.threads.max(1))
            .map(|thread| {
                let (totals, shown) = (&totals, &shown);
                let range = (first + thread..first + count).step_by(args.threads.max(1) as usize);
                scope.spawn(move || blocks(args, range, totals, shown))
            })
            .collect();
        threads
            .into_iter()
            .map(|t| {
                t.join()
                    .unwrap_or_else(|_| anyhow::bail!("a thread panicked"))
            })
            .collect()
    });
    results.into_iter().collect::<Result<()>>()?;
    let of = |n: &AtomicU64| n.load(Ordering::Relaxed);
    println!(
        "seed {}, {:.1} s, {} runs of {} instructions, {} of them by the evaluator; {} translations",
        args.seed,
        start.elapsed().as_secs_f64(),
        of(&totals.runs),
        of(&totals.retired),
        of(&totals.evaluated),
        of(&totals.translated),
    );
    if of(&totals.regions) > 0 {
        println!(
            "{} regions, entered {} times",
            of(&totals.regions),
            of(&totals.entries)
        );
    }
    let differences = of(&totals.differences);
    println!("{} blocks, {differences} differences", of(&totals.done));
    Ok(if differences == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn blocks(
    args: &Args,
    range: impl Iterator<Item = u64>,
    totals: &Totals,
    shown: &Mutex<u64>,
) -> Result<()> {
    let maker = Maker::new(args.seed);
    let mut checker = Checker::new(args.engine.into())?;
    let (beats, attention) = (checker.beats.clone(), checker.attention());
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A translation that does not come back is made to.
        let watchdog = scope.spawn(|| {
            let mut last = u64::MAX;
            while !over.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_secs(2));
                let now = beats.load(Ordering::Relaxed);
                if now == last {
                    attention.raise(!0);
                }
                last = now;
            }
        });
        for index in range {
            let (block, start) = maker.block(index);
            let n = index.wrapping_mul(0x9e37_79b9) >> 7;
            if checker.check(&block, &start, n).is_err() {
                totals.differences.fetch_add(1, Ordering::Relaxed);
                let mut shown = shown.lock().unwrap_or_else(|e| e.into_inner());
                if *shown < args.show {
                    *shown += 1;
                    let Some((small, found)) = reduce(&mut checker, &block, &start, n) else {
                        println!("block {index}: the difference does not come back");
                        continue;
                    };
                    println!("block --seed {} --only {index}", args.seed);
                    let code = small.assemble();
                    for line in listing(small.bits, small.at, &code) {
                        println!("    {line}");
                    }
                    println!("{found}");
                }
            }
            totals.done.fetch_add(1, Ordering::Relaxed);
        }
        over.store(true, Ordering::Relaxed);
        watchdog.thread().unpark();
    });
    totals.runs.fetch_add(checker.runs, Ordering::Relaxed);
    totals.retired.fetch_add(checker.retired, Ordering::Relaxed);
    let s = &checker.engine().stats;
    totals
        .translated
        .fetch_add(s.translations, Ordering::Relaxed);
    totals.regions.fetch_add(s.regions, Ordering::Relaxed);
    let entries = checker.region_entries();
    totals.entries.fetch_add(entries, Ordering::Relaxed);
    totals.evaluated.fetch_add(
        checker.retired.saturating_sub(s.executed),
        Ordering::Relaxed,
    );
    Ok(())
}
