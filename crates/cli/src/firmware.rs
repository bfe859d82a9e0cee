//! Options about firmware and about ports for people who write kernels and emulators.

use crate::config::{Refusal, enumerate, refuse};
use clap::Args;
use machine::{BootDevice, DebugPorts, Firmware, Variables};
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Args, Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Options {
    /// Firmware that starts the machine: `seabios` (the default without --kernel), `ovmf` (UEFI), or an image file. With --kernel,
    /// it is the firmware that starts the kernel
    #[arg(long, visible_alias = "pflash", value_name = "NAME|FILE")]
    pub firmware: Option<String>,

    /// File that keeps the UEFI variables of this machine; made if it does not exist. Without one they are lost at the end
    #[arg(long, value_name = "FILE")]
    pub pflash_vars: Option<PathBuf>,

    /// Let the firmware offer its boot menu for this long, in milliseconds
    #[arg(long, value_name = "MS", num_args = 0..=1, require_equals = true, default_missing_value = "5000")]
    pub boot_menu: Option<u32>,

    /// What the firmware boots from, the first one first: `disk`, `cdrom`, `floppy`, separated by commas, such as `cdrom,disk`.
    /// Without it the firmware has its own order
    #[arg(long, value_name = "ORDER")]
    pub boot: Option<String>,

    /// Give the firmware another file to read (fw_cfg), such as `opt/org.example/key=key.txt`
    #[arg(long, value_name = "NAME=FILE")]
    pub fw_cfg: Vec<String>,

    /// Write what the guest sends to a port to a file: `0xe9=FILE` for hobby kernels, `0x402=FILE` for SeaBIOS and OVMF
    #[arg(long, value_name = "PORT=FILE")]
    pub debugcon: Vec<String>,

    /// Add the test device that kvm-unit-tests expect (QEMU's pc-testdev)
    #[arg(long)]
    pub testdev: bool,
}

impl Options {
    /// The firmware asked for, or the default one where there is no kernel.
    pub fn firmware(&self, kernel: Option<&Path>) -> anyhow::Result<Firmware> {
        let files: Result<Vec<_>, _> = self.fw_cfg.iter().map(|text| file(text)).collect();
        let (files, boot_order) = (files?, boot_order(self.boot.as_deref())?);
        let name = match (self.firmware.as_deref(), kernel) {
            (Some(name), _) => Some(name),
            (None, None) => Some("seabios"),
            (None, Some(_)) => None,
        };
        let mut firmware = match name {
            Some(name) => match Firmware::named(name) {
                Some(found) => found?,
                None => self.image(name)?,
            },
            None => Firmware::default(),
        };
        match (self.pflash_vars.clone(), firmware.variables) {
            (Some(_), _) if firmware.image.is_none() => {
                return Err(refuse(
                    "--pflash-vars",
                    "no firmware reads it; accepted with --firmware",
                )
                .into());
            }
            (Some(path), Variables::Volatile(template)) => {
                let template = Some(template);
                firmware.variables = Variables::File { path, template };
            }
            (Some(path), _) => {
                let template = None;
                firmware.variables = Variables::File { path, template };
            }
            (None, variables) => firmware.variables = variables,
        }
        if self.boot_menu.is_some() && firmware.image.is_none() {
            return Err(refuse(
                "--boot-menu",
                "no firmware shows it; accepted with --firmware",
            )
            .into());
        }
        firmware.boot_menu = self.boot_menu;
        if self.boot.is_some() && firmware.image.is_none() {
            let reason = "no firmware reads it; accepted with --firmware";
            return Err(refuse("--boot", reason).into());
        }
        firmware.boot_order = boot_order;
        firmware.files = files;
        Ok(firmware)
    }

    fn image(&self, name: &str) -> Result<Firmware, Refusal> {
        let path = PathBuf::from(name);
        if !path.exists() {
            let known = enumerate(&Firmware::names());
            let reason = format!("no firmware '{name}'; accepted are {known} and an image file");
            return Err(refuse("--firmware", reason));
        }
        Ok(Firmware {
            image: Some(path),
            ..Firmware::default()
        })
    }

    /// Debug consoles and the test device.
    pub fn debug_ports(&self) -> Result<DebugPorts, Refusal> {
        let mut ports = DebugPorts {
            consoles: Vec::new(),
            test_device: self.testdev,
        };
        for text in &self.debugcon {
            let (port, file) = console(text)?;
            if ports.consoles.iter().any(|c| c.0 == port) {
                return Err(refuse(
                    "--debugcon",
                    format!("port {port:#x} is named twice"),
                ));
            }
            ports.consoles.push((port, file));
        }
        Ok(ports)
    }
}

/// What to boot from, as `--boot` names it.
fn boot_order(text: Option<&str>) -> Result<Vec<BootDevice>, Refusal> {
    let names = BootDevice::NAMES.map(|n| n.0);
    let mut order = Vec::new();
    for word in text.iter().flat_map(|text| text.split(',')) {
        let Some(&(_, device)) = BootDevice::NAMES.iter().find(|n| n.0 == word) else {
            let known = enumerate(&names);
            let reason =
                format!("nothing is named '{word}'; accepted are {known}, separated by commas");
            return Err(refuse("--boot", reason));
        };
        if order.contains(&device) {
            return Err(refuse("--boot", format!("'{word}' is named twice")));
        }
        order.push(device);
    }
    Ok(order)
}

/// Ports that debug output is sent to by custom: no chip of the board is there.
const CONSOLES: [std::ops::RangeInclusive<u16>; 2] = [0xe8..=0xef, 0x400..=0x40f];

fn console(text: &str) -> Result<(u16, PathBuf), Refusal> {
    const ACCEPTED: &str = "accepted is PORT=FILE with a port of 0xe8 to 0xef or 0x400 to 0x40f, such as 0x402=bios.log";
    let bad = |reason: String| refuse("--debugcon", format!("{reason}; {ACCEPTED}"));
    let (port, file) = text
        .split_once('=')
        .filter(|(_, file)| !file.is_empty())
        .ok_or_else(|| bad(format!("'{text}' is no port and file")))?;
    let digits = port.strip_prefix("0x").unwrap_or(port);
    let number =
        u16::from_str_radix(digits, 16).map_err(|_| bad(format!("'{port}' is not a port")))?;
    if !CONSOLES.iter().any(|c| c.contains(&number)) {
        return Err(bad(format!("port {number:#x} cannot be a debug console")));
    }
    Ok((number, file.into()))
}

fn file(text: &str) -> Result<(String, PathBuf), Refusal> {
    const ACCEPTED: &str = "accepted is NAME=FILE with a name of up to 55 bytes";
    match text.split_once('=') {
        Some((name, file)) if !file.is_empty() && (1..=55).contains(&name.len()) => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err(refuse(
            "--fw-cfg",
            format!("'{text}' is no name and file; {ACCEPTED}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consoles_are_a_port_and_a_file() {
        assert_eq!(console("0xe9=a=b"), Ok((0xe9, "a=b".into())));
        assert_eq!(console("402=x"), Ok((0x402, "x".into())));
        for (bad, want) in [
            ("", "no port and file"),
            ("0x402", "no port and file"),
            ("0x402=", "no port and file"),
            ("com1=x", "not a port"),
            ("0x3f8=x", "cannot be a debug console"),
            ("0x10402=x", "not a port"),
        ] {
            let got = console(bad).unwrap_err().to_string();
            assert!(got.contains(want), "{bad}: {got}");
        }
    }

    #[test]
    fn files_have_names() {
        assert_eq!(file("opt/a=b"), Ok(("opt/a".into(), "b".into())));
        for bad in ["", "a", "=b", "a=", &format!("{}=b", "x".repeat(56))] {
            assert!(file(bad).is_err(), "{bad}");
        }
    }
}
