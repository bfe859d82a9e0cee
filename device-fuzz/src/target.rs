//! A device on a board of its own: RAM, a clock that moves when it is told to, interrupt controllers, and PCI bus 0.

use crate::input::{Input, RAM_BYTES};
use arch::GuestPhys;
use bus::clock::Pace;
use bus::{AccessSize, Alarm, Attention, Bus, Clock, Device, StopRequest};
use devices::pci::{Address, Config, MsiSink, PciFunction, PirqRouter, Wires};
use devices::{ApicBus, I8259, IoApic, IrqRouter, PciBus};
use memory::Ram;
use std::cell::Cell;
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Where base address registers are placed: register n of function f of the first free devices.
pub const MEMORY: u64 = 0xd000_0000;
pub const PORTS: u16 = 0xc000;
/// The first PCI device that [`Target::plug`] uses.
const FIRST_DEVICE: u8 = 3;

/// Messages, counted: what a device does with its interrupts is part of how it answers.
#[derive(Default)]
struct Mailbox(AtomicU64);

impl MsiSink for Mailbox {
    fn message(&self, address: u64, data: u32) {
        self.0
            .fetch_add(1 | (address ^ u64::from(data)) << 8, Ordering::Relaxed);
    }
}

/// What every target has.
pub struct World {
    pub clock: Arc<Clock>,
    pub bus: Bus,
    pub pci: PciBus,
    pub ram: Arc<Ram>,
    pub apics: Arc<ApicBus>,
    pub pic: I8259,
    pub ioapic: IoApic,
    pub irqs: IrqRouter,
    pub router: PirqRouter,
    pub stop: StopRequest,
    mail: Arc<Mailbox>,
    /// What actions saw since it was taken.
    answers: Cell<u64>,
}

impl World {
    /// An action saw this: part of what tells a new state from an old one.
    pub fn answered(&self, value: u64) {
        let answers = self.answers.get().rotate_left(9);
        self.answers.set(answers ^ value);
    }
    pub(crate) fn take_answers(&self) -> u64 {
        self.answers.take()
    }
    /// Stores `bytes` where RAM is.
    pub fn set_ram(&self, at: u64, bytes: &[u8]) {
        // An input may name a place without RAM.
        let _ = self.ram.write(GuestPhys(at), bytes);
    }
    /// A word of RAM, or 0.
    pub fn ram_word(&self, at: u64) -> u16 {
        self.ram.load(GuestPhys(at)).unwrap_or(0)
    }
    pub fn store(&self, at: u64, size: AccessSize, value: u64) {
        self.bus.mmio_write(GuestPhys(at), size, value);
    }
    pub fn load(&self, at: u64, size: AccessSize) -> u64 {
        let value = self.bus.mmio_read(GuestPhys(at), size);
        self.answered(value);
        value
    }
    pub fn out(&self, port: u16, size: AccessSize, value: u32) {
        self.bus.port_write(port, size, value);
    }
    pub fn get(&self, port: u16, size: AccessSize) -> u32 {
        let value = self.bus.port_read(port, size);
        self.answered(value.into());
        value
    }
    /// Moves with each interrupt message.
    pub fn messages(&self) -> u64 {
        self.mail.0.load(Ordering::Relaxed)
    }

    /// Moves the clock, and lets what is due ring: at most so often, since a timer may be set to ring each nanosecond.
    pub fn advance(&self, ns: u64) {
        const RINGS: u32 = 64;
        let end = self.clock.now().saturating_add(ns);
        for _ in 0..RINGS {
            let next = self.clock.next_deadline();
            if next > end {
                break;
            }
            self.clock.skip_to(next);
            self.bus.run_due();
        }
        self.clock.skip_to(end);
        self.bus.run_due();
    }
}

/// Where a device answers.
#[derive(Clone, Debug)]
pub enum Region {
    Ports(RangeInclusive<u64>),
    Memory(RangeInclusive<u64>),
}

/// Something that the device's neighbour or a well-behaved driver does, by the input's choices.
pub type Action = Box<dyn FnMut(&World, &mut Input)>;

/// A device under test with everything that reaches it.
pub struct Target {
    pub world: World,
    pub(crate) actions: Vec<Action>,
    settle: Vec<Box<dyn Fn()>>,
    functions: Vec<Address>,
}

impl Default for Target {
    fn default() -> Self {
        Self::with_banks(&[])
    }
}

impl Target {
    /// A board whose RAM has these further banks.
    pub fn with_banks(banks: &[u64]) -> Self {
        let clock = Clock::new(Pace::Instructions { ns_per_1024: 1024 });
        let attention = [Arc::new(Attention::default())];
        let apics = ApicBus::new(clock.clone(), 40, &attention);
        let pic = I8259::new(apics.lint(0, 0));
        apics.connect_pic(&pic);
        let ioapic = IoApic::new(apics.clone());
        let irqs = IrqRouter::new(&pic, &ioapic);
        let router = PirqRouter::new(&irqs);
        let ram = Ram::with_banks(RAM_BYTES, banks).expect("some megabytes of memory");
        let mail = Arc::new(Mailbox::default());
        let pci = PciBus::new(ram.clone(), mail.clone(), router.clone());
        Self {
            world: World {
                bus: Bus::new(clock.clone()),
                clock,
                pci,
                ram,
                apics,
                pic,
                ioapic,
                irqs,
                router,
                stop: StopRequest::new(vec![]),
                mail,
                answers: Cell::new(0),
            },
            actions: Vec::new(),
            settle: Vec::new(),
            functions: Vec::new(),
        }
    }

    /// An alarm for the device that is added next.
    pub fn alarm(&self) -> Alarm {
        self.world.clock.alarm(self.world.bus.next_index())
    }

    /// Adds a device with regions of ports, region 0 first; tells its index.
    pub fn ports(
        &mut self,
        device: impl Device + 'static,
        ranges: &[RangeInclusive<u16>],
    ) -> usize {
        let index = self.world.bus.add(Arc::new(Mutex::new(device)));
        for (region, range) in ranges.iter().enumerate() {
            let placed = self.world.bus.map_ports(index, region, range.clone());
            placed.expect("a row's ranges do not overlap");
        }
        index
    }

    /// Adds a device with a region of memory.
    pub fn memory(&mut self, device: impl Device + 'static, range: RangeInclusive<u64>) -> usize {
        let index = self.ports(device, &[]);
        let placed = self.world.bus.map_mmio(index, 0, range);
        placed.expect("a row's ranges do not overlap");
        index
    }

    /// Plugs a PCI function in; tells its index on the bus, for regions at fixed places.
    pub fn plug<F: PciFunction + 'static>(
        &mut self,
        config: Config,
        make: impl FnOnce(Wires) -> F,
    ) -> usize {
        let at = Address::new(FIRST_DEVICE + self.functions.len() as u8, 0);
        self.functions.push(at);
        self.world.pci.plug(&mut self.world.bus, at, config, make)
    }

    /// The base of base address register `n` of the first function: memory.
    pub fn bar(n: u8) -> u64 {
        MEMORY + 0x100_0000 * u64::from(n)
    }
    /// The same where it is ports.
    pub fn port_bar(n: u8) -> u16 {
        PORTS + 0x100 * u16::from(n)
    }

    /// Something that can happen beside accesses to the device.
    pub fn action(&mut self, action: impl FnMut(&World, &mut Input) + 'static) {
        self.actions.push(Box::new(action));
    }

    /// Waits for the device's threads.
    pub fn settle_by(&mut self, wait: impl Fn() + 'static) {
        self.settle.push(Box::new(wait));
    }
    pub(crate) fn settle(&self) {
        for wait in &self.settle {
            wait();
        }
    }

    pub(crate) fn function(&self, input: &mut Input) -> Option<Address> {
        match self.functions.as_slice() {
            [] => None,
            some => Some(input.choose(some)),
        }
    }

    /// Places base address registers and switches decoding and bus mastering on, as firmware does.
    pub(crate) fn place(&self) {
        use AccessSize::{Dword, Word};
        for (f, at) in self.functions.iter().enumerate() {
            for n in 0..6u8 {
                let register = 0x10 + 4 * n;
                let pci = &self.world.pci;
                let upper = n > 0 && pci.config_read(*at, register - 4, Dword) & 7 == 4;
                let value = match pci.config_read(*at, register, Dword) & 1 {
                    _ if upper => 0,
                    1 => u32::from(Self::port_bar(n)) + 0x800 * f as u32,
                    _ => Self::bar(n) as u32 + 0x800_0000 * f as u32,
                };
                pci.config_write(*at, register, Dword, value);
            }
            self.world.pci.config_write(*at, 4, Word, 7);
        }
    }

    /// Where the devices answer now.
    pub(crate) fn regions(&self) -> Vec<Region> {
        let bus = &self.world.bus;
        let ports = bus.port_ranges().into_iter();
        let memory = bus.mmio_ranges().into_iter();
        ports
            .map(|(_, first, last)| Region::Ports(first..=last))
            .chain(memory.map(|(_, first, last)| Region::Memory(first..=last)))
            .collect()
    }
}
