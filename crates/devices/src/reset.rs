//! Who else pulls the reset line, and the A20 gate: port 0x92 (PS/2 system control port A) and port 0xCF9 (the 82371AB's RC, the
//! reset control register, which sits between the PCI configuration ports and so belongs to [`PciConfig`](crate::PciConfig)).

use crate::bytes;
use bus::{AccessSize, Device, ResetSource, StopReason, StopRequest};
use snapshot::{Error, Section};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The gate of address line 20: open if the keyboard controller or port 0x92 says so. Clones are handles to the same gate.
#[derive(Clone, Debug)]
pub struct A20Gate(Arc<AtomicU8>);

/// Who holds the gate open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum A20Holder {
    Keyboard = 1,
    Fast = 2,
}

impl A20Gate {
    /// An open gate: as firmware leaves it, by the keyboard controller.
    pub fn new() -> Self {
        Self(Arc::new(AtomicU8::new(A20Holder::Keyboard as u8)))
    }
    /// Whether address line 20 is passed on.
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }
    pub(crate) fn set(&self, holder: A20Holder, open: bool) {
        let bit = holder as u8;
        if open {
            self.0.fetch_or(bit, Ordering::Relaxed);
        } else {
            self.0.fetch_and(!bit, Ordering::Relaxed);
        }
    }
}

impl Default for A20Gate {
    fn default() -> Self {
        Self::new()
    }
}

/// System control port A: one port.
pub struct SystemControlA {
    a20: A20Gate,
    stop: StopRequest,
    value: u8,
}

const FAST_RESET: u8 = 1 << 0;
const FAST_A20: u8 = 1 << 1;

impl SystemControlA {
    pub fn new(a20: A20Gate, stop: StopRequest) -> Self {
        Self {
            a20,
            stop,
            value: 0,
        }
    }
}

impl Device for SystemControlA {
    fn name(&self) -> &str {
        "port92"
    }
    fn port_read(&mut self, _: usize, offset: u16, size: AccessSize) -> u32 {
        bytes::read(offset, size, |o| if o == 0 { self.value } else { 0xff })
    }
    fn port_write(&mut self, _: usize, offset: u16, _: AccessSize, value: u32) {
        if offset != 0 {
            return;
        }
        let value = value as u8;
        if value & !self.value & FAST_RESET != 0 {
            self.stop.request(StopReason::Reset(ResetSource::FastReset));
        }
        self.a20.set(A20Holder::Fast, value & FAST_A20 != 0);
        self.value = value;
    }
    fn reset(&mut self) {
        self.value = 0;
        self.a20.set(A20Holder::Fast, false);
    }
    fn save(&self) -> Result<Section, Error> {
        let Self {
            a20: _,
            stop: _,
            value,
        } = self;
        Section::new(self.name(), 1, value)
    }
    fn restore(&mut self, section: &Section) -> Result<(), Error> {
        self.value = section.read(self.name(), 1)?;
        self.a20.set(A20Holder::Fast, self.value & FAST_A20 != 0);
        Ok(())
    }
}

/// The reset control register.
pub(crate) struct ResetControl {
    stop: StopRequest,
    pub(crate) value: u8,
}

const RST_CPU: u8 = 1 << 2;
/// SYS_RST, RST_CPU, FULL_RST.
const RC_BITS: u8 = 0x0e;

impl ResetControl {
    pub(crate) fn new(stop: StopRequest) -> Self {
        Self { stop, value: 0 }
    }
    /// A rising RST_CPU resets, hard or soft.
    pub(crate) fn write(&mut self, value: u8) {
        let rose = value & !self.value & RST_CPU != 0;
        self.value = value & RC_BITS;
        if rose {
            self.stop
                .request(StopReason::Reset(ResetSource::ResetControl));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_92_opens_a20_and_resets_on_the_edge() {
        let (gate, stop) = (A20Gate::new(), StopRequest::new(vec![]));
        let mut p = SystemControlA::new(gate.clone(), stop.clone());
        gate.set(A20Holder::Keyboard, false);
        assert!(!gate.is_open());
        p.port_write(0, 0, AccessSize::Byte, 2);
        assert!(gate.is_open());
        assert_eq!(p.port_read(0, 0, AccessSize::Byte), 2);
        assert_eq!(stop.take(), None);
        p.port_write(0, 0, AccessSize::Byte, 3);
        assert_eq!(stop.take(), Some(StopReason::Reset(ResetSource::FastReset)));
        p.port_write(0, 0, AccessSize::Byte, 3);
        assert_eq!(stop.take(), None);
        let s = p.save().unwrap();
        p.reset();
        assert!(!gate.is_open());
        p.restore(&s).unwrap();
        assert!(gate.is_open());
    }

    #[test]
    fn reset_control_acts_on_rst_cpu() {
        let stop = StopRequest::new(vec![]);
        let mut r = ResetControl::new(stop.clone());
        r.write(2);
        assert_eq!(stop.take(), None);
        r.write(6);
        assert_eq!(
            stop.take(),
            Some(StopReason::Reset(ResetSource::ResetControl))
        );
    }
}
