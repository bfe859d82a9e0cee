//! PCI (PCI Local Bus Specification 3.0): one bus, its functions, and what each needs to be one.
//!
//! A chip on PCI implements [`PciFunction`] and describes its configuration header by a [`Config`]; [`PciBus::plug`] joins the two in a
//! [`Slot`], which is the device that the bus sees. The slot does what every function has in common: the configuration space, the
//! placement of base address registers and expansion ROM, INTx, MSI and MSI-X. The chip gets its [`Wires`] when it is made, and is called for
//! accesses to its regions: region `n` is base address register `n`; a board may place further ones, from [`LEGACY`] on, at fixed ports.
//!
//! ```text
//! let config = Config::new(Identity { vendor: 0x1af4, device: 0x1042, revision: 1, class: 0x01_0000 })
//!     .pin(Pin::A)
//!     .bar(4, Bar::Memory64 { size: 0x4000, prefetchable: true })
//!     .msix(5, 1, 0x0, 0x800);
//! let device = pci.plug(&mut bus, Address::new(4, 0), config, |wires| VirtioBlk::new(wires, disk));
//! ```
//!
//! Threads of a chip hold clones of [`Dma`] and [`Interrupts`]: neither needs the chip's lock.
//!
//! Absent on purpose: bridges to further buses, and peer-to-peer transfers (DMA reaches RAM only).
//!
//! # Lock order
//! configuration ports or ECAM -> slot -> interrupts -> INTx router -> the board's interrupt router.

mod config;
mod dma;
mod ecam;
mod i440fx;
mod interrupts;
mod piix3;
mod piix4_pm;
mod ports;
mod router;
mod slot;
#[cfg(test)]
mod tests;

pub use config::{Bar, Command, Config, Identity, Pin};
pub(crate) use dma::Pieces;
pub use dma::{Dma, DmaError};
pub use ecam::Ecam;
pub use i440fx::{I440Fx, SHADOW_OPEN};
pub use interrupts::{Interrupts, Mode, MsiSink};
pub use piix3::Piix3;
pub use piix4_pm::Piix4Pm;
pub use ports::PciConfig;
pub use router::{FIRST_PIN, PirqRouter, pirq};
pub use slot::Slot;

use crate::lock;
use bus::{AccessSize, Alarm, Bus, Clock, IrqLine};
use memory::Ram;
use slot::Access;
use snapshot::{Error, Section};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};

/// The first region number that is no base address register: the board places these itself.
pub const LEGACY: usize = 8;

/// Where a function sits on bus 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(u8);

impl Address {
    /// Device 0-31, function 0-7.
    pub const fn new(device: u8, function: u8) -> Self {
        Self(device << 3 | function & 7)
    }
    pub const fn device(self) -> u8 {
        self.0 >> 3
    }
    pub const fn function(self) -> u8 {
        self.0 & 7
    }
}

/// What a function is made with.
pub struct Wires {
    pub dma: Dma,
    pub interrupts: Interrupts,
    /// Rings [`PciFunction::expire`].
    pub alarm: Alarm,
    pub clock: Arc<Clock>,
}

/// A chip on PCI, without what all functions have in common. The rules of [`bus::Device`] hold: nothing blocks, nothing panics.
pub trait PciFunction: Send {
    /// Unique name inside the machine.
    fn name(&self) -> &str;
    /// IN from a region.
    fn port_read(&mut self, region: usize, offset: u16, size: AccessSize) -> u32 {
        let _ = (region, offset);
        size.mask() as u32
    }
    /// OUT to a region.
    fn port_write(&mut self, region: usize, offset: u16, size: AccessSize, value: u32) {
        let _ = (region, offset, size, value);
    }
    /// A load from a region.
    fn mmio_read(&mut self, region: usize, offset: u64, size: AccessSize) -> u64 {
        let _ = (region, offset);
        size.mask()
    }
    /// A store to a region.
    fn mmio_write(&mut self, region: usize, offset: u64, size: AccessSize, value: u64) {
        let _ = (region, offset, size, value);
    }
    /// The guest is about to read configuration registers: bring those that change by themselves up to date.
    fn config_read(&mut self, config: &mut Config, offset: u8) {
        let _ = (config, offset);
    }
    /// The guest wrote configuration registers from `offset` on; `config` holds what could be written.
    fn config_written(&mut self, config: &mut Config, offset: u8, bytes: u8) {
        let _ = (config, offset, bytes);
    }
    /// The alarm of its wires is due.
    fn expire(&mut self, now: u64) {
        let _ = now;
    }
    /// RST#. The configuration space is in its power-on state already.
    fn reset(&mut self, config: &mut Config);
    /// The chip's own state, without configuration space and interrupts.
    fn save(&self) -> Result<Section, Error>;
    /// Takes over a saved state; `config` is restored already.
    fn restore(&mut self, section: &Section, config: &mut Config) -> Result<(), Error>;
}

struct Shared {
    functions: Mutex<BTreeMap<Address, Arc<dyn Access>>>,
    ram: Arc<Ram>,
    messages: Arc<dyn MsiSink>,
    router: PirqRouter,
}

/// Bus 0. Clones are handles to the same one.
#[derive(Clone)]
pub struct PciBus {
    shared: Arc<Shared>,
}

impl PciBus {
    /// An empty bus: DMA reaches `ram`, messages go to `messages` (the local APICs), INTx to `router`.
    pub fn new(ram: Arc<Ram>, messages: Arc<dyn MsiSink>, router: PirqRouter) -> Self {
        Self {
            shared: Arc::new(Shared {
                functions: Mutex::default(),
                ram,
                messages,
                router,
            }),
        }
    }

    /// The wires of the function at `at`, which is added to `bus` next.
    fn wires(&self, bus: &Bus, at: Address, config: &Config) -> Wires {
        let line = match config.pin_number() {
            Some(pin) => IrqLine::new(
                Arc::new(self.shared.router.clone()),
                u32::from(at.device()) << 2 | u32::from(pin),
            ),
            None => IrqLine::unconnected(),
        };
        Wires {
            dma: Dma::new(self.shared.ram.clone()),
            interrupts: Interrupts::new(line, self.shared.messages.clone(), config.vectors()),
            alarm: bus.clock().alarm(bus.next_index()),
            clock: bus.clock().clone(),
        }
    }

    /// Puts the function that `make` makes at `at`, replacing none (the first stays); tells its index on `bus`, for fixed regions.
    pub fn plug<F: PciFunction + 'static>(
        &self,
        bus: &mut Bus,
        at: Address,
        config: Config,
        make: impl FnOnce(Wires) -> F,
    ) -> usize {
        let wires = self.wires(bus, at, &config);
        let (dma, interrupts) = (wires.dma.clone(), wires.interrupts.clone());
        let index = bus.next_index();
        let windows = config.windows(bus, index);
        let slot = Slot::new(make(wires), config, dma, interrupts, windows);
        let slot = Arc::new(Mutex::new(slot));
        bus.add(slot.clone());
        lock(&self.shared.functions).entry(at).or_insert(slot);
        index
    }

    fn function(&self, at: Address) -> Option<Arc<dyn Access>> {
        lock(&self.shared.functions).get(&at).cloned()
    }

    /// Whether the device of `at` has functions beside the first (3.2.2.3.4, and header type bit 7 in 6.2.1).
    fn is_multifunction(&self, at: Address) -> bool {
        let f = lock(&self.shared.functions);
        f.range(Address::new(at.device(), 1)..=Address::new(at.device(), 7))
            .next()
            .is_some()
    }

    /// A configuration read; all ones where no function is. `offset` and `size` stay inside a doubleword.
    pub fn config_read(&self, at: Address, offset: u8, size: AccessSize) -> u32 {
        const HEADER_TYPE: u8 = 0x0e;
        let Some(f) = self.function(at) else {
            return size.mask() as u32;
        };
        let mut value = f.config_read(offset, size);
        let end = offset.saturating_add(size.bytes() as u8);
        if at.function() == 0 && (offset..end).contains(&HEADER_TYPE) && self.is_multifunction(at) {
            value |= 0x80 << (8 * (HEADER_TYPE - offset));
        }
        value
    }

    /// A configuration write.
    pub fn config_write(&self, at: Address, offset: u8, size: AccessSize, value: u32) {
        if let Some(f) = self.function(at) {
            f.config_write(offset, size, value);
        }
    }

    /// Does what firmware does before it boots a system, for a kernel that is loaded without one: gives every base address register a
    /// place in `ports` or `memory` and switches decoding on, and writes the interrupt line registers by `line` (device, pin 0-3).
    pub fn assign(
        &self,
        ports: RangeInclusive<u16>,
        memory: RangeInclusive<u64>,
        line: impl Fn(u8, u8) -> u8,
    ) {
        const COMMAND: u8 = 0x04;
        const INTERRUPT_LINE: u8 = 0x3c;
        let functions = lock(&self.shared.functions).clone();
        let mut wanted: Vec<_> = functions
            .iter()
            .flat_map(|(at, f)| f.bars().into_iter().map(|(n, bar)| (*at, n, bar)))
            .collect();
        // The largest first: then alignment costs nothing.
        wanted.sort_by_key(|(_, _, bar)| std::cmp::Reverse(bar.size()));
        let (mut next_port, mut next_byte) = (u64::from(*ports.start()), *memory.start());
        for (at, n, bar) in wanted {
            let (next, end) = match bar {
                Bar::Io { .. } => (&mut next_port, u64::from(*ports.end())),
                _ => (&mut next_byte, *memory.end()),
            };
            let base = next.next_multiple_of(bar.size().max(1));
            if base.saturating_add(bar.size() - 1) > end {
                tracing::warn!(target: "devices::pci", ?at, n, ?bar, "no room for a base address register");
                continue;
            }
            *next = base + bar.size();
            let register = 0x10 + 4 * n;
            self.config_write(at, register, AccessSize::Dword, base as u32);
            if matches!(bar, Bar::Memory64 { .. }) {
                self.config_write(at, register + 4, AccessSize::Dword, (base >> 32) as u32);
            }
        }
        for (at, f) in &functions {
            let command = f.config_read(COMMAND, AccessSize::Word);
            let decode = (Command::IO | Command::MEMORY).bits();
            self.config_write(*at, COMMAND, AccessSize::Word, command | u32::from(decode));
            if let Some(pin) = f.pin() {
                let irq = line(at.device(), pin);
                self.config_write(*at, INTERRUPT_LINE, AccessSize::Byte, irq.into());
            }
        }
    }
}
