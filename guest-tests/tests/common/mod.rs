//! Boots an image in a machine of its own, in this process.

#![allow(
    dead_code,
    reason = "each test program compiles this anew and uses a part"
)]

use devices::vga::Frame;
use machine::{
    BootImage, Config, Console, CpuModel, DebugExit, EngineKind, Machine, OnReset, SerialInput,
    StopReason, StopRequest,
};
use std::cell::Cell;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What a guest did.
pub struct Outcome {
    pub output: String,
    /// The characters on the screen at the end.
    pub screen: String,
    /// `None` if the time was up.
    pub reason: Option<StopReason>,
    /// What the script waited for in vain.
    pub missed: Option<String>,
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
        shares: Vec::new(),
        debug_ports: Default::default(),
        firmware: Default::default(),
        engine,
        jit: machine::JitOptions::default(),
    }
}

/// Runs until the guest ends it or the time is up. A pair of texts says what to type once the guest printed the first; to type nothing is to
/// end the run, as if the time were up.
pub fn converse(config: &Config, limit: Duration, script: Option<(&str, &str)>) -> Outcome {
    attend(config, limit, |person| {
        let Some((prompt, text)) = script else {
            return Ok(());
        };
        person.reads(prompt)?;
        match text.is_empty() {
            true => person.pulls_the_plug(),
            false => person.sends(text),
        }
        Ok(())
    })
}

/// Runs until the guest ends it, the time is up, or `script` says so: what somebody does who sits at the machine. When the script ends, by
/// itself or since it waited in vain, the machine has what is left of the time.
pub fn attend(
    config: &Config,
    limit: Duration,
    script: impl FnOnce(&Person) -> Result<(), String> + Send,
) -> Outcome {
    let output = Output::default();
    let image = BootImage::read(config).expect("a kernel");
    let mut machine = Machine::new(config, image, Box::new(output.clone())).expect("a machine");
    let person = Person {
        output: output.clone(),
        read: Cell::new(0),
        input: machine.serial_input(),
        console: machine.console(),
        stopper: machine.stopper(),
        ended: Arc::new(AtomicBool::new(false)),
        stop_at: Instant::now() + limit,
    };
    let (ended, console) = (person.ended.clone(), person.console.clone());
    let (reason, missed) = std::thread::scope(|scope| {
        let attendant = scope.spawn(move || {
            let missed = script(&person).err();
            if missed.is_some() {
                person.pulls_the_plug();
            }
            // Nothing more to do but to look at the clock.
            while person.waits() {}
            person.pulls_the_plug();
            missed
        });
        let reason = machine.run();
        ended.store(true, Ordering::Relaxed);
        let missed = attendant.join().expect("the script does not panic");
        (reason.expect("no trouble with the host"), missed)
    });
    Outcome {
        output: output.text(),
        screen: text_of(&console),
        reason: Some(reason).filter(|&r| r != StopReason::User),
        missed,
    }
}

/// The characters on the screen, none in graphics modes.
fn text_of(console: &Console) -> String {
    let screen = console.screen().and_then(|s| s.snapshot().text());
    screen.map(|s| s.text()).unwrap_or_default()
}

/// Whoever sits at the machine while it runs.
pub struct Person {
    output: Output,
    /// How much of the output was read.
    read: Cell<usize>,
    input: SerialInput,
    console: Console,
    stopper: StopRequest,
    ended: Arc<AtomicBool>,
    stop_at: Instant,
}

impl Person {
    /// Between looks at what the machine shows.
    const PERIOD: Duration = Duration::from_millis(20);

    /// Lets a moment pass; tells whether the machine still runs and there is time left.
    fn waits(&self) -> bool {
        std::thread::sleep(Self::PERIOD);
        !self.ended.load(Ordering::Relaxed) && Instant::now() < self.stop_at
    }

    fn until(&self, what: &str, mut seen: impl FnMut() -> bool) -> Result<(), String> {
        loop {
            if seen() {
                return Ok(());
            }
            if !self.waits() {
                // What came last counts as well.
                return seen().then_some(()).ok_or_else(|| format!("no {what}"));
            }
        }
    }

    /// Reads the serial line on to the end of `text`, from where it was read to.
    pub fn reads(&self, text: &str) -> Result<(), String> {
        self.until(&format!("'{text}' on the serial line"), || {
            let bytes = self.output.bytes();
            let from = self.read.get();
            let unread = bytes.get(from..).unwrap_or(&[]);
            let found = unread
                .windows(text.len())
                .position(|w| w == text.as_bytes());
            if let Some(at) = found {
                self.read.set(from + at + text.len());
            }
            found.is_some()
        })
    }

    /// Looks at the screen, in a text mode, until `text` stands there.
    pub fn sees(&self, text: &str) -> Result<(), String> {
        let what = format!("'{text}' on the screen");
        self.until(&what, || text_of(&self.console).contains(text))
    }

    /// Looks at the screen until its picture is as `wanted`.
    pub fn sees_picture(&self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Result<(), String> {
        let screen = self.console.screen().ok_or("the machine has no screen")?;
        self.until(what, || wanted(&screen.snapshot().frame()))
    }

    /// The characters on the screen.
    pub fn screen(&self) -> String {
        text_of(&self.console)
    }

    /// Types on the serial line.
    pub fn sends(&self, text: &str) {
        self.input.offer(text.as_bytes());
    }

    /// Types on the keyboard, not faster than a BIOS takes keys: it keeps 15.
    pub fn types(&self, text: &str) {
        for c in text.chars() {
            self.console.input().type_text(c.encode_utf8(&mut [0; 4]));
            std::thread::sleep(Self::PERIOD);
        }
    }

    /// Ends the run, as if the time were up.
    pub fn pulls_the_plug(&self) {
        self.stopper.request(StopReason::User);
    }
}
