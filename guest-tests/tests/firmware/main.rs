//! Machines that start by firmware: SeaBIOS to its end, into a boot sector and from each kind of medium ([`media`]); OVMF to its shell and
//! into a kernel; systems from their own media: GRUB's CD ([`grub`]), memtest86+ ([`memtest`]), Debian's installer ([`installer`]), Debian
//! itself from a disk ([`debian`]), and a DOS from a floppy ([`dos`]).
//!
//! The images come from `cargo xtask guest path`, which fetches what its cache lacks. Where that fails, the test says so and is skipped.

#[path = "../common/mod.rs"]
mod common;
mod debian;
mod dos;
mod grub;
#[path = "../guest/mod.rs"]
mod guest;
mod installer;
mod media;
mod memtest;

use bus::StopReason;
use guest::fastest;
use machine::drives::{Interface, Kind};
use machine::{Config, EngineKind, Firmware, OnReset, Variables, Vga};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);
/// OVMF runs 750 million instructions.
const UEFI_LIMIT: Duration = Duration::from_secs(900);

/// A machine that starts by the firmware of this name in the cache.
fn config(name: &str, firmware: &str, engine: EngineKind) -> Option<Config> {
    let image = match guest::file(firmware) {
        Ok(image) => image,
        Err(why) => {
            eprintln!("{name}: skipped, {firmware} cannot be had: {why}");
            return None;
        }
    };
    let mut config = common::config(PathBuf::new(), "x86-64-v2", engine);
    config.kernel = None;
    config.firmware = Firmware {
        image: Some(image),
        ..Firmware::default()
    };
    Some(config)
}

/// A machine with a screen that starts by SeaBIOS from a file of the cache on a CD.
fn with_disc(name: &str, disc: &str) -> Option<Config> {
    let mut config = config(name, "seabios", fastest())?;
    let files = guest::file("vgabios").and_then(|bios| Ok((bios, guest::file(disc)?)));
    match files {
        Ok((bios, disc)) => {
            config.vga = Vga::Present;
            config.video_bios = Some(bios);
            config.drives = vec![media::drive(Interface::Ide, Kind::CdRom, disc)];
            Some(config)
        }
        Err(why) => {
            eprintln!("{name}: skipped, {disc} cannot be had: {why}");
            None
        }
    }
}

/// What nasm makes of a source in `firmware/`.
fn assembled(name: &str, source: &str) -> Option<Vec<u8>> {
    let image = scratch(name).join("sector.bin");
    let source = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("firmware")
        .join(source);
    let nasm = Command::new("nasm")
        .args(["-f", "bin", "-o"])
        .args([&image, &source])
        .output();
    match nasm {
        Ok(done) => assert!(done.status.success(), "{done:?}"),
        Err(why) => {
            eprintln!("{name}: skipped, nasm (Debian: nasm) cannot be run: {why}");
            return None;
        }
    }
    Some(std::fs::read(&image).expect("what nasm wrote"))
}

/// A directory of this test's own.
fn scratch(name: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&dir).expect("a directory");
    dir
}

/// SeaBIOS finds everything that the board tells it, and nothing to boot from.
fn seabios(name: &str, engine: EngineKind) {
    let Some(mut config) = config(name, "seabios", engine) else {
        return;
    };
    let log = scratch(name).join("bios.log");
    config.debug_ports.consoles = vec![(0x402, log.clone())];
    let end = "No bootable device.";
    let screen = common::converse(&config, LIMIT, Some((end, ""))).output;
    assert!(screen.contains("SeaBIOS (version "), "{screen}");
    assert!(screen.contains(end), "{screen}");
    let log = std::fs::read_to_string(log).expect("the debug output");
    for said in [
        "Running on QEMU (i440fx)",
        "QEMU fw_cfg DMA interface supported",
        "qemu/e820: addr 0x0000000000000000 len 0x0000000004000000 [RAM]",
        "Found 1 cpu(s) max supported 1 cpu(s)",
        "Copying SMBIOS from",
        "table(50434146)=",
        "Using pmtimer, ioport 0x608",
    ] {
        assert!(log.contains(said), "no '{said}' in:\n{log}");
    }
}

#[test]
fn seabios_in_the_evaluator() {
    seabios("seabios_in_the_evaluator", EngineKind::Eval);
}

#[test]
fn seabios_in_the_fastest_engine() {
    seabios("seabios_in_the_fastest_engine", fastest());
}

/// A boot sector of ours on a floppy, which asks for everything that the firmware offers and resets the machine once.
fn sector(name: &str, engine: EngineKind) {
    let Some(mut config) = config(name, "seabios", engine) else {
        return;
    };
    let Some(mut medium) = assembled(name, "sector.asm") else {
        return;
    };
    let image = scratch(name).join("medium");
    medium.resize(media::FLOPPY, 0);
    std::fs::write(&image, medium).expect("a medium");
    config.on_reset = OnReset::Restart;
    config.drives = vec![media::drive(Interface::Floppy, Kind::Disk, image)];
    let outcome = common::converse(&config, LIMIT, None);
    let output = &outcome.output;
    assert_eq!(
        outcome.reason,
        Some(StopReason::DebugExit(0)),
        "{name}: {output}"
    );
    assert!(output.contains("first boot"), "{output}");
    assert!(output.contains("PASS sector"), "{output}");
}

#[test]
fn a_boot_sector_in_the_evaluator() {
    sector("a_boot_sector_in_the_evaluator", EngineKind::Eval);
}

#[test]
fn a_boot_sector_in_the_fastest_engine() {
    sector("a_boot_sector_in_the_fastest_engine", fastest());
}

/// OVMF reaches its shell on the serial line, and keeps its variables in the machine's file.
#[test]
fn ovmf_to_its_shell() {
    let name = "ovmf_to_its_shell";
    let Some(mut config) = config(name, "ovmf", fastest()) else {
        return;
    };
    let template = match guest::file("ovmf-vars") {
        Ok(template) => template,
        Err(why) => {
            eprintln!("{name}: skipped, there is no variable store: {why}");
            return;
        }
    };
    let store = scratch(name).join("vars.fd");
    let _ = std::fs::remove_file(&store);
    config.memory = 256 << 20;
    config.firmware.variables = Variables::File {
        path: store.clone(),
        template: Some(template.clone()),
    };
    let prompt = "Shell> ";
    let screen = common::converse(&config, UEFI_LIMIT, Some((prompt, ""))).output;
    assert!(screen.contains("UEFI Interactive Shell"), "{screen}");
    assert!(screen.contains(prompt), "{screen}");
    let (new, old) = (std::fs::read(&store), std::fs::read(&template));
    let (new, old) = (new.expect("a store"), old.expect("a template"));
    assert_eq!(new.len(), old.len());
    assert!(new != old, "no variable was written");
}

/// OVMF starts a kernel that it gets from the machine, and the kernel powers the machine off through our tables.
#[test]
fn ovmf_starts_a_kernel() {
    let name = "ovmf_starts_a_kernel";
    let Some(mut config) = config(name, "ovmf", fastest()) else {
        return;
    };
    let files = guest::file("vmlinuz").and_then(|k| Ok((k, guest::file("initrd")?)));
    let (kernel, initrd) = match files {
        Ok(files) => files,
        Err(why) => {
            eprintln!("{name}: skipped, the guest's files cannot be had: {why}");
            return;
        }
    };
    config.memory = 512 << 20;
    config.kernel = Some(kernel);
    config.initrd = Some(initrd);
    config.command_line = "console=ttyS0 panic=-1 loglevel=4".to_owned();
    let command = "ls -d /sys/firmware/efi; poweroff -f\n";
    let script = Some(("root@ferry:/root# ", command));
    let outcome = common::converse(&config, UEFI_LIMIT, script);
    let output = &outcome.output;
    assert!(
        output.lines().any(|l| l.trim() == "/sys/firmware/efi"),
        "{output}"
    );
    assert_eq!(outcome.reason, Some(StopReason::PowerOff), "{output}");
}
