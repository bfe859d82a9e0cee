//! GRUB from a CD (grub-mkrescue): its menu, and Linux from there.

use super::{LIMIT, UEFI_LIMIT, common, config, fastest, guest, media, with_disc};
use bus::StopReason;
use machine::drives::{Interface, Kind};

/// What the menu starts.
const LINUX: &str = "Ferry: Linux";
const PROMPT: &str = "root@ferry:/root# ";

#[test]
fn seabios_shows_the_menu_of_a_grub_cd() {
    let name = "seabios_shows_the_menu_of_a_grub_cd";
    let Some(mut config) = with_disc(name, "grub-iso") else {
        return;
    };
    config.memory = 256 << 20;
    let outcome = common::attend(&config, LIMIT, |person| {
        person.sees("GNU GRUB")?;
        person.sees(LINUX)?;
        // The menu counts down; a key that means nothing to it ends that.
        person.types(" ");
        person.sees("Ferry: halt")?;
        person.types("\n");
        person.reads(PROMPT)?;
        person.sends("mount -t proc none /proc; echo on-$(uname -m); poweroff -f\n");
        person.reads("on-x86_64")
    });
    assert_eq!(
        outcome.missed, None,
        "{}\n{}",
        outcome.output, outcome.screen
    );
    assert_eq!(
        outcome.reason,
        Some(StopReason::PowerOff),
        "{}",
        outcome.output
    );
}

#[test]
fn ovmf_boots_linux_by_grub() {
    let name = "ovmf_boots_linux_by_grub";
    let Some(mut config) = config(name, "ovmf", fastest()) else {
        return;
    };
    let disc = match guest::file("grub-efi-iso") {
        Ok(disc) => disc,
        Err(why) => {
            eprintln!("{name}: skipped, GRUB's CD cannot be had: {why}");
            return;
        }
    };
    config.memory = 512 << 20;
    config.drives = vec![media::drive(Interface::Ide, Kind::CdRom, disc)];
    let outcome = common::attend(&config, UEFI_LIMIT, |person| {
        person.reads(LINUX)?;
        person.sends("\r");
        person.reads(PROMPT)?;
        person.sends("ls -d /sys/firmware/efi; poweroff -f\n");
        person.reads("\n/sys/firmware/efi")
    });
    assert_eq!(outcome.missed, None, "{}", outcome.output);
    assert_eq!(
        outcome.reason,
        Some(StopReason::PowerOff),
        "{}",
        outcome.output
    );
}
