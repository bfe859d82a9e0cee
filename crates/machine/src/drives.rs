//! Drives: which images a machine has, and on which controller each sits.

use crate::{Error, layout};
use block::Disk;
use bus::Bus;
use devices::ide::{self, Drive as IdeDrive, Ide, Place};
use devices::pci::Address;
use devices::virtio::{Blk, VirtioPci};
use devices::{IrqRouter, PciBus};
use std::path::PathBuf;
use std::sync::Arc;

/// What a drive is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interface {
    Virtio,
    Ide,
    Sata,
    Floppy,
}

/// What a drive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Disk,
    CdRom,
}

/// A drive to be built.
#[derive(Clone, Debug)]
pub struct Drive {
    pub interface: Interface,
    pub kind: Kind,
    /// `None` is a CD-ROM or floppy drive without medium.
    pub path: Option<PathBuf>,
    pub options: block::Options,
    pub serial: Option<String>,
}

/// Drives of one machine by interface, with their media open.
pub(crate) struct Drives {
    open: Vec<(Drive, Option<Arc<Disk>>)>,
}

/// How many drives an interface takes.
pub const fn limit(interface: Interface) -> usize {
    match interface {
        Interface::Virtio => 16,
        Interface::Ide => 4,
        Interface::Sata => 6,
        Interface::Floppy => 2,
    }
}

impl Drives {
    /// Opens all images.
    pub(crate) fn open(drives: &[Drive]) -> Result<Self, Error> {
        let mut open = Vec::new();
        for (n, drive) in drives.iter().enumerate() {
            let disk = match &drive.path {
                Some(path) => {
                    let image = block::open(path, &drive.options).map_err(Error::Disk)?;
                    let serial = match (&drive.serial, drive.kind) {
                        (Some(serial), _) => serial.clone(),
                        (None, Kind::CdRom) => format!("FERRYCD{n:02}"),
                        (None, Kind::Disk) => format!("FERRY{n:02}"),
                    };
                    Some(Arc::new(Disk::new(image, &serial).map_err(Error::Disk)?))
                }
                None => None,
            };
            open.push((drive.clone(), disk));
        }
        Ok(Self { open })
    }

    /// The drives of one interface.
    fn on(&self, interface: Interface) -> impl Iterator<Item = &(Drive, Option<Arc<Disk>>)> {
        self.open
            .iter()
            .filter(move |(d, _)| d.interface == interface)
    }

    /// A function for each virtio disk, from PCI device `next` on.
    pub(crate) fn virtio(&self, bus: &mut Bus, pci: &PciBus, next: &mut u8) {
        for (n, (_, disk)) in self.on(Interface::Virtio).enumerate() {
            let Some(disk) = disk else { continue };
            let at = Address::new(std::mem::replace(next, *next + 1), 0);
            pci.plug(bus, at, VirtioPci::<Blk>::config(), |wires| {
                let name = format!("virtio-blk{n}");
                VirtioPci::new(&name, wires, |core| Blk::new(core, disk.clone()))
            });
        }
    }

    /// The IDE controller is part of the board; disks come first, then CD-ROMs from the second channel on.
    pub(crate) fn ide(&self, bus: &mut Bus, pci: &PciBus, irqs: &IrqRouter) -> Result<Ide, Error> {
        let mut free: Vec<Place> = Place::ALL.to_vec();
        let mut placed = Vec::new();
        for kind in [Kind::Disk, Kind::CdRom] {
            for (_, disk) in self.on(Interface::Ide).filter(|(d, _)| d.kind == kind) {
                // The second channel's master is where systems look for a CD-ROM.
                let second = free.iter().position(|p| *p == Place::new(1, 0));
                let at = match (kind, second) {
                    (Kind::CdRom, Some(n)) => n,
                    _ => 0,
                };
                if free.is_empty() {
                    break;
                }
                let drive = match (kind, disk) {
                    (Kind::Disk, Some(disk)) => IdeDrive::Disk(disk.clone()),
                    (_, disc) => IdeDrive::CdRom(disc.clone()),
                };
                placed.push((free.remove(at), drive));
            }
        }
        let mut handle = None;
        let lines = [irqs.isa(14), irqs.isa(15)];
        let index = pci.plug(bus, layout::pci::IDE, Ide::config(), |wires| {
            let ide = Ide::new(&wires, lines, &placed);
            handle = Some(ide.clone());
            ide
        });
        for (n, (command, control)) in [(0x1f0, 0x3f6), (0x170, 0x376)].into_iter().enumerate() {
            bus.map_ports(index, ide::region_command(n), command..=command + 7)?;
            bus.map_ports(index, ide::region_control(n), control..=control)?;
        }
        handle.ok_or_else(|| Error::Disk(block::Error::Request("the board has no IDE".into())))
    }
}
