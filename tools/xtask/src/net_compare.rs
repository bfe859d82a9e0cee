//! `cargo xtask net-compare`: how fast a guest's TCP is under Ferry and another emulator in turn.
//!
//! The guest of `cargo xtask guest` downloads from and uploads to a server of this process, on the host's loopback, which it reaches as
//! 10.0.2.2 through the emulator's own network. Time is taken at the server: from the request, or the first byte, to the last; CPU time is
//! that of all threads of the emulator meanwhile.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::bench_compare::median;
use crate::guest::{self, Kind};
use crate::mips;

/// Compare the network with another emulator's
#[derive(clap::Args)]
pub struct Args {
    /// How the other is started: `{kernel}`, `{initrd}` and `{cmdline}` are filled in
    #[arg(
        long,
        value_name = "TEMPLATE",
        default_value = "qemu-system-x86_64 -M q35 -accel tcg -cpu qemu64 -m 512 -smp 1 -display none -no-reboot -nodefaults -serial stdio \
-netdev user,id=n -device virtio-net-pci,netdev=n -kernel {kernel} -initrd {initrd} -append {cmdline}"
    )]
    against: String,
    /// Ferry; without it the release build with `--net user`
    #[arg(long, value_name = "TEMPLATE")]
    ferry: Option<String>,
    /// MiB of each transfer
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Transfers each way in a boot
    #[arg(long, default_value_t = 3)]
    transfers: usize,
    /// Boots of each
    #[arg(long, default_value_t = 3)]
    reps: u32,
    /// The least ratio by elapsed time, to end with status 0
    #[arg(long, default_value_t = 0.0)]
    least: f64,
}

/// Longer than any transfer, for a guest that is stuck.
const PATIENCE: Duration = Duration::from_secs(300);

/// MB a second of each transfer: by elapsed time, and by the emulator's CPU time.
#[derive(Default)]
struct Speed {
    elapsed: Vec<f64>,
    cpu: Vec<f64>,
}

/// Downloads and uploads.
type Side = [Speed; 2];

pub fn run(args: &Args) -> Result<ExitCode> {
    let own = match &args.ferry {
        Some(t) => t.clone(),
        None => format!(
            "{} run --memory 512M --no-reboot --net user --kernel {{kernel}} --initrd {{initrd}} --append {{cmdline}}",
            guest::ferry()?.display()
        ),
    };
    ensure!(args.transfers > 0 && args.size > 0, "nothing to transfer");
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let kernel = guest::path(Kind::Vmlinuz)?;
    let initrd = std::env::temp_dir().join(format!("ferry-net-{}.cpio", std::process::id()));
    let _remove = guest::RemoveOnDrop(initrd.clone());
    let port = server.local_addr()?.port();
    std::fs::write(&initrd, archive(args, port)?)?;
    let fill = |template: &str| -> Vec<String> {
        template
            .split_whitespace()
            .map(|w| {
                w.replace("{kernel}", &kernel.to_string_lossy())
                    .replace("{initrd}", &initrd.to_string_lossy())
                    .replace("{cmdline}", "console=ttyS0 quiet panic=-1")
            })
            .collect()
    };
    let (mut ferry, mut other) = (Side::default(), Side::default());
    for rep in 0..args.reps.max(1) {
        // In turn, so that what else the machine does meets both.
        let mut both = [(&own, &mut ferry), (&args.against, &mut other)];
        if rep % 2 == 1 {
            both.reverse();
        }
        for (template, side) in both {
            boot(args, &fill(template), &server, side).with_context(|| template.clone())?;
        }
    }
    let mut fine = true;
    println!(
        "{:<10} {:>10} {:>10} {:>7}",
        "MB/s", "ferry", "other", "ratio"
    );
    for (n, way) in ["download", "upload"].into_iter().enumerate() {
        let ratio = print(way, &ferry[n].elapsed, &other[n].elapsed);
        print(&format!("{way}, CPU"), &ferry[n].cpu, &other[n].cpu);
        fine &= ratio >= args.least;
    }
    Ok(match fine {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// A line of the table: medians, and their ratio.
fn print(what: &str, ferry: &[f64], other: &[f64]) -> f64 {
    let (a, b) = (median(ferry), median(other));
    println!("{what:<14} {a:>6.1} {b:>10.1} {:>7.2}", a / b);
    a / b
}

/// The initramfs with what the guest runs.
fn archive(args: &Args, port: u16) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    for kind in [Kind::Initrd, Kind::Modules] {
        all.extend(std::fs::read(guest::path(kind)?)?);
    }
    let mut script = "for m in /ferry/modules/*; do insmod $m; done 2>/dev/null; ifconfig eth0 10.0.2.15; sleep 1; \
        route add default gw 10.0.2.2; "
        .to_owned();
    for _ in 0..args.transfers {
        script += &format!("wget -q -O /dev/null http://10.0.2.2:{port}/; ");
        script += &format!(
            "nc 10.0.2.2 {port} -e dd if=/dev/zero bs=65536 count={} 2>/dev/null; ",
            args.size * 16
        );
    }
    all.extend(guest::command_overlay(&script));
    Ok(all)
}

/// Boots once and serves all transfers.
fn boot(args: &Args, words: &[String], server: &TcpListener, side: &mut Side) -> Result<()> {
    let (program, rest) = words.split_first().context("the template is empty")?;
    let mut machine = Command::new(program)
        .args(rest)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {program}"))?;
    let served = serve(args, &mut machine, server, side);
    if served.is_err() {
        let _ = machine.kill();
    }
    machine.wait()?;
    served
}

fn serve(args: &Args, machine: &mut Child, server: &TcpListener, side: &mut Side) -> Result<()> {
    server.set_nonblocking(true)?;
    for n in 0..2 * args.transfers {
        let until = Instant::now() + PATIENCE;
        let stream = loop {
            match server.accept() {
                Ok((stream, _)) => break stream,
                Err(e) if e.kind() != std::io::ErrorKind::WouldBlock => return Err(e.into()),
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
            if let Some(status) = machine.try_wait()? {
                bail!("the guest ended before its transfers were done ({status})");
            }
            ensure!(Instant::now() < until, "the guest does not connect");
        };
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let bytes = args.size << 20;
        let Speed { elapsed, cpu } = &mut side[n % 2];
        let (seconds, spent) = match n % 2 {
            0 => download(machine.id(), stream, bytes)?,
            _ => upload(machine.id(), stream, bytes)?,
        };
        elapsed.push(bytes as f64 / 1e6 / seconds);
        cpu.push(bytes as f64 / 1e6 / spent);
    }
    Ok(())
}

/// Answers one request with `bytes` bytes; seconds elapsed, and of CPU time.
fn download(pid: u32, mut stream: TcpStream, bytes: usize) -> Result<(f64, f64)> {
    let mut request = [0; 4096];
    ensure!(stream.read(&mut request)? > 0, "the guest asks for nothing");
    let (start, from) = (Instant::now(), mips::cpu_seconds(pid)?);
    write!(
        stream,
        "HTTP/1.0 200 OK\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n"
    )?;
    let block = vec![0x5a; 1 << 20];
    for _ in 0..bytes >> 20 {
        stream.write_all(&block)?;
    }
    // The guest closes when it has everything.
    stream.shutdown(std::net::Shutdown::Write)?;
    while stream.read(&mut request)? > 0 {}
    Ok((
        start.elapsed().as_secs_f64(),
        mips::cpu_seconds(pid)? - from,
    ))
}

/// Takes `bytes` bytes; seconds elapsed, and of CPU time.
fn upload(pid: u32, mut stream: TcpStream, bytes: usize) -> Result<(f64, f64)> {
    let mut block = vec![0; 1 << 20];
    let mut got = stream.read(&mut block)?;
    let (start, from) = (Instant::now(), mips::cpu_seconds(pid)?);
    while got < bytes {
        let n = stream.read(&mut block)?;
        ensure!(n > 0, "the upload ended after {got} bytes");
        got += n;
    }
    let taken = start.elapsed().as_secs_f64();
    let spent = mips::cpu_seconds(pid)? - from;
    ensure!(
        got == bytes,
        "the upload has {got} bytes in place of {bytes}"
    );
    Ok((taken, spent))
}
