//! `cargo xtask ablation`: what each optimisation of the translator is worth, over the workloads of a benchmark guest.
//!
//! Each switch of `ferry run --jit help` is off in turn, and Ferry with it and without it runs the same workloads, one run behind the other.
//! What comes out is a Markdown table of ratios of CPU time; the guest is that of `cargo xtask bench-compare`.

use crate::bench_compare::{Side, measure, median, template, workloads};
use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// Measure what each optimisation of the translator is worth
#[derive(clap::Args)]
pub struct Args {
    /// Folder with `vmlinuz` and `initrd.cpio`
    #[arg(long)]
    guest: PathBuf,
    /// Ferry; without it the release build
    #[arg(long, value_name = "TEMPLATE")]
    ferry: Option<String>,
    /// Workloads, as `NAME` or `NAME:SIZE`, separated by commas
    #[arg(long, value_delimiter = ',')]
    works: Vec<String>,
    /// File with a workload and its size a line, to run as well
    #[arg(long)]
    sizes: Option<PathBuf>,
    /// Only these switches, separated by commas
    #[arg(long, value_delimiter = ',')]
    switches: Vec<String>,
    /// Runs of each
    #[arg(long, default_value_t = 1)]
    reps: u32,
    /// Where to write the table
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let own = template(args.ferry.as_deref())?;
    let works = workloads(&args.works, args.sizes.as_deref())?;
    let program = own
        .split_whitespace()
        .next()
        .context("the template is empty")?;
    let switches = match args.switches.is_empty() {
        true => known(program)?,
        false => args.switches.clone(),
    };
    let mut table = format!(
        "CPU time without an optimisation by that with it, {} run{} of {} workloads each, in turn: more than 1 is what the optimisation is worth.\n\
         Written by `cargo xtask ablation`.\n\n\
         | switch | geometric mean | boot | where it matters most |\n|---|---|---|---|\n",
        args.reps,
        if args.reps == 1 { "" } else { "s" },
        works.len(),
    );
    let mut alike = true;
    for (n, switch) in switches.iter().enumerate() {
        eprintln!("{} of {}: {switch}", n + 1, switches.len());
        let off = own.replacen(" run ", &format!(" run --jit {switch} "), 1);
        let (mut with, mut without) = (Side::default(), Side::default());
        for rep in 0..args.reps.max(1) {
            let mut both = [(&own, &mut with), (&off, &mut without)];
            if rep % 2 == 1 {
                both.reverse();
            }
            for (template, side) in both {
                measure(&args.guest, template, &works, side)?;
            }
        }
        alike &= with.sums == without.sums;
        let row = row(switch, &with, &without, &works);
        eprint!("{row}");
        table.push_str(&row);
    }
    print!("{table}");
    if let Some(path) = &args.out {
        std::fs::write(path, &table).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if alike {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The switches that this Ferry has.
fn known(program: &str) -> Result<Vec<String>> {
    let out = Command::new(program)
        .args(["run", "--jit", "help"])
        .output()
        .with_context(|| format!("cannot start {program}"))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let all: Vec<String> = text
        .lines()
        .filter_map(|l| l.split_whitespace().next())
        .filter(|w| w.starts_with("no-"))
        .map(str::to_owned)
        .collect();
    ensure!(
        !all.is_empty(),
        "{program} run --jit help names no switches"
    );
    Ok(all)
}

fn row(switch: &str, with: &Side, without: &Side, works: &[String]) -> String {
    let ratio = |name: &str| {
        let (a, b) = (with.seconds.get(name)?, without.seconds.get(name)?);
        Some(median(b) / median(a).max(1e-3))
    };
    let mut each: Vec<(&str, f64)> = works
        .iter()
        .filter_map(|w| {
            let name = w.split(':').next().unwrap_or(w);
            Some((name, ratio(name)?))
        })
        .collect();
    let mean = each.iter().map(|(_, r)| r.ln()).sum::<f64>() / each.len().max(1) as f64;
    each.sort_by(|a, b| b.1.total_cmp(&a.1));
    let boot = ratio("boot").map_or("-".into(), |r| format!("{r:.2}"));
    let mut most = String::new();
    for (name, r) in each.iter().take(4) {
        let _ = write!(
            most,
            "{}{name} {r:.2}",
            if most.is_empty() { "" } else { ", " }
        );
    }
    let note = if with.sums == without.sums {
        ""
    } else {
        " RESULTS DIFFER"
    };
    format!("| {switch} | {:.2} | {boot} | {most}{note} |\n", mean.exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_tells_the_mean_and_the_largest() {
        let side = |a: f64, b: f64| {
            let mut s = Side::default();
            s.seconds.insert("boot".into(), vec![1.0]);
            s.seconds.insert("hash".into(), vec![a]);
            s.seconds.insert("crc".into(), vec![b]);
            s
        };
        let works = ["hash:7".to_owned(), "crc:1".to_owned()];
        let row = row("no-pages", &side(1.0, 1.0), &side(1.0, 4.0), &works);
        assert_eq!(row, "| no-pages | 2.00 | 1.00 | crc 4.00, hash 1.00 |\n");
    }
}
