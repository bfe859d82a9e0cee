//! The host's ends of the serial line as the machine sees them: a writer that must not fail silently, a queue that the guest empties.

use bus::{StopReason, StopRequest};
use devices::UartInput;
use devices::uart16550::ByteSink;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// Why output ended, for the run loop to report.
pub(crate) type Failure = Arc<Mutex<Option<io::Error>>>;

/// What the port transmits to: passes each byte on at once; the first failure stops the machine and is kept.
pub(crate) fn output(
    mut to: Box<dyn Write + Send>,
    failure: Failure,
    stop: StopRequest,
) -> ByteSink {
    Box::new(move |bytes| {
        if let Err(e) = to.write_all(bytes).and_then(|()| to.flush()) {
            let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
            failure.get_or_insert(e);
            stop.request(StopReason::User);
        }
    })
}

/// What feeds COM1. Clones feed the same line.
#[derive(Clone)]
pub struct SerialInput {
    port: UartInput,
}

impl SerialInput {
    /// Bytes that wait inside the port for the guest to read them.
    const WAITING: usize = 4096;

    pub(crate) fn new(port: UartInput) -> Self {
        Self { port }
    }

    /// Hands over as many of `bytes` as the guest has left room for; tells how many. Never waits.
    pub fn offer(&self, bytes: &[u8]) -> usize {
        let room = Self::WAITING.saturating_sub(self.port.pending());
        let now = bytes.get(..room).unwrap_or(bytes);
        if !now.is_empty() {
            self.port.push(now);
        }
        now.len()
    }
}
