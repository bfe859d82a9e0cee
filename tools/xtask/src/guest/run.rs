//! `cargo xtask guest run`: boots a fetched kernel with our userland, to a shell or for one command.

use std::io::{IsTerminal, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::fetch::Cache;
use super::filter::Filter;
use super::{Kind, initramfs};
use crate::host;

/// Exit status when the machine ended without the command's status, as in env(1) and timeout(1).
const NO_STATUS: u8 = 125;
const TIMED_OUT: u8 = 124;

/// Longer commands travel in the initramfs: the kernel cuts its command line at 2048 bytes.
const LONGEST_ON_COMMAND_LINE: usize = 600;

/// Boot a guest to a shell, or run one command in it
#[derive(clap::Args)]
pub struct Args {
    /// The emulator: `ferry` (the release build), `arm` (the aarch64 build under emulation), `qemu` (QEMU instead,
    /// the foreign proof of our userland), or the path of a ferry
    #[arg(long, default_value = "ferry")]
    vm: String,
    /// Boot the i386 kernel and userland
    #[arg(long, conflicts_with = "vmlinux")]
    i386: bool,
    /// Boot the unpacked kernel, through its PVH entry
    #[arg(long)]
    vmlinux: bool,
    /// Ferry's engine
    #[arg(long)]
    engine: Option<String>,
    /// CPU model of the guest
    #[arg(long)]
    cpu: Option<String>,
    /// Guest memory
    #[arg(long, default_value = "512M")]
    memory: String,
    /// More words for the kernel's command line
    #[arg(long, default_value = "")]
    append: String,
    /// Show all that the guest sends before the command begins, and the emulator's command line
    #[arg(long)]
    verbose: bool,
    /// End the guest after that many seconds, with status 124
    #[arg(long)]
    timeout: Option<u64>,
    /// The shell command to run in the guest; its words are joined by blanks. None: a shell
    #[arg(last = true)]
    command: Vec<String>,
}

pub fn run(args: &Args) -> Result<ExitCode> {
    let (kernel, initrd) = {
        let cache = Cache::open()?;
        let (kernel, initrd) = match (args.i386, args.vmlinux) {
            (true, _) => (Kind::VmlinuzI386, Kind::InitrdI386),
            (false, true) => (Kind::Vmlinux, Kind::Initrd),
            (false, false) => (Kind::Vmlinuz, Kind::Initrd),
        };
        (cache.path(kernel)?, cache.path(initrd)?)
    };
    if args.command.is_empty() {
        return interactive(args, &kernel, &initrd);
    }
    let command = args.command.join(" ");
    let token = token();
    let mut append = format!(
        "console=ttyS0 quiet loglevel=1 panic=-1 {}={token}",
        initramfs::option::TOKEN
    );
    let mut initrd = initrd;
    let overlay = if command.len() <= LONGEST_ON_COMMAND_LINE {
        append += &format!(
            " {}={}",
            initramfs::option::COMMAND,
            initramfs::hex(command.as_bytes())
        );
        None
    } else {
        let mut archive = std::fs::read(&initrd)?;
        archive.extend(initramfs::command_overlay(&command));
        initrd = std::env::temp_dir().join(format!("ferry-initrd-{token}.cpio"));
        std::fs::write(&initrd, archive)
            .with_context(|| format!("cannot write {}", initrd.display()))?;
        Some(RemoveOnDrop(initrd.clone()))
    };
    let mut machine = emulator(args, &kernel, &initrd, &append, false)?;
    let status = one_command(args, &mut machine, &token);
    drop(overlay);
    Ok(ExitCode::from(status?))
}

/// A guest with a shell on this terminal. Its status is the emulator's.
fn interactive(args: &Args, kernel: &Path, initrd: &Path) -> Result<ExitCode> {
    let mut append = "console=ttyS0 panic=-1".to_owned();
    if let Some(term) = std::env::var("TERM")
        .ok()
        .filter(|term| !term.is_empty() && !term.contains(' '))
    {
        append += &format!(" {}={term}", initramfs::option::TERM);
    }
    let out = std::io::stdout();
    if out.is_terminal()
        && let Ok(size) = rustix::termios::tcgetwinsize(&out)
        && size.ws_row > 0
    {
        append += &format!(
            " {}={}x{}",
            initramfs::option::SIZE,
            size.ws_row,
            size.ws_col
        );
    }
    let mut machine = emulator(args, kernel, initrd, &append, true)?;
    let status = machine
        .status()
        .with_context(|| format!("cannot start {}", args.vm))?;
    Ok(ExitCode::from(
        status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .unwrap_or(NO_STATUS),
    ))
}

/// The emulator's command line. Both emulators get the same machine and the same guest.
fn emulator(
    args: &Args,
    kernel: &Path,
    initrd: &Path,
    append: &str,
    interactive: bool,
) -> Result<Command> {
    let append = format!("{append} {}", args.append);
    let append = append.trim_end();
    let mut command;
    if args.vm == "qemu" {
        command = Command::new("qemu-system-x86_64");
        command.args("-M q35 -accel tcg -smp 1 -display none -no-reboot -nodefaults".split(' '));
        command.args([
            "-cpu",
            args.cpu.as_deref().unwrap_or("qemu64"),
            "-m",
            &args.memory,
        ]);
        command.args(["-serial", if interactive { "mon:stdio" } else { "stdio" }]);
        command
            .arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd)
            .args(["-append", append]);
    } else {
        command = match args.vm.as_str() {
            "arm" => crate::arm::Toolchain::open()?.ferry()?,
            vm => Command::new(ferry(vm)?),
        };
        command.args([
            "run",
            "--no-reboot",
            "--serial",
            "stdio",
            "--memory",
            &args.memory,
        ]);
        command
            .arg("--kernel")
            .arg(kernel)
            .arg("--initrd")
            .arg(initrd)
            .args(["--append", append]);
        for (option, value) in [("--engine", &args.engine), ("--cpu", &args.cpu)] {
            command.args(value.iter().flat_map(|value| [option, value.as_str()]));
        }
    }
    if args.verbose {
        host::say(&format!("{command:?}"));
    }
    Ok(command)
}

/// `vm` as a path; `ferry` is the release build.
pub fn ferry(vm: &str) -> Result<PathBuf> {
    if vm != "ferry" {
        return Ok(PathBuf::from(vm));
    }
    let binary = host::built("release", "ferry")?;
    if !binary.exists() {
        bail!(
            "{} is not built: cargo build --release -p ferry",
            binary.display()
        );
    }
    Ok(binary)
}

/// Runs the machine and passes the command's output on; returns the command's exit status.
fn one_command(args: &Args, command: &mut Command, token: &str) -> Result<u8> {
    let mut machine = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(if args.verbose {
            Stdio::inherit()
        } else {
            Stdio::piped()
        })
        .spawn()
        .with_context(|| format!("cannot start {}", args.vm))?;
    let mut serial = machine
        .stdout
        .take()
        .context("the emulator has no output")?;
    // What the emulator itself says matters only when something went wrong.
    let remarks = machine.stderr.take().map(|mut stderr| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            text
        })
    });
    let watchdog = args
        .timeout
        .map(|seconds| watch(&machine, Duration::from_secs(seconds)));

    let mut filter = Filter::new(token);
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    let mut out = std::io::stdout().lock();
    loop {
        let length = serial.read(&mut buffer)?;
        let Some(bytes) = buffer.get(..length).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        if !filter.begun() {
            head.extend_from_slice(bytes);
            if args.verbose {
                std::io::stderr().write_all(bytes)?;
            }
        }
        out.write_all(&filter.feed(bytes))?;
        out.flush()?;
    }
    let ended = machine.wait()?;
    if let Some(status) = filter.status() {
        return Ok(status);
    }
    let remarks = remarks
        .and_then(|thread| thread.join().ok())
        .unwrap_or_default();
    std::io::stderr().write_all(&remarks)?;
    if !filter.begun() && !args.verbose {
        let tail = head.len().saturating_sub(4096);
        eprintln!("{}", String::from_utf8_lossy(&head[tail..]));
    }
    if watchdog.is_some_and(|deadline| Instant::now() >= deadline) {
        host::say("the guest was ended: the time is up");
        return Ok(TIMED_OUT);
    }
    host::say(&format!(
        "the guest ended without the command's exit status ({} {ended})",
        args.vm
    ));
    Ok(NO_STATUS)
}

/// Ends `machine` when its time is up; the returned deadline tells whether that was so.
fn watch(machine: &Child, time: Duration) -> Instant {
    let pid = rustix::process::Pid::from_child(machine);
    std::thread::spawn(move || {
        std::thread::sleep(time);
        // This thread ends with the process, which does not outlive the machine: the id is still the machine's.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    });
    Instant::now() + time
}

/// A word that no guest can have written before.
fn token() -> String {
    let mut bytes = [0; 8];
    let random =
        std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    if random.is_err() {
        bytes = u64::from(std::process::id()).to_le_bytes();
    }
    initramfs::hex(&bytes)
}

/// Removes the file at its end.
pub struct RemoveOnDrop(pub PathBuf);

impl Drop for RemoveOnDrop {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
