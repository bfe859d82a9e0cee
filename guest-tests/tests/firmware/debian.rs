//! Debian 12 as debootstrap makes it, on ext4 with GRUB, from a disk on each interface, as raw and as qcow2: to a login on the serial line,
//! a command, and an orderly end.

use super::{common, config, fastest, guest, media};
use block::Format;
use block::manage;
use bus::StopReason;
use machine::drives::{Interface, Kind};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(900);

/// Where the disk's file system begins.
const PARTITION: u64 = 1 << 20;

/// Boots from the disk on `interface`, which is `device` in the guest.
fn logs_in(name: &str, interface: Interface, device: &str, format: Format) {
    let Some(mut config) = config(name, "seabios", fastest()) else {
        return;
    };
    let disk = match guest::file("debian-disk") {
        Ok(disk) => disk,
        Err(why) => {
            eprintln!("{name}: skipped, there is no disk with Debian: {why}");
            return;
        }
    };
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("disk");
    manage::convert(&disk, Some(Format::Raw), &path, format, |_, _| ()).expect("a copy");
    config.memory = 512 << 20;
    let mut drive = media::drive(interface, Kind::Disk, path.clone());
    drive.options.format = Some(format);
    config.drives = vec![drive];
    let root = format!("/dev/{device}1 ext4 kept-42");
    let outcome = common::attend(&config, LIMIT, |person| {
        person.reads("Debian GNU/Linux 12 ferry ttyS0")?;
        person.reads("login: ")?;
        person.sends("root\n");
        person.reads("root@ferry:~# ")?;
        // What the shell echoes must not look like the answer.
        person.sends(
            "echo kept-$((6 * 7)) >kept; sync; echo $(findmnt -n -o SOURCE,FSTYPE /) $(cat kept)\n",
        );
        person.reads(&root)?;
        person.sends("poweroff\n");
        Ok(())
    });
    assert_eq!(outcome.missed, None, "{name}:\n{}", outcome.output);
    let reason = outcome.reason;
    assert_eq!(
        reason,
        Some(StopReason::PowerOff),
        "{name}:\n{}",
        outcome.output
    );
    is_sound(name, &path, dir.path());
}

/// From the host: the file system is sound.
fn is_sound(name: &str, image: &Path, dir: &Path) {
    let raw = dir.join("after.raw");
    manage::convert(image, None, &raw, Format::Raw, |_, _| ()).expect("a copy");
    for fsck in ["e2fsck", "/usr/sbin/e2fsck", "/sbin/e2fsck"] {
        let image = format!("{}?offset={PARTITION}", raw.display());
        if let Ok(status) = Command::new(fsck).args(["-f", "-n", &image]).status() {
            assert!(status.success(), "{name}: {fsck} found damage");
            return;
        }
    }
    eprintln!("{name}: the file system was not looked at: there is no e2fsck (Debian: e2fsprogs)");
}

#[test]
#[ignore = "nightly: makes a disk with debootstrap and boots all of Debian"]
fn debian_from_virtio_raw() {
    logs_in(
        "debian_from_virtio_raw",
        Interface::Virtio,
        "vda",
        Format::Raw,
    );
}

#[test]
#[ignore = "nightly: makes a disk with debootstrap and boots all of Debian"]
fn debian_from_virtio_qcow2() {
    logs_in(
        "debian_from_virtio_qcow2",
        Interface::Virtio,
        "vda",
        Format::Qcow2,
    );
}

#[test]
#[ignore = "nightly: makes a disk with debootstrap and boots all of Debian"]
fn debian_from_ide_raw() {
    logs_in("debian_from_ide_raw", Interface::Ide, "sda", Format::Raw);
}

#[test]
#[ignore = "nightly: makes a disk with debootstrap and boots all of Debian"]
fn debian_from_ide_qcow2() {
    logs_in(
        "debian_from_ide_qcow2",
        Interface::Ide,
        "sda",
        Format::Qcow2,
    );
}

#[test]
#[ignore = "nightly: makes a disk with debootstrap and boots all of Debian"]
fn debian_from_sata_raw() {
    logs_in("debian_from_sata_raw", Interface::Sata, "sda", Format::Raw);
}

#[test]
#[ignore = "nightly: makes a disk with debootstrap and boots all of Debian"]
fn debian_from_sata_qcow2() {
    logs_in(
        "debian_from_sata_qcow2",
        Interface::Sata,
        "sda",
        Format::Qcow2,
    );
}
