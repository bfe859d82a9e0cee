//! The command line as it is typed: strings and switches, not yet checked against each other or the host.

use clap::{Args, Parser, Subcommand};
use serde::Serialize;
use std::path::PathBuf;

/// Runs whole x86 PCs on whatever machine you have.
#[derive(Debug, Parser)]
#[command(name = "ferry", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Boot a new PC: by its firmware, or straight into a kernel
    Run(Box<Run>),
    Disk(crate::disk::Disk),
    Ctl(crate::ctl::Ctl),
    Screenshot(crate::ctl::Screenshot),
}

const EXAMPLES: &str = "\
Examples:
  Boot a Linux kernel to a shell on this terminal (Ctrl-A x quits, Ctrl-A h helps):
    ferry run --kernel vmlinuz --initrd initrd.cpio --append 'console=ttyS0'

  Run a job in a guest and keep its output; ends when the guest powers off or resets:
    ferry run --no-reboot --kernel vmlinuz --initrd job.cpio \\
      --append 'console=ttyS0 panic=-1' --serial file:job.log

  A 32-bit system on a machine of its time, its serial line on a socket:
    ferry run --cpu pentium --memory 64M --kernel bzImage --serial unix:/tmp/pc.sock
    socat -,rawer unix-connect:/tmp/pc.sock

  Start a PC as it comes, by SeaBIOS, and see what the firmware does:
    ferry run --debugcon 0x402=bios.log

  See which interrupts a small kernel takes:
    ferry run --kernel kernel.elf --debug-exit --trace exception,interrupt

  Keep a machine in a file, and start it with more memory than it says:
    ferry run --disk disk.qcow2 --net user --dump-config >pc.toml
    ferry run pc.toml --memory 4G

Exit status:
  0             the guest powered off, was reset under --no-reboot, or Ctrl-A x was typed
  1             trouble on the host
  2             unusable arguments or files
  (v << 1) | 1  the guest wrote v to port 0xF4 under --debug-exit
  130, 143      SIGINT, SIGTERM (128 + the signal)";

/// Boot a new PC: by its firmware, or straight into a kernel.
///
/// The serial line COM1 is the guest's console: give Linux `--append console=ttyS0`.
#[derive(Clone, Debug, PartialEq, Eq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
#[command(after_help = EXAMPLES)]
pub struct Run {
    /// A machine in a file: TOML whose keys are these options without their dashes, as `--dump-config` prints it. What is typed beside
    /// it wins
    #[arg(value_name = "MACHINE.TOML")]
    #[serde(skip)]
    pub machine: Option<PathBuf>,

    /// Print the machine file that these options are equal to, and end
    #[arg(long)]
    #[serde(skip)]
    pub dump_config: bool,

    /// Kernel to boot, recognised by content: Linux bzImage (64-bit or 32-bit), ELF with a PVH note (vmlinux), multiboot 1 (ELF or
    /// flat)
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,

    #[command(flatten)]
    #[serde(flatten)]
    pub firmware: crate::firmware::Options,

    /// Initial RAM disk for Linux, or the module of a multiboot kernel
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,

    /// Kernel command line
    #[arg(
        long,
        value_name = "STR",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    pub append: String,

    /// Memory of the machine: a number with K, M, G or T (powers of 1024)
    #[arg(long, value_name = "SIZE", default_value = "512M")]
    pub memory: String,

    /// Number of processors: 1 in this version
    #[arg(long, value_name = "N", default_value = "1")]
    pub cpus: String,

    /// Processor model; `--cpu help` lists them
    #[arg(long, value_name = "MODEL", default_value = "x86-64-v2")]
    pub cpu: String,

    /// How instructions are executed: `jit`, translated to host code (the default where the host is x86-64), or `eval`, by the
    /// evaluator (the default elsewhere)
    #[arg(long, value_name = "NAME")]
    pub engine: Option<String>,

    /// Switch these optimisations of the translator off, separated by commas; `--jit help` lists them. The guest computes the same
    /// without them
    #[arg(long, value_name = "SWITCHES")]
    pub jit: Option<String>,

    /// Write where the guest spends its time to FILE when it ends, a sample a millisecond, as folded stacks; `cargo xtask flamegraph` draws
    /// them. `--symbols` names the kernel's functions
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,

    /// Samples, one a millisecond of the guest's work, that must meet a loop before it is compiled as a region; 0 compiles every loop as
    /// soon as it is translated, which takes long
    #[arg(long, value_name = "SAMPLES")]
    pub tier_threshold: Option<u32>,

    /// Threads that compile regions beside the guest; 0 lets the guest wait for each
    #[arg(long, value_name = "NUMBER")]
    pub jit_threads: Option<usize>,

    /// Run each block in the evaluator as well and compare; end with status 1 at the first difference, and print it
    #[arg(long)]
    pub verify: bool,

    /// Print blocks and regions as they are translated: `guest` code, `host` code, for regions also the Cranelift IR (`clif`), or several
    /// of them (`guest,host`); of all or of those with code at a linear address (`guest:401000`) or in a range (`guest,host:ffffffff81000000-ffffffff81000fff`)
    #[arg(long, value_name = "WHAT[:ADDR[-ADDR]]")]
    pub dump: Option<String>,

    /// Where --dump goes instead of standard error
    #[arg(long, value_name = "FILE")]
    pub dump_file: Option<PathBuf>,

    /// Name translated code in `/tmp/perf-PID.map`, so that `perf report` shows the guest
    #[arg(long)]
    pub perf_map: bool,

    /// Names for guest code in --perf-map and --dump: the kernel's System.map, or the guest's /proc/kallsyms (of a kernel that is
    /// booted with `nokaslr`)
    #[arg(long, value_name = "FILE")]
    pub symbols: Option<PathBuf>,

    /// Translate wrongly, to see that --verify finds it
    #[arg(long, hide = true)]
    pub sabotage: bool,
    /// Memory for translated code: a number with K, M or G. What has not been needed for long makes room
    #[arg(long, value_name = "SIZE")]
    pub code_cache: Option<String>,

    /// A disk: an image's file, raw, qcow2, VMDK or VHDX (recognised by content; the last two only with `readonly=on` or `snapshot=on`),
    /// and behind it, separated by commas, `format=` `raw`, `qcow2`, `vmdk`, `vhdx`; `if=` `virtio` (the default), `ide`, `sata`,
    /// `floppy`; `cache=` `writeback` (the default), `none`; `snapshot=on`: writes are dropped at the end; `readonly=on`; `serial=` up to
    /// 20 characters. A comma in the file's name is written twice. May be given several times
    #[arg(long, value_name = "FILE[,KEY=VALUE...]")]
    pub disk: Vec<String>,

    /// A CD-ROM drive (IDE, or `if=sata`) with this image in it
    #[arg(long, value_name = "FILE[,KEY=VALUE...]")]
    pub cdrom: Vec<String>,

    /// A floppy drive with this image of 1440 KiB in it; the first is A:
    #[arg(long, value_name = "FILE[,KEY=VALUE...]")]
    pub floppy: Vec<String>,

    /// A network card and what it is connected to: `user`, a network in this process, where the guest gets 10.0.2.15 by DHCP, reaches the
    /// host's loopback as 10.0.2.2 and other hosts by their addresses; `switch`, with the other machines of this host that name the same
    /// `path=`; `socket`, with one other machine (`listen=[HOST]:PORT` or `connect=HOST:PORT`); `stream`, the same as QEMU's (`server=on`,
    /// `addr.type=` `unix` or `inet`, `addr.path=`, `addr.host=`, `addr.port=`, `reconnect-ms=`), for passt and the like; `tap`, the host's
    /// interface `ifname=`. Keys of `user`, separated by commas: `hostfwd=tcp:[HOST]:PORT-:PORT` (or `udp:`; on loopback if there is no HOST;
    /// may be repeated): a port of the host leads to one of the guest; `restrict=on`: the guest reaches nothing outside; `resolver=` an
    /// address that answers names in place of the host's resolver. Keys of every card: `mac=` an address; `model=` `virtio` (the default),
    /// `e1000`, `rtl8139`; `dump=FILE`: all frames, as Wireshark reads them. May be given several times
    #[arg(long, value_name = "NETWORK[,KEY=VALUE...]")]
    pub net: Vec<String>,

    /// Share a folder with the guest by virtio-9p, and behind it, separated by commas, `readonly`; `tag=` the name that the guest mounts
    /// it by, `share` for the first: `mount -t 9p -o trans=virtio,version=9p2000.L share /mnt`. The guest reaches nothing outside of the
    /// folder. May be given several times
    #[arg(long, value_name = "DIR[,KEY=VALUE...]")]
    pub share: Vec<String>,

    /// Where serial line COM1 goes: `stdio` (the default), `null` (the default with --display text), `file:PATH` (output only) or
    /// `unix:PATH` (a socket that clients connect to)
    #[arg(long, value_name = "LINE")]
    pub serial: Option<String>,

    /// Show the screen: `text` draws text modes in this terminal, `vnc=ADDRESS[,password-file=FILE]` serves VNC clients at :PORT or
    /// HOST:PORT (loopback if there is no host) or unix:PATH, `web=:PORT` serves a page with screen, serial line and buttons; may be
    /// given several times
    #[arg(long, value_name = "DISPLAY")]
    pub display: Vec<String>,

    /// Take commands on this socket: `unix:PATH`, for `ferry ctl PATH COMMAND`
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<String>,

    /// Display adapter: `std`, a VGA with linear modes (Bochs, 16 MiB; the default with firmware and with --display), or `none`
    #[arg(long, value_name = "ADAPTER")]
    pub vga: Option<String>,

    /// Video BIOS of the display adapter; with firmware, that of Debian's package `seabios` if it is installed
    #[arg(long, value_name = "FILE")]
    pub vga_rom: Option<PathBuf>,

    /// End when the guest resets the machine, instead of starting it anew
    #[arg(long)]
    pub no_reboot: bool,

    /// Let the guest end the run with a status of its choice by writing to port 0xF4
    #[arg(long)]
    pub debug_exit: bool,

    /// Print what the processor did to standard error at the end, as `text` or `json`
    #[arg(long, value_name = "FORMAT", num_args = 0..=1, require_equals = true, default_missing_value = "text")]
    pub stats: Option<String>,

    /// Print events of these kinds to standard error, separated by commas; `--trace help` lists them
    #[arg(long, value_name = "CATEGORIES")]
    pub trace: Option<String>,
}
