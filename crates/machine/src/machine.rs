//! The machine: power-on, run, reset, stop.

use crate::board::Board;
use crate::engine::Engine;
use crate::firmware::Images;
use crate::image::BootImage;
use crate::media::Media;
use crate::remote::Remote;
use crate::serial::{Failure, SerialInput};
use crate::ticker::Ticker;
use crate::{Config, Console, Error, OnReset, Vga};
use bus::clock::{Clock, Pace};
use bus::{Alarm, Attention, Bus, ResetSource, StopReason, StopRequest};
use cpu::Cpu;
use devices::PciBus;
use memory::Ram;
use std::io::Write;
use std::sync::{Arc, PoisonError};

/// Processors of a machine.
pub(crate) const CPUS: u8 = 1;

/// A PC. It runs on the thread that calls [`Machine::run`].
pub struct Machine {
    pub(crate) cpu: Box<Cpu>,
    engine: Engine,
    ram: Arc<Ram>,
    pub(crate) bus: Arc<Bus>,
    pub(crate) pci: PciBus,
    attention: Arc<Attention>,
    stop: StopRequest,
    image: BootImage,
    on_reset: OnReset,
    input: SerialInput,
    console: Console,
    media: Media,
    failure: Failure,
    wake: Alarm,
    remote: Remote,
    is_paused: bool,
}

impl Machine {
    /// A machine with `image` in its memory, about to execute its first instruction. What the guest sends on COM1 goes to `serial`.
    pub fn new(
        config: &Config,
        image: BootImage,
        serial: Box<dyn Write + Send>,
    ) -> Result<Self, Error> {
        // The display adapter's memory is bank `layout::VIDEO_BANK`, the firmware's the one behind.
        let video = match config.vga {
            Vga::Absent => None,
            Vga::Present => Some(devices::vga::MEMORY),
        };
        let flash = image.firmware().map(Images::size);
        let banks: Vec<u64> = video.into_iter().chain(flash).collect();
        let ram = Ram::with_banks(config.memory, &banks).map_err(|source| Error::Memory {
            bytes: config.memory,
            source,
        })?;
        let attention = Arc::new(Attention::default());
        let stop = StopRequest::new(vec![attention.clone()]);
        let clock = Clock::new(Pace::Host);
        let wake = clock.alarm(usize::MAX);
        let failure = Failure::default();
        let output = crate::serial::output(serial, failure.clone(), stop.clone());
        let board = Board::new(config, &image, clock, &ram, &attention, &stop, output)?;
        let remote = Remote::new(attention.clone());
        let parts = cpu::Parts {
            ram: ram.clone(),
            bus: board.bus.clone(),
            apic: board.apic,
            attention: attention.clone(),
            stop: stop.clone(),
        };
        let mut machine = Self {
            cpu: Cpu::new(config.cpu.clone(), parts),
            engine: Engine::new(config)?,
            ram,
            bus: board.bus,
            pci: board.pci,
            attention,
            stop,
            image,
            on_reset: config.on_reset,
            input: board.input,
            console: board.console,
            media: board.media,
            failure,
            wake,
            remote,
            is_paused: false,
        };
        machine.cpu.ferr = board.ferr;
        tracing::info!(target: "machine", memory = config.memory, protocol = machine.image.protocol(), "power on");
        machine.load()?;
        Ok(machine)
    }

    /// What feeds COM1.
    pub fn serial_input(&self) -> SerialInput {
        self.input.clone()
    }

    /// Screen, keyboard, mouse and power button.
    pub fn console(&self) -> Console {
        self.console.clone()
    }

    /// The drives whose media can be changed.
    pub fn media(&self) -> Media {
        self.media.clone()
    }

    /// A handle for other threads, to this machine while it runs.
    pub fn remote(&self) -> Remote {
        self.remote.clone()
    }

    /// Stops guest and virtual time, or lets them go on.
    pub fn set_paused(&mut self, paused: bool) {
        if paused != self.is_paused {
            self.is_paused = paused;
            match paused {
                true => self.bus.clock().pause(),
                false => self.bus.clock().resume(),
            }
            tracing::info!(target: "machine", paused);
        }
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// What stops the machine from another thread.
    pub fn stopper(&self) -> StopRequest {
        self.stop.clone()
    }

    /// What the processor did so far.
    pub fn stats(&self) -> cpu::Stats {
        self.cpu.stats()
    }

    /// What the translator did so far, if there is one.
    pub fn engine_stats(&self) -> Option<::engine::Report> {
        let instructions = self.stats().instructions;
        self.engine.stats().map(|s| s.report(instructions))
    }

    /// Runs until the guest or the host ends it. A reset is no end unless the machine was configured so.
    pub fn run(&mut self) -> Result<StopReason, Error> {
        let reason = self.execute();
        self.remote.end();
        reason
    }

    fn execute(&mut self) -> Result<StopReason, Error> {
        let ticker = Ticker::start(self.bus.clone(), self.wake.clone())?;
        let reason = loop {
            match self.is_paused {
                true => self.attention.wait(Attention::STOP, None),
                false => self.engine.run(&mut self.cpu),
            }
            if let Some(e) = self.engine.take_trouble() {
                return Err(Error::Engine(e));
            }
            if let Some(text) = self.engine.take_difference() {
                return Err(Error::Difference(text));
            }
            // In this order: a request that comes in between raises STOP again.
            self.attention.take(Attention::STOP);
            match self.stop.take() {
                Some(StopReason::Reset(source)) if self.on_reset == OnReset::Restart => {
                    tracing::info!(target: "machine", source = describe(source), "reset");
                    self.reset()?;
                }
                Some(reason) => break reason,
                None => {}
            }
            while let Some(job) = self.remote.next() {
                job(self);
            }
        };
        drop(ticker);
        tracing::info!(target: "machine", ?reason, "stop");
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        match failure.take() {
            Some(e) => Err(Error::SerialOutput(e)),
            None => Ok(reason),
        }
    }

    /// RESET#, and the kernel loaded anew.
    fn reset(&mut self) -> Result<(), Error> {
        self.bus.reset();
        self.cpu.reset();
        self.attention.take(!Attention::STOP);
        self.load()
    }

    fn load(&mut self) -> Result<(), Error> {
        if let Some(state) = self.image.load(&self.ram, CPUS)? {
            Board::place_pci(&self.bus, &self.pci, self.ram.size());
            self.cpu.set_boot_state(&state);
        }
        Ok(())
    }
}

/// Who reset the machine, in words.
pub fn describe(source: ResetSource) -> &'static str {
    match source {
        ResetSource::TripleFault => "a triple fault",
        ResetSource::Keyboard => "the keyboard controller (i8042)",
        ResetSource::ResetControl => "the reset control register (port 0xCF9)",
        ResetSource::FastReset => "port 0x92",
        ResetSource::Acpi => "the ACPI reset register",
        ResetSource::Button => "the reset button",
    }
}
