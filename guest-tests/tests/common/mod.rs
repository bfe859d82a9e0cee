//! Boots an image in a machine of its own, in this process.

use machine::{BootImage, Config, CpuModel, DebugExit, EngineKind, Machine, OnReset, StopReason};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// What a guest did.
pub struct Outcome {
    pub output: String,
    /// `None` if the time was up.
    pub reason: Option<StopReason>,
}

/// Where images are assembled to.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("images")
}

#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    fn bytes(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A machine of 64 MiB with debug exit, that a reset ends.
pub fn config(kernel: PathBuf, cpu: &str, engine: EngineKind) -> Config {
    Config {
        memory: 64 << 20,
        cpu: CpuModel::by_name(cpu).expect("a model of that name"),
        kernel,
        initrd: None,
        command_line: String::new(),
        on_reset: OnReset::Stop,
        debug_exit: DebugExit::Present,
        engine,
    }
}

/// Runs until the guest ends it or the time is up.
pub fn run(config: &Config, limit: Duration) -> Outcome {
    let output = Output::default();
    let image = BootImage::read(config).expect("a kernel");
    let mut machine = Machine::new(config, image, Box::new(output.clone())).expect("a machine");
    let stopper = machine.stopper();
    let (done, watch) = std::sync::mpsc::channel::<()>();
    let watchdog = std::thread::spawn(move || {
        let late = watch.recv_timeout(limit) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
        if late {
            stopper.request(StopReason::User);
        }
    });
    let reason = machine.run().expect("no trouble with the host");
    drop(done);
    watchdog.join().expect("the watchdog");
    let output = String::from_utf8_lossy(&output.bytes()).into_owned();
    Outcome {
        output,
        reason: Some(reason).filter(|&r| r != StopReason::User),
    }
}
