//! `cargo xtask disk-compare`: disks under Ferry and under QEMU's TCG in turn; wall time and CPU time of sequential and random I/O.
//!
//! Both boot Debian's kernel with the same initramfs and the same image, and run the program in `guest.rs`, which goes past the guest's
//! page cache. The image is in the host's page cache. CPU time is that of all threads of the emulator between the lines that the program
//! prints before and after each work.

use crate::guest::{self, Kind, cpio, initramfs};
use crate::{bench_compare, host, mips};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Compare disks under Ferry and under QEMU's TCG: sequential and random reads and writes
#[derive(clap::Args)]
pub struct Args {
    /// What the disk is connected to
    #[arg(long, value_delimiter = ',', default_value = "virtio,ide,sata")]
    interface: Vec<Interface>,
    /// Format of the image
    #[arg(long, value_delimiter = ',', default_value = "raw")]
    format: Vec<Format>,
    /// What is done, as NAME or NAME:TIMES
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "seq-read,rand-read,seq-write,rand-write"
    )]
    works: Vec<String>,
    /// Size of the disk in MiB
    #[arg(long, default_value_t = 512)]
    size: u64,
    /// Runs of each
    #[arg(long, default_value_t = 3)]
    reps: u32,
    /// Ferry; without it the release build
    #[arg(long, value_name = "FILE")]
    ferry: Option<PathBuf>,
    /// Fail where QEMU's wall time by Ferry's is less than this
    #[arg(long, default_value_t = 0.0, value_name = "RATIO")]
    least: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Interface {
    Virtio,
    Ide,
    Sata,
}

impl Interface {
    /// The kernel that has a driver, and its modules.
    fn kernel(self) -> (Kind, Kind) {
        match self {
            Self::Virtio | Self::Ide => (Kind::Vmlinuz, Kind::Modules),
            Self::Sata => (Kind::VmlinuzGeneric, Kind::ModulesGeneric),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Raw,
    Qcow2,
}

/// Wall and CPU seconds of each run by work, and what it read.
#[derive(Default)]
struct Side {
    wall: BTreeMap<String, Vec<f64>>,
    cpu: BTreeMap<String, Vec<f64>>,
    sums: BTreeMap<String, String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    guest::need_qemu()?;
    let ferry = guest::ferry_or(&args.ferry)?;
    let dir = host::cache()?.join("disk-compare");
    host::make_dir(&dir)?;
    println!(
        "{:<20} {:<10} {:>8} {:>8} {:>6} {:>8} {:>8} {:>6}",
        "disk", "work", "ferry s", "qemu s", "ratio", "ferry C", "qemu C", "ratio"
    );
    let mut fine = true;
    for &format in &args.format {
        let image = image(&dir, format, args.size)?;
        for &interface in &args.interface {
            let kernel = guest::path(interface.kernel().0)?;
            let initrd = initrd(&dir, interface, &args.works)?;
            let (mut ours, mut theirs) = (Side::default(), Side::default());
            for rep in 0..args.reps.max(1) {
                // In turn, so that what else the machine does meets both.
                for turn in 0..2 {
                    let files = [kernel.as_path(), initrd.as_path(), image.as_path()];
                    match (rep + turn) % 2 {
                        0 => measure(&mut own(&ferry, files, interface, format), &mut ours)?,
                        _ => measure(&mut qemu(files, interface, format), &mut theirs)?,
                    }
                }
            }
            fine &= report(args, interface, format, &ours, &theirs);
        }
    }
    Ok(if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn report(args: &Args, interface: Interface, format: Format, ours: &Side, theirs: &Side) -> bool {
    let mut fine = true;
    let disk = format!("{interface:?} {format:?}").to_lowercase();
    let names = args.works.iter().map(|w| w.split(':').next().unwrap_or(w));
    for name in names {
        let of = |of: &BTreeMap<String, Vec<f64>>| of.get(name).map(|s| bench_compare::median(s));
        let all = [&ours.wall, &theirs.wall, &ours.cpu, &theirs.cpu].map(of);
        let [Some(wall), Some(their_wall), Some(cpu), Some(their_cpu)] = all else {
            println!("{disk:<20} {name:<10} did not end in both");
            fine = false;
            continue;
        };
        let (ratio, cpu_ratio) = (their_wall / wall.max(1e-6), their_cpu / cpu.max(1e-6));
        let differ = match ours.sums.get(name) == theirs.sums.get(name) {
            true => "",
            false => "  RESULTS DIFFER",
        };
        fine &= differ.is_empty() && ratio >= args.least;
        println!(
            "{disk:<20} {name:<10} {wall:>8.3} {their_wall:>8.3} {ratio:>6.2} {cpu:>8.3} {their_cpu:>8.3} {cpu_ratio:>6.2}{differ}"
        );
    }
    fine
}

/// An image with something in every block.
fn image(dir: &Path, format: Format, mib: u64) -> Result<PathBuf> {
    let raw = dir.join("disk.raw");
    let mut file = std::io::BufWriter::new(std::fs::File::create(&raw)?);
    let mut block = vec![0; 1 << 20];
    for n in 0..mib {
        for (i, sector) in block.chunks_exact_mut(512).enumerate() {
            let number = (n << 11 | i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            sector.fill((number >> 56) as u8);
            sector[..8].copy_from_slice(&number.to_le_bytes());
        }
        file.write_all(&block)?;
    }
    file.flush()?;
    // What is still to be written to the host's disk would meet the first run.
    file.get_ref().sync_data()?;
    if format == Format::Raw {
        return Ok(raw);
    }
    let path = dir.join("disk.qcow2");
    let mut convert = host::command("qemu-img");
    convert.args(["convert", "-f", "raw", "-O", "qcow2"]);
    host::run(convert.arg(&raw).arg(&path))?;
    Ok(path)
}

/// The initramfs with drivers, the program and what it is to do.
fn initrd(dir: &Path, interface: Interface, works: &[String]) -> Result<PathBuf> {
    let program = dir.join("disk-io");
    let source = dir.join("disk-io.rs");
    std::fs::write(&source, include_str!("guest.rs"))?;
    let mut rustc = host::command("rustc");
    rustc.args([
        "--edition",
        "2024",
        "-O",
        "--target",
        "x86_64-unknown-linux-gnu",
    ]);
    rustc.args(["-C", "target-feature=+crt-static", "-C", "strip=symbols"]);
    host::run(rustc.arg("-o").arg(&program).arg(&source))?;
    let device = match interface {
        Interface::Virtio => "vda",
        Interface::Ide | Interface::Sata => "sda",
    };
    let command = format!(
        "for m in /ferry/modules/*; do insmod $m; done; for n in 1 2 3 4 5 6 7 8 9; do [ -b /dev/{device} ] || sleep 1; done; /disk-io {device} {}",
        works.join(" ")
    );
    let mut archive = std::fs::read(guest::path(Kind::Initrd)?)?;
    archive.extend(std::fs::read(guest::path(interface.kernel().1)?)?);
    archive.extend(initramfs::command_overlay(&command));
    let mut own = cpio::Archive::default();
    own.file("disk-io", 0o755, &std::fs::read(&program)?);
    archive.extend(own.finish());
    let path = dir.join("initrd.cpio");
    std::fs::write(&path, archive)?;
    Ok(path)
}

const LINE: &str = "console=ttyS0 panic=-1 quiet";

fn own(
    ferry: &Path,
    [kernel, initrd, image]: [&Path; 3],
    on: Interface,
    format: Format,
) -> Command {
    let mut c = Command::new(ferry);
    c.args(["run", "--no-reboot", "--memory", "512M", "--append", LINE]);
    c.arg("--kernel").arg(kernel).arg("--initrd").arg(initrd);
    let (on, format) = (name(on), name(format));
    let image = image.display().to_string().replace(',', ",,");
    c.args(["--disk", &format!("{image},if={on},format={format}")]);
    c
}

fn qemu([kernel, initrd, image]: [&Path; 3], on: Interface, format: Format) -> Command {
    let mut c = Command::new(guest::QEMU);
    c.args("-M pc -accel tcg -cpu qemu64 -m 512M -display none -no-reboot -nodefaults".split(' '));
    c.args(["-serial", "stdio", "-append", LINE]);
    c.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
    let image = image.display().to_string().replace(',', ",,");
    let format = name(format);
    let drive = format!("file={image},if=none,id=d,format={format},cache=writeback");
    c.args(["-drive", &drive]);
    match on {
        Interface::Virtio => c.args(["-device", "virtio-blk-pci,drive=d"]),
        Interface::Ide => c.args(["-device", "ide-hd,drive=d,bus=ide.0"]),
        Interface::Sata => c.args([
            "-device",
            "ich9-ahci,id=a",
            "-device",
            "ide-hd,drive=d,bus=a.0",
        ]),
    };
    c
}

fn name(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |v| v.get_name().to_owned())
}

/// Boots once and takes the times of all works.
fn measure(command: &mut Command, side: &mut Side) -> Result<()> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let mut from: Option<(Instant, f64)> = None;
    let mut ended = false;
    for line in BufReader::new(child.stdout.take().context("no output")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        let mut words = line.split_whitespace();
        let word = words.find(|w| matches!(*w, "START" | "BENCH"));
        let (Some(word), Some(name)) = (word, words.next()) else {
            continue;
        };
        let now = (Instant::now(), mips::cpu_seconds(child.id())?);
        match (word, from.take()) {
            ("BENCH", Some((start, cpu))) => {
                let wall = now.0.duration_since(start).as_secs_f64();
                side.wall.entry(name.into()).or_default().push(wall);
                side.cpu.entry(name.into()).or_default().push(now.1 - cpu);
                side.sums
                    .insert(name.into(), words.next().unwrap_or_default().into());
                ended = true;
            }
            _ => from = Some(now),
        }
    }
    let status = child.wait()?;
    if !ended {
        bail!("{command:?} ended with {status} before the first work was done");
    }
    Ok(())
}
