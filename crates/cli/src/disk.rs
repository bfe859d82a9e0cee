//! `ferry disk`: making, looking at and changing images.

use crate::config::{Refusal, refuse};
use block::manage::{self, Shrink};
use block::{Format, qcow2_check};
use clap::{Args, Subcommand};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

const EXAMPLES: &str = "\
Examples:
  A new disk of 20 GiB that grows as it is written:
    ferry disk create disk.qcow2 20G

  Try something on a disk and keep the old state: work on the new image, throw it away or keep it
    ferry disk snapshot disk.qcow2 try.qcow2

  A disk of another program as qcow2:
    ferry disk convert machine.vmdk machine.qcow2

Not in this version: internal qcow2 snapshots, preallocation, encrypted images, making VMDK and VHDX images, repairs by check.";

/// Make, look at and change disk images
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Disk {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a new image; its format is that of the file's ending, or raw
    Create {
        file: PathBuf,
        /// Size of the disk: a number with K, M, G or T. With --backing that disk's size is the default
        size: Option<String>,
        /// raw or qcow2
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
        /// What the new disk shows where it was not written; looked up from the new image's directory (qcow2 only)
        #[arg(long, value_name = "FILE")]
        backing: Option<PathBuf>,
    },
    /// Print what an image is
    Info {
        file: PathBuf,
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Copy a disk to a new image; backing files are merged in
    Convert {
        from: PathBuf,
        to: PathBuf,
        /// Format of the source, where its content is not to be trusted
        #[arg(long, value_name = "FORMAT")]
        from_format: Option<String>,
        /// raw or qcow2; the default is that of the file's ending, or raw
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
    },
    /// Give a raw or qcow2 disk another size
    Resize {
        file: PathBuf,
        size: String,
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
        /// Let the disk lose its end
        #[arg(long)]
        shrink: bool,
    },
    /// Look for damage: qcow2's tables and counts, other formats by reading all of the disk. Nothing is written
    Check {
        file: PathBuf,
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
    },
    /// Make a qcow2 image on top of another, which must not be written from then on
    Snapshot {
        base: PathBuf,
        file: PathBuf,
        /// Format of the base
        #[arg(long, value_name = "FORMAT")]
        format: Option<String>,
    },
}

/// The exit status of a check that found damage.
const DAMAGED: u8 = 3;

/// Does it; tells the exit status.
pub fn run(disk: Disk) -> anyhow::Result<u8> {
    match disk.action {
        Action::Create {
            file,
            size,
            format,
            backing,
        } => {
            let format = target(&file, format.as_deref())?;
            let size = size.map(|s| crate::config::size("SIZE", &s)).transpose()?;
            if size.is_none() && backing.is_none() {
                return Err(refuse("SIZE", "a new disk needs a size, such as 20G").into());
            }
            let backing = backing.as_deref().map(|b| (b, None));
            let bytes = manage::create(&file, format, size, backing)?;
            println!("{}: {format}, {}", file.display(), amount(bytes));
        }
        Action::Info { file, format, json } => {
            let info = manage::info(&file, named(format.as_deref())?)?;
            print!("{}", describe(&file, &info, json));
        }
        Action::Convert {
            from,
            to,
            from_format,
            format,
        } => {
            let format = target(&to, format.as_deref())?;
            let mut progress = Progress::new("converting");
            manage::convert(
                &from,
                named(from_format.as_deref())?,
                &to,
                format,
                |d, n| {
                    progress.show(d, n);
                },
            )?;
            progress.end();
            println!("{}: {format}", to.display());
        }
        Action::Resize {
            file,
            size,
            format,
            shrink,
        } => {
            let bytes = crate::config::size("SIZE", &size)?;
            let shrink = match shrink {
                true => Shrink::Allowed,
                false => Shrink::Refused,
            };
            manage::resize(&file, named(format.as_deref())?, bytes, shrink)?;
            println!("{}: {}", file.display(), amount(bytes));
        }
        Action::Check { file, format } => return check(&file, named(format.as_deref())?),
        Action::Snapshot { base, file, format } => {
            let bytes = manage::snapshot(&base, &file, named(format.as_deref())?)?;
            println!(
                "{}: qcow2, {}, on top of {}",
                file.display(),
                amount(bytes),
                base.display()
            );
        }
    }
    Ok(0)
}

fn check(file: &Path, format: Option<Format>) -> anyhow::Result<u8> {
    let format = match format {
        Some(format) => format,
        None => block::probe(file)?,
    };
    let mut progress = Progress::new("checking");
    if format != Format::Qcow2 {
        manage::read_through(file, format, |d, n| progress.show(d, n))?;
        progress.end();
        println!("{}: {format}, all of it can be read", file.display());
        return Ok(0);
    }
    let report = qcow2_check::check(file, |d, n| progress.show(d, n))?;
    progress.end();
    for message in &report.messages {
        println!("{message}");
    }
    println!(
        "{}: {} errors, {} leaked clusters, {} of {} clusters hold data",
        file.display(),
        report.errors,
        report.leaked,
        report.data,
        report.clusters
    );
    if report.errors == 0 && report.leaked > 0 {
        println!(
            "leaked clusters cost space and nothing else; they are taken back when the image is opened for writing"
        );
    }
    Ok(if report.errors > 0 { DAMAGED } else { 0 })
}

fn named(name: Option<&str>) -> Result<Option<Format>, Refusal> {
    let Some(name) = name else { return Ok(None) };
    match Format::by_name(name) {
        Some(format) => Ok(Some(format)),
        None => Err(refuse(
            "--format",
            format!("'{name}' is not known; accepted are raw, qcow2, vmdk and vhdx"),
        )),
    }
}

/// The format of an image to be made.
fn target(file: &Path, name: Option<&str>) -> Result<Format, Refusal> {
    let ending = file.extension().and_then(|e| e.to_str()).unwrap_or("");
    let format = match named(name)? {
        Some(format) => format,
        None => Format::by_name(ending).unwrap_or(Format::Raw),
    };
    match format.writable() {
        true => Ok(format),
        false => Err(refuse(
            "--format",
            format!("{format} images cannot be made in this version; accepted are raw and qcow2"),
        )),
    }
}

fn describe(file: &Path, info: &manage::Info, json: bool) -> String {
    if json {
        let value = serde_json::json!({
            "file": file.display().to_string(),
            "format": info.format.to_string(),
            "size": info.size,
            "allocated": info.allocated,
            "cluster": info.cluster,
            "backing": info.backing,
            "backing_format": info.backing_format,
        });
        return format!("{value}\n");
    }
    let mut text = format!(
        "file       {}\nformat     {}\nsize       {}\nallocated  {}\n",
        file.display(),
        info.format,
        amount(info.size),
        amount(info.allocated)
    );
    if let Some(cluster) = info.cluster {
        text += &format!("cluster    {}\n", amount(cluster));
    }
    if let Some(backing) = &info.backing {
        let format = info.backing_format.as_deref().unwrap_or("by content");
        text += &format!("backing    {backing} ({format})\n");
    }
    text
}

/// Bytes, and about how many that is.
fn amount(bytes: u64) -> String {
    let unit = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    match unit.iter().find(|(shift, _)| bytes >> shift > 0) {
        Some((shift, name)) => {
            let tenths = (u128::from(bytes) * 10) >> shift;
            format!("{bytes} bytes ({}.{} {name})", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} bytes"),
    }
}

/// Per cent on a terminal; nothing where standard error is none.
struct Progress {
    what: &'static str,
    last: Option<u64>,
    shown: bool,
}

impl Progress {
    fn new(what: &'static str) -> Self {
        Self {
            what,
            last: None,
            shown: std::io::stderr().is_terminal(),
        }
    }

    fn show(&mut self, done: u64, all: u64) {
        let percent = (u128::from(done) * 100 / u128::from(all.max(1))) as u64;
        if self.shown && self.last != Some(percent) {
            self.last = Some(percent);
            // A terminal that went away does not stop the work.
            let _ = write!(std::io::stderr(), "\r{} {percent:3} %", self.what);
        }
    }

    fn end(&self) {
        if self.last.is_some() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
