//! `cargo xtask bench-compare`: a benchmark guest under Ferry and another emulator in turn; ratios by CPU time, and a bar chart.
//!
//! The guest is any Linux whose init runs what `work=NAME:SIZE,...` on the kernel's command line names, prints `START NAME` and
//! `BENCH NAME ...` around each, and resets. CPU time is that of all threads of the emulator between these lines.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};

use crate::{guest, mips};

/// Compare Ferry with another emulator, workload by workload
#[derive(clap::Args)]
pub struct Args {
    /// How the other is started: `{kernel}`, `{initrd}` and `{cmdline}` are filled in; the guest's serial port is its output
    #[arg(long, value_name = "TEMPLATE")]
    against: String,
    /// Ferry; without it the release build
    #[arg(long, value_name = "TEMPLATE")]
    ferry: Option<String>,
    /// Folder with `vmlinuz` and `initrd.cpio`
    #[arg(long)]
    guest: PathBuf,
    /// Workloads, as `NAME` or `NAME:SIZE`, separated by commas
    #[arg(long, value_delimiter = ',')]
    works: Vec<String>,
    /// File with a workload and its size a line, to run as well
    #[arg(long)]
    sizes: Option<PathBuf>,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    reps: u32,
    /// Where to draw the ratios
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// CPU seconds of each run by workload, and what the guest printed for it; the way to the first workload is `boot`.
#[derive(Default)]
pub(crate) struct Side {
    pub(crate) seconds: BTreeMap<String, Vec<f64>>,
    pub(crate) sums: BTreeMap<String, String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let own = template(args.ferry.as_deref())?;
    let works = workloads(&args.works, args.sizes.as_deref())?;
    let (mut ferry, mut other) = (Side::default(), Side::default());
    for rep in 0..args.reps.max(1) {
        // In turn, so that what else the machine does meets both.
        let mut both = [(&own, &mut ferry), (&args.against, &mut other)];
        if rep % 2 == 1 {
            both.reverse();
        }
        for (template, side) in both {
            measure(&args.guest, template, &works, side)?;
        }
    }
    let mut ratios = Vec::new();
    println!(
        "{:<14} {:>9} {:>9} {:>7}  of the repetitions",
        "workload", "ferry s", "other s", "ratio"
    );
    let names = works.iter().map(|w| w.split(':').next().unwrap_or(w));
    for name in std::iter::once("boot").chain(names) {
        let (Some(f), Some(o)) = (ferry.seconds.get(name), other.seconds.get(name)) else {
            println!("{name:<14} did not end in both");
            continue;
        };
        let each: Vec<f64> = f.iter().zip(o).map(|(f, o)| o / f.max(1e-3)).collect();
        let (a, b) = (median(f), median(o));
        let ratio = b / a.max(1e-3);
        let least = each.iter().copied().fold(f64::INFINITY, f64::min);
        let most = each.iter().copied().fold(0.0, f64::max);
        let note = if ferry.sums.get(name) == other.sums.get(name) {
            ""
        } else {
            "  RESULTS DIFFER"
        };
        println!("{name:<14} {a:>9.3} {b:>9.3} {ratio:>7.2}  {least:.2} to {most:.2}{note}");
        ratios.push((name.to_owned(), ratio, note.is_empty()));
    }
    let work: Vec<f64> = ratios.iter().skip(1).map(|r| r.1.ln()).collect();
    let mean = (work.iter().sum::<f64>() / work.len().max(1) as f64).exp();
    println!(
        "geometric mean of {} workloads: {mean:.2} (other's CPU time by Ferry's)",
        work.len()
    );
    if let Some(path) = &args.svg {
        std::fs::write(path, chart(&ratios, mean))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(
        if ratios.iter().all(|r| r.2) && ratios.len() == works.len() + 1 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        },
    )
}

/// How Ferry is started: as given, or the release build with the guest's kernel.
pub(crate) fn template(given: Option<&str>) -> Result<String> {
    Ok(match given {
        Some(t) => t.to_owned(),
        None => format!(
            "{} run --memory 512M --no-reboot --kernel {{kernel}} --initrd {{initrd}} --append {{cmdline}}",
            guest::ferry()?.display()
        ),
    })
}

/// The workloads that are named, and those of a file of sizes.
pub(crate) fn workloads(named: &[String], sizes: Option<&Path>) -> Result<Vec<String>> {
    let mut works = named.to_vec();
    if let Some(file) = sizes {
        works.extend(mips::sizes(file)?);
    }
    ensure!(!works.is_empty(), "name workloads with --works or --sizes");
    Ok(works)
}

pub(crate) fn median(of: &[f64]) -> f64 {
    let mut v = of.to_vec();
    v.sort_by(f64::total_cmp);
    match v.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => v[n / 2],
        n => (v[n / 2 - 1] + v[n / 2]) / 2.0,
    }
}

/// Boots once and runs all workloads.
pub(crate) fn measure(
    guest: &Path,
    template: &str,
    works: &[String],
    side: &mut Side,
) -> Result<()> {
    let path = |name: &str| guest.join(name).to_string_lossy().into_owned();
    let line = format!(
        "console=ttyS0 reboot=t panic=-1 quiet work={}",
        works.join(",")
    );
    let mut words = template.split_whitespace().map(|w| {
        w.replace("{kernel}", &path("vmlinuz"))
            .replace("{initrd}", &path("initrd.cpio"))
            .replace("{cmdline}", &line)
    });
    let program = words.next().context("the template is empty")?;
    let mut child = Command::new(Path::new(&program))
        .args(words)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let mut from: Option<f64> = None;
    for line in BufReader::new(child.stdout.take().context("no output")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        let mut words = line.split_whitespace();
        let word = words.find(|w| matches!(*w, "START" | "BENCH"));
        let (Some(word), Some(name)) = (word, words.next()) else {
            continue;
        };
        // The last line may come when the process is about to end.
        let now = mips::cpu_seconds(child.id()).unwrap_or(f64::NAN);
        if word == "START" {
            if from.is_none() {
                side.seconds.entry("boot".into()).or_default().push(now);
            }
            from = Some(now);
        } else if let Some(from) = from {
            side.seconds
                .entry(name.into())
                .or_default()
                .push(now - from);
            // Seconds, then the checksum.
            if let Some(sum) = words.nth(1) {
                side.sums.insert(name.into(), sum.into());
            }
        }
    }
    child.wait()?;
    Ok(())
}

/// Horizontal bars on a logarithmic scale around 1: to the right Ferry is faster.
fn chart(ratios: &[(String, f64, bool)], mean: f64) -> String {
    const ROW: f64 = 20.0;
    const LEFT: f64 = 110.0;
    const WIDE: f64 = 640.0;
    let far = ratios
        .iter()
        .map(|r| r.1.log2().abs())
        .fold(1.0, f64::max)
        .ceil();
    let x = |ratio: f64| LEFT + WIDE / 2.0 * (1.0 + ratio.log2().clamp(-far, far) / far);
    let high = ROW * (ratios.len() as f64 + 3.0);
    let (all, bottom) = (LEFT + WIDE + 60.0, high - ROW);
    let mut s = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"{high}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{all}\" height=\"{high}\" fill=\"white\"/>\n\
         <text x=\"{LEFT}\" y=\"14\">CPU time of the other by Ferry's, geometric mean {mean:.2}</text>\n"
    );
    for n in -(far as i32)..=far as i32 {
        let at = x(f64::from(n).exp2());
        let colour = if n == 0 { "black" } else { "#ddd" };
        let _ = writeln!(
            s,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{ROW}\" y2=\"{bottom}\" stroke=\"{colour}\"/>\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#666\">{}</text>",
            bottom + 14.0,
            f64::from(n).exp2()
        );
    }
    for (n, (name, ratio, _)) in ratios.iter().enumerate() {
        let y = ROW * (n as f64 + 1.2);
        let (from, to) = (x(1.0).min(x(*ratio)), x(1.0).max(x(*ratio)));
        let colour = if *ratio >= 1.0 { "#2a7" } else { "#c53" };
        let _ = writeln!(
            s,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>\
             <rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"14\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\">{ratio:.2}</text>",
            LEFT - 6.0,
            y + 11.0,
            to - from,
            to + 4.0,
            y + 11.0
        );
    }
    s.push_str("</svg>\n");
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_bars() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        let rows = [
            ("boot".to_owned(), 2.0, true),
            ("hash".to_owned(), 0.5, true),
        ];
        let svg = chart(&rows, 0.5);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        // Bars to the right and to the left of the middle, equally long.
        assert!(svg.contains("x=\"430.0\"") && svg.contains("x=\"110.0\""));
    }
}
