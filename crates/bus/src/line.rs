//! Interrupt lines.

use std::fmt;
use std::sync::Arc;

/// Who listens at the far end of interrupt lines: an interrupt controller or the board's router.
pub trait IrqSink: Send + Sync {
    /// The level of `input` is now `level`. Called on every change, from any thread.
    fn set_level(&self, input: u32, level: bool);
}

/// One wire from a chip to an interrupt controller's input.
#[derive(Clone)]
pub struct IrqLine {
    sink: Arc<dyn IrqSink>,
    input: u32,
}

impl IrqLine {
    /// A wire to `input` of `sink`.
    pub fn new(sink: Arc<dyn IrqSink>, input: u32) -> Self {
        Self { sink, input }
    }
    /// A wire that leads nowhere.
    pub fn unconnected() -> Self {
        struct Nowhere;
        impl IrqSink for Nowhere {
            fn set_level(&self, _: u32, _: bool) {}
        }
        Self::new(Arc::new(Nowhere), 0)
    }
    /// Drives the wire.
    pub fn set(&self, level: bool) {
        self.sink.set_level(self.input, level);
    }
    /// A rising and a falling edge.
    pub fn pulse(&self) {
        self.set(true);
        self.set(false);
    }
}

impl fmt::Debug for IrqLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IrqLine({})", self.input)
    }
}
