//! `ferry ctl` and `ferry screenshot`: commands to a running machine.

use anyhow::Context;
use clap::Args;
use control::client::{self, Error};
use control::request::{self, COMMANDS, Request};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::config::{Refusal, refuse};

/// Send a command to a running machine
#[derive(Debug, Args)]
#[command(after_help = commands())]
pub struct Ctl {
    /// Socket of `ferry run --control unix:PATH`
    pub socket: PathBuf,

    /// Command and its arguments
    #[arg(required = true, num_args = 1.., allow_hyphen_values = true, trailing_var_arg = true)]
    pub command: Vec<String>,
}

/// Write a picture of a running machine's screen
#[derive(Debug, Args)]
pub struct Screenshot {
    /// Socket of `ferry run --control unix:PATH`
    pub socket: PathBuf,

    /// PNG file to write; - is standard output
    pub file: PathBuf,
}

fn commands() -> String {
    let lines = COMMANDS
        .iter()
        .map(|(form, what)| format!("  {form:<28} {what}"));
    let lines: Vec<String> = lines.collect();
    format!(
        "Commands:\n{}\n\nExit status:\n  0  the machine did it\n  1  it did not, or there is none at the socket\n  2  no such command\n",
        lines.join("\n")
    )
}

pub fn run(ctl: Ctl) -> anyhow::Result<u8> {
    let request = request::from_words(&ctl.command).map_err(|e| refuse("ferry ctl", e))?;
    let answer = ask(&ctl.socket, &request)?;
    match (&request, ctl.command.get(1)) {
        (Request::Screenshot, Some(file)) => save(&answer, Path::new(file))?,
        _ => print!("{}", client::shown(&answer)),
    }
    Ok(0)
}

pub fn screenshot(s: &Screenshot) -> anyhow::Result<u8> {
    let answer = ask(&s.socket, &Request::Screenshot)?;
    save(&answer, &s.file)?;
    Ok(0)
}

fn ask(socket: &Path, request: &Request) -> anyhow::Result<serde_json::Value> {
    client::ask(socket, request).map_err(|e| match e {
        Error::Refused(why) => anyhow::anyhow!("the machine says: {why}"),
        e => e.into(),
    })
}

fn save(answer: &serde_json::Value, file: &Path) -> anyhow::Result<()> {
    let png = client::picture(answer)?;
    if file == Path::new("-") {
        return Ok(std::io::stdout().write_all(&png)?);
    }
    std::fs::write(file, png).with_context(|| format!("cannot write {}", file.display()))
}

/// The path in `--control unix:PATH`.
pub fn socket(text: &str) -> Result<PathBuf, Refusal> {
    match text.strip_prefix("unix:") {
        Some(path) if !path.is_empty() => Ok(path.into()),
        _ => Err(refuse(
            "--control",
            format!("'{text}' is no place for a control socket; accepted is unix:PATH"),
        )),
    }
}

/// A refusal of the socket.
pub fn refused(e: display::Error) -> anyhow::Error {
    match e {
        display::Error::Listen { address, source } => refuse(
            "--control",
            format!("cannot listen on {address}: {source}; accepted is a path in a writable directory that is free or a socket nobody listens on"),
        )
        .into(),
        e => e.into(),
    }
}
