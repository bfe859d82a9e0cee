//! `cargo xtask coverage`: how much of each x86 extension the instruction table has.

use anyhow::Result;
use clap::Args as ClapArgs;
use decode::{Code, catalogue};
use semantics::table::{self, Class};
use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;

/// Count the instruction table's forms by extension
#[derive(ClapArgs)]
pub struct Args {
    /// Name the forms that have no row, of the extensions that Ferry has names for
    #[arg(long)]
    missing: bool,
}

#[derive(Default)]
struct Count {
    all: usize,
    lift: usize,
    helper: usize,
    missing: Vec<String>,
    nameable: bool,
}

/// Print the table.
pub fn run(args: &Args) -> Result<ExitCode> {
    let rows: HashMap<Code, Class> = table::forms().map(|(c, class, _)| (c, class)).collect();
    let mut counts: BTreeMap<String, Count> = BTreeMap::new();
    for f in catalogue::forms() {
        let c = counts.entry(f.extension).or_default();
        c.all += 1;
        c.nameable = f.nameable;
        match rows.get(&f.code) {
            Some(Class::Lift) => c.lift += 1,
            Some(Class::Helper) => c.helper += 1,
            None => c.missing.push(format!("{:?}: {}", f.code, f.notation)),
        }
    }
    println!(
        "{:<28} {:>6} {:>6} {:>7} {:>8}",
        "extension", "forms", "lift", "helper", "missing"
    );
    let mut total = Count::default();
    let mut others = 0;
    for (name, c) in counts
        .iter()
        .filter(|(_, c)| c.nameable || c.lift + c.helper > 0)
    {
        println!(
            "{name:<28} {:>6} {:>6} {:>7} {:>8}",
            c.all,
            c.lift,
            c.helper,
            c.missing.len()
        );
        total.all += c.all;
        total.lift += c.lift;
        total.helper += c.helper;
    }
    for c in counts
        .values()
        .filter(|c| !c.nameable && c.lift + c.helper == 0)
    {
        others += c.all;
    }
    let missing = total.all - total.lift - total.helper;
    println!(
        "{:<28} {:>6} {:>6} {:>7} {missing:>8}",
        "all of these", total.all, total.lift, total.helper
    );
    println!(
        "{others} legacy-encoded forms belong to extensions that no model shows; each raises #UD"
    );
    if args.missing {
        for c in counts
            .values()
            .filter(|c| c.nameable || c.lift + c.helper > 0)
        {
            for m in &c.missing {
                println!("missing {m}");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
