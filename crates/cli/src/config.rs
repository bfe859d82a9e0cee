//! From the typed command line to what the machine is built of; every refusal names the option, the value, and what would do.

use crate::args::Run;
use crate::ctl;
use crate::screen::{self, Display};
use crate::trace::{self, Selection};
use machine::{EngineKind, JIT_SWITCHES, cpu_models};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Arguments that cannot be used: exit status 2.
#[derive(Debug, PartialEq, Eq)]
pub struct Refusal {
    option: &'static str,
    reason: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.option, self.reason)
    }
}

impl std::error::Error for Refusal {}

/// A refusal of `option`'s value.
pub fn refuse(option: &'static str, reason: impl Into<String>) -> Refusal {
    Refusal {
        option,
        reason: reason.into(),
    }
}

/// Where the serial line goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Serial {
    Stdio,
    Null,
    File(PathBuf),
    Unix(PathBuf),
}

/// How statistics are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatsFormat {
    Text,
    Json,
}

/// What `ferry run` does.
#[derive(Debug)]
pub struct Config {
    pub machine: machine::Config,
    pub serial: Serial,
    pub displays: Vec<Display>,
    pub control: Option<PathBuf>,
    pub stats: Option<StatsFormat>,
    pub trace: Option<Selection>,
}

/// A request for a list instead of a run.
#[derive(Debug)]
pub enum Request {
    Run(Box<Config>),
    /// Text for standard output.
    Show(String),
}

impl Request {
    pub fn new(run: Run) -> anyhow::Result<Self> {
        if run.cpu == "help" {
            return Ok(Self::Show(cpu_models().join("\n")));
        }
        if run.trace.as_deref() == Some("help") {
            return Ok(Self::Show(trace::list()));
        }
        if run.jit.as_deref() == Some("help") {
            return Ok(Self::Show(jit_switches()));
        }
        check_cpus(&run.cpus)?;
        let engine = run
            .engine
            .as_deref()
            .map_or(Ok(Default::default()), engine)?;
        let jit = jit(&run, engine)?;
        let displays = screen::parse(&run.display)?;
        let drives = crate::drives::drives(&run.disk, &run.cdrom, &run.floppy)?;
        if run.initrd.is_some() && run.kernel.is_none() {
            let reason = "no kernel takes it; accepted with --kernel";
            return Err(refuse("--initrd", reason).into());
        }
        let firmware = run.firmware.firmware(run.kernel.as_deref())?;
        let vga = vga(run.vga.as_deref(), &displays, &firmware)?;
        let own_bios = || match (vga, &firmware.image) {
            (machine::Vga::Present, Some(_)) => machine::video_bios(),
            _ => None,
        };
        let video_bios = run.vga_rom.clone().or_else(own_bios);
        let machine = machine::Config {
            drives,
            cards: crate::cards::cards(&run.net)?,
            shares: crate::shares::folders(&run.share)?,
            memory: memory(&run.memory)?,
            cpu: cpu(&run.cpu)?,
            engine,
            jit,
            firmware,
            debug_ports: run.firmware.debug_ports()?,
            kernel: run.kernel,
            initrd: run.initrd,
            command_line: run.append,
            on_reset: match run.no_reboot {
                true => machine::OnReset::Stop,
                false => machine::OnReset::Restart,
            },
            vga,
            video_bios,
            debug_exit: match run.debug_exit {
                true => machine::DebugExit::Present,
                false => machine::DebugExit::Absent,
            },
        };
        Ok(Self::Run(Box::new(Config {
            machine,
            serial: serial_beside(run.serial.as_deref(), &displays)?,
            displays,
            control: run.control.as_deref().map(ctl::socket).transpose()?,
            stats: run.stats.as_deref().map(stats).transpose()?,
            trace: run.trace.as_deref().map(Selection::parse).transpose()?,
        })))
    }
}

/// "a, b and c".
pub fn enumerate(names: &[&str]) -> String {
    match names {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => names.concat(),
    }
}

fn engine(name: &str) -> Result<EngineKind, Refusal> {
    let known = EngineKind::available();
    let names: Vec<&str> = known.iter().map(|e| e.0).collect();
    known
        .iter()
        .find(|e| e.0 == name)
        .map(|e| e.1)
        .ok_or_else(|| {
            refuse(
                "--engine",
                format!("unknown engine '{name}'; accepted is {}", enumerate(&names)),
            )
        })
}

/// The list that `--jit help` prints.
fn jit_switches() -> String {
    let line = |s: &machine::JitSwitch| format!("{:<14} {}", s.name, s.what);
    JIT_SWITCHES.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// More threads would hardly ever have something to compile.
const MOST_JIT_THREADS: usize = 64;

/// The translator's options.
fn jit(run: &Run, engine: EngineKind) -> Result<machine::JitOptions, Refusal> {
    let mut jit = machine::JitOptions {
        verify: run.verify,
        sabotage: run.sabotage,
        perf_map: run.perf_map,
        profile: run.profile.clone(),
        ..machine::JitOptions::default()
    };
    let wanted = [
        ("--jit", run.jit.is_some()),
        ("--tier-threshold", run.tier_threshold.is_some()),
        ("--jit-threads", run.jit_threads.is_some()),
        ("--code-cache", run.code_cache.is_some()),
        ("--verify", run.verify),
        ("--dump", run.dump.is_some()),
        ("--dump-file", run.dump_file.is_some()),
        ("--perf-map", run.perf_map),
        ("--profile", run.profile.is_some()),
        ("--symbols", run.symbols.is_some()),
    ];
    if let (EngineKind::Eval, Some((option, _))) = (engine, wanted.iter().find(|w| w.1)) {
        return Err(refuse(
            option,
            "there is no translator in this run; accepted with --engine jit, on x86-64 hosts",
        ));
    }
    if let Some(size) = &run.code_cache {
        jit.code_cache = code_cache(size)?;
    }
    if let Some(n) = run.tier_threshold {
        jit.tier_threshold = n;
    }
    if let Some(n) = run.jit_threads {
        if n > MOST_JIT_THREADS {
            return Err(refuse(
                "--jit-threads",
                format!("{n} threads; accepted are 0 to {MOST_JIT_THREADS}"),
            ));
        }
        jit.jit_threads = n;
    }
    jit.dump = match (&run.dump, &run.dump_file) {
        (Some(text), file) => Some(dump(text, file.clone())?),
        (None, None) => None,
        (None, Some(_)) => {
            return Err(refuse(
                "--dump-file",
                "nothing is dumped; accepted with --dump",
            ));
        }
    };
    if run.symbols.is_some() && !run.perf_map && run.dump.is_none() && run.profile.is_none() {
        return Err(refuse(
            "--symbols",
            "nothing is named; accepted with --perf-map, --dump or --profile",
        ));
    }
    jit.symbols = run
        .symbols
        .as_deref()
        .map(symbols)
        .transpose()?
        .map(Arc::new);
    for name in run
        .jit
        .iter()
        .flat_map(|names| names.split(','))
        .map(str::trim)
    {
        if !jit.switch_off(name) {
            let known: Vec<&str> = JIT_SWITCHES.iter().map(|s| s.name).collect();
            let known = enumerate(&known);
            return Err(refuse(
                "--jit",
                format!("unknown switch '{name}'; accepted are {known}, separated by commas"),
            ));
        }
    }
    Ok(jit)
}

/// What to dump, and of which addresses.
fn dump(text: &str, file: Option<PathBuf>) -> Result<machine::JitDump, Refusal> {
    const ACCEPTED: &str = "accepted are guest, clif and host, separated by commas, with :ADDR or :ADDR-ADDR in hexadecimal behind";
    let bad = |reason: String| refuse("--dump", format!("{reason}; {ACCEPTED}"));
    let (what, range) = match text.split_once(':') {
        Some((what, range)) => (what, Some(range)),
        None => (text, None),
    };
    let mut dump = machine::JitDump {
        guest: false,
        host: false,
        clif: false,
        range: None,
        file,
    };
    for name in what.split(',').map(str::trim) {
        match name {
            "guest" => dump.guest = true,
            "host" => dump.host = true,
            "clif" => dump.clif = true,
            _ => return Err(bad(format!("'{name}' cannot be dumped"))),
        }
    }
    if let Some(range) = range {
        let number = |text: &str| {
            let digits = text.trim();
            let digits = digits.strip_prefix("0x").unwrap_or(digits);
            u64::from_str_radix(digits, 16).map_err(|_| bad(format!("'{text}' is not an address")))
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first)?, number(last)?);
        if last < first {
            return Err(bad(format!("{last:#x} is before {first:#x}")));
        }
        dump.range = Some(first..=last);
    }
    Ok(dump)
}

/// The symbols in a file.
fn symbols(path: &Path) -> Result<machine::Symbols, Refusal> {
    const ACCEPTED: &str =
        "accepted is a System.map or /proc/kallsyms: lines of address, type and name";
    let bad = |reason: String| {
        refuse(
            "--symbols",
            format!("{}: {reason}; {ACCEPTED}", path.display()),
        )
    };
    let text = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
    machine::Symbols::parse(&String::from_utf8_lossy(&text)).map_err(bad)
}

fn check_cpus(text: &str) -> Result<(), Refusal> {
    match text.parse::<u64>() {
        Ok(1) => Ok(()),
        Ok(0) => Err(refuse(
            "--cpus",
            "a machine needs a processor; accepted is 1",
        )),
        Ok(n) => Err(refuse(
            "--cpus",
            format!("{n} processors cannot be had in this version; accepted is 1"),
        )),
        Err(_) => Err(refuse(
            "--cpus",
            format!("'{text}' is not a number; accepted is 1"),
        )),
    }
}

fn cpu(name: &str) -> Result<machine::CpuModel, Refusal> {
    machine::CpuModel::by_name(name).ok_or_else(|| {
        let known = enumerate(&cpu_models());
        refuse(
            "--cpu",
            format!("unknown processor model '{name}'; accepted are {known}"),
        )
    })
}

/// Bytes of a size such as 512M.
pub fn size(option: &'static str, text: &str) -> Result<u64, Refusal> {
    const ACCEPTED: &str = "accepted is a whole number with K, M, G or T, such as 512M or 2G";
    let bad = |reason: String| refuse(option, reason);
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let (number, unit) = text.split_at(digits.len());
    let number: u64 = number
        .parse()
        .map_err(|_| bad(format!("'{text}' is not a size; {ACCEPTED}")))?;
    let shift = match unit
        .to_ascii_uppercase()
        .trim_end_matches("IB")
        .trim_end_matches('B')
    {
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        "" => return Err(bad(format!("'{text}' has no unit; {ACCEPTED}"))),
        _ => return Err(bad(format!("'{unit}' is not a unit; {ACCEPTED}"))),
    };
    Ok(number.saturating_mul(1 << shift))
}

/// Bytes of the machine's memory.
fn memory(text: &str) -> Result<u64, Refusal> {
    let bad = |reason: String| refuse("--memory", reason);
    let bytes = size("--memory", text)?;
    let (least, most) = (machine::layout::MEMORY_MIN, machine::layout::MEMORY_MAX);
    let range = format!("accepted are {}M to {}G", least >> 20, most >> 30);
    if bytes < least {
        return Err(bad(format!("{text} is too little; {range}")));
    }
    if bytes > most {
        return Err(bad(format!("{text} is too much; {range}")));
    }
    if !bytes.is_multiple_of(4096) {
        return Err(bad(format!("{text} is not a whole number of 4K pages")));
    }
    Ok(bytes)
}

/// Bytes of the code cache.
fn code_cache(text: &str) -> Result<usize, Refusal> {
    let (least, most) = (
        machine::JitOptions::CODE_CACHE_MIN,
        machine::JitOptions::CODE_CACHE_MAX,
    );
    let range = format!("accepted are {}M to {}G", least >> 20, most >> 30);
    let bytes = size("--code-cache", text)?;
    match usize::try_from(bytes) {
        Ok(n) if n < least => Err(refuse(
            "--code-cache",
            format!("{text} is too little; {range}"),
        )),
        Ok(n) if n <= most => Ok(n),
        _ => Err(refuse(
            "--code-cache",
            format!("{text} is too much; {range}"),
        )),
    }
}

/// The serial line: on the terminal, unless that is the screen.
fn serial_beside(text: Option<&str>, displays: &[Display]) -> Result<Serial, Refusal> {
    let on_terminal = displays.contains(&Display::Text);
    match (text, on_terminal) {
        (None, true) => Ok(Serial::Null),
        (None, false) => Ok(Serial::Stdio),
        (Some(text), _) => match serial(text)? {
            Serial::Stdio if on_terminal => Err(refuse(
                "--serial",
                "the terminal shows the screen (--display text); accepted are null, file:PATH and unix:PATH",
            )),
            serial => Ok(serial),
        },
    }
}

fn serial(text: &str) -> Result<Serial, Refusal> {
    const ACCEPTED: &str = "accepted are stdio, null, file:PATH and unix:PATH";
    let bad = |reason: String| refuse("--serial", format!("{reason}; {ACCEPTED}"));
    match text.split_once(':') {
        None if text == "stdio" => Ok(Serial::Stdio),
        None if text == "null" => Ok(Serial::Null),
        Some(("file" | "unix", "")) => Err(bad(format!("'{text}' has no path"))),
        Some(("file", path)) => Ok(Serial::File(path.into())),
        Some(("unix", path)) => Ok(Serial::Unix(path.into())),
        _ => Err(bad(format!("'{text}' is no place for a serial line"))),
    }
}

/// The display adapter.
fn vga(
    name: Option<&str>,
    displays: &[Display],
    firmware: &machine::Firmware,
) -> Result<machine::Vga, Refusal> {
    match name {
        None if !displays.is_empty() || firmware.image.is_some() => Ok(machine::Vga::Present),
        Some("none") if !displays.is_empty() => Err(refuse(
            "--vga",
            "a display needs an adapter; accepted with --display is std",
        )),
        None | Some("none") => Ok(machine::Vga::Absent),
        Some("std") => Ok(machine::Vga::Present),
        Some(name) => Err(refuse(
            "--vga",
            format!("unknown display adapter '{name}'; accepted are std and none"),
        )),
    }
}

fn stats(text: &str) -> Result<StatsFormat, Refusal> {
    match text {
        "text" => Ok(StatsFormat::Text),
        "json" => Ok(StatsFormat::Json),
        _ => Err(refuse(
            "--stats",
            format!("unknown format '{text}'; accepted are text and json"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        let cases = [
            ("512M", 512 << 20),
            ("4096K", 4 << 20),
            ("2g", 2 << 30),
            ("1GiB", 1 << 30),
            ("64MB", 64 << 20),
        ];
        for (text, bytes) in cases {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn bad_sizes_are_refused_with_what_would_do() {
        let cases = [
            ("", "not a size"),
            ("M", "not a size"),
            ("-1G", "not a size"),
            ("0.5G", "not a size"),
            ("512", "no unit"),
            ("512X", "'X' is not a unit"),
            ("0M", "too little; accepted are 4M to"),
            ("3M", "too little"),
            ("99999999999T", "too much"),
            ("18446744073709551615T", "too much"),
            ("5001K", "whole number of 4K pages"),
        ];
        for (text, want) in cases {
            let got = memory(text).unwrap_err().to_string();
            assert!(got.contains(want), "{text}: {got}");
        }
    }

    #[test]
    fn code_caches_have_bounds() {
        assert_eq!(code_cache("1M"), Ok(1 << 20));
        assert_eq!(code_cache("2G"), Ok(2 << 30));
        for (text, want) in [
            ("1023K", "too little; accepted are 1M to 2G"),
            ("3G", "too much; accepted are 1M to 2G"),
            ("16777216T", "too much"),
            ("4", "no unit"),
            ("", "not a size"),
        ] {
            let got = code_cache(text).unwrap_err().to_string();
            assert!(
                got.starts_with("--code-cache: ") && got.contains(want),
                "{text}: {got}"
            );
        }
    }

    #[test]
    fn serial_lines_are_named() {
        assert_eq!(serial("stdio"), Ok(Serial::Stdio));
        assert_eq!(serial("file:a:b"), Ok(Serial::File("a:b".into())));
        assert_eq!(serial("unix:/s"), Ok(Serial::Unix("/s".into())));
        for bad in ["", "tcp:1", "file:", "unix:", "stdio:x"] {
            assert!(serial(bad).is_err(), "{bad}");
        }
    }
}
