//! A kernel of the guest cache with its userland and drivers.

use crate::guest;
use std::path::{Path, PathBuf};

/// The kernel and an initramfs, made in `dir`, with its modules; or why there is none.
pub fn files(
    dir: &Path,
    kernel: &str,
    initrd: &str,
    modules: &str,
) -> Result<[PathBuf; 2], String> {
    let kernel = guest::file(kernel)?;
    let mut archive = Vec::new();
    for part in [initrd, modules] {
        archive.extend(std::fs::read(guest::file(part)?).map_err(|e| e.to_string())?);
    }
    let path = dir.join("initrd.cpio");
    std::fs::write(&path, archive).map_err(|e| e.to_string())?;
    Ok([kernel, path])
}
