//! An archive of kernel modules for an initramfs, named in the order in which `insmod` takes them: `/ferry/modules/00-virtio_ring.ko`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cpio::Archive;

/// What a guest needs for its disks, its network and its shared folders; what a kernel does not have as a module is left out.
pub const WANTED: [&str; 16] = [
    "virtio_pci",
    "virtio_blk",
    "virtio_rng",
    "virtio_net",
    "e1000",
    "8139too",
    "sd_mod",
    "sr_mod",
    "ata_piix",
    "ata_generic",
    "ahci",
    "isofs",
    "floppy",
    "ext4",
    "9pnet_virtio",
    "9p",
];

/// The modules below `dir` that are wanted, those that they need first.
pub fn archive(dir: &Path) -> Result<Vec<u8>> {
    let mut found = BTreeMap::new();
    collect(dir, &mut found)?;
    let mut order = Vec::new();
    for name in WANTED {
        add(name, &found, &mut order)?;
    }
    let mut archive = Archive::default();
    archive.dir("ferry", 0o755);
    archive.dir("ferry/modules", 0o755);
    for (n, (name, content)) in order.iter().enumerate() {
        archive.file(&format!("ferry/modules/{n:02}-{name}.ko"), 0o644, content);
    }
    Ok(archive.finish())
}

/// All `.ko` files by the name of the module.
fn collect(dir: &Path, found: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        if path.is_symlink() {
            continue;
        }
        if path.is_dir() {
            collect(&path, found)?;
        } else if let Some(name) = path
            .file_name()
            .and_then(|n| n.to_str()?.strip_suffix(".ko"))
        {
            found.insert(name.replace('-', "_"), path.clone());
        }
    }
    Ok(())
}

/// Adds a module behind what it depends on: its `.modinfo` says `depends=a,b`.
fn add(
    name: &str,
    found: &BTreeMap<String, PathBuf>,
    order: &mut Vec<(String, Vec<u8>)>,
) -> Result<()> {
    let name = name.replace('-', "_");
    let Some(path) = found.get(&name) else {
        return Ok(());
    };
    if order.iter().any(|(n, _)| *n == name) {
        return Ok(());
    }
    let content = fs::read(path)?;
    const KEY: &[u8] = b"\0depends=";
    if let Some(at) = content.windows(KEY.len()).position(|w| w == KEY) {
        let value = &content[at + KEY.len()..];
        let end = value.iter().position(|&b| b == 0).unwrap_or(value.len());
        for needed in String::from_utf8_lossy(&value[..end]).split(',') {
            add(needed, found, order)?;
        }
    }
    order.push((name, content));
    Ok(())
}
