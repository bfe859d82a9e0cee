//! Drives: which images a machine has, and on which controller each sits.

use crate::bootable::Bootable;
use crate::media::{Media, Removable};
use crate::{Error, layout};
use block::Disk;
use bus::Bus;
use devices::floppy::{self, Floppy};
use devices::ide::{self, Drive as IdeDrive, Ide, Place};
use devices::pci::Address;
use devices::virtio::{Blk, VirtioPci};
use devices::{Ahci, I8237, IrqRouter, IsaDma, PciBus};
use memory::Ram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes of a disk's sector.
const SECTOR: u64 = 512;

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
    media: Mutex<Media>,
    bootable: Mutex<Bootable>,
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

/// Refuses an image that no drive of this interface takes: one without a sector, and a floppy of a size that was never made.
pub(crate) fn check_size(interface: Interface, path: &Path, size: u64) -> Result<(), block::Error> {
    let wanted = match interface {
        Interface::Floppy if floppy::drive_type(size).is_none() => {
            format!("for a floppy are images of {} KiB", floppy::SIZES_KIB)
        }
        _ if size < SECTOR => "are images of at least one sector, 512 bytes".to_string(),
        _ => return Ok(()),
    };
    let path = path.display();
    Err(block::Error::Request(format!(
        "{path} has {size} bytes; accepted {wanted}"
    )))
}

impl Drives {
    /// Opens all images.
    pub(crate) fn open(drives: &[Drive]) -> Result<Self, Error> {
        let mut open = Vec::new();
        for (n, drive) in drives.iter().enumerate() {
            let disk = match &drive.path {
                Some(path) => {
                    let image = block::open(path, &drive.options).map_err(Error::Disk)?;
                    check_size(drive.interface, path, image.size()).map_err(Error::Disk)?;
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
        Ok(Self {
            open,
            media: Mutex::default(),
            bootable: Mutex::default(),
        })
    }

    /// The drives built so far whose media can be changed.
    pub(crate) fn media(&self) -> Media {
        self.lock_media().clone()
    }

    /// The drives built so far, for the firmware.
    pub(crate) fn bootable(&self) -> Bootable {
        self.lock_bootable().clone()
    }

    fn lock_bootable(&self) -> std::sync::MutexGuard<'_, Bootable> {
        self.bootable.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_media(&self) -> std::sync::MutexGuard<'_, Media> {
        self.media.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The drives of one interface.
    fn on(&self, interface: Interface) -> impl Iterator<Item = &(Drive, Option<Arc<Disk>>)> {
        self.open
            .iter()
            .filter(move |(d, _)| d.interface == interface)
    }

    /// The SATA controller at PCI device `next`, if there is a drive for it.
    pub(crate) fn sata(&self, bus: &mut Bus, pci: &PciBus, next: &mut u8) {
        let mut on_ports = self
            .on(Interface::Sata)
            .map(|(d, disk)| match (d.kind, disk) {
                (Kind::Disk, Some(disk)) => IdeDrive::Disk(disk.clone()),
                (_, disc) => IdeDrive::CdRom(disc.clone()),
            });
        let drives = [(); devices::ahci::PORTS].map(|()| on_ports.next());
        if drives.iter().all(Option::is_none) {
            return;
        }
        let at = Address::new(std::mem::replace(next, *next + 1), 0);
        for (port, (drive, _)) in self.on(Interface::Sata).enumerate() {
            self.lock_bootable().sata(drive.kind, at, port);
        }
        pci.plug(bus, at, Ahci::config(), |wires| Ahci::new(wires, drives));
    }

    /// The floppy controller, if there is a drive for it.
    pub(crate) fn floppy(
        &self,
        bus: &mut Bus,
        irqs: &IrqRouter,
        dma: &I8237,
        ram: &Arc<Ram>,
    ) -> Result<(), Error> {
        let mut drives = self.on(Interface::Floppy).map(|(_, disk)| disk.clone());
        let drives = [drives.next(), drives.next()];
        if let [None, None] = drives {
            return Ok(());
        }
        let channel = IsaDma::new(dma, ram.clone(), 2);
        let present = self.on(Interface::Floppy).count().min(drives.len());
        let controller = Floppy::new(irqs.isa(6), channel, drives);
        for n in 0..present {
            self.lock_media()
                .add(Removable::Floppy(controller.clone(), n));
            self.lock_bootable().floppy(n);
        }
        let index = bus.add(Arc::new(Mutex::new(controller)));
        bus.map_ports(index, floppy::REGION_MAIN, 0x3f0..=0x3f5)?;
        bus.map_ports(index, floppy::REGION_DIR, 0x3f7..=0x3f7)?;
        Ok(())
    }

    /// The types of the floppy drives as CMOS has them.
    pub(crate) fn floppy_types(&self) -> [u8; 2] {
        // An empty drive takes 1.44 MB.
        const EMPTY: u8 = 4;
        let mut types = self.on(Interface::Floppy).map(|(_, disk)| match disk {
            Some(disk) => floppy::drive_type(disk.image().size()).unwrap_or(EMPTY),
            None => EMPTY,
        });
        [types.next(), types.next()].map(|t| t.unwrap_or(0))
    }

    /// A function for each virtio disk, from PCI device `next` on.
    pub(crate) fn virtio(&self, bus: &mut Bus, pci: &PciBus, next: &mut u8) {
        for (n, (_, disk)) in self.on(Interface::Virtio).enumerate() {
            let Some(disk) = disk else { continue };
            let at = Address::new(std::mem::replace(next, *next + 1), 0);
            self.lock_bootable().virtio(at);
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
                let place = free.remove(at);
                self.lock_bootable().ide(kind, place);
                placed.push((place, drive));
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
        for (place, drive) in &placed {
            if let (IdeDrive::CdRom(_), Some(ide)) = (drive, &handle) {
                self.lock_media().add(Removable::Disc(ide.clone(), *place));
            }
        }
        handle.ok_or_else(|| Error::Disk(block::Error::Request("the board has no IDE".into())))
    }
}
