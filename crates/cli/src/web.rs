//! `--display web`: what the page reaches of the machine.

use display::web::{Controls, SerialLog, Site};
use machine::{Console, Machine, ResetSource, SerialInput, StopReason, StopRequest};
use std::io::{self, Write};
use std::sync::Arc;

/// The serial line's output, for the page as well.
pub struct Tee {
    pub to: Box<dyn Write + Send>,
    pub log: SerialLog,
}

impl Write for Tee {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.log.push(bytes.get(..n).unwrap_or(&[]));
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

struct Reach {
    stop: StopRequest,
    console: Console,
    input: SerialInput,
}

impl Controls for Reach {
    fn reset(&self) {
        self.stop.request(StopReason::Reset(ResetSource::Button));
    }
    fn power(&self) {
        self.console.press_power_button();
    }
    fn serial(&self, bytes: &[u8]) -> usize {
        self.input.offer(bytes)
    }
}

/// The page of `machine`, if it has a screen.
pub fn site(machine: &Machine, log: &SerialLog) -> Option<Site> {
    let controls = Reach {
        stop: machine.stopper(),
        console: machine.console(),
        input: machine.serial_input(),
    };
    Some(Site {
        seat: crate::screen::seat(machine)?,
        log: log.clone(),
        controls: Arc::new(controls),
    })
}
