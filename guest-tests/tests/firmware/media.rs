//! SeaBIOS boots from a disk on each interface, from a CD and from a floppy: a boot sector that reads and writes by INT 13h.

use super::{LIMIT, assembled, common, config, fastest, scratch};
use bus::StopReason;
use machine::drives::{Drive, Interface, Kind};
use machine::{BootDevice, DiskAccess, DiskFormat, DiskOptions};
use std::path::PathBuf;

/// Bytes of a floppy.
pub const FLOPPY: usize = 1440 << 10;
/// Bytes of a disk.
const SIZE: usize = 8 << 20;

/// A drive with a raw image; a CD is not written.
pub fn drive(interface: Interface, kind: Kind, path: PathBuf) -> Drive {
    Drive {
        interface,
        kind,
        path: Some(path),
        options: DiskOptions {
            format: Some(DiskFormat::Raw),
            access: match kind {
                Kind::Disk => DiskAccess::ReadWrite,
                Kind::CdRom => DiskAccess::ReadOnly,
            },
            ..DiskOptions::default()
        },
        serial: None,
    }
}

/// A disk of `bytes` bytes that begins with the sector and a text.
fn disk(sector: &[u8], bytes: usize) -> Vec<u8> {
    let mut image = sector.to_vec();
    image.extend(b"second sector\n\0");
    image.resize(bytes, 0);
    image
}

/// An ISO 9660 image that boots without emulation (El Torito 1.0): the boot record, the catalog, the sector, a text.
fn disc(sector: &[u8]) -> Vec<u8> {
    const BLOCK: usize = 2048;
    let mut image = vec![0; 64 * BLOCK];
    let mut put = |block: usize, at: usize, bytes: &[u8]| {
        image[block * BLOCK + at..][..bytes.len()].copy_from_slice(bytes);
    };
    put(16, 0, b"\x01CD001\x01");
    put(17, 0, b"\0CD001\x01EL TORITO SPECIFICATION");
    put(17, 0x47, &19u32.to_le_bytes());
    put(18, 0, b"\xffCD001\x01");
    // Validation entry, whose words add up to zero; the default entry: bootable, no emulation, four sectors of 512 bytes at block 20.
    let mut entry = [0u8; 32];
    entry[0] = 1;
    entry[30..].copy_from_slice(&[0x55, 0xaa]);
    let sum = entry.chunks(2).fold(0u16, |s, w| {
        s.wrapping_add(u16::from_le_bytes([w[0], w[1]]))
    });
    entry[28..30].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    put(19, 0, &entry);
    put(19, 32, &[0x88, 0, 0, 0, 0, 0, 4, 0, 20, 0, 0, 0]);
    put(20, 0, sector);
    put(21, 0, b"second sector\n\0");
    image
}

fn boots(name: &str, interface: Interface, kind: Kind, bytes: usize, number: &str) {
    let Some(mut config) = config(name, "seabios", fastest()) else {
        return;
    };
    let Some(sector) = assembled(name, "media.asm") else {
        return;
    };
    let image = match kind {
        Kind::Disk => disk(&sector, bytes),
        Kind::CdRom => disc(&sector),
    };
    let path = scratch(name).join("image");
    std::fs::write(&path, image).expect("an image");
    config.memory = 128 << 20;
    config.drives = vec![drive(interface, kind, path.clone())];
    let outcome = common::converse(&config, LIMIT, None);
    let output = &outcome.output;
    assert_eq!(
        outcome.reason,
        Some(StopReason::DebugExit(0x31)),
        "{name}:\n{output}"
    );
    assert!(
        output.contains(&format!("booted from {number}\n")),
        "{name}:\n{output}"
    );
    assert!(output.contains("second sector"), "{name}:\n{output}");
    if kind == Kind::Disk {
        assert!(output.contains("Wecond sector"), "{name}:\n{output}");
        let after = std::fs::read(&path).expect("the image");
        assert_eq!(&after[1024..1030], b"Wecond", "{name}");
    }
}

#[test]
fn from_ide() {
    boots("from_ide", Interface::Ide, Kind::Disk, SIZE, "80");
}

#[test]
fn from_virtio() {
    boots("from_virtio", Interface::Virtio, Kind::Disk, SIZE, "80");
}

#[test]
fn from_sata() {
    boots("from_sata", Interface::Sata, Kind::Disk, SIZE, "80");
}

#[test]
fn from_a_floppy() {
    boots("from_a_floppy", Interface::Floppy, Kind::Disk, FLOPPY, "00");
}

#[test]
fn from_an_ide_cd() {
    boots("from_an_ide_cd", Interface::Ide, Kind::CdRom, 0, "e0");
}

#[test]
fn from_a_sata_cd() {
    boots("from_a_sata_cd", Interface::Sata, Kind::CdRom, 0, "e0");
}

/// With a sector on a disk of each interface, on a CD and on a floppy, the one that is asked for boots.
fn boots_first(name: &str, order: &[BootDevice], number: &str) {
    let Some(mut config) = config(name, "seabios", fastest()) else {
        return;
    };
    let Some(sector) = assembled(name, "media.asm") else {
        return;
    };
    let place = |(interface, kind): (Interface, Kind)| {
        let path = scratch(name).join(format!("{interface:?}-{kind:?}"));
        let image = match (interface, kind) {
            (_, Kind::CdRom) => disc(&sector),
            (Interface::Floppy, _) => disk(&sector, FLOPPY),
            _ => disk(&sector, SIZE),
        };
        std::fs::write(&path, image).expect("an image");
        drive(interface, kind, path)
    };
    config.memory = 128 << 20;
    config.firmware.boot_order = order.to_vec();
    config.drives = [
        (Interface::Virtio, Kind::Disk),
        (Interface::Sata, Kind::Disk),
        (Interface::Ide, Kind::CdRom),
        (Interface::Floppy, Kind::Disk),
    ]
    .map(place)
    .to_vec();
    let output = common::converse(&config, LIMIT, None).output;
    let booted = format!("booted from {number}\n");
    assert!(output.contains(&booted), "{name}:\n{output}");
}

#[test]
fn a_cd_boots_first() {
    boots_first(
        "a_cd_boots_first",
        &[BootDevice::CdRom, BootDevice::Disk],
        "e0",
    );
}

#[test]
fn a_disk_boots_first() {
    boots_first("a_disk_boots_first", &[BootDevice::Disk], "80");
}

#[test]
fn a_floppy_boots_first() {
    boots_first(
        "a_floppy_boots_first",
        &[BootDevice::Floppy, BootDevice::CdRom],
        "00",
    );
}
