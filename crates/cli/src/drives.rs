//! `--disk`, `--cdrom` and `--floppy`: from what is typed to drives.

use crate::config::{Refusal, refuse};
use machine::drives::{Drive, Interface, Kind, limit};
use machine::{DiskAccess, DiskCache, DiskFormat, DiskOptions, DiskPersistence};
use std::path::PathBuf;

/// What follows the file's name, for messages.
const KEYS: &str = "format=, if=, cache=, snapshot=, readonly= and serial=";

/// All drives, in the order of the command line: disks, CD-ROMs, floppies.
pub fn drives(
    disks: &[String],
    cdroms: &[String],
    floppies: &[String],
) -> Result<Vec<Drive>, Refusal> {
    let mut drives = Vec::new();
    for text in disks {
        drives.push(parse("--disk", text, Interface::Virtio, Kind::Disk)?);
    }
    for text in cdroms {
        drives.push(parse("--cdrom", text, Interface::Ide, Kind::CdRom)?);
    }
    for text in floppies {
        drives.push(parse("--floppy", text, Interface::Floppy, Kind::Disk)?);
    }
    for (interface, name) in INTERFACES.map(|(name, i)| (i, name)) {
        let count = drives.iter().filter(|d| d.interface == interface).count();
        if count > limit(interface) {
            return Err(refuse(
                "--disk",
                format!(
                    "{count} drives are on if={name}; accepted are {}",
                    limit(interface)
                ),
            ));
        }
    }
    Ok(drives)
}

const INTERFACES: [(&str, Interface); 4] = [
    ("virtio", Interface::Virtio),
    ("ide", Interface::Ide),
    ("sata", Interface::Sata),
    ("floppy", Interface::Floppy),
];

/// FILE[,key=value...]; a comma in the file's name is written twice.
fn parse(
    option: &'static str,
    text: &str,
    interface: Interface,
    kind: Kind,
) -> Result<Drive, Refusal> {
    let mut parts = split(text).into_iter();
    let path = parts.next().unwrap_or_default();
    if path.is_empty() {
        return Err(refuse(
            option,
            format!(
                "'{text}' names no file; accepted is FILE, and behind it {KEYS} separated by commas"
            ),
        ));
    }
    let mut drive = Drive {
        interface,
        kind,
        path: Some(PathBuf::from(path)),
        options: DiskOptions::default(),
        serial: None,
    };
    if kind == Kind::CdRom {
        drive.options.access = DiskAccess::ReadOnly;
        drive.options.format = Some(DiskFormat::Raw);
    }
    for part in parts {
        set(option, &part, &mut drive)?;
    }
    if drive.interface == Interface::Floppy && drive.kind == Kind::CdRom {
        return Err(refuse(option, "a CD-ROM drive is on if=ide or if=sata"));
    }
    if drive.interface == Interface::Virtio && drive.kind == Kind::CdRom {
        return Err(refuse(option, "a CD-ROM drive is on if=ide or if=sata"));
    }
    Ok(drive)
}

/// One key with its value.
fn set(option: &'static str, part: &str, drive: &mut Drive) -> Result<(), Refusal> {
    let Some((key, value)) = part.split_once('=') else {
        return Err(refuse(
            option,
            format!(
                "'{part}' has no value; accepted are {KEYS} (a comma in a file's name is written ,,)"
            ),
        ));
    };
    let bad = |accepted: &str| {
        refuse(
            option,
            format!("{key}: '{value}' is not known; accepted are {accepted}"),
        )
    };
    match key {
        "format" => {
            drive.options.format = match value {
                "auto" => None,
                name => Some(
                    DiskFormat::by_name(name)
                        .ok_or_else(|| bad("raw, qcow2, vmdk, vhdx and auto"))?,
                ),
            };
        }
        "if" => {
            let known = INTERFACES.iter().find(|i| i.0 == value);
            drive.interface = known.ok_or_else(|| bad("virtio, ide, sata and floppy"))?.1;
        }
        "cache" => {
            drive.options.cache = match value {
                "writeback" => DiskCache::Writeback,
                "none" => DiskCache::None,
                _ => return Err(bad("writeback and none")),
            };
        }
        "snapshot" => {
            drive.options.persistence = match switch(value) {
                Some(true) => DiskPersistence::Dropped,
                Some(false) => DiskPersistence::Kept,
                None => return Err(bad("on and off")),
            };
        }
        "readonly" => {
            drive.options.access = match switch(value) {
                Some(true) => DiskAccess::ReadOnly,
                Some(false) => DiskAccess::ReadWrite,
                None => return Err(bad("on and off")),
            };
        }
        "serial" => {
            let printable = value.bytes().all(|b| (0x20..0x7f).contains(&b));
            if value.is_empty() || value.len() > 20 || !printable {
                return Err(bad("1 to 20 printable ASCII characters"));
            }
            drive.serial = Some(value.to_owned());
        }
        _ => {
            return Err(refuse(
                option,
                format!("'{key}' is no property of a drive; accepted are {KEYS}"),
            ));
        }
    }
    Ok(())
}

fn switch(value: &str) -> Option<bool> {
    match value {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// Cuts at single commas; a double one is a comma.
pub fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == ',' && chars.peek() != Some(&',') {
            parts.push(String::new());
            continue;
        }
        if c == ',' {
            chars.next();
        }
        if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(text: &str) -> Result<Drive, Refusal> {
        drives(&[text.to_owned()], &[], &[]).map(|mut d| d.remove(0))
    }

    #[test]
    fn properties_are_read() {
        let d = disk("a,,b.img,format=qcow2,if=ide,cache=none,snapshot=on,readonly=off,serial=S 1")
            .unwrap();
        assert_eq!(d.path, Some("a,b.img".into()));
        assert_eq!(d.options.format, Some(DiskFormat::Qcow2));
        assert_eq!(d.interface, Interface::Ide);
        assert_eq!(d.options.cache, DiskCache::None);
        assert_eq!(d.options.persistence, DiskPersistence::Dropped);
        assert_eq!(d.options.access, DiskAccess::ReadWrite);
        assert_eq!(d.serial.as_deref(), Some("S 1"));
        let d = disk("x").unwrap();
        assert_eq!((d.interface, d.options.format), (Interface::Virtio, None));
    }

    #[test]
    fn refusals_name_the_part_and_what_would_do() {
        for (text, want) in [
            ("", "names no file"),
            (",if=ide", "names no file"),
            ("x,qcow2", "'qcow2' has no value; accepted are format="),
            (
                "x,format=vdi",
                "format: 'vdi' is not known; accepted are raw, qcow2, vmdk, vhdx and auto",
            ),
            ("x,if=scsi", "accepted are virtio, ide, sata and floppy"),
            ("x,cache=unsafe", "accepted are writeback and none"),
            ("x,snapshot=yes", "accepted are on and off"),
            ("x,readonly=", "accepted are on and off"),
            ("x,serial=", "1 to 20 printable"),
            ("x,media=cdrom", "'media' is no property of a drive"),
        ] {
            let got = disk(text).map(|_| ()).unwrap_err().to_string();
            assert!(
                got.starts_with("--disk: ") && got.contains(want),
                "{text}: {got}"
            );
        }
        let five = vec!["x,if=ide".to_owned(); 5];
        let got = drives(&five, &[], &[]).map(|_| ()).unwrap_err().to_string();
        assert!(
            got.contains("5 drives are on if=ide; accepted are 4"),
            "{got}"
        );
        let got = drives(&[], &["x,if=virtio".into()], &[])
            .map(|_| ())
            .unwrap_err()
            .to_string();
        assert!(got.contains("if=ide or if=sata"), "{got}");
    }
}
