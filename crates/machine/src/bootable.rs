//! What a machine can be started from, as the firmware names it: device paths of OpenFirmware, in the file `bootorder` of fw_cfg.
//!
//! The names are those that QEMU gives its devices, which SeaBIOS (`src/boot.c`) and OVMF (`QemuBootOrderLib`) look for.

use crate::drives::Kind;
use crate::layout;
use devices::ide::Place;
use devices::pci::Address;

/// A sort of device to boot from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootDevice {
    Disk,
    CdRom,
    Floppy,
}

impl BootDevice {
    /// All, by name.
    pub const NAMES: [(&str, Self); 3] = [
        ("disk", Self::Disk),
        ("cdrom", Self::CdRom),
        ("floppy", Self::Floppy),
    ];
}

impl From<Kind> for BootDevice {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Disk => Self::Disk,
            Kind::CdRom => Self::CdRom,
        }
    }
}

/// The drives of a machine with their paths, in the order in which they were built.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bootable {
    drives: Vec<(BootDevice, String)>,
}

/// The path of a PCI function whose node has this name.
fn function(name: &str, at: Address) -> String {
    let device = at.device();
    match at.function() {
        0 => format!("/pci@i0cf8/{name}@{device:x}"),
        function => format!("/pci@i0cf8/{name}@{device:x},{function:x}"),
    }
}

impl Bootable {
    pub(crate) fn virtio(&mut self, at: Address) {
        let path = format!("{}/disk@0,0", function("scsi", at));
        self.drives.push((BootDevice::Disk, path));
    }

    pub(crate) fn sata(&mut self, kind: Kind, at: Address, port: usize) {
        let path = format!("{}/drive@{port}/disk@0", function("pci8086,2922", at));
        self.drives.push((kind.into(), path));
    }

    pub(crate) fn ide(&mut self, kind: Kind, at: Place) {
        let controller = function("ide", layout::pci::IDE);
        let path = format!("{controller}/drive@{}/disk@{}", at.channel, at.device);
        self.drives.push((kind.into(), path));
    }

    pub(crate) fn floppy(&mut self, drive: usize) {
        let bridge = function("isa", layout::pci::ISA_BRIDGE);
        let path = format!("{bridge}/fdc@03f0/floppy@{drive}");
        self.drives.push((BootDevice::Floppy, path));
    }

    /// The file: a path a line, of the sorts asked for, the first one first. `None` if there is no such drive.
    pub(crate) fn order(&self, wanted: &[BootDevice]) -> Option<Vec<u8>> {
        let of_sort = |sort: &BootDevice| {
            let sort = *sort;
            self.drives.iter().filter(move |d| d.0 == sort)
        };
        let paths = wanted.iter().flat_map(of_sort);
        let paths: Vec<&str> = paths.map(|d| d.1.as_str()).collect();
        (!paths.is_empty()).then(|| [paths.join("\n").as_bytes(), &[0]].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_ordered_by_sort() {
        let mut drives = Bootable::default();
        drives.floppy(0);
        drives.sata(Kind::Disk, Address::new(3, 0), 0);
        drives.sata(Kind::CdRom, Address::new(3, 0), 1);
        drives.virtio(Address::new(0x1f, 0));
        drives.ide(Kind::CdRom, Place::new(1, 0));
        let order = drives.order(&[BootDevice::CdRom, BootDevice::Disk]);
        let text = "/pci@i0cf8/pci8086,2922@3/drive@1/disk@0\n\
                    /pci@i0cf8/ide@1,1/drive@1/disk@0\n\
                    /pci@i0cf8/pci8086,2922@3/drive@0/disk@0\n\
                    /pci@i0cf8/scsi@1f/disk@0,0\0";
        assert_eq!(order.as_deref(), Some(text.as_bytes()));
        let order = drives.order(&[BootDevice::Floppy]);
        let text = b"/pci@i0cf8/isa@1/fdc@03f0/floppy@0\0";
        assert_eq!(order.as_deref(), Some(&text[..]));
        assert_eq!(drives.order(&[]), None);
        assert_eq!(Bootable::default().order(&[BootDevice::Disk]), None);
    }
}
