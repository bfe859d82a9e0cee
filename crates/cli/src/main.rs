//! `ferry`: arguments in, exit status out.

mod args;
mod cards;
mod config;
mod ctl;
mod disk;
mod drives;
mod escape;
mod firmware;
mod machine_file;
mod screen;
mod serial;
mod shares;
mod signals;
mod stats;
mod terminal;
mod trace;
mod web;

use clap::Parser;
use config::{Config, Refusal, Request, Serial, StatsFormat};
use machine::{Machine, StopReason};
use std::process::ExitCode;

/// Trouble on the host.
const HOST_TROUBLE: u8 = 1;
/// Arguments or files that cannot be used.
const UNUSABLE: u8 = 2;

fn main() -> ExitCode {
    match command() {
        Ok(status) => status.into(),
        Err(error) => {
            eprintln!("ferry: {error:#}");
            let unusable = error.is::<Refusal>()
                || error
                    .downcast_ref::<block::Error>()
                    .is_some_and(|e| !e.blames_host())
                || error
                    .downcast_ref::<machine::Error>()
                    .is_some_and(|e| e.blame() == machine::Blame::Arguments);
            ExitCode::from(if unusable { UNUSABLE } else { HOST_TROUBLE })
        }
    }
}

fn command() -> anyhow::Result<u8> {
    let mut cli = args::Cli::parse();
    if let args::Command::Run(run) = &cli.command
        && let Some(file) = &run.machine
    {
        cli = machine_file::merge(std::env::args_os().collect(), file)?;
    }
    match cli.command {
        args::Command::Run(run) => start(*run),
        args::Command::Disk(disk) => disk::run(disk),
        args::Command::Ctl(c) => ctl::run(c),
        args::Command::Screenshot(s) => ctl::screenshot(&s),
    }
}

fn start(run: args::Run) -> anyhow::Result<u8> {
    let dump = match run.dump_config {
        true => Some(machine_file::dump(&run)?),
        false => None,
    };
    match (Request::new(run)?, dump) {
        // What cannot be run is refused before.
        (Request::Run(_), Some(text)) => {
            print!("{text}");
            Ok(0)
        }
        (Request::Show(text), _) => {
            println!("{text}");
            Ok(0)
        }
        (Request::Run(config), None) => boot(*config),
    }
}

fn boot(config: Config) -> anyhow::Result<u8> {
    if let Some(selection) = config.trace.clone() {
        selection.start();
    }
    // All that can be refused is looked at before files are created or the terminal is touched.
    let image = machine::BootImage::read(&config.machine)?;
    let line = serial::Line::open(&config.serial)?;
    let log = display::web::SerialLog::default();
    let output: Box<dyn std::io::Write + Send> = match screen::is_on_web(&config.displays) {
        true => Box::new(web::Tee {
            to: line.output()?,
            log: log.clone(),
        }),
        false => line.output()?,
    };
    let mut machine = Machine::new(&config.machine, image, output)?;

    let displays = screen::Displays::open(&config.displays, &machine, &log)?;
    let control = match &config.control {
        Some(path) => Some(control::start(path, &machine).map_err(ctl::refused)?),
        None => None,
    };

    let on_terminal = config.displays.contains(&screen::Display::Text);
    let terminal = match config.serial {
        Serial::Stdio => terminal::Terminal::open()?,
        _ if on_terminal => terminal::Terminal::open()?,
        _ => None,
    };
    // From here on a signal ends the run in order: before the terminal is touched.
    let signals = signals::Watch::start(machine.stopper(), terminal.clone())?;
    let around = Around {
        line,
        displays,
        terminal: terminal.as_ref(),
        signals: &signals,
    };
    let outcome = run(&mut machine, &config, around);
    drop(control);
    if let Some(terminal) = &terminal {
        terminal.restore();
    }
    if let Some(format) = config.stats {
        let stats = control::info::stats(&machine)?;
        match format {
            StatsFormat::Text => eprint!("{}", stats::text(&stats)),
            StatsFormat::Json => eprintln!("{stats}"),
        }
    }
    outcome
}

/// What stands around a machine while it runs.
struct Around<'a> {
    line: serial::Line,
    displays: screen::Displays,
    terminal: Option<&'a terminal::Terminal>,
    signals: &'a signals::Watch,
}

fn run(machine: &mut Machine, config: &Config, around: Around<'_>) -> anyhow::Result<u8> {
    let Around {
        line,
        mut displays,
        terminal,
        signals,
    } = around;
    if let Some(terminal) = terminal {
        terminal.make_raw()?;
    }
    displays.draw(&config.displays, machine, terminal)?;
    let feeder = line.feed(machine.serial_input(), machine.stopper(), terminal)?;
    let reason = machine.run();
    drop(feeder);
    drop(displays);
    if let Some(terminal) = terminal {
        terminal.restore();
    }
    Ok(match reason? {
        StopReason::PowerOff => {
            eprintln!("ferry: the guest powered off");
            0
        }
        StopReason::Reset(source) => {
            eprintln!(
                "ferry: the guest was reset by {}",
                machine::describe(source)
            );
            0
        }
        // isa-debug-exit: the low byte of the status is what the host sees.
        StopReason::DebugExit(value) => (value << 1) as u8 | 1,
        StopReason::User => signals.status().unwrap_or(0),
    })
}
