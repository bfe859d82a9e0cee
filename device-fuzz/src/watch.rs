//! Who watches an input run: for panics of any thread, for time, and for what the process uses.

use anyhow::{Context, Result};
use bus::clock::Stopwatch;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// An input ends in milliseconds; one that takes so long does not end.
const LIMIT_NS: u64 = 20_000_000_000;
/// No input makes a device take so much memory.
const MEMORY_LIMIT: u64 = 1 << 30;
/// What a campaign may have more at its end than when it was warm.
const GROWTH_BYTES: u64 = 64 << 20;
const GROWTH_COUNT: u64 = 8;

/// The input that runs, and since when.
type Current = Arc<Mutex<Option<(Stopwatch, Vec<u8>)>>>;

/// Knows the input that runs.
pub struct Watch {
    current: Current,
}

impl Watch {
    /// Starts to watch; inputs that fail go to files in `out`.
    pub fn start(device: &'static str, out: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&out)
            .with_context(|| format!("cannot make the folder {}", out.display()))?;
        let current: Current = Arc::default();
        let (at_panic, folder, print) = (current.clone(), out.clone(), std::panic::take_hook());
        std::panic::set_hook(Box::new(move |info| {
            print(info);
            fail(device, "panic", &folder, &at_panic);
        }));
        let watched = current.clone();
        std::thread::spawn(move || {
            loop {
                std::thread::sleep(Duration::from_millis(200));
                let late = {
                    let c = watched.lock().unwrap_or_else(PoisonError::into_inner);
                    c.as_ref().is_some_and(|c| c.0.elapsed_ns() > LIMIT_NS)
                };
                if late {
                    fail(device, "hang", &out, &watched);
                }
                if Usage::now().is_ok_and(|u| u.memory > MEMORY_LIMIT) {
                    fail(device, "memory", &out, &watched);
                }
            }
        });
        Ok(Self { current })
    }

    /// This input runs from now on.
    pub fn begins(&self, input: &[u8]) {
        let mut c = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *c = Some((Stopwatch::start(), input.to_vec()));
    }

    /// It ended.
    pub fn ends(&self) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Keeps the input and ends the process.
fn fail(device: &str, kind: &str, out: &std::path::Path, current: &Current) -> ! {
    let c = current.lock().unwrap_or_else(PoisonError::into_inner);
    let input = c.as_ref().map_or(&[][..], |c| &c.1);
    let sum = input.iter().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3)
    });
    let path = out.join(format!("{device}-{kind}-{sum:016x}.input"));
    eprintln!("{device}: {kind}");
    match std::fs::write(&path, input) {
        Ok(()) => eprintln!(
            "the input is in {0}; to run it again: cargo xtask fuzz-devices --device {device} --input {0}",
            path.display()
        ),
        Err(error) => eprintln!("cannot keep the input in {}: {error}", path.display()),
    }
    std::process::exit(101);
}

/// What this process uses.
pub struct Usage {
    /// Bytes in memory.
    pub memory: u64,
    threads: u64,
    files: u64,
}

impl Usage {
    pub fn now() -> Result<Self> {
        let status = std::fs::read_to_string("/proc/self/status").context("/proc/self/status")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|l| l.strip_prefix(name));
            line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok())
                .with_context(|| format!("/proc/self/status has no number at {name}"))
        };
        Ok(Self {
            memory: field("VmRSS:")? * 1024,
            threads: field("Threads:")?,
            files: std::fs::read_dir("/proc/self/fd")?.count() as u64,
        })
    }

    /// What grew more than chance explains.
    pub fn growth_since(&self, before: &Self) -> Option<String> {
        let grown = self.memory > before.memory + GROWTH_BYTES
            || self.threads > before.threads + GROWTH_COUNT
            || self.files > before.files + GROWTH_COUNT;
        grown.then(|| format!("growth: it had {before}, and has {self}"))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (threads, files) = (self.threads, self.files);
        write!(
            f,
            "{} MiB, {threads} threads, {files} files",
            self.memory >> 20
        )
    }
}
