//! For tests of PCI functions: a bus with RAM, one function at device 3, and images to put into drives.

use crate::pci::{Address, Config, MsiSink, PciBus, PciConfig, PciFunction, PirqRouter, Wires};
use crate::testing::clock;
use crate::{ApicBus, I8259, IoApic, IrqRouter, lock};
use arch::GuestPhys;
use block::{Access, Disk, MemoryImage};
use bus::{AccessSize, Attention, Bus, StopRequest};
use memory::Ram;
use std::sync::{Arc, Mutex};

pub const B: AccessSize = AccessSize::Byte;
pub const W: AccessSize = AccessSize::Word;
pub const D: AccessSize = AccessSize::Dword;
pub const Q: AccessSize = AccessSize::Qword;

/// Where the function sits.
pub const AT: Address = Address::new(3, 0);
/// Where [`Rig::place`] puts base address registers: register n at `MEMORY + n * 64 KiB` or at port `PORTS + n * 256`.
pub const MEMORY: u64 = 0xd000_0000;
pub const PORTS: u16 = 0xc000;

#[derive(Default)]
struct Mailbox(Mutex<Vec<(u64, u32)>>);

impl MsiSink for Mailbox {
    fn message(&self, address: u64, data: u32) {
        lock(&self.0).push((address, data));
    }
}

pub struct Rig {
    pub bus: Bus,
    pub pci: PciBus,
    pub ram: Arc<Ram>,
    pub index: usize,
    mail: Arc<Mailbox>,
}

impl Rig {
    /// A bus with 4 MiB of RAM and the function that `make` makes.
    pub fn new<F: PciFunction + 'static>(config: Config, make: impl FnOnce(Wires) -> F) -> Self {
        let attention = [Arc::new(Attention::default())];
        let apics = ApicBus::new(clock(), 40, &attention);
        let pic = I8259::new(apics.lint(0, 0));
        let router = PirqRouter::new(&IrqRouter::new(&pic, &IoApic::new(apics)));
        let (ram, mail) = (Ram::new(4 << 20).unwrap(), Arc::new(Mailbox::default()));
        let pci = PciBus::new(ram.clone(), mail.clone(), router);
        let mut bus = Bus::new(clock());
        let ports = PciConfig::new(pci.clone(), StopRequest::new(vec![]));
        let index = bus.add(Arc::new(Mutex::new(ports)));
        bus.map_ports(index, 0, 0xcf8..=0xcff).unwrap();
        let index = pci.plug(&mut bus, AT, config, make);
        Self {
            bus,
            pci,
            ram,
            index,
            mail,
        }
    }

    /// Places base address registers and switches decoding and bus mastering on.
    pub fn place(&self) {
        for n in 0..6u8 {
            let register = 0x10 + 4 * n;
            let old = self.pci.config_read(AT, register, D);
            let value = match old & 1 {
                1 => u32::from(PORTS + 0x100 * u16::from(n)),
                _ => MEMORY as u32 + 0x1_0000 * u32::from(n),
            };
            // The upper half of a 64-bit register stays zero.
            let upper = n > 0 && self.pci.config_read(AT, register - 4, D) & 7 == 4;
            self.pci
                .config_write(AT, register, D, if upper { 0 } else { value });
        }
        self.pci.config_write(AT, 4, W, 7);
    }

    pub fn load(&self, at: u64, size: AccessSize) -> u64 {
        self.bus.mmio_read(GuestPhys(at), size)
    }
    pub fn store(&self, at: u64, size: AccessSize, value: u64) {
        self.bus.mmio_write(GuestPhys(at), size, value);
    }
    pub fn ram(&self, at: u64, bytes: usize) -> Vec<u8> {
        let mut v = vec![0; bytes];
        self.ram.read(GuestPhys(at), &mut v).unwrap();
        v
    }
    pub fn set_ram(&self, at: u64, bytes: &[u8]) {
        self.ram.write(GuestPhys(at), bytes).unwrap();
    }
    /// Messages since the last call.
    pub fn mail(&self) -> Vec<(u64, u32)> {
        std::mem::take(&mut lock(&self.mail.0))
    }
}

/// A disk of `sectors` sectors; sector n holds the number n again and again.
pub fn disk(sectors: u32, access: Access) -> (Arc<Disk>, Arc<MemoryImage>) {
    let bytes = (0..sectors)
        .flat_map(|n| n.to_le_bytes().repeat(128))
        .collect();
    let image = MemoryImage::new(bytes, access).unwrap();
    let disk = Disk::new(Box::new(image.clone()), "SERIAL-7").unwrap();
    (Arc::new(disk), image)
}
