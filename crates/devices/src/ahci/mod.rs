//! Serial ATA AHCI controller (Serial ATA AHCI 1.3.1) as the 82801IR (ICH9) has it: six ports with a disk or a CD-ROM each, 32 commands a
//! port, native command queuing.
//!
//! Commands that reach the medium run on the disk's threads, those of a queue at once. A port that is stopped or reset makes what is
//! under way of no consequence by moving its generation on.
//!
//! Absent: port multipliers, command completion coalescing, enclosure management, power management of the link.

mod exec;
mod port;
mod state;
#[cfg(test)]
mod tests;

use crate::ide::Drive;
use crate::lock;
use crate::pci::{Bar, Config, Dma, Identity, Interrupts, PciFunction, Pin, Wires};
use block::Disk;
use bus::AccessSize;
use regs::*;
use snapshot::{Error, Section};
use state::{Hba, State};
use std::sync::{Arc, Mutex};

/// Ports of the controller.
pub const PORTS: usize = 6;
/// Base address register of the registers.
const ABAR: u8 = 5;
const BYTES: u32 = 0x1000;

/// Generic host control (3.1).
mod regs {
    pub const CAP: u64 = 0x00;
    pub const GHC: u64 = 0x04;
    pub const IS: u64 = 0x08;
    pub const PI: u64 = 0x0c;
    pub const VS: u64 = 0x10;
    pub const PORT_BASE: u64 = 0x100;
    pub const PORT_STRIDE: u64 = 0x80;

    /// 64-bit addresses, native command queuing, 3 Gb/s, AHCI only, command list override, 32 slots, six ports.
    pub const CAP_VALUE: u32 = 1 << 31 | 1 << 30 | 1 << 24 | 2 << 20 | 1 << 18 | 31 << 8 | 5;
    pub const GHC_RESET: u32 = 1;
    pub const GHC_INTERRUPTS: u32 = 2;
    pub const GHC_AHCI: u32 = 1 << 31;
}

struct Inner {
    s: State,
    drives: [Option<Drive>; PORTS],
    generations: [u64; PORTS],
}

struct Shared {
    inner: Mutex<Inner>,
    dma: Dma,
    interrupts: Interrupts,
}

/// The controller. Clones are handles to the same one.
#[derive(Clone)]
pub struct Ahci {
    shared: Arc<Shared>,
}

impl Ahci {
    /// Its configuration header.
    pub fn config() -> Config {
        let id = Identity {
            vendor: 0x8086,
            device: 0x2922,
            revision: 0x02,
            class: 0x01_0601,
        };
        Config::new(id)
            .pin(Pin::A)
            .bar(
                ABAR,
                Bar::Memory32 {
                    size: BYTES,
                    prefetchable: false,
                },
            )
            .msi(0)
    }

    /// A controller with these drives.
    pub fn new(wires: Wires, drives: [Option<Drive>; PORTS]) -> Self {
        let shared = Arc::new(Shared {
            inner: Mutex::new(Inner {
                s: State::default(),
                drives,
                generations: [0; PORTS],
            }),
            dma: wires.dma,
            interrupts: wires.interrupts,
        });
        shared.reset(true);
        Self { shared }
    }

    /// Puts a disc into the CD-ROM drive at a port, or takes it out.
    pub fn change_disc(&self, port: usize, disc: Option<Arc<Disk>>) {
        let mut c = lock(&self.shared.inner);
        if let Some(Some(Drive::CdRom(d))) = c.drives.get_mut(port) {
            let present = disc.is_some();
            let old = std::mem::replace(d, disc);
            if let Some(p) = c.s.ports.get_mut(port) {
                p.unit.medium_changed(present);
            }
            drop(c);
            drop(old);
        }
    }
}

impl Inner {
    fn is_packet(&self, port: usize) -> bool {
        matches!(self.drives.get(port), Some(Some(Drive::CdRom(_))))
    }
}

impl Shared {
    fn drain(&self) {
        let drives = lock(&self.inner).drives.clone();
        for drive in drives.into_iter().flatten() {
            if let Drive::Disk(d) | Drive::CdRom(Some(d)) = drive {
                d.drain();
            }
        }
    }

    /// The global interrupt status, and the wire (5.6.2).
    fn update(&self, c: &mut Inner) {
        let mut pending = 0;
        for (n, p) in c.s.ports.iter().enumerate() {
            if p.is & p.ie != 0 {
                pending |= 1 << n;
            }
        }
        let fresh = pending & !c.s.hba.is;
        c.s.hba.is |= pending;
        let on = c.s.hba.ghc & GHC_INTERRUPTS != 0;
        self.interrupts.set_level(on && c.s.hba.is != 0);
        if on && fresh != 0 {
            self.interrupts.signal(0);
        }
    }

    fn reset(&self, power_on: bool) {
        let mut c = lock(&self.inner);
        c.s.hba = Hba {
            ghc: GHC_AHCI,
            is: 0,
        };
        for n in 0..PORTS {
            self.reset_port(&mut c, n, power_on);
        }
        self.update(&mut c);
    }

    fn load(&self, offset: u64) -> u32 {
        let c = lock(&self.inner);
        match offset {
            CAP => CAP_VALUE,
            GHC => c.s.hba.ghc,
            IS => c.s.hba.is,
            PI => (1 << PORTS) - 1,
            VS => 0x0001_0301,
            _ => match port_of(offset) {
                Some((n, register)) => self.port_load(&c, n, register),
                None => 0,
            },
        }
    }

    fn store(self: &Arc<Self>, offset: u64, value: u32) {
        if offset == GHC && value & GHC_RESET != 0 {
            return self.reset(false);
        }
        let mut c = lock(&self.inner);
        match offset {
            GHC => c.s.hba.ghc = GHC_AHCI | value & GHC_INTERRUPTS,
            IS => c.s.hba.is &= !value,
            _ => {
                if let Some((n, register)) = port_of(offset) {
                    self.port_store(&mut c, n, register, value);
                }
            }
        }
        self.update(&mut c);
    }
}

/// Which port's register an offset is.
fn port_of(offset: u64) -> Option<(usize, u64)> {
    let at = offset.checked_sub(PORT_BASE)?;
    let n = (at / PORT_STRIDE) as usize;
    (n < PORTS).then_some((n, at % PORT_STRIDE))
}

impl PciFunction for Ahci {
    fn name(&self) -> &str {
        "ahci"
    }

    fn mmio_read(&mut self, _: usize, offset: u64, size: AccessSize) -> u64 {
        let low = u64::from(self.shared.load(offset & !3));
        match size {
            AccessSize::Qword => low | u64::from(self.shared.load((offset & !3) + 4)) << 32,
            _ => low >> (8 * (offset & 3)) & size.mask(),
        }
    }

    fn mmio_write(&mut self, _: usize, offset: u64, size: AccessSize, value: u64) {
        // Registers are doublewords; parts of them are not written by anyone (3).
        match size {
            AccessSize::Dword => self.shared.store(offset & !3, value as u32),
            AccessSize::Qword => {
                self.shared.store(offset & !3, value as u32);
                self.shared.store((offset & !3) + 4, (value >> 32) as u32);
            }
            _ => {}
        }
    }

    fn reset(&mut self, _: &mut Config) {
        self.shared.reset(true);
        // What was under way must not come to memory that has another use.
        self.shared.drain();
    }

    fn save(&self) -> Result<Section, Error> {
        self.shared.drain();
        let c = lock(&self.shared.inner);
        Section::new(self.name(), state::VERSION, &c.s)
    }

    fn restore(&mut self, section: &Section, _: &mut Config) -> Result<(), Error> {
        let s = section.read(self.name(), state::VERSION)?;
        self.shared.drain();
        let mut c = lock(&self.shared.inner);
        for g in &mut c.generations {
            *g += 1;
        }
        c.s = s;
        self.shared.update(&mut c);
        Ok(())
    }
}
