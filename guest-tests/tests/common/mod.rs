//! Boots an image in a machine of its own, in this process.

use machine::{BootImage, Config, CpuModel, DebugExit, EngineKind, Machine, OnReset, StopReason};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a guest did.
pub struct Outcome {
    pub output: String,
    /// `None` if the time was up.
    pub reason: Option<StopReason>,
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
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }
}

/// A machine of 64 MiB with debug exit, that a reset ends.
pub fn config(kernel: PathBuf, cpu: &str, engine: EngineKind) -> Config {
    Config {
        memory: 64 << 20,
        cpu: CpuModel::by_name(cpu).expect("a model of that name"),
        kernel: Some(kernel),
        initrd: None,
        command_line: String::new(),
        on_reset: OnReset::Stop,
        debug_exit: DebugExit::Present,
        vga: machine::Vga::Absent,
        video_bios: None,
        drives: Vec::new(),
        cards: Vec::new(),
        debug_ports: Default::default(),
        firmware: Default::default(),
        engine,
        jit: machine::JitOptions::default(),
    }
}

/// Runs until the guest ends it or the time is up. A pair of texts says what to type once the guest printed the first; to type nothing is to
/// end the run, as if the time were up.
pub fn converse(config: &Config, limit: Duration, script: Option<(&str, &str)>) -> Outcome {
    let output = Output::default();
    let image = BootImage::read(config).expect("a kernel");
    let mut machine = Machine::new(config, image, Box::new(output.clone())).expect("a machine");
    let (stopper, input) = (machine.stopper(), machine.serial_input());
    let ended = AtomicBool::new(false);
    let (stop_at, seen) = (Instant::now() + limit, output.clone());
    let reason = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut script = script;
            while !ended.load(Ordering::Relaxed) {
                std::thread::sleep(Duration::from_millis(20));
                if let Some((prompt, text)) = script
                    && seen.text().contains(prompt)
                {
                    input.offer(text.as_bytes());
                    script = None;
                    if text.is_empty() {
                        stopper.request(StopReason::User);
                        break;
                    }
                }
                if Instant::now() > stop_at {
                    stopper.request(StopReason::User);
                    break;
                }
            }
        });
        let reason = machine.run();
        ended.store(true, Ordering::Relaxed);
        reason.expect("no trouble with the host")
    });
    Outcome {
        output: output.text(),
        reason: Some(reason).filter(|&r| r != StopReason::User),
    }
}
