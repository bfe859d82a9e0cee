//! Ports for guests that know they are guests: debug exit (QEMU's isa-debug-exit) and debug console (Bochs' port 0xE9).

use crate::uart16550::ByteSink;
use bus::{AccessSize, Device, StopReason, StopRequest};
use snapshot::{Error, Section};

/// A write of `v` stops the machine with [`StopReason::DebugExit`]; the host's exit status is `v << 1 | 1`.
pub struct DebugExit {
    stop: StopRequest,
}

impl DebugExit {
    pub fn new(stop: StopRequest) -> Self {
        Self { stop }
    }
}

impl Device for DebugExit {
    fn name(&self) -> &str {
        "debug-exit"
    }
    fn port_read(&mut self, _: usize, _: u16, _: AccessSize) -> u32 {
        0
    }
    fn port_write(&mut self, _: usize, _: u16, _: AccessSize, value: u32) {
        self.stop.request(StopReason::DebugExit(value));
    }
    fn reset(&mut self) {}
    fn save(&self) -> Result<Section, Error> {
        let Self { stop: _ } = self;
        Section::new(self.name(), 1, &())
    }
    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        section.read(self.name(), 1)
    }
}

/// Bytes written go to the sink; a read tells that the port is there.
pub struct DebugConsole {
    name: String,
    sink: ByteSink,
}

/// What the port reads as.
const PRESENT: u32 = 0xe9;

impl DebugConsole {
    /// The console at `port`, which its name tells.
    pub fn new(port: u16, sink: ByteSink) -> Self {
        let name = format!("debugcon-{port:x}");
        Self { name, sink }
    }
}

impl Device for DebugConsole {
    fn name(&self) -> &str {
        &self.name
    }
    fn port_read(&mut self, _: usize, _: u16, _: AccessSize) -> u32 {
        PRESENT
    }
    fn port_write(&mut self, _: usize, _: u16, _: AccessSize, value: u32) {
        (self.sink)(&[value as u8]);
    }
    fn reset(&mut self) {}
    fn save(&self) -> Result<Section, Error> {
        let Self { name: _, sink: _ } = self;
        Section::new(self.name(), 1, &())
    }
    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        section.read(self.name(), 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    #[test]
    fn exit_and_console() {
        let stop = StopRequest::new(vec![]);
        let mut e = DebugExit::new(stop.clone());
        e.port_write(0, 0, AccessSize::Dword, 0x10);
        assert_eq!(stop.take(), Some(StopReason::DebugExit(0x10)));
        let (tx, rx) = mpsc::channel();
        let mut c = DebugConsole::new(0xe9, Box::new(move |b| tx.send(b.to_vec()).unwrap()));
        assert_eq!(c.port_read(0, 0, AccessSize::Byte), 0xe9);
        c.port_write(0, 0, AccessSize::Byte, 0x41);
        assert_eq!(rx.recv().unwrap(), [0x41]);
    }
}
