//! Disks: Debian's kernels with an ext4 file system on a disk of each interface and format: write, sync, read back, look at it from the host.
//!
//! Skipped by name where the guest's files, or mke2fs, cannot be had.

mod common;
mod guest;
mod modules;

use block::manage;
use block::{Access, Format};
use bus::StopReason;
use machine::drives::{Drive, Interface, Kind};
use machine::{DiskOptions, DiskPersistence};
use modules::files;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(600);
const PROMPT: &str = "root@ferry:/root# ";
const BYTES: u64 = 48 << 20;

fn drive(path: &Path, interface: Interface) -> Drive {
    Drive {
        interface,
        kind: Kind::Disk,
        path: Some(path.to_owned()),
        options: DiskOptions::default(),
        serial: Some("FERRYTEST".into()),
    }
}

/// An image with an empty ext4, or why not.
fn ext4(dir: &Path, format: Format) -> Result<PathBuf, String> {
    let raw = dir.join("disk.raw");
    manage::create(&raw, Format::Raw, Some(BYTES), None).map_err(|e| e.to_string())?;
    let found = ["mke2fs", "/usr/sbin/mke2fs", "/sbin/mke2fs"]
        .into_iter()
        .find_map(|p| {
            let mut c = Command::new(p);
            c.args(["-q", "-t", "ext4", "-F"]).arg(&raw);
            c.status().ok()
        });
    match found {
        Some(status) if status.success() => {}
        Some(status) => return Err(format!("mke2fs ended with {status}")),
        None => return Err("there is no mke2fs (Debian: e2fsprogs)".into()),
    }
    if format == Format::Raw {
        return Ok(raw);
    }
    let path = dir.join(format!("disk.{format}"));
    manage::convert(&raw, None, &path, format, |_, _| ()).map_err(|e| e.to_string())?;
    Ok(path)
}

/// What is typed: `DISK` is the device, the answer must not be in it.
const SCRIPT: &str = "for m in /ferry/modules/*; do insmod $m; done; sleep 1; mount -t ext4 /dev/DISK /mnt && dd if=/dev/urandom of=/mnt/a bs=64k \
count=100 2>/dev/null; sync; s=$(md5sum </mnt/a); umount /mnt; echo 3 >/proc/sys/vm/drop_caches; mount /dev/DISK /mnt; \
[ \"$s\" = \"$(md5sum </mnt/a)\" ] && echo kept-$((6 * 7)); cp /ferry/session /mnt/b; umount /mnt; poweroff -f\n";

fn keeps_files(name: &str, kernel: [&str; 3], interface: Interface, device: &str, format: Format) {
    let dir = tempfile::tempdir().expect("a directory");
    let made = files(dir.path(), kernel[0], kernel[1], kernel[2])
        .and_then(|f| Ok((f, ext4(dir.path(), format)?)));
    let ([kernel, initrd], image) = match made {
        Ok(made) => made,
        Err(why) => {
            eprintln!("{name}: skipped, {why}");
            return;
        }
    };
    let mut config = common::config(kernel, "x86-64-v2", guest::fastest());
    config.memory = 512 << 20;
    config.initrd = Some(initrd);
    config.command_line = "console=ttyS0 panic=-1 loglevel=4".to_owned();
    config.drives = vec![drive(&image, interface)];
    let script = SCRIPT.replace("DISK", device);
    let outcome = common::converse(&config, LIMIT, Some((PROMPT, &script)));
    let output = &outcome.output;
    assert!(
        output.lines().any(|line| line.trim() == "kept-42"),
        "the file changed, or {name} did not come so far:\n{output}"
    );
    assert_eq!(outcome.reason, Some(StopReason::PowerOff), "{output}");
    // From the host: the image is sound, and so is the file system.
    if format == Format::Qcow2 {
        let report = block::qcow2_check::check(&image, |_, _| ()).expect("a check");
        assert_eq!(report.errors, 0, "{report:?}");
    }
    let raw = dir.path().join("after.raw");
    manage::convert(&image, None, &raw, Format::Raw, |_, _| ()).expect("a copy");
    for fsck in ["e2fsck", "/usr/sbin/e2fsck", "/sbin/e2fsck"] {
        if let Ok(status) = Command::new(fsck).args(["-f", "-n"]).arg(&raw).status() {
            assert!(status.success(), "{name}: {fsck} found damage");
            break;
        }
    }
}

const AMD64: [&str; 3] = ["vmlinuz", "initrd", "modules"];
const I386: [&str; 3] = ["vmlinuz-i386", "initrd-i386", "modules-i386"];

#[test]
fn virtio_raw() {
    keeps_files("virtio_raw", AMD64, Interface::Virtio, "vda", Format::Raw);
}

#[test]
fn virtio_qcow2() {
    keeps_files(
        "virtio_qcow2",
        AMD64,
        Interface::Virtio,
        "vda",
        Format::Qcow2,
    );
}

#[test]
fn ide_raw() {
    keeps_files("ide_raw", AMD64, Interface::Ide, "sda", Format::Raw);
}

#[test]
fn ide_qcow2() {
    keeps_files("ide_qcow2", AMD64, Interface::Ide, "sda", Format::Qcow2);
}

#[test]
fn sata_raw() {
    keeps_files("sata_raw", I386, Interface::Sata, "sda", Format::Raw);
}

/// A CD, a floppy, and a disk whose writes are dropped, on the 32-bit kernel.
#[test]
fn cdrom_floppy_and_snapshot() {
    let name = "cdrom_floppy_and_snapshot";
    let dir = tempfile::tempdir().expect("a directory");
    let [kernel, initrd] = match files(dir.path(), I386[0], I386[1], I386[2]) {
        Ok(files) => files,
        Err(why) => {
            eprintln!("{name}: skipped, {why}");
            return;
        }
    };
    let content = |seed: u32, bytes: usize| -> Vec<u8> {
        let mut x = seed;
        (0..bytes)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (x >> 24) as u8
            })
            .collect()
    };
    let image = |file: &str, seed: u32, bytes: usize| {
        let path = dir.path().join(file);
        std::fs::write(&path, content(seed, bytes)).expect("an image");
        path
    };
    let disc = image("cd.iso", 1, 3 << 20);
    let floppy = image("a.img", 2, 1440 << 10);
    let disk = image("d.img", 3, 4 << 20);
    let mut cdrom = drive(&disc, Interface::Ide);
    cdrom.kind = Kind::CdRom;
    cdrom.options.access = Access::ReadOnly;
    let mut dropped = drive(&disk, Interface::Ide);
    dropped.options.persistence = DiskPersistence::Dropped;
    let mut config = common::config(kernel, "x86-64-v2", guest::fastest());
    config.memory = 512 << 20;
    config.initrd = Some(initrd);
    config.command_line = "console=ttyS0 panic=-1 loglevel=4".to_owned();
    config.drives = vec![dropped, cdrom, drive(&floppy, Interface::Floppy)];
    let script = "for m in /ferry/modules/*; do insmod $m; done; sleep 2; for d in sr0 fd0 sda; do echo sum $d $(md5sum </dev/$d); done; \
dd if=/dev/urandom of=/dev/sda bs=1M count=4 2>/dev/null; head -c 1000 /proc/kallsyms >/tmp/k; dd if=/tmp/k of=/dev/fd0 bs=512 seek=100 \
conv=sync 2>/dev/null; sync; echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/fd0 bs=512 skip=100 count=1 2>/dev/null | cmp -n 512 - /tmp/k && echo \
floppy-$((6 * 7)); poweroff -f\n";
    let outcome = common::converse(&config, LIMIT, Some((PROMPT, script)));
    let output = &outcome.output;
    for (device, path) in [("sr0", &disc), ("fd0", &floppy), ("sda", &disk)] {
        if device == "fd0" {
            // It was written since: its own line below.
            assert!(output.contains("sum fd0 "), "{output}");
            continue;
        }
        let sum = Command::new("md5sum")
            .arg(path)
            .output()
            .expect("md5sum")
            .stdout;
        let sum = String::from_utf8_lossy(&sum);
        let want = format!("sum {device} {} -", sum.split(' ').next().unwrap_or(""));
        assert!(output.contains(&want), "no {want} in:\n{output}");
    }
    assert!(output.lines().any(|l| l.trim() == "floppy-42"), "{output}");
    // The dropped writes are nowhere.
    assert!(std::fs::read(&disk).expect("the disk") == content(3, 4 << 20));
    assert!(
        std::fs::read(&floppy).expect("the floppy")[..51200] == content(2, 1440 << 10)[..51200]
    );
    assert!(
        std::fs::read(&floppy).expect("the floppy")[51200..51712]
            != content(2, 1440 << 10)[51200..51712]
    );
}
