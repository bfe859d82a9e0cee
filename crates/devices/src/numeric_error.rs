//! The numeric error logic of the PC/AT: FERR# of the processor to interrupt 13, and port F0 (Vol. 1, D.2.1; PIIX4 datasheet, 4.3.1 and
//! FERR#/IGNNE#).
//!
//! A rising FERR# latches the interrupt request; a write to port F0 takes it back. IGNNE#, which the write asserts as well, has no wire
//! here: the processor goes on in any case (crate `cpu`, `helpers::x87`).

use crate::bytes;
use bus::line::IrqSink;
use bus::{AccessSize, Device, IrqLine};
use snapshot::{Error, Section};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The latch. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct NumericError(Arc<Latch>);

#[derive(Debug)]
struct Latch {
    requested: AtomicBool,
    irq: IrqLine,
}

impl Latch {
    fn set(&self, requested: bool) {
        self.requested.store(requested, Ordering::SeqCst);
        self.irq.set(requested);
    }
}

impl IrqSink for Latch {
    fn set_level(&self, _: u32, level: bool) {
        if level {
            self.set(true);
        }
    }
}

impl NumericError {
    /// A latch that requests on `irq`.
    pub fn new(irq: IrqLine) -> Self {
        Self(Arc::new(Latch {
            requested: AtomicBool::new(false),
            irq,
        }))
    }
    /// Where the processor's FERR# goes.
    pub fn ferr(&self) -> IrqLine {
        IrqLine::new(self.0.clone(), 0)
    }
}

impl Device for NumericError {
    fn name(&self) -> &str {
        "ferr"
    }
    fn port_read(&mut self, _: usize, offset: u16, size: AccessSize) -> u32 {
        bytes::read(offset, size, |_| 0xff)
    }
    fn port_write(&mut self, _: usize, offset: u16, _: AccessSize, _: u32) {
        if offset == 0 {
            self.0.set(false);
        }
    }
    fn reset(&mut self) {
        self.0.set(false);
    }
    fn save(&self) -> Result<Section, Error> {
        Section::new(self.name(), 1, &self.0.requested.load(Ordering::SeqCst))
    }
    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        let requested = section.read(self.name(), 1)?;
        self.0.requested.store(requested, Ordering::SeqCst);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Wire;

    #[test]
    fn ferr_latches_until_port_f0_is_written() {
        let wire = Wire::new();
        let mut chip = NumericError::new(wire.line(13));
        let ferr = chip.ferr();
        ferr.set(true);
        ferr.set(false);
        assert!(wire.level(13));
        let saved = chip.save().unwrap();
        chip.port_write(0, 0, AccessSize::Byte, 0);
        assert!(!wire.level(13));
        chip.restore(&saved).unwrap();
        assert!(chip.0.requested.load(Ordering::SeqCst));
    }
}
