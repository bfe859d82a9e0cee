//! An archive for the amd64 initramfs with an SSH server: dropbear with the libraries that it needs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::cpio::Archive;

/// Where the files are from.
pub const PACKAGES: [&str; 7] = [
    "dropbear-bin",
    "libc6",
    "libcrypt1",
    "libgmp10",
    "libtomcrypt1",
    "libtommath1",
    "zlib1g",
];

/// The libraries, by how their names begin.
const LIBRARIES: [&str; 6] = [
    "libc.so.",
    "libcrypt.so.",
    "libgmp.so.",
    "libtomcrypt.so.",
    "libtommath.so.",
    "libz.so.",
];
const TRIPLET: &str = "lib/x86_64-linux-gnu";
const LOADER: &str = "ld-linux-x86-64.so.2";

/// Takes what is needed out of the packages, which are unpacked in `dir`.
pub fn archive(dir: &Path) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for name in ["lib", TRIPLET, "lib64", "etc/dropbear"] {
        archive.dir(name, 0o755);
    }
    let read = |path: &Path| {
        fs::read(path).with_context(|| format!("the packages have no {}", path.display()))
    };
    let server = read(&dir.join("usr/sbin/dropbear"))?;
    archive.file("sbin/dropbear", 0o755, &server);
    // Debian 13 has everything below /usr.
    for base in ["", "usr"] {
        let folder = dir.join(base).join(TRIPLET);
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|e| e.file_name().into_string().ok())
            .collect();
        names.sort();
        for name in names {
            let content = || read(&fs::canonicalize(folder.join(&name))?);
            if name == LOADER {
                archive.file(&format!("lib64/{name}"), 0o755, &content()?);
            } else if LIBRARIES.iter().any(|l| name.starts_with(l)) {
                archive.file(&format!("{TRIPLET}/{name}"), 0o755, &content()?);
            }
        }
    }
    Ok(archive.finish())
}
