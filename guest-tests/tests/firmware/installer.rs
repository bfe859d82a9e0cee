//! Debian's installer, from a CD with GRUB to its first dialog on the screen.

use super::{UEFI_LIMIT, common, with_disc};

#[test]
#[ignore = "nightly: unpacks a large initramfs"]
fn debian_installer_asks_for_the_language() {
    let name = "debian_installer_asks_for_the_language";
    let Some(mut config) = with_disc(name, "installer-iso") else {
        return;
    };
    // With less the installer says that memory is low, and speaks English only.
    config.memory = 1 << 30;
    let outcome = common::attend(&config, UEFI_LIMIT, |person| {
        person.sees("Install on the screen")?;
        person.types("\n");
        person.sees("Select a language")?;
        person.sees("English")?;
        person.pulls_the_plug();
        Ok(())
    });
    assert_eq!(
        outcome.missed, None,
        "{}\n{}",
        outcome.output, outcome.screen
    );
}
